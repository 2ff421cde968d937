// Forward and data gradient: an output pixel is a sum of taps, of the source or of the gradient.

#include <cstring>
#include <numeric>
#include <utility>

#include "cpu/convolution_general.h"
#include "cpu/convolution_tiles.h"
#include "cpu/shift.h"

namespace cermet::cpu::general {
namespace {

/// Output pixels that read the same taps: all of them going forward; in a data gradient, those with
/// the same remainder by the stride.
struct Phase {
  Index rows, columns;
  Index output;       // offset of the first output pixel
  Index first, taps;  // its part of the tap lists
};
struct RowOfPhase {
  std::size_t phase;
  Index row;
};

/// output[pixel][lane] = bias[lane] + sum of input[pixel + offset[tap]] * weight[tap][lane]
struct Gather {
  Index images = 0, groups = 1, channels = 0;  // output channels of a group
  Index input_n = 0, input_row = 0, input_column = 0, input_group = 0;
  Index output_n = 0, output_row = 0, output_column = 0;
  std::vector<Phase> phases;
  std::vector<RowOfPhase> rows;
  std::vector<Index> offset, weight;  // of each tap: in the input; in OHWI for lane 0 of group 0
  Index weight_lane = 0, weight_group = 0;
  bool lanewise = false;                   // depthwise: lane k has an input channel of its own
  std::array<std::int32_t, 2> lane{1, 1};  // that channel is k * lane[0] / lane[1]
  bool relu = false;
  float slope = 0;

  [[nodiscard]] Index padded() const { return round_up(channels, block); }
  [[nodiscard]] Index taps() const { return static_cast<Index>(offset.size()); }
  [[nodiscard]] Index packed_count() const { return groups * taps() * padded(); }
  [[nodiscard]] Index bias_count() const { return groups * padded(); }
  [[nodiscard]] Index work() const {
    Index pixels = 0;
    for (const Phase& phase : phases) pixels += phase.rows * phase.columns * phase.taps;
    return pixels * images * groups * channels;
  }
};

void pack(const Gather& plan, const float* weights, float* packed, int threads) {
  const Index padded = plan.padded(), taps = plan.taps();
  parallel(threads, plan.groups * taps, [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const auto tap = static_cast<std::size_t>(row % taps);
      const float* from = weights + (row / taps) * plan.weight_group + plan.weight[tap];
      float* to = packed + row * padded;
      for (Index k = 0; k < plan.channels; ++k) to[k] = from[k * plan.weight_lane];
      std::memset(to + plan.channels, 0, float_bytes(padded - plan.channels));
    }
  });
}

void pack_biases(const Gather& plan, const float* biases, float* packed) {
  const Index padded = plan.padded();
  std::memset(packed, 0, float_bytes(plan.bias_count()));
  if (biases == nullptr) return;
  for (Index g = 0; g < plan.groups; ++g) {
    std::memcpy(packed + g * padded, biases + g * plan.channels, float_bytes(plan.channels));
  }
}

/// A few pixels of one output row and up to `block` channels.
struct Tile {
  const Index* offset;
  Index taps, weight_step;
  const float* weights;
  const float* biases;
  Index input_step, output_step, channels;
  __m256i source_lane[2];  // lanewise: input channel of each lane
  bool contiguous_lanes, relu;
  float slope;
};

/// By value: an address would keep the sums out of registers.
void store(const Tile& tile, __m256 value, int v, float* output) {
  if (tile.relu) {
    const __m256 scaled = _mm256_mul_ps(value, _mm256_set1_ps(tile.slope));
    value = _mm256_blendv_ps(value, scaled, _mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_NGE_UQ));
  }
  const Index left = tile.channels - v * lanes;
  if (left >= lanes) {
    _mm256_storeu_ps(output + v * lanes, value);
  } else {
    _mm256_maskstore_ps(output + v * lanes, lane_mask(left), value);
  }
}

template <int P, int V>
void sum_taps(const Tile& tile, const float* input, float* output) {
  __m256 sums[extent<P>][extent<V>];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[p][v] = _mm256_loadu_ps(tile.biases + v * lanes);
  }
  const float* weights = tile.weights;
  const Index taps = tile.taps, weight_step = tile.weight_step, input_step = tile.input_step;
  for (Index tap = 0; tap < taps; ++tap, weights += weight_step) {
    const float* at = input + tile.offset[tap];
    __m256 weight[extent<V>];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) weight[v] = _mm256_loadu_ps(weights + v * lanes);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const __m256 value = _mm256_broadcast_ss(at + p * input_step);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[p][v] = _mm256_fmadd_ps(value, weight[v], sums[p][v]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(tile, sums[p][v], v, output + p * tile.output_step);
  }
}

template <int P, int V>
void sum_lanewise(const Tile& tile, const float* input, float* output) {
  __m256 sums[extent<P>][extent<V>];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[p][v] = _mm256_loadu_ps(tile.biases + v * lanes);
  }
  const __m256i mask[2] = {lane_mask(tile.channels), lane_mask(tile.channels - lanes)};
  for (Index tap = 0; tap < tile.taps; ++tap) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const __m256 weight = _mm256_loadu_ps(tile.weights + tap * tile.weight_step + v * lanes);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        const float* at = input + tile.offset[tap] + p * tile.input_step;
        const __m256 value =
            tile.contiguous_lanes
                ? _mm256_maskload_ps(at + v * lanes, mask[v])
                : _mm256_mask_i32gather_ps(_mm256_setzero_ps(), at, tile.source_lane[v],
                                           _mm256_castsi256_ps(mask[v]), sizeof(float));
        sums[p][v] = _mm256_fmadd_ps(value, weight, sums[p][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(tile, sums[p][v], v, output + p * tile.output_step);
  }
}

using SumKernel = void (*)(const Tile&, const float*, float*);
template <std::size_t... P>
constexpr auto sum_kernels(std::index_sequence<P...>) {
  return std::array<std::array<SumKernel, 4>, sizeof...(P)>{
      {{&sum_taps<static_cast<int>(P) + 1, 1>, &sum_taps<static_cast<int>(P) + 1, 2>,
        &sum_lanewise<static_cast<int>(P) + 1, 1>, &sum_lanewise<static_cast<int>(P) + 1, 2>}...}};
}
/// [pixels - 1][2 * lanewise + registers - 1]
constexpr auto sum_table = sum_kernels(std::make_index_sequence<tile_rows>{});

void sum_row(const Gather& plan, Tile& tile, const float* input, float* output, Index columns) {
  const std::size_t shape = (plan.lanewise ? 2u : 0u) + (tile.channels > lanes ? 1u : 0u);
  for (Index i = 0; i < columns; i += tile_rows) {
    const auto pixels = static_cast<std::size_t>(std::min<Index>(tile_rows, columns - i));
    sum_table[pixels - 1][shape](tile, input + i * tile.input_step, output + i * tile.output_step);
  }
}

/// `packed` holds the weights, `biases` a padded bias for each group.
void sum(const Gather& plan, const float* input, const float* packed, const float* biases,
         float* output, int threads) {
  const Index padded = plan.padded(), blocks = padded / block;
  const auto rows = static_cast<Index>(plan.rows.size());
  parallel(threads, plan.groups * blocks * plan.images * rows, [&](Index begin, Index end) {
    for (Index unit = begin; unit < end; ++unit) {
      const auto [of_phase, row] = plan.rows[static_cast<std::size_t>(unit % rows)];
      const Index n = unit / rows % plan.images, k = unit / rows / plan.images % blocks * block;
      const Index g = unit / rows / plan.images / blocks;
      const Phase& phase = plan.phases[of_phase];
      Tile tile{.offset = plan.offset.data() + phase.first,
                .taps = phase.taps,
                .weight_step = padded,
                .weights = packed + (g * plan.taps() + phase.first) * padded + k,
                .biases = biases + g * padded + k,
                .input_step = plan.input_column,
                .output_step = plan.output_column,
                .channels = std::min(block, plan.channels - k),
                .source_lane = {},
                .contiguous_lanes = plan.lane[0] == plan.lane[1],
                .relu = plan.relu,
                .slope = plan.slope};
      const float* in = input + n * plan.input_n + row * plan.input_row + g * plan.input_group;
      if (plan.lanewise && tile.contiguous_lanes) in += k;
      if (plan.lanewise && !tile.contiguous_lanes) {
        set_source_lanes(tile.source_lane, k, plan.lane);
      }
      float* out =
          output + n * plan.output_n + phase.output + row * plan.output_row + g * plan.channels + k;
      sum_row(plan, tile, in, out, phase.columns);
    }
  });
}

void list_rows(Gather& plan) {
  for (std::size_t phase = 0; phase < plan.phases.size(); ++phase) {
    for (Index row = 0; row < plan.phases[phase].rows; ++row) plan.rows.push_back({phase, row});
  }
}

Gather plan_forward(const Convolution& op, const TensorDesc& source, const TensorDesc& to) {
  const Window& window = op.window;
  const Index c_group = source.c / op.groups, k_group = to.c / op.groups;
  Gather plan;
  plan.images = to.n;
  plan.lanewise = is_lanewise(op.groups, c_group);
  plan.groups = plan.lanewise ? 1 : op.groups;
  plan.channels = plan.lanewise ? to.c : k_group;
  plan.lane = {1, static_cast<std::int32_t>(k_group)};
  plan.input_n = source.stride_n;
  plan.input_row = window.strideY * source.stride_h;
  plan.input_column = window.strideX * source.stride_w;
  plan.input_group = c_group;
  plan.output_n = to.stride_n;
  plan.output_row = to.stride_h;
  plan.output_column = to.stride_w;
  plan.offset = tap_offsets(window, source, c_group);
  plan.weight.resize(plan.offset.size());
  std::iota(plan.weight.begin(), plan.weight.end(), Index{0});
  plan.weight_lane = plan.taps();
  plan.weight_group = plan.taps() * k_group;
  plan.phases = {{to.h, to.w, 0, 0, plan.taps()}};
  plan.relu = op.activation.type == CNNNeuronType::ReLU;
  plan.slope = op.activation.a;
  list_rows(plan);
  return plan;
}

/// Gradient pixels outside the image that the gather of a data gradient touches, on each side.
Index margin(Index kernel, Index dilation, Index stride) {
  return (kernel - 1) * dilation / stride;
}

/// Destination position `phase + stride*m` receives tap p from gradient position
/// `m + (phase - dilation*p)/stride`, when the division is exact.
Gather plan_gradient(const Convolution& op, const TensorDesc& gradient, const TensorDesc& to) {
  const Window& window = op.window;
  const Index c_group = to.c / op.groups, k_group = gradient.c / op.groups;
  const Index margin_y = margin(window.kernelHeight, window.dilationY, window.strideY);
  const Index margin_x = margin(window.kernelWidth, window.dilationX, window.strideX);
  const Index taps = Index{window.kernelHeight} * window.kernelWidth;
  Gather plan;
  plan.images = to.n;
  plan.lanewise = is_lanewise(op.groups, c_group);
  plan.groups = plan.lanewise ? 1 : op.groups;
  plan.channels = plan.lanewise ? to.c : c_group;
  plan.lane = {static_cast<std::int32_t>(k_group), 1};
  plan.input_n = gradient.stride_n;
  plan.input_row = gradient.stride_h;
  plan.input_column = gradient.stride_w;
  plan.input_group = k_group;
  plan.output_n = to.stride_n;
  plan.output_row = window.strideY * to.stride_h;
  plan.output_column = window.strideX * to.stride_w;
  plan.weight_lane = plan.lanewise ? k_group * taps : 1;
  plan.weight_group = k_group * taps * c_group;
  for (Index y = 0; y < std::min<Index>(window.strideY, to.h); ++y) {
    for (Index x = 0; x < std::min<Index>(window.strideX, to.w); ++x) {
      const Index first = plan.taps();
      for (Index q = 0; q < window.kernelHeight; ++q) {
        for (Index p = 0; p < window.kernelWidth; ++p) {
          const Index row = y - q * window.dilationY, column = x - p * window.dilationX;
          if (row % window.strideY != 0 || column % window.strideX != 0) continue;
          for (Index k = 0; k < k_group; ++k) {
            plan.offset.push_back((row / window.strideY + margin_y) * gradient.stride_h +
                                  (column / window.strideX + margin_x) * gradient.stride_w + k);
            plan.weight.push_back((k * taps + q * window.kernelWidth + p) * c_group);
          }
        }
      }
      plan.phases.push_back({divide_up(to.h - y, window.strideY),
                             divide_up(to.w - x, window.strideX), y * to.stride_h + x * to.stride_w,
                             first, plan.taps() - first});
    }
  }
  list_rows(plan);
  return plan;
}

}  // namespace

StepPtr forward(const Convolution& op, const TensorDesc& source, const TensorDesc& destination,
                const Engine& engine) {
  Gather plan = plan_forward(op, source, destination);
  const int threads = threads_for(plan.work(), engine, products_per_thread);
  const Index packed = plan.packed_count();
  const TensorDesc weights = dense_desc(destination.c, op.window.kernelHeight,
                                        op.window.kernelWidth, source.c / op.groups);
  const TensorDesc slots[] = {source, weights, flat_desc(destination.c), {}, destination};
  const std::string name = plan.lanewise ? "own depthwise loop" : "own loop";
  const std::size_t scratch = float_bytes(packed + plan.bias_count());
  return make_step(
      slots, name,
      [plan = std::move(plan), threads, packed](const Args& args) {
        auto* own = static_cast<float*>(args.scratch);
        pack(plan, args.at(Convolution::weights), own, threads);
        pack_biases(plan, args.at(Convolution::biases), own + packed);
        sum(plan, args.at(Convolution::source), own, own + packed,
            args.at(Convolution::destination), threads);
      },
      scratch);
}

StepPtr gradient_data(const Convolution& op, const TensorDesc& gradient,
                      const TensorDesc& destination, const Engine& engine) {
  const Window& window = op.window;
  const Index margin_y = margin(window.kernelHeight, window.dilationY, window.strideY);
  const Index margin_x = margin(window.kernelWidth, window.dilationX, window.strideX);
  const bool framed = margin_y != 0 || margin_x != 0;
  const TensorDesc frame =
      framed ? dense_desc(gradient.n, static_cast<std::int32_t>(gradient.h + 2 * margin_y),
                          static_cast<std::int32_t>(gradient.w + 2 * margin_x), gradient.c)
             : gradient;
  Gather plan = plan_gradient(op, frame, destination);
  const int threads = threads_for(plan.work(), engine, products_per_thread);
  const Index packed = plan.packed_count(), biases = plan.bias_count();
  const TensorDesc weights =
      dense_desc(gradient.c, window.kernelHeight, window.kernelWidth, destination.c / op.groups);
  const TensorDesc slots[] = {gradient, weights, destination};
  const std::string name = plan.lanewise ? "own depthwise loop" : "own loop";
  const std::size_t scratch = float_bytes(packed + biases + (framed ? frame.count() : 0));
  const Shift into_frame{static_cast<std::int32_t>(-margin_x),
                         static_cast<std::int32_t>(-margin_y)};
  return make_step(
      slots, name,
      [plan = std::move(plan), gradient, frame, into_frame, threads, packed, biases,
       framed](const Args& args) {
        using Op = ConvolutionGradientData;
        auto* own = static_cast<float*>(args.scratch);
        const float* input = args.at(Op::gradient);
        if (framed) {
          float* outer = own + packed + biases;
          gather_window(into_frame, gradient, input, frame, outer, threads);
          input = outer;
        }
        pack(plan, args.at(Op::weights), own, threads);
        pack_biases(plan, nullptr, own + packed);
        sum(plan, input, own, own + packed, args.at(Op::destination), threads);
      },
      scratch);
}

}  // namespace cermet::cpu::general
