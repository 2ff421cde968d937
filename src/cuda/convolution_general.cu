// Convolution and its gradients for any geometry (formulas: cnn/convolution.h). Sums are float32 in
// short stretches, so that long ones lose no digits; their order is fixed.

#include "cuda/convolution_general.h"

#include <algorithm>

#include "cuda/activation.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// Windows along one axis of the source.
struct Axis {
  int extent, outputs, kernel, stride, pad, dilation;
  bool clamps;

  /// The source position of tap p of output i; -1 is a zero outside.
  __device__ int position(int i, int p) const {
    const int at = stride * i - pad + dilation * p, near = max(0, min(at, extent - 1));
    return at == near || clamps ? near : -1;
  }
  /// The first output whose tap p reads source position `at`, and the last one; the last is below
  /// the first if there is none. On a clamped edge there may be several.
  __device__ int first_reader(int at, int p) const {
    if (clamps && at == 0) return 0;
    const int target = at + pad - dilation * p;
    return target <= 0 ? 0 : (target + stride - 1) / stride;
  }
  __device__ int last_reader(int at, int p) const {
    if (clamps && at == extent - 1) return outputs - 1;
    const int target = at + pad - dilation * p;
    return target < 0 ? -1 : min(target / stride, outputs - 1);
  }
};

struct Geometry {
  Axis y, x;
  int source_channels, channels;  // of a group; `channels`: of the forward destination

  Geometry(const Convolution& op, const TensorDesc& source, const TensorDesc& destination)
      : y{source.h,         destination.h,       op.window.kernelHeight,   op.window.strideY,
          op.window.padTop, op.window.dilationY, op.window.clampEdges != 0},
        x{source.w,          destination.w,       op.window.kernelWidth,    op.window.strideX,
          op.window.padLeft, op.window.dilationX, op.window.clampEdges != 0},
        source_channels(source.c / op.groups),
        channels(destination.c / op.groups) {}
};

__global__ void convolve(Geometry geometry, Activation activation, Tensor source, Tensor weights,
                         Tensor biases, Tensor slopes, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const int group = at.c / geometry.channels, first = group * geometry.source_channels;
    float sum = biases.present() ? load(biases, at.c) : 0.0F;
    for (int q = 0; q < geometry.y.kernel; ++q) {
      const int row = geometry.y.position(at.y, q);
      if (row < 0) continue;
      for (int p = 0; p < geometry.x.kernel; ++p) {
        const int column = geometry.x.position(at.x, p);
        if (column < 0) continue;
        const long long from = source.offset({at.n, row, column, first});
        const long long weight = weights.offset({at.c, q, p, 0});
        float of_tap = 0;
        for (int c = 0; c < geometry.source_channels; ++c) {
          of_tap = fmaf(load(source, from + c), load(weights, weight + c), of_tap);
        }
        sum += of_tap;
      }
    }
    const float slope = slopes.present() ? load(slopes, at.c) : 0.0F;
    store(destination, at, activate(activation, sum, slope));
  }
}

__global__ void gather(Geometry geometry, Tensor gradient, Tensor weights, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const int group = at.c / geometry.source_channels, c = at.c % geometry.source_channels;
    const int first = group * geometry.channels;
    float sum = 0;
    for (int q = 0; q < geometry.y.kernel; ++q) {
      const int last_row = geometry.y.last_reader(at.y, q);
      for (int j = geometry.y.first_reader(at.y, q); j <= last_row; ++j) {
        for (int p = 0; p < geometry.x.kernel; ++p) {
          const int last_column = geometry.x.last_reader(at.x, p);
          for (int i = geometry.x.first_reader(at.x, p); i <= last_column; ++i) {
            const long long from = gradient.offset({at.n, j, i, first});
            const long long weight = weights.offset({first, q, p, c});
            float of_tap = 0;
            for (int k = 0; k < geometry.channels; ++k) {
              of_tap = fmaf(load(gradient, from + k),
                            load(weights, weight + k * weights.desc.stride_n), of_tap);
            }
            sum += of_tap;
          }
        }
      }
    }
    store(destination, at, sum);
  }
}

// ---- weights: a block sums the pixels of a chunk, for `lanes` channels of the gradient and a few
// channels of the source at one position of the window; a second kernel adds the chunks in order

constexpr int lanes = 32, rows = block_threads / lanes;
constexpr int together = 4;  // source channels of a block
constexpr int stretch = 64;  // pixels summed in float32

/// How the sums are dealt to blocks. A position is a place of the window and `together` channels
/// of the source, or, after all of these, the bias.
struct Deal {
  Geometry geometry;
  Tensor gradient;  // its data is not used
  long long chunk;  // pixels
  int chunks, tiles, channel_blocks, first, positions;

  Deal(const Geometry& windows, const TensorDesc& desc, bool has_weights, bool has_biases)
      : geometry(windows), gradient{desc, nullptr} {
    constexpr long long smallest = 64, blocks = 1024, most_chunks = 128;
    tiles = (desc.c + lanes - 1) / lanes;
    channel_blocks = (geometry.source_channels + together - 1) / together;
    const int all = geometry.y.kernel * geometry.x.kernel * channel_blocks;
    first = has_weights ? 0 : all;
    positions = (has_biases ? all + 1 : all) - first;
    const long long pixels = gradient.pixels();
    const long long units = std::max(1LL, static_cast<long long>(tiles) * positions);
    const long long most = std::clamp(blocks / units, 1LL, most_chunks);
    chunk = std::max(smallest, (pixels + most - 1) / most);
    chunks = static_cast<int>((pixels + chunk - 1) / chunk);
  }
  [[nodiscard]] long long blocks() const {
    return static_cast<long long>(chunks) * positions * tiles;
  }
  /// Sums of a chunk: every weight and bias, gradient channels fastest.
  __host__ __device__ long long sums() const {
    return (static_cast<long long>(geometry.y.kernel) * geometry.x.kernel *
                geometry.source_channels +
            1) *
           gradient.desc.c;
  }
  /// Of a weight; the bias is tap (kernel height, 0, 0).
  __host__ __device__ long long number(int q, int p, int c, int k) const {
    const long long tap =
        (static_cast<long long>(q) * geometry.x.kernel + p) * geometry.source_channels + c;
    return tap * gradient.desc.c + k;
  }
};

__global__ void sum_products(Deal deal, Tensor gradient, Tensor source, float* sums) {
  begin_kernel();
  const Geometry& geometry = deal.geometry;
  const int tile = static_cast<int>(blockIdx.x) % deal.tiles;
  const int unit = static_cast<int>(blockIdx.x) / deal.tiles;
  const int position = deal.first + unit % deal.positions, chunk = unit / deal.positions;
  const int c = position % deal.channel_blocks * together;
  const int p = position / deal.channel_blocks % geometry.x.kernel;
  const int q = position / deal.channel_blocks / geometry.x.kernel;
  const bool bias = q == geometry.y.kernel;
  const int count = bias ? 1 : min(together, geometry.source_channels - c);
  const int k = tile * lanes + static_cast<int>(threadIdx.x) % lanes;
  const bool active = k < gradient.desc.c;
  const int channel = k / geometry.channels * geometry.source_channels + c;

  const long long begin = chunk * deal.chunk, all = deal.gradient.pixels();
  const long long end = begin + deal.chunk < all ? begin + deal.chunk : all;
  double totals[together] = {};
  float terms[together] = {};
  int summed = 0;
  const auto flush = [&] {
    for (int t = 0; t < together; ++t) {
      totals[t] += static_cast<double>(terms[t]);
      terms[t] = 0;
    }
    summed = 0;
  };
  for (long long i = begin + threadIdx.x / lanes; active && i < end; i += rows) {
    Index at = index_of(i, gradient.desc.h, gradient.desc.w, 1);
    at.c = k;
    if (bias) {
      terms[0] += load(gradient, at);
    } else {
      const int row = geometry.y.position(at.y, q), column = geometry.x.position(at.x, p);
      if (row < 0 || column < 0) continue;
      const float value = load(gradient, at);
      const long long from = source.offset({at.n, row, column, channel});
      for (int t = 0; t < together; ++t) {
        if (t < count) terms[t] = fmaf(value, load(source, from + t), terms[t]);
      }
    }
    if (++summed == stretch) flush();
  }
  flush();
  for (int t = 0; t < together; ++t) {
    const auto sum = static_cast<float>(channel_sum(totals[t]));
    if (t < count && active && threadIdx.x < lanes) {
      sums[chunk * deal.sums() + deal.number(q, p, bias ? 0 : c + t, k)] = sum;
    }
  }
}

__device__ void put(const Tensor& to, long long offset, double sum, bool accumulate) {
  const auto value = static_cast<float>(sum);
  store(to, offset, accumulate ? load(to, offset) + value : value);
}

/// A block for 32 gradient channels of a tap; the tap after the last is the bias.
__global__ void put_sums(Deal deal, const float* sums, bool accumulate, int first_tap,
                         Tensor weights, Tensor biases) {
  begin_kernel();
  const Geometry& g = deal.geometry;
  const int channels = deal.gradient.desc.c, tiles = (channels + lanes - 1) / lanes;
  const int tap = first_tap + static_cast<int>(blockIdx.x) / tiles;
  const int k =
      static_cast<int>(blockIdx.x) % tiles * lanes + static_cast<int>(threadIdx.x) % lanes;
  const int c = tap % g.source_channels, p = tap / g.source_channels % g.x.kernel,
            q = tap / g.source_channels / g.x.kernel;
  const bool active = k < channels;
  const double sum =
      sum_over_warps(sums + deal.number(q, p, c, k), deal.chunks, deal.sums(), active);
  if (!active || threadIdx.x >= lanes) return;
  if (q == g.y.kernel) {
    put(biases, k, sum, accumulate);
  } else {
    put(weights, weights.offset({k, q, p, c}), sum, accumulate);
  }
}

// ---- weights without groups: a warp multiplies 32 channels of the gradient with 32 taps

/// A tap is a place of the window and a channel of the source, in the order of the weights; the
/// bias is one more, which reads 1. Each block sums the pixels of a chunk for one tile of taps and
/// one of gradient channels; a second kernel adds the chunks in order.
struct Taps {
  static constexpr int tile = 32, warps = block_threads / tile;
  static constexpr int ahead = 4;  // pixels that a warp loads before it multiplies
  Geometry geometry;
  int weights, count, tiles, channel_tiles, chunks;
  long long pixels, chunk;

  Taps(const Geometry& windows, const TensorDesc& gradient, bool has_weights, bool has_biases)
      : geometry(windows),
        weights(has_weights ? windows.y.kernel * windows.x.kernel * windows.source_channels : 0),
        count(weights + (has_biases ? 1 : 0)),
        tiles((count + tile - 1) / tile),
        channel_tiles((gradient.c + tile - 1) / tile),
        pixels(gradient.pixels()) {
    constexpr long long smallest = warps * ahead, blocks = 2048, most_chunks = 256;
    const long long most =
        std::clamp(blocks / (static_cast<long long>(tiles) * channel_tiles), 1LL, most_chunks);
    chunk = std::max(smallest, (pixels + most - 1) / most);
    chunks = static_cast<int>((pixels + chunk - 1) / chunk);
  }
  [[nodiscard]] long long blocks() const {
    return static_cast<long long>(chunks) * tiles * channel_tiles;
  }
  /// Sums of a chunk: tile^2 for each pair of tiles.
  __host__ __device__ long long sums() const {
    return static_cast<long long>(tiles) * channel_tiles * tile * tile;
  }
  __device__ long long number(int tap, int k) const {
    const long long pair = static_cast<long long>(tap / tile) * channel_tiles + k / tile;
    return (pair * tile + tap % tile) * tile + k % tile;
  }
};

__global__ void __launch_bounds__(block_threads)
    multiply_taps(Taps taps, Tensor gradient, Tensor source, float* sums) {
  begin_kernel();
  constexpr int tile = Taps::tile;
  __shared__ float parts[Taps::warps][tile];
  const int lane = static_cast<int>(threadIdx.x) % tile,
            warp = static_cast<int>(threadIdx.x) / tile;
  const int pairs = taps.tiles * taps.channel_tiles;
  const int chunk = static_cast<int>(blockIdx.x) / pairs,
            pair = static_cast<int>(blockIdx.x) % pairs;
  const int k = pair % taps.channel_tiles * tile + lane;
  const int tap = pair / taps.channel_tiles * tile + lane;
  const Geometry& g = taps.geometry;
  const bool is_weight = tap < taps.weights;
  const int c = tap % g.source_channels, p = tap / g.source_channels % g.x.kernel,
            q = tap / g.source_channels / g.x.kernel;

  const long long begin = chunk * taps.chunk;
  const long long end = begin + taps.chunk < taps.pixels ? begin + taps.chunk : taps.pixels;
  float totals[tile] = {}, terms[tile] = {};
  int summed = 0;
  const auto flush = [&] {
#pragma unroll
    for (int t = 0; t < tile; ++t) {
      totals[t] += terms[t];
      terms[t] = 0;
    }
    summed = 0;
  };
  constexpr int ahead = Taps::ahead;
  for (long long first = begin + warp; first < end; first += Taps::warps * ahead) {
    float values[ahead], reads[ahead];
#pragma unroll
    for (int a = 0; a < ahead; ++a) {
      const long long i = first + a * Taps::warps;
      values[a] = 0;
      reads[a] = tap == taps.weights ? 1.0F : 0.0F;
      if (i >= end) continue;
      Index at = index_of(i, gradient.desc.h, gradient.desc.w, 1);
      at.c = k;
      if (k < gradient.desc.c) values[a] = load(gradient, at);
      if (!is_weight) continue;
      const int row = g.y.position(at.y, q), column = g.x.position(at.x, p);
      if (row >= 0 && column >= 0) reads[a] = load(source, Index{at.n, row, column, c});
    }
#pragma unroll
    for (int a = 0; a < ahead; ++a) {
#pragma unroll
      for (int t = 0; t < tile; ++t)
        terms[t] = fmaf(values[a], __shfl_sync(0xFFFFFFFFU, reads[a], t), terms[t]);
    }
    summed += ahead;
    if (summed >= stretch) flush();
  }
  flush();
#pragma unroll
  for (int t = 0; t < tile; ++t) {
    parts[warp][lane] = totals[t];
    __syncthreads();
    if (warp == 0) {
      double sum = 0;
      for (int other = 0; other < Taps::warps; ++other)
        sum += static_cast<double>(parts[other][lane]);
      sums[chunk * taps.sums() + (static_cast<long long>(pair) * tile + t) * tile + lane] =
          static_cast<float>(sum);
    }
    __syncthreads();
  }
}

/// A block for 32 gradient channels of a tap.
__global__ void put_taps(Taps taps, const float* sums, bool accumulate, Tensor weights,
                         Tensor biases, int channels) {
  begin_kernel();
  const int tap = static_cast<int>(blockIdx.x) / taps.channel_tiles;
  const int k = static_cast<int>(blockIdx.x) % taps.channel_tiles * Taps::tile +
                static_cast<int>(threadIdx.x) % Taps::tile;
  const double sum = sum_over_warps(sums + taps.number(tap, k), taps.chunks, taps.sums(), true);
  if (k >= channels || threadIdx.x >= Taps::tile) return;
  if (tap == taps.weights) {
    put(biases, k, sum, accumulate);
  } else {
    put(weights, k * weights.desc.stride_n + tap, sum, accumulate);
  }
}

}  // namespace

StepPtr tap_gradient_weights(const ConvolutionGradientWeights& op, Descs slots) {
  using Op = ConvolutionGradientWeights;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const Taps taps(Geometry(op.forward, descs[Op::source], descs[Op::gradient]), descs[Op::gradient],
                  descs[Op::weightGradient].present(), descs[Op::biasGradient].present());
  const auto body = [descs, taps, accumulate = op.accumulate != 0](const Args& args) {
    auto* sums = static_cast<float*>(args.scratch);
    const Tensor gradient = tensor(args, descs, Op::gradient);
    launch_blocks(args, taps.blocks(), multiply_taps, taps, gradient,
                  tensor(args, descs, Op::source), sums);
    launch_blocks(args, static_cast<long long>(taps.count) * taps.channel_tiles, put_taps, taps,
                  sums, accumulate, tensor(args, descs, Op::weightGradient),
                  tensor(args, descs, Op::biasGradient), gradient.desc.c);
  };
  return make_step(slots, "cuda tap weight gradient", body,
                   static_cast<std::size_t>(taps.chunks) * static_cast<std::size_t>(taps.sums()) *
                       sizeof(float));
}

StepPtr general_convolution(const Convolution& op, Descs slots) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda general convolution", [op, descs](const Args& args) {
    const Tensor destination = tensor(args, descs, Convolution::destination);
    Tensor slopes = tensor(args, descs, Convolution::slopes);
    if (op.activation.type != CNNNeuronType::PReLU) slopes.data = nullptr;
    launch(args, destination.count(), convolve,
           Geometry(op, descs[Convolution::source], destination.desc), op.activation,
           tensor(args, descs, Convolution::source), tensor(args, descs, Convolution::weights),
           tensor(args, descs, Convolution::biases), slopes, destination);
  });
}

StepPtr general_gradient_data(const ConvolutionGradientData& op, Descs slots) {
  using Op = ConvolutionGradientData;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda general data gradient", [op, descs](const Args& args) {
    const Tensor destination = tensor(args, descs, Op::destination);
    launch(args, destination.count(), gather,
           Geometry(op.forward, destination.desc, descs[Op::gradient]),
           tensor(args, descs, Op::gradient), tensor(args, descs, Op::weights), destination);
  });
}

StepPtr general_gradient_weights(const ConvolutionGradientWeights& op, Descs slots) {
  using Op = ConvolutionGradientWeights;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const Deal deal(Geometry(op.forward, descs[Op::source], descs[Op::gradient]), descs[Op::gradient],
                  descs[Op::weightGradient].present(), descs[Op::biasGradient].present());
  const auto body = [descs, deal, accumulate = op.accumulate != 0](const Args& args) {
    auto* sums = static_cast<float*>(args.scratch);
    const Tensor weights = tensor(args, descs, Op::weightGradient);
    const Tensor biases = tensor(args, descs, Op::biasGradient);
    launch_blocks(args, deal.blocks(), sum_products, deal, tensor(args, descs, Op::gradient),
                  tensor(args, descs, Op::source), sums);
    const int taps =
        deal.geometry.y.kernel * deal.geometry.x.kernel * deal.geometry.source_channels;
    const int first = weights.present() ? 0 : taps, end = taps + (biases.present() ? 1 : 0);
    const int tiles = (deal.gradient.desc.c + lanes - 1) / lanes;
    launch_blocks(args, static_cast<long long>(end - first) * tiles, put_sums, deal, sums,
                  accumulate, first, weights, biases);
  };
  return make_step(slots, "cuda general weight gradient", body,
                   static_cast<std::size_t>(deal.chunks) * static_cast<std::size_t>(deal.sums()) *
                       sizeof(float));
}

}  // namespace cermet::cuda
