#pragma once
// Image, temporary images and batches of images.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cermet/core/coder.h"
#include "cermet/core/command_buffer.h"
#include "cermet/core/data_type.h"
#include "cermet/core/geometry.h"
#include "cermet/core/tensor_desc.h"

namespace cermet {

class Kernel;
class Image;
class ImageBatch;
namespace detail {
struct ImageRecord;
}

enum class PurgeableState : int {
  AllocationDeferred = 0,
  KeepCurrent = 1,
  NonVolatile = 2,
  Volatile = 3,
  Empty = 4,
};
enum class StorageMode : int { Shared = 0, Managed = 1, Private = 2, Memoryless = 3 };
enum class CPUCacheMode : int { DefaultCache = 0, WriteCombined = 1 };
enum class TextureUsage : unsigned {
  Unknown = 0,
  ShaderRead = 1,
  ShaderWrite = 2,
  ShaderReadWrite = 3,
  RenderTarget = 4,
};
/// Texel format that the original would choose (spec: core 5.2); ours is not stored this way.
enum class PixelFormat : int {
  Invalid = 0,
  R8Unorm = 10,
  R16Unorm = 20,
  R16Float = 25,
  RG8Unorm = 30,
  R32Float = 55,
  RG16Unorm = 60,
  RG16Float = 65,
  RGBA8Unorm = 70,
  RG32Float = 105,
  RGBA16Unorm = 110,
  RGBA16Float = 115,
  RGBA32Float = 125,
};
enum class TextureType : int { Type2D = 2, Type2DArray = 3 };

/// Extents and storage of an image to be made (spec: core 5.1).
struct ImageDescriptor {
  std::size_t width = 1, height = 1;
  std::size_t featureChannels = 1;
  /// Images stacked inside one image object; kernels' batch forms need 1.
  std::size_t numberOfImages = 1;
  /// `None`: the library chooses, Float16.
  ImageFeatureChannelFormat channelFormat = ImageFeatureChannelFormat::None;
  StorageMode storageMode = StorageMode::Shared;
  CPUCacheMode cpuCacheMode = CPUCacheMode::DefaultCache;
  TextureUsage usage = TextureUsage::ShaderReadWrite;

  [[nodiscard]] PixelFormat pixelFormat() const;
  [[nodiscard]] static ImageDescriptor imageDescriptor(
      ImageFeatureChannelFormat channelFormat, std::size_t width, std::size_t height,
      std::size_t featureChannels, std::size_t numberOfImages = 1,
      TextureUsage usage = TextureUsage::ShaderReadWrite);
  bool operator==(const ImageDescriptor&) const = default;
};

/// Makes the result images of kernels (spec: core 7). Client allocators may edit the descriptor.
/// The two stock ones can be archived.
class ImageAllocator : public Codable {
 public:
  [[nodiscard]] virtual Image image(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
                                    const Kernel& kernel) = 0;
  /// Calls `image` `count` times unless overridden.
  [[nodiscard]] virtual ImageBatch imageBatch(const CommandBuffer& commandBuffer,
                                              ImageDescriptor& descriptor, const Kernel& kernel,
                                              std::size_t count);
  /// For kernels: how archives name the stock allocators.
  [[nodiscard]] static std::span<const Coder::Stock> stock();
};

/// A small handle onto a window of a tensor: one image of a batch, a range of channels. Equal
/// handles are the same image. Storage is made at first use and starts at zero, temporaries
/// excepted.
class Image {
 public:
  Image() = default;
  /// An image that the host can read and write. Throws InvalidArgument for zero extents.
  Image(const Device& device, const ImageDescriptor& imageDescriptor);
  /// A view of slices of `parentImage`: an image of C channels has ceil(C / 4) of them, 4 channels
  /// each, image after image. The view has as many images of `featureChannels` channels as the
  /// slices make. They lie in one image of the parent, or the slices are whole images of it; others
  /// throw InvalidArgument.
  Image(const Image& parentImage, Range sliceRange, std::size_t featureChannels);

  [[nodiscard]] static std::shared_ptr<ImageAllocator> defaultAllocator();

  [[nodiscard]] explicit operator bool() const { return record_ != nullptr; }
  bool operator==(const Image&) const = default;

  [[nodiscard]] Device device() const;
  [[nodiscard]] std::size_t width() const;
  [[nodiscard]] std::size_t height() const;
  [[nodiscard]] std::size_t featureChannels() const;
  [[nodiscard]] std::size_t numberOfImages() const;
  [[nodiscard]] ImageFeatureChannelFormat featureChannelFormat() const;
  [[nodiscard]] PixelFormat pixelFormat() const;
  [[nodiscard]] TextureType textureType() const;
  [[nodiscard]] TextureUsage usage() const;
  /// Significant bits of a channel value: 8, 16, 11 or 24; 8 for bfloat16.
  [[nodiscard]] std::size_t precision() const;
  /// Bytes between texels as the original stores them: 1, 2 or 4 components.
  [[nodiscard]] std::size_t pixelSize() const;
  [[nodiscard]] std::string label() const;
  void setLabel(std::string label);
  /// The image this is a view of, or nil.
  [[nodiscard]] Image parent() const;

  /// Views that share storage with this image (spec: core 5.3).
  [[nodiscard]] ImageBatch batchRepresentation() const;
  [[nodiscard]] ImageBatch batchRepresentation(Range subRange) const;
  /// Channels `[location, location + length)`; both multiples of 4, a length too large is cut.
  [[nodiscard]] Image subImage(Range featureChannelRange) const;

  /// Moves whole images between host memory and the image, tightly packed, in storage type: HWC
  /// `[y][x][c]`, CHW `[c][y][x]` (spec: core 5.4). Errors: a temporary or private image.
  void readBytes(void* dataBytes, DataLayout dataLayout, std::size_t imageIndex = 0) const;
  void writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t imageIndex = 0) const;
  /// Strides in bytes for the windowed forms; 0 means dense. One too small for the loop that steps
  /// it is an error, one that is never stepped is not looked at.
  struct Strides {
    std::size_t bytesPerColumn = 0, bytesPerRow = 0, bytesPerImage = 0;
  };
  void readBytes(void* dataBytes, DataLayout dataLayout, Strides strides, const Region& region,
                 ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) const;
  void writeBytes(const void* dataBytes, DataLayout dataLayout, Strides strides,
                  const Region& region, ImageReadWriteParams featureChannelInfo,
                  std::size_t imageIndex) const;

  /// Bytes of storage; 0 for views. Does not allocate.
  [[nodiscard]] std::size_t resourceSize() const;
  PurgeableState setPurgeableState(PurgeableState state) const;
  /// Host and CPU device share memory: nothing is encoded.
  void synchronize(const CommandBuffer& commandBuffer) const;

  /// Reads left in a temporary image; 0 for a permanent one (spec: core 6).
  [[nodiscard]] std::size_t readCount() const;
  /// Setting 0 releases the storage. Errors: a permanent image; a count that is 0 already.
  void setReadCount(std::size_t count) const;

  [[nodiscard]] bool is_temporary() const;
  /// All values as float32, `[image][y][x][c]`; and the reverse, rounding to the storage type.
  [[nodiscard]] std::vector<float> read_floats() const;
  void write_floats(std::span<const float> values) const;

 private:
  friend class ImageBatch;
  friend struct detail::ImageRecord;
  Image(std::shared_ptr<detail::ImageRecord> record, std::uint32_t index)
      : record_(std::move(record)), index_(index) {}
  std::shared_ptr<detail::ImageRecord> record_;
  std::uint32_t index_ = 0;
};

/// Images that live inside one command buffer, until they have been read `readCount` times.
class TemporaryImage : public Image {
 public:
  /// Storage is undefined until written.
  TemporaryImage(const CommandBuffer& commandBuffer, const ImageDescriptor& imageDescriptor);
  [[nodiscard]] static TemporaryImage temporaryImage(const CommandBuffer& commandBuffer,
                                                     const ImageDescriptor& imageDescriptor) {
    return {commandBuffer, imageDescriptor};
  }
  [[nodiscard]] static std::shared_ptr<ImageAllocator> defaultAllocator();
  static void prefetchStorage(const CommandBuffer& commandBuffer,
                              std::span<const ImageDescriptor> imageDescriptorList);
};

/// Images of one size and format. Made together they are one contiguous tensor, and kernels run a
/// single step on it; a list of loose or repeated images is gathered to the same numbers.
class ImageBatch {
 public:
  ImageBatch() = default;
  ImageBatch(std::vector<Image> images);  // NOLINT(google-explicit-constructor): a batch is a list
  ImageBatch(std::initializer_list<Image> images) : ImageBatch(std::vector<Image>(images)) {}
  /// `count` permanent, or temporary, images in one tensor.
  ImageBatch(const Device& device, const ImageDescriptor& descriptor, std::size_t count);
  ImageBatch(const CommandBuffer& commandBuffer, const ImageDescriptor& descriptor,
             std::size_t count);

  [[nodiscard]] std::size_t size() const { return loose_.empty() ? count_ : loose_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] Image operator[](std::size_t index) const;
  [[nodiscard]] Image front() const { return (*this)[0]; }
  bool operator==(const ImageBatch&) const = default;
  /// Images `[location, location + length)`.
  [[nodiscard]] ImageBatch subrange(Range range) const;

  /// Host access to all images, in order and each as `Image::read_floats` and `write_floats` have
  /// it; images made together are copied at once.
  [[nodiscard]] std::vector<float> read_floats() const;
  void write_floats(std::span<const float> values) const;

  class Iterator {
   public:
    Iterator(const ImageBatch* batch, std::size_t index) : batch_(batch), index_(index) {}
    Image operator*() const { return (*batch_)[index_]; }
    Iterator& operator++() { return ++index_, *this; }
    bool operator==(const Iterator&) const = default;

   private:
    const ImageBatch* batch_;
    std::size_t index_;
  };
  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, size()}; }

 private:
  friend struct detail::ImageRecord;
  std::shared_ptr<detail::ImageRecord> record_;  // the common case: a run of one record
  std::uint32_t first_ = 0, count_ = 0;
  std::vector<Image> loose_;
};

/// Adds `amount` to the read count of each distinct temporary image that still has reads left;
/// returns the number of distinct images (spec: core 8).
std::size_t ImageBatchIncrementReadCount(const ImageBatch& batch, std::ptrdiff_t amount);
void ImageBatchSynchronize(const ImageBatch& batch, const CommandBuffer& commandBuffer);
[[nodiscard]] std::size_t ImageBatchResourceSize(const ImageBatch& batch);
/// Visits each distinct image with its first index until `visit` returns more than the smallest
/// integer; returns the last value.
std::ptrdiff_t ImageBatchIterate(const ImageBatch& batch,
                                 const std::function<std::ptrdiff_t(Image, std::size_t)>& visit);

}  // namespace cermet
