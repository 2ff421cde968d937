#pragma once
// Parameter updates (spec: optimizer 4, 5).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "cermet/ops/optimizer.h"

namespace cermet::oracle {

/// The operators' scalars in double: decimal fractions of the specification's examples stay exact.
struct PreparationScalars {
  double rescale = 1, clipMin = 0, clipMax = 0, regularizationScale = 0;
};
struct SgdScalars {
  PreparationScalars gradient;
  double learningRate = 1e-3, momentumScale = 0;
};
struct RMSPropScalars {
  PreparationScalars gradient;
  double learningRate = 1e-3, decay = 0.9, oneMinusDecay = 0.1, epsilon = 1e-8;
};
struct AdamScalars {
  PreparationScalars gradient;
  double stepLearningRate = 0, beta1 = 0.9, oneMinusBeta1 = 0.1, beta2 = 0.999,
         oneMinusBeta2 = 0.001, epsilon = 1e-8;
};
inline PreparationScalars widened(const GradientScalars& s) {
  return {s.rescale, s.clipMin, s.clipMax, s.regularizationScale};
}
inline SgdScalars widened(const StochasticGradientDescent::Scalars& s) {
  return {widened(s.gradient), s.learningRate, s.momentumScale};
}
inline RMSPropScalars widened(const RMSProp::Scalars& s) {
  return {widened(s.gradient), s.learningRate, s.decay, s.oneMinusDecay, s.epsilon};
}
inline AdamScalars widened(const Adam::Scalars& s) {
  return {widened(s.gradient), s.stepLearningRate, s.beta1, s.oneMinusBeta1, s.beta2,
          s.oneMinusBeta2,     s.epsilon};
}

/// Clip, then rescale, then regularise. A NaN passes through the clip.
inline double prepared_gradient(const GradientPreparation& op, const PreparationScalars& s,
                                double raw, double w) {
  const auto kind = static_cast<NNRegularizationType>(op.regularization);
  double g = op.clip != 0 ? std::min(std::max(raw, s.clipMin), s.clipMax) : raw;
  g *= s.rescale;
  if (kind == NNRegularizationType::L2) g += s.regularizationScale * w;
  if (kind == NNRegularizationType::L1) g += s.regularizationScale * ((w > 0) - (w < 0));
  return g;
}

struct SgdState {
  std::vector<double> values, momentum;  // momentum may be absent
};
inline SgdState stochastic_gradient_descent(const StochasticGradientDescent& op,
                                            const SgdScalars& s,
                                            const std::vector<double>& gradient, SgdState state) {
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    double& w = state.values.at(i);
    const double g = prepared_gradient(op.preparation, s.gradient, gradient[i], w);
    double step = s.learningRate * g;
    if (!state.momentum.empty()) {
      double& m = state.momentum.at(i);
      m = s.momentumScale * m + (op.nesterov != 0 ? g : step);
      step = op.nesterov != 0 ? s.learningRate * (g + s.momentumScale * m) : m;
    }
    w -= step;
  }
  return state;
}

struct RMSPropState {
  std::vector<double> values, sumOfSquares;
};
inline RMSPropState rms_prop(const RMSProp& op, const RMSPropScalars& s,
                             const std::vector<double>& gradient, RMSPropState state) {
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    double &w = state.values.at(i), &squares = state.sumOfSquares.at(i);
    const double g = prepared_gradient(op.preparation, s.gradient, gradient[i], w);
    squares = s.decay * squares + s.oneMinusDecay * g * g;
    w -= s.learningRate * g / (std::sqrt(squares) + s.epsilon);
  }
  return state;
}

struct AdamState {
  std::vector<double> values, momentum, velocity, maximumVelocity;  // given: AMSGrad
};
inline AdamState adam(const Adam& op, const AdamScalars& s, const std::vector<double>& gradient,
                      AdamState state) {
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    double &w = state.values.at(i), &m = state.momentum.at(i), &v = state.velocity.at(i);
    const double g = prepared_gradient(op.preparation, s.gradient, gradient[i], w);
    m = s.beta1 * m + s.oneMinusBeta1 * g;
    v = s.beta2 * v + s.oneMinusBeta2 * g * g;
    double divisor = v;
    if (!state.maximumVelocity.empty())
      divisor = state.maximumVelocity.at(i) = std::max(state.maximumVelocity[i], v);
    w -= s.stepLearningRate * m / (std::sqrt(divisor) + s.epsilon);
  }
  return state;
}
/// lr_t of update number t = 1, 2, ...
inline double adam_step_learning_rate(double learning_rate, double beta1, double beta2, int t) {
  return learning_rate * std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t));
}

}  // namespace cermet::oracle
