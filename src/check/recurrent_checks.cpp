// Recurrent layers for training: gradients of a sequence, and of every matrix of weights.

#include <fmt/format.h>

#include "cermet/rnn/gru.h"
#include "cermet/rnn/lstm.h"
#include "cermet/rnn/matrix_training_layer.h"
#include "cermet/rnn/single_gate.h"
#include "check/catalog.h"
#include "check/checked_images.h"
#include "check/functions.h"
#include "check/random_weights.h"

namespace cermet::detail {
namespace {

enum class CellKind { single_gate, gru, lstm };

/// Sources of all gates, and a descriptor that has them.
class Cell {
 public:
  Cell(const Settings& s, std::size_t inputs, std::uint64_t seed)
      : s_(s), inputs_(inputs), outputs_(s.size("outputFeatureChannels")), seed_(seed) {}

  [[nodiscard]] std::shared_ptr<RNNDescriptor> descriptor() {
    std::shared_ptr<RNNDescriptor> made;
    switch (s_.choice<CellKind>("cell")) {
      case CellKind::single_gate:
        made = single_gate();
        break;
      case CellKind::gru:
        made = gru();
        break;
      case CellKind::lstm:
        made = lstm();
        break;
    }
    if (!made) {
      fail({"RNNMatrixTrainingLayer", "", "cell", fmt::format("{}", s_["cell"]),
            "0 (single gate), 1 (GRU) or 2 (LSTM)", ""});
    }
    return made;
  }

 private:
  RNNWeights input(CNNNeuronType type) { return make(inputs_, true, type); }
  RNNWeights recurrent() { return make(outputs_, false, CNNNeuronType::None); }
  RNNWeights make(std::size_t inputs, bool has_biases, CNNNeuronType type) {
    const auto descriptor =
        CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, inputs, outputs_);
    if (type != CNNNeuronType::None)
      descriptor->setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronDescriptor(type));
    return std::make_shared<RandomWeights>(descriptor, inputs * outputs_, has_biases, ++seed_);
  }

  std::shared_ptr<RNNDescriptor> single_gate() {
    auto d = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(inputs_, outputs_);
    d->setInputWeights(input(CNNNeuronType::TanH));
    d->setRecurrentWeights(recurrent());
    return d;
  }
  std::shared_ptr<RNNDescriptor> gru() {
    auto d = GRUDescriptor::createGRUDescriptor(inputs_, outputs_);
    d->setInputGateInputWeights(input(CNNNeuronType::Sigmoid));
    d->setInputGateRecurrentWeights(recurrent());
    d->setRecurrentGateInputWeights(input(CNNNeuronType::Sigmoid));
    d->setRecurrentGateRecurrentWeights(recurrent());
    d->setOutputGateInputWeights(input(CNNNeuronType::TanH));
    d->setOutputGateRecurrentWeights(recurrent());
    if (s_.flag("memoryWeights")) d->setOutputGateInputGateWeights(recurrent());
    d->setGatePnormValue(s_.number("gatePnormValue"));
    d->setFlipOutputGates(s_.flag("flipOutputGates"));
    return d;
  }
  std::shared_ptr<RNNDescriptor> lstm() {
    auto d = LSTMDescriptor::createLSTMDescriptor(inputs_, outputs_);
    const bool diagonal = s_.flag("memoryWeightsAreDiagonal");
    const auto memory = [&]() -> RNNWeights {
      if (!s_.flag("memoryWeights")) return nullptr;
      return make(diagonal ? 1 : outputs_, false, CNNNeuronType::None);
    };
    d->setMemoryWeightsAreDiagonal(diagonal);
    d->setInputGateInputWeights(input(CNNNeuronType::Sigmoid));
    d->setInputGateRecurrentWeights(recurrent());
    d->setInputGateMemoryWeights(memory());
    d->setForgetGateInputWeights(input(CNNNeuronType::Sigmoid));
    d->setForgetGateRecurrentWeights(recurrent());
    d->setForgetGateMemoryWeights(memory());
    d->setOutputGateInputWeights(input(CNNNeuronType::Sigmoid));
    d->setOutputGateRecurrentWeights(recurrent());
    d->setOutputGateMemoryWeights(memory());
    d->setCellGateInputWeights(input(CNNNeuronType::TanH));
    d->setCellGateRecurrentWeights(recurrent());
    d->setCellGateMemoryWeights(memory());
    return d;
  }

  const Settings& s_;
  std::size_t inputs_, outputs_;
  std::uint64_t seed_;
};

/// A layer, its weights and one sequence.
class Sequence {
 public:
  Sequence(const Device& device, const Settings& s, const CheckedImages& images)
      : device_(device),
        queue_(device.makeCommandQueue()),
        steps_(images.count),
        rows_(images.height),
        inputs_(images.featureChannels),
        outputs_(s.size("outputFeatureChannels")) {
    check_matrices(s.kernel(), images);
    layer_ = std::make_shared<RNNMatrixTrainingLayer>(
        device, Cell(s, inputs_, images.seed).descriptor(), &weights_);
    variables_.push_back(
        random_variable("source", {steps_, rows_, inputs_}, images.seed, images.low, images.high));
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const Matrix& matrix = weights_[i];
      variables_.push_back(
          {fmt::format("weights {}", i), {matrix.rows(), matrix.columns()}, read(matrix)});
    }
  }

  [[nodiscard]] const std::vector<CheckedVariable>& variables() const { return variables_; }
  [[nodiscard]] std::vector<float> results(const CheckedPoint& point) const {
    CommandBuffer commands = queue_.makeCommandBuffer();
    const Forward forward = encode(commands, point);
    finish(commands);
    return joined(forward.results);
  }
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) const {
    CommandBuffer commands = queue_.makeCommandBuffer();
    const Forward forward = encode(commands, point);
    const std::vector<Matrix> given = matrices(incoming, outputs_),
                              found = matrices(point[0], inputs_);
    std::vector<Matrix> for_weights;
    layer_->createWeightGradientMatrices(&for_weights, DataType::Float32);
    layer_->encodeGradientSequence(commands, forward.sources, given, found, for_weights,
                                   forward.states, weights_);
    finish(commands);
    CheckedPoint all{joined(found)};
    for (const Matrix& one : for_weights) all.push_back(read(one));
    return all;
  }

 private:
  struct Forward {
    std::vector<Matrix> sources, results;
    std::vector<RNNMatrixTrainingStatePtr> states;
  };
  [[nodiscard]] Forward encode(const CommandBuffer& commands, const CheckedPoint& point) const {
    for (std::size_t i = 0; i < weights_.size(); ++i) write(weights_[i], point.at(i + 1));
    Forward forward{matrices(point[0], inputs_),
                    matrices(std::vector<float>(steps_ * rows_ * outputs_), outputs_),
                    {}};
    layer_->encodeForwardSequence(commands, forward.sources, forward.results, &forward.states,
                                  weights_);
    return forward;
  }
  /// One matrix for each step.
  [[nodiscard]] std::vector<Matrix> matrices(const std::vector<float>& values,
                                             std::size_t columns) const {
    std::vector<Matrix> all;
    const auto each = static_cast<std::ptrdiff_t>(rows_ * columns);
    for (auto first = values.begin(); first != values.end(); first += each)
      all.push_back(make_matrix(device_, rows_, columns, {first, first + each}));
    return all;
  }
  static std::vector<float> joined(const std::vector<Matrix>& all) {
    std::vector<float> values;
    for (const Matrix& one : all) {
      const std::vector<float> part = read(one);
      values.insert(values.end(), part.begin(), part.end());
    }
    return values;
  }

  Device device_;
  CommandQueue queue_;
  std::size_t steps_, rows_, inputs_, outputs_;
  std::vector<Matrix> weights_;
  std::shared_ptr<RNNMatrixTrainingLayer> layer_;
  std::vector<CheckedVariable> variables_;
};

std::unique_ptr<Differentiable> training_layer(const Device& device, const Settings& s,
                                               const CheckedImages& images) {
  const auto sequence = std::make_shared<Sequence>(device, s, images);
  return std::make_unique<CheckedFunctions>(
      sequence->variables(),
      [sequence](const CheckedPoint& point) { return sequence->results(point); },
      [sequence](const CheckedPoint& point, const std::vector<float>& incoming) {
        return sequence->gradients(point, incoming);
      });
}

}  // namespace

Catalog recurrent_checks() {
  return {{"RNNMatrixTrainingLayer",
           true,
           {{"cell", static_cast<double>(CellKind::lstm), {0, 1}},
            {"outputFeatureChannels", 4, {1, 7}},
            {"memoryWeights", 0, {1}},
            {"memoryWeightsAreDiagonal", 0, {1}},
            {"gatePnormValue", 1, {2}},
            {"flipOutputGates", 0, {1}}},
           training_layer}};
}

}  // namespace cermet::detail
