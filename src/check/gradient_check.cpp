#include "cermet/check/gradient_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <string_view>

#include "cermet/core/error.h"
#include "check/random_values.h"

namespace cermet {
namespace {

[[noreturn]] void refuse(std::string_view argument, std::string got, std::string needed,
                         std::string remedy) {
  fail({"check_gradient", "", argument, std::move(got), std::move(needed), std::move(remedy)});
}

std::size_t count_of(const std::vector<std::size_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

/// `count` of 0 ... total - 1 without repeats, in order; all of them for 0.
std::vector<std::size_t> chosen(std::size_t total, std::size_t count, std::uint64_t seed) {
  std::vector<std::size_t> order(total);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (count == 0 || count >= total) return order;
  detail::RandomValues random(seed);
  for (std::size_t i = 0; i < count; ++i) std::swap(order[i], order[i + random.below(total - i)]);
  order.resize(count);
  std::ranges::sort(order);
  return order;
}

/// A difference quotient, and how far rounding of the results may have put it off.
struct Quotient {
  double value = 0, noise = 0;
};

/// Difference quotients of one computation around one point, of L = sum of incoming * results by
/// one element. Results that do not depend on it have equal bits on both sides and take no part.
class Quotients {
 public:
  Quotients(Differentiable& computation, CheckedPoint point, const std::vector<float>& incoming,
            std::vector<float> results)
      : computation_(computation),
        point_(std::move(point)),
        incoming_(incoming),
        middle_(std::move(results)) {}

  /// (L(x + h) - L(x - h)) / 2h
  Quotient central(std::size_t variable, std::size_t element, double step) {
    const Side right = side(variable, element, step), left = side(variable, element, -step);
    return quotient(right, left);
  }
  /// The difference of the quotients to the right and to the left of the point.
  Quotient bend(std::size_t variable, std::size_t element, double step) {
    const Side right = side(variable, element, step), left = side(variable, element, -step),
               middle{point_[variable][element], middle_};
    const Quotient above = quotient(right, middle), below = quotient(middle, left);
    return {above.value - below.value, above.noise + below.noise};
  }

 private:
  struct Side {
    double x;
    std::vector<float> results;
  };
  Side side(std::size_t variable, std::size_t element, double step) {
    float& x = point_[variable][element];
    const float middle = x;
    x = static_cast<float>(static_cast<double>(middle) + step);
    Side found{x, computation_.results(point_)};
    x = middle;
    if (found.results.size() != middle_.size()) {
      refuse("results", fmt::format("{} near the point", found.results.size()),
             fmt::format("{}, as at the point", middle_.size()),
             "Return as many at every point from Differentiable::results.");
    }
    return found;
  }
  [[nodiscard]] Quotient quotient(const Side& right, const Side& left) const {
    constexpr double rounding = 0x1p-22;  // of a result: four times half of its last place
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < incoming_.size(); ++i) {
      const double above = right.results[i], below = left.results[i], e = incoming_[i];
      if (above == below || e == 0) continue;
      const double most = e * std::max(std::abs(above), std::abs(below));
      sum += e * (above - below);
      squares += most * most;
    }
    const double width = right.x - left.x;
    return {sum / width, rounding * std::sqrt(squares) / width};
  }

  Differentiable& computation_;
  CheckedPoint point_;
  const std::vector<float>& incoming_;
  std::vector<float> middle_;
};

/// A power of two near the size of the values, so that steps are exact.
double unit_of(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * value;
  const double size =
      std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, values.size())));
  return size > 0 && std::isfinite(size) ? std::exp2(std::round(std::log2(size))) : 1.0;
}

/// The derivative by one element, from ever smaller steps.
class Estimate {
 public:
  Estimate(Quotients& quotients, std::size_t variable, std::size_t element, double unit)
      : quotients_(quotients), variable_(variable), element_(element), step_(unit * 0x1p-3) {}

  /// Halves the step until two extrapolations differ by at most `relative` of their size, or of
  /// `scale` if that is more, besides what rounding explains.
  std::optional<Quotient> settle(double relative, double scale) {
    while (level_ < levels) {
      const double before = extrapolated_.value;
      refine();
      const double close = relative * std::max(scale, std::abs(extrapolated_.value));
      const bool is_finite =
          std::isfinite(extrapolated_.value) && std::isfinite(extrapolated_.noise);
      if (level_ >= 3 && is_finite &&
          std::abs(extrapolated_.value - before) <= close + extrapolated_.noise)
        return extrapolated_;
    }
    return std::nullopt;
  }
  /// Whether two finer steps stay within `close` of `value`, and both sides agree: not so next to a
  /// kink, and at one, where the sides differ by as much at every step.
  bool stays_near(double value, double close) {
    for (int i = 0; i < 2; ++i) {
      refine();
      if (!(std::abs(extrapolated_.value - value) <= close + extrapolated_.noise)) return false;
    }
    const Quotient wide = quotients_.bend(variable_, element_, step_),
                   near = quotients_.bend(variable_, element_, step_ / 2);
    const double jump = 2 * near.value - wide.value;  // what is left at step 0
    return std::abs(jump) <= close + 2 * near.noise + wide.noise;
  }

 private:
  static constexpr int levels = 10;
  /// A quotient at half the step, and the extrapolation from it and the one before.
  void refine() {
    const Quotient coarse = fine_;
    fine_ = quotients_.central(variable_, element_, step_);
    extrapolated_ = level_ == 0 ? fine_
                                : Quotient{(4 * fine_.value - coarse.value) / 3,
                                           (4 * fine_.noise + coarse.noise) / 3};
    step_ /= 2;
    ++level_;
  }

  Quotients& quotients_;
  std::size_t variable_, element_;
  double step_;
  Quotient fine_, extrapolated_;
  int level_ = 0;
};

/// What rounding does not explain.
double distance(const Quotient& expected, double got) {
  const double difference = std::abs(expected.value - got);
  return difference <= expected.noise ? 0 : difference - expected.noise;
}

/// The index of the value that is furthest from 0, or of the first that is not finite.
std::size_t largest(const std::vector<float>& values) {
  std::size_t place = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return i;
    if (std::abs(values[i]) > std::abs(values[place])) place = i;
  }
  return place;
}

std::string position(const std::vector<std::size_t>& shape, std::size_t index) {
  std::string text;
  for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) {
    text.insert(0, fmt::format("[{}]", index % *extent));
    index /= *extent;
  }
  return text;
}

CheckedPoint point_of(const std::vector<CheckedVariable>& variables) {
  if (variables.empty())
    refuse("variables", "none", "one or more", "Return them from Differentiable::variables.");
  CheckedPoint point;
  for (const CheckedVariable& variable : variables) {
    if (variable.values.empty() || count_of(variable.shape) != variable.values.size()) {
      refuse(variable.name, fmt::format("{} values", variable.values.size()),
             fmt::format("{}, the product of its shape, and not 0", count_of(variable.shape)),
             "Return as many from Differentiable::variables.");
    }
    if (!std::ranges::all_of(variable.values, [](float value) { return std::isfinite(value); }))
      refuse(variable.name, "not finite", "finite values", "");
    point.push_back(variable.values);
  }
  return point;
}

/// The results at the point, which must be a function of it.
std::vector<float> results_at(Differentiable& computation, const CheckedPoint& point) {
  std::vector<float> results = computation.results(point);
  if (!std::ranges::any_of(results, [](float result) { return std::isfinite(result); })) {
    refuse("results", fmt::format("{}, none of them finite", results.size()), "a finite one",
           "Check at a point inside the function's domain.");
  }
  const std::vector<float> again = computation.results(point);
  if (again.size() != results.size() ||
      std::memcmp(again.data(), results.data(), results.size() * sizeof(float)) != 0) {
    refuse("results", "other values at the same point", "a function of the point",
           "A dropout draws another mask each time: leave it out, or set its encode_number.");
  }
  return results;
}

/// Ones where the gradient is that of the sum. Else random, and 0 for results outside a function's
/// domain, which have no derivative.
std::vector<float> incoming_for(const std::vector<float>& results, bool takes_incoming,
                                std::uint64_t seed) {
  std::vector<float> incoming(results.size(), 1.0F);
  if (!takes_incoming) return incoming;
  // Another sequence than that of the values: a normalisation's gradient of its own source is 0.
  detail::RandomValues random(~seed);
  for (std::size_t i = 0; i < incoming.size(); ++i) {
    const float value = random.uniform(-1, 1);
    incoming[i] = std::isfinite(results[i]) ? value : 0.0F;
  }
  return incoming;
}

/// Fills in what a comparison of some elements finds.
void compare(CheckedGradient& one, Quotients& quotients, std::size_t variable,
             const std::vector<float>& values, const std::vector<float>& got,
             const GradientCheckOptions& options) {
  const std::size_t top = largest(got);
  one.worst = top;
  one.got = got[top];
  if (!std::isfinite(got[top])) {
    one.expected = one.error = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  auto elements = chosen(got.size(), options.elements, options.seed + variable + 1);
  if (!std::ranges::binary_search(elements, top)) elements.back() = top;
  double scale = std::abs(static_cast<double>(got[top]));
  const double unit = unit_of(values);
  struct Settled {
    std::size_t element;
    Quotient expected;
  };
  std::vector<Settled> settled;
  for (const std::size_t element : elements) {
    Estimate estimate(quotients, variable, element, unit);
    const auto expected = estimate.settle(0.1 * options.tolerance, scale);
    const double difference = expected ? distance(*expected, got[element]) : 0;
    if (!expected || (difference > options.tolerance * scale &&
                      !estimate.stays_near(expected->value, difference / 2))) {
      ++one.undecided;
      continue;
    }
    scale = std::max(scale, std::abs(expected->value));
    settled.push_back({element, *expected});
  }
  for (const auto& [element, expected] : settled) {
    const double difference = distance(expected, got[element]);
    const double error = difference == 0 ? 0 : difference / scale;
    if (error <= options.tolerance && expected.noise > options.tolerance * scale) {
      ++one.lost;
      continue;
    }
    ++one.checked;
    if (one.checked > 1 && error <= one.error) continue;
    one.error = error;
    one.worst = element;
    one.expected = expected.value;
    one.got = got[element];
  }
  one.passed = one.error <= options.tolerance && 2 * (one.undecided + one.lost) <= elements.size();
}

}  // namespace

std::vector<CheckedGradient> check_gradient(Differentiable& computation,
                                            const GradientCheckOptions& options) {
  if (!(options.tolerance > 0) || !std::isfinite(options.tolerance))
    refuse("tolerance", fmt::format("{}", options.tolerance), "a number above 0", "");
  const std::vector<CheckedVariable> variables = computation.variables();
  const CheckedPoint point = point_of(variables);
  const std::vector<float> results = results_at(computation, point);
  const std::vector<float> incoming =
      incoming_for(results, computation.takes_incoming(), options.seed);
  const CheckedPoint claimed = computation.gradients(point, incoming);
  if (claimed.size() != variables.size()) {
    refuse("gradients", fmt::format("{} tensors", claimed.size()),
           fmt::format("{}, one for each variable", variables.size()),
           "Return a gradient for each of Differentiable::variables.");
  }
  Quotients quotients(computation, point, incoming, results);
  std::vector<CheckedGradient> found;
  for (std::size_t v = 0; v < variables.size(); ++v) {
    if (claimed[v].size() != point[v].size()) {
      refuse("gradients", fmt::format("{} elements for {}", claimed[v].size(), variables[v].name),
             fmt::format("{}", point[v].size()), "Return one for each value of the variable.");
    }
    CheckedGradient one{.name = variables[v].name, .shape = variables[v].shape};
    compare(one, quotients, v, point[v], claimed[v], options);
    found.push_back(std::move(one));
  }
  static_cast<void>(computation.results(point));  // what keeps the point is left at it
  return found;
}

bool passed(const std::vector<CheckedGradient>& gradients) {
  return std::ranges::all_of(gradients, &CheckedGradient::passed);
}

std::string text_of(const std::vector<CheckedGradient>& gradients) {
  std::string text;
  for (const CheckedGradient& one : gradients) {
    text += fmt::format("  {:<10} {:>4} of {:<6}", one.name, one.checked, count_of(one.shape));
    if (one.undecided > 0) text += fmt::format(" ({} undecided)", one.undecided);
    if (one.lost > 0) text += fmt::format(" ({} below rounding)", one.lost);
    if (one.checked > 0 || std::isnan(one.error)) {
      text += fmt::format("  worst {}: expected {:.7g}, got {:.7g}, error {:.1e}",
                          position(one.shape, one.worst), one.expected, one.got, one.error);
    }
    text += one.passed ? "  passed\n" : "  FAILED\n";
  }
  return text;
}

}  // namespace cermet
