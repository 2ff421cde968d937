// Weight gradient: a tap of a weight is a sum over the pixels of the gradient.

#include <cstring>
#include <utility>

#include "cpu/convolution_general.h"
#include "cpu/convolution_tiles.h"

namespace cermet::cpu::general {
namespace {

constexpr Index chunk_pixels = 1024;  // pixels summed in registers before they join the total

/// weightGradient[k][tap] = sum over pixels of gradient[k] * source[offset[tap]]
struct WeightPlan {
  TensorDesc gradient, source;
  Index row_step = 0, column_step = 0;  // source elements between windows
  Index groups = 1, channels = 0;       // gradient channels of a group
  Index source_group = 0;
  std::vector<Index> offset;
  bool lanewise = false;
  std::int32_t multiplier = 1;
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
    set_source_lanes(tile.source_lane, unit.channel, {1, plan.multiplier});
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

}  // namespace

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
  plan.multiplier = static_cast<std::int32_t>(k_group);
  plan.accumulate = op.accumulate != 0;
  plan.offset = tap_offsets(window, source, c_group);
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
