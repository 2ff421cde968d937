#pragma once
// Which steps of a list must wait for which others, found from the memory that they touch.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cuda {

/// Two runs conflict where one writes what the other reads or writes. A slot counts as one range of
/// bytes from its first to its last element, so interleaved windows of an image conflict; scratch
/// memory is written; a step whose access is not known conflicts with every other.
class Dependencies {
 public:
  /// Numbers of the runs, among those added before, that `run` has to wait for, the latest first;
  /// without those that another of them waits for. Runs are numbered from 0.
  [[nodiscard]] std::vector<std::size_t> add(const StepRun& run);

 private:
  struct Range {
    std::uintptr_t begin, end;
    bool written;
  };
  struct Node {
    bool known = true;
    std::vector<Range> ranges;
    std::vector<bool> before;  // by number: whether it waits for that one, directly or not
  };
  static Node describe(const StepRun& run);
  static bool conflict(const Node& a, const Node& b);

  std::vector<Node> nodes_;
};

/// The runs of the longest chain of `needs` (of each run, those that it has to wait for, all of
/// them earlier) and all that they wait for: they never wait for the others.
[[nodiscard]] std::vector<bool> longest_path(const std::vector<std::vector<std::size_t>>& needs);

}  // namespace cermet::cuda
