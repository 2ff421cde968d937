// What optimizers say about wrong calls.

#include "optimizer/forms.h"

namespace cermet::optimizer_test {
namespace {

TEST(OptimizerMessages, VectorsAndMatrices) {
  Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  sgd.setLabel("fc1");
  NNOptimizerRMSProp rms(device(), 0.1F);
  NNOptimizerAdam adam(device(), 0.1F);
  const CommandBuffer commands = command_buffer();
  const Vector four = zeros(4), three = zeros(3);
  EXPECT_EQ(text_of([&] { sgd.encode(commands, Vector(), four, four, four); }),
            "NNOptimizerStochasticGradientDescent \"fc1\": inputGradientVector is nil; needed a "
            "vector or matrix of the command buffer's device.");
  EXPECT_EQ(text_of([&] { sgd.encode(commands, four, four, three, four); }),
            "NNOptimizerStochasticGradientDescent \"fc1\": inputMomentumVector is a vector of 3 "
            "Float32; needed as many elements as inputValuesVector, a vector of 4 Float32.");
  EXPECT_EQ(text_of([&] { sgd.encode(commands, three, four, four, four); }),
            "NNOptimizerStochasticGradientDescent \"fc1\": inputGradientVector is a vector of 3 "
            "Float32; needed as many elements as inputValuesVector, a vector of 4 Float32.");
  EXPECT_EQ(text_of([&] { rms.encode(commands, four, four, Vector(), four); }),
            "NNOptimizerRMSProp: inputSumOfSquaresVector is nil; needed a vector or matrix of the "
            "command buffer's device.");
  EXPECT_EQ(text_of([&] { adam.encode(commands, four, four, four, Vector(), four, four); }),
            "NNOptimizerAdam: inputVelocityVector is nil; needed a vector or matrix of the command "
            "buffer's device.");
  const Vector integers(device(), VectorDescriptor::vectorDescriptor(4, DataType::Int32));
  EXPECT_EQ(text_of([&] { adam.encode(commands, integers, four, four, four, four); }),
            "NNOptimizerAdam: inputGradientVector is a vector of 4 Int32; needed elements of type "
            "Float32 or Float16.");
  const Matrix square = matrix_2x2(8, example_w);
  const Matrix flat(device(), MatrixDescriptor::matrixDescriptor(1, 4, 16, DataType::Float16));
  EXPECT_EQ(text_of([&] { adam.encode(commands, square, square, square, square, flat); }),
            "NNOptimizerAdam: resultValuesMatrix is a matrix of 1x4 Float16; needed as many "
            "elements as inputValuesMatrix, a matrix of 2x2 Float32.");
  const Device other = Device::cpu(1);
  const Vector elsewhere(other, VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  EXPECT_EQ(text_of([&] { adam.encode(commands, four, elsewhere, four, four, four); }),
            "NNOptimizerAdam: inputValuesVector is on another device; needed the device of the "
            "command buffer.");
  EXPECT_EQ(
      text_of([&] { NNOptimizerAdam(other, 0.1F).encode(commands, four, four, four, four, four); }),
      "NNOptimizerAdam: commandBuffer is on another device; needed a command buffer of the "
      "kernel's device. Make a copy of the kernel for that device.");
  const TemporaryVector foreign(command_buffer(),
                                VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  EXPECT_EQ(text_of([&] { adam.encode(commands, foreign, four, four, four, four); }),
            "NNOptimizerAdam: inputGradientVector is temporary in another command buffer; needed "
            "one of this command buffer, or a permanent one.");
  const TemporaryVector gone(commands, VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  gone.setReadCount(0);
  EXPECT_EQ(text_of([&] { adam.encode(commands, gone, four, four, four, four); }),
            "NNOptimizerAdam: inputGradientVector is read for the last time already; needed a "
            "temporary with reads left. Raise readCount once for every encode that reads it.");
  EXPECT_EQ(adam.timeStep(), 0U);
}

TEST(OptimizerMessages, HyperParameters) {
  const CommandBuffer commands = command_buffer();
  const Vector w = zeros(4);
  Sgd sgd(device(), 0, false, {0.1F, 1, true, -1, 1, NNRegularizationType::None, 0});
  EXPECT_EQ(text_of([&] { sgd.encode(commands, w, w, w, w); }),
            "NNOptimizerStochasticGradientDescent: gradientClipMin is 1.000000; needed -1.000000, "
            "the maximum, or less. The descriptor takes the maximum before the minimum.");
  sgd.setApplyGradientClipping(false);
  EXPECT_NO_THROW(sgd.encode(commands, w, w, w, w));
  sgd.setLearningRate(INFINITY);
  EXPECT_EQ(text_of([&] { sgd.encode(commands, w, w, w, w); }),
            "NNOptimizerStochasticGradientDescent: learningRate is inf; needed a finite number. "
            "Look for a division by zero in its schedule.");
  EXPECT_EQ(text_of([&] { NNOptimizerAdam(device(), 0.9, 1, 1e-8F, 0, {}); }),
            "NNOptimizerAdam: beta2 is 1.000000; needed 0 or more, and less than 1.");
  const Sgd odd(device(), 0, false, {0.1F, 1, static_cast<NNRegularizationType>(7), 1});
  EXPECT_EQ(
      text_of([&] { odd.encode(commands, w, w, w, w); }),
      "NNOptimizerStochasticGradientDescent: regularizationType is 7; needed None, L1 or L2.");
}

TEST(OptimizerMessages, ConvolutionStates) {
  NNOptimizerRMSProp rms(device(), 0.1F);
  NNOptimizerAdam adam(device(), 0.1F);
  const CommandBuffer commands = command_buffer();
  ConvolutionForm form(example_w, true);
  const auto& [m, v, x] = form.moments;
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, {}, form.result); }),
      "NNOptimizerAdam: inputVelocityVectors is empty; needed a vector for the weights, and a "
      "second one for what else is to be updated. Keep them from step to step.");
  EXPECT_EQ(text_of([&] { rms.encode(commands, form.gradient, form.source, {}, form.result); }),
            "NNOptimizerRMSProp: inputSumOfSquaresVectors is empty; needed a vector for the "
            "weights, and a second one for what else is to be updated. Keep them from step to "
            "step.");
  const std::vector<Vector> one{zeros(4)}, wrong{zeros(4), zeros(3)};
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, one, form.result); }),
      "NNOptimizerAdam: inputVelocityVectors is of length 1; needed 2, as many vectors as "
      "inputMomentumVectors.");
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, wrong, x, form.result); }),
      "NNOptimizerAdam: inputVelocityVectors[1] is a vector of 3 Float32; needed a vector of 2 "
      "Float32, as many as there are biases.");
  const std::vector<Vector> half{vector_of(example_w, DataType::Float16), zeros(2)};
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, half, v, form.result); }),
      "NNOptimizerAdam: inputMomentumVectors[0] is a vector of 4 Float16; needed a vector of "
      "4 Float32, as many as there are weights.");
  EXPECT_EQ(text_of([&] {
              adam.encode(commands, std::shared_ptr<CNNConvolutionGradientState>(), form.source, m,
                          v, form.result);
            }),
            "NNOptimizerAdam: convolutionGradientState is nil; needed the state of a forward "
            "encode.");
  const auto bare =
      std::make_shared<CNNConvolutionWeightsAndBiasesState>(device().makeBuffer(16), Buffer());
  EXPECT_EQ(text_of([&] { adam.encode(commands, form.gradient, form.source, m, v, bare); }),
            "NNOptimizerAdam: resultState is of 4 weights and 0 biases; needed 4 weights and 2 "
            "biases, as in convolutionGradientState. Make both states from one convolution "
            "descriptor.");
  EXPECT_NO_THROW(adam.encode(commands, form.gradient, form.source, one, one, bare));
  const auto other = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      device(), *CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 3, 2));
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, other, m, v, form.result); }),
      "NNOptimizerAdam: convolutionSourceState is of 6 weights and 2 biases; needed 4 weights "
      "and 2 biases, as in convolutionGradientState. Make both states from one convolution "
      "descriptor.");
  EXPECT_EQ(adam.timeStep(), 1U);
}

TEST(OptimizerMessages, BatchNormalizationStates) {
  NNOptimizerAdam adam(device(), 0.1F);
  const CommandBuffer commands = command_buffer();
  BatchNormalizationForm<true> form(example_w, false);
  const auto& [m, v, x] = form.moments;
  EXPECT_EQ(text_of([&] { adam.encode(commands, form.source, m, v, form.result); }),
            "NNOptimizerAdam: batchNormalizationState is without gradients; needed those of gamma "
            "and beta. Encode CNNBatchNormalizationStatisticsGradient before.");
  EXPECT_EQ(text_of([&] {
              adam.encode(commands, form.gradient, CNNBatchNormalizationStatePtr(), m, v,
                          form.result);
            }),
            "NNOptimizerAdam: batchNormalizationSourceState is nil; needed the state of a forward "
            "encode.");
  const auto small = std::make_shared<CNNNormalizationGammaAndBetaState>(device().makeBuffer(12),
                                                                         device().makeBuffer(16));
  EXPECT_EQ(text_of([&] { adam.encode(commands, form.gradient, form.source, m, v, small); }),
            "NNOptimizerAdam: resultState is of 3 feature channels; needed 4, as in "
            "batchNormalizationGradientState.");
  const CNNBatchNormalization other(device(), std::make_shared<GammaAndBetaSource>(Floats(5, 1)));
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, state_of(other), m, v, form.result); }),
      "NNOptimizerAdam: batchNormalizationSourceState is of 5 feature channels; needed 4, as "
      "in batchNormalizationGradientState.");
  const std::vector<Vector> wrong{zeros(4), zeros(3)};
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, v, wrong, form.result); }),
      "NNOptimizerAdam: maximumVelocityVectors[1] is a vector of 3 Float32; needed a vector "
      "of 4 Float32, as many as there are beta.");
  EXPECT_EQ(adam.timeStep(), 0U);
}

}  // namespace
}  // namespace cermet::optimizer_test
