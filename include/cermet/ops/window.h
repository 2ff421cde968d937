#pragma once
// Where the windows of convolutions, poolings and normalisations lie.

#include <cstdint>

#include "cermet/core/operator.h"

namespace cermet {

/// Where windows lie: tap p of output i reads source position `stride*i - pad + dilation*p`.
/// Positions outside read 0, or the nearest edge pixel when `clampEdges`.
struct Window {
  std::int32_t kernelWidth = 1, kernelHeight = 1, strideX = 1, strideY = 1;
  std::int32_t padLeft = 0, padTop = 0;  // may be negative: the first window starts inside
  std::int32_t dilationX = 1, dilationY = 1;
  std::int32_t clampEdges = 0;
  bool operator==(const Window&) const = default;
};

/// Of kernelWidth and kernelHeight, so that an int holds the area.
inline constexpr FieldRange window_sizes{1, 32767};

}  // namespace cermet
