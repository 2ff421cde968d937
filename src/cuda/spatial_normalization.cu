// SpatialNormalization and its exact gradient (formulas: cnn/normalization.h).

#include "cermet/cnn/normalization.h"
#include "cuda/neighbourhood.cuh"

namespace cermet::cuda {
namespace {

struct Rule {
  float alpha, beta, delta, pull;  // alpha and pull: of a sum over the window

  explicit Rule(const SpatialNormalization& op)
      : alpha(op.alpha / static_cast<float>(op.window.kernelWidth * op.window.kernelHeight)),
        beta(op.beta),
        delta(op.delta),
        pull(-2 * alpha * beta) {}

  __device__ float level(double squares) const {
    return static_cast<float>(static_cast<double>(delta) + static_cast<double>(alpha) * squares);
  }
  __device__ float value(double, double squares, float x) const {
    return x * powf(level(squares), -beta);
  }
  __device__ Contribution contribute(float g, double, double squares, float x) const {
    const float t = level(squares), direct = g * powf(t, -beta);
    return {direct, 0.0F, pull * direct * x / t};
  }
};

}  // namespace

StepPtr prepare(const SpatialNormalization& op, Descs slots, Engine&) {
  return window_step<Rule>(op, slots);
}
StepPtr prepare(const SpatialNormalizationGradient& op, Descs slots, Engine&) {
  return window_gradient_step<Rule>(op, slots);
}

}  // namespace cermet::cuda
