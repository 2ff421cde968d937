#pragma once
// Streams of random numbers and the distributions made of them (spec: rnn-matrix A12).

#include <algorithm>
#include <cmath>

#include "cermet/matrix/random.h"
#include "philox.h"

namespace cermet::oracle {

/// Word e of a stream from a block on.
inline std::uint32_t random_word(std::uint64_t seed, std::uint32_t generator, std::uint64_t block,
                                 std::uint64_t e) {
  const std::uint64_t at = block + e / 4;
  const auto words =
      philox4x32_10({0, 0, static_cast<std::uint32_t>(at >> 32U), static_cast<std::uint32_t>(at)},
                    {static_cast<std::uint32_t>(seed), generator});
  return words.at(e % 4);
}

inline double normal_probability(double z) { return std::erfc(-z / std::sqrt(2.0)) / 2; }

/// The z with `below` of a standard normal distribution below it; `above`: the rest. Bisection for
/// the smaller of the two, which is the more exact one.
inline double inverse_normal(double below, double above) {
  if (below > above) return -inverse_normal(above, below);
  double low = -40, high = 0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (normal_probability(middle) < below ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// Float32 numbers of a distribution.
inline double random_number(const MatrixRandomDistributionDescriptor& d, std::uint32_t word) {
  const double u = std::ldexp(static_cast<double>(word >> 9U), -23);
  const double minimum = d.minimum(), maximum = d.maximum();
  if (d.distributionType() == MatrixRandomDistribution::Default) return u;
  if (d.distributionType() == MatrixRandomDistribution::Uniform)
    return minimum + (maximum - minimum) * u;
  const double mean = d.mean(), deviation = d.standardDeviation();
  const double low = (minimum - mean) / deviation, high = (maximum - mean) / deviation;
  const double share = u == 0 ? std::ldexp(1.0, -24) : u;
  // As shares below and above, of which the small ones keep their digits.
  const double between = low > 0 ? normal_probability(-low) - normal_probability(-high)
                                 : normal_probability(high) - normal_probability(low);
  return mean + deviation * inverse_normal(normal_probability(low) + between * share,
                                           normal_probability(-high) + between * (1 - share));
}

}  // namespace cermet::oracle
