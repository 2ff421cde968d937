#include "cermet/rnn/matrix_inference_layer.h"

#include "core/state_impl.h"
#include "rnn/inference.h"
#include "rnn/matrix_sequence.h"
#include "rnn/stack.h"

namespace cermet {
namespace {

using detail::MatrixSequence;

void prepare(detail::InferenceStack& inference, const detail::RecurrentStack& stack) {
  for (const detail::RecurrentLayer& layer : stack.layers) {
    const detail::PackedWeights weights = layer.weights(inference.recording);
    inference.layers.push_back(
        {&layer.cell, weights.vectors,
         std::make_unique<detail::MatrixProducts>(inference.recording, layer.cell, weights)});
  }
}

}  // namespace

RNNMatrixInferenceLayer::RNNMatrixInferenceLayer(
    const Device& device, const std::shared_ptr<RNNDescriptor>& rnnDescriptor)
    : RNNMatrixInferenceLayer(device, std::span(&rnnDescriptor, 1)) {}

RNNMatrixInferenceLayer::RNNMatrixInferenceLayer(
    const Device& device, std::span<const std::shared_ptr<RNNDescriptor>> rnnDescriptors)
    : Concrete(device), stack_(detail::RecurrentStack::of(rnnDescriptors, *this, true)) {
  detail::check_chain(*this, detail::cells_of(*stack_), true);
}

std::size_t RNNMatrixInferenceLayer::inputFeatureChannels() const {
  return stack_->layers.front().cell.inputs;
}
std::size_t RNNMatrixInferenceLayer::outputFeatureChannels() const {
  return stack_->layers.back().cell.outputs;
}
std::size_t RNNMatrixInferenceLayer::numberOfLayers() const { return stack_->layers.size(); }

void RNNMatrixInferenceLayer::code(Coder& coder) {
  Kernel::code(coder);
  stack_ = detail::RecurrentStack::code(coder, stack_, true);
  coder("recurrentOutputIsTemporary", temporary_);
  coder("storeAllIntermediateStates", all_states_);
  coder("bidirectionalCombineMode", combine_, RNNBidirectionalCombineMode::Concatenate);
  if (coder.is_reading()) move_to(device());
}

void RNNMatrixInferenceLayer::move_to(const Device& device) {
  Kernel::move_to(device);
  stack_ = stack_->on(device);
}

void RNNMatrixInferenceLayer::encodeSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
    std::span<const Matrix> destinationMatrices,
    const RNNRecurrentMatrixStatePtr& recurrentInputState,
    std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates) const {
  encodeSequence(commandBuffer, sourceMatrices, {}, destinationMatrices, {}, recurrentInputState,
                 recurrentOutputStates);
}

void RNNMatrixInferenceLayer::encodeSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
    std::span<const std::size_t> sourceOffsets, std::span<const Matrix> destinationMatrices,
    std::span<const std::size_t> destinationOffsets,
    const RNNRecurrentMatrixStatePtr& recurrentInputState,
    std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates) const {
  // It may be in the list that grows. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const auto begin = recurrentInputState;
  detail::Recording& recording = commandBuffer.recording();
  const MatrixSequence sources(*this, recording, "sourceMatrices", sourceMatrices, sourceOffsets,
                               "sourceOffsets", inputFeatureChannels());
  const MatrixSequence destinations(*this, recording, "destinationMatrices", destinationMatrices,
                                    destinationOffsets, "destinationOffsets",
                                    outputFeatureChannels());
  detail::Steps steps = sources.steps();
  destinations.check_covers(sources);
  destinations.check_apart(sources);
  detail::check_chain(*this, detail::cells_of(*stack_), false);
  const auto states = detail::states_of(*stack_);
  if (begin) {
    detail::check_state(*this, recording, "recurrentInputState", *begin, states, steps.most);
    steps.most = static_cast<std::int32_t>(begin->rows());
  }

  detail::InferenceStack inference(recording);
  prepare(inference, *stack_);
  std::function<void(std::span<const detail::StateStep>)> keep;
  if (recurrentOutputStates != nullptr) {
    keep = [&](std::span<const detail::StateStep> step) {
      recurrentOutputStates->push_back(std::make_shared<RNNRecurrentMatrixState>(
          detail::StateOrigin::of(commandBuffer, temporary_), static_cast<std::size_t>(steps.most),
          states));
      detail::fill_state(recording, inference.memos, *recurrentOutputStates->back(), step);
    };
  }
  inference.walk(sources, destinations, steps, begin.get(), all_states_, keep);
  sources.consume(recording);
  if (begin) begin->consume(recording);
}

void RNNMatrixInferenceLayer::encodeBidirectionalSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> sourceSequence,
    std::span<const Matrix> destinationForwardMatrices,
    std::span<const Matrix> destinationBackwardMatrices) const {
  detail::Recording& recording = commandBuffer.recording();
  const detail::Directions channels(*this, detail::cells_of(*stack_), combine_);
  const bool side_by_side = combine_ == RNNBidirectionalCombineMode::Concatenate;
  const MatrixSequence sources(*this, recording, "sourceSequence", sourceSequence, {}, "",
                               channels.inputs);
  const MatrixSequence forward(*this, recording, "destinationForwardMatrices",
                               destinationForwardMatrices, {}, "",
                               channels.ahead + (side_by_side ? channels.back : 0));
  static_cast<void>(sources.steps());
  forward.check_covers(sources);
  forward.check_apart(sources);
  std::unique_ptr<MatrixSequence> backward;
  if (combine_ == RNNBidirectionalCombineMode::None) {
    backward = std::make_unique<MatrixSequence>(*this, recording, "destinationBackwardMatrices",
                                                destinationBackwardMatrices,
                                                std::span<const std::size_t>{}, "", channels.back);
    backward->check_covers(sources);
    backward->check_apart(sources);
    backward->check_apart(forward);
  }
  detail::InferenceStack inference(recording);
  prepare(inference, *stack_);
  inference.walk_both_ways(sources, forward, backward.get(), combine_);
  sources.consume(recording);
}

}  // namespace cermet
