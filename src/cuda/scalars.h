#pragma once
// The scalars of a captured list of steps: a kernel at the root of its graph writes them where the
// others read them, from parameters that change from launch to launch.

#include <cuda_runtime.h>

#include <cstddef>

#include "cuda/stream.h"

namespace cermet::cuda {

/// As many bytes as parameters of a kernel may have, and room for the other two.
struct ScalarBlock {
  static constexpr std::size_t size = 4000;
  alignas(16) std::byte bytes[size];  // NOLINT(*-avoid-c-arrays): read by a kernel
};

/// Enqueues the kernel.
void write_scalars(const CudaStream& stream, const ScalarBlock& scalars, std::byte* to,
                   std::size_t bytes);
/// Gives the kernel, which is `node` of `graph`, other scalars.
[[nodiscard]] cudaError_t change_scalars(cudaGraphExec_t graph, cudaGraphNode_t node,
                                         const ScalarBlock& scalars, std::byte* to,
                                         std::size_t bytes);

}  // namespace cermet::cuda
