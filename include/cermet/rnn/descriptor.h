#pragma once
// What all descriptions of recurrent layers share (spec: rnn-matrix B1, B2).

#include <cstddef>
#include <memory>
#include <string_view>

#include "cermet/cnn/convolution.h"

namespace cermet {

/// Which way a layer of a bidirectional encode walks its sequence.
enum class RNNSequenceDirection : unsigned { Forward = 0, Backward = 1 };

/// What becomes of the two results of a bidirectional encode: two lists, their sums, or columns
/// side by side, those of the forward layers first.
enum class RNNBidirectionalCombineMode : unsigned { None = 0, Add = 1, Concatenate = 2 };

/// The matrices of a training layer. MemoryGate is the LSTM's cell gate, MemoryWeights are
/// peepholes, and the GRU's InputGateWeights are those of z.h0 (V in its formula).
enum class RNNMatrixId : unsigned {
  SingleGateInputWeights = 0,
  SingleGateRecurrentWeights = 1,
  SingleGateBiasTerms = 2,
  LSTMInputGateInputWeights = 3,
  LSTMInputGateRecurrentWeights = 4,
  LSTMInputGateMemoryWeights = 5,
  LSTMInputGateBiasTerms = 6,
  LSTMForgetGateInputWeights = 7,
  LSTMForgetGateRecurrentWeights = 8,
  LSTMForgetGateMemoryWeights = 9,
  LSTMForgetGateBiasTerms = 10,
  LSTMMemoryGateInputWeights = 11,
  LSTMMemoryGateRecurrentWeights = 12,
  LSTMMemoryGateMemoryWeights = 13,
  LSTMMemoryGateBiasTerms = 14,
  LSTMOutputGateInputWeights = 15,
  LSTMOutputGateRecurrentWeights = 16,
  LSTMOutputGateMemoryWeights = 17,
  LSTMOutputGateBiasTerms = 18,
  GRUInputGateInputWeights = 19,
  GRUInputGateRecurrentWeights = 20,
  GRUInputGateBiasTerms = 21,
  GRURecurrentGateInputWeights = 22,
  GRURecurrentGateRecurrentWeights = 23,
  GRURecurrentGateBiasTerms = 24,
  GRUOutputGateInputWeights = 25,
  GRUOutputGateRecurrentWeights = 26,
  GRUOutputGateInputGateWeights = 27,
  GRUOutputGateBiasTerms = 28,
  Count = 29,
};

/// Describes one recurrent layer, with x its input, h its output and "0" the step before. Layers
/// take a snapshot when they are made.
///
/// Weights come from data sources of convolutions: a row for each output channel, a column for each
/// input channel, so that a product is x * W^T; for layers on matrices of 1x1 pixels. The bias and
/// the neuron of a gate (the descriptor's fused neuron) are those of its *input* weights; other
/// sources give weights alone. A null source: weights 0, and for input weights also bias 0 and no
/// neuron.
class RNNDescriptor {
 public:
  virtual ~RNNDescriptor() = default;

  /// Length of x; 1 or more.
  [[nodiscard]] std::size_t inputFeatureChannels() const { return inputs_; }
  void setInputFeatureChannels(std::size_t channels) { inputs_ = channels; }
  /// Length of h; 1 or more.
  [[nodiscard]] std::size_t outputFeatureChannels() const { return outputs_; }
  void setOutputFeatureChannels(std::size_t channels) { outputs_ = channels; }
  /// Whether x is taken as it is in place of W x, for all gates; x and h must have one length then.
  /// Bias and neuron of the sources remain. Default false.
  [[nodiscard]] bool useLayerInputUnitTransformMode() const { return unit_transform_; }
  void setUseLayerInputUnitTransformMode(bool use) { unit_transform_ = use; }
  /// Of RNNMatrixInferenceLayer: whether weights stay float32 under half_weights_when_unspecified.
  /// RNNImageInferenceLayer ignores it, and RNNMatrixTrainingLayer keeps float32 in any case.
  /// Default false.
  [[nodiscard]] bool useFloat32Weights() const { return float32_weights_; }
  void setUseFloat32Weights(bool use) { float32_weights_ = use; }
  /// Of bidirectional encodes alone. Default Forward.
  [[nodiscard]] RNNSequenceDirection layerSequenceDirection() const { return direction_; }
  void setLayerSequenceDirection(RNNSequenceDirection direction) { direction_ = direction; }

  /// Name of the class, for messages.
  [[nodiscard]] virtual std::string_view class_name() const = 0;

 protected:
  RNNDescriptor() = default;
  RNNDescriptor(const RNNDescriptor&) = default;
  RNNDescriptor(RNNDescriptor&&) = default;
  RNNDescriptor& operator=(const RNNDescriptor&) = default;
  RNNDescriptor& operator=(RNNDescriptor&&) = default;

 private:
  std::size_t inputs_ = 1, outputs_ = 1;
  bool unit_transform_ = false, float32_weights_ = false;
  RNNSequenceDirection direction_ = RNNSequenceDirection::Forward;
};

/// The source of a gate's weights.
using RNNWeights = std::shared_ptr<CNNConvolutionDataSource>;

}  // namespace cermet
