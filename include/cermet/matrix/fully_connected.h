#pragma once
// Fully connected layers on matrices, over MatrixMultiply and Reduce (spec: rnn-matrix A7).

#include "cermet/cnn/kernel.h"
#include "cermet/cnn/reduce.h"
#include "cermet/matrix/kernel.h"
#include "cermet/matrix/multiplication.h"

namespace cermet {

/// What the layer and its gradient share.
class MatrixConnectedKernel : public MatrixFeatureKernel<MatrixBinaryKernel> {
 public:
  /// The most columns of the weights that take part. Default: all.
  [[nodiscard]] std::size_t sourceOutputFeatureChannels() const { return outputs_; }
  void setSourceOutputFeatureChannels(std::size_t count) { outputs_ = count; }
  /// Factor of the product, rounded to float32 in use. Default 1.
  [[nodiscard]] double alpha() const { return alpha_; }
  void setAlpha(double alpha) { alpha_ = alpha; }

 protected:
  using MatrixFeatureKernel::MatrixFeatureKernel;
  void code(Coder& coder) override;

 private:
  std::size_t outputs_ = all_elements;
  double alpha_ = 1;
};

/// Y = f(alpha * X * W + bias): a row of X for each sample, W with a row for each input channel and
/// a column for each output channel (not transposed, unlike those of convolutions), the bias one
/// for each output channel. primarySourceMatrixOrigin is of X, secondarySourceMatrixOrigin of W.
class MatrixFullyConnected final
    : public Concrete<MatrixFullyConnected, MatrixActivatedKernel<MatrixConnectedKernel>> {
 public:
  explicit MatrixFullyConnected(const Device& device) : Concrete(device) {}
  MatrixFullyConnected(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// A nil bias is 0; another needs an element for each output channel. The result must not lie
  /// where X or W is read. Throws InvalidArgument for operands that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
              const Matrix& weightMatrix, const Vector& biasVector,
              const Matrix& resultMatrix) const;

 private:
  mutable detail::StepMemo memo_;
};

/// Of a layer without its neuron, whose gradient comes first (MatrixNeuronGradient):
/// dX = alpha * dY * W^T, dW = alpha * X^T * dY, and the gradient of the bias is the sum of dY over
/// the rows, without alpha. Results are overwritten. primarySourceMatrixOrigin is of dY,
/// secondarySourceMatrixOrigin of W or X.
class MatrixFullyConnectedGradient final
    : public Concrete<MatrixFullyConnectedGradient, MatrixConnectedKernel> {
 public:
  explicit MatrixFullyConnectedGradient(const Device& device) : Concrete(device) {}
  MatrixFullyConnectedGradient(Coder& coder, const Device& device) : Concrete(device) {
    read(coder);
  }

  /// dX, rows x input channels. It must not lie where dY or W is read. Throws InvalidArgument for
  /// operands that do not fit.
  void encodeGradientForData(const CommandBuffer& commandBuffer, const Matrix& gradientMatrix,
                             const Matrix& weightMatrix,
                             const Matrix& resultGradientForDataMatrix) const;
  /// dW, input channels x output channels, and the gradient of the bias, which is not computed
  /// where its vector is nil. dW must not lie where dY or X is read. Throws InvalidArgument for
  /// operands that do not fit.
  void encodeGradientForWeightsAndBias(const CommandBuffer& commandBuffer,
                                       const Matrix& gradientMatrix, const Matrix& inputMatrix,
                                       const Matrix& resultGradientForWeightMatrix,
                                       const Vector& resultGradientForBiasVector) const;

 private:
  mutable detail::StepMemo data_memo_, weight_memo_, bias_memo_;
};

using MatrixFullyConnectedKernels = TypeList<MatrixFullyConnected, MatrixFullyConnectedGradient>;

}  // namespace cermet
