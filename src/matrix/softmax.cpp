#include "cermet/matrix/softmax.h"

#include "matrix/encoding.h"

namespace cermet {
namespace {

void check_type(const detail::MatrixEncode& call, const detail::MatrixPart& part,
                const detail::MatrixPart& other) {
  if (part.array->dataType() == other.array->dataType()) return;
  call.complain(part.argument, part.array->describe(),
                "the type of " + std::string(other.argument) + ", " + other.array->describe());
}

}  // namespace

MatrixSoftMax::MatrixSoftMax(const Device& device, bool logarithmic)
    : MatrixRowKernel(device), op_{logarithmic ? 1 : 0} {}

void MatrixSoftMax::encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
                           const Matrix& resultMatrix) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto input =
      call.source("inputMatrix", inputMatrix, "sourceMatrixOrigin", sourceMatrixOrigin());
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  check_type(call, result, input);
  const std::size_t rows = call.extent("sourceRows", sourceRows(), {input.rows});
  const std::size_t columns = call.extent("sourceColumns", sourceColumns(), {input.columns});
  call.check_room(result, rows, columns);
  call.check_apart(result, input, rows, columns, true);
  call.batch(batchStart(), batchSize());
  detail::encode(call.recording(), memo_, op_,
                 {call.view(input, rows, columns), call.view(result, rows, columns)});
  call.finish();
}

MatrixSoftMaxGradient::MatrixSoftMaxGradient(const Device& device, bool logarithmic)
    : MatrixRowKernel(device), op_{{logarithmic ? 1 : 0}} {}

void MatrixSoftMaxGradient::encode(const CommandBuffer& commandBuffer, const Matrix& gradientMatrix,
                                   const Matrix& forwardOutputMatrix,
                                   const Matrix& resultMatrix) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto gradient = call.source("gradientMatrix", gradientMatrix, "primarySourceMatrixOrigin",
                                    primarySourceMatrixOrigin());
  const auto output = call.source("forwardOutputMatrix", forwardOutputMatrix,
                                  "secondarySourceMatrixOrigin", secondarySourceMatrixOrigin());
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  check_type(call, output, gradient);
  check_type(call, result, gradient);
  const std::size_t rows = call.extent("sourceRows", sourceRows(), {gradient.rows, output.rows});
  const std::size_t columns =
      call.extent("sourceColumns", sourceColumns(), {gradient.columns, output.columns});
  call.check_room(result, rows, columns);
  call.check_apart(result, gradient, rows, columns, true);
  call.check_apart(result, output, rows, columns, true);
  call.batch(batchStart(), batchSize());
  detail::encode(call.recording(), memo_, op_,
                 {call.view(gradient, rows, columns), call.view(output, rows, columns),
                  call.view(result, rows, columns)});
  call.finish();
}

}  // namespace cermet
