#include "cpu/convolution_general.h"

#include <immintrin.h>

#include <array>
#include <cstring>
#include <vector>

namespace cermet::cpu::general {
namespace {

using Index = std::int64_t;
constexpr Index lanes = 8;          // floats of a register
constexpr Index block = 2 * lanes;  // channels that one tile keeps in registers
constexpr int tile_rows = 6;  // 6 x 2 accumulators, 2 operands and a broadcast fill 16 registers

constexpr Index divide_up(Index value, Index by) { return (value + by - 1) / by; }
constexpr Index round_up(Index value, Index to) { return divide_up(value, to) * to; }
std::size_t float_bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(float); }

template <int count>
inline constexpr auto extent = static_cast<std::size_t>(count);  // of an array

/// Selects the first `count` lanes.
__m256i lane_mask(Index count) {
  alignas(32) static constexpr std::array<std::int32_t, 16> bits{-1, -1, -1, -1, -1, -1, -1, -1};
  const Index shown = std::clamp<Index>(count, 0, lanes);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits.data() + (lanes - shown)));
}

// ---- windows
// --------------------------------------------------------------------------------------

struct WindowMap {
  TensorDesc source, window;
  Placement placement;
};

void copy_pixels(const float* from, Index from_step, float* to, Index to_step, Index count,
                 Index channels) {
  if (from_step == channels && to_step == channels) {
    std::memcpy(to, from, float_bytes(count * channels));
    return;
  }
  for (Index i = 0; i < count; ++i) {
    std::memcpy(to + i * to_step, from + i * from_step, float_bytes(channels));
  }
}

void zero_pixels(float* to, Index step, Index count, Index channels) {
  for (Index i = 0; i < count; ++i) std::memset(to + i * step, 0, float_bytes(channels));
}

void gather_row(const WindowMap& map, const float* source, float* window, Index n, Index row) {
  const auto& [from, to, at] = map;
  float* out = pixel(window, to, n, row, 0);
  const Index y = row + at.y;
  if (!at.clamp && (y < 0 || y >= from.h)) {
    zero_pixels(out, to.stride_w, to.w, to.c);
    return;
  }
  const float* in = pixel(source, from, n, std::clamp<Index>(y, 0, from.h - 1), 0);
  const Index left = std::clamp<Index>(-at.x, 0, to.w);
  const Index right = std::clamp<Index>(from.w - at.x, left, to.w);
  float* tail = out + right * to.stride_w;
  if (at.clamp) {
    copy_pixels(in, 0, out, to.stride_w, left, to.c);
    copy_pixels(in + (from.w - 1) * from.stride_w, 0, tail, to.stride_w, to.w - right, to.c);
  } else {
    zero_pixels(out, to.stride_w, left, to.c);
    zero_pixels(tail, to.stride_w, to.w - right, to.c);
  }
  copy_pixels(in + (left + at.x) * from.stride_w, from.stride_w, out + left * to.stride_w,
              to.stride_w, right - left, to.c);
}

void gather(const WindowMap& map, const float* source, float* window, int threads) {
  for_each_row(threads, map.window,
               [&](Index n, Index row) { gather_row(map, source, window, n, row); });
}

/// The window positions [first, last] of one axis that read source position `at`.
struct Range {
  Index first, last;
};
Range readers(Index at, Index origin, Index window, Index source, bool clamp) {
  Range range{at - origin, at - origin};
  if (clamp && at == 0) range.first = 0;
  if (clamp && at == source - 1) range.last = window - 1;
  return {std::max<Index>(range.first, 0), std::min(range.last, window - 1)};
}

void fold_row(const WindowMap& map, const float* window, float* destination, Index n, Index y) {
  const auto& [to, from, at] = map;
  float* out = pixel(destination, to, n, y, 0);
  zero_pixels(out, to.stride_w, to.w, to.c);
  const Range rows = readers(y, at.y, from.h, to.h, at.clamp);
  for (Index row = rows.first; row <= rows.last; ++row) {
    const float* in = pixel(window, from, n, row, 0);
    for (Index x = 0; x < to.w; ++x) {
      const Range columns = readers(x, at.x, from.w, to.w, at.clamp);
      for (Index column = columns.first; column <= columns.last; ++column) {
        const float* term = in + column * from.stride_w;
        float* sum = out + x * to.stride_w;
        for (Index c = 0; c < to.c; ++c) sum[c] += term[c];
      }
    }
  }
}

// ---- forward and data gradient: sums of taps
// ------------------------------------------------------

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
        alignas(32) std::array<std::int32_t, block> channel;
        for (std::size_t l = 0; l < channel.size(); ++l) {
          channel[l] = (static_cast<std::int32_t>(k) + static_cast<std::int32_t>(l)) *
                       plan.lane[0] / plan.lane[1];
        }
        for (int v = 0; v < 2; ++v) {
          tile.source_lane[v] =
              _mm256_load_si256(reinterpret_cast<const __m256i*>(channel.data() + v * lanes));
        }
      }
      float* out =
          output + n * plan.output_n + phase.output + row * plan.output_row + g * plan.channels + k;
      sum_row(plan, tile, in, out, phase.columns);
    }
  });
}

/// One group per channel, so that lanes can be channels.
bool is_lanewise(Index groups, Index input_channels_of_group) {
  return groups > 1 && input_channels_of_group == 1;
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
  for (Index q = 0; q < window.kernelHeight; ++q) {
    for (Index p = 0; p < window.kernelWidth; ++p) {
      for (Index c = 0; c < c_group; ++c) {
        plan.weight.push_back(plan.taps());
        plan.offset.push_back(q * window.dilationY * source.stride_h +
                              p * window.dilationX * source.stride_w + c);
      }
    }
  }
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

// ---- weight gradient
// ------------------------------------------------------------------------------

constexpr Index chunk_pixels = 1024;  // pixels summed in registers before they join the total

/// weightGradient[k][tap] = sum over pixels of gradient[k] * source[offset[tap]]
struct WeightPlan {
  TensorDesc gradient, source;
  Index row_step = 0, column_step = 0;  // source elements between windows
  Index groups = 1, channels = 0;       // gradient channels of a group
  Index source_group = 0;
  std::vector<Index> offset;
  bool lanewise = false;
  Index multiplier = 1;
  bool accumulate = false;

  [[nodiscard]] Index taps() const { return static_cast<Index>(offset.size()); }
  [[nodiscard]] Index tap_blocks() const { return divide_up(taps(), tile_rows); }
  [[nodiscard]] Index channel_blocks() const { return divide_up(channels, block); }
  [[nodiscard]] Index units() const { return groups * channel_blocks() * tap_blocks(); }
};
constexpr Index total_count = (tile_rows + 1) * block;  // the last row is the bias

/// Some taps and up to `block` gradient channels, over some rows of one image.
struct WeightTile {
  const float* gradient;
  const float* source;
  Index gradient_row, gradient_column, source_row, source_column, rows, columns;
  const Index* offset;
  __m256i mask[2], source_lane[2];
  bool contiguous_lanes;
  float* total;
};

template <int T, int V, bool bias, bool lanewise>
void sum_products(const WeightTile& tile) {
  __m256 sums[extent<T>][extent<V>], biases[extent<V>];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    biases[v] = _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) sums[t][v] = _mm256_setzero_ps();
  }
  for (Index row = 0; row < tile.rows; ++row) {
    const float* gradient = tile.gradient + row * tile.gradient_row;
    const float* source[extent<T>];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) source[t] = tile.source + row * tile.source_row + tile.offset[t];
    for (Index i = 0, at = 0; i < tile.columns; ++i, at += tile.source_column) {
      __m256 value[extent<V>];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        value[v] = _mm256_maskload_ps(gradient + v * lanes, tile.mask[v]);
        if constexpr (bias) biases[v] = _mm256_add_ps(biases[v], value[v]);
      }
      gradient += tile.gradient_column;
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        if constexpr (lanewise) {
#pragma GCC unroll 8
          for (int v = 0; v < V; ++v) {
            const __m256 read = tile.contiguous_lanes
                                    ? _mm256_maskload_ps(source[t] + at + v * lanes, tile.mask[v])
                                    : _mm256_mask_i32gather_ps(
                                          _mm256_setzero_ps(), source[t] + at, tile.source_lane[v],
                                          _mm256_castsi256_ps(tile.mask[v]), sizeof(float));
            sums[t][v] = _mm256_fmadd_ps(read, value[v], sums[t][v]);
          }
        } else {
          const __m256 read = _mm256_broadcast_ss(source[t] + at);
#pragma GCC unroll 8
          for (int v = 0; v < V; ++v) sums[t][v] = _mm256_fmadd_ps(read, value[v], sums[t][v]);
        }
      }
    }
  }
  const auto add = [&](Index row, int v, __m256 sum) {
    float* total = tile.total + row * block + v * lanes;
    _mm256_storeu_ps(total, _mm256_add_ps(_mm256_loadu_ps(total), sum));
  };
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) add(t, v, sums[t][v]);
    if constexpr (bias) add(tile_rows, v, biases[v]);
  }
}

using ProductKernel = void (*)(const WeightTile&);
template <std::size_t... T>
constexpr auto product_kernels(std::index_sequence<T...>) {
  return std::array<std::array<ProductKernel, 8>, sizeof...(T)>{
      {{&sum_products<static_cast<int>(T) + 1, 1, false, false>,
        &sum_products<static_cast<int>(T) + 1, 2, false, false>,
        &sum_products<static_cast<int>(T) + 1, 1, true, false>,
        &sum_products<static_cast<int>(T) + 1, 2, true, false>,
        &sum_products<static_cast<int>(T) + 1, 1, false, true>,
        &sum_products<static_cast<int>(T) + 1, 2, false, true>,
        &sum_products<static_cast<int>(T) + 1, 1, true, true>,
        &sum_products<static_cast<int>(T) + 1, 2, true, true>}...}};
}
/// [taps - 1][4 * lanewise + 2 * bias + registers - 1]
constexpr auto product_table = product_kernels(std::make_index_sequence<tile_rows>{});

/// Taps are dealt evenly to the blocks: 25 make five blocks of 5.
Index first_tap(const WeightPlan& plan, Index tap_block) {
  return plan.taps() * tap_block / plan.tap_blocks();
}

struct Unit {
  Index group, channel, tap_block, first, taps;
};
Unit unit_at(const WeightPlan& plan, Index unit) {
  const Index tap_block = unit % plan.tap_blocks(), rest = unit / plan.tap_blocks();
  const Index first = first_tap(plan, tap_block);
  return {rest / plan.channel_blocks(), rest % plan.channel_blocks() * block, tap_block, first,
          first_tap(plan, tap_block + 1) - first};
}

void add_chunk(const WeightPlan& plan, const Unit& unit, const float* gradient, const float* source,
               Index rows, bool bias, float* total) {
  const Index left = plan.channels - unit.channel;
  WeightTile tile{.gradient = gradient + unit.group * plan.channels + unit.channel,
                  .source = source + unit.group * plan.source_group,
                  .gradient_row = plan.gradient.stride_h,
                  .gradient_column = plan.gradient.stride_w,
                  .source_row = plan.row_step,
                  .source_column = plan.column_step,
                  .rows = rows,
                  .columns = plan.gradient.w,
                  .offset = plan.offset.data() + unit.first,
                  .mask = {lane_mask(left), lane_mask(left - lanes)},
                  .source_lane = {},
                  .contiguous_lanes = plan.multiplier == 1,
                  .total = total};
  if (plan.lanewise && tile.contiguous_lanes) tile.source += unit.channel;
  if (plan.lanewise && !tile.contiguous_lanes) {
    alignas(32) std::array<std::int32_t, block> channel;
    for (std::size_t l = 0; l < channel.size(); ++l) {
      channel[l] =
          static_cast<std::int32_t>((unit.channel + static_cast<Index>(l)) / plan.multiplier);
    }
    for (int v = 0; v < 2; ++v) {
      tile.source_lane[v] =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(channel.data() + v * lanes));
    }
  }
  const std::size_t shape = (plan.lanewise ? 4u : 0u) + (bias && unit.tap_block == 0 ? 2u : 0u) +
                            (left > lanes ? 1u : 0u);
  product_table[static_cast<std::size_t>(unit.taps) - 1][shape](tile);
}

void write_unit(const WeightPlan& plan, const Unit& unit, const float* total, float* weights,
                float* biases) {
  const auto put = [&](float& to, float value) { to = plan.accumulate ? to + value : value; };
  const Index count = std::min(block, plan.channels - unit.channel);
  const Index k = unit.group * plan.channels + unit.channel;
  for (Index l = 0; l < count; ++l) {
    for (Index t = 0; t < unit.taps; ++t) {
      put(weights[(k + l) * plan.taps() + unit.first + t], total[t * block + l]);
    }
    if (biases != nullptr && unit.tap_block == 0) put(biases[k + l], total[tile_rows * block + l]);
  }
}

/// Each unit (some taps of some channels) belongs to one thread, which adds the chunks in order.
/// Chunks are the outer loop because a chunk of the gradient fits the second cache.
void sum_weights(const WeightPlan& plan, const Args& args, int threads) {
  enum Slot { gradient, source, weights, biases };
  auto* totals = static_cast<float*>(args.scratch);
  const bool bias = args.slots[biases] != nullptr;
  const Index chunk = std::max<Index>(1, chunk_pixels / plan.gradient.w);
  parallel(threads, plan.units(), [&](Index begin, Index end) {
    std::memset(totals + begin * total_count, 0, float_bytes((end - begin) * total_count));
    for (Index n = 0; n < plan.gradient.n; ++n) {
      for (Index row = 0; row < plan.gradient.h; row += chunk) {
        const float* in = args.at(source) + n * plan.source.stride_n + row * plan.row_step;
        const float* e = pixel(args.at(gradient), plan.gradient, n, row, 0);
        for (Index unit = begin; unit < end; ++unit) {
          add_chunk(plan, unit_at(plan, unit), e, in, std::min(chunk, plan.gradient.h - row), bias,
                    totals + unit * total_count);
        }
      }
    }
    for (Index unit = begin; unit < end; ++unit) {
      write_unit(plan, unit_at(plan, unit), totals + unit * total_count, args.at(weights),
                 args.at(biases));
    }
  });
}

constexpr Index products_per_thread = 1 << 19;  // about twenty microseconds

}  // namespace

StepPtr gather_window(const TensorDesc& source, const TensorDesc& window, Placement placement,
                      const Engine& engine) {
  const int threads = threads_for(window.count(), engine);
  const TensorDesc slots[] = {source, window};
  return make_step(slots, "own window copy",
                   [map = WindowMap{source, window, placement}, threads](const Args& args) {
                     gather(map, args.at(0), args.at(1), threads);
                   });
}

StepPtr fold_window(const TensorDesc& window, const TensorDesc& destination, Placement placement,
                    const Engine& engine) {
  const int threads = threads_for(window.count(), engine);
  const TensorDesc slots[] = {window, destination};
  return make_step(slots, "own window fold",
                   [map = WindowMap{destination, window, placement}, threads](const Args& args) {
                     for_each_row(threads, map.source, [&](Index n, Index y) {
                       fold_row(map, args.at(0), args.at(1), n, y);
                     });
                   });
}

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
  const WindowMap map{gradient, frame, {-margin_y, -margin_x, false}};
  return make_step(
      slots, name,
      [plan = std::move(plan), map, threads, packed, biases, framed](const Args& args) {
        using Op = ConvolutionGradientData;
        auto* own = static_cast<float*>(args.scratch);
        const float* input = args.at(Op::gradient);
        if (framed) {
          gather(map, input, own + packed + biases, threads);
          input = own + packed + biases;
        }
        pack(plan, args.at(Op::weights), own, threads);
        pack_biases(plan, nullptr, own + packed);
        sum(plan, input, own, own + packed, args.at(Op::destination), threads);
      },
      scratch);
}

StepPtr gradient_weights(const ConvolutionGradientWeights& op, const TensorDesc& gradient,
                         const TensorDesc& source, const Engine& engine) {
  const Window& window = op.forward.window;
  const Index c_group = source.c / op.forward.groups, k_group = gradient.c / op.forward.groups;
  WeightPlan plan;
  plan.gradient = gradient;
  plan.source = source;
  plan.row_step = window.strideY * source.stride_h;
  plan.column_step = window.strideX * source.stride_w;
  plan.lanewise = is_lanewise(op.forward.groups, c_group);
  plan.groups = plan.lanewise ? 1 : op.forward.groups;
  plan.channels = plan.lanewise ? gradient.c : k_group;
  plan.source_group = c_group;
  plan.multiplier = k_group;
  plan.accumulate = op.accumulate != 0;
  for (Index q = 0; q < window.kernelHeight; ++q) {
    for (Index p = 0; p < window.kernelWidth; ++p) {
      for (Index c = 0; c < c_group; ++c) {
        plan.offset.push_back(q * window.dilationY * source.stride_h +
                              p * window.dilationX * source.stride_w + c);
      }
    }
  }
  const Index work = gradient.count() * plan.taps();
  const int threads = threads_for(work, engine, products_per_thread);
  const std::size_t scratch = float_bytes(plan.units() * total_count);
  const TensorDesc weights = dense_desc(gradient.c, window.kernelHeight, window.kernelWidth,
                                        static_cast<std::int32_t>(c_group));
  const TensorDesc slots[] = {gradient, source, weights, flat_desc(gradient.c)};
  const std::string name = plan.lanewise ? "own depthwise loop" : "own loop";
  return make_step(
      slots, name,
      [plan = std::move(plan), threads](const Args& args) { sum_weights(plan, args, threads); },
      scratch);
}

}  // namespace cermet::cpu::general
