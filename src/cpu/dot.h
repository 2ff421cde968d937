#pragma once
// Sums of products over the channels of two pixels.

#include <cstdint>

namespace cermet::cpu {

/// In double; the order depends on `count` alone.
[[nodiscard]] inline double dot(const float* a, const float* b, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < count; ++c) sum += double{a[c]} * double{b[c]};
  return sum;
}

}  // namespace cermet::cpu
