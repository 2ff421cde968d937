#pragma once
// Moving values: conversion between element types and layouts, windows, fills.

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// destination = source, converted to its element type and layout; equal extents.
struct Copy {
  static constexpr std::string_view name = "Copy";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
};

/// destination(n, y, x, c) = source(n, y + offsetY, x + offsetX, c); outside the source 0, or the
/// nearest edge pixel when `clampEdges`.
struct Shift {
  static constexpr std::string_view name = "Shift";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t offsetX = 0, offsetY = 0, clampEdges = 0;
};

/// destination = value, every element.
struct Fill {
  static constexpr std::string_view name = "Fill";
  enum Slot { destination };
  static constexpr std::array access{Access::write};
  float value = 0;
};

using CopyOperators = TypeList<Copy, Shift, Fill>;

}  // namespace cermet
