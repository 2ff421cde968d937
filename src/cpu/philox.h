#pragma once
// Philox4x32-10, eight counters at a time.

#include <immintrin.h>

#include <cstdint>

namespace cermet::cpu {

inline __m256i lanes(std::uint32_t value) {
  return _mm256_set1_epi32(static_cast<std::int32_t>(value));
}

/// Words 0 to 3 of the counters, or blocks, of eight lanes.
struct PhiloxWords {
  __m256i c0, c1, c2, c3;
};

/// High and low words of the 32-bit products of eight lanes.
struct PhiloxProduct {
  __m256i high, low;
};
inline PhiloxProduct philox_multiply(__m256i a, std::uint32_t factor) {
  const __m256i b = _mm256_set1_epi64x(factor);
  const __m256i even = _mm256_mul_epu32(a, b), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);
  return {_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA),
          _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)};
}

/// The blocks of these counters.
inline PhiloxWords philox(PhiloxWords counters, std::uint32_t key0, std::uint32_t key1) {
  auto [c0, c1, c2, c3] = counters;
  for (int round = 0; round < 10; ++round) {
    const PhiloxProduct first = philox_multiply(c0, 0xD2511F53u);
    const PhiloxProduct second = philox_multiply(c2, 0xCD9E8D57u);
    c0 = _mm256_xor_si256(_mm256_xor_si256(second.high, c1), lanes(key0));
    c2 = _mm256_xor_si256(_mm256_xor_si256(first.high, c3), lanes(key1));
    c1 = second.low;
    c3 = first.low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

}  // namespace cermet::cpu
