// Weight gradient of a convolution with the warpgroup products of sm_90: rows are 32 source
// channels under two adjacent taps, columns are 64 gradient channels, and the sum goes over pixels,
// eight at a time. The gradient lies in shared memory with four pixels of a channel in each 16
// bytes. The source goes through registers: a row of pixels that was read once is multiplied with
// the gradient rows of all vertical taps. A block has its share of the items (`rows` rows of 16
// pixels) for one pair of taps; two warpgroups share the vertical taps, two others load. A second
// kernel adds the shares in order.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cuda/convolution_warpgroup.h"
#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"
#include "cuda/warpgroup.cuh"

namespace cermet::cuda {
namespace {

using Task = WarpgroupWeightTask;
using Pointers = WeightGradientPointers;

constexpr int inputs = Task::inputs, outputs = Task::outputs, columns = Task::columns;
constexpr int group_threads = 128, threads = 4 * group_threads;
constexpr int loaders = 2;  // warpgroups; each loads every other item
constexpr int loader_registers = 112, other_registers = 144;  // 128 each to begin with
constexpr int buffers = 3;
constexpr int source_columns = columns + 1, pitch = inputs + 8;  // rows of lanes: other banks
// The gradient: tiles of eight pixels x 64 channels.
constexpr int tiles = columns / 8;  // of a row
constexpr int eight_fours = 9;      // from eight channels to the next eight, in 16 bytes
constexpr int half_fours = outputs / 8 * eight_fours;  // from four pixels to the next four
constexpr int tile_fours = 2 * half_fours;
constexpr int fours = outputs / 2 / 4;  // sums that a thread has for a vertical tap, in 16 bytes

/// Shared memory of a block.
template <int rows, int taps_down>
struct Layout {
  static constexpr int source_rows = rows + taps_down - 1;
  static constexpr int source_fours = source_rows * source_columns * pitch / 4;
  static constexpr int gradient_fours = rows * tiles * tile_fours;
  static constexpr int buffer_fours = source_fours + gradient_fours;
  static constexpr int bias_fours = loaders * group_threads;
  static constexpr std::size_t barrier_bytes = 64;
  static constexpr std::size_t bytes =
      barrier_bytes +
      sizeof(float4) * static_cast<std::size_t>(bias_fours + buffers * buffer_fours);
  static_assert(bytes <= most_warpgroup_bytes);
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

struct Barriers {
  unsigned first;
  [[nodiscard]] __device__ unsigned full(int buffer) const {
    return first + static_cast<unsigned>(buffer) * 8U;
  }
  [[nodiscard]] __device__ unsigned empty(int buffer) const {
    return first + static_cast<unsigned>(buffers + buffer) * 8U;
  }
  __device__ void set_up_all() const {
    for (int i = 0; i < buffers; ++i) {
      set_up(full(i), group_threads);
      set_up(empty(i), 2 * group_threads / 32);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
};

/// Which of the buffers, and how often it was used before, modulo 2.
struct Turn {
  int buffer = 0;
  unsigned phase = 0;
  __device__ void next() {
    if (++buffer < buffers) return;
    buffer = 0;
    phase ^= 1;
  }
};

__device__ Corner corner_of(const Task& task, int item) {
  const auto [row, x] = divide(item, task.by_across);
  const auto [image, y] = divide(row, task.by_down);
  return {image, y * task.rows, x * columns};
}

/// Loads every other item, by four warps.
template <int rows, int taps_down, bool pooled, bool aligned>
struct Loader {
  using Shape = Layout<rows, taps_down>;
  const Task& task;
  const Pointers& pointers;
  float4* memory;
  Barriers barriers;
  int group, thread, pair, first_c, first_k;
  float4 bias{};

  __device__ void load_all(int begin, int end) {
    Turn turn;
    if (group == 1) turn.next();
    for (int item = begin + group; item < end; item += loaders) {
      float4* const source = memory + turn.buffer * Shape::buffer_fours;
      const Corner corner = corner_of(task, item);
      SourcePart part;
      GradientPart gradient;
      fetch(corner, part);
      fetch(corner, 0, gradient);
      // The loads are under way before the buffer is free.
      if (item - begin >= buffers) wait(barriers.empty(turn.buffer), turn.phase ^ 1);
      store(part, source);
      store(corner, 0, gradient, source + Shape::source_fours);
#pragma unroll
      for (int i = 1; i < gradient_parts; ++i) {
        fetch(corner, i, gradient);
        store(corner, i, gradient, source + Shape::source_fours);
      }
      publish();
      arrive(barriers.full(turn.buffer));
      turn.next();
      turn.next();
    }
  }

  // The source: rows of the patch are shared out to warps; a lane has always the same four
  // channels, of every fourth pixel.
  static constexpr int warps = group_threads / 32, source_quads = inputs / 4;
  static constexpr int step = 32 / source_quads;
  static constexpr int rows_each = (Shape::source_rows + warps - 1) / warps;
  static constexpr int steps = (source_columns + step - 1) / step;
  struct SourcePart {
    float4 values[rows_each][steps];
  };
  __device__ void fetch(const Corner& corner, SourcePart& part) const {
    const int first = thread % 32 / source_quads, c = first_c + thread % source_quads * 4;
    const int top = corner.y - task.window.padTop, left = corner.x - task.window.padLeft + 2 * pair;
    unsigned valid = 0;  // pixels of a row
#pragma unroll
    for (int j = 0; j < steps; ++j) {
      const int x = first + j * step;
      if (x < source_columns && c < task.source.channels && task.source.has(0, left + x))
        valid |= 1U << j;
    }
    const float* from =
        pointers.source + task.source.at(corner.image, top + thread / 32, left + first) + c;
    const long long down = warps * task.source.row, across = step * task.source.column;
#pragma unroll
    for (int r = 0; r < rows_each; ++r) {
      const int row = thread / 32 + r * warps;
      const bool in = row < Shape::source_rows && task.source.has(top + row, 0);
#pragma unroll
      for (int j = 0; j < steps; ++j)
        part.values[r][j] =
            load_four_if<aligned>(in && (valid >> j & 1) != 0, from + r * down + j * across);
    }
  }
  __device__ void store(const SourcePart& part, float4* to) const {
    const int first = thread % 32 / source_quads;
#pragma unroll
    for (int r = 0; r < rows_each; ++r) {
      const int row = thread / 32 + r * warps;
#pragma unroll
      for (int j = 0; j < steps; ++j) {
        const int x = first + j * step;
        if (row < Shape::source_rows && x < source_columns)
          to[(row * source_columns + x) * (pitch / 4) + thread % source_quads] =
              to_tf32(part.values[r][j]);
      }
    }
  }

  // A thread has always the same four channels of the gradient, of four adjacent pixels at a time.
  static constexpr int quads = outputs / 4, spots = group_threads / quads;
  static constexpr int spots_across = columns / 4;

  /// Channel `e` of this thread's four: pixels 4 `spot` to 4 `spot` + 3 of a row.
  __device__ void put(float4* to, int row, int spot, int e, float4 pixels) {
    float& sum = e == 0 ? bias.x : e == 1 ? bias.y : e == 2 ? bias.z : bias.w;
    sum += pixels.x + pixels.y + (pixels.z + pixels.w);
    const int channel = thread % quads * 4 + e;
    to[(row * tiles + spot / 2) * tile_fours + spot % 2 * half_fours + channel / 8 * eight_fours +
       channel % 8] = to_tf32(pixels);
  }

  /// Some of this thread's spots: as many as are fetched at once.
  static constexpr int all_spots = (pooled ? (rows + 1) / 2 : rows) * spots_across;
  static constexpr int together = pooled ? 2 : 1, loads = pooled ? 2 : 4;  // pooled: two windows
  static constexpr int gradient_parts = (all_spots + together * spots - 1) / (together * spots);
  struct GradientPart {
    float4 values[together][loads];
    uchar4 winners[together][pooled ? loads : 1];
  };
  __device__ void fetch(const Corner& corner, int number, GradientPart& part) const {
    const int k = first_k + thread % quads * 4;
    constexpr int scale = pooled ? 2 : 1;
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int at = thread / quads + (number * together + i) * spots;
      const int y = corner.y / scale + at / spots_across,
                x = (corner.x + at % spots_across * 4) / scale;
      const float* from = pointers.gradient + task.gradient.at(corner.image, y, x) + k;
      const unsigned char* winners =
          pointers.winners + task.gradient.pixel(corner.image, y, x) * task.gradient.channels + k;
#pragma unroll
      for (int p = 0; p < loads; ++p) {
        const bool given =
            at < all_spots && k < task.gradient.channels && task.gradient.has(y, x + p);
        part.values[i][p] = load_four_if<aligned>(given, from + p * task.gradient.column);
        if constexpr (pooled)
          part.winners[i][p] = load_bytes_if(given, winners + p * task.gradient.channels);
      }
    }
  }
  __device__ void store(const Corner& corner, int number, const GradientPart& part, float4* to) {
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int at = thread / quads + (number * together + i) * spots;
      if (at >= all_spots) continue;
      const int row = at / spots_across, spot = at % spots_across;
      const float4(&v)[loads] = part.values[i];
      if constexpr (pooled) {  // gradients go to their winners
        const uchar4 &u = part.winners[i][0], &w = part.winners[i][1];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int y = 2 * (corner.y / 2 + row) + half - corner.y;
          if (y < 0 || y >= rows) continue;
          const auto pixels = [&](unsigned char w0, unsigned char w1, float v0,
                                  float v1) -> float4 {
            const int left = 2 * half, right = left + 1;
            return {w0 == left ? v0 : 0.0F, w0 == right ? v0 : 0.0F, w1 == left ? v1 : 0.0F,
                    w1 == right ? v1 : 0.0F};
          };
          put(to, y, spot, 0, pixels(u.x, w.x, v[0].x, v[1].x));
          put(to, y, spot, 1, pixels(u.y, w.y, v[0].y, v[1].y));
          put(to, y, spot, 2, pixels(u.z, w.z, v[0].z, v[1].z));
          put(to, y, spot, 3, pixels(u.w, w.w, v[0].w, v[1].w));
        }
      } else {
        put(to, row, spot, 0, {v[0].x, v[1].x, v[2].x, v[3].x});
        put(to, row, spot, 1, {v[0].y, v[1].y, v[2].y, v[3].y});
        put(to, row, spot, 2, {v[0].z, v[1].z, v[2].z, v[3].z});
        put(to, row, spot, 3, {v[0].w, v[1].w, v[2].w, v[3].w});
      }
    }
  }

  /// Adds up what the threads have seen of the gradient.
  __device__ void store_biases(float4* area, float* to) const {
    area[group * group_threads + thread] = bias;
    asm volatile("bar.sync 1, %0;" ::"n"(loaders * group_threads) : "memory");
    if (group != 0 || thread >= outputs || first_k + thread >= task.gradient.channels) return;
    const auto* sums = reinterpret_cast<const float*>(area);
    float sum = 0;
    for (int i = 0; i < loaders * spots; ++i) sum += sums[i * outputs + thread];
    to[first_k + thread] = sum;
  }
};

/// Products of the vertical taps `first` to `first` + `count` - 1, for `items` items. `to`: the
/// sums of a block, in the order in which threads have them.
template <int rows, int taps_down, int first, int count>
__device__ void multiply(const Barriers& barriers, const float4* memory, int warp, int items,
                         float* to) {
  using Shape = Layout<rows, taps_down>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const int channel = warp % 2 * 16 + g;
  float sums[count][outputs / 2];
  unsigned more = 0;
  Turn turn;
  for (; items > 0; --items, turn.next()) {
    const float4* const buffer = memory + turn.buffer * Shape::buffer_fours;
    const float* const from =
        reinterpret_cast<const float*>(buffer) + (t + warp / 2) * pitch + channel;
    const std::uint64_t gradient =
        matrix_at(low_of(shared_address(buffer + Shape::source_fours), half_fours), eight_fours);
    wait(barriers.full(turn.buffer), turn.phase);
    float a[2][4];
#pragma unroll
    for (int row = first; row < rows + first + count - 1; ++row) {
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        const float* at = from + (row * source_columns + tile * 8) * pitch;
        float(&now)[4] = a[tile % 2];
        now[0] = at[0];
        now[1] = at[8];
        now[2] = at[4 * pitch];
        now[3] = at[4 * pitch + 8];
        begin_products();
#pragma unroll
        for (int tap = 0; tap < count; ++tap) {
          const int y = row - first - tap;
          if (y < 0 || y >= rows) continue;
          ProductOfRegisters::add(sums[tap], now, gradient + (y * tiles + tile) * tile_fours,
                                  y == 0 && tile == 0 ? more : 1U);
        }
        commit_products();
        wait_for_products<1>();
      }
    }
    more = 1;
    wait_for_products<0>();
    arrive(barriers.empty(turn.buffer), lane == 0);
  }
#pragma unroll
  for (int tap = 0; tap < count; ++tap) {
#pragma unroll
    for (int i = 0; i < outputs / 2; ++i)  // no use of the sums moves up from here
      asm volatile("" : "+f"(sums[tap][i])::"memory");
  }
  auto* const own = reinterpret_cast<float4*>(to) + warp * 32 + lane;
#pragma unroll
  for (int tap = 0; tap < count; ++tap) {
#pragma unroll
    for (int i = 0; i < fours; ++i) {
      const float* four = sums[tap] + 4 * i;
      own[((first + tap) * fours + i) * group_threads] = {four[0], four[1], four[2], four[3]};
    }
  }
}

#endif

template <int rows, int taps_down, bool pooled>
__global__ void __launch_bounds__(threads, 1) weigh(Task task, Pointers pointers, float* sums) {
  begin_kernel([] {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    if (threadIdx.x == 0) Barriers{shared_address(shared_memory())}.set_up_all();
    __syncthreads();
#endif
  });
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Shape = Layout<rows, taps_down>;
  std::byte* const bytes = shared_memory();
  const Barriers barriers{shared_address(bytes)};
  auto* const area = reinterpret_cast<float4*>(bytes + Shape::barrier_bytes);
  float4* const memory = area + Shape::bias_fours;
  const int thread = static_cast<int>(threadIdx.x);
  // The compiler must see that a warp takes one path, else it makes every product wait.
  const int warp = __shfl_sync(0xFFFFFFFFU, thread / 32, 0);

  const int share = static_cast<int>(blockIdx.x);
  const int pair = static_cast<int>(blockIdx.y) % task.pairs,
            first_c = static_cast<int>(blockIdx.y) / task.pairs * inputs,
            first_k = static_cast<int>(blockIdx.z) * outputs;
  const int begin = static_cast<int>(static_cast<long long>(task.items) * share / task.shares);
  const int end = static_cast<int>(static_cast<long long>(task.items) * (share + 1) / task.shares);
  float* const of_share = sums + share * task.sums();
  float* const to =
      of_share + static_cast<long long>(blockIdx.z * gridDim.y + blockIdx.y) * task.of_block();
  constexpr int warps = group_threads / 32, split = (taps_down + 1) / 2;
  if (warp < loaders * warps) {
    limit_registers<loader_registers, false>();
    const auto load = [&](auto is_aligned) {
      Loader<rows, taps_down, pooled, decltype(is_aligned)::value> loader{
          task, pointers, memory, barriers, warp / warps, thread % group_threads,
          pair, first_c,  first_k};
      loader.load_all(begin, end);
      if (task.biased && blockIdx.y == 0) loader.store_biases(area, of_share + task.weights());
    };
    if (is_aligned(pointers.source) && is_aligned(pointers.gradient)) {
      load(std::true_type{});
    } else {
      load(std::false_type{});
    }
  } else if (warp < (loaders + 1) * warps) {
    limit_registers<other_registers, true>();
    multiply<rows, taps_down, 0, split>(barriers, memory, warp - loaders * warps, end - begin, to);
  } else {
    limit_registers<other_registers, true>();
    multiply<rows, taps_down, split, taps_down - split>(
        barriers, memory, warp - (loaders + 1) * warps, end - begin, to);
  }
#endif
}

/// Adds the shares in order. Four threads of a warp share the work for four adjacent sums, and each
/// writes one of them where it belongs.
__global__ void add_parts(Task task, const float4* sums, bool accumulate, float* weights,
                          float* biases) {
  begin_kernel();
  constexpr int parts = 4, lanes = 32 / parts;
  const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int part = thread % 32 / lanes, number = thread / 32 * lanes + thread % lanes;
  const auto count = static_cast<int>(task.sums() / 4);
  float4 sum{};
  if (number < count) {
    const int end = task.shares * (part + 1) / parts;
#pragma unroll 8
    for (int share = task.shares * part / parts; share < end; ++share) {
      sum = each([](float a, float b) { return a + b; }, sum,
                 sums[static_cast<long long>(share) * count + number]);
    }
  }
  float all[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
  for (int step = lanes; step < 32; step *= 2) {
#pragma unroll
    for (float& one : all) one += __shfl_xor_sync(0xFFFFFFFFU, one, step);
  }
  if (number >= count) return;
  const float own = part == 0 ? all[0] : part == 1 ? all[1] : part == 2 ? all[2] : all[3];
  const auto of_block = static_cast<int>(task.of_block() / 4),
             of_weights = static_cast<int>(task.weights() / 4);
  float* to = nullptr;
  if (number < of_weights) {  // where `multiply` has it
    const int block = number / of_block, at = number % of_block;
    const int lane = at % 32, warp = at / 32 % 4, i = at / group_threads % fours,
              q = at / group_threads / fours;
    const int y = block % task.blocks_of_taps(), p = 2 * (y % task.pairs) + warp / 2;
    const int c = y / task.pairs * inputs + warp % 2 * 16 + lane / 4 + part / 2 * 8;
    const int k = block / task.blocks_of_taps() * outputs + i * 8 + lane % 4 * 2 + part % 2;
    if (p >= task.window.kernelWidth || c >= task.source.channels || k >= task.gradient.channels)
      return;
    const long long tap =
        static_cast<long long>(k * task.window.kernelHeight + q) * task.window.kernelWidth + p;
    to = weights + tap * task.source.channels + c;
  } else {
    to = biases + (number - of_weights) * 4 + part;
  }
  *to = accumulate ? *to + own : own;
}

struct Kernel {
  void (*run)(Task, Pointers, float*) = nullptr;
  std::size_t bytes = 0;
};
template <int rows, int taps_down>
Kernel kernel_of(bool pooled) {
  return {pooled ? &weigh<rows, taps_down, true> : &weigh<rows, taps_down, false>,
          Layout<rows, taps_down>::bytes};
}
Kernel kernel_for(int rows, int taps_down, bool pooled) {
  const bool eight = rows == 8;
  if (taps_down == 3) return eight ? kernel_of<8, 3>(pooled) : kernel_of<7, 3>(pooled);
  if (taps_down == 5) return eight ? kernel_of<8, 5>(pooled) : kernel_of<7, 5>(pooled);
  return {};
}

}  // namespace

std::optional<WarpgroupWeightGradient> WarpgroupWeightGradient::of(
    const WeightGradientProblem& problem, const Engine& engine) {
  const Window& w = problem.window;
  const int narrow = columns / 2;  // half of the products would be with nothing
  if (engine.architecture() != warpgroup_architecture || w.strideX != 1 || w.strideY != 1 ||
      w.dilationX != 1 || w.dilationY != 1 || problem.width <= narrow ||
      kernel_for(8, w.kernelHeight, false).run == nullptr)
    return std::nullopt;
  WarpgroupWeightGradient made;
  Task& task = made.task_;
  task.window = w;
  task.source = Grid(problem.source);
  task.gradient = Grid(problem.gradient);
  task.biased = problem.biased;
  task.rows = divide_up(problem.height, 7) * 7 < divide_up(problem.height, 8) * 8 ? 7 : 8;
  const int down = divide_up(problem.height, task.rows), across = divide_up(problem.width, columns);
  task.items = problem.gradient.n * down * across;
  task.by_down = Divisor(down);
  task.by_across = Divisor(across);
  task.pairs = divide_up(w.kernelWidth, 2);
  const int blocks = task.blocks_of_taps() * task.blocks_of_outputs();
  task.shares = std::clamp(engine.multiprocessors() / blocks, 1, task.items);
  made.pooled_ = problem.pooled;
  return made;
}

std::size_t WarpgroupWeightGradient::scratch_bytes() const {
  return static_cast<std::size_t>(task_.shares * task_.sums()) * sizeof(float);
}

void WarpgroupWeightGradient::operator()(const Args& args, const WeightGradientPointers& pointers,
                                         bool accumulate) const {
  auto* sums = static_cast<float*>(args.scratch);
  const Kernel kernel = kernel_for(task_.rows, task_.window.kernelHeight, pooled_);
  const dim3 grid(static_cast<unsigned>(task_.shares),
                  static_cast<unsigned>(task_.blocks_of_taps()),
                  static_cast<unsigned>(task_.blocks_of_outputs()));
  launch_with(args, grid, threads, kernel.bytes, kernel.run, task_, pointers, sums);
  launch_blocks(args, divide_up(static_cast<int>(task_.sums()), block_threads), add_parts, task_,
                reinterpret_cast<const float4*>(sums), accumulate, pointers.weights,
                pointers.biases);
}

}  // namespace cermet::cuda
