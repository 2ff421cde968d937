#pragma once
// Weighted sums of matrices (spec: rnn-matrix A10).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// destination = f(partial + sum over k < count of scales[k] * source k + bias), at (j, i) instead
/// of (i, j) where it is transposed; `bias` has an element for each column of the sources, and
/// `partial` is rows x columns, not transposed. Element (i, j) of source k is taken at (i +
/// offsets[k].row, j + offsets[k].column), offsets being pairs of uint32 in a slot of bytes; what
/// lies outside a source counts as 0. All but source0 and destination may be absent.
struct ScaledSum {
  static constexpr std::string_view name = "MatrixSum";
  static constexpr std::int32_t most = 7;
  enum Slot { sources, partial = most, scales, offsets, bias, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::read, Access::write};
  std::int32_t count = 1, transpose = 0;
  Activation activation{};
};

using MatrixSumOperators = TypeList<ScaledSum>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <span>

#include "cermet/cnn/kernel.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// A = f(sum of alpha_k * B_k + bias), over `count` matrices of which regions of rows x columns
/// take part; with `transpose` A has columns x rows. The bias is one for each column of the
/// sources, also where they are transposed. Sources must be read elsewhere than A is written
/// (checked where they are one Matrix and no offset vector is given).
class MatrixSum final : public Concrete<MatrixSum, MatrixActivatedKernel<Kernel>> {
 public:
  /// Throws InvalidArgument for fewer than 2 matrices, or without rows or columns.
  MatrixSum(const Device& device, std::size_t count, std::size_t rows, std::size_t columns,
            bool transpose);
  MatrixSum(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t columns() const { return columns_; }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] bool transpose() const { return transpose_; }
  /// Where the result begins. Default {0, 0, 0}.
  [[nodiscard]] const Origin& resultMatrixOrigin() const { return result_; }
  void setResultMatrixOrigin(const Origin& origin) { result_ = origin; }

  /// `scaleVector`: the alphas, Float32; nil: 1. `offsetVector`: pairs {row, column} of UInt32,
  /// where the region of each source begins; nil: {0, 0}. Both have `count` entries from
  /// `startIndex` on. The offsets are read when the work runs: elements that they place outside a
  /// source count as 0. `biasVector` nil: 0. Matrices with several use the first. Throws
  /// InvalidArgument for operands that do not fit, and for another number of sources than `count`.
  void encode(const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
              const Matrix& resultMatrix, const Vector& scaleVector, const Vector& offsetVector,
              const Vector& biasVector, std::size_t startIndex) const;

 protected:
  void code(Coder& coder) override;

 private:
  std::size_t count_ = 2, rows_ = 1, columns_ = 1;
  bool transpose_ = false;
  Origin result_;
  mutable detail::StepMemo memo_;
};

using MatrixSumKernels = TypeList<MatrixSum>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
