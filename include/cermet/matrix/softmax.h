#pragma once
// Soft-max and log-soft-max of the rows of matrices, over the operators of images (spec: rnn-matrix
// A11).

#include "cermet/cnn/kernel.h"
#include "cermet/cnn/softmax.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// Extents of kernels on the rows of a matrix.
template <class Base>
class MatrixRowKernel : public Base {
 public:
  /// The most rows that take part. Default: all.
  [[nodiscard]] std::size_t sourceRows() const { return rows_; }
  void setSourceRows(std::size_t count) { rows_ = count; }
  /// The most columns that take part. Default: all.
  [[nodiscard]] std::size_t sourceColumns() const { return columns_; }
  void setSourceColumns(std::size_t count) { columns_ = count; }

 protected:
  using Base::Base;
  void code(Coder& coder) override {
    Base::code(coder);
    coder("sourceRows", rows_);
    coder("sourceColumns", columns_);
  }

 private:
  std::size_t rows_ = all_elements, columns_ = all_elements;
};

/// y_ij = exp(x_ij) / sum over k of exp(x_ik), k over the columns that take part; finite for any
/// finite x. Source and result have the same type; the result may be where the source is.
class MatrixSoftMax : public MatrixRowKernel<MatrixUnaryKernel> {
 public:
  explicit MatrixSoftMax(const Device& device) : MatrixSoftMax(device, false) {}
  MatrixSoftMax(Coder& coder, const Device& device) : MatrixSoftMax(device) { read(coder); }
  [[nodiscard]] MatrixSoftMax copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "MatrixSoftMax"; }

  /// Throws InvalidArgument for matrices that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
              const Matrix& resultMatrix) const;

 protected:
  MatrixSoftMax(const Device& device, bool logarithmic);

 private:
  SoftMax op_;
  mutable detail::StepMemo memo_;
};

/// y_ij = x_ij - ln(sum over k of exp(x_ik)).
class MatrixLogSoftMax final : public MatrixSoftMax {
 public:
  explicit MatrixLogSoftMax(const Device& device) : MatrixSoftMax(device, true) {}
  MatrixLogSoftMax(Coder& coder, const Device& device) : MatrixLogSoftMax(device) { read(coder); }
  [[nodiscard]] MatrixLogSoftMax copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "MatrixLogSoftMax"; }
};

/// dx_ij = y_ij * (g_ij - sum over k of g_ik * y_ik), y the forward RESULT: primary source g,
/// secondary y. All three have the same type; the result may be where a source is.
class MatrixSoftMaxGradient : public MatrixRowKernel<MatrixBinaryKernel> {
 public:
  explicit MatrixSoftMaxGradient(const Device& device) : MatrixSoftMaxGradient(device, false) {}
  MatrixSoftMaxGradient(Coder& coder, const Device& device) : MatrixSoftMaxGradient(device) {
    read(coder);
  }
  [[nodiscard]] MatrixSoftMaxGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "MatrixSoftMaxGradient"; }

  /// Throws InvalidArgument for matrices that do not fit.
  void encode(const CommandBuffer& commandBuffer, const Matrix& gradientMatrix,
              const Matrix& forwardOutputMatrix, const Matrix& resultMatrix) const;

 protected:
  MatrixSoftMaxGradient(const Device& device, bool logarithmic);

 private:
  SoftMaxGradient op_;
  mutable detail::StepMemo memo_;
};

/// dx_ij = g_ij - exp(y_ij) * sum over k of g_ik, y the forward RESULT.
class MatrixLogSoftMaxGradient final : public MatrixSoftMaxGradient {
 public:
  explicit MatrixLogSoftMaxGradient(const Device& device) : MatrixSoftMaxGradient(device, true) {}
  MatrixLogSoftMaxGradient(Coder& coder, const Device& device) : MatrixLogSoftMaxGradient(device) {
    read(coder);
  }
  [[nodiscard]] MatrixLogSoftMaxGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "MatrixLogSoftMaxGradient"; }
};

using MatrixSoftMaxKernels =
    TypeList<MatrixSoftMax, MatrixSoftMaxGradient, MatrixLogSoftMax, MatrixLogSoftMaxGradient>;

}  // namespace cermet
