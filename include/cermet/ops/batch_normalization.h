#pragma once
// Batch normalisation: statistics, normalisation and both gradients (spec: normalization 6).
// Parameters, statistics and gradients are flat float32 arrays of C elements.

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// Folds the samples of `source` into the running sums by merging (count, mean, M2) and writes mean
/// and biased variance of everything so far. `sums`: double[1 + 2*C] = count, means, M2s, held in a
/// uint8 slot of 8*(1 + 2*C) bytes.
struct BatchNormalizationStatistics {
  static constexpr std::string_view name = "CNNBatchNormalizationStatistics";
  enum Slot { source, sums, mean, variance };
  static constexpr std::array access{Access::read, Access::update, Access::write, Access::write};
  std::int32_t restart = 1;  // 1: a new batch, sums start at zero
};

/// y = f((x - mean) * gamma / sqrt(variance + epsilon) + beta), f the activation.
struct BatchNormalization {
  static constexpr std::string_view name = "CNNBatchNormalization";
  enum Slot { source, mean, variance, gamma, beta, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::write};
  float epsilon = 1.17549435e-38F;
  Activation activation{};
};

/// gradientForBeta (+)= sum g', gradientForGamma (+)= sum g'*xh, with xh = (x - mean)/sqrt(variance
/// + epsilon), g' = g * f'(gamma*xh + beta).
struct BatchNormalizationStatisticsGradient {
  static constexpr std::string_view name = "CNNBatchNormalizationStatisticsGradient";
  enum Slot {
    gradient,
    source,
    mean,
    variance,
    gamma,
    beta,
    slopes,
    gradientForGamma,
    gradientForBeta
  };
  static constexpr std::array access{Access::read, Access::read,   Access::read,
                                     Access::read, Access::read,   Access::read,
                                     Access::read, Access::update, Access::update};
  BatchNormalization forward{};
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

/// dx = gamma/s * (g' - (gradientForBeta + xh*gradientForGamma)/m), m = sums[0] samples;
/// `fixedStatistics`: dx = gamma/s * g'.
struct BatchNormalizationGradient {
  static constexpr std::string_view name = "CNNBatchNormalizationGradient";
  enum Slot {
    gradient,
    source,
    mean,
    variance,
    gamma,
    beta,
    slopes,
    gradientForGamma,
    gradientForBeta,
    sums,
    destination
  };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::write};
  BatchNormalization forward{};
  std::int32_t fixedStatistics = 0;
};

}  // namespace cermet
