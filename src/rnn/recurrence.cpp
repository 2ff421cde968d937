#include "rnn/recurrence.h"

#include <algorithm>

#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/reduce.h"
#include "cermet/matrix/multiplication.h"
#include "cermet/matrix/neuron.h"
#include "cermet/ops/copy.h"
#include "cermet/rnn/gru.h"
#include "cermet/rnn/lstm.h"
#include "cermet/rnn/single_gate.h"

namespace cermet::detail {
namespace {

std::int32_t i32(std::size_t value) { return static_cast<std::int32_t>(value); }

GRUGates::Neurons gru_neurons(const Cell& cell) {
  return {cell.neurons[0], cell.neurons[1], cell.neurons[2]};
}
GRUCell gru_cell(const Cell& cell) { return {gru_neurons(cell), cell.p, cell.flip ? 1 : 0}; }
LSTMCell lstm_cell(const Cell& cell) {
  return {cell.neurons[0], cell.neurons[1], cell.neurons[2], cell.neurons[3], cell.cell_to_output};
}

constexpr std::size_t last_gru_gate = 2, output_gate = 3;

/// Whether an LSTM's output gate looks at the new cell through a matrix, so that its cell is two
/// operators with a product between.
bool has_output_product(const Cell& cell) {
  return cell.has_cell() && !cell.diagonal && cell.has_memory[output_gate];
}
/// Whether its other gates look at the cell before through matrices.
bool has_memory_products(const Cell& cell) {
  return cell.has_cell() && !cell.diagonal &&
         (cell.has_memory[0] || cell.has_memory[1] || cell.has_memory[2]);
}

/// Rows that take no part in a step keep what they had.
void keep(Recording& recording, StepMemo& memo, const TensorView& from, const TensorView& to,
          std::int32_t rows) {
  const std::int32_t rest = from.desc.h - rows;
  if (rest == 0) return;
  copy(recording, memo, rows_of(from, rows, rest), rows_of(to, rows, rest));
}

}  // namespace

bool Steps::is_ragged() const {
  return std::any_of(rows.begin(), rows.end(), [&](std::int32_t count) { return count != most; });
}

TensorView rows_of(const TensorView& step, std::int32_t first, std::int32_t count) {
  TensorView part = window(step, 0, first, 1, count);
  part.desc.stride_n = part.desc.stride_h * count;  // of one image it leads nowhere
  return part;
}
TensorView step_of(const TensorView& all, std::int32_t step, std::int32_t rows) {
  return rows_of(images(all, step, 1), 0, rows);
}
TensorView flat(const TensorView& all, std::int32_t first, std::int32_t count) {
  TensorView part = images(all, first, count);
  part.desc.h *= count;
  part.desc.n = 1;
  part.desc.stride_n = part.desc.stride_h * part.desc.h;
  return part;
}
TensorView channels_of(const TensorView& view, std::size_t first, std::size_t count) {
  return feature_channels(view, static_cast<std::int64_t>(first), i32(count));
}

void copy(Recording& recording, StepMemo& memo, const TensorView& from, const TensorView& to) {
  encode(recording, memo, Copy{}, {from, to});
}
void fill_zero(Recording& recording, StepMemo& memo, const TensorView& view) {
  encode(recording, memo, Fill{}, {view});
}

// ---- forward ------------------------------------------------------------------------------------

void walk_forward(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
                  const CellProducts& products, const CellVectors& vectors, const Steps& steps,
                  const TensorView& input, const Trace& trace, bool from_zero) {
  Recording& recording = scratch.recording();
  const std::int32_t count = steps.count();
  products.add(CellPart::input, 0, cell.gates(), flat(input, 0, count), flat(trace.gates, 0, count),
               false);
  if (steps.is_ragged()) {
    for (const TensorView& view : {trace.reset, trace.updated})
      if (view.desc.present()) fill_zero(recording, memos.fill, view);
  }
  for (std::int32_t t = 0; t < count; ++t) {
    const std::int32_t rows = steps.rows[static_cast<std::size_t>(t)];
    const bool has_past = t > 0 || !from_zero;
    const TensorView gates = step_of(trace.gates, t, rows);
    const TensorView h0 = step_of(trace.hidden, t, rows), h1 = step_of(trace.hidden, t + 1, rows);
    const auto product = [&](CellPart part, std::size_t first, std::size_t number,
                             const TensorView& source) {
      products.add(part, first, number, source, gates, true);
    };
    switch (cell.kind) {
      case CellKind::single_gate:
        if (has_past) product(CellPart::recurrent, 0, 1, h0);
        encode(recording, memos.neuron, BiasedNeuron{1, cell.neurons[0]},
               {gates, TensorView{}, vectors.slopes, h1});
        break;
      case CellKind::gru: {
        if (has_past) product(CellPart::recurrent, 0, last_gru_gate, h0);
        const TensorView reset = step_of(trace.reset, t, rows);
        const bool updates = cell.has_memory[last_gru_gate];
        const TensorView updated = updates ? step_of(trace.updated, t, rows) : TensorView{};
        encode(recording, memos.gates, GRUGates{gru_neurons(cell)},
               {gates, vectors.slopes, h0, reset, updated});
        if (has_past) product(CellPart::recurrent, last_gru_gate, 1, reset);
        if (has_past && updates) product(CellPart::memory, last_gru_gate, 1, updated);
        encode(recording, memos.cell, gru_cell(cell), {gates, vectors.slopes, h0, h1});
        break;
      }
      case CellKind::lstm: {
        const TensorView c0 = step_of(trace.cell, t, rows), c1 = step_of(trace.cell, t + 1, rows);
        if (has_past) product(CellPart::recurrent, 0, cell.gates(), h0);
        if (has_past && has_memory_products(cell)) product(CellPart::memory, 0, output_gate, c0);
        const bool apart = has_output_product(cell);
        encode(recording, memos.cell, lstm_cell(cell),
               {gates, vectors.peepholes, vectors.slopes, c0, c1, apart ? TensorView{} : h1});
        if (apart) {
          product(CellPart::memory, output_gate, 1, c1);
          encode(recording, memos.output, lstm_cell(cell),
                 {gates, vectors.peepholes, vectors.slopes, TensorView{}, c1, h1});
        }
        keep(recording, memos.keep_cell, step_of(trace.cell, t, steps.most),
             step_of(trace.cell, t + 1, steps.most), rows);
        break;
      }
    }
    keep(recording, memos.keep_hidden, step_of(trace.hidden, t, steps.most),
         step_of(trace.hidden, t + 1, steps.most), rows);
  }
}

// ---- products of matrices -----------------------------------------------------------------------

TensorView MatrixProducts::weights(CellPart part, std::size_t first, std::size_t count) const {
  const TensorView& all = part == CellPart::input       ? weights_.input
                          : part == CellPart::recurrent ? weights_.recurrent
                                                        : weights_.memory;
  if (part == CellPart::memory && cell_.kind == CellKind::gru) return all;
  return rows_of(all, i32(first * cell_.outputs), i32(count * cell_.outputs));
}

void MatrixProducts::add(CellPart part, std::size_t first, std::size_t count,
                         const TensorView& source, const TensorView& gates, bool accumulate) const {
  const TensorView to = channels_of(gates, first * cell_.outputs, count * cell_.outputs);
  const bool is_input = part == CellPart::input;
  if (is_input && !weights_.input.desc.present()) {
    for (std::size_t gate = first; gate < first + count; ++gate) {
      encode(recording_, unit_memo_, BiasedNeuron{},
             {source, channels_of(weights_.bias, gate * cell_.outputs, cell_.outputs), TensorView{},
              channels_of(gates, gate * cell_.outputs, cell_.outputs)});
    }
    return;
  }
  const MatrixMultiply op{.beta = accumulate ? 1.0F : 0.0F, .transposeRight = 1};
  StepMemo& memo = is_input                      ? input_memo_
                   : part == CellPart::recurrent ? recurrent_memo_
                                                 : memory_memo_;
  encode(recording_, memo, op,
         {source, weights(part, first, count), is_input ? weights_.bias : TensorView{}, to});
}

void MatrixProducts::add_transposed(CellPart part, std::size_t first, std::size_t count,
                                    const TensorView& gates, const TensorView& source,
                                    bool accumulate) const {
  const MatrixMultiply op{.beta = accumulate ? 1.0F : 0.0F};
  StepMemo& memo = part == CellPart::input       ? input_memo_
                   : part == CellPart::recurrent ? recurrent_memo_
                                                 : memory_memo_;
  encode(recording_, memo, op,
         {channels_of(gates, first * cell_.outputs, count * cell_.outputs),
          weights(part, first, count), TensorView{}, source});
}

void MatrixProducts::add_input_gradients(const TensorView& gates, const TensorView& source) const {
  if (weights_.input.desc.present()) {
    add_transposed(CellPart::input, 0, cell_.gates(), gates, source, false);
    return;
  }
  for (std::size_t gate = 0; gate < cell_.gates(); ++gate) {
    const TensorView from = channels_of(gates, gate * cell_.outputs, cell_.outputs);
    if (gate == 0) {
      copy(recording_, unit_memo_, from, source);
    } else {
      encode(recording_, input_memo_, Arithmetic{}, {from, source, source, TensorView{}});
    }
  }
}

// ---- backward -----------------------------------------------------------------------------------

void walk_back(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
               const MatrixProducts& products, const CellVectors& vectors, const Steps& steps,
               const TensorView& source, const Trace& trace, const TraceGradients& gradients) {
  Recording& recording = scratch.recording();
  const std::int32_t most = steps.most;
  if (steps.is_ragged()) fill_zero(recording, memos.fill, gradients.gates);
  const bool is_gru = cell.kind == CellKind::gru,
             updates = is_gru && cell.has_memory[last_gru_gate];
  TensorView for_reset, for_updated;
  if (is_gru) for_reset = scratch.make(1, most, cell.outputs);
  if (updates) for_updated = scratch.make(1, most, cell.outputs);
  for (std::int32_t t = steps.count() - 1; t >= 0; --t) {
    const std::int32_t rows = steps.rows[static_cast<std::size_t>(t)];
    const TensorView gradient = step_of(source, t, rows);
    const TensorView gates = step_of(trace.gates, t, rows);
    const TensorView to_gates = step_of(gradients.gates, t, rows);
    const TensorView h0 = step_of(trace.hidden, t, rows);
    const TensorView dh1 = step_of(gradients.hidden, t + 1, rows);
    const TensorView dh0 = step_of(gradients.hidden, t, rows);
    switch (cell.kind) {
      case CellKind::single_gate:
        encode(recording, memos.cell, SingleGateGradient{cell.neurons[0]},
               {gradient, dh1, gates, vectors.slopes, to_gates});
        products.add_transposed(CellPart::recurrent, 0, 1, to_gates, dh0, false);
        break;
      case CellKind::gru: {
        encode(recording, memos.cell, GRUCellGradient{gru_cell(cell)},
               {gradient, dh1, gates, vectors.slopes, h0, dh0, to_gates});
        const TensorView u = step_of(for_reset, 0, rows);
        const TensorView v = updates ? step_of(for_updated, 0, rows) : TensorView{};
        products.add_transposed(CellPart::recurrent, last_gru_gate, 1, to_gates, u, false);
        if (updates) {
          products.add_transposed(CellPart::memory, last_gru_gate, 1, to_gates, v, false);
        }
        encode(recording, memos.gates, GRUGatesGradient{{gru_neurons(cell)}},
               {u, v, gates, vectors.slopes, h0, dh0, to_gates});
        products.add_transposed(CellPart::recurrent, 0, last_gru_gate, to_gates, dh0, true);
        break;
      }
      case CellKind::lstm: {
        const TensorView c0 = step_of(trace.cell, t, rows), c1 = step_of(trace.cell, t + 1, rows);
        const TensorView dc1 = step_of(gradients.cell, t + 1, rows);
        const TensorView dc0 = step_of(gradients.cell, t, rows);
        const LSTMCellGradient op{lstm_cell(cell)};
        const bool apart = has_output_product(cell);
        encode(recording, memos.cell, op,
               {gradient, dh1, dc1, gates, vectors.peepholes, vectors.slopes,
                apart ? TensorView{} : c0, c1, dc0, to_gates});
        if (apart) {
          products.add_transposed(CellPart::memory, output_gate, 1, to_gates, dc0, true);
          encode(recording, memos.output, op,
                 {TensorView{}, TensorView{}, TensorView{}, gates, vectors.peepholes,
                  vectors.slopes, c0, c1, dc0, to_gates});
        }
        if (has_memory_products(cell))
          products.add_transposed(CellPart::memory, 0, output_gate, to_gates, dc0, true);
        products.add_transposed(CellPart::recurrent, 0, cell.gates(), to_gates, dh0, false);
        keep(recording, memos.keep_cell, step_of(gradients.cell, t + 1, most),
             step_of(gradients.cell, t, most), rows);
        break;
      }
    }
    keep(recording, memos.keep_hidden, step_of(gradients.hidden, t + 1, most),
         step_of(gradients.hidden, t, most), rows);
  }
}

void weight_gradients(Scratch& scratch, RecurrenceMemos& memos, const Cell& cell,
                      const Steps& steps, const TensorView& input, const Trace& trace,
                      const TraceGradients& gradients, std::span<const TensorView> results,
                      bool accumulate) {
  Recording& recording = scratch.recording();
  const std::int32_t count = steps.count();
  const TensorView gates = flat(gradients.gates, 0, count);
  const TensorView before = flat(trace.hidden, 0, count);
  const TensorView biases = scratch.make(1, 1, cell.gate_channels());
  encode(recording, memos.bias, Reduce{.axis = ReduceAxis::column, .kind = ReduceKind::sum},
         {gates, biases});
  TensorView peepholes, c0, c1;
  if (cell.has_cell()) {
    c0 = flat(trace.cell, 0, count);
    c1 = flat(trace.cell, 1, count);
  }
  if (cell.has_any_memory() && cell.diagonal) {
    peepholes = scratch.make(1, 1, cell.gate_channels());
    encode(recording, memos.peepholes, PeepholeGradient{}, {gates, c0, c1, peepholes});
  }
  // Sums that are there already are copied or added; products make the others.
  const auto take = [&](const TensorView& sums, const TensorView& to) {
    if (accumulate) {
      encode(recording, memos.sum, Arithmetic{}, {sums, to, to, TensorView{}});
    } else {
      copy(recording, memos.copy, sums, to);
    }
  };
  const std::vector<CellMatrix> matrices = cell.matrices();
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const CellMatrix& matrix = matrices[i];
    const std::size_t first = matrix.gate * cell.outputs;
    TensorView source;
    switch (matrix.part) {
      case CellPart::bias:
        take(channels_of(biases, first, cell.outputs), results[i]);
        continue;
      case CellPart::input:
        source = flat(input, 0, count);
        break;
      case CellPart::recurrent: {
        const bool is_reset = cell.kind == CellKind::gru && matrix.gate == last_gru_gate;
        source = is_reset ? flat(trace.reset, 0, count) : before;
        break;
      }
      case CellPart::memory:
        if (cell.diagonal) {
          take(channels_of(peepholes, first, cell.outputs), results[i]);
          continue;
        }
        source = cell.kind == CellKind::gru   ? flat(trace.updated, 0, count)
                 : matrix.gate == output_gate ? c1
                                              : c0;
        break;
    }
    const MatrixMultiply op{.beta = accumulate ? 1.0F : 0.0F, .transposeLeft = 1};
    StepMemo memo;
    encode(recording, memo, op,
           {channels_of(gates, first, cell.outputs), source, TensorView{}, results[i]});
  }
}

}  // namespace cermet::detail
