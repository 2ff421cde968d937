#pragma once
// Which launches of a list run on a second stream, beside the others.

#include <cstddef>
#include <optional>
#include <vector>

#include "core/run_memory.h"

namespace cermet::cuda {

struct Place {
  std::size_t launch = 0;                // its number
  bool aside = false;                    // on the second stream
  std::optional<std::size_t> waits_for;  // number of a launch on the other stream
};

/// Where launches that touch `memory`, in their order, are best enqueued, and in which order. The
/// longest chain of launches that need one another stays on the first stream; everything else goes
/// to the second, in the order in which the chain provides for it. Launches that conflict follow
/// one another: on the same stream, or by waiting for that one or a later one of its stream.
[[nodiscard]] std::vector<Place> places_of(const std::vector<RunMemory>& memory);

}  // namespace cermet::cuda
