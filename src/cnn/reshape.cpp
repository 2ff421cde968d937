#include "cermet/cnn/reshape.h"

#include <algorithm>

#include "cermet/ops/copy.h"
#include "cnn/gradient_state.h"
#include "cnn/planning.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

[[nodiscard]] bool images_are_dense(const TensorDesc& desc) {
  return desc.stride_w == desc.c && desc.stride_h == desc.stride_w * desc.w;
}
/// The same memory in the shape of `like`; `view` holds dense images.
[[nodiscard]] TensorView reshaped(TensorView view, const TensorDesc& like) {
  TensorDesc desc = dense_desc(like.n, like.h, like.w, like.c, view.desc.type);
  desc.stride_n = view.desc.stride_n;
  return {desc, view.data};
}

void copy_elements(detail::Recording& recording, detail::StepMemo& memo, const TensorView& from,
                   const TensorView& to) {
  if (images_are_dense(from.desc)) {
    detail::encode(recording, memo, Copy{}, {reshaped(from, to.desc), to});
  } else if (images_are_dense(to.desc)) {
    detail::encode(recording, memo, Copy{}, {from, reshaped(to, from.desc)});
  } else {
    const detail::ScratchTensor dense(recording, from.desc);
    detail::StepMemo first;
    detail::encode(recording, first, Copy{}, {from, dense.view});
    detail::encode(recording, memo, Copy{}, {reshaped(dense.view, to.desc), to});
  }
}

[[nodiscard]] std::string text_of(std::size_t width, std::size_t height, std::size_t channels) {
  return std::to_string(width) + "x" + std::to_string(height) + "x" + std::to_string(channels);
}

}  // namespace

NNReshape::Asked::Asked(NNReshape& kernel, std::size_t width, std::size_t height,
                        std::size_t featureChannels)
    : kernel_(kernel) {
  kernel.asked_ = Shape{width, height, featureChannels};
}

void NNReshape::adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) {
  if (!asked_) return;
  const Image& source = sourceImages[0];
  const std::size_t channels = detail::available_channels(source, sourceFeatureChannelOffset(),
                                                          sourceFeatureChannelMaxCount());
  const std::size_t count = source.width() * source.height() * channels;
  const auto [width, height, featureChannels] = *asked_;
  // Factor by factor: products of what a caller says may wrap round.
  const bool fits = width != 0 && height != 0 && featureChannels != 0 && count % width == 0 &&
                    count / width % height == 0 && count / width / height == featureChannels;
  if (!fits) {
    complain("the new shape", text_of(width, height, featureChannels),
             std::to_string(count) + " elements, as many as " +
                 text_of(source.width(), source.height(), channels) + " of the source");
  }
  descriptor.width = width;
  descriptor.height = height;
  descriptor.featureChannels = destinationFeatureChannelOffset() + featureChannels;
}

CNNKernel::Channels NNReshape::channels_into(std::size_t available,
                                             const Image& destination) const {
  const std::size_t rest =
      detail::available_channels(destination, destinationFeatureChannelOffset(), all_channels);
  return {available, std::max<std::size_t>(rest, 1)};
}

void NNReshape::check(const Image& source, const Image& destination, std::size_t) const {
  const std::size_t channels = detail::available_channels(source, sourceFeatureChannelOffset(),
                                                          sourceFeatureChannelMaxCount());
  const detail::ClipWindow clip = detail::clip_window(clipRect(), destination);
  const auto width = static_cast<std::size_t>(clip.width),
             height = static_cast<std::size_t>(clip.height);
  const std::size_t written =
      detail::available_channels(destination, destinationFeatureChannelOffset(), all_channels);
  const std::size_t count = source.width() * source.height() * channels;
  if (width * height * written == count) return;
  complain("the part of destinationImage that is written", text_of(width, height, written),
           std::to_string(count) + " elements, as many as " +
               text_of(source.width(), source.height(), channels) + " of the source");
}

void NNReshape::record(detail::UnaryEncoding& e) const {
  copy_elements(e.recording, memo_, e.source, e.destination);
}

StatePtr NNReshape::make_state(const detail::StateOrigin& origin, const Image&,
                               const Image&) const {
  return std::make_shared<detail::GeometryState>(origin);
}

void NNReshapeGradient::check(const Image& gradient, const Image& source, const Image& destination,
                              const State* state, std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const auto* forward_state = dynamic_cast<const NNGradientState*>(state);
  const detail::Extent2D region =
      detail::written_extent({gradient.width(), gradient.height()},
                             forward_state != nullptr ? &forward_state->forward() : nullptr);
  const std::size_t arriving = detail::available_channels(
      gradient, primarySourceFeatureChannelOffset(), primarySourceFeatureChannelMaxCount());
  const detail::ClipWindow clip = detail::clip_window(clipRect(), destination);
  const auto width = static_cast<std::size_t>(clip.width),
             height = static_cast<std::size_t>(clip.height);
  const std::size_t channels = detail::available_channels(
      source, secondarySourceFeatureChannelOffset(), secondarySourceFeatureChannelMaxCount());
  const std::size_t wanted = width * height * channels;
  if (region.width * region.height * arriving == wanted) return;
  complain("sourceGradient", text_of(region.width, region.height, arriving),
           std::to_string(wanted) + " elements, as many as " + text_of(width, height, channels) +
               " of the result");
}

void NNReshapeGradient::record(detail::BinaryEncoding& e) const {
  const detail::WrittenRegion gradient(e.primary, {}, detail::forward_of(e.states));
  copy_elements(e.recording, memo_, gradient.view, e.destination);
}

}  // namespace cermet
