#include "cermet/cnn/softmax.h"

#include <algorithm>

#include "cermet/cnn/pooling.h"
#include "cnn/gradient_state.h"
#include "cnn/written_region.h"

namespace cermet::detail {

SoftMaxKernel::SoftMaxKernel(const Device& device, bool logarithmic) : KernelOf(device) {
  op_.logarithmic = logarithmic ? 1 : 0;
}

void SoftMaxKernel::record(UnaryEncoding& e) const {
  const auto source = e.aligned(*this);
  detail::encode(e.recording, memo_, op_, {source.view(), e.destination});
}

StatePtr SoftMaxKernel::make_state(const StateOrigin& origin, const Image&, const Image&) const {
  return std::make_shared<GeometryState>(origin);
}

SoftMaxGradientKernel::SoftMaxGradientKernel(const Device& device, bool logarithmic)
    : KernelOf(device) {
  op_.forward.logarithmic = logarithmic ? 1 : 0;
}

void SoftMaxGradientKernel::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  const std::size_t first = forward.sourceFeatureChannelOffset;
  secondary_.offset = primary_.offset;
  secondary_.featureChannelOffset = forward.destinationFeatureChannelOffset;
  secondary_.featureChannelMaxCount =
      std::min(forward.sourceFeatureChannelMaxCount, forward.sourceFeatureChannels - first);
}

void SoftMaxGradientKernel::check(const Image& gradient, const Image& result, const Image&,
                                  const State* state, std::size_t) const {
  const auto* forward_state = dynamic_cast<const NNGradientState*>(state);
  if (forward_state == nullptr) return;
  const ForwardRecord& forward = forward_state->forward();
  const auto size = [](std::size_t w, std::size_t h) {
    return std::to_string(w) + "x" + std::to_string(h);
  };
  const Region& clip = forward.clipRect;
  const std::size_t w = std::min(clip.size.width, forward.destinationWidth - clip.origin.x);
  const std::size_t h = std::min(clip.size.height, forward.destinationHeight - clip.origin.y);
  const auto fits = [&](const char* argument, const Image& image, const char* remedy) {
    const bool whole =
        image.width() == forward.destinationWidth && image.height() == forward.destinationHeight;
    if (whole || (image.width() == w && image.height() == h)) return;
    complain(argument, size(image.width(), image.height()),
             size(w, h) + ", the size that its gradientState was made for", remedy);
  };
  fits("sourceGradient", gradient,
       "Encode the backward pass with the state returned by the matching forward encode.");
  fits("sourceImage", result, "Pass the result of the forward encode, not its source.");
}

void SoftMaxGradientKernel::record(BinaryEncoding& e) const {
  const ForwardRecord* forward = forward_of(e.states);
  const WrittenRegion g(e.primary, primaryOffset(), forward),
      y(e.secondary, secondaryOffset(), forward);
  const bool inside = g.offset.x <= 0 && g.offset.y <= 0 && g.view.desc.w - g.offset.x <= e.width &&
                      g.view.desc.h - g.offset.y <= e.height;
  const bool same_place =
      g.offset == y.offset && g.view.desc.w == y.view.desc.w && g.view.desc.h == y.view.desc.h;
  if (e.states != nullptr && secondaryEdgeMode() == ImageEdgeMode::Clamp && !inside && same_place) {
    // Edge pixels also collect from the positions outside that read them: windows of one pixel.
    TensorDesc region = g.view.desc;
    region.type = ElementType::float32;  // sums are rounded once
    const ScratchTensor part(e.recording, region), extents(e.recording, e.destination.desc);
    detail::encode(e.recording, memo_, op_, {g.view, y.view, part.view});
    PoolingMaxGradient fold;
    fold.forward.window.padLeft = static_cast<std::int32_t>(g.offset.x);
    fold.forward.window.padTop = static_cast<std::int32_t>(g.offset.y);
    fold.forward.window.clampEdges = 1;
    StepMemo memo;
    detail::encode(e.recording, memo, fold, {part.view, extents.view, e.destination});
    return;
  }
  const AlignedSource gradient(e.recording, g.view, g.offset, e.width, e.height,
                               ImageEdgeMode::Zero);
  const AlignedSource result(e.recording, y.view, y.offset, e.width, e.height, secondaryEdgeMode());
  detail::encode(e.recording, memo_, op_, {gradient.view(), result.view(), e.destination});
}

}  // namespace cermet::detail
