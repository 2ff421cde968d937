#pragma once
// Convolution and its gradients (spec: convolution 0, 5, 7.3, 7.4). Weights: n = K, h = kH, w = kW,
// c = C / groups. The gradients never apply the derivative of a fused activation (7.6).

#include "neuron.h"

namespace cermet::oracle {

/// The source channel that output channel k reads with weight channel c.
inline int source_channel(const Convolution& op, const Tensor& weights, int k, int c) {
  return k / (weights.n / op.groups) * weights.c + c;
}

/// `biases` and `slopes` may be empty.
inline Tensor convolution(const Convolution& op, const Tensor& source, const Tensor& weights,
                          const std::vector<double>& biases, const std::vector<double>& slopes,
                          int out_h, int out_w) {
  auto out = filled(source.n, out_h, out_w, weights.n);
  for_each(out, [&](int n, int j, int i, int k) {
    double z = entry(biases, k);
    for_each_tap(op.window, j, i, [&](int q, int p, int y, int x) {
      for (int c = 0; c < weights.c; ++c)
        z += weights(k, q, p, c) *
             read(source, n, y, x, source_channel(op, weights, k, c), edge_of(op.window));
    });
    out(n, j, i, k) = neuron_function(op.activation, slopes, k).value(z);
  });
  return out;
}

/// `h` and `w`: the forward source's.
inline Tensor convolution_gradient_data(const ConvolutionGradientData& op, const Tensor& gradient,
                                        const Tensor& weights, int h, int w) {
  auto out = filled(gradient.n, h, w, weights.c * op.forward.groups);
  for_each(gradient, [&](int n, int j, int i, int k) {
    for_each_tap(op.forward.window, j, i, [&](int q, int p, int y, int x) {
      for (int c = 0; c < weights.c; ++c)
        scatter(out, n, y, x, source_channel(op.forward, weights, k, c),
                weights(k, q, p, c) * gradient(n, j, i, k), edge_of(op.forward.window));
    });
  });
  return out;
}

struct ConvolutionWeightGradients {
  Tensor weights;
  std::vector<double> biases;
};
/// `before`: what the gradients held; read when the operator accumulates.
inline ConvolutionWeightGradients convolution_gradient_weights(
    const ConvolutionGradientWeights& op, const Tensor& gradient, const Tensor& source,
    const ConvolutionWeightGradients& before = {}) {
  const Window& window = op.forward.window;
  ConvolutionWeightGradients out{
      filled(gradient.c, window.kernelHeight, window.kernelWidth, source.c / op.forward.groups),
      std::vector<double>(static_cast<std::size_t>(gradient.c))};
  if (op.accumulate != 0) out = before;
  for_each(gradient, [&](int n, int j, int i, int k) {
    const double e = gradient(n, j, i, k);
    out.biases.at(static_cast<std::size_t>(k)) += e;
    for_each_tap(window, j, i, [&](int q, int p, int y, int x) {
      for (int c = 0; c < out.weights.c; ++c)
        out.weights(k, q, p, c) +=
            e *
            read(source, n, y, x, source_channel(op.forward, out.weights, k, c), edge_of(window));
    });
  });
  return out;
}

}  // namespace cermet::oracle
