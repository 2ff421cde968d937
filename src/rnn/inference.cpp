#include "rnn/inference.h"

#include <algorithm>

#include "cermet/cnn/arithmetic.h"
#include "cermet/core/error.h"

namespace cermet::detail {
namespace {

[[noreturn]] void refuse(const Kernel& kernel, std::string got, std::string needed,
                         std::string remedy = {}) {
  fail({kernel.class_name(), kernel.label(), "rnnDescriptors", std::move(got), std::move(needed),
        std::move(remedy)});
}

/// Memory for a walk of one layer.
Trace trace_of(Scratch& scratch, const Cell& cell, const Steps& steps) {
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

/// One layer.
Trace walk_layer(InferenceStack& stack, const InferenceLayer& layer, const Steps& steps,
                 const TensorView& input, RNNRecurrentState* begin, std::size_t index) {
  const Trace trace = trace_of(stack.scratch, *layer.cell, steps);
  begin_state(stack.recording, stack.memos, begin, index,
              state_after(trace.hidden, trace.cell, 0, steps.most));
  walk_forward(stack.scratch, stack.memos, *layer.cell, *layer.products, layer.vectors, steps,
               input, trace, begin == nullptr);
  return trace;
}

}  // namespace

void InferenceStack::walk(const Sequence& sources, const Sequence& destinations, const Steps& steps,
                          RNNRecurrentState* begin, bool all_states,
                          const std::function<void(std::span<const StateStep>)>& each_state) {
  TensorView values = sources.gather(scratch, memos, steps);
  std::vector<Trace> traces;
  for (std::size_t k = 0; k < layers.size(); ++k) {
    traces.push_back(walk_layer(*this, layers[k], steps, values, begin, k));
    values = images(traces.back().hidden, 1, steps.count());
  }
  destinations.scatter(recording, memos.output, values, steps);
  if (!each_state) return;
  for (std::int32_t t = all_states ? 1 : steps.count(); t <= steps.count(); ++t) {
    std::vector<StateStep> states;
    states.reserve(traces.size());
    for (const Trace& trace : traces)
      states.push_back(state_after(trace.hidden, trace.cell, t, steps.most));
    each_state(states);
  }
}

void InferenceStack::walk_both_ways(const Sequence& sources, const Sequence& forward,
                                    const Sequence* backward, RNNBidirectionalCombineMode combine) {
  const Steps steps = sources.steps();
  Steps reversed = steps;
  std::reverse(reversed.rows.begin(), reversed.rows.end());
  const std::int32_t count = steps.count();
  TensorView ahead = sources.gather(scratch, memos, steps);
  TensorView back = sources.gather(scratch, memos, reversed, true);
  for (const InferenceLayer& layer : layers) {
    const bool is_back = layer.cell->direction == RNNSequenceDirection::Backward;
    TensorView& values = is_back ? back : ahead;
    values = images(walk_layer(*this, layer, is_back ? reversed : steps, values, nullptr, 0).hidden,
                    1, count);
  }
  if (combine == RNNBidirectionalCombineMode::Add) {
    // Step t of one is step count - 1 - t of the other.
    for (std::int32_t t = 0; t < count; ++t) {
      const TensorView sum = step_of(ahead, t, steps.most);
      encode(recording, memos.sum, Arithmetic{},
             {sum, step_of(back, count - 1 - t, steps.most), sum, TensorView{}});
    }
  }
  forward.scatter(recording, memos.output, ahead, steps);
  if (combine == RNNBidirectionalCombineMode::Concatenate) {
    forward.scatter(recording, memos.output, back, reversed, true,
                    static_cast<std::size_t>(ahead.desc.c));
  } else if (backward != nullptr) {
    backward->scatter(recording, memos.output, back, reversed, true);
  }
}

void check_chain(const Kernel& kernel, const std::vector<const Cell*>& cells, bool both_ways) {
  for (std::size_t k = 1; k < cells.size(); ++k) {
    const Cell &before = *cells[k - 1], &layer = *cells[k];
    if (layer.inputs == before.outputs || (both_ways && layer.direction != before.direction))
      continue;
    refuse(kernel,
           "layer " + std::to_string(k) + " of " + std::to_string(layer.inputs) + " input channels",
           std::to_string(before.outputs) + ", the output channels of the layer before");
  }
}

Directions::Directions(const Kernel& kernel, const std::vector<const Cell*>& cells,
                       RNNBidirectionalCombineMode combine) {
  std::array<const Cell*, 2> first{}, last{};
  for (const Cell* cell : cells) {
    const auto direction = static_cast<std::size_t>(cell->direction);
    if (first[direction] == nullptr) first[direction] = cell;
    if (last[direction] != nullptr && last[direction]->outputs != cell->inputs) {
      refuse(kernel, "a layer of " + std::to_string(cell->inputs) + " input channels",
             std::to_string(last[direction]->outputs) +
                 ", the output channels of the layer of its direction before");
    }
    last[direction] = cell;
  }
  if (first[0] == nullptr || first[1] == nullptr) {
    refuse(kernel, first[0] == nullptr ? "all Backward" : "all Forward",
           "layers of both directions", "Set layerSequenceDirection of the descriptors.");
  }
  if (first[0]->inputs != first[1]->inputs) {
    refuse(kernel,
           std::to_string(first[0]->inputs) + " and " + std::to_string(first[1]->inputs) +
               " input channels",
           "the same number for both directions");
  }
  inputs = first[0]->inputs;
  ahead = last[0]->outputs;
  back = last[1]->outputs;
  if (combine == RNNBidirectionalCombineMode::Add && ahead != back) {
    refuse(kernel,
           std::to_string(ahead) + " and " + std::to_string(back) + " output channels to add",
           "the same number for both directions");
  }
}

// ---- states -------------------------------------------------------------------------------------

void check_state(const Kernel& kernel, const Recording& recording, std::string_view argument,
                 const RNNRecurrentState& state, std::span<const RNNRecurrentState::Layer> layers,
                 std::int32_t rows) {
  state.check_usable(recording);
  if (!std::ranges::equal(state.layers(), layers)) {
    fail({kernel.class_name(), kernel.label(), argument, "of other layers",
          "a state of this kernel, or of one with the same layers", ""});
  }
  if (state.rows() >= static_cast<std::size_t>(rows)) return;
  fail({kernel.class_name(), kernel.label(), argument, std::to_string(state.rows()) + " rows",
        std::to_string(rows) + " or more, those of the first matrix", ""});
}

StateStep state_after(const TensorView& hidden, const TensorView& cell, std::int32_t steps,
                      std::int32_t rows) {
  return {step_of(hidden, steps, rows),
          cell.desc.present() ? step_of(cell, steps, rows) : TensorView{}};
}

void begin_state(Recording& recording, RecurrenceMemos& memos, RNNRecurrentState* state,
                 std::size_t layer, const StateStep& to) {
  const auto begin = [&](const TensorView& values, bool of_cell) {
    if (!values.desc.present()) return;
    if (state != nullptr) {
      copy(recording, memos.copy, state->view(recording, layer, of_cell), values);
    } else {
      fill_zero(recording, memos.fill, values);
    }
  };
  begin(to.hidden, false);
  begin(to.cell, true);
}

void fill_state(Recording& recording, RecurrenceMemos& memos, RNNRecurrentState& state,
                std::span<const StateStep> steps) {
  for (std::size_t k = 0; k < steps.size(); ++k) {
    copy(recording, memos.copy, steps[k].hidden, state.view(recording, k, false));
    if (steps[k].cell.desc.present())
      copy(recording, memos.copy, steps[k].cell, state.view(recording, k, true));
  }
}

}  // namespace cermet::detail
