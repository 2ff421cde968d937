#pragma once
// How kernels follow one another. A kernel may be put on the device while the one before it ends
// (programmatic dependent launch, from sm_90 on), so each begins with `begin_kernel`, which waits
// until the work before is done and its results can be seen. Short kernels let the next one begin
// sooner; behind others, blocks that wait would take the place of blocks that work.

#include <cuda_runtime.h>

#include <cstddef>

#include "cuda/engine.h"

namespace cermet::cuda {

/// Waits until the kernel before is done.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// The first statement of every kernel (scripts/check_layers sees to it). `before` must leave
/// global memory alone.
template <class Before>
__device__ void begin_kernel(Before&& before) {
  before();
  wait_for_previous();
}
__device__ inline void begin_kernel() { wait_for_previous(); }

/// The next kernel may be put on the device once all blocks have come here, rather than ended. For
/// short kernels, and those before one that begins with `begin_beside_previous`.
__device__ inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Stands for `begin_kernel` behind a kernel that has called `let_next_begin`. What was done before
/// that one can be seen; each block must `wait_for_previous` before it uses what that one does, and
/// before it ends.
__device__ inline void begin_beside_previous() {}

/// Enqueues `kernel`, with `bytes` of shared memory for each block.
template <class... Parameters, class... Given>
cudaError_t enqueue(const CudaStream& stream, dim3 grid, dim3 block, std::size_t bytes,
                    void (*kernel)(Parameters...), Given&&... given) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = bytes;
  config.stream = stream.get();
  config.attrs = &overlap;
  config.numAttrs = stream.overlaps_kernels() ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, Parameters(given)...);
}

inline constexpr int block_threads = 256;

/// Launches `kernel` with `blocks` blocks of `block_threads` threads.
template <class... Parameters, class... Given>
void launch_blocks(const Args& args, long long blocks, void (*kernel)(Parameters...),
                   Given&&... given) {
  if (blocks <= 0) return;
  args.stream->note(enqueue(*args.stream, dim3(static_cast<unsigned>(blocks)), dim3(block_threads),
                            0, kernel, Parameters(given)...),
                    "a kernel launch");
}
/// Launches `kernel` with a thread for each of `count` pieces of work, or fewer that walk them.
template <class... Parameters, class... Given>
void launch(const Args& args, long long count, void (*kernel)(Parameters...), Given&&... given) {
  const long long blocks = (count + block_threads - 1) / block_threads;
  constexpr long long most = 1LL << 16;
  launch_blocks(args, blocks < most ? blocks : most, kernel, Parameters(given)...);
}
/// Lets `kernel` have `bytes` of shared memory on the current device. What it was allowed before
/// stays allowed: another stream may be about to launch it with more.
cudaError_t allow_shared_memory(const void* kernel, std::size_t bytes);

/// Launches `kernel` with `bytes` of shared memory for each block.
template <class... Parameters, class... Given>
void launch_with(const Args& args, dim3 grid, int threads, std::size_t bytes,
                 void (*kernel)(Parameters...), Given&&... given) {
  args.stream->note(allow_shared_memory(reinterpret_cast<const void*>(kernel), bytes),
                    "shared memory");
  args.stream->note(enqueue(*args.stream, grid, dim3(static_cast<unsigned>(threads)), bytes, kernel,
                            Parameters(given)...),
                    "a kernel launch");
}

}  // namespace cermet::cuda
