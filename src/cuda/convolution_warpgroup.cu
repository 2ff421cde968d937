// Convolution and its data gradient with the warpgroup products of sm_90. The weights are the left
// factor: 64 rows are result channels. The columns are pixels: eight of a row of the result, for
// `rows` rows, twice (two segments). The source patch lies in shared memory as planes of four
// channels with a pixel in each 16 bytes, so that the pixels under a tap are the patch itself from
// another address on, and no instruction moves them.
//
// Two warpgroups multiply, each an item of pixels; one warp streams packed weights through a ring
// that both use; three warps fetch, round and store the patches of the items to come.
//
// Results of up to 32 channels fill the 64 rows as well: even rows of eight have a tap, odd ones
// its right neighbour, whose products belong to the pixel on the left (`paired`). Where the last
// tap of a row has no neighbour, its place is multiplied by 0: a NaN there is seen one pixel too
// far.

#include "cuda/convolution_warpgroup.h"

#include <algorithm>
#include <cstdint>

#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"
#include "cuda/warpgroup.cuh"

namespace cermet::cuda {
namespace {

using Kind = ConvolutionProblem::Kind;

constexpr int chunk = 32, quads = chunk / 4;  // channels of the source in a patch
constexpr int side = 64;                      // rows of a product
constexpr int stage_floats = side * chunk;    // weights of a tap
constexpr unsigned stage_bytes = stage_floats * sizeof(float);
constexpr int most_stages = 6, fewest_stages = 3;  // of the ring
constexpr int segment = 8;                         // pixels
constexpr int groups = 2;                          // warpgroups that multiply
constexpr int group_threads = 128, loaders = 96;
constexpr int threads = (groups + 1) * group_threads;
constexpr std::size_t barrier_bytes = 256;
constexpr std::size_t most_bytes = 227 * 1024;  // of shared memory

// ---- weights

/// Weights by block of result channels, chunk and tap, in the order of a product's left factor;
/// rounded, 0 where there are none.
__global__ void pack(WarpgroupTask task, int taps, long long count, const float* weights,
                     float* packed) {
  begin_kernel();
  const int width = task.window.kernelWidth, pairs = (width + 1) / 2;
  for (const long long i : grid_stride(count)) {
    const int in = static_cast<int>(i % stage_floats);
    const long long stage = i / stage_floats;
    const int step = static_cast<int>(stage % task.steps);
    const int number = static_cast<int>(stage / task.steps % task.chunks);
    const int tile = static_cast<int>(stage / task.steps / task.chunks);
    const int c = number * chunk + in / 256 % 8 * 4 + in % 4;  // halves of 64 rows x 4 columns
    const int row = in / 4 % side;
    int k = tile * side + row, q = step / width, p = step % width;
    if (task.paired) {
      k = tile * (side / 2) + row / 16 * 8 + row % 8;
      q = step / pairs;
      p = step % pairs * 2 + row / 8 % 2;
    }
    float value = 0;
    if (p < width && k < task.result.channels && c < task.source.channels) {
      const int tap = q * width + p;
      const long long at =
          task.turned
              ? (static_cast<long long>(c) * taps + taps - 1 - tap) * task.result.channels + k
              : (static_cast<long long>(k) * taps + tap) * task.source.channels + c;
      value = to_tf32(weights[at]);
    }
    packed[i] = value;
  }
}

// ---- products

std::size_t shared_bytes(const WarpgroupTask& task) {
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
__device__ Corner corner_of(const WarpgroupTask& task, int item) {
  const auto [row, x] = divide(item, task.by_across);
  const auto [image, y] = divide(row, task.by_down);
  return {image * task.patch_images, y * task.rows, x * task.columns};
}

__device__ void feed_weights(const WarpgroupTask& task, const Shared& shared, const float* packed) {
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

__device__ inline int floor_half(int x) { return x >= 0 ? x / 2 : -((1 - x) / 2); }

__device__ inline float4 load_four(const float* from, bool aligned) {
  if (aligned) return *reinterpret_cast<const float4*>(from);
  return {from[0], from[1], from[2], from[3]};
}

/// Patches of all items, by three warps. A warp takes rows of a patch: a lane has always the same
/// four channels, of every fourth pixel.
template <Kind kind>
struct Loader {
  const WarpgroupTask& task;
  const Shared& shared;
  const ConvolutionPointers& pointers;
  int warp, quad, first;  // first: pixel of a row
  bool aligned;
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
    constexpr int together = 5, rows_together = 6;  // loads under way
    const float* from = pointers.source + task.source.at(corner.image, top, left) + c;
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
          for (int j = 0; j < together; ++j) {
            values[r][j] = {};
            if (in && (valid >> j & 1) != 0)
              values[r][j] = load_four(pixels + j * step * task.source.column, aligned);
          }
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
    constexpr int together = 3, rows_together = 4;  // loads under way
    const int y0 = floor_half(top), x0 = floor_half(left);
    const int high = task.by_pooled_height.value, wide = task.by_pooled_width.value;
    const int rows = task.patch_images * high;
    bool waits = true;
    for (int begin = first; begin - first < wide; begin += together * step) {
      for (int row = warp; row < rows; row += warps * rows_together) {
        float4 values[rows_together][together];
        uchar4 winners[rows_together][together];
#pragma unroll
        for (int r = 0; r < rows_together; ++r) {
          const auto [image, py] = divide(row + r * warps, task.by_pooled_height);
          const bool in = image < images && task.source.has(y0 + py, 0);
          const long long pixel = task.source.pixel(first_image + image, y0 + py, x0);
          const float* from =
              pointers.source + task.source.at(first_image + image, y0 + py, x0) + c;
          const unsigned char* from_winners =
              pointers.source_winners + pixel * task.source.channels + c;
#pragma unroll
          for (int j = 0; j < together; ++j) {
            const int px = begin + j * step;
            values[r][j] = {};
            winners[r][j] = {};
            if (!in || px >= wide || !task.source.has(0, x0 + px)) continue;
            values[r][j] = load_four(from + px * task.source.column, aligned);
            winners[r][j] =
                *reinterpret_cast<const uchar4*>(from_winners + px * task.source.channels);
          }
        }
        if (waits) wait_for_patch();
        waits = false;
#pragma unroll
        for (int r = 0; r < rows_together; ++r) {
          if (row + r * warps >= rows) continue;
          const auto [image, py] = divide(row + r * warps, task.by_pooled_height);
#pragma unroll
          for (int j = 0; j < together; ++j) {
            const int px = begin + j * step;
            if (px >= wide) continue;
            const float4 value = to_tf32(values[r][j]);
            const uchar4 winner = winners[r][j];
#pragma unroll
            for (int tap = 0; tap < 4; ++tap) {
              const int y = 2 * (y0 + py) + tap / 2 - top, x = 2 * (x0 + px) + tap % 2 - left;
              if (y < 0 || y >= task.patch_height || x < 0 || x >= task.patch_width) continue;
              to[(image * task.patch_height + y) * task.patch_width + x] = {
                  winner.x == tap ? value.x : 0.0F, winner.y == tap ? value.y : 0.0F,
                  winner.z == tap ? value.z : 0.0F, winner.w == tap ? value.w : 0.0F};
            }
          }
        }
      }
    }
  }
};

/// Takes the sums of a warpgroup to the result, by way of the patch that it has done with.
template <int rows, Kind kind>
struct Results {
  static constexpr bool pooled = kind == Kind::pooled_result;
  static constexpr int across = pooled ? segment / 2 : segment;  // pixels
  static constexpr int pixels = (pooled ? rows / 2 : rows) * across;
  static constexpr int padding = pooled ? 8 : 4;  // lanes of a warp write to different banks
  const WarpgroupTask& task;
  const ConvolutionPointers& pointers;
  float* staged;
  int group, warp, lane;

  [[nodiscard]] __device__ int channels() const { return task.paired ? side / 2 : side; }
  [[nodiscard]] __device__ int pitch() const { return channels() + padding; }
  [[nodiscard]] __device__ unsigned char* winners() const {
    return reinterpret_cast<unsigned char*>(staged + pixels * pitch());
  }
  __device__ void meet() const {
    asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"(group_threads) : "memory");
  }

  /// `sums`: of segment `s`, four for each row: two channels (or taps) x two pixels.
  __device__ void store(const Corner& corner, int s, const float (&sums)[rows * 4]) const {
    const int image = corner.image + (task.second == 0 ? s : 0);
    if (image >= task.images) return;
    meet();
    if (task.paired) {
      stage_paired(sums);
    } else {
      stage(sums);
    }
    meet();
    write(image, corner.y, corner.x + s * task.second);
  }
  __device__ float bias_of(int channel) const {
    channel += static_cast<int>(blockIdx.y) * channels();
    return pointers.biases != nullptr && channel < task.result.channels ? pointers.biases[channel]
                                                                        : 0.0F;
  }
  __device__ void stage(const float (&sums)[rows * 4]) const {
    const int t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int channel = warp * 16 + half * 8 + lane / 4;
      const float bias = bias_of(channel);
      float* to = staged + channel;
#pragma unroll
      for (int row = 0; row < rows; ++row) {
        const float* two = sums + row * 4 + half * 2;
        if constexpr (!pooled) {
          put(to + (row * across + 2 * t) * pitch(), two[0] + bias);
          put(to + (row * across + 2 * t + 1) * pitch(), two[1] + bias);
        } else if (row % 2 == 0 && row + 1 < rows) {
          const int pixel = row / 2 * across + t;
          to[pixel * pitch()] = pool_window(two[0] + bias, two[1] + bias, two[4] + bias,
                                            two[5] + bias, winners()[pixel * side + channel]);
        }
      }
    }
  }
  /// Adds the products of the right taps to the pixels on their left.
  __device__ void stage_paired(const float (&sums)[rows * 4]) const {
    const int t = lane % 4, channel = warp * 8 + lane / 4;
    const float bias = bias_of(channel);
    float* to = staged + channel;
#pragma unroll
    for (int row = 0; row < rows; ++row) {
      const float* four = sums + row * 4;
      const float right = __shfl_down_sync(0xFFFFFFFFU, four[2], 1);  // of the next lane
      put(to + (row * across + 2 * t) * pitch(), four[0] + four[3] + bias);
      put(to + (row * across + 2 * t + 1) * pitch(), four[1] + right + bias);
    }
  }
  __device__ void put(float* to, float value) const {
    *to = value >= 0.0F ? value : task.slope * value;
  }
  /// `y`, `x`: before pooling.
  __device__ void write(int image, int y, int x) const {
    const int fours = channels() / 4, thread = warp * 32 + lane;
    const int four = thread % fours * 4, first = thread / fours, step = group_threads / fours;
    const int channel = static_cast<int>(blockIdx.y) * channels() + four;
    if (channel >= task.result.channels) return;
    const bool aligned = is_aligned(pointers.result);
    const int last = task.paired ? across - 1 : across;
    if (pooled) {
      y /= 2;
      x /= 2;
    }
    for (int pixel = first; pixel < pixels; pixel += step) {
      const int row = y + pixel / across, column = x + pixel % across;
      if (pixel % across >= last || !task.result.has(row, column)) continue;
      const float4 value = *reinterpret_cast<const float4*>(staged + pixel * pitch() + four);
      float* to = pointers.result + task.result.at(image, row, column) + channel;
      if (aligned) {
        *reinterpret_cast<float4*>(to) = value;
      } else {
        to[0] = value.x;
        to[1] = value.y;
        to[2] = value.z;
        to[3] = value.w;
      }
      if (pooled && pointers.winners != nullptr) {
        *reinterpret_cast<uchar4*>(
            pointers.winners + task.result.pixel(image, row, column) * task.result.channels +
            channel) = *reinterpret_cast<const uchar4*>(winners() + pixel * side + four);
      }
    }
  }
};

template <int rows, Kind kind>
__device__ void multiply_items(const WarpgroupTask& task, const Shared& shared,
                               const ConvolutionPointers& pointers, int warp) {
  const int group = warp / 4, lane = static_cast<int>(threadIdx.x) % 32;
  const unsigned second = task.second == 0
                              ? static_cast<unsigned>(task.patch_height * task.patch_width)
                              : static_cast<unsigned>(task.second);
  const unsigned across = 2 * static_cast<unsigned>(task.plane);
  const Rounds rounds(task);
  int stage = 0;
  unsigned phase = 0;
  const auto next_stage = [&] {
    if (++stage == task.stages) {
      stage = 0;
      phase ^= 1;
    }
  };
  const auto release = [&](int which) { arrive(shared.stage_empty(which), lane == 0); };
  for (int round = 0; round < rounds.count; ++round) {
    const int item = Rounds::item(round, group);
    if (item >= task.items) {
      for (int i = task.chunks * task.steps; i > 0; --i) {
        wait(shared.stage_full(stage), phase);
        release(stage);
        next_stage();
      }
      continue;
    }
    float sums[2][rows * 4];
    unsigned more = 0;
    int patch = 0, before = 0;
    for (int turn = 0; turn < task.chunks; ++turn) {
      const int use = round * task.chunks + turn;
      if (turn > 0) arrive(shared.patch_empty(patch), lane == 0);
      patch = shared.patch_of(group, use);
      wait(shared.patch_full(patch), shared.phase_of(use));
      const unsigned pixels =
          low_of(shared.patches + static_cast<unsigned>(patch) *
                                      static_cast<unsigned>(shared.patch_fours) *
                                      static_cast<unsigned>(sizeof(float4)),
                 task.plane);
      int step = rounds.first_step;
      for (int i = 0; i < task.steps; ++i) {
        wait(shared.stage_full(stage), phase);
        unsigned tap = pixels + task.offsets[step];
        unsigned weights = low_of(shared.ring + static_cast<unsigned>(stage) * stage_bytes, side);
        begin_products();
#pragma unroll
        for (int k = 0; k < chunk / 8; ++k) {
          Product<rows * segment>::add(sums[0], matrix_at(weights, segment),
                                       matrix_at(tap, task.patch_width), more);
          Product<rows * segment>::add(sums[1], matrix_at(weights, segment),
                                       matrix_at(tap + second, task.patch_width), more);
          more = 1;
          weights += 2 * side;
          tap += across;
        }
        commit_products();
        wait_for_products<1>();
        if (i > 0) release(before);
        before = stage;
        next_stage();
        if (++step == task.steps) step = 0;
      }
      wait_for_products<0>();
      release(before);
    }
#pragma unroll
    for (int i = 0; i < rows * 4; ++i)  // no use of the sums moves up from here
      asm volatile("" : "+f"(sums[0][i]), "+f"(sums[1][i])::"memory");
    const Results<rows, kind> results{
        task,  pointers, reinterpret_cast<float*>(shared.patch_memory + patch * shared.patch_fours),
        group, warp % 4, lane};
    const Corner corner = corner_of(task, item);
    results.store(corner, 0, sums[0]);
    results.store(corner, 1, sums[1]);
    results.meet();
    arrive(shared.patch_empty(patch), lane == 0);
  }
}

#endif

template <int rows, Kind kind>
__global__ void __launch_bounds__(threads, 1)
    multiply(WarpgroupTask task, ConvolutionPointers pointers, const float* packed) {
  begin_kernel();
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) std::byte memory[];
  const Shared shared(task, memory);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  // The compiler must see that a warp takes one path, else it makes every product wait.
  const int warp = __shfl_sync(0xFFFFFFFFU, thread / 32, 0);
  if (thread == 0) shared.set_up_barriers();
  __syncthreads();
  constexpr int helpers = group_threads / 32;  // warps
  if (warp >= helpers) {
    multiply_items<rows, kind>(task, shared, pointers, warp - helpers);
  } else if (warp > 0) {
    const Loader<kind> loader{
        task, shared, pointers, warp - 1, lane % quads, lane / quads, is_aligned(pointers.source)};
    loader.load_all();
  } else if (lane == 0) {
    feed_weights(task, shared, packed);
  }
#endif
}

using Kernel = void (*)(WarpgroupTask, ConvolutionPointers, const float*);
template <Kind kind>
Kernel kernel_for(int rows) {
  switch (rows) {
    case 7:
      return kind == Kind::pooled_result ? nullptr : &multiply<7, kind>;
    case 8:
      return &multiply<8, kind>;
    case 14:
      return &multiply<14, kind>;
    case 16:
      return &multiply<16, kind>;
    default:
      return nullptr;
  }
}
Kernel kernel_for(Kind kind, int rows) {
  switch (kind) {
    case Kind::plain:
      return kernel_for<Kind::plain>(rows);
    case Kind::pooled_result:
      return kernel_for<Kind::pooled_result>(rows);
    case Kind::pooled_source:
      return kernel_for<Kind::pooled_source>(rows);
  }
  return nullptr;
}

int divide_up(int a, int b) { return (a + b - 1) / b; }

/// The task with items of `rows` rows; no steps: it cannot be done.
WarpgroupTask task_of(const ConvolutionProblem& problem, int rows) {
  const Window& w = problem.window;
  WarpgroupTask task;
  task.kind = problem.kind;
  task.window = w;
  task.source = Grid(problem.source);
  task.result = Grid(problem.result);
  task.images = problem.result.n;
  task.slope = problem.slope;
  task.turned = problem.turned;
  task.paired = problem.kind != Kind::pooled_result && problem.result.c <= side / 2 &&
                w.kernelWidth > 1 && w.dilationX == 1;
  const int usable = task.paired ? segment - 1 : segment;  // pixels of a segment
  task.width = problem.width();
  task.rows = rows;
  task.down = divide_up(problem.height(), rows);
  if (task.width <= usable) {
    task.columns = usable;
    task.patch_images = 2;
  } else {
    // A narrow rest is covered twice rather than beyond the edge.
    task.columns = 2 * usable;
    task.across = divide_up(task.width, task.columns);
    task.second = usable;
    if (task.across == 1 && !task.paired) task.second = (task.width + 1) / 2 * 2 - segment;
  }
  task.items = divide_up(task.images, task.patch_images) * task.down * task.across;
  task.patch_height = rows + (w.kernelHeight - 1) * w.dilationY;
  task.patch_width = task.second + segment + (w.kernelWidth - 1) * w.dilationX +
                     (task.paired && w.kernelWidth % 2 != 0 ? 1 : 0);
  const int staged = rows * segment * (side + 4);  // floats that Results needs
  task.plane =
      std::max(task.patch_images * task.patch_height * task.patch_width, divide_up(staged, chunk)) |
      1;  // odd: the quads of a pixel lie in different banks
  const int in_row = task.paired ? divide_up(w.kernelWidth, 2) : w.kernelWidth;
  task.steps = w.kernelHeight * in_row;
  if (task.steps > WarpgroupTask::most_steps) return {};
  for (int step = 0; step < task.steps; ++step) {
    task.offsets[step] = static_cast<unsigned>(step / in_row * w.dilationY * task.patch_width +
                                               step % in_row * w.dilationX * (task.paired ? 2 : 1));
  }
  task.chunks = divide_up(problem.source.c, chunk);
  task.by_across = Divisor(task.across);
  task.by_down = Divisor(task.down);
  task.by_patch_height = Divisor(task.patch_height);
  task.by_pooled_width = Divisor(task.patch_width / 2 + 1);
  task.by_pooled_height = Divisor(task.patch_height / 2 + 1);
  // Two patches for each warpgroup rather than many stages.
  for (task.patches = 2 * groups; task.patches >= groups; task.patches -= groups) {
    for (task.stages = most_stages; task.stages >= fewest_stages; --task.stages) {
      if (shared_bytes(task) <= most_bytes) return task;
    }
  }
  task.steps = 0;  // it does not fit
  return task;
}

}  // namespace

std::optional<WarpgroupConvolution> WarpgroupConvolution::of(const ConvolutionProblem& problem,
                                                             const Engine& engine) {
  constexpr int hopper = 90;
  const Window& w = problem.window;
  if (engine.architecture() != hopper || w.strideX != 1 || w.strideY != 1) return std::nullopt;
  std::optional<WarpgroupConvolution> best;
  int cost = 0;
  for (const int rows : {7, 8, 14, 16}) {
    if (kernel_for(problem.kind, rows) == nullptr) continue;
    WarpgroupConvolution one;
    one.task_ = task_of(problem, rows);
    one.multiprocessors_ = engine.multiprocessors();
    if (one.task_.steps == 0) continue;
    constexpr int overhead = 2;  // rows that the beginning and the end of an item take
    const int at_once = std::max(1, one.multiprocessors_ / one.tiles());
    const int now = divide_up(one.task_.items, at_once) * (rows + overhead);
    if (best && now >= cost) continue;
    best = one;
    cost = now;
  }
  return best;
}

int WarpgroupConvolution::tiles() const {
  return divide_up(task_.result.channels, task_.paired ? side / 2 : side);
}

long long WarpgroupConvolution::packed_floats() const {
  return static_cast<long long>(tiles()) * task_.chunks * task_.steps * stage_floats;
}

std::size_t WarpgroupConvolution::scratch_bytes() const {
  return static_cast<std::size_t>(packed_floats()) * sizeof(float);
}

void WarpgroupConvolution::operator()(const Args& args, const ConvolutionPointers& pointers) const {
  auto* packed = static_cast<float*>(args.scratch);
  const Window& w = task_.window;
  launch(args, packed_floats(), pack, task_, w.kernelWidth * w.kernelHeight, packed_floats(),
         pointers.weights, packed);
  const int blocks = std::min(task_.items, std::max(1, multiprocessors_ / tiles()));
  launch_with(args, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(tiles())), threads,
              shared_bytes(task_), kernel_for(task_.kind, task_.rows), task_, pointers, packed);
}

}  // namespace cermet::cuda
