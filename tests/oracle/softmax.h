#pragma once
// Soft-max and log-soft-max over the channels of each pixel (spec: pointwise 6, 7).

#include <cmath>

#include "cermet/cnn/softmax.h"
#include "tensor.h"

namespace cermet::oracle {

inline Tensor log_soft_max(const Tensor& source) {
  auto out = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    double largest = source(n, y, x, 0), sum = 0;
    for (int k = 1; k < source.c; ++k) largest = std::max(largest, source(n, y, x, k));
    for (int k = 0; k < source.c; ++k) sum += std::exp(source(n, y, x, k) - largest);
    out(n, y, x, c) = source(n, y, x, c) - largest - std::log(sum);
  });
  return out;
}

inline Tensor soft_max(const SoftMax& op, const Tensor& source) {
  auto out = log_soft_max(source);
  if (op.logarithmic == 0)
    for (double& value : out.v) value = std::exp(value);
  return out;
}

/// `result`: the forward result.
inline Tensor soft_max_gradient(const SoftMaxGradient& op, const Tensor& gradient,
                                const Tensor& result) {
  const bool logarithmic = op.forward.logarithmic != 0;
  auto out = like(result);
  for_each(result, [&](int n, int y, int x, int c) {
    const double g = gradient(n, y, x, c), r = result(n, y, x, c);
    double sum = 0;
    for (int k = 0; k < result.c; ++k)
      sum += gradient(n, y, x, k) * (logarithmic ? 1 : result(n, y, x, k));
    out(n, y, x, c) = logarithmic ? g - std::exp(r) * sum : r * (g - sum);
  });
  return out;
}

}  // namespace cermet::oracle
