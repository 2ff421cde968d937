// NNGramMatrixCalculation and its gradient: tiles whole and cut, alpha and where it comes from,
// gradients that are not symmetric (spec: pooling-shape 10).

#include "cermet/cnn/gram_matrix.h"
#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/operator_rows.h"

namespace cermet::test {
namespace {

using GramRow = OperatorRow<GramMatrix>;

class GramSubject final
    : public DifferenceSubject<NNGramMatrixCalculation, NNGramMatrixCalculationGradient> {
 public:
  explicit GramSubject(const GramRow& r) : DifferenceSubject(r.row), alpha_(r.op.alpha) {}
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<NNGramMatrixCalculation>(device, alpha_);
  }
  /// Its alpha is that of the state.
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<NNGramMatrixCalculationGradient>(device, -7.0F);
  }
  [[nodiscard]] std::optional<Planned> planned() const override {
    return Planned{{std::min(row().source_channels, row().source.c - row().source_channel), 1}, {}};
  }
  /// y[0][f][c] = alpha * sum of x[f]*x[c]
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source, const Geometry&) const override {
    auto out = oracle::filled(source.n, 1, source.c, source.c);
    oracle::for_each(source, [&](int n, int y, int x, int f) {
      for (int c = 0; c < source.c; ++c)
        out(n, 0, f, c) += double{alpha_} * source(n, y, x, f) * source(n, y, x, c);
    });
    return out;
  }

 private:
  float alpha_;
};

const std::vector<GramRow> rows{
    {.row = {.name = "default", .source = {4, 3, 3}, .quick = true}},
    {.row = {.name = "alpha", .source = {3, 4, 5}, .batch = 7, .quick = true},
     .op = {.alpha = 1.0F / 12}},
    {.row = {.name = "negative_alpha", .source = {3, 2, 2}, .batch = 1}, .op = {.alpha = -2}},
    {.row = {.name = "alpha_0", .source = {3, 2, 2}}, .op = {.alpha = 0}},
    {.row = {.name = "one_channel", .source = {5, 4, 1}, .quick = true}},
    {.row = {.name = "one_pixel", .source = {1, 1, 6}, .quick = true}},
    {.row = {.name = "one_element", .source = {1, 1, 1}, .batch = 1}},
    {.row = {.name = "whole_tiles", .source = {3, 2, 16}}},
    {.row = {.name = "cut_tiles", .source = {3, 2, 23}}},
    {.row = {.name = "many_channels", .source = {2, 1, 70}, .batch = 1, .float32_only = true}},
    {.row = {.name = "many_pixels",
             .why = "the sum is of sums",
             .source = {61, 23, 9},
             .forward_only = true},
     .op = {.alpha = 0.01F}},
    {.row = {.name = "many_of_both", .source = {33, 17, 67}, .batch = 1, .forward_only = true}},
    {.row = {.name = "channel_ranges",
             .why = "rows and columns are the channels that are read",
             .source = {4, 3, 12},
             .source_channel = 4,
             .source_channels = 5,
             .destination_channel = 8,
             .quick = true}},
    {.row = {.name = "clip",
             .source = {4, 3, 3},
             .destination = {6, 4},
             .clip = {{2, 1, 0}, {3, 1, all_channels}},
             .quick = true}},
    {.row = {.name = "offset_and_edges_play_no_role",
             .source = {4, 3, 3},
             .destination = {3, 1},
             .offset = {2, -1},
             .edge = ImageEdgeMode::Clamp}},
    {.row = {.name = "E8",
             .source = {2, 2, 2},
             .given = {.source = {1, 2, 3, 4, 5, 6, 7, 8},
                       .incoming = {1, 2, 3, 4},
                       .result = {21, 25, 25, 30},
                       .source_gradient = {3, 5.25, 6.5, 11.75, 10, 18.25, 13.5, 24.75}},
             .quick = true},
     .op = {.alpha = 0.25F}},
};

INSTANTIATE_TEST_SUITE_P(GramMatrix, Rows, testing::ValuesIn(subjects<GramSubject>(rows)),
                         name_of_row);

class GramMatrices : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  [[nodiscard]] Image image(std::size_t w, std::size_t h, std::size_t c,
                            const std::vector<float>& values) const {
    const Image made(bench.device,
                     ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c));
    made.write_floats(values);
    return made;
  }
};

TEST_F(GramMatrices, are_symmetric_to_the_last_bit) {
  NNGramMatrixCalculation gram(bench.device, 0.3F);
  gram.setDestinationImageAllocator(Image::defaultAllocator());
  const Image result = gram.encode(buffer, image(19, 7, 21, floats(19 * 7 * 21, 6)));
  finish(buffer);
  const auto y = result.read_floats();
  for (std::size_t f = 0; f < 21; ++f)
    for (std::size_t c = 0; c < f; ++c) ASSERT_EQ(y[f * 21 + c], y[c * 21 + f]);
}

/// Without a state alpha and geometry are the kernel's own: the gradient begins at primaryOffset,
/// the result at source pixel secondaryOffset.
TEST_F(GramMatrices, have_gradients_without_a_state) {
  NNGramMatrixCalculationGradient gradient(bench.device);
  EXPECT_EQ(gradient.alpha(), 1.0F);
  gradient.setAlpha(0.25F);
  gradient.setPrimaryOffset({1, 1, 0});
  gradient.setSecondaryOffset({0, 1, 0});
  const Image g = image(3, 2, 2, {9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 4}),
              x = image(2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), result = image(2, 2, 2, Values(8, 9));
  gradient.encode(buffer, g, x, result);
  finish(buffer);
  EXPECT_EQ(result.read_floats(), (Values{10, 18.25F, 13.5F, 24.75F, 0, 0, 0, 0}));
}

/// The state holds what alpha was at the encode, not at its making.
TEST_F(GramMatrices, pass_alpha_on_in_their_states) {
  NNGramMatrixCalculation gram(bench.device);
  const Image x = image(2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = image(2, 1, 2, Values(4));
  const StatePtr state = gram.resultState(x, {}, y);
  gram.setAlpha(0.25F);
  gram.encode(buffer, x, state, y);
  NNGramMatrixCalculationGradient gradient(bench.device, 5);
  gradient.setDestinationImageAllocator(Image::defaultAllocator());
  const Image dx = gradient.encode(buffer, image(2, 1, 2, {1, 2, 3, 4}), x, state);
  finish(buffer);
  EXPECT_EQ(dx.read_floats(), (Values{3, 5.25F, 6.5F, 11.75F, 10, 18.25F, 13.5F, 24.75F}));
  EXPECT_EQ(gradient.alpha(), 5.0F);
}

}  // namespace
}  // namespace cermet::test
