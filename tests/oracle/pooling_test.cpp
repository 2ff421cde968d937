// Pooling of the oracle against the specification's numbers and against differences.

#include <cmath>
#include <limits>

#include "help.h"
#include "pooling.h"

namespace cermet::oracle {
namespace {

Tensor counting(int h, int w) {
  auto t = filled(1, h, w, 1);
  for (std::size_t i = 0; i < t.v.size(); ++i) t.v[i] = static_cast<double>(i + 1);
  return t;
}

TEST(SpecPooling1_1, Item6AndCore10_5AverageTwoByTwo) {
  expect_values(pooling_average({.window = placed(2, 2, 0, 0)}, counting(3, 3), 3, 3).v,
                {0.25, 0.75, 1.25, 1.25, 3, 4, 2.75, 6, 7});
}

TEST(SpecPooling1_3, Item1CornerDividesByTheWholeWindow) {
  for (const int band : {0, 1}) {
    const PoolingAverage op{
        .window = placed(3, 3, 0, 0), .zeroPadSizeX = band, .zeroPadSizeY = band};
    expect_values(pooling_average(op, counting(3, 3), 1, 1).v, {12.0 / 9});
  }
}

TEST(SpecCore10_5, PoolingCheckFiveByFive) {
  const auto row_0 = [](const Window& window) {
    auto out = pooling_average({.window = window}, counting(5, 5), 3, 3).v;
    out.resize(3);
    return out;
  };
  expect_values(row_0(placed(2, 2, 0, 0, 2, 2)), {0.25, 1.25, 2.25});
  expect_values(row_0(clamped(placed(2, 2, 0, 0, 2, 2))), {1, 2.5, 4.5});
  expect_values(row_0(placed(2, 2, 1, 1, 2, 2)), {4, 6, 3.75});
  expect_values(row_0(clamped(placed(2, 2, 1, 1, 2, 2))), {4, 6, 7.5});
}

TEST(SpecPooling15, Example1Average) {
  const auto source = counting(4, 4);
  const auto ones = filled(1, 3, 3, 1, 1);
  const auto check = [&](const Window& window, int band, const Values& result,
                         const Values& back_36) {
    const PoolingAverage op{.window = window, .zeroPadSizeX = band, .zeroPadSizeY = band};
    expect_values(pooling_average(op, source, 3, 3).v, result);
    const PoolingAverageGradient back{.forward = op, .sourceWidth = 4, .sourceHeight = 4};
    expect_values(scaled(pooling_average_gradient(back, ones, 4, 4).v, 36), back_36);
  };
  const auto window = placed(3, 3, 0, 0, 2, 2);
  check(window, 0, {14. / 9, 10. / 3, 4. / 3, 19. / 3, 11, 4, 3, 5, 16. / 9},
        {4, 8, 4, 8, 8, 16, 8, 16, 4, 8, 4, 8, 8, 16, 8, 16});
  check(clamped(window), 0, {3.5, 5, 6, 9.5, 11, 12, 13.5, 15, 16},
        {9, 15, 6, 24, 15, 25, 10, 40, 6, 10, 4, 16, 24, 40, 16, 64});
  check(clamped(window), 1, {14. / 9, 10. / 3, 2, 19. / 3, 11, 6, 4.5, 7.5, 4},
        {4, 8, 4, 10, 8, 16, 8, 20, 4, 8, 4, 10, 10, 20, 10, 25});
  expect_values(scaled(pooling_average({.window = placed(2, 2, 0, 0)}, source, 4, 4).v, 4),
                {1, 3, 5, 7, 6, 14, 18, 22, 14, 30, 34, 38, 22, 46, 50, 54});
}

TEST(SpecPooling15, Example2Max) {
  const auto source = tensor(1, 3, 3, 1, scaled(counting(3, 3).v, -1)), g = counting(3, 3);
  const PoolingMax zero{.window = placed(3, 3, 0, 0)}, clamp{.window = clamped(zero.window)};
  expect_values(pooling_max(zero, source, 3, 3).v, {0, 0, 0, 0, -1, 0, 0, 0, 0});
  expect_values(pooling_max_gradient({zero}, g, source, 3, 3).v, {5, 0, 0, 0, 0, 0, 0, 0, 0});
  expect_values(pooling_max(clamp, source, 3, 3).v, {-1, -1, -2, -1, -1, -2, -4, -4, -5});
  expect_values(pooling_max_gradient({clamp}, g, source, 3, 3).v, {12, 9, 0, 15, 9, 0, 0, 0, 0});
}

TEST(SpecPooling15, Example2Ties) {
  const auto source = tensor(1, 2, 2, 1, {5, 5, 5, 1});
  const PoolingMax op{.window = placed(2, 2, 1, 1, 2, 2)};
  expect_values(pooling_max_gradient({op}, filled(1, 1, 1, 1, 7), source, 2, 2).v, {7, 0, 0, 0});
}

TEST(SpecPooling15, Example3DilatedMax) {
  const auto source = tensor(1, 1, 8, 1, {3, 9, 1, 4, 8, 2, 7, 5});
  const PoolingMax op{.window = placed(2, 1, 2, 0, 2, 1, 3)};
  expect_values(pooling_max(op, source, 1, 3).v, {4, 2, 8});
  expect_values(pooling_max_gradient({op}, tensor(1, 1, 3, 1, {10, 20, 30}), source, 1, 8).v,
                {0, 0, 0, 10, 30, 20, 0, 0});
}

TEST(SpecPooling15, Example4L2Norm) {
  const auto source = tensor(1, 1, 3, 1, {1, 2, 2}), ones = filled(1, 1, 3, 1, 1);
  const PoolingL2Norm zero{.window = placed(3, 1, 0, 0)}, clamp{.window = clamped(zero.window)};
  expect_values(pooling_l2_norm(zero, source, 1, 3).v, {2.236067977, 3, 2.828427125});
  expect_values(pooling_l2_norm_gradient({zero}, ones, source, 1, 3).v,
                {0.7805469288, 2.268200639, 1.373773448});
  expect_values(pooling_l2_norm(clamp, source, 1, 3).v, {2.449489743, 3, 3.464101615});
  expect_values(pooling_l2_norm_gradient({clamp}, ones, source, 1, 3).v,
                {1.149829914, 2.060513517, 1.821367205});
  const PoolingL2Norm pairs{.window = placed(2, 1, 1, 0, 2, 1)};
  const auto rows = tensor(1, 1, 4, 1, {3, 4, 0, 0});
  expect_values(pooling_l2_norm(pairs, rows, 1, 2).v, {5, 0});
  expect_values(pooling_l2_norm_gradient({pairs}, tensor(1, 1, 2, 1, {5, 6}), rows, 1, 4).v,
                {3, 4, 0, 0});
}

TEST(SpecPooling15, Example5DestinationMapping) {
  const PoolingAverage op{.window = placed(2, 1, 2, 0, 2)};
  const auto source = counting(1, 6), g = tensor(1, 1, 2, 1, {2, 4});
  expect_values(pooling_average(op, source, 1, 2).v, {2.5, 4.5});
  PoolingAverageGradient back{.forward = op, .sourceWidth = 6, .sourceHeight = 1};
  expect_values(pooling_average_gradient(back, g, 1, 6).v, {0, 1, 1, 2, 2, 0});
  back.originX = 1;
  expect_values(pooling_average_gradient(back, g, 1, 6).v, {1, 1, 2, 2, 0, 0});
}

TEST(SpecPooling2_2, PaddingTiesAndNaN) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const PoolingMax zero{.window = {.kernelWidth = 2, .padLeft = 1}};
  const auto g = tensor(1, 1, 1, 1, {7});
  // A zero of the image goes before the zero outside; a negative pixel loses to it (2.2(3)).
  expect_values(pooling_max_gradient({zero}, g, tensor(1, 1, 2, 1, {0, 0}), 1, 2).v, {7, 0});
  expect_values(pooling_max_gradient({zero}, g, tensor(1, 1, 2, 1, {-1, 3}), 1, 2).v, {0, 0});
  // With clamp edges an outside tap is its edge pixel, and comes first in the scan.
  const PoolingMax clamp{
      .window = {.kernelHeight = 2, .padTop = 1, .dilationY = 2, .clampEdges = 1}};
  expect_values(pooling_max_gradient({clamp}, g, tensor(1, 2, 1, 1, {5, 5}), 2, 1).v, {7, 0});
  const auto with_nan = tensor(1, 1, 4, 1, {1, nan, 9, nan});
  const PoolingMax wide{.window = {.kernelWidth = 4}};
  EXPECT_TRUE(std::isnan(pooling_max(wide, with_nan, 1, 1).v[0]));
  expect_values(pooling_max_gradient({wide}, g, with_nan, 1, 4).v, {0, 7, 0, 0});
  const double low = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(pooling_max(wide, filled(1, 1, 4, 1, low), 1, 1).v[0], low);
}

TEST(SpecPooling1, WindowsWhollyOutside) {
  Window far{.kernelWidth = 2, .padLeft = 5};
  EXPECT_EQ(pooling_max({.window = far}, filled(1, 1, 3, 1, -4), 1, 1).v[0], 0);
  EXPECT_EQ(pooling_max({.window = clamped(far)}, filled(1, 1, 3, 1, -4), 1, 1).v[0], -4);
  for (const auto& window : {far, clamped(far)})
    for (const int band : {0, 9})
      EXPECT_EQ(
          pooling_average({.window = window, .zeroPadSizeX = band}, counting(1, 3), 1, 1).v[0], 0);
}

TEST(Pooling, GradientsAgainstDifferences) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Dice dice{seed};
    const auto window = random_window(dice, 3, seed % 2 == 0 ? 2 : 1);
    const int h = dice(3, 7), w = dice(3, 7), out_h = dice(1, 5), out_w = dice(1, 5),
              c = dice(1, 3);
    const auto floats = test::distinct_floats(static_cast<std::size_t>(2 * h * w * c), seed);
    const auto source = tensor(2, h, w, c, Values(floats.begin(), floats.end()));
    const auto g = random(2, out_h, out_w, c, seed + 100);
    const PoolingMax max{.window = window};
    expect_gradient(
        pooling_max_gradient({max}, g, source, h, w).v,
        [&](const Values& x) {
          return dot(pooling_max(max, tensor(2, h, w, c, x), out_h, out_w).v, g.v);
        },
        source.v, "max " + describe(window));
    const PoolingAverage average{
        .window = window, .zeroPadSizeX = dice(0, 2), .zeroPadSizeY = dice(0, 2)};
    const PoolingAverageGradient back{.forward = average, .sourceWidth = w, .sourceHeight = h};
    expect_gradient(
        pooling_average_gradient(back, g, h, w).v,
        [&](const Values& x) {
          return dot(pooling_average(average, tensor(2, h, w, c, x), out_h, out_w).v, g.v);
        },
        source.v, "average " + describe(window));
    const PoolingL2Norm norm{.window = window};
    expect_gradient(
        pooling_l2_norm_gradient({norm}, g, source, h, w).v,
        [&](const Values& x) {
          return dot(pooling_l2_norm(norm, tensor(2, h, w, c, x), out_h, out_w).v, g.v);
        },
        source.v, "L2 norm " + describe(window));
  }
}

}  // namespace
}  // namespace cermet::oracle
