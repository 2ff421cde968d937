#pragma once
// Windows and the adjoint along an axis; at stride 1 around each pixel, what normalisations by a
// neighbourhood share. Sums run over the channels of a pixel side by side, in double, in the order
// of the taps.

#include <algorithm>
#include <array>

#include "cermet/ops/window.h"
#include "cpu/engine.h"

namespace cermet::cpu {

inline constexpr std::int64_t channel_block = 64;
using ChannelSums = std::array<double, channel_block>;

/// Windows along one axis of the source.
struct Axis {
  std::int64_t kernel, pad, extent;
  bool clamps;
  std::int64_t stride = 1;

  /// The source position of tap p of output i; -1 is a zero outside.
  [[nodiscard]] std::int64_t position(std::int64_t i, std::int64_t p) const {
    const std::int64_t at = stride * i - pad + p,
                       near = std::clamp<std::int64_t>(at, 0, extent - 1);
    return at == near || clamps ? near : -1;
  }
  [[nodiscard]] std::int64_t centre(std::int64_t i) const { return position(i, kernel / 2); }

  /// How many taps of output i read position `at`: several where a clamped edge repeats.
  [[nodiscard]] std::int64_t times(std::int64_t i, std::int64_t at) const {
    const std::int64_t first = stride * i - pad, last = first + kernel - 1;
    const std::int64_t begin = clamps && at == 0 ? first : std::max(first, at);
    const std::int64_t end = clamps && at == extent - 1 ? last : std::min(last, at);
    return std::max<std::int64_t>(end - begin + 1, 0);
  }
  /// First and one past the last of `count` outputs that may read `at`.
  [[nodiscard]] std::array<std::int64_t, 2> readers(std::int64_t at, std::int64_t count) const {
    const std::int64_t last = at + pad, first = last - kernel + 1;
    const std::int64_t end = last < 0 ? 0 : std::min(last / stride + 1, count);
    return {(clamps && at == 0) || first <= 0 ? 0 : (first + stride - 1) / stride,
            clamps && at == extent - 1 ? count : end};
  }
};

/// The windows of one image.
struct Neighbourhood {
  TensorDesc source;
  Axis y, x;

  Neighbourhood(const Window& window, const TensorDesc& desc)
      : source(desc),
        y{window.kernelHeight, window.padTop, desc.h, window.clampEdges != 0},
        x{window.kernelWidth, window.padLeft, desc.w, window.clampEdges != 0} {}

  [[nodiscard]] double area() const { return static_cast<double>(y.kernel * x.kernel); }
  /// The pixel in the middle of output (j, i)'s window; null: a zero outside.
  [[nodiscard]] const float* centre(const float* image, std::int64_t j, std::int64_t i) const {
    const std::int64_t row = y.centre(j), column = x.centre(i);
    return row < 0 || column < 0 ? nullptr : pixel(image, source, 0, row, column);
  }
  /// visit(first, count, sums, squares, centre): sum and sum of squares of the window of output (j,
  /// i) for `count` channels from `first` on; `centre` points to those of the middle, or is null.
  template <class Visit>
  void for_each_block(const float* image, std::int64_t j, std::int64_t i, Visit&& visit) const {
    alignas(64) ChannelSums sums, squares;
    const float* middle = centre(image, j, i);
    for (std::int64_t first = 0; first < source.c; first += channel_block) {
      const std::int64_t count = std::min(channel_block, source.c - first);
      add_up(image + first, j, i, count, sums.data(), squares.data());
      visit(first, count, sums, squares, middle != nullptr ? middle + first : nullptr);
    }
  }

 private:
  void add_up(const float* image, std::int64_t j, std::int64_t i, std::int64_t count, double* sums,
              double* squares) const {
    std::fill_n(sums, count, 0.0);
    std::fill_n(squares, count, 0.0);
    for (std::int64_t q = 0; q < y.kernel; ++q) {
      for (std::int64_t p = 0; p < x.kernel; ++p) {
        const std::int64_t row = y.position(j, q), column = x.position(i, p);
        if (row < 0 || column < 0) continue;
        const float* tap = pixel(image, source, 0, row, column);
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) {
          const double value = tap[c];
          sums[c] += value;
          squares[c] += value * value;
        }
      }
    }
  }
};

/// What every output o gives to the gradient of the pixels u that it reads: `direct` to the one in
/// the middle of its window, and constant + slope * x(u) for each tap. Dense, placed like the
/// gradient.
struct Contributions {
  TensorDesc desc;
  float *direct, *constant, *slope;

  Contributions(const TensorDesc& gradient, void* scratch)
      : desc(dense_desc(gradient.n, gradient.h, gradient.w, gradient.c)),
        direct(static_cast<float*>(scratch)),
        constant(direct + desc.count()),
        slope(constant + desc.count()) {}
  [[nodiscard]] static std::size_t bytes(const TensorDesc& gradient) {
    return 3 * static_cast<std::size_t>(gradient.count()) * sizeof(float);
  }

  /// The sum at source pixel (row, column) of image n, into `out`.
  void gather(const Neighbourhood& windows, const float* image, std::int64_t n, std::int64_t row,
              std::int64_t column, float* out) const {
    alignas(64) ChannelSums sums, slopes;
    const auto rows = windows.y.readers(row, desc.h), columns = windows.x.readers(column, desc.w);
    const float* own = pixel(image, windows.source, 0, row, column);
    for (std::int64_t first = 0; first < desc.c; first += channel_block) {
      const std::int64_t count = std::min(channel_block, desc.c - first);
      std::fill_n(sums.data(), count, 0.0);
      std::fill_n(slopes.data(), count, 0.0);
      for (std::int64_t j = rows[0]; j < rows[1]; ++j) {
        for (std::int64_t i = columns[0]; i < columns[1]; ++i) {
          const auto times =
              static_cast<double>(windows.y.times(j, row) * windows.x.times(i, column));
          const double centre =
              windows.y.centre(j) == row && windows.x.centre(i) == column ? 1.0 : 0.0;
          const std::int64_t at = pixel(direct, desc, n, j, i) - direct + first;
#pragma omp simd
          for (std::int64_t c = 0; c < count; ++c) {
            const auto k = static_cast<std::size_t>(c);
            sums[k] += centre * double{direct[at + c]} + times * double{constant[at + c]};
            slopes[k] += times * double{slope[at + c]};
          }
        }
      }
      for (std::int64_t c = 0; c < count; ++c) {
        const auto k = static_cast<std::size_t>(c);
        out[first + c] = static_cast<float>(sums[k] + slopes[k] * double{own[first + c]});
      }
    }
  }
};

/// The gradient in two passes over memory: contribute(image, gradient pixel, n, j, i,
/// contributions) for each output, then for every pixel the sum over the outputs that read it.
template <class Op, class Contribute>
StepPtr window_gradient_step(const Window& window, Descs descs, Engine& engine,
                             Contribute contribute) {
  const TensorDesc gradient = descs[Op::gradient], destination = descs[Op::destination];
  const Neighbourhood windows(window, descs[Op::source]);
  const int threads = threads_for(gradient.count(), engine, 1024);
  const auto body = [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* x = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    const Contributions parts(gradient, args.scratch);
    for_each_pixel(threads, parts.desc, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      const std::int64_t at = pixel(parts.direct, parts.desc, n, j, i) - parts.direct;
      const float* arriving = pixel(g, gradient, n, j, i);
      windows.for_each_block(pixel(x, windows.source, n, 0, 0), j, i,
                             [&](std::int64_t first, std::int64_t count, const ChannelSums& sums,
                                 const ChannelSums& squares, const float* centre) {
                               for (std::int64_t c = 0; c < count; ++c) {
                                 const auto k = static_cast<std::size_t>(c);
                                 const auto part = contribute(
                                     windows, double{arriving[first + c]}, sums[k], squares[k],
                                     centre != nullptr ? double{centre[c]} : 0.0);
                                 parts.direct[at + first + c] = static_cast<float>(part.direct);
                                 parts.constant[at + first + c] = static_cast<float>(part.constant);
                                 parts.slope[at + first + c] = static_cast<float>(part.slope);
                               }
                             });
    });
    for_each_pixel(threads, destination,
                   [&](std::int64_t n, std::int64_t row, std::int64_t column) {
                     float* out = pixel(to, destination, n, row, column);
                     if (row >= windows.source.h || column >= windows.source.w) {
                       std::fill_n(out, destination.c, 0.0F);
                       return;
                     }
                     parts.gather(windows, pixel(x, windows.source, n, 0, 0), n, row, column, out);
                   });
  };
  return make_step(descs, "window gather", body, Contributions::bytes(gradient));
}
/// What `contribute` returns.
struct Contribution {
  double direct, constant, slope;
};

/// value(windows, sum, sum of squares, pixel) for each element of the destination.
template <class Op, class Value>
StepPtr window_step(const Window& window, Descs descs, Engine& engine, Value value) {
  const TensorDesc destination = descs[Op::destination];
  const Neighbourhood windows(window, descs[Op::source]);
  const int threads = threads_for(destination.count(), engine, 1024);
  return make_step(descs, "window sums", [=](const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      float* out = pixel(to, destination, n, j, i);
      windows.for_each_block(
          pixel(from, windows.source, n, 0, 0), j, i,
          [&](std::int64_t first, std::int64_t count, const ChannelSums& sums,
              const ChannelSums& squares, const float* centre) {
            for (std::int64_t c = 0; c < count; ++c) {
              const auto k = static_cast<std::size_t>(c);
              out[first + c] = static_cast<float>(
                  value(windows, sums[k], squares[k], centre != nullptr ? double{centre[c]} : 0.0));
            }
          });
    });
  });
}

}  // namespace cermet::cpu
