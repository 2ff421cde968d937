#include "cermet/core/image.h"

#include <algorithm>
#include <array>
#include <limits>

#include "core/image_checks.h"

namespace cermet {

using detail::checked;
using detail::ImageRecord;
using detail::inside;
using detail::misuse;

namespace {

/// Bytes of `count` images, or nothing where that is more than memory can be.
std::optional<std::size_t> bytes_of(const ImageDescriptor& d, std::size_t count) {
  std::size_t bytes = size_of(element_type(d.channelFormat));
  for (const std::size_t extent : {d.width, d.height, d.featureChannels, d.numberOfImages, count}) {
    constexpr auto most = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / 4;
    if (extent != 0 && bytes > most / extent) return std::nullopt;
    bytes *= extent;
  }
  return bytes;
}

int components(std::size_t channels) { return channels >= 3 ? 4 : static_cast<int>(channels); }

class PermanentAllocator final : public ImageAllocator {
 public:
  [[nodiscard]] bool supportsSecureCoding() const override { return true; }
  [[nodiscard]] std::string_view archive_name() const override { return "Image.defaultAllocator"; }

 private:
  Image image(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
              const Kernel&) override {
    return {commandBuffer.device(), descriptor};
  }
  ImageBatch imageBatch(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
                        const Kernel&, std::size_t count) override {
    return {commandBuffer.device(), descriptor, count};
  }
};

class TemporaryAllocator final : public ImageAllocator {
 public:
  [[nodiscard]] bool supportsSecureCoding() const override { return true; }
  [[nodiscard]] std::string_view archive_name() const override {
    return "TemporaryImage.defaultAllocator";
  }

 private:
  Image image(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
              const Kernel&) override {
    return TemporaryImage(commandBuffer, descriptor);
  }
  ImageBatch imageBatch(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
                        const Kernel&, std::size_t count) override {
    return {commandBuffer, descriptor, count};
  }
};

}  // namespace

namespace detail {

std::shared_ptr<ImageRecord> ImageRecord::make(const Device& device,
                                               const ImageDescriptor& descriptor, std::size_t count,
                                               Recording* maker) {
  if (!device) fail({"Image", "", "device", "nil", "a device", ""});
  const auto& d = descriptor;
  constexpr auto limit = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  const auto fits = [](std::size_t extent) { return extent >= 1 && extent <= limit; };
  const std::optional<std::size_t> bytes = bytes_of(d, count);
  if (!fits(d.width) || !fits(d.height) || !fits(d.featureChannels) || !fits(d.numberOfImages) ||
      !bytes || !fits(count * d.numberOfImages)) {
    fail({"Image", "", "imageDescriptor",
          std::to_string(d.numberOfImages) + " image(s) of " + std::to_string(d.width) + "x" +
              std::to_string(d.height) + "x" + std::to_string(d.featureChannels),
          bytes ? "extents of 1 or more" : "what fits into memory",
          "Set width, height and featureChannels."});
  }
  auto record = std::make_shared<ImageRecord>();
  record->device = device;
  record->descriptor = descriptor;
  if (descriptor.channelFormat == ImageFeatureChannelFormat::None) {
    record->descriptor.channelFormat = ImageFeatureChannelFormat::Float16;
  }
  record->count = static_cast<std::uint32_t>(count);
  record->desc =
      dense_desc(static_cast<std::int32_t>(count * d.numberOfImages),
                 static_cast<std::int32_t>(d.height), static_cast<std::int32_t>(d.width),
                 static_cast<std::int32_t>(d.featureChannels), element_type(d.channelFormat));
  if (maker != nullptr) {
    record->counter.begin(maker->family, record->count);
    record->memory = maker->temporary(*bytes);
  }
  return record;
}

void ImageRecord::check_reads_left(std::uint32_t index) const {
  if (counter.temporary && counter.reads_of(index) == 0) {
    fail({"Image", label, "the image", "read for the last time already",
          "a temporary image with reads left",
          "Raise readCount once for every encode that reads it or a view of it."});
  }
}

const MemoryPtr& ImageRecord::storage() {
  if (parent) {
    parent->check_reads_left(parent_index);
    return parent->storage();
  }
  if (counter.temporary && counter.gone()) check_reads_left(0);
  if (!memory) {
    memory = DeviceImpl::of(device).allocator->allocate(
        static_cast<std::size_t>(desc.count()) * size_of(desc.type), true);
  }
  return memory;
}

std::byte* ImageRecord::address() { return storage()->data + byte_offset; }

void ImageRecord::change_reads(std::uint32_t first, std::uint32_t n, std::ptrdiff_t amount,
                               Recording* recording) {
  if (counter.gone()) return;
  counter.change(first, n, amount, "TemporaryImage", label);
  if (counter.gone()) release(recording);
}

void ImageRecord::release(Recording* recording) {
  if (parent) {  // a view took over one of the parent's reads
    parent->change_reads(parent_index, 1, -1, recording);
    return;
  }
  // Without a recording the block returns to the device once the encodes that used it have run.
  if (memory && recording != nullptr) recording->recycle(std::move(memory));
  memory.reset();
}

TensorView view_of(const Image& image) {
  const auto& record = ImageRecord::of(image);
  TensorDesc desc = record->desc;
  desc.n = static_cast<std::int32_t>(record->descriptor.numberOfImages);
  const std::int64_t skip = std::int64_t{desc.n} * ImageRecord::index_of(image) * desc.stride_n;
  return {desc, record->address() + skip * static_cast<std::int64_t>(size_of(desc.type))};
}

}  // namespace detail

PixelFormat ImageDescriptor::pixelFormat() const {
  const int kind = components(featureChannels);
  const auto pick = [kind](PixelFormat r, PixelFormat rg, PixelFormat rgba) {
    return kind == 1 ? r : kind == 2 ? rg : rgba;
  };
  switch (channelFormat) {
    case ImageFeatureChannelFormat::Unorm8:
      return pick(PixelFormat::R8Unorm, PixelFormat::RG8Unorm, PixelFormat::RGBA8Unorm);
    case ImageFeatureChannelFormat::Unorm16:
      return pick(PixelFormat::R16Unorm, PixelFormat::RG16Unorm, PixelFormat::RGBA16Unorm);
    case ImageFeatureChannelFormat::Float32:
      return pick(PixelFormat::R32Float, PixelFormat::RG32Float, PixelFormat::RGBA32Float);
    case ImageFeatureChannelFormat::BFloat16:
      return PixelFormat::RGBA16Unorm;  // spec: core 5.2(4)
    case ImageFeatureChannelFormat::None:
    case ImageFeatureChannelFormat::Float16:
      break;
  }
  return pick(PixelFormat::R16Float, PixelFormat::RG16Float, PixelFormat::RGBA16Float);
}

ImageDescriptor ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat channelFormat,
                                                 std::size_t width, std::size_t height,
                                                 std::size_t featureChannels,
                                                 std::size_t numberOfImages, TextureUsage usage) {
  ImageDescriptor descriptor;
  descriptor.width = width;
  descriptor.height = height;
  descriptor.featureChannels = featureChannels;
  descriptor.numberOfImages = numberOfImages;
  descriptor.channelFormat = channelFormat;
  descriptor.usage = usage;
  return descriptor;
}

std::span<const Coder::Stock> ImageAllocator::stock() {
  static constexpr std::array<Coder::Stock, 2> allocators{
      {{"Image.defaultAllocator",
        [](Coder&) -> std::shared_ptr<Codable> { return Image::defaultAllocator(); }},
       {"TemporaryImage.defaultAllocator",
        [](Coder&) -> std::shared_ptr<Codable> { return TemporaryImage::defaultAllocator(); }}}};
  return allocators;
}

ImageBatch ImageAllocator::imageBatch(const CommandBuffer& commandBuffer,
                                      ImageDescriptor& descriptor, const Kernel& kernel,
                                      std::size_t count) {
  std::vector<Image> images;
  for (std::size_t i = 0; i < count; ++i)
    images.push_back(image(commandBuffer, descriptor, kernel));
  return images;
}

Image::Image(const Device& device, const ImageDescriptor& imageDescriptor)
    : record_(ImageRecord::make(device, imageDescriptor, 1, nullptr)) {}

Image::Image(const Image& parentImage, Range sliceRange, std::size_t featureChannels) {
  const auto& parent = checked(parentImage);
  parent->check_reads_left(parentImage.index_);
  const auto slices = [](std::size_t channels) { return channels / 4 + (channels % 4 != 0); };
  const ImageDescriptor& d = parent->descriptor;
  const std::size_t of_parent = slices(d.featureChannels), of_view = slices(featureChannels);
  const auto [location, length] = sliceRange;
  if (featureChannels == 0 || of_view > of_parent) {
    misuse(parentImage, "featureChannels", std::to_string(featureChannels),
           "1 to " + std::to_string(4 * of_parent) + ", as many as the parent's slices hold", "");
  }
  if (length == 0 || length % of_view != 0 ||
      !inside(location, length, of_parent * d.numberOfImages)) {
    misuse(parentImage, "sliceRange",
           std::to_string(length) + " slices from " + std::to_string(location),
           "a multiple of " + std::to_string(of_view) + " slices below " +
               std::to_string(of_parent * d.numberOfImages),
           "");
  }
  const std::size_t first_slice = location % of_parent, count = length / of_view;
  const bool in_one = first_slice + length <= of_parent;
  if (!in_one && (of_view != of_parent || first_slice != 0)) {
    misuse(parentImage, "sliceRange",
           std::to_string(length) + " slices from " + std::to_string(location),
           "slices of one image, or whole images of " + std::to_string(of_parent) + " slices",
           "Make a view of each image.");
  }
  const std::size_t last_channel =
      4 * (first_slice + (in_one ? length - of_view : 0)) + featureChannels;
  if (last_channel > d.featureChannels) {
    misuse(parentImage, "featureChannels", std::to_string(featureChannels),
           "channels that the parent has, " + std::to_string(d.featureChannels), "");
  }
  auto view = std::make_shared<ImageRecord>();
  view->device = parent->device;
  view->descriptor = d;
  view->descriptor.featureChannels = featureChannels;
  view->descriptor.numberOfImages = count;
  view->desc = parent->desc;
  view->desc.n = static_cast<std::int32_t>(count);
  view->desc.c = static_cast<std::int32_t>(featureChannels);
  if (in_one && count > 1) view->desc.stride_n = static_cast<std::int64_t>(4 * of_view);
  const std::size_t image = parentImage.index_ * d.numberOfImages + location / of_parent;
  view->byte_offset = parent->byte_offset +
                      (image * static_cast<std::size_t>(parent->desc.stride_n) + 4 * first_slice) *
                          size_of(parent->desc.type);
  view->parent = parent;
  view->parent_index = parentImage.index_;
  if (parent->counter.temporary) view->counter.begin(parent->counter.family, view->count);
  record_ = std::move(view);
}

std::shared_ptr<ImageAllocator> Image::defaultAllocator() {
  static const auto allocator = std::make_shared<PermanentAllocator>();
  return allocator;
}

Device Image::device() const { return checked(*this)->device; }
std::size_t Image::width() const { return checked(*this)->descriptor.width; }
std::size_t Image::height() const { return checked(*this)->descriptor.height; }
std::size_t Image::featureChannels() const { return checked(*this)->descriptor.featureChannels; }
std::size_t Image::numberOfImages() const { return checked(*this)->descriptor.numberOfImages; }
ImageFeatureChannelFormat Image::featureChannelFormat() const {
  return checked(*this)->descriptor.channelFormat;
}
PixelFormat Image::pixelFormat() const { return checked(*this)->descriptor.pixelFormat(); }
TextureUsage Image::usage() const { return checked(*this)->descriptor.usage; }
TextureType Image::textureType() const {
  return featureChannels() <= 4 && numberOfImages() == 1 ? TextureType::Type2D
                                                         : TextureType::Type2DArray;
}
std::size_t Image::precision() const {
  switch (featureChannelFormat()) {
    case ImageFeatureChannelFormat::Unorm8:
    case ImageFeatureChannelFormat::BFloat16:
      return 8;
    case ImageFeatureChannelFormat::Unorm16:
      return 16;
    case ImageFeatureChannelFormat::Float32:
      return 24;
    case ImageFeatureChannelFormat::None:
    case ImageFeatureChannelFormat::Float16:
      break;
  }
  return 11;
}
std::size_t Image::pixelSize() const {
  return size_of(checked(*this)->desc.type) *
         static_cast<std::size_t>(components(featureChannels()));
}
std::string Image::label() const { return checked(*this)->label; }
void Image::setLabel(std::string label) { checked(*this)->label = std::move(label); }
Image Image::parent() const {
  const auto& record = checked(*this);
  return record->parent ? Image(record->parent, record->parent_index) : Image();
}

ImageBatch Image::batchRepresentation() const { return batchRepresentation({0, numberOfImages()}); }

ImageBatch Image::batchRepresentation(Range subRange) const {
  const auto& record = checked(*this);
  record->check_reads_left(index_);
  if (subRange.length == 0 || !inside(subRange.location, subRange.length, numberOfImages())) {
    misuse(*this, "subRange",
           std::to_string(subRange.length) + " images from " + std::to_string(subRange.location),
           "images below " + std::to_string(numberOfImages()), "");
  }
  auto view = std::make_shared<ImageRecord>();
  view->device = record->device;
  view->descriptor = record->descriptor;
  view->descriptor.numberOfImages = 1;
  view->count = static_cast<std::uint32_t>(subRange.length);
  view->desc = record->desc;
  view->desc.n = static_cast<std::int32_t>(subRange.length);
  const std::size_t first = index_ * record->descriptor.numberOfImages + subRange.location;
  view->byte_offset = record->byte_offset + first *
                                                static_cast<std::size_t>(record->desc.stride_n) *
                                                size_of(record->desc.type);
  view->parent = record;
  view->parent_index = index_;
  if (record->counter.temporary) view->counter.begin(record->counter.family, view->count);
  return ImageRecord::batch(std::move(view), 0, static_cast<std::uint32_t>(subRange.length));
}

Image Image::subImage(Range featureChannelRange) const {
  const auto& record = checked(*this);
  record->check_reads_left(index_);
  const auto [location, wanted] = featureChannelRange;
  const std::size_t channels = featureChannels();
  const std::size_t length = location < channels ? std::min(wanted, channels - location) : 0;
  if (length == 0 || location % 4 != 0 || (wanted % 4 != 0 && wanted < channels - location)) {
    misuse(*this, "featureChannelRange",
           std::to_string(wanted) + " channels from " + std::to_string(location),
           "multiples of 4 inside " + std::to_string(channels) + " channels", "");
  }
  auto view = std::make_shared<ImageRecord>();
  view->device = record->device;
  view->descriptor = record->descriptor;
  view->descriptor.featureChannels = length;
  view->desc = record->desc;
  view->desc.n = static_cast<std::int32_t>(record->descriptor.numberOfImages);
  view->desc.c = static_cast<std::int32_t>(length);
  const std::size_t first = index_ * record->descriptor.numberOfImages;
  view->byte_offset =
      record->byte_offset + (first * static_cast<std::size_t>(record->desc.stride_n) + location) *
                                size_of(record->desc.type);
  view->parent = record;
  view->parent_index = index_;
  if (record->counter.temporary) view->counter.begin(record->counter.family, view->count);
  return {std::move(view), 0};
}

std::size_t Image::resourceSize() const {
  const auto& record = checked(*this);
  if (record->parent) return 0;
  return static_cast<std::size_t>(record->desc.count()) / record->count *
         size_of(record->desc.type);
}
PurgeableState Image::setPurgeableState(PurgeableState) const {
  const ImageRecord* owner = checked(*this).get();
  while (owner->parent) owner = owner->parent.get();
  return owner->memory ? PurgeableState::NonVolatile : PurgeableState::AllocationDeferred;
}
void Image::synchronize(const CommandBuffer& commandBuffer) const {
  static_cast<void>(checked(*this));
  static_cast<void>(commandBuffer.recording());
}

bool Image::is_temporary() const { return checked(*this)->counter.temporary; }
std::size_t Image::readCount() const {
  const auto& record = checked(*this);
  return record->counter.temporary ? static_cast<std::size_t>(record->counter.reads_of(index_)) : 0;
}
void Image::setReadCount(std::size_t count) const {
  const auto& record = checked(*this);
  if (!record->counter.temporary || record->counter.reads_of(index_) == 0) {
    misuse(*this, "readCount",
           record->counter.temporary ? "0: the storage is gone" : "of a permanent image",
           "a temporary image that still has reads", "");
  }
  record->change_reads(
      index_, 1, static_cast<std::ptrdiff_t>(count) - record->counter.reads_of(index_), nullptr);
}

TemporaryImage::TemporaryImage(const CommandBuffer& commandBuffer,
                               const ImageDescriptor& imageDescriptor)
    : Image(ImageBatch(commandBuffer, imageDescriptor, 1).front()) {}

std::shared_ptr<ImageAllocator> TemporaryImage::defaultAllocator() {
  static const auto allocator = std::make_shared<TemporaryAllocator>();
  return allocator;
}

void TemporaryImage::prefetchStorage(const CommandBuffer& commandBuffer,
                                     std::span<const ImageDescriptor> imageDescriptorList) {
  detail::Recording& recording = commandBuffer.recording();
  std::vector<detail::MemoryPtr> blocks;
  for (const ImageDescriptor& d : imageDescriptorList) {
    if (const auto bytes = bytes_of(d, 1)) blocks.push_back(recording.temporary(*bytes));
  }
  for (auto& block : blocks) recording.recycle(std::move(block));
}

ImageBatch::ImageBatch(std::vector<Image> images) {
  if (images.empty()) return;
  const auto& record = ImageRecord::of(images[0]);
  const std::uint32_t first = ImageRecord::index_of(images[0]);
  bool run = record != nullptr;
  for (std::size_t i = 1; i < images.size() && run; ++i) {
    run = ImageRecord::of(images[i]) == record && ImageRecord::index_of(images[i]) == first + i;
  }
  if (run) {
    record_ = record;
    first_ = first;
    count_ = static_cast<std::uint32_t>(images.size());
  } else {
    loose_ = std::move(images);
  }
}

ImageBatch::ImageBatch(const Device& device, const ImageDescriptor& descriptor, std::size_t count) {
  if (count == 0) return;
  record_ = ImageRecord::make(device, descriptor, count, nullptr);
  count_ = static_cast<std::uint32_t>(count);
}
ImageBatch::ImageBatch(const CommandBuffer& commandBuffer, const ImageDescriptor& descriptor,
                       std::size_t count) {
  if (count == 0) return;
  detail::Recording& recording = commandBuffer.recording();
  record_ = ImageRecord::make(recording.device(), descriptor, count, &recording);
  count_ = static_cast<std::uint32_t>(count);
}

Image ImageBatch::operator[](std::size_t index) const {
  if (index >= size()) {
    fail({"ImageBatch", "", "index", std::to_string(index), "less than " + std::to_string(size()),
          ""});
  }
  return loose_.empty() ? Image(record_, first_ + static_cast<std::uint32_t>(index))
                        : loose_[index];
}

ImageBatch ImageBatch::subrange(Range range) const {
  if (!inside(range.location, range.length, size())) {
    fail({"ImageBatch", "", "range",
          std::to_string(range.length) + " images from " + std::to_string(range.location),
          "images below " + std::to_string(size()), ""});
  }
  if (!loose_.empty()) {
    const auto first = loose_.begin() + static_cast<std::ptrdiff_t>(range.location);
    return std::vector<Image>(first, first + static_cast<std::ptrdiff_t>(range.length));
  }
  if (range.length == 0) return {};
  return ImageRecord::batch(record_, first_ + static_cast<std::uint32_t>(range.location),
                            static_cast<std::uint32_t>(range.length));
}

std::size_t ImageBatchIncrementReadCount(const ImageBatch& batch, std::ptrdiff_t amount) {
  if (const auto run = ImageRecord::run_of(batch); run.record != nullptr) {
    if (run.record->counter.temporary)
      run.record->change_reads(run.first, run.count, amount, nullptr);
    return run.count;
  }
  std::size_t distinct = 0;
  ImageBatchIterate(batch, [&](const Image& image,
                               std::size_t) {  // first, so that all or none change
    ++distinct;
    const auto& record = checked(image);
    if (!record->counter.temporary) return std::numeric_limits<std::ptrdiff_t>::min();
    record->counter.check(ImageRecord::index_of(image), 1, amount, "TemporaryImage", record->label);
    return std::numeric_limits<std::ptrdiff_t>::min();
  });
  ImageBatchIterate(batch, [&](const Image& image, std::size_t) {
    const auto& record = checked(image);
    if (record->counter.temporary)
      record->change_reads(ImageRecord::index_of(image), 1, amount, nullptr);
    return std::numeric_limits<std::ptrdiff_t>::min();
  });
  return distinct;
}

void ImageBatchSynchronize(const ImageBatch& batch, const CommandBuffer& commandBuffer) {
  for (const Image image : batch) image.synchronize(commandBuffer);
}

std::size_t ImageBatchResourceSize(const ImageBatch& batch) {
  std::size_t bytes = 0;
  ImageBatchIterate(batch, [&](const Image& image, std::size_t) {
    bytes += image.resourceSize();
    return std::numeric_limits<std::ptrdiff_t>::min();
  });
  return bytes;
}

std::ptrdiff_t ImageBatchIterate(const ImageBatch& batch,
                                 const std::function<std::ptrdiff_t(Image, std::size_t)>& visit) {
  constexpr auto go_on = std::numeric_limits<std::ptrdiff_t>::min();
  std::vector<Image> seen;
  const bool run = ImageRecord::run_of(batch).record != nullptr;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Image image = batch[i];
    if (!run) {
      if (std::find(seen.begin(), seen.end(), image) != seen.end()) continue;
      seen.push_back(image);
    }
    if (const std::ptrdiff_t answer = visit(image, i); answer > go_on) return answer;
  }
  return go_on;
}

}  // namespace cermet
