// UpsamplingBilinear and its adjoint (formulas: cnn/upsampling.h).

#include "cermet/cnn/upsampling.h"
#include "cuda/sampling.cuh"

namespace cermet::cuda {

StepPtr prepare(const UpsamplingBilinear& op, Descs slots, Engine&) {
  return grid_step<true>(op, slots);
}
StepPtr prepare(const UpsamplingBilinearGradient& op, Descs slots, Engine&) {
  return grid_gradient_step<true>(op, slots);
}

}  // namespace cermet::cuda
