#include "rnn/cell.h"

#include <algorithm>
#include <limits>

#include "cermet/rnn/gru.h"
#include "cermet/rnn/lstm.h"
#include "cermet/rnn/single_gate.h"
#include "cnn/convolution_weights.h"

namespace cermet::detail {
namespace {

struct MatrixName {
  std::string_view name;
  CellKind kind;
  std::size_t gate;
  CellPart part;
};
/// By id. Gates are in the order of the slots `gates` of the operators.
constexpr std::array<MatrixName, static_cast<std::size_t>(RNNMatrixId::Count)> names{{
    {"SingleGateInputWeights", CellKind::single_gate, 0, CellPart::input},
    {"SingleGateRecurrentWeights", CellKind::single_gate, 0, CellPart::recurrent},
    {"SingleGateBiasTerms", CellKind::single_gate, 0, CellPart::bias},
    {"LSTMInputGateInputWeights", CellKind::lstm, 0, CellPart::input},
    {"LSTMInputGateRecurrentWeights", CellKind::lstm, 0, CellPart::recurrent},
    {"LSTMInputGateMemoryWeights", CellKind::lstm, 0, CellPart::memory},
    {"LSTMInputGateBiasTerms", CellKind::lstm, 0, CellPart::bias},
    {"LSTMForgetGateInputWeights", CellKind::lstm, 1, CellPart::input},
    {"LSTMForgetGateRecurrentWeights", CellKind::lstm, 1, CellPart::recurrent},
    {"LSTMForgetGateMemoryWeights", CellKind::lstm, 1, CellPart::memory},
    {"LSTMForgetGateBiasTerms", CellKind::lstm, 1, CellPart::bias},
    {"LSTMMemoryGateInputWeights", CellKind::lstm, 2, CellPart::input},
    {"LSTMMemoryGateRecurrentWeights", CellKind::lstm, 2, CellPart::recurrent},
    {"LSTMMemoryGateMemoryWeights", CellKind::lstm, 2, CellPart::memory},
    {"LSTMMemoryGateBiasTerms", CellKind::lstm, 2, CellPart::bias},
    {"LSTMOutputGateInputWeights", CellKind::lstm, 3, CellPart::input},
    {"LSTMOutputGateRecurrentWeights", CellKind::lstm, 3, CellPart::recurrent},
    {"LSTMOutputGateMemoryWeights", CellKind::lstm, 3, CellPart::memory},
    {"LSTMOutputGateBiasTerms", CellKind::lstm, 3, CellPart::bias},
    {"GRUInputGateInputWeights", CellKind::gru, 0, CellPart::input},
    {"GRUInputGateRecurrentWeights", CellKind::gru, 0, CellPart::recurrent},
    {"GRUInputGateBiasTerms", CellKind::gru, 0, CellPart::bias},
    {"GRURecurrentGateInputWeights", CellKind::gru, 1, CellPart::input},
    {"GRURecurrentGateRecurrentWeights", CellKind::gru, 1, CellPart::recurrent},
    {"GRURecurrentGateBiasTerms", CellKind::gru, 1, CellPart::bias},
    {"GRUOutputGateInputWeights", CellKind::gru, 2, CellPart::input},
    {"GRUOutputGateRecurrentWeights", CellKind::gru, 2, CellPart::recurrent},
    {"GRUOutputGateInputGateWeights", CellKind::gru, 2, CellPart::memory},
    {"GRUOutputGateBiasTerms", CellKind::gru, 2, CellPart::bias},
}};

constexpr std::size_t most_channels = std::numeric_limits<std::int32_t>::max() / most_gates;

void code_activation(const Coder& coder, std::string_view key, Activation& f) {
  const Coder place = coder.at(key);
  place("type", f.type, CNNNeuronType::GeLU);
  place("a", f.a);
  place("b", f.b);
  place("c", f.c);
}

std::array<RNNWeights, 3> sources(const RNNWeights& input, const RNNWeights& recurrent,
                                  const RNNWeights& memory = nullptr) {
  return {input, recurrent, memory};
}

}  // namespace

std::string_view name_of(RNNMatrixId id) {
  const auto index = static_cast<std::size_t>(id);
  return index < names.size() ? names[index].name : "no RNNMatrixId";
}

std::size_t Cell::gates() const {
  switch (kind) {
    case CellKind::gru:
      return 3;
    case CellKind::lstm:
      return 4;
    case CellKind::single_gate:
      break;
  }
  return 1;
}

bool Cell::has_any_memory() const {
  return std::any_of(has_memory.begin(), has_memory.end(), [](bool has) { return has; });
}

std::vector<CellMatrix> Cell::matrices() const {
  std::vector<CellMatrix> all;
  for (std::size_t id = 0; id < names.size(); ++id) {
    const auto& [name, of, gate, part] = names[id];
    if (of != kind) continue;
    if (part == CellPart::memory && !has_memory[gate]) continue;
    if (part == CellPart::input && unit_inputs) continue;
    const bool is_row = part == CellPart::bias || (part == CellPart::memory && diagonal);
    all.push_back({static_cast<RNNMatrixId>(id), part, gate, is_row ? 1 : outputs,
                   part == CellPart::input ? inputs : outputs});
  }
  return all;
}

void Cell::code(Coder& coder) {
  coder("kind", kind, CellKind::lstm);
  coder("inputFeatureChannels", inputs);
  coder("outputFeatureChannels", outputs);
  coder("useLayerInputUnitTransformMode", unit_inputs);
  coder("layerSequenceDirection", direction, RNNSequenceDirection::Backward);
  for (const auto& [name, channels] :
       {std::pair{"inputFeatureChannels", inputs}, {"outputFeatureChannels", outputs}}) {
    if (channels >= 1 && channels <= most_channels) continue;
    coder.refuse(name, std::to_string(channels), "1 to " + std::to_string(most_channels));
  }
  if (unit_inputs && inputs != outputs) {
    coder.refuse("useLayerInputUnitTransformMode", "true with different numbers of channels",
                 "as many outputs as inputs");
  }
  bool needs_slopes = false;
  for (std::size_t gate = 0; gate < gates(); ++gate) {
    code_activation(coder, "neuron" + std::to_string(gate), neurons[gate]);
    coder("has_memory" + std::to_string(gate), has_memory[gate]);
    needs_slopes = needs_slopes || neurons[gate].type == CNNNeuronType::PReLU;
  }
  coder("slopes", slopes);
  if (slopes.size() != (needs_slopes ? gate_channels() : 0))
    coder.refuse("slopes", std::to_string(slopes.size()), "one for each channel, for PReLU alone");
  coder("memoryWeightsAreDiagonal", diagonal);
  coder("gatePnormValue", p);
  coder("flipOutputGates", flip);
  code_activation(coder, "cellToOutputNeuron", cell_to_output);
  const bool has_place =
      kind == CellKind::lstm ||
      (!has_memory[0] && !has_memory[1] && (kind == CellKind::gru || !has_memory[2]) && !diagonal);
  if (!has_place) coder.refuse("has_memory0", "true", "false for a cell without such weights");
  if (!(p > 0)) coder.refuse("gatePnormValue", std::to_string(p), "more than 0");
  if (cell_to_output.type == CNNNeuronType::PReLU)
    coder.refuse("cellToOutputNeuron", "PReLU", "a neuron without slopes");
}

DescribedCell::DescribedCell(const RNNDescriptor& descriptor, const Kernel& kernel) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed) {
    fail({kernel.class_name(), kernel.label(), argument, std::move(got), std::move(needed),
          "Correct the " + std::string(descriptor.class_name()) + "."});
  };
  cell.inputs = descriptor.inputFeatureChannels();
  cell.outputs = descriptor.outputFeatureChannels();
  cell.unit_inputs = descriptor.useLayerInputUnitTransformMode();
  cell.direction = descriptor.layerSequenceDirection();
  for (const auto& [name, channels] :
       {std::pair{"inputFeatureChannels", cell.inputs}, {"outputFeatureChannels", cell.outputs}}) {
    if (channels >= 1 && channels <= most_channels) continue;
    refuse(name, std::to_string(channels), "1 to " + std::to_string(most_channels));
  }
  if (cell.unit_inputs && cell.inputs != cell.outputs) {
    refuse("useLayerInputUnitTransformMode",
           "true with " + std::to_string(cell.inputs) + " input channels and " +
               std::to_string(cell.outputs) + " output channels",
           "as many outputs as inputs");
  }
  auto& of = sources.of_gate;
  if (const auto* gate = dynamic_cast<const RNNSingleGateDescriptor*>(&descriptor)) {
    of[0] = detail::sources(gate->inputWeights(), gate->recurrentWeights());
  } else if (const auto* gru = dynamic_cast<const GRUDescriptor*>(&descriptor)) {
    cell.kind = CellKind::gru;
    of[0] = detail::sources(gru->inputGateInputWeights(), gru->inputGateRecurrentWeights());
    of[1] = detail::sources(gru->recurrentGateInputWeights(), gru->recurrentGateRecurrentWeights());
    of[2] = detail::sources(gru->outputGateInputWeights(), gru->outputGateRecurrentWeights(),
                            gru->outputGateInputGateWeights());
    cell.p = gru->gatePnormValue();
    cell.flip = gru->flipOutputGates();
    if (!(cell.p > 0)) refuse("gatePnormValue", std::to_string(cell.p), "more than 0");
  } else if (const auto* lstm = dynamic_cast<const LSTMDescriptor*>(&descriptor)) {
    cell.kind = CellKind::lstm;
    of[0] = detail::sources(lstm->inputGateInputWeights(), lstm->inputGateRecurrentWeights(),
                            lstm->inputGateMemoryWeights());
    of[1] = detail::sources(lstm->forgetGateInputWeights(), lstm->forgetGateRecurrentWeights(),
                            lstm->forgetGateMemoryWeights());
    of[2] = detail::sources(lstm->cellGateInputWeights(), lstm->cellGateRecurrentWeights(),
                            lstm->cellGateMemoryWeights());
    of[3] = detail::sources(lstm->outputGateInputWeights(), lstm->outputGateRecurrentWeights(),
                            lstm->outputGateMemoryWeights());
    cell.diagonal = lstm->memoryWeightsAreDiagonal();
    cell.cell_to_output = {lstm->cellToOutputNeuronType(), lstm->cellToOutputNeuronParamA(),
                           lstm->cellToOutputNeuronParamB(), lstm->cellToOutputNeuronParamC()};
    const CNNNeuronType type = cell.cell_to_output.type;
    if (type == CNNNeuronType::PReLU || type < CNNNeuronType::None || type >= CNNNeuronType::Count)
      refuse("cellToOutputNeuronType", std::to_string(static_cast<int>(type)),
             "a type from 0 to 15 without slopes");
  } else {
    refuse("rnnDescriptor", "of another class",
           "RNNSingleGateDescriptor, GRUDescriptor or LSTMDescriptor");
  }
  for (std::size_t gate = 0; gate < cell.gates(); ++gate)
    cell.has_memory[gate] = of[gate][2] != nullptr;
}

std::shared_ptr<const ConvolutionShape> shape_of_source(CNNConvolutionDataSource& source,
                                                        const Kernel& kernel) {
  const auto descriptor = source.descriptor();
  if (!descriptor) {
    fail({kernel.class_name(), kernel.label(), "weights \"" + source.label() + "\"",
          "without a descriptor", "a descriptor of the weights", ""});
  }
  return ConvolutionShape::of(*descriptor, kernel.class_name(), kernel.label());
}

void refuse_source(const Kernel& kernel, const CNNConvolutionDataSource& source,
                   const ConvolutionShape& shape, std::string needed) {
  fail({kernel.class_name(), kernel.label(), "weights \"" + source.label() + "\"",
        std::to_string(shape.kernelWidth) + "x" + std::to_string(shape.kernelHeight) + " pixels, " +
            std::to_string(shape.inputs) + " to " + std::to_string(shape.outputs) + " channels",
        std::move(needed), ""});
}

std::size_t code_layer_count(const Coder& coder, std::size_t count) {
  coder("numberOfLayers", count);
  constexpr std::size_t most = 1024;
  if (count < 1 || count > most)
    coder.refuse("numberOfLayers", std::to_string(count), "1 to " + std::to_string(most));
  return count;
}

void take_neuron(Cell& cell, std::size_t gate, const NNNeuronDescriptor& neuron) {
  cell.neurons[gate] = neuron.activation();
  if (neuron.neuronType() != CNNNeuronType::PReLU) return;
  cell.slopes.resize(cell.gate_channels());
  const std::vector<float>& slopes = neuron.data();
  std::copy(slopes.begin(), slopes.end(),
            cell.slopes.begin() + static_cast<std::ptrdiff_t>(gate * cell.outputs));
}

std::vector<std::vector<float>> load_matrices(DescribedCell& described, const Kernel& kernel,
                                              bool rounds_unspecified) {
  Cell& cell = described.cell;
  std::array<std::vector<float>, most_gates> biases;
  std::array<std::array<std::vector<float>, 3>, most_gates> weights;
  for (std::size_t gate = 0; gate < cell.gates(); ++gate) {
    for (std::size_t part = 0; part < 3; ++part) {
      const RNNWeights& source = described.sources.of_gate[gate][part];
      if (!source) continue;
      const auto shape = shape_of_source(*source, kernel);
      const bool is_input = part == 0, is_vector = part == 2 && cell.diagonal;
      const std::size_t columns = is_input ? cell.inputs : cell.outputs;
      const bool is_plain = shape->kernelWidth == 1 && shape->kernelHeight == 1 &&
                            shape->groups == 1 && shape->multiplier == 0 && shape->subPixels == 1;
      if (is_vector ? shape->weight_count() != cell.outputs
                    : !is_plain || shape->inputs != columns || shape->outputs != cell.outputs) {
        refuse_source(kernel, *source, *shape,
                      is_vector ? std::to_string(cell.outputs) + " weights, for a diagonal"
                                : "1x1 pixels, " + std::to_string(columns) + " to " +
                                      std::to_string(cell.outputs) + " channels in one group");
      }
      const auto loaded = ConvolutionWeights::load(kernel.device(), *source, *shape,
                                                   kernel.class_name(), rounds_unspecified);
      weights[gate][part] = loaded->weights.values<float>();
      if (!is_input) continue;
      if (loaded->biases) biases[gate] = loaded->biases.values<float>();
      take_neuron(cell, gate, shape->neuron);
    }
  }
  std::vector<std::vector<float>> values;
  for (const CellMatrix& matrix : cell.matrices()) {
    std::vector<float>& from = matrix.part == CellPart::bias
                                   ? biases[matrix.gate]
                                   : weights[matrix.gate][static_cast<std::size_t>(matrix.part)];
    from.resize(matrix.rows * matrix.columns);  // zeros where there is no source
    values.push_back(std::move(from));
  }
  return values;
}

}  // namespace cermet::detail
