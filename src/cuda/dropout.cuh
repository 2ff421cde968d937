#pragma once
// What dropout decides, and does with its decisions.

#include <cuda_runtime.h>

#include "cermet/cnn/dropout.h"

namespace cermet::cuda {

/// The Philox4x32-10 block of a counter.
__device__ inline uint4 philox(const Dropout::Scalars& scalars, unsigned counter, unsigned image) {
  unsigned c0 = counter, c1 = image;
  auto c2 = static_cast<unsigned>(scalars.encode);
  auto c3 = static_cast<unsigned>(scalars.encode >> 32);
  auto key0 = static_cast<unsigned>(scalars.seed);
  auto key1 = static_cast<unsigned>(scalars.seed >> 32);
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

/// Kept when the top 24 bits of a word are below `threshold`.
__device__ inline bool is_kept(unsigned word, unsigned threshold) {
  return (word >> 8) < threshold;
}

/// What one block decides: of fours of the image of this number in the run, that of number `four`.
__device__ inline uchar4 decide(const Dropout::Scalars& scalars, unsigned threshold, unsigned four,
                                unsigned image) {
  const uint4 block = philox(scalars, four, scalars.first_image + image);
  return {is_kept(block.x, threshold), is_kept(block.y, threshold), is_kept(block.z, threshold),
          is_kept(block.w, threshold)};
}

/// Selected, not multiplied: a dropped infinity or NaN is 0 too.
__device__ inline float4 apply(const uchar4& mask, const float4& source, float keep) {
  const auto one = [&](unsigned char kept, float x) { return kept != 0 ? x / keep : 0.0F; };
  return {one(mask.x, source.x), one(mask.y, source.y), one(mask.z, source.z),
          one(mask.w, source.w)};
}

}  // namespace cermet::cuda
