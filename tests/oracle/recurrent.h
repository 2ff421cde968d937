#pragma once
// Recurrent cells in double precision, as naive as the formulas (spec: rnn-matrix B2 to B4).

#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <vector>

#include "cermet/rnn/descriptor.h"
#include "neuron.h"

namespace cermet::oracle {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

/// A cell with its matrices by id, row-major; those that are missing are 0.
struct RecurrentCell {
  enum Kind { single_gate, gru, lstm } kind = single_gate;
  std::size_t inputs = 1, outputs = 1;
  std::array<Activation, 4> neurons{};  // z, r, h; or i, f, c, o
  std::vector<float> slopes{};          // PReLU's of all gates
  bool diagonal = false, unit = false, flip = false;
  double p = 1;
  Activation to_output{CNNNeuronType::TanH, 1, 1, 1};
  std::map<RNNMatrixId, std::vector<double>> matrices{};

  struct Gate {
    RNNMatrixId input, recurrent, memory, bias;
  };
  [[nodiscard]] std::vector<Gate> gates() const {
    using enum RNNMatrixId;
    switch (kind) {
      case gru:
        return {
            {GRUInputGateInputWeights, GRUInputGateRecurrentWeights, Count, GRUInputGateBiasTerms},
            {GRURecurrentGateInputWeights, GRURecurrentGateRecurrentWeights, Count,
             GRURecurrentGateBiasTerms},
            {GRUOutputGateInputWeights, GRUOutputGateRecurrentWeights,
             GRUOutputGateInputGateWeights, GRUOutputGateBiasTerms}};
      case lstm:
        return {{LSTMInputGateInputWeights, LSTMInputGateRecurrentWeights,
                 LSTMInputGateMemoryWeights, LSTMInputGateBiasTerms},
                {LSTMForgetGateInputWeights, LSTMForgetGateRecurrentWeights,
                 LSTMForgetGateMemoryWeights, LSTMForgetGateBiasTerms},
                {LSTMMemoryGateInputWeights, LSTMMemoryGateRecurrentWeights,
                 LSTMMemoryGateMemoryWeights, LSTMMemoryGateBiasTerms},
                {LSTMOutputGateInputWeights, LSTMOutputGateRecurrentWeights,
                 LSTMOutputGateMemoryWeights, LSTMOutputGateBiasTerms}};
      case single_gate:
        break;
    }
    return {{SingleGateInputWeights, SingleGateRecurrentWeights, Count, SingleGateBiasTerms}};
  }

  /// (M x)[k], or v[k] * x[k] for a diagonal.
  [[nodiscard]] double product(RNNMatrixId id, std::size_t k, const Row& x,
                               bool vector = false) const {
    const auto found = matrices.find(id);
    if (found == matrices.end()) return 0;
    if (vector) return found->second.at(k) * x.at(k);
    double sum = 0;
    for (std::size_t c = 0; c < x.size(); ++c) sum += found->second.at(k * x.size() + c) * x[c];
    return sum;
  }
  /// The neuron of a gate at output channel k.
  [[nodiscard]] double neuron(std::size_t gate, std::size_t k, double a) const {
    NeuronFunction f{neurons[gate].type, neurons[gate].a, neurons[gate].b, neurons[gate].c};
    if (f.type == CNNNeuronType::PReLU) f.a = double{slopes.at(gate * outputs + k)};
    return f.value(a);
  }
  /// f(W x + U h + V c + b) at output channel k.
  [[nodiscard]] double gate(std::size_t number, std::size_t k, const Row& x, const Row& h,
                            const Row& c) const {
    const Gate ids = gates().at(number);
    double a = unit ? x.at(k) : product(ids.input, k, x);
    a += product(ids.recurrent, k, h) + product(ids.memory, k, c, diagonal);
    const auto bias = matrices.find(ids.bias);
    if (bias != matrices.end()) a += bias->second.at(k);
    return neuron(number, k, a);
  }

  /// One step of one sequence; h and c are replaced.
  void step(const Row& x, Row& h, Row& c) const {
    Row next(outputs);
    switch (kind) {
      case single_gate:
        for (std::size_t k = 0; k < outputs; ++k) next[k] = gate(0, k, x, h, Row(outputs));
        break;
      case gru: {
        Row z(outputs), reset(outputs), updated(outputs);
        for (std::size_t k = 0; k < outputs; ++k) {
          z[k] = gate(0, k, x, h, Row(outputs));
          reset[k] = gate(1, k, x, h, Row(outputs)) * h[k];
          updated[k] = z[k] * h[k];
        }
        for (std::size_t k = 0; k < outputs; ++k) {
          const double made = gate(2, k, x, reset, updated);
          const double q = std::pow(1 - std::pow(z[k], p), 1 / p);
          next[k] = flip ? q * h[k] + z[k] * made : q * made + z[k] * h[k];
        }
        break;
      }
      case lstm: {
        Row cell(outputs);
        for (std::size_t k = 0; k < outputs; ++k)
          cell[k] = gate(1, k, x, h, c) * c[k] + gate(0, k, x, h, c) * gate(2, k, x, h, c);
        const NeuronFunction squash{to_output.type, to_output.a, to_output.b, to_output.c};
        for (std::size_t k = 0; k < outputs; ++k)
          next[k] = gate(3, k, x, h, cell) * squash.value(cell[k]);
        c = cell;
        break;
      }
    }
    h = next;
  }
};

/// Along sequences that may end early: x[t] has a row for each sequence that goes on.
struct Walk {
  std::vector<Rows> outputs;       // of each step
  std::vector<Rows> hidden, cell;  // of all sequences, after each step
};
inline Walk walk(const RecurrentCell& cell, const std::vector<Rows>& x, Rows h, Rows c) {
  Walk all;
  for (const Rows& step : x) {
    Rows made;
    for (std::size_t r = 0; r < step.size(); ++r) {
      cell.step(step[r], h[r], c[r]);
      made.push_back(h[r]);
    }
    all.outputs.push_back(made);
    all.hidden.push_back(h);
    all.cell.push_back(c);
  }
  return all;
}

}  // namespace cermet::oracle
