#pragma once
// What Shift does, for steps that have the tensors at hand, and its adjoint.

#include "cpu/engine.h"

namespace cermet::cpu {

/// window(n, y, x, c) = source(n, y + offsetY, x + offsetX, c), with the edge rule outside.
void gather_window(const Shift& by, const TensorDesc& source, const float* from,
                   const TensorDesc& window, float* to, int threads);
/// The adjoint: each destination pixel is the sum of the window pixels read from it. Slots: window,
/// destination.
StepPtr fold_window(const Shift& by, const TensorDesc& window, const TensorDesc& destination,
                    const Engine& engine);

}  // namespace cermet::cpu
