#include "cermet/cnn/kernel.h"

#include <algorithm>

#include "cermet/ops/copy.h"
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

namespace detail {

const std::shared_ptr<NNPadding>& default_padding() {
  static const std::shared_ptr<NNPadding> policy =
      NNDefaultPadding::padding(NNPaddingMethod::SizeSame);
  return policy;
}

ImageFeatureChannelFormat result_format(const Image& first_source) {
  const ImageFeatureChannelFormat format = first_source.featureChannelFormat();
  const bool keeps = format == ImageFeatureChannelFormat::Float32 ||
                     format == ImageFeatureChannelFormat::Float16 ||
                     format == ImageFeatureChannelFormat::BFloat16;
  return keeps ? format : ImageFeatureChannelFormat::Float16;
}

std::size_t available_channels(const Image& image, std::size_t offset, std::size_t most) {
  const std::size_t have = image.featureChannels();
  return offset >= have ? 0 : std::min(most, have - offset);
}

ImageDescriptor finish_plan(ImageDescriptor descriptor, std::span<const Image> sources,
                            std::span<const StatePtr> states, Kernel& kernel, NNPadding& padding,
                            ImageFeatureChannelFormat format) {
  for (const StatePtr& state : states) {
    if (state) descriptor = state->destinationImageDescriptor(sources, states, kernel, descriptor);
  }
  if (format != ImageFeatureChannelFormat::None) descriptor.channelFormat = format;
  if ((padding.paddingMethod() & NNPaddingMethod::Custom) != 0) {
    descriptor = padding.destinationImageDescriptor(sources, states, kernel, descriptor);
  }
  return descriptor;
}

void set_images(ForwardRecord& record, const Image& source, const Image& destination) {
  record.sourceWidth = source.width();
  record.sourceHeight = source.height();
  record.sourceFeatureChannels = source.featureChannels();
  record.sourceFormat = source.featureChannelFormat();
  record.destinationWidth = destination.width();
  record.destinationHeight = destination.height();
  record.destinationFeatureChannels = destination.featureChannels();
}

Offset planned_offset(NNPaddingMethod method, const SourceGeometry& geometry, const Image& source,
                      const ImageDescriptor& destination, bool backwards) {
  return {padded_offset(method, true, source.width(), destination.width,
                        dilated(geometry.kernelWidth, geometry.dilationRateX),
                        geometry.strideInPixelsX, backwards),
          padded_offset(method, false, source.height(), destination.height,
                        dilated(geometry.kernelHeight, geometry.dilationRateY),
                        geometry.strideInPixelsY, backwards),
          0};
}

}  // namespace detail

// ---- one source
// ----------------------------------------------------------------------------------

CNNKernel::CNNKernel(const Device& device)
    : Kernel(device), padding_(default_padding()), allocator_(TemporaryImage::defaultAllocator()) {}

CNNKernel::CNNKernel(Coder&, const Device& device) : CNNKernel(device) {}

void CNNKernel::code(Coder& coder) {
  Kernel::code(coder);
  coder("offset", offset_);
  coder("clipRect", clip_);
  coder("destinationFeatureChannelOffset", destination_channel_);
  coder("sourceFeatureChannelOffset", source_channel_);
  coder("sourceFeatureChannelMaxCount", source_channels_);
  coder("edgeMode", edge_, ImageEdgeMode::Constant);
  coder("padding", padding_, NNPadding::stock());
  coder("destinationImageAllocator", allocator_, ImageAllocator::stock());
  if (!coder.is_reading()) return;
  setPadding(padding_);  // none: the default
  setDestinationImageAllocator(allocator_);
}

void CNNKernel::setPadding(std::shared_ptr<NNPadding> padding) {
  if (!padding) padding = default_padding();
  padding_ = std::move(padding);
}
void CNNKernel::setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator) {
  allocator_ = allocator ? std::move(allocator) : TemporaryImage::defaultAllocator();
}

ForwardRecord CNNKernel::forward_record(const Image& source, const Image& destination) const {
  ForwardRecord record;
  detail::set_images(record, source, destination);
  record.offset = offset_;
  record.clipRect = clip_;
  record.edgeMode = edge_;
  record.kernelWidth = kernelWidth();
  record.kernelHeight = kernelHeight();
  record.strideInPixelsX = strideInPixelsX();
  record.strideInPixelsY = strideInPixelsY();
  record.dilationRateX = dilationRateX();
  record.dilationRateY = dilationRateY();
  record.isBackwards = isBackwards();
  record.sourceFeatureChannelOffset = source_channel_;
  record.sourceFeatureChannelMaxCount = source_channels_;
  record.destinationFeatureChannelOffset = destination_channel_;
  return record;
}

ImageDescriptor CNNKernel::destinationImageDescriptor(std::span<const Image> sourceImages,
                                                      std::span<const StatePtr> sourceStates) {
  return plan(sourceImages, sourceStates, ImageFeatureChannelFormat::None);
}

ImageDescriptor CNNKernel::plan(std::span<const Image> sourceImages,
                                std::span<const StatePtr> sourceStates,
                                ImageFeatureChannelFormat format) {
  if (sourceImages.size() != 1 || !sourceImages[0]) {
    complain("sourceImages", std::to_string(sourceImages.size()) + " images", "one image");
  }
  const Image& source = sourceImages[0];
  const NNPaddingMethod method = padding_->paddingMethod();
  const std::size_t window_x = (kernelWidth() - 1) * dilationRateX() + 1;
  const std::size_t window_y = (kernelHeight() - 1) * dilationRateY() + 1;
  std::ptrdiff_t width =
      padded_extent(method, source.width(), window_x, strideInPixelsX(), isBackwards());
  std::ptrdiff_t height =
      padded_extent(method, source.height(), window_y, strideInPixelsY(), isBackwards());
  for (const StatePtr& state : isBackwards() ? sourceStates : std::span<const StatePtr>()) {
    const auto* exact = dynamic_cast<const ImageSizeEncodingState*>(state.get());
    if (exact == nullptr) continue;
    width = static_cast<std::ptrdiff_t>(exact->sourceWidth());
    height = static_cast<std::ptrdiff_t>(exact->sourceHeight());
  }
  if (width <= 0 || height <= 0) {
    complain("sourceImage", detail::describe(source),
             "at least " + std::to_string(window_x) + "x" + std::to_string(window_y) + " pixels",
             "The window must fit into the source; choose the Same size or a smaller window.");
  }
  ImageDescriptor descriptor;
  descriptor.width = static_cast<std::size_t>(width);
  descriptor.height = static_cast<std::size_t>(height);
  descriptor.numberOfImages = source.numberOfImages();
  descriptor.channelFormat = result_format(source);
  descriptor.featureChannels =
      destination_channel_ +
      channels(available_channels(source, source_channel_, source_channels_)).written;
  setOffset({padded_offset(method, true, source.width(), descriptor.width, window_x,
                           strideInPixelsX(), isBackwards()),
             padded_offset(method, false, source.height(), descriptor.height, window_y,
                           strideInPixelsY(), isBackwards()),
             0});
  adjust(descriptor, sourceImages);
  return finish_plan(descriptor, sourceImages, sourceStates, *this, *padding_, format);
}

void CNNKernel::run(const CommandBuffer& commandBuffer, const Operand& source,
                    const StateBatch* states, const Operand& destination) const {
  if (source.count() == 0 && destination.count() == 0) return;
  Encode call(*this, commandBuffer);
  call.check_counts("destinationImages", destination, "sourceImages", source.count());
  call.check_operand("sourceImage", source);
  call.check_operand("destinationImage", destination);
  call.check_edge(edge_);
  if (states != nullptr) call.check_states("destinationStates", *states, source.count());
  const Image from = source.front(), to = destination.front();
  const ClipWindow clip = call.check_clip(clip_, to);
  call.check_channel_offset("sourceFeatureChannelOffset", source_channel_);
  call.check_channel_offset("destinationFeatureChannelOffset", destination_channel_);
  const std::size_t available = available_channels(from, source_channel_, source_channels_);
  const Channels planned = channels(available);
  call.check_channels("sourceImage", from, available, planned.read, source_channel_);
  call.check_written(to, destination_channel_ + planned.written);
  const bool stacked = source.image != nullptr && destination.image != nullptr;
  const std::ptrdiff_t first_source = stacked ? offset_.z : 0;
  if (stacked)
    call.check_images("sourceImage", from, first_source, clip.images, "offset.z and clipRect");
  check(from, to, source.count());

  detail::UnaryEncoding encoding{call.recording(), call.source(source),
                                 call.destination(destination), states, 0};
  if (stacked) {
    encoding.source = detail::images(encoding.source, first_source, clip.images);
    encoding.destination = detail::images(encoding.destination, clip.z, clip.images);
  }
  encoding.source =
      detail::feature_channels(encoding.source, static_cast<std::int64_t>(source_channel_),
                               static_cast<std::int32_t>(planned.read));
  encoding.destination =
      detail::window(detail::feature_channels(encoding.destination,
                                              static_cast<std::int64_t>(destination_channel_),
                                              static_cast<std::int32_t>(planned.written)),
                     clip.x, clip.y, clip.width, clip.height);
  if (states != nullptr) {
    const ForwardRecord forward = forward_record(from, to);
    for (std::size_t i = 0; i < (states->shared() ? 1 : states->size()); ++i) {
      if (auto* gradient = dynamic_cast<NNGradientState*>((*states)[i].get()))
        gradient->set_forward(forward);
    }
  }
  record(encoding);
  call.scatter(destination, encoding.destination, clip.x, clip.y,
               static_cast<std::int64_t>(destination_channel_));
  call.consume(source);
}

void CNNKernel::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                       const Image& destinationImage) const {
  run(commandBuffer, Operand(sourceImage), nullptr, Operand(destinationImage));
}
void CNNKernel::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                       const StatePtr& destinationState, const Image& destinationImage) const {
  const StateBatch states = StateBatch::repeated(destinationState, 1);
  run(commandBuffer, Operand(sourceImage), destinationState ? &states : nullptr,
      Operand(destinationImage));
}
void CNNKernel::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                            const ImageBatch& destinationImages) const {
  run(commandBuffer, Operand(sourceImages), nullptr, Operand(destinationImages));
}
void CNNKernel::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                            const StateBatch& destinationStates,
                            const ImageBatch& destinationImages) const {
  run(commandBuffer, Operand(sourceImages),
      destinationStates.empty() ? nullptr : &destinationStates, Operand(destinationImages));
}

Image CNNKernel::encode(const CommandBuffer& commandBuffer, const Image& sourceImage) {
  Encode(*this, commandBuffer).check_operand("sourceImage", Operand(sourceImage));
  ImageDescriptor descriptor = destinationImageDescriptor({&sourceImage, 1}, {});
  Image destination = allocator_->image(commandBuffer, descriptor, *this);
  run(commandBuffer, Operand(sourceImage), nullptr, Operand(destination));
  return destination;
}

ImageBatch CNNKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                  const ImageBatch& sourceImages) {
  return encodeBatch(commandBuffer, sourceImages, nullptr, true);
}

Image CNNKernel::encode_with_state(const CommandBuffer& commandBuffer, const Image& sourceImage,
                                   StatePtr& state, bool temporary) {
  Encode(*this, commandBuffer).check_operand("sourceImage", Operand(sourceImage));
  ImageDescriptor descriptor = destinationImageDescriptor({&sourceImage, 1}, {});
  Image destination = allocator_->image(commandBuffer, descriptor, *this);
  state = temporary ? temporaryResultState(commandBuffer, sourceImage, {}, destination)
                    : resultState(sourceImage, {}, destination);
  encode(commandBuffer, sourceImage, state, destination);
  return destination;
}

ImageBatch CNNKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                  const ImageBatch& sourceImages, StateBatch* destinationStates,
                                  bool destinationStateIsTemporary) {
  if (destinationStates != nullptr) *destinationStates = {};
  if (sourceImages.empty()) return {};
  Encode(*this, commandBuffer).check_operand("sourceImages", Operand(sourceImages));
  const Image first = sourceImages.front();
  ImageDescriptor descriptor = destinationImageDescriptor({&first, 1}, {});
  ImageBatch destinations =
      allocator_->imageBatch(commandBuffer, descriptor, *this, sourceImages.size());
  StateBatch states;
  if (destinationStates != nullptr) {
    states = destinationStateIsTemporary
                 ? temporaryResultStateBatch(commandBuffer, sourceImages, {}, destinations)
                 : resultStateBatch(sourceImages, {}, destinations);
  }
  encodeBatch(commandBuffer, sourceImages, states, destinations);
  if (destinationStates != nullptr) *destinationStates = std::move(states);
  return destinations;
}

StateBatch CNNKernel::make_state_batch(const detail::StateOrigin& origin, const ImageBatch& sources,
                                       const ImageBatch& destinations) const {
  return states_for(sources.size(), isResultStateReusedAcrossBatch(),
                    [&](std::size_t i) { return make_state(origin, sources[i], destinations[i]); });
}

StateBatch CNNKernel::make_states(const detail::StateOrigin& origin, const ImageBatch& sources,
                                  const ImageBatch& destinations) const {
  if (sources.empty()) return {};
  StateBatch states = make_state_batch(origin, sources, destinations);
  const ForwardRecord forward = forward_record(sources.front(), destinations.front());
  for (std::size_t i = 0; i < (states.shared() ? 1 : states.size()); ++i) {
    if (auto* gradient = dynamic_cast<NNGradientState*>(states[i].get()))
      gradient->set_forward(forward);
  }
  return states;
}

StatePtr CNNKernel::resultState(const Image& sourceImage, std::span<const StatePtr>,
                                const Image& destinationImage) const {
  const StateBatch states = make_states(detail::StateOrigin::permanent(sourceImage.device()),
                                        {sourceImage}, {destinationImage});
  return states.empty() ? nullptr : states[0];
}
StatePtr CNNKernel::temporaryResultState(const CommandBuffer& commandBuffer,
                                         const Image& sourceImage, std::span<const StatePtr>,
                                         const Image& destinationImage) const {
  const StateBatch states =
      make_states(detail::StateOrigin::temporary(commandBuffer), {sourceImage}, {destinationImage});
  return states.empty() ? nullptr : states[0];
}
StateBatch CNNKernel::resultStateBatch(const ImageBatch& sourceImages, std::span<const StateBatch>,
                                       const ImageBatch& destinationImages) const {
  if (sourceImages.empty()) return {};
  return make_states(detail::StateOrigin::permanent(sourceImages.front().device()), sourceImages,
                     destinationImages);
}
StateBatch CNNKernel::temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                const ImageBatch& sourceImages,
                                                std::span<const StateBatch>,
                                                const ImageBatch& destinationImages) const {
  return make_states(detail::StateOrigin::temporary(commandBuffer), sourceImages,
                     destinationImages);
}

// ---- two sources
// ---------------------------------------------------------------------------------

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
void CNNGradientKernel::code(Coder& coder) {
  CNNBinaryKernel::code(coder);
  coder("kernelOffsetX", kernel_offset_x_);
  coder("kernelOffsetY", kernel_offset_y_);
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
  call.check_edge(secondary_.edgeMode);
  if (states != nullptr) call.check_states("gradientStates", *states, primary.count());
  const Image first = primary.front(), second = secondary.front(), to = destination.front();
  const ClipWindow clip = call.check_clip(clip_, to);
  call.check_channel_offset("primarySourceFeatureChannelOffset", primary_.featureChannelOffset);
  call.check_channel_offset("secondarySourceFeatureChannelOffset", secondary_.featureChannelOffset);
  call.check_channel_offset("destinationFeatureChannelOffset", destination_channel_);
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
  const auto z_of = [&](const SourceGeometry& g, const Image& image, const char* argument) {
    if (!stacked) return std::ptrdiff_t{0};
    call.check_images(argument, image, g.offset.z, clip.images, "its offset.z and clipRect");
    return g.offset.z;
  };
  const std::ptrdiff_t first_z = z_of(primary_, first, "primaryImage"),
                       second_z = z_of(secondary_, second, "secondaryImage");
  check(first, second, to, states != nullptr ? (*states)[0].get() : nullptr, primary.count());

  detail::BinaryEncoding encoding{
      call.recording(), call.source(primary), call.source(secondary), {}, states,
      clip.width,       clip.height};
  const auto part = [](const SourceGeometry& g, std::size_t count, TensorView view) {
    return detail::feature_channels(view, static_cast<std::int64_t>(g.featureChannelOffset),
                                    static_cast<std::int32_t>(count));
  };
  encoding.primary = part(primary_, planned.primary, encoding.primary);
  encoding.secondary = part(secondary_, planned.secondary, encoding.secondary);
  TensorView whole = call.destination(destination);
  if (stacked) {
    encoding.primary = detail::images(encoding.primary, first_z, clip.images);
    encoding.secondary = detail::images(encoding.secondary, second_z, clip.images);
    whole = detail::images(whole, clip.z, clip.images);
  }
  const auto written =
      static_cast<std::int32_t>(writes_destination() ? planned.written : to.featureChannels());
  const std::int64_t first_written =
      writes_destination() ? static_cast<std::int64_t>(destination_channel_) : 0;
  const TensorView region = detail::window(detail::feature_channels(whole, first_written, written),
                                           clip.x, clip.y, clip.width, clip.height);
  if (writes_destination()) encoding.destination = region;
  record(encoding);
  if (writes_destination()) call.scatter(destination, region, clip.x, clip.y, first_written);
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

// ---- gradients
// -----------------------------------------------------------------------------------

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
