#pragma once
// Soft-max cross entropy of images of one pixel and few channels, the usual end of a classifier.
// Null where an operator is not served; slots are those of the operator.

#include "cuda/engine.h"

namespace cermet::cuda {

StepPtr one_pixel_loss(const Loss& op, Descs slots);
StepPtr one_pixel_gradient(const LossGradient& op, Descs slots);

}  // namespace cermet::cuda
