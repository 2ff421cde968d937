#pragma once
// An LSTM layer forward and back through time, encoded by hand, without an optimizer.

#include <memory>
#include <vector>

#include "cermet/core/command_buffer.h"
#include "cermet/rnn/lstm.h"
#include "cermet/rnn/matrix_training_layer.h"
#include "digits.h"

namespace cermet::bench {

/// `steps` steps of `rows` sequences, 64 to 200 channels.
class LstmDirect {
 public:
  LstmDirect(Device device, std::size_t rows)
      : device_(std::move(device)), queue_(device_.makeCommandQueue()), random_(1) {
    using enum CNNNeuronType;
    const auto d = LSTMDescriptor::createLSTMDescriptor(inputs, outputs);
    d->setInputGateInputWeights(weights(inputs, Sigmoid));
    d->setForgetGateInputWeights(weights(inputs, Sigmoid));
    d->setCellGateInputWeights(weights(inputs, TanH));
    d->setOutputGateInputWeights(weights(inputs, Sigmoid));
    d->setInputGateRecurrentWeights(weights(outputs, None));
    d->setForgetGateRecurrentWeights(weights(outputs, None));
    d->setCellGateRecurrentWeights(weights(outputs, None));
    d->setOutputGateRecurrentWeights(weights(outputs, None));
    layer_ = std::make_unique<RNNMatrixTrainingLayer>(device_, d, &weights_);
    layer_->createWeightGradientMatrices(&weight_gradients_, DataType::Float32);
    for (std::size_t t = 0; t < steps; ++t) {
      sources_.push_back(matrix(rows, inputs));
      results_.push_back(matrix(rows, outputs));
      gradients_.push_back(matrix(rows, outputs));
      source_gradients_.push_back(matrix(rows, inputs));
    }
  }

  CommandBuffer start() {
    CommandBuffer commands = queue_.makeCommandBuffer();
    std::vector<RNNMatrixTrainingStatePtr> states;
    layer_->encodeForwardSequence(commands, sources_, results_, &states, weights_);
    layer_->encodeGradientSequence(commands, sources_, gradients_, source_gradients_,
                                   weight_gradients_, states, weights_);
    commands.commit();
    return commands;
  }

 private:
  static constexpr std::size_t steps = 20, inputs = 64, outputs = 200;

  class Weights final : public CNNConvolutionDataSource {
   public:
    Weights(std::size_t in, CNNNeuronType neuron, RandomNumbers& random)
        : descriptor_(CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, in, outputs)),
          values_(in * outputs) {
      descriptor_->setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronDescriptor(neuron));
      for (float& value : values_) value = 0.1F * (random.uniform() - 0.5F);
    }
    [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
    [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
      return descriptor_;
    }
    [[nodiscard]] const void* weights() override { return values_.data(); }
    [[nodiscard]] const float* biasTerms() override { return nullptr; }
    [[nodiscard]] bool load() override { return true; }
    void purge() override {}
    [[nodiscard]] std::string label() const override { return "lstm"; }

   private:
    std::shared_ptr<CNNConvolutionDescriptor> descriptor_;
    std::vector<float> values_;
  };

  RNNWeights weights(std::size_t in, CNNNeuronType neuron) {
    return std::make_shared<Weights>(in, neuron, random_);
  }
  Matrix matrix(std::size_t rows, std::size_t columns) {
    std::vector<float> values(rows * columns);
    for (float& value : values) value = random_.uniform() - 0.5F;
    return {device_.makeBuffer(values.data(), values.size() * sizeof(float)),
            MatrixDescriptor::matrixDescriptor(rows, columns, columns * sizeof(float),
                                               DataType::Float32)};
  }

  Device device_;
  CommandQueue queue_;
  RandomNumbers random_;
  std::unique_ptr<RNNMatrixTrainingLayer> layer_;
  std::vector<Matrix> weights_, weight_gradients_, sources_, results_, gradients_,
      source_gradients_;
};

}  // namespace cermet::bench
