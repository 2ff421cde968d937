#pragma once
// What the operators of recurrent cells share: neurons of gates, over blocks of adjacent channels.

#include <array>

#include "cpu/activation.h"
#include "cpu/engine.h"

namespace cermet::cpu {

/// Channels at a time.
inline constexpr std::int64_t gate_block = 128;
using GateBlock = std::array<float, static_cast<std::size_t>(gate_block)>;

/// A neuron and its derivative; `slopes` of its channels may be null unless it is a PReLU.
struct GateNeuron {
  Activation f;
  EvaluateRow evaluate;
  GradientRow multiply;

  explicit GateNeuron(const Activation& activation)
      : f(activation),
        evaluate(evaluate_row(activation.type)),
        multiply(gradient_row(activation.type)) {}
  /// x = f(x)
  void apply(float* x, const float* slopes, std::int64_t count) const {
    evaluate(f, x, slopes, x, count);
  }
  /// y = f(x)
  void apply(const float* x, const float* slopes, float* y, std::int64_t count) const {
    evaluate(f, x, slopes, y, count);
  }
  /// g = g * f'(x)
  void differentiate(float* g, const float* x, const float* slopes, std::int64_t count) const {
    multiply(f, g, x, slopes, g, count);
  }
};

/// Where the block of channels from `c` of gate number `gate` begins in the arrays of all gates.
template <class T>
[[nodiscard]] T* of_gate(T* gates, std::int64_t gate, std::int64_t channels, std::int64_t c) {
  return gates != nullptr ? gates + gate * channels + c : nullptr;
}

/// body(n, y, x, c, count) for each block of `count` channels from c on of each pixel.
template <class Body>
void for_each_gate_block(int threads, const TensorDesc& desc, Body&& body) {
  const std::int64_t blocks = (desc.c + gate_block - 1) / gate_block;
  const std::int64_t h = desc.h, w = desc.w;
  parallel(threads, desc.pixels() * blocks, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t pixel = at / blocks, c = at % blocks * gate_block;
      body(pixel / (h * w), pixel / w % h, pixel % w, c,
           std::min<std::int64_t>(gate_block, desc.c - c));
    }
  });
}

/// Threads worth waking for neurons of so many channels.
[[nodiscard]] inline int threads_for_gates(std::int64_t elements, const Engine& engine) {
  return threads_for(elements, engine, 4096);
}

}  // namespace cermet::cpu
