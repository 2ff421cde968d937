#include "cermet/cnn/convolution_transpose.h"

#include "cermet/core/coder.h"
#include "cermet/ops/copy.h"
#include "cnn/channel_arrays.h"
#include "cnn/convolution_weights.h"
#include "cnn/written_region.h"

namespace cermet {

using detail::ConvolutionShape;
using detail::ConvolutionWeights;
using TransposeState = CNNConvolutionTransposeGradientState;

namespace {

const char* const state_remedy =
    "Encode the backward pass with the state returned by the matching forward encode.";

std::ptrdiff_t extent(std::size_t taps, std::size_t dilation) {
  return static_cast<std::ptrdiff_t>((taps - 1) * dilation + 1);
}

/// Where a transposed convolution puts source pixel (0, 0) in the expanded image when it undoes
/// that forward encode: it visits the pairs of pixels that the encode's data gradient visits.
Offset offset_that_undoes(const ForwardRecord& f) {
  const auto along = [](std::ptrdiff_t offset, std::size_t taps, std::size_t dilation) {
    return -offset + (extent(taps, dilation) % 2 == 0 ? 1 : 0);
  };
  return {along(f.offset.x, f.kernelWidth, f.dilationRateX),
          along(f.offset.y, f.kernelHeight, f.dilationRateY), 0};
}

/// The windows of the adjoint convolution, from the result of the transposed one to its source.
Window adjoint_window(const ConvolutionShape& shape, Offset expanded) {
  const auto pad = [](std::size_t taps, std::size_t dilation, std::ptrdiff_t offset) {
    const std::ptrdiff_t d = extent(taps, dilation);
    return static_cast<std::int32_t>(d - 1 - d / 2 + offset);
  };
  Window window = shape.window(ImageEdgeMode::Zero);
  window.padLeft = pad(shape.kernelWidth, shape.dilationX, expanded.x);
  window.padTop = pad(shape.kernelHeight, shape.dilationY, expanded.y);
  return window;
}

Convolution adjoint_operator(const Kernel& kernel, const ConvolutionShape& shape, Window window) {
  Convolution op;
  op.window = window;
  op.groups = static_cast<std::int32_t>(shape.groups);
  op.reducedPrecision = has(kernel.options(), KernelOptions::AllowReducedPrecision) ? 1 : 0;
  return op;
}

std::shared_ptr<CNNConvolutionDataSource> checked(std::shared_ptr<CNNConvolutionDataSource> source,
                                                  std::string_view kernel) {
  if (!source) fail({kernel, "", "weights", "null", "a data source", ""});
  return source;
}

/// Shape and weights of a kernel that is made from a data source.
std::shared_ptr<const ConvolutionShape> shape_of(CNNConvolutionDataSource& source,
                                                 std::string_view kernel) {
  return ConvolutionShape::transpose_of(
      ConvolutionShape::of(*source.descriptor(), kernel, source.label()), kernel, source.label());
}

/// Of an archive, to write or to read.
void code_kernel(Coder& coder, const Kernel& kernel, std::shared_ptr<const ConvolutionShape>& shape,
                 std::shared_ptr<CNNConvolutionDataSource>& source,
                 std::shared_ptr<ConvolutionWeights>& weights) {
  auto read = ConvolutionShape::code(coder, shape, kernel.class_name());
  if (coder.is_reading()) {
    if (read->multiplier != 0) coder.refuse("descriptor", "depthwise", "a plain one");
    shape = ConvolutionShape::transpose_of(read, kernel.class_name(), kernel.label());
  }
  detail::code_parameters(coder, kernel, *shape, source, weights, true);
  if (!weights->weights) coder.refuse("weights", "missing", "values or a data source");
}

/// Holds the partner of an encode for its time.
class Undoing {
 public:
  Undoing(std::shared_ptr<CNNConvolutionGradientState>& place,
          std::shared_ptr<CNNConvolutionGradientState> partner)
      : place_(place) {
    place_ = std::move(partner);
  }
  ~Undoing() { place_ = nullptr; }
  Undoing(const Undoing&) = delete;
  Undoing& operator=(const Undoing&) = delete;

 private:
  std::shared_ptr<CNNConvolutionGradientState>& place_;
};

void move_parameters(const Kernel& kernel, const Device& device,
                     std::shared_ptr<CNNConvolutionDataSource>& source,
                     std::shared_ptr<ConvolutionWeights>& weights) {
  if (source) {
    if (auto other = source->copy(device)) source = std::move(other);
  }
  if (!(device == kernel.device())) weights = weights->on(device);
}

}  // namespace

// ---- state --------------------------------------------------------------------------------------

CNNConvolutionTransposeGradientState::CNNConvolutionTransposeGradientState(
    const detail::StateOrigin& origin, const CNNConvolutionTranspose& transpose)
    : CNNConvolutionGradientState(origin, nullptr, transpose.weight_count(),
                                  transpose.outputFeatureChannels()),
      transpose_(&transpose) {}

void CNNConvolutionTransposeGradientState::set_partner(
    std::shared_ptr<CNNConvolutionGradientState> partner) {
  partner_ = std::move(partner);
  set_convolution(partner_ ? partner_->convolution() : nullptr);
}

// Of the partner's class, and here because it is about this kernel.
ImageDescriptor CNNConvolutionGradientState::destinationImageDescriptor(
    std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
    const ImageDescriptor& suggestedDescriptor) {
  if (auto* transpose = dynamic_cast<CNNConvolutionTranspose*>(&kernel)) {
    const Offset offset = offset_that_undoes(forward());
    transpose->setOffset({});
    transpose->setKernelOffsetX(offset.x);
    transpose->setKernelOffsetY(offset.y);
  }
  return NNGradientState::destinationImageDescriptor(sourceImages, sourceStates, kernel,
                                                     suggestedDescriptor);
}

// ---- forward ------------------------------------------------------------------------------------

CNNConvolutionTranspose::CNNConvolutionTranspose(const Device& device,
                                                 std::shared_ptr<CNNConvolutionDataSource> weights)
    : Concrete(device), source_(checked(std::move(weights), "CNNConvolutionTranspose")) {
  setLabel(source_->label());
  shape_ = shape_of(*source_, class_name());
  weights_ = ConvolutionWeights::load(device, *source_, *shape_, class_name());
}

void CNNConvolutionTranspose::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("kernelOffsetX", kernel_offset_.x);
  coder("kernelOffsetY", kernel_offset_.y);
  coder("accumulatorPrecisionOption", accumulator_, NNConvolutionAccumulatorPrecisionOption::Float);
  code_kernel(coder, *this, shape_, source_, weights_);
}
void CNNConvolutionTranspose::move_to(const Device& device) {
  move_parameters(*this, device, source_, weights_);
  CNNKernel::move_to(device);
}

std::size_t CNNConvolutionTranspose::inputFeatureChannels() const { return shape_->inputs; }
std::size_t CNNConvolutionTranspose::outputFeatureChannels() const { return shape_->outputs; }
std::size_t CNNConvolutionTranspose::groups() const { return shape_->groups; }
std::size_t CNNConvolutionTranspose::kernelWidth() const { return shape_->kernelWidth; }
std::size_t CNNConvolutionTranspose::kernelHeight() const { return shape_->kernelHeight; }
std::size_t CNNConvolutionTranspose::strideInPixelsX() const { return shape_->strideX; }
std::size_t CNNConvolutionTranspose::strideInPixelsY() const { return shape_->strideY; }
std::size_t CNNConvolutionTranspose::dilationRateX() const { return shape_->dilationX; }
std::size_t CNNConvolutionTranspose::dilationRateY() const { return shape_->dilationY; }
std::size_t CNNConvolutionTranspose::weight_count() const { return shape_->weight_count(); }

CNNKernel::Channels CNNConvolutionTranspose::channels(std::size_t) const {
  return {shape_->inputs, shape_->outputs};
}

// What the policy says of windows is an offset in the expanded image (spec: convolution 8, 5).
void CNNConvolutionTranspose::adjust(ImageDescriptor&, std::span<const Image>) {
  kernel_offset_ = offset();
  setOffset({});
}

StatePtr CNNConvolutionTranspose::make_state(const detail::StateOrigin& origin, const Image&,
                                             const Image&) const {
  return std::make_shared<TransposeState>(origin, *this);
}

void CNNConvolutionTranspose::record(detail::UnaryEncoding& e) const {
  TransposeState* state = nullptr;
  if (e.states != nullptr) {
    state = dynamic_cast<TransposeState*>((*e.states)[0].get());
    if (state == nullptr || state->weight_count() != shape_->weight_count()) {
      complain("destinationState", state == nullptr ? "of another kind" : "of another kernel",
               "a CNNConvolutionTransposeGradientState of this kernel",
               "Use the state that resultState makes.");
    }
  }
  const auto partner = partner_ ? partner_ : state != nullptr ? state->partner() : nullptr;
  Offset expanded{offset().x * static_cast<std::ptrdiff_t>(shape_->strideX) + kernel_offset_.x,
                  offset().y * static_cast<std::ptrdiff_t>(shape_->strideY) + kernel_offset_.y, 0};
  if (partner) {
    partner->check_usable(e.recording);
    expanded = offset_that_undoes(partner->forward());
  }
  if (state != nullptr) state->set_expanded_offset(expanded);

  ConvolutionGradientData op;
  op.forward = adjoint_operator(*this, *shape_, adjoint_window(*shape_, expanded));
  const Activation activation = shape_->neuron.activation();
  const bool more = weights_->biases || activation.type != CNNNeuronType::None;
  std::optional<detail::ScratchTensor> products;  // float32, rounded once
  if (more && e.destination.desc.type != ElementType::float32) {
    TensorDesc desc = e.destination.desc;
    desc.type = ElementType::float32;
    products.emplace(e.recording, desc);
  }
  const TensorView result = products ? products->view : e.destination;
  const std::array slots{
      e.source, weights_->adjoint->master(e.recording, shape_->adjoint().weights_desc()), result};
  detail::encode(
      e.recording, memo_, view_of(op), slots,
      {.late = ConvolutionWeights::late_adjoint(ConvolutionGradientData::weights, weights_)});
  if (more) {
    ConvolutionTransposeBias last;
    last.activation = activation;
    const TensorDesc flat = detail::channel_desc(shape_->outputs);
    detail::encode(e.recording, bias_memo_, last,
                   {result, detail::view_of(e.recording, weights_->biases, flat),
                    detail::view_of(e.recording, weights_->slopes, flat), e.destination});
  }
  if (partner) partner->consume(e.recording);
}

std::shared_ptr<CNNConvolutionGradientState> CNNConvolutionTranspose::partner_of(
    const StateBatch& convolutionGradientStates, std::size_t images) const {
  if (convolutionGradientStates.empty()) return nullptr;
  if (convolutionGradientStates.size() != images) {
    complain("convolutionGradientStates",
             std::to_string(convolutionGradientStates.size()) + " of them",
             std::to_string(images) + ", as many as images");
  }
  auto partner = convolutionGradientStates.at<CNNConvolutionGradientState>(0);
  if (!partner || dynamic_cast<TransposeState*>(partner.get()) != nullptr) {
    complain("convolutionGradientState", "of another kind", "a CNNConvolutionGradientState",
             "Pass the state of the convolution that is undone.");
  }
  return partner;
}

Image CNNConvolutionTranspose::encode(
    const CommandBuffer& commandBuffer, const Image& sourceImage,
    const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState) {
  return encode(commandBuffer, sourceImage, convolutionGradientState,
                static_cast<StatePtr*>(nullptr), true);
}
ImageBatch CNNConvolutionTranspose::encodeBatch(const CommandBuffer& commandBuffer,
                                                const ImageBatch& sourceImages,
                                                const StateBatch& convolutionGradientStates) {
  return encodeBatch(commandBuffer, sourceImages, convolutionGradientStates, nullptr, true);
}

void CNNConvolutionTranspose::encode(
    const CommandBuffer& commandBuffer, const Image& sourceImage,
    const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
    const Image& destinationImage) const {
  if (!convolutionGradientState || dynamic_cast<TransposeState*>(convolutionGradientState.get())) {
    CNNKernel::encode(commandBuffer, sourceImage, StatePtr(convolutionGradientState),
                      destinationImage);
    return;
  }
  const Undoing undoing(partner_, convolutionGradientState);
  CNNKernel::encode(commandBuffer, sourceImage, destinationImage);
}
void CNNConvolutionTranspose::encode(
    const CommandBuffer& commandBuffer, const Image& sourceImage,
    const std::shared_ptr<CNNConvolutionTransposeGradientState>& destinationState,
    const Image& destinationImage) const {
  CNNKernel::encode(commandBuffer, sourceImage, StatePtr(destinationState), destinationImage);
}

void CNNConvolutionTranspose::encodeBatch(const CommandBuffer& commandBuffer,
                                          const ImageBatch& sourceImages, const StateBatch& states,
                                          const ImageBatch& destinationImages) const {
  if (states.empty() || states.at<TransposeState>(0)) {
    CNNKernel::encodeBatch(commandBuffer, sourceImages, states, destinationImages);
    return;
  }
  const Undoing undoing(partner_, partner_of(states, sourceImages.size()));
  CNNKernel::encodeBatch(commandBuffer, sourceImages, destinationImages);
}

ImageBatch CNNConvolutionTranspose::encodeBatch(const CommandBuffer& commandBuffer,
                                                const ImageBatch& sourceImages,
                                                const StateBatch& convolutionGradientStates,
                                                StateBatch* destinationStates,
                                                bool destinationStateIsTemporary) {
  if (destinationStates != nullptr) *destinationStates = {};
  if (sourceImages.empty()) return {};
  const Image first = sourceImages.front();
  const std::vector<StatePtr> partner = [&]() -> std::vector<StatePtr> {
    if (auto state = partner_of(convolutionGradientStates, sourceImages.size())) return {state};
    return {};
  }();
  ImageDescriptor descriptor = destinationImageDescriptor({&first, 1}, partner);
  ImageBatch destinations = destinationImageAllocator()->imageBatch(commandBuffer, descriptor,
                                                                    *this, sourceImages.size());
  if (destinationStates == nullptr) {
    encodeBatch(commandBuffer, sourceImages, convolutionGradientStates, destinations);
    return destinations;
  }
  const std::vector<StateBatch> sources = convolutionGradientStates.empty()
                                              ? std::vector<StateBatch>()
                                              : std::vector{convolutionGradientStates};
  StateBatch states =
      destinationStateIsTemporary
          ? temporaryResultStateBatch(commandBuffer, sourceImages, sources, destinations)
          : resultStateBatch(sourceImages, sources, destinations);
  encodeBatch(commandBuffer, sourceImages, states, destinations);
  *destinationStates = std::move(states);
  return destinations;
}

StateBatch CNNConvolutionTranspose::with_partner(StateBatch states,
                                                 std::span<const StateBatch> sourceStates) const {
  if (sourceStates.empty() || sourceStates[0].empty() || states.empty()) return states;
  auto partner = partner_of(sourceStates[0], states.size());
  states.at<TransposeState>(0)->set_partner(std::move(partner));
  return states;
}

namespace {

std::vector<StateBatch> batches_of(std::span<const StatePtr> states) {
  std::vector<StateBatch> batches;
  for (const StatePtr& state : states) {
    if (state) batches.push_back(StateBatch::repeated(state, 1));
  }
  return batches;
}

}  // namespace

StatePtr CNNConvolutionTranspose::resultState(const Image& sourceImage,
                                              std::span<const StatePtr> sourceStates,
                                              const Image& destinationImage) const {
  return resultStateBatch({sourceImage}, batches_of(sourceStates), {destinationImage})[0];
}
StatePtr CNNConvolutionTranspose::temporaryResultState(const CommandBuffer& commandBuffer,
                                                       const Image& sourceImage,
                                                       std::span<const StatePtr> sourceStates,
                                                       const Image& destinationImage) const {
  return temporaryResultStateBatch(commandBuffer, {sourceImage}, batches_of(sourceStates),
                                   {destinationImage})[0];
}
StateBatch CNNConvolutionTranspose::resultStateBatch(const ImageBatch& sourceImages,
                                                     std::span<const StateBatch> sourceStates,
                                                     const ImageBatch& destinationImages) const {
  return with_partner(CNNKernel::resultStateBatch(sourceImages, {}, destinationImages),
                      sourceStates);
}
StateBatch CNNConvolutionTranspose::temporaryResultStateBatch(
    const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
    std::span<const StateBatch> sourceStates, const ImageBatch& destinationImages) const {
  return with_partner(
      CNNKernel::temporaryResultStateBatch(commandBuffer, sourceImages, {}, destinationImages),
      sourceStates);
}

void CNNConvolutionTranspose::reloadWeightsAndBiasesFromDataSource() {
  if (!source_) complain("dataSource", "absent", "a kernel made from a data source");
  weights_ = ConvolutionWeights::load(device(), *source_, *shape_, class_name());
}
void CNNConvolutionTranspose::reloadWeightsAndBiases(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state) {
  detail::reload_from_state(weights_, *this, commandBuffer, state, *shape_);
}
std::shared_ptr<CNNConvolutionWeightsAndBiasesState>
CNNConvolutionTranspose::exportWeightsAndBiases(const CommandBuffer& commandBuffer,
                                                bool resultStateCanBeTemporary) const {
  return weights_->exported(commandBuffer, *shape_, resultStateCanBeTemporary);
}

// ---- gradient -----------------------------------------------------------------------------------

CNNConvolutionTransposeGradient::CNNConvolutionTransposeGradient(
    const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights)
    : Concrete(device), source_(checked(std::move(weights), "CNNConvolutionTransposeGradient")) {
  setLabel(source_->label());
  shape_ = shape_of(*source_, class_name());
  weights_ = ConvolutionWeights::load(device, *source_, *shape_, class_name());
}

void CNNConvolutionTransposeGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  detail::code_gradient_option(coder, option_);
  code_kernel(coder, *this, shape_, source_, weights_);
}
void CNNConvolutionTransposeGradient::move_to(const Device& device) {
  move_parameters(*this, device, source_, weights_);
  CNNGradientKernel::move_to(device);
}

std::size_t CNNConvolutionTransposeGradient::sourceGradientFeatureChannels() const {
  return shape_->outputs;
}
std::size_t CNNConvolutionTransposeGradient::sourceImageFeatureChannels() const {
  return shape_->inputs;
}
std::size_t CNNConvolutionTransposeGradient::groups() const { return shape_->groups; }

void CNNConvolutionTransposeGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  primary_.offset = {static_cast<std::ptrdiff_t>(forward.clipRect.origin.x),
                     static_cast<std::ptrdiff_t>(forward.clipRect.origin.y), 0};
}

CNNBinaryKernel::Channels CNNConvolutionTransposeGradient::channels(std::size_t,
                                                                    std::size_t) const {
  return {shape_->outputs, shape_->inputs, shape_->inputs};
}

void CNNConvolutionTransposeGradient::check(const Image& gradient, const Image& source,
                                            const Image& destination, const State* state,
                                            std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const auto* own = dynamic_cast<const TransposeState*>(state);
  if (own == nullptr) {
    complain("gradientState", state == nullptr ? "absent" : "of another kind",
             "a CNNConvolutionTransposeGradientState", state_remedy);
  }
  if (own->weight_count() != shape_->weight_count() || own->bias_count() != shape_->outputs) {
    complain("gradientState",
             "for " + std::to_string(own->weight_count()) + " weights and " +
                 std::to_string(own->bias_count()) + " biases",
             std::to_string(shape_->weight_count()) + " and " + std::to_string(shape_->outputs),
             state_remedy);
  }
}

void CNNConvolutionTransposeGradient::record(detail::BinaryEncoding& e) const {
  auto& state = static_cast<TransposeState&>(*(*e.states)[0]);
  const detail::WrittenRegion written(e.primary, primaryOffset(), &state.forward());
  const Window window = adjoint_window(*shape_, state.expanded_offset());
  const TensorDesc adjoint = shape_->adjoint().weights_desc();
  if (computes(1)) {
    Convolution op = adjoint_operator(*this, *shape_, window);
    const Offset to = secondaryOffset();
    op.window.padLeft -= static_cast<std::int32_t>(to.x) * op.window.strideX;
    op.window.padTop -= static_cast<std::int32_t>(to.y) * op.window.strideY;
    const std::array<TensorView, 5> slots{
        written.view, weights_->adjoint->master(e.recording, adjoint), {}, {}, e.destination};
    detail::encode(e.recording, data_memo_, view_of(op), slots,
                   {.late = ConvolutionWeights::late_adjoint(Convolution::weights, weights_)});
  }
  if (!computes(2)) return;
  const auto [weights, biases, accumulate] = state.begin_gradient();
  const detail::ScratchTensor rotated(e.recording, adjoint);
  ConvolutionGradientWeights op;
  op.forward = adjoint_operator(*this, *shape_, window);
  detail::encode(e.recording, weights_memo_, op, {e.secondary, written.view, rotated.view, {}});
  ConvolutionAdjointWeights back;
  back.groups = static_cast<std::int32_t>(shape_->groups);
  back.accumulate = accumulate ? 1 : 0;
  detail::encode(e.recording, adjoint_memo_, back,
                 {rotated.view, detail::view_of(e.recording, weights, shape_->weights_desc())});
  ConvolutionTransposeGradientBias bias;
  bias.accumulate = back.accumulate;
  detail::encode(
      e.recording, bias_memo_, bias,
      {written.view, detail::view_of(e.recording, biases, detail::channel_desc(shape_->outputs))});
}

void CNNConvolutionTransposeGradient::reloadWeightsAndBiasesFromDataSource() {
  if (!source_) complain("dataSource", "absent", "a kernel made from a data source");
  weights_ = ConvolutionWeights::load(device(), *source_, *shape_, class_name());
}
void CNNConvolutionTransposeGradient::reloadWeightsAndBiases(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state) {
  detail::reload_from_state(weights_, *this, commandBuffer, state, *shape_);
}

}  // namespace cermet
