#include "cuda/chains.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "cuda/pointwise.h"

namespace cermet::cuda {
namespace {

/// Null where `run` cannot be a stage of a chain.
const Pointwise* stage_of(const StepRun& run) {
  const auto* pointwise = dynamic_cast<const Pointwise*>(run.step);
  return pointwise != nullptr && pointwise->fits(run) ? pointwise : nullptr;
}

/// A slot of a stage.
struct Array {
  std::size_t stage;
  std::uintptr_t begin, end;
  bool read, written;
};

/// The arrays of `run`. What is passed on to it is not read.
std::vector<Array> arrays_of(std::size_t stage, const StepRun& run, bool passed_on) {
  const Step& step = *run.step;
  const std::size_t input = stage_of(run)->input_slot();
  std::vector<Array> arrays;
  for (std::size_t slot = 0; slot < step.slots.size(); ++slot) {
    if (!step.slots[slot].present()) continue;
    const auto begin = reinterpret_cast<std::uintptr_t>(run.slots[slot]);
    const bool known = slot < step.access.size();
    const bool read = !known || step.access[slot] != Access::write;
    const bool written = !known || step.access[slot] != Access::read;
    arrays.push_back(
        {stage, begin, begin + step.bytes[slot], read && !(passed_on && slot == input), written});
  }
  return arrays;
}

/// Whether a thread that does what all stages do to its elements does what the stages do one by
/// one; `a` is of the same stage as `b` or an earlier one.
bool keep_apart(const Array& a, const Array& b) {
  const bool shares = a.begin < b.end && b.begin < a.end;
  if (!shares || (!a.written && !b.written)) return true;
  const bool same = a.begin == b.begin && a.end == b.end;
  return same && !(a.stage < b.stage && a.written && b.read);
}

/// Whether these runs may be one launch, those before the last being known to.
bool is_chain(const std::vector<const StepRun*>& chain) {
  const StepRun &before = *chain[chain.size() - 2], &last = *chain.back();
  const Pointwise *from = stage_of(before), *to = stage_of(last);
  if (from == nullptr || to == nullptr) return false;
  const std::size_t result = from->result_slot(), input = to->input_slot();
  const std::int64_t count = last.step->slots[input].count();
  if (last.slots[input] != before.slots[result] || count != before.step->slots[result].count() ||
      count > std::numeric_limits<std::int32_t>::max())
    return false;
  std::vector<Array> arrays;
  for (std::size_t stage = 0; stage < chain.size(); ++stage) {
    const std::vector<Array> own = arrays_of(stage, *chain[stage], stage > 0);
    arrays.insert(arrays.end(), own.begin(), own.end());
  }
  for (auto b = arrays.begin(); b != arrays.end(); ++b) {
    if (!std::all_of(arrays.begin(), b, [&](const Array& a) { return keep_apart(a, *b); }))
      return false;
  }
  return true;
}

}  // namespace

void join_chains(std::span<const StepRun> runs, std::vector<std::vector<std::size_t>>& launches) {
  std::vector<std::vector<std::size_t>> joined;
  for (const std::vector<std::size_t>& launch : launches) {
    if (!joined.empty() && joined.back().size() < most_chained && launch.size() == 1) {
      std::vector<const StepRun*> chain;
      for (const std::size_t run : joined.back()) chain.push_back(&runs[run]);
      chain.push_back(&runs[launch.front()]);
      if (is_chain(chain)) {
        joined.back().push_back(launch.front());
        continue;
      }
    }
    joined.push_back(launch);
  }
  launches = std::move(joined);
}

}  // namespace cermet::cuda
