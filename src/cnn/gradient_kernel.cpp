// The base class of gradients, and the state that links one with its forward kernel (spec: core
// 14).

#include "cermet/cnn/kernel.h"

#include <algorithm>

#include "cermet/ops/copy.h"
#include "cnn/encoding.h"
#include "cnn/planning.h"

namespace cermet {

using detail::available_channels;
using detail::Encode;
using detail::Operand;

NNGradientState::NNGradientState(const detail::StateOrigin& origin)
    : State(origin, StateResourceList()) {}

ImageDescriptor NNGradientState::destinationImageDescriptor(
    std::span<const Image>, std::span<const StatePtr>, Kernel& kernel,
    const ImageDescriptor& suggestedDescriptor) {
  ImageDescriptor descriptor = suggestedDescriptor;
  if (auto* gradient = dynamic_cast<CNNGradientKernel*>(&kernel)) {
    gradient->apply(forward_);
    descriptor.width = forward_.sourceWidth;
    descriptor.height = forward_.sourceHeight;
    descriptor.featureChannels = forward_.sourceFeatureChannels;
  }
  return descriptor;
}

void CNNGradientKernel::code(Coder& coder) {
  CNNBinaryKernel::code(coder);
  coder("kernelOffsetX", kernel_offset_x_);
  coder("kernelOffsetY", kernel_offset_y_);
}

void CNNGradientKernel::plan_default(ImageDescriptor& descriptor,
                                     std::span<const Image> sourceImages) {
  descriptor.width = sourceImages[1].width();
  descriptor.height = sourceImages[1].height();
  descriptor.featureChannels = sourceImages[1].featureChannels();
}

void CNNGradientKernel::apply(const ForwardRecord& forward) {
  secondary_.kernelWidth = forward.kernelWidth;
  secondary_.kernelHeight = forward.kernelHeight;
  secondary_.strideInPixelsX = primary_.strideInPixelsX = forward.strideInPixelsX;
  secondary_.strideInPixelsY = primary_.strideInPixelsY = forward.strideInPixelsY;
  secondary_.dilationRateX = forward.dilationRateX;
  secondary_.dilationRateY = forward.dilationRateY;
  secondary_.edgeMode = forward.edgeMode;
  secondary_.featureChannelOffset = forward.sourceFeatureChannelOffset;
  secondary_.featureChannelMaxCount = forward.sourceFeatureChannelMaxCount;
  primary_.featureChannelOffset = forward.destinationFeatureChannelOffset;
  primary_.offset = {static_cast<std::ptrdiff_t>(forward.clipRect.origin.x) - forward.offset.x,
                     static_cast<std::ptrdiff_t>(forward.clipRect.origin.y) - forward.offset.y, 0};
  secondary_.offset = {};
  kernel_offset_x_ = kernel_offset_y_ = 0;
  setClipRect(RectNoClip);
  setDestinationFeatureChannelOffset(forward.sourceFeatureChannelOffset);
}

void CNNGradientKernel::check(const Image& gradient, const Image& source, const Image&,
                              const State* state, std::size_t) const {
  const auto* forward_state = dynamic_cast<const NNGradientState*>(state);
  if (forward_state == nullptr) return;
  const ForwardRecord& f = forward_state->forward();
  const auto size = [](std::size_t w, std::size_t h) {
    return std::to_string(w) + "x" + std::to_string(h);
  };
  const auto written = [](std::size_t origin, std::size_t extent, std::size_t whole) {
    return origin >= whole ? 0 : std::min(extent, whole - origin);
  };
  const std::size_t w = written(f.clipRect.origin.x, f.clipRect.size.width, f.destinationWidth);
  const std::size_t h = written(f.clipRect.origin.y, f.clipRect.size.height, f.destinationHeight);
  const bool whole =
      gradient.width() == f.destinationWidth && gradient.height() == f.destinationHeight;
  const bool clipped = gradient.width() == w && gradient.height() == h;
  const char* remedy =
      "Encode the backward pass with the state returned by the matching forward encode.";
  if (!whole && !clipped) {
    complain("sourceGradient", size(gradient.width(), gradient.height()),
             size(w, h) + ", the size that its gradientState was made for", remedy);
  }
  if (source.width() != f.sourceWidth || source.height() != f.sourceHeight) {
    complain("sourceImage", size(source.width(), source.height()),
             size(f.sourceWidth, f.sourceHeight) + ", the size that its gradientState was made for",
             remedy);
  }
}

bool CNNGradientKernel::leaves_gaps(const ImageDescriptor& result) const {
  return !writes_destination() || destinationFeatureChannelOffset() != 0 ||
         secondary_.featureChannelMaxCount < result.featureChannels;
}

void CNNGradientKernel::clear(const CommandBuffer& commandBuffer, const ImageBatch& result) const {
  Encode call(*this, commandBuffer);
  detail::StepMemo memo;
  for (const Image image : result)
    detail::encode(call.recording(), memo, Fill{}, {call.destination(Operand(image))});
}

Image CNNGradientKernel::encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
                                const Image& sourceImage, const StatePtr& gradientState) {
  const Image sources[] = {sourceGradient, sourceImage};
  ImageDescriptor descriptor = destinationImageDescriptor(sources, {&gradientState, 1});
  Image destination = destinationImageAllocator()->image(commandBuffer, descriptor, *this);
  // Channels that the forward kernel did not read are 0 (spec: core 14.4).
  const std::size_t written =
      channels(available_channels(sources[0], primary_.featureChannelOffset,
                                  primary_.featureChannelMaxCount),
               available_channels(sources[1], secondary_.featureChannelOffset,
                                  secondary_.featureChannelMaxCount))
          .written;
  if (!writes_destination() || written < destination.featureChannels())
    clear(commandBuffer, {destination});
  encode(commandBuffer, sourceGradient, sourceImage, gradientState, destination);
  return destination;
}

ImageBatch CNNGradientKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                          const ImageBatch& sourceGradients,
                                          const ImageBatch& sourceImages,
                                          const StateBatch& gradientStates) {
  if (sourceGradients.empty()) return {};
  Encode call(*this, commandBuffer);
  call.check_operand("sourceGradients", Operand(sourceGradients));
  call.check_operand("sourceImages", Operand(sourceImages));
  call.check_states("gradientStates", gradientStates, sourceGradients.size());
  const Image sources[] = {sourceGradients.front(), sourceImages.front()};
  ImageDescriptor descriptor = destinationImageDescriptor(sources, {&gradientStates[0], 1});
  ImageBatch destinations = destinationImageAllocator()->imageBatch(commandBuffer, descriptor,
                                                                    *this, sourceGradients.size());
  const std::size_t written =
      channels(available_channels(sources[0], primary_.featureChannelOffset,
                                  primary_.featureChannelMaxCount),
               available_channels(sources[1], secondary_.featureChannelOffset,
                                  secondary_.featureChannelMaxCount))
          .written;
  if (!writes_destination() || written < destinations.front().featureChannels())
    clear(commandBuffer, destinations);
  encodeBatch(commandBuffer, sourceGradients, sourceImages, gradientStates, destinations);
  return destinations;
}

void CNNGradientKernel::encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
                               const Image& sourceImage, const StatePtr& gradientState,
                               const Image& destinationGradient) const {
  const StateBatch states = StateBatch::repeated(gradientState, 1);
  run(commandBuffer, Operand(sourceGradient), Operand(sourceImage), &states,
      Operand(destinationGradient));
}
void CNNGradientKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                    const ImageBatch& sourceGradients,
                                    const ImageBatch& sourceImages,
                                    const StateBatch& gradientStates,
                                    const ImageBatch& destinationGradients) const {
  run(commandBuffer, Operand(sourceGradients), Operand(sourceImages), &gradientStates,
      Operand(destinationGradients));
}

}  // namespace cermet
