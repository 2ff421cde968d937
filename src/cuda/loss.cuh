#pragma once
// What the kernels of losses share (formulas: cnn/loss.h).

#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// Scalars of one run. The label in use is keep * label + extra.
struct LossParameters {
  double weight, keep = 1, extra = 0, epsilon, delta;

  __device__ LossParameters(const Loss& op, const Loss::Scalars& scalars)
      : weight(scalars.weight), epsilon(scalars.epsilon), delta(scalars.delta) {
    const double smoothing = scalars.labelSmoothing;
    const bool softmax = op.type == CNNLossType::SoftMaxCrossEntropy;
    if (smoothing > 0 && (softmax || op.type == CNNLossType::SigmoidCrossEntropy)) {
      keep = 1 - smoothing;
      extra = smoothing / (softmax ? op.numberOfClasses : 2);
    }
  }
  /// Of the soft-max; `class_share`: 1 / numberOfClasses. What no soft-max needs is 0.
  __device__ LossParameters(double class_share, const Loss::Scalars& scalars)
      : weight(scalars.weight), epsilon(0), delta(0) {
    const double smoothing = scalars.labelSmoothing;
    if (smoothing > 0) {
      keep = 1 - smoothing;
      extra = smoothing * class_share;
    }
  }
  __device__ double label(double t) const { return keep * t + extra; }
};

/// 0 at 0, NaN for NaN.
__device__ inline double sign_of(double x) { return x > 0 ? 1.0 : (x < 0 ? -1.0 : x - x); }
__device__ inline double stable_sigmoid(double x) {
  const double e = exp(-fabs(x));
  return (x >= 0 ? 1.0 : e) / (1 + e);
}

/// l(y, t) of all but the soft-max; for the cosine distance the product whose sum it needs.
__device__ inline double loss_of(CNNLossType type, double y, double t, const LossParameters& p) {
  using enum CNNLossType;
  switch (type) {
    case MeanAbsoluteError:
      return fabs(y - t);
    case MeanSquaredError:
      return (y - t) * (y - t);
    case SigmoidCrossEntropy:
      return (y > 0 ? y : 0) - y * t + log1p(exp(-fabs(y)));
    case CategoricalCrossEntropy:
      return t == 0 ? 0 : -t * log(y);
    case Hinge: {
      const double margin = 1 + (1 - 2 * t) * y;
      return margin < 0 ? 0 : margin;
    }
    case Huber: {
      const double d = fabs(y - t);
      return d > p.delta ? p.delta * (d - 0.5 * p.delta) : 0.5 * d * d;
    }
    case Log:
      return -t * log(y + p.epsilon) - (1 - t) * log(1 - y + p.epsilon);
    case KullbackLeiblerDivergence:
      return t == 0 ? 0 : t * (log(t) - y);
    case CosineDistance:
    case SoftMaxCrossEntropy:
    case Count:
      break;
  }
  return y * t;
}

/// d l / d y
__device__ inline double slope_of(CNNLossType type, bool published_kl, double y, double t,
                                  const LossParameters& p) {
  using enum CNNLossType;
  switch (type) {
    case MeanAbsoluteError:
      return sign_of(y - t);
    case MeanSquaredError:
      return 2 * (y - t);
    case SigmoidCrossEntropy:
      return stable_sigmoid(y) - t;
    case CategoricalCrossEntropy:
      return t == 0 ? 0 : -t / y;
    case Hinge:
      return 1 + (1 - 2 * t) * y > 0 ? 1 - 2 * t : 0;
    case Huber: {
      const double d = y - t;
      return fabs(d) > p.delta ? p.delta * sign_of(d) : d;
    }
    case Log: {
      const double e = p.epsilon;
      return (y - t + e - 2 * e * t) / (y * (1 - y) + e * (1 + e));
    }
    case KullbackLeiblerDivergence:
      return published_kl ? (t == 0 ? 0 : -t / y) : -t;
    case CosineDistance:
    case SoftMaxCrossEntropy:
    case Count:
      break;
  }
  return -t;
}

/// 0 where `factor` is 0, whatever the value.
__device__ inline double scaled(double factor, double value) {
  return factor == 0 ? 0 : factor * value;
}

/// The weighted loss of a class; `log_share`: ln of its share.
__device__ inline double soft_max_loss(double w, double t, double log_share) {
  return t == 0 ? 0 : scaled(w, -t * log_share);
}

inline constexpr int warp = 32;
inline constexpr unsigned whole_warp = 0xFFFFFFFF;

/// Over `lanes` adjacent lanes, the same bits in each of them. The whole warp must call.
template <int lanes = warp>
__device__ double warp_sum(double value) {
  for (int step = lanes / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(whole_warp, value, step);
  }
  return value;
}
/// The same for the largest. NaN is passed over.
template <int lanes = warp>
__device__ float warp_largest(float value) {
  for (int step = lanes / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(whole_warp, value, step));
  }
  return value;
}

}  // namespace cermet::cuda
