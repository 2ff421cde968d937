#include "cermet/nn/optimizer.h"

#include <cmath>

#include "nn/parameter_update.h"

namespace cermet {

NNOptimizerAdam::NNOptimizerAdam(const Device& device, float learningRate)
    : NNOptimizer(device, {learningRate, 1, NNRegularizationType::None, 0}) {}
NNOptimizerAdam::NNOptimizerAdam(const Device& device, double beta1, double beta2, float epsilon,
                                 std::size_t timeStep,
                                 const NNOptimizerDescriptor& optimizerDescriptor)
    : NNOptimizer(device, optimizerDescriptor),
      beta1_(beta1),
      beta2_(beta2),
      epsilon_(epsilon),
      time_step_(timeStep) {
  check_betas();
}

void NNOptimizerAdam::check_betas() const {
  for (const auto& [name, beta] : {std::pair{"beta1", beta1_}, std::pair{"beta2", beta2_}}) {
    if (beta >= 0 && beta < 1) continue;
    complain(name, std::to_string(beta), "0 or more, and less than 1");
  }
}
void NNOptimizerAdam::code(Coder& coder) {
  NNOptimizer::code(coder);
  coder("beta1", beta1_);
  coder("beta2", beta2_);
  coder("epsilon", epsilon_);
  coder("timeStep", time_step_);
  check_betas();
}

std::span<const NNOptimizer::Moment> NNOptimizerAdam::moments() const {
  static constexpr Moment all[] = {{true,
                                    "inputMomentumVector",
                                    "inputMomentumMatrix",
                                    "inputMomentumVectors",
                                    {"inputMomentumVectors[0]", "inputMomentumVectors[1]"}},
                                   {true,
                                    "inputVelocityVector",
                                    "inputVelocityMatrix",
                                    "inputVelocityVectors",
                                    {"inputVelocityVectors[0]", "inputVelocityVectors[1]"}},
                                   {false,
                                    "maximumVelocityVector",
                                    "maximumVelocityMatrix",
                                    "maximumVelocityVectors",
                                    {"maximumVelocityVectors[0]", "maximumVelocityVectors[1]"}}};
  return all;
}

// The correction is computed in double: 1 - beta2 alone loses three digits in float.
void NNOptimizerAdam::record(detail::ParameterUpdate& u) const {
  const auto t = static_cast<double>(time_step_ + 1);
  const double correction = std::sqrt(1 - std::pow(beta2_, t)) / (1 - std::pow(beta1_, t));
  const Adam::Scalars scalars{gradient_scalars(),
                              static_cast<float>(double{learningRate()} * correction),
                              static_cast<float>(beta1_),
                              static_cast<float>(1 - beta1_),
                              static_cast<float>(beta2_),
                              static_cast<float>(1 - beta2_),
                              epsilon_};
  detail::encode(u.recording, u.memo, Adam{preparation()},
                 {u.gradient, u.values, u.moments[0], u.moments[1], u.moments[2], u.result},
                 scalars);
}

void NNOptimizerAdam::encode(const CommandBuffer& commandBuffer, const Vector& inputGradientVector,
                             const Vector& inputValuesVector, const Vector& inputMomentumVector,
                             const Vector& inputVelocityVector, const Vector& resultValuesVector) {
  update(commandBuffer, inputGradientVector, inputValuesVector,
         {&inputMomentumVector, &inputVelocityVector}, resultValuesVector);
  ++time_step_;
}
void NNOptimizerAdam::encode(const CommandBuffer& commandBuffer, const Vector& inputGradientVector,
                             const Vector& inputValuesVector, const Vector& inputMomentumVector,
                             const Vector& inputVelocityVector, const Vector& maximumVelocityVector,
                             const Vector& resultValuesVector) {
  update(commandBuffer, inputGradientVector, inputValuesVector,
         {&inputMomentumVector, &inputVelocityVector, &maximumVelocityVector}, resultValuesVector);
  ++time_step_;
}
void NNOptimizerAdam::encode(const CommandBuffer& commandBuffer, const Matrix& inputGradientMatrix,
                             const Matrix& inputValuesMatrix, const Matrix& inputMomentumMatrix,
                             const Matrix& inputVelocityMatrix, const Matrix& resultValuesMatrix) {
  update(commandBuffer, inputGradientMatrix, inputValuesMatrix,
         {&inputMomentumMatrix, &inputVelocityMatrix}, resultValuesMatrix);
  ++time_step_;
}
void NNOptimizerAdam::encode(const CommandBuffer& commandBuffer, const Matrix& inputGradientMatrix,
                             const Matrix& inputValuesMatrix, const Matrix& inputMomentumMatrix,
                             const Matrix& inputVelocityMatrix, const Matrix& maximumVelocityMatrix,
                             const Matrix& resultValuesMatrix) {
  update(commandBuffer, inputGradientMatrix, inputValuesMatrix,
         {&inputMomentumMatrix, &inputVelocityMatrix, &maximumVelocityMatrix}, resultValuesMatrix);
  ++time_step_;
}
void NNOptimizerAdam::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
    std::span<const Vector> inputMomentumVectors, std::span<const Vector> inputVelocityVectors,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState) {
  update(commandBuffer, convolutionGradientState, convolutionSourceState,
         {inputMomentumVectors, inputVelocityVectors}, resultState);
  ++time_step_;
}
void NNOptimizerAdam::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
    std::span<const Vector> inputMomentumVectors, std::span<const Vector> inputVelocityVectors,
    std::span<const Vector> maximumVelocityVectors,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState) {
  update(commandBuffer, convolutionGradientState, convolutionSourceState,
         {inputMomentumVectors, inputVelocityVectors, maximumVelocityVectors}, resultState);
  ++time_step_;
}
void NNOptimizerAdam::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
    std::span<const Vector> inputMomentumVectors, std::span<const Vector> inputVelocityVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) {
  update(commandBuffer, batchNormalizationState, batchNormalizationState,
         {inputMomentumVectors, inputVelocityVectors}, resultState);
  ++time_step_;
}
void NNOptimizerAdam::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
    std::span<const Vector> inputMomentumVectors, std::span<const Vector> inputVelocityVectors,
    std::span<const Vector> maximumVelocityVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) {
  update(commandBuffer, batchNormalizationState, batchNormalizationState,
         {inputMomentumVectors, inputVelocityVectors, maximumVelocityVectors}, resultState);
  ++time_step_;
}
void NNOptimizerAdam::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
    std::span<const Vector> inputMomentumVectors, std::span<const Vector> inputVelocityVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) {
  update(commandBuffer, batchNormalizationGradientState, batchNormalizationSourceState,
         {inputMomentumVectors, inputVelocityVectors}, resultState);
  ++time_step_;
}
void NNOptimizerAdam::encode(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
    const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
    std::span<const Vector> inputMomentumVectors, std::span<const Vector> inputVelocityVectors,
    std::span<const Vector> maximumVelocityVectors,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) {
  update(commandBuffer, batchNormalizationGradientState, batchNormalizationSourceState,
         {inputMomentumVectors, inputVelocityVectors, maximumVelocityVectors}, resultState);
  ++time_step_;
}

}  // namespace cermet
