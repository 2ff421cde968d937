// SpatialNormalization: y = x * T^-beta, T = delta + alpha/(kw*kh) * sum of x^2 over the window of
// the same channel, and its exact gradient (spec: normalization 3, ops/normalization.h).
// Own code: oneDNN's within-channel form has square odd windows and no clamped edges, and the
// gradient the original prints is not the derivative. The gradient is two passes over memory: what
// each output contributes, then for every pixel the sum over the outputs that read it.

#include <array>
#include <cmath>

#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t channel_block = 64;

/// Windows at stride 1 along one axis of the source.
struct Axis {
  std::int64_t kernel, pad, extent;
  bool clamps;

  /// The source position of tap p of output i; -1 is a zero outside.
  [[nodiscard]] std::int64_t position(std::int64_t i, std::int64_t p) const {
    const std::int64_t at = i - pad + p, near = std::clamp<std::int64_t>(at, 0, extent - 1);
    return at == near || clamps ? near : -1;
  }
  [[nodiscard]] std::int64_t centre(std::int64_t i) const { return position(i, kernel / 2); }

  /// How many taps of output i read position `at`: several where a clamped edge repeats.
  [[nodiscard]] std::int64_t times(std::int64_t i, std::int64_t at) const {
    const std::int64_t first = i - pad, last = first + kernel - 1;
    const std::int64_t begin = clamps && at == 0 ? first : std::max(first, at);
    const std::int64_t end = clamps && at == extent - 1 ? last : std::min(last, at);
    return std::max<std::int64_t>(end - begin + 1, 0);
  }
  /// First and one past the last of `count` outputs that may read `at`.
  [[nodiscard]] std::array<std::int64_t, 2> readers(std::int64_t at, std::int64_t count) const {
    const std::int64_t first = clamps && at == 0 ? 0 : at + pad - kernel + 1;
    const std::int64_t last = clamps && at == extent - 1 ? count - 1 : at + pad;
    return {std::max<std::int64_t>(first, 0), std::min(last + 1, count)};
  }
};

/// One image: where windows lie and the factor of the sum of squares.
struct Windows {
  TensorDesc source;
  Axis y, x;
  float alpha, beta, delta;

  Windows(const SpatialNormalization& op, const TensorDesc& desc)
      : source(desc),
        y{op.window.kernelHeight, op.window.padTop, desc.h, op.window.clampEdges != 0},
        x{op.window.kernelWidth, op.window.padLeft, desc.w, op.window.clampEdges != 0},
        alpha(op.alpha / static_cast<float>(op.window.kernelWidth * op.window.kernelHeight)),
        beta(op.beta),
        delta(op.delta) {}

  /// visit(c, x, T) at output (j, i), x being the pixel in the window's centre.
  template <class Visit>
  void for_each_channel(const float* image, std::int64_t j, std::int64_t i, Visit&& visit) const {
    alignas(64) std::array<double, channel_block> squares;
    const std::int64_t centre_y = y.centre(j), centre_x = x.centre(i);
    const bool inside = centre_y >= 0 && centre_x >= 0;
    const float* centre = inside ? pixel(image, source, 0, centre_y, centre_x) : nullptr;
    for (std::int64_t first = 0; first < source.c; first += channel_block) {
      const std::int64_t count = std::min(channel_block, source.c - first);
      sum_squares(image + first, j, i, count, squares.data());
      for (std::int64_t c = 0; c < count; ++c) {
        const double t = double{delta} + double{alpha} * squares[static_cast<std::size_t>(c)];
        visit(first + c, inside ? centre[first + c] : 0.0F, static_cast<float>(t));
      }
    }
  }

 private:
  void sum_squares(const float* image, std::int64_t j, std::int64_t i, std::int64_t count,
                   double* squares) const {
    std::fill_n(squares, count, 0.0);
    for (std::int64_t q = 0; q < y.kernel; ++q) {
      for (std::int64_t p = 0; p < x.kernel; ++p) {
        const std::int64_t row = y.position(j, q), column = x.position(i, p);
        if (row < 0 || column < 0) continue;
        const float* tap = pixel(image, source, 0, row, column);
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) squares[c] += double{tap[c]} * double{tap[c]};
      }
    }
  }
};

}  // namespace

StepPtr prepare(const SpatialNormalization& op, Descs descs, Engine& engine) {
  const TensorDesc destination = descs[SpatialNormalization::destination];
  const Windows windows(op, descs[SpatialNormalization::source]);
  const int threads = threads_for(destination.count(), engine, 1024);
  return make_step(descs, "window sums", [=](const Args& args) {
    const auto* from = args.at<const float>(SpatialNormalization::source);
    float* to = args.at(SpatialNormalization::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      const float* image = pixel(from, windows.source, n, 0, 0);
      float* out = pixel(to, destination, n, j, i);
      windows.for_each_channel(image, j, i, [&](std::int64_t c, float x, float t) {
        out[c] = x * std::pow(t, -windows.beta);
      });
    });
  });
}

namespace {

/// What every output contributes: `direct` to its centre, `through` to each pixel u of its window
/// when multiplied by u. Both dense, placed like the gradient.
struct Contributions {
  TensorDesc desc;
  float *direct, *through;
};

void gather(const Windows& windows, const Contributions& from, const float* image, std::int64_t n,
            std::array<std::int64_t, 2> at, float* out) {
  alignas(64) std::array<double, channel_block> direct, through;
  const auto lines = windows.y.readers(at[0], from.desc.h);
  const auto columns = windows.x.readers(at[1], from.desc.w);
  const float* own = pixel(image, windows.source, 0, at[0], at[1]);
  const double scale = -2.0 * double{windows.alpha} * double{windows.beta};
  for (std::int64_t first = 0; first < from.desc.c; first += channel_block) {
    const std::int64_t count = std::min(channel_block, from.desc.c - first);
    std::fill_n(direct.data(), count, 0.0);
    std::fill_n(through.data(), count, 0.0);
    for (std::int64_t j = lines[0]; j < lines[1]; ++j) {
      for (std::int64_t i = columns[0]; i < columns[1]; ++i) {
        const std::int64_t times = windows.y.times(j, at[0]) * windows.x.times(i, at[1]);
        const bool centre = windows.y.centre(j) == at[0] && windows.x.centre(i) == at[1];
        const auto factor = static_cast<double>(times);
        const float* a = pixel(from.direct, from.desc, n, j, i) + first;
        const float* b = pixel(from.through, from.desc, n, j, i) + first;
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) {
          const auto k = static_cast<std::size_t>(c);
          direct[k] += centre ? double{a[c]} : 0.0;
          through[k] += factor * double{b[c]};
        }
      }
    }
    for (std::int64_t c = 0; c < count; ++c) {
      const auto k = static_cast<std::size_t>(c);
      const double value = direct[k] + scale * through[k] * double{own[first + c]};
      out[first + c] = static_cast<float>(value);
    }
  }
}

}  // namespace

StepPtr prepare(const SpatialNormalizationGradient& op, Descs descs, Engine& engine) {
  using Op = SpatialNormalizationGradient;
  const TensorDesc gradient = descs[Op::gradient], destination = descs[Op::destination];
  const Windows windows(op.forward, descs[Op::source]);
  const int threads = threads_for(gradient.count(), engine, 1024);
  const std::int64_t count = gradient.count();
  const TensorDesc dense = dense_desc(gradient.n, gradient.h, gradient.w, gradient.c);
  const auto body = [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* x = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    auto* scratch = static_cast<float*>(args.scratch);
    const Contributions parts{dense, scratch, scratch + count};
    for_each_pixel(threads, dense, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      const float* arriving = pixel(g, gradient, n, j, i);
      float* direct = pixel(parts.direct, dense, n, j, i);
      float* through = pixel(parts.through, dense, n, j, i);
      const float* image = pixel(x, windows.source, n, 0, 0);
      windows.for_each_channel(image, j, i, [&](std::int64_t c, float own, float t) {
        const float scaled = arriving[c] * std::pow(t, -windows.beta);
        direct[c] = scaled;
        through[c] = scaled * own / t;
      });
    });
    for_each_pixel(
        threads, destination, [&](std::int64_t n, std::int64_t row, std::int64_t column) {
          float* out = pixel(to, destination, n, row, column);
          if (row >= windows.source.h || column >= windows.source.w) {
            std::fill_n(out, destination.c, 0.0F);
          } else {
            gather(windows, parts, pixel(x, windows.source, n, 0, 0), n, {row, column}, out);
          }
        });
  };
  return make_step(descs, "window gather", body,
                   2 * static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace cermet::cpu
