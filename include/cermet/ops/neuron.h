#pragma once
// Neuron functions and their gradient (spec: pointwise 1-4).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// destination = f(source); all slots have the same extents. `slopes`: PReLU alone, one per
/// channel.
struct Neuron {
  static constexpr std::string_view name = "CNNNeuron";
  enum Slot { source, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Activation activation{};
};

/// destination = gradient * f'(source), source being the forward source.
struct NeuronGradient {
  static constexpr std::string_view name = "CNNNeuronGradient";
  enum Slot { gradient, source, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  Neuron forward{};
};

}  // namespace cermet
