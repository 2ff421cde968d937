#pragma once
// The base class of kernels with any number of sources (spec: core 15).

#include <memory>
#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"

namespace cermet {

namespace detail {
struct MultiaryEncoding;
}  // namespace detail

/// Links a forward encode of a kernel with any number of sources with its gradients, one for each
/// source. Opaque but for what subclasses show.
class NNMultiaryGradientState : public State {
 public:
  [[nodiscard]] std::string_view class_name() const override { return "NNMultiaryGradientState"; }

  // For kernels: one record for each source.
  [[nodiscard]] const std::vector<ForwardRecord>& forward() const { return forward_; }
  void set_forward(std::vector<ForwardRecord> forward) { forward_ = std::move(forward); }

 protected:
  explicit NNMultiaryGradientState(const detail::StateOrigin& origin);

 private:
  std::vector<ForwardRecord> forward_;
};
using NNMultiaryGradientStateBatch = StateBatch;

/// A kernel with any number of source images, each read with a geometry of its own (spec: core 15).
/// Members that take an `index` throw InvalidArgument where there is no such source.
class CNNMultiaryKernel : public Kernel {
 public:
  [[nodiscard]] std::size_t sourceCount() const { return sources_.size(); }
  [[nodiscard]] const Region& clipRect() const { return clip_; }
  void setClipRect(const Region& clipRect) { clip_ = clipRect; }
  [[nodiscard]] std::size_t destinationFeatureChannelOffset() const { return destination_channel_; }
  void setDestinationFeatureChannelOffset(std::size_t offset) { destination_channel_ = offset; }
  [[nodiscard]] virtual bool isBackwards() const { return false; }
  [[nodiscard]] virtual bool isStateModified() const { return false; }
  [[nodiscard]] const std::shared_ptr<NNPadding>& padding() const { return padding_; }
  void setPadding(std::shared_ptr<NNPadding> padding);
  [[nodiscard]] const std::shared_ptr<ImageAllocator>& destinationImageAllocator() const {
    return allocator_;
  }
  void setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator);

  /// Encodes that return their result overwrite it.
  [[nodiscard]] Offset offset(std::size_t index) const { return at(index).offset; }
  void setOffset(Offset offset, std::size_t index) { at(index).offset = offset; }
  [[nodiscard]] std::size_t sourceFeatureChannelOffset(std::size_t index) const {
    return at(index).featureChannelOffset;
  }
  void setSourceFeatureChannelOffset(std::size_t offset, std::size_t index) {
    at(index).featureChannelOffset = offset;
  }
  [[nodiscard]] std::size_t sourceFeatureChannelMaxCount(std::size_t index) const {
    return at(index).featureChannelMaxCount;
  }
  void setSourceFeatureChannelMaxCount(std::size_t count, std::size_t index) {
    at(index).featureChannelMaxCount = count;
  }
  [[nodiscard]] ImageEdgeMode edgeMode(std::size_t index) const { return at(index).edgeMode; }
  void setEdgeMode(ImageEdgeMode edgeMode, std::size_t index) { at(index).edgeMode = edgeMode; }
  [[nodiscard]] std::size_t kernelWidth(std::size_t index) const { return at(index).kernelWidth; }
  void setKernelWidth(std::size_t width, std::size_t index) { at(index).kernelWidth = width; }
  [[nodiscard]] std::size_t kernelHeight(std::size_t index) const { return at(index).kernelHeight; }
  void setKernelHeight(std::size_t height, std::size_t index) { at(index).kernelHeight = height; }
  [[nodiscard]] std::size_t strideInPixelsX(std::size_t index) const {
    return at(index).strideInPixelsX;
  }
  void setStrideInPixelsX(std::size_t stride, std::size_t index) {
    at(index).strideInPixelsX = stride;
  }
  [[nodiscard]] std::size_t strideInPixelsY(std::size_t index) const {
    return at(index).strideInPixelsY;
  }
  void setStrideInPixelsY(std::size_t stride, std::size_t index) {
    at(index).strideInPixelsY = stride;
  }
  [[nodiscard]] std::size_t dilationRateX(std::size_t index) const {
    return at(index).dilationRateX;
  }
  void setDilationRateX(std::size_t dilationRate, std::size_t index) {
    at(index).dilationRateX = dilationRate;
  }
  [[nodiscard]] std::size_t dilationRateY(std::size_t index) const {
    return at(index).dilationRateY;
  }
  void setDilationRateY(std::size_t dilationRate, std::size_t index) {
    at(index).dilationRateY = dilationRate;
  }

  /// `sourceImages`: one for each source; of batches `sourceImages[source][image]`.
  void encode(const CommandBuffer& commandBuffer, std::span<const Image> sourceImages,
              const Image& destinationImage) const;
  void encodeBatch(const CommandBuffer& commandBuffer, std::span<const ImageBatch> sourceImages,
                   const ImageBatch& destinationImages) const;
  /// Sizes the result by the padding policy (which sets each `offset`), makes it, and encodes.
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer,
                             std::span<const Image> sourceImages);
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       std::span<const ImageBatch> sourceImages);
  /// The same, with a result state made in between; `destinationState` is always assigned.
  template <class S>
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer,
                             std::span<const Image> sourceImages,
                             std::shared_ptr<S>* destinationState,
                             bool destinationStateIsTemporary) {
    StatePtr state;
    Image result =
        encode_with_state(commandBuffer, sourceImages, state, destinationStateIsTemporary);
    if (destinationState != nullptr) *destinationState = std::dynamic_pointer_cast<S>(state);
    return result;
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       std::span<const ImageBatch> sourceImages,
                                       StateBatch* destinationStates,
                                       bool destinationStateIsTemporary);

  [[nodiscard]] StatePtr resultState(std::span<const Image> sourceImages,
                                     std::span<const StatePtr> sourceStates,
                                     const Image& destinationImage) const;
  [[nodiscard]] StatePtr temporaryResultState(const CommandBuffer& commandBuffer,
                                              std::span<const Image> sourceImages,
                                              std::span<const StatePtr> sourceStates,
                                              const Image& destinationImage) const;
  [[nodiscard]] StateBatch resultStateBatch(std::span<const ImageBatch> sourceImages,
                                            std::span<const StateBatch> sourceStates,
                                            const ImageBatch& destinationImages) const;
  [[nodiscard]] StateBatch temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                     std::span<const ImageBatch> sourceImages,
                                                     std::span<const StateBatch> sourceStates,
                                                     const ImageBatch& destinationImages) const;
  [[nodiscard]] virtual bool isResultStateReusedAcrossBatch() const { return false; }
  [[nodiscard]] virtual bool appendBatchBarrier() const { return false; }

  /// The descriptor of the result for these sources; sets each `offset`. Size and format come from
  /// source 0.
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(std::span<const Image> sourceImages,
                                                           std::span<const StatePtr> sourceStates);
  [[nodiscard]] ImageDescriptor plan(std::span<const Image> sourceImages,
                                     std::span<const StatePtr> sourceStates,
                                     ImageFeatureChannelFormat format);
  /// The present geometry of one source (ours).
  [[nodiscard]] ForwardRecord forward_record(std::size_t index, const Image& source,
                                             const Image& destination) const;

 protected:
  /// Throws InvalidArgument for no sources.
  CNNMultiaryKernel(const Device& device, std::size_t sourceCount);
  CNNMultiaryKernel(Coder& coder, const Device& device);
  void code(Coder& coder) override;

  virtual void record(detail::MultiaryEncoding& encoding) const = 0;
  /// Takes the channels available of each source and leaves those that are read; returns how many
  /// are written. By default all are read, and as many written as source 0 has.
  [[nodiscard]] virtual std::size_t channels(std::span<std::size_t> sources) const {
    return sources[0];
  }
  virtual void check(std::span<const Image>, const Image&, const State*, std::size_t) const {}
  [[nodiscard]] virtual StatePtr make_state(const detail::StateOrigin&, std::span<const Image>,
                                            const Image&) const {
    return nullptr;
  }
  [[nodiscard]] virtual StateBatch make_state_batch(const detail::StateOrigin& origin,
                                                    std::span<const ImageBatch> sources,
                                                    const ImageBatch& destinations) const;
  /// Size, channels and offsets of the result before states and custom policies speak.
  virtual void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages);
  /// `states`: those that the encode writes, or null.
  void run(const CommandBuffer& commandBuffer, std::span<const detail::Operand> sources,
           const StateBatch* states, const detail::Operand& destination) const;

 private:
  [[nodiscard]] const SourceGeometry& at(std::size_t index) const;
  [[nodiscard]] SourceGeometry& at(std::size_t index);
  void check_source_count(std::size_t count) const;
  void check_source_batches(std::span<const ImageBatch> sources) const;
  void check_windows() const;
  Image make_destination(const CommandBuffer& commandBuffer, std::span<const Image> sourceImages);
  Image encode_with_state(const CommandBuffer& commandBuffer, std::span<const Image> sourceImages,
                          StatePtr& state, bool temporary);
  void set_forward(const StateBatch& states, std::span<const Image> sources,
                   const Image& destination) const;
  StateBatch make_states(const detail::StateOrigin& origin, std::span<const ImageBatch> sources,
                         const ImageBatch& destinations) const;

  std::vector<SourceGeometry> sources_;
  Region clip_ = RectNoClip;
  std::size_t destination_channel_ = 0;
  std::shared_ptr<NNPadding> padding_;
  std::shared_ptr<ImageAllocator> allocator_;
};

}  // namespace cermet
