// What a check of gradients finds, and what it says about it.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "../harness/refusal.h"
#include "cermet/check/gradient_check.h"

namespace cermet::test {
namespace {

using Function = std::function<float(float)>;

/// y_i = f(x_i), with the derivative that it claims.
class Elementwise final : public Differentiable {
 public:
  Elementwise(Function f, Function derivative, std::vector<float> values)
      : f_(std::move(f)), derivative_(std::move(derivative)), values_(std::move(values)) {}
  [[nodiscard]] std::vector<CheckedVariable> variables() const override {
    return {{"x", {1, values_.size()}, values_}};
  }
  [[nodiscard]] std::vector<float> results(const CheckedPoint& point) override {
    std::vector<float> y;
    for (const float x : point.at(0)) y.push_back(f_(x) + drift_);
    drift_ += drifts;
    return y;
  }
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) override {
    std::vector<float> found;
    for (std::size_t i = 0; i < incoming.size(); ++i)
      found.push_back(incoming[i] * derivative_(point.at(0).at(i)));
    if (drop_last) found.pop_back();
    if (wrong_at) found.at(*wrong_at) += 0.01F;
    return {found};
  }
  bool drop_last = false;
  std::optional<std::size_t> wrong_at;
  float drifts = 0;

 private:
  Function f_, derivative_;
  std::vector<float> values_;
  float drift_ = 0;
};

const std::vector<float> around_one{0.25F, 0.5F, 0.75F, 1.0F, 1.25F, 1.5F, -0.5F, -1.25F};

Elementwise sine(std::vector<float> values = around_one) {
  return {[](float x) { return std::sin(x); }, [](float x) { return std::cos(x); },
          std::move(values)};
}

TEST(GradientCheck, PassesWhatIsRight) {
  Elementwise computation = sine();
  const auto found = check_gradient(computation);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(passed(found));
  EXPECT_EQ(found[0].checked, around_one.size());
  EXPECT_EQ(found[0].undecided, 0u);
  EXPECT_LT(found[0].error, 1e-5);
}

TEST(GradientCheck, FindsOneWrongElementAndNamesIt) {
  Elementwise computation = sine();
  computation.wrong_at = 4;
  const auto found = check_gradient(computation);
  EXPECT_FALSE(passed(found));
  EXPECT_EQ(found[0].worst, 4u);
  EXPECT_NEAR(found[0].got - found[0].expected, 0.01, 1e-5);
  const std::string text = text_of(found);
  EXPECT_NE(text.find("8 of 8"), std::string::npos) << text;
  EXPECT_NE(text.find("worst [0][4]"), std::string::npos) << text;
  EXPECT_NE(text.find("FAILED"), std::string::npos) << text;
}

TEST(GradientCheck, FindsAWrongFactorAndAMissingGradient) {
  Elementwise twice([](float x) { return x * x; }, [](float x) { return x; }, around_one);
  EXPECT_FALSE(passed(check_gradient(twice)));
  Elementwise none([](float x) { return x * x; }, [](float) { return 0.0F; }, around_one);
  EXPECT_FALSE(passed(check_gradient(none)));
  Elementwise nan([](float x) { return x * x; },
                  [](float) { return std::numeric_limits<float>::quiet_NaN(); }, around_one);
  EXPECT_FALSE(passed(check_gradient(nan)));
}

TEST(GradientCheck, IsOfThePointAndNotOfItsUnit) {
  std::vector<float> small = around_one, large = around_one;
  for (float& x : small) x *= 1e-4F;
  for (float& x : large) x *= 1e4F;
  for (const auto& values : {small, large}) {
    Elementwise right([](float x) { return x * x; }, [](float x) { return 2 * x; }, values);
    EXPECT_TRUE(passed(check_gradient(right))) << values[0];
    Elementwise wrong([](float x) { return x * x; }, [](float x) { return 2.01F * x; }, values);
    EXPECT_FALSE(passed(check_gradient(wrong))) << values[0];
  }
}

/// Next to a kink, and at one, quotients are of both sides.
TEST(GradientCheck, LeavesKinksUndecided) {
  Elementwise relu([](float x) { return std::max(x, 0.0F); },
                   [](float x) { return x >= 0 ? 1.0F : 0.0F; },
                   {0.5F, -0.5F, 1.0F, 0.0F, 0.001F, -0.25F, 1.5F, 2.0F});
  const auto found = check_gradient(relu);
  EXPECT_TRUE(passed(found)) << text_of(found);
  EXPECT_GE(found[0].undecided, 1u);
  EXPECT_EQ(found[0].checked + found[0].undecided, 8u);
  EXPECT_NE(text_of(found).find("undecided"), std::string::npos);
}

TEST(GradientCheck, FailsWhereMostIsUndecided) {
  Elementwise steps([](float x) { return std::floor(64 * x) / 64; }, [](float) { return 0.0F; },
                    {0.5F, -0.5F, 1.0F, 0.25F});
  const auto found = check_gradient(steps);
  EXPECT_FALSE(passed(found)) << text_of(found);
  EXPECT_GT(found[0].undecided, 2u);
}

TEST(GradientCheck, LeavesOutResultsThatAreNotFinite) {
  Elementwise root([](float x) { return std::sqrt(x); },
                   [](float x) { return 0.5F / std::sqrt(x); }, {0.5F, 1.0F, 2.0F, -1.0F});
  // 0 * NaN is not 0: the claimed gradient must not have it.
  Elementwise guarded([](float x) { return std::sqrt(x); },
                      [](float x) { return x > 0 ? 0.5F / std::sqrt(x) : 1.0F; },
                      {0.5F, 1.0F, 2.0F, -1.0F});
  EXPECT_TRUE(passed(check_gradient(guarded)));
  EXPECT_FALSE(passed(check_gradient(root)));
}

/// An element that is not among those compared must not hide the others.
TEST(GradientCheck, AnExtremeClaimHidesNothing) {
  std::vector<float> many(100);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = 0.01F * static_cast<float>(i + 1);
  const auto claim = [&](float last) {
    Elementwise wrong([](float x) { return x * x; },
                      [last](float x) { return x > 0.995F ? last : 2 * x; }, many);
    GradientCheckOptions options;
    options.elements = 8;
    return check_gradient(wrong, options);
  };
  EXPECT_TRUE(passed(claim(2.0F)));
  for (const float last :
       {1e6F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const auto found = claim(last);
    EXPECT_FALSE(passed(found)) << last;
    EXPECT_EQ(found[0].worst, 99u) << last;
  }
}

/// The sides of a bent function differ by less at every finer step, those of a kink do not.
TEST(GradientCheck, TakesCurvatureForNoKink) {
  const std::vector<float> values{0.5F, 0.75F, 1, 1.25F, 1.5F, -0.5F, -0.75F, -1, -1.25F, -1.5F};
  Elementwise fifth([](float x) { return x * x * x * x * x; },
                    [](float x) { return (x > 0.9F && x < 1.3F ? 5.05F : 5.0F) * x * x * x * x; },
                    values);
  const auto found = check_gradient(fifth);
  EXPECT_FALSE(passed(found)) << text_of(found);
  EXPECT_EQ(found[0].undecided, 0u);
}

/// Where the results are so large that a derivative drowns in their rounding, nothing is said.
TEST(GradientCheck, CountsWhatRoundingHides) {
  Elementwise large([](float x) { return x + 1e5F; }, [](float) { return 1.5F; }, around_one);
  const auto found = check_gradient(large);
  EXPECT_FALSE(passed(found));
  EXPECT_GT(found[0].lost, 4u);
  EXPECT_NE(text_of(found).find("below rounding"), std::string::npos) << text_of(found);
}

/// 1/x: steps that reach the pole say nothing.
TEST(GradientCheck, PassesOverPoles) {
  const std::vector<float> values{-1.0F / 64, 1, -1, 1.5F, 0.75F, 2};
  Elementwise wrong([](float x) { return 1 / x; }, [](float x) { return -3 / (x * x); }, values);
  EXPECT_FALSE(passed(check_gradient(wrong)));
}

TEST(GradientCheck, ChoosesElementsBySeed) {
  std::vector<float> many(1000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = 0.001F * static_cast<float>(i + 1);
  const auto worst_of = [&](std::uint64_t seed, std::size_t elements) {
    Elementwise computation = sine(many);
    GradientCheckOptions options;
    options.seed = seed;
    options.elements = elements;
    const auto found = check_gradient(computation, options);
    EXPECT_TRUE(passed(found));
    EXPECT_EQ(found[0].checked, elements == 0 ? many.size() : elements);
    return found[0].worst;
  };
  EXPECT_EQ(worst_of(3, 10), worst_of(3, 10));
  EXPECT_NE(worst_of(3, 10), worst_of(4, 10));
  static_cast<void>(worst_of(1, 0));
}

TEST(GradientCheck, SaysWhatDoesNotFit) {
  Elementwise computation = sine();
  const auto check = [&](const GradientCheckOptions& options = {}) {
    return [&computation, options] { static_cast<void>(check_gradient(computation, options)); };
  };
  computation.drop_last = true;
  expect_refusal(check(),
                 "check_gradient: gradients is 7 elements for x; needed 8. Return one for each "
                 "value of the variable.");
  computation.drifts = 1;
  expect_refusal(check(),
                 "check_gradient: results is other values at the same point; needed a function of "
                 "the point. A dropout draws another mask each time: leave it out, or set its "
                 "encode_number.");
  Elementwise empty = sine({});
  expect_refusal([&] { static_cast<void>(check_gradient(empty)); },
                 "check_gradient: x is 0 values; needed 0, the product of its shape, and not 0. "
                 "Return as many from Differentiable::variables.");
  Elementwise outside([](float x) { return std::sqrt(x); }, [](float) { return 0.0F; }, {-1, -2});
  expect_refusal([&] { static_cast<void>(check_gradient(outside)); },
                 "check_gradient: results is 2, none of them finite; needed a finite one. Check at "
                 "a point inside the function's domain.");
  GradientCheckOptions options;
  options.tolerance = 0;
  expect_refusal(check(options), "check_gradient: tolerance is 0; needed a number above 0.");
}

}  // namespace
}  // namespace cermet::test
