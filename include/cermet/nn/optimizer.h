#pragma once
// Optimizers: stochastic gradient descent, RMSProp and Adam, over vectors, matrices and the states
// of convolutions and batch normalisations (spec: optimizer).
//
// g = clip(raw) * gradientRescale + (L2: scale*w | L1: scale*sign(w)), elementwise.
//
// What all encodes share. The result receives the new values and may be the same object or memory
// as the values or the gradient; momentum and the like are updated in place. Hyper-parameters are
// those of the moment of the encode. Every temporary that is read (gradient, values, momentum and
// the like) loses one read. A call that throws has changed nothing.
//   Vectors, matrices: equal extents, Float32 or Float16 each; row strides may differ. All vectors
//   or
// matrices of an object are processed.
//   States: arrays of Float32 vectors, first for weights or gamma, then for biases or beta; an
//   array
// of one leaves biases or beta, and those of the result, alone. So does a source without biases.

#include <array>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string_view>

#include "cermet/core/kernel.h"
#include "cermet/core/matrix.h"
#include "cermet/core/step_memo.h"
#include "cermet/ops/optimizer.h"

namespace cermet {

class CNNBatchNormalizationState;
class CNNConvolutionGradientState;
class CNNConvolutionWeightsAndBiasesState;
class CNNNormalizationGammaAndBetaState;
class State;
namespace detail {
struct ParameterUpdate;
}

/// What optimizers have in common. Read once, when the optimizer is made.
class NNOptimizerDescriptor {
 public:
  NNOptimizerDescriptor() = default;
  NNOptimizerDescriptor(float learningRate, float gradientRescale,
                        NNRegularizationType regularizationType, float regularizationScale);
  /// Note the order: maximum before minimum.
  NNOptimizerDescriptor(float learningRate, float gradientRescale, bool applyGradientClipping,
                        float gradientClipMax, float gradientClipMin,
                        NNRegularizationType regularizationType, float regularizationScale);
  [[nodiscard]] static NNOptimizerDescriptor optimizerDescriptor(
      float learningRate, float gradientRescale, NNRegularizationType regularizationType,
      float regularizationScale) {
    return {learningRate, gradientRescale, regularizationType, regularizationScale};
  }
  [[nodiscard]] static NNOptimizerDescriptor optimizerDescriptor(
      float learningRate, float gradientRescale, bool applyGradientClipping, float gradientClipMax,
      float gradientClipMin, NNRegularizationType regularizationType, float regularizationScale) {
    return {learningRate,    gradientRescale,    applyGradientClipping, gradientClipMax,
            gradientClipMin, regularizationType, regularizationScale};
  }

  /// Any finite number; a negative one turns descent into ascent. Default 1e-3.
  [[nodiscard]] float learningRate() const { return learning_rate_; }
  void setLearningRate(float rate) { learning_rate_ = rate; }
  /// Factor on the clipped gradient. Default 1.
  [[nodiscard]] float gradientRescale() const { return rescale_; }
  void setGradientRescale(float factor) { rescale_ = factor; }
  /// Default false.
  [[nodiscard]] bool applyGradientClipping() const { return clip_; }
  void setApplyGradientClipping(bool clip) { clip_ = clip; }
  /// Bounds of the raw gradient. Default the largest and the lowest float: they cut nothing.
  [[nodiscard]] float gradientClipMax() const { return clip_max_; }
  void setGradientClipMax(float bound) { clip_max_ = bound; }
  [[nodiscard]] float gradientClipMin() const { return clip_min_; }
  void setGradientClipMin(float bound) { clip_min_ = bound; }
  /// Neither clipped nor rescaled; may be negative. Default 0.
  [[nodiscard]] float regularizationScale() const { return regularization_scale_; }
  void setRegularizationScale(float scale) { regularization_scale_ = scale; }
  /// Default None.
  [[nodiscard]] NNRegularizationType regularizationType() const { return regularization_; }
  void setRegularizationType(NNRegularizationType type) { regularization_ = type; }
  bool operator==(const NNOptimizerDescriptor&) const = default;
  /// Lists the fields to a coder.
  void code(Coder& coder);

 private:
  float learning_rate_ = 1e-3F, rescale_ = 1;
  bool clip_ = false;
  float clip_max_ = std::numeric_limits<float>::max();
  float clip_min_ = std::numeric_limits<float>::lowest();
  NNRegularizationType regularization_ = NNRegularizationType::None;
  float regularization_scale_ = 0;
};

/// Holds numbers only: what an update keeps between steps lives in vectors or matrices of the
/// caller, who zeroes them before the first step.
class NNOptimizer : public Kernel {
 public:
  [[nodiscard]] float learningRate() const { return parameters_.learningRate(); }
  /// Acts on later encodes, also of the same command buffer.
  void setLearningRate(float newLearningRate) { parameters_.setLearningRate(newLearningRate); }
  [[nodiscard]] float gradientRescale() const { return parameters_.gradientRescale(); }
  [[nodiscard]] bool applyGradientClipping() const { return parameters_.applyGradientClipping(); }
  void setApplyGradientClipping(bool clip) { parameters_.setApplyGradientClipping(clip); }
  [[nodiscard]] float gradientClipMax() const { return parameters_.gradientClipMax(); }
  [[nodiscard]] float gradientClipMin() const { return parameters_.gradientClipMin(); }
  [[nodiscard]] float regularizationScale() const { return parameters_.regularizationScale(); }
  [[nodiscard]] NNRegularizationType regularizationType() const {
    return parameters_.regularizationType();
  }

 protected:
  NNOptimizer(const Device& device, const NNOptimizerDescriptor& optimizerDescriptor);
  NNOptimizer(Coder& coder, const Device& device) : Kernel(coder, device) {}
  void code(Coder& coder) override;

  /// What is updated beside the values, with its names as an argument of the encodes.
  struct Moment {
    bool required;
    std::string_view vector, matrix, vectors;
    std::array<std::string_view, 2> elements;  // of `vectors`
  };
  [[nodiscard]] virtual std::span<const Moment> moments() const = 0;
  /// Records the update of one parameter array.
  virtual void record(detail::ParameterUpdate& update) const = 0;

  [[nodiscard]] GradientPreparation preparation() const;
  [[nodiscard]] GradientScalars gradient_scalars() const;

  // The encodes; moments in the order of `moments()`.
  using Moments = std::initializer_list<const StridedArray*>;
  using Arrays = std::initializer_list<std::span<const Vector>>;
  void update(const CommandBuffer& commandBuffer, const Vector& gradient, const Vector& values,
              Moments moments, const Vector& result) const;
  void update(const CommandBuffer& commandBuffer, const Matrix& gradient, const Matrix& values,
              Moments moments, const Matrix& result) const;
  void update(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNConvolutionGradientState>& gradient,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& source, Arrays moments,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& result) const;
  /// One object may be both the gradient and the source.
  void update(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& gradient,
              const std::shared_ptr<CNNBatchNormalizationState>& source, Arrays moments,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& result) const;

 private:
  struct Argument;
  struct Parameter;
  void check_hyper_parameters() const;
  void update_arrays(const CommandBuffer& commandBuffer, const Argument& gradient,
                     const Argument& values, Moments moments, std::string_view Moment::*name,
                     const Argument& result) const;
  /// 1 or 2 of those available, as the arrays say; `first` names the first.
  [[nodiscard]] std::size_t parameters_to_update(Arrays moments, std::size_t available,
                                                 std::string_view first) const;
  /// Of the first `updated` parameter arrays, by name and number of elements.
  void check_moments(const detail::Recording& recording, Arrays moments,
                     std::array<std::string_view, 2> names, std::array<std::size_t, 2> counts,
                     std::size_t updated) const;
  void update_parameters(detail::Recording& recording, std::span<const Parameter> parameters,
                         Arrays moments, std::initializer_list<State*> sources) const;

  NNOptimizerDescriptor parameters_;
  mutable std::array<detail::StepMemo, 2> memos_;  // weights or gamma, biases or beta
};

/// Without momentum: w - lr*g. With: m' = momentumScale*m + lr*g, w - m'. With Nesterov's momentum:
/// m' = momentumScale*m + g, w - lr*(g + momentumScale*m').
class NNOptimizerStochasticGradientDescent final : public NNOptimizer {
 public:
  NNOptimizerStochasticGradientDescent(const Device& device, float learningRate);
  /// Both of the original's spellings of Nesterov.
  NNOptimizerStochasticGradientDescent(const Device& device, float momentumScale,
                                       bool useNesterovMomentum,
                                       const NNOptimizerDescriptor& optimizerDescriptor);
  NNOptimizerStochasticGradientDescent(Coder& coder, const Device& device)
      : NNOptimizer(coder, device) {
    read(coder);
  }
  [[nodiscard]] NNOptimizerStochasticGradientDescent copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  /// Default 0.
  [[nodiscard]] float momentumScale() const { return momentum_scale_; }
  /// Default false.
  [[nodiscard]] bool useNesterovMomentum() const { return nesterov_; }
  [[nodiscard]] bool useNestrovMomentum() const { return nesterov_; }
  [[nodiscard]] std::string_view class_name() const override {
    return StochasticGradientDescent::name;
  }

  /// Nil or no momentum: plain descent, whatever momentumScale is; of states, weights and biases.
  void encode(const CommandBuffer& commandBuffer, const Vector& inputGradientVector,
              const Vector& inputValuesVector, const Vector& inputMomentumVector,
              const Vector& resultValuesVector) const;
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputGradientMatrix,
              const Matrix& inputValuesMatrix, const Matrix& inputMomentumMatrix,
              const Matrix& resultValuesMatrix) const;
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              std::span<const Vector> inputMomentumVectors,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState) const;
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
              std::span<const Vector> inputMomentumVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const;
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
              std::span<const Vector> inputMomentumVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const;

 private:
  void code(Coder& coder) override;
  [[nodiscard]] std::span<const Moment> moments() const override;
  void record(detail::ParameterUpdate& update) const override;
  float momentum_scale_ = 0;
  bool nesterov_ = false;
};

/// s' = decay*s + (1-decay)*g^2; w - lr*g / (sqrt(s') + epsilon).
class NNOptimizerRMSProp final : public NNOptimizer {
 public:
  NNOptimizerRMSProp(const Device& device, float learningRate);
  NNOptimizerRMSProp(const Device& device, double decay, float epsilon,
                     const NNOptimizerDescriptor& optimizerDescriptor);
  NNOptimizerRMSProp(Coder& coder, const Device& device) : NNOptimizer(coder, device) {
    read(coder);
  }
  [[nodiscard]] NNOptimizerRMSProp copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  /// Default 0.9.
  [[nodiscard]] double decay() const { return decay_; }
  /// Default 1e-8.
  [[nodiscard]] float epsilon() const { return epsilon_; }
  [[nodiscard]] std::string_view class_name() const override { return RMSProp::name; }

  /// Sums of squares are needed: nil or none throws.
  void encode(const CommandBuffer& commandBuffer, const Vector& inputGradientVector,
              const Vector& inputValuesVector, const Vector& inputSumOfSquaresVector,
              const Vector& resultValuesVector) const;
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputGradientMatrix,
              const Matrix& inputValuesMatrix, const Matrix& inputSumOfSquaresMatrix,
              const Matrix& resultValuesMatrix) const;
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              std::span<const Vector> inputSumOfSquaresVectors,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState) const;
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
              std::span<const Vector> inputSumOfSquaresVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const;
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
              std::span<const Vector> inputSumOfSquaresVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState) const;

 private:
  void code(Coder& coder) override;
  [[nodiscard]] std::span<const Moment> moments() const override;
  void record(detail::ParameterUpdate& update) const override;
  double decay_ = 0.9;
  float epsilon_ = 1e-8F;
};

/// t = timeStep + 1; m' = beta1*m + (1-beta1)*g; v' = beta2*v + (1-beta2)*g^2;
/// w - lr * sqrt(1-beta2^t)/(1-beta1^t) * m' / (sqrt(v') + epsilon).
/// AMSGrad, with a maximum velocity: x' = max(x, v') stands for v' in the last line.
class NNOptimizerAdam final : public NNOptimizer {
 public:
  NNOptimizerAdam(const Device& device, float learningRate);
  /// Throws InvalidArgument unless both betas lie in [0, 1).
  NNOptimizerAdam(const Device& device, double beta1, double beta2, float epsilon,
                  std::size_t timeStep, const NNOptimizerDescriptor& optimizerDescriptor);
  NNOptimizerAdam(Coder& coder, const Device& device) : NNOptimizer(coder, device) { read(coder); }
  [[nodiscard]] NNOptimizerAdam copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  /// Default 0.9.
  [[nodiscard]] double beta1() const { return beta1_; }
  /// Default 0.999.
  [[nodiscard]] double beta2() const { return beta2_; }
  /// Default 1e-8; added to the root of the uncorrected velocity.
  [[nodiscard]] float epsilon() const { return epsilon_; }
  /// Updates done: every encode adds one, when it is called. Default 0. One optimizer serves one
  /// group of parameters; set the number back between encodes that belong to one step.
  [[nodiscard]] std::size_t timeStep() const { return time_step_; }
  void setTimeStep(std::size_t timeStep) { time_step_ = timeStep; }
  [[nodiscard]] std::string_view class_name() const override { return Adam::name; }

  /// Momentum and velocity are needed: nil or none throws. No maximum velocity: plain Adam.
  void encode(const CommandBuffer& commandBuffer, const Vector& inputGradientVector,
              const Vector& inputValuesVector, const Vector& inputMomentumVector,
              const Vector& inputVelocityVector, const Vector& resultValuesVector);
  void encode(const CommandBuffer& commandBuffer, const Vector& inputGradientVector,
              const Vector& inputValuesVector, const Vector& inputMomentumVector,
              const Vector& inputVelocityVector, const Vector& maximumVelocityVector,
              const Vector& resultValuesVector);
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputGradientMatrix,
              const Matrix& inputValuesMatrix, const Matrix& inputMomentumMatrix,
              const Matrix& inputVelocityMatrix, const Matrix& resultValuesMatrix);
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputGradientMatrix,
              const Matrix& inputValuesMatrix, const Matrix& inputMomentumMatrix,
              const Matrix& inputVelocityMatrix, const Matrix& maximumVelocityMatrix,
              const Matrix& resultValuesMatrix);
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              std::span<const Vector> inputMomentumVectors,
              std::span<const Vector> inputVelocityVectors,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState);
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              std::span<const Vector> inputMomentumVectors,
              std::span<const Vector> inputVelocityVectors,
              std::span<const Vector> maximumVelocityVectors,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& resultState);
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
              std::span<const Vector> inputMomentumVectors,
              std::span<const Vector> inputVelocityVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationState,
              std::span<const Vector> inputMomentumVectors,
              std::span<const Vector> inputVelocityVectors,
              std::span<const Vector> maximumVelocityVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
              std::span<const Vector> inputMomentumVectors,
              std::span<const Vector> inputVelocityVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const CommandBuffer& commandBuffer,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const std::shared_ptr<CNNBatchNormalizationState>& batchNormalizationSourceState,
              std::span<const Vector> inputMomentumVectors,
              std::span<const Vector> inputVelocityVectors,
              std::span<const Vector> maximumVelocityVectors,
              const std::shared_ptr<CNNNormalizationGammaAndBetaState>& resultState);

 private:
  void check_betas() const;
  void code(Coder& coder) override;
  [[nodiscard]] std::span<const Moment> moments() const override;
  void record(detail::ParameterUpdate& update) const override;
  double beta1_ = 0.9, beta2_ = 0.999;
  float epsilon_ = 1e-8F;
  std::size_t time_step_ = 0;
};

using OptimizerKernels =
    TypeList<NNOptimizerStochasticGradientDescent, NNOptimizerRMSProp, NNOptimizerAdam>;

}  // namespace cermet
