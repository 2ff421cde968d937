// Convolution and its data gradient on tensor cores. A block computes a box of 128 result pixels
// for 64 or 32 channels: the source patch that its windows read lies in shared memory, 32 channels
// at a time, and every tap multiplies it, shifted, with that tap's weights. A small kernel rounds
// the weights beforehand and puts them in the order of their use. The data gradient is the
// convolution of the gradient with the weights turned around.

#include "cuda/convolution_tensor.h"
#include "cuda/convolution_warpgroup.h"
#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"
#include "cuda/tensor_core.cuh"

namespace cermet::cuda {
namespace {

constexpr int chunk = 32;         // channels of the source in shared memory
constexpr int pitch = chunk + 4;  // floats of a pixel there: rows of a tile lie in other banks
constexpr int together = 2;       // taps of a turn: their weights are fetched one turn ahead

/// One convolution as the kernels see it.
struct Task {
  Boxes boxes;
  Window window{};
  Grid source, result;  // of a pooled source or result: the pooled one
  int taps = 1, chunks = 1, turns = 1;
  bool turned = false;  // weights: source channels come first, taps in the opposite order
  int pooled_height = 0, pooled_width = 0;  // most pooled pixels under a patch
  Divisor by_kernel_width, by_pooled_height, by_pooled_width;
  float slope = 1;  // of ReLU; 1: none

  [[nodiscard]] __host__ __device__ int patch_floats() const {
    return boxes.patch_pixels() * pitch;
  }
  [[nodiscard]] __host__ __device__ int staged_pixels() const {
    return boxes.box_images * pooled_height * pooled_width;
  }
};

using Pointers = ConvolutionPointers;
using Kinds = ConvolutionProblem::Kind;

/// Shapes of a block's work: warps_m x warps_n warps, each with m x n tiles of 16 x 8 sums.
template <int warps_m_, int warps_n_, int m_, int n_>
struct Tiling {
  static constexpr int warps_m = warps_m_, warps_n = warps_n_, m = m_, n = n_;
  static constexpr int threads = warps_m * warps_n * 32;
  static constexpr int channels = warps_n * n * 8;      // of the result
  static constexpr int tile_floats = channels * chunk;  // weights of a tap
  static constexpr int turn_floats = together * tile_floats;
  static_assert(warps_m * m * 16 == Boxes::slots);
};
using Wide = Tiling<2, 2, 4, 4>;
using Narrow = Tiling<4, 1, 2, 4>;

/// What differs between the passes.
struct Plain {
  static constexpr Kinds kind = Kinds::plain;
  static constexpr bool pooled_source = false;  // given by pooled gradients and their winners
  static constexpr bool pooled_result = false;  // ReLU and 2x2 pooling of the result
};
struct PooledResult : Plain {
  static constexpr Kinds kind = Kinds::pooled_result;
  static constexpr bool pooled_result = true;
};
struct PooledSource : Plain {
  static constexpr Kinds kind = Kinds::pooled_source;
  static constexpr bool pooled_source = true;
};

// ---- weights

/// Place of float `column` of `row` in a tile: rows of 32 floats whose fours are exchanged, so that
/// equal columns of eight rows lie in different banks.
__device__ inline int exchanged(int row, int column) {
  return row * chunk + ((column / 4 ^ row % 8) * 4 | column % 4);
}

/// Tiles of `channels` x 32 weights by block of channels, chunk and tap, rounded, 0 where there are
/// none. A whole number of turns for each chunk.
__global__ void pack(Task task, int channels, long long count, const float* weights,
                     float* packed) {
  begin_kernel();
  const int taps = task.turns * together;
  for (const long long i : grid_stride(count)) {
    const int in = static_cast<int>(i % (channels * chunk));
    const long long tile = i / (channels * chunk);
    const int tap = static_cast<int>(tile % taps);
    const int number = static_cast<int>(tile / taps % task.chunks);
    const int block = static_cast<int>(tile / taps / task.chunks);
    // Neighbours read neighbours.
    const int row = task.turned ? in % channels : in / chunk;
    const int column = task.turned ? in / channels : in % chunk;
    const int k = block * channels + row, c = number * chunk + column;
    float value = 0;
    if (tap < task.taps && k < task.result.channels && c < task.source.channels) {
      const long long at =
          task.turned ? (static_cast<long long>(c) * task.taps + task.taps - 1 - tap) *
                                task.result.channels +
                            k
                      : (static_cast<long long>(k) * task.taps + tap) * task.source.channels + c;
      value = to_tf32(weights[at]);
    }
    packed[tile * (channels * chunk) + exchanged(row, column)] = value;
  }
}

// ---- products

template <class T, class Kind>
struct Block {
  const Task& task;
  const Pointers& pointers;
  Corner corner;
  int first_channel;
  float* ring;     // weights of two turns
  float* patches;  // two, or one of a pooled source
  float* staged;   // pooled gradients, twice
  unsigned char* staged_winners;

  __device__ Block(const Task& of, const Pointers& with, float* memory)
      : task(of),
        pointers(with),
        corner(corner_of(of.boxes, static_cast<int>(blockIdx.x))),
        first_channel(static_cast<int>(blockIdx.y) * T::channels),
        ring(memory),
        patches(ring + 2 * T::turn_floats),
        staged(patches + task.patch_floats()),
        staged_winners(
            reinterpret_cast<unsigned char*>(staged + 2 * task.staged_pixels() * chunk)) {}

  static std::size_t bytes(const Task& task) {
    const auto patch = static_cast<std::size_t>(task.patch_floats()) * sizeof(float);
    const std::size_t source =
        Kind::pooled_source ? patch + static_cast<std::size_t>(2 * task.staged_pixels() * chunk) *
                                          (sizeof(float) + 1)
                            : (task.chunks > 1 ? 2 : 1) * patch;
    return source + 2 * T::turn_floats * sizeof(float);
  }

  [[nodiscard]] __device__ float* patch(int number) const {
    return Kind::pooled_source ? patches : patches + number % 2 * task.patch_floats();
  }
  /// Source position of the patch's first pixel.
  [[nodiscard]] __device__ int top() const {
    return corner.y * task.window.strideY - task.window.padTop;
  }
  [[nodiscard]] __device__ int left() const {
    return corner.x * task.window.strideX - task.window.padLeft;
  }

  /// Begins to copy what chunk `number` of the source needs.
  __device__ void fetch_source(int number) const {
    if (is_aligned(pointers.source)) {
      fetch_source<true>(number);
    } else {
      fetch_source<false>(number);
    }
  }
  template <bool aligned>
  __device__ void fetch_source(int number) const {
    const Boxes& boxes = task.boxes;
    const int quad = static_cast<int>(threadIdx.x) % quads * 4, c = number * chunk + quad;
    const bool in = c < task.source.channels;
    if constexpr (Kind::pooled_source) {
      const int pixels = task.staged_pixels();
      float* to = staged + number % 2 * pixels * chunk;
      unsigned char* winners = staged_winners + number % 2 * pixels * chunk;
      const int y0 = floor_half(top()), x0 = floor_half(left());
      for (int i = first_pixel(); i < pixels; i += pixel_step) {
        const auto [row, x] = divide(i, task.by_pooled_width);
        const auto [image, y] = divide(row, task.by_pooled_height);
        const int n = corner.image + image;
        const bool valid = in && n < boxes.count && task.source.has(y0 + y, x0 + x);
        const long long at = valid ? task.source.at(n, y0 + y, x0 + x) + c : 0;
        copy_four<aligned>(to + i * chunk + quad, pointers.source + at, valid);
        const long long winner =
            valid ? task.source.pixel(n, y0 + y, x0 + x) * task.source.channels + c : 0;
        copy_bytes(winners + i * chunk + quad, pointers.source_winners + winner, valid);
      }
    } else {
      float* to = patch(number) + quad;
      const float* from = pointers.source + task.source.at(corner.image, top(), left()) + c;
      for (int i = first_pixel(); i < boxes.patch_count(); i += pixel_step) {
        const Slot at = patch_slot_of(boxes, i);
        const bool valid = in && corner.image + at.image < boxes.count &&
                           task.source.has(top() + at.y, left() + at.x);
        copy_four<aligned>(to + patch_pixel(boxes, at) * pitch,
                           valid ? from + task.source.at(at.image, at.y, at.x) : pointers.source,
                           valid);
      }
    }
  }
  /// Threads share pixels out so that each has always the same four channels.
  static constexpr int quads = chunk / 4, pixel_step = T::threads / quads;
  static __device__ int first_pixel() { return static_cast<int>(threadIdx.x) / quads; }

  /// Rounds the patch; spreads a pooled source over it.
  __device__ void refine(int number) const {
    const Boxes& boxes = task.boxes;
    const int quad = static_cast<int>(threadIdx.x) % quads * 4;
    if constexpr (Kind::pooled_source) {
      const int pixels = task.staged_pixels();
      const float* from = staged + number % 2 * pixels * chunk + quad;
      const unsigned char* winners = staged_winners + number % 2 * pixels * chunk + quad;
      const int y0 = 2 * floor_half(top()) - top(), x0 = 2 * floor_half(left()) - left();
      for (int i = first_pixel(); i < pixels; i += pixel_step) {
        const auto [row, px] = divide(i, task.by_pooled_width);
        const auto [image, py] = divide(row, task.by_pooled_height);
        const float4 value = to_tf32(*reinterpret_cast<const float4*>(from + i * chunk));
        const uchar4 winner = *reinterpret_cast<const uchar4*>(winners + i * chunk);
#pragma unroll
        for (int tap = 0; tap < 4; ++tap) {
          const int y = y0 + 2 * py + tap / 2, x = x0 + 2 * px + tap % 2;
          if (y < 0 || y >= boxes.patch_height || x < 0 || x >= boxes.patch_width) continue;
          *reinterpret_cast<float4*>(patches + patch_pixel(boxes, {image, y, x}) * pitch + quad) = {
              winner.x == tap ? value.x : 0.0F, winner.y == tap ? value.y : 0.0F,
              winner.z == tap ? value.z : 0.0F, winner.w == tap ? value.w : 0.0F};
        }
      }
    } else {
      // The padding between rows may be rounded, too.
      auto* all = reinterpret_cast<float4*>(patch(number) + quad);
      for (int i = first_pixel(); i < boxes.patch_pixels(); i += pixel_step)
        all[i * pitch / 4] = to_tf32(all[i * pitch / 4]);
    }
  }
};

/// Where a result goes, of this thread's part of a row of sums; null: nowhere.
struct Target {
  float* value = nullptr;
  unsigned char* winner = nullptr;
};
template <class T, class Kind>
__device__ Target target_of(const Block<T, Kind>& block, int number) {
  const Task& task = block.task;
  const Boxes& boxes = task.boxes;
  const Slot slot = Kind::pooled_result ? window_slot_of(boxes, number) : slot_of(boxes, number);
  const int image = block.corner.image + slot.image;
  int y = block.corner.y + slot.y, x = block.corner.x + slot.x;
  if constexpr (Kind::pooled_result) {
    y /= 2;
    x /= 2;
  }
  if (number >= boxes.used() || image >= boxes.count || !task.result.has(y, x)) return {};
  Target target{block.pointers.result + task.result.at(image, y, x), nullptr};
  if (Kind::pooled_result && block.pointers.winners != nullptr) {
    target.winner = block.pointers.winners + task.result.pixel(image, y, x) * task.result.channels;
  }
  return target;
}

template <class T, class Kind>
__global__ void __launch_bounds__(T::threads) multiply(Task task, Pointers pointers) {
  begin_kernel();
  extern __shared__ __align__(128) float memory[];
  const Block<T, Kind> block(task, pointers, memory);
  const Boxes& boxes = task.boxes;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int warp_m = warp / T::warps_n, warp_n = warp % T::warps_n;
  const int g = lane / 4, t = lane % 4;
  constexpr unsigned float_bytes = sizeof(float);

  // Where this lane's row of each tile lies in a patch.
  unsigned rows[T::m];  // in bytes
#pragma unroll
  for (int m = 0; m < T::m; ++m) {
    const int number = (warp_m * T::m + m) * 16 + lane % 16;
    rows[m] = static_cast<unsigned>(lane / 16 * 4) * float_bytes;
    if (number < boxes.used()) {
      const Slot slot =
          Kind::pooled_result ? window_slot_of(boxes, number) : slot_of(boxes, number);
      const int pixel = patch_pixel(
          boxes, {slot.image, slot.y * task.window.strideY, slot.x * task.window.strideX});
      rows[m] += static_cast<unsigned>(pixel * pitch) * float_bytes;
    }
  }
  // And its row of the first two tiles of weights: eight columns further on are an exclusive or.
  const int column_row = warp_n * T::n * 8 + lane % 8 + lane / 16 * 8;
  const unsigned columns =
      static_cast<unsigned>(exchanged(column_row, lane / 8 % 2 * 4)) * float_bytes;

  const float* next =
      pointers.weights +
      static_cast<long long>(blockIdx.y) * task.chunks * task.turns * T::turn_floats + thread * 4;
  const auto fetch_weights = [&](int buffer) {
    constexpr int step = T::threads * 4;
    float* to = block.ring + buffer * T::turn_floats + thread * 4;
#pragma unroll
    for (int i = 0; i < T::turn_floats; i += step) copy_four<true>(to + i, next + i, true);
    next += T::turn_floats;
  };

  float sums[T::m][T::n][4] = {};
  int buffer = 0, left = task.chunks * task.turns;
  block.fetch_source(0);
  fetch_weights(0);
  commit_copies();
  for (int number = 0; number < task.chunks; ++number) {
    const unsigned patch = shared_address(block.patch(number));
    for (int turn = 0; turn < task.turns; ++turn, buffer = 1 - buffer) {
      wait_for_copies<0>();
      __syncthreads();
      if (turn == 0) {
        block.refine(number);
        __syncthreads();
        if (number + 1 < task.chunks) block.fetch_source(number + 1);
      }
      if (--left > 0) fetch_weights(1 - buffer);
      commit_copies();
      unsigned weights = shared_address(block.ring + buffer * T::turn_floats) + columns;
#pragma unroll 1
      for (int tap = turn * together; tap < min(turn * together + together, task.taps); ++tap) {
        const auto [q, p] = divide(tap, task.by_kernel_width);
        const int pixel = q * task.window.dilationY * boxes.patch_pitch + p * task.window.dilationX;
        const unsigned from = patch + static_cast<unsigned>(pixel * pitch) * float_bytes;
#pragma unroll
        for (unsigned k = 0; k < chunk; k += 8) {
          float a[T::m][4], b[T::n][2];
#pragma unroll
          for (int m = 0; m < T::m; ++m) load_tiles(a[m], from + rows[m] + k * float_bytes);
#pragma unroll
          for (int n = 0; n < T::n; n += 2) {
            float two[4];
            load_tiles(two, (weights ^ k * float_bytes) +
                                static_cast<unsigned>(n * 8 * chunk) * float_bytes);
            b[n][0] = two[0];
            b[n][1] = two[1];
            b[n + 1][0] = two[2];
            b[n + 1][1] = two[3];
          }
#pragma unroll
          for (int n = 0; n < T::n; ++n) {
#pragma unroll
            for (int m = 0; m < T::m; ++m) multiply_tile(sums[m][n], a[m], b[n]);
          }
        }
        weights += T::tile_floats * float_bytes;
      }
    }
  }

  float2 biases[T::n] = {};
  const int first = block.first_channel + warp_n * T::n * 8 + 2 * t;  // of this lane's columns
#pragma unroll
  for (int n = 0; n < T::n; ++n) {
    if (pointers.biases != nullptr && first + n * 8 < task.result.channels)
      biases[n] = {pointers.biases[first + n * 8], pointers.biases[first + n * 8 + 1]};
  }
#pragma unroll
  for (int m = 0; m < T::m; ++m) {
    const int row = (warp_m * T::m + m) * 16;
    if constexpr (Kind::pooled_result) {
      // Four lanes have the taps of a window, each of four sums: every lane gets those of one.
      const bool odd = g % 2 != 0, high = g / 2 % 2 != 0;
      const Target target = target_of(block, row + (high ? 8 : 0) + g / 4 * 4);
#pragma unroll
      for (int n = 0; n < T::n; ++n) {
        const float(&s)[4] = sums[m][n];
        const float x = __shfl_xor_sync(0xFFFFFFFFU, odd ? s[0] : s[1], 4);
        const float y = __shfl_xor_sync(0xFFFFFFFFU, odd ? s[2] : s[3], 4);
        // Now the even tap and the odd one of sum `odd`, and of sum 2 + `odd`.
        const float low0 = odd ? x : s[0], low1 = odd ? s[1] : x;
        const float high0 = odd ? y : s[2], high1 = odd ? s[3] : y;
        const float u = __shfl_xor_sync(0xFFFFFFFFU, high ? low0 : high0, 8);
        const float v = __shfl_xor_sync(0xFFFFFFFFU, high ? low1 : high1, 8);
        const float bias = odd ? biases[n].y : biases[n].x;
        unsigned char winner = 0;
        const float value =
            pool_window((high ? u : low0) + bias, (high ? v : low1) + bias,
                        (high ? high0 : u) + bias, (high ? high1 : v) + bias, winner);
        const int channel = first + n * 8 + (odd ? 1 : 0);
        if (target.value == nullptr || channel >= task.result.channels) continue;
        target.value[channel] = value;
        if (target.winner != nullptr) target.winner[channel] = winner;
      }
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Target target = target_of(block, row + half * 8 + g);
        if (target.value == nullptr) continue;
#pragma unroll
        for (int n = 0; n < T::n; ++n) {
          const int channel = first + n * 8;
          if (channel >= task.result.channels) continue;
          const float x = sums[m][n][2 * half] + biases[n].x,
                      y = sums[m][n][2 * half + 1] + biases[n].y;
          target.value[channel] = x >= 0.0F ? x : task.slope * x;
          target.value[channel + 1] = y >= 0.0F ? y : task.slope * y;
        }
      }
    }
  }
}

// ---- steps

template <class T, class Kind>
struct Launch {
  Task task;

  [[nodiscard]] bool fits() const { return Block<T, Kind>::bytes(task) <= most_shared_bytes; }
  [[nodiscard]] int blocks() const {
    return (task.result.channels + T::channels - 1) / T::channels;
  }
  /// Packed weights.
  [[nodiscard]] long long floats() const {
    return static_cast<long long>(blocks()) * task.chunks * task.turns * T::turn_floats;
  }
  [[nodiscard]] std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(floats()) * sizeof(float);
  }
  void operator()(const Args& args, Pointers pointers) const {
    auto* packed = static_cast<float*>(args.scratch);
    launch(args, floats(), pack, task, T::channels, floats(), pointers.weights, packed);
    pointers.weights = packed;
    const dim3 grid(static_cast<unsigned>(task.boxes.total), static_cast<unsigned>(blocks()));
    launch_with(args, grid, T::threads, Block<T, Kind>::bytes(task), multiply<T, Kind>, task,
                pointers);
  }
};

/// Whether the geometry is one that the kernel serves.
bool is_served(const Convolution& op, const TensorDesc& weights) {
  return op.reducedPrecision != 0 && op.groups == 1 && op.window.clampEdges == 0 &&
         comes_in_fours(weights);
}

template <class Kind>
Task task_of(const ConvolutionProblem& problem) {
  const Window& window = problem.window;
  Task task;
  task.window = window;
  task.source = Grid(problem.source);
  task.result = Grid(problem.result);
  task.taps = problem.taps();
  task.turns = (task.taps + together - 1) / together;
  task.chunks = (problem.source.c + chunk - 1) / chunk;
  task.turned = problem.turned;
  task.slope = problem.slope;
  task.by_kernel_width = Divisor(window.kernelWidth);
  task.boxes =
      Boxes::of(problem.result.n, problem.height(), problem.width(), Kind::pooled_result, window);
  if (Kind::pooled_source) {
    task.pooled_height = task.boxes.patch_height / 2 + 1;
    task.pooled_width = task.boxes.patch_width / 2 + 1;
    task.by_pooled_height = Divisor(task.pooled_height);
    task.by_pooled_width = Divisor(task.pooled_width);
  }
  return task;
}

/// The window of the convolution that a data gradient is.
Window turned(Window w) {
  w.padTop = w.dilationY * (w.kernelHeight - 1) - w.padTop;
  w.padLeft = w.dilationX * (w.kernelWidth - 1) - w.padLeft;
  return w;
}

/// The data gradient of `w` as a convolution.
ConvolutionProblem gradient_problem(const Window& w, const TensorDesc& gradient,
                                    const TensorDesc& to) {
  ConvolutionProblem problem;
  problem.window = turned(w);
  problem.source = gradient;
  problem.result = to;
  problem.turned = true;
  return problem;
}

/// The step that `make` makes of what launches the kernels; null if none fits.
template <class Kind, class Make>
StepPtr with_kernels(ConvolutionProblem problem, const Engine& engine, Make make) {
  problem.kind = Kind::kind;
  if (const auto warpgroups = WarpgroupConvolution::of(problem, engine)) return make(*warpgroups);
  const Task task = task_of<Kind>(problem);
  if (task.result.channels > Narrow::channels) {
    const Launch<Wide, Kind> launch{task};
    return launch.fits() ? make(launch) : nullptr;
  }
  const Launch<Narrow, Kind> launch{task};
  return launch.fits() ? make(launch) : nullptr;
}

}  // namespace

StepPtr tensor_convolution(const Convolution& op, Descs slots, Engine& engine) {
  using Op = Convolution;
  const TensorDesc source = slots[Op::source], to = slots[Op::destination];
  if (!is_served(op, slots[Op::weights]) || !comes_in_fours(source) || !comes_in_fours(to) ||
      (op.activation.type != CNNNeuronType::None && op.activation.type != CNNNeuronType::ReLU))
    return nullptr;
  if (slots[Op::biases].present() && slots[Op::biases].type != ElementType::float32) return nullptr;
  ConvolutionProblem problem;
  problem.window = op.window;
  problem.source = source;
  problem.result = to;
  if (op.activation.type == CNNNeuronType::ReLU) problem.slope = op.activation.a;
  const bool biased = slots[Op::biases].present();
  return with_kernels<Plain>(problem, engine, [&](const auto& launch) {
    return make_step(
        slots, "cuda TF32 convolution",
        [launch, biased](const Args& args) {
          launch(args, {args.at(Op::source), nullptr, args.at(Op::weights),
                        biased ? args.at(Op::biases) : nullptr, args.at(Op::destination), nullptr});
        },
        launch.scratch_bytes());
  });
}

StepPtr tensor_convolution(const PooledConvolution& op, Descs slots, Engine& engine) {
  using Op = PooledConvolution;
  const Convolution& convolution = op.convolution;
  const TensorDesc source = slots[Op::source], to = slots[Op::destination];
  if (!is_served(convolution, slots[Op::weights]) || !comes_in_fours(source) ||
      !comes_in_fours(to) || !is_relu(op.activation) || !is_tiled(op.pooling.window))
    return nullptr;
  if (slots[Op::biases].present() && slots[Op::biases].type != ElementType::float32) return nullptr;
  ConvolutionProblem problem;
  problem.window = convolution.window;
  problem.source = source;
  problem.result = to;
  const bool biased = slots[Op::biases].present(), wins = slots[Op::winners].present();
  return with_kernels<PooledResult>(problem, engine, [&](const auto& launch) {
    return make_step(
        slots, "cuda TF32 convolution, ReLU and 2x2",
        [launch, biased, wins](const Args& args) {
          launch(args, {args.at(Op::source), nullptr, args.at(Op::weights),
                        biased ? args.at(Op::biases) : nullptr, args.at(Op::destination),
                        wins ? args.at<unsigned char>(Op::winners) : nullptr});
        },
        launch.scratch_bytes());
  });
}

StepPtr tensor_gradient_data(const ConvolutionGradientData& op, Descs slots, Engine& engine) {
  using Op = ConvolutionGradientData;
  const TensorDesc gradient = slots[Op::gradient], to = slots[Op::destination];
  const Window& w = op.forward.window;
  if (!is_served(op.forward, slots[Op::weights]) || !comes_in_fours(gradient) ||
      !comes_in_fours(to) || w.strideX != 1 || w.strideY != 1)
    return nullptr;
  return with_kernels<Plain>(gradient_problem(w, gradient, to), engine, [&](const auto& launch) {
    return make_step(
        slots, "cuda TF32 data gradient",
        [launch](const Args& args) {
          launch(args, {args.at(Op::gradient), nullptr, args.at(Op::weights), nullptr,
                        args.at(Op::destination), nullptr});
        },
        launch.scratch_bytes());
  });
}

StepPtr tensor_gradient_data(const PooledConvolutionGradientData& op, Descs slots, Engine& engine) {
  using Op = PooledConvolutionGradientData;
  const TensorDesc gradient = slots[Op::gradient], to = slots[Op::destination];
  const Window& w = op.forward.window;
  if (!is_served(op.forward, slots[Op::weights]) || !comes_in_fours(gradient) ||
      !comes_in_fours(to) || !slots[Op::winners].dense() || w.strideX != 1 || w.strideY != 1)
    return nullptr;
  const auto problem = gradient_problem(w, gradient, to);
  return with_kernels<PooledSource>(problem, engine, [&](const auto& launch) {
    return make_step(
        slots, "cuda TF32 data gradient behind ReLU and 2x2",
        [launch](const Args& args) {
          launch(args, {args.at(Op::gradient), args.at<unsigned char>(Op::winners),
                        args.at(Op::weights), nullptr, args.at(Op::destination), nullptr});
        },
        launch.scratch_bytes());
  });
}

}  // namespace cermet::cuda
