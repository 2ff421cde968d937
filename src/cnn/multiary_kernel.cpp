#include "cermet/cnn/multiary_kernel.h"

#include "cnn/encoding.h"
#include "cnn/planning.h"

namespace cermet {

using detail::ClipWindow;
using detail::Encode;
using detail::Operand;

namespace {

/// `name[index]`, the way messages name one of several sources.
std::string one_of(std::string_view name, std::size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

std::vector<Image> fronts(std::span<const ImageBatch> sources) {
  std::vector<Image> images;
  for (const ImageBatch& source : sources) images.push_back(source.front());
  return images;
}
template <class T>
std::vector<Operand> operands(std::span<const T> sources) {
  std::vector<Operand> result;
  for (const T& source : sources) result.emplace_back(source);
  return result;
}

std::vector<ImageBatch> batches(std::span<const Image> sources) {
  std::vector<ImageBatch> result;
  for (const Image& source : sources) result.push_back({source});
  return result;
}

}  // namespace

NNMultiaryGradientState::NNMultiaryGradientState(const detail::StateOrigin& origin)
    : State(origin, StateResourceList()) {}

CNNMultiaryKernel::CNNMultiaryKernel(const Device& device, std::size_t sourceCount)
    : Kernel(device),
      padding_(detail::default_padding()),
      allocator_(TemporaryImage::defaultAllocator()) {
  if (sourceCount == 0) {  // the class has no name yet
    fail({"CNNMultiaryKernel", "", "sourceCount", "0", "1 or more", ""});
  }
  sources_.resize(sourceCount);
}

CNNMultiaryKernel::CNNMultiaryKernel(Coder&, const Device& device) : CNNMultiaryKernel(device, 1) {}

void CNNMultiaryKernel::code(Coder& coder) {
  Kernel::code(coder);
  std::size_t count = sources_.size();
  coder("sourceCount", count);
  if (coder.is_reading()) {
    if (count == 0) coder.refuse("sourceCount", "0", "1 or more");
    sources_.clear();
  }
  for (std::size_t i = 0; i < count; ++i) {  // a count that the file does not have ends at once
    if (i == sources_.size()) sources_.emplace_back();
    coder("source" + std::to_string(i), sources_[i]);
  }
  coder("clipRect", clip_);
  coder("destinationFeatureChannelOffset", destination_channel_);
  coder("padding", padding_, NNPadding::stock());
  coder("destinationImageAllocator", allocator_, ImageAllocator::stock());
  if (!coder.is_reading()) return;
  setPadding(padding_);  // none: the default
  setDestinationImageAllocator(allocator_);
}

void CNNMultiaryKernel::setPadding(std::shared_ptr<NNPadding> padding) {
  if (!padding) padding = detail::default_padding();
  padding_ = std::move(padding);
}
void CNNMultiaryKernel::setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator) {
  allocator_ = allocator ? std::move(allocator) : TemporaryImage::defaultAllocator();
}

const SourceGeometry& CNNMultiaryKernel::at(std::size_t index) const {
  if (index >= sources_.size()) {
    complain("index", std::to_string(index), "less than " + std::to_string(sources_.size()),
             "The kernel was made for that many sources.");
  }
  return sources_[index];
}
SourceGeometry& CNNMultiaryKernel::at(std::size_t index) {
  return const_cast<SourceGeometry&>(std::as_const(*this).at(index));
}

void CNNMultiaryKernel::check_source_count(std::size_t count) const {
  if (count == sources_.size()) return;
  complain("sourceImages", std::to_string(count) + " sources",
           std::to_string(sources_.size()) + ", as many as sourceCount");
}

void CNNMultiaryKernel::check_source_batches(std::span<const ImageBatch> sources) const {
  check_source_count(sources.size());
  for (std::size_t i = 1; i < sources.size(); ++i) {
    if (sources[i].size() == sources[0].size()) continue;
    complain(one_of("sourceImages", i), std::to_string(sources[i].size()) + " images",
             std::to_string(sources[0].size()) + ", as many as " + one_of("sourceImages", 0));
  }
}

void CNNMultiaryKernel::check_windows() const {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const SourceGeometry& g = sources_[i];
    const auto check_one = [&](const char* argument, std::size_t value) {
      if (value == 0) complain(one_of(argument, i), "0", "1 or more");
    };
    check_one("kernelWidth", g.kernelWidth);
    check_one("kernelHeight", g.kernelHeight);
    check_one("dilationRateX", g.dilationRateX);
    check_one("dilationRateY", g.dilationRateY);
  }
}

ForwardRecord CNNMultiaryKernel::forward_record(std::size_t index, const Image& source,
                                                const Image& destination) const {
  const SourceGeometry& g = at(index);
  ForwardRecord record;
  detail::set_images(record, source, destination);
  record.offset = g.offset;
  record.clipRect = clip_;
  record.edgeMode = g.edgeMode;
  record.kernelWidth = g.kernelWidth;
  record.kernelHeight = g.kernelHeight;
  record.strideInPixelsX = g.strideInPixelsX;
  record.strideInPixelsY = g.strideInPixelsY;
  record.dilationRateX = g.dilationRateX;
  record.dilationRateY = g.dilationRateY;
  record.isBackwards = isBackwards();
  record.sourceFeatureChannelOffset = g.featureChannelOffset;
  record.sourceFeatureChannelMaxCount = g.featureChannelMaxCount;
  record.destinationFeatureChannelOffset = destination_channel_;
  return record;
}

// ---- planning

ImageDescriptor CNNMultiaryKernel::destinationImageDescriptor(
    std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates) {
  return plan(sourceImages, sourceStates, ImageFeatureChannelFormat::None);
}

ImageDescriptor CNNMultiaryKernel::plan(std::span<const Image> sourceImages,
                                        std::span<const StatePtr> sourceStates,
                                        ImageFeatureChannelFormat format) {
  check_source_count(sourceImages.size());
  std::vector<std::size_t> read;
  for (std::size_t i = 0; i < sourceImages.size(); ++i) {
    if (!sourceImages[i]) complain(one_of("sourceImages", i), "nil", "an image");
    read.push_back(detail::available_channels(sourceImages[i], sources_[i].featureChannelOffset,
                                              sources_[i].featureChannelMaxCount));
  }
  check_windows();
  ImageDescriptor descriptor;
  descriptor.numberOfImages = sourceImages[0].numberOfImages();
  descriptor.channelFormat = detail::result_format(sourceImages[0]);
  descriptor.featureChannels = destination_channel_ + channels(read);
  plan_default(descriptor, sourceImages);
  return detail::finish_plan(descriptor, sourceImages, sourceStates, *this, *padding_, format);
}

void CNNMultiaryKernel::plan_default(ImageDescriptor& descriptor,
                                     std::span<const Image> sourceImages) {
  const NNPaddingMethod method = padding_->paddingMethod();
  const SourceGeometry& first = sources_[0];
  if (first.strideInPixelsX == 0 || first.strideInPixelsY == 0) {
    complain(first.strideInPixelsX == 0 ? "strideInPixelsX[0]" : "strideInPixelsY[0]", "0",
             "1 or more");
  }
  const std::size_t window_x = detail::dilated(first.kernelWidth, first.dilationRateX);
  const std::size_t window_y = detail::dilated(first.kernelHeight, first.dilationRateY);
  const std::ptrdiff_t width = padded_extent(method, sourceImages[0].width(), window_x,
                                             first.strideInPixelsX, isBackwards());
  const std::ptrdiff_t height = padded_extent(method, sourceImages[0].height(), window_y,
                                              first.strideInPixelsY, isBackwards());
  if (width <= 0 || height <= 0) {
    complain("sourceImages[0]", detail::describe(sourceImages[0]),
             "at least " + std::to_string(window_x) + "x" + std::to_string(window_y) + " pixels",
             "The window must fit into the source; choose the Same size or a smaller window.");
  }
  descriptor.width = static_cast<std::size_t>(width);
  descriptor.height = static_cast<std::size_t>(height);
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    sources_[i].offset =
        detail::planned_offset(method, sources_[i], sourceImages[i], descriptor, isBackwards());
  }
}

// ---- states

StateBatch CNNMultiaryKernel::make_state_batch(const detail::StateOrigin& origin,
                                               std::span<const ImageBatch> sources,
                                               const ImageBatch& destinations) const {
  return detail::states_for(destinations.size(), isResultStateReusedAcrossBatch(),
                            [&](std::size_t i) {
                              std::vector<Image> images;
                              for (const ImageBatch& source : sources) images.push_back(source[i]);
                              return make_state(origin, images, destinations[i]);
                            });
}

void CNNMultiaryKernel::set_forward(const StateBatch& states, std::span<const Image> sources,
                                    const Image& destination) const {
  for (std::size_t i = 0; i < (states.shared() ? 1 : states.size()); ++i) {
    auto* gradient = dynamic_cast<NNMultiaryGradientState*>(states[i].get());
    if (gradient == nullptr) continue;
    std::vector<ForwardRecord> records;
    for (std::size_t k = 0; k < sources.size(); ++k)
      records.push_back(forward_record(k, sources[k], destination));
    gradient->set_forward(std::move(records));
  }
}

StateBatch CNNMultiaryKernel::make_states(const detail::StateOrigin& origin,
                                          std::span<const ImageBatch> sources,
                                          const ImageBatch& destinations) const {
  StateBatch states = make_state_batch(origin, sources, destinations);
  set_forward(states, fronts(sources), destinations.front());
  return states;
}

StatePtr CNNMultiaryKernel::resultState(std::span<const Image> sourceImages,
                                        std::span<const StatePtr>,
                                        const Image& destinationImage) const {
  check_source_count(sourceImages.size());
  const StateBatch states = make_states(detail::StateOrigin::permanent(sourceImages[0].device()),
                                        batches(sourceImages), {destinationImage});
  return states.empty() ? nullptr : states[0];
}
StatePtr CNNMultiaryKernel::temporaryResultState(const CommandBuffer& commandBuffer,
                                                 std::span<const Image> sourceImages,
                                                 std::span<const StatePtr>,
                                                 const Image& destinationImage) const {
  check_source_count(sourceImages.size());
  const StateBatch states = make_states(detail::StateOrigin::temporary(commandBuffer),
                                        batches(sourceImages), {destinationImage});
  return states.empty() ? nullptr : states[0];
}
StateBatch CNNMultiaryKernel::resultStateBatch(std::span<const ImageBatch> sourceImages,
                                               std::span<const StateBatch>,
                                               const ImageBatch& destinationImages) const {
  check_source_batches(sourceImages);
  if (sourceImages[0].empty()) return {};
  return make_states(detail::StateOrigin::permanent(sourceImages[0].front().device()), sourceImages,
                     destinationImages);
}
StateBatch CNNMultiaryKernel::temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                        std::span<const ImageBatch> sourceImages,
                                                        std::span<const StateBatch>,
                                                        const ImageBatch& destinationImages) const {
  check_source_batches(sourceImages);
  if (sourceImages[0].empty()) return {};
  return make_states(detail::StateOrigin::temporary(commandBuffer), sourceImages,
                     destinationImages);
}

// ---- encoding

void CNNMultiaryKernel::run(const CommandBuffer& commandBuffer, std::span<const Operand> sources,
                            const StateBatch* states, const Operand& destination) const {
  check_source_count(sources.size());
  const std::size_t count = sources[0].count();
  Encode call(*this, commandBuffer);
  for (std::size_t i = 1; i < sources.size(); ++i)
    call.check_counts(one_of("sourceImages", i), sources[i], "sourceImages[0]", count);
  call.check_counts("destinationImages", destination, "sourceImages[0]", count);
  if (count == 0) return;
  for (std::size_t i = 0; i < sources.size(); ++i)
    call.check_operand(one_of("sourceImages", i), sources[i]);
  call.check_operand("destinationImage", destination);
  for (std::size_t i = 0; i < sources.size(); ++i)
    call.check_edge(sources_[i].edgeMode, one_of("edgeMode", i));
  check_windows();
  if (states != nullptr) call.check_states("destinationStates", *states, count);
  const Image to = destination.front();
  const ClipWindow clip = call.check_clip(clip_, to);
  const bool stacked = destination.image != nullptr;
  std::vector<Image> from;
  std::vector<std::size_t> available;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const SourceGeometry& g = sources_[i];
    call.check_channel_offset(one_of("sourceFeatureChannelOffset", i), g.featureChannelOffset);
    from.push_back(sources[i].front());
    available.push_back(
        detail::available_channels(from[i], g.featureChannelOffset, g.featureChannelMaxCount));
  }
  call.check_channel_offset("destinationFeatureChannelOffset", destination_channel_);
  std::vector<std::size_t> read = available;
  const std::size_t written = channels(read);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    call.check_channels(one_of("sourceImages", i), from[i], available[i], read[i],
                        sources_[i].featureChannelOffset);
  }
  call.check_written(to, destination_channel_ + written);
  for (std::size_t i = 0; stacked && i < sources.size(); ++i) {
    call.check_images(one_of("sourceImages", i), from[i], sources_[i].offset.z, clip.images,
                      "its offset.z and clipRect");
  }
  check(from, to, states != nullptr ? (*states)[0].get() : nullptr, count);

  detail::MultiaryEncoding encoding{call.recording(), {}, {}, states};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const SourceGeometry& g = sources_[i];
    TensorView view = call.source(sources[i]);
    if (stacked) view = detail::images(view, g.offset.z, clip.images);
    encoding.sources.push_back(
        detail::feature_channels(view, static_cast<std::int64_t>(g.featureChannelOffset),
                                 static_cast<std::int32_t>(read[i])));
  }
  TensorView whole = call.destination(destination);
  if (stacked) whole = detail::images(whole, clip.z, clip.images);
  const auto first_written = static_cast<std::int64_t>(destination_channel_);
  encoding.destination = detail::window(
      detail::feature_channels(whole, first_written, static_cast<std::int32_t>(written)), clip.x,
      clip.y, clip.width, clip.height);
  if (states != nullptr) set_forward(*states, from, to);
  record(encoding);
  call.scatter(destination, encoding.destination, clip.x, clip.y, first_written);
  for (const Operand& source : sources) call.consume(source);
}

void CNNMultiaryKernel::encode(const CommandBuffer& commandBuffer,
                               std::span<const Image> sourceImages,
                               const Image& destinationImage) const {
  run(commandBuffer, operands(sourceImages), nullptr, Operand(destinationImage));
}
void CNNMultiaryKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                    std::span<const ImageBatch> sourceImages,
                                    const ImageBatch& destinationImages) const {
  run(commandBuffer, operands(sourceImages), nullptr, Operand(destinationImages));
}

Image CNNMultiaryKernel::encode(const CommandBuffer& commandBuffer,
                                std::span<const Image> sourceImages) {
  Image destination = make_destination(commandBuffer, sourceImages);
  encode(commandBuffer, sourceImages, destination);
  return destination;
}
ImageBatch CNNMultiaryKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                          std::span<const ImageBatch> sourceImages) {
  return encodeBatch(commandBuffer, sourceImages, nullptr, true);
}

Image CNNMultiaryKernel::make_destination(const CommandBuffer& commandBuffer,
                                          std::span<const Image> sourceImages) {
  check_source_count(sourceImages.size());
  const Encode call(*this, commandBuffer);
  for (std::size_t i = 0; i < sourceImages.size(); ++i)
    call.check_operand(one_of("sourceImages", i), Operand(sourceImages[i]));
  ImageDescriptor descriptor = destinationImageDescriptor(sourceImages, {});
  return allocator_->image(commandBuffer, descriptor, *this);
}

Image CNNMultiaryKernel::encode_with_state(const CommandBuffer& commandBuffer,
                                           std::span<const Image> sourceImages, StatePtr& state,
                                           bool temporary) {
  Image destination = make_destination(commandBuffer, sourceImages);
  state = temporary ? temporaryResultState(commandBuffer, sourceImages, {}, destination)
                    : resultState(sourceImages, {}, destination);
  const StateBatch states = StateBatch::repeated(state, 1);
  run(commandBuffer, operands(sourceImages), state ? &states : nullptr, Operand(destination));
  return destination;
}

ImageBatch CNNMultiaryKernel::encodeBatch(const CommandBuffer& commandBuffer,
                                          std::span<const ImageBatch> sourceImages,
                                          StateBatch* destinationStates,
                                          bool destinationStateIsTemporary) {
  if (destinationStates != nullptr) *destinationStates = {};
  check_source_batches(sourceImages);
  if (sourceImages[0].empty()) return {};
  const Encode call(*this, commandBuffer);
  for (std::size_t i = 0; i < sourceImages.size(); ++i)
    call.check_operand(one_of("sourceImages", i), Operand(sourceImages[i]));
  ImageDescriptor descriptor = destinationImageDescriptor(fronts(sourceImages), {});
  ImageBatch destinations =
      allocator_->imageBatch(commandBuffer, descriptor, *this, sourceImages[0].size());
  StateBatch states;
  if (destinationStates != nullptr) {
    states = destinationStateIsTemporary
                 ? temporaryResultStateBatch(commandBuffer, sourceImages, {}, destinations)
                 : resultStateBatch(sourceImages, {}, destinations);
  }
  run(commandBuffer, operands(sourceImages), states.empty() ? nullptr : &states,
      Operand(destinations));
  if (destinationStates != nullptr) *destinationStates = std::move(states);
  return destinations;
}

}  // namespace cermet
