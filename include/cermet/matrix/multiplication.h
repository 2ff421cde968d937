#pragma once
// Products of matrices, and of matrices with vectors (spec: rnn-matrix A6).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// result = f(alpha * op(left) * op(right) + beta * result + bias), op(x) being x or its transpose.
/// Matrices are tensors of h rows of one pixel of c channels, and one for each image; `bias`, which
/// may be absent, has one row, which is added to all. The result is not read where beta is 0. f has
/// no slopes.
struct MatrixMultiply {
  static constexpr std::string_view name = "MatrixMultiplication";
  enum Slot { left, right, bias, result };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::update};
  float alpha = 1, beta = 0;
  std::int32_t transposeLeft = 0, transposeRight = 0;
  Activation activation{};
};

using MatrixMultiplicationOperators = TypeList<MatrixMultiply>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// C = alpha * op(A) * op(B) + beta * C, op(X) being X or its transpose: op(A) has resultRows x
/// interiorColumns elements, op(B) interiorColumns x resultColumns. Origins are places in the
/// matrices as they are stored, before they are transposed. C is not read where beta is 0; where it
/// is not, that takes no read from a temporary C. C must not lie where A or B is read (checked
/// where they are one Matrix).
class MatrixMultiplication final : public Concrete<MatrixMultiplication, MatrixKernel> {
 public:
  /// alpha and beta are rounded to float32 in use.
  MatrixMultiplication(const Device& device, bool transposeLeft, bool transposeRight,
                       std::size_t resultRows, std::size_t resultColumns,
                       std::size_t interiorColumns, double alpha, double beta);
  /// C = A * B.
  MatrixMultiplication(const Device& device, std::size_t resultRows, std::size_t resultColumns,
                       std::size_t interiorColumns);
  MatrixMultiplication(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// Where A and B begin. Default {0, 0, 0}.
  [[nodiscard]] const Origin& leftMatrixOrigin() const { return left_; }
  void setLeftMatrixOrigin(const Origin& origin) { left_ = origin; }
  [[nodiscard]] const Origin& rightMatrixOrigin() const { return right_; }
  void setRightMatrixOrigin(const Origin& origin) { right_ = origin; }

  // Ours: what it was made with.
  [[nodiscard]] bool transpose_left() const { return transpose_left_; }
  [[nodiscard]] bool transpose_right() const { return transpose_right_; }
  [[nodiscard]] std::size_t result_rows() const { return rows_; }
  [[nodiscard]] std::size_t result_columns() const { return columns_; }
  [[nodiscard]] std::size_t interior_columns() const { return interior_; }
  [[nodiscard]] double alpha() const { return alpha_; }
  [[nodiscard]] double beta() const { return beta_; }

  /// Matrices k of all three go together. Throws InvalidArgument for one that is too small.
  void encode(const CommandBuffer& commandBuffer, const Matrix& leftMatrix,
              const Matrix& rightMatrix, const Matrix& resultMatrix) const;

 protected:
  void code(Coder& coder) override;

 private:
  bool transpose_left_ = false, transpose_right_ = false;
  std::size_t rows_ = 1, columns_ = 1, interior_ = 1;
  double alpha_ = 1, beta_ = 0;
  Origin left_, right_;
  mutable detail::StepMemo memo_;
};

/// y = alpha * op(A) * x + beta * y, op(A) being A or its transpose, of `rows` x `columns`
/// elements: y has `rows`, x `columns`. primarySourceMatrixOrigin is of A,
/// secondarySourceMatrixOrigin of x and resultMatrixOrigin of y; in a vector x counts elements, y
/// and z must be 0. y is not read where beta is 0, and must not lie where x is read.
class MatrixVectorMultiplication final
    : public Concrete<MatrixVectorMultiplication, MatrixBinaryKernel> {
 public:
  /// alpha and beta are rounded to float32 in use.
  MatrixVectorMultiplication(const Device& device, bool transpose, std::size_t rows,
                             std::size_t columns, double alpha, double beta);
  /// y = A * x.
  MatrixVectorMultiplication(const Device& device, std::size_t rows, std::size_t columns);
  MatrixVectorMultiplication(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  // Ours: what it was made with.
  [[nodiscard]] bool transpose() const { return transpose_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t columns() const { return columns_; }
  [[nodiscard]] double alpha() const { return alpha_; }
  [[nodiscard]] double beta() const { return beta_; }

  /// Matrix and vectors k go together. Throws InvalidArgument for one that is too small.
  void encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
              const Vector& inputVector, const Vector& resultVector) const;

 protected:
  void code(Coder& coder) override;

 private:
  bool transpose_ = false;
  std::size_t rows_ = 1, columns_ = 1;
  double alpha_ = 1, beta_ = 0;
  mutable detail::StepMemo memo_;
};

using MatrixMultiplicationKernels = TypeList<MatrixMultiplication, MatrixVectorMultiplication>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
