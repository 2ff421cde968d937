#pragma once
// Convolution on tensor cores, where reduced precision is allowed: factors are rounded to TF32,
// sums are float32 in a fixed order. For dense float32 tensors with channels that are multiples of
// four, without groups; null for everything else.

#include "cuda/engine.h"

namespace cermet::cuda {

StepPtr tensor_convolution(const Convolution& op, Descs slots, Engine& engine);
StepPtr tensor_convolution(const PooledConvolution& op, Descs slots, Engine& engine);
StepPtr tensor_gradient_data(const ConvolutionGradientData& op, Descs slots, Engine& engine);
StepPtr tensor_gradient_data(const PooledConvolutionGradientData& op, Descs slots, Engine& engine);
StepPtr tensor_gradient_weights(const ConvolutionGradientWeights& op, Descs slots, Engine& engine);
StepPtr tensor_gradient_weights(const PooledConvolutionGradientWeights& op, Descs slots,
                                Engine& engine);

}  // namespace cermet::cuda
