#include "cnn/written_region.h"

#include <algorithm>

namespace cermet::detail {

const ForwardRecord* forward_of(const StateBatch* states) {
  const auto* state =
      states != nullptr ? dynamic_cast<const NNGradientState*>((*states)[0].get()) : nullptr;
  return state != nullptr ? &state->forward() : nullptr;
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
  const auto cut = [](std::size_t extent, std::ptrdiff_t left) {
    return static_cast<std::int32_t>(std::min(extent, static_cast<std::size_t>(left)));
  };
  view = window(image, x, y, cut(clip.size.width, w - x), cut(clip.size.height, h - y));
}

}  // namespace cermet::detail
