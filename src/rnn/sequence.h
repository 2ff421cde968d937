#pragma once
// The arguments of an encode of recurrent layers: sequences, and the states before and after them.

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "cermet/rnn/recurrent_state.h"
#include "rnn/recurrence.h"

namespace cermet::detail {

/// A list of matrices or images, one for each step, as a tensor of steps.
class Sequence {
 public:
  virtual ~Sequence() = default;

  [[nodiscard]] virtual std::size_t size() const = 0;
  /// Rows that take part in each step.
  [[nodiscard]] virtual Steps steps() const = 0;
  /// All steps as one tensor: of the sources themselves where they lie so, else a copy, in which
  /// rows that take no part are 0. `reversed`: the last step first.
  [[nodiscard]] virtual TensorView gather(Scratch& scratch, RecurrenceMemos& memos,
                                          const Steps& steps, bool reversed = false) const = 0;
  /// Copies the rows that take part from a tensor of steps, from channel `first` on.
  virtual void scatter(Recording& recording, StepMemo& memo, const TensorView& from,
                       const Steps& steps, bool reversed = false, std::size_t first = 0) const = 0;
};

/// h and, where there is one, c of a layer after one step.
struct StateStep {
  TensorView hidden, cell;
};
/// Of walks that begin with the state before the first step; `cell` may be absent.
[[nodiscard]] StateStep state_after(const TensorView& hidden, const TensorView& cell,
                                    std::int32_t steps, std::int32_t rows);
/// The states of a stack of layers.
template <class Stack>
[[nodiscard]] std::vector<RNNRecurrentState::Layer> states_of(const Stack& stack) {
  std::vector<RNNRecurrentState::Layer> states;
  states.reserve(stack.layers.size());
  for (const auto& layer : stack.layers)
    states.push_back({layer.cell.outputs, layer.cell.has_cell()});
  return states;
}
/// Fills one step from layer `layer` of a state, or with zeros where that is null.
void begin_state(Recording& recording, RecurrenceMemos& memos, RNNRecurrentState* state,
                 std::size_t layer, const StateStep& to);
/// Fills a new state from a step of each layer.
void fill_state(Recording& recording, RecurrenceMemos& memos, RNNRecurrentState& state,
                std::span<const StateStep> steps);
/// Throws unless the state is of such layers and has `rows` rows or more.
void check_state(const Kernel& kernel, const Recording& recording, std::string_view argument,
                 const RNNRecurrentState& state, std::span<const RNNRecurrentState::Layer> layers,
                 std::int32_t rows);

}  // namespace cermet::detail
