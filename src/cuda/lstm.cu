// LSTMCell, its gradient and that of its peepholes (formulas: rnn/lstm.h).

#include "cermet/rnn/lstm.h"
#include "cuda/gates.cuh"

namespace cermet::cuda {
namespace {

constexpr int gate_i = 0, gate_f = 1, gate_c = 2, gate_o = 3;
constexpr int lanes = 32, rows = block_threads / lanes;

__global__ void lstm(LSTMCell op, Gates gates, Tensor before, Tensor cell, Tensor output) {
  begin_kernel();
  for (const Index at : elements(cell)) {
    float c1;
    if (before.present()) {
      const float c0 = load(before, at);
      c1 = fmaf(gates.output(op.forget, gate_f, at, c0), c0,
                gates.output(op.input, gate_i, at, c0) * gates.output(op.memory, gate_c, at, c0));
      store(cell, at, c1);
    } else {
      c1 = load(cell, at);
    }
    if (output.present()) {
      store(output, at,
            gates.output(op.outputGate, gate_o, at, c1) * activate(op.cellToOutput, c1, 0.0F));
    }
  }
}

struct GradientTensors {
  Tensor gradient, hidden_gradient, cell_gradient, before, cell, to_cell, to_gates;
};

__global__ void lstm_gradient(LSTMCell op, Gates gates, GradientTensors t) {
  begin_kernel();
  const auto peephole = [&](int gate, const Index& at) {
    return gates.peepholes != nullptr ? gates.peepholes[gate * gates.channels + at.c] : 0.0F;
  };
  for (const Index at : elements(t.to_cell)) {
    float dc;
    if (t.gradient.present()) {
      const float d = load(t.gradient, at) + load(t.hidden_gradient, at), c1 = load(t.cell, at);
      const float dao = d * activate(op.cellToOutput, c1, 0.0F) *
                        gates.differentiate(op.outputGate, gate_o, at, c1);
      const float through =
          d * gates.output(op.outputGate, gate_o, at, c1) * derivative(op.cellToOutput, c1, 0.0F);
      dc = fmaf(peephole(gate_o, at), dao, load(t.cell_gradient, at) + through);
      store(t.to_gates, gates.of_gate(gate_o, at), dao);
    } else {
      dc = load(t.to_cell, at);
    }
    if (t.before.present()) {
      const float c0 = load(t.before, at);
      const float i = gates.output(op.input, gate_i, at, c0);
      const float f = gates.output(op.forget, gate_f, at, c0);
      const float g = gates.output(op.memory, gate_c, at, c0);
      const float dai = dc * g * gates.differentiate(op.input, gate_i, at, c0);
      const float daf = dc * c0 * gates.differentiate(op.forget, gate_f, at, c0);
      const float dac = dc * i * gates.differentiate(op.memory, gate_c, at, c0);
      store(t.to_gates, gates.of_gate(gate_i, at), dai);
      store(t.to_gates, gates.of_gate(gate_f, at), daf);
      store(t.to_gates, gates.of_gate(gate_c, at), dac);
      dc = fmaf(dc, f,
                fmaf(peephole(gate_i, at), dai,
                     fmaf(peephole(gate_f, at), daf, peephole(gate_c, at) * dac)));
    }
    store(t.to_cell, at, dc);
  }
}

/// One block for each 32 columns, whose threads share the rows in a fixed order.
__global__ void sum_peepholes(Tensor gradients, Tensor before, Tensor cell, Tensor result) {
  begin_kernel();
  const int column = static_cast<int>(blockIdx.x) * lanes + static_cast<int>(threadIdx.x) % lanes;
  const int gate = column / cell.desc.c, c = column % cell.desc.c;
  double sum = 0;
  if (column < gradients.desc.c) {
    const Tensor& other = gate == gate_o ? cell : before;
    for (long long row = static_cast<int>(threadIdx.x) / lanes; row < gradients.pixels();
         row += rows) {
      Index at = index_of(row, gradients.desc.h, gradients.desc.w, 1);
      at.c = column;
      const float g = load(gradients, at);
      at.c = c;
      sum += static_cast<double>(g) * static_cast<double>(load(other, at));
    }
  }
  sum = channel_sum(sum);
  if (threadIdx.x < lanes && column < gradients.desc.c)
    store(result, static_cast<long long>(column), static_cast<float>(sum));
}

}  // namespace

StepPtr prepare(const LSTMCell& op, Descs slots, Engine&) {
  using Op = LSTMCell;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gates", [descs, op](const Args& args) {
    const Tensor cell = tensor(args, descs, Op::cell);
    const Gates gates{tensor(args, descs, Op::gates), args.at<const float>(Op::slopes),
                      args.at<const float>(Op::peepholes), cell.desc.c};
    launch(args, cell.count(), lstm, op, gates, tensor(args, descs, Op::previousCell), cell,
           tensor(args, descs, Op::output));
  });
}

StepPtr prepare(const LSTMCellGradient& op, Descs slots, Engine&) {
  using Op = LSTMCellGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gates", [descs, forward = op.forward](const Args& args) {
    const GradientTensors tensors{
        tensor(args, descs, Op::gradient),     tensor(args, descs, Op::hiddenGradient),
        tensor(args, descs, Op::cellGradient), tensor(args, descs, Op::previousCell),
        tensor(args, descs, Op::cell),         tensor(args, descs, Op::previousCellGradient),
        tensor(args, descs, Op::gateGradients)};
    const Gates gates{tensor(args, descs, Op::gates), args.at<const float>(Op::slopes),
                      args.at<const float>(Op::peepholes), tensors.to_cell.desc.c};
    launch(args, tensors.to_cell.count(), lstm_gradient, forward, gates, tensors);
  });
}

StepPtr prepare(const PeepholeGradient&, Descs slots, Engine&) {
  using Op = PeepholeGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda columns", [descs](const Args& args) {
    const Tensor gradients = tensor(args, descs, Op::gateGradients);
    launch_blocks(args, (gradients.desc.c + lanes - 1) / lanes, sum_peepholes, gradients,
                  tensor(args, descs, Op::previousCell), tensor(args, descs, Op::cell),
                  tensor(args, descs, Op::result));
  });
}

}  // namespace cermet::cuda
