// PoolingAverage: sum of the taps inside / divisor. Divisor: kernelWidth*kernelHeight with Zero
// edges; with Clamp the part of the window inside the source extended by zeroPadSize. No tap inside
// gives 0. The gradient shares each value among the taps inside (spec: pooling-shape 1.3, 2.3).
// Own code: oneDNN's two divisors do not cover zeroPadSize or an origin. The gradient gathers:
// every destination pixel sums its windows in order, so results repeat for every thread count.

#include <array>
#include <vector>

#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t channel_block = 64;

/// Windows along one axis.
struct Axis {
  std::int64_t kernel, stride, pad, extent, zero_pad;  // `extent`: of the source
  bool shrinks;

  struct Span {
    std::int64_t begin, end;
    [[nodiscard]] bool empty() const { return begin >= end; }
  };
  /// Source positions that window i reads.
  [[nodiscard]] Span taps(std::int64_t i) const {
    const std::int64_t first = stride * i - pad;
    return {std::max<std::int64_t>(first, 0), std::min(first + kernel, extent)};
  }
  /// Length of window i as far as it counts in the divisor.
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    if (!shrinks) return kernel;
    const std::int64_t first = stride * i - pad;
    const std::int64_t end = std::min(first + kernel, extent + zero_pad);
    return std::max<std::int64_t>(end - std::max(first, -zero_pad), 0);
  }
  /// Windows below `count` that read source position `at`.
  [[nodiscard]] Span windows(std::int64_t at, std::int64_t count) const {
    if (at < 0 || at >= extent) return {0, 0};
    const std::int64_t last = at + pad, first = last - kernel + 1;
    const std::int64_t begin = first <= 0 ? 0 : (first + stride - 1) / stride;
    return {begin, last < 0 ? 0 : std::min(last / stride + 1, count)};
  }
};

struct Axes {
  Axis y, x;
  Axes(const PoolingAverage& op, std::int64_t height, std::int64_t width)
      : y{op.window.kernelHeight, op.window.strideY,        op.window.padTop, height,
          op.zeroPadSizeY,        op.window.clampEdges != 0},
        x{op.window.kernelWidth, op.window.strideX,        op.window.padLeft, width,
          op.zeroPadSizeX,       op.window.clampEdges != 0} {}
};

/// out = sum over the spans of image(y, x) * weight(y, x) / divisor.
template <class Sum, class Weight>
void sum_pixels(const float* image, const TensorDesc& desc, Axis::Span lines, Axis::Span columns,
                Weight&& weight, float divisor, float* out) {
  if (lines.end == lines.begin + 1 && columns.end == columns.begin + 1) {
    const float* values = pixel(image, desc, 0, lines.begin, columns.begin);
    const auto factor = static_cast<float>(weight(lines.begin, columns.begin));
#pragma omp simd
    for (std::int64_t c = 0; c < desc.c; ++c) out[c] = values[c] * factor / divisor;
    return;
  }
  alignas(64) std::array<Sum, channel_block> sums;
  for (std::int64_t first = 0; first < desc.c; first += channel_block) {
    const std::int64_t count = std::min(channel_block, desc.c - first);
    std::fill_n(sums.data(), count, Sum{0});
    for (std::int64_t y = lines.begin; y < lines.end; ++y) {
      for (std::int64_t x = columns.begin; x < columns.end; ++x) {
        const float* values = pixel(image, desc, 0, y, x) + first;
        const Sum factor = weight(y, x);
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) {
          sums[static_cast<std::size_t>(c)] += static_cast<Sum>(values[c]) * factor;
        }
      }
    }
#pragma omp simd
    for (std::int64_t c = 0; c < count; ++c) {
      const Sum mean = sums[static_cast<std::size_t>(c)] / static_cast<Sum>(divisor);
      out[first + c] = static_cast<float>(mean);
    }
  }
}

/// Sums of more terms than this run in double.
bool many(const Window& window) { return window.kernelWidth * window.kernelHeight > 32; }

template <class Sum>
StepPtr pooling(const PoolingAverage& op, Descs descs, int threads) {
  const TensorDesc source = descs[PoolingAverage::source];
  const TensorDesc destination = descs[PoolingAverage::destination];
  const Axes axes(op, source.h, source.w);
  return make_step(descs, "window sums", [=](const Args& args) {
    const auto* from = args.at<const float>(PoolingAverage::source);
    float* to = args.at(PoolingAverage::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      float* out = pixel(to, destination, n, j, i);
      const Axis::Span lines = axes.y.taps(j), columns = axes.x.taps(i);
      if (lines.empty() || columns.empty()) {
        std::fill_n(out, destination.c, 0.0F);
        return;
      }
      const auto one = [](std::int64_t, std::int64_t) { return Sum{1}; };
      const auto divisor = static_cast<float>(axes.y.length(j) * axes.x.length(i));
      sum_pixels<Sum>(pixel(from, source, n, 0, 0), source, lines, columns, one, divisor, out);
    });
  });
}

template <class Sum>
StepPtr pooling_gradient(const PoolingAverageGradient& op, Descs descs, int threads) {
  const TensorDesc gradient = descs[PoolingAverageGradient::gradient];
  const TensorDesc destination = descs[PoolingAverageGradient::destination];
  const Axes axes(op.forward, op.sourceHeight, op.sourceWidth);
  std::vector<Axis::Span> readers_y, readers_x;  // of every destination row and column
  for (std::int64_t y = 0; y < destination.h; ++y) {
    readers_y.push_back(axes.y.windows(y + op.originY, gradient.h));
  }
  for (std::int64_t x = 0; x < destination.w; ++x) {
    readers_x.push_back(axes.x.windows(x + op.originX, gradient.w));
  }
  return make_step(descs, "window gather", [=](const Args& args) {
    const auto* g = args.at<const float>(PoolingAverageGradient::gradient);
    float* to = args.at(PoolingAverageGradient::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const Axis::Span lines = readers_y[static_cast<std::size_t>(y)];
      const Axis::Span columns = readers_x[static_cast<std::size_t>(x)];
      const auto share = [&](std::int64_t j, std::int64_t i) {
        return Sum{1} / static_cast<Sum>(axes.y.length(j) * axes.x.length(i));
      };
      sum_pixels<Sum>(pixel(g, gradient, n, 0, 0), gradient, lines, columns, share, 1.0F,
                      pixel(to, destination, n, y, x));
    });
  });
}

}  // namespace

StepPtr prepare(const PoolingAverage& op, Descs descs, Engine& engine) {
  const std::int64_t taps = std::int64_t{op.window.kernelWidth} * op.window.kernelHeight;
  const int threads = threads_for(descs[PoolingAverage::destination].count() * taps, engine, 32768);
  return many(op.window) ? pooling<double>(op, descs, threads) : pooling<float>(op, descs, threads);
}

StepPtr prepare(const PoolingAverageGradient& op, Descs descs, Engine& engine) {
  const Window& window = op.forward.window;
  const int threads = threads_for(descs[PoolingAverageGradient::destination].count(), engine, 8192);
  return many(window) ? pooling_gradient<double>(op, descs, threads)
                      : pooling_gradient<float>(op, descs, threads);
}

}  // namespace cermet::cpu
