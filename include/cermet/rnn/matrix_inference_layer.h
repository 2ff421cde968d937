#pragma once
// Recurrent layers on matrices, for inference (spec: rnn-matrix B4).

#include <memory>
#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"
#include "cermet/core/matrix.h"
#include "cermet/rnn/descriptor.h"
#include "cermet/rnn/recurrent_state.h"

namespace cermet {

namespace detail {
struct RecurrentStack;
}

/// A stack of recurrent layers that walks along sequences: element t of each list is time t, and
/// each row of a matrix a sequence of its own. Matrices are Float32 or Float16; columns are
/// channels. Sequences may end early: matrix t has as many rows as t-1, or fewer, those of the
/// sequences that go on; the state of a sequence that has ended stays as it was.
///
/// Byte offsets are added to the matrix's own address, so that one matrix may stand for all steps
/// of an array: N rows that are T*C elements apart and offsets of t*C elements. Empty lists of
/// offsets are zeros. Results must not lie where sources are read.
class RNNMatrixInferenceLayer final : public Concrete<RNNMatrixInferenceLayer, Kernel> {
 public:
  /// One layer. Throws InvalidArgument for a null descriptor, for what a layer cannot be made of,
  /// and where a source's `load` answers false.
  RNNMatrixInferenceLayer(const Device& device,
                          const std::shared_ptr<RNNDescriptor>& rnnDescriptor);
  /// A stack: layer k is the input of layer k+1, whose inputFeatureChannels are its output's.
  RNNMatrixInferenceLayer(const Device& device,
                          std::span<const std::shared_ptr<RNNDescriptor>> rnnDescriptors);
  RNNMatrixInferenceLayer(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

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

  /// All layers walk forward, whatever their layerSequenceDirection. `recurrentInputState`: of an
  /// earlier encode, with a row for each of the first matrix or more; null: zeros. States are
  /// appended to `recurrentOutputStates`, which may be null.
  void encodeSequence(const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
                      std::span<const std::size_t> sourceOffsets,
                      std::span<const Matrix> destinationMatrices,
                      std::span<const std::size_t> destinationOffsets,
                      const RNNRecurrentMatrixStatePtr& recurrentInputState,
                      std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates) const;
  void encodeSequence(const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
                      std::span<const Matrix> destinationMatrices,
                      const RNNRecurrentMatrixStatePtr& recurrentInputState,
                      std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates) const;
  /// The layers of either direction are a stack of their own, and each stack reads the source; that
  /// of direction Backward begins with the last matrix, and a sequence at its own last element.
  /// Both begin with zeros. Element t of a result is that of source t.
  /// `destinationBackwardMatrices` is not used, and may be empty, unless the results are combined
  /// with None. Throws InvalidArgument where a direction has no layer.
  void encodeBidirectionalSequence(const CommandBuffer& commandBuffer,
                                   std::span<const Matrix> sourceSequence,
                                   std::span<const Matrix> destinationForwardMatrices,
                                   std::span<const Matrix> destinationBackwardMatrices) const;

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;

 private:
  std::shared_ptr<const detail::RecurrentStack> stack_;
  bool temporary_ = false, all_states_ = false;
  RNNBidirectionalCombineMode combine_ = RNNBidirectionalCombineMode::None;
};

using RNNMatrixInferenceKernels = TypeList<RNNMatrixInferenceLayer>;

}  // namespace cermet
