#pragma once
// Convolution loops of our own, for what oneDNN cannot do or does with its reference code. They
// take plain tensors and windows that lie inside the source (pads 0); `gather_window` and
// `fold_window` bring every geometry into that form. Sums have a fixed order: the bits do not
// depend on threads.

#include "cpu/engine.h"

namespace cermet::cpu::general {

/// The source position of a window's first pixel, and what lies outside the source.
struct Placement {
  std::int64_t y = 0, x = 0;
  bool clamp = false;
};

/// window(n, y, x, c) = source(n, y + placement.y, x + placement.x, c); outside the source 0, or
/// the nearest edge pixel when clamped. Slots: source, window.
StepPtr gather_window(const TensorDesc& source, const TensorDesc& window, Placement placement,
                      const Engine& engine);
/// The adjoint: each destination pixel is the sum of the window pixels read from it. Slots: window,
/// destination.
StepPtr fold_window(const TensorDesc& window, const TensorDesc& destination, Placement placement,
                    const Engine& engine);

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
