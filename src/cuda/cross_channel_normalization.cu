// CrossChannelNormalization and its exact gradient (formulas: cnn/normalization.h). Own code:
// cuDNN's form wants a workspace of the forward pass. Each thread recomputes the levels that it
// needs.

#include "cermet/cnn/normalization.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// The channels of windows.
struct Rule {
  int below, above;  // of a channel's window
  float alpha, beta, delta;

  explicit Rule(const CrossChannelNormalization& op)
      : below(op.kernelSize / 2),
        above((op.kernelSize - 1) / 2),
        alpha(op.alpha / static_cast<float>(op.kernelSize)),
        beta(op.beta),
        delta(op.delta) {}

  /// L of a channel.
  __device__ float level(const Tensor& source, const Index& at) const {
    double squares = 0;
    const int end = min(at.c + above + 1, source.desc.c);
    for (int q = max(at.c - below, 0); q < end; ++q) {
      const double value = load(source, Index{at.n, at.y, at.x, q});
      squares += value * value;
    }
    return static_cast<float>(static_cast<double>(delta) + static_cast<double>(alpha) * squares);
  }
};

__global__ void normalize_channels(Rule rule, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    store(destination, at, load(source, at) * powf(rule.level(source, at), -rule.beta));
  }
}

__global__ void normalize_channels_gradient(Rule rule, Tensor gradient, Tensor source,
                                            Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float own = load(source, at);
    double direct = 0, sum = 0;
    const int end = min(at.c + rule.below + 1, source.desc.c);
    for (int r = max(at.c - rule.above, 0); r < end; ++r) {  // those whose windows contain it
      const Index other{at.n, at.y, at.x, r};
      const float l = rule.level(source, other);
      const float scaled = load(gradient, other) * powf(l, -rule.beta);
      if (r == at.c) direct = scaled;
      sum += static_cast<double>(scaled * load(source, other) / l);
    }
    const double pull = -2.0 * rule.alpha * rule.beta;
    store(destination, at, static_cast<float>(direct + pull * own * sum));
  }
}

}  // namespace

StepPtr prepare(const CrossChannelNormalization& op, Descs slots, Engine&) {
  using Op = CrossChannelNormalization;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  return make_step(slots, "cuda channel sums", [op, from, to](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), normalize_channels, Rule(op),
           Tensor{from, args.slots[Op::source]}, destination);
  });
}

StepPtr prepare(const CrossChannelNormalizationGradient& op, Descs slots, Engine&) {
  using Op = CrossChannelNormalizationGradient;
  const TensorDesc arriving = slots[Op::gradient], from = slots[Op::source];
  const TensorDesc to = slots[Op::destination];
  return make_step(slots, "cuda channel gather", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), normalize_channels_gradient, Rule(op.forward),
           Tensor{arriving, args.slots[Op::gradient]}, Tensor{from, args.slots[Op::source]},
           destination);
  });
}

}  // namespace cermet::cuda
