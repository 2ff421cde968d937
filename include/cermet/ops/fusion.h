#pragma once
// Operators that a graph puts in the place of several others. A backend may return null for any of
// them: the graph then keeps the unfused ones.

#include <array>
#include <string_view>

#include "cermet/cnn/convolution.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/pooling.h"
#include "cermet/core/operator.h"

namespace cermet {

/// destination = pooling(neuron(source)), and for the gradient `winners`: uint8, the tap
/// (row-major) of each window that its gradient goes to, or `nobody` where the neuron's derivative
/// there is 0. Offered for ReLU with a = 0 and windows that do not overlap.
struct NeuronPoolingMax {
  static constexpr std::string_view name = "CNNNeuron+CNNPoolingMax";
  static constexpr std::uint8_t nobody = 4;
  enum Slot { source, destination, winners };  // winners may be absent
  static constexpr std::array access{Access::read, Access::write, Access::write};
  Activation activation{};
  PoolingMax pooling{};
};

/// destination and winners of NeuronPoolingMax on the result of a convolution without an activation
/// of its own, which nobody else needs.
struct PooledConvolution {
  static constexpr std::string_view name = "CNNConvolution+CNNNeuron+CNNPoolingMax";
  enum Slot { source, weights, biases, destination, winners };  // biases, winners may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write,
                                     Access::write};
  Convolution convolution{};
  Activation activation{};
  PoolingMax pooling{};
};

/// CNNConvolutionGradient.data of the gradient that pooling and neuron pass on: gradient and
/// winners are those of NeuronPoolingMax, and what is 0 for certain is skipped. Equal to the
/// unfused operators, up to rounding, for finite values.
struct PooledConvolutionGradientData {
  static constexpr std::string_view name = "CNNPoolingMax+CNNNeuron+CNNConvolutionGradient.data";
  enum Slot { gradient, winners, weights, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  Convolution forward{};
};

/// The same for CNNConvolutionGradient.weights.
struct PooledConvolutionGradientWeights {
  static constexpr std::string_view name = "CNNPoolingMax+CNNNeuron+CNNConvolutionGradient.weights";
  enum Slot { gradient, winners, source, weightGradient, biasGradient };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::update,
                                     Access::update};
  Convolution forward{};
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

using PoolingFusions = TypeList<NeuronPoolingMax, PooledConvolution, PooledConvolutionGradientData,
                                PooledConvolutionGradientWeights>;

}  // namespace cermet
