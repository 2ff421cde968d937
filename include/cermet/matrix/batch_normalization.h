#pragma once
// Batch normalisation of matrices, over the operators of images (spec: rnn-matrix A9).

#include <limits>

#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/kernel.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// What the normalisation and its gradient share: rows are samples, columns channels. Vectors are
/// Float32 and have an element for each column that takes part.
template <class Base>
class MatrixNormalizationKernel : public MatrixActivatedKernel<MatrixFeatureKernel<Base>> {
  using Activated = MatrixActivatedKernel<MatrixFeatureKernel<Base>>;

 public:
  /// Added to the variance inside the square root. Default 1.17549435e-38.
  [[nodiscard]] float epsilon() const { return epsilon_; }
  void setEpsilon(float epsilon) { epsilon_ = epsilon; }

 protected:
  using Activated::Activated;
  void code(Coder& coder) override {
    Activated::code(coder);
    coder("epsilon", epsilon_);
  }
  [[nodiscard]] BatchNormalization operation() const { return {epsilon_, this->activation_}; }

 private:
  float epsilon_ = std::numeric_limits<float>::min();
};

/// y_ij = f(gamma_j * (x_ij - mean_j) / sqrt(variance_j + epsilon) + beta_j). The result may be
/// where the source is. Each matrix of a batch is normalised by itself.
class MatrixBatchNormalization final
    : public Concrete<MatrixBatchNormalization, MatrixNormalizationKernel<MatrixUnaryKernel>> {
 public:
  explicit MatrixBatchNormalization(const Device& device) : Concrete(device) {}
  MatrixBatchNormalization(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// Whether mean and biased variance of the rows that take part are computed, used and written to
  /// their vectors, or read from them. Default false.
  [[nodiscard]] bool computeStatistics() const { return compute_; }
  void setComputeStatistics(bool compute) { compute_ = compute; }

  /// Nil gamma is 1, nil beta 0. Throws InvalidArgument for operands that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
              const Vector& meanVector, const Vector& varianceVector, const Vector& gammaVector,
              const Vector& betaVector, const Matrix& resultMatrix) const;

 protected:
  void code(Coder& coder) override;

 private:
  bool compute_ = false;
  mutable detail::StepMemo statistics_memo_, memo_;
};

/// With s = sqrt(variance + epsilon), xh = (x - mean)/s, z = gamma*xh + beta, d = g * f'(z) and n
/// rows: the gradient of beta is sum d, that of gamma sum d*xh, and dx = gamma/s * (d - sum d/n -
/// xh * sum d*xh/n). So it is where the forward kernel computed the statistics; where it did not,
/// this is not the gradient of what it did, but the kernel cannot know. Results are overwritten; dx
/// may be where g or x is. Primary source g, secondary x, the INPUT of the forward encode.
class MatrixBatchNormalizationGradient final
    : public Concrete<MatrixBatchNormalizationGradient,
                      MatrixNormalizationKernel<MatrixBinaryKernel>> {
 public:
  explicit MatrixBatchNormalizationGradient(const Device& device) : Concrete(device) {}
  MatrixBatchNormalizationGradient(Coder& coder, const Device& device) : Concrete(device) {
    read(coder);
  }

  /// Gamma, beta and the vectors of their gradients may be nil. Throws InvalidArgument for operands
  /// that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& gradientMatrix,
              const Matrix& inputMatrix, const Vector& meanVector, const Vector& varianceVector,
              const Vector& gammaVector, const Vector& betaVector,
              const Matrix& resultGradientForDataMatrix, const Vector& resultGradientForGammaVector,
              const Vector& resultGradientForBetaVector) const;

 private:
  mutable detail::StepMemo sums_memo_, memo_;
};

using MatrixBatchNormalizationKernels =
    TypeList<MatrixBatchNormalization, MatrixBatchNormalizationGradient>;

}  // namespace cermet
