#include "cuda/run_memory.h"

#include <algorithm>
#include <cstddef>

namespace cermet::cuda {
namespace {

/// Bytes from the first to the last one of a slot.
std::size_t extent(const TensorDesc& desc, std::size_t storage) {
  if (desc.layout != plain) return storage;
  const std::int64_t elements = (desc.n - 1) * desc.stride_n + (desc.h - 1) * desc.stride_h +
                                (desc.w - 1) * desc.stride_w + desc.c;
  return std::max(storage, static_cast<std::size_t>(elements) * size_of(desc.type));
}

}  // namespace

RunMemory::RunMemory(const StepRun& run) {
  const auto add_range = [&](const void* address, std::size_t bytes, bool written) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    if (address != nullptr && bytes != 0) ranges_.push_back({begin, begin + bytes, written});
  };
  const Step& step = *run.step;
  for (std::size_t slot = 0; slot < step.slots.size(); ++slot) {
    const TensorDesc& desc = step.slots[slot];
    const bool written = slot >= step.access.size() || step.access[slot] != Access::read;
    if (desc.present()) add_range(run.slots[slot], extent(desc, step.bytes[slot]), written);
  }
  add_range(run.scratch, step.scratch_bytes, true);
}

void RunMemory::add(const RunMemory& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
}

template <class Matters>
bool RunMemory::any_overlap(const RunMemory& other, Matters&& matters) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& a) {
    return std::any_of(other.ranges_.begin(), other.ranges_.end(), [&](const Range& b) {
      return matters(a, b) && a.begin < b.end && b.begin < a.end;
    });
  });
}

bool RunMemory::reads(const RunMemory& before) const {
  return any_overlap(
      before, [](const Range& own, const Range& other) { return !own.written && other.written; });
}

bool RunMemory::conflicts(const RunMemory& other) const {
  return any_overlap(other, [](const Range& a, const Range& b) { return a.written || b.written; });
}

}  // namespace cermet::cuda
