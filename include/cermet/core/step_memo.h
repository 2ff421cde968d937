#pragma once
// The last step that an encode used: a repeated encode compares descriptions instead of hashing.

#include <array>
#include <cstring>

#include "cermet/core/engine.h"

namespace cermet::detail {

/// Belongs to one kernel; a copy of the kernel starts with an empty one, so that copies may be used
/// by different threads.
class StepMemo {
 public:
  StepMemo() = default;
  ~StepMemo() = default;
  StepMemo(const StepMemo&) {}
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): copies nothing
  StepMemo& operator=(const StepMemo&) { return *this; }

  [[nodiscard]] const StepPtr& find(Engine& engine, const OpView& op,
                                    std::span<const TensorDesc> descs) {
    const bool hit = step_ && engine_ == &engine && op_bytes_ == op.bytes &&
                     count_ == descs.size() && id_ == op.id &&
                     std::memcmp(op_.data(), op.data, op.bytes) == 0 &&
                     std::memcmp(descs_.data(), descs.data(), descs.size_bytes()) == 0;
    if (!hit) {
      step_ = engine.prepare(op, descs);
      engine_ = &engine;
      id_ = op.id;
      op_bytes_ = op.bytes;
      count_ = descs.size();
      std::memcpy(op_.data(), op.data, op.bytes);
      std::memcpy(descs_.data(), descs.data(), descs.size_bytes());
    }
    return step_;
  }

 private:
  StepPtr step_;
  const Engine* engine_ = nullptr;
  std::uint32_t id_ = 0, op_bytes_ = 0;
  std::size_t count_ = 0;
  std::array<std::byte, max_op_bytes> op_{};
  std::array<TensorDesc, max_slots> descs_{};
};

}  // namespace cermet::detail
