#pragma once
// Tensors as kernels see them.
//
// A kernel is a __global__ function that takes tensors by value and walks the elements (or pixels)
// of one of them with a grid-stride loop:
//
//   __global__ void twice(Tensor source, Tensor destination) {
//     begin_kernel();
//     for (Index at : elements(destination)) store(destination, at, 2 * load(source, at));
//   }
//   ...
//   launch(args, destination.count(), twice, source, destination);
//
// Sums have a fixed order: the same bits at every run, whatever the grid.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <initializer_list>

#include "cuda/engine.h"
#include "cuda/launch.cuh"

namespace cermet::cuda {

struct Index {
  int n, y, x, c;
};

struct Tensor {
  TensorDesc desc;
  void* data = nullptr;

  __host__ __device__ bool present() const { return data != nullptr; }
  __host__ __device__ long long count() const {
    return static_cast<long long>(desc.n) * desc.h * desc.w * desc.c;
  }
  __host__ __device__ long long pixels() const {
    return static_cast<long long>(desc.n) * desc.h * desc.w;
  }
  __device__ long long offset(const Index& at) const {
    return at.n * static_cast<long long>(desc.stride_n) +
           at.y * static_cast<long long>(desc.stride_h) +
           at.x * static_cast<long long>(desc.stride_w) + at.c;
  }
  __device__ bool inside(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(desc.h) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(desc.w);
  }
};

/// Slot `slot` of a step: absent slots have no address.
inline Tensor tensor(const Args& args, Descs slots, std::size_t slot) {
  return {slots[slot], slots[slot].present() ? args.slots[slot] : nullptr};
}

__device__ inline float load(const Tensor& tensor, long long offset) {
  switch (tensor.desc.type) {
    case ElementType::float32:
      return static_cast<const float*>(tensor.data)[offset];
    case ElementType::float16:
      return __half2float(static_cast<const __half*>(tensor.data)[offset]);
    case ElementType::bfloat16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(tensor.data)[offset]);
    case ElementType::unorm8:
      return static_cast<float>(static_cast<const unsigned char*>(tensor.data)[offset]) / 255.0F;
    case ElementType::unorm16:
      return static_cast<float>(static_cast<const unsigned short*>(tensor.data)[offset]) / 65535.0F;
    case ElementType::uint8:
      return static_cast<float>(static_cast<const unsigned char*>(tensor.data)[offset]);
  }
  return 0;
}
__device__ inline float load(const Tensor& tensor, const Index& at) {
  return load(tensor, tensor.offset(at));
}

/// Rounds to nearest even; unorm and uint8 clamp, and NaN becomes 0 there.
__device__ inline void store(const Tensor& tensor, long long offset, float value) {
  const auto integer = [](float scaled, float largest) {
    const float positive = scaled > 0.0F ? scaled : 0.0F;
    return static_cast<unsigned>(rintf(positive < largest ? positive : largest));
  };
  switch (tensor.desc.type) {
    case ElementType::float32:
      static_cast<float*>(tensor.data)[offset] = value;
      return;
    case ElementType::float16:
      static_cast<__half*>(tensor.data)[offset] = __float2half_rn(value);
      return;
    case ElementType::bfloat16:
      static_cast<__nv_bfloat16*>(tensor.data)[offset] = __float2bfloat16_rn(value);
      return;
    case ElementType::unorm8:
      static_cast<unsigned char*>(tensor.data)[offset] =
          static_cast<unsigned char>(integer(value * 255.0F, 255.0F));
      return;
    case ElementType::unorm16:
      static_cast<unsigned short*>(tensor.data)[offset] =
          static_cast<unsigned short>(integer(value * 65535.0F, 65535.0F));
      return;
    case ElementType::uint8:
      static_cast<unsigned char*>(tensor.data)[offset] =
          static_cast<unsigned char>(integer(value, 255.0F));
      return;
  }
}
__device__ inline void store(const Tensor& tensor, const Index& at, float value) {
  store(tensor, tensor.offset(at), value);
}

/// Grid-stride walk over [0, count): `for (long long i : grid_stride(count))`.
class GridStride {
 public:
  struct End {
    long long count;
  };
  struct Iterator {
    long long at;
    __device__ long long operator*() const { return at; }
    __device__ Iterator& operator++() {
      at += static_cast<long long>(gridDim.x) * blockDim.x;
      return *this;
    }
    __device__ bool operator!=(const End& end) const { return at < end.count; }
  };
  __device__ explicit GridStride(long long count) : count_(count) {}
  __device__ Iterator begin() const {
    return {static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x};
  }
  __device__ End end() const { return {count_}; }

 private:
  long long count_;
};
__device__ inline GridStride grid_stride(long long count) { return GridStride(count); }

/// Element or pixel number `i` of extents n x h x w x c; 32-bit divisions where they suffice.
__device__ inline Index index_of(long long i, int h, int w, int c) {
  if (i <= 0x7FFFFFFF) {
    const auto at = static_cast<unsigned>(i);
    const unsigned pixel = at / static_cast<unsigned>(c), row = pixel / static_cast<unsigned>(w);
    return {static_cast<int>(row / static_cast<unsigned>(h)),
            static_cast<int>(row % static_cast<unsigned>(h)),
            static_cast<int>(pixel % static_cast<unsigned>(w)),
            static_cast<int>(at % static_cast<unsigned>(c))};
  }
  const long long pixel = i / c, row = pixel / w;
  return {static_cast<int>(row / h), static_cast<int>(row % h), static_cast<int>(pixel % w),
          static_cast<int>(i % c)};
}

/// This thread's share of the elements of a tensor: `for (Index at : elements(tensor))`.
class Elements {
 public:
  using End = GridStride::End;
  struct Iterator {
    GridStride::Iterator at;
    int h, w, c;
    __device__ Index operator*() const { return index_of(*at, h, w, c); }
    __device__ Iterator& operator++() {
      ++at;
      return *this;
    }
    __device__ bool operator!=(const End& end) const { return at != end; }
  };
  __device__ Elements(long long count, int h, int w, int c) : all_(count), h_(h), w_(w), c_(c) {}
  __device__ Iterator begin() const { return {all_.begin(), h_, w_, c_}; }
  __device__ End end() const { return all_.end(); }

 private:
  GridStride all_;
  int h_, w_, c_;
};
__device__ inline Elements elements(const Tensor& of) {
  return {of.count(), of.desc.h, of.desc.w, of.desc.c};
}
/// The same for pixels: `c` is 0.
__device__ inline Elements pixels(const Tensor& of) {
  return {of.pixels(), of.desc.h, of.desc.w, 1};
}

/// Sum over the block's threads, in a fixed order; every thread gets it. All threads must call.
template <class T>
__device__ T block_sum(T value) {
  __shared__ T parts[block_threads];
  parts[threadIdx.x] = value;
  __syncthreads();
  for (int half = block_threads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  const T sum = parts[0];
  __syncthreads();
  return sum;
}

/// Sum over the block's threads of the same lane, in a fixed order; each of them gets it. All
/// threads must call.
__device__ inline double channel_sum(double value) {
  constexpr int lanes = 32;
  __shared__ double parts[block_threads];
  parts[threadIdx.x] = value;
  __syncthreads();
  double sum = 0;
  for (int of = static_cast<int>(threadIdx.x) % lanes; of < block_threads; of += lanes)
    sum += parts[of];
  __syncthreads();
  return sum;
}

/// Sum of `count` numbers that lie `stride` apart, for each of 32 adjacent lanes: the warps of a
/// block share the numbers and warp 0 gets the sum, in a fixed order. All threads must call.
__device__ inline double sum_over_warps(const float* first, int count, long long stride,
                                        bool active) {
  constexpr int lanes = 32, warps = block_threads / lanes;
  __shared__ double parts[warps][lanes];
  const int lane = static_cast<int>(threadIdx.x) % lanes,
            warp = static_cast<int>(threadIdx.x) / lanes;
  double sum = 0;
  constexpr int together = 16;  // numbers of a lane under way
  for (int i = warp; active && i < count; i += warps * together) {
    float numbers[together];
#pragma unroll
    for (int t = 0; t < together; ++t) {
      const int at = i + t * warps;
      numbers[t] = at < count ? first[at * stride] : 0.0F;
    }
#pragma unroll
    for (const float number : numbers) sum += static_cast<double>(number);
  }
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp == 0) {
    for (int other = 1; other < warps; ++other) sum += parts[other][lane];
  }
  __syncthreads();
  return sum;
}

/// Whether element-wise kernels may take the tensors as arrays of float4.
inline bool are_flat(std::initializer_list<Tensor> tensors) {
  for (const Tensor& one : tensors) {
    if (one.desc.type != ElementType::float32 || !one.desc.dense() || one.count() % 4 != 0 ||
        reinterpret_cast<std::uintptr_t>(one.data) % sizeof(float4) != 0)
      return false;
  }
  return true;
}
/// `of` for each of the four.
template <class F>
__device__ float4 each(F of, const float4& a) {
  return {of(a.x), of(a.y), of(a.z), of(a.w)};
}
template <class F>
__device__ float4 each(F of, const float4& a, const float4& b) {
  return {of(a.x, b.x), of(a.y, b.y), of(a.z, b.z), of(a.w, b.w)};
}

/// The scalars of a run: given by value, or read on the device where a captured graph keeps them.
template <class S>
struct ScalarsOf {
  S value;
  const S* address = nullptr;
  __device__ const S& get() const { return address != nullptr ? *address : value; }
};
template <class S>
ScalarsOf<S> scalars(const Args& args) {
  return {args.scalars_as<S>(),
          static_cast<const S*>(args.stream->scalars_on_device(args.scalars))};
}

}  // namespace cermet::cuda
