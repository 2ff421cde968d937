// NNReshape and its gradient: order of the elements, slices, parts of a destination, and the
// encodes that are told a shape (spec: pooling-shape 6).

#include "cermet/cnn/reshape.h"
#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/operator_rows.h"

namespace cermet::test {
namespace {

class ReshapeSubject final : public DifferenceSubject<NNReshape, NNReshapeGradient> {
 public:
  using DifferenceSubject::DifferenceSubject;
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<NNReshape>(device);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<NNReshapeGradient>(device);
  }
  [[nodiscard]] std::size_t channels_written(std::size_t read) const override {
    const Geometry g = geometry();
    return row().source.w * row().source.h * read / static_cast<std::size_t>(g.w * g.h);
  }
  [[nodiscard]] bool fills_channels() const override { return true; }
  /// Element (y*W + x)*C + c stays element (y*W + x)*C + c.
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    auto out = oracle::filled(source.n, g.h, g.w, source.h * source.w * source.c / (g.h * g.w));
    oracle::for_each(out, [&](int n, int y, int x, int c) {
      const int at = (y * out.w + x) * out.c + c;
      out(n, y, x, c) =
          source(n, at / source.c / source.w, at / source.c % source.w, at % source.c);
    });
    return out;
  }
};

const std::vector<Row> rows{
    {.name = "same", .source = {4, 3, 5}, .quick = true},
    {.name = "to_a_vector", .source = {4, 3, 5}, .destination = {1, 1}, .quick = true},
    {.name = "from_a_vector", .source = {1, 1, 60}, .batch = 7, .destination = {5, 4}},
    {.name = "to_one_channel", .source = {3, 2, 4}, .destination = {6, 4}, .quick = true},
    {.name = "slack_channels",
     .why = "7 and 5 channels: no multiples of 4",
     .source = {5, 3, 7},
     .destination = {3, 7}},
    {.name = "wider", .source = {2, 6, 3}, .batch = 1, .destination = {9, 2}},
    {.name = "one_element", .source = {1, 1, 1}, .batch = 1},
    {.name = "larger", .source = {16, 12, 10}, .destination = {8, 5}, .forward_only = true},
    {.name = "slice",
     .why = "the channels that are read are what is reshaped",
     .source = {4, 3, 11},
     .destination = {2, 3},
     .source_channel = 4,
     .source_channels = 6,
     .quick = true},
    {.name = "slice_into_channels",
     .source = {4, 3, 12},
     .destination = {6, 2},
     .source_channel = 8,
     .destination_channel = 4,
     .quick = true},
    {.name = "into_a_part",
     .source = {4, 3, 2},
     .destination = {5, 4},
     .clip = {{1, 1, 0}, {2, 3, all_channels}},
     .quick = true},
    {.name = "part_to_part",
     .why = "neither side lies in one piece",
     .source = {4, 3, 8},
     .destination = {5, 4},
     .clip = {{2, 1, 0}, {3, 2, all_channels}},
     .source_channels = 3,
     .destination_channel = 4},
    {.name = "offset_and_edges_play_no_role",
     .source = {4, 3, 2},
     .destination = {3, 2},
     .offset = {2, -1},
     .edge = ImageEdgeMode::Clamp},
    {.name = "E12",
     .source = {3, 2, 2},
     .destination = {1, 3},
     .given = {.source = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
               .incoming = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21},
               .result = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
               .source_gradient = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}},
     .quick = true},
};

INSTANTIATE_TEST_SUITE_P(Reshape, Rows, testing::ValuesIn(subjects<ReshapeSubject>(rows)),
                         name_of_row);

class ReshapeForms : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  NNReshape reshape{bench.device};
  NNReshapeGradient gradient{bench.device};
  Images shape{3, 2, 3, 4};
  Values values = floats(shape.count(), 5);
  ImageBatch source = upload(bench.device, ImageFeatureChannelFormat::Float32, shape, values);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();

  ReshapeForms() {
    reshape.setDestinationImageAllocator(Image::defaultAllocator());
    gradient.setDestinationImageAllocator(Image::defaultAllocator());
  }
  static void expect_shape(const Image& image, std::size_t w, std::size_t h, std::size_t c) {
    EXPECT_EQ(image.width(), w);
    EXPECT_EQ(image.height(), h);
    EXPECT_EQ(image.featureChannels(), c);
  }
  [[nodiscard]] Values first() const {
    return {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(shape.one())};
  }
};

TEST_F(ReshapeForms, one_image) {
  const Image result = reshape.encode(buffer, source[0], 2, 6, 2);
  expect_shape(result, 2, 6, 2);
  const Image same = reshape.encode(buffer, source[0]);  // the shape was that of one call
  expect_shape(same, 3, 2, 4);
  finish(buffer);
  EXPECT_EQ(result.read_floats(), first());
  EXPECT_EQ(same.read_floats(), first());
}

TEST_F(ReshapeForms, one_image_with_a_state) {
  std::shared_ptr<NNGradientState> state;
  const Image result = reshape.encode(buffer, source[0], &state, false, 24, 1, 1);
  expect_shape(result, 24, 1, 1);
  ASSERT_NE(state, nullptr);
  EXPECT_FALSE(state->isTemporary());
  const Image back = gradient.encode(buffer, result, source[0], state);
  finish(buffer);
  expect_shape(back, 3, 2, 4);
  EXPECT_EQ(back.read_floats(), first());
}

TEST_F(ReshapeForms, batches) {
  const ImageBatch results = reshape.encodeBatch(buffer, source, 1, 3, 8);
  StateBatch states;
  const ImageBatch others = reshape.encodeBatch(buffer, source, &states, true, 4, 3, 2);
  ASSERT_EQ(states.size(), 3U);
  EXPECT_TRUE(states[0]->isTemporary());
  const ImageBatch back = gradient.encodeBatch(buffer, others, source, states);
  finish(buffer);
  expect_shape(results.front(), 1, 3, 8);
  expect_shape(others.front(), 4, 3, 2);
  EXPECT_EQ(read(results), values);
  EXPECT_EQ(read(others), values);
  EXPECT_EQ(read(back), values);
}

TEST_F(ReshapeForms, stacks_of_images) {
  const auto descriptor = [](std::size_t w, std::size_t h, std::size_t c) {
    return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c, 3);
  };
  const Image stack(bench.device, descriptor(3, 2, 4)), result(bench.device, descriptor(6, 4, 1));
  stack.write_floats(values);
  reshape.encode(buffer, stack, result);
  finish(buffer);
  EXPECT_EQ(result.read_floats(), values);
}

TEST_F(ReshapeForms, channels_that_are_kept) {
  reshape.setDestinationFeatureChannelOffset(4);
  const Image result = reshape.encode(buffer, source[0], 6, 2, 2);
  expect_shape(result, 6, 2, 6);
}

}  // namespace
}  // namespace cermet::test
