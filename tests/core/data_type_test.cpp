// Conversions between float32 and the 16-bit types against references in double precision, and the
// tables of types (spec: core 1.2, 5.2).

#include "cermet/core/data_type.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace cermet {
namespace {

/// A binary format: `significand` stored bits, smallest normal exponent, largest exponent.
struct Format {
  int significand, least, largest;
  std::uint16_t (*encode)(float);
  float (*decode)(std::uint16_t);
};
const Format half{10, -14, 15, half_from_float, float_from_half};
const Format bfloat{7, -126, 127, bfloat16_from_float, float_from_bfloat16};

/// The value of `bits` from the definition of the format.
double defined_value(const Format& f, unsigned bits) {
  const unsigned mask = (1u << f.significand) - 1u;
  const int exponent = static_cast<int>((bits & 0x7FFFu) >> f.significand);
  const double fraction = std::ldexp(bits & mask, -f.significand);
  const double sign = (bits & 0x8000u) != 0 ? -1 : 1;
  if (exponent == f.largest - f.least + 2) {
    return (bits & mask) != 0 ? std::numeric_limits<double>::quiet_NaN()
                              : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, f.least);
  return sign * std::ldexp(1 + fraction, exponent - 1 + f.least);
}

/// `value` rounded to nearest, ties to even, in double arithmetic.
double rounded(const Format& f, double value) {
  const double magnitude = std::abs(value);
  if (std::isnan(value) || std::isinf(value) || magnitude == 0) return value;
  const int exponent = std::max(std::ilogb(magnitude), f.least);
  const double quantum = std::ldexp(1.0, exponent - f.significand);
  const double result = std::nearbyint(magnitude / quantum) * quantum;
  const double limit = std::ldexp(2.0, f.largest);
  return std::copysign(result >= limit ? std::numeric_limits<double>::infinity() : result, value);
}

::testing::AssertionResult converts(const Format& f, float value) {
  const double wanted = rounded(f, value);
  const std::uint16_t bits = f.encode(value);
  const double got = defined_value(f, bits);
  if (std::isnan(wanted) && std::isnan(got) && std::signbit(value) == ((bits & 0x8000u) != 0)) {
    return ::testing::AssertionSuccess();
  }
  if (got == wanted && std::signbit(got) == std::signbit(wanted)) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << value << " became " << got << " instead of " << wanted;
}

class SixteenBits : public ::testing::TestWithParam<Format> {};

TEST_P(SixteenBits, EveryPatternHasItsDefinedValueAndComesBack) {
  const Format f = GetParam();
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const float value = f.decode(pattern);
    const double wanted = defined_value(f, bits);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000u) != 0) << bits;
      ASSERT_TRUE(std::isnan(defined_value(f, f.encode(value)))) << bits;
      continue;
    }
    ASSERT_EQ(double{value}, wanted) << bits;
    ASSERT_EQ(std::signbit(value), (bits & 0x8000u) != 0) << bits;
    ASSERT_EQ(f.encode(value), pattern);
  }
}

TEST_P(SixteenBits, TiesAndTheirNeighboursRoundToNearestEven) {
  const Format f = GetParam();
  const auto infinite = static_cast<unsigned>(f.largest - f.least + 2) << f.significand;
  for (unsigned bits = 0; bits < infinite; ++bits) {
    const double here = defined_value(f, bits);
    const double next =
        bits + 1 == infinite ? std::ldexp(2.0, f.largest) : defined_value(f, bits + 1);
    const auto tie = static_cast<float>((here + next) / 2);
    if (double{tie} != (here + next) / 2) continue;  // below float32's own subnormals
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float value : {tie, std::nextafter(tie, 0.0F), std::nextafter(tie, infinity)}) {
      ASSERT_TRUE(converts(f, value));
      ASSERT_TRUE(converts(f, -value));
    }
  }
}

TEST_P(SixteenBits, RandomFloatsRoundToNearestEven) {
  std::mt19937 random(11);
  for (int i = 0; i < 1000000; ++i) {
    ASSERT_TRUE(converts(GetParam(), std::bit_cast<float>(static_cast<std::uint32_t>(random()))));
  }
  std::uniform_int_distribution<std::uint32_t> near_one(0x32800000u, 0x47900000u);  // half's range
  for (int i = 0; i < 1000000; ++i) {
    ASSERT_TRUE(converts(GetParam(), std::bit_cast<float>(near_one(random))));
  }
}

TEST_P(SixteenBits, EveryNaNStaysNaN) {
  for (const std::uint32_t bits :
       {0x7F800001u, 0x7F801000u, 0x7F80FFFFu, 0x7FC00000u, 0x7FFFFFFFu}) {
    ASSERT_TRUE(converts(GetParam(), std::bit_cast<float>(bits)));
    ASSERT_TRUE(converts(GetParam(), std::bit_cast<float>(bits | 0x80000000u)));
  }
}

INSTANTIATE_TEST_SUITE_P(Half, SixteenBits, ::testing::Values(half));
INSTANTIATE_TEST_SUITE_P(BFloat16, SixteenBits, ::testing::Values(bfloat));

TEST(Half, KnownValues) {
  EXPECT_EQ(half_from_float(1), 0x3C00);
  EXPECT_EQ(half_from_float(-2), 0xC000);
  EXPECT_EQ(half_from_float(65504), 0x7BFF);
  EXPECT_EQ(half_from_float(65519.99F), 0x7BFF);
  EXPECT_EQ(half_from_float(65520), 0x7C00) << "overflow goes to infinity";
  EXPECT_EQ(half_from_float(0x1p-24F), 0x0001) << "subnormals are kept";
  EXPECT_EQ(half_from_float(0x1p-25F), 0x0000);
  EXPECT_EQ(half_from_float(-0.0F), 0x8000);
  EXPECT_EQ(bfloat16_from_float(1), 0x3F80);
  EXPECT_EQ(bfloat16_from_float(std::numeric_limits<float>::max()), 0x7F80);
}

TEST(DataTypes, SizesAndCodes) {
  EXPECT_EQ(size_of(ElementType::float32), 4U);
  EXPECT_EQ(size_of(ElementType::float16), 2U);
  EXPECT_EQ(size_of(ElementType::bfloat16), 2U);
  EXPECT_EQ(size_of(ElementType::unorm16), 2U);
  EXPECT_EQ(size_of(ElementType::unorm8), 1U);
  EXPECT_EQ(size_of(ElementType::uint8), 1U);
  EXPECT_EQ(DataTypeBitsCount(DataType::Float32), 32U);
  EXPECT_EQ(SizeofDataType(DataType::Float32), 4U);
  EXPECT_EQ(SizeofDataType(DataType::BFloat16), 2U);
  EXPECT_EQ(SizeofDataType(DataType::Int64), 8U);
  EXPECT_EQ(SizeofDataType(DataType::UInt8), 1U);
  EXPECT_EQ(SizeofDataType(DataType::Unorm1), 0U) << "less than a byte";
  EXPECT_EQ(static_cast<std::uint32_t>(DataType::Int32),
            static_cast<std::uint32_t>(DataType::SignedBit) | 32U);
  EXPECT_EQ(static_cast<std::uint32_t>(DataType::BFloat16),
            static_cast<std::uint32_t>(DataType::AlternateEncodingBit) |
                static_cast<std::uint32_t>(DataType::FloatBit) | 16U);
}

TEST(DataTypes, ChannelFormats) {
  using enum ImageFeatureChannelFormat;
  EXPECT_EQ(element_type(Unorm8), ElementType::unorm8);
  EXPECT_EQ(element_type(Unorm16), ElementType::unorm16);
  EXPECT_EQ(element_type(Float16), ElementType::float16);
  EXPECT_EQ(element_type(Float32), ElementType::float32);
  EXPECT_EQ(element_type(BFloat16), ElementType::bfloat16);
  EXPECT_EQ(element_type(None), ElementType::float16) << "the library chooses";
  EXPECT_EQ(name_of(BFloat16), "BFloat16");
  EXPECT_EQ(name_of(ElementType::unorm16), "unorm16");
}

TEST(DataTypes, ComplexAndNarrowCodes) {
  EXPECT_EQ(DataTypeBitsCount(DataType::ComplexFloat32), 64U);
  EXPECT_EQ(SizeofDataType(DataType::ComplexFloat16), 4U);
  EXPECT_EQ(SizeofDataType(DataType::ComplexBFloat16), 4U);
  EXPECT_EQ(DataTypeBitsCount(DataType::Int4), 4U);
  EXPECT_EQ(SizeofDataType(DataType::UInt4), 0U) << "less than a byte";
  EXPECT_EQ(DataType::IntBit, DataType::SignedBit);
  const auto bits = [](DataType type) { return static_cast<std::uint32_t>(type); };
  EXPECT_EQ(bits(DataType::ComplexFloat32),
            bits(DataType::FloatBit) | bits(DataType::ComplexBit) | 64U);
  EXPECT_EQ(bits(DataType::ComplexBFloat16), bits(DataType::AlternateEncodingBit) |
                                                 bits(DataType::FloatBit) |
                                                 bits(DataType::ComplexBit) | 32U);
  EXPECT_EQ(bits(DataType::Int2), bits(DataType::SignedBit) | 2U);
  EXPECT_EQ(bits(DataType::UInt2), 2U);
}

}  // namespace
}  // namespace cermet
