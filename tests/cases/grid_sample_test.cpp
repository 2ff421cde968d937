// NNGridSample: positions and movements, edges, places beyond the image and none at all (spec:
// pooling-shape 11).

#include <cmath>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/report.h"
#include "cermet/cnn/grid_sample.h"

namespace cermet::test {
namespace {

struct SampleRow {
  std::string name;
  Shape image{};
  Shape grid{5, 4, 2};
  std::size_t batch = 2;
  bool moves = false;        // not useGridValueAsInputCoordinate
  float low = -2, high = 7;  // of the grid
  Extent destination{};      // else the grid's
  Offset primary{}, secondary{};
  Region clip = RectNoClip;
  ImageEdgeMode edge = ImageEdgeMode::Zero, grid_edge = ImageEdgeMode::Zero;
  std::size_t image_channel = 0, image_channels = all_channels, grid_channel = 0,
              destination_channel = 0;
  std::vector<float> given{}, given_grid{};
  std::vector<double> result{};
};

const float infinity = std::numeric_limits<float>::infinity();
const float nan = std::numeric_limits<float>::quiet_NaN();

std::vector<SampleRow> rows() {
  const std::vector<SampleRow> all{
      {.name = "positions", .image = {6, 5, 3}},
      {.name = "movements", .image = {5, 4, 3}, .batch = 7, .moves = true, .low = -2, .high = 2},
      {.name = "larger_grid", .image = {3, 2, 5}, .grid = {9, 7, 2}, .batch = 1},
      {.name = "smaller_grid", .image = {9, 7, 4}, .grid = {2, 1, 2}},
      {.name = "one_pixel", .image = {1, 1, 1}, .grid = {3, 3, 2}, .low = -1.5F, .high = 1.5F},
      {.name = "grid_of_many_channels", .image = {6, 5, 3}, .grid = {4, 3, 9}, .grid_channel = 4},
      {.name = "channels",
       .image = {6, 5, 12},
       .image_channel = 4,
       .image_channels = 5,
       .destination_channel = 8},
      {.name = "clip",
       .image = {6, 5, 3},
       .grid = {7, 6, 2},
       .destination = {8, 7},
       .clip = {{2, 1, 0}, {4, 5, all_channels}}},
      {.name = "clipped_movements",
       .image = {6, 5, 3},
       .grid = {7, 6, 2},
       .moves = true,
       .low = -1,
       .high = 1,
       .destination = {8, 7},
       .primary = {1, -1, 0},
       .clip = {{2, 1, 0}, {4, 5, all_channels}}},
      {.name = "primary_offset_without_movements", .image = {6, 5, 3}, .primary = {2, 3, 0}},
      {.name = "grid_offset",
       .image = {6, 5, 3},
       .grid = {7, 6, 2},
       .destination = {4, 3},
       .secondary = {2, 3, 0}},
      {.name = "beyond_the_grid",
       .image = {6, 5, 3},
       .destination = {8, 7},
       .secondary = {-1, -2, 0}},
      {.name = "beyond_the_grid_clamp",
       .image = {6, 5, 3},
       .destination = {8, 7},
       .secondary = {-1, -2, 0},
       .grid_edge = ImageEdgeMode::Clamp},
      {.name = "whole_numbers",
       .image = {3, 2, 2},
       .grid = {3, 2, 2},
       .batch = 1,
       .given = {1, infinity, 2, 3, nan, 4, 5, 6, 7, 8, 9, 10},
       .given_grid = {0, 0, 1, 1, 2, 1, -1, 0, 3, 1, 0, 2},
       .result = {1, infinity, 7, 8, 9, 10, 0, 0, 0, 0, 0, 0}},
      {.name = "far_away_and_nowhere",
       .image = {2, 2, 1},
       .grid = {5, 1, 2},
       .batch = 1,
       .given = {1, 2, 3, 4},
       .given_grid = {1e30F, 0, 0, -infinity, nan, 0, 0, nan, infinity, nan},
       .result = {0, 0, nan, nan, nan}},
      {.name = "far_away_clamp",
       .image = {2, 2, 1},
       .grid = {4, 1, 2},
       .batch = 1,
       .edge = ImageEdgeMode::Clamp,
       .given = {1, 2, 3, 4},
       .given_grid = {1e30F, 0, 0, -infinity, infinity, infinity, nan, 0},
       .result = {2, 1, 4, nan}},
      {.name = "E10",
       .image = {3, 2, 1},
       .grid = {4, 1, 2},
       .batch = 1,
       .given = {1, 2, 4, 3, 5, 9},
       .given_grid = {0.5F, 0, 1.25F, 0.5F, -0.5F, 0, 2, 1},
       .result = {1.5, 4.25, 0.5, 9}},
      {.name = "E10_movements",
       .image = {3, 2, 1},
       .grid = {3, 2, 2},
       .batch = 1,
       .moves = true,
       .given = {1, 2, 4, 3, 5, 9},
       .given_grid = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0},
       .result = {2, 4, 0, 5, 9, 0}},
  };
  std::vector<SampleRow> both;
  for (const SampleRow& row : all) {
    both.push_back(row);
    if (!row.given.empty()) continue;
    SampleRow& clamped = both.emplace_back(row);
    clamped.edge = ImageEdgeMode::Clamp;
    clamped.name += "_at_the_border";
  }
  return both;
}

class Samples : public testing::TestWithParam<SampleRow> {
 protected:
  using Format = ImageFeatureChannelFormat;
  const SampleRow& row = GetParam();
  Report report{"NNGridSample", row.name};
  std::size_t channels = std::min(row.image_channels, row.image.c - row.image_channel);
  Extent extent = row.destination.w != 0 ? row.destination : Extent{row.grid.w, row.grid.h};
  Images image{row.batch, row.image.h, row.image.w, row.image.c};
  Images grid{row.batch, row.grid.h, row.grid.w, row.grid.c};
  Target target{{row.batch, extent.h, extent.w, row.destination_channel + channels},
                row.clip.origin.x,
                row.clip.origin.y,
                std::min(row.clip.size.width, extent.w - row.clip.origin.x),
                std::min(row.clip.size.height, extent.h - row.clip.origin.y),
                row.destination_channel,
                channels};
  Values x = row.given.empty() ? floats(image.count(), 41) : row.given;
  Values p = row.given_grid.empty() ? floats(grid.count(), 42, row.low, row.high) : row.given_grid;

  [[nodiscard]] NNGridSample kernel(const Bench& bench) const {
    NNGridSample k(bench.device);
    EXPECT_TRUE(k.useGridValueAsInputCoordinate());
    k.setUseGridValueAsInputCoordinate(!row.moves);
    k.setPrimaryOffset(row.primary);
    k.setSecondaryOffset(row.secondary);
    k.setClipRect(row.clip);
    k.setPrimaryEdgeMode(row.edge);
    k.setSecondaryEdgeMode(row.grid_edge);
    k.setPrimarySourceFeatureChannelOffset(row.image_channel);
    k.setPrimarySourceFeatureChannelMaxCount(row.image_channels);
    k.setSecondarySourceFeatureChannelOffset(row.grid_channel);
    k.setDestinationFeatureChannelOffset(row.destination_channel);
    k.setDestinationImageAllocator(Image::defaultAllocator());
    return k;
  }
  static oracle::EdgeRule rule(ImageEdgeMode mode) {
    return mode == ImageEdgeMode::Clamp ? oracle::EdgeRule::Clamp : oracle::EdgeRule::Zero;
  }
  /// The sum over the four neighbours of (u, v).
  [[nodiscard]] oracle::Tensor wanted(const Values& values, const Values& positions) const {
    const auto from = channels_of(tensor_of(image, values), row.image_channel, channels);
    const auto at = tensor_of(grid, positions);
    auto out = oracle::filled(static_cast<int>(row.batch), static_cast<int>(target.h),
                              static_cast<int>(target.w), static_cast<int>(channels));
    oracle::for_each(out, [&](int n, int j, int i, int c) {
      const auto coordinate = [&](int channel) {
        return oracle::read(at, n, j + static_cast<int>(row.secondary.y),
                            i + static_cast<int>(row.secondary.x),
                            channel + static_cast<int>(row.grid_channel), rule(row.grid_edge));
      };
      double u = coordinate(0), v = coordinate(1);
      if (row.moves) {
        u += i + static_cast<int>(row.primary.x);
        v += j + static_cast<int>(row.primary.y);
      }
      double& sum = out(n, j, i, c);
      if (std::isnan(u) || std::isnan(v)) {
        sum = nan;
        return;
      }
      u = std::clamp(u, -9.0, 99.0);
      v = std::clamp(v, -9.0, 99.0);
      const int left = static_cast<int>(std::floor(u)), top = static_cast<int>(std::floor(v));
      for (int y = top; y <= top + 1; ++y) {
        for (int z = left; z <= left + 1; ++z) {
          const double weight = (1 - std::abs(v - y)) * (1 - std::abs(u - z));
          if (weight != 0) sum += weight * oracle::read(from, n, y, z, c, rule(row.edge));
        }
      }
    });
    return out;
  }
  Values encoded(const Bench& bench, Format format, bool loose) const {
    const auto up = [&](const Images& e, const Values& values) {
      return loose ? upload_loose(bench.device, format, e, values)
                   : upload(bench.device, format, e, values);
    };
    const ImageBatch to = up(target.image, Values(target.image.count(), 0.5F));
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel(bench).encodeBatch(buffer, up(image, x), up(grid, p), to);
    finish(buffer);
    return read(to);
  }
  [[nodiscard]] Values rounded(const Images& e, const Values& values) const {
    return read(upload(Bench::with(2).device, Format::Float16, e, values));
  }
};

TEST_P(Samples, match_the_formula) {
  const Values got = encoded(Bench::with(2), Format::Float32, false);
  report.expect("forward", region_of(target, got), wanted(x, p), {1e-5, 1e-30});
  if (!row.result.empty())
    report.expect("numbers", got, row.result, {1, 1, 1, static_cast<int>(row.result.size())},
                  {1e-5, 0});
  const Values outside = with_region(target, got, Values(region_of(target, got).size(), 0.5F));
  EXPECT_EQ(outside, Values(outside.size(), 0.5F)) << "written outside the region";
  EXPECT_TRUE(same_bits(encoded(Bench::with(1), Format::Float32, false), got)) << "one thread";
  EXPECT_TRUE(same_bits(encoded(Bench::with(2), Format::Float32, true), got)) << "loose images";
  if (!row.given.empty()) return;
  report.expect("float16", region_of(target, encoded(Bench::with(2), Format::Float16, false)),
                wanted(rounded(image, x), rounded(grid, p)), {1e-3, 1e-30});
}

TEST_P(Samples, return_images_of_the_grids_size) {
  if (row.destination.w != 0 || row.clip != RectNoClip) return;
  const Bench& bench = Bench::with(2);
  NNGridSample k = kernel(bench);
  k.setPrimaryOffset({3, 4, 0});
  k.setSecondaryOffset({5, -6, 0});
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const ImageBatch from = upload(bench.device, Format::Float32, image, x),
                   at = upload(bench.device, Format::Float32, grid, p);
  const ImageBatch made = k.encodeBatch(buffer, from, at);
  EXPECT_EQ(k.primaryOffset(), Offset{});
  EXPECT_EQ(k.secondaryOffset(), Offset{});
  const Image one = k.encode(buffer, from[0], at[0]);
  finish(buffer);
  ASSERT_EQ(made.front().width(), row.grid.w);
  ASSERT_EQ(made.front().height(), row.grid.h);
  ASSERT_EQ(made.front().featureChannels(), target.image.c);
  report.expect("returned", region_of(target, read(made)), wanted(x, p), {1e-5, 1e-30});
  EXPECT_TRUE(same_bits(one.read_floats(), made.front().read_floats()));
}

INSTANTIATE_TEST_SUITE_P(GridSample, Samples, testing::ValuesIn(rows()),
                         [](const auto& row) { return row.param.name + "_quick"; });

TEST(GridSample, takes_one_read_of_each_temporary) {
  const Bench& bench = Bench::with(1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const auto temporary = [&](std::size_t channels) {
    return TemporaryImage(buffer, ImageDescriptor::imageDescriptor(
                                      ImageFeatureChannelFormat::Float32, 4, 3, channels));
  };
  const Image image = temporary(5), grid = temporary(2);
  NNGridSample sample(bench.device);
  const Image result = sample.encode(buffer, image, grid);
  EXPECT_EQ(image.readCount(), 0U);
  EXPECT_EQ(grid.readCount(), 0U);
  EXPECT_EQ(result.readCount(), 1U);
  finish(buffer);
}

}  // namespace
}  // namespace cermet::test
