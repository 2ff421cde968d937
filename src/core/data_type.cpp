#include "cermet/core/data_type.h"

#include <bit>

namespace cermet {

std::string_view name_of(ElementType type) {
  switch (type) {
    case ElementType::float32:
      return "float32";
    case ElementType::float16:
      return "float16";
    case ElementType::bfloat16:
      return "bfloat16";
    case ElementType::unorm8:
      return "unorm8";
    case ElementType::unorm16:
      return "unorm16";
    case ElementType::uint8:
      return "uint8";
  }
  return "?";
}

std::string_view name_of(ImageFeatureChannelFormat format) {
  switch (format) {
    case ImageFeatureChannelFormat::None:
      return "None";
    case ImageFeatureChannelFormat::Unorm8:
      return "Unorm8";
    case ImageFeatureChannelFormat::Unorm16:
      return "Unorm16";
    case ImageFeatureChannelFormat::Float16:
      return "Float16";
    case ImageFeatureChannelFormat::Float32:
      return "Float32";
    case ImageFeatureChannelFormat::BFloat16:
      return "BFloat16";
  }
  return "?";
}

ElementType element_type(ImageFeatureChannelFormat format) {
  switch (format) {
    case ImageFeatureChannelFormat::Unorm8:
      return ElementType::unorm8;
    case ImageFeatureChannelFormat::Unorm16:
      return ElementType::unorm16;
    case ImageFeatureChannelFormat::Float32:
      return ElementType::float32;
    case ImageFeatureChannelFormat::BFloat16:
      return ElementType::bfloat16;
    case ImageFeatureChannelFormat::None:
    case ImageFeatureChannelFormat::Float16:
      break;
  }
  return ElementType::float16;
}

std::uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);
  if (magnitude >= 0x38800000u) {  // normal half: rebias by 112, round the 13 lost bits to even
    const std::uint32_t rebiased = magnitude - 0x38000000u;
    const std::uint32_t rounded = rebiased + 0x0FFFu + ((rebiased >> 13) & 1u);
    return static_cast<std::uint16_t>(sign | (rounded >> 13));
  }
  if (magnitude < 0x33000000u) return static_cast<std::uint16_t>(sign);  // below half of 2^-24
  const std::uint32_t exponent = magnitude >> 23;
  const std::uint32_t shift = 126u - exponent;  // 14 ... 24 bits fall off the significand
  const std::uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
  const std::uint32_t kept = significand >> shift;
  const std::uint32_t lost = significand & ((1u << shift) - 1u);
  const std::uint32_t half = 1u << (shift - 1u);
  const std::uint32_t up = (lost > half || (lost == half && (kept & 1u) != 0u)) ? 1u : 0u;
  return static_cast<std::uint16_t>(sign | (kept + up));
}

float float_from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  const std::uint32_t significand = bits & 0x3FFu;
  if (exponent == 0x1Fu) return std::bit_cast<float>(sign | 0x7F800000u | (significand << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (significand << 13));
  const float magnitude = static_cast<float>(significand) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

std::uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace cermet
