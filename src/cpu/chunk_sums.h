#pragma once
// Sums over pixels for each channel, in double, over chunks of pixels whose size depends on the
// shape alone; chunks combine in order, so every thread count gives the same bits.

#include <algorithm>

#include "cpu/engine.h"

namespace cermet::cpu {

/// The pixels of a batch in chunks.
struct Chunks {
  TensorDesc desc;
  std::int64_t size, count;

  explicit Chunks(const TensorDesc& pixels)
      : desc(pixels), size(std::max<std::int64_t>(256, (pixels.pixels() + 63) / 64)) {
    count = (pixels.pixels() + size - 1) / size;
  }
  /// Scratch for `sums` doubles a channel and chunk.
  [[nodiscard]] std::size_t bytes(std::int64_t sums) const {
    return static_cast<std::size_t>(count * sums * desc.c) * sizeof(double);
  }
  /// visit(n, y, x, row of sums) for every pixel; `width` sums a chunk, zero at first. Afterwards
  /// the first chunk's sums hold the total.
  template <class Visit>
  void sum(int threads, double* sums, std::int64_t width, Visit&& visit) const {
    const std::int64_t h = desc.h, w = desc.w;
    parallel(threads, count, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t chunk = begin; chunk < end; ++chunk) {
        double* own = sums + chunk * width;
        std::fill_n(own, width, 0.0);
        const std::int64_t last = std::min((chunk + 1) * size, desc.pixels());
        std::int64_t at = chunk * size, n = at / (h * w), y = at / w % h, x = at % w;
        for (; at < last; ++at) {
          visit(n, y, x, own);
          if (++x < w) continue;
          x = 0;
          if (++y < h) continue;
          y = 0;
          ++n;
        }
      }
    });
    for (std::int64_t chunk = 1; chunk < count; ++chunk) {
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i) sums[i] += sums[chunk * width + i];
    }
  }
};

}  // namespace cermet::cpu
