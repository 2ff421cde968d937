// NNReduceUnary: every axis and kind over regions, clip rectangles, channel ranges, ties, NaN and
// long lines; weighted sums over the channels of two images (spec: pooling-shape 5, 15).

#include "cermet/cnn/reduce.h"

#include <cmath>
#include <limits>

#include "../harness/bench.h"
#include "../harness/reduce_binary.h"
#include "../harness/rows_test.h"
#include "harness/images.h"

namespace cermet::test {
namespace {

using Format = ImageFeatureChannelFormat;
using enum ReduceAxis;
using enum ReduceKind;

// ---- one source: the classes --------------------------------------------------------------------

struct ReduceClass {
  const char* name;
  ReduceAxis axis;
  ReduceKind kind;
  std::unique_ptr<NNReduceUnary> (*make)(const Device&);

  [[nodiscard]] bool sums() const { return kind == sum || kind == mean; }
  [[nodiscard]] bool is_argument() const { return kind == argument_min || kind == argument_max; }
};
template <class K>
constexpr ReduceClass class_of(const char* name, ReduceAxis axis, ReduceKind kind) {
  return {name, axis, kind, [](const Device& device) -> std::unique_ptr<NNReduceUnary> {
            return std::make_unique<K>(device);
          }};
}
constexpr std::array classes{
    class_of<NNReduceRowMin>("row_min", row, min),
    class_of<NNReduceRowMax>("row_max", row, max),
    class_of<NNReduceRowMean>("row_mean", row, mean),
    class_of<NNReduceRowSum>("row_sum", row, sum),
    class_of<NNReduceColumnMin>("column_min", column, min),
    class_of<NNReduceColumnMax>("column_max", column, max),
    class_of<NNReduceColumnMean>("column_mean", column, mean),
    class_of<NNReduceColumnSum>("column_sum", column, sum),
    class_of<NNReduceFeatureChannelsMin>("channels_min", feature_channels, min),
    class_of<NNReduceFeatureChannelsMax>("channels_max", feature_channels, max),
    class_of<NNReduceFeatureChannelsMean>("channels_mean", feature_channels, mean),
    class_of<NNReduceFeatureChannelsSum>("channels_sum", feature_channels, sum),
    class_of<NNReduceFeatureChannelsArgumentMin>("argument_min", feature_channels, argument_min),
    class_of<NNReduceFeatureChannelsArgumentMax>("argument_max", feature_channels, argument_max),
};

/// The value for one line of elements.
double reduced(ReduceKind kind, double weight, const std::vector<double>& line) {
  const auto nan = std::find_if(line.begin(), line.end(), [](double v) { return std::isnan(v); });
  const auto least = std::min_element(line.begin(), line.end()),
             most = std::max_element(line.begin(), line.end());
  const bool largest = kind == max || kind == argument_max;
  const auto extreme = nan != line.end() ? nan : largest ? most : least;
  double all = 0;
  for (const double value : line) all += value;
  switch (kind) {
    case sum:
      return weight * all;
    case mean:
      return all / static_cast<double>(line.size());
    case min:
    case max:
      return *extreme;
    default:
      return static_cast<double>(extreme - line.begin());
  }
}

struct ReduceRow {
  Row row{};
  Region clipRectSource = RectNoClip;
  float weight = 1;
};

/// Pixels of the source that are reduced.
struct Part {
  int x, y, w, h;
};
Part part_of(const Region& region, const Shape& source) {
  const auto cut = [](std::size_t origin, std::size_t size, std::size_t whole) {
    return static_cast<int>(std::min(size, whole - origin));
  };
  return {static_cast<int>(region.origin.x), static_cast<int>(region.origin.y),
          cut(region.origin.x, region.size.width, source.w),
          cut(region.origin.y, region.size.height, source.h)};
}

class ReduceSubject final : public Subject {
 public:
  ReduceSubject(const ReduceClass& of, ReduceRow row)
      : Subject(named(of, row.row)),
        class_(of),
        clip_source_(row.clipRectSource),
        weight_(row.weight) {}

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    auto kernel = class_.make(device);
    kernel->setClipRectSource(clip_source_);
    if (auto* weighted = dynamic_cast<NNReduceFeatureChannelsSum*>(kernel.get()))
      weighted->setWeight(weight_);
    return kernel;
  }
  [[nodiscard]] std::unique_ptr<CNNKernel> copy(const CNNKernel& kernel) const override {
    auto made = kernel.Kernel::copy();
    return std::unique_ptr<CNNKernel>(dynamic_cast<CNNKernel*>(made.release()));
  }
  [[nodiscard]] std::size_t channels_written(std::size_t read) const override {
    return class_.axis == feature_channels ? 1 : read;
  }
  [[nodiscard]] Geometry geometry() const override {
    const Part part = part_of(clip_source_, row().source);
    const int w = class_.axis == ReduceAxis::row ? 1 : part.w;
    const int h = class_.axis == column ? 1 : part.h;
    Row placed = row();
    if (placed.destination.w == 0)
      placed.destination = {static_cast<std::size_t>(w), static_cast<std::size_t>(h)};
    Geometry g = resolve(placed, {}, default_policy());
    g.w = std::min(g.w, w);
    g.h = std::min(g.h, h);
    return g;
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    const Part part = part_of(clip_source_, row().source);
    const int channels = class_.axis == feature_channels ? 1 : source.c;
    auto out = oracle::filled(source.n, g.h, g.w, channels);
    oracle::for_each(out, [&](int n, int j, int i, int c) {
      std::vector<double> line;
      const int y = part.y + j, x = part.x + i;
      if (class_.axis == ReduceAxis::row)
        for (int k = 0; k < part.w; ++k) line.push_back(source(n, y, part.x + k, c));
      if (class_.axis == column)
        for (int k = 0; k < part.h; ++k) line.push_back(source(n, part.y + k, x, c));
      if (class_.axis == feature_channels)
        for (int k = 0; k < source.c; ++k) line.push_back(source(n, y, x, k));
      const bool weighted = class_.axis == feature_channels && class_.kind == sum;
      out(n, j, i, c) = reduced(class_.kind, weighted ? double{weight_} : 1, line);
    });
    return out;
  }
  // There is none.
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device&) const override {
    return nullptr;
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> copy(const CNNGradientKernel&) const override {
    return nullptr;
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor&, const oracle::Tensor&,
                                    const Geometry&) const override {
    return {};
  }

 private:
  static Row named(const ReduceClass& of, Row row) {
    row.name = std::string(of.name) + "_" + row.name;
    row.forward_only = true;
    return row;
  }
  const ReduceClass& class_;
  Region clip_source_;
  float weight_;
};

// ---- one source: the rows -----------------------------------------------------------------------

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

/// For every class.
const std::vector<ReduceRow> rows{
    {.row = {.name = "whole", .source = {5, 4, 3}, .quick = true}},
    {.row = {.name = "one_element", .source = {1, 1, 1}, .batch = 1, .quick = true}},
    {.row = {.name = "one_row", .source = {7, 1, 2}}},
    {.row = {.name = "one_column", .source = {1, 6, 5}}},
    {.row = {.name = "one_channel", .source = {9, 8, 1}}},
    {.row = {.name = "batch_7", .source = {4, 3, 4}, .batch = 7, .quick = true}},
    {.row = {.name = "batch_1", .source = {6, 8, 8}, .batch = 1}},
    {.row = {.name = "wide", .why = "a team shares each row", .source = {301, 2, 3}}},
    {.row = {.name = "tall", .source = {2, 150, 3}}},
    {.row = {.name = "many_channels", .why = "several blocks", .source = {3, 2, 130}}},
    {.row = {.name = "thousand_channels", .source = {2, 2, 1030}}},
    {.row = {.name = "below_0",
             .why = "nothing around takes part",
             .source = {5, 3, 3},
             .low = -3,
             .high = -1,
             .quick = true}},
    {.row = {.name = "ties", .source = {6, 5, 7}, .data = Data::ties}},
    {.row = {.name = "region", .source = {6, 5, 4}, .quick = true},
     .clipRectSource = {{1, 2, 0}, {4, 2, 1}}},
    {.row = {.name = "region_beyond_the_edge",
             .why = "the mean divides by what is there",
             .source = {6, 5, 4},
             .quick = true},
     .clipRectSource = {{4, 2, 0}, {9, 9, 9}}},
    {.row = {.name = "region_of_one_pixel", .source = {6, 5, 4}},
     .clipRectSource = {{5, 4, 0}, {1, 1, 1}}},
    {.row = {.name = "clip",
             .source = {5, 4, 3},
             .destination = {9, 7},
             .clip = {{2, 1, 0}, {5, 4, all_channels}},
             .quick = true}},
    {.row = {.name = "clip_with_less_room",
             .why = "results that do not fit are left out",
             .source = {5, 4, 3},
             .destination = {6, 5},
             .clip = {{1, 2, 0}, {2, 2, all_channels}}}},
    {.row = {.name = "room_beyond_the_results",
             .why = "pixels there keep their values",
             .source = {5, 4, 3},
             .destination = {8, 6}}},
    {.row = {.name = "region_and_clip",
             .source = {7, 6, 3},
             .destination = {6, 6},
             .clip = {{1, 1, 0}, {4, 5, all_channels}}},
     .clipRectSource = {{2, 1, 0}, {4, 3, 1}}},
    {.row = {.name = "channel_ranges",
             .why = "indices count from the first channel read",
             .source = {4, 3, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 8,
             .quick = true}},
    {.row = {.name = "last_channels",
             .source = {4, 3, 11},
             .source_channel = 8,
             .data = Data::distinct}},
    {.row = {.name = "channel_ranges_and_region",
             .source = {5, 6, 12},
             .source_channel = 4,
             .source_channels = 1,
             .destination_channel = 4},
     .clipRectSource = {{1, 1, 0}, {3, 4, 1}}},
    {.row = {.name = "offset_and_edge",
             .why = "both are ignored",
             .source = {5, 4, 3},
             .destination = {5, 4},
             .offset = {3, -2},
             .edge = ImageEdgeMode::Clamp}},
    {.row = {.name = "nan",
             .why = "it wins, the first of two",
             .source = {3, 2, 4},
             .given = {.source = {0.5F, nan,   0.25F, nan,  0.5F, 0.75F, 0, 1,     //
                                  1,    0.5F,  0.25F, 0,    nan,  1,     0, 0.5F,  //
                                  0,    0.25F, 0.5F,  0.75, 0.5F, 0.25F, 0, nan}},
             .quick = true}},
    {.row = {.name = "infinities",
             .source = {2, 3, 3},
             .given = {.source = {inf, 1, 0.5F, inf, -inf, 0.25F,   //
                                  inf, 0, 0.5F, inf, -inf, -0.25F,  //
                                  inf, 1, 0.5F, inf, 0.5F, -inf}}}},
};
/// Of channels, where the argument kernels find the first.
const std::vector<ReduceRow> sum_rows{
    {.row = {.name = "weight", .source = {5, 4, 3}, .quick = true}, .weight = 0.5F},
    {.row = {.name = "weight_below_0", .source = {5, 4, 9}}, .weight = -3},
    {.row = {.name = "weight_0", .source = {2, 2, 2}}, .weight = 0},
};

/// A line of 10^5 elements along the axis of the class: the error must not grow with it.
ReduceRow long_line(const ReduceClass& of) {
  constexpr std::size_t length = 100'003;
  const Shape shape = of.axis == row      ? Shape{length, 1, 1}
                      : of.axis == column ? Shape{1, length, 1}
                                          : Shape{1, 1, length};
  return {.row = {.name = "long_line",
                  .source = shape,
                  .batch = 1,
                  .low = 1000,
                  .high = 1001,
                  .tolerance = 1e-7,
                  .loosened = "tightened to the rounding of the result",
                  .float32_only = true}};
}
ReduceRow long_line_of_three(const ReduceClass& of) {
  ReduceRow r = long_line(of);
  r.row.name = "long_line_of_three";
  r.row.source = of.axis == row ? Shape{33'335, 1, 3} : Shape{1, 33'335, 3};
  return r;
}

/// Example 9: 3x2 pixels, 2 channels.
ReduceRow example(const ReduceClass& of) {
  std::vector<double> result;
  switch (of.axis) {
    case row:
      result = of.kind == min    ? std::vector<double>{1, -2, -6, -9}
               : of.kind == max  ? std::vector<double>{5, 4, 8, 7}
               : of.kind == mean ? std::vector<double>{3, 2 / 3.0, 4 / 3.0, 0}
                                 : std::vector<double>{9, 2, 4, 0};
      break;
    case column:
      if (of.kind == max) result = {1, 7, 8, 4, 5, 2};
      if (of.kind == sum) result = {-5, 5, 11, -5, 7, 2};
      if (of.kind == mean) result = {-2.5, 2.5, 5.5, -2.5, 3.5, 1};
      break;
    case feature_channels:
      if (of.kind == max) result = {1, 4, 5, 7, 8, 2};
      if (of.kind == argument_max) result = {0, 1, 0, 1, 0, 0};
      if (of.kind == argument_min) result = {1, 0, 1, 0, 1, 0};
      if (of.kind == sum) result = {-0.5, 3.5, 2.5, 0.5, -0.5, 2};
      break;
  }
  return {.row = {.name = "E9",
                  .source = {3, 2, 2},
                  .given = {.source = {1, -2, 3, 4, 5, 0, -6, 7, 8, -9, 2, 2}, .result = result},
                  .quick = true},
          .weight = of.kind == sum ? 0.5F : 1};
}

std::vector<SubjectPtr> unary_subjects() {
  std::vector<SubjectPtr> all;
  for (const ReduceClass& of : classes) {
    const auto add = [&](const ReduceRow& r) {
      all.push_back(std::make_shared<ReduceSubject>(of, r));
    };
    for (const ReduceRow& r : rows) add(r);
    add(example(of));
    if (of.sums()) {
      add(long_line(of));
      if (of.axis != feature_channels) add(long_line_of_three(of));
    }
    if (of.axis == feature_channels && of.kind == sum)
      for (const ReduceRow& r : sum_rows) add(r);
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Reduce, Rows, testing::ValuesIn(unary_subjects()), name_of_row);

// ---- one source: images of one object, and nothing to reduce ------------------------------------

Image stacked(const Bench& bench, const Images& e, const Values& values) {
  ImageDescriptor descriptor = e.descriptor(Format::Float32);
  descriptor.numberOfImages = e.n;
  const Image image(bench.device, descriptor);
  image.write_floats(values);
  return image;
}

TEST(ReduceImages, are_those_of_the_region_quick) {
  const Bench& bench = Bench::with(2);
  const Images from{4, 2, 3, 2}, to{3, 2, 1, 2};
  const Values values = floats(from.count(), 1), before(to.count(), 100);
  NNReduceRowSum kernel(bench.device);
  const auto results = [&](const Region& region, const Region& clip) {
    kernel.setClipRectSource(region);
    kernel.setClipRect(clip);
    kernel.setOffset({0, 0, 9});  // ignored
    const Image destination = stacked(bench, to, before);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encode(buffer, stacked(bench, from, values), destination);
    finish(buffer);
    return destination.read_floats();
  };
  /// Destination image `at` holds the sums of source image `of`.
  const auto expect_image = [&](const Values& got, std::size_t at, std::size_t of) {
    for (std::size_t y = 0; y < 2; ++y)
      for (std::size_t c = 0; c < 2; ++c) {
        float wanted = 0;
        for (std::size_t x = 0; x < 3; ++x) wanted += values[((of * 2 + y) * 3 + x) * 2 + c];
        EXPECT_NEAR(got[(at * 2 + y) * 2 + c], wanted, 1e-6) << at << " " << y << " " << c;
      }
  };
  const auto expect_kept = [&](const Values& got, std::size_t at) {
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(got[at * 4 + i], 100) << at;
  };
  constexpr std::size_t all = all_channels;
  Values got = results(RectNoClip, RectNoClip);
  for (std::size_t i = 0; i < 3; ++i) expect_image(got, i, i);
  got = results({{0, 0, 1}, {all, all, 2}}, RectNoClip);
  expect_image(got, 0, 1);
  expect_image(got, 1, 2);
  expect_kept(got, 2);
  got = results({{0, 0, 2}, {all, all, all}}, {{0, 0, 1}, {all, all, all}});
  expect_kept(got, 0);
  expect_image(got, 1, 2);
  expect_image(got, 2, 3);

  kernel.setClipRect(RectNoClip);
  kernel.setClipRectSource({{0, 0, 1}, {all, 1, 2}});
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const Image made = kernel.encode(buffer, stacked(bench, from, values));
  finish(buffer);
  EXPECT_EQ(made.numberOfImages(), 2U);
  EXPECT_EQ(made.width(), 1U);
  EXPECT_EQ(made.height(), 1U);
}

class EmptyReduce : public testing::TestWithParam<ReduceClass> {};
std::string name_of_class(const testing::TestParamInfo<ReduceClass>& info) {
  return std::string(info.param.name) + "_quick";
}
INSTANTIATE_TEST_SUITE_P(Reduce, EmptyReduce, testing::ValuesIn(classes), name_of_class);

/// Regions that a 5x4 image does not meet.
const std::vector<Region> beyond{
    {{5, 0, 0}, {2, 4, 1}}, {{0, 4, 0}, {5, 1, 1}}, {{9, 9, 0}, {9, 9, 9}},
    {{1, 1, 0}, {0, 2, 1}}, {{0, 0, 1}, {5, 4, 1}}, {{all_channels, all_channels, 0}, {1, 1, 1}}};

TEST_P(EmptyReduce, writes_0_where_it_sums_and_else_nothing) {
  const Bench& bench = Bench::with(2);
  const Target target{{2, 6, 7, 3}, 1, 2, 4, 3, 0, GetParam().axis == feature_channels ? 1U : 3U};
  const Values before(target.image.count(), 100);
  const Values zeros(region_of(target, before).size());
  const Values wanted = GetParam().sums() ? with_region(target, before, zeros) : before;
  for (const Region& region : beyond) {
    for (const bool loose : {false, true}) {
      const auto kernel = GetParam().make(bench.device);
      kernel->setClipRectSource(region);
      kernel->setClipRect({{target.x, target.y, 0}, {target.w, target.h, 1}});
      const auto made = [&](const Images& e, const Values& v) {
        return loose ? upload_loose(bench.device, Format::Float32, e, v)
                     : upload(bench.device, Format::Float32, e, v);
      };
      const Images from{2, 4, 5, 3};
      const ImageBatch destination = made(target.image, before);
      CommandBuffer buffer = bench.queue.makeCommandBuffer();
      kernel->encodeBatch(buffer, made(from, floats(from.count(), 1)), destination);
      finish(buffer);
      EXPECT_EQ(read(destination), wanted) << region.origin.x << " " << region.origin.y;
    }
  }
}

TEST_P(EmptyReduce, returns_zeros_or_throws) {
  const Bench& bench = Bench::with(2);
  const Images from{1, 4, 5, 3};
  const auto kernel = GetParam().make(bench.device);
  kernel->setLabel("r1");
  kernel->setClipRectSource({{5, 0, 0}, {2, 4, 1}});
  kernel->setDestinationImageAllocator(Image::defaultAllocator());
  const Image source = upload(bench.device, Format::Float32, from, floats(from.count(), 1))[0];
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  if (GetParam().sums()) {
    const Image made = kernel->encode(buffer, source);
    finish(buffer);
    EXPECT_EQ(made.width(), 1U);
    EXPECT_EQ(made.height(), GetParam().axis == column ? 1U : 4U);
    EXPECT_EQ(made.read_floats(), Values(made.read_floats().size()));
    return;
  }
  try {
    static_cast<void>(kernel->encode(buffer, source));
    ADD_FAILURE() << "did not throw";
  } catch (const InvalidArgument& error) {
    EXPECT_EQ(error.what(),
              std::string(kernel->class_name()) +
                  " \"r1\": clipRectSource is 2x4x1 at (5, 0, 0); needed a region that meets the "
                  "source, 5x4x3 Float32.");
  }
}

TEST_P(EmptyReduce, has_neither_gradient_nor_state) {
  const Bench& bench = Bench::with(2);
  const Images e{1, 4, 5, 3};
  const Image source = upload(bench.device, Format::Float32, e, Values(e.count()))[0];
  EXPECT_EQ(GetParam().make(bench.device)->resultState(source, {}, source), nullptr);
}

TEST(ReduceTemporaries, lose_a_read_quick) {
  const Bench& bench = Bench::with(2);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const auto descriptor = ImageDescriptor::imageDescriptor(Format::Float32, 5, 4, 3);
  const Image source = TemporaryImage(buffer, descriptor);
  NNReduceRowMin first(bench.device);
  first.setClipRectSource({{5, 0, 0}, {1, 1, 1}});  // even where nothing is written
  const Image destination(bench.device, descriptor);
  first.encode(buffer, source, destination);
  EXPECT_EQ(source.readCount(), 0U);
  finish(buffer);
}

// ---- two sources --------------------------------------------------------------------------------

oracle::Tensor weighted(WeightedDivisor divisor, const oracle::Tensor& f, const oracle::Tensor& v) {
  auto out = oracle::filled(f.n, f.h, f.w, 1);
  oracle::for_each(out, [&](int n, int y, int x, int) {
    double all = 0, counting = 0;
    for (int c = 0; c < f.c; ++c) {
      const double weight = v(v.n == 1 ? 0 : n, v.h == 1 ? 0 : y, v.w == 1 ? 0 : x, c);
      all += f(n, y, x, c) * weight;
      counting += weight != 0 ? 1 : 0;
    }
    out(n, y, x, 0) = divisor == WeightedDivisor::one        ? all
                      : divisor == WeightedDivisor::channels ? all / f.c
                      : counting == 0                        ? 0
                                                             : all / counting;
  });
  return out;
}

const std::vector<ReduceBinaryRow> weighted_rows{
    {.name = "whole", .quick = true},
    {.name = "one_element", .primary = {1, 1, 1}, .secondary = {1, 1, 1}, .batch = 1},
    {.name = "batch_7", .primary = {3, 2, 4}, .secondary = {3, 2, 4}, .batch = 7, .quick = true},
    {.name = "eight_channels", .primary = {4, 3, 8}, .secondary = {4, 3, 8}},
    {.name = "many_channels", .primary = {3, 2, 130}, .secondary = {3, 2, 130}},
    {.name = "weights_with_zeros",
     .primary = {4, 3, 9},
     .secondary = {4, 3, 9},
     .data = Data::ties,
     .quick = true},
    {.name = "no_weight_counts",
     .primary = {1, 1, 2},
     .secondary = {1, 1, 2},
     .x = {3, nan},
     .y = {0, 0}},
    {.name = "nan_is_a_weight",
     .primary = {1, 1, 2},
     .secondary = {1, 1, 2},
     .x = {3, 1},
     .y = {0, nan}},
    {.name = "one_weight_pixel",
     .why = "serves all",
     .primary = {5, 4, 3},
     .secondary = {1, 1, 3},
     .quick = true},
    {.name = "one_weight_row", .primary = {5, 4, 3}, .secondary = {5, 1, 3}},
    {.name = "one_weight_column", .primary = {5, 4, 3}, .secondary = {1, 4, 3}},
    {.name = "more_weights", .primary = {4, 3, 3}, .secondary = {6, 5, 7}},
    {.name = "regions",
     .primary = {6, 5, 3},
     .secondary = {7, 6, 3},
     .primarySourceClipRect = {{1, 2, 0}, {4, 9, 1}},
     .secondarySourceClipRect = {{3, 1, 0}, {9, 4, 1}},
     .quick = true},
    {.name = "region_of_one_weight",
     .primary = {6, 5, 3},
     .secondary = {7, 6, 3},
     .secondarySourceClipRect = {{6, 5, 0}, {9, 9, 1}}},
    {.name = "clip",
     .destination = {8, 7},
     .clip = {{2, 1, 0}, {6, 5, all_channels}},
     .quick = true},
    {.name = "clip_with_less_room",
     .why = "so many weights are enough",
     .secondary = {3, 2, 3},
     .destination = {4, 4},
     .clip = {{1, 2, 0}, {3, 2, all_channels}}},
    {.name = "room_beyond_the_results", .destination = {9, 8}},
    {.name = "channel_ranges",
     .primary = {4, 3, 12},
     .secondary = {4, 3, 16},
     .primary_channel = 4,
     .primary_channels = 5,
     .secondary_channel = 8,
     .destination_channel = 4,
     .quick = true},
    {.name = "ignored_offsets",
     .why = "the clip rectangles replace them",
     .destination = {5, 4},
     .offset = {2, -1, 5}},
    {.name = "long_line",
     .primary = {1, 1, 100'003},
     .secondary = {1, 1, 100'003},
     .batch = 1,
     .low = 30,
     .high = 31,
     .tolerance = 1e-7,
     .float32_only = true},
};
ReduceBinaryRow weighted_example(double result) {
  return {.name = "E9",
          .primary = {1, 1, 4},
          .secondary = {1, 1, 4},
          .x = {1, 2, 3, 4},
          .y = {2, 0, -1, 0.5F},
          .result = {result},
          .quick = true};
}

template <class Make>
std::vector<ReduceBinarySubject> weighted_subjects(WeightedDivisor divisor, double in_example,
                                                   Make make) {
  auto all = weighted_rows;
  all.push_back(weighted_example(in_example));
  std::vector<ReduceBinarySubject> subjects;
  for (const auto& r : all) {
    subjects.push_back({r, make, [](std::size_t) { return std::size_t{1}; },
                        [divisor](const oracle::Tensor& f, const oracle::Tensor& v) {
                          return weighted(divisor, f, v);
                        }});
  }
  return subjects;
}
INSTANTIATE_TEST_SUITE_P(WeightedSum, ReduceBinaryRows,
                         testing::ValuesIn(weighted_subjects(
                             WeightedDivisor::one, 1,
                             [](const Device& device) {
                               return std::make_unique<NNReduceFeatureChannelsAndWeightsSum>(
                                   device);
                             })),
                         name_of_binary_row);
INSTANTIATE_TEST_SUITE_P(WeightedSumByNonZeroWeights, ReduceBinaryRows,
                         testing::ValuesIn(weighted_subjects(
                             WeightedDivisor::non_zero_weights, 1 / 3.0,
                             [](const Device& device) {
                               return std::make_unique<NNReduceFeatureChannelsAndWeightsSum>(device,
                                                                                             true);
                             })),
                         name_of_binary_row);
INSTANTIATE_TEST_SUITE_P(WeightedMean, ReduceBinaryRows,
                         testing::ValuesIn(weighted_subjects(
                             WeightedDivisor::channels, 0.25,
                             [](const Device& device) {
                               return std::make_unique<NNReduceFeatureChannelsAndWeightsMean>(
                                   device);
                             })),
                         name_of_binary_row);

class ReduceBinaryCalls : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  NNReduceFeatureChannelsAndWeightsSum kernel{bench.device};

  [[nodiscard]] Image image(std::size_t w, std::size_t h, std::size_t c, std::size_t n = 1) const {
    const Images e{n, h, w, c};
    return stacked(bench, e, floats(e.count(), 1));
  }
  void expect_message(const Image& f, const Image& v, const Image& to, const std::string& text) {
    const Values before = to.read_floats();
    try {
      kernel.encode(buffer, f, v, to);
      ADD_FAILURE() << "did not throw; wanted: " << text;
    } catch (const InvalidArgument& error) {
      EXPECT_EQ(error.what(), "NNReduceFeatureChannelsAndWeightsSum \"r2\": " + text);
    }
    EXPECT_EQ(to.read_floats(), before);
  }
};

TEST_F(ReduceBinaryCalls, refuse_weights_that_do_not_fit_quick) {
  kernel.setLabel("r2");
  const Image f = image(5, 4, 3), to = image(5, 4, 1);
  expect_message(
      f, image(3, 4, 3), to,
      "secondaryImage is 3x4 pixels in secondarySourceClipRect; needed 5x4, one for each "
      "result, or 1 along an axis.");
  expect_message(
      f, image(5, 2, 3), to,
      "secondaryImage is 5x2 pixels in secondarySourceClipRect; needed 5x4, one for each "
      "result, or 1 along an axis.");
  expect_message(f, image(5, 4, 2), to,
                 "secondaryImage is 5x4x2 Float32; needed 3 feature channels from channel 0.");
  expect_message(image(5, 4, 3, 3), image(5, 4, 3, 2), image(5, 4, 1, 3),
                 "secondaryImage is 2 images; needed 3, as many as are reduced, or 1 that serves "
                 "all.");
  kernel.setSecondarySourceClipRect({{0, 4, 0}, {5, 4, 1}});
  expect_message(f, image(5, 4, 3, 2), to,
                 "secondarySourceClipRect is 5x4x1 at (0, 4, 0); needed a region that meets the "
                 "secondary source, 5x4x3 Float32 with 2 images.");
}

TEST_F(ReduceBinaryCalls, take_images_of_their_regions_quick) {
  const Image f = image(3, 2, 4, 4), v = image(3, 2, 4, 3), one = image(3, 2, 4, 1);
  const auto result = [&](const Image& weights, std::size_t first) {
    const Image to = stacked(bench, {3, 2, 3, 1}, Values(18, 100));
    kernel.setSecondarySourceClipRect({{0, 0, first}, RectNoClip.size});
    CommandBuffer now = bench.queue.makeCommandBuffer();
    kernel.encode(now, f, weights, to);
    finish(now);
    return to.read_floats();
  };
  const Values x = f.read_floats(), w = v.read_floats();
  const auto sum_at = [&](std::size_t of, std::size_t weights_of, std::size_t pixel) {
    float sum = 0;
    for (std::size_t c = 0; c < 4; ++c)
      sum += x[(of * 6 + pixel) * 4 + c] * w[(weights_of * 6 + pixel) * 4 + c];
    return sum;
  };
  kernel.setPrimarySourceClipRect({{0, 0, 1}, {3, 2, 2}});
  const Values both = result(v, 1), broadcast = result(one, 0);
  for (std::size_t pixel = 0; pixel < 6; ++pixel) {
    EXPECT_NEAR(both[pixel], sum_at(1, 1, pixel), 1e-6);
    EXPECT_NEAR(both[6 + pixel], sum_at(2, 2, pixel), 1e-6);
    EXPECT_EQ(both[12 + pixel], 100);
    EXPECT_NEAR(broadcast[pixel], sum_at(1, 0, pixel), 1e-6);
    EXPECT_NEAR(broadcast[6 + pixel], sum_at(2, 0, pixel), 1e-6);
    EXPECT_EQ(broadcast[12 + pixel], 100);
  }
}

TEST_F(ReduceBinaryCalls, write_0_where_there_are_no_features_quick) {
  kernel.setPrimarySourceClipRect({{5, 0, 0}, {2, 3, 1}});
  kernel.setClipRect({{1, 0, 0}, {1, 2, 1}});
  const Image to = stacked(bench, {1, 2, 3, 2}, Values(12, 100));
  kernel.encode(buffer, image(5, 4, 3), image(5, 4, 3), to);
  kernel.setClipRect(RectNoClip);
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  const Image made = kernel.encode(buffer, image(5, 4, 3), image(5, 4, 3));
  finish(buffer);
  EXPECT_EQ(to.read_floats(), (Values{100, 100, 0, 100, 100, 100, 100, 100, 0, 100, 100, 100}));
  EXPECT_EQ(made.width(), 1U);
  EXPECT_EQ(made.height(), 3U);
  EXPECT_EQ(made.read_floats(), Values(3));
}

}  // namespace
}  // namespace cermet::test
