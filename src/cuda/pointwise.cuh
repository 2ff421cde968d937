#pragma once
// Stages of a chain of pointwise steps (pointwise.h), as the kernel sees them.

#include "cermet/cnn/dropout.h"
#include "cermet/ops/activation.h"
#include "cuda/pointwise.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {

struct PointwiseStage {
  enum class Kind : int { neuron, neuron_gradient, dropout, dropout_gradient };
  Kind kind;
  float4* result;
  // of neurons
  Activation activation;
  const float4* source;  // of the gradient: the forward source
  // of dropout
  float keep;
  unsigned threshold;
  int image_fours;  // fours of an image
  uchar4* mask;     // null: decisions are not kept
  ScalarsOf<Dropout::Scalars> scalars;
};

}  // namespace cermet::cuda
