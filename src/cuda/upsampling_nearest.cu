// UpsamplingNearest and its adjoint (formulas: cnn/upsampling.h).

#include "cermet/cnn/upsampling.h"
#include "cuda/sampling.cuh"

namespace cermet::cuda {

StepPtr prepare(const UpsamplingNearest& op, Descs slots, Engine&) {
  return grid_step<false>(op, slots);
}
StepPtr prepare(const UpsamplingNearestGradient& op, Descs slots, Engine&) {
  return grid_gradient_step<false>(op, slots);
}

}  // namespace cermet::cuda
