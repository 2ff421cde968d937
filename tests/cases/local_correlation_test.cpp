// NNLocalCorrelation: windows and strides along both axes, edges, regions (spec: pooling-shape 12,
// 15).

#include "cermet/cnn/local_correlation.h"

#include <limits>
#include <numeric>

#include "../harness/bench.h"
#include "../harness/reduce_binary.h"
#include "../harness/refusal.h"

namespace cermet::test {
namespace {

oracle::Tensor local_correlation(const LocalCorrelation& op, oracle::EdgeRule edge,
                                 const oracle::Tensor& a, const oracle::Tensor& b) {
  const int across = 2 * op.windowInX + 1, down = 2 * op.windowInY + 1;
  auto out = oracle::filled(a.n, a.h, a.w, across * down);
  oracle::for_each(out, [&](int n, int y, int x, int f) {
    for (int z = 0; z < a.c; ++z)
      out(n, y, x, f) +=
          a(n, y, x, z) * oracle::read(b, n, y + (f / across - op.windowInY) * op.strideInY,
                                       x + (f % across - op.windowInX) * op.strideInX, z, edge);
  });
  return out;
}

struct CorrelationRow {
  ReduceBinaryRow row{};
  LocalCorrelation op{};
};

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

std::vector<CorrelationRow> rows() {
  std::vector<CorrelationRow> all{
      {.row = {.name = "no_window", .quick = true}},
      {.row = {.name = "window_in_x", .quick = true}, .op = {.windowInX = 2}},
      {.row = {.name = "window_in_y"}, .op = {.windowInY = 1}},
      {.row = {.name = "wide_window", .quick = true}, .op = {.windowInX = 2, .windowInY = 1}},
      {.row = {.name = "high_window"}, .op = {.windowInX = 1, .windowInY = 3}},
      {.row = {.name = "strides", .primary = {7, 6, 2}, .secondary = {7, 6, 2}},
       .op = {.windowInX = 1, .windowInY = 2, .strideInX = 3, .strideInY = 2}},
      {.row = {.name = "stride_beyond_the_image"},
       .op = {.windowInX = 1, .windowInY = 1, .strideInX = 0x7FFFFFFF, .strideInY = 0x7FFFFFFF}},
      {.row = {.name = "one_pixel", .primary = {1, 1, 1}, .secondary = {1, 1, 1}, .batch = 1},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "batch_7", .primary = {3, 2, 4}, .secondary = {3, 2, 4}, .batch = 7},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "many_channels", .primary = {3, 2, 70}, .secondary = {3, 2, 70}},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "clamp", .secondary_edge = ImageEdgeMode::Clamp, .quick = true},
       .op = {.windowInX = 3, .windowInY = 2, .strideInY = 2}},
      {.row = {.name = "other_sizes",
               .why = "reads beyond the second image are outside",
               .primary = {6, 5, 3},
               .secondary = {4, 7, 3}},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "regions",
               .why = "the edges are those of the region",
               .primary = {7, 6, 3},
               .secondary = {8, 7, 3},
               .primarySourceClipRect = {{1, 2, 0}, {4, 9, 1}},
               .secondarySourceClipRect = {{2, 1, 0}, {5, 4, 1}},
               .quick = true},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "regions_clamp",
               .primary = {7, 6, 3},
               .secondary = {8, 7, 3},
               .primarySourceClipRect = {{1, 2, 0}, {4, 9, 1}},
               .secondarySourceClipRect = {{2, 1, 0}, {5, 3, 1}},
               .secondary_edge = ImageEdgeMode::Clamp},
       .op = {.windowInX = 1, .windowInY = 2}},
      {.row = {.name = "clip", .destination = {9, 8}, .clip = {{2, 3, 0}, {3, 4, all_channels}}},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "room_beyond_the_results", .destination = {9, 8}}, .op = {.windowInX = 1}},
      {.row = {.name = "channel_ranges",
               .primary = {4, 3, 12},
               .secondary = {4, 3, 16},
               .primary_channel = 4,
               .primary_channels = 5,
               .secondary_channel = 8,
               .destination_channel = 4,
               .quick = true},
       .op = {.windowInX = 1, .windowInY = 1}},
      {.row = {.name = "nan_times_a_zero_outside",
               .primary = {2, 1, 2},
               .secondary = {2, 1, 2},
               .x = {nan, 1, inf, 0.5F},
               .y = {1, 0.5F, 0.25F, 1}},
       .op = {.windowInX = 1}},
  };
  // Example 11: ones with 1 ... 15, at (0, 0).
  CorrelationRow example{.row = {.name = "E11_corner",
                                 .primary = {5, 3, 1},
                                 .secondary = {5, 3, 1},
                                 .destination = {1, 1},
                                 .x = std::vector<float>(15, 1),
                                 .y = std::vector<float>(15),
                                 .result = {0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 6, 7, 8}},
                         .op = {.windowInX = 2, .windowInY = 1}};
  std::iota(example.row.y.begin(), example.row.y.end(), 1.0F);
  all.push_back(std::move(example));
  return all;
}

std::vector<ReduceBinarySubject> subjects() {
  std::vector<ReduceBinarySubject> all;
  for (const CorrelationRow& r : rows()) {
    const LocalCorrelation op = r.op;
    const auto edge = r.row.secondary_edge == ImageEdgeMode::Clamp ? oracle::EdgeRule::Clamp
                                                                   : oracle::EdgeRule::Zero;
    all.push_back(
        {r.row,
         [op](const Device& device) {
           return std::make_unique<NNLocalCorrelation>(
               device, static_cast<std::size_t>(op.windowInX),
               static_cast<std::size_t>(op.windowInY), static_cast<std::size_t>(op.strideInX),
               static_cast<std::size_t>(op.strideInY));
         },
         [op](std::size_t) {
           return static_cast<std::size_t>((2 * op.windowInX + 1) * (2 * op.windowInY + 1));
         },
         [op, edge](const oracle::Tensor& a, const oracle::Tensor& b) {
           return local_correlation(op, edge, a, b);
         }});
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(LocalCorrelation, ReduceBinaryRows, testing::ValuesIn(subjects()),
                         name_of_binary_row);

TEST(LocalCorrelation, has_the_numbers_of_the_specification_at_the_centre_quick) {
  const Bench& bench = Bench::with(2);
  NNLocalCorrelation kernel(bench.device);
  kernel.setWindowInX(2);
  kernel.setWindowInY(1);
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  const Images e{1, 3, 5, 1};
  Values second(15);
  std::iota(second.begin(), second.end(), 1.0F);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const Image result = kernel.encode(
      buffer, upload(bench.device, ImageFeatureChannelFormat::Float32, e, Values(15, 1))[0],
      upload(bench.device, ImageFeatureChannelFormat::Float32, e, second)[0]);
  finish(buffer);
  const Values all = result.read_floats();
  ASSERT_EQ(all.size(), 15U * 15U);
  EXPECT_EQ(Values(all.begin() + 7 * 15, all.begin() + 8 * 15), second);
}

TEST(LocalCorrelation, refuses_what_it_cannot_be_quick) {
  const Bench& bench = Bench::with(2);
  NNLocalCorrelation kernel(bench.device, 1, 2, 3, 4);
  expect_refusal([&] { kernel.setStrideInX(0); },
                 "NNLocalCorrelation: strideInX is 0; needed 1 or more.");
  expect_refusal([&] { kernel.setStrideInY(0); },
                 "NNLocalCorrelation: strideInY is 0; needed 1 or more.");
  expect_refusal([&] { kernel.setWindowInX(16384); },
                 "NNLocalCorrelation: windowInX is 16384; needed 0 to 16383.");
  expect_refusal([&] { kernel.setWindowInY(all_channels); },
                 "NNLocalCorrelation: windowInY is 2147483647; needed 0 to 16383.");
  expect_refusal([&] { static_cast<void>(NNLocalCorrelation(bench.device, 1, 1, 1, 0)); },
                 "NNLocalCorrelation: strideInY is 0; needed 1 or more.");
  EXPECT_EQ(kernel.windowInX(), 1U);  // nothing has changed
  EXPECT_EQ(kernel.windowInY(), 2U);
  EXPECT_EQ(kernel.strideInX(), 3U);
  EXPECT_EQ(kernel.strideInY(), 4U);

  kernel.setLabel("c1");
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const auto image = [&](std::size_t c) {
    return Image(bench.device,
                 ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 5, 4, c));
  };
  expect_refusal(
      [&] { kernel.encode(buffer, image(3), image(2), image(15)); },
      "NNLocalCorrelation \"c1\": secondaryImage is 5x4x2 Float32; needed 3 feature channels "
      "from channel 0.");
  expect_refusal([&] { kernel.encode(buffer, image(3), image(3), image(14)); },
                 "NNLocalCorrelation \"c1\": destinationImage is 5x4x14 Float32; needed 15 feature "
                 "channels.");
  kernel.setSecondarySourceClipRect({{5, 0, 0}, {1, 1, 1}});
  expect_refusal(
      [&] { kernel.encode(buffer, image(3), image(3), image(15)); },
      "NNLocalCorrelation \"c1\": secondarySourceClipRect is 1x1x1 at (5, 0, 0); needed a "
      "region that meets the secondary source, 5x4x3 Float32.");
}

}  // namespace
}  // namespace cermet::test
