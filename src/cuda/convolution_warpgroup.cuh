#pragma once
// What the warps of convolution_warpgroup.cu share: memory and barriers of a block, and the warps
// that fill it with weights and with patches of the source.

#include <cstdint>

#include "cuda/convolution_warpgroup.h"
#include "cuda/warpgroup.cuh"

namespace cermet::cuda::warpgroup_convolution {

using Kind = ConvolutionProblem::Kind;

inline constexpr int chunk = 32, quads = chunk / 4;  // channels of the source in a patch
inline constexpr int side = 64;                      // rows of a product
inline constexpr int stage_floats = side * chunk;    // weights of a tap
inline constexpr unsigned stage_bytes = stage_floats * sizeof(float);
inline constexpr int most_stages = 6, fewest_stages = 3;  // of the ring
inline constexpr int segment = 8;                         // pixels
inline constexpr int groups = 2;                          // warpgroups that multiply
inline constexpr int helpers = 2;                         // warpgroups that feed them
inline constexpr int group_threads = 128, loaders = helpers * group_threads - 32;
inline constexpr int threads = (groups + helpers) * group_threads;
inline constexpr int helper_registers = 88, other_registers = 168;  // 128 each to begin with
inline constexpr std::size_t barrier_bytes = 256;

inline std::size_t shared_bytes(const WarpgroupTask& task) {
  return barrier_bytes + static_cast<std::size_t>(task.stages) * stage_bytes +
         static_cast<std::size_t>(task.patches) * static_cast<std::size_t>(quads * task.plane) *
             sizeof(float4);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// What a block has in shared memory.
struct Shared {
  unsigned barriers, ring, patches;
  float4* patch_memory;
  int patch_fours, each;  // patches of a warpgroup

  __device__ Shared(const WarpgroupTask& task, std::byte* memory)
      : barriers(shared_address(memory)),
        ring(barriers + static_cast<unsigned>(barrier_bytes)),
        patches(ring + static_cast<unsigned>(task.stages) * stage_bytes),
        patch_memory(reinterpret_cast<float4*>(memory + barrier_bytes +
                                               task.stages * static_cast<int>(stage_bytes))),
        patch_fours(quads * task.plane),
        each(task.patches / groups) {}
  [[nodiscard]] __device__ unsigned stage_full(int stage) const { return barriers + stage * 8U; }
  [[nodiscard]] __device__ unsigned stage_empty(int stage) const {
    return barriers + (most_stages + stage) * 8U;
  }
  [[nodiscard]] __device__ unsigned patch_full(int patch) const {
    return barriers + (2 * most_stages + patch) * 8U;
  }
  [[nodiscard]] __device__ unsigned patch_empty(int patch) const {
    return barriers + (2 * most_stages + 2 * groups + patch) * 8U;
  }
  /// Patch number `use` of a warpgroup.
  [[nodiscard]] __device__ int patch_of(int group, int use) const {
    return group * each + use % each;
  }
  [[nodiscard]] __device__ unsigned phase_of(int use) const {
    return static_cast<unsigned>(use / each % 2);
  }
  __device__ void set_up_barriers() const {
    constexpr unsigned warps = group_threads / 32;
    for (int i = 0; i < most_stages; ++i) {
      set_up(stage_full(i), 1);
      set_up(stage_empty(i), groups * warps);
    }
    for (int i = 0; i < groups * each; ++i) {
      set_up(patch_full(i), loaders);
      set_up(patch_empty(i), warps);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
};

/// The items of a block, two in a round, one for each warpgroup. Blocks begin with different
/// weights, so that they do not all read the same ones at the same time.
struct Rounds {
  int count, first_chunk, first_step;
  __device__ explicit Rounds(const WarpgroupTask& task)
      : count(
            (task.items - static_cast<int>(blockIdx.x) + groups * static_cast<int>(gridDim.x) - 1) /
            (groups * static_cast<int>(gridDim.x))),
        first_chunk(static_cast<int>(blockIdx.x) % task.chunks),
        first_step(static_cast<int>(blockIdx.x) / task.chunks % task.steps) {}
  static __device__ int item(int round, int group) {
    return (round * groups + group) * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
  }
};

/// First pixel of an item.
__device__ inline Corner corner_of(const WarpgroupTask& task, int item) {
  const auto [row, x] = divide(item, task.by_across);
  const auto [image, y] = divide(row, task.by_down);
  return {image * task.patch_images, y * task.rows, x * task.columns};
}

__device__ inline void feed_weights(const WarpgroupTask& task, const Shared& shared,
                                    const float* packed) {
  const Rounds rounds(task);
  packed += static_cast<long long>(blockIdx.y) * task.chunks * task.steps * stage_floats;
  int number = rounds.first_chunk, step = rounds.first_step;
  const int all = rounds.count * task.chunks * task.steps;
  int stage = 0;
  unsigned phase = 1;  // of the time before
  for (int i = 0; i < all; ++i) {
    if (i >= task.stages) wait(shared.stage_empty(stage), phase);
    copy_bulk(shared.ring + static_cast<unsigned>(stage) * stage_bytes,
              packed + static_cast<long long>(number * task.steps + step) * stage_floats,
              stage_bytes, shared.stage_full(stage));
    if (++stage == task.stages) {
      stage = 0;
      phase ^= 1;
    }
    if (++step == task.steps) step = 0;
    if (step == rounds.first_step && ++number == task.chunks) number = 0;
  }
}

/// Patches of all items, by seven warps. A warp takes rows of a patch: a lane has always the same
/// four channels, of every fourth pixel.
template <Kind kind, bool aligned>
struct Loader {
  const WarpgroupTask& task;
  const Shared& shared;
  const ConvolutionPointers& pointers;
  int warp, quad, first;  // first: pixel of a row
  static constexpr int warps = loaders / 32, step = 32 / quads;

  __device__ void load_all() const {
    const Rounds rounds(task);
    for (int round = 0; round < rounds.count; ++round) {
      for (int turn = 0; turn < task.chunks; ++turn) {
        for (int group = 0; group < groups; ++group) {
          const int item = Rounds::item(round, group);
          if (item >= task.items) continue;
          const int number = (turn + rounds.first_chunk) % task.chunks;
          const int use = round * task.chunks + turn, patch = shared.patch_of(group, use);
          // The first loads are under way before the patch is free.
          const auto wait_for_patch = [&] {
            if (use >= shared.each)
              wait(shared.patch_empty(patch), shared.phase_of(use - shared.each));
          };
          load(corner_of(task, item), number * chunk + quad * 4,
               shared.patch_memory + patch * shared.patch_fours + quad * task.plane,
               wait_for_patch);
          publish();
          arrive(shared.patch_full(patch));
        }
      }
    }
  }
  /// `c`: first channel of this lane. `to`: its plane.
  template <class Wait>
  __device__ void load(const Corner& corner, int c, float4* to, Wait wait_for_patch) const {
    const int top = corner.y - task.window.padTop, left = corner.x - task.window.padLeft;
    const int images = c < task.source.channels ? task.images - corner.image : 0;
    if constexpr (kind == Kind::pooled_source) {
      spread(corner.image, images, top, left, c, to, wait_for_patch);
      return;
    }
    constexpr int together = 5, rows_together = 2;  // loads under way
    const float* from = pointers.source + task.source.at(corner.image, top, left) + c;
    const long long across = step * task.source.column;  // from load to load
    const int rows = task.patch_images * task.patch_height;
    bool waits = true;
    for (int begin = first; begin - first < task.patch_width; begin += together * step) {
      unsigned valid = 0;  // pixels of a row
#pragma unroll
      for (int j = 0; j < together; ++j) {
        const int x = begin + j * step;
        if (x < task.patch_width && task.source.has(0, left + x)) valid |= 1U << j;
      }
      for (int row = warp; row < rows; row += warps * rows_together) {
        float4 values[rows_together][together];
#pragma unroll
        for (int r = 0; r < rows_together; ++r) {
          const auto [image, y] = divide(row + r * warps, task.by_patch_height);
          const bool in = image < images && task.source.has(top + y, 0);
          const float* pixels = from + task.source.at(image, y, begin);
#pragma unroll
          for (int j = 0; j < together; ++j)
            values[r][j] = load_four_if<aligned>(in && (valid >> j & 1) != 0, pixels + j * across);
        }
        if (waits) wait_for_patch();
        waits = false;
#pragma unroll
        for (int r = 0; r < rows_together; ++r) {
          if (row + r * warps >= rows) continue;
          float4* pixels = to + (row + r * warps) * task.patch_width + begin;
#pragma unroll
          for (int j = 0; j < together; ++j) {
            if (begin + j * step < task.patch_width) pixels[j * step] = to_tf32(values[r][j]);
          }
        }
      }
    }
  }
  /// Pooled gradients go to their winners.
  template <class Wait>
  __device__ void spread(int first_image, int images, int top, int left, int c, float4* to,
                         Wait wait_for_patch) const {
    constexpr int together = 3, rows_together = 2;  // loads under way
    const int y0 = floor_half(top), x0 = floor_half(left);
    const int high = task.by_pooled_height.value, wide = task.by_pooled_width.value;
    const int rows = task.patch_images * high;
    bool waits = true;
    const long long across = step * task.source.column,  // from load to load
        winners_across = step * task.source.channels;
    for (int begin = first; begin - first < wide; begin += together * step) {
      unsigned valid = 0, left_in = 0, right_in = 0;  // windows of a row; their pixels in the patch
#pragma unroll
      for (int j = 0; j < together; ++j) {
        const int px = begin + j * step, x = 2 * (x0 + px) - left;
        if (px >= wide) continue;
        if (task.source.has(0, x0 + px)) valid |= 1U << j;
        if (x >= 0 && x < task.patch_width) left_in |= 1U << j;
        if (x + 1 >= 0 && x + 1 < task.patch_width) right_in |= 1U << j;
      }
      for (int row = warp; row < rows; row += warps * rows_together) {
        float4 values[rows_together][together];
        uchar4 winners[rows_together][together];
#pragma unroll
        for (int r = 0; r < rows_together; ++r) {
          const auto [image, py] = divide(row + r * warps, task.by_pooled_height);
          const bool in = image < images && task.source.has(y0 + py, 0);
          const int y = y0 + py, x = x0 + begin;
          const float* from = pointers.source + task.source.at(first_image + image, y, x) + c;
          const unsigned char* from_winners =
              pointers.source_winners +
              task.source.pixel(first_image + image, y, x) * task.source.channels + c;
#pragma unroll
          for (int j = 0; j < together; ++j) {
            const bool given = in && (valid >> j & 1) != 0;
            values[r][j] = load_four_if<aligned>(given, from + j * across);
            winners[r][j] = load_bytes_if(given, from_winners + j * winners_across);
          }
        }
        if (waits) wait_for_patch();
        waits = false;
#pragma unroll
        for (int r = 0; r < rows_together; ++r) {
          if (row + r * warps >= rows) continue;
          const auto [image, py] = divide(row + r * warps, task.by_pooled_height);
          const int y = 2 * (y0 + py) - top;
          float4* const pixels =
              to + (image * task.patch_height + y) * task.patch_width + 2 * (x0 + begin) - left;
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            if (y + half < 0 || y + half >= task.patch_height) continue;
            float4* const of_row = pixels + half * task.patch_width;
#pragma unroll
            for (int j = 0; j < together; ++j) {
              const float4 value = to_tf32(values[r][j]);
              if ((left_in >> j & 1) != 0)
                of_row[2 * j * step] = won(value, winners[r][j], 2 * half);
              if ((right_in >> j & 1) != 0)
                of_row[2 * j * step + 1] = won(value, winners[r][j], 2 * half + 1);
            }
          }
        }
      }
    }
  }
  static __device__ float4 won(const float4& value, const uchar4& winner, int tap) {
    return {winner.x == tap ? value.x : 0.0F, winner.y == tap ? value.y : 0.0F,
            winner.z == tap ? value.z : 0.0F, winner.w == tap ? value.w : 0.0F};
  }
};

#endif

}  // namespace cermet::cuda::warpgroup_convolution
