#pragma once
// Neuron functions of matrices, with a factor and a bias (spec: rnn-matrix A8).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// destination = f(alpha * source + bias): one bias and, for PReLU alone, one slope for each
/// column, the same for all rows; both may be absent. `bias` has a row for each matrix.
struct BiasedNeuron {
  static constexpr std::string_view name = "MatrixNeuron";
  enum Slot { source, bias, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  float alpha = 1;
  Activation activation{};
};

/// With u = alpha * source + bias and d = gradient * f'(u): destination = alpha * d, and
/// biasGradient, which may be absent, = the sums of d over the rows.
struct BiasedNeuronGradient {
  static constexpr std::string_view name = "MatrixNeuronGradient";
  enum Slot { gradient, source, bias, slopes, destination, biasGradient };
  static constexpr std::array access{Access::read, Access::read,  Access::read,
                                     Access::read, Access::write, Access::write};
  BiasedNeuron forward{};
};

using MatrixNeuronOperators = TypeList<BiasedNeuron, BiasedNeuronGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// What a neuron and its gradient share.
template <class Base>
class MatrixNeuronKernel : public MatrixActivatedKernel<MatrixFeatureKernel<Base>> {
  using Activated = MatrixActivatedKernel<MatrixFeatureKernel<Base>>;

 public:
  /// Factor of the source, rounded to float32 in use. Default 1.
  [[nodiscard]] double alpha() const { return alpha_; }
  void setAlpha(double alpha) { alpha_ = alpha; }
  /// Makes the neuron a PReLU with one slope for each column, and its parameters 0. The slopes are
  /// copied; an encode needs as many as it has columns. Throws InvalidArgument for none.
  void setNeuronToPReLUWithParametersA(std::span<const float> a) {
    if (a.empty()) this->complain("a", "empty", "one slope for each column");
    this->activation_ = {CNNNeuronType::PReLU, 0, 0, 0};
    slopes_.assign(a.begin(), a.end());
    move_to(this->device());
  }
  /// Ours: the slopes of a PReLU.
  [[nodiscard]] const std::vector<float>& slopes() const { return slopes_; }

 protected:
  using Activated::Activated;
  void code(Coder& coder) override {
    Activated::code(coder);
    coder("alpha", alpha_);
    coder("slopes", slopes_);
    if (!coder.is_reading()) return;
    const bool has_slopes = this->activation_.type == CNNNeuronType::PReLU;
    if (has_slopes && slopes_.empty()) coder.refuse("slopes", "empty", "the slopes of a PReLU");
    move_to(this->device());
  }
  void move_to(const Device& device) override {
    Activated::move_to(device);
    if (!slopes_.empty())
      buffer_ = device.makeBuffer(slopes_.data(), slopes_.size() * sizeof(float));
  }
  [[nodiscard]] std::string_view neuron_remedy() const override {
    return "Use setNeuronToPReLUWithParametersA.";
  }
  /// Nil unless the neuron is a PReLU; throws InvalidArgument where it has fewer slopes than
  /// columns.
  [[nodiscard]] Buffer slopes_for(std::size_t columns) const {
    if (this->activation_.type != CNNNeuronType::PReLU) return {};
    if (slopes_.size() < columns) {
      this->complain("a", std::to_string(slopes_.size()) + " slopes",
                     std::to_string(columns) + ", one for each column",
                     "Give setNeuronToPReLUWithParametersA more.");
    }
    return buffer_;
  }
  [[nodiscard]] BiasedNeuron operation() const {
    return {static_cast<float>(alpha_), this->activation_};
  }
  mutable detail::StepMemo memo_;

 private:
  double alpha_ = 1;
  std::vector<float> slopes_;
  Buffer buffer_;
};

/// y = f(alpha * x + bias), the bias one for each column. The result may be where the source is.
class MatrixNeuron final : public Concrete<MatrixNeuron, MatrixNeuronKernel<MatrixUnaryKernel>> {
 public:
  explicit MatrixNeuron(const Device& device) : Concrete(device) {}
  MatrixNeuron(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// A nil bias is 0; another needs an element for each column. Throws InvalidArgument for operands
  /// that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
              const Vector& biasVector, const Matrix& resultMatrix) const;
};

/// With u = alpha * x + bias, x the INPUT of the forward encode, and d = g * f'(u): dx = alpha * d,
/// and the gradient of the bias is the sum of d over the rows, without alpha. Results are
/// overwritten; dx may be where g or x is. PReLU's slopes have no gradient. At kinks the slopes of
/// CNNNeuronGradient. The primary source is g, the secondary x.
class MatrixNeuronGradient final
    : public Concrete<MatrixNeuronGradient, MatrixNeuronKernel<MatrixBinaryKernel>> {
 public:
  explicit MatrixNeuronGradient(const Device& device) : Concrete(device) {}
  MatrixNeuronGradient(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// Where `resultGradientForBiasVector` is nil it is not computed. Throws InvalidArgument for
  /// operands that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& gradientMatrix,
              const Matrix& inputMatrix, const Vector& biasVector,
              const Matrix& resultGradientForDataMatrix,
              const Vector& resultGradientForBiasVector) const;
};

using MatrixNeuronKernels = TypeList<MatrixNeuron, MatrixNeuronGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
