#pragma once
// Convolution of few source channels with a small window, by kernels of our own: such windows make
// products too short for matrix units. Null where a geometry is not served; slots are those of the
// operator.

#include "cuda/engine.h"

namespace cermet::cuda {

StepPtr few_channels_convolution(const Convolution& op, Descs slots);
StepPtr few_channels_pooled(const PooledConvolution& op, Descs slots);
StepPtr few_channels_gradient_weights(const PooledConvolutionGradientWeights& op, Descs slots);

}  // namespace cermet::cuda
