#pragma once
// Pooling and its gradients (spec: pooling-shape 1, 2). Windows as in convolution.h.

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/convolution.h"

namespace cermet {

/// Largest tap. Zero edges: outside zeros take part. A NaN tap makes the result NaN.
struct PoolingMax {
  static constexpr std::string_view name = "CNNPoolingMax";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
};

/// destination[d] = sum of the gradients of the windows whose first largest tap, in row-major scan
/// order, is source pixel (originX, originY) + d; other pixels get 0.
struct PoolingMaxGradient {
  static constexpr std::string_view name = "CNNPoolingMaxGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  PoolingMax forward{};
  std::int32_t originX = 0, originY = 0;
};

/// Mean of the window: divided by kernelWidth*kernelHeight with Zero edges; with Clamp by the part
/// of the window inside the source extended by zeroPadSize on every side. No tap inside gives 0.
struct PoolingAverage {
  static constexpr std::string_view name = "CNNPoolingAverage";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
  std::int32_t zeroPadSizeX = 0, zeroPadSizeY = 0;
};

/// destination[d] = sum over windows that contain (originX, originY) + d of gradient / divisor.
struct PoolingAverageGradient {
  static constexpr std::string_view name = "CNNPoolingAverageGradient";
  enum Slot { gradient, destination };
  static constexpr std::array access{Access::read, Access::write};
  PoolingAverage forward{};
  std::int32_t originX = 0, originY = 0;
  std::int32_t sourceWidth = 0, sourceHeight = 0;  // of the forward source
};

}  // namespace cermet
