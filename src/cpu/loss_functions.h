#pragma once
// The functions of losses, one value at a time, in double (spec: loss 6).

#include <array>
#include <cmath>
#include <utility>

#include "cpu/engine.h"

namespace cermet::cpu {

/// Scalars of one run. The label in use is keep * label + extra.
struct LossParameters {
  double weight, keep = 1, extra = 0, epsilon, delta;
  bool published_kl = false;
};

[[nodiscard]] LossParameters loss_parameters(const Loss& op, const Loss::Scalars& scalars);

/// 0 at 0, NaN for NaN.
inline double sign_of(double x) { return x > 0 ? 1.0 : (x < 0 ? -1.0 : x - x); }
inline double stable_sigmoid(double x) {
  const double e = std::exp(-std::fabs(x));
  return (x >= 0 ? 1.0 : e) / (1 + e);
}

/// l(y, t); for the cosine distance the product whose sum it needs.
template <CNNLossType type>
inline double loss_of(double y, double t, const LossParameters& p) {
  using enum CNNLossType;
  if constexpr (type == MeanAbsoluteError) return std::fabs(y - t);
  if constexpr (type == MeanSquaredError) return (y - t) * (y - t);
  if constexpr (type == SigmoidCrossEntropy) {
    return (y > 0 ? y : 0) - y * t + std::log1p(std::exp(-std::fabs(y)));
  }
  if constexpr (type == CategoricalCrossEntropy) return t == 0 ? 0 : -t * std::log(y);
  if constexpr (type == Hinge) {
    const double margin = 1 + (1 - 2 * t) * y;
    return margin < 0 ? 0 : margin;
  }
  if constexpr (type == Huber) {
    const double d = std::fabs(y - t);
    return d > p.delta ? p.delta * (d - 0.5 * p.delta) : 0.5 * d * d;
  }
  if constexpr (type == Log) {
    return -t * std::log(y + p.epsilon) - (1 - t) * std::log(1 - y + p.epsilon);
  }
  if constexpr (type == KullbackLeiblerDivergence) return t == 0 ? 0 : t * (std::log(t) - y);
  return y * t;
}

/// d l / d y
template <CNNLossType type>
inline double slope_of(double y, double t, const LossParameters& p) {
  using enum CNNLossType;
  if constexpr (type == MeanAbsoluteError) return sign_of(y - t);
  if constexpr (type == MeanSquaredError) return 2 * (y - t);
  if constexpr (type == SigmoidCrossEntropy) return stable_sigmoid(y) - t;
  if constexpr (type == CategoricalCrossEntropy) return t == 0 ? 0 : -t / y;
  if constexpr (type == Hinge) return 1 + (1 - 2 * t) * y > 0 ? 1 - 2 * t : 0;
  if constexpr (type == Huber) {
    const double d = y - t;
    return std::fabs(d) > p.delta ? p.delta * sign_of(d) : d;
  }
  if constexpr (type == Log) {
    const double e = p.epsilon;
    return (y - t + e - 2 * e * t) / (y * (1 - y) + e * (1 + e));
  }
  if constexpr (type == KullbackLeiblerDivergence) {
    return p.published_kl ? (t == 0 ? 0 : -t / y) : -t;
  }
  return -t;
}

/// make.template operator()<type>() of the operator's type: a function for its runs.
template <class Make>
auto with_type(CNNLossType type, Make&& make) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    const std::array table{make.template operator()<static_cast<CNNLossType>(i)>()...};
    return table[static_cast<std::size_t>(type)];
  }
  (std::make_index_sequence<static_cast<std::size_t>(CNNLossType::Count)>{});
}

}  // namespace cermet::cpu
