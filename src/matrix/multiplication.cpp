#include "cermet/matrix/multiplication.h"

#include "matrix/encoding.h"

namespace cermet {
MatrixMultiplication::MatrixMultiplication(const Device& device, bool transposeLeft,
                                           bool transposeRight, std::size_t resultRows,
                                           std::size_t resultColumns, std::size_t interiorColumns,
                                           double alpha, double beta)
    : Concrete(device),
      transpose_left_(transposeLeft),
      transpose_right_(transposeRight),
      rows_(resultRows),
      columns_(resultColumns),
      interior_(interiorColumns),
      alpha_(alpha),
      beta_(beta) {
  detail::check_size(*this, "resultRows", rows_);
  detail::check_size(*this, "resultColumns", columns_);
  detail::check_size(*this, "interiorColumns", interior_);
}

MatrixMultiplication::MatrixMultiplication(const Device& device, std::size_t resultRows,
                                           std::size_t resultColumns, std::size_t interiorColumns)
    : MatrixMultiplication(device, false, false, resultRows, resultColumns, interiorColumns, 1, 0) {
}

void MatrixMultiplication::code(Coder& coder) {
  MatrixKernel::code(coder);
  coder("transposeLeft", transpose_left_);
  coder("transposeRight", transpose_right_);
  detail::code_size(coder, "resultRows", rows_);
  detail::code_size(coder, "resultColumns", columns_);
  detail::code_size(coder, "interiorColumns", interior_);
  coder("alpha", alpha_);
  coder("beta", beta_);
  detail::code_origin(coder, "leftMatrixOrigin", left_);
  detail::code_origin(coder, "rightMatrixOrigin", right_);
}

void MatrixMultiplication::encode(const CommandBuffer& commandBuffer, const Matrix& leftMatrix,
                                  const Matrix& rightMatrix, const Matrix& resultMatrix) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto left = call.source("leftMatrix", leftMatrix, "leftMatrixOrigin", left_);
  const auto right = call.source("rightMatrix", rightMatrix, "rightMatrixOrigin", right_);
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  const std::size_t left_rows = transpose_left_ ? interior_ : rows_;
  const std::size_t left_columns = transpose_left_ ? rows_ : interior_;
  const std::size_t right_rows = transpose_right_ ? columns_ : interior_;
  const std::size_t right_columns = transpose_right_ ? interior_ : columns_;
  call.check_room(
      left, left_rows, left_columns,
      transpose_left_ ? "interiorColumns x resultRows" : "resultRows x interiorColumns");
  call.check_room(
      right, right_rows, right_columns,
      transpose_right_ ? "resultColumns x interiorColumns" : "interiorColumns x resultColumns");
  call.check_room(result, rows_, columns_, "resultRows x resultColumns");
  call.check_apart(result, rows_, columns_, left, left_rows, left_columns);
  call.check_apart(result, rows_, columns_, right, right_rows, right_columns);
  call.batch(batchStart(), batchSize());
  const MatrixMultiply op{.alpha = static_cast<float>(alpha_),
                          .beta = static_cast<float>(beta_),
                          .transposeLeft = transpose_left_ ? 1 : 0,
                          .transposeRight = transpose_right_ ? 1 : 0};
  detail::encode(
      call.recording(), memo_, op,
      {call.view(left, left_rows, left_columns), call.view(right, right_rows, right_columns),
       TensorView{}, call.view(result, rows_, columns_)});
  call.finish();
}

MatrixVectorMultiplication::MatrixVectorMultiplication(const Device& device, bool transpose,
                                                       std::size_t rows, std::size_t columns,
                                                       double alpha, double beta)
    : Concrete(device),
      transpose_(transpose),
      rows_(rows),
      columns_(columns),
      alpha_(alpha),
      beta_(beta) {
  detail::check_size(*this, "rows", rows_);
  detail::check_size(*this, "columns", columns_);
}

MatrixVectorMultiplication::MatrixVectorMultiplication(const Device& device, std::size_t rows,
                                                       std::size_t columns)
    : MatrixVectorMultiplication(device, false, rows, columns, 1, 0) {}

void MatrixVectorMultiplication::code(Coder& coder) {
  MatrixBinaryKernel::code(coder);
  coder("transpose", transpose_);
  detail::code_size(coder, "rows", rows_);
  detail::code_size(coder, "columns", columns_);
  coder("alpha", alpha_);
  coder("beta", beta_);
}

void MatrixVectorMultiplication::encode(const CommandBuffer& commandBuffer,
                                        const Matrix& inputMatrix, const Vector& inputVector,
                                        const Vector& resultVector) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto matrix = call.source("inputMatrix", inputMatrix, "primarySourceMatrixOrigin",
                                  primarySourceMatrixOrigin());
  const auto vector = call.source("inputVector", inputVector, "secondarySourceMatrixOrigin",
                                  secondarySourceMatrixOrigin());
  const auto result =
      call.result("resultVector", resultVector, "resultMatrixOrigin", resultMatrixOrigin());
  const std::size_t matrix_rows = transpose_ ? columns_ : rows_;
  const std::size_t matrix_columns = transpose_ ? rows_ : columns_;
  call.check_room(matrix, matrix_rows, matrix_columns,
                  transpose_ ? "columns x rows" : "rows x columns");
  call.check_room(vector, 1, columns_, "the columns of the kernel");
  call.check_room(result, 1, rows_, "the rows of the kernel");
  call.check_apart(result, 1, rows_, vector, 1, columns_);
  call.batch(batchStart(), batchSize());
  // The transpose of the product, whose rows are adjacent: y^T = x^T * op(A)^T.
  const MatrixMultiply op{.alpha = static_cast<float>(alpha_),
                          .beta = static_cast<float>(beta_),
                          .transposeRight = transpose_ ? 0 : 1};
  detail::encode(call.recording(), memo_, op,
                 {call.view(vector, columns_), call.view(matrix, matrix_rows, matrix_columns),
                  TensorView{}, call.view(result, rows_)});
  call.finish();
}

}  // namespace cermet
