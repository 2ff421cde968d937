// The base class of kernels with two sources (spec: core 13).

#include "cermet/cnn/kernel.h"

#include <algorithm>

#include "cnn/encoding.h"
#include "cnn/planning.h"

namespace cermet {

using detail::available_channels;
using detail::ClipWindow;
using detail::default_padding;
using detail::Encode;
using detail::finish_plan;
using detail::Operand;
using detail::result_format;
using detail::states_for;

CNNBinaryKernel::CNNBinaryKernel(const Device& device)
    : Kernel(device), padding_(default_padding()), allocator_(TemporaryImage::defaultAllocator()) {}

CNNBinaryKernel::CNNBinaryKernel(Coder&, const Device& device) : CNNBinaryKernel(device) {}

void SourceGeometry::code(Coder& coder) {
  coder("offset", offset);
  coder("featureChannelOffset", featureChannelOffset);
  coder("featureChannelMaxCount", featureChannelMaxCount);
  coder("edgeMode", edgeMode, ImageEdgeMode::Constant);
  coder("kernelWidth", kernelWidth);
  coder("kernelHeight", kernelHeight);
  coder("strideInPixelsX", strideInPixelsX);
  coder("strideInPixelsY", strideInPixelsY);
  coder("dilationRateX", dilationRateX);
  coder("dilationRateY", dilationRateY);
}
void CNNBinaryKernel::code(Coder& coder) {
  Kernel::code(coder);
  coder("primary", primary_);
  coder("secondary", secondary_);
  coder("clipRect", clip_);
  coder("destinationFeatureChannelOffset", destination_channel_);
  coder("padding", padding_, NNPadding::stock());
  coder("destinationImageAllocator", allocator_, ImageAllocator::stock());
  if (!coder.is_reading()) return;
  setPadding(padding_);  // none: the default
  setDestinationImageAllocator(allocator_);
}
void CNNBinaryKernel::setPadding(std::shared_ptr<NNPadding> padding) {
  if (!padding) padding = default_padding();
  padding_ = std::move(padding);
}
void CNNBinaryKernel::setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator) {
  allocator_ = allocator ? std::move(allocator) : TemporaryImage::defaultAllocator();
}

void CNNBinaryKernel::plan_default(ImageDescriptor& descriptor,
                                   std::span<const Image> sourceImages) {
  const NNPaddingMethod method = padding_->paddingMethod();
  const auto extent = [&](std::size_t size, std::size_t taps, std::size_t dilation,
                          std::size_t stride) {
    const std::ptrdiff_t result =
        padded_extent(method, size, detail::dilated(taps, dilation), stride, isBackwards());
    if (result <= 0) {
      complain("primaryImage", detail::describe(sourceImages[0]),
               "a source that the window fits into");
    }
    return static_cast<std::size_t>(result);
  };
  descriptor.width = extent(sourceImages[0].width(), primary_.kernelWidth, primary_.dilationRateX,
                            primary_.strideInPixelsX);
  descriptor.height = extent(sourceImages[0].height(), primary_.kernelHeight,
                             primary_.dilationRateY, primary_.strideInPixelsY);
  primary_.offset =
      detail::planned_offset(method, primary_, sourceImages[0], descriptor, isBackwards());
  secondary_.offset =
      detail::planned_offset(method, secondary_, sourceImages[1], descriptor, isBackwards());
}

ImageDescriptor CNNBinaryKernel::destinationImageDescriptor(
    std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates) {
  return plan(sourceImages, sourceStates, ImageFeatureChannelFormat::None);
}

ImageDescriptor CNNBinaryKernel::plan(std::span<const Image> sourceImages,
                                      std::span<const StatePtr> sourceStates,
                                      ImageFeatureChannelFormat format) {
  if (sourceImages.size() != 2 || !sourceImages[0] || !sourceImages[1]) {
    complain("sourceImages", std::to_string(sourceImages.size()) + " images",
             "two images, primary first");
  }
  ImageDescriptor descriptor;
  descriptor.numberOfImages = sourceImages[0].numberOfImages();
  descriptor.channelFormat = result_format(sourceImages[0]);
  const auto have = [&](std::size_t i, const SourceGeometry& g) {
    return available_channels(sourceImages[i], g.featureChannelOffset, g.featureChannelMaxCount);
  };
  descriptor.featureChannels =
      destination_channel_ + channels(have(0, primary_), have(1, secondary_)).written;
  plan_default(descriptor, sourceImages);
  return finish_plan(descriptor, sourceImages, sourceStates, *this, *padding_, format);
}

void CNNBinaryKernel::run(const CommandBuffer& commandBuffer, const Operand& primary,
                          const Operand& secondary, const StateBatch* states,
                          const Operand& destination) const {
  if (primary.count() == 0 && secondary.count() == 0 && destination.count() == 0) return;
  Encode call(*this, commandBuffer);
  call.check_counts("secondaryImages", secondary, "primaryImages", primary.count());
  call.check_counts("destinationImages", destination, "primaryImages", primary.count());
  call.check_operand("primaryImage", primary);
  call.check_operand("secondaryImage", secondary);
  call.check_operand("destinationImage", destination);
  call.check_edge(primary_.edgeMode);
  call.check_edge(secondary_.edgeMode, "edgeMode", is_padding());
  if (states != nullptr) call.check_states("gradientStates", *states, primary.count());
  const Image first = primary.front(), second = secondary.front(), to = destination.front();
  const ClipWindow clip = call.check_clip(clip_, to);
  call.check_channel_offset("primarySourceFeatureChannelOffset", primary_.featureChannelOffset);
  if (!is_padding()) {
    call.check_channel_offset("secondarySourceFeatureChannelOffset",
                              secondary_.featureChannelOffset);
    call.check_channel_offset("destinationFeatureChannelOffset", destination_channel_);
  }
  const std::size_t have_first =
      available_channels(first, primary_.featureChannelOffset, primary_.featureChannelMaxCount);
  const std::size_t have_second = available_channels(second, secondary_.featureChannelOffset,
                                                     secondary_.featureChannelMaxCount);
  const Channels planned = channels(have_first, have_second);
  call.check_channels("primaryImage", first, have_first, planned.primary,
                      primary_.featureChannelOffset);
  call.check_channels("secondaryImage", second, have_second, planned.secondary,
                      secondary_.featureChannelOffset);
  if (writes_destination()) call.check_written(to, destination_channel_ + planned.written);
  const bool stacked = primary.image != nullptr;
  const auto check_z = [&](bool of_secondary, const Image& image, const char* argument) {
    if (!stacked || source_region(of_secondary) != nullptr) return;
    const SourceGeometry& g = of_secondary ? secondary_ : primary_;
    call.check_images(argument, image, g.offset.z, clip.images, "its offset.z and clipRect");
  };
  check_z(false, first, "primaryImage");
  check_z(true, second, "secondaryImage");
  check(first, second, to, states != nullptr ? (*states)[0].get() : nullptr, primary.count());

  detail::BinaryEncoding encoding{
      call.recording(), call.source(primary), call.source(secondary), {}, states,
      clip.width,       clip.height};
  const auto part = [&](bool of_secondary, std::size_t count, const Image& image,
                        const TensorView& all) {
    const SourceGeometry& g = of_secondary ? secondary_ : primary_;
    const TensorView view = detail::feature_channels(
        all, static_cast<std::int64_t>(g.featureChannelOffset), static_cast<std::int32_t>(count));
    const Region* region = source_region(of_secondary);
    if (region != nullptr) return detail::region(view, *region, image, stacked);
    return stacked ? detail::images(view, g.offset.z, clip.images) : view;
  };
  encoding.primary = part(false, planned.primary, first, encoding.primary);
  encoding.secondary = part(true, planned.secondary, second, encoding.secondary);
  TensorView whole = call.destination(destination);
  if (stacked) whole = detail::images(whole, clip.z, clip.images);
  const auto first_written = static_cast<std::int64_t>(destination_channel_);
  if (writes_destination()) {
    encoding.destination = detail::window(
        detail::feature_channels(whole, first_written, static_cast<std::int32_t>(planned.written)),
        clip.x, clip.y, clip.width, clip.height);
  }
  record(encoding);
  if (writes_destination())
    call.scatter(destination, encoding.destination, clip.x, clip.y, first_written);
  call.consume(primary);
  call.consume(secondary);
  if (states != nullptr && reads_states()) call.consume(*states);
}

void CNNBinaryKernel::encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
                             const Image& secondaryImage, const Image& destinationImage) const {
  run(commandBuffer, Operand(primaryImage), Operand(secondaryImage), nullptr,
      Operand(destinationImage));
}
void CNNBinaryKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                  const ImageBatch& primaryImages,
                                  const ImageBatch& secondaryImages,
                                  const ImageBatch& destinationImages) const {
  run(commandBuffer, Operand(primaryImages), Operand(secondaryImages), nullptr,
      Operand(destinationImages));
}
Image CNNBinaryKernel::encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
                              const Image& secondaryImage) {
  const Image sources[] = {primaryImage, secondaryImage};
  ImageDescriptor descriptor = destinationImageDescriptor(sources, {});
  Image destination = allocator_->image(commandBuffer, descriptor, *this);
  encode(commandBuffer, primaryImage, secondaryImage, destination);
  return destination;
}
ImageBatch CNNBinaryKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                        const ImageBatch& primaryImages,
                                        const ImageBatch& secondaryImages) {
  return encodeBatch(commandBuffer, primaryImages, secondaryImages, nullptr, true);
}
ImageBatch CNNBinaryKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                        const ImageBatch& primaryImages,
                                        const ImageBatch& secondaryImages,
                                        StateBatch* destinationStates,
                                        bool destinationStateIsTemporary) {
  if (destinationStates == nullptr) {
    if (primaryImages.empty()) return {};
    const Image sources[] = {primaryImages.front(), secondaryImages.front()};
    ImageDescriptor descriptor = destinationImageDescriptor(sources, {});
    ImageBatch destinations =
        allocator_->imageBatch(commandBuffer, descriptor, *this, primaryImages.size());
    encodeBatch(commandBuffer, primaryImages, secondaryImages, destinations);
    return destinations;
  }
  return encode_with_states(commandBuffer, primaryImages, secondaryImages, *destinationStates,
                            destinationStateIsTemporary);
}

ImageBatch CNNBinaryKernel::encode_with_states(const CommandBuffer& commandBuffer,
                                               const ImageBatch& primaryImages,
                                               const ImageBatch& secondaryImages,
                                               StateBatch& states, bool temporary) {
  states = {};
  if (primaryImages.empty()) return {};
  const Image sources[] = {primaryImages.front(), secondaryImages.front()};
  ImageDescriptor descriptor = destinationImageDescriptor(sources, {});
  ImageBatch destinations =
      allocator_->imageBatch(commandBuffer, descriptor, *this, primaryImages.size());
  states = temporary ? temporaryResultStateBatch(commandBuffer, primaryImages, secondaryImages, {},
                                                 destinations)
                     : resultStateBatch(primaryImages, secondaryImages, {}, destinations);
  run(commandBuffer, Operand(primaryImages), Operand(secondaryImages),
      states.empty() ? nullptr : &states, Operand(destinations));
  return destinations;
}

StateBatch CNNBinaryKernel::make_states(const detail::StateOrigin& origin,
                                        const ImageBatch& primaries, const ImageBatch& secondaries,
                                        const ImageBatch& destinations) const {
  if (primaries.empty()) return {};
  return make_state_batch(origin, primaries, secondaries, destinations);
}
StateBatch CNNBinaryKernel::make_state_batch(const detail::StateOrigin& origin,
                                             const ImageBatch& primaries,
                                             const ImageBatch& secondaries,
                                             const ImageBatch& destinations) const {
  return states_for(primaries.size(), isResultStateReusedAcrossBatch(), [&](std::size_t i) {
    return make_state(origin, primaries[i], secondaries[i], destinations[i]);
  });
}
StatePtr CNNBinaryKernel::resultState(const Image& primaryImage, const Image& secondaryImage,
                                      std::span<const StatePtr>,
                                      const Image& destinationImage) const {
  const StateBatch states = make_states(detail::StateOrigin::permanent(primaryImage.device()),
                                        {primaryImage}, {secondaryImage}, {destinationImage});
  return states.empty() ? nullptr : states[0];
}
StatePtr CNNBinaryKernel::temporaryResultState(const CommandBuffer& commandBuffer,
                                               const Image& primaryImage,
                                               const Image& secondaryImage,
                                               std::span<const StatePtr>,
                                               const Image& destinationImage) const {
  const StateBatch states = make_states(detail::StateOrigin::temporary(commandBuffer),
                                        {primaryImage}, {secondaryImage}, {destinationImage});
  return states.empty() ? nullptr : states[0];
}
StateBatch CNNBinaryKernel::resultStateBatch(const ImageBatch& primaryImages,
                                             const ImageBatch& secondaryImages,
                                             std::span<const StateBatch>,
                                             const ImageBatch& destinationImages) const {
  if (primaryImages.empty()) return {};
  return make_states(detail::StateOrigin::permanent(primaryImages.front().device()), primaryImages,
                     secondaryImages, destinationImages);
}
StateBatch CNNBinaryKernel::temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                      const ImageBatch& primaryImages,
                                                      const ImageBatch& secondaryImages,
                                                      std::span<const StateBatch>,
                                                      const ImageBatch& destinationImages) const {
  return make_states(detail::StateOrigin::temporary(commandBuffer), primaryImages, secondaryImages,
                     destinationImages);
}

}  // namespace cermet
