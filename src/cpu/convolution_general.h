#pragma once
// Convolution loops of our own, for what oneDNN cannot do or does with its reference code. They
// take plain tensors and windows that lie inside the source (pads 0); Shift and its adjoint bring
// every geometry into that form. Sums have a fixed order: the bits do not depend on threads.

#include "cpu/engine.h"

namespace cermet::cpu::general {

/// The activation is None or ReLU. Slots: those of the operator, weights OHWI.
StepPtr forward(const Convolution& op, const TensorDesc& source, const TensorDesc& destination,
                const Engine& engine);
/// `destination` is exactly what the windows cover. Slots: those of the operator, weights OHWI.
StepPtr gradient_data(const Convolution& op, const TensorDesc& gradient,
                      const TensorDesc& destination, const Engine& engine);
/// Slots: those of the operator, weight gradient OHWI.
StepPtr gradient_weights(const ConvolutionGradientWeights& op, const TensorDesc& gradient,
                         const TensorDesc& source, const Engine& engine);

}  // namespace cermet::cpu::general
