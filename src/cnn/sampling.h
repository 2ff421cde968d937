#pragma once
// Where kernels that scale read their source (spec: pooling-shape 3.1, 4.1).

#include <cstddef>

#include "cermet/ops/sampling.h"

namespace cermet::detail {

/// `source` pixels scaled to `result` of them: position d * source / result, or with aligned
/// corners d * (source-1) / (result-1).
[[nodiscard]] SamplingAxis sampling_axis(std::int32_t source, std::int32_t result,
                                         bool align_corners, std::ptrdiff_t offset);

}  // namespace cermet::detail
