#pragma once
// Gated recurrent units (spec: rnn-matrix B2.2).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// reset = r . h0, and updated, which may be absent, = z . h0, with z = gz(az), r = gr(ar). In all
/// operators of a GRU the slot `gates` holds az, ar and ah side by side, what goes into the
/// neurons: 3 * C channels where other slots have C. `slopes`: PReLU's, one for each of those
/// channels, may be absent.
struct GRUGates {
  static constexpr std::string_view name = "GRU.gates";
  enum Slot { gates, slopes, previous, reset, updated };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write,
                                     Access::write};
  struct Neurons {
    Activation z{}, r{}, h{};
  };
  Neurons neurons{};
};

/// output = q . h + z . h0, or flipped q . h0 + z . h, with z = gz(az), h = gh(ah) and
/// q = max(1 - z^p, 0)^(1/p).
struct GRUCell {
  static constexpr std::string_view name = "GRU.cell";
  enum Slot { gates, slopes, previous, output };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  GRUGates::Neurons neurons{};
  float p = 1;
  std::int32_t flip = 0;
};

/// With dh = gradient + hiddenGradient: previousGradient = dh . z; of gateGradients, the channels
/// of h = dh . q . gh'(ah), and those of z, not yet through its neuron, = dh . (h0 + h . q').
/// Flipped, q and z and h and h0 change places in these. q' = -z^(p-1) * max(1 - z^p,
/// tiny)^(1/p-1).
struct GRUCellGradient {
  static constexpr std::string_view name = "GRU.cell.gradient";
  enum Slot { gradient, hiddenGradient, gates, slopes, previous, previousGradient, gateGradients };
  static constexpr std::array access{Access::read, Access::read,  Access::read,  Access::read,
                                     Access::read, Access::write, Access::update};
  GRUCell forward{};
};

/// With u the gradient of reset and v, which may be absent, that of updated: of gateGradients, the
/// channels of z become (dz + v . h0) . gz'(az), and those of r = u . h0 . gr'(ar);
/// previousGradient += u . r + v . z.
struct GRUGatesGradient {
  static constexpr std::string_view name = "GRU.gates.gradient";
  enum Slot {
    resetGradient,
    updatedGradient,
    gates,
    slopes,
    previous,
    previousGradient,
    gateGradients
  };
  static constexpr std::array access{Access::read, Access::read,   Access::read,  Access::read,
                                     Access::read, Access::update, Access::update};
  GRUGates forward{};
};

using GRUOperators = TypeList<GRUGates, GRUCell, GRUCellGradient, GRUGatesGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/rnn/descriptor.h"

namespace cermet {

/// Describes a gated recurrent unit. With "." elementwise:
///   z  = gz(Wz x + Uz h0 + bz)                       the input gate
///   r  = gr(Wr x + Ur h0 + br)                       the recurrent gate
///   h  = gh(Wh x + Uh (r.h0) + Vh (z.h0) + bh)       the output gate
///   h1 = (1 - z^p)^(1/p) . h + z . h0
/// The recurrent gate multiplies h0 before the matrix, where PyTorch and cuDNN multiply the product
/// after it: their weights are not for this one, nor the reverse.
class GRUDescriptor final : public RNNDescriptor {
 public:
  /// Throws InvalidArgument where one is 0.
  [[nodiscard]] static std::shared_ptr<GRUDescriptor> createGRUDescriptor(
      std::size_t inputFeatureChannels, std::size_t outputFeatureChannels);
  GRUDescriptor() = default;

  /// Wz, bz and gz. Default null.
  [[nodiscard]] const RNNWeights& inputGateInputWeights() const { return z_input_; }
  void setInputGateInputWeights(RNNWeights weights) { z_input_ = std::move(weights); }
  /// Uz. Default null.
  [[nodiscard]] const RNNWeights& inputGateRecurrentWeights() const { return z_recurrent_; }
  void setInputGateRecurrentWeights(RNNWeights weights) { z_recurrent_ = std::move(weights); }
  /// Wr, br and gr. Default null.
  [[nodiscard]] const RNNWeights& recurrentGateInputWeights() const { return r_input_; }
  void setRecurrentGateInputWeights(RNNWeights weights) { r_input_ = std::move(weights); }
  /// Ur. Default null.
  [[nodiscard]] const RNNWeights& recurrentGateRecurrentWeights() const { return r_recurrent_; }
  void setRecurrentGateRecurrentWeights(RNNWeights weights) { r_recurrent_ = std::move(weights); }
  /// Wh, bh and gh. Default null.
  [[nodiscard]] const RNNWeights& outputGateInputWeights() const { return h_input_; }
  void setOutputGateInputWeights(RNNWeights weights) { h_input_ = std::move(weights); }
  /// Uh. Default null.
  [[nodiscard]] const RNNWeights& outputGateRecurrentWeights() const { return h_recurrent_; }
  void setOutputGateRecurrentWeights(RNNWeights weights) { h_recurrent_ = std::move(weights); }
  /// Vh; with it and without Uh a minimal gated unit. Default null.
  [[nodiscard]] const RNNWeights& outputGateInputGateWeights() const { return h_input_gate_; }
  void setOutputGateInputGateWeights(RNNWeights weights) { h_input_gate_ = std::move(weights); }

  /// p, more than 0; where it is not 1, z should lie in [0, 1]. Default 1.
  [[nodiscard]] float gatePnormValue() const { return p_; }
  void setGatePnormValue(float p) { p_ = p; }
  /// Whether h1 = (1 - z^p)^(1/p) . h0 + z . h. Default false.
  [[nodiscard]] bool flipOutputGates() const { return flip_; }
  void setFlipOutputGates(bool flip) { flip_ = flip; }

  [[nodiscard]] std::string_view class_name() const override { return "GRUDescriptor"; }

 private:
  RNNWeights z_input_, z_recurrent_, r_input_, r_recurrent_, h_input_, h_recurrent_, h_input_gate_;
  float p_ = 1;
  bool flip_ = false;
};

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
