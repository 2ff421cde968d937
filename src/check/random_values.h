#pragma once
// Random numbers of checks: the same on every machine and with every standard library.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cermet::detail {

class RandomValues {
 public:
  explicit RandomValues(std::uint64_t seed) : state_(seed) {}

  /// SplitMix64.
  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(next() % count); }
  /// `low` plus an odd multiple of (high - low)/512: Float16 holds it where they are -1 and 1, and
  /// it is not 0 then.
  float uniform(double low, double high) {
    const auto k = static_cast<double>(next() % 256);
    return static_cast<float>(low + (high - low) * ((2 * k + 1) / 512));
  }

 private:
  std::uint64_t state_;
};

inline std::vector<float> random_values(std::size_t count, std::uint64_t seed, double low,
                                        double high) {
  std::vector<float> values(count);
  RandomValues random(seed);
  for (float& value : values) value = random.uniform(low, high);
  return values;
}

}  // namespace cermet::detail
