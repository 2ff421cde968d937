#pragma once
// Another shape for the same values (spec: pooling-shape 6). It copies alone: no operator of its
// own.

#ifndef CERMET_OPERATORS_ALONE

#include <optional>

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Copies all values, in the order y, x, channel with channels fastest, into another shape: element
/// (y*W + x)*C + c of the source becomes element (y'*W' + x')*C' + c' of the result. C counts the
/// channels that are read, W' x H' x C' the part of the destination that is written: its clip
/// rectangle, and all of its channels from `destinationFeatureChannelOffset` on. Encodes throw
/// InvalidArgument unless W*H*C = W'*H'*C'. `offset` and `edgeMode` play no role.
///
/// Encodes that return a result and are not told its shape keep that of the source, unless a custom
/// padding policy says another one.
class NNReshape final : public Concrete<NNReshape, CNNKernel> {
 public:
  explicit NNReshape(const Device& device) : Concrete(device) {}
  NNReshape(Coder& coder, const Device& device) : Concrete(coder, device) { read(coder); }

  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  /// Makes a result of this shape and encodes.
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                             std::size_t reshapedWidth, std::size_t reshapedHeight,
                             std::size_t reshapedFeatureChannels) {
    const Asked asked(*this, reshapedWidth, reshapedHeight, reshapedFeatureChannels);
    return encode(commandBuffer, sourceImage);
  }
  /// The same with a state for the gradient.
  template <class S>
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                             std::shared_ptr<S>* destinationState, bool destinationStateIsTemporary,
                             std::size_t reshapedWidth, std::size_t reshapedHeight,
                             std::size_t reshapedFeatureChannels) {
    const Asked asked(*this, reshapedWidth, reshapedHeight, reshapedFeatureChannels);
    return encode(commandBuffer, sourceImage, destinationState, destinationStateIsTemporary);
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages, std::size_t reshapedWidth,
                                       std::size_t reshapedHeight,
                                       std::size_t reshapedFeatureChannels) {
    const Asked asked(*this, reshapedWidth, reshapedHeight, reshapedFeatureChannels);
    return encodeBatch(commandBuffer, sourceImages);
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages,
                                       StateBatch* destinationStates,
                                       bool destinationStateIsTemporary, std::size_t reshapedWidth,
                                       std::size_t reshapedHeight,
                                       std::size_t reshapedFeatureChannels) {
    const Asked asked(*this, reshapedWidth, reshapedHeight, reshapedFeatureChannels);
    return encodeBatch(commandBuffer, sourceImages, destinationStates, destinationStateIsTemporary);
  }

 protected:
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels_into(std::size_t available,
                                       const Image& destination) const override;
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;

 private:
  struct Shape {
    std::size_t width = 0, height = 0, featureChannels = 0;
  };
  /// The shape that one call asks for.
  struct Asked {
    Asked(NNReshape& kernel, std::size_t width, std::size_t height, std::size_t featureChannels);
    ~Asked() { kernel_.asked_.reset(); }
    Asked(const Asked&) = delete;
    Asked& operator=(const Asked&) = delete;

   private:
    NNReshape& kernel_;
  };
  std::optional<Shape> asked_;
  mutable detail::StepMemo memo_;
};

/// The gradient in the shape of the forward source. The secondary image gives that shape alone. The
/// incoming gradient is what the forward encode wrote: with a gradient state its clip rectangle, or
/// an image of just that size; without one the whole image. Offsets and edge modes play no role.
class NNReshapeGradient final : public Concrete<NNReshapeGradient, CNNGradientKernel> {
 public:
  explicit NNReshapeGradient(const Device& device) : Concrete(device) {}
  NNReshapeGradient(Coder& coder, const Device& device) : Concrete(coder, device) { read(coder); }

 protected:
  void record(detail::BinaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t secondary) const override {
    return {primary, secondary, secondary};
  }
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;

 private:
  mutable detail::StepMemo memo_;
};

using ReshapeKernels = TypeList<NNReshape, NNReshapeGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
