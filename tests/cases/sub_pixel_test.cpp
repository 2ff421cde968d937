// CNNConvolution with a CNNSubPixelConvolutionDescriptor (spec: convolution 2.3, 14 E9).

#include <gtest/gtest.h>

#include "../harness/bench.h"
#include "../harness/convolution.h"
#include "../harness/images.h"
#include "../harness/refusal.h"
#include "../harness/rows_test.h"

namespace cermet::test {
namespace {

/// The weights of a row behind a sub-pixel descriptor.
class SubPixelWeights final : public CNNConvolutionDataSource {
 public:
  SubPixelWeights(const ConvolutionRow& row, std::size_t inputs, std::size_t factor)
      : row_(std::make_shared<RowWeights>(row, inputs)),
        descriptor_(CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(
            row.kernelWidth, row.kernelHeight, inputs, row.outputFeatureChannels)) {
    static_cast<CNNConvolutionDescriptor&>(*descriptor_) = *row_->descriptor();
    descriptor_->setSubPixelScaleFactor(factor);
  }
  [[nodiscard]] DataType dataType() const override { return row_->dataType(); }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return row_->weights(); }
  [[nodiscard]] const float* biasTerms() override { return row_->biasTerms(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return ""; }
  [[nodiscard]] const RowWeights& row() const { return *row_; }

 private:
  std::shared_ptr<RowWeights> row_;
  std::shared_ptr<CNNSubPixelConvolutionDescriptor> descriptor_;
};

struct SubPixelRow {
  ConvolutionRow convolution{};
  int factor = 2;
};

class SubPixelSubject final : public ForwardSubject<CNNConvolution> {
 public:
  explicit SubPixelSubject(const SubPixelRow& row)
      : ForwardSubject(row.convolution.row),
        r_(row.convolution),
        factor_(row.factor),
        inputs_(std::min(r_.row.source_channels, r_.row.source.c - r_.row.source_channel)),
        source_(std::make_shared<SubPixelWeights>(r_, inputs_, static_cast<std::size_t>(factor_))) {
  }
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<CNNConvolution>(device, source_);
  }
  /// "Same" windows of odd size.
  [[nodiscard]] std::optional<Planned> planned() const override {
    const auto size = [&](std::size_t extent, std::size_t stride) {
      return (extent + stride - 1) / stride * static_cast<std::size_t>(factor_);
    };
    const auto offset = [](std::size_t extent, std::size_t taps, std::size_t stride) {
      return policy_offset(NNPaddingMethod::SizeSame, false, extent,
                           static_cast<std::ptrdiff_t>((extent + stride - 1) / stride), taps,
                           stride);
    };
    return Planned{
        {size(r_.row.source.w, r_.strideInPixelsX), size(r_.row.source.h, r_.strideInPixelsY)},
        {offset(r_.row.source.w, r_.kernelWidth, r_.strideInPixelsX),
         offset(r_.row.source.h, r_.kernelHeight, r_.strideInPixelsY), 0}};
  }
  [[nodiscard]] std::size_t channels_read(std::size_t) const override { return inputs_; }
  [[nodiscard]] std::size_t channels_written(std::size_t) const override {
    return r_.outputFeatureChannels / static_cast<std::size_t>(factor_ * factor_);
  }
  [[nodiscard]] bool bits_depend_on_batch() const override {
    return !device_under_test(1).engine().host_can_access();
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    const auto i32 = [](std::size_t value) { return static_cast<int>(value); };
    Convolution op;
    op.window.kernelWidth = i32(r_.kernelWidth);
    op.window.kernelHeight = i32(r_.kernelHeight);
    op.window.strideX = i32(r_.strideInPixelsX);
    op.window.strideY = i32(r_.strideInPixelsY);
    op.window.padLeft = g.pad_left(r_.kernelWidth);
    op.window.padTop = g.pad_top(r_.kernelHeight);
    op.groups = i32(r_.groups);
    op.activation = r_.neuron;
    const RowWeights& weights = source_->row();
    const oracle::Tensor z = oracle::convolution(
        op, source, weights.real, weights.real_biases, {r_.slopes.begin(), r_.slopes.end()},
        (g.h + factor_ - 1) / factor_, (g.w + factor_ - 1) / factor_);
    auto out = oracle::filled(source.n, g.h, g.w, z.c / (factor_ * factor_));
    oracle::for_each(out, [&](int n, int y, int x, int m) {
      const int sub = factor_ * (y % factor_) + x % factor_;
      out(n, y, x, m) = z(n, y / factor_, x / factor_, out.c * sub + m);
    });
    return out;
  }

 private:
  ConvolutionRow r_;
  int factor_;
  std::size_t inputs_;
  std::shared_ptr<SubPixelWeights> source_;
};

const std::vector<SubPixelRow> rows{
    {.convolution =
         {.row = {.name = "two", .source = {5, 4, 3}, .quick = true, .forward_only = true},
          .outputFeatureChannels = 8}},
    {.convolution =
         {.row = {.name = "three", .source = {3, 2, 2}, .batch = 7, .forward_only = true},
          .outputFeatureChannels = 9},
     .factor = 3},
    {.convolution = {.row = {.name = "one", .source = {5, 4, 3}, .forward_only = true},
                     .outputFeatureChannels = 5},
     .factor = 1},
    {.convolution = {.row = {.name = "stride", .source = {7, 5, 3}, .forward_only = true},
                     .outputFeatureChannels = 12,
                     .strideInPixelsX = 2,
                     .strideInPixelsY = 2}},
    {.convolution = {.row = {.name = "groups_prelu_folded",
                             .source = {4, 4, 4},
                             .quick = true,
                             .forward_only = true},
                     .outputFeatureChannels = 8,
                     .groups = 2,
                     .folded = true,
                     .neuron = {CNNNeuronType::PReLU},
                     .slopes = {0.1F, 0.5F, -0.25F, 2, 0.3F, 0.2F, 0.1F, 0}}},
    {.convolution = {.row = {.name = "cut",
                             .why = "a result that is no multiple of the factor",
                             .source = {5, 4, 3},
                             .destination = {9, 7},
                             .quick = true,
                             .forward_only = true},
                     .outputFeatureChannels = 8}},
    {.convolution = {.row = {.name = "clip_channels",
                             .source = {5, 4, 12},
                             .destination = {9, 7},
                             .clip = {{2, 1, 0}, {5, 3, all_channels}},
                             .source_channel = 4,
                             .source_channels = 5,
                             .destination_channel = 4,
                             .forward_only = true},
                     .outputFeatureChannels = 8}},
    {.convolution = {.row = {.name = "E9",
                             .source = {1, 1, 1},
                             .given = {.source = {1}, .result = {0, 1, 2, 3, 4, 5, 6, 7}},
                             .quick = true,
                             .forward_only = true},
                     .kernelWidth = 1,
                     .kernelHeight = 1,
                     .outputFeatureChannels = 8,
                     .biased = false,
                     .weights = {0, 1, 2, 3, 4, 5, 6, 7}}},
};
INSTANTIATE_TEST_SUITE_P(SubPixel, Rows, testing::ValuesIn(subjects<SubPixelSubject>(rows)),
                         name_of_row);

TEST(SubPixel, RefusesWhatDoesNotFit_quick) {
  const Device& device = Bench::with(2).device;
  ConvolutionRow row;
  row.outputFeatureChannels = 8;
  expect_refusal(
      [&] { CNNConvolution(device, std::make_shared<SubPixelWeights>(row, 3, 3)); },
      "CNNConvolution: subPixelScaleFactor is 3; needed 1 or more, its square a divisor of 8 "
      "output channels. Correct the convolution descriptor.");
  expect_refusal(
      [&] { CNNConvolution(device, std::make_shared<SubPixelWeights>(row, 3, 0)); },
      "CNNConvolution: subPixelScaleFactor is 0; needed 1 or more, its square a divisor of 8 "
      "output channels. Correct the convolution descriptor.");
  const auto two = std::make_shared<SubPixelWeights>(row, 3, 2);
  EXPECT_EQ(CNNConvolution(device, two).subPixelScaleFactor(), 2U);
  expect_refusal(
      [&] { CNNConvolutionGradient(device, two); },
      "CNNConvolutionGradient: subPixelScaleFactor is 2; needed 1. Only CNNConvolution has "
      "sub-pixels, for inference.");
  expect_refusal([&] { CNNFullyConnected(device, two); },
                 "CNNFullyConnected: subPixelScaleFactor is 2; needed 1. Only CNNConvolution has "
                 "sub-pixels, for inference.");
}

}  // namespace
}  // namespace cermet::test
