#pragma once
// Element-wise arithmetic with broadcasting, and the gradient of one operand (spec: pointwise
// 8-11).

#include <cmath>
#include <limits>

#include "cermet/cnn/arithmetic.h"
#include "tensor.h"

namespace cermet::oracle {

/// The element at (y, x, c), or the only one along an axis of extent 1.
inline double broadcast(const Tensor& t, int n, int y, int x, int c) {
  return t(n, t.h == 1 ? 0 : y, t.w == 1 ? 0 : x, t.c == 1 ? 0 : c);
}

/// Limits of a result; a limit at its default is none.
template <class Op>
bool above_minimum(const Op& op, double r) {
  return op.minimumValue == std::numeric_limits<float>::lowest() || r > op.minimumValue;
}
template <class Op>
bool below_maximum(const Op& op, double r) {
  return op.maximumValue == std::numeric_limits<float>::max() || r < op.maximumValue;
}
template <class Op>
double limited(const Op& op, double r) {
  if (std::isnan(r)) return r;
  if (!above_minimum(op, r)) r = op.minimumValue;
  return below_maximum(op, r) ? r : op.maximumValue;
}

struct ArithmeticResult {
  Tensor destination, mask;  // mask: 1 where the raw result lies strictly between the limits
};
inline ArithmeticResult arithmetic(const Arithmetic& op, const Tensor& primary,
                                   const Tensor& secondary) {
  auto out = filled(primary.n, std::max(primary.h, secondary.h), std::max(primary.w, secondary.w),
                    std::max(primary.c, secondary.c));
  ArithmeticResult result{out, out};
  for_each(out, [&](int n, int y, int x, int c) {
    const double a = op.primaryScale * broadcast(primary, n, y, x, c);
    const double b = op.secondaryScale * broadcast(secondary, n, y, x, c);
    const double r = op.bias + (op.kind == ArithmeticKind::add        ? a + b
                                : op.kind == ArithmeticKind::subtract ? a - b
                                : op.kind == ArithmeticKind::multiply ? a * b
                                                                      : a / b);
    result.destination(n, y, x, c) = limited(op, r);
    result.mask(n, y, x, c) = above_minimum(op, r) && below_maximum(op, r) ? 1 : 0;
  });
  return result;
}

/// `other` (multiply alone) and `mask` may be absent; `h`, `w`, `c`: the target operand's. The
/// specification has no gradient of a division.
inline Tensor arithmetic_gradient(const ArithmeticGradient& op, const Tensor& gradient,
                                  const Tensor& other, const Tensor& mask, int h, int w, int c) {
  auto out = filled(gradient.n, h, w, c);
  for_each(gradient, [&](int n, int y, int x, int k) {
    double g = op.primaryScale * gradient(n, y, x, k);
    if (!mask.empty() && mask(n, y, x, k) == 0) g = 0;
    if (op.kind == ArithmeticKind::multiply) g *= op.secondaryScale * broadcast(other, n, y, x, k);
    out(n, h == 1 ? 0 : y, w == 1 ? 0 : x, c == 1 ? 0 : k) += g;
  });
  for (double& value : out.v) value = limited(op, value + op.bias);
  return out;
}

}  // namespace cermet::oracle
