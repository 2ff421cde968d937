#pragma once
// Which launches of a list may be one because each works on what the one before it results in.

#include <cstddef>
#include <span>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cuda {

/// Makes one launch of up to `most_chained` adjacent launches of a pointwise run each (pointwise.h)
/// that form a chain: the input of each is all of the result before it. The chain reads every
/// element of its arrays before it writes that element, so an array may be worked on in place, but
/// what else a run reads must not be a result of the chain. `launches`: numbers of runs.
void join_chains(std::span<const StepRun> runs, std::vector<std::vector<std::size_t>>& launches);

}  // namespace cermet::cuda
