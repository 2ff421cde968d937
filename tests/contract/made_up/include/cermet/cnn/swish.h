#pragma once
// A kernel that the original does not have, as docs/add_a_kernel.md adds it.

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// y = x * s(beta*x), s the logistic function; all slots have the same extents.
struct Swish {
  static constexpr std::string_view name = "CNNSwish";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  float beta = 1;
  static void fields(auto& op, auto&& field) { field("beta", op.beta); }
};

/// d = g * (s + beta*x * s * (1 - s)), s = s(beta*x), x the forward source.
struct SwishGradient {
  static constexpr std::string_view name = "CNNSwishGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Swish forward{};
};

using SwishOperators = TypeList<Swish, SwishGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel_shapes.h"

namespace cermet {

/// y = x / (1 + exp(-beta*x)), channel by channel; result size = source size.
class CNNSwish final : public PixelKernel<CNNSwish, Swish> {
 public:
  using PixelKernel::PixelKernel;
  explicit CNNSwish(const Device& device, float beta = 1) : PixelKernel(device, {.beta = beta}) {}

  [[nodiscard]] float beta() const { return op_.beta; }
  void setBeta(float beta) { op_.beta = beta; }
};

/// beta must be that of the forward kernel.
class CNNSwishGradient final : public PixelGradientKernel<CNNSwishGradient, SwishGradient> {
 public:
  using PixelGradientKernel::PixelGradientKernel;
  explicit CNNSwishGradient(const Device& device, float beta = 1)
      : PixelGradientKernel(device, {{.beta = beta}}) {}

  [[nodiscard]] float beta() const { return op_.forward.beta; }
  void setBeta(float beta) { op_.forward.beta = beta; }
};

using SwishKernels = TypeList<CNNSwish, CNNSwishGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
