#include "cnn/written_region.h"

#include <algorithm>

namespace cermet::detail {

const ForwardRecord* forward_of(const StateBatch* states) {
  const auto* state =
      states != nullptr ? dynamic_cast<const NNGradientState*>((*states)[0].get()) : nullptr;
  return state != nullptr ? &state->forward() : nullptr;
}

Extent2D written_extent(Extent2D image, const ForwardRecord* forward) {
  if (forward == nullptr || image.width != forward->destinationWidth ||
      image.height != forward->destinationHeight)
    return image;
  const auto& [origin, size] = forward->clipRect;
  return {std::min(size.width, image.width - origin.x),
          std::min(size.height, image.height - origin.y)};
}

WrittenRegion::WrittenRegion(const TensorView& image, Offset at, const ForwardRecord* forward)
    : view(image), offset(at) {
  if (forward == nullptr) return;
  const Region& clip = forward->clipRect;
  const auto x = static_cast<std::ptrdiff_t>(clip.origin.x);
  const auto y = static_cast<std::ptrdiff_t>(clip.origin.y);
  offset = {at.x - x, at.y - y, at.z};
  const auto w = static_cast<std::int32_t>(forward->destinationWidth);
  const auto h = static_cast<std::int32_t>(forward->destinationHeight);
  if (image.desc.w != w || image.desc.h != h) return;  // as large as what was written
  const Extent2D part =
      written_extent({forward->destinationWidth, forward->destinationHeight}, forward);
  view = window(image, x, y, static_cast<std::int32_t>(part.width),
                static_cast<std::int32_t>(part.height));
}

}  // namespace cermet::detail
