#pragma once
// What kernels record when a graph is compiled: operators with descriptions instead of steps, and
// addresses that stand for memory which does not exist yet.

#include <array>
#include <cstring>
#include <map>
#include <string_view>
#include <vector>

#include "core/memory.h"

namespace cermet::detail {

class Recording;

/// A slot whose layout the step chooses and whose address is known only when it is encoded: the
/// packed weights of a kernel. `owner` lives in the kernel.
struct LateSlot {
  std::size_t slot = max_slots;  // none
  const void* owner = nullptr;
  TensorView (*resolve)(const void* owner, Recording& recording, const Step& step, std::size_t slot,
                        const TensorDesc& master) = nullptr;
  [[nodiscard]] explicit operator bool() const { return resolve != nullptr; }
};

/// A number that counts the encodes of a kernel and takes part in the scalars of its steps.
struct EncodeCounter {
  std::uint64_t* count = nullptr;  // in the kernel
  std::size_t offset = 0;          // of the std::uint64_t among the scalars
};

/// One operator as it was recorded.
struct Recorded {
  std::uint32_t id = 0, op_bytes = 0;
  std::string_view name;
  std::span<const Access> access;
  alignas(8) std::array<std::byte, max_op_bytes> op{};
  std::array<TensorDesc, max_slots> descs{};
  Slots slots{};
  std::size_t slot_count = 0;
  alignas(8) std::array<std::byte, max_scalar_bytes> scalars{};
  LateSlot late;
  EncodeCounter counter;

  [[nodiscard]] OpView view() const { return {id, op.data(), op_bytes, name, access}; }
  void set_op(const OpView& from) {
    id = from.id;
    name = from.name;
    access = from.access;
    op_bytes = from.bytes;
    std::memcpy(op.data(), from.data, from.bytes);
  }
  template <class Op>
  [[nodiscard]] const Op* as() const {
    return id == op_id(Op::name) ? reinterpret_cast<const Op*>(op.data()) : nullptr;
  }
};

/// Symbolic memory and the operators that use it. A temporary gets a block of its own, whatever was
/// given back before: the plan of the program decides who shares memory.
class Capture {
 public:
  std::vector<Recorded> operators;
  std::vector<std::shared_ptr<const void>> retained;

  struct Block {
    std::byte* first = nullptr;
    std::size_t bytes = 0;
  };
  [[nodiscard]] MemoryPtr memory(std::size_t bytes) {
    blocks_.push_back({next_, bytes});
    auto block = std::make_shared<Memory>(nullptr, next_, bytes);
    next_ += (bytes + 2 * page - 1) / page * page;
    return block;
  }
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
  /// Index of the block that `address` lies in; `blocks().size()` for real memory.
  [[nodiscard]] std::size_t block_of(const void* address) const;

 private:
  static constexpr std::size_t page = 4096;
  // No address of a user process is as large: symbols and memory cannot be confused.
  static constexpr std::uintptr_t first_symbol = std::uintptr_t{1} << 62;
  std::vector<Block> blocks_;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): never dereferenced
  std::byte* next_ = reinterpret_cast<std::byte*>(first_symbol);
};

}  // namespace cermet::detail
