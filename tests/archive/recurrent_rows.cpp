// Rows of recurrent layers.

#include "../harness/bench.h"
#include "../harness/random.h"
#include "../harness/recurrent.h"
#include "cermet/rnn/image_inference_layer.h"
#include "cermet/rnn/matrix_inference_layer.h"
#include "cermet/rnn/matrix_training_layer.h"
#include "rows.h"

namespace cermet::test {
namespace {

constexpr std::size_t inputs = 3, outputs = 2, steps = 2, sequences = 2;

std::vector<double> numbers(std::size_t count, std::uint64_t seed) {
  const std::vector<float> values = floats(count, seed);
  return {values.begin(), values.end()};
}

/// A cell with everything that a cell of its kind has.
oracle::RecurrentCell cell(oracle::RecurrentCell::Kind kind) {
  using enum CNNNeuronType;
  oracle::RecurrentCell cell{.kind = kind,
                             .inputs = inputs,
                             .outputs = outputs,
                             .neurons = {Activation{Sigmoid}, Activation{HardSigmoid, 0.2F, 0.5F},
                                         Activation{TanH, 0.9F, 1.1F}, Activation{PReLU}},
                             .diagonal = kind == oracle::RecurrentCell::lstm,
                             .flip = true,
                             .p = 1.5,
                             .to_output = {TanH, 0.8F, 1.2F}};
  if (kind == oracle::RecurrentCell::lstm) cell.slopes = floats(4 * outputs, 8);
  std::uint64_t seed = 20;
  for (const auto& gate : cell.gates()) {
    cell.matrices[gate.input] = numbers(cell.inputs * outputs, ++seed);
    cell.matrices[gate.recurrent] = numbers(outputs * outputs, ++seed);
    cell.matrices[gate.bias] = numbers(outputs, ++seed);
    if (gate.memory != RNNMatrixId::Count)
      cell.matrices[gate.memory] = numbers(outputs * (cell.diagonal ? 1 : outputs), ++seed);
  }
  return cell;
}

/// An LSTM, and a GRU that walks back.
std::vector<std::shared_ptr<RNNDescriptor>> stack() {
  const auto back = descriptor_of(cell(oracle::RecurrentCell::gru));
  back->setLayerSequenceDirection(RNNSequenceDirection::Backward);
  return {descriptor_of(cell(oracle::RecurrentCell::lstm)), back};
}

template <class Layer>
std::unique_ptr<Kernel> set(std::unique_ptr<Layer> layer) {
  set_base(*layer);
  layer->setStoreAllIntermediateStates(true);
  layer->setRecurrentOutputIsTemporary(true);
  if constexpr (requires { layer->bidirectionalCombineMode(); })
    layer->setBidirectionalCombineMode(RNNBidirectionalCombineMode::Concatenate);
  if constexpr (requires { layer->accumulateWeightGradients(); }) {
    layer->setAccumulateWeightGradients(true);
    layer->setTrainingStateIsTemporary(true);
  }
  return layer;
}

std::vector<Matrix> matrices(const Device& device, std::size_t columns, std::uint64_t seed) {
  std::vector<Matrix> list;
  for (std::size_t t = 0; t < steps; ++t) {
    const std::vector<float> values = floats(sequences * columns, seed + t);
    list.emplace_back(device.makeBuffer(values.data(), values.size() * sizeof(float)),
                      MatrixDescriptor::matrixDescriptor(
                          sequences, columns, columns * sizeof(float), DataType::Float32));
  }
  return list;
}
void append(Bits& bits, const std::vector<Matrix>& list) {
  for (const Matrix& matrix : list) {
    const std::vector<float> values = matrix.data().values<float>();
    bits.insert(bits.end(), values.begin(), values.end());
  }
}

Bits run_matrices(Kernel& kernel) {
  const auto& layer = dynamic_cast<const RNNMatrixInferenceLayer&>(kernel);
  const auto x = matrices(kernel.device(), inputs, 1);
  const auto y = matrices(kernel.device(), 2 * outputs, 5);
  CommandBuffer buffer = kernel.device().makeCommandQueue().makeCommandBuffer();
  layer.encodeBidirectionalSequence(buffer, x, y, {});
  buffer.commit();
  buffer.waitUntilCompleted();
  Bits bits;
  append(bits, y);
  return bits;
}

Bits run_images(Kernel& kernel) {
  const auto& layer = dynamic_cast<const RNNImageInferenceLayer&>(kernel);
  std::vector<Image> x, y;
  const auto made = [&](std::size_t channels, std::uint64_t seed) {
    Image image(kernel.device(), ImageDescriptor::imageDescriptor(
                                     ImageFeatureChannelFormat::Float32, 3, 2, channels));
    image.write_floats(floats(3 * 2 * channels, seed));
    return image;
  };
  for (std::size_t t = 0; t < steps; ++t) {
    x.push_back(made(inputs, 40 + t));
    y.push_back(made(2 * outputs, 50 + t));
  }
  CommandBuffer buffer = kernel.device().makeCommandQueue().makeCommandBuffer();
  layer.encodeBidirectionalSequence(buffer, x, y, {});
  buffer.commit();
  buffer.waitUntilCompleted();
  Bits bits;
  for (const Image& image : y) {
    const std::vector<float> values = image.read_floats();
    bits.insert(bits.end(), values.begin(), values.end());
  }
  return bits;
}

Bits run_training(Kernel& kernel) {
  const auto& layer = dynamic_cast<const RNNMatrixTrainingLayer&>(kernel);
  const Device& device = kernel.device();
  std::vector<Matrix> weights, gradients;
  layer.createWeightMatrices(&weights);
  layer.createWeightGradientMatrices(&gradients, DataType::Float32);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::vector<float> values = floats(weights[i].data().length() / sizeof(float), 60 + i);
    weights[i].data().copy_in(values.data(), values.size() * sizeof(float));
  }
  const auto x = matrices(device, inputs, 1), y = matrices(device, outputs, 5);
  const auto g = matrices(device, outputs, 9), dx = matrices(device, inputs, 13);
  std::vector<RNNMatrixTrainingStatePtr> states;
  CommandBuffer buffer = device.makeCommandQueue().makeCommandBuffer();
  layer.encodeForwardSequence(buffer, x, y, &states, weights);
  layer.encodeGradientSequence(buffer, x, g, dx, gradients, states, weights);
  buffer.commit();
  buffer.waitUntilCompleted();
  Bits bits;
  append(bits, y);
  append(bits, dx);
  append(bits, gradients);
  return bits;
}

}  // namespace

std::vector<ArchiveRow> recurrent_rows() {
  return {{"RNNMatrixInferenceLayer",
           [](const Device& device) {
             return set(std::make_unique<RNNMatrixInferenceLayer>(device, stack()));
           },
           run_matrices},
          {"RNNImageInferenceLayer",
           [](const Device& device) {
             return set(std::make_unique<RNNImageInferenceLayer>(device, stack()));
           },
           run_images},
          {"RNNMatrixTrainingLayer",
           [](const Device& device) {
             std::vector<Matrix> weights;
             return set(std::make_unique<RNNMatrixTrainingLayer>(
                 device, descriptor_of(cell(oracle::RecurrentCell::lstm)), &weights));
           },
           run_training}};
}

}  // namespace cermet::test
