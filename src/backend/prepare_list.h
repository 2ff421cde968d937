// What a backend defines: included in its namespace, after the declaration of its `Engine`. A
// missing definition is a link error. No guard: each backend has declarations of its own.

StepPtr prepare(const Convolution&, Descs, Engine&);
StepPtr prepare(const ConvolutionGradientData&, Descs, Engine&);
StepPtr prepare(const ConvolutionGradientWeights&, Descs, Engine&);
StepPtr prepare(const Neuron&, Descs, Engine&);
StepPtr prepare(const NeuronGradient&, Descs, Engine&);
StepPtr prepare(const PoolingMax&, Descs, Engine&);
StepPtr prepare(const PoolingMaxGradient&, Descs, Engine&);
StepPtr prepare(const PoolingAverage&, Descs, Engine&);
StepPtr prepare(const PoolingAverageGradient&, Descs, Engine&);
StepPtr prepare(const SoftMax&, Descs, Engine&);
StepPtr prepare(const SoftMaxGradient&, Descs, Engine&);
StepPtr prepare(const Arithmetic&, Descs, Engine&);
StepPtr prepare(const ArithmeticGradient&, Descs, Engine&);
StepPtr prepare(const Dropout&, Descs, Engine&);
StepPtr prepare(const DropoutGradient&, Descs, Engine&);
StepPtr prepare(const SpatialNormalization&, Descs, Engine&);
StepPtr prepare(const SpatialNormalizationGradient&, Descs, Engine&);
StepPtr prepare(const BatchNormalizationStatistics&, Descs, Engine&);
StepPtr prepare(const BatchNormalization&, Descs, Engine&);
StepPtr prepare(const BatchNormalizationStatisticsGradient&, Descs, Engine&);
StepPtr prepare(const BatchNormalizationGradient&, Descs, Engine&);
StepPtr prepare(const Loss&, Descs, Engine&);
StepPtr prepare(const LossGradient&, Descs, Engine&);
StepPtr prepare(const StochasticGradientDescent&, Descs, Engine&);
StepPtr prepare(const RMSProp&, Descs, Engine&);
StepPtr prepare(const Adam&, Descs, Engine&);
StepPtr prepare(const Copy&, Descs, Engine&);
StepPtr prepare(const Shift&, Descs, Engine&);
StepPtr prepare(const Fill&, Descs, Engine&);
StepPtr prepare(const NeuronPoolingMax&, Descs, Engine&);
StepPtr prepare(const PooledConvolution&, Descs, Engine&);
StepPtr prepare(const PooledConvolutionGradientData&, Descs, Engine&);
StepPtr prepare(const PooledConvolutionGradientWeights&, Descs, Engine&);
