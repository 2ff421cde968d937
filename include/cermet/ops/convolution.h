#pragma once
// Convolution and its two gradients (spec: convolution 0, 5, 7).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// Where windows lie: tap p of output i reads source position `stride*i - pad + dilation*p`.
/// Positions outside read 0, or the nearest edge pixel when `clampEdges`.
struct Window {
  std::int32_t kernelWidth = 1, kernelHeight = 1, strideX = 1, strideY = 1;
  std::int32_t padLeft = 0, padTop = 0;  // may be negative: the first window starts inside
  std::int32_t dilationX = 1, dilationY = 1;
  std::int32_t clampEdges = 0;
  bool operator==(const Window&) const = default;
};

/// z = bias[k] + sum of weights[k][q][p][c] * source(window), then the activation.
/// Channel k belongs to group k / (K/groups); depthwise convolution is groups = C.
struct Convolution {
  static constexpr std::string_view name = "CNNConvolution";
  enum Slot { source, weights, biases, slopes, destination };  // biases, slopes may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::write};
  Window window{};
  std::int32_t groups = 1;
  Activation activation{};
  /// 1: the factors of products may be rounded to TF32 (11 significant bits); sums stay float32.
  std::int32_t reducedPrecision = 0;
};

/// Every destination pixel is written: the exact adjoint of the forward read of that pixel.
struct ConvolutionGradientData {
  static constexpr std::string_view name = "CNNConvolutionGradient.data";
  enum Slot { gradient, weights, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Convolution forward{};
};

/// weightGradient[k][q][p][c] (+)= sum over n, j, i of gradient * source(window); biasGradient[k]
/// (+)= sum of gradient. Sums over the batch, never means.
struct ConvolutionGradientWeights {
  static constexpr std::string_view name = "CNNConvolutionGradient.weights";
  enum Slot { gradient, source, weightGradient, biasGradient };
  static constexpr std::array access{Access::read, Access::read, Access::update, Access::update};
  Convolution forward{};
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

}  // namespace cermet
