#include "core/run_memory.h"

#include <algorithm>

namespace cermet {
namespace {

using Ranges = std::vector<RunMemory::Range>;

/// Bytes from the first to the last one of a slot.
std::size_t extent(const TensorDesc& desc, std::size_t storage) {
  if (desc.layout != plain) return storage;
  const std::int64_t elements = (desc.n - 1) * desc.stride_n + (desc.h - 1) * desc.stride_h +
                                (desc.w - 1) * desc.stride_w + desc.c;
  return std::max(storage, static_cast<std::size_t>(elements) * size_of(desc.type));
}

void append(Ranges& ranges, const void* address, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  if (address != nullptr && bytes != 0) ranges.push_back({begin, begin + bytes});
}

void put_in_order(Ranges& ranges) {
  if (ranges.empty()) return;
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::size_t last = 0;
  for (const RunMemory::Range& next : ranges) {
    if (next.begin <= ranges[last].end) {
      ranges[last].end = std::max(ranges[last].end, next.end);
    } else {
      ranges[++last] = next;
    }
  }
  ranges.resize(last + 1);
}

bool overlap(const Ranges& a, const Ranges& b) {
  for (std::size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    if (a[i].begin < b[k].end && b[k].begin < a[i].end) return true;
    a[i].end <= b[k].end ? ++i : ++k;
  }
  return false;
}

}  // namespace

RunMemory::RunMemory(std::span<const StepRun> runs) {
  for (const StepRun& run : runs) {
    const Step& step = *run.step;
    for (std::size_t slot = 0; slot < step.slots.size(); ++slot) {
      const TensorDesc& desc = step.slots[slot];
      const bool written = slot >= step.access.size() || step.access[slot] != Access::read;
      if (!desc.present()) continue;
      append(written ? written_ : read_, run.slots[slot], extent(desc, step.bytes[slot]));
    }
    append(written_, run.scratch, step.scratch_bytes);
  }
  put_in_order(read_);
  put_in_order(written_);
}

void RunMemory::add(const RunMemory& other) {
  read_.insert(read_.end(), other.read_.begin(), other.read_.end());
  written_.insert(written_.end(), other.written_.begin(), other.written_.end());
  put_in_order(read_);
  put_in_order(written_);
}

void RunMemory::add_read(const void* address, std::size_t bytes) {
  append(read_, address, bytes);
  put_in_order(read_);
}

void RunMemory::add_written(const void* address, std::size_t bytes) {
  append(written_, address, bytes);
  put_in_order(written_);
}

bool RunMemory::reads(const RunMemory& before) const { return overlap(read_, before.written_); }

bool RunMemory::conflicts(const RunMemory& other) const {
  return overlap(written_, other.written_) || overlap(written_, other.read_) ||
         overlap(read_, other.written_);
}

}  // namespace cermet
