#include "cuda/joining.h"

#include <algorithm>
#include <cstdint>

namespace cermet::cuda {
namespace {

struct Range {
  std::uintptr_t begin, end;
};

/// Bytes from the first to the last one of a slot.
std::size_t extent(const TensorDesc& desc, std::size_t storage) {
  if (desc.layout != plain) return storage;
  const std::int64_t elements = (desc.n - 1) * desc.stride_n + (desc.h - 1) * desc.stride_h +
                                (desc.w - 1) * desc.stride_w + desc.c;
  return std::max(storage, static_cast<std::size_t>(elements) * size_of(desc.type));
}

std::vector<Range> memory_of(const StepRun& run) {
  std::vector<Range> memory;
  const auto add = [&](const void* address, std::size_t bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    if (address != nullptr && bytes != 0) memory.push_back({begin, begin + bytes});
  };
  const Step& step = *run.step;
  for (std::size_t slot = 0; slot < step.slots.size(); ++slot) {
    const TensorDesc& desc = step.slots[slot];
    if (desc.present()) add(run.slots[slot], extent(desc, step.bytes[slot]));
  }
  add(run.scratch, step.scratch_bytes);
  return memory;
}

bool overlap(const std::vector<Range>& a, const std::vector<Range>& b) {
  return std::any_of(a.begin(), a.end(), [&](const Range& one) {
    return std::any_of(b.begin(), b.end(), [&](const Range& other) {
      return one.begin < other.end && other.begin < one.end;
    });
  });
}

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
  std::vector<std::vector<Range>> memory(runs.size());
  std::vector<Launch> launches;  // the last one first: a run finds what comes after it in its place
  for (std::size_t i = runs.size(); i-- > 0;) {
    memory[i] = memory_of(runs[i]);
    const void* const kind = kind_of(runs[i]);
    const auto shares = [&](std::size_t other) { return overlap(memory[i], memory[other]); };
    Launch* joined = nullptr;
    for (auto at = launches.rbegin(); kind != nullptr && at != launches.rend(); ++at) {
      if (std::any_of(at->runs.begin(), at->runs.end(), shares)) break;
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
