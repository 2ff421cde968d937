// LocalCorrelation (cnn/local_correlation.h; spec: pooling-shape 12). Sums in double. Own code: it
// is no convolution, since both factors change from pixel to pixel.

#include "cermet/cnn/local_correlation.h"

#include "cpu/dot.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

/// Positions along one axis of the secondary source.
struct Axis {
  std::int64_t window, stride, extent;
  bool clamps;

  [[nodiscard]] std::int64_t taps() const { return 2 * window + 1; }
  /// What tap t of position `at` reads; -1 is a zero outside.
  [[nodiscard]] std::int64_t position(std::int64_t at, std::int64_t t) const {
    const std::int64_t wanted = at + (t - window) * stride;
    const std::int64_t near = std::clamp<std::int64_t>(wanted, 0, extent - 1);
    return wanted == near || clamps ? near : -1;
  }
};

/// The sum where the other factors are zeros outside: 0, or NaN by the rules of IEEE.
double dot_zero(const float* a, std::int64_t count) {
  double sum = 0;
  for (std::int64_t c = 0; c < count; ++c) sum += double{a[c]} * 0.0;
  return sum;
}

}  // namespace

StepPtr prepare(const LocalCorrelation& op, Descs descs, Engine& engine) {
  using Op = LocalCorrelation;
  const TensorDesc primary = descs[Op::primary], destination = descs[Op::destination];
  TensorDesc secondary = descs[Op::secondary];
  if (secondary.n == 1) secondary.stride_n = 0;
  const Axis rows{op.windowInY, op.strideInY, secondary.h, op.clampEdges != 0};
  const Axis columns{op.windowInX, op.strideInX, secondary.w, op.clampEdges != 0};
  const std::int64_t channels = primary.c;
  const int threads = threads_for(destination.count() * channels, engine);
  return make_step(descs, "local correlation", [=](const Args& args) {
    const auto* a = args.at<const float>(Op::primary);
    const auto* b = args.at<const float>(Op::secondary);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const float* own = pixel(a, primary, n, y, x);
      float* out = pixel(to, destination, n, y, x);
      const auto outside = static_cast<float>(dot_zero(own, channels));
      for (std::int64_t q = 0; q < rows.taps(); ++q) {
        const std::int64_t row = rows.position(y, q);
        for (std::int64_t p = 0; p < columns.taps(); ++p, ++out) {
          const std::int64_t column = columns.position(x, p);
          *out = row < 0 || column < 0
                     ? outside
                     : static_cast<float>(dot(own, pixel(b, secondary, n, row, column), channels));
        }
      }
    });
  });
}

}  // namespace cermet::cpu
