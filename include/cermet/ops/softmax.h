#pragma once
// Soft-max and log-soft-max over the channels of each pixel (spec: pointwise 6, 7).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// y[k] = exp(x[k] - m) / sum exp(x[j] - m), m the largest x.
struct SoftMax {
  static constexpr std::string_view name = "CNNSoftMax";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t logarithmic = 0;  // 1: y[k] = x[k] - m - ln(sum exp(x[j] - m))
};

/// From the forward RESULT y: y[k]*(g[k] - sum g[j]*y[j]); logarithmic: g[k] - exp(y[k])*sum g[j].
struct SoftMaxGradient {
  static constexpr std::string_view name = "CNNSoftMaxGradient";
  enum Slot { gradient, result, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  SoftMax forward{};
};

}  // namespace cermet
