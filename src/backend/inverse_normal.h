#pragma once
// The number z below which a standard normal distribution has the share p, and above which it has
// q = 1 - p, in float32, for backends that evaluate it with these coefficients and the same
// operations, each rounded once, so that all have the same bits:
//
//   t = 4 p q = m * 2^e, m from sqrt(1/2) to sqrt(2), f = m - 1
//   w = -log t = -e log 2 - (f + f^2 L(f))
//   z = (p - q) C(w - centre)                            where w is below `border`
//   z = (p - q) (sqrt(2) sqrt(w) + T(1/sqrt(w) - place)) elsewhere
//
// Both tails alike, since p and q are given. Fitted to the exact inverse with the least greatest
// error in z: C 1.2e-7, T 4.3e-7 for p and q of 2^-125 and more; with all roundings z is within
// 1e-6 for those of 2^-24 and more (|z| < 5.5), and within 2e-6 for smaller ones.

#include <cstdint>

namespace cermet::backend {

struct InverseNormal {
  static constexpr std::int32_t least_m = 0x3F3504F3;  // bits of sqrt(1/2)
  static constexpr float log_2 = 0.693147182F, root_2 = 1.41421354F;
  static constexpr float border = 6.25F, centre = 3.125F, place = 0.25F;

  // Coefficients, that of the power 0 first.
  float logarithm[8] = {-0.499999821F, 0.333342254F, -0.250024915F, 0.199535951F,
                        -0.165522829F, 0.149794236F, -0.144423187F, 0.087338008F};
  float central[10] = {2.3386209F,       0.339635074F,    -0.00853358675F, -0.00104771659F,
                       0.000264709466F,  -1.95459379e-5F, -2.13340718e-6F, 5.870995778e-7F,
                       -1.358152169e-8F, -5.741507714e-9F};
  float tail[9] = {-0.226579577F, -0.21479031F, 1.31443405F,  -2.06750774F, 5.36248970F,
                   14.3543291F,   109.062401F,  -318.677429F, -1209.00842F};
};

}  // namespace cermet::backend
