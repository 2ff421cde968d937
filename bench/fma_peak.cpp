#include "fma_peak.h"

#include <immintrin.h>
#include <omp.h>

#include <chrono>

namespace {

constexpr int chains = 12;  // two FMA units with a latency of four to five cycles need at least ten
constexpr long rounds = 20'000'000;

float spin() {
  __m256 sums[chains];
  for (int i = 0; i < chains; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999F), b = _mm256_set1_ps(0.001F);
  for (long round = 0; round < rounds; ++round) {
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
  }
  __m256 total = sums[0];
  for (int i = 1; i < chains; ++i) total = _mm256_add_ps(total, sums[i]);
  return _mm256_cvtss_f32(total);
}

}  // namespace

double measured_fma_peak(int threads) {
  float sink = 0;
  const auto start = std::chrono::steady_clock::now();
#pragma omp parallel num_threads(threads) reduction(+ : sink)
  sink += spin();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double operations = 2.0 * 8 * chains * static_cast<double>(rounds) * threads;
  return sink > -1e30F ? operations / seconds / 1e9 : 0;
}
