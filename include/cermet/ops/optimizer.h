#pragma once
// Parameter updates (spec: optimizer 4, 5). All slots are flat and equally long; `result` may be
// the same memory as `values` or `gradient`. State slots are updated in place.

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

enum class NNRegularizationType : std::uint64_t { None = 0, L1 = 1, L2 = 2 };

/// g = clip(raw) * rescale + (L2: scale*w | L1: scale*sign(w)); NaN passes through the clip.
struct GradientPreparation {
  std::int32_t clip = 0;
  std::int32_t regularization = 0;  // NNRegularizationType
  bool operator==(const GradientPreparation&) const = default;
};
struct GradientScalars {
  float rescale = 1, clipMin = 0, clipMax = 0, regularizationScale = 0;
};

/// No momentum slot: w - lr*g. Plain: m' = mu*m + lr*g, w - m'. Nesterov: m' = mu*m + g,
/// w - lr*(g + mu*m').
struct StochasticGradientDescent {
  static constexpr std::string_view name = "NNOptimizerStochasticGradientDescent";
  enum Slot { gradient, values, momentum, result };  // momentum may be absent
  static constexpr std::array access{Access::read, Access::read, Access::update, Access::write};
  GradientPreparation preparation{};
  std::int32_t nesterov = 0;
  struct Scalars {
    GradientScalars gradient{};
    float learningRate = 1e-3F, momentumScale = 0;
  };
};

/// s' = decay*s + (1-decay)*g^2; w - lr*g/(sqrt(s') + epsilon).
struct RMSProp {
  static constexpr std::string_view name = "NNOptimizerRMSProp";
  enum Slot { gradient, values, sumOfSquares, result };
  static constexpr std::array access{Access::read, Access::read, Access::update, Access::write};
  GradientPreparation preparation{};
  struct Scalars {
    GradientScalars gradient{};
    float learningRate = 1e-3F, decay = 0.9F, oneMinusDecay = 0.1F, epsilon = 1e-8F;
  };
};

/// m' = b1*m + (1-b1)*g; v' = b2*v + (1-b2)*g^2; w - lr_t*m'/(sqrt(v') + epsilon), lr_t given.
/// With `maximumVelocity` (AMSGrad): x' = max(x, v') stands for v' in the step.
struct Adam {
  static constexpr std::string_view name = "NNOptimizerAdam";
  enum Slot { gradient, values, momentum, velocity, maximumVelocity, result };
  static constexpr std::array access{Access::read,   Access::read,   Access::update,
                                     Access::update, Access::update, Access::write};
  GradientPreparation preparation{};
  struct Scalars {
    GradientScalars gradient{};
    float stepLearningRate = 0, beta1 = 0.9F, oneMinusBeta1 = 0.1F, beta2 = 0.999F,
          oneMinusBeta2 = 0.001F, epsilon = 1e-8F;
  };
};

using OptimizerOperators = TypeList<StochasticGradientDescent, RMSProp, Adam>;

}  // namespace cermet
