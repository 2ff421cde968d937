#pragma once
// What layers on matrices keep of their descriptors.

#include <memory>
#include <span>
#include <vector>

#include "rnn/recurrence.h"

namespace cermet::detail {

struct RecurrentLayer {
  Cell cell;
  std::vector<std::vector<float>> values;  // of the cell's matrices; empty: weights come later
  // On the device, all gates below one another. Nil where the cell has none.
  Buffer input, recurrent, memory, bias, slopes;

  /// Makes the buffers.
  void move_to(const Device& device);
  /// The buffers as operands.
  [[nodiscard]] PackedWeights weights(Recording& recording) const;
  /// Absent unless a neuron is a PReLU.
  [[nodiscard]] TensorView view_of_slopes(Recording& recording) const;
};

/// Immutable, so that copies of a kernel share it.
struct RecurrentStack {
  std::vector<RecurrentLayer> layers;

  /// Of these descriptors and their sources. `can_round`: whether half_weights_when_unspecified
  /// counts, where a descriptor does not ask for float32. Throws InvalidArgument in the name of
  /// `kernel`.
  static std::shared_ptr<const RecurrentStack> of(
      std::span<const std::shared_ptr<RNNDescriptor>> descriptors, const Kernel& kernel,
      bool can_round);
  /// To write or to read; `with_values`: with the weights. FileError for what no stack is.
  static std::shared_ptr<const RecurrentStack> code(
      Coder& coder, const std::shared_ptr<const RecurrentStack>& stack, bool with_values);
  [[nodiscard]] std::shared_ptr<const RecurrentStack> on(const Device& device) const;
};

/// Shapes of the rows of packed weights.
[[nodiscard]] TensorDesc packed_desc(const Cell& cell, CellPart part);
/// Where the matrix lies in them: the first row, or for rows of numbers the first channel.
[[nodiscard]] TensorView packed_part(const TensorView& all, const Cell& cell,
                                     const CellMatrix& matrix);

}  // namespace cermet::detail
