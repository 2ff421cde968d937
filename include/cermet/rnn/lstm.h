#pragma once
// Long short-term memory (spec: rnn-matrix B2.3).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// With I = gi(ai + vi . c0), F = gf(af + vf . c0), G = gc(ac + vc . c0): cell = F . c0 + I . G;
/// then output = go(ao + vo . cell) . gh(cell). Without `previousCell` (c0) the cell is read, not
/// computed, and without `output` the cell is all. `gates` holds ai, af, ac, ao side by side:
/// 4 * C channels where other slots have C; `peepholes`, diagonal ones, vi, vf, vc, vo (4 * C), may
/// be absent: 0. `slopes`: PReLU's, one for each channel of `gates`, may be absent.
struct LSTMCell {
  static constexpr std::string_view name = "LSTM";
  enum Slot { gates, peepholes, slopes, previousCell, cell, output };
  static constexpr std::array access{Access::read, Access::read,   Access::read,
                                     Access::read, Access::update, Access::write};
  Activation input{}, forget{}, memory{}, outputGate{}, cellToOutput{};
};

/// In two parts, with d = gradient + hiddenGradient:
///   from the output: dao = d . gh(cell) . go',  dc = cellGradient + d . O . gh'(cell) + vo . dao
///   from the cell:   dai = dc . G . gi',  daf = dc . c0 . gf',  dac = dc . I . gc',
///                    previousCellGradient = dc . F + vi . dai + vf . daf + vc . dac
/// Without `previousCell` it is the first part alone, which leaves dc in previousCellGradient, and
/// without `gradient` the second alone, which finds it there. gateGradients: dai, daf, dac, dao.
struct LSTMCellGradient {
  static constexpr std::string_view name = "LSTM.gradient";
  enum Slot {
    gradient,
    hiddenGradient,
    cellGradient,
    gates,
    peepholes,
    slopes,
    previousCell,
    cell,
    previousCellGradient,
    gateGradients
  };
  static constexpr std::array access{Access::read,   Access::read,  Access::read, Access::read,
                                     Access::read,   Access::read,  Access::read, Access::read,
                                     Access::update, Access::update};
  LSTMCell forward{};
};

/// result = sums over all rows of gateGradients times c0 for the gates i, f and c, and times c1 for
/// o: the gradients of diagonal peepholes. 4 * C channels in gateGradients and the result.
struct PeepholeGradient {
  static constexpr std::string_view name = "LSTM.peepholes.gradient";
  enum Slot { gateGradients, previousCell, cell, result };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
};

using LSTMOperators = TypeList<LSTMCell, LSTMCellGradient, PeepholeGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/rnn/descriptor.h"

namespace cermet {

/// Describes a long short-term memory. With "." elementwise:
///   I  = gi(Wi x + Ui h0 + Vi c0 + bi)
///   F  = gf(Wf x + Uf h0 + Vf c0 + bf)
///   C  = gc(Wc x + Uc h0 + Vc c0 + bc)
///   c1 = F . c0 + I . C
///   O  = go(Wo x + Uo h0 + Vo c1 + bo)      the new cell
///   h1 = O . gh(c1)
/// One bias for a gate, and none that is not given: the usual 1 of forget gates is yours to give.
class LSTMDescriptor final : public RNNDescriptor {
 public:
  /// Throws InvalidArgument where one is 0.
  [[nodiscard]] static std::shared_ptr<LSTMDescriptor> createLSTMDescriptor(
      std::size_t inputFeatureChannels, std::size_t outputFeatureChannels);
  LSTMDescriptor() = default;

  /// Whether the peepholes V are vectors of outputFeatureChannels numbers, multiplied elementwise,
  /// instead of matrices. Default false.
  [[nodiscard]] bool memoryWeightsAreDiagonal() const { return diagonal_; }
  void setMemoryWeightsAreDiagonal(bool diagonal) { diagonal_ = diagonal; }

  /// Wi, bi and gi. Default null.
  [[nodiscard]] const RNNWeights& inputGateInputWeights() const { return i_.input; }
  void setInputGateInputWeights(RNNWeights weights) { i_.input = std::move(weights); }
  /// Ui. Default null.
  [[nodiscard]] const RNNWeights& inputGateRecurrentWeights() const { return i_.recurrent; }
  void setInputGateRecurrentWeights(RNNWeights weights) { i_.recurrent = std::move(weights); }
  /// Vi. Default null.
  [[nodiscard]] const RNNWeights& inputGateMemoryWeights() const { return i_.memory; }
  void setInputGateMemoryWeights(RNNWeights weights) { i_.memory = std::move(weights); }
  /// Wf, bf and gf. Default null.
  [[nodiscard]] const RNNWeights& forgetGateInputWeights() const { return f_.input; }
  void setForgetGateInputWeights(RNNWeights weights) { f_.input = std::move(weights); }
  /// Uf. Default null.
  [[nodiscard]] const RNNWeights& forgetGateRecurrentWeights() const { return f_.recurrent; }
  void setForgetGateRecurrentWeights(RNNWeights weights) { f_.recurrent = std::move(weights); }
  /// Vf. Default null.
  [[nodiscard]] const RNNWeights& forgetGateMemoryWeights() const { return f_.memory; }
  void setForgetGateMemoryWeights(RNNWeights weights) { f_.memory = std::move(weights); }
  /// Wo, bo and go. Default null.
  [[nodiscard]] const RNNWeights& outputGateInputWeights() const { return o_.input; }
  void setOutputGateInputWeights(RNNWeights weights) { o_.input = std::move(weights); }
  /// Uo. Default null.
  [[nodiscard]] const RNNWeights& outputGateRecurrentWeights() const { return o_.recurrent; }
  void setOutputGateRecurrentWeights(RNNWeights weights) { o_.recurrent = std::move(weights); }
  /// Vo. Default null.
  [[nodiscard]] const RNNWeights& outputGateMemoryWeights() const { return o_.memory; }
  void setOutputGateMemoryWeights(RNNWeights weights) { o_.memory = std::move(weights); }
  /// Wc, bc and gc. Default null.
  [[nodiscard]] const RNNWeights& cellGateInputWeights() const { return c_.input; }
  void setCellGateInputWeights(RNNWeights weights) { c_.input = std::move(weights); }
  /// Uc. Default null.
  [[nodiscard]] const RNNWeights& cellGateRecurrentWeights() const { return c_.recurrent; }
  void setCellGateRecurrentWeights(RNNWeights weights) { c_.recurrent = std::move(weights); }
  /// Vc. Default null.
  [[nodiscard]] const RNNWeights& cellGateMemoryWeights() const { return c_.memory; }
  void setCellGateMemoryWeights(RNNWeights weights) { c_.memory = std::move(weights); }

  /// gh. Default TanH with a = b = c = 1.
  [[nodiscard]] CNNNeuronType cellToOutputNeuronType() const { return to_output_.type; }
  void setCellToOutputNeuronType(CNNNeuronType type) { to_output_.type = type; }
  [[nodiscard]] float cellToOutputNeuronParamA() const { return to_output_.a; }
  void setCellToOutputNeuronParamA(float a) { to_output_.a = a; }
  [[nodiscard]] float cellToOutputNeuronParamB() const { return to_output_.b; }
  void setCellToOutputNeuronParamB(float b) { to_output_.b = b; }
  [[nodiscard]] float cellToOutputNeuronParamC() const { return to_output_.c; }
  void setCellToOutputNeuronParamC(float c) { to_output_.c = c; }

  [[nodiscard]] std::string_view class_name() const override { return "LSTMDescriptor"; }

 private:
  struct Gate {
    RNNWeights input, recurrent, memory;
  };
  Gate i_, f_, c_, o_;
  bool diagonal_ = false;
  Activation to_output_{CNNNeuronType::TanH, 1, 1, 1};
};

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
