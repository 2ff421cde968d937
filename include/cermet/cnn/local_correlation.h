#pragma once
// Correlation of each pixel of one image with a neighbourhood in another (spec: pooling-shape 12).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// destination[y][x][n * (2*windowInX + 1) + m] = sum over z of
///   primary[y][x][z] * secondary[y + (n - windowInY)*strideInY][x + (m - windowInX)*strideInX][z];
/// outside `secondary` 0, or the nearest edge pixel when `clampEdges`.
struct LocalCorrelation {
  static constexpr std::string_view name = "NNLocalCorrelation";
  enum Slot { primary, secondary, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  std::int32_t windowInX = 0, windowInY = 0, strideInX = 1, strideInY = 1;
  std::int32_t clampEdges = 0;
  static void fields(auto& op, auto&& field) {
    field("windowInX", op.windowInX, FieldRange{0, 16383});  // so that their number fits an int
    field("windowInY", op.windowInY, FieldRange{0, 16383});
    field("strideInX", op.strideInX, FieldRange{1});
    field("strideInY", op.strideInY, FieldRange{1});
  }
};

using LocalCorrelationOperators = TypeList<LocalCorrelation>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel_shapes.h"
#include "cermet/cnn/reduce.h"

namespace cermet {

/// O[y][x][F] = sum over the channels z of A[y][x][z] * B[y + dy][x + dx][z], with
/// dx = (m - windowInX) * strideInX for m = 0 ... 2*windowInX, dy likewise for n, and
/// F = n * (2*windowInX + 1) + m: x runs fastest. Primary = A, secondary = B; each is the part that
/// its clip rectangle names, and result pixel (x, y) is that of pixel (x, y) of A's part.
/// (2*windowInX + 1) * (2*windowInY + 1) channels are written. Reads outside B's part follow
/// `secondaryEdgeMode`. B has as many channels as A or more, those beyond are not read, and as many
/// images, or one that serves all. Sums in double precision, neither mean nor normalisation. There
/// is no gradient.
class NNLocalCorrelation final
    : public OperatorKernel<NNLocalCorrelation, NNReduceBinary, LocalCorrelation> {
 public:
  using OperatorKernel::OperatorKernel;
  /// Windows 0 and strides 1: the product of A and B, summed over the channels.
  explicit NNLocalCorrelation(const Device& device) : OperatorKernel(device, LocalCorrelation()) {}
  /// Throws InvalidArgument for a stride of 0 and a window of more than 16383.
  NNLocalCorrelation(const Device& device, std::size_t windowInX, std::size_t windowInY,
                     std::size_t strideInX, std::size_t strideInY);

  /// Offsets -windowInX ... windowInX are looked at. Default 0.
  [[nodiscard]] std::size_t windowInX() const { return static_cast<std::size_t>(op_.windowInX); }
  void setWindowInX(std::size_t windowInX) { set(&LocalCorrelation::windowInX, windowInX); }
  [[nodiscard]] std::size_t windowInY() const { return static_cast<std::size_t>(op_.windowInY); }
  void setWindowInY(std::size_t windowInY) { set(&LocalCorrelation::windowInY, windowInY); }
  /// Pixels between two offsets. Default 1.
  [[nodiscard]] std::size_t strideInX() const { return static_cast<std::size_t>(op_.strideInX); }
  void setStrideInX(std::size_t strideInX) { set(&LocalCorrelation::strideInX, strideInX); }
  [[nodiscard]] std::size_t strideInY() const { return static_cast<std::size_t>(op_.strideInY); }
  void setStrideInY(std::size_t strideInY) { set(&LocalCorrelation::strideInY, strideInY); }

 protected:
  void record_results(detail::BinaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t secondary) const override;
  [[nodiscard]] bool pairs_pixels() const override { return false; }

 private:
  void set(std::int32_t LocalCorrelation::*field, std::size_t value);
};

using LocalCorrelationKernels = TypeList<NNLocalCorrelation>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
