// Convolution of few source channels, alone or with ReLU and 2x2 pooling, and the weight gradient
// behind these. Exact float32. A lane is an output channel and keeps in registers all weights of
// it, or their gradients; a block keeps in shared memory the patch of the source that a tile of
// pixels reads. Pixels come in squares of four: the taps of a pooling window.

#include "cuda/convolution_few_channels.h"

#include <algorithm>

#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

constexpr int lanes = 32, warps = block_threads / lanes;

constexpr int divide_up(long long a, long long b) { return static_cast<int>((a + b - 1) / b); }

/// The squares of some images in tiles.
struct Tiles {
  int images, height, width;       // squares
  int rows, columns;               // squares of a tile, fewer in the last ones
  int strips, bands;               // tiles of an image
  int outputs, output_tiles;       // channels of the destination, by 32
  int source_height, source_line;  // the latter in floats
  int pad_top, pad_left;
  int patch_rows, pitch;  // the latter in floats

  /// Tiles small enough to make `blocks`, if they can. `destination` is of squares.
  Tiles(const Window& window, const TensorDesc& source, const TensorDesc& destination,
        long long blocks)
      : images(destination.n),
        height(destination.h),
        width(destination.w),
        bands(divide_up(width, most_columns)),
        outputs(destination.c),
        output_tiles(divide_up(outputs, lanes)),
        source_height(source.h),
        source_line(source.w * source.c),
        pad_top(window.padTop),
        pad_left(window.padLeft) {
    const long long lines = static_cast<long long>(images) * height * bands * output_tiles;
    const long long wanted = std::clamp((lines + blocks - 1) / blocks, 1LL, most_rows);
    strips = divide_up(height, wanted);
    rows = divide_up(height, strips);
    columns = divide_up(width, bands);
    patch_rows = 2 * rows + window.kernelHeight - 1;
    const int line = (4 * divide_up(columns, 2) + window.kernelWidth - 1) * source.c;
    pitch = divide_up(line, 4) * 4;
    if (pitch % 32 == 0) pitch += 4;  // so that the four taps of a window lie in different banks
  }
  __host__ __device__ long long count() const {
    return static_cast<long long>(images) * strips * bands;
  }
  __host__ __device__ int patch_floats() const { return patch_rows * pitch; }

  struct Place {
    int n, y, x, rows, columns;
  };
  __device__ Place place(long long tile) const {
    const Index at = index_of(tile, strips, bands, 1);
    const int y = at.y * rows, x = at.x * columns;
    return {at.n, y, x, min(rows, height - y), min(columns, width - x)};
  }

 private:
  static constexpr long long most_rows = 8, most_columns = 32;
};

/// The source of a tile, zeros outside included.
template <int channels>
__device__ void load_patch(const Tiles& tiles, const Tiles::Place& at, const float* source,
                           float* patch) {
  const int top = 2 * at.y - tiles.pad_top, left = (2 * at.x - tiles.pad_left) * channels;
  const float* image =
      source + static_cast<long long>(at.n) * tiles.source_height * tiles.source_line;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < tiles.patch_floats(); i += block_threads) {
    const int row = i / tiles.pitch, y = top + row, x = left + i - row * tiles.pitch;
    const bool inside = static_cast<unsigned>(y) < static_cast<unsigned>(tiles.source_height) &&
                        static_cast<unsigned>(x) < static_cast<unsigned>(tiles.source_line);
    patch[i] = inside ? image[static_cast<long long>(y) * tiles.source_line + x] : 0.0F;
  }
}

// ---- forward

/// What becomes of a square's results, one channel of them.
struct Pooled {
  float* destination;
  unsigned char* winners;  // may be null
  __device__ void operator()(const Tiles& tiles, int n, int y, int x, int k, float t0, float t1,
                             float t2, float t3) const {
    const long long at =
        ((static_cast<long long>(n) * tiles.height + y) * tiles.width + x) * tiles.outputs + k;
    unsigned char winner;
    destination[at] = pool_window(t0, t1, t2, t3, winner);
    if (winners != nullptr) winners[at] = winner;
  }
};
struct Whole {
  float* destination;
  int height, width;
  float below;  // slope of negative results
  __device__ void operator()(const Tiles& tiles, int n, int y, int x, int k, float t0, float t1,
                             float t2, float t3) const {
    const auto put = [&](int row, int column, float value) {
      if (row >= height || column >= width) return;
      const long long pixel = (static_cast<long long>(n) * height + row) * width + column;
      destination[pixel * tiles.outputs + k] = value >= 0.0F ? value : below * value;
    };
    put(2 * y, 2 * x, t0);
    put(2 * y, 2 * x + 1, t1);
    put(2 * y + 1, 2 * x, t2);
    put(2 * y + 1, 2 * x + 1, t3);
  }
};

/// A block for 32 channels of a tile; a warp takes two squares side by side, line by line of the
/// patch.
template <int kernel, int channels, class Result>
__global__ void __launch_bounds__(block_threads)
    convolve(Tiles tiles, const float* __restrict__ source, const float* __restrict__ weights,
             const float* __restrict__ biases, Result result) {
  begin_kernel();
  let_next_begin();
  constexpr int line = kernel * channels, taps = kernel * line;
  constexpr int fours = (3 * channels + line + 3) / 4;
  static_assert(taps % 2 == 1, "lanes read their weights from different banks");
  extern __shared__ float4 shared[];
  auto* const patch = reinterpret_cast<float*>(shared);
  float* const staged = patch + tiles.patch_floats();
  const int lane = static_cast<int>(threadIdx.x) % lanes,
            warp = static_cast<int>(threadIdx.x) / lanes;
  const int first = static_cast<int>(blockIdx.x) % tiles.output_tiles * lanes, k = first + lane;
  const Tiles::Place at = tiles.place(blockIdx.x / static_cast<unsigned>(tiles.output_tiles));

  load_patch<channels>(tiles, at, source, patch);
  const float* own = weights + static_cast<long long>(first) * taps;
  const int given = min(lanes, tiles.outputs - first) * taps;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < lanes * taps; i += block_threads)
    staged[i] = i < given ? own[i] : 0.0F;
  __syncthreads();
  if (k >= tiles.outputs) return;
  float factors[taps];
#pragma unroll
  for (int t = 0; t < taps; ++t) factors[t] = staged[lane * taps + t];
  const float bias = biases != nullptr ? biases[k] : 0.0F;

  const int pairs = (at.columns + 1) / 2;
  for (int step = warp; step < at.rows * pairs; step += warps) {
    const int row = step / pairs, column = 2 * (step - row * pairs);
    const float* from = patch + 2 * row * tiles.pitch + 2 * column * channels;
    float sums[2][4] = {};
#pragma unroll
    for (int r = 0; r <= kernel; ++r) {
      float values[4 * fours];
#pragma unroll
      for (int i = 0; i < fours; ++i) {
        const float4 four = reinterpret_cast<const float4*>(from + r * tiles.pitch)[i];
        values[4 * i] = four.x;
        values[4 * i + 1] = four.y;
        values[4 * i + 2] = four.z;
        values[4 * i + 3] = four.w;
      }
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        const int q = r - below;
        if (q < 0 || q >= kernel) continue;
#pragma unroll
        for (int t = 0; t < line; ++t) {
#pragma unroll
          for (int x = 0; x < 4; ++x)
            sums[below][x] = fmaf(values[x * channels + t], factors[q * line + t], sums[below][x]);
        }
      }
    }
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      if (column + side >= at.columns) break;
      result(tiles, at.n, at.y + row, at.x + column + side, k, sums[0][2 * side] + bias,
             sums[0][2 * side + 1] + bias, sums[1][2 * side] + bias, sums[1][2 * side + 1] + bias);
    }
  }
}

// ---- weight gradient

/// How the tiles are dealt to blocks, and where these put their sums: for each chunk of tiles and
/// each 32 channels the taps, the bias being the last, and for each tap the channels.
struct Chunks {
  Tiles tiles;
  long long size;
  int count, sums;  // `sums`: of 32 channels, taps and bias

  Chunks(const Window& window, const TensorDesc& source, const TensorDesc& gradient)
      : tiles(window, source, gradient, blocks),
        size(size_for(tiles.count(), std::max(1LL, blocks / tiles.output_tiles))),
        count(divide_up(tiles.count(), size)),
        sums(window.kernelHeight * window.kernelWidth * source.c + 1) {}
  [[nodiscard]] long long floats() const { return count * stride(); }
  __host__ __device__ long long stride() const {
    return static_cast<long long>(tiles.output_tiles) * sums * lanes;
  }

 private:
  static long long size_for(long long tiles, long long chunks) {
    return tiles < 2 * chunks ? 1 : divide_up(tiles, chunks);
  }
  static constexpr long long blocks = 264;  // two for each multiprocessor of the largest cards
};

/// A block for 32 channels of a chunk. Warps take a pixel each of the pooled gradient, and sum up
/// to `stretch` of them before they put their sums together.
template <int kernel, int channels>
__global__ void __launch_bounds__(block_threads, kernel* channels < 20 ? 2 : 1)
    multiply_winners(Chunks chunks, const float* __restrict__ gradient,
                     const unsigned char* __restrict__ winners, const float* __restrict__ source,
                     float* __restrict__ sums) {
  begin_kernel();
  constexpr int line = kernel * channels, taps = kernel * line, stretch = 128;
  constexpr int rounds = taps / warps + 1;  // of as many sums as there are warps
  constexpr int ahead = taps < 32 ? 4 : 2;  // pixels that a warp loads before it multiplies
  extern __shared__ float4 shared[];
  __shared__ float parts[warps][warps][lanes];
  auto* const patch = reinterpret_cast<float*>(shared);
  const Tiles& tiles = chunks.tiles;
  const int lane = static_cast<int>(threadIdx.x) % lanes,
            warp = static_cast<int>(threadIdx.x) / lanes;
  const int output_tile = static_cast<int>(blockIdx.x) % tiles.output_tiles;
  const int chunk = static_cast<int>(blockIdx.x) / tiles.output_tiles;
  const int k = output_tile * lanes + lane;

  float terms[rounds * warps] = {}, totals[rounds] = {};
  int summed = 0;
  const auto flush = [&] {
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
#pragma unroll
      for (int i = 0; i < warps; ++i) {
        parts[warp][i][lane] = terms[round * warps + i];
        terms[round * warps + i] = 0;
      }
      __syncthreads();
      float sum = 0;
#pragma unroll
      for (int other = 0; other < warps; ++other) sum += parts[other][warp][lane];
      totals[round] += sum;
      __syncthreads();
    }
    summed = 0;
  };

  const long long end = min((chunk + 1) * chunks.size, tiles.count());
  for (long long tile = chunk * chunks.size; tile < end; ++tile) {
    const Tiles::Place at = tiles.place(tile);
    __syncthreads();
    load_patch<channels>(tiles, at, source, patch);
    __syncthreads();
    const int pixels = at.rows * at.columns;
    const long long corner =
        (static_cast<long long>(at.n) * tiles.height + at.y) * tiles.width + at.x;
    for (int i = warp; i < pixels; i += warps * ahead) {
      float values[ahead];
      int from[ahead];
#pragma unroll
      for (int a = 0; a < ahead; ++a) {
        const int pixel = i + a * warps, row = pixel / at.columns,
                  column = pixel - row * at.columns;
        const bool given = pixel < pixels && k < tiles.outputs;
        const long long g = (corner + row * tiles.width + column) * tiles.outputs + k;
        const float value = given ? gradient[g] : 0.0F;
        const int winner = given ? winners[g] : NeuronPoolingMax::nobody;
        values[a] = winner < NeuronPoolingMax::nobody ? value : 0.0F;
        from[a] = (2 * row + winner / 2 % 2) * tiles.pitch + (2 * column + winner % 2) * channels;
      }
#pragma unroll
      for (int a = 0; a < ahead; ++a) {
        if (i + a * warps >= pixels) break;
#pragma unroll
        for (int q = 0; q < kernel; ++q) {
#pragma unroll
          for (int t = 0; t < line; ++t) {
            float& term = terms[q * line + t];
            term = fmaf(values[a], patch[from[a] + q * tiles.pitch + t], term);
          }
        }
        terms[taps] += values[a];
      }
    }
    summed += (pixels + warps - 1) / warps;
    if (summed >= stretch) flush();
  }
  flush();
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const int sum = round * warps + warp;
    if (sum > taps) break;
    sums[chunk * chunks.stride() +
         (static_cast<long long>(output_tile) * chunks.sums + sum) * lanes + lane] = totals[round];
  }
}

/// A block for 32 channels of a tap.
__global__ void put_sums(Chunks chunks, const float* sums, bool accumulate, float* weights,
                         float* biases) {
  begin_kernel();
  const int tap = static_cast<int>(blockIdx.x) % chunks.sums;
  const int output_tile = static_cast<int>(blockIdx.x) / chunks.sums;
  const int lane = static_cast<int>(threadIdx.x) % lanes, k = output_tile * lanes + lane;
  const double sum = sum_over_warps(sums + static_cast<long long>(blockIdx.x) * lanes + lane,
                                    chunks.count, chunks.stride(), true);
  if (k >= chunks.tiles.outputs || threadIdx.x >= lanes) return;
  const int taps = chunks.sums - 1;
  float* to = tap < taps ? weights + static_cast<long long>(k) * taps + tap : biases + k;
  if (tap == taps && biases == nullptr) return;
  *to = accumulate ? *to + static_cast<float>(sum) : static_cast<float>(sum);
}

// ---- the geometries

struct Kernels {
  int kernel, channels;
  void (*pool)(Tiles, const float*, const float*, const float*, Pooled);
  void (*whole)(Tiles, const float*, const float*, const float*, Whole);
  void (*gradient)(Chunks, const float*, const unsigned char*, const float*, float*);
};
template <int kernel, int channels>
constexpr Kernels kernels{kernel, channels, convolve<kernel, channels, Pooled>,
                          convolve<kernel, channels, Whole>, multiply_winners<kernel, channels>};

/// Null: not served.
const Kernels* kernels_for(const Convolution& op, const TensorDesc& source) {
  static constexpr Kernels all[]{kernels<3, 1>, kernels<3, 3>, kernels<5, 1>, kernels<5, 3>,
                                 kernels<7, 3>};
  const Window& w = op.window;
  if (op.groups != 1 || w.strideX != 1 || w.strideY != 1 || w.dilationX != 1 || w.dilationY != 1 ||
      w.clampEdges != 0 || w.kernelWidth != w.kernelHeight)
    return nullptr;
  for (const Kernels& one : all) {
    if (one.kernel == w.kernelWidth && one.channels == source.c) return &one;
  }
  return nullptr;
}

bool are_plain(Descs slots) { return std::all_of(slots.begin(), slots.end(), is_plain); }

constexpr long long forward_blocks = 528;  // four for each multiprocessor of the largest cards

/// Bytes of shared memory: the patch and 32 channels of the weights.
std::size_t forward_bytes(const Tiles& tiles, const Kernels& of) {
  return sizeof(float) * static_cast<std::size_t>(tiles.patch_floats() +
                                                  lanes * of.kernel * of.kernel * of.channels);
}

}  // namespace

StepPtr few_channels_convolution(const Convolution& op, Descs slots) {
  using Op = Convolution;
  const Kernels* const own = kernels_for(op, slots[Op::source]);
  const CNNNeuronType type = op.activation.type;
  if (own == nullptr || !are_plain(slots) ||
      (type != CNNNeuronType::None && type != CNNNeuronType::ReLU))
    return nullptr;
  const TensorDesc to = slots[Op::destination];
  TensorDesc squares = to;
  squares.h = divide_up(to.h, 2);
  squares.w = divide_up(to.w, 2);
  const Tiles tiles(op.window, slots[Op::source], squares, forward_blocks);
  const float below = type == CNNNeuronType::None ? 1.0F : op.activation.a;
  const bool biased = slots[Op::biases].present();
  return make_step(slots, "cuda few channels", [=](const Args& args) {
    launch_with(args, dim3(static_cast<unsigned>(tiles.count() * tiles.output_tiles)),
                block_threads, forward_bytes(tiles, *own), own->whole, tiles, args.at(Op::source),
                args.at(Op::weights), biased ? args.at(Op::biases) : nullptr,
                Whole{args.at(Op::destination), to.h, to.w, below});
  });
}

StepPtr few_channels_pooled(const PooledConvolution& op, Descs slots) {
  using Op = PooledConvolution;
  const Kernels* const own = kernels_for(op.convolution, slots[Op::source]);
  if (own == nullptr || op.convolution.activation.type != CNNNeuronType::None ||
      !is_relu(op.activation) || !is_tiled(op.pooling.window) ||
      !are_plain(slots.first(Op::winners)) || !are_winners(slots[Op::winners]))
    return nullptr;
  const Tiles tiles(op.convolution.window, slots[Op::source], slots[Op::destination],
                    forward_blocks);
  const bool biased = slots[Op::biases].present(), chooses = slots[Op::winners].present();
  return make_step(slots, "cuda few channels, pooled", [=](const Args& args) {
    launch_with(
        args, dim3(static_cast<unsigned>(tiles.count() * tiles.output_tiles)), block_threads,
        forward_bytes(tiles, *own), own->pool, tiles, args.at(Op::source), args.at(Op::weights),
        biased ? args.at(Op::biases) : nullptr,
        Pooled{args.at(Op::destination), chooses ? args.at<unsigned char>(Op::winners) : nullptr});
  });
}

StepPtr few_channels_gradient_weights(const PooledConvolutionGradientWeights& op, Descs slots) {
  using Op = PooledConvolutionGradientWeights;
  const Kernels* const own = kernels_for(op.forward, slots[Op::source]);
  if (own == nullptr || !slots[Op::weightGradient].present() || !is_plain(slots[Op::gradient]) ||
      !are_winners(slots[Op::winners]) || !are_plain(slots.subspan(Op::source)))
    return nullptr;
  const Chunks chunks(op.forward.window, slots[Op::source], slots[Op::gradient]);
  const bool biased = slots[Op::biasGradient].present(), accumulate = op.accumulate != 0;
  const auto body = [=](const Args& args) {
    auto* sums = static_cast<float*>(args.scratch);
    const Tiles& tiles = chunks.tiles;
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(tiles.patch_floats());
    launch_with(args, dim3(static_cast<unsigned>(chunks.count * tiles.output_tiles)), block_threads,
                bytes, own->gradient, chunks, args.at(Op::gradient),
                args.at<unsigned char>(Op::winners), args.at(Op::source), sums);
    launch_blocks(args, static_cast<long long>(tiles.output_tiles) * chunks.sums, put_sums, chunks,
                  sums, accumulate, args.at(Op::weightGradient),
                  biased ? args.at(Op::biasGradient) : nullptr);
  };
  return make_step(slots, "cuda few channels, weight gradient behind pooling", body,
                   static_cast<std::size_t>(chunks.floats()) * sizeof(float));
}

}  // namespace cermet::cuda
