// The operators of a GRU (formulas: rnn/gru.h).

#include <cfloat>

#include "cermet/rnn/gru.h"
#include "cuda/gates.cuh"

namespace cermet::cuda {
namespace {

constexpr int gate_z = 0, gate_r = 1, gate_h = 2;

/// q = (1 - z^p)^(1/p)
__device__ float complement(float p, float z) {
  if (p == 1.0F) return 1.0F - z;
  const float rest = 1.0F - powf(z, p);
  return powf(rest < 0.0F ? 0.0F : rest, 1.0F / p);
}
/// dq/dz
__device__ float complement_slope(float p, float z) {
  if (p == 1.0F) return -1.0F;
  const float rest = 1.0F - powf(z, p);
  return -powf(z, p - 1.0F) * powf(rest < FLT_MIN ? FLT_MIN : rest, 1.0F / p - 1.0F);
}

__global__ void gru_gates(GRUGates::Neurons neurons, Gates gates, Tensor previous, Tensor reset,
                          Tensor updated) {
  begin_kernel();
  for (const Index at : elements(reset)) {
    const float h0 = load(previous, at);
    store(reset, at, gates.output(neurons.r, gate_r, at) * h0);
    if (updated.present()) store(updated, at, gates.output(neurons.z, gate_z, at) * h0);
  }
}

__global__ void gru_cell(GRUCell op, Gates gates, Tensor previous, Tensor output) {
  begin_kernel();
  for (const Index at : elements(output)) {
    const float z = gates.output(op.neurons.z, gate_z, at), q = complement(op.p, z);
    const float h = gates.output(op.neurons.h, gate_h, at), h0 = load(previous, at);
    store(output, at, op.flip != 0 ? fmaf(z, h, q * h0) : fmaf(q, h, z * h0));
  }
}

struct CellGradientTensors {
  Tensor gradient, hidden_gradient, previous, to_previous, to_gates;
};

__global__ void gru_cell_gradient(GRUCell op, Gates gates, CellGradientTensors t) {
  begin_kernel();
  for (const Index at : elements(t.to_previous)) {
    const float d = load(t.gradient, at) + load(t.hidden_gradient, at);
    const float h0 = load(t.previous, at), h = gates.output(op.neurons.h, gate_h, at);
    const float z = gates.output(op.neurons.z, gate_z, at), q = complement(op.p, z);
    const float slope = complement_slope(op.p, z);
    const bool flip = op.flip != 0;
    store(t.to_previous, at, d * (flip ? q : z));
    store(t.to_gates, gates.of_gate(gate_z, at),
          d * (flip ? fmaf(h0, slope, h) : fmaf(h, slope, h0)));
    store(t.to_gates, gates.of_gate(gate_h, at),
          d * (flip ? z : q) * gates.differentiate(op.neurons.h, gate_h, at));
  }
}

struct GatesGradientTensors {
  Tensor of_reset, of_updated, previous, to_previous, to_gates;
};

__global__ void gru_gates_gradient(GRUGates::Neurons neurons, Gates gates, GatesGradientTensors t) {
  begin_kernel();
  for (const Index at : elements(t.to_previous)) {
    const float u = load(t.of_reset, at), h0 = load(t.previous, at);
    const Index of_z = gates.of_gate(gate_z, at);
    float before = fmaf(u, gates.output(neurons.r, gate_r, at), load(t.to_previous, at));
    float dz = load(t.to_gates, of_z);
    if (t.of_updated.present()) {
      const float v = load(t.of_updated, at);
      before = fmaf(v, gates.output(neurons.z, gate_z, at), before);
      dz = fmaf(v, h0, dz);
    }
    store(t.to_previous, at, before);
    store(t.to_gates, of_z, dz * gates.differentiate(neurons.z, gate_z, at));
    store(t.to_gates, gates.of_gate(gate_r, at),
          u * h0 * gates.differentiate(neurons.r, gate_r, at));
  }
}

/// The slots `gates` and `slopes` of an operator.
template <class Op>
Gates gates_of(const Args& args, Descs descs, int channels) {
  return {tensor(args, descs, Op::gates), args.at<const float>(Op::slopes), nullptr, channels};
}

}  // namespace

StepPtr prepare(const GRUGates& op, Descs slots, Engine&) {
  using Op = GRUGates;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gates", [descs, op](const Args& args) {
    const Tensor reset = tensor(args, descs, Op::reset);
    launch(args, reset.count(), gru_gates, op.neurons, gates_of<Op>(args, descs, reset.desc.c),
           tensor(args, descs, Op::previous), reset, tensor(args, descs, Op::updated));
  });
}

StepPtr prepare(const GRUCell& op, Descs slots, Engine&) {
  using Op = GRUCell;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gates", [descs, op](const Args& args) {
    const Tensor output = tensor(args, descs, Op::output);
    launch(args, output.count(), gru_cell, op, gates_of<Op>(args, descs, output.desc.c),
           tensor(args, descs, Op::previous), output);
  });
}

StepPtr prepare(const GRUCellGradient& op, Descs slots, Engine&) {
  using Op = GRUCellGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gates", [descs, forward = op.forward](const Args& args) {
    const CellGradientTensors tensors{
        tensor(args, descs, Op::gradient), tensor(args, descs, Op::hiddenGradient),
        tensor(args, descs, Op::previous), tensor(args, descs, Op::previousGradient),
        tensor(args, descs, Op::gateGradients)};
    launch(args, tensors.to_previous.count(), gru_cell_gradient, forward,
           gates_of<Op>(args, descs, tensors.to_previous.desc.c), tensors);
  });
}

StepPtr prepare(const GRUGatesGradient& op, Descs slots, Engine&) {
  using Op = GRUGatesGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gates", [descs, op](const Args& args) {
    const GatesGradientTensors tensors{
        tensor(args, descs, Op::resetGradient), tensor(args, descs, Op::updatedGradient),
        tensor(args, descs, Op::previous), tensor(args, descs, Op::previousGradient),
        tensor(args, descs, Op::gateGradients)};
    launch(args, tensors.to_previous.count(), gru_gates_gradient, op.forward.neurons,
           gates_of<Op>(args, descs, tensors.to_previous.desc.c), tensors);
  });
}

}  // namespace cermet::cuda
