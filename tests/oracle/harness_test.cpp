// The harness that judges: comparison of arrays and random numbers.

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "../harness/compare.h"
#include "help.h"

namespace cermet::oracle {
namespace {

using test::compare;
constexpr float float_nan = std::numeric_limits<float>::quiet_NaN();
constexpr float float_infinity = std::numeric_limits<float>::infinity();

TEST(Compare, IsRelativeToTheLargestElement) {
  const auto wanted = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8});
  std::vector<float> got(wanted.v.begin(), wanted.v.end());
  EXPECT_TRUE(compare(got, wanted).ok);
  EXPECT_EQ(compare(got, wanted).worst, 0);
  got[0] = 1 + 7e-5F;  // 7e-5 of 1, but 0.9e-5 of 8
  EXPECT_TRUE(compare(got, wanted).ok);
  got[0] = 1 + 9e-5F;
  EXPECT_FALSE(compare(got, wanted).ok);
  EXPECT_TRUE(compare(got, wanted, {.relative = 2e-5}).ok);
  got[6] = 7.5F;
  const auto comparison = compare(got, wanted);
  EXPECT_EQ(comparison.at, 6U);
  EXPECT_DOUBLE_EQ(comparison.worst, 0.0625);
  EXPECT_EQ(comparison.text,
            "at (n0,y1,x1,c0) got 7.5, wanted 7, error 0.5, tolerance 8e-05 (1e-05 of 8); "
            "2 of 8 elements wrong");
}

TEST(Compare, KindsMustAgree) {
  const double nan = float_nan, infinity = float_infinity;
  const test::Extents flat{.c = 4};
  const auto ok = [&](std::vector<float> got, const Values& wanted) {
    return compare(got, wanted, flat).ok;
  };
  EXPECT_TRUE(ok({1, float_nan, float_infinity, -float_infinity}, {1, nan, infinity, -infinity}));
  EXPECT_TRUE(ok({1, 2, 3, float_infinity}, {1, 2, 3, 1e300}));  // out of float's range
  EXPECT_FALSE(ok({1, 2, 3, float_infinity}, {1, 2, 3, -infinity}));
  EXPECT_FALSE(ok({1, 2, 3, float_nan}, {1, 2, 3, 4}));
  EXPECT_FALSE(ok({1, 2, 3, 4}, {1, 2, 3, nan}));
  EXPECT_FALSE(ok({1, 2, 3, 4}, {1, 2, 3, infinity}));
  EXPECT_FALSE(ok({1, float_infinity, 3, float_nan}, {1, infinity, 3.1, nan}));  // still compared
  const std::vector<float> got{1, float_nan};
  const auto comparison = compare(got, Values{1, 2}, {.c = 2});
  EXPECT_EQ(comparison.at, 1U);
  EXPECT_EQ(comparison.worst, infinity);
}

TEST(Compare, LengthsZerosAndFloor) {
  const std::vector<float> three(3), tiny{0, 1e-9F};
  EXPECT_FALSE(compare(three, Values(2), {.c = 2}).ok);
  EXPECT_EQ(compare(three, Values(2), {.c = 2}).text, "got 3 elements, wanted 2");
  EXPECT_TRUE(compare(three, Values(3), {.c = 3}).ok);
  EXPECT_FALSE(compare(tiny, Values(2), {.c = 2}).ok);  // all 0 means 0
  EXPECT_TRUE(compare(tiny, Values(2), {.c = 2}, {.floor = 1}).ok);
  EXPECT_TRUE(compare({}, Values{}, {.c = 0}).ok);
}

TEST(Random, IsDeterministicAndInRange) {
  const auto a = test::floats(1000, 3, -2, 5);
  EXPECT_EQ(a, test::floats(1000, 3, -2, 5));
  EXPECT_NE(a, test::floats(1000, 4, -2, 5));
  double sum = 0;
  for (const float value : a) {
    EXPECT_GE(value, -2);
    EXPECT_LE(value, 5);
    sum += value;
  }
  EXPECT_NEAR(sum / 1000, 1.5, 0.3);
}

TEST(Random, GridHoldsMultiplesOfOneSixtyFourth) {
  std::set<float> seen;
  for (const float value : test::grid_floats(4000, 3, -0.5F, 0.75F)) {
    EXPECT_EQ(value * 64, std::round(value * 64));
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 81U);
  EXPECT_EQ(*seen.begin(), -0.5F);
  EXPECT_EQ(*seen.rbegin(), 0.75F);
  EXPECT_THROW(test::grid_floats(1, 3, 0.001F, 0.002F), std::invalid_argument);
}

TEST(Random, DistinctValuesHaveNoTiesAndNoZero) {
  for (const std::size_t count : {0U, 1U, 2U, 3U, 64U, 1001U, 4097U}) {
    const auto values = test::distinct_floats(count, 9);
    const std::set<float> seen(values.begin(), values.end());
    EXPECT_EQ(seen.size(), count);
    EXPECT_EQ(seen.count(0.0F), 0U);
    for (const float value : values) EXPECT_LT(std::abs(value), 1.0F);
  }
  EXPECT_NE(test::distinct_floats(100, 1), test::distinct_floats(100, 2));
}

}  // namespace
}  // namespace cermet::oracle
