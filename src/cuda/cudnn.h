#pragma once
// cuDNN's graph interface, as far as convolutions need it.

#include <cudnn.h>

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "cermet/cnn/convolution.h"
#include "cermet/core/tensor_desc.h"
#include "cuda/engine.h"

namespace cermet::cuda {

/// A handle for one thread; made there, at first use.
class CudnnHandle {
 public:
  CudnnHandle();
  ~CudnnHandle();
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  [[nodiscard]] cudnnHandle_t get() const { return handle_; }
  /// Work goes to this stream from now on, at first to the null stream. Throws DeviceError.
  void enqueue_on(cudaStream_t stream) const;

 private:
  cudnnHandle_t handle_ = nullptr;
};

/// Addresses in the form that a plan takes; kept from run to run.
struct CudnnBinding {
  cudnnBackendDescriptor_t pack = nullptr;
  std::array<void*, 4> addresses{};

  CudnnBinding() = default;
  ~CudnnBinding();
  CudnnBinding(const CudnnBinding&) = delete;
  CudnnBinding& operator=(const CudnnBinding&) = delete;
};

/// One pass of a convolution as a finished plan.
class CudnnPlan {
 public:
  enum class Pass { forward, data, weights };
  struct Tensors {
    TensorDesc source, weights, destination;  // of the forward convolution, float32
  };
  /// The fastest plan of cuDNN's heuristics that is deterministic and computes in float32 without
  /// rounding its inputs, or in TF32 where `op` allows it, and without transforming them
  /// (plan_choices.h). Null if there is none.
  static std::shared_ptr<const CudnnPlan> make(Engine& engine, Pass pass, const Convolution& op,
                                               const Tensors& tensors);
  ~CudnnPlan();
  CudnnPlan(const CudnnPlan&) = delete;
  CudnnPlan& operator=(const CudnnPlan&) = delete;

  [[nodiscard]] std::size_t workspace_bytes() const { return workspace_; }

  /// `addresses`: of source, weights and destination, or of their gradients. Throws DeviceError.
  void run(const CudnnHandle& handle, CudnnBinding& binding, const std::array<void*, 3>& addresses,
           void* workspace) const;

 private:
  CudnnPlan() = default;
  std::vector<cudnnBackendDescriptor_t> owned_;
  cudnnBackendDescriptor_t plan_ = nullptr;
  std::size_t workspace_ = 0;
};

}  // namespace cermet::cuda
