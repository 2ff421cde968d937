#include "cnn/incoming_gradient.h"

#include "cermet/cnn/pooling.h"
#include "cnn/written_region.h"

namespace cermet::detail {

IncomingGradient::IncomingGradient(const CNNGradientKernel& kernel, const BinaryEncoding& e) {
  const ForwardRecord* forward = forward_of(e.states);
  const WrittenRegion written(e.primary, kernel.primaryOffset(), forward);
  const TensorView& region = written.view;
  const Offset offset = written.offset;
  const Offset source = kernel.secondaryOffset();
  const std::ptrdiff_t left = source.x - offset.x,
                       top = source.y - offset.y;  // what region pixel (0, 0) read
  const bool inside = left >= 0 && top >= 0 && left + region.desc.w <= e.secondary.desc.w &&
                      top + region.desc.h <= e.secondary.desc.h;
  if (forward == nullptr || inside || kernel.secondaryEdgeMode() != ImageEdgeMode::Clamp) {
    aligned_ = std::make_unique<AlignedSource>(e.recording, region, offset, e.width, e.height,
                                               ImageEdgeMode::Zero);
    return;
  }
  TensorDesc sums = e.destination.desc;
  sums.type = ElementType::float32;  // rounded once, after the product
  folded_ = std::make_unique<ScratchTensor>(e.recording, sums);
  PoolingMaxGradient fold;  // windows of one pixel: the adjoint of a clamped read
  fold.forward.window.padLeft = static_cast<std::int32_t>(-left);
  fold.forward.window.padTop = static_cast<std::int32_t>(-top);
  fold.forward.window.clampEdges = 1;
  fold.originX = static_cast<std::int32_t>(source.x);
  fold.originY = static_cast<std::int32_t>(source.y);
  StepMemo memo;
  encode(e.recording, memo, fold, {region, e.secondary, folded_->view});
}

}  // namespace cermet::detail
