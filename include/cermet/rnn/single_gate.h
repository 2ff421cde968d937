#pragma once
// The recurrent layer of one gate (spec: rnn-matrix B2.1).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// gateGradients = (gradient + hiddenGradient) * f'(gates), f being the neuron of the gate, whose
/// forward operator is BiasedNeuron. `slopes`: PReLU's, one for each channel, may be absent.
struct SingleGateGradient {
  static constexpr std::string_view name = "RNNSingleGate.gradient";
  enum Slot { gradient, hiddenGradient, gates, slopes, gateGradients };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::write};
  Activation neuron{};
};

using SingleGateOperators = TypeList<SingleGateGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/rnn/descriptor.h"

namespace cermet {

/// h1 = g(W x + U h0 + b).
class RNNSingleGateDescriptor final : public RNNDescriptor {
 public:
  /// Throws InvalidArgument where one is 0.
  [[nodiscard]] static std::shared_ptr<RNNSingleGateDescriptor> createRNNSingleGateDescriptor(
      std::size_t inputFeatureChannels, std::size_t outputFeatureChannels);
  RNNSingleGateDescriptor() = default;

  /// W, b and g. Default null.
  [[nodiscard]] const RNNWeights& inputWeights() const { return input_; }
  void setInputWeights(RNNWeights weights) { input_ = std::move(weights); }
  /// U. Default null.
  [[nodiscard]] const RNNWeights& recurrentWeights() const { return recurrent_; }
  void setRecurrentWeights(RNNWeights weights) { recurrent_ = std::move(weights); }

  [[nodiscard]] std::string_view class_name() const override { return "RNNSingleGateDescriptor"; }

 private:
  RNNWeights input_, recurrent_;
};

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
