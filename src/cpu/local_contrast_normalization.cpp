// LocalContrastNormalization and its exact gradient (formulas: cnn/normalization.h; spec:
// normalization 4). Own code: no library has it.

#include "cermet/cnn/normalization.h"

#include <cmath>

#include "cpu/neighbourhood.h"

namespace cermet::cpu {
namespace {

/// Mean, T and T^-beta of a window.
struct Contrast {
  double mean;
  float t, scale;

  Contrast(const LocalContrastNormalization& op, const Neighbourhood& windows, double sum,
           double squares)
      : mean(sum / windows.area()),
        t(static_cast<float>(double{op.delta} +
                             double{op.alpha} *
                                 std::max(squares / windows.area() - mean * mean, 0.0))),
        scale(std::pow(t, -op.beta)) {}
};

}  // namespace

StepPtr prepare(const LocalContrastNormalization& op, Descs descs, Engine& engine) {
  const auto value = [op](const Neighbourhood& windows, double sum, double squares, double x) {
    const Contrast at(op, windows, sum, squares);
    return double{op.pm} + double{op.ps} * (x - double{op.p0} * at.mean) * double{at.scale};
  };
  return window_step<LocalContrastNormalization>(op.window, descs, engine, value);
}

StepPtr prepare(const LocalContrastNormalizationGradient& op, Descs descs, Engine& engine) {
  const auto contribute = [op = op.forward](const Neighbourhood& windows, double g, double sum,
                                            double squares, double x) {
    const Contrast at(op, windows, sum, squares);
    const double direct = double{op.ps} * g * double{at.scale};
    const double slope = -2 * double{op.alpha} * double{op.beta} / windows.area() * direct *
                         (x - double{op.p0} * at.mean) / double{at.t};
    return Contribution{direct, -double{op.p0} / windows.area() * direct - slope * at.mean, slope};
  };
  return window_gradient_step<LocalContrastNormalizationGradient>(op.forward.window, descs, engine,
                                                                  contribute);
}

}  // namespace cermet::cpu
