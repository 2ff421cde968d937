#pragma once
// Interpolation between four pixels.

#include <algorithm>
#include <array>

#include "cpu/engine.h"

namespace cermet::cpu {

/// A place between two positions of an axis: 1 - t of `low` and t of `high`.
struct Between {
  std::int64_t low = 0, high = 0;
  double t = 0;
};

/// Pixels with their weights, of which those of weight 0 do not count.
class Blend {
 public:
  void add(const float* from, double weight) {
    if (weight == 0) return;
    from_[count_] = from;
    weights_[count_++] = weight;
  }
  void write(float* out, std::int64_t channels) const {
    switch (count_) {
      case 0:
        std::fill_n(out, channels, 0.0F);
        return;
      case 1:
        sum<1>(out, channels);
        return;
      case 2:
        sum<2>(out, channels);
        return;
      case 3:
        sum<3>(out, channels);
        return;
      default:
        sum<4>(out, channels);
    }
  }

 private:
  template <std::size_t count>
  void sum(float* out, std::int64_t channels) const {
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      double value = 0;
      for (std::size_t i = 0; i < count; ++i) value += weights_[i] * double{from_[i][c]};
      out[c] = static_cast<float>(value);
    }
  }
  std::size_t count_ = 0;
  std::array<const float*, 4> from_{};
  std::array<double, 4> weights_{};
};

/// The pixel between four of image n; all positions lie inside.
inline void interpolate(const float* from, const TensorDesc& source, std::int64_t n,
                        const Between& y, const Between& x, float* out) {
  Blend blend;
  blend.add(pixel(from, source, n, y.low, x.low), (1 - y.t) * (1 - x.t));
  blend.add(pixel(from, source, n, y.low, x.high), (1 - y.t) * x.t);
  blend.add(pixel(from, source, n, y.high, x.low), y.t * (1 - x.t));
  blend.add(pixel(from, source, n, y.high, x.high), y.t * x.t);
  blend.write(out, source.c);
}

}  // namespace cermet::cpu
