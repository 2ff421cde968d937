// CNNConvolutionTranspose: strides, dilation, groups, odd and even windows, policies, offsets of
// both kinds, partners, stored weights, the specification's examples (spec: convolution 8, 14).

#include "cermet/cnn/convolution_transpose.h"

#include <gtest/gtest.h>

#include "../harness/bench.h"
#include "../harness/convolution.h"
#include "../harness/images.h"
#include "../harness/operator_rows.h"
#include "../harness/refusal.h"

namespace cermet::test {
namespace {

struct TransposeRow {
  ConvolutionRow convolution{};
  Offset kernel_offset{};  // of rows with a destination; a policy sets it
};

/// spec: convolution 8, 4 and 5, along one axis
int policy_size(NNPaddingMethod method, std::size_t source, std::size_t window,
                std::size_t stride) {
  const int style = static_cast<int>((method & NNPaddingMethod::SizeMask) >> 4) - 1;
  const int d = static_cast<int>(window);
  return (static_cast<int>(source) - 1) * static_cast<int>(stride) + 1 + style * (d - 1);
}
int policy_kernel_offset(NNPaddingMethod method, bool to_end, std::size_t window) {
  const int style = static_cast<int>((method & NNPaddingMethod::SizeMask) >> 4) - 1;
  const int d = static_cast<int>(window);
  if (style > 0) return d / 2 - (d - 1);
  if (style < 0) return d / 2;
  return d / 2 - (d - 1 + (to_end ? 0 : 1)) / 2;
}

class TransposeSubject final
    : public SubjectOf<CNNConvolutionTranspose, CNNConvolutionTransposeGradient> {
 public:
  explicit TransposeSubject(const TransposeRow& row)
      : SubjectOf(row.convolution.row),
        r_(row.convolution),
        inputs_(std::min(r_.row.source_channels, r_.row.source.c - r_.row.source_channel)),
        source_(std::make_shared<RowWeights>(r_, inputs_)),
        kernel_offset_(row.kernel_offset) {
    if (r_.row.destination.w != 0) return;
    const NNPaddingMethod method = policy();
    kernel_offset_ = {
        policy_kernel_offset(method, (method & NNPaddingMethod::AddRemainderToTopRight) != 0,
                             dilated_width()),
        policy_kernel_offset(method, (method & NNPaddingMethod::AddRemainderToBottomLeft) != 0,
                             dilated_height()),
        0};
  }

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    auto kernel = std::make_unique<CNNConvolutionTranspose>(device, source_);
    kernel->setKernelOffsetX(kernel_offset_.x);
    kernel->setKernelOffsetY(kernel_offset_.y);
    return kernel;
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<CNNConvolutionTransposeGradient>(device, source_);
  }
  [[nodiscard]] std::vector<std::vector<float>> parameters(
      const StateBatch& states) const override {
    auto& own = dynamic_cast<CNNConvolutionGradientState&>(*states[0]);
    return {own.gradientForWeights().values<float>(), own.gradientForBiases().values<float>()};
  }
  [[nodiscard]] std::vector<std::vector<double>> given_parameters() const override {
    if (r_.weight_gradient.empty()) return {};
    return {r_.weight_gradient, r_.bias_gradient};
  }
  [[nodiscard]] std::optional<Planned> planned() const override {
    const auto size = [](int extent) { return static_cast<std::size_t>(extent); };
    return Planned{
        {size(policy_size(policy(), r_.row.source.w, dilated_width(), r_.strideInPixelsX)),
         size(policy_size(policy(), r_.row.source.h, dilated_height(), r_.strideInPixelsY))},
        {}};
  }
  [[nodiscard]] std::size_t channels_read(std::size_t) const override { return inputs_; }
  [[nodiscard]] std::size_t channels_written(std::size_t) const override {
    return r_.outputFeatureChannels;
  }
  [[nodiscard]] bool shared_state() const override { return true; }
  [[nodiscard]] bool bits_depend_on_batch() const override {
    return !device_under_test(1).engine().host_can_access();
  }

  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    oracle::Tensor out = products(source, g);
    oracle::for_each(out, [&](int n, int y, int x, int k) {
      const double z = out(n, y, x, k) + oracle::entry(source_->real_biases, k);
      out(n, y, x, k) =
          oracle::neuron_function(r_.neuron, {r_.slopes.begin(), r_.slopes.end()}, k).value(z);
    });
    return out;
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const auto one = [&](const oracle::Tensor& image) { return products(image, g); };
    oracle::Tensor weights = oracle::like(source_->real);
    for_each_pair(source, g, [&](int n, int y, int x, int j, int i, int k, int q, int p, int c) {
      weights(k, q, p, c) += incoming(n, y, x, k) * source(n, j, i, channel(k, c));
    });
    std::vector<double> biases(r_.outputFeatureChannels);
    oracle::for_each(incoming, [&](int n, int y, int x, int k) {
      biases[static_cast<std::size_t>(k)] += incoming(n, y, x, k);
    });
    return {gradient_by_differences(one, source, incoming), {weights.v, biases}};
  }

 private:
  [[nodiscard]] NNPaddingMethod policy() const {
    return r_.row.policy    ? *r_.row.policy
           : r_.row.padding ? r_.row.padding->paddingMethod()
                            : NNPaddingMethod::SizeSame;
  }
  [[nodiscard]] std::size_t dilated_width() const {
    return (r_.kernelWidth - 1) * r_.dilationRateX + 1;
  }
  [[nodiscard]] std::size_t dilated_height() const {
    return (r_.kernelHeight - 1) * r_.dilationRateY + 1;
  }
  [[nodiscard]] int channel(int k, int c) const {
    const int groups = static_cast<int>(r_.groups);
    return k / (static_cast<int>(r_.outputFeatureChannels) / groups) *
               (static_cast<int>(inputs_) / groups) +
           c;
  }
  /// use(n, y, x, j, i, k, q, p, c): result pixel (y, x), source pixel (j, i), weight.
  template <class Use>
  void for_each_pair(const oracle::Tensor& source, const Geometry& g, Use&& use) const {
    const auto i32 = [](std::size_t value) { return static_cast<int>(value); };
    const int sx = i32(r_.strideInPixelsX), sy = i32(r_.strideInPixelsY);
    const int tx = g.offset_x * sx + static_cast<int>(kernel_offset_.x);
    const int ty = g.offset_y * sy + static_cast<int>(kernel_offset_.y);
    const oracle::Tensor result = oracle::filled(source.n, g.h, g.w, i32(r_.outputFeatureChannels));
    oracle::for_each(result, [&](int n, int y, int x, int k) {
      for (int q = 0; q < i32(r_.kernelHeight); ++q) {
        for (int p = 0; p < i32(r_.kernelWidth); ++p) {
          const int v = y + ty - i32(dilated_height()) / 2 + i32(r_.dilationRateY) * q;
          const int u = x + tx - i32(dilated_width()) / 2 + i32(r_.dilationRateX) * p;
          if (v < 0 || u < 0 || v % sy != 0 || u % sx != 0) continue;
          if (v / sy >= source.h || u / sx >= source.w) continue;
          for (int c = 0; c < source_->real.c; ++c) use(n, y, x, v / sy, u / sx, k, q, p, c);
        }
      }
    });
  }
  [[nodiscard]] oracle::Tensor products(const oracle::Tensor& source, const Geometry& g) const {
    auto out = oracle::filled(source.n, g.h, g.w, static_cast<int>(r_.outputFeatureChannels));
    for_each_pair(source, g, [&](int n, int y, int x, int j, int i, int k, int q, int p, int c) {
      out(n, y, x, k) += source_->real(k, q, p, c) * source(n, j, i, channel(k, c));
    });
    return out;
  }

  ConvolutionRow r_;
  std::size_t inputs_;
  std::shared_ptr<RowWeights> source_;
  Offset kernel_offset_;
};

/// Sizes and places a result with both kinds of offset.
class PlacedTranspose final : public NNPadding {
 public:
  PlacedTranspose(Extent extent, Offset offset, Offset kernel_offset)
      : extent_(extent), offset_(offset), kernel_offset_(kernel_offset) {}
  [[nodiscard]] NNPaddingMethod paddingMethod() const override {
    return NNPaddingMethod::Custom | NNPaddingMethod::SizeSame;
  }
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image>, std::span<const StatePtr>, Kernel& kernel,
      const ImageDescriptor& suggested) override {
    auto& transpose = dynamic_cast<CNNConvolutionTranspose&>(kernel);
    transpose.setOffset(offset_);
    transpose.setKernelOffsetX(kernel_offset_.x);
    transpose.setKernelOffsetY(kernel_offset_.y);
    ImageDescriptor descriptor = suggested;
    descriptor.width = extent_.w;
    descriptor.height = extent_.h;
    return descriptor;
  }

 private:
  Extent extent_;
  Offset offset_, kernel_offset_;
};

/// Keras' "same": twice the source's size, the rest as the policy says.
class Doubled final : public NNPadding {
 public:
  [[nodiscard]] NNPaddingMethod paddingMethod() const override {
    return NNPaddingMethod::Custom | NNPaddingMethod::SizeSame;
  }
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr>, Kernel&,
      const ImageDescriptor& suggested) override {
    ImageDescriptor descriptor = suggested;
    descriptor.width = 2 * sourceImages[0].width();
    descriptor.height = 2 * sourceImages[0].height();
    return descriptor;
  }
};

using Method = NNPaddingMethod;
const std::vector<TransposeRow> rows{
    {.convolution = {.row = {.name = "same", .source = {5, 4, 3}, .quick = true}}},
    {.convolution = {.row = {.name = "same_stride_2", .source = {5, 4, 3}, .quick = true},
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "full_stride_2",
                             .source = {4, 3, 5},
                             .policy = Method::SizeFull,
                             .quick = true},
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "valid", .source = {6, 5, 3}, .policy = Method::SizeValidOnly},
                     .strideInPixelsX = 2}},
    {.convolution = {.row = {.name = "even_window", .source = {4, 5, 3}, .quick = true},
                     .kernelWidth = 4,
                     .kernelHeight = 2,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "even_window_remainder_to_the_end",
                             .source = {4, 5, 3},
                             .policy = Method::SizeSame | Method::AddRemainderToBottomRight},
                     .kernelWidth = 4,
                     .kernelHeight = 2,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 3}},
    {.convolution = {.row = {.name = "full_even", .source = {3, 3, 2}, .policy = Method::SizeFull},
                     .kernelWidth = 2,
                     .kernelHeight = 4,
                     .strideInPixelsX = 3,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "stride_beyond_the_window",
                             .why = "pixels that no tap reaches are the bias",
                             .source = {3, 4, 2}},
                     .kernelWidth = 1,
                     .kernelHeight = 2,
                     .strideInPixelsX = 3,
                     .strideInPixelsY = 3}},
    {.convolution = {.row = {.name = "dilation", .source = {4, 4, 3}},
                     .kernelHeight = 2,
                     .strideInPixelsX = 2,
                     .dilationRateX = 2,
                     .dilationRateY = 3}},
    {.convolution = {.row = {.name = "groups", .source = {4, 3, 6}, .batch = 1, .quick = true},
                     .outputFeatureChannels = 9,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2,
                     .groups = 3}},
    {.convolution = {.row = {.name = "a_group_for_each_channel", .source = {4, 3, 4}},
                     .outputFeatureChannels = 4,
                     .strideInPixelsX = 2,
                     .groups = 4}},
    {.convolution = {.row = {.name = "one_pixel", .source = {1, 1, 8}, .policy = Method::SizeFull},
                     .kernelWidth = 4,
                     .kernelHeight = 4,
                     .outputFeatureChannels = 5}},
    {.convolution = {.row = {.name = "batch_7", .source = {3, 4, 4}, .batch = 7},
                     .outputFeatureChannels = 8,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "many_channels", .source = {4, 4, 32}, .batch = 3},
                     .kernelWidth = 4,
                     .kernelHeight = 4,
                     .outputFeatureChannels = 16,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "no_bias", .source = {4, 4, 3}, .quick = true},
                     .strideInPixelsX = 2,
                     .biased = false}},
    {.convolution = {.row = {.name = "neuron", .source = {4, 4, 3}, .quick = true},
                     .strideInPixelsY = 2,
                     .neuron = {CNNNeuronType::TanH, 1, 1}}},
    {.convolution = {.row = {.name = "prelu_no_bias", .source = {4, 4, 3}},
                     .strideInPixelsY = 2,
                     .biased = false,
                     .neuron = {CNNNeuronType::PReLU},
                     .slopes = {0.1F, 0.5F, -0.25F, 2}}},
    {.convolution = {.row = {.name = "half_weights", .source = {4, 4, 3}},
                     .strideInPixelsY = 2,
                     .stored = Stored::float16}},
    {.convolution = {.row = {.name = "quantised_weights", .source = {4, 4, 3}},
                     .stored = Stored::uint8_linear}},
    {.convolution = {.row = {.name = "offset",
                             .source = {5, 4, 3},
                             .destination = {9, 10},
                             .offset = {-1, 1},
                             .quick = true},
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "kernel_offset",
                             .source = {5, 4, 3},
                             .destination = {9, 10},
                             .padding = std::make_shared<PlacedTranspose>(Extent{9, 10}, Offset{},
                                                                          Offset{1, -2, 0}),
                             .quick = true},
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2},
     .kernel_offset = {1, -2, 0}},
    {.convolution = {.row = {.name = "both_offsets",
                             .source = {5, 4, 3},
                             .destination = {7, 12},
                             .offset = {1, -1},
                             .padding = std::make_shared<PlacedTranspose>(
                                 Extent{7, 12}, Offset{1, -1, 0}, Offset{-1, 2, 0})},
                     .kernelWidth = 4,
                     .kernelHeight = 5,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 3},
     .kernel_offset = {-1, 2, 0}},
    {.convolution = {.row = {.name = "clip",
                             .source = {5, 4, 3},
                             .destination = {9, 8},
                             .clip = {{2, 1, 0}, {5, 6, all_channels}}},
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "channel_ranges",
                             .source = {4, 3, 12},
                             .source_channel = 4,
                             .source_channels = 6,
                             .destination_channel = 8,
                             .quick = true},
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "E7_same",
                             .source = {2, 1, 1},
                             .given = {.source = {1, 2},
                                       .incoming = {1, 2, 3},
                                       .result = {10, 201, 20},
                                       .source_gradient = {12, 230}},
                             .quick = true},
                     .kernelHeight = 1,
                     .outputFeatureChannels = 1,
                     .strideInPixelsX = 2,
                     .biased = false,
                     .weights = {1, 10, 100},
                     .weight_gradient = {2, 7, 4},
                     .bias_gradient = {6}}},
    {.convolution = {.row = {.name = "E7_full",
                             .source = {2, 1, 1},
                             .policy = Method::SizeFull,
                             .given = {.source = {1, 2},
                                       .incoming = {1, 2, 3, 4, 5},
                                       .result = {100, 10, 201, 20, 2},
                                       .source_gradient = {123, 345}},
                             .quick = true},
                     .kernelHeight = 1,
                     .outputFeatureChannels = 1,
                     .strideInPixelsX = 2,
                     .biased = false,
                     .weights = {1, 10, 100},
                     .weight_gradient = {13, 10, 7},
                     .bias_gradient = {15}}},
    {.convolution = {.row = {.name = "E7_valid",
                             .source = {2, 1, 1},
                             .policy = Method::SizeValidOnly,
                             .given = {.source = {1, 2}, .incoming = {1}, .result = {201}}},
                     .kernelHeight = 1,
                     .outputFeatureChannels = 1,
                     .strideInPixelsX = 2,
                     .biased = false,
                     .weights = {1, 10, 100}}},
};

INSTANTIATE_TEST_SUITE_P(ConvolutionTranspose, Rows,
                         testing::ValuesIn(subjects<TransposeSubject>(rows)), name_of_row);

// ---- partners -----------------------------------------------------------------------------------

std::shared_ptr<RowWeights> weights(std::size_t inputs, std::size_t outputs, std::size_t taps,
                                    std::size_t stride) {
  ConvolutionRow row;
  row.kernelWidth = row.kernelHeight = taps;
  row.strideInPixelsX = row.strideInPixelsY = stride;
  row.outputFeatureChannels = outputs;
  row.biased = false;
  return std::make_shared<RowWeights>(row, inputs);
}
ImageBatch images(const Bench& bench, const Images& extents, std::uint64_t seed) {
  return upload(bench.device, ImageFeatureChannelFormat::Float32, extents,
                floats(extents.count(), seed));
}

/// A transposed convolution with rotated, transposed weights is the partner's data gradient (spec:
/// convolution 8, 6).
class Partners : public testing::TestWithParam<std::size_t> {};
TEST_P(Partners, ItsDataGradient_quick) {
  const std::size_t taps = GetParam();
  const Bench& bench = Bench::with(2);
  const auto forward = weights(3, 2, taps, 2);
  const auto own = static_cast<const float*>(forward->weights());
  ConvolutionRow row;
  row.kernelWidth = row.kernelHeight = taps;
  row.strideInPixelsX = row.strideInPixelsY = 2;
  row.outputFeatureChannels = 3;
  row.biased = false;
  row.weights.resize(6 * taps * taps);
  for (std::size_t k = 0; k < 2; ++k) {
    for (std::size_t t = 0; t < taps * taps; ++t) {
      for (std::size_t c = 0; c < 3; ++c)
        row.weights[(c * taps * taps + taps * taps - 1 - t) * 2 + k] =
            own[(k * taps * taps + t) * 3 + c];
    }
  }
  CNNConvolution convolution(bench.device, forward);
  CNNConvolutionGradient gradient(bench.device, forward);
  CNNConvolutionTranspose transpose(bench.device, std::make_shared<RowWeights>(row, 2));
  for (CNNKernel* kernel :
       {static_cast<CNNKernel*>(&convolution), static_cast<CNNKernel*>(&transpose)})
    kernel->setDestinationImageAllocator(Image::defaultAllocator());
  gradient.setDestinationImageAllocator(Image::defaultAllocator());

  const ImageBatch x = images(bench, {2, 6, 7, 3}, 1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  StateBatch states;
  const ImageBatch y = convolution.encodeBatch(buffer, x, &states, true);
  StateBatchIncrementReadCount(states, 3);
  const ImageBatch dx = gradient.encodeBatch(buffer, y, x, states);
  const ImageBatch back = transpose.encodeBatch(buffer, y, states);
  EXPECT_EQ(back.front().width(), 7U);
  EXPECT_EQ(back.front().height(), 6U);
  EXPECT_EQ(states[0]->readCount(), 2U);

  // Into a given destination, and as a training encode.
  CNNConvolutionTranspose fresh = transpose.copy();
  fresh.setKernelOffsetX(17);
  const ImageBatch given = images(bench, {2, 6, 7, 3}, 2);
  fresh.encodeBatch(buffer, y, states, given);
  EXPECT_EQ(states[0]->readCount(), 1U);
  StateBatch trained;
  const ImageBatch result = fresh.encodeBatch(buffer, y, states, &trained, false);
  EXPECT_EQ(states[0]->readCount(), 0U);
  const auto state = trained.at<CNNConvolutionTransposeGradientState>(0);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->convolutionTranspose(), &fresh);
  EXPECT_EQ(state->convolution(), &convolution);
  EXPECT_EQ(state->sourceWidth(), y.front().width());
  EXPECT_EQ(trained[0], trained[1]) << "one state for the batch";
  finish(buffer);
  const Values wanted = read(dx);
  EXPECT_EQ(read(given), read(back));
  EXPECT_EQ(read(result), read(back));
  const Values got = read(back);
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5F) << i;
}
INSTANTIATE_TEST_SUITE_P(ConvolutionTranspose, Partners, testing::Values(2, 3, 4));

TEST(ConvolutionTranspose, SizeOfACustomPolicy_quick) {
  const Bench& bench = Bench::with(2);
  CNNConvolutionTranspose kernel(bench.device, weights(4, 2, 3, 2));
  kernel.setPadding(std::make_shared<Doubled>());
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  const ImageBatch x = images(bench, {2, 3, 4, 4}, 1);
  const ImageBatch y = kernel.encodeBatch(buffer, x);
  EXPECT_EQ(y.front().width(), 8U);
  EXPECT_EQ(y.front().height(), 6U);
  EXPECT_EQ(kernel.kernelOffsetX(), 0);
  CNNConvolutionTranspose plain(bench.device, weights(4, 2, 3, 2));
  plain.setDestinationImageAllocator(Image::defaultAllocator());
  const ImageBatch small = plain.encodeBatch(buffer, x);
  finish(buffer);
  const Values all = read(y), part = read(small);
  for (std::size_t row = 0; row < 5; ++row) {
    for (std::size_t i = 0; i < 7 * std::size_t{2}; ++i)
      ASSERT_EQ(all[row * 16 + i], part[row * 14 + i]) << row << " " << i;
  }
}

TEST(ConvolutionTranspose, ReloadsAndExports_quick) {
  const Bench& bench = Bench::with(2);
  const auto source = weights(3, 2, 3, 2), other = weights(3, 2, 3, 2);
  const std::size_t count = std::size_t{2} * 9 * 3;
  CNNConvolutionTranspose kernel(bench.device, source);
  CNNConvolutionTransposeGradient gradient(bench.device, source);
  const CNNConvolutionTranspose copied = kernel.copy();
  const ImageBatch x = images(bench, {2, 3, 4, 3}, 1), y = images(bench, {2, 5, 7, 2}, 2),
                   before = images(bench, {2, 5, 7, 2}, 3), dx = images(bench, {2, 3, 4, 3}, 4);
  const StateBatch states = kernel.resultStateBatch(x, {}, y);
  const Values twice = [&] {
    const auto* own = static_cast<const float*>(source->weights());
    Values values(own, own + count);
    for (float& value : values) value *= 2;
    return values;
  }();
  const auto fresh = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      bench.device.makeBuffer(twice.data(), twice.size() * sizeof(float)), Buffer());
  const auto encode = [&](const CommandBuffer& buffer, const ImageBatch& to) {
    kernel.encodeBatch(buffer, x, states, to);
  };
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  encode(buffer, before);
  kernel.reloadWeightsAndBiases(buffer, fresh);
  gradient.reloadWeightsAndBiases(buffer, fresh);
  encode(buffer, y);
  gradient.encodeBatch(buffer, before, x, states, dx);
  const auto exported = kernel.exportWeightsAndBiases(buffer, false);
  finish(buffer);
  Values wanted = read(before);
  for (float& value : wanted) value *= 2;
  EXPECT_EQ(read(y), wanted);
  EXPECT_EQ(exported->weights().values<float>(), twice);
  EXPECT_FALSE(exported->biases());
  const Values with_twice = read(dx);

  kernel.reloadWeightsAndBiasesFromDataSource();
  gradient.reloadWeightsAndBiasesFromDataSource();
  const ImageBatch again = images(bench, {2, 5, 7, 2}, 5);
  const StateBatch new_states = kernel.resultStateBatch(x, {}, y);
  CommandBuffer second = bench.queue.makeCommandBuffer();
  kernel.encodeBatch(second, x, new_states, again);
  gradient.encodeBatch(second, before, x, new_states, dx);
  copied.encodeBatch(second, x, y);
  finish(second);
  EXPECT_EQ(read(again), read(before));
  EXPECT_EQ(read(y), read(before)) << "a copy keeps what it had";
  Values halves = with_twice;
  for (float& value : halves) value /= 2;
  EXPECT_EQ(read(dx), halves);
}

TEST(ConvolutionTranspose, GradientOptions_quick) {
  const Bench& bench = Bench::with(2);
  const auto source = weights(3, 2, 3, 2);
  const CNNConvolutionTranspose kernel(bench.device, source);
  CNNConvolutionTransposeGradient gradient(bench.device, source);
  const ImageBatch x = images(bench, {2, 3, 4, 3}, 1), y = images(bench, {2, 5, 7, 2}, 2),
                   dx = images(bench, {2, 3, 4, 3}, 4);
  const Values untouched = read(dx);
  const auto run = [&](CNNConvolutionGradientOption option) {
    gradient.setGradientOption(option);
    const StateBatch states = kernel.resultStateBatch(x, {}, y);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, x, states, y);
    gradient.encodeBatch(buffer, y, x, states, dx);
    finish(buffer);
    return states.at<CNNConvolutionGradientState>(0)->gradientForWeights().values<float>();
  };
  const Values sums = run(CNNConvolutionGradientOption::GradientWithWeightsAndBias);
  EXPECT_EQ(read(dx), untouched);
  EXPECT_NE(sums, Values(sums.size()));
  EXPECT_EQ(run(CNNConvolutionGradientOption::GradientWithData), Values(sums.size()));
  EXPECT_NE(read(dx), untouched);
}

TEST(ConvolutionTranspose, RefusesWhatDoesNotFit_quick) {
  const Bench& bench = Bench::with(2);
  ConvolutionRow row;
  row.depthwise = true;
  row.outputFeatureChannels = 4;
  expect_refusal(
      [&] { CNNConvolutionTranspose(bench.device, std::make_shared<RowWeights>(row, 4)); },
      "CNNConvolutionTranspose: the descriptor is depthwise; needed a plain convolution "
      "descriptor. Use groups for transposed convolutions of a few channels each.");
  expect_refusal([&] { CNNConvolutionTranspose(bench.device, nullptr); },
                 "CNNConvolutionTranspose: weights is null; needed a data source.");
  const auto source = weights(3, 2, 3, 2);
  const CNNConvolutionTranspose kernel(bench.device, source);
  const CNNConvolution convolution(bench.device, weights(3, 2, 3, 2));
  const CNNConvolutionTransposeGradient gradient(bench.device, source);
  const ImageBatch x = images(bench, {2, 3, 4, 3}, 1), y = images(bench, {2, 5, 7, 2}, 2);
  const StateBatch others = convolution.resultStateBatch(x, {}, y);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  expect_refusal([&] { gradient.encodeBatch(buffer, y, x, others, x); },
                 "CNNConvolutionTransposeGradient: gradientState is of another kind; needed a "
                 "CNNConvolutionTransposeGradientState. Encode the backward pass with the state "
                 "returned by the matching forward encode.");
  expect_refusal([&] { gradient.encodeBatch(buffer, y, x, x); },
                 "CNNConvolutionTransposeGradient: gradientState is absent; needed a "
                 "CNNConvolutionTransposeGradientState. Encode the backward pass with the state "
                 "returned by the matching forward encode.");
  const StateBatch one = convolution.resultStateBatch({x[0]}, {}, {y[0]});
  expect_refusal([&] { kernel.encodeBatch(buffer, x, one, y); },
                 "CNNConvolutionTranspose: convolutionGradientStates is 1 of them; needed 2, "
                 "as many as images.");
  const ImageBatch narrow = images(bench, {2, 3, 4, 2}, 1);
  expect_refusal([&] { kernel.encodeBatch(buffer, narrow, y); },
                 "CNNConvolutionTranspose: sourceImage is 4x3x2 Float32; needed 3 feature "
                 "channels from channel 0.");
}

}  // namespace
}  // namespace cermet::test
