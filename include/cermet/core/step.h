#pragma once
// The one execution path: prepare(operator, descriptions) -> Step -> bind -> BoundStep -> run.

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cermet/core/operator.h"

namespace cermet {

using Slots = std::array<void*, max_slots>;

/// A backend's execution context: the CPU worker, a CUDA stream, a capturing stream. `index` counts
/// the streams of an engine; exactly one thread drives a stream.
struct Stream {
  std::size_t index = 0;
  virtual ~Stream() = default;
};

/// A step with its addresses fixed. `run` allocates nothing and takes no lock.
struct BoundStep {
  virtual ~BoundStep() = default;
  virtual void run(Stream& stream) noexcept = 0;
  virtual void rebind(const Slots& slots, void* scratch, const void* scalars) = 0;
};

/// An operator prepared for given descriptions: immutable and shared by kernels, command buffers
/// and graphs.
class Step {
 public:
  std::vector<TensorDesc> slots;   // every `any` resolved
  std::vector<std::size_t> bytes;  // storage each slot needs (packed layouts pad)
  std::size_t scratch_bytes = 0;
  std::string implementation;  // for plans, logs and the rule that no fallback is silent

  virtual ~Step() = default;
  [[nodiscard]] virtual std::unique_ptr<BoundStep> bind() const = 0;

  /// Runs once with these addresses on the stream's own bound step. Only the thread that drives
  /// `stream` may call it.
  void run(const Slots& addresses, void* scratch, const void* scalars, Stream& stream) const;

 private:
  mutable std::array<std::unique_ptr<BoundStep>, 8> lent_;  // one for each stream of the engine
};
using StepPtr = std::shared_ptr<const Step>;

}  // namespace cermet
