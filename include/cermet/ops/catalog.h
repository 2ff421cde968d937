#pragma once
// Every operator. A backend makes its table from this list: an operator without a `prepare` of its
// own does not compile there, one without a definition does not link.

#include "cermet/ops/arithmetic.h"
#include "cermet/ops/batch_normalization.h"
#include "cermet/ops/convolution.h"
#include "cermet/ops/copy.h"
#include "cermet/ops/dropout.h"
#include "cermet/ops/fusion.h"
#include "cermet/ops/loss.h"
#include "cermet/ops/neuron.h"
#include "cermet/ops/normalization.h"
#include "cermet/ops/optimizer.h"
#include "cermet/ops/pooling.h"
#include "cermet/ops/softmax.h"

namespace cermet {

using Catalog =
    TypeList<Convolution, ConvolutionGradientData, ConvolutionGradientWeights, Neuron,
             NeuronGradient, PoolingMax, PoolingMaxGradient, PoolingAverage, PoolingAverageGradient,
             SoftMax, SoftMaxGradient, Arithmetic, ArithmeticGradient, Dropout, DropoutGradient,
             SpatialNormalization, SpatialNormalizationGradient, BatchNormalizationStatistics,
             BatchNormalization, BatchNormalizationStatisticsGradient, BatchNormalizationGradient,
             Loss, LossGradient, StochasticGradientDescent, RMSProp, Adam, Copy, Shift, Fill>;

/// Operators that a backend may decline.
using Fusions = TypeList<NeuronPoolingMax, PooledConvolution, PooledConvolutionGradientData,
                         PooledConvolutionGradientWeights>;

}  // namespace cermet
