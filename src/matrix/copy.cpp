#include "cermet/matrix/copy.h"

#include "cermet/core/error.h"
#include "matrix/encoding.h"

namespace cermet {
namespace {

constexpr const char* descriptor_class = "MatrixCopyDescriptor";
constexpr std::size_t words_of_offsets = sizeof(MatrixCopyOffsets) / sizeof(std::uint32_t);

}  // namespace

MatrixCopyDescriptor MatrixCopyDescriptor::descriptor(const Matrix& sourceMatrix,
                                                      const Matrix& destinationMatrix,
                                                      const MatrixCopyOffsets& offsets) {
  MatrixCopyDescriptor made({&sourceMatrix, 1}, {&destinationMatrix, 1}, {}, 0);
  made.operations_.front().offsets = offsets;
  return made;
}

MatrixCopyDescriptor::MatrixCopyDescriptor(const Device& /*device*/, std::size_t count)
    : operations_(count) {
  if (count == 0) fail({descriptor_class, "", "count", "0", "1 or more", ""});
}

MatrixCopyDescriptor::MatrixCopyDescriptor(std::span<const Matrix> sourceMatrices,
                                           std::span<const Matrix> destinationMatrices,
                                           const Vector& offsets, std::size_t byteOffset)
    : offsets_(offsets), byte_offset_(byteOffset) {
  const std::size_t count = sourceMatrices.size();
  if (count == 0) fail({descriptor_class, "", "sourceMatrices", "empty", "1 or more", ""});
  if (destinationMatrices.size() != count) {
    fail({descriptor_class, "", "destinationMatrices",
          std::to_string(destinationMatrices.size()) + " matrices",
          std::to_string(count) + ", as many as sources", ""});
  }
  if (offsets) {
    if (byteOffset % sizeof(MatrixCopyOffsets) != 0) {
      fail(
          {descriptor_class, "", "byteOffset", std::to_string(byteOffset), "a multiple of 16", ""});
    }
    const std::size_t first = byteOffset / sizeof(std::uint32_t);
    if (offsets.dataType() != DataType::UInt32 ||
        offsets.length() < detail::plus(first, words_of_offsets * count)) {
      fail({descriptor_class, "", "offsets", offsets.describe(),
            std::to_string(words_of_offsets * count) + " elements of UInt32 from element " +
                std::to_string(first) + ", 4 for each copy",
            ""});
    }
  }
  for (std::size_t i = 0; i < count; ++i)
    operations_.push_back({sourceMatrices[i], destinationMatrices[i], {}});
}

void MatrixCopyDescriptor::setCopyOperation(std::size_t index, const Matrix& sourceMatrix,
                                            const Matrix& destinationMatrix,
                                            const MatrixCopyOffsets& offsets) {
  if (offsets_) {
    fail({descriptor_class, "", "offsets", "those of a copy",
          "none: those of this descriptor are in a vector",
          "Write them into the vector, or make the descriptor from a device and a count."});
  }
  if (index >= operations_.size()) {
    fail({descriptor_class, "", "index", std::to_string(index),
          "less than " + std::to_string(operations_.size()), ""});
  }
  operations_[index] = {sourceMatrix, destinationMatrix, offsets};
}

MatrixCopy::MatrixCopy(const Device& device, std::size_t copyRows, std::size_t copyColumns,
                       bool sourcesAreTransposed, bool destinationsAreTransposed)
    : Concrete(device),
      rows_(copyRows),
      columns_(copyColumns),
      transpose_sources_(sourcesAreTransposed),
      transpose_destinations_(destinationsAreTransposed) {
  detail::check_size(*this, "copyRows", copyRows);
  detail::check_size(*this, "copyColumns", copyColumns);
}

void MatrixCopy::code(Coder& coder) {
  Kernel::code(coder);
  detail::code_size(coder, "copyRows", rows_);
  detail::code_size(coder, "copyColumns", columns_);
  coder("sourcesAreTransposed", transpose_sources_);
  coder("destinationsAreTransposed", transpose_destinations_);
}

void MatrixCopy::encode(const CommandBuffer& commandBuffer,
                        const MatrixCopyDescriptor& copyDescriptor) const {
  encode(commandBuffer, copyDescriptor, {}, 0, {}, 0);
}

void MatrixCopy::encode(const CommandBuffer& commandBuffer,
                        const MatrixCopyDescriptor& copyDescriptor, const Vector& rowPermuteIndices,
                        std::size_t rowPermuteOffset, const Vector& columnPermuteIndices,
                        std::size_t columnPermuteOffset) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const Vector& offsets = copyDescriptor.offset_vector();
  const auto& operations = copyDescriptor.operations();
  const std::size_t first = copyDescriptor.byte_offset() / sizeof(std::uint32_t);
  const std::size_t written_rows = transpose_destinations_ ? columns_ : rows_;
  const std::size_t written_columns = transpose_destinations_ ? rows_ : columns_;
  if (offsets) {
    call.check_words("copyDescriptor", offsets, first + words_of_offsets * operations.size(),
                     "the offsets");
  }
  if (rowPermuteIndices) {
    call.check_words("rowPermuteIndices", rowPermuteIndices,
                     detail::plus(rowPermuteOffset, written_rows),
                     "the rows that are written, from rowPermuteOffset on");
  }
  if (columnPermuteIndices) {
    call.check_words("columnPermuteIndices", columnPermuteIndices,
                     detail::plus(columnPermuteOffset, written_columns),
                     "the columns that are written, from columnPermuteOffset on");
  }
  struct Parts {
    detail::MatrixPart source, destination;
  };
  std::vector<Parts> parts;
  for (const auto& [source, destination, at] : operations) {
    parts.push_back(
        {call.source("sourceMatrix", source), call.result("destinationMatrix", destination)});
    if (offsets) continue;
    const auto check = [&](const detail::MatrixPart& whole, std::size_t row, std::size_t column,
                           std::size_t rows, std::size_t columns) {
      call.check_room(whole, detail::plus(row, rows), detail::plus(column, columns),
                      "the offsets and what is copied");
    };
    check(parts.back().source, at.sourceRowOffset, at.sourceColumnOffset,
          transpose_sources_ ? columns_ : rows_, transpose_sources_ ? rows_ : columns_);
    check(parts.back().destination, at.destinationRowOffset, at.destinationColumnOffset,
          rowPermuteIndices ? 1 : written_rows, columnPermuteIndices ? 1 : written_columns);
  }
  call.batch(0, 1);
  PermutedCopy op{.rows = static_cast<std::int32_t>(rows_),
                  .columns = static_cast<std::int32_t>(columns_),
                  .transposeSource = transpose_sources_ ? 1 : 0,
                  .transposeDestination = transpose_destinations_ ? 1 : 0};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& [source, destination] = parts[i];
    op.at = operations[i].offsets;
    const auto whole = [&](const detail::MatrixPart& part) {
      return call.view(part, part.rows, part.columns);
    };
    detail::encode(
        call.recording(), memo_, op,
        {whole(source), call.words(offsets, first + words_of_offsets * i, words_of_offsets),
         call.words(rowPermuteIndices, rowPermuteOffset, written_rows),
         call.words(columnPermuteIndices, columnPermuteOffset, written_columns),
         whole(destination)});
  }
  call.finish();
}

}  // namespace cermet
