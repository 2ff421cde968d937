#pragma once
// ReLU with a = 0 and 2x2 max pooling, and the tap that the gradient of a window goes to
// (NeuronPoolingMax of ops/fusion.h), for every kernel that ends with them.

#include "cermet/ops/fusion.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// Non-overlapping 2x2 windows from the corner.
inline bool is_tiled(const Window& w) {
  return w.kernelWidth == 2 && w.kernelHeight == 2 && w.strideX == 2 && w.strideY == 2 &&
         w.padLeft == 0 && w.padTop == 0 && w.dilationX == 1 && w.dilationY == 1;
}
/// The same with all windows inside the source.
inline bool is_tiled(const Window& w, const TensorDesc& source, const TensorDesc& destination) {
  return is_tiled(w) && 2 * destination.h <= source.h && 2 * destination.w <= source.w;
}
inline bool is_relu(const Activation& f) { return f.type == CNNNeuronType::ReLU && f.a == 0.0F; }

/// Dense float32, or absent.
inline bool is_plain(const TensorDesc& desc) {
  return !desc.present() || (desc.type == ElementType::float32 && desc.dense());
}
/// Dense bytes, or absent.
inline bool are_winners(const TensorDesc& desc) {
  return !desc.present() || (desc.type == ElementType::uint8 && desc.dense());
}

/// The pooled value of a window's four taps in row-major order. A tie stays with the sooner tap and
/// so does the first NaN.
__device__ inline float pool_window(float t0, float t1, float t2, float t3, unsigned char& winner) {
  const auto relu = [](float x) { return x >= 0.0F ? x : 0.0F * x; };  // NaN stays NaN
  float value = relu(t0), before = t0;
  int tap = 0;
  const auto challenge = [&](float x, int number) {
    const float other = relu(x);
    if (other <= value || value != value) return;
    value = other;
    before = x;
    tap = number;
  };
  challenge(t1, 1);
  challenge(t2, 2);
  challenge(t3, 3);
  winner = before >= 0.0F ? static_cast<unsigned char>(tap) : NeuronPoolingMax::nobody;
  return value;
}

}  // namespace cermet::cuda
