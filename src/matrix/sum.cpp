#include "cermet/matrix/sum.h"

#include <algorithm>

#include "matrix/encoding.h"

namespace cermet {

MatrixSum::MatrixSum(const Device& device, std::size_t count, std::size_t rows, std::size_t columns,
                     bool transpose)
    : Concrete(device), count_(count), rows_(rows), columns_(columns), transpose_(transpose) {
  if (count < 2) complain("count", std::to_string(count), "2 or more");
  detail::check_size(*this, "count", count);
  detail::check_size(*this, "rows", rows);
  detail::check_size(*this, "columns", columns);
}

void MatrixSum::code(Coder& coder) {
  MatrixActivatedKernel::code(coder);
  detail::code_size(coder, "count", count_);
  if (count_ < 2) coder.refuse("count", std::to_string(count_), "2 or more");
  detail::code_size(coder, "rows", rows_);
  detail::code_size(coder, "columns", columns_);
  coder("transpose", transpose_);
  detail::code_origin(coder, "resultMatrixOrigin", result_);
}

void MatrixSum::encode(const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
                       const Matrix& resultMatrix, const Vector& scaleVector,
                       const Vector& offsetVector, const Vector& biasVector,
                       std::size_t startIndex) const {
  detail::MatrixEncode call(*this, commandBuffer);
  if (sourceMatrices.size() != count_) {
    complain("sourceMatrices", std::to_string(sourceMatrices.size()) + " matrices",
             std::to_string(count_) + ", the count of the kernel");
  }
  std::vector<detail::MatrixPart> sources;
  for (const Matrix& matrix : sourceMatrices) {
    sources.push_back(call.source("sourceMatrices", matrix));
    if (!offsetVector) call.check_room(sources.back(), rows_, columns_, "rows x columns");
  }
  const std::size_t result_rows = transpose_ ? columns_ : rows_;
  const std::size_t result_columns = transpose_ ? rows_ : columns_;
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  call.check_room(result, result_rows, result_columns,
                  transpose_ ? "columns x rows" : "rows x columns");
  if (!offsetVector) {
    for (const auto& source : sources)
      call.check_apart(result, result_rows, result_columns, source, rows_, columns_);
  }
  const auto entries = detail::plus(startIndex, count_);
  const auto scales = call.optional_source("scaleVector", scaleVector);
  if (scales) {
    if (scaleVector.dataType() != DataType::Float32)
      complain("scaleVector", scaleVector.describe(), "elements of Float32");
    call.check_room(scales, 1, entries, "count scales from startIndex on");
  }
  if (offsetVector) {
    call.check_words("offsetVector", offsetVector, detail::plus(entries, entries),
                     "count pairs from startIndex on");
  }
  const auto bias = call.optional_source("biasVector", biasVector);
  call.check_room(bias, 1, columns_, "the columns of the sources");
  call.batch(0, 1);

  // As many sources at a time as the operator takes; sums so far are Float32.
  constexpr auto most = static_cast<std::size_t>(ScaledSum::most);
  const auto wide = [](std::size_t size) { return static_cast<std::int32_t>(size); };
  std::unique_ptr<detail::ScratchTensor> before;
  for (std::size_t first = 0; first < count_; first += most) {
    const std::size_t now = std::min(most, count_ - first);
    const bool last = first + now == count_;
    ScaledSum op{.count = wide(now)};
    std::array<TensorView, ScaledSum::access.size()> slots{};
    for (std::size_t k = 0; k < now; ++k) {
      const detail::MatrixPart& source = sources[first + k];
      slots[k] = offsetVector ? call.view(source, source.rows, source.columns)
                              : call.view(source, rows_, columns_);
    }
    if (before) slots[ScaledSum::partial] = before->view;
    if (scales) {
      slots[ScaledSum::scales] = detail::feature_channels(
          call.view(scales, entries), static_cast<std::int64_t>(startIndex + first), wide(now));
    }
    if (offsetVector)
      slots[ScaledSum::offsets] = call.words(offsetVector, 2 * (startIndex + first), 2 * now);
    std::unique_ptr<detail::ScratchTensor> next;
    if (last) {
      op.transpose = transpose_ ? 1 : 0;
      op.activation = activation_;
      slots[ScaledSum::bias] = call.view(bias, columns_);
      slots[ScaledSum::destination] = call.view(result, result_rows, result_columns);
    } else {
      next = std::make_unique<detail::ScratchTensor>(call.recording(),
                                                     dense_desc(1, wide(rows_), 1, wide(columns_)));
      slots[ScaledSum::destination] = next->view;
    }
    detail::encode(call.recording(), memo_, view_of(op), slots);
    before = std::move(next);
  }
  call.finish();
}

}  // namespace cermet
