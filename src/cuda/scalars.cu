#include "cuda/scalars.h"

#include <array>

#include "cuda/launch.cuh"

namespace cermet::cuda {
namespace {

constexpr int threads = sizeof(ScalarBlock) / sizeof(float4);

__global__ void write(ScalarBlock scalars, float4* to, unsigned count) {
  begin_kernel();
  if (threadIdx.x < count)
    to[threadIdx.x] = reinterpret_cast<const float4*>(scalars.bytes)[threadIdx.x];
}

unsigned count_of(std::size_t bytes) {
  return static_cast<unsigned>((bytes + sizeof(float4) - 1) / sizeof(float4));
}

}  // namespace

void write_scalars(const CudaStream& stream, const ScalarBlock& scalars, std::byte* to,
                   std::size_t bytes) {
  static_cast<void>(enqueue(stream, dim3(1), dim3(threads), 0, write, scalars,
                            reinterpret_cast<float4*>(to), count_of(bytes)));
}

cudaError_t change_scalars(cudaGraphExec_t graph, cudaGraphNode_t node, const ScalarBlock& scalars,
                           std::byte* to, std::size_t bytes) {
  auto* address = reinterpret_cast<float4*>(to);
  unsigned count = count_of(bytes);
  ScalarBlock block = scalars;
  std::array<void*, 3> arguments{&block, &address, &count};
  cudaKernelNodeParams kernel{};
  kernel.func = reinterpret_cast<void*>(&write);
  kernel.gridDim = dim3(1);
  kernel.blockDim = dim3(threads);
  kernel.kernelParams = arguments.data();
  return cudaGraphExecKernelNodeSetParams(graph, node, &kernel);
}

}  // namespace cermet::cuda
