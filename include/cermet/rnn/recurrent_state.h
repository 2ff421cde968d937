#pragma once
// What recurrent layers leave for the next part of a sequence, and for their gradient (spec:
// rnn-matrix B3).

#include <vector>

#include "cermet/core/matrix.h"
#include "cermet/core/state.h"

namespace cermet {

namespace detail {
struct Cell;
}

/// h and, of an LSTM, c of each layer after a step: a row for each sequence. A copy: results of the
/// layer may be overwritten. Where it comes from a gradient encode, the gradients of these.
class RNNRecurrentMatrixState final : public State {
 public:
  /// h of a layer, Float32, a row for each sequence; nil for a layer that is not there.
  [[nodiscard]] Matrix getRecurrentOutputMatrix(std::size_t layerIndex);
  /// c of a layer; nil for a layer that is not there or is no LSTM.
  [[nodiscard]] Matrix getMemoryCellMatrix(std::size_t layerIndex);
  [[nodiscard]] std::string_view class_name() const override { return "RNNRecurrentMatrixState"; }

  // For kernels.
  struct Layer {
    std::size_t channels = 0;
    bool has_cell = false;
    bool operator==(const Layer&) const = default;
  };
  /// With buffers of `rows` x channels, undefined, for h and c of each layer.
  RNNRecurrentMatrixState(const detail::StateOrigin& origin, std::size_t rows,
                          std::vector<Layer> layers);
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  /// All elements of h or c of a layer that has it.
  [[nodiscard]] TensorView view(detail::Recording& recording, std::size_t layer, bool of_cell);

 private:
  [[nodiscard]] std::size_t index_of(std::size_t layer, bool of_cell) const;
  [[nodiscard]] Matrix matrix(std::size_t layer, bool of_cell);
  std::size_t rows_;
  std::vector<Layer> layers_;
};
using RNNRecurrentMatrixStatePtr = std::shared_ptr<RNNRecurrentMatrixState>;

/// What the gradient of one step of a training layer needs of its forward encode; opaque.
class RNNMatrixTrainingState final : public State {
 public:
  [[nodiscard]] std::string_view class_name() const override { return "RNNMatrixTrainingState"; }

  // For kernels.
  /// Parts of one step, in this order; those that a cell does not have are nil.
  enum Part { gates, hidden, previousCell, cell, reset, updated, parts };
  RNNMatrixTrainingState(const detail::StateOrigin& origin, std::size_t rows,
                         std::vector<Buffer> buffers);
  /// Rows of each part.
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] bool has(Part part) const { return index_[part] != none; }
  [[nodiscard]] Buffer part(Part part) { return buffer(index_[part]); }
  /// Bytes of a part; 0 where it is not there.
  [[nodiscard]] std::size_t bytes(Part part) const {
    return has(part) ? bufferSize(index_[part]) : 0;
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};
  std::size_t rows_;
  std::size_t index_[parts];
};
using RNNMatrixTrainingStatePtr = std::shared_ptr<RNNMatrixTrainingState>;

}  // namespace cermet
