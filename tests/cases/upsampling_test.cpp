// Up-sampling, nearest and bilinear: factors, corners, offsets, edges, the specification's example
// 6 (spec: pooling-shape 3).

#include "cermet/cnn/upsampling.h"

#include <cmath>
#include <numeric>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/operator_rows.h"

namespace cermet::test {
namespace {

template <class Op>
Extent size(const Op& op, const Shape& source) {
  return {source.w * static_cast<std::size_t>(op.integerScaleFactorX),
          source.h * static_cast<std::size_t>(op.integerScaleFactorY)};
}

/// What output d of an axis reads: pixel `first` and, with weight t, the one after it.
struct Place {
  int first;
  double t;
};
/// `extent`: of the source.
Place place(int d, int extent, int factor, bool align, int offset) {
  const int outputs = extent * factor;
  double u = offset;
  if (!align) u += static_cast<double>(d) / factor;
  if (align && outputs > 1) u += static_cast<double>(d) * (extent - 1) / (outputs - 1);
  u = std::clamp(u, 0.0, extent - 1.0);
  return {static_cast<int>(u), u - std::floor(u)};
}

oracle::Tensor nearest(const UpsamplingNearest& op, const oracle::Tensor& source,
                       const Geometry& g) {
  auto out = oracle::filled(source.n, g.h, g.w, source.c);
  oracle::for_each(out, [&](int n, int j, int i, int c) {
    const int y = place(j, source.h, op.integerScaleFactorY, false, g.offset_y).first;
    const int x = place(i, source.w, op.integerScaleFactorX, false, g.offset_x).first;
    out(n, j, i, c) = source(n, y, x, c);
  });
  return out;
}

oracle::Tensor bilinear(const UpsamplingBilinear& op, const oracle::Tensor& source,
                        const Geometry& g) {
  auto out = oracle::filled(source.n, g.h, g.w, source.c);
  const bool align = op.alignCorners != 0;
  oracle::for_each(out, [&](int n, int j, int i, int c) {
    const Place y = place(j, source.h, op.integerScaleFactorY, align, g.offset_y);
    const Place x = place(i, source.w, op.integerScaleFactorX, align, g.offset_x);
    for (const int q : {0, 1}) {
      for (const int p : {0, 1}) {
        const double weight = (q == 0 ? 1 - y.t : y.t) * (p == 0 ? 1 - x.t : x.t);
        if (weight != 0) out(n, j, i, c) += weight * source(n, y.first + q, x.first + p, c);
      }
    }
  });
  return out;
}

std::vector<float> one_to(int last) {
  std::vector<float> values(static_cast<std::size_t>(last));
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}
/// 4 x 3, one channel: NaN and infinity inside.
const std::vector<float> not_numbers{1, 2, 3, 4, 5, NAN, INFINITY, 8, 9, 10, 11, 12};

template <class Op>
std::vector<OperatorRow<Op>> upsampling_rows() {
  using Method = NNPaddingMethod;
  return {
      {.row = {.name = "factor_2", .source = {4, 3, 3}, .quick = true},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "factor_3x2", .source = {3, 4, 2}, .batch = 7, .quick = true},
       .op = {.integerScaleFactorX = 3, .integerScaleFactorY = 2}},
      {.row = {.name = "factor_1x5", .source = {4, 3, 5}, .batch = 1},
       .op = {.integerScaleFactorY = 5}},
      {.row = {.name = "factor_4x1", .source = {5, 2, 4}}, .op = {.integerScaleFactorX = 4}},
      {.row = {.name = "factor_1", .why = "a copy", .source = {5, 4, 3}, .quick = true}, .op = {}},
      {.row = {.name = "one_pixel", .source = {1, 1, 1}, .batch = 1, .quick = true},
       .op = {.integerScaleFactorX = 3, .integerScaleFactorY = 4}},
      {.row = {.name = "one_pixel_factor_1", .source = {1, 1, 3}, .batch = 1}, .op = {}},
      {.row = {.name = "one_row", .source = {6, 1, 2}},
       .op = {.integerScaleFactorX = 3, .integerScaleFactorY = 3}},
      {.row = {.name = "one_column", .source = {1, 5, 2}},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 3}},
      {.row = {.name = "large_factor", .source = {2, 2, 1}},
       .op = {.integerScaleFactorX = 17, .integerScaleFactorY = 16}},
      {.row = {.name = "many_channels", .source = {2, 2, 70}},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 3}},
      {.row = {.name = "valid",
               .why = "policies have no say in the size",
               .source = {4, 3, 2},
               .policy = Method::SizeValidOnly | Method::AddRemainderToBottomRight},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 3}},
      {.row = {.name = "full",
               .source = {4, 3, 2},
               .policy = Method::SizeFull | Method::AlignBottomRight},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 3}},
      {.row = {.name = "offset",
               .why = "in source pixels",
               .source = {5, 4, 2},
               .destination = {6, 7},
               .offset = {1, 2},
               .quick = true},
       .op = {.integerScaleFactorX = 3, .integerScaleFactorY = 2}},
      {.row = {.name = "offset_negative",
               .why = "edge pixels outside",
               .source = {4, 3, 2},
               .destination = {14, 9},
               .offset = {-2, -1},
               .quick = true},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "offset_negative_clamp",
               .why = "the edge mode has no say",
               .source = {4, 3, 2},
               .destination = {14, 9},
               .offset = {-2, -1},
               .edge = ImageEdgeMode::Clamp},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "beyond_the_source",
               .source = {3, 2, 2},
               .destination = {9, 7},
               .offset = {4, 1}},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "before_the_source",
               .source = {3, 2, 2},
               .destination = {4, 5},
               .offset = {-6, -3}},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 3}},
      {.row = {.name = "clip",
               .source = {4, 4, 2},
               .destination = {9, 8},
               .offset = {1, 0},
               .clip = {{2, 1, 0}, {5, 6, all_channels}},
               .quick = true},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "clip_of_the_whole",
               .source = {3, 4, 2},
               .clip = {{4, 3, 0}, {all_channels, all_channels, all_channels}}},
       .op = {.integerScaleFactorX = 3, .integerScaleFactorY = 2}},
      {.row = {.name = "channel_ranges",
               .source = {3, 2, 12},
               .source_channel = 4,
               .source_channels = 6,
               .destination_channel = 8,
               .quick = true},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "nan",
               .why = "a pixel of weight 0 is not read",
               .source = {4, 3, 1},
               .given = {.source = not_numbers},
               .quick = true,
               .forward_only = true,
               .float32_only = true},
       .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}},
      {.row = {.name = "nan_factor_1",
               .source = {4, 3, 1},
               .given = {.source = not_numbers},
               .forward_only = true,
               .float32_only = true},
       .op = {}},
  };
}

std::vector<OperatorRow<UpsamplingNearest>> nearest_rows() {
  auto rows = upsampling_rows<UpsamplingNearest>();
  rows.push_back({.row = {.name = "example_6",
                          .source = {3, 2, 1},
                          .given = {.source = {1, 2, 4, 3, 5, 9},
                                    .incoming = one_to(24),
                                    .result = {1, 1, 2, 2, 4, 4, 1, 1, 2, 2, 4, 4,
                                               3, 3, 5, 5, 9, 9, 3, 3, 5, 5, 9, 9},
                                    .source_gradient = {18, 26, 34, 66, 74, 82}},
                          .quick = true},
                  .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2}});
  return rows;
}

const std::vector<double> aligned_result{
    1,      1.4, 1.8,     2.4,     3.2, 4,       5. / 3, 2.2, 41. / 15, 53. / 15, 4.6, 17. / 3,
    7. / 3, 3,   11. / 3, 14. / 3, 6,   22. / 3, 3,      3.8, 4.6,      5.8,      7.4, 9};
const std::vector<float> aligned_gradient{20, 36, 34, 56, 84, 70},
    plain_gradient{7.5, 15, 27, 54.5, 81, 115};

std::vector<OperatorRow<UpsamplingBilinear>> bilinear_rows() {
  auto rows = upsampling_rows<UpsamplingBilinear>();
  for (auto row : upsampling_rows<UpsamplingBilinear>()) {
    row.row.name += "_align_corners";
    row.op.alignCorners = 1;
    rows.push_back(row);
  }
  const auto example = [&](const char* name, int align, std::vector<double> result,
                           const std::vector<float>& gradient) {
    rows.push_back(
        {.row = {.name = name,
                 .source = {3, 2, 1},
                 .given = {.source = {1, 2, 4, 3, 5, 9},
                           .incoming = one_to(24),
                           .result = std::move(result),
                           .source_gradient = {gradient.begin(), gradient.end()}},
                 .quick = true},
         .op = {.integerScaleFactorX = 2, .integerScaleFactorY = 2, .alignCorners = align}});
  };
  example("example_6", 0,
          {1, 1.5, 2, 3, 4, 4, 2, 2.75, 3.5, 5, 6.5, 6.5, 3, 4, 5, 7, 9, 9, 3, 4, 5, 7, 9, 9},
          plain_gradient);
  example("example_6_align_corners", 1, aligned_result, aligned_gradient);
  const auto row_of_ones = [&](const char* name, int align, std::vector<double> gradient) {
    rows.push_back({.row = {.name = name,
                            .source = {3, 1, 1},
                            .given = {.source = {1, 2, 4},
                                      .incoming = {1, 1, 1, 1, 1, 1},
                                      .source_gradient = std::move(gradient)}},
                    .op = {.integerScaleFactorX = 2, .alignCorners = align}});
  };
  row_of_ones("example_6_one_row", 0, {1.5, 2, 2.5});
  row_of_ones("example_6_one_row_align_corners", 1, {1.8, 2.4, 1.8});
  return rows;
}

INSTANTIATE_TEST_SUITE_P(UpsamplingNearest, Rows,
                         (operator_rows<CNNUpsamplingNearest, CNNUpsamplingNearestGradient>(
                             Scaling<UpsamplingNearest>{size<UpsamplingNearest>, nearest},
                             nearest_rows())),
                         name_of_row);
INSTANTIATE_TEST_SUITE_P(UpsamplingBilinear, Rows,
                         (operator_rows<CNNUpsamplingBilinear, CNNUpsamplingBilinearGradient>(
                             Scaling<UpsamplingBilinear>{size<UpsamplingBilinear>, bilinear},
                             bilinear_rows())),
                         name_of_row);

// ---- what rows have no column for --------------------------------------------------------------

class Upsampling : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  const Device& device = bench.device;
  CommandBuffer buffer = bench.queue.makeCommandBuffer();

  [[nodiscard]] Image image(std::size_t w, std::size_t h, const Values& values) const {
    return upload(device, ImageFeatureChannelFormat::Float32, {1, h, w, 1}, values).front();
  }
  [[nodiscard]] Image blank(std::size_t w, std::size_t h) const {
    return image(w, h, Values(w * h, 7));
  }
  static void expect(const std::function<void()>& call, const std::string& text) {
    try {
      call();
      ADD_FAILURE() << "did not throw; wanted: " << text;
    } catch (const InvalidArgument& error) {
      EXPECT_EQ(error.what(), text);
    }
  }
};
void expect_near(const Values& got, const Values& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-4) << i;
}

TEST_F(Upsampling, GradientTakesCornersFromTheState_quick) {
  const Image source = image(3, 2, {1, 2, 4, 3, 5, 9}), incoming = image(6, 4, one_to(24));
  for (const bool align : {false, true}) {
    CNNUpsamplingBilinear forward(device, 2, 2, align);
    EXPECT_EQ(forward.alignCorners(), align);
    CNNUpsamplingBilinearGradient gradient(device, 2, 2);
    gradient.setDestinationImageAllocator(Image::defaultAllocator());
    CommandBuffer commands = bench.queue.makeCommandBuffer();
    StatePtr state;
    static_cast<void>(forward.encode(commands, source, &state, false));
    const Image returned = gradient.encode(commands, incoming, source, state);
    const Image given = blank(3, 2);
    CNNUpsamplingBilinearGradient(device, 2, 2).encode(commands, incoming, source, state, given);
    finish(commands);
    expect_near(returned.read_floats(), align ? aligned_gradient : plain_gradient);
    expect_near(given.read_floats(), align ? aligned_gradient : plain_gradient);
  }
  // Without a state: not aligned.
  const Image given = blank(3, 2);
  CNNUpsamplingBilinearGradient(device, 2, 2).encode(buffer, incoming, source, given);
  finish(buffer);
  expect_near(given.read_floats(), plain_gradient);
}

TEST_F(Upsampling, GradientPlacedByHand_quick) {
  CNNUpsamplingNearestGradient gradient(device, 2, 1);
  gradient.setPrimaryOffset({1, 0, 0});  // gradient pixel 1 lies at source pixel 1
  gradient.setSecondaryOffset({1, 0, 0});
  const Image source = blank(3, 1), wide = blank(5, 1), small = blank(4, 1), none = blank(3, 1);
  gradient.encode(buffer, image(5, 1, {1, 2, 3, 4, 5}), source, wide);
  gradient.setClipRect({{1, 0, 0}, {2, 1, 1}});
  gradient.encode(buffer, image(5, 1, {1, 2, 3, 4, 5}), source, small);
  gradient.setClipRect(RectNoClip);
  gradient.setPrimaryOffset({5, 0, 0});  // none is left
  gradient.encode(buffer, image(5, 1, {1, 2, 3, 4, 5}), source, none);
  finish(buffer);
  EXPECT_EQ(wide.read_floats(), (Values{0, 5, 9, 0, 0}));
  EXPECT_EQ(small.read_floats(), (Values{7, 0, 5, 7}));
  EXPECT_EQ(none.read_floats(), (Values{0, 0, 0}));
}

TEST_F(Upsampling, GradientLeavesAloneWhatHasNoWeight_quick) {
  CNNUpsamplingBilinearGradient gradient(device, 2, 1);
  const Image to = blank(4, 1);
  gradient.encode(buffer, image(8, 1, {1, 1, 1, NAN, INFINITY, 1, 1, 1}), blank(4, 1), to);
  finish(buffer);
  const Values got = to.read_floats();
  EXPECT_EQ(got[0], 1.5F);
  EXPECT_TRUE(std::isnan(got[1]));  // NaN lies between 1 and 2
  EXPECT_TRUE(std::isnan(got[2]));
  EXPECT_EQ(got[3], 2.5F);
}

TEST_F(Upsampling, IsPlannedByItsFactors_quick) {
  CNNUpsamplingNearest nearest(device, 3, 2);
  EXPECT_EQ(nearest.scaleFactorX(), 3.0);
  EXPECT_EQ(nearest.scaleFactorY(), 2.0);
  EXPECT_FALSE(nearest.alignCorners());
  EXPECT_FALSE(CNNUpsamplingBilinear(device, 2, 2).alignCorners());
  const Image source = blank(4, 5);
  const ImageDescriptor planned =
      nearest.plan({&source, 1}, {}, ImageFeatureChannelFormat::Float16);
  EXPECT_EQ(planned.width, 12U);
  EXPECT_EQ(planned.height, 10U);
  EXPECT_EQ(planned.channelFormat, ImageFeatureChannelFormat::Float16);
  CNNUpsamplingNearestGradient gradient(device, 3, 2);
  EXPECT_EQ(gradient.scaleFactorX(), 3.0);
  EXPECT_EQ(gradient.scaleFactorY(), 2.0);
  const Image incoming = blank(12, 10), sources[] = {incoming, source};
  const StatePtr state = nearest.resultState(source, {}, incoming);
  for (const StatePtr& one : {state, StatePtr()}) {
    const ImageDescriptor back = gradient.destinationImageDescriptor(sources, {&one, 1});
    EXPECT_EQ(back.width, 4U);
    EXPECT_EQ(back.height, 5U);
  }
}

TEST_F(Upsampling, Messages_quick) {
  expect([&] { CNNUpsamplingNearest(device, 0, 2); },
         "CNNUpsamplingNearest: integerScaleFactorX is 0; needed 1 to 2147483646.");
  expect([&] { CNNUpsamplingBilinear(device, 2, 0, true); },
         "CNNUpsamplingBilinear: integerScaleFactorY is 0; needed 1 to 2147483646.");
  expect([&] { CNNUpsamplingBilinearGradient(device, 0, 2); },
         "CNNUpsamplingBilinearGradient: integerScaleFactorX is 0; needed 1 to 2147483646.");
  CNNUpsamplingNearest forward(device, 2, 3), huge(device, 1U << 30U, 1);
  CNNUpsamplingNearestGradient gradient(device, 3, 2), same(device, 2, 3);
  gradient.setLabel("up1");
  const Image source = blank(6, 6), incoming = blank(12, 18), to = blank(6, 6);
  expect([&] { huge.encode(buffer, source, to); },
         "CNNUpsamplingNearest: sourceImage is 6x6x1 Float32; needed at most 2147483647 pixels "
         "along an axis after scaling by 1073741824x1.");
  expect(
      [&] {
        CNNUpsamplingNearestGradient(device, 1, 1U << 30U).encode(buffer, incoming, source, to);
      },
      "CNNUpsamplingNearestGradient: sourceImage is 6x6x1 Float32; needed at most 2147483647 "
      "pixels along an axis after scaling by 1x1073741824.");
  forward.setClipRect({{2, 3, 0}, {4, 6, 1}});
  const StatePtr state = forward.resultState(source, {}, incoming);
  expect([&] { gradient.encode(buffer, incoming, source, state, to); },
         "CNNUpsamplingNearestGradient \"up1\": gradientState is for factors 2x3; needed 3x2, the "
         "factors of this kernel. Make the gradient kernel with the factors of the forward "
         "kernel.");
  expect([&] { same.encode(buffer, incoming, source, state, to); },
         "CNNUpsamplingNearestGradient: primaryOffset is 0, 0; needed the forward clipRect's "
         "origin or more: the first gradient pixel to use.");
  gradient.setPrimaryOffset({0, -1, 0});
  expect([&] { gradient.encode(buffer, incoming, source, to); },
         "CNNUpsamplingNearestGradient \"up1\": primaryOffset is 0, -1; needed 0 or more: the "
         "first gradient pixel to use.");
  finish(buffer);
  EXPECT_EQ(to.read_floats(), Values(36, 7));
}

}  // namespace
}  // namespace cermet::test
