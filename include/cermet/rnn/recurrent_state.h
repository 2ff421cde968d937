#pragma once
// What recurrent layers leave for the next part of a sequence, and for their gradient (spec:
// rnn-matrix B3).

#include <vector>

#include "cermet/core/matrix.h"
#include "cermet/core/state.h"

namespace cermet {

/// h and, of an LSTM, c of each layer after a step: a row for each sequence. A copy: results of the
/// layer may be overwritten. Where it comes from a gradient encode, the gradients of these.
class RNNRecurrentState : public State {
 public:
  // For kernels.
  struct Layer {
    std::size_t channels = 0;
    bool has_cell = false;
    bool operator==(const Layer&) const = default;
  };
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  /// All elements of h or c of a layer that has it.
  [[nodiscard]] TensorView view(detail::Recording& recording, std::size_t layer, bool of_cell);

 protected:
  /// With memory of `rows` x channels, undefined, for h and c of each layer.
  RNNRecurrentState(const detail::StateOrigin& origin, std::size_t rows, std::vector<Layer> layers);
  /// Nil for what is not there.
  [[nodiscard]] Buffer part(std::size_t layer, bool of_cell);

 private:
  [[nodiscard]] std::size_t index_of(std::size_t layer, bool of_cell) const;
  std::size_t rows_;
  std::vector<Layer> layers_;
};

/// The state of layers on matrices.
class RNNRecurrentMatrixState final : public RNNRecurrentState {
 public:
  /// h of a layer, Float32, a row for each sequence; nil for a layer that is not there.
  [[nodiscard]] Matrix getRecurrentOutputMatrix(std::size_t layerIndex) {
    return matrix(layerIndex, false);
  }
  /// c of a layer; nil for a layer that is not there or is no LSTM.
  [[nodiscard]] Matrix getMemoryCellMatrix(std::size_t layerIndex) {
    return matrix(layerIndex, true);
  }
  [[nodiscard]] std::string_view class_name() const override { return "RNNRecurrentMatrixState"; }

  RNNRecurrentMatrixState(const detail::StateOrigin& origin, std::size_t rows,
                          std::vector<Layer> layers)
      : RNNRecurrentState(origin, rows, std::move(layers)) {}

 private:
  [[nodiscard]] Matrix matrix(std::size_t layer, bool of_cell);
};
using RNNRecurrentMatrixStatePtr = std::shared_ptr<RNNRecurrentMatrixState>;

/// The state of layers on images, whose pixels are the sequences.
class RNNRecurrentImageState final : public RNNRecurrentState {
 public:
  /// h of a layer, Float32, of the sources' size; nil for a layer that is not there.
  [[nodiscard]] Image getRecurrentOutputImage(std::size_t layerIndex) {
    return image(layerIndex, false);
  }
  /// c of a layer; nil for a layer that is not there or is no LSTM.
  [[nodiscard]] Image getMemoryCellImage(std::size_t layerIndex) { return image(layerIndex, true); }
  [[nodiscard]] std::string_view class_name() const override { return "RNNRecurrentImageState"; }

  // For kernels.
  struct Extents {
    std::size_t width = 1, height = 1, images = 1;
    bool operator==(const Extents&) const = default;
  };
  RNNRecurrentImageState(const detail::StateOrigin& origin, const Extents& extents,
                         std::vector<Layer> layers)
      : RNNRecurrentState(origin, extents.width * extents.height * extents.images,
                          std::move(layers)),
        extents_(extents) {}
  [[nodiscard]] const Extents& extents() const { return extents_; }

 private:
  [[nodiscard]] Image image(std::size_t layer, bool of_cell);
  Extents extents_;
};
using RNNRecurrentImageStatePtr = std::shared_ptr<RNNRecurrentImageState>;

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
