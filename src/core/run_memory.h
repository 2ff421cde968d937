#pragma once
// What runs read and write: from that follows which of them, and which committed work, must keep
// their places or may run at the same time.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cermet/core/step.h"

namespace cermet {

/// A slot counts as the bytes from its first to its last element, so interleaved windows of an
/// image conflict; scratch memory is written; what a step does to slots of which it does not say
/// more, too.
class RunMemory {
 public:
  /// Bytes [begin, end).
  struct Range {
    std::uintptr_t begin, end;
  };

  RunMemory() = default;
  explicit RunMemory(const StepRun& run) : RunMemory(std::span<const StepRun>(&run, 1)) {}
  /// Memory of all of these.
  explicit RunMemory(std::span<const StepRun> runs);
  /// Memory of both.
  void add(const RunMemory& other);
  void add_read(const void* address, std::size_t bytes);
  void add_written(const void* address, std::size_t bytes);

  /// Whether this one only reads something that `before` writes.
  [[nodiscard]] bool reads(const RunMemory& before) const;
  /// Whether one writes what the other reads or writes.
  [[nodiscard]] bool conflicts(const RunMemory& other) const;
  [[nodiscard]] const std::vector<Range>& written() const { return written_; }

 private:
  // In order, and apart from one another: two of these are compared in one pass. What is updated is
  // written and not read.
  std::vector<Range> read_, written_;
};

}  // namespace cermet
