#pragma once
// Dropout (spec: pointwise 13).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// destination = mask ? source / keep : +0 (selected, not multiplied). Mask element
/// ((y*strideY)*W' + x*strideX)*C' + c*strideC of image n is kept when u < keep, u = the top 24
/// bits of word (e mod 4) of Philox4x32-10 with key = seed and counter = {e / 4, first image + n,
/// encode low, encode high}, e the mask element's index in row-major order y, x, c. `mask`: uint8,
/// 1 = kept, extents (strideY ? H : 1) x (strideX ? W : 1) x (strideC ? C : 1); may be absent.
struct Dropout {
  static constexpr std::string_view name = "CNNDropout";
  enum Slot { source, mask, destination };
  static constexpr std::array access{Access::read, Access::write, Access::write};
  float keepProbability = 0.5F;
  std::int32_t maskStrideX = 1, maskStrideY = 1, maskStrideC = 1;
  struct Scalars {
    std::uint64_t seed = 0, encode = 0;
    std::uint32_t first_image = 0, unused = 0;
  };
};

/// destination = mask ? gradient / keep : 0. The mask element of destination (x, y) is that of
/// (x + shiftX, y + shiftY); outside the mask nothing was kept.
struct DropoutGradient {
  static constexpr std::string_view name = "CNNDropoutGradient";
  enum Slot { gradient, mask, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Dropout forward{};
  std::int32_t shiftX = 0, shiftY = 0;
};

}  // namespace cermet
