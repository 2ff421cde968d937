#pragma once
// The state of kernels whose gradient needs the forward geometry and nothing else.

#include "cnn/encoding.h"

namespace cermet::detail {

class GeometryState final : public NNGradientState {
 public:
  explicit GeometryState(const StateOrigin& origin) : NNGradientState(origin) {}
};

}  // namespace cermet::detail
