#pragma once
// Element types: what memory holds (`ElementType`), what an image asks for
// (`ImageFeatureChannelFormat`) and what a data source says of its weights (`DataType`).

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cermet {

/// Storage type of one element of a tensor.
enum class ElementType : std::uint32_t { float32, float16, bfloat16, unorm8, unorm16, uint8 };

[[nodiscard]] constexpr std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::float32:
      return 4;
    case ElementType::float16:
    case ElementType::bfloat16:
    case ElementType::unorm16:
      return 2;
    case ElementType::unorm8:
    case ElementType::uint8:
      return 1;
  }
  return 0;
}
[[nodiscard]] std::string_view name_of(ElementType type);

/// Storage of one feature channel of an image (spec: core 1.2, 5.2). BFloat16 is ours: it takes the
/// value that the original reserves.
enum class ImageFeatureChannelFormat : int {
  None = 0,
  Unorm8 = 1,
  Unorm16 = 2,
  Float16 = 3,
  Float32 = 4,
  BFloat16 = 5,
};

/// Element type of images in `format`. `None` means "the library chooses": Float16.
[[nodiscard]] ElementType element_type(ImageFeatureChannelFormat format);
[[nodiscard]] std::string_view name_of(ImageFeatureChannelFormat format);

/// Type codes of weights, vectors and matrices (spec: core 1.2): kind bits and, below, the width.
enum class DataType : std::uint32_t {
  Invalid = 0,
  FloatBit = 0x10000000,
  ComplexBit = 0x01000000,
  SignedBit = 0x20000000,
  IntBit = SignedBit,  // the old name
  NormalizedBit = 0x40000000,
  AlternateEncodingBit = 0x80000000,
  Float32 = 0x10000020,
  Float16 = 0x10000010,
  BFloat16 = 0x90000010,
  ComplexFloat32 = 0x11000040,
  ComplexFloat16 = 0x11000020,
  ComplexBFloat16 = 0x91000020,
  Int2 = 0x20000002,
  Int4 = 0x20000004,
  Int8 = 0x20000008,
  Int16 = 0x20000010,
  Int32 = 0x20000020,
  Int64 = 0x20000040,
  UInt2 = 0x00000002,
  UInt4 = 0x00000004,
  UInt8 = 0x00000008,
  UInt16 = 0x00000010,
  UInt32 = 0x00000020,
  UInt64 = 0x00000040,
  Bool = 0x80000008,
  Unorm1 = 0x40000001,
  Unorm8 = 0x40000008,
};
[[nodiscard]] constexpr std::size_t DataTypeBitsCount(DataType type) {
  return static_cast<std::uint32_t>(type) & 0xFFFFu;
}
/// Bytes of one element; types of fewer than eight bits give 0.
[[nodiscard]] constexpr std::size_t SizeofDataType(DataType type) {
  return DataTypeBitsCount(type) >> 3;
}

/// Order of values in the memory given to `readBytes` and `writeBytes`.
enum class DataLayout : int { HeightxWidthxFeatureChannels = 0, FeatureChannelsxHeightxWidth = 1 };

/// IEEE half precision, round to nearest even, overflow to infinity, subnormals kept.
[[nodiscard]] std::uint16_t half_from_float(float value);
[[nodiscard]] float float_from_half(std::uint16_t bits);
[[nodiscard]] std::uint16_t bfloat16_from_float(float value);
[[nodiscard]] float float_from_bfloat16(std::uint16_t bits);

}  // namespace cermet
