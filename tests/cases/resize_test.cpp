// NNResizeBilinear: both grids, larger and smaller. NNCropAndResizeBilinear: boxes inside, outside
// and mirrored, stacks and batches (spec: pooling-shape 4).

#include <cmath>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/report.h"
#include "../harness/rows_test.h"
#include "cermet/cnn/resize.h"

namespace cermet::test {
namespace {

/// Between rows and columns (v, u) of image n; positions outside are those of the edge.
double between(const oracle::Tensor& source, int n, double v, double u, int c) {
  double sum = 0;
  const double y = std::floor(v), x = std::floor(u);
  for (int j = 0; j < 2; ++j) {
    for (int i = 0; i < 2; ++i) {
      const double weight = (j == 0 ? 1 - (v - y) : v - y) * (i == 0 ? 1 - (u - x) : u - x);
      if (weight != 0) {
        sum += weight * oracle::read(source, n, static_cast<int>(y) + j, static_cast<int>(x) + i, c,
                                     oracle::EdgeRule::Clamp);
      }
    }
  }
  return sum;
}

struct ResizeRow {
  Row row{};
  std::size_t resizeWidth = 1, resizeHeight = 1;
  bool alignCorners = false;
};

class ResizeSubject final : public ForwardSubject<NNResizeBilinear> {
 public:
  explicit ResizeSubject(const ResizeRow& r) : ForwardSubject(r.row), r_(r) {}
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<NNResizeBilinear>(device, r_.resizeWidth, r_.resizeHeight,
                                              r_.alignCorners);
  }
  [[nodiscard]] std::optional<Planned> planned() const override {
    return Planned{{r_.resizeWidth, r_.resizeHeight}, {}};
  }
  /// u = offset + d*L/M or offset + d*(L-1)/(M-1)
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    const auto at = [&](int d, int extent, std::size_t resized, int offset) {
      const auto size = static_cast<double>(resized);
      if (!r_.alignCorners) return offset + d * extent / size;
      return resized == 1 ? offset : offset + d * (extent - 1) / (size - 1);
    };
    auto out = oracle::filled(source.n, g.h, g.w, source.c);
    oracle::for_each(out, [&](int n, int y, int x, int c) {
      out(n, y, x, c) = between(source, n, at(y, source.h, r_.resizeHeight, g.offset_y),
                                at(x, source.w, r_.resizeWidth, g.offset_x), c);
    });
    return out;
  }

 private:
  ResizeRow r_;
};

const std::vector<ResizeRow> shapes{
    {{.name = "larger", .source = {4, 3, 5}, .quick = true}, 9, 7},
    {{.name = "smaller", .source = {9, 7, 3}, .batch = 7, .quick = true}, 4, 3},
    {{.name = "wider_and_lower", .source = {5, 6, 2}, .batch = 1}, 8, 4},
    {{.name = "twice", .source = {3, 4, 4}}, 6, 8},
    {{.name = "half", .source = {8, 6, 3}}, 4, 3},
    {{.name = "same", .source = {5, 4, 3}}, 5, 4},
    {{.name = "to_one_pixel", .source = {5, 4, 3}, .quick = true}, 1, 1},
    {{.name = "from_one_pixel", .source = {1, 1, 3}, .quick = true}, 4, 5},
    {{.name = "one_row", .source = {7, 1, 3}}, 5, 3},
    {{.name = "many_pixels", .source = {40, 31, 6}}, 57, 23},
    {{.name = "offset",
      .why = "added to the source position, beyond which the edge counts",
      .source = {5, 4, 3},
      .destination = {9, 8},
      .offset = {2, -1}},
     9,
     8},
    {{.name = "clip",
      .why = "positions count from its origin, and may lie beyond the last",
      .source = {5, 4, 3},
      .destination = {9, 8},
      .clip = {{2, 1, 0}, {7, 6, all_channels}},
      .edge = ImageEdgeMode::Clamp},
     6,
     4},
    {{.name = "channels",
      .source = {4, 3, 12},
      .source_channel = 4,
      .source_channels = 5,
      .destination_channel = 8},
     5,
     5},
};
const std::vector<ResizeRow> examples{
    {{.name = "E6_numbers",
      .source = {3, 2, 1},
      .given = {.source = {1, 2, 4, 3, 5, 9}, .result = {1, 3, 7. / 3, 17. / 3, 3, 7}},
      .quick = true},
     2,
     3},
    {{.name = "E6_numbers_aligned",
      .source = {3, 2, 1},
      .given = {.source = {1, 2, 4, 3, 5, 9}, .result = {1, 4, 2, 6.5, 3, 9}},
      .quick = true},
     2,
     3,
     true},
    {{.name = "E6_as_upsampling",
      .source = {3, 2, 1},
      .given = {.source = {1, 2, 4, 3, 5, 9},
                .result = {1, 1.5, 2, 3, 4, 4, 2, 2.75, 3.5, 5, 6.5, 6.5,
                           3, 4,   5, 7, 9, 9, 3, 4,    5,   7, 9,   9}}},
     6,
     4},
};

std::vector<ResizeRow> rows() {
  std::vector<ResizeRow> all(examples);
  for (const ResizeRow& shape : shapes) {
    all.push_back(shape);
    ResizeRow& aligned = all.emplace_back(shape);
    aligned.alignCorners = true;
    aligned.row.name += "_aligned";
  }
  for (ResizeRow& row : all) row.row.forward_only = true;
  return all;
}

INSTANTIATE_TEST_SUITE_P(ResizeBilinear, Rows, testing::ValuesIn(subjects<ResizeSubject>(rows())),
                         name_of_row);

/// A neighbour of weight 0 does not count, not even one that is infinite.
TEST(ResizeBilinear, keeps_pixels_beside_infinities) {
  const Bench& bench = Bench::with(1);
  const float infinity = std::numeric_limits<float>::infinity();
  const ImageBatch source = upload(bench.device, ImageFeatureChannelFormat::Float32, {1, 1, 3, 1},
                                   std::vector<float>{1, infinity, 2});
  NNResizeBilinear resize(bench.device, 3, 1, true);
  resize.setDestinationImageAllocator(Image::defaultAllocator());
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const Image result = resize.encode(buffer, source[0]);
  finish(buffer);
  EXPECT_EQ(result.read_floats(), (Values{1, infinity, 2}));
}

// ---- crop and resize ----------------------------------------------------------------------------

struct CropRow {
  std::string name;
  Shape source{};
  std::size_t resizeWidth = 1, resizeHeight = 1;
  std::vector<RegionD> regions{};
  Region clip = RectNoClip;
  std::size_t source_channel = 0, source_channels = all_channels, destination_channel = 0;
  std::vector<float> given{};
  std::vector<double> result{};
};

RegionD box(double x, double y, double width, double height) {
  return {{x, y, 0}, {width, height, 1}};
}

const std::vector<CropRow> crops{
    {"whole", {5, 4, 3}, 5, 4, {box(0, 0, 1, 1)}},
    {"larger", {5, 4, 3}, 9, 11, {box(0, 0, 1, 1)}},
    {"parts", {7, 6, 2}, 4, 3, {box(0.25, 0, 0.5, 1), box(0.1, 0.2, 0.7, 0.3), box(1, 1, 0, 0)}},
    {"beyond_the_image", {5, 4, 3}, 6, 5, {box(-0.25, 0.5, 1, 1), box(2, 2, 1, 1)}},
    {"mirrored", {5, 4, 3}, 4, 6, {box(1, 1, -1, -1), box(0.75, 0, -0.5, 1)}},
    {"one_pixel_of_each", {5, 4, 3}, 1, 1, {box(0, 0, 1, 1), box(0.25, 0.5, 0.5, 0)}},
    {"one_column", {5, 4, 3}, 1, 4, {box(0.125, 0, 0.5, 1)}},
    {"from_one_pixel", {1, 1, 4}, 3, 2, {box(0, 0, 1, 1), box(0.5, 0.5, 9, 9)}},
    {"ends_on_the_last_pixel",
     {7, 6, 1},
     8,
     4,
     {box(0.1, 0.3, 0.9, 0.7), box(0.4, 0.2, 0.6, 0.8), box(1, 1, -0.9, -0.7)}},
    {"clip",
     {5, 4, 3},
     6,
     5,
     {box(0, 0.25, 1, 0.5), box(0.5, 0, 0.5, 0.5)},
     {{1, 2, 0}, {4, 2, all_channels}}},
    {"channels", {5, 4, 12}, 3, 3, {box(0, 0, 1, 1)}, RectNoClip, 4, 5, 8},
    {"E6_box",
     {3, 2, 1},
     3,
     2,
     {box(0.25, 0, 0.5, 1)},
     RectNoClip,
     0,
     all_channels,
     0,
     {1, 2, 4, 3, 5, 9},
     {1.5, 2, 3, 4, 5, 7}},
    {"E6_box_beyond",
     {3, 2, 1},
     3,
     1,
     {box(-0.5, 0, 1, 1)},
     RectNoClip,
     0,
     all_channels,
     0,
     {1, 2, 4, 3, 5, 9},
     {0, 2, 3.5}},
    {"E6_box_of_one_pixel",
     {3, 2, 1},
     1,
     1,
     {box(0, 0, 1, 1)},
     RectNoClip,
     0,
     all_channels,
     0,
     {1, 2, 4, 3, 5, 9},
     {3.5}},
};

/// Output d of a box from `first` to `first` + `extent`; a hair beyond the last pixel is rounding.
double box_position(double first, double extent, int d, std::size_t resized, int source) {
  const double last = source - 1;
  if (resized == 1) return 0.5 * (first + first + extent) * last;
  const double u = first * last + d * extent * last / (static_cast<double>(resized) - 1);
  const double near = std::round(u);
  return std::abs(u - near) < 1e-12 ? near : u;
}

class Crops : public testing::TestWithParam<CropRow> {
 protected:
  using Format = ImageFeatureChannelFormat;
  static constexpr std::size_t stack = 3, read_image = 1;
  const CropRow& row = GetParam();
  Report report{"NNCropAndResizeBilinear", row.name};
  std::size_t count = row.regions.size();
  std::size_t channels = std::min(row.source_channels, row.source.c - row.source_channel);
  Images source{stack, row.source.h, row.source.w, row.source.c};
  Target target{{count, row.resizeHeight, row.resizeWidth, row.destination_channel + channels},
                row.clip.origin.x,
                row.clip.origin.y,
                std::min(row.clip.size.width, row.resizeWidth - row.clip.origin.x),
                std::min(row.clip.size.height, row.resizeHeight - row.clip.origin.y),
                row.destination_channel,
                channels};
  Values x = [&] {
    Values values = floats(source.count(), 31);
    if (!row.given.empty()) {
      values.clear();
      for (std::size_t i = 0; i < stack; ++i)
        values.insert(values.end(), row.given.begin(), row.given.end());
    }
    return values;
  }();

  [[nodiscard]] NNCropAndResizeBilinear kernel(const Bench& bench) const {
    NNCropAndResizeBilinear k(bench.device, row.resizeWidth, row.resizeHeight, count,
                              row.regions.data());
    k.setClipRect(row.clip);
    k.setSourceFeatureChannelOffset(row.source_channel);
    k.setSourceFeatureChannelMaxCount(row.source_channels);
    k.setDestinationFeatureChannelOffset(row.destination_channel);
    k.setDestinationImageAllocator(Image::defaultAllocator());
    k.setOffset({0, 0, read_image});
    return k;
  }
  /// Box r of image `of(r)`.
  template <class Of>
  [[nodiscard]] oracle::Tensor wanted(const Values& values, Of of) const {
    const auto from = channels_of(tensor_of(source, values), row.source_channel, channels);
    auto out = oracle::filled(static_cast<int>(count), static_cast<int>(target.h),
                              static_cast<int>(target.w), static_cast<int>(channels));
    oracle::for_each(out, [&](int r, int j, int i, int c) {
      const auto& [origin, size] = row.regions.at(static_cast<std::size_t>(r));
      const double u = box_position(origin.x, size.width, i, row.resizeWidth, from.w);
      const double v = box_position(origin.y, size.height, j, row.resizeHeight, from.h);
      if (u >= 0 && v >= 0 && u <= from.w - 1 && v <= from.h - 1)
        out(r, j, i, c) = between(from, of(r), v, u, c);
    });
    return out;
  }
  [[nodiscard]] static Image stacked(const Device& device, Format format, const Images& e,
                                     const Values& values) {
    const Image image(device, ImageDescriptor::imageDescriptor(format, e.w, e.h, e.c, e.n));
    image.write_floats(values);
    return image;
  }
  Values encoded(const Bench& bench, Format format) const {
    const Image from = stacked(bench.device, format, source, x);
    const Image to =
        stacked(bench.device, format, target.image, Values(target.image.count(), 0.5F));
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel(bench).encode(buffer, from, to);
    finish(buffer);
    return to.read_floats();
  }
};

TEST_P(Crops, of_one_image) {
  const auto expected = wanted(x, [](int) { return int{read_image}; });
  const Values got = encoded(Bench::with(2), Format::Float32);
  report.expect("stack", region_of(target, got), expected, {1e-5, 1e-30});
  if (!row.result.empty())
    report.expect("specification's numbers", got, row.result,
                  {1, 1, 1, static_cast<int>(row.result.size())}, {1e-5, 0});
  const Values outside = with_region(target, got, Values(region_of(target, got).size(), 0.5F));
  EXPECT_EQ(outside, Values(outside.size(), 0.5F)) << "written outside the region";
  EXPECT_TRUE(same_bits(encoded(Bench::with(1), Format::Float32), got)) << "one thread";
  const auto half = Image(Bench::with(1).device,
                          ImageDescriptor::imageDescriptor(Format::Float16, 1, 1, source.count()));
  half.write_floats(x);
  report.expect("float16", region_of(target, encoded(Bench::with(2), Format::Float16)),
                wanted(half.read_floats(), [](int) { return int{read_image}; }), {1e-3, 1e-30});
}

TEST_P(Crops, returned) {
  const Bench& bench = Bench::with(2);
  const Image from = stacked(bench.device, Format::Float32, source, x);
  NNCropAndResizeBilinear k = kernel(bench);
  k.setOffset({});
  k.setClipRect(RectNoClip);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const Image to = k.encode(buffer, from);
  finish(buffer);
  ASSERT_EQ(to.numberOfImages(), count);
  ASSERT_EQ(to.width(), row.resizeWidth);
  ASSERT_EQ(to.height(), row.resizeHeight);
  ASSERT_EQ(to.featureChannels(), target.image.c);
  target.x = target.y = 0;
  target.w = target.image.w;
  target.h = target.image.h;
  report.expect("returned", region_of(target, to.read_floats()), wanted(x, [](int) { return 0; }),
                {1e-5, 1e-30});
}

/// One destination for each box: of the only image, or box r of image r.
TEST_P(Crops, of_batches) {
  const Bench& bench = Bench::with(2);
  const ImageBatch all = upload(bench.device, Format::Float32, source, x);
  NNCropAndResizeBilinear k = kernel(bench);
  for (const std::size_t images : {std::size_t{1}, count}) {
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    const ImageBatch to =
        upload_loose(bench.device, Format::Float32, target.image, Values(target.image.count()));
    k.encodeBatch(buffer, all.subrange({0, images}), to);
    const ImageBatch made = k.encodeBatch(buffer, all.subrange({0, images}));
    finish(buffer);
    const auto expected = wanted(x, [&](int r) { return images == 1 ? 0 : r; });
    report.expect("batch", region_of(target, read(to)), expected, {1e-5, 1e-30});
    ASSERT_EQ(made.size(), count);
    report.expect("returned batch", region_of(target, read(made)), expected, {1e-5, 1e-30});
  }
}

INSTANTIATE_TEST_SUITE_P(CropAndResizeBilinear, Crops, testing::ValuesIn(crops),
                         [](const auto& row) { return row.param.name + "_quick"; });

}  // namespace
}  // namespace cermet::test
