// Kernels whose data sources hold parameters that train.

#include "cermet/cnn/convolution_transpose.h"
#include "cermet/cnn/group_normalization.h"
#include "check/catalog.h"
#include "check/random_weights.h"

namespace cermet::detail {
namespace {

// ---- Convolutions -------------------------------------------------------------------------------

std::vector<CheckSetting> convolution_settings(std::vector<CheckSetting> more) {
  std::vector<CheckSetting> settings{{"kernelWidth", 3, {1, 2, 5}},
                                     {"kernelHeight", 3, {1, 2, 5}},
                                     {"strideInPixelsX", 1, {2, 3}},
                                     {"strideInPixelsY", 1, {2, 3}},
                                     {"dilationRateX", 1, {2}},
                                     {"dilationRateY", 1, {2}},
                                     {"outputFeatureChannels", 6, {1, 4, 16}},
                                     {"groups", 1, {3}},
                                     {"biases", 1, {0}}};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

void describe_window(CNNConvolutionDescriptor& descriptor, const Settings& s) {
  descriptor.setStrideInPixelsX(s.size("strideInPixelsX"));
  descriptor.setStrideInPixelsY(s.size("strideInPixelsY"));
  descriptor.setDilationRateX(s.size("dilationRateX"));
  descriptor.setDilationRateY(s.size("dilationRateY"));
  descriptor.setGroups(s.size("groups"));
}
/// Channels that are read: all, or as many as the setting says.
std::size_t inputs_of(const Settings& s, const CheckedImages& images) {
  const std::size_t most = s.size("sourceFeatureChannelMaxCount"),
                    offset = s.size("sourceFeatureChannelOffset");
  if (offset >= images.featureChannels) {
    fail({s.kernel(), "", "sourceFeatureChannelOffset", std::to_string(offset),
          "less than the " + std::to_string(images.featureChannels) + " feature channels", ""});
  }
  return most > 0 ? most : images.featureChannels - offset;
}

std::shared_ptr<RandomWeights> weights_of(const Settings& s, const CheckedImages& images) {
  const std::size_t width = s.size("kernelWidth"), height = s.size("kernelHeight"),
                    inputs = inputs_of(s, images), outputs = s.size("outputFeatureChannels"),
                    groups = std::max<std::size_t>(1, s.size("groups"));
  const auto descriptor =
      CNNConvolutionDescriptor::cnnConvolutionDescriptor(width, height, inputs, outputs);
  describe_window(*descriptor, s);
  return std::make_shared<RandomWeights>(descriptor, outputs * height * width * (inputs / groups),
                                         s.flag("biases"), images.seed + 1);
}

KernelPair convolution(const Device& device, const Settings& s, const CheckedImages& images) {
  const std::size_t multiplier = s.size("channelMultiplier");
  std::shared_ptr<RandomWeights> weights;
  if (multiplier > 0) {
    const std::size_t width = s.size("kernelWidth"), height = s.size("kernelHeight"),
                      inputs = inputs_of(s, images);
    const auto descriptor = CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(
        width, height, inputs, inputs * multiplier);
    describe_window(*descriptor, s);
    weights = std::make_shared<RandomWeights>(descriptor, inputs * multiplier * height * width,
                                              s.flag("biases"), images.seed + 1);
  } else {
    weights = weights_of(s, images);
  }
  return {std::make_shared<CNNConvolution>(device, weights),
          std::make_shared<CNNConvolutionGradient>(device, weights)};
}

KernelPair transposed(const Device& device, const Settings& s, const CheckedImages& images) {
  const auto weights = weights_of(s, images);
  auto forward = std::make_shared<CNNConvolutionTranspose>(device, weights);
  forward->setKernelOffsetX(s.choice<std::ptrdiff_t>("kernelOffsetX"));
  forward->setKernelOffsetY(s.choice<std::ptrdiff_t>("kernelOffsetY"));
  return {forward, std::make_shared<CNNConvolutionTransposeGradient>(device, weights)};
}

KernelPair fully_connected(const Device& device, const Settings& s, const CheckedImages& images) {
  const std::size_t inputs = inputs_of(s, images), outputs = s.size("outputFeatureChannels");
  const auto weights = std::make_shared<RandomWeights>(
      CNNConvolutionDescriptor::cnnConvolutionDescriptor(images.width, images.height, inputs,
                                                         outputs),
      outputs * images.height * images.width * inputs, s.flag("biases"), images.seed + 1);
  return {std::make_shared<CNNFullyConnected>(device, weights),
          std::make_shared<CNNFullyConnectedGradient>(device, weights)};
}

// ---- Normalisation ------------------------------------------------------------------------------

template <class Base>
class RandomScaleOf : public Base {
 public:
  RandomScaleOf(std::size_t channels, float epsilon, std::uint64_t seed)
      : gamma_(random_values(channels, seed, 0.5, 2)),
        beta_(random_values(channels, seed + 1, -1, 1)),
        epsilon_(epsilon) {}
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return gamma_.size(); }
  [[nodiscard]] const float* gamma() override { return gamma_.data(); }
  [[nodiscard]] const float* beta() override { return beta_.data(); }
  [[nodiscard]] std::string label() const override { return "random scale"; }
  [[nodiscard]] float epsilon() const override { return epsilon_; }

 private:
  std::vector<float> gamma_, beta_;
  float epsilon_;
};
class RandomScale final : public RandomScaleOf<CNNBatchNormalizationDataSource> {
 public:
  using RandomScaleOf::RandomScaleOf;
  [[nodiscard]] const float* mean() override { return nullptr; }
  [[nodiscard]] const float* variance() override { return nullptr; }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
};
class RandomGroups final : public RandomScaleOf<CNNGroupNormalizationDataSource> {
 public:
  RandomGroups(std::size_t channels, float epsilon, std::uint64_t seed, std::size_t groups)
      : RandomScaleOf(channels, epsilon, seed), groups_(groups) {}
  [[nodiscard]] std::size_t numberOfGroups() const override { return groups_; }
  void setNumberOfGroups(std::size_t groups) override { groups_ = groups; }

 private:
  std::size_t groups_;
};

constexpr double default_epsilon = 1e-3;

KernelPair instance(const Device& device, const Settings& s, const CheckedImages& images) {
  return {std::make_shared<CNNInstanceNormalization>(
              device, std::make_shared<RandomScaleOf<CNNInstanceNormalizationDataSource>>(
                          inputs_of(s, images), s.number("epsilon"), images.seed + 1)),
          std::make_shared<CNNInstanceNormalizationGradient>(device)};
}
KernelPair group(const Device& device, const Settings& s, const CheckedImages& images) {
  return {std::make_shared<CNNGroupNormalization>(
              device, std::make_shared<RandomGroups>(inputs_of(s, images), s.number("epsilon"),
                                                     images.seed + 1, s.size("numberOfGroups"))),
          std::make_shared<CNNGroupNormalizationGradient>(device)};
}

std::unique_ptr<Differentiable> batch(const Device& device, const Settings& s,
                                      const CheckedImages& images) {
  const auto neuron = NNNeuronDescriptor::cnnNeuronDescriptor(s.choice<CNNNeuronType>("neuronType"),
                                                              s.number("neuronA"));
  return std::make_unique<CheckedBatchNormalization>(
      device,
      std::make_shared<RandomScale>(images.featureChannels, s.number("epsilon"), images.seed + 1),
      neuron, images);
}

}  // namespace

Catalog weighted_checks() {
  const auto type = [](CNNNeuronType one) { return static_cast<double>(one); };
  return {
      unary_check("CNNConvolution", convolution_settings({{"channelMultiplier", 0, {1, 2}}}),
                  convolution),
      unary_check("CNNConvolutionTranspose",
                  convolution_settings({{"kernelOffsetX", 0, {}}, {"kernelOffsetY", 0, {}}}),
                  transposed),
      unary_check("CNNFullyConnected", {{"outputFeatureChannels", 4, {1, 7}}, {"biases", 1, {0}}},
                  fully_connected),
      unary_check("CNNInstanceNormalization", {{"epsilon", default_epsilon, {0.25}}}, instance),
      unary_check("CNNGroupNormalization",
                  {{"epsilon", default_epsilon, {0.25}}, {"numberOfGroups", 1, {3}}}, group),
      {"CNNBatchNormalization",
       true,
       {{"epsilon", default_epsilon, {0.25}},
        {"neuronType",
         type(CNNNeuronType::None),
         {type(CNNNeuronType::ReLU), type(CNNNeuronType::Sigmoid), type(CNNNeuronType::TanH)}},
        {"neuronA", 1, {0.25}}},
       batch},
  };
}

}  // namespace cermet::detail
