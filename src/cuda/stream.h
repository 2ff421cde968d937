#pragma once
// A CUDA stream as the runner of a device drives it: it enqueues steps, and replays as one graph a
// list of steps that it has seen before.

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cuda {

class CudnnHandle;
class CudnnPlan;
struct CudnnBinding;

/// Throws the DeviceError that `code` stands for; `what` names the call.
void check(cudaError_t code, const std::string& what);

class CudaStream final : public Stream {
 public:
  explicit CudaStream(int device);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  /// Where steps enqueue.
  [[nodiscard]] cudaStream_t get() const { return current_; }
  /// Whether kernels may begin while the one before them ends (launch.cuh).
  [[nodiscard]] bool overlaps_kernels() const { return overlaps_kernels_ && !waits_; }
  /// Keeps the first failure to enqueue something, until `wait` throws it.
  void note(cudaError_t code, const char* what) {
    if (code != cudaSuccess) fail(code, what);
  }
  void fail(cudaError_t code, std::string what);
  /// Enqueues a plan of cuDNN with addresses of source, weights, destination.
  void run(const CudnnPlan& plan, CudnnBinding& binding, const std::array<void*, 3>& addresses,
           void* workspace) noexcept;
  /// Where kernels of a captured graph find the scalars that a run has at `scalars`; null outside
  /// of a capture. What is enqueued next waits until they are there.
  [[nodiscard]] const void* scalars_on_device(const void* scalars);

  /// A list is captured when it comes for the second time: the same steps on the same addresses;
  /// scalars may differ.
  void run(std::span<const StepRun> runs) override;
  [[nodiscard]] std::uint64_t mark() override;
  void wait(std::uint64_t mark) override;
  void follow(Stream& other, std::uint64_t mark) override;
  void copy(void* to, const void* from, std::size_t bytes) override;

 private:
  struct Captured;
  [[nodiscard]] Captured& find(std::span<const StepRun> runs);
  [[nodiscard]] bool capture(Captured& list, std::span<const StepRun> runs);
  [[nodiscard]] bool capture_into(Captured& list);
  void run_in_branches(Captured& list);
  void fork(Captured& list);
  void write_scalars_of(Captured& list);
  void launch(const std::vector<std::size_t>& together);
  void mark_as(std::size_t number);
  void follow_fork(std::size_t number);
  void replay(Captured& list, std::span<const StepRun> runs);

  static constexpr std::size_t most_in_flight = 64;
  int device_;
  bool overlaps_kernels_ = false;
  cudaStream_t stream_ = nullptr, aside_ = nullptr, current_ = nullptr;
  bool waits_ = false;  // what is enqueued now follows work of more than one stream
  /// What the first stream of a capture knows of the list's scalars.
  enum class Scalars { to_be_written, written_aside, followed } scalars_ = Scalars::to_be_written;
  std::vector<cudaEvent_t> forks_;            // of a capture
  std::shared_ptr<const CudnnHandle> cudnn_;  // made when it is needed first
  std::list<Captured> lists_;                 // the last used one first
  Captured* capturing_ = nullptr;
  std::span<const StepRun> being_captured_;
  std::vector<std::byte> block_;  // scalars on their way to the device

  std::array<cudaEvent_t, most_in_flight> events_{};
  std::uint64_t marks_ = 0;  // of the thread that drives the stream
  std::mutex mutex_;         // of what follows
  cudaError_t failure_ = cudaSuccess;
  std::string failed_;
  std::uint64_t failed_mark_ = 0;
};

}  // namespace cermet::cuda
