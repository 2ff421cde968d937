// UpsamplingBilinear and its adjoint (formulas: cnn/upsampling.h; spec: pooling-shape 3).

#include "cermet/cnn/upsampling.h"
#include "cpu/sampling.h"

namespace cermet::cpu {

StepPtr prepare(const UpsamplingBilinear& op, Descs descs, Engine& engine) {
  return sampling_step(op.grid, descs, engine, true);
}
StepPtr prepare(const UpsamplingBilinearGradient& op, Descs descs, Engine& engine) {
  return sampling_gradient_step(op.forward.grid, op.sourceHeight, op.sourceWidth, descs, engine,
                                true);
}

}  // namespace cermet::cpu
