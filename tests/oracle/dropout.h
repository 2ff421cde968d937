#pragma once
// Dropout (spec: pointwise 13; the counter's layout: cnn/dropout.h).

#include <array>

#include "cermet/cnn/dropout.h"
#include "tensor.h"

namespace cermet::oracle {

using PhiloxBlock = std::array<std::uint32_t, 4>;
/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3).
inline PhiloxBlock philox4x32_10(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9U, key[1] + 0xBB67AE85U};
  }
  return counter;
}

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
