#pragma once
// The state of kernels whose gradient needs the forward geometry and nothing else.

#include "cnn/encoding.h"

namespace cermet::detail {

class GeometryState final : public NNGradientState {
 public:
  explicit GeometryState(const StateOrigin& origin) : NNGradientState(origin) {}
};

/// The pair of aligned inputs of a stride-1 gradient: the incoming gradient (zero outside) and the
/// secondary image, both brought to the destination's extents (spec: core 14.3).
struct AlignedPair {
  AlignedPair(const CNNGradientKernel& kernel, const BinaryEncoding& e)
      : gradient(e.recording, e.primary, kernel.primaryOffset(), e.width, e.height,
                 ImageEdgeMode::Zero),
        source(e.recording, e.secondary, kernel.secondaryOffset(), e.width, e.height,
               kernel.secondaryEdgeMode()) {}
  AlignedSource gradient, source;
};

}  // namespace cermet::detail
