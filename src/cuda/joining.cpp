#include "cuda/joining.h"

#include <algorithm>

#include "core/run_memory.h"

namespace cermet::cuda {
namespace {

const void* kind_of(const StepRun& run) {
  const auto* joinable = dynamic_cast<const Joinable*>(run.step);
  return joinable != nullptr ? joinable->kind() : nullptr;
}

struct Launch {
  const void* kind;
  std::vector<std::size_t> runs;  // the last one first
};

}  // namespace

std::vector<std::vector<std::size_t>> launches_of(std::span<const StepRun> runs) {
  std::vector<RunMemory> memory(runs.size());
  std::vector<Launch> launches;  // the last one first: a run finds what comes after it in its place
  for (std::size_t i = runs.size(); i-- > 0;) {
    memory[i] = RunMemory(runs[i]);
    const void* const kind = kind_of(runs[i]);
    const auto conflicts = [&](std::size_t other) { return memory[i].conflicts(memory[other]); };
    Launch* joined = nullptr;
    for (auto at = launches.rbegin(); kind != nullptr && at != launches.rend(); ++at) {
      if (std::any_of(at->runs.begin(), at->runs.end(), conflicts)) break;
      if (at->kind == kind && at->runs.size() < most_joined) joined = &*at;
    }
    if (joined != nullptr) {
      joined->runs.push_back(i);
    } else {
      launches.push_back({kind, {i}});
    }
  }
  std::vector<std::vector<std::size_t>> order;
  for (auto at = launches.rbegin(); at != launches.rend(); ++at)
    order.emplace_back(at->runs.rbegin(), at->runs.rend());
  return order;
}

}  // namespace cermet::cuda
