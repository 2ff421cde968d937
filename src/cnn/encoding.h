#pragma once
// What a kernel sees while it records: tensors whose windows are resolved, and how to add steps.

#include <initializer_list>

#include "cermet/cnn/multiary_kernel.h"
#include "cermet/core/step_memo.h"
#include "core/image_impl.h"
#include "core/state_impl.h"

namespace cermet::detail {

/// One image or a batch of them, as an argument of an encode.
struct Operand {
  const Image* image = nullptr;
  const ImageBatch* batch = nullptr;

  explicit Operand(const Image& one) : image(&one) {}
  explicit Operand(const ImageBatch& many) : batch(&many) {}
  [[nodiscard]] std::size_t count() const { return image != nullptr ? 1 : batch->size(); }
  [[nodiscard]] Image front() const { return image != nullptr ? *image : batch->front(); }
};

/// What an encode needs besides operator and tensors.
struct EncodeExtras {
  const void* scalars = nullptr;
  std::size_t scalar_bytes = 0;
  LateSlot late{};  // its view has the master's description and address
  EncodeCounter counter{};
};
/// Records `op` on these slots; absent slots are default-made views.
void encode(Recording& recording, StepMemo& memo, const OpView& op,
            std::span<const TensorView> slots, const EncodeExtras& extras = {});
template <Operator Op>
void encode(Recording& recording, StepMemo& memo, const Op& op,
            std::initializer_list<TensorView> slots) {
  encode(recording, memo, view_of(op), std::span(slots.begin(), slots.size()));
}
template <Operator Op>
void encode(Recording& recording, StepMemo& memo, const Op& op,
            std::initializer_list<TensorView> slots, const typename Op::Scalars& scalars) {
  static_assert(sizeof(scalars) <= max_scalar_bytes);
  encode(recording, memo, view_of(op), std::span(slots.begin(), slots.size()),
         {&scalars, sizeof scalars});
}

/// A view of a buffer's bytes from `offset`, kept alive by the recording. A nil buffer is absent.
[[nodiscard]] TensorView view_of(Recording& recording, const Buffer& buffer, TensorDesc desc,
                                 std::size_t offset = 0);
/// Dense scratch memory of this shape, good until the stream's later steps reuse it: valid for the
/// steps of the present encode.
struct ScratchTensor {
  ScratchTensor(Recording& recording, TensorDesc desc);
  ~ScratchTensor();
  ScratchTensor(const ScratchTensor&) = delete;
  ScratchTensor& operator=(const ScratchTensor&) = delete;
  TensorView view;

 private:
  Recording& recording_;
  MemoryPtr memory_;
};

/// The rows and columns `[x, x+w) x [y, y+h)` of a plain tensor.
[[nodiscard]] TensorView window(TensorView view, std::int64_t x, std::int64_t y, std::int32_t w,
                                std::int32_t h);
/// Images `[first, first + count)`.
[[nodiscard]] TensorView images(TensorView view, std::int64_t first, std::int32_t count);
/// Channels `[first, first + count)`.
[[nodiscard]] TensorView feature_channels(TensorView view, std::int64_t first, std::int32_t count);
/// The part of the images `all` of `image`'s size; `stacked`: of one object, of which the region
/// selects some. Nothing where they do not meet.
[[nodiscard]] TensorView region(const TensorView& all, const Region& part, const Image& image,
                                bool stacked);

/// A source brought to the extents of the destination: pixel (x, y) is source pixel (x + offset.x,
/// y + offset.y), with the edge rule outside. A plain window where it lies inside.
class AlignedSource {
 public:
  AlignedSource(Recording& recording, const TensorView& source, Offset offset, std::int32_t width,
                std::int32_t height, ImageEdgeMode edge);
  [[nodiscard]] const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  std::unique_ptr<ScratchTensor> scratch_;
};

struct UnaryEncoding {
  Recording& recording;
  TensorView source;              // channel range applied, whole width and height
  TensorView destination;         // the region that is written; `record` may cut it at its end
  const StateBatch* states;       // null: none
  std::uint32_t first_image = 0;  // index in the batch of the first image of these views

  [[nodiscard]] AlignedSource aligned(const CNNKernel& kernel) const {
    return {recording,          source,           kernel.offset(), destination.desc.w,
            destination.desc.h, kernel.edgeMode()};
  }
};

struct BinaryEncoding {
  Recording& recording;
  TensorView primary, secondary;
  TensorView destination;              // as above; absent where the kernel writes none
  const StateBatch* states;            // null: none
  std::int32_t width = 0, height = 0;  // of the destination's region
};

struct MultiaryEncoding {
  Recording& recording;
  std::vector<TensorView> sources;  // channel ranges applied, whole width and height
  TensorView destination;           // the region that is written
  const StateBatch* states;         // null: none

  [[nodiscard]] AlignedSource aligned(const CNNMultiaryKernel& kernel, std::size_t index) const {
    return {recording,          sources[index],     kernel.offset(index),
            destination.desc.w, destination.desc.h, kernel.edgeMode(index)};
  }
};

/// The destination region of a clip rectangle, with images of one object along z.
struct ClipWindow {
  std::int64_t x = 0, y = 0, z = 0;
  std::int32_t width = 0, height = 0, images = 0;
};
/// Empty regions have width 0.
[[nodiscard]] ClipWindow clip_window(const Region& clip, const Image& destination);

/// Checks and resolves the arguments of one encode; consumes read counts at its end.
class Encode {
 public:
  Encode(const Kernel& kernel, const CommandBuffer& commandBuffer);

  [[nodiscard]] Recording& recording() const { return recording_; }
  /// Checks that the operand's images exist, agree and may be used here.
  void check_operand(std::string_view argument, const Operand& operand) const;
  void check_counts(std::string_view argument, const Operand& operand, std::string_view other,
                    std::size_t count) const;
  void check_edge(ImageEdgeMode mode, std::string_view argument = "edgeMode",
                  bool is_padding = false) const;
  void check_states(std::string_view argument, const StateBatch& states, std::size_t count) const;
  /// The region that is written.
  [[nodiscard]] ClipWindow check_clip(const Region& clip, const Image& destination) const;
  void check_channel_offset(std::string_view argument, std::size_t offset) const;
  /// `available` of the image's channels, from channel `first`, must reach `needed`, or 1.
  void check_channels(std::string_view argument, const Image& image, std::size_t available,
                      std::size_t needed, std::size_t first) const;
  void check_written(const Image& destination, std::size_t channels) const;
  /// Images `[z, z + count)` must lie in the image; `selected_by` ends the message.
  void check_images(std::string_view argument, const Image& image, std::ptrdiff_t z,
                    std::int32_t count, std::string_view selected_by) const;

  /// Whole images as one tensor; a loose list is gathered.
  [[nodiscard]] TensorView source(const Operand& operand);
  /// As `source`, for writing: a loose list becomes scratch that `scatter` brings home.
  [[nodiscard]] TensorView destination(const Operand& operand);
  /// Copies a loose destination's region to its images, in order.
  void scatter(const Operand& operand, const TensorView& region, std::int64_t x, std::int64_t y,
               std::int64_t first_channel);

  void consume(const Operand& operand);
  void consume(const StateBatch& states);

 private:
  [[noreturn]] void complain(std::string_view argument, std::string got, std::string needed,
                             std::string remedy = {}) const;
  const Kernel& kernel_;
  Recording& recording_;
  std::vector<std::unique_ptr<ScratchTensor>> scratch_;
};

[[nodiscard]] std::string describe(const Image& image);
[[nodiscard]] std::string describe(const Operand& operand);
[[nodiscard]] std::string describe(const Region& region);
/// "a region that meets the source, 5x4x3 Float32"
[[nodiscard]] std::string region_of(std::string_view what, const Image& image);

}  // namespace cermet::detail
