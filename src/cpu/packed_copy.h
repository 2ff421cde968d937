#pragma once
// Between a plain tensor and a layout that a oneDNN primitive chose.

#include "cpu/engine.h"

namespace cermet::cpu {

/// Equal extents, float32. Either side may be plain or interned; `Step::bytes` counts the padding
/// of packed storage. Slots: from, to (those of Copy).
[[nodiscard]] StepPtr prepare_reorder(const TensorDesc& from, const TensorDesc& to, Engine& engine);

}  // namespace cermet::cpu
