#pragma once
// Convolution by kernels of our own, for what cuDNN cannot serve: any window, stride, dilation,
// groups, negative pads, clamped edges, strides and element types. Slots are those of the operator.

#include "cuda/engine.h"

namespace cermet::cuda {

StepPtr general_convolution(const Convolution& op, Descs slots);
StepPtr general_gradient_data(const ConvolutionGradientData& op, Descs slots);
StepPtr general_gradient_weights(const ConvolutionGradientWeights& op, Descs slots);
/// The same without groups, faster; best for few channels of the source.
StepPtr tap_gradient_weights(const ConvolutionGradientWeights& op, Descs slots);

}  // namespace cermet::cuda
