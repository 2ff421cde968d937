#pragma once
// Sums over the channels of a pixel by one thread or by the lanes of a warp, in a fixed order.

#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// Lanes for sums of so many terms: a warp, or a thread where most of the warp would idle.
inline int lanes_for(int channels) { return channels > 8 ? 32 : 1; }

/// Sum over the lanes, the same bits in every lane. All threads of the warp must call.
template <int lanes, class T>
__device__ T sum_of(T value) {
  for (int step = lanes / 2; step > 0; step /= 2)
    value += __shfl_xor_sync(0xFFFFFFFFU, value, step);
  return value;
}

}  // namespace cermet::cuda
