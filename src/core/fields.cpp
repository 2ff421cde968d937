#include "cermet/core/fields.h"

namespace cermet::detail {

std::string range_problem(std::int64_t value, FieldRange range) {
  if (value >= range.least && value <= range.most) return {};
  if (range.most == FieldRange().most) return std::to_string(range.least) + " or more";
  return std::to_string(range.least) + " to " + std::to_string(range.most);
}

}  // namespace cermet::detail
