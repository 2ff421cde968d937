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
