#include "cermet/rnn/matrix_inference_layer.h"

#include "cermet/cnn/arithmetic.h"
#include "rnn/matrix_sequence.h"
#include "rnn/stack.h"

namespace cermet {
namespace {

using detail::CellKind;
using detail::MatrixSequence;
using detail::RecurrenceMemos;
using detail::Scratch;
using detail::Steps;
using detail::Trace;

/// Memory for a walk of one layer.
Trace trace_of(Scratch& scratch, const detail::Cell& cell, const Steps& steps) {
  const std::int32_t count = steps.count();
  Trace trace;
  trace.gates = scratch.make(count, steps.most, cell.gate_channels());
  trace.hidden = scratch.make(count + 1, steps.most, cell.outputs);
  if (cell.has_cell()) trace.cell = scratch.make(count + 1, steps.most, cell.outputs);
  if (cell.kind == CellKind::gru) {
    trace.reset = scratch.make(count, steps.most, cell.outputs);
    if (cell.has_any_memory()) trace.updated = scratch.make(count, steps.most, cell.outputs);
  }
  return trace;
}

/// A walk of layers, each reading what the one before made.
class StackWalk {
 public:
  StackWalk(Scratch& scratch, RecurrenceMemos& memos, const Steps& steps)
      : scratch_(scratch), memos_(memos), steps_(steps) {}

  /// `state` null: zeros; else its layer of that index.
  void walk(const detail::RecurrentLayer& layer, RNNRecurrentMatrixState* state,
            std::size_t index) {
    detail::Recording& recording = scratch_.recording();
    const detail::Cell& cell = layer.cell;
    traces_.push_back(trace_of(scratch_, cell, steps_));
    const Trace& trace = traces_.back();
    detail::begin_state(
        recording, memos_, state, index, detail::step_of(trace.hidden, 0, steps_.most),
        cell.has_cell() ? detail::step_of(trace.cell, 0, steps_.most) : TensorView{});
    const detail::PackedWeights weights = layer.weights(recording);
    const detail::MatrixProducts products(recording, cell, weights);
    detail::walk_forward(scratch_, memos_, cell, products, weights.vectors, steps_, input_, trace,
                         state == nullptr);
    input_ = detail::images(trace.hidden, 1, steps_.count());
  }
  void set_input(const TensorView& input) { input_ = input; }
  /// What the last layer made.
  [[nodiscard]] const TensorView& output() const { return input_; }
  /// State after a number of steps.
  [[nodiscard]] std::vector<detail::StateStep> state(std::int32_t steps) const {
    std::vector<detail::StateStep> all;
    for (const Trace& trace : traces_) {
      all.push_back({detail::step_of(trace.hidden, steps, steps_.most),
                     trace.cell.desc.present() ? detail::step_of(trace.cell, steps, steps_.most)
                                               : TensorView{}});
    }
    return all;
  }

 private:
  Scratch& scratch_;
  RecurrenceMemos& memos_;
  const Steps& steps_;
  TensorView input_;
  std::vector<Trace> traces_;
};

}  // namespace

RNNMatrixInferenceLayer::RNNMatrixInferenceLayer(
    const Device& device, const std::shared_ptr<RNNDescriptor>& rnnDescriptor)
    : RNNMatrixInferenceLayer(device, std::span(&rnnDescriptor, 1)) {}

RNNMatrixInferenceLayer::RNNMatrixInferenceLayer(
    const Device& device, std::span<const std::shared_ptr<RNNDescriptor>> rnnDescriptors)
    : Concrete(device), stack_(detail::RecurrentStack::of(rnnDescriptors, *this)) {
  for (std::size_t k = 1; k < stack_->layers.size(); ++k) {
    const std::size_t inputs = stack_->layers[k].cell.inputs;
    const std::size_t outputs = stack_->layers[k - 1].cell.outputs;
    const bool is_one_stack =
        stack_->layers[k].cell.direction == stack_->layers[k - 1].cell.direction;
    if (!is_one_stack || inputs == outputs) continue;
    complain("rnnDescriptors",
             "layer " + std::to_string(k) + " of " + std::to_string(inputs) + " input channels",
             std::to_string(outputs) + ", the output channels of the layer before");
  }
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
  detail::Recording& recording = commandBuffer.recording();
  const MatrixSequence sources(*this, recording, "sourceMatrices", sourceMatrices, sourceOffsets,
                               "sourceOffsets", inputFeatureChannels());
  const MatrixSequence destinations(*this, recording, "destinationMatrices", destinationMatrices,
                                    destinationOffsets, "destinationOffsets",
                                    outputFeatureChannels());
  Steps steps = sources.steps();
  destinations.check_covers(sources);
  destinations.check_apart(sources);
  const auto states = stack_->states();
  if (recurrentInputState) {
    detail::check_state(*this, recording, "recurrentInputState", *recurrentInputState, states,
                        steps.most);
    steps.most = static_cast<std::int32_t>(recurrentInputState->rows());
  }
  for (std::size_t k = 1; k < stack_->layers.size(); ++k) {
    if (stack_->layers[k].cell.inputs == stack_->layers[k - 1].cell.outputs) continue;
    complain("rnnDescriptors", "two stacks, for either direction", "one for a plain sequence",
             "Use encodeBidirectionalSequence.");
  }

  Scratch scratch(recording);
  RecurrenceMemos memos;
  StackWalk stack(scratch, memos, steps);
  stack.set_input(sources.gather(scratch, memos, steps));
  for (std::size_t k = 0; k < stack_->layers.size(); ++k)
    stack.walk(stack_->layers[k], recurrentInputState.get(), k);
  destinations.scatter(recording, memos.output, stack.output(), steps);
  if (recurrentOutputStates != nullptr) {
    for (std::int32_t t = all_states_ ? 1 : steps.count(); t <= steps.count(); ++t) {
      recurrentOutputStates->push_back(
          detail::make_state(commandBuffer, temporary_, memos, steps.most, states, stack.state(t)));
    }
  }
  sources.consume(recording);
  if (recurrentInputState) recurrentInputState->consume(recording);
}

void RNNMatrixInferenceLayer::encodeBidirectionalSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> sourceSequence,
    std::span<const Matrix> destinationForwardMatrices,
    std::span<const Matrix> destinationBackwardMatrices) const {
  using enum RNNBidirectionalCombineMode;
  detail::Recording& recording = commandBuffer.recording();
  const detail::RecurrentLayer* first[2] = {};
  const detail::RecurrentLayer* last[2] = {};
  for (const detail::RecurrentLayer& layer : stack_->layers) {
    const auto direction = static_cast<std::size_t>(layer.cell.direction);
    if (first[direction] == nullptr) first[direction] = &layer;
    if (last[direction] != nullptr && last[direction]->cell.outputs != layer.cell.inputs) {
      complain("rnnDescriptors",
               "a layer of " + std::to_string(layer.cell.inputs) + " input channels",
               std::to_string(last[direction]->cell.outputs) +
                   ", the output channels of the layer of its direction before");
    }
    last[direction] = &layer;
  }
  if (first[0] == nullptr || first[1] == nullptr) {
    complain("rnnDescriptors", first[0] == nullptr ? "all Backward" : "all Forward",
             "layers of both directions", "Set layerSequenceDirection of the descriptors.");
  }
  if (first[0]->cell.inputs != first[1]->cell.inputs) {
    complain("rnnDescriptors",
             std::to_string(first[0]->cell.inputs) + " and " +
                 std::to_string(first[1]->cell.inputs) + " input channels",
             "the same number for both directions");
  }
  const std::size_t ahead = last[0]->cell.outputs, back = last[1]->cell.outputs;
  if (combine_ == Add && ahead != back) {
    complain("rnnDescriptors",
             std::to_string(ahead) + " and " + std::to_string(back) + " output channels to add",
             "the same number for both directions");
  }
  const MatrixSequence sources(*this, recording, "sourceSequence", sourceSequence, {}, "",
                               first[0]->cell.inputs);
  const MatrixSequence forward(*this, recording, "destinationForwardMatrices",
                               destinationForwardMatrices, {}, "",
                               combine_ == Concatenate ? ahead + back : ahead);
  const Steps steps = sources.steps();
  Steps reversed = steps;
  std::reverse(reversed.rows.begin(), reversed.rows.end());
  forward.check_covers(sources);
  forward.check_apart(sources);
  std::unique_ptr<MatrixSequence> backward;
  if (combine_ == None) {
    backward = std::make_unique<MatrixSequence>(*this, recording, "destinationBackwardMatrices",
                                                destinationBackwardMatrices,
                                                std::span<const std::size_t>{}, "", back);
    backward->check_covers(sources);
    backward->check_apart(sources);
    backward->check_apart(forward);
  }

  Scratch scratch(recording);
  RecurrenceMemos memos;
  StackWalk stack(scratch, memos, steps), stack_back(scratch, memos, reversed);
  stack.set_input(sources.gather(scratch, memos, steps));
  stack_back.set_input(sources.gather(scratch, memos, reversed, true));
  for (const detail::RecurrentLayer& layer : stack_->layers) {
    const bool is_forward = layer.cell.direction == RNNSequenceDirection::Forward;
    (is_forward ? stack : stack_back).walk(layer, nullptr, 0);
  }
  switch (combine_) {
    case None:
      forward.scatter(recording, memos.output, stack.output(), steps);
      backward->scatter(recording, memos.output, stack_back.output(), reversed, true);
      break;
    case Concatenate:
      forward.scatter(recording, memos.output, stack.output(), steps);
      forward.scatter(recording, memos.output, stack_back.output(), reversed, true, ahead);
      break;
    case Add:
      for (std::int32_t t = 0; t < steps.count(); ++t) {
        const std::int32_t rows = steps.rows[static_cast<std::size_t>(t)];
        detail::encode(
            recording, memos.sum, Arithmetic{},
            {detail::step_of(stack.output(), t, rows),
             detail::step_of(stack_back.output(), steps.count() - 1 - t, rows),
             forward.step(recording, static_cast<std::size_t>(t), rows, 0, ahead), TensorView{}});
      }
      break;
  }
  sources.consume(recording);
}

}  // namespace cermet
