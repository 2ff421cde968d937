// PoolingL2Norm: the root of the sum of squares of each window. The gradient of a pixel is the sum
// of gradient * taps / norm over the windows that read it, times the pixel (cnn/pooling.h; spec:
// pooling-shape 1.4, 2.4). Sums run in double, so that squares neither overflow nor vanish, in the
// order of taps and windows: results repeat for every thread count.

#include <cmath>

#include "cermet/cnn/pooling.h"
#include "cpu/neighbourhood.h"

namespace cermet::cpu {
namespace {

struct Windows {
  TensorDesc source;
  Axis y, x;

  Windows(const Window& window, const TensorDesc& desc)
      : source(desc),
        y{window.kernelHeight, window.padTop, desc.h, window.clampEdges != 0, window.strideY},
        x{window.kernelWidth, window.padLeft, desc.w, window.clampEdges != 0, window.strideX} {}

  /// visit(first, count, norms) of output (j, i), block by block of channels.
  template <class Visit>
  void for_each_block(const float* image, std::int64_t j, std::int64_t i, Visit&& visit) const {
    alignas(64) ChannelSums norms;
    for (std::int64_t first = 0; first < source.c; first += channel_block) {
      const std::int64_t count = std::min(channel_block, source.c - first);
      std::fill_n(norms.data(), count, 0.0);
      for (std::int64_t q = 0; q < y.kernel; ++q) {
        const std::int64_t row = y.position(j, q);
        for (std::int64_t p = 0; row >= 0 && p < x.kernel; ++p) {
          const std::int64_t column = x.position(i, p);
          if (column < 0) continue;
          const float* tap = pixel(image, source, 0, row, column) + first;
#pragma omp simd
          for (std::int64_t c = 0; c < count; ++c) {
            const double value = tap[c];
            norms[static_cast<std::size_t>(c)] += value * value;
          }
        }
      }
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) {
        const auto k = static_cast<std::size_t>(c);
        norms[k] = std::sqrt(norms[k]);
      }
      visit(first, count, norms.data());
    }
  }
  [[nodiscard]] std::int64_t taps() const { return y.kernel * x.kernel; }
};

}  // namespace

StepPtr prepare(const PoolingL2Norm& op, Descs descs, Engine& engine) {
  using Op = PoolingL2Norm;
  const TensorDesc destination = descs[Op::destination];
  const Windows windows(op.window, descs[Op::source]);
  const int threads = threads_for(destination.count() * windows.taps(), engine, 16384);
  return make_step(descs, "window norms", [=](const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      float* out = pixel(to, destination, n, j, i);
      windows.for_each_block(pixel(from, windows.source, n, 0, 0), j, i,
                             [&](std::int64_t first, std::int64_t count, const double* norms) {
                               std::transform(norms, norms + count, out + first,
                                              [](double norm) { return static_cast<float>(norm); });
                             });
    });
  });
}

// Two passes: gradient / norm of every window, then for every pixel the sum over its windows.
StepPtr prepare(const PoolingL2NormGradient& op, Descs descs, Engine& engine) {
  using Op = PoolingL2NormGradient;
  const TensorDesc gradient = descs[Op::gradient], destination = descs[Op::destination];
  const Windows windows(op.forward.window, descs[Op::source]);
  const TensorDesc shares_desc = dense_desc(gradient.n, gradient.h, gradient.w, gradient.c);
  const int threads = threads_for(gradient.count() * windows.taps(), engine, 16384);
  const std::int64_t top = op.originY, left = op.originX;
  const auto body = [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    auto* shares = static_cast<double*>(args.scratch);
    for_each_pixel(threads, gradient, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      const float* arriving = pixel(g, gradient, n, j, i);
      double* share = pixel(shares, shares_desc, n, j, i);
      windows.for_each_block(pixel(from, windows.source, n, 0, 0), j, i,
                             [&](std::int64_t first, std::int64_t count, const double* norms) {
#pragma omp simd
                               for (std::int64_t c = 0; c < count; ++c)
                                 share[first + c] =
                                     norms[c] == 0 ? 0.0 : double{arriving[first + c]} / norms[c];
                             });
    });
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      float* out = pixel(to, destination, n, y, x);
      const std::int64_t row = y + top, column = x + left;
      if (row >= windows.source.h || column >= windows.source.w) {
        std::fill_n(out, destination.c, 0.0F);
        return;
      }
      const auto rows = windows.y.readers(row, gradient.h);
      const auto columns = windows.x.readers(column, gradient.w);
      const float* own = pixel(from, windows.source, n, row, column);
      alignas(64) ChannelSums sums;
      for (std::int64_t first = 0; first < destination.c; first += channel_block) {
        const std::int64_t count = std::min(channel_block, destination.c - first);
        std::fill_n(sums.data(), count, 0.0);
        for (std::int64_t j = rows[0]; j < rows[1]; ++j) {
          for (std::int64_t i = columns[0]; i < columns[1]; ++i) {
            const std::int64_t times = windows.y.times(j, row) * windows.x.times(i, column);
            if (times == 0) continue;
            const double* share = pixel(shares, shares_desc, n, j, i) + first;
#pragma omp simd
            for (std::int64_t c = 0; c < count; ++c)
              sums[static_cast<std::size_t>(c)] += static_cast<double>(times) * share[c];
          }
        }
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c)
          out[first + c] =
              static_cast<float>(sums[static_cast<std::size_t>(c)] * double{own[first + c]});
      }
    });
  };
  return make_step(descs, "window norms, gather", body,
                   static_cast<std::size_t>(gradient.count()) * sizeof(double));
}

}  // namespace cermet::cpu
