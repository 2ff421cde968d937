#include "cermet/cnn/gram_matrix.h"

#include "cnn/planning.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

/// Carries alpha from a forward encode to its gradient.
class GramState final : public NNGradientState {
 public:
  GramState(const detail::StateOrigin& origin, float alpha)
      : NNGradientState(origin), alpha_(alpha) {}
  [[nodiscard]] float alpha() const { return alpha_; }
  void set_alpha(float alpha) { alpha_ = alpha; }

 private:
  float alpha_;
};

std::string text_of(std::size_t width, std::size_t height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

}  // namespace

void NNGramMatrixCalculation::adjust(ImageDescriptor& descriptor,
                                     std::span<const Image> sourceImages) {
  descriptor.width = detail::available_channels(sourceImages[0], sourceFeatureChannelOffset(),
                                                sourceFeatureChannelMaxCount());
  descriptor.height = 1;
}

void NNGramMatrixCalculation::check(const Image& source, const Image& destination,
                                    std::size_t) const {
  const std::size_t channels = detail::available_channels(source, sourceFeatureChannelOffset(),
                                                          sourceFeatureChannelMaxCount());
  const detail::ClipWindow clip = detail::clip_window(clipRect(), destination);
  const auto width = static_cast<std::size_t>(clip.width),
             height = static_cast<std::size_t>(clip.height);
  if (width == channels && height == 1) return;
  complain("the part of destinationImage that is written", text_of(width, height),
           text_of(channels, 1) + " pixels, one for each channel that is read");
}

void NNGramMatrixCalculation::record(detail::UnaryEncoding& e) const {
  for (std::size_t i = 0; e.states != nullptr && i < e.states->size(); ++i) {
    if (auto* state = dynamic_cast<GramState*>((*e.states)[i].get())) state->set_alpha(alpha());
  }
  detail::encode(e.recording, memo_, op_, {e.source, e.destination});
}

StatePtr NNGramMatrixCalculation::make_state(const detail::StateOrigin& origin, const Image&,
                                             const Image&) const {
  return std::make_shared<GramState>(origin, alpha());
}

void NNGramMatrixCalculationGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  setPrimaryOffset({static_cast<std::ptrdiff_t>(forward.clipRect.origin.x),
                    static_cast<std::ptrdiff_t>(forward.clipRect.origin.y), 0});
}

void NNGramMatrixCalculationGradient::check(const Image& gradient, const Image& source,
                                            const Image& destination, const State* state,
                                            std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const std::size_t channels = detail::available_channels(
      source, secondarySourceFeatureChannelOffset(), secondarySourceFeatureChannelMaxCount());
  const auto* forward_state = dynamic_cast<const NNGradientState*>(state);
  const ForwardRecord* forward = forward_state != nullptr ? &forward_state->forward() : nullptr;
  const detail::Extent2D part =
      detail::written_extent({gradient.width(), gradient.height()}, forward);
  Offset at = primaryOffset();
  if (forward != nullptr) {
    at.x -= static_cast<std::ptrdiff_t>(forward->clipRect.origin.x);
    at.y -= static_cast<std::ptrdiff_t>(forward->clipRect.origin.y);
  }
  const auto end = static_cast<std::ptrdiff_t>(channels) + at.x;
  if (at.x >= 0 && at.y >= 0 && end <= static_cast<std::ptrdiff_t>(part.width) &&
      at.y < static_cast<std::ptrdiff_t>(part.height))
    return;
  complain("sourceGradient", text_of(gradient.width(), gradient.height()),
           text_of(channels, 1) + " pixels from primaryOffset " +
               std::to_string(primaryOffset().x) + ", " + std::to_string(primaryOffset().y) +
               ", one for each channel of the source");
}

void NNGramMatrixCalculationGradient::record(detail::BinaryEncoding& e) const {
  const detail::WrittenRegion written(e.primary, primaryOffset(), detail::forward_of(e.states));
  const TensorView gradient =
      detail::window(written.view, written.offset.x, written.offset.y, e.secondary.desc.c, 1);
  const detail::AlignedSource source(e.recording, e.secondary, secondaryOffset(), e.width, e.height,
                                     ImageEdgeMode::Zero);
  GramMatrixGradient op = op_;
  if (e.states != nullptr) {
    const auto* state = dynamic_cast<const GramState*>((*e.states)[0].get());
    if (state != nullptr) op.forward.alpha = state->alpha();
  }
  detail::encode(e.recording, memo_, op, {gradient, source.view(), e.destination});
}

}  // namespace cermet
