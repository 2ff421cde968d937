#include "cermet/nn/optimizer.h"

#include "nn/parameter_update.h"

namespace cermet {

NNOptimizerStochasticGradientDescent::NNOptimizerStochasticGradientDescent(const Device& device,
                                                                           float learningRate)
    : NNOptimizer(device, {learningRate, 1, NNRegularizationType::None, 0}) {}
NNOptimizerStochasticGradientDescent::NNOptimizerStochasticGradientDescent(
    const Device& device, float momentumScale, bool useNesterovMomentum,
    const NNOptimizerDescriptor& optimizerDescriptor)
    : NNOptimizer(device, optimizerDescriptor),
      momentum_scale_(momentumScale),
      nesterov_(useNesterovMomentum) {}

void NNOptimizerStochasticGradientDescent::code(Coder& coder) {
  NNOptimizer::code(coder);
  coder("momentumScale", momentum_scale_);
  coder("useNesterovMomentum", nesterov_);
}

std::span<const NNOptimizer::Moment> NNOptimizerStochasticGradientDescent::moments() const {
  static constexpr Moment all[] = {{false,
                                    "inputMomentumVector",
                                    "inputMomentumMatrix",
                                    "inputMomentumVectors",
                                    {"inputMomentumVectors[0]", "inputMomentumVectors[1]"}}};
  return all;
}

void NNOptimizerStochasticGradientDescent::record(detail::ParameterUpdate& u) const {
  const StochasticGradientDescent op{preparation(), nesterov_ ? 1 : 0};
  const StochasticGradientDescent::Scalars scalars{gradient_scalars(), learningRate(),
                                                   momentum_scale_};
  detail::encode(u.recording, u.memo, op, {u.gradient, u.values, u.moments[0], u.result}, scalars);
}

void NNOptimizerStochasticGradientDescent::encode(const CommandBuffer& commandBuffer,
                                                  const Vector& inputGradientVector,
                                                  const Vector& inputValuesVector,
                                                  const Vector& inputMomentumVector,
                                                  const Vector& resultValuesVector) const {
  update(commandBuffer, inputGradientVector, inputValuesVector, {&inputMomentumVector},
         resultValuesVector);
}
void NNOptimizerStochasticGradientDescent::encode(const CommandBuffer& commandBuffer,
                                                  const Matrix& inputGradientMatrix,
                                                  const Matrix& inputValuesMatrix,
                                                  const Matrix& inputMomentumMatrix,
                                                  const Matrix& resultValuesMatrix) const {
  update(commandBuffer, inputGradientMatrix, inputValuesMatrix, {&inputMomentumMatrix},
         resultValuesMatrix);
}
void NNOptimizerStochasticGradientDescent::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
    std::span<const Vector> inputMomentumVectors,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState) const {
  update(commandBuffer, convolutionGradientState, convolutionSourceState, {inputMomentumVectors},
         resultState);
}
void NNOptimizerStochasticGradientDescent::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
    std::span<const Vector> inputMomentumVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const {
  update(commandBuffer, batchNormalizationState, batchNormalizationState, {inputMomentumVectors},
         resultState);
}
void NNOptimizerStochasticGradientDescent::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
    std::span<const Vector> inputMomentumVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const {
  update(commandBuffer, batchNormalizationGradientState, batchNormalizationSourceState,
         {inputMomentumVectors}, resultState);
}

}  // namespace cermet
