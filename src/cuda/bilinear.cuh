#pragma once
// Interpolation between four pixels.

#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// A place between two positions of an axis: 1 - t of `low` and t of `high`.
struct Between {
  int low, high;
  double t;
};

/// A neighbour of weight 0 is not read.
__device__ inline double weighted(const Tensor& source, const Index& at, double weight) {
  return weight == 0 ? 0.0 : weight * static_cast<double>(load(source, at));
}
/// Channel c between four pixels of image n; all positions lie inside.
__device__ inline float interpolate(const Tensor& source, int n, const Between& y, const Between& x,
                                    int c) {
  double sum = weighted(source, {n, y.low, x.low, c}, (1 - y.t) * (1 - x.t));
  sum += weighted(source, {n, y.low, x.high, c}, (1 - y.t) * x.t);
  sum += weighted(source, {n, y.high, x.low, c}, y.t * (1 - x.t));
  sum += weighted(source, {n, y.high, x.high, c}, y.t * x.t);
  return static_cast<float>(sum);
}

}  // namespace cermet::cuda
