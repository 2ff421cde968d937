// UpsamplingNearest and its adjoint (formulas: cnn/upsampling.h; spec: pooling-shape 3).

#include "cermet/cnn/upsampling.h"
#include "cpu/sampling.h"

namespace cermet::cpu {

StepPtr prepare(const UpsamplingNearest& op, Descs descs, Engine& engine) {
  return sampling_step(op.grid, descs, engine, false);
}
StepPtr prepare(const UpsamplingNearestGradient& op, Descs descs, Engine& engine) {
  return sampling_gradient_step(op.forward.grid, op.sourceHeight, op.sourceWidth, descs, engine,
                                false);
}

}  // namespace cermet::cpu
