#pragma once
// An operand at the positions of a destination.

#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// A tensor read at the positions of a larger one: stride 0 along the axes of extent 1.
struct Operand {
  Tensor tensor;
  long long n, h, w;
  int c;

  Operand(const Tensor& of, const TensorDesc& larger)
      : tensor(of),
        n(of.desc.n < larger.n ? 0 : of.desc.stride_n),
        h(of.desc.h < larger.h ? 0 : of.desc.stride_h),
        w(of.desc.w < larger.w ? 0 : of.desc.stride_w),
        c(of.desc.c < larger.c ? 0 : 1) {}
  __device__ float value(const Index& at) const {
    return load(tensor, at.n * n + at.y * h + at.x * w + at.c * c);
  }
};

}  // namespace cermet::cuda
