#include "cermet/cnn/convolution.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cermet/ops/copy.h"
#include "cnn/convolution_weights.h"

namespace cermet {

using detail::ConvolutionShape;
using detail::ConvolutionWeights;

// ---- descriptors
// ---------------------------------------------------------------------------------

namespace {

template <class Descriptor>
std::shared_ptr<Descriptor> made(std::size_t width, std::size_t height, std::size_t inputs,
                                 std::size_t outputs) {
  auto descriptor = std::make_shared<Descriptor>();
  descriptor->setKernelWidth(width);
  descriptor->setKernelHeight(height);
  descriptor->setInputFeatureChannels(inputs);
  descriptor->setOutputFeatureChannels(outputs);
  static_cast<void>(ConvolutionShape::of(*descriptor, "CNNConvolutionDescriptor", ""));
  return descriptor;
}

}  // namespace

std::shared_ptr<CNNConvolutionDescriptor> CNNConvolutionDescriptor::cnnConvolutionDescriptor(
    std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
    std::size_t outputFeatureChannels) {
  return made<CNNConvolutionDescriptor>(kernelWidth, kernelHeight, inputFeatureChannels,
                                        outputFeatureChannels);
}
std::shared_ptr<CNNConvolutionDescriptor> CNNConvolutionDescriptor::cnnConvolutionDescriptor(
    std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
    std::size_t outputFeatureChannels, const CNNNeuron* neuronFilter) {
  auto descriptor = cnnConvolutionDescriptor(kernelWidth, kernelHeight, inputFeatureChannels,
                                             outputFeatureChannels);
  if (neuronFilter != nullptr) {
    descriptor->setNeuron(std::make_shared<CNNNeuron>(*neuronFilter));
  }
  return descriptor;
}
std::shared_ptr<CNNDepthWiseConvolutionDescriptor>
CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(std::size_t kernelWidth,
                                                            std::size_t kernelHeight,
                                                            std::size_t inputFeatureChannels,
                                                            std::size_t outputFeatureChannels) {
  return made<CNNDepthWiseConvolutionDescriptor>(kernelWidth, kernelHeight, inputFeatureChannels,
                                                 outputFeatureChannels);
}

std::shared_ptr<CNNSubPixelConvolutionDescriptor>
CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(std::size_t kernelWidth,
                                                           std::size_t kernelHeight,
                                                           std::size_t inputFeatureChannels,
                                                           std::size_t outputFeatureChannels) {
  return made<CNNSubPixelConvolutionDescriptor>(kernelWidth, kernelHeight, inputFeatureChannels,
                                                outputFeatureChannels);
}
void CNNSubPixelConvolutionDescriptor::code(Coder& coder) {
  CNNConvolutionDescriptor::code(coder);
  coder("subPixelScaleFactor", scale_);
}
CNNSubPixelConvolutionDescriptor::CNNSubPixelConvolutionDescriptor(Coder& coder) {
  Coder place = coder;
  place.begin("CNNSubPixelConvolutionDescriptor", "", coder.device());
  CNNSubPixelConvolutionDescriptor::code(place);
  static_cast<void>(ConvolutionShape::of(*this, "CNNSubPixelConvolutionDescriptor", ""));
}

void CNNConvolutionDescriptor::setNeuron(std::shared_ptr<const CNNNeuron> neuron) {
  NNNeuronDescriptor descriptor;
  if (neuron) {
    descriptor.setNeuronType(neuron->neuronType());
    descriptor.setA(neuron->a());
    descriptor.setB(neuron->b());
    descriptor.setC(neuron->c());
    descriptor.setData(neuron->data());
  }
  neuron_ = std::move(descriptor);
  neuron_object_ = std::move(neuron);
}

void CNNConvolutionDescriptor::code(Coder& coder) {
  coder("kernelWidth", kernel_width_);
  coder("kernelHeight", kernel_height_);
  coder("inputFeatureChannels", input_channels_);
  coder("outputFeatureChannels", output_channels_);
  coder("strideInPixelsX", stride_x_);
  coder("strideInPixelsY", stride_y_);
  coder("groups", groups_);
  coder("dilationRateX", dilation_x_);
  coder("dilationRateY", dilation_y_);
  coder("fusedNeuronDescriptor", neuron_);
  coder("factor", folding_.factor);
  coder("addend", folding_.addend);
  const std::size_t terms = folding_.factor.empty() ? 0 : output_channels_;
  if (coder.is_reading() && (folding_.factor.size() != terms || folding_.addend.size() != terms)) {
    coder.refuse("factor", std::to_string(folding_.factor.size()) + " terms",
                 std::to_string(output_channels_) + " of factor and addend, or none");
  }
}
void CNNConvolutionDescriptor::encodeWithCoder(Coder& coder) const {
  Coder place = coder;
  place.begin(archive_name(), "", coder.device());
  const_cast<CNNConvolutionDescriptor&>(*this).code(place);  // which writes
}
CNNConvolutionDescriptor::CNNConvolutionDescriptor(Coder& coder) {
  Coder place = coder;
  place.begin("CNNConvolutionDescriptor", "", coder.device());
  CNNConvolutionDescriptor::code(place);
  static_cast<void>(ConvolutionShape::of(*this, "CNNConvolutionDescriptor", ""));
}
CNNDepthWiseConvolutionDescriptor::CNNDepthWiseConvolutionDescriptor(Coder& coder) {
  Coder place = coder;
  place.begin("CNNDepthWiseConvolutionDescriptor", "", coder.device());
  CNNConvolutionDescriptor::code(place);
  static_cast<void>(ConvolutionShape::of(*this, "CNNDepthWiseConvolutionDescriptor", ""));
}

void CNNConvolutionDescriptor::setBatchNormalizationParametersForInference(const float* mean,
                                                                           const float* variance,
                                                                           const float* gamma,
                                                                           const float* beta,
                                                                           float epsilon) {
  folding_ = {};
  if (mean == nullptr && variance == nullptr && gamma == nullptr && beta == nullptr) return;
  for (std::size_t k = 0; k < output_channels_; ++k) {
    const float spread = variance != nullptr ? std::sqrt(variance[k] + epsilon) : 1.0F;
    const float factor = (gamma != nullptr ? gamma[k] : 1.0F) / spread;
    folding_.factor.push_back(factor);
    folding_.addend.push_back((beta != nullptr ? beta[k] : 0.0F) -
                              factor * (mean != nullptr ? mean[k] : 0.0F));
  }
}
void CNNConvolutionDescriptor::setNeuronType(CNNNeuronType neuronType, float parameterA,
                                             float parameterB) {
  if (neuronType == CNNNeuronType::PReLU) {
    fail({"CNNConvolutionDescriptor", "", "neuronType", "PReLU", "a neuron with shared parameters",
          "Use setNeuronToPReLUWithParametersA."});
  }
  setFusedNeuronDescriptor(
      NNNeuronDescriptor::cnnNeuronDescriptor(neuronType, parameterA, parameterB));
}
void CNNConvolutionDescriptor::setNeuronToPReLUWithParametersA(std::span<const float> a) {
  setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronPReLUDescriptor(a));
}

// ---- states
// --------------------------------------------------------------------------------------

namespace {

StateResourceList two_buffers(std::size_t weights, std::size_t biases) {
  StateResourceList list;
  list.appendBuffer(weights * sizeof(float));
  list.appendBuffer(biases * sizeof(float));
  return list;
}

}  // namespace

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(Buffer weights,
                                                                         Buffer biases)
    : State(biases ? std::vector<Buffer>{weights, biases} : std::vector<Buffer>{weights}),
      weight_count_(weights.length() / sizeof(float)),
      bias_count_(biases ? biases.length() / sizeof(float) : 0),
      has_biases_(static_cast<bool>(biases)) {}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    const detail::StateOrigin& origin, std::size_t weights, std::size_t biases)
    : State(origin, two_buffers(weights, biases)),
      weight_count_(weights),
      bias_count_(biases),
      has_biases_(biases != 0) {}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    const Device& device, const CNNConvolutionDescriptor& cnnConvolutionDescriptor)
    : CNNConvolutionWeightsAndBiasesState(
          detail::StateOrigin::permanent(device),
          ConvolutionShape::of(cnnConvolutionDescriptor, "CNNConvolutionWeightsAndBiasesState", "")
              ->weight_count(),
          cnnConvolutionDescriptor.outputFeatureChannels()) {}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    Buffer weights, std::size_t weightsOffset, Buffer biases, std::size_t biasesOffset,
    const CNNConvolutionDescriptor& cnnConvolutionDescriptor)
    : CNNConvolutionWeightsAndBiasesState(weights, biases) {
  const auto shape = ConvolutionShape::of(cnnConvolutionDescriptor, class_name(), "");
  weights_offset_ = weightsOffset;
  biases_offset_ = biasesOffset;
  weight_count_ = shape->weight_count();
  if (biases) bias_count_ = shape->outputs;
  const auto fits = [&](const char* argument, const Buffer& buffer, std::size_t offset,
                        std::size_t count) {
    if (offset % 4 == 0 && offset + count * sizeof(float) <= buffer.length()) return;
    fail({class_name(), "", argument,
          std::to_string(buffer.length()) + " bytes, used from " + std::to_string(offset),
          std::to_string(count * sizeof(float)) + " bytes from an offset that is a multiple of 4",
          ""});
  };
  fits("weights", weights, weightsOffset, weight_count_);
  if (biases) fits("biases", biases, biasesOffset, bias_count_);
}

std::shared_ptr<CNNConvolutionWeightsAndBiasesState>
CNNConvolutionWeightsAndBiasesState::temporaryCNNConvolutionWeightsAndBiasesState(
    const CommandBuffer& commandBuffer, const CNNConvolutionDescriptor& cnnConvolutionDescriptor) {
  const auto shape =
      ConvolutionShape::of(cnnConvolutionDescriptor, "CNNConvolutionWeightsAndBiasesState", "");
  return std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      detail::StateOrigin::temporary(commandBuffer), shape->weight_count(), shape->outputs);
}

CNNConvolutionGradientState::CNNConvolutionGradientState(const detail::StateOrigin& origin,
                                                         const CNNConvolution& convolution)
    : CNNConvolutionGradientState(origin, &convolution,
                                  convolution.parameters()->weights.length() / sizeof(float),
                                  convolution.outputFeatureChannels()) {}
CNNConvolutionGradientState::CNNConvolutionGradientState(const detail::StateOrigin& origin,
                                                         const CNNConvolution* convolution,
                                                         std::size_t weights, std::size_t biases)
    : NNGradientState(origin),
      convolution_(convolution),
      weight_count_(weights),
      bias_count_(biases) {
  add_buffer(weight_count_ * sizeof(float));
  add_buffer(bias_count_ * sizeof(float));
  if (origin.recording != nullptr) {
    set_buffer(0, origin.make_buffer(weight_count_ * sizeof(float)));
    set_buffer(1, origin.make_buffer(bias_count_ * sizeof(float)));
  }
}

CNNConvolutionGradientState::Accumulator CNNConvolutionGradientState::begin_gradient() {
  const bool accumulate = written_;
  written_ = true;
  return {buffer(0, true), buffer(1, true), accumulate};
}

// ---- forward
// -------------------------------------------------------------------------------------

CNNConvolution::CNNConvolution(const Device& device,
                               std::shared_ptr<CNNConvolutionDataSource> weights)
    : KernelOf(device), source_(std::move(weights)) {
  if (!source_) complain("weights", "null", "a data source");
  const auto descriptor = source_->descriptor();
  setLabel(source_->label());
  shape_ = ConvolutionShape::of(*descriptor, "CNNConvolution", label());
  weights_ = ConvolutionWeights::load(device, *source_, *shape_, "CNNConvolution");
}

CNNConvolution::CNNConvolution(const Device& device,
                               const CNNConvolutionDescriptor& convolutionDescriptor,
                               const float* kernelWeights, const float* biasTerms,
                               CNNConvolutionFlags)
    : KernelOf(device), shape_(ConvolutionShape::of(convolutionDescriptor, "CNNConvolution", "")) {
  if (kernelWeights == nullptr)
    complain("kernelWeights", "null", std::to_string(shape_->weight_count()) + " floats");
  weights_ =
      ConvolutionWeights::make(device, {kernelWeights, kernelWeights + shape_->weight_count()},
                               biasTerms, *shape_, true, true);
}

void CNNConvolution::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("accumulatorPrecisionOption", accumulator_, NNConvolutionAccumulatorPrecisionOption::Float);
  auto shape = ConvolutionShape::code(coder, shape_, class_name());
  if (coder.is_reading()) shape_ = std::move(shape);
  detail::code_parameters(coder, *this, *shape_, source_, weights_, true);
  if (!weights_->weights) coder.refuse("weights", "missing", "values or a data source");
}
void CNNConvolution::move_to(const Device& device) {
  if (source_) {
    if (auto other = source_->copy(device)) source_ = std::move(other);
  }
  if (!(device == this->device())) weights_ = weights_->on(device);
  KernelOf::move_to(device);
}

std::shared_ptr<CNNNeuron> CNNConvolution::neuron() const {
  if (neuronType() == CNNNeuronType::None) return nullptr;
  return std::make_shared<CNNNeuron>(device(), fusedNeuronDescriptor());
}
std::size_t CNNConvolution::inputFeatureChannels() const { return shape_->inputs; }
std::size_t CNNConvolution::outputFeatureChannels() const { return shape_->outputs; }
std::size_t CNNConvolution::groups() const { return shape_->groups; }
std::size_t CNNConvolution::subPixelScaleFactor() const { return shape_->subPixels; }
std::size_t CNNConvolution::channelMultiplier() const { return shape_->multiplier; }
const NNNeuronDescriptor& CNNConvolution::fusedNeuronDescriptor() const { return shape_->neuron; }
std::size_t CNNConvolution::kernelWidth() const { return shape_->kernelWidth; }
std::size_t CNNConvolution::kernelHeight() const { return shape_->kernelHeight; }
std::size_t CNNConvolution::strideInPixelsX() const { return shape_->strideX; }
std::size_t CNNConvolution::strideInPixelsY() const { return shape_->strideY; }
std::size_t CNNConvolution::dilationRateX() const { return shape_->dilationX; }
std::size_t CNNConvolution::dilationRateY() const { return shape_->dilationY; }

CNNKernel::Channels CNNConvolution::channels(std::size_t) const {
  return {shape_->inputs, shape_->outputs / (shape_->subPixels * shape_->subPixels)};
}
void CNNConvolution::adjust(ImageDescriptor& descriptor, std::span<const Image>) {
  descriptor.width *= shape_->subPixels;
  descriptor.height *= shape_->subPixels;
}

Window CNNConvolution::window() const { return shape_->window(edgeMode(), offset()); }

void CNNConvolution::record(detail::UnaryEncoding& e) const {
  Convolution op;
  op.window = window();
  op.groups = static_cast<std::int32_t>(shape_->operator_groups());
  op.activation = shape_->neuron.activation();
  op.reducedPrecision = has(options(), KernelOptions::AllowReducedPrecision) ? 1 : 0;
  const TensorDesc flat = flat_desc(static_cast<std::int64_t>(shape_->outputs));
  const auto encode_into = [&](const TensorView& result) {
    const std::array slots{e.source, weights_->master(e.recording, shape_->weights_desc()),
                           detail::view_of(e.recording, weights_->biases, flat),
                           detail::view_of(e.recording, weights_->slopes, flat), result};
    detail::encode(e.recording, memo_, view_of(op), slots,
                   {.late = ConvolutionWeights::late(Convolution::weights, weights_)});
  };
  if (shape_->subPixels == 1) {
    encode_into(e.destination);
    return;
  }
  const auto r = static_cast<std::int32_t>(shape_->subPixels);
  const TensorDesc& to = e.destination.desc;
  const detail::ScratchTensor all(e.recording,
                                  dense_desc(to.n, (to.h + r - 1) / r, (to.w + r - 1) / r,
                                             static_cast<std::int32_t>(shape_->outputs)));
  encode_into(all.view);
  detail::encode(e.recording, sub_pixel_memo_, SubPixel{r}, {all.view, e.destination});
}

StatePtr CNNConvolution::make_state(const detail::StateOrigin& origin, const Image&,
                                    const Image&) const {
  return std::make_shared<CNNConvolutionGradientState>(origin, *this);
}

void CNNConvolution::reloadWeightsAndBiasesFromDataSource() {
  if (!source_) complain("dataSource", "absent", "a kernel made from a data source");
  weights_ = ConvolutionWeights::load(device(), *source_, *shape_, class_name());
}
void CNNConvolution::reloadWeightsAndBiases(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state) {
  detail::reload_from_state(weights_, *this, commandBuffer, state, *shape_);
}

std::shared_ptr<CNNConvolutionWeightsAndBiasesState> CNNConvolution::exportWeightsAndBiases(
    const CommandBuffer& commandBuffer, bool resultStateCanBeTemporary) const {
  return weights_->exported(commandBuffer, *shape_, resultStateCanBeTemporary);
}

// ---- gradients
// -----------------------------------------------------------------------------------

CNNConvolutionGradient::CNNConvolutionGradient(const Device& device,
                                               std::shared_ptr<CNNConvolutionDataSource> weights)
    : KernelOf(device), source_(std::move(weights)) {
  if (!source_) complain("weights", "null", "a data source");
  const auto descriptor = source_->descriptor();
  setLabel(source_->label());
  shape_ = ConvolutionShape::of(*descriptor, "CNNConvolutionGradient", label());
  shape_->refuse_sub_pixels("CNNConvolutionGradient", label());
  weights_ = ConvolutionWeights::load(device, *source_, *shape_, "CNNConvolutionGradient");
  primary_.strideInPixelsX = secondary_.strideInPixelsX = shape_->strideX;
  primary_.strideInPixelsY = secondary_.strideInPixelsY = shape_->strideY;
  primary_.kernelWidth = secondary_.kernelWidth = shape_->kernelWidth;
  primary_.kernelHeight = secondary_.kernelHeight = shape_->kernelHeight;
  primary_.dilationRateX = secondary_.dilationRateX = shape_->dilationX;
  primary_.dilationRateY = secondary_.dilationRateY = shape_->dilationY;
}

void CNNConvolutionGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  detail::code_gradient_option(coder, option_);
  coder("serializeWeightsAndBiases", serialize_);
  coder("clamp_gradient_drops_edge", drops_edge_);
  auto shape = ConvolutionShape::code(coder, shape_, class_name());
  if (coder.is_reading()) shape_ = std::move(shape);
  detail::code_parameters(coder, *this, *shape_, source_, weights_, serialize_);
}
void CNNConvolutionGradient::move_to(const Device& device) {
  if (source_) {
    if (auto other = source_->copy(device)) source_ = std::move(other);
  }
  if (!(device == this->device())) weights_ = weights_->on(device);
  KernelOf::move_to(device);
}

std::size_t CNNConvolutionGradient::sourceGradientFeatureChannels() const {
  return shape_->outputs;
}
std::size_t CNNConvolutionGradient::sourceImageFeatureChannels() const { return shape_->inputs; }
std::size_t CNNConvolutionGradient::groups() const { return shape_->groups; }
std::size_t CNNConvolutionGradient::channelMultiplier() const { return shape_->multiplier; }

CNNBinaryKernel::Channels CNNConvolutionGradient::channels(std::size_t, std::size_t) const {
  return {shape_->outputs, shape_->inputs, shape_->inputs};
}

void CNNConvolutionGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  const auto window_x =
      static_cast<std::ptrdiff_t>((shape_->kernelWidth - 1) * shape_->dilationX + 1);
  const auto window_y =
      static_cast<std::ptrdiff_t>((shape_->kernelHeight - 1) * shape_->dilationY + 1);
  primary_.offset = {};
  setKernelOffsetX(-forward.offset.x + (window_x % 2 == 0 ? 1 : 0));
  setKernelOffsetY(-forward.offset.y + (window_y % 2 == 0 ? 1 : 0));
  secondary_.offset = {forward.offset.x - window_x / 2, forward.offset.y - window_y / 2, 0};
}

// The data gradient reads the zero-stuffed gradient at u + T - floor(K/2) + q*d with rotated
// weights (spec: convolution 7.3), T = primaryOffset*stride + kernelOffset; as a forward window
// that is an offset of (K even) - T.
Window CNNConvolutionGradient::data_window() const {
  const auto forward_offset = [](std::size_t taps, std::size_t dilation, std::ptrdiff_t primary,
                                 std::size_t stride, std::ptrdiff_t kernel) {
    const std::ptrdiff_t even = ((taps - 1) * dilation + 1) % 2 == 0 ? 1 : 0;
    return even - (primary * static_cast<std::ptrdiff_t>(stride) + kernel);
  };
  // Zeros outside the source have no gradient.
  const ImageEdgeMode edge = drops_edge_ ? ImageEdgeMode::Zero : secondary_.edgeMode;
  return shape_->window(edge, {forward_offset(shape_->kernelWidth, shape_->dilationX,
                                              primary_.offset.x, shape_->strideX, kernelOffsetX()),
                               forward_offset(shape_->kernelHeight, shape_->dilationY,
                                              primary_.offset.y, shape_->strideY, kernelOffsetY()),
                               0});
}

Window CNNConvolutionGradient::weights_window() const {
  Window window = shape_->window(secondary_.edgeMode);
  window.padLeft = static_cast<std::int32_t>(-secondary_.offset.x);
  window.padTop = static_cast<std::int32_t>(-secondary_.offset.y);
  return window;
}

void CNNConvolutionGradient::check(const Image& gradient, const Image& source,
                                   const Image& destination, const State* state,
                                   std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const char* remedy =
      "Encode the backward pass with the state returned by the matching forward encode.";
  if (computes(1) && !weights_->weights) {
    complain("the weights", "absent: the archive held none", "weights",
             "Reload them, or archive with serializeWeightsAndBiases.");
  }
  const auto* own = dynamic_cast<const CNNConvolutionGradientState*>(state);
  if (own != nullptr) {
    const ForwardRecord& f = own->forward();
    const std::size_t w = std::min(f.clipRect.size.width, f.destinationWidth - f.clipRect.origin.x);
    const std::size_t h =
        std::min(f.clipRect.size.height, f.destinationHeight - f.clipRect.origin.y);
    const bool larger = gradient.width() != w || gradient.height() != h;
    if (larger &&
        (computes(2) || primaryOffset() == Offset{})) {  // sums over pixels that were not written
      complain("sourceGradient",
               std::to_string(gradient.width()) + "x" + std::to_string(gradient.height()),
               std::to_string(w) + "x" + std::to_string(h) + ", the size of the forward clipRect",
               remedy);
    }
  }
  if (own == nullptr && (state != nullptr || computes(2))) {
    complain("gradientState", state == nullptr ? "absent" : "of another kind",
             "a CNNConvolutionGradientState", remedy);
  }
  if (own != nullptr &&
      (own->weight_count() != shape_->weight_count() || own->bias_count() != shape_->outputs)) {
    complain("gradientState",
             "for " + std::to_string(own->weight_count()) + " weights and " +
                 std::to_string(own->bias_count()) + " biases",
             std::to_string(shape_->weight_count()) + " and " + std::to_string(shape_->outputs),
             remedy);
  }
}

void CNNConvolutionGradient::record(detail::BinaryEncoding& e) const {
  const TensorDesc master = shape_->weights_desc();
  Convolution forward;
  forward.groups = static_cast<std::int32_t>(shape_->operator_groups());
  forward.reducedPrecision = has(options(), KernelOptions::AllowReducedPrecision) ? 1 : 0;
  if (computes(1)) {
    ConvolutionGradientData op{forward};
    op.forward.window = data_window();
    const std::array slots{e.primary, weights_->master(e.recording, master), e.destination};
    detail::encode(e.recording, memo_, view_of(op), slots,
                   {.late = ConvolutionWeights::late(ConvolutionGradientData::weights, weights_)});
  }
  if (computes(2)) {
    auto& state = static_cast<CNNConvolutionGradientState&>(*(*e.states)[0]);
    const auto [weights, biases, accumulate] = state.begin_gradient();
    ConvolutionGradientWeights op{forward};
    op.forward.window = weights_window();
    op.accumulate = accumulate ? 1 : 0;
    detail::encode(e.recording, weights_memo_, op,
                   {e.primary, e.secondary, detail::view_of(e.recording, weights, master),
                    detail::view_of(e.recording, biases,
                                    flat_desc(static_cast<std::int64_t>(shape_->outputs)))});
  }
}

void CNNConvolutionGradient::reloadWeightsAndBiasesFromDataSource() {
  if (!source_) complain("dataSource", "absent", "a kernel made from a data source");
  weights_ = ConvolutionWeights::load(device(), *source_, *shape_, class_name());
}
void CNNConvolutionGradient::reloadWeightsAndBiases(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state) {
  detail::reload_from_state(weights_, *this, commandBuffer, state, *shape_);
}

void CNNConvolutionGradient::reload_shared(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state) {
  detail::reload_from_state(weights_, *this, commandBuffer, state, *shape_, true);
}

// ---- fully connected
// -----------------------------------------------------------------------------

CNNFullyConnected::CNNFullyConnected(const Device& device,
                                     std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNConvolution(device, std::move(weights)) {
  shape_->refuse_sub_pixels(class_name(), label());
  setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
}
CNNFullyConnected::CNNFullyConnected(const Device& device,
                                     const CNNConvolutionDescriptor& convolutionDescriptor,
                                     const float* kernelWeights, const float* biasTerms,
                                     CNNConvolutionFlags flags)
    : CNNConvolution(device, convolutionDescriptor, kernelWeights, biasTerms, flags) {
  shape_->refuse_sub_pixels(class_name(), label());
  setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
}

void CNNFullyConnected::check(const Image& source, const Image& destination, std::size_t) const {
  detail::check_fully_connected(*this, groups(), source, destination, "CNNConvolution");
}

Window CNNFullyConnected::window() const { return shape_->window(edgeMode()); }

CNNFullyConnectedGradient::CNNFullyConnectedGradient(
    const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNConvolutionGradient(device, std::move(weights)) {}
Window CNNFullyConnectedGradient::data_window() const {
  return shape_->window(ImageEdgeMode::Zero);
}
Window CNNFullyConnectedGradient::weights_window() const {
  return shape_->window(ImageEdgeMode::Zero);
}

}  // namespace cermet
