#pragma once
// Recurrent layers for tests: their descriptors, from an oracle's cell, and sequences of matrices.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../oracle/recurrent.h"
#include "cermet/core/matrix.h"
#include "cermet/rnn/gru.h"
#include "cermet/rnn/lstm.h"
#include "cermet/rnn/single_gate.h"
#include "random.h"

namespace cermet::test {

/// Weights of a gate, with bias and neuron; counts how often it was loaded and purged.
class GateWeights final : public CNNConvolutionDataSource {
 public:
  GateWeights(std::size_t inputs, std::size_t outputs, std::vector<float> weights,
              std::vector<float> biases = {}, NNNeuronDescriptor neuron = {}, std::size_t side = 1)
      : descriptor_(
            CNNConvolutionDescriptor::cnnConvolutionDescriptor(side, side, inputs, outputs)),
        weights_(std::move(weights)),
        biases_(std::move(biases)) {
    descriptor_->setFusedNeuronDescriptor(std::move(neuron));
  }
  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return weights_.data(); }
  [[nodiscard]] const float* biasTerms() override {
    return biases_.empty() ? nullptr : biases_.data();
  }
  [[nodiscard]] bool load() override {
    ++loads;
    return answers;
  }
  void purge() override { ++purges; }
  [[nodiscard]] std::string label() const override { return "gate"; }
  int loads = 0, purges = 0;
  bool answers = true;
  [[nodiscard]] CNNConvolutionDescriptor& own_descriptor() { return *descriptor_; }

 private:
  std::shared_ptr<CNNConvolutionDescriptor> descriptor_;
  std::vector<float> weights_, biases_;
};

inline std::vector<float> singles(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// A descriptor with the values of an oracle's cell. Recurrent and memory sources get a neuron and
/// a bias that must not be looked at.
inline std::shared_ptr<RNNDescriptor> descriptor_of(const oracle::RecurrentCell& cell) {
  const auto gates = cell.gates();
  const std::vector<float> distraction(cell.outputs, 7);
  const auto neuron = [&](std::size_t gate) {
    const Activation& f = cell.neurons[gate];
    if (f.type != CNNNeuronType::PReLU)
      return NNNeuronDescriptor::cnnNeuronDescriptor(f.type, f.a, f.b, f.c);
    const auto first = cell.slopes.begin() + static_cast<std::ptrdiff_t>(gate * cell.outputs);
    return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(
        std::vector<float>(first, first + static_cast<std::ptrdiff_t>(cell.outputs)));
  };
  const auto other = [&](RNNMatrixId id, bool vector = false) -> RNNWeights {
    const auto found = cell.matrices.find(id);
    if (found == cell.matrices.end()) return nullptr;
    return std::make_shared<GateWeights>(
        vector ? 1 : cell.outputs, cell.outputs, singles(found->second), distraction,
        NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::TanH, 3, 2));
  };
  const auto input = [&](std::size_t gate) -> RNNWeights {
    const auto weights = cell.matrices.find(gates[gate].input);
    const auto bias = cell.matrices.find(gates[gate].bias);
    const bool is_given = weights != cell.matrices.end();
    if (!is_given && bias == cell.matrices.end()) return nullptr;
    return std::make_shared<GateWeights>(
        cell.inputs, cell.outputs,
        is_given ? singles(weights->second) : std::vector<float>(cell.inputs * cell.outputs, 9),
        bias == cell.matrices.end() ? std::vector<float>() : singles(bias->second), neuron(gate));
  };
  std::shared_ptr<RNNDescriptor> made;
  switch (cell.kind) {
    case oracle::RecurrentCell::single_gate: {
      auto d = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(cell.inputs, cell.outputs);
      d->setInputWeights(input(0));
      d->setRecurrentWeights(other(gates[0].recurrent));
      made = d;
      break;
    }
    case oracle::RecurrentCell::gru: {
      auto d = GRUDescriptor::createGRUDescriptor(cell.inputs, cell.outputs);
      d->setInputGateInputWeights(input(0));
      d->setInputGateRecurrentWeights(other(gates[0].recurrent));
      d->setRecurrentGateInputWeights(input(1));
      d->setRecurrentGateRecurrentWeights(other(gates[1].recurrent));
      d->setOutputGateInputWeights(input(2));
      d->setOutputGateRecurrentWeights(other(gates[2].recurrent));
      d->setOutputGateInputGateWeights(other(gates[2].memory));
      d->setGatePnormValue(static_cast<float>(cell.p));
      d->setFlipOutputGates(cell.flip);
      made = d;
      break;
    }
    case oracle::RecurrentCell::lstm: {
      auto d = LSTMDescriptor::createLSTMDescriptor(cell.inputs, cell.outputs);
      const bool v = cell.diagonal;
      d->setMemoryWeightsAreDiagonal(v);
      d->setInputGateInputWeights(input(0));
      d->setInputGateRecurrentWeights(other(gates[0].recurrent));
      d->setInputGateMemoryWeights(other(gates[0].memory, v));
      d->setForgetGateInputWeights(input(1));
      d->setForgetGateRecurrentWeights(other(gates[1].recurrent));
      d->setForgetGateMemoryWeights(other(gates[1].memory, v));
      d->setCellGateInputWeights(input(2));
      d->setCellGateRecurrentWeights(other(gates[2].recurrent));
      d->setCellGateMemoryWeights(other(gates[2].memory, v));
      d->setOutputGateInputWeights(input(3));
      d->setOutputGateRecurrentWeights(other(gates[3].recurrent));
      d->setOutputGateMemoryWeights(other(gates[3].memory, v));
      d->setCellToOutputNeuronType(cell.to_output.type);
      d->setCellToOutputNeuronParamA(cell.to_output.a);
      d->setCellToOutputNeuronParamB(cell.to_output.b);
      d->setCellToOutputNeuronParamC(cell.to_output.c);
      made = d;
      break;
    }
  }
  made->setUseLayerInputUnitTransformMode(cell.unit);
  return made;
}

}  // namespace cermet::test
