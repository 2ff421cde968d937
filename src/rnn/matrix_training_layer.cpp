#include "cermet/rnn/matrix_training_layer.h"

#include <algorithm>

#include "cnn/state_runs.h"
#include "core/state_impl.h"
#include "matrix/encoding.h"
#include "rnn/matrix_sequence.h"
#include "rnn/stack.h"

namespace cermet {
namespace {

using detail::Cell;
using detail::CellKind;
using detail::CellMatrix;
using detail::CellPart;
using detail::MatrixSequence;
using detail::RecurrenceMemos;
using detail::Scratch;
using detail::Steps;
using Part = RNNMatrixTrainingState::Part;

MatrixDescriptor descriptor_of(const CellMatrix& matrix, DataType type) {
  return MatrixDescriptor::matrixDescriptor(matrix.rows, matrix.columns,
                                            MatrixDescriptor::rowBytes(matrix.columns, type), type);
}

/// Channels of a part of a training state; 0: the cell has none.
std::size_t channels_of_part(const Cell& cell, Part part) {
  switch (part) {
    case Part::gates:
      return cell.gate_channels();
    case Part::hidden:
      return cell.outputs;
    case Part::previousCell:
    case Part::cell:
      return cell.has_cell() ? cell.outputs : 0;
    case Part::reset:
      return cell.kind == CellKind::gru ? cell.outputs : 0;
    case Part::updated:
      return cell.kind == CellKind::gru && cell.has_any_memory() ? cell.outputs : 0;
    case Part::parts:
      break;
  }
  return 0;
}

/// The memory of training states: whole tensors of all steps, of which each state has its parts.
struct TrainingMemory {
  std::array<Buffer, RNNMatrixTrainingState::parts> whole;
  std::array<std::size_t, RNNMatrixTrainingState::parts> step_bytes{};
  detail::Trace trace;

  TrainingMemory(detail::Recording& recording, const detail::StateOrigin& origin, const Cell& cell,
                 const Steps& steps) {
    const auto make = [&](Part part, std::int32_t more) {
      const std::size_t channels = channels_of_part(cell, part);
      if (channels == 0) return TensorView{};
      const TensorDesc desc =
          dense_desc(steps.count() + more, steps.most, 1, static_cast<std::int32_t>(channels));
      step_bytes[part] = static_cast<std::size_t>(steps.most) * channels * sizeof(float);
      whole[part] = origin.make_buffer(static_cast<std::size_t>(desc.n) * step_bytes[part], false);
      return detail::view_of(recording, whole[part], desc);
    };
    trace.gates = make(Part::gates, 0);
    trace.hidden = make(Part::hidden, 1);
    trace.cell = make(Part::previousCell, 1);
    trace.reset = make(Part::reset, 0);
    trace.updated = make(Part::updated, 0);
  }

  [[nodiscard]] std::vector<Buffer> parts_of(std::size_t step) const {
    std::vector<Buffer> parts(RNNMatrixTrainingState::parts);
    const auto take = [&](Part part, Part from, std::size_t index) {
      if (whole[from]) parts[part] = detail::part_of(whole[from], index, step_bytes[from]);
    };
    take(Part::gates, Part::gates, step);
    take(Part::hidden, Part::hidden, step);
    take(Part::previousCell, Part::previousCell, step);
    take(Part::cell, Part::previousCell, step + 1);
    take(Part::reset, Part::reset, step);
    take(Part::updated, Part::updated, step);
    return parts;
  }
};

/// One part of all states, step after step: where it lies if states were made together, else a
/// copy.
TensorView gather(Scratch& scratch, RecurrenceMemos& memos,
                  std::span<const RNNMatrixTrainingStatePtr> states, Part part, const Cell& cell,
                  std::int32_t rows) {
  const std::size_t channels = channels_of_part(cell, part);
  if (channels == 0) return {};
  detail::Recording& recording = scratch.recording();
  const TensorDesc one = dense_desc(1, rows, 1, static_cast<std::int32_t>(channels));
  TensorView all;
  const auto count = static_cast<std::int32_t>(states.size());
  detail::for_each_run(
      states.size(), [&](std::size_t t) { return states[t]->part(part); },
      [&](std::int32_t first, std::int32_t length) {
        TensorDesc desc = one;
        desc.n = length;
        const TensorView run =
            detail::view_of(recording, states[static_cast<std::size_t>(first)]->part(part), desc);
        if (length == count) {
          all = run;
          return;
        }
        if (!all.desc.present()) all = scratch.make(count, rows, channels);
        detail::copy(recording, memos.copy, run, detail::images(all, first, length));
      });
  return all;
}

/// The cells before the steps, and after the last.
TensorView cells(Scratch& scratch, RecurrenceMemos& memos,
                 std::span<const RNNMatrixTrainingStatePtr> states, const Cell& cell,
                 std::int32_t rows) {
  detail::Recording& recording = scratch.recording();
  const auto count = static_cast<std::int32_t>(states.size());
  const TensorView before = gather(scratch, memos, states, Part::previousCell, cell, rows);
  const TensorView last = gather(scratch, memos, states.last(1), Part::cell, cell, rows);
  TensorView all = before;
  all.desc.n = count + 1;
  const auto bytes = before.desc.count() * static_cast<std::int64_t>(sizeof(float));
  const bool follows = detail::is_followed_by(states.back()->part(Part::previousCell),
                                              states.back()->part(Part::cell));
  if (follows && static_cast<std::byte*>(before.data) + bytes == last.data) return all;
  all = scratch.make(count + 1, rows, cell.outputs);
  detail::copy(recording, memos.copy, before, detail::images(all, 0, count));
  detail::copy(recording, memos.copy, last, detail::images(all, count, 1));
  return all;
}

RNNRecurrentMatrixStatePtr made_state(const CommandBuffer& commandBuffer, bool temporary,
                                      RecurrenceMemos& memos,
                                      const std::vector<RNNRecurrentState::Layer>& layers,
                                      const detail::StateStep& step) {
  auto state = std::make_shared<RNNRecurrentMatrixState>(
      detail::StateOrigin::of(commandBuffer, temporary),
      static_cast<std::size_t>(step.hidden.desc.h), layers);
  detail::fill_state(commandBuffer.recording(), memos, *state, {&step, 1});
  return state;
}

/// A list of matrices like the weights, checked.
class WeightList {
 public:
  WeightList(const Kernel& kernel, detail::Recording& recording, const Cell& cell,
             std::string_view argument, std::span<const Matrix> list, bool wide)
      : matrices_(cell.matrices()), list_(list) {
    const auto refuse = [&](std::string_view what, std::string got, std::string needed) {
      fail({kernel.class_name(), kernel.label(), what, std::move(got), std::move(needed),
            "Give the list that this layer filled, in its order."});
    };
    if (list.size() != matrices_.size()) {
      refuse(argument, std::to_string(list.size()) + " matrices",
             std::to_string(matrices_.size()) + ", one for each matrix of the layer");
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      const CellMatrix& matrix = matrices_[i];
      const std::string name = std::string(argument) + "[" + std::to_string(i) + "]";
      list[i].check_usable(recording, kernel, name);
      const DataType type = list[i].dataType();
      const bool fits = list[i].rows() == matrix.rows && list[i].columns() == matrix.columns &&
                        (type == DataType::Float32 || (!wide && type == DataType::Float16));
      if (fits) continue;
      refuse(name, list[i].describe(),
             detail::extents(matrix.rows, matrix.columns) + " elements of Float32" +
                 (wide ? "" : " or Float16") + " for " + std::string(detail::name_of(matrix.id)));
    }
  }
  [[nodiscard]] const std::vector<CellMatrix>& matrices() const { return matrices_; }
  [[nodiscard]] TensorView view(detail::Recording& recording, std::size_t index) const {
    TensorView view = detail::images(list_[index].view(recording), 0, 1);
    view.desc.stride_w = view.desc.c;
    if (view.desc.h == 1) view.desc.stride_h = view.desc.c;
    view.desc.stride_n = view.desc.stride_h * view.desc.h;
    return view;
  }
  void consume(detail::Recording& recording) const {
    for (const Matrix& matrix : list_) matrix.consume(recording);
  }

 private:
  std::vector<CellMatrix> matrices_;
  std::span<const Matrix> list_;
};

/// The weights of an encode, all gates below one another.
detail::PackedWeights packed(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
                             const WeightList& weights) {
  detail::Recording& recording = scratch.recording();
  std::array<TensorView, 4> all;
  for (std::size_t i = 0; i < weights.matrices().size(); ++i) {
    const CellMatrix& matrix = weights.matrices()[i];
    TensorView& to = all[static_cast<std::size_t>(matrix.part)];
    const TensorView from = weights.view(recording, i);
    const TensorDesc desc = detail::packed_desc(cell, matrix.part);
    if (desc == from.desc) {
      to = from;  // the only one of its part
      continue;
    }
    if (!to.desc.present()) {
      to = scratch.make(1, desc.h, static_cast<std::size_t>(desc.c));
      if (matrix.part == CellPart::memory) detail::fill_zero(recording, memos.fill, to);
    }
    detail::copy(recording, memos.copy, from, detail::packed_part(to, cell, matrix));
  }
  const auto part = [&](CellPart which) { return all[static_cast<std::size_t>(which)]; };
  detail::PackedWeights result{part(CellPart::input),
                               part(CellPart::recurrent),
                               part(CellPart::memory),
                               part(CellPart::bias),
                               {}};
  if (cell.diagonal) std::swap(result.memory, result.vectors.peepholes);
  return result;
}

}  // namespace

RNNMatrixTrainingLayer::RNNMatrixTrainingLayer(const Device& device,
                                               const std::shared_ptr<RNNDescriptor>& rnnDescriptor,
                                               std::vector<Matrix>* trainableWeights)
    : Concrete(device) {
  if (trainableWeights == nullptr)
    complain("trainableWeights", "null", "a list to append the weights to");
  const auto loaded = detail::RecurrentStack::of({&rnnDescriptor, 1}, *this, false);
  auto own = std::make_shared<detail::RecurrentStack>();
  own->layers.emplace_back().cell = loaded->layers.front().cell;
  own->layers.front().slopes = loaded->layers.front().slopes;
  stack_ = own;
  const std::size_t first = trainableWeights->size();
  createWeightMatrices(trainableWeights);
  const auto matrices = own->layers.front().cell.matrices();
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const Matrix& matrix = (*trainableWeights)[first + i];
    const std::vector<float>& values = loaded->layers.front().values[i];
    std::vector<float> padded(matrix.data().length() / sizeof(float));
    const std::size_t stride = matrix.rowBytes() / sizeof(float), columns = matrices[i].columns;
    for (std::size_t row = 0; row < matrices[i].rows; ++row)
      std::copy_n(&values[row * columns], columns, &padded[row * stride]);
    matrix.data().copy_in(padded.data(), padded.size() * sizeof(float));
  }
}

std::size_t RNNMatrixTrainingLayer::inputFeatureChannels() const {
  return stack_->layers.front().cell.inputs;
}
std::size_t RNNMatrixTrainingLayer::outputFeatureChannels() const {
  return stack_->layers.front().cell.outputs;
}

void RNNMatrixTrainingLayer::code(Coder& coder) {
  Kernel::code(coder);
  stack_ = detail::RecurrentStack::code(coder, stack_, false);
  if (stack_->layers.size() != 1)
    coder.refuse("numberOfLayers", std::to_string(stack_->layers.size()), "1");
  coder("storeAllIntermediateStates", all_states_);
  coder("recurrentOutputIsTemporary", temporary_output_);
  coder("trainingStateIsTemporary", temporary_training_);
  coder("accumulateWeightGradients", accumulate_);
  if (coder.is_reading()) move_to(device());
}

void RNNMatrixTrainingLayer::move_to(const Device& device) {
  Kernel::move_to(device);
  stack_ = stack_->on(device);
}

// ---- weights ------------------------------------------------------------------------------------

namespace {

void check_list(const Kernel& kernel, const std::vector<Matrix>* list, DataType type) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed) {
    fail({kernel.class_name(), kernel.label(), argument, std::move(got), std::move(needed), ""});
  };
  if (list == nullptr) refuse("matricesOut", "null", "a list to append matrices to");
  if (type != DataType::Float32 && type != DataType::Float16)
    refuse("dataType", std::to_string(static_cast<std::uint32_t>(type)), "Float32 or Float16");
}

}  // namespace

void RNNMatrixTrainingLayer::createWeightGradientMatrices(std::vector<Matrix>* matricesOut,
                                                          DataType dataType) const {
  check_list(*this, matricesOut, dataType);
  for (const CellMatrix& matrix : stack_->layers.front().cell.matrices())
    matricesOut->emplace_back(device(), descriptor_of(matrix, dataType));
}

void RNNMatrixTrainingLayer::createTemporaryWeightGradientMatrices(
    std::vector<Matrix>* matricesOut, DataType dataType, const CommandBuffer& commandBuffer) const {
  check_list(*this, matricesOut, dataType);
  detail::Recording& recording = commandBuffer.recording();
  RecurrenceMemos memos;
  for (const CellMatrix& matrix : stack_->layers.front().cell.matrices()) {
    const TemporaryMatrix made(commandBuffer, descriptor_of(matrix, dataType));
    const auto bytes = static_cast<std::int64_t>(made.data().length());
    const bool wide = dataType == DataType::Float32;
    detail::fill_zero(
        recording, memos.fill,
        detail::view_of(
            recording, made.data(),
            flat_desc(bytes / (wide ? 4 : 2), wide ? ElementType::float32 : ElementType::float16)));
    matricesOut->push_back(made);
  }
}

void RNNMatrixTrainingLayer::createWeightMatrices(std::vector<Matrix>* matricesOut) const {
  createWeightGradientMatrices(matricesOut, DataType::Float32);
}

void RNNMatrixTrainingLayer::encodeCopyWeights(const CommandBuffer& commandBuffer,
                                               std::span<const Matrix> weights,
                                               RNNMatrixId matrixId, const Matrix& matrix,
                                               bool copyFromWeightsToMatrix,
                                               const Origin& matrixOffset) const {
  detail::MatrixEncode call(*this, commandBuffer);
  detail::Recording& recording = call.recording();
  const Cell& cell = stack_->layers.front().cell;
  const WeightList list(*this, recording, cell, "weights", weights, false);
  const auto found = std::find_if(list.matrices().begin(), list.matrices().end(),
                                  [&](const CellMatrix& one) { return one.id == matrixId; });
  if (found == list.matrices().end()) {
    std::string ids;
    for (const CellMatrix& one : list.matrices())
      ids += (ids.empty() ? "" : ", ") + std::string(detail::name_of(one.id));
    complain("matrixId",
             std::to_string(static_cast<unsigned>(matrixId)) + " (" +
                 std::string(detail::name_of(matrixId)) + ")",
             "one of " + ids);
  }
  const auto index = static_cast<std::size_t>(found - list.matrices().begin());
  const auto part = copyFromWeightsToMatrix
                        ? call.result("matrix", matrix, "matrixOffset", matrixOffset)
                        : call.source("matrix", matrix, "matrixOffset", matrixOffset);
  call.check_room(part, found->rows, found->columns, detail::name_of(matrixId));
  call.batch(0, 1);
  const TensorView of_list = list.view(recording, index);
  const TensorView other = call.view(part, found->rows, found->columns);
  RecurrenceMemos memos;
  detail::copy(recording, memos.copy, copyFromWeightsToMatrix ? of_list : other,
               copyFromWeightsToMatrix ? other : of_list);
  call.finish();
  if (copyFromWeightsToMatrix) weights[index].consume(recording);
}

// ---- encodes ------------------------------------------------------------------------------------

void RNNMatrixTrainingLayer::encodeForwardSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
    std::span<const Matrix> destinationMatrices,
    std::vector<RNNMatrixTrainingStatePtr>* trainingStates, std::span<const Matrix> weights) const {
  encodeForwardSequence(commandBuffer, sourceMatrices, {}, destinationMatrices, {}, trainingStates,
                        nullptr, nullptr, weights);
}

void RNNMatrixTrainingLayer::encodeForwardSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> sourceMatrices,
    std::span<const std::size_t> sourceOffsets, std::span<const Matrix> destinationMatrices,
    std::span<const std::size_t> destinationOffsets,
    std::vector<RNNMatrixTrainingStatePtr>* trainingStates,
    const RNNRecurrentMatrixStatePtr& recurrentInputState,
    std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates,
    std::span<const Matrix> weights) const {
  // It may be in the list that grows. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const auto begin = recurrentInputState;
  detail::Recording& recording = commandBuffer.recording();
  const detail::RecurrentLayer& layer = stack_->layers.front();
  const Cell& cell = layer.cell;
  if (trainingStates == nullptr)
    complain("trainingStates", "null", "a list to append the states to");
  const MatrixSequence sources(*this, recording, "sourceMatrices", sourceMatrices, sourceOffsets,
                               "sourceOffsets", cell.inputs);
  const MatrixSequence destinations(*this, recording, "destinationMatrices", destinationMatrices,
                                    destinationOffsets, "destinationOffsets", cell.outputs);
  Steps steps = sources.steps();
  destinations.check_covers(sources);
  destinations.check_apart(sources);
  const WeightList list(*this, recording, cell, "weights", weights, true);
  const auto states = detail::states_of(*stack_);
  if (begin) {
    detail::check_state(*this, recording, "recurrentInputState", *begin, states, steps.most);
    steps.most = static_cast<std::int32_t>(begin->rows());
  }

  Scratch scratch(recording);
  RecurrenceMemos memos;
  const auto origin = detail::StateOrigin::of(commandBuffer, temporary_training_);
  const TrainingMemory memory(recording, origin, cell, steps);
  const detail::Trace& trace = memory.trace;
  detail::begin_state(recording, memos, begin.get(), 0,
                      detail::state_after(trace.hidden, trace.cell, 0, steps.most));
  detail::PackedWeights packed_weights = packed(scratch, memos, cell, list);
  packed_weights.vectors.slopes = layer.view_of_slopes(recording);
  const detail::MatrixProducts products(recording, cell, packed_weights);
  const TensorView input = sources.gather(scratch, memos, steps);
  detail::walk_forward(scratch, memos, cell, products, packed_weights.vectors, steps, input, trace,
                       begin == nullptr);
  destinations.scatter(recording, memos.output, detail::images(trace.hidden, 1, steps.count()),
                       steps);
  for (std::int32_t t = 0; t < steps.count(); ++t) {
    trainingStates->push_back(
        std::make_shared<RNNMatrixTrainingState>(origin, static_cast<std::size_t>(steps.most),
                                                 memory.parts_of(static_cast<std::size_t>(t))));
  }
  if (recurrentOutputStates != nullptr) {
    for (std::int32_t t = all_states_ ? 1 : steps.count(); t <= steps.count(); ++t) {
      recurrentOutputStates->push_back(
          made_state(commandBuffer, temporary_output_, memos, states,
                     detail::state_after(trace.hidden, trace.cell, t, steps.most)));
    }
  }
  sources.consume(recording);
  list.consume(recording);
  if (begin) begin->consume(recording);
}

void RNNMatrixTrainingLayer::encodeGradientSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> forwardSources,
    std::span<const Matrix> sourceGradients, std::span<const Matrix> destinationGradients,
    std::span<const Matrix> weightGradients,
    std::span<const RNNMatrixTrainingStatePtr> trainingStates,
    std::span<const Matrix> weights) const {
  encodeGradientSequence(commandBuffer, forwardSources, {}, sourceGradients, {},
                         destinationGradients, {}, weightGradients, trainingStates, nullptr,
                         nullptr, weights);
}

void RNNMatrixTrainingLayer::encodeGradientSequence(
    const CommandBuffer& commandBuffer, std::span<const Matrix> forwardSources,
    std::span<const std::size_t> forwardSourceOffsets, std::span<const Matrix> sourceGradients,
    std::span<const std::size_t> sourceGradientOffsets,
    std::span<const Matrix> destinationGradients, std::span<const std::size_t> destinationOffsets,
    std::span<const Matrix> weightGradients,
    std::span<const RNNMatrixTrainingStatePtr> trainingStates,
    const RNNRecurrentMatrixStatePtr& recurrentInputState,
    std::vector<RNNRecurrentMatrixStatePtr>* recurrentOutputStates,
    std::span<const Matrix> weights) const {
  // It may be in the list that grows. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const auto begin = recurrentInputState;
  detail::Recording& recording = commandBuffer.recording();
  const detail::RecurrentLayer& layer = stack_->layers.front();
  const Cell& cell = layer.cell;
  const MatrixSequence sources(*this, recording, "forwardSources", forwardSources,
                               forwardSourceOffsets, "forwardSourceOffsets", cell.inputs);
  const MatrixSequence gradients(*this, recording, "sourceGradients", sourceGradients,
                                 sourceGradientOffsets, "sourceGradientOffsets", cell.outputs);
  Steps steps = sources.steps();
  gradients.check_covers(sources);
  std::unique_ptr<MatrixSequence> destinations;
  if (!destinationGradients.empty()) {
    destinations = std::make_unique<MatrixSequence>(*this, recording, "destinationGradients",
                                                    destinationGradients, destinationOffsets,
                                                    "destinationOffsets", cell.inputs);
    destinations->check_covers(sources);
    destinations->check_apart(sources);
    destinations->check_apart(gradients);
  }
  const WeightList list(*this, recording, cell, "weights", weights, true);
  std::unique_ptr<WeightList> to_weights;
  if (!weightGradients.empty()) {
    to_weights = std::make_unique<WeightList>(*this, recording, cell, "weightGradients",
                                              weightGradients, false);
  }
  if (trainingStates.size() != sources.size()) {
    complain("trainingStates", std::to_string(trainingStates.size()) + " states",
             std::to_string(sources.size()) + ", one for each of forwardSources");
  }
  for (std::size_t t = 0; t < trainingStates.size(); ++t) {
    const std::string name = "trainingStates[" + std::to_string(t) + "]";
    const RNNMatrixTrainingStatePtr& state = trainingStates[t];
    const char* const remedy = "Give the states that the forward encode of these sources appended.";
    if (!state) complain(name, "null", "a state", remedy);
    state->check_usable(recording);
    const auto rows = static_cast<std::int32_t>(state->rows());
    if (t == 0) steps.most = rows;
    if (rows != steps.most || rows < steps.rows[t]) {
      complain(name, "of " + std::to_string(rows) + " rows",
               rows != steps.most ? std::to_string(steps.most) + ", as in the first"
                                  : std::to_string(steps.rows[t]) + " or more, those of its source",
               remedy);
    }
    for (int part = 0; part < RNNMatrixTrainingState::parts; ++part) {
      const auto which = static_cast<Part>(part);
      if (state->bytes(which) == state->rows() * channels_of_part(cell, which) * sizeof(float))
        continue;
      complain(name, "of another layer", "a state of this one", remedy);
    }
  }
  const auto states = detail::states_of(*stack_);
  if (begin) {
    detail::check_state(*this, recording, "recurrentInputState", *begin, states, steps.most);
    if (begin->rows() != static_cast<std::size_t>(steps.most)) {
      complain("recurrentInputState", std::to_string(begin->rows()) + " rows",
               std::to_string(steps.most) + ", those of the training states");
    }
  }

  Scratch scratch(recording);
  RecurrenceMemos memos;
  const std::int32_t count = steps.count(), most = steps.most;
  detail::Trace trace;
  trace.gates = gather(scratch, memos, trainingStates, Part::gates, cell, most);
  trace.hidden = gather(scratch, memos, trainingStates, Part::hidden, cell, most);
  trace.reset = gather(scratch, memos, trainingStates, Part::reset, cell, most);
  trace.updated = gather(scratch, memos, trainingStates, Part::updated, cell, most);
  if (cell.has_cell()) {
    trace.cell = cells(scratch, memos, trainingStates, cell, most);
  }
  detail::TraceGradients walked;
  walked.gates = scratch.make(count, most, cell.gate_channels());
  walked.hidden = scratch.make(count + 1, most, cell.outputs);
  if (cell.has_cell()) walked.cell = scratch.make(count + 1, most, cell.outputs);
  detail::begin_state(recording, memos, begin.get(), 0,
                      detail::state_after(walked.hidden, walked.cell, count, most));
  detail::PackedWeights packed_weights = packed(scratch, memos, cell, list);
  packed_weights.vectors.slopes = layer.view_of_slopes(recording);
  const detail::MatrixProducts products(recording, cell, packed_weights);
  detail::walk_back(scratch, memos, cell, products, packed_weights.vectors, steps,
                    gradients.gather(scratch, memos, steps), trace, walked);

  if (to_weights) {
    std::vector<TensorView> results;
    for (std::size_t i = 0; i < to_weights->matrices().size(); ++i)
      results.push_back(to_weights->view(recording, i));
    detail::weight_gradients(scratch, memos, cell, steps, sources.gather(scratch, memos, steps),
                             trace, walked, results, accumulate_);
  }
  if (destinations) {
    const TensorView dx = scratch.make(count, most, cell.inputs);
    products.add_input_gradients(detail::flat(walked.gates, 0, count), detail::flat(dx, 0, count));
    destinations->scatter(recording, memos.output, dx, steps);
  }
  if (recurrentOutputStates != nullptr) {
    for (std::int32_t t = 0; t < (all_states_ ? count : 1); ++t) {
      recurrentOutputStates->push_back(
          made_state(commandBuffer, temporary_output_, memos, states,
                     detail::state_after(walked.hidden, walked.cell, t, most)));
    }
  }
  sources.consume(recording);
  gradients.consume(recording);
  list.consume(recording);
  for (const auto& state : trainingStates) state->consume(recording);
  if (begin) begin->consume(recording);
}

}  // namespace cermet
