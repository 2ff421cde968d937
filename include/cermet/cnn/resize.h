#pragma once
// Bilinear resizing, of an image and of boxes in it (spec: pooling-shape 4).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// Output d of M = resizeWidth stands between the source positions fl(u) and fl(u) + 1,
///   u = offset + d*L/M,  with alignCorners  offset + d*(L-1)/(M-1)  (M = 1: offset),
/// of L source pixels; rows alike. Positions outside are those of the nearest edge pixel. A
/// neighbour of weight 0 is not read.
struct ResizeBilinear {
  static constexpr std::string_view name = "NNResizeBilinear";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t resizeWidth = 1, resizeHeight = 1, alignCorners = 0;
  std::int32_t offsetX = 0, offsetY = 0;
  static void fields(auto& op, auto&& field) {
    field("resizeWidth", op.resizeWidth, size_range);
    field("resizeHeight", op.resizeHeight, size_range);
    field("alignCorners", op.alignCorners, FieldRange{0, 1});
  }
};

/// Image r of the destination shows box r, four doubles x1, y1, x2, y2 in the memory of `boxes`
/// (eight float32 each), of source image r, or of the only one. Output d of M = resizeWidth stands
/// at
///   u = (x1*(M-1-d) + x2*d) * (L-1)/(M-1)  (M = 1: (x1 + x2)/2 * (L-1))
/// of L source pixels; rows alike. It is 0 unless 0 <= u <= L-1. A neighbour of weight 0 is not
/// read.
struct CropAndResizeBilinear {
  static constexpr std::string_view name = "NNCropAndResizeBilinear";
  enum Slot { source, boxes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  std::int32_t resizeWidth = 1, resizeHeight = 1;
};

using ResizeOperators = TypeList<ResizeBilinear, CropAndResizeBilinear>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <vector>

#include "cermet/cnn/kernel_shapes.h"

namespace cermet {

/// Bilinear interpolation of the four nearest pixels, without a low-pass filter. Output (i, j),
/// counted from `clipRect.origin`, is at source position offset + (i*W/resizeWidth,
/// j*H/resizeHeight) of W x H pixels, or with `alignCorners` at offset + (i*(W-1)/(resizeWidth-1),
/// j*(H-1)/(resizeHeight-1)), where the corner pixels keep their values; an extent of 1 is at
/// `offset`. Positions outside take the nearest edge pixel, whatever `edgeMode` says. A result that
/// is returned has resizeWidth x resizeHeight pixels. There is no gradient.
class NNResizeBilinear final : public OperatorKernel<NNResizeBilinear, CNNKernel, ResizeBilinear> {
 public:
  using OperatorKernel::OperatorKernel;
  /// Throws InvalidArgument for a size of 0.
  NNResizeBilinear(const Device& device, std::size_t resizeWidth, std::size_t resizeHeight,
                   bool alignCorners)
      : OperatorKernel(device, {.resizeWidth = detail::field_of(resizeWidth),
                                .resizeHeight = detail::field_of(resizeHeight),
                                .alignCorners = alignCorners ? 1 : 0}) {}

  [[nodiscard]] std::size_t resizeWidth() const {
    return static_cast<std::size_t>(op_.resizeWidth);
  }
  [[nodiscard]] std::size_t resizeHeight() const {
    return static_cast<std::size_t>(op_.resizeHeight);
  }
  [[nodiscard]] bool alignCorners() const { return op_.alignCorners != 0; }

 protected:
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void record(detail::UnaryEncoding& encoding) const override;
};

/// Boxes of one image, each resized to resizeWidth x resizeHeight. A box is given in fractions of
/// the image, 0 and 1 being the middles of the first and last pixel; `size` is its extent and may
/// be negative, which mirrors, and z and depth play no role. Output i of M = resizeWidth, counted
/// from `clipRect.origin`, is at x = (x1 + i*(x2-x1)/(M-1)) * (W-1), for M = 1 in the middle of the
/// box; rows alike. It is interpolated between the four nearest pixels, and 0 where its position
/// lies outside the image.
///
/// Box r goes to image clipRect.origin.z + r of the destination, which must have that many; all are
/// read from source image offset.z. An image that is returned holds all boxes. In encodes of
/// batches the destinations are one for each box, and the sources are one, or one for each box.
/// `offset.x`, `offset.y` and `edgeMode` play no role. There is no gradient.
class NNCropAndResizeBilinear final : public Concrete<NNCropAndResizeBilinear, CNNKernel> {
 public:
  /// Copies the regions. Throws InvalidArgument for a size of 0, no region or one that is not
  /// finite.
  NNCropAndResizeBilinear(const Device& device, std::size_t resizeWidth, std::size_t resizeHeight,
                          std::size_t numberOfRegions, const RegionD* regions);
  NNCropAndResizeBilinear(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  [[nodiscard]] std::size_t resizeWidth() const {
    return static_cast<std::size_t>(op_.resizeWidth);
  }
  [[nodiscard]] std::size_t resizeHeight() const {
    return static_cast<std::size_t>(op_.resizeHeight);
  }
  [[nodiscard]] std::size_t numberOfRegions() const { return regions_.size(); }
  /// `numberOfRegions` of them.
  [[nodiscard]] const RegionD* regions() const { return regions_.data(); }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  [[nodiscard]] std::size_t fixed_results() const override { return regions_.size(); }
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void record(detail::UnaryEncoding& encoding) const override;

 private:
  /// Empty, or what is wrong with a region.
  [[nodiscard]] static std::string problem(const RegionD& region);

  CropAndResizeBilinear op_;
  std::vector<RegionD> regions_;
  Buffer boxes_;
  mutable detail::StepMemo memo_;
};

using ResizeKernels = TypeList<NNResizeBilinear, NNCropAndResizeBilinear>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
