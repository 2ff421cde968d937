#pragma once
// Deterministic test data: the same numbers on every machine for a seed.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace cermet::test {

/// splitmix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t word() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  /// Uniform in [0, 1), a multiple of 2^-24.
  float unit() { return static_cast<float>(word() >> 40U) * 0x1p-24F; }
  /// 0 ... count - 1; the bias of the remainder is below 2^-32 for the counts of tests.
  std::uint64_t below(std::uint64_t count) { return word() % count; }

 private:
  std::uint64_t state_;
};

/// Uniform between low and high.
inline std::vector<float> floats(std::size_t count, std::uint64_t seed, float low = -1,
                                 float high = 1) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = low + (high - low) * random.unit();
  return values;
}

/// Multiples of 1/64 in [low, high]: products and sums of them are nearly exact in float.
inline std::vector<float> grid_floats(std::size_t count, std::uint64_t seed, float low = -1,
                                      float high = 1) {
  Random random(seed);
  const auto first = static_cast<std::int64_t>(std::ceil(low * 64));
  const auto last = static_cast<std::int64_t>(std::floor(high * 64));
  if (last < first)
    throw std::invalid_argument("grid_floats: no multiple of 1/64 between the limits");
  std::vector<float> values(count);
  for (float& value : values) {
    const auto step =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(last - first + 1)));
    value = static_cast<float>(first + step) / 64;
  }
  return values;
}

/// All different, none 0, evenly spaced in (-1, 1), in random order: no ties for max-pooling, not
/// even with an outside zero. At most 2^22 values.
inline std::vector<float> distinct_floats(std::size_t count, std::uint64_t seed) {
  if (count > (std::size_t{1} << 22U)) throw std::invalid_argument("distinct_floats: count");
  Random random(seed);
  const auto half = static_cast<std::int64_t>(count / 2);
  const auto cells = static_cast<float>(std::bit_ceil(count + 1));
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)  // an odd number below 2^24 over a power of two: exact
    values[i] = static_cast<float>(2 * (static_cast<std::int64_t>(i) - half) + 1) / cells;
  for (std::size_t i = count; i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
  return values;
}

}  // namespace cermet::test
