#pragma once
// What a gradient kernel learns from the state of its forward encode about where that wrote.

#include "cnn/encoding.h"

namespace cermet::detail {

/// The geometry of the forward encode that made these states; null: none is known.
[[nodiscard]] const ForwardRecord* forward_of(const StateBatch* states);

struct Extent2D {
  std::size_t width = 0, height = 0;
};
/// The extents of what the forward encode wrote of an image placed like its destination. Without a
/// record: the whole image.
[[nodiscard]] Extent2D written_extent(Extent2D image, const ForwardRecord* forward);

/// What the forward encode wrote of an image placed like its destination, and where pixel (0, 0) of
/// the result lies in it. Without a record: the whole image, as it is.
struct WrittenRegion {
  TensorView view;
  Offset offset;

  WrittenRegion(const TensorView& image, Offset at, const ForwardRecord* forward);
};

}  // namespace cermet::detail
