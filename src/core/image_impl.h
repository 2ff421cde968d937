#pragma once
// What stands behind Image and ImageBatch: a run of images over one tensor.

#include <vector>

#include "cermet/core/image.h"
#include "core/device_impl.h"
#include "core/read_counter.h"

namespace cermet::detail {

struct ImageRecord {
  Device device;
  ImageDescriptor descriptor;
  std::uint32_t count = 1;      // images of this record; each has descriptor.numberOfImages
  TensorDesc desc;              // all of them: n = count * numberOfImages
  MemoryPtr memory;             // made at first use
  std::size_t byte_offset = 0;  // of a view inside its parent's memory
  std::string label;

  std::shared_ptr<ImageRecord> parent;  // of a view
  std::uint32_t parent_index = 0;

  ReadCounter counter;

  [[nodiscard]] static const std::shared_ptr<ImageRecord>& of(const Image& image) {
    return image.record_;
  }
  [[nodiscard]] static std::uint32_t index_of(const Image& image) { return image.index_; }
  [[nodiscard]] static Image image(std::shared_ptr<ImageRecord> record, std::uint32_t index) {
    return {std::move(record), index};
  }
  struct Run {
    ImageRecord* record = nullptr;  // null: the batch is loose
    std::uint32_t first = 0, count = 0;
  };
  [[nodiscard]] static Run run_of(const ImageBatch& batch) {
    return {batch.loose_.empty() ? batch.record_.get() : nullptr, batch.first_, batch.count_};
  }
  [[nodiscard]] static const std::shared_ptr<ImageRecord>& record_of(const ImageBatch& batch) {
    return batch.record_;
  }
  [[nodiscard]] static ImageBatch batch(std::shared_ptr<ImageRecord> record, std::uint32_t first,
                                        std::uint32_t count) {
    ImageBatch result;
    result.record_ = std::move(record);
    result.first_ = first;
    result.count_ = count;
    return result;
  }

  [[nodiscard]] static std::shared_ptr<ImageRecord> make(const Device& device,
                                                         const ImageDescriptor& descriptor,
                                                         std::size_t count, Recording* maker);
  /// Storage and its retaining pointer, made on demand. Throws InvalidArgument once the last read
  /// is over, of this record or of one that it is a view of.
  [[nodiscard]] std::byte* address();
  [[nodiscard]] const MemoryPtr& storage();

  /// Adds to the count of `[first, first + n)`, skipping images at 0; releases at 0.
  void change_reads(std::uint32_t first, std::uint32_t n, std::ptrdiff_t amount,
                    Recording* recording);
  void release(Recording* recording);
  void check_reads_left(std::uint32_t index) const;
};

/// Raw host access for `readBytes`: address of image `index` and a description of it.
[[nodiscard]] TensorView view_of(const Image& image);

}  // namespace cermet::detail
