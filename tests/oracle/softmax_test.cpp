// Soft-max of the oracle against the specification's numbers and against differences.

#include "softmax.h"
#include "help.h"

namespace cermet::oracle {
namespace {

TEST(SpecPointwise15, Example3SoftMax) {
  const auto x = tensor(1, 1, 1, 3, {1, 2, 3}), g = tensor(1, 1, 1, 3, {1, 0, -1});
  const auto y = soft_max({}, x);
  expect_values(y.v, {0.0900305732, 0.2447284711, 0.6652409558});
  expect_values(soft_max_gradient({}, g, y).v, {0.1418170936, 0.1407703575, -0.2825874511});
}

TEST(SpecPointwise15, Example4LogSoftMax) {
  const SoftMax op{.logarithmic = 1};
  const auto y = soft_max(op, tensor(1, 1, 1, 3, {1, 2, 3}));
  expect_values(y.v, {-2.4076059644, -1.4076059644, -0.4076059644});
  expect_values(soft_max_gradient({op}, tensor(1, 1, 1, 3, {1, 0, -1}), y).v, {1, 0, -1});
  expect_values(soft_max_gradient({op}, tensor(1, 1, 1, 3, {0, 0, -1}), y).v,
                {0.0900305732, 0.2447284711, -0.3347590442});
}

TEST(SoftMax, GradientsAgainstDifferences) {
  for (const int logarithmic : {0, 1})
    for (const int channels : {1, 2, 5}) {
      const SoftMax op{.logarithmic = logarithmic};
      const auto x = random(2, 3, 2, channels, 11, -3, 3), g = random(2, 3, 2, channels, 12);
      expect_gradient(
          soft_max_gradient({op}, g, soft_max(op, x)).v,
          [&](const Values& v) { return dot(soft_max(op, tensor(2, 3, 2, channels, v)).v, g.v); },
          x.v);
    }
}

}  // namespace
}  // namespace cermet::oracle
