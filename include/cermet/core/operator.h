#pragma once
// The contract of an operator: a trivially copyable parameter struct that knows nothing of images,
// batches or graphs. It has
//   static constexpr std::string_view name;            unique; its hash is the operator's identity
//   enum Slot { ... };                                 the tensors it works on, in order
//   static constexpr std::array access{...};           what it does to each slot
// Members are four bytes wide, so that equal operators are equal bytes (cache keys).
//
// An operator whose kernels keep nothing else lists its parameters by name:
//   static void fields(auto& op, auto&& field) {
//     field("kernelSize", op.kernelSize, FieldRange{1});
//     field("alpha", op.alpha);
//   }
// From the list come archives, copies, checks of the ranges and the names in test reports
// (fields.h). The operator of a gradient passes on the fields of its forward operator.

#include <cstdint>
#include <limits>
#include <span>
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

/// The largest operator.
inline constexpr std::size_t max_op_bytes = 128;

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
  static_assert(sizeof(Op) <= max_op_bytes, "steps that are remembered hold no larger operator");
  static constexpr auto id = op_id(Op::name);
  return {id, &op, static_cast<std::uint32_t>(sizeof(Op)), Op::name, Op::access};
}

inline constexpr std::size_t max_slots = 12;
inline constexpr std::size_t max_scalar_bytes = 48;

/// Whole numbers that a field may hold, or the cases of an enum.
struct FieldRange {
  std::int64_t least = std::numeric_limits<std::int32_t>::min();
  std::int64_t most = std::numeric_limits<std::int32_t>::max();
};
/// Sizes: what no field holds becomes the largest int (cnn/kernel_shapes.h, field_of), which is
/// refused.
inline constexpr FieldRange size_range{1, std::numeric_limits<std::int32_t>::max() - 1};
/// The cases of an enum, up to this one.
template <class E>
requires std::is_enum_v<E>
[[nodiscard]] constexpr FieldRange up_to(E last) { return {0, static_cast<std::int64_t>(last)}; }

template <class... Types>
struct TypeList {};

namespace detail {
template <class... Lists>
struct Joined;
template <>
struct Joined<> {
  using Type = TypeList<>;
};
template <class... Types>
struct Joined<TypeList<Types...>> {
  using Type = TypeList<Types...>;
};
template <class... First, class... Second, class... More>
struct Joined<TypeList<First...>, TypeList<Second...>, More...>
    : Joined<TypeList<First..., Second...>, More...> {};
}  // namespace detail
template <class... Lists>
using Join = typename detail::Joined<Lists...>::Type;

}  // namespace cermet
