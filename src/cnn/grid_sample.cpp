#include "cermet/cnn/grid_sample.h"

#include "cnn/encoding.h"

namespace cermet {

void NNGridSample::plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) {
  descriptor.width = sourceImages[1].width();
  descriptor.height = sourceImages[1].height();
  setPrimaryOffset({});
  setSecondaryOffset({});
}

void NNGridSample::record(detail::BinaryEncoding& e) const {
  const detail::AlignedSource grid(e.recording, e.secondary, secondaryOffset(), e.width, e.height,
                                   secondaryEdgeMode());
  GridSample op = op_;
  op.offsetX = static_cast<std::int32_t>(primaryOffset().x);
  op.offsetY = static_cast<std::int32_t>(primaryOffset().y);
  op.clampEdges = primaryEdgeMode() == ImageEdgeMode::Clamp ? 1 : 0;
  detail::encode(e.recording, memo_, op, {e.primary, grid.view(), e.destination});
}

}  // namespace cermet
