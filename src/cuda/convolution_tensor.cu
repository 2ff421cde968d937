// Convolution and its data gradient on tensor cores. A block computes a box of 128 result pixels
// for 64 or 32 channels: the source patch that its windows read lies in shared memory, 32 channels
// at a time, and every tap multiplies it, shifted, with that tap's weights. The data gradient is
// the convolution of the gradient with the weights turned around.

#include "cuda/convolution_tensor.h"
#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"
#include "cuda/tensor_core.cuh"

namespace cermet::cuda {
namespace {

constexpr int chunk = 32;         // channels of the source in shared memory
constexpr int pitch = chunk + 4;  // floats of a pixel there: rows of a tile lie in other banks
constexpr int stages = 4;         // taps whose weights are on their way

/// One convolution as the kernel sees it.
struct Task {
  Boxes boxes;
  Window window{};
  Grid source, result;                      // of a pooled source or result: the pooled one
  int taps = 1, chunks = 1, turns = 1;      // turns of the teams with the taps
  int weight_channels = 0;                  // the last extent of the weights
  int pooled_height = 0, pooled_width = 0;  // most pooled pixels under a patch
  Divisor by_kernel_width, by_pooled_height, by_pooled_width;
  float slope = 1;  // of ReLU; 1: none

  __host__ __device__ int patch_floats() const { return boxes.patch_pixels() * pitch; }
  __host__ __device__ int staged_pixels() const {
    return boxes.box_images * pooled_height * pooled_width;
  }
};

struct Pointers {
  const float* source;
  const unsigned char* source_winners;  // of a pooled source
  const float* weights;
  const float* biases;  // may be null
  float* result;
  unsigned char* winners;  // of a pooled result; may be null
};

/// Shapes of a block's work: warps_m x warps_n warps, each with m x n tiles of 16 x 8 sums; and as
/// many again for each of `teams`, which take turns with the taps: for few blocks.
template <int warps_m_, int warps_n_, int m_, int n_, int teams_>
struct Tiling {
  static constexpr int warps_m = warps_m_, warps_n = warps_n_, m = m_, n = n_, teams = teams_;
  static constexpr int team_threads = warps_m * warps_n * 32, threads = teams * team_threads;
  static constexpr int channels = warps_n * n * 8;  // of the result
  static_assert(warps_m * m * 16 == Boxes::slots);
};
template <int teams>
using Wide = Tiling<2, 2, 4, 4, teams>;
template <int teams>
using Narrow = Tiling<4, 1, 2, 4, teams>;

/// What differs between the passes.
struct Forward {
  static constexpr bool data = false;           // weights are turned around
  static constexpr bool pooled_source = false;  // given by pooled gradients and their winners
  static constexpr bool pooled_result = false;  // ReLU and 2x2 pooling of the result
};
struct ForwardPooled : Forward {
  static constexpr bool pooled_result = true;
};
struct Data : Forward {
  static constexpr bool data = true;
};
struct DataPooled : Data {
  static constexpr bool pooled_source = true;
};

template <class T, class Kind>
struct Block {
  static constexpr int stage_floats = Kind::data ? chunk * (T::channels + 8) : T::channels * pitch;

  static constexpr int sum_floats = Boxes::slots * T::channels;  // of a team

  const Task& task;
  const Pointers& pointers;
  Corner corner;
  int first_channel;
  float* patches;  // two, or one of a pooled source
  float* staged;   // pooled gradients, twice
  unsigned char* staged_winners;
  float* ring;

  __device__ Block(const Task& of, const Pointers& with, float* memory)
      : task(of),
        pointers(with),
        corner(corner_of(of.boxes, static_cast<int>(blockIdx.x))),
        first_channel(static_cast<int>(blockIdx.y) * T::channels),
        patches(memory),
        staged(memory + task.patch_floats()),
        staged_winners(reinterpret_cast<unsigned char*>(staged + 2 * task.staged_pixels() * chunk)),
        ring(Kind::pooled_source
                 ? reinterpret_cast<float*>(staged_winners + 2 * task.staged_pixels() * chunk)
                 : memory + (task.chunks > 1 ? 2 : 1) * task.patch_floats()) {}

  static std::size_t bytes(const Task& task) {
    const std::size_t source =
        Kind::pooled_source
            ? static_cast<std::size_t>(task.patch_floats()) * sizeof(float) +
                  static_cast<std::size_t>(2 * task.staged_pixels() * chunk) * (sizeof(float) + 1)
            : static_cast<std::size_t>((task.chunks > 1 ? 2 : 1) * task.patch_floats()) *
                  sizeof(float);
    const std::size_t ring = stages * T::teams * stage_floats * sizeof(float);
    return std::max(source + ring, T::teams > 1 ? sum_floats * sizeof(float) : 0);
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

  static __device__ int floor_half(int x) { return x >= 0 ? x / 2 : -((1 - x) / 2); }

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

/// This thread's copies of its team's weights into the ring: tap after tap, chunk after chunk.
template <class T, class Kind>
class WeightCopies {
 public:
  __device__ WeightCopies(const Block<T, Kind>& block)
      : block_(block), aligned_(is_aligned(block.pointers.weights)) {
    const Task& task = block.task;
    const int thread = static_cast<int>(threadIdx.x) % T::team_threads;
    team_ = static_cast<int>(threadIdx.x) / T::team_threads;
    tap_ = team_;
    column_ = thread % quads * 4;
    step_ = (Kind::data ? -1 : 1) * task.weight_channels;
#pragma unroll
    for (int i = 0; i < items; ++i) {
      const int row = thread / quads + i * (T::team_threads / quads);
      const int k = Kind::data ? row : block.first_channel + row;
      const int c = Kind::data ? block.first_channel + column_ : column_;
      rows_[i] = row;
      in_[i] = Kind::data ? c < task.result.channels : k < task.result.channels;
      from_[i] = block.pointers.weights +
                 (static_cast<long long>(k) * task.taps + (Kind::data ? task.taps - 1 : 0)) *
                     task.weight_channels +
                 c + static_cast<long long>(tap_) * step_;
    }
  }
  /// Begins the next ones.
  __device__ void fetch(int stage) {
    const Task& task = block_.task;
    if (chunk_ == task.chunks) return;
    if (aligned_) {
      fetch_to<true>(stage);
    } else {
      fetch_to<false>(stage);
    }
    long long by = static_cast<long long>(T::teams) * step_;
    tap_ += T::teams;
    if (tap_ >= task.turns * T::teams) {
      tap_ = team_;
      ++chunk_;
      by -= static_cast<long long>(task.turns * T::teams) * step_;
      by += Kind::data ? static_cast<long long>(chunk) * task.taps * task.weight_channels : chunk;
    }
#pragma unroll
    for (int i = 0; i < items; ++i) from_[i] += by;
  }

 private:
  static constexpr int quads = (Kind::data ? T::channels : chunk) / 4;  // of a row
  static constexpr int items = T::channels * chunk / 4 / T::team_threads;
  static constexpr int row_floats = Kind::data ? T::channels + 8 : pitch;

  template <bool aligned>
  __device__ void fetch_to(int stage) const {
    float* to = block_.ring + (stage * T::teams + team_) * Block<T, Kind>::stage_floats + column_;
#pragma unroll
    for (int i = 0; i < items; ++i) {
      const bool valid =
          in_[i] && tap_ < block_.task.taps &&
          chunk_ * chunk + (Kind::data ? rows_[i] : column_) < block_.task.source.channels;
      copy_four<aligned>(to + rows_[i] * row_floats, valid ? from_[i] : block_.pointers.weights,
                         valid);
    }
  }
  const Block<T, Kind>& block_;
  bool aligned_;
  int team_, column_, step_, tap_, chunk_ = 0;
  int rows_[items];
  bool in_[items];
  const float* from_[items];
};

template <class T, class Kind>
__global__ void __launch_bounds__(T::threads) multiply(Task task, Pointers pointers) {
  extern __shared__ float4 memory[];
  const Block<T, Kind> block(task, pointers, reinterpret_cast<float*>(memory));
  const Boxes& boxes = task.boxes;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int team = static_cast<int>(threadIdx.x) / T::team_threads;
  const int warp_m = warp / T::warps_n % T::warps_m, warp_n = warp % T::warps_n;
  const int g = lane / 4, t = lane % 4;

  // Where this lane's row of each tile lies in a patch.
  unsigned rows[T::m];  // in bytes
#pragma unroll
  for (int m = 0; m < T::m; ++m) {
    const int number = (warp_m * T::m + m) * 16 + lane % 16;
    rows[m] = 0;
    if (number < boxes.used()) {
      const Slot slot =
          Kind::pooled_result ? window_slot_of(boxes, number) : slot_of(boxes, number);
      const int pixel = patch_pixel(
          boxes, {slot.image, slot.y * task.window.strideY, slot.x * task.window.strideX});
      rows[m] = static_cast<unsigned>(pixel * pitch * static_cast<int>(sizeof(float)));
    }
    rows[m] += static_cast<unsigned>(lane / 16 * 4) * static_cast<unsigned>(sizeof(float));
  }
  // And its row of the weights.
  const int column =
      Kind::data ? t * (T::channels + 8) + warp_n * T::n * 8 + g
                 : (warp_n * T::n * 8 + lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 4;

  float sums[T::m][T::n][4] = {};
  WeightCopies<T, Kind> weight_copies(block);
  block.fetch_source(0);
  for (int i = 0; i < stages - 1; ++i) {
    weight_copies.fetch(i);
    commit_copies();
  }
  int stage = 0;
  for (int number = 0; number < task.chunks; ++number) {
    const unsigned patch = shared_address(block.patch(number));
    for (int turn = 0; turn < task.turns; ++turn) {
      wait_for_copies<stages - 2>();
      __syncthreads();
      if (turn == 0) {
        block.refine(number);
        __syncthreads();
        if (number + 1 < task.chunks) block.fetch_source(number + 1);
      }
      weight_copies.fetch((stage + stages - 1) % stages);
      commit_copies();
      const int tap = turn * T::teams + team;
      const int slot = stage * T::teams + team;
      stage = (stage + 1) % stages;
      if (tap >= task.taps) continue;

      const auto [q, p] = divide(tap, task.by_kernel_width);
      const int pixel = q * task.window.dilationY * boxes.patch_pitch + p * task.window.dilationX;
      const unsigned from =
          patch + static_cast<unsigned>(pixel * pitch) * static_cast<unsigned>(sizeof(float));
      unsigned patch_rows[T::m];
#pragma unroll
      for (int m = 0; m < T::m; ++m) patch_rows[m] = from + rows[m];
      const float* weights = block.ring + slot * Block<T, Kind>::stage_floats + column;
      const unsigned weights_address = shared_address(weights);
#pragma unroll
      for (int k = 0; k < chunk; k += 8) {
        float a[T::m][4], b[T::n][2];
#pragma unroll
        for (int m = 0; m < T::m; ++m)
          load_tiles(a[m], patch_rows[m] + k * static_cast<unsigned>(sizeof(float)));
        if constexpr (Kind::data) {
#pragma unroll
          for (int n = 0; n < T::n; ++n) {
            b[n][0] = weights[k * (T::channels + 8) + n * 8];
            b[n][1] = weights[(k + 4) * (T::channels + 8) + n * 8];
          }
        } else {
#pragma unroll
          for (int n = 0; n < T::n; n += 2) {
            float two[4];
            load_tiles(two, weights_address + (n * 8 * pitch + k) * sizeof(float));
            b[n][0] = two[0];
            b[n][1] = two[1];
            b[n + 1][0] = two[2];
            b[n + 1][1] = two[3];
          }
        }
#pragma unroll
        for (int n = 0; n < T::n; ++n) {
          b[n][0] = to_tf32(b[n][0]);
          b[n][1] = to_tf32(b[n][1]);
#pragma unroll
          for (int m = 0; m < T::m; ++m) multiply_tile(sums[m][n], a[m], b[n]);
        }
      }
    }
  }
  if constexpr (T::teams > 1) {  // their sums, in order
    wait_for_copies<0>();
    auto* parts = reinterpret_cast<float4*>(memory);
    for (int other = 1; other < T::teams; ++other) {
      __syncthreads();
#pragma unroll
      for (int m = 0; m < T::m; ++m) {
#pragma unroll
        for (int n = 0; n < T::n; ++n) {
          float(&s)[4] = sums[m][n];
          float4& part = parts[(m * T::n + n) * T::team_threads +
                               static_cast<int>(threadIdx.x) % T::team_threads];
          if (team == other) part = {s[0], s[1], s[2], s[3]};
        }
      }
      __syncthreads();
      if (team != 0) continue;
#pragma unroll
      for (int m = 0; m < T::m; ++m) {
#pragma unroll
        for (int n = 0; n < T::n; ++n) {
          float(&s)[4] = sums[m][n];
          const float4 part =
              parts[(m * T::n + n) * T::team_threads + static_cast<int>(threadIdx.x)];
          s[0] += part.x;
          s[1] += part.y;
          s[2] += part.z;
          s[3] += part.w;
        }
      }
    }
    if (team != 0) return;
  }

#pragma unroll
  for (int n = 0; n < T::n; ++n) {
    const int k = block.first_channel + (warp_n * T::n + n) * 8 + 2 * t;
    const bool in = k < task.result.channels;  // which is even
    float2 bias{0.0F, 0.0F};
    if (in && pointers.biases != nullptr) bias = {pointers.biases[k], pointers.biases[k + 1]};
#pragma unroll
    for (int m = 0; m < T::m; ++m) {
      float(&s)[4] = sums[m][n];
      s[0] += bias.x;
      s[1] += bias.y;
      s[2] += bias.x;
      s[3] += bias.y;
      if constexpr (Kind::pooled_result) {
        // Four lanes have the taps of a window, each of four sums: every lane gets those of one.
        const int sub = g % 4;
        const bool odd = sub % 2 != 0, high = sub / 2 != 0;
        const float x = __shfl_xor_sync(0xFFFFFFFFU, odd ? s[0] : s[1], 4);
        const float y = __shfl_xor_sync(0xFFFFFFFFU, odd ? s[2] : s[3], 4);
        // Now (even, odd) taps of sum `odd` and of sum 2 + `odd`.
        const float low0 = odd ? x : s[0], low1 = odd ? s[1] : x;
        const float high0 = odd ? y : s[2], high1 = odd ? s[3] : y;
        const float u = __shfl_xor_sync(0xFFFFFFFFU, high ? low0 : high0, 8);
        const float v = __shfl_xor_sync(0xFFFFFFFFU, high ? low1 : high1, 8);
        unsigned char winner = 0;
        const float value =
            high ? pool_window(u, v, high0, high1, winner) : pool_window(low0, low1, u, v, winner);
        const int number = (warp_m * T::m + m) * 16 + (high ? 8 : 0) + g / 4 * 4;
        const Slot slot = window_slot_of(boxes, number);
        const int image = block.corner.image + slot.image;
        const int py = (block.corner.y + slot.y) / 2, px = (block.corner.x + slot.x) / 2;
        if (!in || number >= boxes.used() || image >= boxes.count || !task.result.has(py, px))
          continue;
        const int channel = k + (odd ? 1 : 0);
        pointers.result[task.result.at(image, py, px) + channel] = value;
        if (pointers.winners != nullptr) {
          pointers.winners[task.result.pixel(image, py, px) * task.result.channels + channel] =
              winner;
        }
      } else {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int number = (warp_m * T::m + m) * 16 + half * 8 + g;
          const Slot slot = slot_of(boxes, number);
          const int image = block.corner.image + slot.image;
          const int y = block.corner.y + slot.y, x = block.corner.x + slot.x;
          if (!in || number >= boxes.used() || image >= boxes.count || !task.result.has(y, x))
            continue;
          float* to = pointers.result + task.result.at(image, y, x) + k;
          to[0] = s[2 * half] >= 0.0F ? s[2 * half] : task.slope * s[2 * half];
          to[1] = s[2 * half + 1] >= 0.0F ? s[2 * half + 1] : task.slope * s[2 * half + 1];
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
  void operator()(const Args& args, const Pointers& pointers) const {
    const auto bytes = static_cast<int>(Block<T, Kind>::bytes(task));
    args.stream->note(
        cudaFuncSetAttribute(multiply<T, Kind>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "shared memory");
    const dim3 grid(static_cast<unsigned>(task.boxes.total),
                    static_cast<unsigned>((task.result.channels + T::channels - 1) / T::channels));
    multiply<T, Kind>
        <<<grid, T::threads, static_cast<std::size_t>(bytes), args.stream->get()>>>(task, pointers);
  }
};

/// Whether the geometry is one that the kernel serves.
bool is_served(const Convolution& op, const TensorDesc& weights) {
  const Window& w = op.window;
  return op.reducedPrecision != 0 && op.groups == 1 && w.clampEdges == 0 && comes_in_fours(weights);
}

Task task_of(const Window& window, const TensorDesc& source, const TensorDesc& result,
             int weight_channels) {
  Task task;
  task.window = window;
  task.source = Grid(source);
  task.result = Grid(result);
  task.taps = window.kernelWidth * window.kernelHeight;
  task.chunks = (source.c + chunk - 1) / chunk;
  task.weight_channels = weight_channels;
  task.by_kernel_width = Divisor(window.kernelWidth);
  return task;
}

/// The window of the convolution that a data gradient is.
Window turned(Window w) {
  w.padTop = w.dilationY * (w.kernelHeight - 1) - w.padTop;
  w.padLeft = w.dilationX * (w.kernelWidth - 1) - w.padLeft;
  return w;
}

/// The step that `make(Launch)` makes with this tiling; null if it does not fit.
template <class T, class Kind, class Make>
StepPtr with(Task task, Make make) {
  task.turns = (task.taps + T::teams - 1) / T::teams;
  if (task.chunks > 1 && task.turns < stages - 1) return nullptr;  // copies would come too late
  const Launch<T, Kind> launch{task};
  return launch.fits() ? make(launch) : nullptr;
}
/// A block for 64 channels, or 32; two teams where there are few blocks.
template <class Kind, class Make>
StepPtr with_tiling(const Task& task, Make make) {
  const bool narrow = task.result.channels <= Narrow<1>::channels;
  const int channels = narrow ? Narrow<1>::channels : Wide<1>::channels;
  const int blocks = task.boxes.total * ((task.result.channels + channels - 1) / channels);
  constexpr int few_blocks = 264;
  if (blocks <= few_blocks) {
    StepPtr step = narrow ? with<Narrow<2>, Kind>(task, make) : with<Wide<2>, Kind>(task, make);
    if (step) return step;
  }
  return narrow ? with<Narrow<1>, Kind>(task, make) : with<Wide<1>, Kind>(task, make);
}

}  // namespace

StepPtr tensor_convolution(const Convolution& op, Descs slots) {
  using Op = Convolution;
  const TensorDesc source = slots[Op::source], to = slots[Op::destination];
  if (!is_served(op, slots[Op::weights]) || !comes_in_fours(source) || !comes_in_fours(to) ||
      op.activation.type == CNNNeuronType::PReLU)
    return nullptr;
  if (slots[Op::biases].present() && slots[Op::biases].type != ElementType::float32) return nullptr;
  Task task = task_of(op.window, source, to, source.c);
  task.boxes = Boxes::of(to.n, to.h, to.w, false, op.window);
  if (op.activation.type == CNNNeuronType::ReLU) task.slope = op.activation.a;
  const bool biased = slots[Op::biases].present();
  return with_tiling<Forward>(task, [&](const auto& launch) {
    return make_step(slots, "cuda TF32 convolution", [launch, biased](const Args& args) {
      launch(args, {args.at(Op::source), nullptr, args.at(Op::weights),
                    biased ? args.at(Op::biases) : nullptr, args.at(Op::destination), nullptr});
    });
  });
}

StepPtr tensor_convolution(const PooledConvolution& op, Descs slots) {
  using Op = PooledConvolution;
  const Convolution& convolution = op.convolution;
  const TensorDesc source = slots[Op::source], to = slots[Op::destination];
  if (!is_served(convolution, slots[Op::weights]) || !comes_in_fours(source) ||
      !comes_in_fours(to) || !is_relu(op.activation) || !is_tiled(op.pooling.window))
    return nullptr;
  if (slots[Op::biases].present() && slots[Op::biases].type != ElementType::float32) return nullptr;
  Task task = task_of(convolution.window, source, to, source.c);
  task.boxes = Boxes::of(to.n, 2 * to.h, 2 * to.w, true, convolution.window);
  const bool biased = slots[Op::biases].present(), wins = slots[Op::winners].present();
  return with_tiling<ForwardPooled>(task, [&](const auto& launch) {
    return make_step(
        slots, "cuda TF32 convolution, ReLU and 2x2", [launch, biased, wins](const Args& args) {
          launch(args, {args.at(Op::source), nullptr, args.at(Op::weights),
                        biased ? args.at(Op::biases) : nullptr, args.at(Op::destination),
                        wins ? args.at<unsigned char>(Op::winners) : nullptr});
        });
  });
}

StepPtr tensor_gradient_data(const ConvolutionGradientData& op, Descs slots) {
  using Op = ConvolutionGradientData;
  const TensorDesc gradient = slots[Op::gradient], to = slots[Op::destination];
  const Window& w = op.forward.window;
  if (!is_served(op.forward, slots[Op::weights]) || !comes_in_fours(gradient) ||
      !comes_in_fours(to) || w.strideX != 1 || w.strideY != 1)
    return nullptr;
  Task task = task_of(turned(w), gradient, to, to.c);
  task.boxes = Boxes::of(to.n, to.h, to.w, false, task.window);
  return with_tiling<Data>(task, [&](const auto& launch) {
    return make_step(slots, "cuda TF32 data gradient", [launch](const Args& args) {
      launch(args, {args.at(Op::gradient), nullptr, args.at(Op::weights), nullptr,
                    args.at(Op::destination), nullptr});
    });
  });
}

StepPtr tensor_gradient_data(const PooledConvolutionGradientData& op, Descs slots) {
  using Op = PooledConvolutionGradientData;
  const TensorDesc gradient = slots[Op::gradient], to = slots[Op::destination];
  const Window& w = op.forward.window;
  if (!is_served(op.forward, slots[Op::weights]) || !comes_in_fours(gradient) ||
      !comes_in_fours(to) || !slots[Op::winners].dense() || w.strideX != 1 || w.strideY != 1)
    return nullptr;
  Task task = task_of(turned(w), gradient, to, to.c);
  task.boxes = Boxes::of(to.n, to.h, to.w, false, task.window);
  task.pooled_height = task.boxes.patch_height / 2 + 1;
  task.pooled_width = task.boxes.patch_width / 2 + 1;
  task.by_pooled_height = Divisor(task.pooled_height);
  task.by_pooled_width = Divisor(task.pooled_width);
  return with_tiling<DataPooled>(task, [&](const auto& launch) {
    return make_step(
        slots, "cuda TF32 data gradient behind ReLU and 2x2", [launch](const Args& args) {
          launch(args, {args.at(Op::gradient), args.at<unsigned char>(Op::winners),
                        args.at(Op::weights), nullptr, args.at(Op::destination), nullptr});
        });
  });
}

}  // namespace cermet::cuda
