#pragma once
// One recurrent layer walked along a sequence, and back (spec: rnn-matrix B2, B6, B7).
//
// Everything is float32 and lies step after step: a tensor of `steps` images, each of `most` rows
// of one pixel. Sequences may end early: step t works on its first rows[t] rows, and rows that take
// no part keep what they had in the step before, so that states are slices and sums over all rows
// of all steps are right (gradients of such rows are 0).

#include <memory>
#include <vector>

#include "cnn/encoding.h"
#include "rnn/cell.h"

namespace cermet::detail {

/// Scratch memory of one encode, kept until its end.
class Scratch {
 public:
  explicit Scratch(Recording& recording) : recording_(recording) {}
  /// steps x rows x channels, undefined.
  [[nodiscard]] TensorView make(std::int32_t steps, std::int32_t rows, std::size_t channels) {
    tensors_.push_back(std::make_unique<ScratchTensor>(
        recording_, dense_desc(steps, rows, 1, static_cast<std::int32_t>(channels))));
    return tensors_.back()->view;
  }
  [[nodiscard]] Recording& recording() const { return recording_; }

 private:
  Recording& recording_;
  std::vector<std::unique_ptr<ScratchTensor>> tensors_;
};

/// The products of a cell with its weights.
class CellProducts {
 public:
  CellProducts() = default;
  CellProducts(const CellProducts&) = delete;
  CellProducts& operator=(const CellProducts&) = delete;
  virtual ~CellProducts() = default;
  /// For `count` gates from `first` on: the channels of those gates (+)= part * source; rows are
  /// those of `source`. Input products also add the bias, and are never `accumulate`d.
  virtual void add(CellPart part, std::size_t first, std::size_t count, const TensorView& source,
                   const TensorView& gates, bool accumulate) const = 0;
};

/// Operands of a cell's operators besides its tensors: absent, or one number for each channel of
/// each gate.
struct CellVectors {
  TensorView slopes, peepholes;
};

/// The number of rows that take part in each step.
struct Steps {
  std::vector<std::int32_t> rows;
  std::int32_t most = 0;

  [[nodiscard]] std::int32_t count() const { return static_cast<std::int32_t>(rows.size()); }
  /// Whether some rows take no part in some step.
  [[nodiscard]] bool is_ragged() const;
};

/// What a forward pass computes; `hidden` and `cell` begin with the state before the first step.
struct Trace {
  TensorView gates;    // what goes into the neurons
  TensorView hidden;   // steps + 1
  TensorView cell;     // steps + 1, of an LSTM
  TensorView reset;    // r.h0 of a GRU
  TensorView updated;  // z.h0 of a GRU with such weights
};

/// The gradients that a backward pass hands on; they end with what comes from after the last step.
struct TraceGradients {
  TensorView gates;   // of what goes into the neurons
  TensorView hidden;  // steps + 1
  TensorView cell;    // steps + 1, of an LSTM
};

// Views of a tensor of steps.
[[nodiscard]] TensorView step_of(const TensorView& all, std::int32_t step, std::int32_t rows);
[[nodiscard]] TensorView rows_of(const TensorView& step, std::int32_t first, std::int32_t count);
/// Steps [first, first + count) as one matrix of all their rows.
[[nodiscard]] TensorView flat(const TensorView& all, std::int32_t first, std::int32_t count);
[[nodiscard]] TensorView channels_of(const TensorView& view, std::size_t first, std::size_t count);

/// The steps that one encode uses again and again, one for each place that records.
struct RecurrenceMemos {
  StepMemo neuron, cell, output, gates, keep_hidden, keep_cell, fill, copy, sum, peepholes, bias;
};

/// Walks forward through `input` (steps x rows x inputs). The first steps of `trace.hidden` and
/// `trace.cell` are there; `from_zero`: they are 0.
void walk_forward(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
                  const CellProducts& products, const CellVectors& vectors, const Steps& steps,
                  const TensorView& input, const Trace& trace, bool from_zero);

/// Copies, converts.
void copy(Recording& recording, StepMemo& memo, const TensorView& from, const TensorView& to);
void fill_zero(Recording& recording, StepMemo& memo, const TensorView& view);

// ---- products of matrices

/// The weights of a cell on matrices, all gates below one another.
struct PackedWeights {
  TensorView input;      // gate channels x inputs; absent: x itself
  TensorView recurrent;  // gate channels x outputs
  TensorView memory;  // the same of an LSTM; outputs x outputs of a GRU; absent if none or diagonal
  TensorView bias;    // one row of gate channels
  CellVectors vectors;
};

class MatrixProducts final : public CellProducts {
 public:
  MatrixProducts(Recording& recording, const Cell& cell, PackedWeights weights)
      : recording_(recording), cell_(cell), weights_(weights) {}

  void add(CellPart part, std::size_t first, std::size_t count, const TensorView& source,
           const TensorView& gates, bool accumulate) const override;
  /// Gradient of x, from those of all gates.
  void add_input_gradients(const TensorView& gates, const TensorView& source) const;
  /// source gradient (+)= the gates' gradients * part
  void add_transposed(CellPart part, std::size_t first, std::size_t count, const TensorView& gates,
                      const TensorView& source, bool accumulate) const;

 private:
  [[nodiscard]] TensorView weights(CellPart part, std::size_t first, std::size_t count) const;
  Recording& recording_;
  const Cell& cell_;
  PackedWeights weights_;
  mutable StepMemo input_memo_, recurrent_memo_, memory_memo_, unit_memo_;
};

/// Walks back. `gradients.hidden` and `.cell` have their last steps; `source` is the gradient of
/// the outputs. Fills the rest of `gradients`.
void walk_back(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
               const MatrixProducts& products, const CellVectors& vectors, const Steps& steps,
               const TensorView& source, const Trace& trace, const TraceGradients& gradients);

/// The gradients of a cell's matrices from those of its gates: overwrites or adds to `results`, one
/// for each of `Cell::matrices`.
void weight_gradients(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
                      const Steps& steps, const TensorView& input, const Trace& trace,
                      const TraceGradients& gradients, std::span<const TensorView> results,
                      bool accumulate);

}  // namespace cermet::detail
