#pragma once
// Normalisation by a moving window (spec: normalization 3).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/convolution.h"

namespace cermet {

/// T = delta + alpha/(kw*kh) * sum of x^2 over the window; y = x * T^-beta, per channel. Stride 1,
/// no dilation. The pixel itself is tap (floor(kw/2), floor(kh/2)) of its window.
struct SpatialNormalization {
  static constexpr std::string_view name = "CNNSpatialNormalization";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
  float alpha = 1, beta = 5, delta = 1;
};

/// The exact derivative: for every output o whose window W(o) reads pixel u,
/// d[u] += [u is o's centre] g(o)*T(o)^-beta - 2*alpha*beta/(kw*kh) *
/// g(o)*x(o)*T(o)^(-beta-1)*x(u). `gradient` is placed like the forward destination, `destination`
/// like the forward source.
struct SpatialNormalizationGradient {
  static constexpr std::string_view name = "CNNSpatialNormalizationGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  SpatialNormalization forward{};
};

}  // namespace cermet
