#pragma once
// Steps that work element by element, so that a run of one and the runs that take its result may be
// one launch (chains.h).

#include <cstddef>
#include <span>

#include "cermet/core/step.h"

namespace cermet::cuda {

class CudaStream;
struct PointwiseStage;  // pointwise.cuh

inline constexpr std::size_t most_chained = 4;  // runs of a launch

/// What a step is besides, where each element of its result needs no more than the same element of
/// what it reads.
class Pointwise {
 public:
  virtual ~Pointwise() = default;
  /// The slot that takes what the run before results in, and that of the result.
  [[nodiscard]] virtual std::size_t input_slot() const = 0;
  [[nodiscard]] virtual std::size_t result_slot() const = 0;
  /// Whether `run` may be a stage: with these addresses its slots are dense arrays, those of
  /// float32 also of fours.
  [[nodiscard]] virtual bool fits(const StepRun& run) const = 0;
  /// Sets `stage` to what `run`, which fits, does; `stream` is where it will be launched.
  virtual void describe(const StepRun& run, CudaStream& stream, PointwiseStage& stage) const = 0;
};

/// Enqueues `runs`, a chain of two to `most_chained`, as one. Every result is written.
void launch_chain(std::span<const StepRun* const> runs, CudaStream& stream);

}  // namespace cermet::cuda
