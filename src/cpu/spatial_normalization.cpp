// SpatialNormalization and its exact gradient (formulas: cnn/normalization.h; spec: normalization
// 3). Own code: oneDNN's within-channel form has square odd windows and no clamped edges, and the
// gradient the original prints is not the derivative.

#include "cermet/cnn/normalization.h"

#include <cmath>

#include "cpu/neighbourhood.h"

namespace cermet::cpu {
namespace {

/// T of a window.
float level(const SpatialNormalization& op, const Neighbourhood& windows, double squares) {
  return static_cast<float>(double{op.delta} + double{op.alpha} / windows.area() * squares);
}

}  // namespace

StepPtr prepare(const SpatialNormalization& op, Descs descs, Engine& engine) {
  const auto value = [op](const Neighbourhood& windows, double, double squares, double x) {
    return static_cast<float>(x) * std::pow(level(op, windows, squares), -op.beta);
  };
  return window_step<SpatialNormalization>(op.window, descs, engine, value);
}

StepPtr prepare(const SpatialNormalizationGradient& op, Descs descs, Engine& engine) {
  const auto contribute = [op = op.forward](const Neighbourhood& windows, double g, double,
                                            double squares, double x) {
    const float t = level(op, windows, squares);
    const double direct = g * double{std::pow(t, -op.beta)};
    const double pull = -2 * double{op.alpha} * double{op.beta} / windows.area();
    return Contribution{direct, 0, pull * direct * x / double{t}};
  };
  return window_gradient_step<SpatialNormalizationGradient>(op.forward.window, descs, engine,
                                                            contribute);
}

}  // namespace cermet::cpu
