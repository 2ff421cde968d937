#pragma once
// The name of a class as the source spells it.

#include <string_view>

namespace cermet::detail {

/// "CNNAdd" for cermet::CNNAdd.
template <class T>
[[nodiscard]] constexpr std::string_view type_name() {
  std::string_view text = __PRETTY_FUNCTION__;  // "... [with T = cermet::CNNAdd; ...]"
  const std::size_t begin = text.find("T = ") + 4;
  text = text.substr(begin, text.find_first_of(";]", begin) - begin);
  return text.substr(text.rfind(':') + 1);
}

}  // namespace cermet::detail
