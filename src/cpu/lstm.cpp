// LSTMCell, its gradient and that of its peepholes (formulas: rnn/lstm.h).

#include <cmath>

#include "cermet/rnn/lstm.h"
#include "cpu/gates.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t gate_i = 0, gate_f = 1, gate_c = 2, gate_o = 3;

struct Neurons {
  GateNeuron i, f, c, o, to_output;

  explicit Neurons(const LSTMCell& op)
      : i(op.input), f(op.forget), c(op.memory), o(op.outputGate), to_output(op.cellToOutput) {}
};

/// u = a + v . c; v may be null.
void line(const float* a, const float* v, const float* c, float* u, std::int64_t count) {
  if (v == nullptr) {
    std::copy_n(a, count, u);
    return;
  }
#pragma omp simd
  for (std::int64_t k = 0; k < count; ++k) u[k] = std::fma(v[k], c[k], a[k]);
}

/// What goes into the neurons of one block of channels, and their slopes.
struct Block {
  const float *gates, *peepholes, *slopes;  // of all gates of a pixel
  std::int64_t channels, first, count;

  /// u: what goes into the neuron of `gate`, whose peephole looks at `cell`.
  void input(std::int64_t gate, const float* cell, GateBlock& u) const {
    line(of_gate(gates, gate, channels, first), peephole(gate), cell, u.data(), count);
  }
  void output(std::int64_t gate, const GateNeuron& neuron, const float* cell, GateBlock& y) const {
    input(gate, cell, y);
    neuron.apply(y.data(), slope(gate), count);
  }
  [[nodiscard]] const float* peephole(std::int64_t gate) const {
    return of_gate(peepholes, gate, channels, first);
  }
  [[nodiscard]] const float* slope(std::int64_t gate) const {
    return of_gate(slopes, gate, channels, first);
  }
};

/// d += v . g; v may be null.
void add_peephole(const float* v, const GateBlock& g, float* d, std::int64_t count) {
  if (v == nullptr) return;
#pragma omp simd
  for (std::int64_t k = 0; k < count; ++k)
    d[k] = std::fma(v[k], g[static_cast<std::size_t>(k)], d[k]);
}

/// Turns dc, the gradient of the new cell, into that of the one before and those of three gates.
void through_cell(const Neurons& neurons, const Block& at, const float* c0, float* dc,
                  float* gate_gradients) {
  GateBlock i, f, g, d;
  at.output(gate_i, neurons.i, c0, i);
  at.output(gate_f, neurons.f, c0, f);
  at.output(gate_c, neurons.c, c0, g);
  GateBlock before{}, input;
  const auto through = [&](std::int64_t gate, const GateNeuron& neuron, const float* factor) {
#pragma omp simd
    for (std::int64_t k = 0; k < at.count; ++k) d[static_cast<std::size_t>(k)] = dc[k] * factor[k];
    at.input(gate, c0, input);
    neuron.differentiate(d.data(), input.data(), at.slope(gate), at.count);
    std::copy_n(d.data(), at.count, of_gate(gate_gradients, gate, at.channels, at.first));
    add_peephole(at.peephole(gate), d, before.data(), at.count);
  };
  through(gate_i, neurons.i, g.data());
  through(gate_f, neurons.f, c0);
  through(gate_c, neurons.c, i.data());
#pragma omp simd
  for (std::int64_t k = 0; k < at.count; ++k) {
    const auto j = static_cast<std::size_t>(k);
    dc[k] = std::fma(dc[k], f[j], before[j]);
  }
}

}  // namespace

StepPtr prepare(const LSTMCell& op, Descs descs, Engine& engine) {
  using Op = LSTMCell;
  const TensorDesc gates = descs[Op::gates], before = descs[Op::previousCell];
  const TensorDesc cell = descs[Op::cell], output = descs[Op::output];
  const Neurons neurons(op);
  const int threads = threads_for_gates(gates.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    for_each_gate_block(threads, cell, [&](auto n, auto y, auto x, auto c, auto count) {
      const Block at{pixel(args.at<const float>(Op::gates), gates, n, y, x),
                     args.at<const float>(Op::peepholes),
                     args.at<const float>(Op::slopes),
                     cell.c,
                     c,
                     count};
      float* c1 = pixel(args.at(Op::cell), cell, n, y, x) + c;
      GateBlock a, b;
      if (before.present()) {
        const float* c0 = pixel(args.at<const float>(Op::previousCell), before, n, y, x) + c;
        GateBlock f;
        at.output(gate_i, neurons.i, c0, a);
        at.output(gate_c, neurons.c, c0, b);
        at.output(gate_f, neurons.f, c0, f);
#pragma omp simd
        for (std::int64_t k = 0; k < count; ++k) {
          const auto j = static_cast<std::size_t>(k);
          c1[k] = std::fma(f[j], c0[k], a[j] * b[j]);
        }
      }
      if (!output.present()) return;
      at.output(gate_o, neurons.o, c1, a);
      neurons.to_output.apply(c1, nullptr, b.data(), count);
      float* h = pixel(args.at(Op::output), output, n, y, x) + c;
#pragma omp simd
      for (std::int64_t k = 0; k < count; ++k) {
        const auto j = static_cast<std::size_t>(k);
        h[k] = a[j] * b[j];
      }
    });
  });
}

StepPtr prepare(const LSTMCellGradient& op, Descs descs, Engine& engine) {
  using Op = LSTMCellGradient;
  const TensorDesc gradient = descs[Op::gradient], hidden = descs[Op::hiddenGradient];
  const TensorDesc cell_gradient = descs[Op::cellGradient], gates = descs[Op::gates];
  const TensorDesc before = descs[Op::previousCell], cell = descs[Op::cell];
  const TensorDesc to_cell = descs[Op::previousCellGradient];
  const TensorDesc to_gates = descs[Op::gateGradients];
  const Neurons neurons(op.forward);
  const int threads = threads_for_gates(gates.count(), engine);
  return make_step(descs, "gate blocks", [=](const Args& args) {
    for_each_gate_block(threads, to_cell, [&](auto n, auto y, auto x, auto c, auto count) {
      const Block at{pixel(args.at<const float>(Op::gates), gates, n, y, x),
                     args.at<const float>(Op::peepholes),
                     args.at<const float>(Op::slopes),
                     to_cell.c,
                     c,
                     count};
      float* dc = pixel(args.at(Op::previousCellGradient), to_cell, n, y, x) + c;
      float* gate_gradients = pixel(args.at(Op::gateGradients), to_gates, n, y, x);
      if (gradient.present()) {
        const float* g = pixel(args.at<const float>(Op::gradient), gradient, n, y, x) + c;
        const float* h = pixel(args.at<const float>(Op::hiddenGradient), hidden, n, y, x) + c;
        const float* from =
            pixel(args.at<const float>(Op::cellGradient), cell_gradient, n, y, x) + c;
        const float* c1 = pixel(args.at<const float>(Op::cell), cell, n, y, x) + c;
        GateBlock o, through, dao, squashed, input;
        at.output(gate_o, neurons.o, c1, o);
        neurons.to_output.apply(c1, nullptr, squashed.data(), count);
#pragma omp simd
        for (std::int64_t k = 0; k < count; ++k) {
          const auto j = static_cast<std::size_t>(k);
          const float d = g[k] + h[k];
          dao[j] = d * squashed[j];
          through[j] = d * o[j];
        }
        at.input(gate_o, c1, input);
        neurons.o.differentiate(dao.data(), input.data(), at.slope(gate_o), count);
        neurons.to_output.differentiate(through.data(), c1, nullptr, count);
#pragma omp simd
        for (std::int64_t k = 0; k < count; ++k)
          dc[k] = from[k] + through[static_cast<std::size_t>(k)];
        add_peephole(at.peephole(gate_o), dao, dc, count);
        std::copy_n(dao.data(), count, of_gate(gate_gradients, gate_o, to_cell.c, c));
      }
      if (before.present()) {
        through_cell(neurons, at,
                     pixel(args.at<const float>(Op::previousCell), before, n, y, x) + c, dc,
                     gate_gradients);
      }
    });
  });
}

StepPtr prepare(const PeepholeGradient&, Descs descs, Engine& engine) {
  using Op = PeepholeGradient;
  const TensorDesc gradients = descs[Op::gateGradients], before = descs[Op::previousCell];
  const TensorDesc cell = descs[Op::cell], result = descs[Op::result];
  const int threads = threads_for(gradients.count(), engine);
  return make_step(descs, "columns", [=](const Args& args) {
    // A block of columns is summed by one thread, row after row.
    TensorDesc columns = result;
    columns.n = columns.h = columns.w = 1;
    for_each_gate_block(threads, columns, [&](auto, auto, auto, auto first, auto count) {
      std::array<double, static_cast<std::size_t>(gate_block)> sums{};
      for (std::int64_t row = 0; row < gradients.pixels(); ++row) {
        const std::int64_t h = gradients.h, w = gradients.w;
        const std::int64_t n = row / (h * w), y = row / w % h, x = row % w;
        const float* g = pixel(args.at<const float>(Op::gateGradients), gradients, n, y, x);
        const float* c0 = pixel(args.at<const float>(Op::previousCell), before, n, y, x);
        const float* c1 = pixel(args.at<const float>(Op::cell), cell, n, y, x);
        for (std::int64_t k = first; k < first + count; ++k) {
          const std::int64_t gate = k / cell.c, c = k % cell.c;
          sums[static_cast<std::size_t>(k - first)] +=
              double{g[k]} * double{gate == gate_o ? c1[c] : c0[c]};
        }
      }
      float* to = args.at(Op::result) + first;
      for (std::int64_t k = 0; k < count; ++k)
        to[k] = static_cast<float>(sums[static_cast<std::size_t>(k)]);
    });
  });
}

}  // namespace cermet::cpu
