// The base class of kernels with one source (spec: core 12).

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
  const bool stacked = source.image != nullptr && destination.image != nullptr;
  const std::size_t results = stacked ? 0 : fixed_results();
  if (results != 0) {
    if (source.count() != 1) call.check_counts("sourceImages", source, "results, or one", results);
    call.check_counts("destinationImages", destination, "results", results);
  } else {
    call.check_counts("destinationImages", destination, "sourceImages", source.count());
  }
  call.check_operand("sourceImage", source);
  call.check_operand("destinationImage", destination);
  call.check_edge(edge_, "edgeMode", is_padding());
  if (states != nullptr) call.check_states("destinationStates", *states, source.count());
  const Image from = source.front(), to = destination.front();
  ClipWindow clip = call.check_clip(clip_, to);
  if (!is_padding()) call.check_channel_offset("sourceFeatureChannelOffset", source_channel_);
  call.check_channel_offset("destinationFeatureChannelOffset", destination_channel_);
  const std::size_t available = available_channels(from, source_channel_, source_channels_);
  const Channels planned = channels_into(available, to);
  call.check_channels("sourceImage", from, available, planned.read, source_channel_);
  call.check_written(to, destination_channel_ + planned.written);
  const Region* part = source_region();
  const std::ptrdiff_t first_source = stacked ? offset_.z : 0;
  std::int32_t images_read = clip.images;
  if (const auto fixed = static_cast<std::int32_t>(fixed_results()); stacked && fixed != 0) {
    call.check_images("destinationImage", to, clip.z, fixed, "the results and clipRect");
    clip.images = std::min(clip.images, fixed);
    images_read = 1;
  }
  if (stacked && part == nullptr)
    call.check_images("sourceImage", from, first_source, images_read, "offset.z and clipRect");
  check(from, to, source.count());

  detail::UnaryEncoding encoding{call.recording(), call.source(source),
                                 call.destination(destination), states, 0};
  if (part != nullptr) {
    encoding.source = detail::region(encoding.source, *part, from, stacked);
  } else if (stacked) {
    encoding.source = detail::images(encoding.source, first_source, images_read);
  }
  if (stacked) {
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
  std::size_t results = sourceImages.size();
  if (fixed_results() != 0) {
    descriptor.numberOfImages = 1;
    results = fixed_results();
  }
  ImageBatch destinations = allocator_->imageBatch(commandBuffer, descriptor, *this, results);
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

}  // namespace cermet
