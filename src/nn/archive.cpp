#include "cermet/nn/archive.h"

#include <algorithm>
#include <array>

#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/convolution.h"
#include "cermet/cnn/dropout.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/normalization.h"
#include "cermet/cnn/pooling.h"
#include "cermet/cnn/softmax.h"
#include "cermet/nn/optimizer.h"

namespace cermet {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<Kernel> (*make)(Coder&, const Device&);
  std::unique_ptr<Kernel> (*copy)(const Kernel&, const Device&);  // null: of another class
};

template <class K>
constexpr Entry entry(std::string_view name) {
  return {name,
          [](Coder& coder, const Device& device) -> std::unique_ptr<Kernel> {
            return std::make_unique<K>(coder, device);
          },
          [](const Kernel& kernel, const Device& device) -> std::unique_ptr<Kernel> {
            const auto* own = dynamic_cast<const K*>(&kernel);
            if (own == nullptr) return nullptr;
            return std::make_unique<K>(own->copy(device));
          }};
}

// A kernel that is not here cannot be found by name; tests/archive asks for every class of the
// public headers.
constexpr std::array classes_of_the_library = {
    entry<CNNAdd>("CNNAdd"),
    entry<CNNAddGradient>("CNNAddGradient"),
    entry<CNNBatchNormalization>("CNNBatchNormalization"),
    entry<CNNBatchNormalizationGradient>("CNNBatchNormalizationGradient"),
    entry<CNNBatchNormalizationStatistics>("CNNBatchNormalizationStatistics"),
    entry<CNNBatchNormalizationStatisticsGradient>("CNNBatchNormalizationStatisticsGradient"),
    entry<CNNConvolution>("CNNConvolution"),
    entry<CNNConvolutionGradient>("CNNConvolutionGradient"),
    entry<CNNDivide>("CNNDivide"),
    entry<CNNDropout>("CNNDropout"),
    entry<CNNDropoutGradient>("CNNDropoutGradient"),
    entry<CNNFullyConnected>("CNNFullyConnected"),
    entry<CNNFullyConnectedGradient>("CNNFullyConnectedGradient"),
    entry<CNNLogSoftMax>("CNNLogSoftMax"),
    entry<CNNLogSoftMaxGradient>("CNNLogSoftMaxGradient"),
    entry<CNNLoss>("CNNLoss"),
    entry<CNNMultiply>("CNNMultiply"),
    entry<CNNMultiplyGradient>("CNNMultiplyGradient"),
    entry<CNNNeuron>("CNNNeuron"),
    entry<CNNNeuronGradient>("CNNNeuronGradient"),
    entry<CNNPoolingAverage>("CNNPoolingAverage"),
    entry<CNNPoolingAverageGradient>("CNNPoolingAverageGradient"),
    entry<CNNPoolingMax>("CNNPoolingMax"),
    entry<CNNPoolingMaxGradient>("CNNPoolingMaxGradient"),
    entry<CNNSoftMax>("CNNSoftMax"),
    entry<CNNSoftMaxGradient>("CNNSoftMaxGradient"),
    entry<CNNSpatialNormalization>("CNNSpatialNormalization"),
    entry<CNNSpatialNormalizationGradient>("CNNSpatialNormalizationGradient"),
    entry<CNNSubtract>("CNNSubtract"),
    entry<CNNSubtractGradient>("CNNSubtractGradient"),
    entry<NNForwardLoss>("NNForwardLoss"),
    entry<NNInitialGradient>("NNInitialGradient"),
    entry<NNLossGradient>("NNLossGradient"),
    entry<NNOptimizerAdam>("NNOptimizerAdam"),
    entry<NNOptimizerRMSProp>("NNOptimizerRMSProp"),
    entry<NNOptimizerStochasticGradientDescent>("NNOptimizerStochasticGradientDescent"),
};

const Entry* find(std::string_view name) {
  const auto found = std::ranges::find(classes_of_the_library, name, &Entry::name);
  return found == classes_of_the_library.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string_view> archived_classes() {
  std::vector<std::string_view> names;
  names.reserve(std::size(classes_of_the_library));
  for (const Entry& entry : classes_of_the_library) names.push_back(entry.name);
  return names;
}

std::unique_ptr<Kernel> decode_kernel(Coder& coder, const Device& device,
                                      std::span<const std::string_view> classes) {
  const std::string name = coder.archived_class();
  if (name.empty()) {
    coder.refuse("class", "missing", "a kernel",
                 "Go to the kernel's place with Coder::at, by the key it was archived under.");
  }
  if (!classes.empty() && std::ranges::find(classes, name) == classes.end()) {
    coder.refuse("class", name, "one of the classes that were asked for",
                 "Allow the class if you trust the archive.");
  }
  const Entry* found = find(name);
  if (found == nullptr) {
    coder.refuse("class", name, "a kernel class of the library",
                 "Make a kernel of your own class with its constructor.");
  }
  return found->make(coder, device ? device : CreateSystemDefaultDevice());
}

// A member of the base, defined where the classes are known.
std::unique_ptr<Kernel> Kernel::copy(const Device& device) const {
  const Entry* found = find(class_name());
  std::unique_ptr<Kernel> made = found != nullptr ? found->copy(*this, device) : nullptr;
  if (!made) {
    complain("the class", "unknown to this function", "a kernel class of the library",
             "Copy a kernel of a class of your own through that class.");
  }
  return made;
}

}  // namespace cermet
