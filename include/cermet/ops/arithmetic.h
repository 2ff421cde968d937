#pragma once
// Element-wise arithmetic with broadcasting, and the gradient of one operand (spec: pointwise
// 8-11).

#include <array>
#include <limits>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

enum class ArithmeticKind : std::int32_t { add, subtract, multiply, divide };

/// destination = clamp((p*x) op (s*y) + bias). An operand whose extent along w, h or c is 1 while
/// the destination's is larger is broadcast along it. `mask` (one byte an element, may be absent):
/// 1 where the raw result lies strictly between the limits.
/// A limit at its default is no limit: infinities and NaN pass.
struct Arithmetic {
  static constexpr std::string_view name = "CNNArithmetic";
  enum Slot { primary, secondary, destination, mask };
  static constexpr std::array access{Access::read, Access::read, Access::write, Access::write};
  ArithmeticKind kind = ArithmeticKind::add;
  float primaryScale = 1, secondaryScale = 1, bias = 0;
  float minimumValue = std::numeric_limits<float>::lowest(),
        maximumValue = std::numeric_limits<float>::max();
};

/// destination = clamp(sum over the axes along which the destination's extent is 1 and the
/// gradient's is larger of (primaryScale * gradient * mask) [* (secondaryScale * other)] + bias).
/// `other` takes part for multiply alone and may be broadcast; `mask` may be absent.
struct ArithmeticGradient {
  static constexpr std::string_view name = "CNNArithmeticGradient";
  enum Slot { gradient, other, mask, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  ArithmeticKind kind = ArithmeticKind::add;
  float primaryScale = 1, secondaryScale = 1, bias = 0;
  float minimumValue = std::numeric_limits<float>::lowest(),
        maximumValue = std::numeric_limits<float>::max();
};

}  // namespace cermet
