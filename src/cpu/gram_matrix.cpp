// GramMatrix and its gradient (formulas: cnn/gram_matrix.h). Own code: products of tiles of 6 x 16,
// with float32 sums over 64 factors and float64 sums of those, in an order that nothing changes.

#include "cermet/cnn/gram_matrix.h"

#include "cpu/engine.h"
#include "cpu/product_tiles.h"

namespace cermet::cpu {
namespace {

using general::divide_up;
using general::Index;
using general::tile_rows;
using product::add_product;
using product::chunk;

constexpr Index products_per_thread = 1 << 19;  // about twenty microseconds

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
