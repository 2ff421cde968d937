#include "rows.h"

#include <cstring>

#include "../harness/bench.h"
#include "../harness/random.h"
#include "catalog/kernels.h"
#include "cermet/core/fields.h"
#include "rows.h"

namespace cermet::test {

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
  if (auto* k = dynamic_cast<MatrixKernel*>(&kernel)) {
    k->setResultMatrixOrigin({1, 2, 0});
    k->setBatchStart(1);
    k->setBatchSize(2);
  }
  if (auto* k = dynamic_cast<MatrixUnaryKernel*>(&kernel)) k->setSourceMatrixOrigin({2, 1, 0});
  if (auto* k = dynamic_cast<MatrixBinaryKernel*>(&kernel)) {
    k->setPrimarySourceMatrixOrigin({1, 3, 0});
    k->setSecondarySourceMatrixOrigin({3, 1, 0});
  }
  if (auto* k = dynamic_cast<NNReduceUnary*>(&kernel)) k->setClipRectSource({{1, 1, 0}, {4, 3, 1}});
  if (auto* k = dynamic_cast<NNReduceBinary*>(&kernel)) {
    k->setPrimarySourceClipRect({{1, 2, 0}, {4, 3, 1}});
    k->setSecondarySourceClipRect({{2, 1, 0}, {4, 4, 1}});
  }
}

namespace {

// ---- making -------------------------------------------------------------------------------------

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

/// As many elements in as out.
Bits run_reshape(Kernel& kernel) {
  auto& k = dynamic_cast<CNNKernel&>(kernel);
  set_geometry(k);
  const ImageBatch source = images(k.device(), W, H, C, 1),
                   result = images(k.device(), 4, 5, 14, 9);
  k.setClipRect({{1, 1, 0}, {3, 4, 1}});
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, source, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}
/// C of the channels that are read.
Bits run_gram(Kernel& kernel) {
  auto& k = dynamic_cast<CNNKernel&>(kernel);
  set_geometry(k);
  const ImageBatch source = images(k.device(), W, H, C, 1), result = images(k.device(), 5, 2, 8, 9);
  k.setClipRect({{1, 1, 0}, {4, 1, 1}});
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, source, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}
/// Two images, the second of which gives positions.
Bits run_samples(Kernel& kernel) {
  auto& k = dynamic_cast<CNNBinaryKernel&>(kernel);
  set_geometry(k);
  const ImageBatch source = images(k.device(), W, H, C, 1),
                   grid = images(k.device(), 4, 3, 2, 3, -1, 4),
                   result = images(k.device(), 4, 3, C, 9);
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, source, grid, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  return bits;
}

template <class Forward>
Bits run_gradient(Kernel& kernel, Forward&& forward, bool reads_result = false) {
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

/// Two sources, into given destinations.
Bits run_binary(Kernel& kernel) {
  auto& k = dynamic_cast<CNNBinaryKernel&>(kernel);
  set_geometry(k);
  const ImageBatch a = images(k.device(), W, H, C, 1), b = images(k.device(), W, H, C, 3),
                   result = images(k.device(), W, H, 12, 9);
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

template <class Base>
class TestScale : public Base {
 public:
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return 4; }
  [[nodiscard]] const float* gamma() override { return gamma_.data(); }
  [[nodiscard]] const float* beta() override { return beta_.data(); }
  [[nodiscard]] std::string label() const override { return ""; }

 private:
  std::vector<float> gamma_ = floats(4, 51), beta_ = floats(4, 52);
};
class TestGroups final : public TestScale<CNNGroupNormalizationDataSource> {
 public:
  [[nodiscard]] std::size_t numberOfGroups() const override { return 2; }
  void setNumberOfGroups(std::size_t) override {}
};
template <class K, class Source>
std::unique_ptr<K> scaling(const Device& device) {
  auto k = std::make_unique<K>(device, std::make_shared<Source>());
  k->setEpsilon(0.25F);
  k->setSourceFeatureChannelMaxCount(4);
  return k;
}
template <class K, class Source>
Bits run_scaling_gradient(Kernel& kernel) {
  return run_gradient(kernel, *scaling<K, Source>(kernel.device()));
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

CNNYOLOLossDescriptor yolo_descriptor() {
  const std::vector<float> anchors{1, 2, 0.5F, 1.5F};
  auto d = CNNYOLOLossDescriptor::cnnLossDescriptor(
      CNNLossType::Huber, CNNLossType::MeanAbsoluteError, CNNLossType::MeanSquaredError,
      CNNLossType::SigmoidCrossEntropy, CNNReductionType::Mean, anchors, 2);
  for (const auto& [get, set] :
       {std::pair{&CNNYOLOLossDescriptor::XYLossDescriptor,
                  &CNNYOLOLossDescriptor::setXYLossDescriptor},
        {&CNNYOLOLossDescriptor::WHLossDescriptor, &CNNYOLOLossDescriptor::setWHLossDescriptor},
        {&CNNYOLOLossDescriptor::confidenceLossDescriptor,
         &CNNYOLOLossDescriptor::setConfidenceLossDescriptor},
        {&CNNYOLOLossDescriptor::classesLossDescriptor,
         &CNNYOLOLossDescriptor::setClassesLossDescriptor}}) {
    auto part = loss_descriptor();
    part.setLossType((d.*get)().lossType());
    (d.*set)(part);
  }
  d.setReduceAcrossBatch(true);
  d.setRescore(false);
  d.setScaleXY(3);
  d.setScaleWH(4);
  d.setScaleNoObject(6);
  d.setScaleObject(7);
  d.setScaleClass(8);
  d.setMinIOUForObjectPresence(0.5F);
  d.setMaxIOUForObjectAbsence(0.25F);
  return d;
}
Bits run_yolo(Kernel& kernel) {
  auto& k = dynamic_cast<CNNYOLOLoss&>(kernel);
  const Device device = k.device();
  set_geometry(k, true);
  const ImageBatch source = images(device, W, H, 14, 1), labels = images(device, W, H, 14, 3, 0, 1);
  for (const Image image : labels) {
    auto values = image.read_floats();
    for (std::size_t i = 4; i < values.size(); i += 7) values[i] = i % 2 == 0 ? 1.0F : 0.0F;
    image.write_floats(values);
  }
  const ImageBatch result = images(device, W, H, 14, 9);
  CNNLossLabelsBatch batch;
  for (const Image image : labels)
    batch.push_back(std::make_shared<CNNLossLabels>(device, Size{1, 1, 1}, image, Image()));
  CommandBuffer buffer = commands(k);
  k.encodeBatch(buffer, source, batch, result);
  finish(buffer);
  Bits bits;
  append(bits, result);
  for (const auto& one : batch) append(bits, ImageBatch{one->lossImage()});
  return bits;
}

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

/// Four matrices of 9 x 10, or vectors of 10.
Matrix matrices(const Device& device, std::uint64_t seed) {
  const auto values = floats(4 * 90, seed, 0.1F, 2);
  return {device.makeBuffer(values.data(), values.size() * sizeof(float)),
          MatrixDescriptor::matrixDescriptor(9, 10, 4, 40, 360, DataType::Float32)};
}
Vector vectors(const Device& device, std::uint64_t seed) {
  const auto values = floats(40, seed, 0.1F, 2);
  return {device.makeBuffer(values.data(), values.size() * sizeof(float)),
          VectorDescriptor::vectorDescriptor(10, 4, 40, DataType::Float32)};
}
/// Vectors have no columns: their origins count elements.
Bits run_matrix_vector(Kernel& kernel) {
  auto& k = dynamic_cast<MatrixVectorMultiplication&>(kernel);
  k.setSecondarySourceMatrixOrigin({2, 0, 0});
  k.setResultMatrixOrigin({1, 0, 0});
  const Vector result = vectors(k.device(), 9);
  CommandBuffer buffer = commands(k);
  k.encode(buffer, matrices(k.device(), 1), vectors(k.device(), 2), result);
  finish(buffer);
  Bits bits;
  append(bits, result.data());
  return bits;
}
Bits run_matrices(Kernel& kernel) {
  const Device device = kernel.device();
  const Matrix x = matrices(device, 1), y = matrices(device, 2), result = matrices(device, 9);
  const Vector a = vectors(device, 3), b = vectors(device, 4), c = vectors(device, 5),
               d = vectors(device, 6), e = vectors(device, 7), f = vectors(device, 8);
  CommandBuffer buffer = commands(kernel);
  if (auto* k = dynamic_cast<MatrixMultiplication*>(&kernel)) k->encode(buffer, x, y, result);
  if (auto* k = dynamic_cast<MatrixFullyConnected*>(&kernel)) k->encode(buffer, x, y, a, result);
  if (auto* k = dynamic_cast<MatrixFullyConnectedGradient*>(&kernel))
    k->encodeGradientForWeightsAndBias(buffer, x, y, result, a);
  if (auto* k = dynamic_cast<MatrixNeuron*>(&kernel)) k->encode(buffer, x, a, result);
  if (auto* k = dynamic_cast<MatrixNeuronGradient*>(&kernel)) k->encode(buffer, x, y, a, result, b);
  if (auto* k = dynamic_cast<MatrixSoftMax*>(&kernel)) k->encode(buffer, x, result);
  if (auto* k = dynamic_cast<MatrixSoftMaxGradient*>(&kernel)) k->encode(buffer, x, y, result);
  if (auto* k = dynamic_cast<MatrixBatchNormalization*>(&kernel))
    k->encode(buffer, x, a, b, c, d, result);
  if (auto* k = dynamic_cast<MatrixBatchNormalizationGradient*>(&kernel))
    k->encode(buffer, x, y, a, b, c, d, result, e, f);
  if (auto* k = dynamic_cast<MatrixSum*>(&kernel)) {
    const Matrix sources[] = {x, y, x};
    k->encode(buffer, sources, result, a, {}, b, 1);
  }
  if (auto* k = dynamic_cast<MatrixCopy*>(&kernel))
    k->encode(buffer, MatrixCopyDescriptor::descriptor(x, result, {1, 2, 0, 3}));
  finish(buffer);
  Bits bits;
  append(bits, result.data());
  for (const Vector& vector : {a, b, e, f}) append(bits, vector.data());
  return bits;
}
Bits run_random(Kernel& kernel) {
  const Matrix result = matrices(kernel.device(), 9);
  CommandBuffer buffer = commands(kernel);
  dynamic_cast<MatrixRandom&>(kernel).encode(buffer, result);
  finish(buffer);
  Bits bits;
  append(bits, result.data());
  return bits;
}
/// Every property of a matrix kernel that has it.
template <class K>
void set_matrix(K& k) {
  if constexpr (requires { k.setSourceNumberOfFeatureVectors(1); }) {
    k.setSourceNumberOfFeatureVectors(4);
    k.setSourceInputFeatureChannels(5);
  }
  if constexpr (requires { k.setSourceOutputFeatureChannels(1); })
    k.setSourceOutputFeatureChannels(3);
  if constexpr (requires { k.setSourceRows(1); }) {
    k.setSourceRows(4);
    k.setSourceColumns(5);
  }
  if constexpr (requires { k.setAlpha(1); }) k.setAlpha(0.7);
  if constexpr (requires { k.setEpsilon(1); }) k.setEpsilon(0.25F);
  if constexpr (requires { k.setComputeStatistics(true); }) k.setComputeStatistics(true);
  if constexpr (requires { k.slopes(); }) k.setNeuronToPReLUWithParametersA(floats(7, 70));
  if constexpr (requires { k.neuronParameterA(); })
    k.setNeuronType(CNNNeuronType::TanH, 0.5F, 0.75F, 0.25F);
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
        if constexpr (std::is_same_v<K, NNCompare>) {
          k->setComparisonType(NNComparisonType::GreaterOrEqual);
          k->setThreshold(0.75F);
        }
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
template <class K, class... Given>
ArchiveRow matrix(std::string name, Given... given) {
  return row<K>(
      std::move(name),
      [=](const Device& device) {
        auto k = std::make_unique<K>(device, given...);
        set_matrix(*k);
        return k;
      },
      run_matrices);
}
template <class K>
ArchiveRow random_numbers(std::string name) {
  return row<K>(
      std::move(name),
      [](const Device& device) {
        auto k = std::make_unique<K>(
            device, DataType::Float32, 12345678901234567890ULL,
            MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0.5F, 2, -1.5F, 3));
        k->setBatchStart(1);
        k->setBatchSize(2);
        k->set_block_offset(9876543210987654321ULL);
        return k;
      },
      run_random);
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
        if constexpr (std::is_same_v<K, CNNConvolutionTranspose>) {
          k->setKernelOffsetX(-1);
          k->setKernelOffsetY(2);
        }
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
        if constexpr (requires { k->setSerializeWeightsAndBiases(true); })
          k->setSerializeWeightsAndBiases(true);
        if constexpr (requires { k->set_clamp_gradient_drops_edge(true); })
          k->set_clamp_gradient_drops_edge(true);
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

/// Words of one bit each, with every term.
class TestBits final : public CNNConvolutionDataSource {
 public:
  explicit TestBits(bool connected) {
    descriptor_ = CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, connected ? 8 : 4, 8);
    if (!connected) {
      descriptor_->setStrideInPixelsX(2);
      descriptor_->setDilationRateY(2);
    }
    descriptor_->setFusedNeuronDescriptor(curve());
    const auto factor = floats(8, 66, 0.5F, 2);
    descriptor_->setBatchNormalizationParametersForInference(nullptr, nullptr, factor.data(),
                                                             nullptr, 0);
    Random random(67);
    for (int i = 0; i < 48; ++i) words_.push_back(static_cast<std::uint32_t>(random.word()));
  }
  [[nodiscard]] DataType dataType() const override { return DataType::UInt32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return words_.data(); }
  [[nodiscard]] const float* biasTerms() override { return nullptr; }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "bits"; }

 private:
  std::shared_ptr<CNNConvolutionDescriptor> descriptor_;
  std::vector<std::uint32_t> words_;
};
template <class K>
ArchiveRow binary_convolution(std::string name) {
  return row<K>(
      std::move(name),
      [](const Device& device) {
        const auto output_bias = floats(8, 68, 2, 3), output_scale = floats(8, 69, 0.01F, 0.02F),
                   input_bias = floats(8, 70), input_scale = floats(8, 71);
        return std::make_unique<K>(
            device, std::make_shared<TestBits>(std::is_same_v<K, CNNBinaryFullyConnected>),
            output_bias.data(), output_scale.data(), input_bias.data(), input_scale.data(),
            CNNBinaryConvolutionType::AND, CNNBinaryConvolutionFlags::UseBetaScaling);
      },
      [](Kernel& kernel) {
        constexpr bool connected = std::is_same_v<K, CNNBinaryFullyConnected>;
        auto& k = dynamic_cast<K&>(kernel);
        set_geometry(k, connected);
        const ImageBatch source = images(k.device(), connected ? 3 : 9, connected ? 2 : 8, C, 1),
                         result = images(k.device(), connected ? 1 : 4, connected ? 1 : 4,
                                         connected ? 8 : 12, 9);
        CommandBuffer buffer = commands(k);
        k.encodeBatch(buffer, source, result);
        finish(buffer);
        Bits bits;
        append(bits, result);
        return bits;
      });
}

template <class K>
std::unique_ptr<K> pooling(const Device& device) {
  constexpr bool dilated = !std::is_constructible_v<K, const Device&, int, int, int, int>;
  std::unique_ptr<K> k;
  if constexpr (dilated) {
    k = std::make_unique<K>(device, 3, 2, 2, 3, 1, 2);
  } else {
    k = std::make_unique<K>(device, 3, 2, 2, 3);
  }
  if constexpr (std::is_base_of_v<CNNPoolingGradient, K>) k->setSourceSize({5, 6, 7});
  if constexpr (requires { k->setZeroPadSizeX(1); }) {
    k->setZeroPadSizeX(1);
    k->setZeroPadSizeY(2);
  }
  return k;
}
/// No field at its default.
template <class Op>
Op changed(Op op = {}) {
  detail::for_each_field(op, [](std::string_view, auto& value, FieldRange range) {
    using T = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_floating_point_v<T>) {
      value = value * 1.5F + 0.25F;
    } else {
      const auto number = static_cast<std::int64_t>(value);
      value = static_cast<T>(number + 1 <= range.most ? number + 1 : number - 1);
    }
  });
  return op;
}
/// The class of `Kernels` over an operator.
template <class Op, class... Ks>
auto kernel_over(const Op& op, const Device& device, TypeList<Ks...>) {
  std::unique_ptr<CNNKernel> made;
  const auto of = [&]<class K>(const K*) {
    if constexpr (requires(const K& k) {
                    { k.operation() } -> std::same_as<const Op&>;
                  })
      made = std::make_unique<K>(device, op);
  };
  (of(static_cast<const Ks*>(nullptr)), ...);
  return made;
}
/// A row for each kernel that is its operator.
template <class... Ks>
void add_operator_rows(std::vector<ArchiveRow>& rows, TypeList<Ks...>) {
  const auto of = [&]<class K>(const K*) {
    if constexpr (requires(const K& k) { k.operation(); }) {
      using Op = std::remove_cvref_t<decltype(std::declval<const K&>().operation())>;
      const auto make = [](const Device& device) {
        return std::make_unique<K>(device, changed<Op>());
      };
      const std::string name(detail::type_name<K>());
      if constexpr (requires(Op op) { op.forward; }) {
        rows.push_back(row<K>(name, make, [](Kernel& k) {
          const auto forward = kernel_over(changed<Op>().forward, k.device(), Kernels{});
          return run_gradient(k, *forward);
        }));
      } else if constexpr (std::is_same_v<K, NNGramMatrixCalculation>) {
        rows.push_back(row<K>(name, make, run_gram));
      } else if constexpr (std::is_same_v<K, NNGridSample>) {
        rows.push_back(row<K>(name, make, run_samples));
      } else {
        constexpr bool binary = std::is_base_of_v<CNNBinaryKernel, K>;
        rows.push_back(row<K>(name, make, binary ? run_binary : run_unary));
      }
    }
  };
  (of(static_cast<const Ks*>(nullptr)), ...);
}

/// Their classes say all but what the base classes keep.
template <class... Ks>
void add_reductions(std::vector<ArchiveRow>& rows, TypeList<Ks...>) {
  const auto of = [&]<class K>(const K*) {
    rows.push_back(row<K>(
        std::string(detail::type_name<K>()),
        [](const Device& device) {
          if constexpr (std::is_constructible_v<K, const Device&, bool>) {
            return std::make_unique<K>(device, true);
          } else {
            auto k = std::make_unique<K>(device);
            if constexpr (requires { k->setWeight(1); }) k->setWeight(0.75F);
            return k;
          }
        },
        std::is_base_of_v<CNNBinaryKernel, K> ? run_binary : run_unary));
  };
  (of(static_cast<const Ks*>(nullptr)), ...);
}

std::unique_ptr<NNPad> pad(const Device& device) {
  auto k = std::make_unique<NNPad>(device, ImageCoordinate{1, 2, 3}, ImageCoordinate{4, 5, 1},
                                   floats(12, 71));
  k->setFillValue(0.375F);
  return k;
}

std::vector<ArchiveRow> made() {
  const Size strides{0, 1, 0};
  return {
      arithmetic<CNNAdd>("CNNAdd"),
      arithmetic<CNNSubtract>("CNNSubtract"),
      arithmetic<CNNMultiply>("CNNMultiply"),
      arithmetic<CNNDivide>("CNNDivide"),
      arithmetic<NNCompare>("NNCompare"),
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
      row<CNNInstanceNormalization>(
          "CNNInstanceNormalization",
          scaling<CNNInstanceNormalization, TestScale<CNNInstanceNormalizationDataSource>>,
          run_unary),
      plain<CNNInstanceNormalizationGradient>(
          "CNNInstanceNormalizationGradient",
          run_scaling_gradient<CNNInstanceNormalization,
                               TestScale<CNNInstanceNormalizationDataSource>>),
      row<CNNGroupNormalization>("CNNGroupNormalization",
                                 scaling<CNNGroupNormalization, TestGroups>, run_unary),
      plain<CNNGroupNormalizationGradient>("CNNGroupNormalizationGradient",
                                           run_scaling_gradient<CNNGroupNormalization, TestGroups>),
      convolution<CNNConvolution>("CNNConvolution"),
      convolution<CNNFullyConnected>("CNNFullyConnected"),
      binary_convolution<CNNBinaryConvolution>("CNNBinaryConvolution"),
      binary_convolution<CNNBinaryFullyConnected>("CNNBinaryFullyConnected"),
      convolution_gradient<CNNConvolutionGradient, CNNConvolution>("CNNConvolutionGradient"),
      convolution_gradient<CNNFullyConnectedGradient, CNNFullyConnected>(
          "CNNFullyConnectedGradient"),
      convolution<CNNConvolutionTranspose>("CNNConvolutionTranspose"),
      convolution_gradient<CNNConvolutionTransposeGradient, CNNConvolutionTranspose>(
          "CNNConvolutionTransposeGradient"),
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
      row<CNNYOLOLoss>(
          "CNNYOLOLoss",
          [](const Device& device) {
            auto k = std::make_unique<CNNYOLOLoss>(device, yolo_descriptor());
            k->set_switches({true, true, true});
            return k;
          },
          run_yolo),
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
      row<CNNDilatedPoolingMax>("CNNDilatedPoolingMax", pooling<CNNDilatedPoolingMax>, run_unary),
      row<CNNPoolingL2Norm>("CNNPoolingL2Norm", pooling<CNNPoolingL2Norm>, run_unary),
      row<CNNDilatedPoolingMaxGradient>(
          "CNNDilatedPoolingMaxGradient", pooling<CNNDilatedPoolingMaxGradient>,
          [](Kernel& k) { return run_gradient(k, *pooling<CNNDilatedPoolingMax>(k.device())); }),
      row<CNNPoolingL2NormGradient>(
          "CNNPoolingL2NormGradient", pooling<CNNPoolingL2NormGradient>,
          [](Kernel& k) { return run_gradient(k, *pooling<CNNPoolingL2Norm>(k.device())); }),
      plain<NNReshape>("NNReshape", run_reshape),
      plain<NNReshapeGradient>("NNReshapeGradient",
                               [](Kernel& k) { return run_gradient(k, NNReshape(k.device())); }),
      plain<NNSlice>("NNSlice", run_unary),
      row<NNPad>("NNPad", pad,
                 [](Kernel& kernel) {
                   dynamic_cast<NNPad&>(kernel).setEdgeMode(ImageEdgeMode::Constant);
                   return run_unary(kernel);
                 }),
      row<NNPadGradient>(
          "NNPadGradient",
          [](const Device& device) {
            auto k = std::make_unique<NNPadGradient>(device);
            k->set_padding_channels(1, 2);
            return k;
          },
          [](Kernel& k) { return run_gradient(k, *pad(k.device())); }),
      row<NNCropAndResizeBilinear>(
          "NNCropAndResizeBilinear",
          [](const Device& device) {
            const RegionD regions[] = {{{0.1, 0.2, 1}, {0.7, 0.5, 2}},
                                       {{1, 0.5, 3}, {-0.5, 1.5, 4}}};
            return std::make_unique<NNCropAndResizeBilinear>(device, 5, 3, 2, regions);
          },
          run_unary),
      plain<CNNSoftMax>("CNNSoftMax", run_unary),
      plain<CNNLogSoftMax>("CNNLogSoftMax", run_unary),
      plain<CNNSoftMaxGradient>(
          "CNNSoftMaxGradient",
          [](Kernel& k) { return run_gradient(k, CNNSoftMax(k.device()), true); }),
      plain<CNNLogSoftMaxGradient>(
          "CNNLogSoftMaxGradient",
          [](Kernel& k) { return run_gradient(k, CNNLogSoftMax(k.device()), true); }),
      row<MatrixMultiplication>(
          "MatrixMultiplication",
          [](const Device& device) {
            auto k = std::make_unique<MatrixMultiplication>(device, true, true, 3, 4, 5, 0.7, 0.3);
            k->setLeftMatrixOrigin({1, 2, 0});
            k->setRightMatrixOrigin({2, 1, 0});
            return k;
          },
          run_matrices),
      row<MatrixVectorMultiplication>(
          "MatrixVectorMultiplication",
          [](const Device& device) {
            return std::make_unique<MatrixVectorMultiplication>(device, true, 4, 5, 0.7, 0.3);
          },
          run_matrix_vector),
      matrix<MatrixFullyConnected>("MatrixFullyConnected"),
      matrix<MatrixFullyConnectedGradient>("MatrixFullyConnectedGradient"),
      matrix<MatrixNeuron>("MatrixNeuron"),
      matrix<MatrixNeuronGradient>("MatrixNeuronGradient"),
      matrix<MatrixSoftMax>("MatrixSoftMax"),
      matrix<MatrixLogSoftMax>("MatrixLogSoftMax"),
      matrix<MatrixSoftMaxGradient>("MatrixSoftMaxGradient"),
      matrix<MatrixLogSoftMaxGradient>("MatrixLogSoftMaxGradient"),
      matrix<MatrixBatchNormalization>("MatrixBatchNormalization"),
      matrix<MatrixBatchNormalizationGradient>("MatrixBatchNormalizationGradient"),
      row<MatrixSum>(
          "MatrixSum",
          [](const Device& device) {
            auto k = std::make_unique<MatrixSum>(device, 3, 4, 5, true);
            k->setResultMatrixOrigin({2, 1, 0});
            set_matrix(*k);
            return k;
          },
          run_matrices),
      matrix<MatrixCopy>("MatrixCopy", std::size_t{4}, std::size_t{3}, true, true),
      random_numbers<MatrixRandomPhilox>("MatrixRandomPhilox"),
      random_numbers<MatrixRandomMTGP32>("MatrixRandomMTGP32"),
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
  static const std::vector<ArchiveRow> rows = [] {
    auto all = made();
    add_reductions(all, ReduceKernels{});
    add_operator_rows(all, Kernels{});
    for (ArchiveRow& row : recurrent_rows()) all.push_back(std::move(row));
    return all;
  }();
  return rows;
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
