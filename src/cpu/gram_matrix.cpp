// GramMatrix and its gradient (formulas: cnn/gram_matrix.h). Own code: products of tiles of 6 x 16,
// with float32 sums over 64 factors and float64 sums of those, in an order that nothing changes.

#include "cermet/cnn/gram_matrix.h"

#include "cpu/convolution_tiles.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

using general::block;
using general::divide_up;
using general::Index;
using general::lanes;
using general::tile_rows;

constexpr Index chunk = 64;                     // factors of a float32 sum
constexpr Index products_per_thread = 1 << 19;  // about twenty microseconds

/// Element (i, t) is at[i * row + t * inner].
struct Left {
  const float* at;
  Index row, inner;
};
/// Element (t, j) is at[t * row + j].
struct Right {
  const float* at;
  Index row;
};

/// sums[i * sums_row + j] += sum of left(i, t) * right(t, j) over t < count, for i < rows <=
/// tile_rows and j < columns <= block.
template <bool whole>
void add_tile(const Left& left, const Right& right, Index count, Index rows, Index columns,
              double* sums, Index sums_row) {
  __m256 part[tile_rows][2];
  const float* factors[tile_rows];
  for (Index i = 0; i < tile_rows; ++i) {
    part[i][0] = part[i][1] = _mm256_setzero_ps();
    factors[i] = left.at + std::min(i, rows - 1) * left.row;
  }
  const __m256i masks[2] = {general::lane_mask(columns), general::lane_mask(columns - lanes)};
  for (Index t = 0; t < count; ++t) {
    const float* from = right.at + t * right.row;
    const __m256 low = whole ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, masks[0]);
    const __m256 high =
        whole ? _mm256_loadu_ps(from + lanes) : _mm256_maskload_ps(from + lanes, masks[1]);
#pragma GCC unroll 6
    for (Index i = 0; i < tile_rows; ++i) {
      const __m256 factor = _mm256_broadcast_ss(factors[i] + t * left.inner);
      part[i][0] = _mm256_fmadd_ps(factor, low, part[i][0]);
      part[i][1] = _mm256_fmadd_ps(factor, high, part[i][1]);
    }
  }
  alignas(32) std::array<float, static_cast<std::size_t>(block)> row;
  for (Index i = 0; i < rows; ++i) {
    _mm256_store_ps(row.data(), part[i][0]);
    _mm256_store_ps(row.data() + lanes, part[i][1]);
    for (Index j = 0; j < columns; ++j)
      sums[i * sums_row + j] += double{row[static_cast<std::size_t>(j)]};
  }
}
void add_product(const Left& left, const Right& right, Index count, Index rows, Index columns,
                 double* sums, Index sums_row) {
  for (Index first = 0; first < columns; first += block) {
    const Right part{right.at + first, right.row};
    const Index width = std::min(block, columns - first);
    if (width == block) {
      add_tile<true>(left, part, count, rows, width, sums + first, sums_row);
    } else {
      add_tile<false>(left, part, count, rows, width, sums + first, sums_row);
    }
  }
}

std::size_t bytes_of(Index count, std::size_t size) {
  return static_cast<std::size_t>(count) * size;
}

}  // namespace

StepPtr prepare(const GramMatrix& op, Descs descs, Engine& engine) {
  using Op = GramMatrix;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const Index channels = source.c, strips = divide_up(channels, tile_rows);
  // Pixels that lie evenly apart.
  const bool even = source.stride_h == source.stride_w * source.w;
  const Index runs = even ? 1 : source.h, length = even ? Index{source.h} * source.w : source.w;
  const int threads = threads_for(source.count() * channels, engine, products_per_thread);
  const auto body = [=](const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    parallel(threads, source.n * strips, [&](Index begin, Index end) {
      for (Index strip = begin; strip < end; ++strip) {
        const Index n = strip / strips, first = strip % strips * tile_rows;
        const Index rows = std::min<Index>(tile_rows, channels - first);
        auto* sums = static_cast<double*>(args.scratch) + strip * tile_rows * channels;
        std::fill_n(sums, rows * channels, 0.0);
        for (Index y = 0; y < runs; ++y) {
          for (Index x = 0; x < length; x += chunk) {
            const float* in = pixel(from, source, n, y, x);
            add_product({in + first, 1, source.stride_w}, {in, source.stride_w},
                        std::min(chunk, length - x), rows, channels, sums, channels);
          }
        }
        for (Index f = 0; f < rows; ++f) {
          float* out = pixel(to, destination, n, 0, first + f);
          for (Index c = 0; c < channels; ++c)
            out[c] = static_cast<float>(double{op.alpha} * sums[f * channels + c]);
        }
      }
    });
  };
  return make_step(descs, "own product", body,
                   bytes_of(source.n * strips * tile_rows * channels, sizeof(double)));
}

StepPtr prepare(const GramMatrixGradient& op, Descs descs, Engine& engine) {
  using Op = GramMatrixGradient;
  const TensorDesc gradient = descs[Op::gradient], source = descs[Op::source];
  const TensorDesc destination = descs[Op::destination];
  const Index channels = source.c;
  const Index matrix = channels * channels, strip = tile_rows * channels;
  const int threads = threads_for(source.count() * channels, engine, products_per_thread);
  const auto body = [=, alpha = double{op.forward.alpha}](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    auto* all_sums = static_cast<double*>(args.scratch);
    auto* both = reinterpret_cast<float*>(all_sums + Index{source.n} * source.h * strip);
    // G + transposed G of every image, then its product with the pixels.
    parallel(threads, source.n * channels, [&](Index begin, Index end) {
      for (Index at = begin; at < end; ++at) {
        const Index n = at / channels, k = at % channels;
        for (Index c = 0; c < channels; ++c)
          both[at * channels + c] = pixel(g, gradient, n, 0, k)[c] + pixel(g, gradient, n, 0, c)[k];
      }
    });
    for_each_row(threads, destination, [&](Index n, Index y) {
      double* sums = all_sums + (n * source.h + y) * strip;
      for (Index x = 0; x < destination.w; x += tile_rows) {
        const Index rows = std::min<Index>(tile_rows, destination.w - x);
        const float* in = pixel(from, source, n, y, x);
        std::fill_n(sums, rows * channels, 0.0);
        for (Index c = 0; c < channels; c += chunk) {
          add_product({in + c, source.stride_w, 1}, {both + n * matrix + c * channels, channels},
                      std::min(chunk, channels - c), rows, channels, sums, channels);
        }
        for (Index i = 0; i < rows; ++i) {
          float* out = pixel(to, destination, n, y, x + i);
          for (Index k = 0; k < channels; ++k)
            out[k] = static_cast<float>(alpha * sums[i * channels + k]);
        }
      }
    });
  };
  return make_step(descs, "own product", body,
                   bytes_of(Index{source.n} * source.h * strip, sizeof(double)) +
                       bytes_of(source.n * matrix, sizeof(float)));
}

}  // namespace cermet::cpu
