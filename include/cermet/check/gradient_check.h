#pragma once
// Whether a gradient is the derivative of what it belongs to: a check by difference quotients of
// the computation itself, on the device that it runs on (docs/guide/check.md). For kernels of the
// library see kernel_check.h; anything else is checked by a class over Differentiable.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cermet {

/// A tensor that a result depends on: a source, weights, a bias.
struct CheckedVariable {
  std::string name;
  /// Extents, outermost first; their product is the number of values.
  std::vector<std::size_t> shape;
  /// Where the derivative is taken.
  std::vector<float> values;
};

/// Float32 values of each variable, in the order of `variables`.
using CheckedPoint = std::vector<std::vector<float>>;

/// A computation and the gradient that it claims to have. `results` must be a function of the point
/// alone: equal points, equal bits.
class Differentiable {
 public:
  virtual ~Differentiable() = default;
  [[nodiscard]] virtual std::vector<CheckedVariable> variables() const = 0;
  /// Whatever the variables determine, in any order that does not change.
  [[nodiscard]] virtual std::vector<float> results(const CheckedPoint& point) = 0;
  /// For each variable the gradient of the sum over i of incoming[i] * results[i], in the order of
  /// its values.
  [[nodiscard]] virtual CheckedPoint gradients(const CheckedPoint& point,
                                               const std::vector<float>& incoming) = 0;
  /// False where the gradient is that of the sum of the results, as a loss has it: `incoming` is
  /// ones then. Default true.
  [[nodiscard]] virtual bool takes_incoming() const { return true; }

 protected:
  Differentiable() = default;
  Differentiable(const Differentiable&) = default;
  Differentiable& operator=(const Differentiable&) = default;
};

struct GradientCheckOptions {
  /// The largest error that passes: |expected - got|, less what the rounding of float32 results may
  /// have added to the quotient, divided by the largest element of the variable's gradient, claimed
  /// or expected. Gradients that are computed in half precision need 1e-2.
  double tolerance = 1e-3;
  /// How many elements of each variable are compared, chosen by `seed`, the largest among them; 0:
  /// all.
  std::size_t elements = 64;
  /// Of the choice and of the incoming gradient.
  std::uint64_t seed = 1;
};

/// What a check found about one variable.
struct CheckedGradient {
  std::string name;
  std::vector<std::size_t> shape;
  /// Elements that were compared.
  std::size_t checked = 0;
  /// Elements whose difference quotients did not settle: a result has a kink or a jump there.
  std::size_t undecided = 0;
  /// Elements whose derivative is smaller than what rounding of the results may have added: nothing
  /// speaks against the claimed value, and nothing for it. Fewer results in a sum help.
  std::size_t lost = 0;
  /// The largest error, and the element that has it, an index into the values.
  double error = 0;
  std::size_t worst = 0;
  double expected = 0, got = 0;
  /// Whether no error is above the tolerance, and at least half of the elements were compared. A
  /// claimed gradient that is not finite fails, with NaN for the error.
  bool passed = false;
};

/// Compares the claimed gradient with difference quotients: central differences at steps that are
/// halved until they and their extrapolation agree. The incoming gradient is ones where
/// `takes_incoming` is false, else random, and 0 for results that are not finite. Leaves the
/// computation at its point. Throws InvalidArgument for variables that are empty or not finite,
/// results of which none is finite or that differ at one point, sizes that do not fit, and a
/// tolerance that is not above 0.
[[nodiscard]] std::vector<CheckedGradient> check_gradient(Differentiable& computation,
                                                          const GradientCheckOptions& options = {});
/// Whether all passed.
[[nodiscard]] bool passed(const std::vector<CheckedGradient>& gradients);
/// A line for each variable: how many elements, the worst one, expected and got.
[[nodiscard]] std::string text_of(const std::vector<CheckedGradient>& gradients);

}  // namespace cermet
