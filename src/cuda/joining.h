#pragma once
// Which runs of a list may be one launch, and in which order the launches do what the list does.

#include <cstddef>
#include <span>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cuda {

class CudaStream;

inline constexpr std::size_t most_joined = 24;  // runs of a launch: its parameters are few bytes

/// What a step is besides, where runs of its kind may be one launch.
class Joinable {
 public:
  virtual ~Joinable() = default;
  /// Steps of the same kind may be joined; null: this one runs alone.
  [[nodiscard]] virtual const void* kind() const = 0;
  /// Enqueues `runs`, from two to `most_joined` of steps of this kind that do not conflict, as one.
  virtual void launch_joined(std::span<const StepRun* const> runs, CudaStream& stream) const = 0;
};

/// Numbers of the runs of each launch, in the order of launches. A run joins the last launch of its
/// kind that it may be put off to: it passes those alone that it does not conflict with
/// (core/run_memory.h).
[[nodiscard]] std::vector<std::vector<std::size_t>> launches_of(std::span<const StepRun> runs);

}  // namespace cermet::cuda
