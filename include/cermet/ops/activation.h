#pragma once
// The neuron function that several operators end with.

#include <cstdint>

namespace cermet {

/// spec: pointwise 1
enum class CNNNeuronType : std::int32_t {
  None = 0,
  ReLU = 1,
  Linear = 2,
  Sigmoid = 3,
  HardSigmoid = 4,
  TanH = 5,
  Absolute = 6,
  SoftPlus = 7,
  SoftSign = 8,
  ELU = 9,
  PReLU = 10,
  ReLUN = 11,
  Power = 12,
  Exponential = 13,
  Logarithm = 14,
  GeLU = 15,
  Count = 16,
};

/// A neuron with its scalar parameters; PReLU's slopes are a slot of their own.
struct Activation {
  CNNNeuronType type = CNNNeuronType::None;
  float a = 0, b = 0, c = 0;
  bool operator==(const Activation&) const = default;
};

}  // namespace cermet
