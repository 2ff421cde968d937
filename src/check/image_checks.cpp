// Kernels of images without weights.

#include "cermet/cnn/dropout.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/pad.h"
#include "cermet/cnn/pooling.h"
#include "cermet/cnn/reduce.h"
#include "cermet/cnn/reshape.h"
#include "cermet/cnn/slice.h"
#include "cermet/cnn/softmax.h"
#include "check/catalog.h"
#include "check/random_values.h"

namespace cermet::detail {
namespace {

/// Two kernels of the same arguments.
template <class Forward, class Gradient, class... Arguments>
KernelPair both(const Device& device, const Arguments&... arguments) {
  return {std::make_shared<Forward>(device, arguments...),
          std::make_shared<Gradient>(device, arguments...)};
}

std::vector<CheckSetting> windows(std::vector<CheckSetting> more = {}) {
  std::vector<CheckSetting> settings{{"kernelWidth", 2, {1, 3, 5}},
                                     {"kernelHeight", 2, {1, 3, 5}},
                                     {"strideInPixelsX", 1, {2, 3}},
                                     {"strideInPixelsY", 1, {2, 3}}};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}
template <class Forward, class Gradient>
KernelPair pooling(const Device& device, const Settings& s, const CheckedImages&) {
  return both<Forward, Gradient>(device, s.size("kernelWidth"), s.size("kernelHeight"),
                                 s.size("strideInPixelsX"), s.size("strideInPixelsY"));
}

KernelPair average(const Device& device, const Settings& s, const CheckedImages& images) {
  KernelPair pair = pooling<CNNPoolingAverage, CNNPoolingAverageGradient>(device, s, images);
  const auto pad = [&](auto& kernel) {
    kernel.setZeroPadSizeX(s.size("zeroPadSizeX"));
    kernel.setZeroPadSizeY(s.size("zeroPadSizeY"));
  };
  pad(dynamic_cast<CNNPoolingAverage&>(*pair.forward));
  pad(dynamic_cast<CNNPoolingAverageGradient&>(*pair.gradient));
  return pair;
}

KernelPair dilated(const Device& device, const Settings& s, const CheckedImages&) {
  return both<CNNDilatedPoolingMax, CNNDilatedPoolingMaxGradient>(
      device, s.size("kernelWidth"), s.size("kernelHeight"), s.size("dilationRateX"),
      s.size("dilationRateY"), s.size("strideInPixelsX"), s.size("strideInPixelsY"));
}

/// Every type; the parameters keep the functions that need it in their domain for most of (-1, 1).
KernelPair neuron(const Device& device, const Settings& s, const CheckedImages& images) {
  const auto type = s.choice<CNNNeuronType>("neuronType");
  NNNeuronDescriptor descriptor;
  if (type == CNNNeuronType::PReLU) {
    std::vector<float> slopes(images.featureChannels);
    RandomValues random(images.seed + 1);
    for (float& slope : slopes) slope = random.uniform(-1, 1);
    descriptor = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(slopes);
  } else {
    descriptor =
        NNNeuronDescriptor::cnnNeuronDescriptor(type, s.number("a"), s.number("b"), s.number("c"));
  }
  return both<CNNNeuron, CNNNeuronGradient>(device, descriptor);
}

KernelPair dropout(const Device& device, const Settings& s, const CheckedImages&) {
  return both<CNNDropout, CNNDropoutGradient>(
      device, s.number("keepProbability"), s.size("seed"),
      Size{s.size("maskStrideX"), s.size("maskStrideY"), s.size("maskStrideChannels")});
}

KernelPair pad(const Device& device, const Settings& s, const CheckedImages&) {
  const auto size = [&](const std::string& end) {
    return ImageCoordinate{s.size("x" + end), s.size("y" + end), s.size("channels" + end)};
  };
  auto forward = std::make_shared<NNPad>(device, size("Before"), size("After"));
  forward->setFillValue(s.number("fillValue"));
  return {forward, std::make_shared<NNPadGradient>(device)};
}

template <class Forward>
KernelPair alone(const Device& device, const Settings&, const CheckedImages&) {
  return {std::make_shared<Forward>(device), nullptr};
}
template <class... Forward>
void add_alone(Catalog& catalog, TypeList<Forward...>) {
  (catalog.push_back(unary_check(type_name<Forward>(), {}, alone<Forward>, false)), ...);
}
template <class Forward, class Gradient>
KernelPair plain(const Device& device, const Settings&, const CheckedImages&) {
  return both<Forward, Gradient>(device);
}

}  // namespace

Catalog image_checks() {
  const std::vector<double> types = cases_to(CNNNeuronType::GeLU),
                            edges = cases_to(ImageEdgeMode::Constant);
  Catalog all{
      unary_check("CNNPoolingMax", windows(), pooling<CNNPoolingMax, CNNPoolingMaxGradient>),
      unary_check("CNNPoolingAverage",
                  windows({{"zeroPadSizeX", 0, {1}}, {"zeroPadSizeY", 0, {2}}}), average),
      unary_check("CNNPoolingL2Norm", windows(),
                  pooling<CNNPoolingL2Norm, CNNPoolingL2NormGradient>),
      unary_check("CNNDilatedPoolingMax",
                  windows({{"dilationRateX", 2, {1, 3}}, {"dilationRateY", 2, {1, 3}}}), dilated),
      unary_check("CNNNeuron",
                  {{"neuronType", static_cast<double>(CNNNeuronType::ReLU), types},
                   {"a", 0.5, {-0.25}},
                   {"b", 1.5, {0.25}},
                   {"c", 2, {3}}},
                  neuron),
      unary_check("CNNDropout",
                  {{"keepProbability", 0.5, {0.25, 1}},
                   {"seed", 1, {77}},
                   {"maskStrideX", 1, {0}},
                   {"maskStrideY", 1, {0}},
                   {"maskStrideChannels", 1, {0}}},
                  dropout),
      unary_check("CNNSoftMax", {}, plain<CNNSoftMax, CNNSoftMaxGradient>),
      unary_check("CNNLogSoftMax", {}, plain<CNNLogSoftMax, CNNLogSoftMaxGradient>),
      unary_check("NNPad",
                  {{"xBefore", 1, {0, 3}},
                   {"yBefore", 2, {0}},
                   {"channelsBefore", 0, {1, 4}},
                   {"xAfter", 2, {0}},
                   {"yAfter", 1, {0, 3}},
                   {"channelsAfter", 0, {2}},
                   {"fillValue", 0, {0.5}},
                   {"edgeMode", static_cast<double>(ImageEdgeMode::Constant), edges}},
                  pad),
      unary_check("NNReshape", {}, plain<NNReshape, NNReshapeGradient>),
  };
  add_alone(all,
            TypeList<NNSlice, NNReduceRowMin, NNReduceRowMax, NNReduceRowMean, NNReduceRowSum,
                     NNReduceColumnMin, NNReduceColumnMax, NNReduceColumnMean, NNReduceColumnSum,
                     NNReduceFeatureChannelsMin, NNReduceFeatureChannelsMax,
                     NNReduceFeatureChannelsMean, NNReduceFeatureChannelsSum,
                     NNReduceFeatureChannelsArgumentMin, NNReduceFeatureChannelsArgumentMax>());
  return all;
}

}  // namespace cermet::detail
