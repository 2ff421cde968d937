#pragma once
// Copies of parts of matrices, transposed and with permuted rows and columns (spec: rnn-matrix
// A10.1).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// Where a copy begins in its source and destination.
struct MatrixCopyOffsets {
  std::uint32_t sourceRowOffset = 0, sourceColumnOffset = 0;
  std::uint32_t destinationRowOffset = 0, destinationColumnOffset = 0;
  bool operator==(const MatrixCopyOffsets&) const = default;
};

/// Element (i, j) of rows x columns goes from (i, j) of the source, or (j, i) where it is
/// transposed, to (r, q) of the destination: (i, j), or (j, i) where that is transposed, r then
/// replaced by rowPermutation[r] and q by columnPermutation[q]. Both places are counted from the
/// offsets on: those of the slot where it is there, else the operator's. Permutations are uint32,
/// all three slots of bytes. What would lie outside a matrix is not copied.
struct PermutedCopy {
  static constexpr std::string_view name = "MatrixCopy";
  enum Slot { source, offsets, rowPermutation, columnPermutation, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::update};
  std::int32_t rows = 1, columns = 1, transposeSource = 0, transposeDestination = 0;
  MatrixCopyOffsets at{};
};

using MatrixCopyOperators = TypeList<PermutedCopy>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// A list of copies, from matrix to matrix with their offsets. A value: what it names is shared.
class MatrixCopyDescriptor {
 public:
  /// One copy.
  [[nodiscard]] static MatrixCopyDescriptor descriptor(const Matrix& sourceMatrix,
                                                       const Matrix& destinationMatrix,
                                                       const MatrixCopyOffsets& offsets);
  /// `count` copies, to be set one by one. Throws InvalidArgument for none.
  MatrixCopyDescriptor(const Device& device, std::size_t count);
  /// As many copies as matrices. `offsets`: UInt32, four for each copy in the order of
  /// MatrixCopyOffsets, from `byteOffset` on, a multiple of 16; they are read when the work runs.
  /// Nil: all 0. Throws InvalidArgument for lists of different lengths, and a vector that is too
  /// short or of another type.
  MatrixCopyDescriptor(std::span<const Matrix> sourceMatrices,
                       std::span<const Matrix> destinationMatrices, const Vector& offsets,
                       std::size_t byteOffset);

  /// Throws InvalidArgument for an index outside, and where the offsets are in a vector.
  void setCopyOperation(std::size_t index, const Matrix& sourceMatrix,
                        const Matrix& destinationMatrix, const MatrixCopyOffsets& offsets);

  // For kernels.
  struct Operation {
    Matrix source, destination;
    MatrixCopyOffsets offsets;
  };
  [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
  [[nodiscard]] const Vector& offset_vector() const { return offsets_; }
  [[nodiscard]] std::size_t byte_offset() const { return byte_offset_; }

 private:
  std::vector<Operation> operations_;
  Vector offsets_;
  std::size_t byte_offset_ = 0;
};

/// Copies copyRows x copyColumns elements from each source of a descriptor to its destination. A
/// transposed source is read as copyColumns x copyRows and a transposed destination is written so.
/// Elements are converted where the types differ. Copies of one encode may run in any order: none
/// may write what another reads or writes. Of matrices with several the first is meant.
class MatrixCopy final : public Concrete<MatrixCopy, Kernel> {
 public:
  /// Throws InvalidArgument without rows or columns.
  MatrixCopy(const Device& device, std::size_t copyRows, std::size_t copyColumns,
             bool sourcesAreTransposed, bool destinationsAreTransposed);
  MatrixCopy(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  [[nodiscard]] std::size_t copyRows() const { return rows_; }
  [[nodiscard]] std::size_t copyColumns() const { return columns_; }
  [[nodiscard]] bool sourcesAreTransposed() const { return transpose_sources_; }
  [[nodiscard]] bool destinationsAreTransposed() const { return transpose_destinations_; }

  /// Throws InvalidArgument for a copy that was not set, and one that reaches outside its matrices;
  /// where the offsets are in a vector, elements outside are left out.
  void encode(const CommandBuffer& commandBuffer, const MatrixCopyDescriptor& copyDescriptor) const;
  /// Row r of the part of a destination that is written, as it is there after a transposition, goes
  /// to row rowPermuteIndices[rowPermuteOffset + r] from the row offset on; columns likewise.
  /// Indices are UInt32; nil: as they are. What an index places outside a destination is left out.
  void encode(const CommandBuffer& commandBuffer, const MatrixCopyDescriptor& copyDescriptor,
              const Vector& rowPermuteIndices, std::size_t rowPermuteOffset,
              const Vector& columnPermuteIndices, std::size_t columnPermuteOffset) const;

 protected:
  void code(Coder& coder) override;

 private:
  std::size_t rows_ = 1, columns_ = 1;
  bool transpose_sources_ = false, transpose_destinations_ = false;
  mutable detail::StepMemo memo_;
};

using MatrixCopyKernels = TypeList<MatrixCopy>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
