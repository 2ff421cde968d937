// Arithmetic of the oracle against the specification's numbers and against differences.

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "arithmetic.h"
#include "help.h"

namespace cermet::oracle {
namespace {

TEST(SpecPointwise15, Example5MultiplyPerChannel) {
  const auto x = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = tensor(1, 1, 1, 2, {10, -1});
  const auto g = tensor(1, 2, 2, 2, {1, 1, 2, 2, 3, 3, 4, 4});
  Arithmetic op{.kind = ArithmeticKind::multiply};
  op.primaryScale = 2;
  op.secondaryScale = 0.5F;
  op.bias = 1;
  expect_values(arithmetic(op, x, y).destination.v, {11, -1, 31, -3, 51, -5, 71, -7});
  ArithmeticGradient back{.kind = ArithmeticKind::multiply};
  back.primaryScale = 2;
  back.secondaryScale = 0.5F;
  expect_values(arithmetic_gradient(back, g, y, no_tensor, 2, 2, 2).v,
                {10, -1, 20, -2, 30, -3, 40, -4});
  expect_values(arithmetic_gradient(back, g, x, no_tensor, 1, 1, 2).v, {50, 60});
}

TEST(SpecPointwise15, Example5SubtractAndAdd) {
  const auto x = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = tensor(1, 1, 1, 2, {10, -1});
  const auto g = tensor(1, 2, 2, 2, {1, 1, 2, 2, 3, 3, 4, 4});
  Arithmetic op{.kind = ArithmeticKind::subtract};
  op.secondaryScale = 3;
  expect_values(arithmetic(op, x, y).destination.v, {-29, 5, -27, 7, -25, 9, -23, 11});
  ArithmeticGradient back{.kind = ArithmeticKind::subtract};
  expect_values(arithmetic_gradient(back, g, no_tensor, no_tensor, 2, 2, 2).v, g.v);
  back.primaryScale = -3;  // what a graph sets for the secondary side
  expect_values(arithmetic_gradient(back, g, no_tensor, no_tensor, 1, 1, 2).v, {-30, -30});
  back.primaryScale = -1;  // the secondary filter's default
  expect_values(arithmetic_gradient(back, g, no_tensor, no_tensor, 1, 1, 2).v, {-10, -10});
  expect_values(arithmetic({}, x, filled(1, 1, 1, 1, 1)).destination.v, {2, 3, 4, 5, 6, 7, 8, 9});
  expect_values(arithmetic_gradient({}, g, no_tensor, no_tensor, 2, 2, 2).v, g.v);
  expect_values(arithmetic_gradient({}, g, no_tensor, no_tensor, 1, 1, 1).v, {20});
}

TEST(SpecPointwise15, Example6DivideByAColumn) {
  const auto x = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = tensor(1, 2, 1, 1, {2, 4});
  const Arithmetic op{.kind = ArithmeticKind::divide};
  expect_values(arithmetic(op, x, y).destination.v, {0.5, 1, 1.5, 2, 1.25, 1.5, 1.75, 2});
}

TEST(SpecPointwise15, Example7ClampMask) {
  Arithmetic op;
  op.minimumValue = 0;
  op.maximumValue = 3;
  const auto z = arithmetic(op, tensor(1, 1, 4, 1, {-3, 0.5, 2, 4}), filled(1, 1, 4, 1, 1));
  expect_values(z.destination.v, {0, 1.5, 3, 3});
  expect_values(z.mask.v, {0, 1, 0, 0});
  const auto g = tensor(1, 1, 4, 1, {10, 20, 30, 40});
  expect_values(arithmetic_gradient({}, g, no_tensor, z.mask, 1, 4, 1).v, {0, 20, 0, 0});
}

TEST(SpecPointwise8, DefaultLimitsLetInfinityAndNaNPass) {
  Arithmetic op{.kind = ArithmeticKind::divide};
  const auto x = tensor(1, 1, 3, 1, {1, -1, 0}), y = filled(1, 1, 3, 1, 0);
  const auto open = arithmetic(op, x, y);
  EXPECT_EQ(open.destination.v[0], std::numeric_limits<double>::infinity());
  EXPECT_EQ(open.destination.v[1], -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(open.destination.v[2]));
  expect_values(open.mask.v, {1, 1, 1});
  op.maximumValue = 5;
  const auto limited_above = arithmetic(op, x, y);
  EXPECT_EQ(limited_above.destination.v[0], 5);
  EXPECT_EQ(limited_above.destination.v[1], -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(limited_above.destination.v[2]));
  expect_values(limited_above.mask.v, {0, 1, 0});
  op.minimumValue = 7;  // above the maximum: the maximum wins
  EXPECT_EQ(arithmetic(op, filled(1, 1, 1, 1, 1), filled(1, 1, 1, 1, 1)).destination.v[0], 5);
}

TEST(Arithmetic, GradientsAgainstDifferences) {
  using Kind = ArithmeticKind;
  const std::array<std::array<int, 3>, 5> extents{
      {{3, 2, 5}, {1, 1, 5}, {3, 1, 1}, {1, 2, 5}, {1, 1, 1}}};
  std::uint64_t seed = 0;
  for (const auto kind : {Kind::add, Kind::subtract, Kind::multiply})
    for (const auto& a : extents)
      for (const auto& b : extents) {
        ++seed;
        Arithmetic op{.kind = kind};
        op.primaryScale = 1.5F;
        op.secondaryScale = -0.75F;
        op.bias = 0.25F;
        op.minimumValue = -0.5F;
        op.maximumValue = 0.75F;
        const auto x = random(2, a[0], a[1], a[2], seed),
                   y = random(2, b[0], b[1], b[2], seed + 500);
        const auto z = arithmetic(op, x, y);
        const auto g = random(2, z.mask.h, z.mask.w, z.mask.c, seed + 900);
        // The settings of the specification's table in pointwise 11.
        const bool multiply = kind == Kind::multiply;
        ArithmeticGradient left{.kind = kind}, right{.kind = kind};
        left.primaryScale = op.primaryScale;
        right.primaryScale = multiply                 ? op.primaryScale
                             : kind == Kind::subtract ? -op.secondaryScale
                                                      : op.secondaryScale;
        left.secondaryScale = right.secondaryScale = op.secondaryScale;
        const auto objective = [&](const Values& v, const Values& w) {
          return dot(arithmetic(op, tensor(2, a[0], a[1], a[2], v), tensor(2, b[0], b[1], b[2], w))
                         .destination.v,
                     g.v);
        };
        const auto text = "pair " + std::to_string(seed);
        expect_gradient(
            arithmetic_gradient(left, g, y, z.mask, a[0], a[1], a[2]).v,
            [&](const Values& v) { return objective(v, y.v); }, x.v, text + " left");
        expect_gradient(
            arithmetic_gradient(right, g, x, z.mask, b[0], b[1], b[2]).v,
            [&](const Values& v) { return objective(x.v, v); }, y.v, text + " right");
      }
}

}  // namespace
}  // namespace cermet::oracle
