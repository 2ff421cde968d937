#pragma once
// Where a scaled image is read: up-sampling and resizing.

#include <cstdint>

namespace cermet {

/// Output d along an axis, counted from the first that is written, lies at source position
/// offset + d * step / divisor, and no further out than the first and last pixel.
struct SamplingAxis {
  std::int32_t step = 1, divisor = 1, offset = 0;
};

/// Both axes.
struct SamplingGrid {
  SamplingAxis x{}, y{};
};

}  // namespace cermet
