#pragma once
// The contract of an operator: a trivially copyable parameter struct that knows nothing of images,
// batches or graphs. It has
//   static constexpr std::string_view name;            unique; its hash is the operator's identity
//   enum Slot { ... };                                 the tensors it works on, in order
//   static constexpr std::array access{...};           what it does to each slot
// Members are four bytes wide, so that equal operators are equal bytes (cache keys).

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "cermet/core/tensor_desc.h"

namespace cermet {

/// What an operator does to a slot. `update` reads and writes in place.
enum class Access : std::uint8_t { read, write, update };

/// FNV-1a of the operator's name; engines check at start that no two operators collide.
[[nodiscard]] constexpr std::uint32_t op_id(std::string_view name) {
  std::uint32_t hash = 2166136261u;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 16777619u;
  return hash;
}

template <class Op>
concept Operator = std::is_trivially_copyable_v<Op> && requires {
  { Op::name } -> std::convertible_to<std::string_view>;
  Op::access[0];
};

/// An operator without its type, borrowed for one call.
struct OpView {
  std::uint32_t id = 0;
  const void* data = nullptr;
  std::uint32_t bytes = 0;
  std::string_view name;
  std::span<const Access> access;
};

template <Operator Op>
[[nodiscard]] OpView view_of(const Op& op) {
  static constexpr auto id = op_id(Op::name);
  return {id, &op, static_cast<std::uint32_t>(sizeof(Op)), Op::name, Op::access};
}

inline constexpr std::size_t max_slots = 12;
inline constexpr std::size_t max_scalar_bytes = 48;

template <class... Ops>
struct TypeList {};

}  // namespace cermet
