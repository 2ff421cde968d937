#pragma once
// What the operators of recurrent cells share: neurons of gates, an element of a cell at a time.

#include "cuda/activation.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// The tensor of all gates, side by side along the channels, with what their neurons need.
struct Gates {
  Tensor gates;
  const float* slopes;     // of all gates, or null
  const float* peepholes;  // of all gates, or null
  int channels;            // of one gate

  /// Where element `at` of one gate lies in a tensor of all gates.
  __device__ Index of_gate(int gate, const Index& at) const {
    return {at.n, at.y, at.x, gate * channels + at.c};
  }
  /// What goes into the neuron.
  __device__ float input(int gate, const Index& at, float cell = 0.0F) const {
    const float a = load(gates, of_gate(gate, at));
    return peepholes != nullptr ? fmaf(peepholes[gate * channels + at.c], cell, a) : a;
  }
  __device__ float output(const Activation& f, int gate, const Index& at, float cell = 0.0F) const {
    return activate(f, input(gate, at, cell), slope(gate, at));
  }
  __device__ float differentiate(const Activation& f, int gate, const Index& at,
                                 float cell = 0.0F) const {
    return derivative(f, input(gate, at, cell), slope(gate, at));
  }
  __device__ float slope(int gate, const Index& at) const {
    return slopes != nullptr ? slopes[gate * channels + at.c] : 0.0F;
  }
};

}  // namespace cermet::cuda
