#pragma once
// Dropout (spec: pointwise 13; the counter's layout: cnn/dropout.h).

#include "cermet/cnn/dropout.h"
#include "philox.h"
#include "tensor.h"

namespace cermet::oracle {

/// The mask of n images of h x w x c: 1 = kept; an axis of stride 0 has extent 1.
inline Tensor dropout_mask(const Dropout& op, const Dropout::Scalars& s, int n, int h, int w,
                           int c) {
  auto mask = filled(n, op.maskStrideY != 0 ? h : 1, op.maskStrideX != 0 ? w : 1,
                     op.maskStrideC != 0 ? c : 1);
  const auto low = [](std::uint64_t word) { return static_cast<std::uint32_t>(word); };
  const auto high = [](std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32U); };
  for_each(mask, [&](int image, int y, int x, int k) {
    const auto e = static_cast<std::uint32_t>(mask.index(0, y, x, k));
    const auto words = philox4x32_10(
        {e / 4, s.first_image + static_cast<std::uint32_t>(image), low(s.encode), high(s.encode)},
        {low(s.seed), high(s.seed)});
    const double u = static_cast<double>(words.at(e % 4) >> 8U) * 0x1p-24;
    mask(image, y, x, k) = u < op.keepProbability ? 1 : 0;
  });
  return mask;
}

/// destination = kept ? source / keep : +0, the mask read (shiftY, shiftX) further on.
inline Tensor apply_dropout_mask(const Dropout& op, const Tensor& source, const Tensor& mask,
                                 int shift_y = 0, int shift_x = 0) {
  auto out = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    const double kept = read(mask, n, (y + shift_y) * op.maskStrideY,
                             (x + shift_x) * op.maskStrideX, c * op.maskStrideC, EdgeRule::Zero);
    if (kept != 0) out(n, y, x, c) = source(n, y, x, c) / op.keepProbability;
  });
  return out;
}
inline Tensor dropout(const Dropout& op, const Dropout::Scalars& s, const Tensor& source) {
  return apply_dropout_mask(op, source,
                            dropout_mask(op, s, source.n, source.h, source.w, source.c));
}
inline Tensor dropout_gradient(const DropoutGradient& op, const Tensor& gradient,
                               const Tensor& mask) {
  return apply_dropout_mask(op.forward, gradient, mask, op.shiftY, op.shiftX);
}

}  // namespace cermet::oracle
