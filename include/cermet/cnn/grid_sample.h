#pragma once
// Sampling an image at positions that a second image gives (spec: pooling-shape 11).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// Output (y, x) is `image` at (u, v) = grid(y, x), or (x + offsetX, y + offsetY) + grid(y, x)
/// unless `useGridValueAsInputCoordinate`: between the four nearest pixels, of which those outside
/// are 0, or the nearest edge pixel when `clampEdges`. A neighbour of weight 0 is not read; a
/// position that is NaN gives NaN. Grid channel 0 is u, channel 1 is v.
struct GridSample {
  static constexpr std::string_view name = "NNGridSample";
  enum Slot { image, grid, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  std::int32_t useGridValueAsInputCoordinate = 1;
  std::int32_t offsetX = 0, offsetY = 0, clampEdges = 0;
  static void fields(auto& op, auto&& field) {
    field("useGridValueAsInputCoordinate", op.useGridValueAsInputCoordinate, FieldRange{0, 1});
  }
};

using GridSampleOperators = TypeList<GridSample>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel_shapes.h"

namespace cermet {

/// Bilinear samples of the primary image at the positions, in pixels, that the secondary image
/// holds: channel 0 is x, channel 1 is y, and the middle of the first pixel is (0, 0). Destination
/// pixel (i, j), counted from `clipRect.origin`, uses grid pixel secondaryOffset + (i, j), beyond
/// the grid by `secondaryEdgeMode`. Neighbours outside the image read by `primaryEdgeMode`: Zero
/// (PyTorch's "zeros") or Clamp ("border"). A position that is NaN gives NaN. A result that is
/// returned has the size of the grid and the channels of the image. There is no gradient.
class NNGridSample final : public OperatorKernel<NNGridSample, CNNBinaryKernel, GridSample> {
 public:
  using OperatorKernel::OperatorKernel;
  explicit NNGridSample(const Device& device) : OperatorKernel(device, GridSample{}) {}

  /// Whether the grid holds positions, or what is added to primaryOffset + (i, j). Default true.
  [[nodiscard]] bool useGridValueAsInputCoordinate() const {
    return op_.useGridValueAsInputCoordinate != 0;
  }
  void setUseGridValueAsInputCoordinate(bool use) {
    op_.useGridValueAsInputCoordinate = use ? 1 : 0;
  }

 protected:
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t) const override {
    return {primary, 2, primary};
  }
  void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void record(detail::BinaryEncoding& encoding) const override;
};

using GridSampleKernels = TypeList<NNGridSample>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
