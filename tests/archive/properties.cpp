// Every public property of every kernel class, as text.

#include <bit>

#include "catalog/kernels.h"
#include "cermet/core/fields.h"
#include "rows.h"

namespace cermet::test {
namespace {

class Listing {
 public:
  std::vector<std::string> lines;
  void add(const char* name, const std::string& value) {
    lines.push_back(std::string(name) + "=" + value);
  }
  void add(const char* name, bool value) { add(name, std::string(value ? "true" : "false")); }
  void add(const char* name, float value) {
    add(name, std::to_string(std::bit_cast<std::uint32_t>(value)));
  }
  void add(const char* name, double value) {
    add(name, std::to_string(std::bit_cast<std::uint64_t>(value)));
  }
  template <std::integral T>
  void add(const char* name, T value) {
    add(name, std::to_string(value));
  }
  template <class E>
  requires std::is_enum_v<E>
  void add(const char* name, E value) { add(name, std::to_string(static_cast<long long>(value))); }
  void add(const char* name, const Offset& o) {
    add(name, std::to_string(o.x) + "," + std::to_string(o.y) + "," + std::to_string(o.z));
  }
  void add(const char* name, const ImageCoordinate& at) { add(name, Size{at.x, at.y, at.channel}); }
  void add(const char* name, const Size& s) {
    add(name,
        std::to_string(s.width) + "," + std::to_string(s.height) + "," + std::to_string(s.depth));
  }
  void add(const char* name, const Origin& o) { add(name, Size{o.x, o.y, o.z}); }
  void add(const char* name, const Region& r) {
    add(name, r.origin);
    add(name, r.size);
  }
  void add(const char* name, const std::vector<float>& values) {
    std::string text;
    for (const float value : values)
      text += std::to_string(std::bit_cast<std::uint32_t>(value)) + " ";
    add(name, text);
  }
  void add(const char* name, const NNNeuronDescriptor& d) {
    add(name, std::to_string(static_cast<int>(d.neuronType())));
    add("a", d.a());
    add("b", d.b());
    add("c", d.c());
    add("data", d.data());
  }
  void add(const char* name, const std::shared_ptr<NNPadding>& policy) {
    add(name,
        policy->label() + " " + std::to_string(static_cast<unsigned>(policy->paddingMethod())));
  }
  void add(const char* name, const std::shared_ptr<ImageAllocator>& allocator) {
    add(name, std::string(allocator->archive_name()));
  }

  void base(const Kernel& k) {
    add("class", std::string(k.class_name()));
    add("label", k.label());
    add("options", k.options());
    if (const auto* unary = dynamic_cast<const CNNKernel*>(&k)) of(*unary);
    if (const auto* binary = dynamic_cast<const CNNBinaryKernel*>(&k)) of(*binary);
    if (const auto* gradient = dynamic_cast<const CNNGradientKernel*>(&k)) of(*gradient);
    if (const auto* matrix = dynamic_cast<const MatrixKernel*>(&k)) of(*matrix);
    if (const auto* unary = dynamic_cast<const MatrixUnaryKernel*>(&k)) of(*unary);
    if (const auto* binary = dynamic_cast<const MatrixBinaryKernel*>(&k)) of(*binary);
    if (const auto* optimizer = dynamic_cast<const NNOptimizer*>(&k)) of(*optimizer);
  }

 private:
  void of(const CNNKernel& k) {
    add("offset", k.offset());
    add("clipRect", k.clipRect());
    add("destinationFeatureChannelOffset", k.destinationFeatureChannelOffset());
    add("sourceFeatureChannelOffset", k.sourceFeatureChannelOffset());
    add("sourceFeatureChannelMaxCount", k.sourceFeatureChannelMaxCount());
    add("edgeMode", k.edgeMode());
    add("kernelWidth", k.kernelWidth());
    add("kernelHeight", k.kernelHeight());
    add("strideInPixelsX", k.strideInPixelsX());
    add("strideInPixelsY", k.strideInPixelsY());
    add("dilationRateX", k.dilationRateX());
    add("dilationRateY", k.dilationRateY());
    add("padding", k.padding());
    add("destinationImageAllocator", k.destinationImageAllocator());
  }
  void of(const CNNBinaryKernel& k) {
    add("primaryOffset", k.primaryOffset());
    add("secondaryOffset", k.secondaryOffset());
    add("clipRect", k.clipRect());
    add("destinationFeatureChannelOffset", k.destinationFeatureChannelOffset());
    add("primarySourceFeatureChannelOffset", k.primarySourceFeatureChannelOffset());
    add("primarySourceFeatureChannelMaxCount", k.primarySourceFeatureChannelMaxCount());
    add("secondarySourceFeatureChannelOffset", k.secondarySourceFeatureChannelOffset());
    add("secondarySourceFeatureChannelMaxCount", k.secondarySourceFeatureChannelMaxCount());
    add("primaryEdgeMode", k.primaryEdgeMode());
    add("secondaryEdgeMode", k.secondaryEdgeMode());
    add("primaryKernelWidth", k.primaryKernelWidth());
    add("primaryKernelHeight", k.primaryKernelHeight());
    add("secondaryKernelWidth", k.secondaryKernelWidth());
    add("secondaryKernelHeight", k.secondaryKernelHeight());
    add("primaryStrideInPixelsX", k.primaryStrideInPixelsX());
    add("primaryStrideInPixelsY", k.primaryStrideInPixelsY());
    add("secondaryStrideInPixelsX", k.secondaryStrideInPixelsX());
    add("secondaryStrideInPixelsY", k.secondaryStrideInPixelsY());
    add("primaryDilationRateX", k.primaryDilationRateX());
    add("primaryDilationRateY", k.primaryDilationRateY());
    add("secondaryDilationRateX", k.secondaryDilationRateX());
    add("secondaryDilationRateY", k.secondaryDilationRateY());
    add("padding", k.padding());
    add("destinationImageAllocator", k.destinationImageAllocator());
  }
  void of(const CNNGradientKernel& k) {
    add("kernelOffsetX", k.kernelOffsetX());
    add("kernelOffsetY", k.kernelOffsetY());
  }
  void of(const MatrixKernel& k) {
    add("resultMatrixOrigin", k.resultMatrixOrigin());
    add("batchStart", k.batchStart());
    add("batchSize", k.batchSize());
  }
  void of(const MatrixUnaryKernel& k) { add("sourceMatrixOrigin", k.sourceMatrixOrigin()); }
  void of(const MatrixBinaryKernel& k) {
    add("primarySourceMatrixOrigin", k.primarySourceMatrixOrigin());
    add("secondarySourceMatrixOrigin", k.secondarySourceMatrixOrigin());
  }
  void of(const NNOptimizer& k) {
    add("learningRate", k.learningRate());
    add("gradientRescale", k.gradientRescale());
    add("applyGradientClipping", k.applyGradientClipping());
    add("gradientClipMax", k.gradientClipMax());
    add("gradientClipMin", k.gradientClipMin());
    add("regularizationScale", k.regularizationScale());
    add("regularizationType", k.regularizationType());
  }
};

// The properties of each family itself; overloads take the class that declares them.

void own(Listing& l, const CNNNeuron& k) {
  l.add("neuronType", k.neuronType());
  l.add("a", k.a());
  l.add("b", k.b());
  l.add("c", k.c());
  l.add("data", k.data());
}
void own(Listing& l, const CNNNeuronGradient& k) {
  l.add("neuronType", k.neuronType());
  l.add("a", k.a());
  l.add("b", k.b());
  l.add("c", k.c());
  l.add("data", k.data());
}
void own(Listing&, const CNNPooling&) {}
void own(Listing& l, const CNNPoolingAverage& k) {
  l.add("zeroPadSizeX", k.zeroPadSizeX());
  l.add("zeroPadSizeY", k.zeroPadSizeY());
}
void own(Listing& l, const CNNPoolingGradient& k) { l.add("sourceSize", k.sourceSize()); }
void own(Listing& l, const CNNPoolingAverageGradient& k) {
  l.add("sourceSize", k.sourceSize());
  l.add("zeroPadSizeX", k.zeroPadSizeX());
  l.add("zeroPadSizeY", k.zeroPadSizeY());
}
void own(Listing&, const NNReshape&) {}
void own(Listing&, const NNReshapeGradient&) {}
void own(Listing&, const NNSlice&) {}
void own(Listing& l, const NNPad& k) {
  l.add("paddingSizeBefore", k.paddingSizeBefore());
  l.add("paddingSizeAfter", k.paddingSizeAfter());
  l.add("fillValue", k.fillValue());
  l.add("fill_values", k.fill_values());
}
void own(Listing& l, const NNPadGradient& k) {
  l.add("padding_channels_before", k.padding_channels_before());
  l.add("padding_channels_after", k.padding_channels_after());
}
void own(Listing& l, const NNCropAndResizeBilinear& k) {
  l.add("resizeWidth", k.resizeWidth());
  l.add("resizeHeight", k.resizeHeight());
  l.add("numberOfRegions", k.numberOfRegions());
  for (std::size_t i = 0; i < k.numberOfRegions(); ++i) {
    const auto& [origin, size] = k.regions()[i];
    for (const double value : {origin.x, origin.y, origin.z, size.width, size.height, size.depth})
      l.add("regions", value);
  }
}
void own(Listing&, const detail::SoftMaxKernel&) {}
void own(Listing&, const detail::SoftMaxGradientKernel&) {}
void own(Listing&, const NNInitialGradient&) {}
void own(Listing&, const CNNBatchNormalizationStatistics&) {}
void own(Listing&, const CNNBatchNormalizationStatisticsGradient&) {}
void own(Listing&, const CNNBatchNormalizationGradient&) {}
void own(Listing& l, const CNNBatchNormalization& k) {
  l.add("numberOfFeatureChannels", k.numberOfFeatureChannels());
  l.add("epsilon", k.epsilon());
  for (const Buffer& buffer : k.values()) {
    const auto values = buffer.as<float>();
    l.add("values", std::vector<float>(values.begin(), values.end()));
  }
}
template <class K>
void scaling(Listing& l, const K& k) {
  l.add("numberOfFeatureChannels", k.channel_count());
  l.add("numberOfGroups", k.normalization().groups);
  l.add("epsilon", k.epsilon());
  for (const Buffer& buffer : k.scale()) l.add("values", buffer.values<float>());
}
void own(Listing& l, const CNNInstanceNormalization& k) { scaling(l, k); }
void own(Listing& l, const CNNGroupNormalization& k) { scaling(l, k); }
template <class K>
void dropout(Listing& l, const K& k) {
  l.add("keepProbability", k.keepProbability());
  l.add("seed", k.seed());
  l.add("maskStrideInPixels", k.maskStrideInPixels());
}
void own(Listing& l, const CNNDropout& k) {
  dropout(l, k);
  l.add("encode_number", k.encode_number());
}
void own(Listing& l, const CNNDropoutGradient& k) { dropout(l, k); }
void own(Listing& l, const CNNArithmetic& k) {
  l.add("primaryScale", k.primaryScale());
  l.add("secondaryScale", k.secondaryScale());
  l.add("bias", k.bias());
  l.add("primaryStrideInFeatureChannels", k.primaryStrideInFeatureChannels());
  l.add("secondaryStrideInFeatureChannels", k.secondaryStrideInFeatureChannels());
  l.add("minimumValue", k.minimumValue());
  l.add("maximumValue", k.maximumValue());
  if (const auto* compare = dynamic_cast<const NNCompare*>(&k)) {
    l.add("comparisonType", compare->comparisonType());
    l.add("threshold", compare->threshold());
  }
}
void own(Listing& l, const CNNArithmeticGradient& k) {
  l.add("isSecondarySourceFilter", k.isSecondarySourceFilter());
  l.add("primaryScale", k.primaryScale());
  l.add("secondaryScale", k.secondaryScale());
  l.add("bias", k.bias());
  l.add("secondaryStrideInFeatureChannels", k.secondaryStrideInFeatureChannels());
  l.add("minimumValue", k.minimumValue());
  l.add("maximumValue", k.maximumValue());
}
template <class K>
void loss(Listing& l, const K& k) {
  l.add("lossType", k.lossType());
  l.add("reductionType", k.reductionType());
  l.add("reduceAcrossBatch", k.reduceAcrossBatch());
  l.add("weight", k.weight());
  l.add("labelSmoothing", k.labelSmoothing());
  l.add("numberOfClasses", k.numberOfClasses());
  l.add("epsilon", k.epsilon());
  l.add("delta", k.delta());
}
void switches(Listing& l, const LossSwitches& s) {
  l.add("softmax_cross_entropy_exact_gradient", s.softmax_cross_entropy_exact_gradient);
  l.add("kl_gradient_published", s.kl_gradient_published);
  l.add("loss_gradient_ignores_reduction", s.loss_gradient_ignores_reduction);
  l.add("cnn_loss_gradient_applies_reduction", s.cnn_loss_gradient_applies_reduction);
}
void own(Listing& l, const CNNLoss& k) {
  loss(l, k);
  switches(l, k.switches());
}
void own(Listing& l, const CNNYOLOLoss& k) {
  for (const CNNLoss& part : {k.lossXY(), k.lossWH(), k.lossConfidence(), k.lossClasses()})
    loss(l, part);
  l.add("scaleXY", k.scaleXY());
  l.add("scaleWH", k.scaleWH());
  l.add("scaleNoObject", k.scaleNoObject());
  l.add("scaleObject", k.scaleObject());
  l.add("scaleClass", k.scaleClass());
  l.add("minIOUForObjectPresence", k.minIOUForObjectPresence());
  l.add("maxIOUForObjectAbsence", k.maxIOUForObjectAbsence());
  l.add("reductionType", k.reductionType());
  l.add("reduceAcrossBatch", k.reduceAcrossBatch());
  l.add("rescore", k.rescore());
  l.add("numberOfAnchorBoxes", k.numberOfAnchorBoxes());
  l.add("anchorBoxes", k.anchorBoxes());
  l.add("yolo_plain_sum", k.switches().yolo_plain_sum);
  l.add("softmax_cross_entropy_exact_gradient", k.switches().softmax_cross_entropy_exact_gradient);
  l.add("kl_gradient_published", k.switches().kl_gradient_published);
}
void own(Listing& l, const NNForwardLoss& k) { loss(l, k); }
void own(Listing& l, const NNLossGradient& k) {
  loss(l, k);
  switches(l, k.switches());
  l.add("computeLabelGradients", k.computeLabelGradients());
}
void own(Listing& l, const CNNConvolution& k) {
  l.add("inputFeatureChannels", k.inputFeatureChannels());
  l.add("outputFeatureChannels", k.outputFeatureChannels());
  l.add("groups", k.groups());
  l.add("channelMultiplier", k.channelMultiplier());
  l.add("fusedNeuronDescriptor", k.fusedNeuronDescriptor());
  l.add("accumulatorPrecisionOption", k.accumulatorPrecisionOption());
}
template <class Layer>
requires requires(const Layer& k) { k.storeAllIntermediateStates(); }
void own(Listing& l, const Layer& k) {
  l.add("inputFeatureChannels", k.inputFeatureChannels());
  l.add("outputFeatureChannels", k.outputFeatureChannels());
  l.add("storeAllIntermediateStates", k.storeAllIntermediateStates());
  l.add("recurrentOutputIsTemporary", k.recurrentOutputIsTemporary());
  if constexpr (requires { k.bidirectionalCombineMode(); }) {
    l.add("numberOfLayers", k.numberOfLayers());
    l.add("bidirectionalCombineMode", k.bidirectionalCombineMode());
  } else {
    l.add("trainingStateIsTemporary", k.trainingStateIsTemporary());
    l.add("accumulateWeightGradients", k.accumulateWeightGradients());
  }
}
void own(Listing& l, const CNNBinaryConvolution& k) {
  l.add("inputFeatureChannels", k.inputFeatureChannels());
  l.add("outputFeatureChannels", k.outputFeatureChannels());
  l.add("type", k.type());
  l.add("flags", k.flags());
  l.add("fusedNeuronDescriptor", k.fusedNeuronDescriptor());
}
void own(Listing& l, const CNNConvolutionGradient& k) {
  l.add("sourceGradientFeatureChannels", k.sourceGradientFeatureChannels());
  l.add("sourceImageFeatureChannels", k.sourceImageFeatureChannels());
  l.add("groups", k.groups());
  l.add("channelMultiplier", k.channelMultiplier());
  l.add("gradientOption", k.gradientOption());
  l.add("serializeWeightsAndBiases", k.serializeWeightsAndBiases());
  l.add("clamp_gradient_drops_edge", k.clamp_gradient_drops_edge());
}
void own(Listing& l, const CNNConvolutionTranspose& k) {
  l.add("inputFeatureChannels", k.inputFeatureChannels());
  l.add("outputFeatureChannels", k.outputFeatureChannels());
  l.add("groups", k.groups());
  l.add("kernelOffsetX", static_cast<int>(k.kernelOffsetX()));
  l.add("kernelOffsetY", static_cast<int>(k.kernelOffsetY()));
  l.add("accumulatorPrecisionOption", k.accumulatorPrecisionOption());
}
void own(Listing& l, const CNNConvolutionTransposeGradient& k) {
  l.add("sourceGradientFeatureChannels", k.sourceGradientFeatureChannels());
  l.add("sourceImageFeatureChannels", k.sourceImageFeatureChannels());
  l.add("groups", k.groups());
  l.add("gradientOption", k.gradientOption());
}
void own(Listing& l, const NNOptimizerStochasticGradientDescent& k) {
  l.add("momentumScale", k.momentumScale());
  l.add("useNesterovMomentum", k.useNesterovMomentum());
}
void own(Listing& l, const NNOptimizerRMSProp& k) {
  l.add("decay", k.decay());
  l.add("epsilon", k.epsilon());
}
void own(Listing& l, const NNOptimizerAdam& k) {
  l.add("beta1", k.beta1());
  l.add("beta2", k.beta2());
  l.add("epsilon", k.epsilon());
  l.add("timeStep", k.timeStep());
}
void own(Listing& l, const NNReduceUnary& k) {
  l.add("clipRectSource", k.clipRectSource());
  if (const auto* weighted = dynamic_cast<const NNReduceFeatureChannelsSum*>(&k))
    l.add("weight", weighted->weight());
}
void own(Listing& l, const NNReduceBinary& k) {
  l.add("primarySourceClipRect", k.primarySourceClipRect());
  l.add("secondarySourceClipRect", k.secondarySourceClipRect());
  if (const auto* sum = dynamic_cast<const NNReduceFeatureChannelsAndWeightsSum*>(&k))
    l.add("doWeightedSumByNonZeroWeights", sum->doWeightedSumByNonZeroWeights());
}

/// What matrix kernels keep besides their bases: each has some of these.
void own_of_matrices(Listing& l, const auto& k) {
  if constexpr (requires { k.neuronParameterA(); }) {
    l.add("neuronType", k.neuronType());
    l.add("neuronParameterA", k.neuronParameterA());
    l.add("neuronParameterB", k.neuronParameterB());
    l.add("neuronParameterC", k.neuronParameterC());
  }
  if constexpr (requires { k.sourceNumberOfFeatureVectors(); }) {
    l.add("sourceNumberOfFeatureVectors", k.sourceNumberOfFeatureVectors());
    l.add("sourceInputFeatureChannels", k.sourceInputFeatureChannels());
  }
  if constexpr (requires { k.sourceOutputFeatureChannels(); })
    l.add("sourceOutputFeatureChannels", k.sourceOutputFeatureChannels());
  if constexpr (requires { k.sourceRows(); }) {
    l.add("sourceRows", k.sourceRows());
    l.add("sourceColumns", k.sourceColumns());
  }
  if constexpr (requires { k.alpha(); }) l.add("alpha", k.alpha());
  if constexpr (requires { k.beta(); }) l.add("beta", k.beta());
  if constexpr (requires { k.slopes(); }) l.add("slopes", k.slopes());
  if constexpr (requires { k.computeStatistics(); })
    l.add("computeStatistics", k.computeStatistics());
  if constexpr (requires { k.epsilon(); }) l.add("epsilon", k.epsilon());
  if constexpr (requires { k.transpose(); }) l.add("transpose", k.transpose());
  if constexpr (requires { k.rows(); }) {
    l.add("rows", k.rows());
    l.add("columns", k.columns());
  }
}
void own(Listing& l, const MatrixMultiplication& k) {
  own_of_matrices(l, k);
  l.add("leftMatrixOrigin", k.leftMatrixOrigin());
  l.add("rightMatrixOrigin", k.rightMatrixOrigin());
  l.add("transpose_left", k.transpose_left());
  l.add("transpose_right", k.transpose_right());
  l.add("result_rows", k.result_rows());
  l.add("result_columns", k.result_columns());
  l.add("interior_columns", k.interior_columns());
}
void own(Listing& l, const MatrixVectorMultiplication& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixFullyConnected& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixFullyConnectedGradient& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixNeuron& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixNeuronGradient& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixSoftMax& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixSoftMaxGradient& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixBatchNormalization& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixBatchNormalizationGradient& k) { own_of_matrices(l, k); }
void own(Listing& l, const MatrixSum& k) {
  own_of_matrices(l, k);
  l.add("count", k.count());
  l.add("resultMatrixOrigin", k.resultMatrixOrigin());
}
void own(Listing& l, const MatrixCopy& k) {
  l.add("copyRows", k.copyRows());
  l.add("copyColumns", k.copyColumns());
  l.add("sourcesAreTransposed", k.sourcesAreTransposed());
  l.add("destinationsAreTransposed", k.destinationsAreTransposed());
}
void own(Listing& l, const MatrixRandom& k) {
  l.add("destinationDataType", k.destinationDataType());
  l.add("seed", k.seed());
  l.add("distributionType", k.distributionType());
  l.add("minimum", k.distribution().minimum());
  l.add("maximum", k.distribution().maximum());
  l.add("mean", k.distribution().mean());
  l.add("standardDeviation", k.distribution().standardDeviation());
  l.add("batchStart", k.batchStart());
  l.add("batchSize", k.batchSize());
  l.add("block_offset", k.block_offset());
}

/// The fields of a kernel that is its operator.
template <class... Ks>
bool list_fields(Listing& l, const Kernel& kernel, TypeList<Ks...>) {
  const auto list = [&](const auto* k) {
    if (k == nullptr) return false;
    detail::for_each_field(k->operation(),
                           [&](std::string_view name, const auto& value, FieldRange) {
                             l.add(std::string(name).c_str(), value);
                           });
    return true;
  };
  const auto of = [&]<class K>(const K*) {
    if constexpr (requires(const K& k) { k.operation(); }) {
      return list(dynamic_cast<const K*>(&kernel));
    } else {
      return false;
    }
  };
  return (of(static_cast<const Ks*>(nullptr)) || ...);
}

template <class... Ks>
void list_own(Listing& l, const Kernel& kernel) {
  const bool any = ([&] {
    const auto* k = dynamic_cast<const Ks*>(&kernel);
    if (k != nullptr) own(l, *k);
    return k != nullptr;
  }() || ...);
  const bool fields = list_fields(l, kernel, Kernels{});
  if (!any && !fields) l.add("own properties", std::string("not listed"));
}

}  // namespace

std::vector<std::string> properties(const Kernel& kernel) {
  Listing listing;
  listing.base(kernel);
  list_own<CNNNeuron, CNNNeuronGradient, CNNPoolingMax, CNNPoolingAverage, CNNPoolingMaxGradient,
           CNNPoolingAverageGradient, NNReshape, NNReshapeGradient, NNSlice, NNPad, NNPadGradient,
           NNCropAndResizeBilinear, detail::SoftMaxKernel, detail::SoftMaxGradientKernel,
           NNInitialGradient, CNNBatchNormalizationStatistics,
           CNNBatchNormalizationStatisticsGradient, CNNBatchNormalizationGradient,
           CNNBatchNormalization, CNNDropout, CNNDropoutGradient, CNNArithmetic,
           CNNArithmeticGradient, CNNLoss, CNNYOLOLoss, NNForwardLoss, NNLossGradient,
           CNNConvolution, CNNBinaryConvolution, CNNConvolutionGradient, CNNConvolutionTranspose,
           CNNConvolutionTransposeGradient, CNNInstanceNormalization, CNNGroupNormalization,
           NNOptimizerStochasticGradientDescent, NNOptimizerRMSProp, NNOptimizerAdam, NNReduceUnary,
           NNReduceBinary, MatrixMultiplication, MatrixVectorMultiplication, MatrixFullyConnected,
           MatrixFullyConnectedGradient, MatrixNeuron, MatrixNeuronGradient, MatrixSoftMax,
           MatrixSoftMaxGradient, MatrixBatchNormalization, MatrixBatchNormalizationGradient,
           MatrixSum, MatrixCopy, MatrixRandom, RNNMatrixInferenceLayer, RNNImageInferenceLayer,
           RNNMatrixTrainingLayer>(listing, kernel);
  return listing.lines;
}

}  // namespace cermet::test
