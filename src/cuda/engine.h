#pragma once
// The CUDA backend: one `prepare` per operator, streams, and helpers to write a step.
//
// What `prepare` may assume: slots are plain, with any strides and any element type; arguments were
// checked by the kernel class. Kernels read and write tensors through tensor.cuh, which converts.
// Each stream of the engine runs a step with a bound step of its own, at the same time as others,
// so what a step shares between runs is constant; a step enqueues and does not wait.

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/engine_of.h"
#include "catalog/operators.h"
#include "cermet/core/engine.h"
#include "cuda/plan_choices.h"
#include "cuda/stream.h"

struct cublasLtContext;

namespace cermet::cuda {

class Engine;

/// Declares `StepPtr prepare(const Op&, Descs, Engine&)` of this namespace for an operator of the
/// catalog; the table finds it because the engine inherits from this.
template <class Op>
struct Declared {
  friend StepPtr prepare(const Op& op, Descs descs, Engine& engine);
};

class Engine final : public backend::EngineOf<Engine, Declared, Catalog, Fusions> {
 public:
  explicit Engine(int device);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() override;

  [[nodiscard]] void* allocate(std::size_t bytes) override;
  void release(void* memory, std::size_t bytes) noexcept override;
  void fill_zero(void* memory, std::size_t bytes) override;
  [[nodiscard]] std::size_t memory_worth_sharing() const override { return std::size_t{256} << 20; }
  [[nodiscard]] std::unique_ptr<Stream> make_stream() override;
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] int threads() const override { return 1; }
  [[nodiscard]] bool host_can_access() const override { return false; }
  void finish() override;
  void copy_to_device(void* to, const void* from, std::size_t bytes) override;
  void copy_to_host(void* to, const void* from, std::size_t bytes) override;
  [[nodiscard]] void* allocate_host(std::size_t bytes) override;
  void release_host(void* memory, std::size_t bytes) noexcept override;

  [[nodiscard]] int multiprocessors() const { return multiprocessors_; }
  /// 90 for sm_90.
  [[nodiscard]] int architecture() const { return architecture_; }
  /// The handle that plans are made with. Throws DeviceError where cuDNN fails.
  [[nodiscard]] const CudnnHandle& cudnn();
  [[nodiscard]] cublasLtContext* cublas();
  [[nodiscard]] PlanChoices& plans() { return *plans_; }

 private:
  StepPtr make(const OpView& op, Descs descs, Entry entry) override;
  int device_;
  int multiprocessors_ = 1, architecture_ = 0;
  std::string name_;
  cudaStream_t transfers_ = nullptr;
  std::mutex libraries_mutex_;
  std::shared_ptr<const CudnnHandle> cudnn_;
  cublasLtContext* cublas_ = nullptr;
  std::unique_ptr<PlanChoices> plans_;
};

/// Addresses of one run, and the stream to enqueue on.
struct Args {
  Slots slots{};
  void* scratch = nullptr;
  const void* scalars = nullptr;
  CudaStream* stream = nullptr;

  template <class T = float>
  [[nodiscard]] T* at(std::size_t slot) const {
    return static_cast<T*>(slots[slot]);
  }
  template <class T>
  [[nodiscard]] const T& scalars_as() const {
    return *static_cast<const T*>(scalars);
  }
};

/// A step whose run is `body(const Args&)`: it launches kernels on `args.stream` and captures what
/// it needs by value. Where `Body` is Joinable (cuda/joining.h), so is the step.
template <class Body>
StepPtr make_step(Descs slots, std::string implementation, Body body,
                  std::size_t scratch_bytes = 0) {
  struct Bound final : BoundStep {
    explicit Bound(const Body* what) : body(what) {}
    void run(Stream& stream) noexcept override {
      args.stream = static_cast<CudaStream*>(&stream);
      (*body)(args);
      args.stream->note(cudaGetLastError(), "a kernel launch");
    }
    void rebind(const Slots& slots, void* scratch, const void* scalars) override {
      args = {slots, scratch, scalars, nullptr};
    }
    const Body* body;
    Args args;
  };
  struct Own final : Step, Body {
    explicit Own(Body what) : Body(std::move(what)) {}
    [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
      return std::make_unique<Bound>(this);
    }
  };
  auto step = std::make_shared<Own>(std::move(body));
  step->slots.assign(slots.begin(), slots.end());
  for (TensorDesc& desc : step->slots) {
    if (desc.layout == any) desc.layout = plain;
    step->bytes.push_back(static_cast<std::size_t>(desc.count()) * size_of(desc.type));
  }
  step->scratch_bytes = scratch_bytes;
  step->implementation = std::move(implementation);
  return step;
}

}  // namespace cermet::cuda
