// The operators of a GRU (formulas: rnn/gru.h).

#include <cmath>
#include <limits>

#include "cermet/rnn/gru.h"
#include "cpu/gates.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t gate_z = 0, gate_r = 1, gate_h = 2;

struct Neurons {
  GateNeuron z, r, h;

  explicit Neurons(const GRUGates::Neurons& op) : z(op.z), r(op.r), h(op.h) {}
};

/// q = (1 - z^p)^(1/p), and its slope where that is wanted.
void complement(float p, const GateBlock& z, GateBlock& q, GateBlock* slope, std::int64_t count) {
  if (p == 1) {
#pragma omp simd
    for (std::int64_t k = 0; k < count; ++k)
      q[static_cast<std::size_t>(k)] = 1.0F - z[static_cast<std::size_t>(k)];
    if (slope != nullptr) std::fill_n(slope->begin(), count, -1.0F);
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    const auto j = static_cast<std::size_t>(k);
    const float rest = 1.0F - std::pow(z[j], p);
    q[j] = std::pow(rest < 0.0F ? 0.0F : rest, 1.0F / p);
    if (slope == nullptr) continue;
    const float positive =
        rest < std::numeric_limits<float>::min() ? std::numeric_limits<float>::min() : rest;
    (*slope)[j] = -std::pow(z[j], p - 1.0F) * std::pow(positive, 1.0F / p - 1.0F);
  }
}

/// Outputs of gates of one block of channels.
struct Block {
  const float *gates, *slopes;
  std::int64_t channels, first, count;

  [[nodiscard]] const float* input(std::int64_t gate) const {
    return of_gate(gates, gate, channels, first);
  }
  [[nodiscard]] const float* slope(std::int64_t gate) const {
    return of_gate(slopes, gate, channels, first);
  }
  void output(std::int64_t gate, const GateNeuron& neuron, GateBlock& y) const {
    neuron.apply(input(gate), slope(gate), y.data(), count);
  }
  void differentiate(std::int64_t gate, const GateNeuron& neuron, float* g) const {
    neuron.differentiate(g, input(gate), slope(gate), count);
  }
};

/// y = a . b
void multiply(const float* a, const float* b, float* y, std::int64_t count) {
#pragma omp simd
  for (std::int64_t k = 0; k < count; ++k) y[k] = a[k] * b[k];
}

}  // namespace

StepPtr prepare(const GRUGates& op, Descs descs, Engine& engine) {
  using Op = GRUGates;
  const TensorDesc gates = descs[Op::gates], previous = descs[Op::previous];
  const TensorDesc reset = descs[Op::reset], updated = descs[Op::updated];
  const Neurons neurons(op.neurons);
  const int threads = threads_for_gates(gates.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    for_each_gate_block(threads, reset, [&](auto n, auto y, auto x, auto c, auto count) {
      const Block at{pixel(args.at<const float>(Op::gates), gates, n, y, x),
                     args.at<const float>(Op::slopes), reset.c, c, count};
      const float* h0 = pixel(args.at<const float>(Op::previous), previous, n, y, x) + c;
      GateBlock gate;
      at.output(gate_r, neurons.r, gate);
      multiply(gate.data(), h0, pixel(args.at(Op::reset), reset, n, y, x) + c, count);
      if (!updated.present()) return;
      at.output(gate_z, neurons.z, gate);
      multiply(gate.data(), h0, pixel(args.at(Op::updated), updated, n, y, x) + c, count);
    });
  });
}

StepPtr prepare(const GRUCell& op, Descs descs, Engine& engine) {
  using Op = GRUCell;
  const TensorDesc gates = descs[Op::gates], previous = descs[Op::previous];
  const TensorDesc output = descs[Op::output];
  const Neurons neurons(op.neurons);
  const int threads = threads_for_gates(gates.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    for_each_gate_block(threads, output, [&](auto n, auto y, auto x, auto c, auto count) {
      const Block at{pixel(args.at<const float>(Op::gates), gates, n, y, x),
                     args.at<const float>(Op::slopes), output.c, c, count};
      const float* h0 = pixel(args.at<const float>(Op::previous), previous, n, y, x) + c;
      float* to = pixel(args.at(Op::output), output, n, y, x) + c;
      GateBlock z, h, q;
      at.output(gate_z, neurons.z, z);
      at.output(gate_h, neurons.h, h);
      complement(op.p, z, q, nullptr, count);
      const GateBlock &of_new = op.flip != 0 ? z : q, &of_old = op.flip != 0 ? q : z;
#pragma omp simd
      for (std::int64_t k = 0; k < count; ++k) {
        const auto j = static_cast<std::size_t>(k);
        to[k] = std::fma(of_new[j], h[j], of_old[j] * h0[k]);
      }
    });
  });
}

StepPtr prepare(const GRUCellGradient& op, Descs descs, Engine& engine) {
  using Op = GRUCellGradient;
  const TensorDesc gradient = descs[Op::gradient], hidden = descs[Op::hiddenGradient];
  const TensorDesc gates = descs[Op::gates], previous = descs[Op::previous];
  const TensorDesc to_previous = descs[Op::previousGradient], to_gates = descs[Op::gateGradients];
  const GRUCell forward = op.forward;
  const Neurons neurons(forward.neurons);
  const int threads = threads_for_gates(gates.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    for_each_gate_block(threads, to_previous, [&](auto n, auto y, auto x, auto c, auto count) {
      const Block at{pixel(args.at<const float>(Op::gates), gates, n, y, x),
                     args.at<const float>(Op::slopes), to_previous.c, c, count};
      const float* g = pixel(args.at<const float>(Op::gradient), gradient, n, y, x) + c;
      const float* more = pixel(args.at<const float>(Op::hiddenGradient), hidden, n, y, x) + c;
      const float* h0 = pixel(args.at<const float>(Op::previous), previous, n, y, x) + c;
      float* before = pixel(args.at(Op::previousGradient), to_previous, n, y, x) + c;
      float* all = pixel(args.at(Op::gateGradients), to_gates, n, y, x);
      float* dz = of_gate(all, gate_z, to_previous.c, c);
      float* dh = of_gate(all, gate_h, to_previous.c, c);
      GateBlock z, h, q, slope;
      at.output(gate_z, neurons.z, z);
      at.output(gate_h, neurons.h, h);
      complement(forward.p, z, q, &slope, count);
      const bool flip = forward.flip != 0;
      const GateBlock &of_new = flip ? z : q, &of_old = flip ? q : z;
      const float *by_slope = flip ? h0 : h.data(), *rest = flip ? h.data() : h0;
#pragma omp simd
      for (std::int64_t k = 0; k < count; ++k) {
        const auto i = static_cast<std::size_t>(k);
        const float d = g[k] + more[k];
        dh[k] = d * of_new[i];
        dz[k] = d * std::fma(by_slope[k], slope[i], rest[k]);
        before[k] = d * of_old[i];
      }
      at.differentiate(gate_h, neurons.h, dh);
    });
  });
}

StepPtr prepare(const GRUGatesGradient& op, Descs descs, Engine& engine) {
  using Op = GRUGatesGradient;
  const TensorDesc of_reset = descs[Op::resetGradient], of_updated = descs[Op::updatedGradient];
  const TensorDesc gates = descs[Op::gates], previous = descs[Op::previous];
  const TensorDesc to_previous = descs[Op::previousGradient], to_gates = descs[Op::gateGradients];
  const Neurons neurons(op.forward.neurons);
  const int threads = threads_for_gates(gates.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    for_each_gate_block(threads, to_previous, [&](auto n, auto y, auto x, auto c, auto count) {
      const Block at{pixel(args.at<const float>(Op::gates), gates, n, y, x),
                     args.at<const float>(Op::slopes), to_previous.c, c, count};
      const float* u = pixel(args.at<const float>(Op::resetGradient), of_reset, n, y, x) + c;
      const float* h0 = pixel(args.at<const float>(Op::previous), previous, n, y, x) + c;
      float* before = pixel(args.at(Op::previousGradient), to_previous, n, y, x) + c;
      float* all = pixel(args.at(Op::gateGradients), to_gates, n, y, x);
      float* dz = of_gate(all, gate_z, to_previous.c, c);
      float* dr = of_gate(all, gate_r, to_previous.c, c);
      GateBlock gate;
      at.output(gate_r, neurons.r, gate);
#pragma omp simd
      for (std::int64_t k = 0; k < count; ++k) {
        before[k] = std::fma(u[k], gate[static_cast<std::size_t>(k)], before[k]);
        dr[k] = u[k] * h0[k];
      }
      if (of_updated.present()) {
        const float* v = pixel(args.at<const float>(Op::updatedGradient), of_updated, n, y, x) + c;
        at.output(gate_z, neurons.z, gate);
#pragma omp simd
        for (std::int64_t k = 0; k < count; ++k) {
          before[k] = std::fma(v[k], gate[static_cast<std::size_t>(k)], before[k]);
          dz[k] = std::fma(v[k], h0[k], dz[k]);
        }
      }
      at.differentiate(gate_r, neurons.r, dr);
      at.differentiate(gate_z, neurons.z, dz);
    });
  });
}

}  // namespace cermet::cpu
