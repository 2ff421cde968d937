#pragma once
// Where kernels that scale read their source (spec: pooling-shape 3.1, 4.1).

#include <cstddef>
#include <numeric>

#include "cermet/ops/sampling.h"

namespace cermet::detail {

/// `source` pixels scaled to `result` of them: position d * source / result, or with aligned
/// corners d * (source-1) / (result-1).
[[nodiscard]] inline SamplingAxis sampling_axis(std::int32_t source, std::int32_t result,
                                                bool align_corners, std::ptrdiff_t offset) {
  const std::int32_t step = align_corners ? source - 1 : source;
  const std::int32_t divisor = align_corners ? result - 1 : result;
  const std::int32_t common = divisor > 0 ? std::gcd(step, divisor) : 1;
  const auto from = static_cast<std::int32_t>(offset);
  return divisor > 0 ? SamplingAxis{step / common, divisor / common, from}
                     : SamplingAxis{0, 1, from};
}

}  // namespace cermet::detail
