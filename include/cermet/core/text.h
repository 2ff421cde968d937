#pragma once
// Lists in messages.

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>

namespace cermet {

/// "2x3" of {2, 3} and "x". (g++ 12 warns, wrongly, of an overflow inside fmt::join from -O2 on.)
template <class Range>
[[nodiscard]] std::string joined(const Range& items, std::string_view separator) {
  std::string text;
  bool first = true;
  for (const auto& item : items) {
    if (!first) text.append(separator);
    first = false;
    fmt::format_to(std::back_inserter(text), "{}", item);
  }
  return text;
}

}  // namespace cermet
