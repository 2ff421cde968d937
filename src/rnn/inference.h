#pragma once
// What the inference layers on matrices and on images share: stacks that walk along sequences.

#include <functional>
#include <memory>
#include <vector>

#include "cermet/core/command_buffer.h"
#include "rnn/sequence.h"

namespace cermet::detail {

/// A layer of a stack: its cell, and what its products need in one encode.
struct InferenceLayer {
  const Cell* cell = nullptr;
  CellVectors vectors;
  std::unique_ptr<CellProducts> products;
};

/// A stack for one encode.
struct InferenceStack {
  Recording& recording;
  Scratch scratch;
  RecurrenceMemos memos;
  std::vector<InferenceLayer> layers;

  explicit InferenceStack(Recording& of) : recording(of), scratch(of) {}

  /// All layers, each reading what the one before made. `each_state` gets the layers' states after
  /// the last step, or after every step.
  void walk(const Sequence& sources, const Sequence& destinations, const Steps& steps,
            RNNRecurrentState* begin, bool all_states,
            const std::function<void(std::span<const StateStep>)>& each_state);
  /// The layers of either direction from zero. `backward` is null unless results stay apart.
  void walk_both_ways(const Sequence& sources, const Sequence& forward, const Sequence* backward,
                      RNNBidirectionalCombineMode combine);
};

template <class Stack>
[[nodiscard]] std::vector<const Cell*> cells_of(const Stack& stack) {
  std::vector<const Cell*> cells;
  cells.reserve(stack.layers.size());
  for (const auto& layer : stack.layers) cells.push_back(&layer.cell);
  return cells;
}

/// The layers of a stack that are one stack, or two of either direction.
struct Directions {
  std::size_t inputs = 0, ahead = 0, back = 0;  // channels of the source and of the two results

  /// Throws where a direction has no layer, or what they read and make does not fit.
  Directions(const Kernel& kernel, const std::vector<const Cell*>& cells,
             RNNBidirectionalCombineMode combine);
};
/// Throws unless each layer reads what the one before makes; layers of different directions in a
/// row are left to `Directions` where `both_ways`.
void check_chain(const Kernel& kernel, const std::vector<const Cell*>& cells, bool both_ways);

}  // namespace cermet::detail
