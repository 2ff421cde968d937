#pragma once
// Recurrent layers on images, for inference (spec: rnn-matrix B4).

#include <memory>
#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"
#include "cermet/rnn/descriptor.h"
#include "cermet/rnn/recurrent_state.h"

namespace cermet {

namespace detail {
struct ImageStack;
}

/// A stack of recurrent layers that walks along sequences of images: element t of each list is time
/// t, and each pixel of each image a sequence of its own. Every product of the cell's formulas is a
/// convolution with the kernel of its data source, groups and dilation included, of stride 1,
/// centred, with zeros beyond the edges, so that results have the size of their sources: kernels of
/// 1x1 pixels make layers on feature vectors, larger ones convolutional layers. Biases and diagonal
/// peepholes are one number for each channel.
///
/// A plain encode, of one image or a batch, is one step from zeros. Encodes of sequences take all
/// of their images, from the first channel on, whatever offset, clipRect and channel offsets are.
class RNNImageInferenceLayer final : public Concrete<RNNImageInferenceLayer, CNNKernel> {
 public:
  /// One layer. Throws InvalidArgument for a null descriptor, for what a layer cannot be made of,
  /// and where a source's `load` answers false.
  RNNImageInferenceLayer(const Device& device, const std::shared_ptr<RNNDescriptor>& rnnDescriptor);
  /// A stack: layer k is the input of layer k+1, whose inputFeatureChannels are its output's.
  RNNImageInferenceLayer(const Device& device,
                         std::span<const std::shared_ptr<RNNDescriptor>> rnnDescriptors);
  RNNImageInferenceLayer(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// Of the first layer.
  [[nodiscard]] std::size_t inputFeatureChannels() const;
  /// Of the last layer.
  [[nodiscard]] std::size_t outputFeatureChannels() const;
  [[nodiscard]] std::size_t numberOfLayers() const;

  /// Whether states that an encode makes are temporary. Default false.
  [[nodiscard]] bool recurrentOutputIsTemporary() const { return temporary_; }
  void setRecurrentOutputIsTemporary(bool temporary) { temporary_ = temporary; }
  /// Whether an encode appends a state for every step instead of the last. Default false.
  [[nodiscard]] bool storeAllIntermediateStates() const { return all_states_; }
  void setStoreAllIntermediateStates(bool all) { all_states_ = all; }
  /// Default None.
  [[nodiscard]] RNNBidirectionalCombineMode bidirectionalCombineMode() const { return combine_; }
  void setBidirectionalCombineMode(RNNBidirectionalCombineMode mode) { combine_ = mode; }

  /// All layers walk forward, whatever their layerSequenceDirection. Images have one size and
  /// numberOfImages; sources the input channels or more, destinations the output channels or more.
  /// `recurrentInputState`: of an earlier encode of images of that size; null: zeros. States are
  /// appended to `recurrentOutputStates`, which may be null.
  void encodeSequence(const CommandBuffer& commandBuffer, std::span<const Image> sourceImages,
                      std::span<const Image> destinationImages,
                      const RNNRecurrentImageStatePtr& recurrentInputState,
                      std::vector<RNNRecurrentImageStatePtr>* recurrentOutputStates) const;
  /// The layers of either direction are a stack of their own, and each stack reads the source; that
  /// of direction Backward begins with the last image. Both begin with zeros. Element t of a result
  /// is that of source t. `destinationBackwardImages` is not used, and may be empty, unless the
  /// results are combined with None. Throws InvalidArgument where a direction has no layer.
  void encodeBidirectionalSequence(const CommandBuffer& commandBuffer,
                                   std::span<const Image> sourceSequence,
                                   std::span<const Image> destinationForwardImages,
                                   std::span<const Image> destinationBackwardImages) const;

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t available) const override;

 private:
  std::shared_ptr<const detail::ImageStack> stack_;
  bool temporary_ = false, all_states_ = false;
  RNNBidirectionalCombineMode combine_ = RNNBidirectionalCombineMode::None;
};

using RNNImageInferenceKernels = TypeList<RNNImageInferenceLayer>;

}  // namespace cermet
