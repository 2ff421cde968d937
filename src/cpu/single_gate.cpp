// SingleGateGradient (formula: rnn/single_gate.h).

#include "cermet/rnn/single_gate.h"
#include "cpu/gates.h"

namespace cermet::cpu {

StepPtr prepare(const SingleGateGradient& op, Descs descs, Engine& engine) {
  using Op = SingleGateGradient;
  const TensorDesc gradient = descs[Op::gradient], hidden = descs[Op::hiddenGradient];
  const TensorDesc gates = descs[Op::gates], result = descs[Op::gateGradients];
  const GateNeuron neuron(op.neuron);
  const int threads = threads_for_gates(result.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    const auto* slopes = args.at<const float>(Op::slopes);
    for_each_gate_block(threads, result, [&](auto n, auto y, auto x, auto c, auto count) {
      const float* g = pixel(args.at<const float>(Op::gradient), gradient, n, y, x) + c;
      const float* h = pixel(args.at<const float>(Op::hiddenGradient), hidden, n, y, x) + c;
      float* to = pixel(args.at(Op::gateGradients), result, n, y, x) + c;
#pragma omp simd
      for (std::int64_t k = 0; k < count; ++k) to[k] = g[k] + h[k];
      neuron.differentiate(to, pixel(args.at<const float>(Op::gates), gates, n, y, x) + c,
                           of_gate(slopes, 0, result.c, c), count);
    });
  });
}

}  // namespace cermet::cpu
