#pragma once
// The base classes of image kernels: one source, two sources, gradients. All encode variants live
// here; a concrete kernel says what it records (spec: core 10-14).

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cermet/cnn/padding.h"
#include "cermet/core/image.h"
#include "cermet/core/kernel.h"
#include "cermet/core/state.h"
#include "cermet/core/step_memo.h"
#include "cermet/core/type_name.h"

namespace cermet {

class CNNGradientKernel;
namespace detail {
struct UnaryEncoding;
struct BinaryEncoding;
struct Operand;
}  // namespace detail

inline constexpr std::size_t all_channels = std::numeric_limits<std::size_t>::max();

/// The geometry of a forward encode, as its gradient needs it (spec: core 9.3).
struct ForwardRecord {
  std::size_t sourceWidth = 0, sourceHeight = 0, sourceFeatureChannels = 0;
  std::size_t destinationWidth = 0, destinationHeight = 0, destinationFeatureChannels = 0;
  ImageFeatureChannelFormat sourceFormat = ImageFeatureChannelFormat::None;
  Offset offset;
  Region clipRect = RectNoClip;
  ImageEdgeMode edgeMode = ImageEdgeMode::Zero;
  std::size_t kernelWidth = 1, kernelHeight = 1;
  std::size_t strideInPixelsX = 1, strideInPixelsY = 1;
  std::size_t dilationRateX = 1, dilationRateY = 1;
  bool isBackwards = false;
  std::size_t sourceFeatureChannelOffset = 0, sourceFeatureChannelMaxCount = all_channels;
  std::size_t destinationFeatureChannelOffset = 0;
};

/// A state that knows the size of the forward source. Where a reverse filter is sized by a padding
/// policy, such a state gives the exact size, which rounding has lost.
class ImageSizeEncodingState {
 public:
  virtual ~ImageSizeEncodingState() = default;
  [[nodiscard]] virtual std::size_t sourceWidth() const = 0;
  [[nodiscard]] virtual std::size_t sourceHeight() const = 0;

 protected:
  ImageSizeEncodingState() = default;
  ImageSizeEncodingState(const ImageSizeEncodingState&) = default;
  ImageSizeEncodingState& operator=(const ImageSizeEncodingState&) = default;
};

/// Links a forward encode with its gradient. Made by a kernel's `resultState` or an encode that
/// returns it; opaque but for what subclasses show.
class NNGradientState : public State {
 public:
  /// Copies the forward geometry into a gradient kernel.
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor) override;
  [[nodiscard]] std::string_view class_name() const override { return "NNGradientState"; }

  // For kernels.
  [[nodiscard]] const ForwardRecord& forward() const { return forward_; }
  void set_forward(const ForwardRecord& forward) { forward_ = forward; }

 protected:
  explicit NNGradientState(const detail::StateOrigin& origin);

 private:
  friend class CNNKernel;
  ForwardRecord forward_;
};
using NNGradientStateBatch = StateBatch;

/// A kernel with one source image (spec: core 12).
class CNNKernel : public Kernel {
 public:
  /// Source position of `clipRect.origin`, at the centre of its window; encodes that return their
  /// result overwrite it. Default {0, 0, 0}.
  [[nodiscard]] Offset offset() const { return offset_; }
  void setOffset(Offset offset) { offset_ = offset; }
  /// The part of the destination that is written. Default RectNoClip.
  [[nodiscard]] const Region& clipRect() const { return clip_; }
  void setClipRect(const Region& clipRect) { clip_ = clipRect; }
  /// First channel written, a multiple of 4. Default 0.
  [[nodiscard]] std::size_t destinationFeatureChannelOffset() const { return destination_channel_; }
  void setDestinationFeatureChannelOffset(std::size_t offset) { destination_channel_ = offset; }
  /// First channel read, a multiple of 4. Default 0.
  [[nodiscard]] std::size_t sourceFeatureChannelOffset() const { return source_channel_; }
  void setSourceFeatureChannelOffset(std::size_t offset) { source_channel_ = offset; }
  [[nodiscard]] std::size_t sourceFeatureChannelMaxCount() const { return source_channels_; }
  void setSourceFeatureChannelMaxCount(std::size_t count) { source_channels_ = count; }
  /// What taps outside the source read: Zero (default) or Clamp.
  [[nodiscard]] ImageEdgeMode edgeMode() const { return edge_; }
  void setEdgeMode(ImageEdgeMode mode) { edge_ = mode; }
  [[nodiscard]] virtual std::size_t kernelWidth() const { return 1; }
  [[nodiscard]] virtual std::size_t kernelHeight() const { return 1; }
  [[nodiscard]] virtual std::size_t strideInPixelsX() const { return 1; }
  [[nodiscard]] virtual std::size_t strideInPixelsY() const { return 1; }
  [[nodiscard]] virtual std::size_t dilationRateX() const { return 1; }
  [[nodiscard]] virtual std::size_t dilationRateY() const { return 1; }
  [[nodiscard]] virtual bool isBackwards() const { return false; }
  [[nodiscard]] virtual bool isStateModified() const { return false; }
  [[nodiscard]] const std::shared_ptr<NNPadding>& padding() const { return padding_; }
  void setPadding(std::shared_ptr<NNPadding> padding);
  [[nodiscard]] const std::shared_ptr<ImageAllocator>& destinationImageAllocator() const {
    return allocator_;
  }
  void setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator);

  /// Encodes into a given destination with the properties as they stand; `padding` is not asked.
  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const Image& destinationImage) const;
  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const StatePtr& destinationState, const Image& destinationImage) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const ImageBatch& destinationImages) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const StateBatch& destinationStates, const ImageBatch& destinationImages) const;

  /// Sizes the result by the padding policy (which sets `offset`), makes it, and encodes.
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceImage);
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages);
  /// The same, with a result state made in between; `destinationState` is always assigned.
  template <class S>
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                             std::shared_ptr<S>* destinationState,
                             bool destinationStateIsTemporary) {
    StatePtr state;
    Image result =
        encode_with_state(commandBuffer, sourceImage, state, destinationStateIsTemporary);
    if (destinationState != nullptr) *destinationState = std::dynamic_pointer_cast<S>(state);
    return result;
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages,
                                       StateBatch* destinationStates,
                                       bool destinationStateIsTemporary);

  /// The state that an encode with the present properties fills; null where the class has none.
  [[nodiscard]] StatePtr resultState(const Image& sourceImage,
                                     std::span<const StatePtr> sourceStates,
                                     const Image& destinationImage) const;
  [[nodiscard]] StatePtr temporaryResultState(const CommandBuffer& commandBuffer,
                                              const Image& sourceImage,
                                              std::span<const StatePtr> sourceStates,
                                              const Image& destinationImage) const;
  [[nodiscard]] StateBatch resultStateBatch(const ImageBatch& sourceImages,
                                            std::span<const StateBatch> sourceStates,
                                            const ImageBatch& destinationImages) const;
  [[nodiscard]] StateBatch temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                     const ImageBatch& sourceImages,
                                                     std::span<const StateBatch> sourceStates,
                                                     const ImageBatch& destinationImages) const;
  [[nodiscard]] virtual bool isResultStateReusedAcrossBatch() const { return false; }
  [[nodiscard]] virtual bool appendBatchBarrier() const { return false; }

  /// The descriptor of the result for these sources; sets `offset` (spec: core 10.8).
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(std::span<const Image> sourceImages,
                                                           std::span<const StatePtr> sourceStates);
  /// Bytes of internal scratch: a best guess, 0 here.
  [[nodiscard]] std::size_t encodingStorageSize(const Image&, std::span<const StatePtr>,
                                                const Image&) const {
    return 0;
  }
  [[nodiscard]] std::size_t batchEncodingStorageSize(const ImageBatch&, std::span<const StateBatch>,
                                                     const ImageBatch&) const {
    return 0;
  }

  /// The present geometry for these images (ours).
  [[nodiscard]] ForwardRecord forward_record(const Image& source, const Image& destination) const;
  /// As destinationImageDescriptor, with the format that a graph asks for.
  [[nodiscard]] ImageDescriptor plan(std::span<const Image> sourceImages,
                                     std::span<const StatePtr> sourceStates,
                                     ImageFeatureChannelFormat format);

 protected:
  explicit CNNKernel(const Device& device);
  CNNKernel(Coder& coder, const Device& device);
  void code(Coder& coder) override;

  // What a concrete kernel says.
  virtual void record(detail::UnaryEncoding& encoding) const = 0;
  /// Channels read of those available, and channels written.
  struct Channels {
    std::size_t read, written;
  };
  [[nodiscard]] virtual Channels channels(std::size_t available) const {
    return {available, available};
  }
  /// The same where the destination exists and has a say.
  [[nodiscard]] virtual Channels channels_into(std::size_t available, const Image&) const {
    return channels(available);
  }
  /// Whether it takes every edge mode, and source channels from any one on.
  [[nodiscard]] virtual bool is_padding() const { return false; }
  /// Images that an encode makes of one source, or of one source for each; 0: one of each source.
  [[nodiscard]] virtual std::size_t fixed_results() const { return 0; }
  /// Further checks before anything changes; `count` images.
  virtual void check(const Image&, const Image&, std::size_t) const {}
  /// Makes the result state for `count` images; null: the class has none.
  [[nodiscard]] virtual StatePtr make_state(const detail::StateOrigin&, const Image&,
                                            const Image&) const {
    return nullptr;
  }
  /// States of a whole batch; a class whose states hold a tensor of each image overrides it to make
  /// them windows of one tensor.
  [[nodiscard]] virtual StateBatch make_state_batch(const detail::StateOrigin& origin,
                                                    const ImageBatch& sources,
                                                    const ImageBatch& destinations) const;
  /// Lets a class edit the planned descriptor after the padding method was applied.
  virtual void adjust(ImageDescriptor&, std::span<const Image>) {}
  /// The part of the source that `record` is given, cut to the image; null: all of it, and `offset`
  /// says which image of it is the first.
  [[nodiscard]] virtual const Region* source_region() const { return nullptr; }

 private:
  Image encode_with_state(const CommandBuffer& commandBuffer, const Image& sourceImage,
                          StatePtr& state, bool temporary);
  void run(const CommandBuffer& commandBuffer, const detail::Operand& source,
           const StateBatch* states, const detail::Operand& destination) const;
  StateBatch make_states(const detail::StateOrigin& origin, const ImageBatch& sources,
                         const ImageBatch& destinations) const;

  Offset offset_;
  Region clip_ = RectNoClip;
  std::size_t destination_channel_ = 0, source_channel_ = 0, source_channels_ = all_channels;
  ImageEdgeMode edge_ = ImageEdgeMode::Zero;
  std::shared_ptr<NNPadding> padding_;
  std::shared_ptr<ImageAllocator> allocator_;
};

/// How a kernel with several sources reads one of them (spec: core 13, 15).
struct SourceGeometry {
  Offset offset;
  std::size_t featureChannelOffset = 0, featureChannelMaxCount = all_channels;
  ImageEdgeMode edgeMode = ImageEdgeMode::Zero;
  std::size_t kernelWidth = 1, kernelHeight = 1;
  std::size_t strideInPixelsX = 1, strideInPixelsY = 1;
  std::size_t dilationRateX = 1, dilationRateY = 1;
  bool operator==(const SourceGeometry&) const = default;
  void code(Coder& coder);
};

/// A kernel with a primary and a secondary source image (spec: core 13).
class CNNBinaryKernel : public Kernel {
 public:
  [[nodiscard]] Offset primaryOffset() const { return primary_.offset; }
  void setPrimaryOffset(Offset offset) { primary_.offset = offset; }
  [[nodiscard]] Offset secondaryOffset() const { return secondary_.offset; }
  void setSecondaryOffset(Offset offset) { secondary_.offset = offset; }
  [[nodiscard]] const Region& clipRect() const { return clip_; }
  void setClipRect(const Region& clipRect) { clip_ = clipRect; }
  [[nodiscard]] std::size_t destinationFeatureChannelOffset() const { return destination_channel_; }
  void setDestinationFeatureChannelOffset(std::size_t offset) { destination_channel_ = offset; }
  [[nodiscard]] std::size_t primarySourceFeatureChannelOffset() const {
    return primary_.featureChannelOffset;
  }
  void setPrimarySourceFeatureChannelOffset(std::size_t offset) {
    primary_.featureChannelOffset = offset;
  }
  [[nodiscard]] std::size_t primarySourceFeatureChannelMaxCount() const {
    return primary_.featureChannelMaxCount;
  }
  void setPrimarySourceFeatureChannelMaxCount(std::size_t count) {
    primary_.featureChannelMaxCount = count;
  }
  [[nodiscard]] std::size_t secondarySourceFeatureChannelOffset() const {
    return secondary_.featureChannelOffset;
  }
  void setSecondarySourceFeatureChannelOffset(std::size_t offset) {
    secondary_.featureChannelOffset = offset;
  }
  [[nodiscard]] std::size_t secondarySourceFeatureChannelMaxCount() const {
    return secondary_.featureChannelMaxCount;
  }
  void setSecondarySourceFeatureChannelMaxCount(std::size_t count) {
    secondary_.featureChannelMaxCount = count;
  }
  [[nodiscard]] ImageEdgeMode primaryEdgeMode() const { return primary_.edgeMode; }
  void setPrimaryEdgeMode(ImageEdgeMode mode) { primary_.edgeMode = mode; }
  [[nodiscard]] ImageEdgeMode secondaryEdgeMode() const { return secondary_.edgeMode; }
  void setSecondaryEdgeMode(ImageEdgeMode mode) { secondary_.edgeMode = mode; }
  [[nodiscard]] std::size_t primaryKernelWidth() const { return primary_.kernelWidth; }
  [[nodiscard]] std::size_t primaryKernelHeight() const { return primary_.kernelHeight; }
  [[nodiscard]] std::size_t secondaryKernelWidth() const { return secondary_.kernelWidth; }
  [[nodiscard]] std::size_t secondaryKernelHeight() const { return secondary_.kernelHeight; }
  [[nodiscard]] std::size_t primaryStrideInPixelsX() const { return primary_.strideInPixelsX; }
  void setPrimaryStrideInPixelsX(std::size_t stride) { primary_.strideInPixelsX = stride; }
  [[nodiscard]] std::size_t primaryStrideInPixelsY() const { return primary_.strideInPixelsY; }
  void setPrimaryStrideInPixelsY(std::size_t stride) { primary_.strideInPixelsY = stride; }
  [[nodiscard]] std::size_t secondaryStrideInPixelsX() const { return secondary_.strideInPixelsX; }
  void setSecondaryStrideInPixelsX(std::size_t stride) { secondary_.strideInPixelsX = stride; }
  [[nodiscard]] std::size_t secondaryStrideInPixelsY() const { return secondary_.strideInPixelsY; }
  void setSecondaryStrideInPixelsY(std::size_t stride) { secondary_.strideInPixelsY = stride; }
  [[nodiscard]] std::size_t primaryDilationRateX() const { return primary_.dilationRateX; }
  [[nodiscard]] std::size_t primaryDilationRateY() const { return primary_.dilationRateY; }
  [[nodiscard]] std::size_t secondaryDilationRateX() const { return secondary_.dilationRateX; }
  [[nodiscard]] std::size_t secondaryDilationRateY() const { return secondary_.dilationRateY; }
  [[nodiscard]] virtual bool isBackwards() const { return false; }
  [[nodiscard]] virtual bool isStateModified() const { return false; }
  [[nodiscard]] const std::shared_ptr<NNPadding>& padding() const { return padding_; }
  void setPadding(std::shared_ptr<NNPadding> padding);
  [[nodiscard]] const std::shared_ptr<ImageAllocator>& destinationImageAllocator() const {
    return allocator_;
  }
  void setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator);

  void encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
              const Image& secondaryImage, const Image& destinationImage) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& primaryImages,
                   const ImageBatch& secondaryImages, const ImageBatch& destinationImages) const;
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
                             const Image& secondaryImage);
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& primaryImages,
                                       const ImageBatch& secondaryImages);
  template <class S>
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
                             const Image& secondaryImage, std::shared_ptr<S>* destinationState,
                             bool destinationStateIsTemporary) {
    StateBatch states;
    const ImageBatch result = encode_with_states(commandBuffer, {primaryImage}, {secondaryImage},
                                                 states, destinationStateIsTemporary);
    if (destinationState != nullptr) *destinationState = states.empty() ? nullptr : states.at<S>(0);
    return result.front();
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& primaryImages,
                                       const ImageBatch& secondaryImages,
                                       StateBatch* destinationStates,
                                       bool destinationStateIsTemporary);

  [[nodiscard]] StatePtr resultState(const Image& primaryImage, const Image& secondaryImage,
                                     std::span<const StatePtr> sourceStates,
                                     const Image& destinationImage) const;
  [[nodiscard]] StatePtr temporaryResultState(const CommandBuffer& commandBuffer,
                                              const Image& primaryImage,
                                              const Image& secondaryImage,
                                              std::span<const StatePtr> sourceStates,
                                              const Image& destinationImage) const;
  [[nodiscard]] StateBatch resultStateBatch(const ImageBatch& primaryImages,
                                            const ImageBatch& secondaryImages,
                                            std::span<const StateBatch> sourceStates,
                                            const ImageBatch& destinationImages) const;
  [[nodiscard]] StateBatch temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                     const ImageBatch& primaryImages,
                                                     const ImageBatch& secondaryImages,
                                                     std::span<const StateBatch> sourceStates,
                                                     const ImageBatch& destinationImages) const;
  [[nodiscard]] virtual bool isResultStateReusedAcrossBatch() const { return false; }
  [[nodiscard]] virtual bool appendBatchBarrier() const { return false; }

  /// `sourceImages`: exactly two, primary first.
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(std::span<const Image> sourceImages,
                                                           std::span<const StatePtr> sourceStates);
  [[nodiscard]] std::size_t encodingStorageSize(const Image&, const Image&,
                                                std::span<const StatePtr>, const Image&) const {
    return 0;
  }
  [[nodiscard]] std::size_t batchEncodingStorageSize(const ImageBatch&, const ImageBatch&,
                                                     std::span<const StateBatch>,
                                                     const ImageBatch&) const {
    return 0;
  }
  [[nodiscard]] ImageDescriptor plan(std::span<const Image> sourceImages,
                                     std::span<const StatePtr> sourceStates,
                                     ImageFeatureChannelFormat format);

 protected:
  explicit CNNBinaryKernel(const Device& device);
  CNNBinaryKernel(Coder& coder, const Device& device);
  void code(Coder& coder) override;

  virtual void record(detail::BinaryEncoding& encoding) const = 0;
  /// Channels read of the primary and secondary sources out of those available, and written.
  struct Channels {
    std::size_t primary, secondary, written;
  };
  [[nodiscard]] virtual Channels channels(std::size_t primary, std::size_t secondary) const {
    return {primary, secondary, primary};
  }
  virtual void check(const Image&, const Image&, const Image&, const State*, std::size_t) const {}
  [[nodiscard]] virtual StatePtr make_state(const detail::StateOrigin&, const Image&, const Image&,
                                            const Image&) const {
    return nullptr;
  }
  /// As CNNKernel's.
  [[nodiscard]] virtual StateBatch make_state_batch(const detail::StateOrigin& origin,
                                                    const ImageBatch& primaries,
                                                    const ImageBatch& secondaries,
                                                    const ImageBatch& destinations) const;
  /// Size, channels and offsets of the result before states and custom policies speak.
  virtual void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages);
  /// As CNNKernel's.
  [[nodiscard]] virtual const Region* source_region(bool /*secondary*/) const { return nullptr; }
  /// Whether it is of padding, which takes every edge mode and source channels from any one on.
  [[nodiscard]] virtual bool is_padding() const { return false; }
  /// Whether a destination is written at all (not by a gradient of weights alone).
  [[nodiscard]] virtual bool writes_destination() const { return true; }
  /// Whether an encode reads its states, and so takes a read from each, or writes them.
  [[nodiscard]] virtual bool reads_states() const { return false; }

  void run(const CommandBuffer& commandBuffer, const detail::Operand& primary,
           const detail::Operand& secondary, const StateBatch* states,
           const detail::Operand& destination) const;

  SourceGeometry primary_, secondary_;

 private:
  ImageBatch encode_with_states(const CommandBuffer& commandBuffer, const ImageBatch& primaryImages,
                                const ImageBatch& secondaryImages, StateBatch& states,
                                bool temporary);
  StateBatch make_states(const detail::StateOrigin& origin, const ImageBatch& primaries,
                         const ImageBatch& secondaries, const ImageBatch& destinations) const;

  Region clip_ = RectNoClip;
  std::size_t destination_channel_ = 0;
  std::shared_ptr<NNPadding> padding_;
  std::shared_ptr<ImageAllocator> allocator_;
};

/// Back-propagation through a unary kernel: primary = gradient of the forward result, secondary =
/// forward source, destination = gradient of the forward source, whose size it has. Pixels that no
/// forward window read get 0 (spec: core 14).
class CNNGradientKernel : public CNNBinaryKernel {
 public:
  /// Offset in the gradient after zero insertion: effective = primaryOffset * stride +
  /// kernelOffset.
  [[nodiscard]] std::ptrdiff_t kernelOffsetX() const { return kernel_offset_x_; }
  void setKernelOffsetX(std::ptrdiff_t offset) { kernel_offset_x_ = offset; }
  [[nodiscard]] std::ptrdiff_t kernelOffsetY() const { return kernel_offset_y_; }
  void setKernelOffsetY(std::ptrdiff_t offset) { kernel_offset_y_ = offset; }

  using CNNBinaryKernel::encode;
  using CNNBinaryKernel::encodeBatch;
  /// Takes the forward geometry from the state, sizes and makes the result, and encodes.
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
                             const Image& sourceImage, const StatePtr& gradientState);
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceGradients,
                                       const ImageBatch& sourceImages,
                                       const StateBatch& gradientStates);
  /// Encodes with the properties as they stand.
  void encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
              const Image& sourceImage, const StatePtr& gradientState,
              const Image& destinationGradient) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const StateBatch& gradientStates,
                   const ImageBatch& destinationGradients) const;

  /// Copies a forward encode's geometry into this kernel's properties (spec: core 14.3). Here the
  /// rule of kernels without a window; those with one override it.
  virtual void apply(const ForwardRecord& forward);

 protected:
  explicit CNNGradientKernel(const Device& device) : CNNBinaryKernel(device) {}
  CNNGradientKernel(Coder& coder, const Device& device) : CNNBinaryKernel(coder, device) {}
  void code(Coder& coder) override;
  [[nodiscard]] Channels channels(std::size_t, std::size_t secondary) const override {
    return {secondary, secondary, secondary};
  }
  void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  /// The gradient must fit the forward result of the state, the source image its source.
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  [[nodiscard]] bool reads_states() const override { return true; }
  /// Whether an encode leaves parts of a result it made unwritten: channels outside the forward
  /// slice.
  [[nodiscard]] bool leaves_gaps(const ImageDescriptor& result) const;
  /// Writes 0 to a result that `record` does not write.
  void clear(const CommandBuffer& commandBuffer, const ImageBatch& result) const;

  std::ptrdiff_t kernel_offset_x_ = 0, kernel_offset_y_ = 0;
};

/// What every concrete kernel class `Self` has: its name and copies.
template <class Self, class Base>
class Concrete : public Base {
 public:
  [[nodiscard]] std::string_view class_name() const override { return detail::type_name<Self>(); }
  [[nodiscard]] Self copy(const Device& device = {}) const {
    return Kernel::copy_of(static_cast<const Self&>(*this), device);
  }

 protected:
  using Base::Base;
};

/// A concrete kernel: `Base` of the original's hierarchy, and the operator it records.
template <class Base, class Op>
class KernelOf : public Base {
 public:
  [[nodiscard]] std::string_view class_name() const override { return Op::name; }

 protected:
  using Base::Base;
  Op op_;
  mutable detail::StepMemo memo_;
};

}  // namespace cermet
