// UpsamplingBilinear and its adjoint (formulas: cnn/upsampling.h; spec: pooling-shape 3).

#include "cermet/cnn/upsampling.h"
#include "cpu/sampling.h"

namespace cermet::cpu {

StepPtr prepare(const UpsamplingBilinear& op, Descs descs, Engine& engine) {
  return grid_step(op, descs, engine, true);
}
StepPtr prepare(const UpsamplingBilinearGradient& op, Descs descs, Engine& engine) {
  return grid_gradient_step(op, descs, engine, true);
}

}  // namespace cermet::cpu
