#pragma once
// What dropout decides, and does with its decisions.

#include <cuda_runtime.h>

#include "cermet/cnn/dropout.h"
#include "cuda/philox.cuh"

namespace cermet::cuda {

/// The Philox4x32-10 block of a counter.
__device__ inline uint4 philox(const Dropout::Scalars& scalars, unsigned counter, unsigned image) {
  return philox(uint4{counter, image, static_cast<unsigned>(scalars.encode),
                      static_cast<unsigned>(scalars.encode >> 32)},
                static_cast<unsigned>(scalars.seed), static_cast<unsigned>(scalars.seed >> 32));
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
