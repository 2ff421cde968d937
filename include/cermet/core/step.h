#pragma once
// The one execution path: prepare(operator, descriptions) -> Step -> bind -> BoundStep -> run.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cermet/core/operator.h"

namespace cermet {

/// Streams of an engine that may run its steps.
inline constexpr std::size_t max_streams = 8;

using Slots = std::array<void*, max_slots>;

class Step;

/// One run of a step, with all that it needs. `scalars` come last: two runs with the same bytes
/// before them do the same with other scalars.
struct StepRun {
  const Step* step = nullptr;
  Slots slots{};
  void* scratch = nullptr;
  alignas(8) std::array<std::byte, max_scalar_bytes> scalars{};
};

/// A backend's execution context: the CPU worker, a CUDA stream, a capturing stream. `index` counts
/// the streams of an engine, below `max_streams`; exactly one thread drives a stream.
struct Stream {
  std::size_t index = 0;
  virtual ~Stream() = default;

  /// Runs or enqueues these, in order. A backend may replace the list by something cheaper that
  /// does the same.
  virtual void run(std::span<const StepRun> runs);

  /// Marks the end of the work enqueued so far; `wait` returns once it is done, from any thread,
  /// and throws the DeviceError of what failed. Where `run` returns only when its work is done,
  /// these do nothing.
  [[nodiscard]] virtual std::uint64_t mark() { return 0; }
  virtual void wait(std::uint64_t) {}
  /// What is enqueued from now on waits for the work that ends at `mark` of another stream of this
  /// engine.
  virtual void follow(Stream& other, std::uint64_t mark) {
    static_cast<void>(other);
    static_cast<void>(mark);
  }
  /// Enqueues a copy between host and device memory, or within one of them.
  virtual void copy(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
};

/// A step with its addresses fixed. `run` allocates nothing and takes no lock.
struct BoundStep {
  virtual ~BoundStep() = default;
  virtual void run(Stream& stream) noexcept = 0;
  virtual void rebind(const Slots& slots, void* scratch, const void* scalars) = 0;
};

/// An operator prepared for given descriptions: immutable and shared by kernels, command buffers
/// and graphs.
class Step : public std::enable_shared_from_this<Step> {
 public:
  std::vector<TensorDesc> slots;   // every `any` resolved
  std::vector<std::size_t> bytes;  // storage each slot needs (packed layouts pad)
  std::span<const Access> access;  // what it does to each slot; empty: not known
  std::size_t scratch_bytes = 0;
  std::string implementation;  // for plans, logs and the rule that no fallback is silent

  virtual ~Step() = default;
  [[nodiscard]] virtual std::unique_ptr<BoundStep> bind() const = 0;

  /// Runs once with these addresses on the stream's own bound step. Only the thread that drives
  /// `stream` may call it.
  void run(const Slots& addresses, void* scratch, const void* scalars, Stream& stream) const;

 private:
  mutable std::array<std::unique_ptr<BoundStep>, max_streams> lent_;  // by index of the stream
};
using StepPtr = std::shared_ptr<const Step>;

}  // namespace cermet
