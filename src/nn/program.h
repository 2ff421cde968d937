#pragma once
// A graph for given inputs, lowered to prepared steps: kernels record once into symbolic memory,
// the operators are rewritten, their tensors get places in one arena, and every encode replays the
// list (ADR 0009).

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/capture.h"
#include "core/device_impl.h"

namespace cermet::detail {

/// A tensor of a program: a place in a block of symbolic memory, or a real address.
struct Location {
  static constexpr std::size_t real = ~std::size_t{0};
  std::size_t block = real;
  std::ptrdiff_t offset = 0;
  void* address = nullptr;
};

/// An operator of a program under construction.
struct Operation {
  Recorded what;
  std::vector<Location> locations;
  StepPtr step;
  std::ptrdiff_t cut = -1;  // no operator: user code number `cut` runs here

  [[nodiscard]] const TensorDesc& desc(std::size_t slot) const { return what.descs[slot]; }
  [[nodiscard]] bool writes(std::size_t slot) const { return what.access[slot] != Access::read; }
};

/// What the rewrites work on.
struct Lowered {
  Engine& engine;
  std::vector<Operation> operations;
  std::vector<std::size_t> block_bytes;
  std::vector<bool> block_is_temporary;  // else an input or a result

  Location new_block(std::size_t bytes) {
    block_bytes.push_back(bytes);
    block_is_temporary.push_back(true);
    return {block_bytes.size() - 1, 0, nullptr};
  }
};

/// Replaces groups of operators by cheaper ones with the same results up to rounding.
void fuse(Lowered& program);

class Program {
 public:
  /// Takes over what was recorded. `cuts`: numbers of user code, by the index of the operator that
  /// they precede. Blocks of `inputs` and `results` get their addresses at each replay, in this
  /// order.
  Program(Engine& engine, Capture capture,
          const std::vector<std::pair<std::size_t, std::size_t>>& cuts,
          const std::vector<std::size_t>& inputs, const std::vector<std::size_t>& results,
          bool rewrite);

  /// Appends the steps to the open recording of `commands`, and calls `user(cut)` where user code
  /// runs: it may commit and continue. `addresses`: of the inputs, then of the results;
  /// the first recording has retained their memory, `hold()` does so for a later one.
  template <class User, class Hold>
  void replay(const std::shared_ptr<Program>& self, const CommandBuffer& commands,
              std::span<std::byte* const> addresses, User&& user, Hold&& hold) {
    Lease lease{&commands.recording(), nullptr};
    lease.memory = begin(*lease.recording, addresses);
    const auto keep = [&] {
      lease.recording->retain(self);
      if (lease.memory) lease.recording->retain(lease.memory);
    };
    keep();
    for (Line& line : lines_) {
      if (line.cut < 0) {
        append(*lease.recording, line);
        continue;
      }
      user(static_cast<std::size_t>(line.cut));
      if (&commands.recording() == lease.recording) continue;
      lease.recording = &commands.recording();
      keep();
      hold();
    }
  }

  /// Bytes of the arena, and of the same tensors without sharing.
  [[nodiscard]] std::size_t arena_bytes() const { return arena_bytes_; }
  [[nodiscard]] std::size_t tensor_bytes() const { return tensor_bytes_; }
  /// One line for each step: name, implementation, written tensor.
  [[nodiscard]] std::string description() const;

 private:
  /// Memory of one replay; steps that were appended keep it whatever happens.
  // NOLINTNEXTLINE(cppcoreguidelines-special-member-functions): stays an aggregate
  struct Lease {
    Recording* recording;
    MemoryPtr memory;
    ~Lease() {
      if (memory) recording->recycle(std::move(memory));
    }
  };
  struct Place {
    std::uint32_t base = 0;  // 0: nothing, the address is final; 1: the arena; then inputs, results
    std::uint32_t slot = 0;
    std::ptrdiff_t offset = 0;
  };
  struct Line {
    StepPtr step;
    StepRun entry;              // addresses that never change are filled in
    std::vector<Place> places;  // the others; slot max_slots is the scratch memory
    LateSlot late;
    TensorDesc master;  // of the late slot
    std::ptrdiff_t counter = -1;
    std::size_t counter_offset = 0;
    std::ptrdiff_t cut = -1;
    std::string name;
  };
  void plan(const Lowered& program, const std::map<std::size_t, std::uint32_t>& bases);
  [[nodiscard]] MemoryPtr begin(Recording& recording, std::span<std::byte* const> addresses);
  void append(Recording& recording, Line& line);

  std::vector<Line> lines_;
  std::vector<std::shared_ptr<const void>> retained_;
  std::vector<std::uint64_t*> counters_;
  std::vector<std::uint64_t> counts_;  // of the present replay
  std::vector<std::byte*> bases_;      // of the present replay
  std::size_t arena_bytes_ = 0, tensor_bytes_ = 0;
};

}  // namespace cermet::detail
