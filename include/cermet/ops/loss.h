#pragma once
// Loss functions, their reductions and gradients (spec: loss 6, 7).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// spec: loss 2
enum class CNNLossType : std::uint32_t {
  MeanAbsoluteError = 0,
  MeanSquaredError = 1,
  SoftMaxCrossEntropy = 2,
  SigmoidCrossEntropy = 3,
  CategoricalCrossEntropy = 4,
  Hinge = 5,
  Huber = 6,
  CosineDistance = 7,
  Log = 8,
  KullbackLeiblerDivergence = 9,
  Count = 10,
};
enum class CNNReductionType : std::int32_t {
  None = 0,
  Sum = 1,
  Mean = 2,
  SumByNonZeroWeights = 3,
  Count = 4
};

/// loss: source extents for reduction None, else n x 1 x 1 x 1; with reduceAcrossBatch the total is
/// in image 0 and the others are exactly 0. `labels` and `weights` may have more channels than
/// `source`; the first ones count. Sums in double, in a fixed order.
struct Loss {
  static constexpr std::string_view name = "NNForwardLoss";
  enum Slot { source, labels, weights, loss };  // weights may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  CNNLossType type = CNNLossType::SoftMaxCrossEntropy;
  CNNReductionType reduction = CNNReductionType::Sum;
  std::int32_t reduceAcrossBatch = 0;
  std::int32_t numberOfClasses = 1;
  struct Scalars {
    float weight = 1, labelSmoothing = 0, epsilon = 1e-7F, delta = 1;
  };
};

/// destination = G * w * dY * R: dY the derivative by the prediction, or by the label when
/// `byLabels`; G the incoming gradient (absent: 1; one value an image when reduced, image 0's for
/// all with reduceAcrossBatch); R the derivative of the reduction, or 1 when `ignoreReduction`.
/// `exactSoftMax`, `publishedKullbackLeibler`: the switches of the spec.
/// With byLabels channels of labels beyond the source's get 0.
struct LossGradient {
  static constexpr std::string_view name = "NNLossGradient";
  enum Slot { gradient, source, labels, weights, destination };  // gradient, weights may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::write};
  Loss forward{};
  std::int32_t byLabels = 0, ignoreReduction = 0;
  std::int32_t exactSoftMax = 0, publishedKullbackLeibler = 0;
  using Scalars = Loss::Scalars;
};

}  // namespace cermet
