// The tensor of the oracle, and its central differences.

#include "tensor.h"
#include "help.h"

namespace cermet::oracle {
namespace {

TEST(OracleTensor, ReadsOutsideByTheEdgeRule) {
  const auto t = tensor(1, 2, 3, 1, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(read(t, 0, 1, 2, 0, EdgeRule::Zero), 6);
  EXPECT_EQ(read(t, 0, -1, 1, 0, EdgeRule::Zero), 0);
  EXPECT_EQ(read(t, 0, 1, 3, 0, EdgeRule::Zero), 0);
  EXPECT_EQ(read(t, 0, -5, 1, 0, EdgeRule::Clamp), 2);
  EXPECT_EQ(read(t, 0, 7, 9, 0, EdgeRule::Clamp), 6);
  EXPECT_THROW(static_cast<void>(t(1, 0, 0, 0)), std::out_of_range);
}

TEST(OracleTensor, ScatterIsTheAdjointOfRead) {
  for (const auto edge : {EdgeRule::Zero, EdgeRule::Clamp}) {
    auto back = filled(1, 2, 3, 1);
    scatter(back, 0, -4, 5, 0, 2.5, edge);
    scatter(back, 0, 1, 1, 0, 1.5, edge);
    EXPECT_EQ(back(0, 0, 2, 0), edge == EdgeRule::Clamp ? 2.5 : 0);
    EXPECT_EQ(back(0, 1, 1, 0), 1.5);
  }
}

TEST(OracleTensor, SplitMix64MatchesThePublishedSequence) {
  std::uint64_t state = 1234567;
  EXPECT_EQ(random_word(state), 6457827717110365317U);
  EXPECT_EQ(random_word(state), 3203168211198807973U);
  EXPECT_EQ(random_word(state), 9817491932198370423U);
}

TEST(Differences, OfACubic) {
  const auto f = [](const Values& x) { return x[0] * x[0] * x[0] + 2 * x[0] * x[1]; };
  EXPECT_NEAR(central_difference(f, {2, 5}, 1, 1e-5), 4, 1e-9);
  expect_values(gradient_by_differences(f, {2, 5}), {22, 4}, "", 1e-8);
}

}  // namespace
}  // namespace cermet::oracle
