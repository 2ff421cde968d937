#pragma once
// What follows from the list of an operator's fields (operator.h).

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "cermet/core/coder.h"
#include "cermet/core/error.h"
#include "cermet/core/operator.h"

namespace cermet::detail {

template <class Visit>
struct FieldVisit {
  Visit& visit;
  template <class T>
  void operator()(std::string_view name, T& value, FieldRange range = {}) const {
    visit(name, value, range);
  }
};
/// visit(name, value, range) for each field.
template <class Op, class Visit>
void for_each_field(Op& op, Visit&& visit) {
  using Operator = std::remove_const_t<Op>;
  using Field = FieldVisit<std::remove_reference_t<Visit>>;
  if constexpr (requires { op.forward; }) {
    for_each_field(op.forward, visit);
  }
  if constexpr (requires { Operator::fields(op, Field{visit}); }) {
    Operator::fields(op, Field{visit});
  }
}

/// Empty, or why the value is not one of the field.
[[nodiscard]] std::string range_problem(std::int64_t value, FieldRange range);

/// Throws InvalidArgument in the name of `kernel` for a field out of its range.
template <class Op>
void check_fields(const Op& op, std::string_view kernel) {
  for_each_field(op, [&](std::string_view name, const auto& value, FieldRange range) {
    if constexpr (!std::is_floating_point_v<std::remove_cvref_t<decltype(value)>>) {
      const auto number = static_cast<std::int64_t>(value);
      if (std::string needed = range_problem(number, range); !needed.empty())
        fail({kernel, "", name, std::to_string(number), std::move(needed), ""});
    }
  });
}

/// Writes or reads all fields.
template <class Op>
void code_fields(const Coder& coder, Op& op) {
  for_each_field(op, [&](std::string_view name, auto& value, FieldRange range) {
    using T = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_floating_point_v<T>) {
      coder(name, value);
    } else {
      auto number = static_cast<std::int64_t>(value);
      coder(name, number);
      if (std::string needed = range_problem(number, range); !needed.empty())
        coder.refuse(name, std::to_string(number), std::move(needed));
      value = static_cast<T>(number);
    }
  });
}

}  // namespace cermet::detail
