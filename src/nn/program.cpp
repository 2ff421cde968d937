#include "nn/program.h"

#include <algorithm>

namespace cermet::detail {
namespace {

constexpr std::size_t alignment = 64;

std::size_t aligned(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// A tensor of the arena: its bytes and the first and last operation that touch it.
struct Lifetime {
  std::size_t bytes = 0, first = 0, last = 0, offset = 0;
  bool used = false;

  void touch(std::size_t operation) {
    if (!used) first = operation;
    used = true;
    last = operation;
  }
  [[nodiscard]] bool overlaps(const Lifetime& other) const {
    return first <= other.last && other.first <= last;
  }
};

/// Largest first, each at the lowest offset that is free while it lives. Returns the arena's bytes.
std::size_t place(std::vector<Lifetime>& tensors) {
  std::vector<Lifetime*> order;
  for (Lifetime& tensor : tensors) {
    if (tensor.used && tensor.bytes != 0) order.push_back(&tensor);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Lifetime* a, const Lifetime* b) { return a->bytes > b->bytes; });
  std::vector<const Lifetime*> placed;  // by offset
  std::size_t end = 0;
  for (Lifetime* tensor : order) {
    std::size_t at = 0;
    for (const Lifetime* other : placed) {
      if (!tensor->overlaps(*other)) continue;
      if (at + aligned(tensor->bytes) <= other->offset) break;
      at = std::max(at, other->offset + aligned(other->bytes));
    }
    tensor->offset = at;
    end = std::max(end, at + aligned(tensor->bytes));
    placed.insert(std::upper_bound(
                      placed.begin(), placed.end(), tensor,
                      [](const Lifetime* a, const Lifetime* b) { return a->offset < b->offset; }),
                  tensor);
  }
  return end;
}

/// A place for each tensor alone.
std::size_t place_apart(std::vector<Lifetime>& tensors) {
  std::size_t end = 0;
  for (Lifetime& tensor : tensors) {
    tensor.offset = end;
    if (tensor.used) end += aligned(tensor.bytes);
  }
  return end;
}

Lowered lower(Engine& engine, Capture& capture,
              const std::vector<std::pair<std::size_t, std::size_t>>& cuts) {
  Lowered program{engine, {}, {}, {}};
  for (const Capture::Block& block : capture.blocks()) {
    program.block_bytes.push_back(block.bytes);
    program.block_is_temporary.push_back(true);
  }
  auto cut = cuts.begin();
  const auto add_cuts = [&](std::size_t before) {
    for (; cut != cuts.end() && cut->first <= before; ++cut) {
      program.operations.emplace_back().cut = static_cast<std::ptrdiff_t>(cut->second);
    }
  };
  for (std::size_t i = 0; i < capture.operators.size(); ++i) {
    add_cuts(i);
    Operation& operation = program.operations.emplace_back();
    operation.what = capture.operators[i];
    for (std::size_t slot = 0; slot < operation.what.slot_count; ++slot) {
      void* const address = operation.what.slots[slot];
      const std::size_t block = capture.block_of(address);
      Location& at = operation.locations.emplace_back();
      at.address = address;
      if (block == capture.blocks().size()) continue;
      at = {block, static_cast<std::byte*>(address) - capture.blocks()[block].first, nullptr};
    }
  }
  add_cuts(capture.operators.size());
  return program;
}

}  // namespace

Program::Program(Engine& engine, Capture capture,
                 const std::vector<std::pair<std::size_t, std::size_t>>& cuts,
                 const std::vector<std::size_t>& inputs, const std::vector<std::size_t>& results,
                 bool rewrite) {
  Lowered program = lower(engine, capture, cuts);
  std::map<std::size_t, std::uint32_t> bases;
  std::uint32_t base = 2;
  for (const auto* list : {&inputs, &results}) {
    for (const std::size_t block : *list) {
      bases.emplace(block, base++);
      program.block_is_temporary[block] = false;
    }
  }
  bases_.resize(base);
  if (rewrite) fuse(program);
  for (Operation& operation : program.operations) {
    if (operation.cut >= 0 || operation.step) continue;
    operation.step = engine.prepare(
        operation.what.view(), std::span(operation.what.descs.data(), operation.what.slot_count));
  }
  plan(program, bases);
  retained_ = std::move(capture.retained);
}

void Program::plan(const Lowered& program, const std::map<std::size_t, std::uint32_t>& bases) {
  const std::size_t blocks = program.block_bytes.size();
  std::vector<Lifetime> tensors(blocks + program.operations.size());  // then scratch memory
  for (std::size_t i = 0; i < program.operations.size(); ++i) {
    const Operation& operation = program.operations[i];
    if (operation.cut >= 0) continue;
    for (std::size_t slot = 0; slot < operation.locations.size(); ++slot) {
      const Location& at = operation.locations[slot];
      if (at.block == Location::real || !operation.desc(slot).present()) continue;
      if (!program.block_is_temporary[at.block]) continue;
      Lifetime& tensor = tensors[at.block];
      tensor.touch(i);
      tensor.bytes = std::max({tensor.bytes, program.block_bytes[at.block],
                               static_cast<std::size_t>(at.offset) +
                                   (at.offset == 0 ? operation.step->bytes[slot] : 0)});
    }
    tensors[blocks + i].bytes = operation.step->scratch_bytes;
    tensors[blocks + i].touch(i);
  }
  for (const Lifetime& tensor : tensors) tensor_bytes_ += tensor.used ? aligned(tensor.bytes) : 0;
  const bool share = tensor_bytes_ >= program.engine.memory_worth_sharing();
  arena_bytes_ = share ? place(tensors) : place_apart(tensors);

  for (std::size_t i = 0; i < program.operations.size(); ++i) {
    const Operation& operation = program.operations[i];
    Line& line = lines_.emplace_back();
    line.cut = operation.cut;
    if (operation.cut >= 0) continue;
    const Recorded& what = operation.what;
    line.name = what.name;
    line.step = operation.step;
    line.entry.step = line.step.get();
    line.entry.scalars = what.scalars;
    line.late = what.late;
    if (line.late) {
      line.master = what.descs[line.late.slot];
      line.master.layout = plain;
    }
    for (std::size_t slot = 0; slot < operation.locations.size(); ++slot) {
      const Location& at = operation.locations[slot];
      const auto to = static_cast<std::uint32_t>(slot);
      if (at.block == Location::real) {
        line.entry.slots[slot] = at.address;
      } else if (const auto found = bases.find(at.block); found != bases.end()) {
        line.places.push_back({found->second, to, at.offset});
      } else {
        line.places.push_back(
            {1, to, static_cast<std::ptrdiff_t>(tensors[at.block].offset) + at.offset});
      }
    }
    if (line.step->scratch_bytes != 0) {
      line.places.push_back({1, static_cast<std::uint32_t>(max_slots),
                             static_cast<std::ptrdiff_t>(tensors[blocks + i].offset)});
    }
    if (what.counter.count != nullptr) {
      const auto known = std::find(counters_.begin(), counters_.end(), what.counter.count);
      line.counter = known - counters_.begin();
      line.counter_offset = what.counter.offset;
      if (known == counters_.end()) {
        counters_.push_back(what.counter.count);
        --*what.counter.count;  // recording took a number that the first replay will take
      }
    }
  }
  counts_.resize(counters_.size());
}

MemoryPtr Program::begin(Recording& recording, std::span<std::byte* const> addresses) {
  MemoryPtr arena = arena_bytes_ != 0 ? recording.temporary(arena_bytes_) : nullptr;
  bases_[1] = arena ? arena->data : nullptr;
  std::copy(addresses.begin(), addresses.end(), bases_.begin() + 2);
  for (std::size_t i = 0; i < counters_.size(); ++i) counts_[i] = (*counters_[i])++;
  return arena;
}

void Program::append(Recording& recording, Line& line) {
  StepRun& entry = line.entry;
  for (const Place& place : line.places) {
    void* const address = bases_[place.base] + place.offset;
    if (place.slot == max_slots) {
      entry.scratch = address;
    } else {
      entry.slots[place.slot] = address;
    }
  }
  if (line.late) {
    entry.slots[line.late.slot] =
        line.late.resolve(line.late.owner, recording, *line.step, line.late.slot, line.master).data;
  }
  if (line.counter >= 0) {
    std::memcpy(entry.scalars.data() + line.counter_offset,
                &counts_[static_cast<std::size_t>(line.counter)], sizeof(std::uint64_t));
  }
  recording.add(entry);
}

std::string Program::description() const {
  std::string text;
  for (const Line& line : lines_) {
    if (line.cut >= 0) {
      text += "user code\n";
      continue;
    }
    text.append(line.name).append(" [").append(line.step->implementation).append("] ");
    text.append(describe(line.step->slots.back())).append("\n");
  }
  text.append("arena: ").append(std::to_string(arena_bytes_)).append(" bytes for ");
  return text.append(std::to_string(tensor_bytes_)).append(" bytes of tensors\n");
}

}  // namespace cermet::detail
