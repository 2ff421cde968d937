#pragma once
// What a backend is told about a tensor: extents, strides, element type, layout. No memory.

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "cermet/core/data_type.h"

namespace cermet {

/// A name interned by the engine; never an address. `any` leaves the choice to `prepare`.
using Layout = std::uint32_t;
inline constexpr Layout plain = 0;
inline constexpr Layout any = 1;

/// n x h x w x c in NHWC order, c fastest and always dense. Strides are in elements, so a window of
/// an image (clip rectangle, channel range, sub-batch) is a description of its own. Weights: n =
/// output channels, c = input channels of a group. `n == 0`: the slot is absent. In a layout other
/// than `plain` the strides say nothing.
struct TensorDesc {
  std::int32_t n = 0, h = 1, w = 1, c = 1;
  std::int64_t stride_n = 0, stride_h = 0, stride_w = 0;
  ElementType type = ElementType::float32;
  Layout layout = plain;

  bool operator==(const TensorDesc&) const = default;
  [[nodiscard]] constexpr bool present() const { return n != 0; }
  [[nodiscard]] constexpr std::int64_t count() const { return std::int64_t{n} * h * w * c; }
  [[nodiscard]] constexpr std::int64_t pixels() const { return std::int64_t{n} * h * w; }
  [[nodiscard]] constexpr bool dense() const {
    return stride_w == c && stride_h == stride_w * w && stride_n == stride_h * h;
  }
};
using Descs = std::span<const TensorDesc>;

[[nodiscard]] constexpr TensorDesc dense_desc(std::int32_t n, std::int32_t h, std::int32_t w,
                                              std::int32_t c,
                                              ElementType type = ElementType::float32) {
  return {n, h, w, c, std::int64_t{h} * w * c, std::int64_t{w} * c, c, type, plain};
}
/// A flat array of `length` elements.
[[nodiscard]] constexpr TensorDesc flat_desc(std::int64_t length,
                                             ElementType type = ElementType::float32) {
  return dense_desc(1, 1, 1, static_cast<std::int32_t>(length), type);
}
/// "32x28x28x64 float32"
[[nodiscard]] std::string describe(const TensorDesc& desc);

/// A description together with the address of its first element.
struct TensorView {
  TensorDesc desc;
  void* data = nullptr;
};

}  // namespace cermet
