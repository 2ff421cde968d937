#pragma once
// Comparisons with broadcasting (spec: pointwise 9).

#include "arithmetic.h"
#include "cermet/cnn/compare.h"

namespace cermet::oracle {

inline bool holds(const Compare& op, double x, double y) {
  const bool equal = x == y ? op.threshold >= 0 : std::abs(x - y) <= double{op.threshold};
  switch (op.comparisonType) {
    case NNComparisonType::Equal:
      return equal;
    case NNComparisonType::NotEqual:
      return !equal;
    case NNComparisonType::Less:
      return x < y;
    case NNComparisonType::LessOrEqual:
      return x < y || equal;
    case NNComparisonType::Greater:
      return x > y;
    case NNComparisonType::GreaterOrEqual:
      return x > y || equal;
  }
  return false;
}

inline Tensor compare(const Compare& op, const Tensor& primary, const Tensor& secondary) {
  auto out = filled(primary.n, std::max(primary.h, secondary.h), std::max(primary.w, secondary.w),
                    std::max(primary.c, secondary.c));
  for_each(out, [&](int n, int y, int x, int c) {
    const double a = broadcast(primary, n, y, x, c), b = broadcast(secondary, n, y, x, c);
    out(n, y, x, c) = holds(op, a, b) ? 1 : 0;
  });
  return out;
}

}  // namespace cermet::oracle
