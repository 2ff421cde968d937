#pragma once
// Philox4x32-10.

#include <cuda_runtime.h>

namespace cermet::cuda {

/// The block of a counter.
__device__ inline uint4 philox(uint4 counter, unsigned key0, unsigned key1) {
  unsigned c0 = counter.x, c1 = counter.y, c2 = counter.z, c3 = counter.w;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    constexpr unsigned factor0 = 0xD2511F53U, factor2 = 0xCD9E8D57U;
    const unsigned high0 = __umulhi(c0, factor0), low0 = c0 * factor0;
    const unsigned high2 = __umulhi(c2, factor2), low2 = c2 * factor2;
    c0 = high2 ^ c1 ^ key0;
    c1 = low2;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return {c0, c1, c2, c3};
}

}  // namespace cermet::cuda
