#pragma once
// Loss functions, reductions, gradients by predictions and by labels (spec: loss 6, 7, 10).
// `labels` and `weights` may have more channels than `source`; the first ones count.

#include <cmath>
#include <limits>
#include <vector>

#include "cermet/cnn/loss.h"
#include "neuron.h"
#include "softmax.h"

namespace cermet::oracle {

/// Loss::Scalars in double: decimal fractions of the specification's examples stay exact.
struct LossScalars {
  double weight = 1, labelSmoothing = 0, epsilon = 1e-7, delta = 1;
};
inline LossScalars widened(const Loss::Scalars& s) {
  return {s.weight, s.labelSmoothing, s.epsilon, s.delta};
}

/// spec: loss 6.1
inline bool smooths(const Loss& op, const LossScalars& s) {
  return s.labelSmoothing > 0 && (op.type == CNNLossType::SoftMaxCrossEntropy ||
                                  op.type == CNNLossType::SigmoidCrossEntropy);
}
inline double smoothed(const Loss& op, const LossScalars& s, double t) {
  if (!smooths(op, s)) return t;
  const bool soft_max = op.type == CNNLossType::SoftMaxCrossEntropy;
  return t * (1 - s.labelSmoothing) +
         s.labelSmoothing * (soft_max ? 1.0 / op.numberOfClasses : 0.5);
}

/// The unweighted loss of one element and its derivatives by prediction and by label.
struct LossTerm {
  double loss, by_prediction, by_label;
};
/// spec: loss 6.3. `log_p`: y's log-soft-max. CosineDistance lacks its "1 -" here.
inline LossTerm loss_term(const Loss& op, const LossScalars& s, double y, double t, double log_p) {
  const double d = y - t, e = s.epsilon, smooth = smoothed(op, s, t);
  const double by_smooth = smooths(op, s) ? 1 - s.labelSmoothing : 1;
  switch (op.type) {
    case CNNLossType::MeanAbsoluteError:
      return {std::abs(d), sign(d), -sign(d)};
    case CNNLossType::MeanSquaredError:
      return {d * d, 2 * d, -2 * d};
    case CNNLossType::SoftMaxCrossEntropy:  // the published gradient
      return {-smooth * log_p, std::exp(log_p) - smooth, -by_smooth * log_p};
    case CNNLossType::SigmoidCrossEntropy:
      return {std::max(y, 0.0) - y * smooth + std::log1p(std::exp(-std::abs(y))),
              sigmoid(y) - smooth, -by_smooth * y};
    case CNNLossType::CategoricalCrossEntropy:
      return {t == 0 ? 0 : -t * std::log(y), t == 0 ? 0 : -t / y, -std::log(y)};
    case CNNLossType::Hinge: {
      const double margin = 1 + (1 - 2 * t) * y;
      if (margin <= 0) return {0, 0, 0};
      return {margin, 1 - 2 * t, -2 * y};
    }
    case CNNLossType::Huber: {
      if (std::abs(d) <= s.delta) return {d * d / 2, d, -d};
      const double slope = s.delta * sign(d);
      return {s.delta * s.delta / 2 + s.delta * (std::abs(d) - s.delta), slope, -slope};
    }
    case CNNLossType::CosineDistance:
      return {-y * t, -t, -y};
    case CNNLossType::Log:
      return {-t * std::log(y + e) - (1 - t) * std::log(1 - y + e),
              (y - t + e - 2 * e * t) / (y * (1 - y) + e * (1 + e)),
              std::log(1 - y + e) - std::log(y + e)};
    case CNNLossType::KullbackLeiblerDivergence:
      if (t == 0) return {0, 0, 0};
      return {t * (std::log(t) - y), -t, std::log(t) + 1 - y};
    case CNNLossType::Count:
      break;
  }
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return {nan, nan, nan};
}

/// spec: loss 6.2; CosineDistance ignores the weights image.
inline double effective_weight(const Loss& op, const LossScalars& s, const Tensor& weights, int n,
                               int y, int x, int c) {
  if (weights.empty() || op.type == CNNLossType::CosineDistance) return s.weight;
  return s.weight * weights(n, y, x, c);
}

inline bool across_batch(const Loss& op) {
  return op.reduceAcrossBatch != 0 && op.reduction != CNNReductionType::None;
}
/// What the sum of each image (of the batch, when reduced across it) is multiplied by, which is
/// also the reduction's derivative. spec: loss 7.2, 7.5
inline std::vector<double> reduction_factors(const Loss& op, const Tensor& source,
                                             const Tensor& weights) {
  const auto images = static_cast<std::size_t>(source.n);
  std::vector<double> elements(images), non_zero(images), factors(images, 1.0);
  for_each(source, [&](int n, int y, int x, int c) {
    for (std::size_t image = 0; image < images; ++image) {
      if (!across_batch(op) && static_cast<int>(image) != n) continue;
      elements[image] += 1;
      non_zero[image] += weights.empty() || weights(n, y, x, c) != 0 ? 1 : 0;
    }
  });
  const int share = op.type == CNNLossType::SoftMaxCrossEntropy ? source.c : 1;
  for (std::size_t i = 0; i < images; ++i) {
    if (op.reduction == CNNReductionType::Mean) factors[i] = share / elements[i];
    if (op.reduction == CNNReductionType::SumByNonZeroWeights)
      factors[i] = non_zero[i] == 0 ? 0 : 1 / non_zero[i];
  }
  return factors;
}

/// A zero weight silences a loss that is not finite.
inline Tensor loss(const Loss& op, const LossScalars& s, const Tensor& source, const Tensor& labels,
                   const Tensor& weights) {
  const auto log_p = log_soft_max(source);
  auto elements = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    const double w = effective_weight(op, s, weights, n, y, x, c);
    const auto term = loss_term(op, s, source(n, y, x, c), labels(n, y, x, c), log_p(n, y, x, c));
    elements(n, y, x, c) = w == 0 ? 0 : w * term.loss;
  });
  if (op.reduction == CNNReductionType::None) return elements;
  auto out = filled(source.n, 1, 1, 1);
  const auto total_of = [&](int n) -> double& { return out(across_batch(op) ? 0 : n, 0, 0, 0); };
  for_each(source, [&](int n, int y, int x, int c) { total_of(n) += elements(n, y, x, c); });
  if (op.type == CNNLossType::CosineDistance)
    for (int n = 0; n < source.n; ++n) total_of(n) += s.weight;
  const auto factors = reduction_factors(op, source, weights);
  for (int n = 0; n < source.n; ++n) out(n, 0, 0, 0) *= entry(factors, n);
  return out;
}

/// `gradient` and `weights` may be absent. The result has the extents of `source`, or of `labels`.
inline Tensor loss_gradient(const LossGradient& op, const LossScalars& s, const Tensor& gradient,
                            const Tensor& source, const Tensor& labels, const Tensor& weights) {
  const Loss& f = op.forward;
  const auto log_p = log_soft_max(source);
  const auto factors = reduction_factors(f, source, weights);
  auto out = like(op.byLabels != 0 ? labels : source);
  const auto incoming = [&](int n, int y, int x, int c) {
    if (gradient.empty()) return 1.0;
    if (f.reduction == CNNReductionType::None) return gradient(n, y, x, c);
    return gradient(across_batch(f) ? 0 : n, 0, 0, 0);
  };
  for_each(source, [&](int n, int y, int x, int c) {
    const double prediction = source(n, y, x, c), t = labels(n, y, x, c);
    const auto term = loss_term(f, s, prediction, t, log_p(n, y, x, c));
    const double w = effective_weight(f, s, weights, n, y, x, c);
    double d = op.byLabels != 0 ? term.by_label : term.by_prediction;
    if (op.byLabels == 0 && op.publishedKullbackLeibler != 0 &&
        f.type == CNNLossType::KullbackLeiblerDivergence)
      d = t == 0 ? 0 : -t / prediction;
    double result = w == 0 ? 0 : incoming(n, y, x, c) * w * d;
    if (op.byLabels == 0 && op.exactSoftMax != 0 && f.type == CNNLossType::SoftMaxCrossEntropy) {
      const auto pull = [&](int k) {  // G * w * t'
        return incoming(n, y, x, k) * effective_weight(f, s, weights, n, y, x, k) *
               smoothed(f, s, labels(n, y, x, k));
      };
      result = -pull(c);
      for (int k = 0; k < source.c; ++k) result += std::exp(log_p(n, y, x, c)) * pull(k);
    }
    out(n, y, x, c) = result * (op.ignoreReduction != 0 ? 1 : entry(factors, n));
  });
  return out;
}

}  // namespace cermet::oracle
