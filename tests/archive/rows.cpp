#include "rows.h"

#include <bit>
#include <cstring>

#include "../harness/bench.h"
#include "../harness/random.h"
#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/dropout.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/normalization.h"
#include "cermet/cnn/pooling.h"
#include "cermet/cnn/softmax.h"
#include "cermet/nn/optimizer.h"

namespace cermet::test {
namespace {

// ---- properties ---------------------------------------------------------------------------------

class Listing {
 public:
  std::vector<std::string> lines;
  void add(const char* name, const std::string& value) {
    lines.push_back(std::string(name) + "=" + value);
  }
  void add(const char* name, bool value) { add(name, std::string(value ? "true" : "false")); }
  void add(const char* name, float value) {
    add(name, std::to_string(std::bit_cast<std::uint32_t>(value)));
  }
  void add(const char* name, double value) {
    add(name, std::to_string(std::bit_cast<std::uint64_t>(value)));
  }
  template <std::integral T>
  void add(const char* name, T value) {
    add(name, std::to_string(value));
  }
  template <class E>
  requires std::is_enum_v<E>
  void add(const char* name, E value) { add(name, std::to_string(static_cast<long long>(value))); }
  void add(const char* name, const Offset& o) {
    add(name, std::to_string(o.x) + "," + std::to_string(o.y) + "," + std::to_string(o.z));
  }
  void add(const char* name, const Size& s) {
    add(name,
        std::to_string(s.width) + "," + std::to_string(s.height) + "," + std::to_string(s.depth));
  }
  void add(const char* name, const Region& r) {
    add(name, Size{r.origin.x, r.origin.y, r.origin.z});
    add(name, r.size);
  }
  void add(const char* name, const std::vector<float>& values) {
    std::string text;
    for (const float value : values)
      text += std::to_string(std::bit_cast<std::uint32_t>(value)) + " ";
    add(name, text);
  }
  void add(const char* name, const NNNeuronDescriptor& d) {
    add(name, std::to_string(static_cast<int>(d.neuronType())));
    add("a", d.a());
    add("b", d.b());
    add("c", d.c());
    add("data", d.data());
  }
  void add(const char* name, const std::shared_ptr<NNPadding>& policy) {
    add(name,
        policy->label() + " " + std::to_string(static_cast<unsigned>(policy->paddingMethod())));
  }
  void add(const char* name, const std::shared_ptr<ImageAllocator>& allocator) {
    add(name, std::string(allocator->archive_name()));
  }

  void base(const Kernel& k) {
    add("class", std::string(k.class_name()));
    add("label", k.label());
    add("options", k.options());
    if (const auto* unary = dynamic_cast<const CNNKernel*>(&k)) of(*unary);
    if (const auto* binary = dynamic_cast<const CNNBinaryKernel*>(&k)) of(*binary);
    if (const auto* gradient = dynamic_cast<const CNNGradientKernel*>(&k)) of(*gradient);
    if (const auto* optimizer = dynamic_cast<const NNOptimizer*>(&k)) of(*optimizer);
  }

 private:
  void of(const CNNKernel& k) {
    add("offset", k.offset());
    add("clipRect", k.clipRect());
    add("destinationFeatureChannelOffset", k.destinationFeatureChannelOffset());
    add("sourceFeatureChannelOffset", k.sourceFeatureChannelOffset());
    add("sourceFeatureChannelMaxCount", k.sourceFeatureChannelMaxCount());
    add("edgeMode", k.edgeMode());
    add("kernelWidth", k.kernelWidth());
    add("kernelHeight", k.kernelHeight());
    add("strideInPixelsX", k.strideInPixelsX());
    add("strideInPixelsY", k.strideInPixelsY());
    add("dilationRateX", k.dilationRateX());
    add("dilationRateY", k.dilationRateY());
    add("padding", k.padding());
    add("destinationImageAllocator", k.destinationImageAllocator());
  }
  void of(const CNNBinaryKernel& k) {
    add("primaryOffset", k.primaryOffset());
    add("secondaryOffset", k.secondaryOffset());
    add("clipRect", k.clipRect());
    add("destinationFeatureChannelOffset", k.destinationFeatureChannelOffset());
    add("primarySourceFeatureChannelOffset", k.primarySourceFeatureChannelOffset());
    add("primarySourceFeatureChannelMaxCount", k.primarySourceFeatureChannelMaxCount());
    add("secondarySourceFeatureChannelOffset", k.secondarySourceFeatureChannelOffset());
    add("secondarySourceFeatureChannelMaxCount", k.secondarySourceFeatureChannelMaxCount());
    add("primaryEdgeMode", k.primaryEdgeMode());
    add("secondaryEdgeMode", k.secondaryEdgeMode());
    add("primaryKernelWidth", k.primaryKernelWidth());
    add("primaryKernelHeight", k.primaryKernelHeight());
    add("secondaryKernelWidth", k.secondaryKernelWidth());
    add("secondaryKernelHeight", k.secondaryKernelHeight());
    add("primaryStrideInPixelsX", k.primaryStrideInPixelsX());
    add("primaryStrideInPixelsY", k.primaryStrideInPixelsY());
    add("secondaryStrideInPixelsX", k.secondaryStrideInPixelsX());
    add("secondaryStrideInPixelsY", k.secondaryStrideInPixelsY());
    add("primaryDilationRateX", k.primaryDilationRateX());
    add("primaryDilationRateY", k.primaryDilationRateY());
    add("secondaryDilationRateX", k.secondaryDilationRateX());
    add("secondaryDilationRateY", k.secondaryDilationRateY());
    add("padding", k.padding());
    add("destinationImageAllocator", k.destinationImageAllocator());
  }
  void of(const CNNGradientKernel& k) {
    add("kernelOffsetX", k.kernelOffsetX());
    add("kernelOffsetY", k.kernelOffsetY());
  }
  void of(const NNOptimizer& k) {
    add("learningRate", k.learningRate());
    add("gradientRescale", k.gradientRescale());
    add("applyGradientClipping", k.applyGradientClipping());
    add("gradientClipMax", k.gradientClipMax());
    add("gradientClipMin", k.gradientClipMin());
    add("regularizationScale", k.regularizationScale());
    add("regularizationType", k.regularizationType());
  }
};

// The properties of each family itself; overloads take the class that declares them.

void own(Listing& l, const CNNNeuron& k) {
  l.add("neuronType", k.neuronType());
  l.add("a", k.a());
  l.add("b", k.b());
  l.add("c", k.c());
  l.add("data", k.data());
}
void own(Listing& l, const CNNNeuronGradient& k) {
  l.add("neuronType", k.neuronType());
  l.add("a", k.a());
  l.add("b", k.b());
  l.add("c", k.c());
  l.add("data", k.data());
}
void own(Listing&, const CNNPoolingMax&) {}
void own(Listing& l, const CNNPoolingAverage& k) {
  l.add("zeroPadSizeX", k.zeroPadSizeX());
  l.add("zeroPadSizeY", k.zeroPadSizeY());
}
void own(Listing& l, const CNNPoolingMaxGradient& k) { l.add("sourceSize", k.sourceSize()); }
void own(Listing& l, const CNNPoolingAverageGradient& k) {
  l.add("sourceSize", k.sourceSize());
  l.add("zeroPadSizeX", k.zeroPadSizeX());
  l.add("zeroPadSizeY", k.zeroPadSizeY());
}
void own(Listing&, const detail::SoftMaxKernel&) {}
void own(Listing&, const detail::SoftMaxGradientKernel&) {}
void own(Listing&, const NNInitialGradient&) {}
void own(Listing&, const CNNBatchNormalizationStatistics&) {}
void own(Listing&, const CNNBatchNormalizationStatisticsGradient&) {}
void own(Listing&, const CNNBatchNormalizationGradient&) {}
void own(Listing& l, const CNNBatchNormalization& k) {
  l.add("numberOfFeatureChannels", k.numberOfFeatureChannels());
  l.add("epsilon", k.epsilon());
  for (const Buffer& buffer : k.values()) {
    const auto values = buffer.as<float>();
    l.add("values", std::vector<float>(values.begin(), values.end()));
  }
}
template <class K>
void dropout(Listing& l, const K& k) {
  l.add("keepProbability", k.keepProbability());
  l.add("seed", k.seed());
  l.add("maskStrideInPixels", k.maskStrideInPixels());
}
void own(Listing& l, const CNNDropout& k) {
  dropout(l, k);
  l.add("encode_number", k.encode_number());
}
void own(Listing& l, const CNNDropoutGradient& k) { dropout(l, k); }
template <class K>
void spatial(Listing& l, const K& k) {
  l.add("alpha", k.alpha());
  l.add("beta", k.beta());
  l.add("delta", k.delta());
  l.add("kernelWidth", k.kernelWidth());
  l.add("kernelHeight", k.kernelHeight());
}
void own(Listing& l, const CNNSpatialNormalization& k) { spatial(l, k); }
void own(Listing& l, const CNNSpatialNormalizationGradient& k) { spatial(l, k); }
void own(Listing& l, const CNNArithmetic& k) {
  l.add("primaryScale", k.primaryScale());
  l.add("secondaryScale", k.secondaryScale());
  l.add("bias", k.bias());
  l.add("primaryStrideInFeatureChannels", k.primaryStrideInFeatureChannels());
  l.add("secondaryStrideInFeatureChannels", k.secondaryStrideInFeatureChannels());
  l.add("minimumValue", k.minimumValue());
  l.add("maximumValue", k.maximumValue());
}
void own(Listing& l, const CNNArithmeticGradient& k) {
  l.add("isSecondarySourceFilter", k.isSecondarySourceFilter());
  l.add("primaryScale", k.primaryScale());
  l.add("secondaryScale", k.secondaryScale());
  l.add("bias", k.bias());
  l.add("secondaryStrideInFeatureChannels", k.secondaryStrideInFeatureChannels());
  l.add("minimumValue", k.minimumValue());
  l.add("maximumValue", k.maximumValue());
}
template <class K>
void loss(Listing& l, const K& k) {
  l.add("lossType", k.lossType());
  l.add("reductionType", k.reductionType());
  l.add("reduceAcrossBatch", k.reduceAcrossBatch());
  l.add("weight", k.weight());
  l.add("labelSmoothing", k.labelSmoothing());
  l.add("numberOfClasses", k.numberOfClasses());
  l.add("epsilon", k.epsilon());
  l.add("delta", k.delta());
}
void switches(Listing& l, const LossSwitches& s) {
  l.add("softmax_cross_entropy_exact_gradient", s.softmax_cross_entropy_exact_gradient);
  l.add("kl_gradient_published", s.kl_gradient_published);
  l.add("loss_gradient_ignores_reduction", s.loss_gradient_ignores_reduction);
  l.add("cnn_loss_gradient_applies_reduction", s.cnn_loss_gradient_applies_reduction);
}
void own(Listing& l, const CNNLoss& k) {
  loss(l, k);
  switches(l, k.switches());
}
void own(Listing& l, const NNForwardLoss& k) { loss(l, k); }
void own(Listing& l, const NNLossGradient& k) {
  loss(l, k);
  switches(l, k.switches());
  l.add("computeLabelGradients", k.computeLabelGradients());
}
void own(Listing& l, const CNNConvolution& k) {
  l.add("inputFeatureChannels", k.inputFeatureChannels());
  l.add("outputFeatureChannels", k.outputFeatureChannels());
  l.add("groups", k.groups());
  l.add("channelMultiplier", k.channelMultiplier());
  l.add("fusedNeuronDescriptor", k.fusedNeuronDescriptor());
  l.add("accumulatorPrecisionOption", k.accumulatorPrecisionOption());
}
void own(Listing& l, const CNNConvolutionGradient& k) {
  l.add("sourceGradientFeatureChannels", k.sourceGradientFeatureChannels());
  l.add("sourceImageFeatureChannels", k.sourceImageFeatureChannels());
  l.add("groups", k.groups());
  l.add("channelMultiplier", k.channelMultiplier());
  l.add("gradientOption", k.gradientOption());
  l.add("serializeWeightsAndBiases", k.serializeWeightsAndBiases());
}
void own(Listing& l, const NNOptimizerStochasticGradientDescent& k) {
  l.add("momentumScale", k.momentumScale());
  l.add("useNesterovMomentum", k.useNesterovMomentum());
}
void own(Listing& l, const NNOptimizerRMSProp& k) {
  l.add("decay", k.decay());
  l.add("epsilon", k.epsilon());
}
void own(Listing& l, const NNOptimizerAdam& k) {
  l.add("beta1", k.beta1());
  l.add("beta2", k.beta2());
  l.add("epsilon", k.epsilon());
  l.add("timeStep", k.timeStep());
}

template <class... Ks>
void list_own(Listing& l, const Kernel& kernel) {
  const bool any = ([&] {
    const auto* k = dynamic_cast<const Ks*>(&kernel);
    if (k != nullptr) own(l, *k);
    return k != nullptr;
  }() || ...);
  if (!any) l.add("own properties", std::string("not listed"));
}

// ---- making -------------------------------------------------------------------------------------

/// Nothing of the base classes at its default.
void set_base(Kernel& kernel) {
  kernel.setLabel("label é");
  kernel.setOptions(KernelOptions::AllowReducedPrecision | KernelOptions::InsertDebugGroups);
  using enum NNPaddingMethod;
  const Region clip{{1, 2, 0}, {3, 2, 1}};
  if (auto* k = dynamic_cast<CNNKernel*>(&kernel)) {
    k->setOffset({1, -2, 3});
    k->setClipRect(clip);
    k->setDestinationFeatureChannelOffset(4);
    k->setSourceFeatureChannelOffset(8);
    k->setSourceFeatureChannelMaxCount(12);
    k->setEdgeMode(ImageEdgeMode::Clamp);
    k->setPadding(NNDefaultPadding::padding(AlignBottomRight | SizeFull));
    k->setDestinationImageAllocator(Image::defaultAllocator());
  }
  if (auto* k = dynamic_cast<CNNBinaryKernel*>(&kernel)) {
    k->setPrimaryOffset({-1, 2, 3});
    k->setSecondaryOffset({4, -5, 6});
    k->setClipRect(clip);
    k->setDestinationFeatureChannelOffset(4);
    k->setPrimarySourceFeatureChannelOffset(8);
    k->setPrimarySourceFeatureChannelMaxCount(12);
    k->setSecondarySourceFeatureChannelOffset(16);
    k->setSecondarySourceFeatureChannelMaxCount(20);
    k->setPrimaryEdgeMode(ImageEdgeMode::Clamp);
    k->setSecondaryEdgeMode(ImageEdgeMode::Clamp);
    k->setPrimaryStrideInPixelsX(0);
    k->setPrimaryStrideInPixelsY(2);
    k->setSecondaryStrideInPixelsX(3);
    k->setSecondaryStrideInPixelsY(4);
    k->setPadding(NNDefaultPadding::paddingForTensorflowAveragePooling());
    k->setDestinationImageAllocator(Image::defaultAllocator());
  }
  if (auto* k = dynamic_cast<CNNGradientKernel*>(&kernel)) {
    k->setKernelOffsetX(-7);
    k->setKernelOffsetY(8);
  }
}

/// The geometry that a run uses, and that fits its images: for two sources the defaults.
void set_geometry(Kernel& kernel, bool plain = false) {
  if (auto* k = dynamic_cast<CNNKernel*>(&kernel)) {
    k->setOffset(plain ? Offset{} : Offset{1, 0, 0});
    k->setClipRect(plain ? RectNoClip : Region{{1, 0, 0}, {2, 3, 1}});
    k->setDestinationFeatureChannelOffset(plain ? 0 : 4);
    k->setSourceFeatureChannelOffset(plain ? 0 : 4);
    k->setSourceFeatureChannelMaxCount(plain ? all_channels : 4);
    k->setPadding(nullptr);
  }
  if (auto* k = dynamic_cast<CNNBinaryKernel*>(&kernel)) {
    k->setPrimaryOffset({});
    k->setSecondaryOffset({});
    k->setClipRect(RectNoClip);
    k->setDestinationFeatureChannelOffset(0);
    k->setPrimarySourceFeatureChannelOffset(0);
    k->setPrimarySourceFeatureChannelMaxCount(all_channels);
    k->setSecondarySourceFeatureChannelOffset(0);
    k->setSecondarySourceFeatureChannelMaxCount(all_channels);
    k->setPadding(nullptr);
    if (dynamic_cast<CNNArithmetic*>(&kernel) != nullptr ||
        dynamic_cast<CNNArithmeticGradient*>(&kernel) != nullptr) {
      k->setPrimaryStrideInPixelsX(1);
      k->setPrimaryStrideInPixelsY(1);
      k->setSecondaryStrideInPixelsX(1);
      k->setSecondaryStrideInPixelsY(1);
    }
  }
  if (auto* k = dynamic_cast<CNNGradientKernel*>(&kernel)) {
    k->setKernelOffsetX(0);
    k->setKernelOffsetY(0);
  }
}

ImageBatch images(const Device& device, std::size_t w, std::size_t h, std::size_t c,
                  std::uint64_t seed, float low = -1, float high = 1) {
  ImageBatch batch(
      device, ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c), 2);
  for (std::size_t i = 0; i < batch.size(); ++i)
    batch[i].write_floats(floats(w * h * c, seed + i, low, high));
  return batch;
}
void append(Bits& bits, const ImageBatch& batch) {
  for (const Image image : batch) {
    const auto values = image.read_floats();
    bits.insert(bits.end(), values.begin(), values.end());
  }
}
void append(Bits& bits, const Buffer& buffer) {
  const auto values = buffer.as<float>();
  bits.insert(bits.end(), values.begin(), values.end());
}

CommandBuffer commands(const Kernel& kernel) {
  return kernel.device().makeCommandQueue().makeCommandBuffer();
}

constexpr std::size_t W = 6, H = 5, C = 8;

/// Into given destinations, with the geometry of set_geometry.
Bits run_unary(Kernel& kernel) {
  auto& k = dynamic_cast<CNNKernel&>(kernel);
  set_geometry(k);
  const ImageBatch source = images(k.device(), W, H, C, 1),
                   result = images(k.device(), 4, 4, 12, 9);
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, source, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}

template <class Forward>
Bits run_gradient(Kernel& kernel, Forward forward, bool reads_result = false) {
  auto& k = dynamic_cast<CNNGradientKernel&>(kernel);
  set_geometry(k);
  k.setDestinationImageAllocator(Image::defaultAllocator());
  forward.setDestinationImageAllocator(Image::defaultAllocator());
  const ImageBatch source = images(k.device(), W, H, C, 1, 0.1F, 0.9F);
  CommandBuffer buffer = commands(k);
  StateBatch states;
  const ImageBatch result = forward.encodeBatch(buffer, source, &states, false);
  const ImageBatch incoming = images(k.device(), result.front().width(), result.front().height(),
                                     result.front().featureChannels(), 5);
  const ImageBatch gradient =
      k.encodeBatch(buffer, incoming, reads_result ? result : source, states);
  finish(buffer);
  Bits bits;
  append(bits, gradient);
  return bits;
}
Bits run_arithmetic(Kernel& kernel) {
  auto& k = dynamic_cast<CNNArithmetic&>(kernel);
  set_geometry(k);
  k.setPrimaryStrideInFeatureChannels(1);
  k.setSecondaryStrideInFeatureChannels(1);
  const ImageBatch a = images(k.device(), W, H, C, 1), b = images(k.device(), W, H, C, 3, 0.5F, 2),
                   result = images(k.device(), W, H, C, 9);
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, a, b, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}
Bits run_arithmetic_gradient(Kernel& kernel) {
  auto& k = dynamic_cast<CNNArithmeticGradient&>(kernel);
  set_geometry(k);
  k.setSecondaryStrideInFeatureChannels(1);
  const ImageBatch a = images(k.device(), W, H, C, 1), b = images(k.device(), W, H, C, 3),
                   result = images(k.device(), W, H, C, 9);
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, a, b, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}

NNNeuronDescriptor slopes() { return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(floats(16, 40)); }
NNNeuronDescriptor curve() {
  return NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::Power, 0.5F, 1.5F, 2.0F);
}

/// Everything at values of its own.
class TestNormalization final : public CNNBatchNormalizationDataSource {
 public:
  TestNormalization() = default;
  explicit TestNormalization(Coder&) {}
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return 4; }
  [[nodiscard]] const float* gamma() override { return gamma_.data(); }
  [[nodiscard]] const float* beta() override { return beta_.data(); }
  [[nodiscard]] const float* mean() override { return mean_.data(); }
  [[nodiscard]] const float* variance() override { return variance_.data(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "normalization"; }

 private:
  std::vector<float> gamma_ = floats(4, 51), beta_ = floats(4, 52), mean_ = floats(4, 53),
                     variance_ = floats(4, 54, 0.5F, 2);
};
std::unique_ptr<CNNBatchNormalization> normalization(const Device& device) {
  auto k = std::make_unique<CNNBatchNormalization>(device, std::make_shared<TestNormalization>(),
                                                   slopes());
  k->setEpsilon(0.25F);
  return k;
}

/// Statistics, normalisation and both gradients of one batch, one of them `kernel`.
Bits run_normalization(Kernel& kernel) {
  const Device device = kernel.device();
  set_geometry(kernel, true);
  CNNBatchNormalizationStatistics statistics(device);
  CNNBatchNormalization normalize(device, std::make_shared<TestNormalization>(), slopes());
  CNNBatchNormalizationStatisticsGradient sums(device, slopes());
  CNNBatchNormalizationGradient gradient(device, slopes());
  if (auto* k = dynamic_cast<CNNBatchNormalizationStatistics*>(&kernel)) statistics = *k;
  if (auto* k = dynamic_cast<CNNBatchNormalization*>(&kernel)) normalize = *k;
  if (auto* k = dynamic_cast<CNNBatchNormalizationStatisticsGradient*>(&kernel)) sums = *k;
  if (auto* k = dynamic_cast<CNNBatchNormalizationGradient*>(&kernel)) gradient = *k;
  const ImageBatch source = images(device, W, H, 4, 1), incoming = images(device, W, H, 4, 5),
                   result = images(device, W, H, 4, 9), gradients = images(device, W, H, 4, 11);
  CommandBuffer buffer = device.makeCommandQueue().makeCommandBuffer();
  const auto state = std::dynamic_pointer_cast<CNNBatchNormalizationState>(
      normalize.resultState(source.front(), {}, result.front()));
  statistics.encodeBatch(buffer, source, state);
  normalize.encodeBatch(buffer, source, state, result);
  sums.encodeBatch(buffer, incoming, source, state);
  gradient.encodeBatch(buffer, incoming, source, state, gradients);
  finish(buffer);
  Bits bits;
  append(bits, result);
  append(bits, gradients);
  append(bits, state->gradientForGamma());
  append(bits, state->gradientForBeta());
  return bits;
}

CNNLossDescriptor loss_descriptor() {
  auto d = CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy,
                                                CNNReductionType::Mean);
  d.setReduceAcrossBatch(true);
  d.setWeight(1.5F);
  d.setLabelSmoothing(0.125F);
  d.setNumberOfClasses(7);
  d.setEpsilon(0.5F);
  d.setDelta(2.5F);
  return d;
}
constexpr LossSwitches all_switches{true, true, true, true};

Bits run_loss(Kernel& kernel) {
  const Device device = kernel.device();
  set_geometry(kernel, true);
  const ImageBatch source = images(device, W, H, C, 1), labels = images(device, W, H, C, 3, 0, 1);
  CommandBuffer buffer = commands(kernel);
  Bits bits;
  if (auto* k = dynamic_cast<CNNLoss*>(&kernel)) {
    const ImageBatch result = images(device, W, H, C, 9);
    CNNLossLabelsBatch batch;
    for (const Image image : labels)
      batch.push_back(std::make_shared<CNNLossLabels>(device, Size{1, 1, 1}, image, Image()));
    k->encodeBatch(buffer, source, batch, result);
    finish(buffer);
    append(bits, result);
    for (const auto& one : batch) append(bits, ImageBatch{one->lossImage()});
  } else if (auto* forward = dynamic_cast<NNForwardLoss*>(&kernel)) {
    const ImageBatch result = images(device, 1, 1, 1, 9);
    forward->encodeBatch(buffer, source, labels, {}, {}, result);
    finish(buffer);
    append(bits, result);
  } else {
    auto& gradient = dynamic_cast<NNLossGradient&>(kernel);
    const ImageBatch incoming = images(device, 1, 1, 1, 7), result = images(device, W, H, C, 9);
    gradient.encodeBatch(buffer, incoming, source, labels, {}, {}, result);
    finish(buffer);
    append(bits, result);
  }
  return bits;
}

NNOptimizerDescriptor optimizer_descriptor() {
  return {0.5F, 0.75F, true, 0.875F, -0.625F, NNRegularizationType::L2, 0.25F};
}
Bits run_optimizer(Kernel& kernel) {
  const Device device = kernel.device();
  const auto vector = [&](std::uint64_t seed) {
    const auto values = floats(32, seed, 0.1F, 2);
    return Vector(device.makeBuffer(values.data(), values.size() * sizeof(float)),
                  VectorDescriptor::vectorDescriptor(32, DataType::Float32));
  };
  const Vector g = vector(1), w = vector(2), m = vector(3), v = vector(4), result = vector(5);
  CommandBuffer buffer = commands(kernel);
  if (auto* k = dynamic_cast<NNOptimizerStochasticGradientDescent*>(&kernel))
    k->encode(buffer, g, w, m, result);
  if (auto* k = dynamic_cast<NNOptimizerRMSProp*>(&kernel)) k->encode(buffer, g, w, m, result);
  if (auto* k = dynamic_cast<NNOptimizerAdam*>(&kernel)) k->encode(buffer, g, w, m, v, result);
  finish(buffer);
  Bits bits;
  append(bits, m.data());
  append(bits, v.data());
  append(bits, result.data());
  return bits;
}

template <class K, class Set>
ArchiveRow row(std::string name, Set&& make, std::function<Bits(Kernel&)> run) {
  return {std::move(name),
          [make](const Device& device) -> std::unique_ptr<Kernel> {
            std::unique_ptr<K> kernel = make(device);
            set_base(*kernel);
            return kernel;
          },
          std::move(run)};
}

template <class K>
ArchiveRow arithmetic(std::string name) {
  return row<K>(
      std::move(name),
      [](const Device& device) {
        auto k = std::make_unique<K>(device);
        k->setPrimaryScale(1.5F);
        k->setSecondaryScale(0.5F);
        k->setBias(0.25F);
        k->setPrimaryStrideInFeatureChannels(0);
        k->setSecondaryStrideInFeatureChannels(0);
        k->setMinimumValue(-0.75F);
        k->setMaximumValue(0.5F);
        return k;
      },
      run_arithmetic);
}
template <class K>
ArchiveRow arithmetic_gradient(std::string name) {
  return row<K>(
      std::move(name),
      [](const Device& device) {
        auto k = std::make_unique<K>(device, true);
        k->setPrimaryScale(1.5F);
        k->setSecondaryScale(0.5F);
        k->setBias(0.25F);
        k->setSecondaryStrideInFeatureChannels(0);
        k->setMinimumValue(-0.75F);
        k->setMaximumValue(0.5F);
        return k;
      },
      run_arithmetic_gradient);
}
template <class K>
ArchiveRow plain(std::string name, std::function<Bits(Kernel&)> run) {
  return row<K>(
      std::move(name), [](const Device& device) { return std::make_unique<K>(device); },
      std::move(run));
}
template <class K>
ArchiveRow lossy(std::string name) {
  return row<K>(
      std::move(name),
      [](const Device& device) {
        auto k = std::make_unique<K>(device, loss_descriptor());
        if constexpr (!std::is_same_v<K, NNForwardLoss>) k->set_switches(all_switches);
        if constexpr (std::is_same_v<K, NNLossGradient>) {
          k->setComputeLabelGradients(true);
          k->set_weight_override(3.0F);
        }
        return k;
      },
      run_loss);
}

template <class K>
Bits run_convolution(Kernel& kernel) {
  auto& k = dynamic_cast<K&>(kernel);
  const bool connected = std::is_same_v<K, CNNFullyConnected>;
  set_geometry(k);
  const ImageBatch source = images(k.device(), connected ? 3 : 9, connected ? 2 : 8, C, 1);
  const ImageBatch result = images(k.device(), connected ? 1 : 4, connected ? 1 : 4, 12, 9);
  if (connected) k.setClipRect(RectNoClip);
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, source, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}
template <class K>
ArchiveRow convolution(std::string name) {
  return row<K>(
      std::move(name),
      [](const Device& device) {
        auto k =
            std::make_unique<K>(device, test_weights(false, std::is_same_v<K, CNNFullyConnected>));
        k->setAccumulatorPrecisionOption(NNConvolutionAccumulatorPrecisionOption::Half);
        return k;
      },
      run_convolution<K>);
}
template <class K, class Forward>
ArchiveRow convolution_gradient(std::string name) {
  constexpr bool connected = std::is_same_v<Forward, CNNFullyConnected>;
  return row<K>(
      std::move(name),
      [](const Device& device) {
        auto k = std::make_unique<K>(device, test_weights(false, connected));
        k->setGradientOption(CNNConvolutionGradientOption::GradientWithData);
        k->setSerializeWeightsAndBiases(true);
        return k;
      },
      [](Kernel& kernel) {
        auto& k = dynamic_cast<K&>(kernel);
        k.setGradientOption(CNNConvolutionGradientOption::All);
        set_geometry(k);
        k.setDestinationImageAllocator(Image::defaultAllocator());
        Forward forward(k.device(), test_weights(false, connected));
        forward.setDestinationImageAllocator(Image::defaultAllocator());
        const ImageBatch source = images(k.device(), connected ? 3 : 9, connected ? 2 : 8, 4, 1);
        CommandBuffer buffer = commands(k);
        StateBatch states;
        const ImageBatch result = forward.encodeBatch(buffer, source, &states, false);
        const ImageBatch incoming =
            images(k.device(), result.front().width(), result.front().height(), 8, 5);
        const ImageBatch gradient = k.encodeBatch(buffer, incoming, source, states);
        finish(buffer);
        Bits bits;
        append(bits, gradient);
        append(bits, states.at<CNNConvolutionGradientState>(0)->gradientForWeights());
        append(bits, states.at<CNNConvolutionGradientState>(0)->gradientForBiases());
        return bits;
      });
}

template <class K>
std::unique_ptr<K> pooling(const Device& device) {
  auto k = std::make_unique<K>(device, 3, 2, 2, 3);
  if constexpr (std::is_base_of_v<CNNPoolingGradient, K>) k->setSourceSize({5, 6, 7});
  if constexpr (requires { k->setZeroPadSizeX(1); }) {
    k->setZeroPadSizeX(1);
    k->setZeroPadSizeY(2);
  }
  return k;
}
template <class K>
std::unique_ptr<K> windowed(const Device& device) {
  auto k = std::make_unique<K>(device, 3, 2);
  k->setAlpha(1.5F);
  k->setBeta(0.75F);
  k->setDelta(1.25F);
  return k;
}

std::vector<ArchiveRow> made() {
  const Size strides{0, 1, 0};
  return {
      arithmetic<CNNAdd>("CNNAdd"),
      arithmetic<CNNSubtract>("CNNSubtract"),
      arithmetic<CNNMultiply>("CNNMultiply"),
      arithmetic<CNNDivide>("CNNDivide"),
      arithmetic_gradient<CNNAddGradient>("CNNAddGradient"),
      arithmetic_gradient<CNNSubtractGradient>("CNNSubtractGradient"),
      arithmetic_gradient<CNNMultiplyGradient>("CNNMultiplyGradient"),
      row<CNNBatchNormalization>("CNNBatchNormalization", normalization, run_normalization),
      plain<CNNBatchNormalizationStatistics>("CNNBatchNormalizationStatistics", run_normalization),
      row<CNNBatchNormalizationStatisticsGradient>(
          "CNNBatchNormalizationStatisticsGradient",
          [](const Device& device) {
            return std::make_unique<CNNBatchNormalizationStatisticsGradient>(device, slopes());
          },
          run_normalization),
      row<CNNBatchNormalizationGradient>(
          "CNNBatchNormalizationGradient",
          [](const Device& device) {
            return std::make_unique<CNNBatchNormalizationGradient>(device, slopes());
          },
          run_normalization),
      convolution<CNNConvolution>("CNNConvolution"),
      convolution<CNNFullyConnected>("CNNFullyConnected"),
      convolution_gradient<CNNConvolutionGradient, CNNConvolution>("CNNConvolutionGradient"),
      convolution_gradient<CNNFullyConnectedGradient, CNNFullyConnected>(
          "CNNFullyConnectedGradient"),
      row<CNNDropout>(
          "CNNDropout",
          [=](const Device& device) {
            auto k = std::make_unique<CNNDropout>(device, 0.625F, 12345678901234567890ULL, strides);
            k->set_encode_number(17);
            return k;
          },
          run_unary),
      row<CNNDropoutGradient>(
          "CNNDropoutGradient",
          [=](const Device& device) {
            return std::make_unique<CNNDropoutGradient>(device, 0.625F, 12345678901234567890ULL,
                                                        strides);
          },
          [=](Kernel& k) {
            return run_gradient(k,
                                CNNDropout(k.device(), 0.625F, 12345678901234567890ULL, strides));
          }),
      lossy<CNNLoss>("CNNLoss"),
      lossy<NNForwardLoss>("NNForwardLoss"),
      lossy<NNLossGradient>("NNLossGradient"),
      plain<NNInitialGradient>("NNInitialGradient", run_unary),
      row<CNNNeuron>(
          "CNNNeuron",
          [](const Device& device) { return std::make_unique<CNNNeuron>(device, slopes()); },
          run_unary),
      row<CNNNeuronGradient>(
          "CNNNeuronGradient",
          [](const Device& device) { return std::make_unique<CNNNeuronGradient>(device, curve()); },
          [](Kernel& k) { return run_gradient(k, CNNNeuron(k.device(), curve())); }),
      row<CNNPoolingMax>("CNNPoolingMax", pooling<CNNPoolingMax>, run_unary),
      row<CNNPoolingAverage>("CNNPoolingAverage", pooling<CNNPoolingAverage>, run_unary),
      row<CNNPoolingMaxGradient>(
          "CNNPoolingMaxGradient", pooling<CNNPoolingMaxGradient>,
          [](Kernel& k) { return run_gradient(k, *pooling<CNNPoolingMax>(k.device())); }),
      row<CNNPoolingAverageGradient>(
          "CNNPoolingAverageGradient", pooling<CNNPoolingAverageGradient>,
          [](Kernel& k) { return run_gradient(k, *pooling<CNNPoolingAverage>(k.device())); }),
      plain<CNNSoftMax>("CNNSoftMax", run_unary),
      plain<CNNLogSoftMax>("CNNLogSoftMax", run_unary),
      plain<CNNSoftMaxGradient>(
          "CNNSoftMaxGradient",
          [](Kernel& k) { return run_gradient(k, CNNSoftMax(k.device()), true); }),
      plain<CNNLogSoftMaxGradient>(
          "CNNLogSoftMaxGradient",
          [](Kernel& k) { return run_gradient(k, CNNLogSoftMax(k.device()), true); }),
      row<CNNSpatialNormalization>("CNNSpatialNormalization", windowed<CNNSpatialNormalization>,
                                   run_unary),
      row<CNNSpatialNormalizationGradient>(
          "CNNSpatialNormalizationGradient", windowed<CNNSpatialNormalizationGradient>,
          [](Kernel& k) {
            return run_gradient(k, *windowed<CNNSpatialNormalization>(k.device()));
          }),
      row<NNOptimizerStochasticGradientDescent>(
          "NNOptimizerStochasticGradientDescent",
          [](const Device& device) {
            return std::make_unique<NNOptimizerStochasticGradientDescent>(device, 0.9F, true,
                                                                          optimizer_descriptor());
          },
          run_optimizer),
      row<NNOptimizerRMSProp>(
          "NNOptimizerRMSProp",
          [](const Device& device) {
            return std::make_unique<NNOptimizerRMSProp>(device, 0.85, 0.0625F,
                                                        optimizer_descriptor());
          },
          run_optimizer),
      row<NNOptimizerAdam>(
          "NNOptimizerAdam",
          [](const Device& device) {
            return std::make_unique<NNOptimizerAdam>(device, 0.8, 0.95, 0.0625F, 5,
                                                     optimizer_descriptor());
          },
          run_optimizer),
  };
}

}  // namespace

const std::vector<ArchiveRow>& archive_rows() {
  static const std::vector<ArchiveRow> rows = made();
  return rows;
}

std::vector<std::string> properties(const Kernel& kernel) {
  Listing listing;
  listing.base(kernel);
  list_own<CNNNeuron, CNNNeuronGradient, CNNPoolingMax, CNNPoolingAverage, CNNPoolingMaxGradient,
           CNNPoolingAverageGradient, detail::SoftMaxKernel, detail::SoftMaxGradientKernel,
           NNInitialGradient, CNNBatchNormalizationStatistics,
           CNNBatchNormalizationStatisticsGradient, CNNBatchNormalizationGradient,
           CNNBatchNormalization, CNNDropout, CNNDropoutGradient, CNNSpatialNormalization,
           CNNSpatialNormalizationGradient, CNNArithmetic, CNNArithmeticGradient, CNNLoss,
           NNForwardLoss, NNLossGradient, CNNConvolution, CNNConvolutionGradient,
           NNOptimizerStochasticGradientDescent, NNOptimizerRMSProp, NNOptimizerAdam>(listing,
                                                                                      kernel);
  return listing.lines;
}

std::shared_ptr<TestWeights> test_weights(bool codable, bool connected) {
  const auto descriptor = CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, 4, 8);
  if (!connected) {
    descriptor->setStrideInPixelsX(2);
    descriptor->setDilationRateX(2);
    descriptor->setDilationRateY(2);
    descriptor->setGroups(2);
    std::vector<float> mean = floats(8, 61), variance = floats(8, 62, 0.5F, 2);
    descriptor->setBatchNormalizationParametersForInference(mean.data(), variance.data(), nullptr,
                                                            nullptr, 0.5F);
  }
  descriptor->setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronPReLUDescriptor(floats(8, 63)));
  const std::size_t count = std::size_t{8} * 6 * (connected ? 4 : 2);
  return std::make_shared<TestWeights>(descriptor, floats(count, 64), floats(8, 65), codable);
}

}  // namespace cermet::test
