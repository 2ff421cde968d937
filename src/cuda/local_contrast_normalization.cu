// LocalContrastNormalization and its exact gradient (formulas: cnn/normalization.h).

#include "cermet/cnn/normalization.h"
#include "cuda/neighbourhood.cuh"

namespace cermet::cuda {
namespace {

struct Rule {
  LocalContrastNormalization op;
  double area;

  explicit Rule(const LocalContrastNormalization& of)
      : op(of), area(of.window.kernelWidth * of.window.kernelHeight) {}

  /// T of a window with this mean.
  __device__ float level(double mean, double squares) const {
    const double variance = fmax(squares / area - mean * mean, 0.0);
    return static_cast<float>(static_cast<double>(op.delta) +
                              static_cast<double>(op.alpha) * variance);
  }
  __device__ float value(double sum, double squares, float x) const {
    const double mean = sum / area, p0 = op.p0, ps = op.ps, pm = op.pm;
    const double scale = powf(level(mean, squares), -op.beta);
    return static_cast<float>(pm + ps * (x - p0 * mean) * scale);
  }
  __device__ Contribution contribute(float g, double sum, double squares, float x) const {
    const double mean = sum / area, p0 = op.p0, ps = op.ps;
    const float t = level(mean, squares);
    const double direct = ps * g * powf(t, -op.beta);
    const double slope = -2.0 * op.alpha * op.beta / area * direct * (x - p0 * mean) / t;
    return {static_cast<float>(direct), static_cast<float>(-p0 / area * direct - slope * mean),
            static_cast<float>(slope)};
  }
};

}  // namespace

StepPtr prepare(const LocalContrastNormalization& op, Descs slots, Engine&) {
  return window_step<Rule>(op, slots);
}
StepPtr prepare(const LocalContrastNormalizationGradient& op, Descs slots, Engine&) {
  return window_gradient_step<Rule>(op, slots);
}

}  // namespace cermet::cuda
