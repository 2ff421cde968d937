#pragma once
// What kernels on tensor cores share: products of TF32 tiles, copies into shared memory that run
// beside them, and the boxes of pixels that a block works on.

#include <cuda_runtime.h>

#include <algorithm>

#include "cuda/engine.h"
#include "cuda/launch.cuh"

namespace cermet::cuda {

// ---- instructions

/// x rounded to the 11 significant bits of TF32, to nearest with ties away from 0.
__device__ inline float to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __uint_as_float(bits);
}
__device__ inline float4 to_tf32(const float4& x) {
  return {to_tf32(x.x), to_tf32(x.y), to_tf32(x.z), to_tf32(x.w)};
}

/// sums += a * b for a tile of 16 x 8 times 8 x 8. Lane 4 g + t of the warp holds rows g, g + 8 and
/// columns t, t + 4 of a; rows t, t + 4 of column g of b; rows g, g + 8 and columns 2 t, 2 t + 1 of
/// the sums.
__device__ inline void multiply_tile(float (&sums)[4], const float (&a)[4], const float (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
        "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

/// Four tiles of 8 rows x 4 floats: lane i names row i % 8 of tile i / 8, and gets float i % 4 of
/// row i / 4 of each.
__device__ inline void load_tiles(float (&to)[4], unsigned address) {
  unsigned r0, r1, r2, r3;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(address)
               : "memory");
  to[0] = __uint_as_float(r0);
  to[1] = __uint_as_float(r1);
  to[2] = __uint_as_float(r2);
  to[3] = __uint_as_float(r3);
}

__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// Begins to copy four floats, or zeros where not `valid`; `aligned`: `from` is, to 16 bytes.
template <bool aligned>
__device__ inline void copy_four(float* to, const float* from, bool valid) {
  const unsigned address = shared_address(to);
  if constexpr (aligned) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address + 4 * i),
                   "l"(from + (valid ? i : 0)), "r"(valid ? 4 : 0)
                   : "memory");
    }
  }
}
/// The same for four bytes, aligned.
__device__ inline void copy_bytes(unsigned char* to, const unsigned char* from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(valid ? 4 : 0)
               : "memory");
}
/// Ends a group of copies; `wait_for_copies` waits until at most `pending` groups are under way.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

__device__ inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<unsigned long long>(pointer) % 16 == 0;
}

__device__ inline float4 load_four(const float* from, bool aligned) {
  if (aligned) return *reinterpret_cast<const float4*>(from);
  return {from[0], from[1], from[2], from[3]};
}

// ---- tensors

/// a / b, rounded up; both positive.
inline int divide_up(int a, int b) { return (a + b - 1) / b; }
/// The pooled row or column that one of 2x2 windows lies under.
__device__ inline int floor_half(int x) { return x >= 0 ? x / 2 : -((1 - x) / 2); }

inline constexpr std::size_t most_shared_bytes = 200 * 1024;  // of a block

/// Dense float32 with channels that are multiples of four.
inline bool comes_in_fours(const TensorDesc& desc) {
  return desc.type == ElementType::float32 && desc.dense() && desc.c % 4 == 0;
}

/// Where the elements of a tensor lie.
struct Grid {
  int height = 0, width = 0, channels = 0;
  long long image = 0, row = 0;
  int column = 0;

  Grid() = default;
  explicit Grid(const TensorDesc& desc)
      : height(desc.h),
        width(desc.w),
        channels(desc.c),
        image(desc.stride_n),
        row(desc.stride_h),
        column(static_cast<int>(desc.stride_w)) {}
  __device__ long long at(int n, int y, int x) const {
    return n * image + y * row + static_cast<long long>(x) * column;
  }
  /// Its number in row-major order.
  __device__ long long pixel(int n, int y, int x) const {
    return (static_cast<long long>(n) * height + y) * width + x;
  }
  __device__ bool has(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
};

// ---- boxes

/// A divisor of numbers that are so small that their product with it is below 2^32.
struct Divisor {
  int value = 1;
  unsigned inverse = 0;  // 2^32 / value, rounded up

  Divisor() = default;
  explicit Divisor(int of) : value(of), inverse(0xFFFFFFFFU / static_cast<unsigned>(of) + 1) {}
};
struct Division {
  int quotient, rest;
};
__device__ inline Division divide(int number, const Divisor& by) {
  const int quotient = by.value == 1
                           ? number
                           : static_cast<int>(__umulhi(static_cast<unsigned>(number), by.inverse));
  return {quotient, number - quotient * by.value};
}

/// A box of pixels of one image, or of several whole images, whose pixels are the `slots` of a
/// block; and the patch of the source that its windows read.
struct Boxes {
  static constexpr int slots = 128;
  int count = 0, height = 0, width = 0;  // of the images
  int box_images = 1, box_height = 1, box_width = 1;
  int down = 1, across = 1;  // boxes of an image
  int total = 0;
  int patch_height = 1, patch_width = 1;
  int patch_pitch = 1;  // pixels from row to row of a patch in shared memory
  Divisor by_across, by_down, by_patch_width, by_patch_height, by_area, by_width, by_half_width;

  /// The fewest boxes, then the smallest patches. `even`: sides are even, for 2x2 windows.
  static Boxes of(int count, int height, int width, bool even, const Window& w) {
    Boxes best;
    long long cost = 0;
    const int step = even ? 2 : 1;
    const auto round_up = [&](int side) { return (side + step - 1) / step * step; };
    for (int h = step; h <= round_up(height); h += step) {
      for (int x = step; x <= round_up(width) && h * x <= slots; x += step) {
        Boxes one;
        one.count = count;
        one.height = height;
        one.width = width;
        one.box_height = h;
        one.box_width = x;
        one.down = (height + h - 1) / h;
        one.across = (width + x - 1) / x;
        if (one.down * one.across == 1) one.box_images = std::min(count, slots / (h * x));
        one.total = (count + one.box_images - 1) / one.box_images * one.down * one.across;
        one.patch_height = (h - 1) * w.strideY + (w.kernelHeight - 1) * w.dilationY + 1;
        one.patch_width = (x - 1) * w.strideX + (w.kernelWidth - 1) * w.dilationX + 1;
        // Rows of windows lie in other banks than the row before.
        one.patch_pitch = even ? (one.patch_width + 3) / 8 * 8 + 4 : one.patch_width;
        const long long now = static_cast<long long>(one.total) * 4096 + one.patch_pixels();
        if (best.total == 0 || now < cost) {
          best = one;
          cost = now;
        }
      }
    }
    best.by_across = Divisor(best.across);
    best.by_down = Divisor(best.down);
    best.by_patch_width = Divisor(best.patch_width);
    best.by_patch_height = Divisor(best.patch_height);
    best.by_area = Divisor(best.box_height * best.box_width);
    best.by_width = Divisor(best.box_width);
    best.by_half_width = Divisor(std::max(1, best.box_width / 2));
    return best;
  }
  /// Pixels of a patch, and those it takes in shared memory.
  [[nodiscard]] __host__ __device__ int patch_count() const {
    return box_images * patch_height * patch_width;
  }
  __host__ __device__ int patch_pixels() const { return box_images * patch_height * patch_pitch; }
  [[nodiscard]] __host__ __device__ int used() const { return box_images * box_height * box_width; }
};

/// Where a box lies.
struct Corner {
  int image, y, x;
};
__device__ inline Corner corner_of(const Boxes& boxes, int number) {
  const auto [row, x] = divide(number, boxes.by_across);
  const auto [image, y] = divide(row, boxes.by_down);
  return {image * boxes.box_images, y * boxes.box_height, x * boxes.box_width};
}
/// A pixel of a box or patch: which image of it, and where there.
struct Slot {
  int image, y, x;
};
__device__ inline Slot slot_of(const Boxes& boxes, int number) {
  const auto [image, in] = divide(number, boxes.by_area);
  const auto [y, x] = divide(in, boxes.by_width);
  return {image, y, x};
}
/// The same with the pixels of each 2x2 window next to each other.
__device__ inline Slot window_slot_of(const Boxes& boxes, int number) {
  const auto [image, in] = divide(number, boxes.by_area);
  const auto [y, x] = divide(in / 4, boxes.by_half_width);
  return {image, 2 * y + in / 2 % 2, 2 * x + in % 2};
}
__device__ inline Slot patch_slot_of(const Boxes& boxes, int number) {
  const auto [row, x] = divide(number, boxes.by_patch_width);
  const auto [image, y] = divide(row, boxes.by_patch_height);
  return {image, y, x};
}
/// Number of the pixel in shared memory.
__device__ inline int patch_pixel(const Boxes& boxes, const Slot& at) {
  return (at.image * boxes.patch_height + at.y) * boxes.patch_pitch + at.x;
}

}  // namespace cermet::cuda
