#include "cermet/nn/optimizer.h"

#include "nn/parameter_update.h"

namespace cermet {

NNOptimizerRMSProp::NNOptimizerRMSProp(const Device& device, float learningRate)
    : NNOptimizer(device, {learningRate, 1, NNRegularizationType::None, 0}) {}
NNOptimizerRMSProp::NNOptimizerRMSProp(const Device& device, double decay, float epsilon,
                                       const NNOptimizerDescriptor& optimizerDescriptor)
    : NNOptimizer(device, optimizerDescriptor), decay_(decay), epsilon_(epsilon) {}

void NNOptimizerRMSProp::code(Coder& coder) {
  NNOptimizer::code(coder);
  coder("decay", decay_);
  coder("epsilon", epsilon_);
}

std::span<const NNOptimizer::Moment> NNOptimizerRMSProp::moments() const {
  static constexpr Moment all[] = {
      {true,
       "inputSumOfSquaresVector",
       "inputSumOfSquaresMatrix",
       "inputSumOfSquaresVectors",
       {"inputSumOfSquaresVectors[0]", "inputSumOfSquaresVectors[1]"}}};
  return all;
}

void NNOptimizerRMSProp::record(detail::ParameterUpdate& u) const {
  const RMSProp::Scalars scalars{gradient_scalars(), learningRate(), static_cast<float>(decay_),
                                 static_cast<float>(1 - decay_), epsilon_};
  detail::encode(u.recording, u.memo, RMSProp{preparation()},
                 {u.gradient, u.values, u.moments[0], u.result}, scalars);
}

void NNOptimizerRMSProp::encode(const CommandBuffer& commandBuffer,
                                const Vector& inputGradientVector, const Vector& inputValuesVector,
                                const Vector& inputSumOfSquaresVector,
                                const Vector& resultValuesVector) const {
  update(commandBuffer, inputGradientVector, inputValuesVector, {&inputSumOfSquaresVector},
         resultValuesVector);
}
void NNOptimizerRMSProp::encode(const CommandBuffer& commandBuffer,
                                const Matrix& inputGradientMatrix, const Matrix& inputValuesMatrix,
                                const Matrix& inputSumOfSquaresMatrix,
                                const Matrix& resultValuesMatrix) const {
  update(commandBuffer, inputGradientMatrix, inputValuesMatrix, {&inputSumOfSquaresMatrix},
         resultValuesMatrix);
}
void NNOptimizerRMSProp::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
    std::span<const Vector> inputSumOfSquaresVectors,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState) const {
  update(commandBuffer, convolutionGradientState, convolutionSourceState,
         {inputSumOfSquaresVectors}, resultState);
}
void NNOptimizerRMSProp::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
    std::span<const Vector> inputSumOfSquaresVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const {
  update(commandBuffer, batchNormalizationState, batchNormalizationState,
         {inputSumOfSquaresVectors}, resultState);
}
void NNOptimizerRMSProp::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
    std::span<const Vector> inputSumOfSquaresVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const {
  update(commandBuffer, batchNormalizationGradientState, batchNormalizationSourceState,
         {inputSumOfSquaresVectors}, resultState);
}

}  // namespace cermet
