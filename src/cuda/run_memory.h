#pragma once
// Which memory a run of a step reads and writes, so that it is known which runs may change places
// or run at the same time.

#include <cstdint>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cuda {

/// A slot counts as the bytes from its first to its last element, so interleaved windows of an
/// image conflict; scratch memory is written; what a step does to slots of which it does not say
/// more, too.
class RunMemory {
 public:
  RunMemory() = default;
  explicit RunMemory(const StepRun& run);
  /// Memory of both.
  void add(const RunMemory& other);
  /// Whether this one only reads something that `before` writes.
  [[nodiscard]] bool reads(const RunMemory& before) const;
  /// Whether one writes what the other reads or writes.
  [[nodiscard]] bool conflicts(const RunMemory& other) const;

 private:
  struct Range {
    std::uintptr_t begin, end;
    bool written;
  };
  template <class Matters>
  [[nodiscard]] bool any_overlap(const RunMemory& other, Matters&& matters) const;
  std::vector<Range> ranges_;
};

}  // namespace cermet::cuda
