#pragma once
// A recurrent layer on matrices, for training (spec: rnn-matrix B5, B6).

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

/// One recurrent layer that walks along sequences, and back with gradients. Lists of matrices, byte
/// offsets, rows and states are those of RNNMatrixInferenceLayer.
///
/// The layer holds no weights: an encode is given a list of matrices, one for each RNNMatrixId in
/// use, in the order of their numbers, outputs x inputs, outputs x outputs or one row. Each has a
/// buffer of its own that begins with it, rows a multiple of 16 bytes apart unless they are of one
/// element, and zeros between; so do their gradients. Whatever updates parameters may therefore
/// take a whole buffer as one vector. Input weights, recurrent weights and biases are in use even
/// where their source is null (and input weights are not where x is taken as it is); memory and
/// input gate weights only where they have a source.
class RNNMatrixTrainingLayer final : public Concrete<RNNMatrixTrainingLayer, Kernel> {
 public:
  /// Appends the weights, Float32 with the values of the sources, to `trainableWeights`. Throws
  /// InvalidArgument for a null list or descriptor, for what a layer cannot be made of, and where a
  /// source's `load` answers false.
  RNNMatrixTrainingLayer(const Device& device, const std::shared_ptr<RNNDescriptor>& rnnDescriptor,
                         std::vector<Matrix>* trainableWeights);
  RNNMatrixTrainingLayer(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  [[nodiscard]] std::size_t inputFeatureChannels() const;
  [[nodiscard]] std::size_t outputFeatureChannels() const;
  /// Whether an encode appends a recurrent state for every step instead of the last. Default false.
  [[nodiscard]] bool storeAllIntermediateStates() const { return all_states_; }
  void setStoreAllIntermediateStates(bool all) { all_states_ = all; }
  /// Whether recurrent states that an encode makes are temporary. Default false.
  [[nodiscard]] bool recurrentOutputIsTemporary() const { return temporary_output_; }
  void setRecurrentOutputIsTemporary(bool temporary) { temporary_output_ = temporary; }
  /// Whether training states are temporary. Default false.
  [[nodiscard]] bool trainingStateIsTemporary() const { return temporary_training_; }
  void setTrainingStateIsTemporary(bool temporary) { temporary_training_ = temporary; }
  /// Whether weight gradients are added to what the matrices hold instead of overwriting it, once
  /// for an encode of a sequence. Default false.
  [[nodiscard]] bool accumulateWeightGradients() const { return accumulate_; }
  void setAccumulateWeightGradients(bool accumulate) { accumulate_ = accumulate; }

  // Appended to `matricesOut`: one matrix for each of the weights, of its size, zero.
  /// `dataType`: Float32 or Float16.
  void createWeightGradientMatrices(std::vector<Matrix>* matricesOut, DataType dataType) const;
  /// The same as temporaries of the command buffer, which each may be read once.
  void createTemporaryWeightGradientMatrices(std::vector<Matrix>* matricesOut, DataType dataType,
                                             const CommandBuffer& commandBuffer) const;
  /// Float32, for weights or what an optimiser keeps of them.
  void createWeightMatrices(std::vector<Matrix>* matricesOut) const;

  /// Copies the matrix of an id from `weights` into `matrix`, or the reverse: a row for each output
  /// channel, a column for each input channel, biases and diagonal peepholes one row.
  /// `matrixOffset`: where it begins in `matrix`, x counts rows and y columns. Values are converted
  /// where the types differ. Throws InvalidArgument for an id that is not in use.
  void encodeCopyWeights(const CommandBuffer& commandBuffer, std::span<const Matrix> weights,
                         RNNMatrixId matrixId, const Matrix& matrix, bool copyFromWeightsToMatrix,
                         const Origin& matrixOffset) const;

  /// Appends a training state for each step to `trainingStates`, which the gradient encode reads.
  /// `recurrentInputState` null: zeros; `recurrentOutputStates` may be null. Throws InvalidArgument
  /// for matrices or weights that do not fit.
  void encodeForwardSequence(const CommandBuffer& commandBuffer,
                             std::span<const Matrix> sourceMatrices,
                             std::span<const std::size_t> sourceOffsets,
                             std::span<const Matrix> destinationMatrices,
                             std::span<const std::size_t> destinationOffsets,
                             std::vector<RNNMatrixTrainingStatePtr>* trainingStates,
                             const RNNRecurrentMatrixStatePtr& recurrentInputState,
                             std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates,
                             std::span<const Matrix> weights) const;
  void encodeForwardSequence(const CommandBuffer& commandBuffer,
                             std::span<const Matrix> sourceMatrices,
                             std::span<const Matrix> destinationMatrices,
                             std::vector<RNNMatrixTrainingStatePtr>* trainingStates,
                             std::span<const Matrix> weights) const;
  /// From the last step to the first; all lists are in forward order. `sourceGradients`: of the
  /// results, without what comes through later steps. `destinationGradients`: of the sources;
  /// empty: not computed. `weightGradients`: sums over all rows and steps; empty: not computed.
  /// `recurrentInputState`: gradients of the state after the last step (what the encode of the part
  /// that follows left), null: zeros. To `recurrentOutputStates`, which may be null, the gradients
  /// of the state before the first step are appended or, where all are stored, of the states before
  /// each step, in forward order. Weights must be as they were forward. Temporary training states
  /// are read.
  void encodeGradientSequence(const CommandBuffer& commandBuffer,
                              std::span<const Matrix> forwardSources,
                              std::span<const std::size_t> forwardSourceOffsets,
                              std::span<const Matrix> sourceGradients,
                              std::span<const std::size_t> sourceGradientOffsets,
                              std::span<const Matrix> destinationGradients,
                              std::span<const std::size_t> destinationOffsets,
                              std::span<const Matrix> weightGradients,
                              std::span<const RNNMatrixTrainingStatePtr> trainingStates,
                              const RNNRecurrentMatrixStatePtr& recurrentInputState,
                              std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates,
                              std::span<const Matrix> weights) const;
  void encodeGradientSequence(const CommandBuffer& commandBuffer,
                              std::span<const Matrix> forwardSources,
                              std::span<const Matrix> sourceGradients,
                              std::span<const Matrix> destinationGradients,
                              std::span<const Matrix> weightGradients,
                              std::span<const RNNMatrixTrainingStatePtr> trainingStates,
                              std::span<const Matrix> weights) const;

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;

 private:
  std::shared_ptr<const detail::RecurrentStack> stack_;  // of one layer, without weights
  bool all_states_ = false, temporary_output_ = false, temporary_training_ = false;
  bool accumulate_ = false;
};

using RNNMatrixTrainingKernels = TypeList<RNNMatrixTrainingLayer>;

}  // namespace cermet
