#pragma once
// Times the plans that a library offers, so that the fastest may be chosen (plan_choices.h).

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "cermet/core/error.h"
#include "cuda/engine.h"

namespace cermet::cuda {

/// Device memory full of small numbers: zeros may run faster than data.
class Block {
 public:
  Block(Engine& engine, std::size_t bytes)
      : engine_(engine), bytes_(std::max<std::size_t>(bytes, 1)) {
    memory_ = engine_.allocate(bytes_);
    constexpr int small = 0x3C;  // four of it: 0.0115
    static_cast<void>(cudaMemset(memory_, small, bytes_));
  }
  ~Block() { engine_.release(memory_, bytes_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  [[nodiscard]] void* get() const { return memory_; }

 private:
  Engine& engine_;
  std::size_t bytes_;
  void* memory_ = nullptr;
};

/// Times what is enqueued on the null stream. Work that is under way disturbs the times, never the
/// results.
class Trial {
 public:
  /// `bytes`: of the memory blocks that a plan works on; they are allocated for the first plan.
  Trial(Engine& engine, std::vector<std::size_t> bytes)
      : engine_(engine), bytes_(std::move(bytes)) {}
  ~Trial() {
    for (cudaEvent_t event : {start_, end_}) {
      if (event != nullptr) static_cast<void>(cudaEventDestroy(event));
    }
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  /// Time of run(addresses of the blocks, workspace), which enqueues a plan: the median of some
  /// tries. Infinite if it throws DeviceError.
  template <class Run>
  [[nodiscard]] float microseconds(std::size_t workspace_bytes, Run&& run) {
    std::array<float, 5> times{};
    try {
      if (start_ == nullptr) prepare();
      const Block workspace(engine_, workspace_bytes);
      const auto time = [&](int count) {
        float milliseconds = 0;
        check(cudaEventRecord(start_, nullptr), "cudaEventRecord");
        for (int i = 0; i < count; ++i) run(addresses_, workspace.get());
        check(cudaEventRecord(end_, nullptr), "cudaEventRecord");
        check(cudaEventSynchronize(end_), "a plan");
        check(cudaEventElapsedTime(&milliseconds, start_, end_), "cudaEventElapsedTime");
        return 1000 * milliseconds / static_cast<float>(count);
      };
      static_cast<void>(time(1));  // loads the kernels
      // Launches of short plans take longer than the plans do, unless they follow one another.
      constexpr float enough = 200;
      const int count = std::clamp(static_cast<int>(enough / std::max(time(1), 1.0F)), 1, 20);
      for (float& one : times) one = time(count);
    } catch (const DeviceError&) {
      return std::numeric_limits<float>::infinity();
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    return times[times.size() / 2];
  }

 private:
  void prepare() {
    addresses_.clear();
    memory_.clear();
    for (const std::size_t bytes : bytes_)
      addresses_.push_back(memory_.emplace_back(std::make_unique<Block>(engine_, bytes))->get());
    check(cudaEventCreate(&end_), "cudaEventCreate");
    check(cudaEventCreate(&start_), "cudaEventCreate");
  }
  Engine& engine_;
  std::vector<std::size_t> bytes_;
  std::vector<std::unique_ptr<Block>> memory_;
  std::vector<void*> addresses_;
  cudaEvent_t start_ = nullptr, end_ = nullptr;
};

}  // namespace cermet::cuda
