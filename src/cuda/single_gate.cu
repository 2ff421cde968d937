// SingleGateGradient (formula: rnn/single_gate.h).

#include "cermet/rnn/single_gate.h"
#include "cuda/gates.cuh"

namespace cermet::cuda {
namespace {

__global__ void single_gate_gradient(Activation neuron, Gates gates, Tensor gradient,
                                     Tensor hidden_gradient, Tensor gate_gradients) {
  begin_kernel();
  for (const Index at : elements(gate_gradients)) {
    const float d = load(gradient, at) + load(hidden_gradient, at);
    store(gate_gradients, at, d * gates.differentiate(neuron, 0, at));
  }
}

}  // namespace

StepPtr prepare(const SingleGateGradient& op, Descs slots, Engine&) {
  using Op = SingleGateGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gate", [descs, op](const Args& args) {
    const Tensor result = tensor(args, descs, Op::gateGradients);
    const Gates gates{tensor(args, descs, Op::gates), args.at<const float>(Op::slopes), nullptr,
                      result.desc.c};
    launch(args, result.count(), single_gate_gradient, op.neuron, gates,
           tensor(args, descs, Op::gradient), tensor(args, descs, Op::hiddenGradient), result);
  });
}

}  // namespace cermet::cuda
