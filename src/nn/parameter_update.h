#pragma once
// What an optimizer records for each array that it updates.

#include <array>

#include "cnn/encoding.h"

namespace cermet::detail {

/// The update of one parameter array: dense tensors of one shape, absent moments without data.
struct ParameterUpdate {
  Recording& recording;
  StepMemo& memo;
  TensorView gradient, values;
  std::array<TensorView, 3> moments;
  TensorView result;
};

}  // namespace cermet::detail
