// PoolingMax: largest tap of each window. PoolingMaxGradient: each gradient goes to the first
// largest tap of its window (spec: pooling-shape 1.2, 1.5, 2.2). Zeros outside take part with Zero
// edges but lose a tie to a tap inside; the first NaN wins always. Own code: oneDNN excludes the
// outside zeros, resolves ties in its own way and needs a workspace, while here the maximum is
// found again from the source. Channels are the inner loop.

#include <array>
#include <bit>

#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t channel_block = 64;  // the best taps of so many channels stay in cache

/// Whichever belongs to the larger of two taps, `later` or `sooner`: a tie stays with the sooner
/// one and so does the first NaN. Two selections and no logic between masks, which gcc vectorises.
template <class T>
inline T of_larger(float tap, float best, T later, T sooner) {
  const T unless_nan = best == best ? later : sooner;
  return tap <= best ? sooner : unless_nan;
}
inline float larger(float tap, float best) { return of_larger(tap, best, tap, best); }

/// The window of one destination pixel over a source of h x w pixels.
struct Place {
  std::int64_t y, x;  // of the first tap
  [[nodiscard]] bool inside(const Window& window, const TensorDesc& source) const {
    const std::int64_t last_y = y + std::int64_t{window.kernelHeight - 1} * window.dilationY;
    const std::int64_t last_x = x + std::int64_t{window.kernelWidth - 1} * window.dilationX;
    return y >= 0 && x >= 0 && last_y < source.h && last_x < source.w;
  }
};
Place place_of(const Window& window, std::int64_t j, std::int64_t i) {
  return {j * window.strideY - window.padTop, i * window.strideX - window.padLeft};
}

/// Calls visit(y, x) for the source pixel of every tap in row-major order and returns whether some
/// tap lies outside and is a zero.
template <class Visit>
bool for_each_tap(const Window& window, const TensorDesc& source, Place place, Visit&& visit) {
  bool outside = false;
  for (std::int64_t q = 0; q < window.kernelHeight; ++q) {
    const std::int64_t y = place.y + q * window.dilationY;
    const std::int64_t near_y = std::clamp<std::int64_t>(y, 0, source.h - 1);
    for (std::int64_t p = 0; p < window.kernelWidth; ++p) {
      const std::int64_t x = place.x + p * window.dilationX;
      const std::int64_t near_x = std::clamp<std::int64_t>(x, 0, source.w - 1);
      if (window.clampEdges != 0 || (y == near_y && x == near_x)) {
        visit(near_y, near_x);
      } else {
        outside = true;
      }
    }
  }
  return outside;
}

/// Four taps in row-major order, all inside.
struct Quad {
  const float *a, *b, *c, *d;
};

void largest_of_four(const Quad& taps, float* out, std::int64_t channels) {
  const float *a = taps.a, *b = taps.b, *c = taps.c, *d = taps.d;
#pragma omp simd
  for (std::int64_t i = 0; i < channels; ++i) {
    out[i] = larger(d[i], larger(c[i], larger(b[i], a[i])));
  }
}

bool is_two_by_two(const Window& window) {
  return window.kernelWidth == 2 && window.kernelHeight == 2 && window.dilationX == 1 &&
         window.dilationY == 1;
}

void pool(const Window& window, const TensorDesc& source, const float* image, Place place,
          float* out) {
  const std::int64_t channels = source.c;
  bool first = true;
  const bool outside = for_each_tap(window, source, place, [&](std::int64_t y, std::int64_t x) {
    const float* tap = pixel(image, source, 0, y, x);
    if (first) {
      std::copy_n(tap, channels, out);
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) out[c] = larger(tap[c], out[c]);
    }
    first = false;
  });
  if (first) {
    std::fill_n(out, channels, 0.0F);
  } else if (outside) {
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) out[c] = out[c] < 0.0F ? 0.0F : out[c];
  }
}

}  // namespace

StepPtr prepare(const PoolingMax& op, Descs descs, Engine& engine) {
  const TensorDesc source = descs[PoolingMax::source], destination = descs[PoolingMax::destination];
  const Window window = op.window;
  const bool quads = is_two_by_two(window);
  const std::int64_t taps = std::int64_t{window.kernelWidth} * window.kernelHeight;
  const int threads = threads_for(destination.count() * taps, engine);
  return make_step(descs, quads ? "2x2" : "tap loop", [=](const Args& args) {
    const auto* from = args.at<const float>(PoolingMax::source);
    float* to = args.at(PoolingMax::destination);
    for_each_row(threads, destination, [&](std::int64_t n, std::int64_t j) {
      const float* image = pixel(from, source, n, 0, 0);
      for (std::int64_t i = 0; i < destination.w; ++i) {
        const Place place = place_of(window, j, i);
        float* out = pixel(to, destination, n, j, i);
        if (quads && place.inside(window, source)) {
          const float* tap = pixel(image, source, 0, place.y, place.x);
          largest_of_four({tap, tap + source.stride_w, tap + source.stride_h,
                           tap + source.stride_h + source.stride_w},
                          out, source.c);
        } else {
          pool(window, source, image, place, out);
        }
      }
    });
  });
}

namespace {

/// Slots of one run of the gradient, at one image and one block of channels.
struct Scatter {
  TensorDesc gradient, source, destination;
  Window window;
  std::int64_t originX, originY;
  const float *g, *x;
  float* d;
  std::int64_t channels;

  [[nodiscard]] float* target(std::int64_t y, std::int64_t x_source) const {
    const std::int64_t row = y - originY, column = x_source - originX;
    if (row < 0 || column < 0 || row >= destination.h || column >= destination.w) return nullptr;
    return pixel(d, destination, 0, row, column);
  }
  void zero(std::int64_t y_begin, std::int64_t y_end, std::int64_t x_begin,
            std::int64_t x_end) const {
    for (std::int64_t y = y_begin; y < y_end; ++y) {
      for (std::int64_t column = x_begin; column < x_end; ++column) {
        std::fill_n(pixel(d, destination, 0, y, column), channels, 0.0F);
      }
    }
  }
};

/// Bits of `yes` where `mask` has ones: a store that the compiler cannot make conditional.
inline std::int32_t choose(std::int32_t mask, std::int32_t yes, std::int32_t no) {
  return no ^ ((yes ^ no) & mask);
}

/// One window: finds each channel's tap, then adds the gradient there.
void scatter_window(const Scatter& s, std::int64_t j, std::int64_t i) {
  alignas(64) std::array<float, channel_block> best;
  alignas(64) std::array<std::int32_t, channel_block> chosen;
  const Place place = place_of(s.window, j, i);
  const float* g = pixel(s.g, s.gradient, 0, j, i);
  const std::int64_t channels = s.channels;
  std::int32_t tap = 0;
  const bool outside = for_each_tap(s.window, s.source, place, [&](std::int64_t y, std::int64_t x) {
    const float* value = pixel(s.x, s.source, 0, y, x);
    if (tap == 0) {
      std::copy_n(value, channels, best.data());
      std::fill_n(chosen.data(), channels, 0);
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto at = static_cast<std::size_t>(c);
        const float before = best[at];
        const std::int32_t wins = of_larger(value[c], before, -1, 0);  // all bits or none
        chosen[at] = choose(wins, tap, chosen[at]);
        best[at] = std::bit_cast<float>(choose(wins, std::bit_cast<std::int32_t>(value[c]),
                                               std::bit_cast<std::int32_t>(before)));
      }
    }
    ++tap;
  });
  if (outside && tap != 0) {
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto at = static_cast<std::size_t>(c);
      chosen[at] = best[at] < 0.0F ? -1 : chosen[at];  // a zero outside wins: the gradient is lost
    }
  }
  tap = 0;
  for_each_tap(s.window, s.source, place, [&](std::int64_t y, std::int64_t x) {
    if (float* d = s.target(y, x); d != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) {
        d[c] += chosen[static_cast<std::size_t>(c)] == tap ? g[c] : 0.0F;
      }
    }
    ++tap;
  });
}

/// Windows side by side without a gap: every destination pixel is written once, without a sum.
void scatter_quad(const Quad& taps, const float* g, float* d, const TensorDesc& destination,
                  std::int64_t channels) {
  const float *tap0 = taps.a, *tap1 = taps.b, *tap2 = taps.c, *tap3 = taps.d;
  float *d0 = d, *d1 = d + destination.stride_w, *d2 = d + destination.stride_h;
  float* d3 = d2 + destination.stride_w;
#pragma omp simd
  for (std::int64_t i = 0; i < channels; ++i) {
    const float first = tap0[i], second = tap1[i], third = tap2[i], fourth = tap3[i];
    const float two = larger(second, first), three = larger(third, two);
    // The gradient moves on, or is lost to the earlier taps, each time a later tap is larger.
    const float share = g[i], to1 = of_larger(second, first, share, 0.0F);
    const float to0 = of_larger(second, first, 0.0F, share);
    d0[i] = of_larger(fourth, three, 0.0F, of_larger(third, two, 0.0F, to0));
    d1[i] = of_larger(fourth, three, 0.0F, of_larger(third, two, 0.0F, to1));
    d2[i] = of_larger(fourth, three, 0.0F, of_larger(third, two, share, 0.0F));
    d3[i] = of_larger(fourth, three, share, 0.0F);
  }
}

/// 2x2 windows at stride 2 from the corner, all inside source and destination.
bool is_tiled(const PoolingMaxGradient& op, const Descs& descs) {
  const TensorDesc& g = descs[PoolingMaxGradient::gradient];
  const TensorDesc& source = descs[PoolingMaxGradient::source];
  const TensorDesc& destination = descs[PoolingMaxGradient::destination];
  const Window& window = op.forward.window;
  return is_two_by_two(window) && window.strideX == 2 && window.strideY == 2 &&
         window.padLeft == 0 && window.padTop == 0 && op.originX == 0 && op.originY == 0 &&
         2 * g.h <= std::min(source.h, destination.h) &&
         2 * g.w <= std::min(source.w, destination.w);
}

void scatter_tiles(const Scatter& s) {
  for (std::int64_t j = 0; j < s.gradient.h; ++j) {
    for (std::int64_t i = 0; i < s.gradient.w; ++i) {
      const float* tap = pixel(s.x, s.source, 0, 2 * j, 2 * i);
      scatter_quad({tap, tap + s.source.stride_w, tap + s.source.stride_h,
                    tap + s.source.stride_h + s.source.stride_w},
                   pixel(s.g, s.gradient, 0, j, i), pixel(s.d, s.destination, 0, 2 * j, 2 * i),
                   s.destination, s.channels);
    }
  }
  const std::int64_t covered_h = 2 * std::int64_t{s.gradient.h};
  const std::int64_t covered_w = 2 * std::int64_t{s.gradient.w};
  s.zero(0, covered_h, covered_w, s.destination.w);
  s.zero(covered_h, s.destination.h, 0, s.destination.w);
}

}  // namespace

// Parts are images and blocks of channels, and a part's windows come in order: sums repeat bit for
// bit whatever the thread count.
StepPtr prepare(const PoolingMaxGradient& op, Descs descs, Engine& engine) {
  const TensorDesc gradient = descs[PoolingMaxGradient::gradient];
  const TensorDesc source = descs[PoolingMaxGradient::source];
  const TensorDesc destination = descs[PoolingMaxGradient::destination];
  const bool tiled = is_tiled(op, descs);
  const Window window = op.forward.window;
  const std::int64_t taps = std::int64_t{window.kernelWidth} * window.kernelHeight;
  const int threads = threads_for(gradient.count() * taps, engine, 16384);
  const bool few_images = gradient.n < 2 * threads;
  const std::int64_t width = tiled && !few_images ? gradient.c : few_images ? 16 : channel_block;
  return make_step(descs, tiled ? "2x2 tiles" : "tap loop", [=](const Args& args) {
    const std::int64_t blocks = (gradient.c + width - 1) / width;
    parallel(threads, gradient.n * blocks, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t n = part / blocks, c = part % blocks * width;
        const Scatter s{
            gradient,
            source,
            destination,
            window,
            op.originX,
            op.originY,
            args.at<const float>(PoolingMaxGradient::gradient) + n * gradient.stride_n + c,
            args.at<const float>(PoolingMaxGradient::source) + n * source.stride_n + c,
            args.at(PoolingMaxGradient::destination) + n * destination.stride_n + c,
            std::min(width, gradient.c - c)};
        if (tiled) {
          scatter_tiles(s);
          continue;
        }
        s.zero(0, destination.h, 0, destination.w);
        for (std::int64_t j = 0; j < gradient.h; ++j) {
          for (std::int64_t i = 0; i < gradient.w; ++i) scatter_window(s, j, i);
        }
      }
    });
  });
}

}  // namespace cermet::cpu
