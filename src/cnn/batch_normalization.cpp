#include "cermet/cnn/batch_normalization.h"

#include <algorithm>
#include <cstring>

#include "cnn/channel_arrays.h"
#include "cnn/loaded.h"
#include "cnn/written_region.h"

namespace cermet {

using detail::Encode;
using detail::Operand;
using BNState = CNNBatchNormalizationState;

namespace {

const char* const state_remedy =
    "Use the state made by resultState of the layer's CNNBatchNormalization.";

constexpr std::initializer_list<BNState::Slot> all_slots = {
    BNState::gamma_slot, BNState::beta_slot, BNState::mean_slot, BNState::variance_slot};

Buffer slope_buffer(const Device& device, const NNNeuronDescriptor& neuron) {
  if (neuron.neuronType() != CNNNeuronType::PReLU) return {};
  return device.makeBuffer(neuron.data().data(), neuron.data().size() * sizeof(float));
}

void check_slopes(const Kernel& kernel, const NNNeuronDescriptor& neuron, std::size_t channels) {
  if (neuron.neuronType() != CNNNeuronType::PReLU || neuron.data().size() >= channels) return;
  fail({kernel.class_name(), kernel.label(), "fusedNeuronDescriptor",
        "PReLU with " + std::to_string(neuron.data().size()) + " slopes",
        std::to_string(channels) + ", one for each feature channel", ""});
}

std::size_t pixels(const ImageBatch& images) {
  return images.size() * images.front().width() * images.front().height();
}

/// The incoming gradient (zero where the forward encode wrote nothing) and the source image.
struct Inputs {
  Inputs(const CNNGradientKernel& kernel, detail::Recording& recording, const TensorView& g,
         const TensorView& x, std::int32_t width, std::int32_t height, const BNState& state)
      : written(g, kernel.primaryOffset(), &state.forward()),
        gradient(recording, written.view, written.offset, width, height, ImageEdgeMode::Zero),
        source(recording, x, kernel.secondaryOffset(), width, height, kernel.secondaryEdgeMode()) {}
  detail::WrittenRegion written;
  detail::AlignedSource gradient, source;
};

}  // namespace

// ---- states -------------------------------------------------------------------------------------

BNState::CNNBatchNormalizationState(const detail::StateOrigin& origin,
                                    const CNNBatchNormalization& kernel)
    : NNGradientState(origin),
      kernel_(&kernel),
      identity_(kernel.identity()),
      channels_(kernel.numberOfFeatureChannels()),
      epsilon_(kernel.epsilon()),
      initial_(kernel.values()) {
  for (std::size_t slot = gamma_slot; slot <= sums_slot; ++slot) {
    const std::size_t bytes =
        slot == sums_slot ? (1 + 2 * channels_) * sizeof(double) : channels_ * sizeof(float);
    add_buffer(bytes);
    if (origin.recording != nullptr) set_buffer(slot, origin.make_buffer(bytes));
  }
}

bool BNState::belongs_to(const CNNBatchNormalization& kernel) const {
  return identity_ == kernel.identity();
}

Buffer BNState::value(Slot slot) {
  const Buffer& array = buffer(slot);
  const bool written = slot < mean_slot ? scale_written_ : statistics_written_;
  if (!written && !isTemporary()) {
    const auto values = initial_[slot].values<float>();
    array.copy_in(values.data(), channels_ * sizeof(float));
  }
  return array;
}

TensorView BNState::view(detail::Recording& recording, Slot slot) {
  const auto count = static_cast<std::int64_t>(channels_);
  const TensorDesc desc =
      slot == sums_slot ? flat_desc((1 + 2 * count) * 8, ElementType::uint8) : flat_desc(count);
  return detail::view_of(recording, buffer(slot), desc);
}

void BNState::copy(detail::Recording& recording, const Values& values, Slot slot) {
  detail::copy_channels(recording, values[slot], buffer(slot), channels_);
}

void BNState::reset() {
  begun_ = has_statistics_ = statistics_were_used_ = has_gradient_ = gradient_is_current_ = false;
  gradient_restarts_ = true;
  samples_ = gradient_samples_ = 0;
}

bool BNState::begin_statistics(std::size_t samples) {
  const bool restart = statistics_were_used_ || !has_statistics_;
  if (restart) samples_ = 0;
  samples_ += samples;
  has_statistics_ = statistics_written_ = true;
  statistics_were_used_ = gradient_is_current_ = false;
  gradient_restarts_ = true;
  return restart;
}

void BNState::begin_normalization(detail::Recording& recording, const Values& values) {
  copy(recording, values, gamma_slot);
  copy(recording, values, beta_slot);
  if (has_statistics_) {
    statistics_were_used_ = true;
  } else {
    copy(recording, values, mean_slot);
    copy(recording, values, variance_slot);
  }
  begun_ = scale_written_ = statistics_written_ = true;
}

bool BNState::begin_gradient(detail::Recording& recording, std::size_t samples) {
  if (!begun_) begin_normalization(recording, initial_);
  const bool adds = !gradient_restarts_;
  if (!adds) gradient_samples_ = 0;
  gradient_samples_ += samples;
  has_gradient_ = gradient_is_current_ = true;
  gradient_restarts_ = false;
  return adds;
}

ImageDescriptor BNState::destinationImageDescriptor(std::span<const Image> sourceImages,
                                                    std::span<const StatePtr> sourceStates,
                                                    Kernel& kernel,
                                                    const ImageDescriptor& suggestedDescriptor) {
  const ImageDescriptor descriptor = NNGradientState::destinationImageDescriptor(
      sourceImages, sourceStates, kernel, suggestedDescriptor);
  detail::select_channels(kernel, channels_);
  return descriptor;
}

// ---- normalisation ------------------------------------------------------------------------------

CNNBatchNormalization::CNNBatchNormalization(
    const Device& device, std::shared_ptr<CNNBatchNormalizationDataSource> dataSource,
    const NNNeuronDescriptor& fusedNeuronDescriptor)
    : KernelOf(device),
      source_(std::move(dataSource)),
      identity_(std::make_shared<int>()),
      neuron_(fusedNeuronDescriptor),
      slopes_(slope_buffer(device, fusedNeuronDescriptor)) {
  op_.activation = neuron_.activation();
  load(all_slots);
}

CNNBatchNormalization::CNNBatchNormalization(Coder& coder, const Device& device)
    : KernelOf(device), identity_(std::make_shared<int>()) {
  read(coder);
}

void CNNBatchNormalization::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("numberOfFeatureChannels", channels_);
  coder("epsilon", op_.epsilon);
  coder("fusedNeuronDescriptor", neuron_);
  const bool reading = coder.is_reading();
  std::shared_ptr<CNNBatchNormalizationDataSource> source =
      source_ && source_->supportsSecureCoding() ? source_ : nullptr;
  coder("dataSource", source);
  if (reading) source_ = std::move(source);
  BNState::Values values = arrays_.values();
  for (const auto& [name, slot] : {std::pair{"gamma", Slot::gamma_slot},
                                   {"beta", Slot::beta_slot},
                                   {"mean", Slot::mean_slot},
                                   {"variance", Slot::variance_slot}})
    detail::code_channels(coder, device(), name, values[slot], channels_);
  if (!reading) return;
  arrays_.assign(std::move(values));
  if (channels_ == 0) coder.refuse("numberOfFeatureChannels", "0", "1 or more");
  op_.activation = neuron_.activation();
  check_slopes(*this, neuron_, channels_);
  slopes_ = slope_buffer(device(), neuron_);
}
void CNNBatchNormalization::move_to(const Device& device) {
  if (source_) {
    if (auto other = source_->copy(device)) source_ = std::move(other);
  }
  if (!(device == this->device())) {
    BNState::Values moved = arrays_.values();
    detail::move_channels(moved, device);
    arrays_.assign(std::move(moved));
    identity_ = std::make_shared<int>();  // states of the other device do not fit
    slopes_ = slope_buffer(device, neuron_);
  }
  KernelOf::move_to(device);
}

void CNNBatchNormalization::reloadDataSource(
    std::shared_ptr<CNNBatchNormalizationDataSource> dataSource) {
  CNNBatchNormalization fresh(*this);  // a failure leaves this kernel as it is
  fresh.source_ = std::move(dataSource);
  fresh.channels_ = 0;
  fresh.load(all_slots);
  *this = std::move(fresh);
}
void CNNBatchNormalization::reloadGammaAndBetaFromDataSource() {
  load({Slot::gamma_slot, Slot::beta_slot});
}
void CNNBatchNormalization::reloadMeanAndVarianceFromDataSource() {
  load({Slot::mean_slot, Slot::variance_slot});
}

void CNNBatchNormalization::load(std::initializer_list<Slot> slots) {
  if (!source_) complain("dataSource", "null", "a data source");
  const detail::Loaded loaded(*source_, class_name(), label(), "dataSource",
                              "gamma, beta, mean and variance");
  const std::size_t channels = source_->numberOfFeatureChannels();
  if (channels_ == 0) {
    if (channels == 0) complain("numberOfFeatureChannels", "0", "1 or more");
    channels_ = channels;
    op_.epsilon = source_->epsilon();
    setLabel(source_->label());
    check_slopes(*this, neuron_, channels);
  } else if (channels != channels_) {
    complain("numberOfFeatureChannels", std::to_string(channels),
             std::to_string(channels_) + ", as at construction",
             "Use reloadDataSource for a layer of another size.");
  }
  BNState::Values fresh = arrays_.values();
  for (const Slot slot : slots) {
    const float* values = nullptr;
    switch (slot) {
      case Slot::gamma_slot:
        values = source_->gamma();
        break;
      case Slot::beta_slot:
        values = source_->beta();
        break;
      case Slot::mean_slot:
        values = source_->mean();
        break;
      default:
        values = source_->variance();
        break;
    }
    const bool one = slot == Slot::gamma_slot || slot == Slot::variance_slot;
    fresh[slot] = detail::channel_buffer(device(), values, one ? 1.0F : 0.0F, channels);
  }
  arrays_.assign(std::move(fresh));
}

void CNNBatchNormalization::reloadGammaAndBeta(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& gammaAndBetaState) {
  if (!gammaAndBetaState) complain("gammaAndBetaState", "null", "gamma and beta");
  detail::Recording& recording = commandBuffer.recording();
  gammaAndBetaState->check_usable(recording);
  const auto values = {gammaAndBetaState->gamma(), gammaAndBetaState->beta()};
  detail::check_channel_buffers(*this, "gammaAndBetaState", values, channels_);
  detail::reload_channels(recording, arrays_, Slot::gamma_slot, values, channels_);
  gammaAndBetaState->consume(recording);
}
void CNNBatchNormalization::reloadMeanAndVariance(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNNormalizationMeanAndVarianceState>& meanAndVarianceState) {
  if (!meanAndVarianceState) complain("meanAndVarianceState", "null", "mean and variance");
  detail::Recording& recording = commandBuffer.recording();
  meanAndVarianceState->check_usable(recording);
  const auto values = {meanAndVarianceState->mean(), meanAndVarianceState->variance()};
  detail::check_channel_buffers(*this, "meanAndVarianceState", values, channels_);
  detail::reload_channels(recording, arrays_, Slot::mean_slot, values, channels_);
  meanAndVarianceState->consume(recording);
}

BNState& CNNBatchNormalization::own_state(State* state) const {
  auto* own = dynamic_cast<BNState*>(state);
  if (own == nullptr) {
    complain("batchNormalizationState", state == nullptr ? "null" : "of another kind",
             "a CNNBatchNormalizationState", state_remedy);
  }
  if (!own->belongs_to(*this) || own->channel_count() != channels_) {
    complain(
        "batchNormalizationState",
        "one of another kernel, for " + std::to_string(own->channel_count()) + " feature channels",
        "a state of this kernel, for " + std::to_string(channels_), state_remedy);
  }
  return *own;
}

void CNNBatchNormalization::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                                   const CNNBatchNormalizationStatePtr& batchNormalizationState,
                                   const Image& destinationImage) const {
  BNState& state = own_state(batchNormalizationState.get());
  CNNKernel::encode(commandBuffer, sourceImage, StatePtr(batchNormalizationState),
                    destinationImage);
  state.consume(commandBuffer.recording());
}
void CNNBatchNormalization::encodeBatch(
    const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
    const CNNBatchNormalizationStatePtr& batchNormalizationState,
    const ImageBatch& destinationImages) const {
  BNState& state = own_state(batchNormalizationState.get());
  if (sourceImages.empty() && destinationImages.empty()) return;
  CNNKernel::encodeBatch(commandBuffer, sourceImages,
                         StateBatch::repeated(batchNormalizationState, sourceImages.size()),
                         destinationImages);
  state.consume(commandBuffer.recording());
}

void CNNBatchNormalization::check(const Image& source, const Image&, std::size_t) const {
  detail::check_channels(*this, "sourceImage", source, sourceFeatureChannelOffset(),
                         sourceFeatureChannelMaxCount(), channels_);
}

void CNNBatchNormalization::record(detail::UnaryEncoding& e) const {
  BNState* state = e.states != nullptr ? &own_state((*e.states)[0].get()) : nullptr;
  if (state != nullptr) state->begin_normalization(e.recording, arrays_.values());
  const auto array = [&](Slot slot) {
    return state != nullptr
               ? state->view(e.recording, slot)
               : detail::view_of(e.recording, arrays_[slot], detail::channel_desc(channels_));
  };
  const auto source = e.aligned(*this);
  detail::encode(
      e.recording, memo_, op_,
      {source.view(), array(Slot::mean_slot), array(Slot::variance_slot), array(Slot::gamma_slot),
       array(Slot::beta_slot),
       detail::view_of(e.recording, slopes_, detail::channel_desc(channels_)), e.destination});
}

StatePtr CNNBatchNormalization::make_state(const detail::StateOrigin& origin, const Image&,
                                           const Image&) const {
  return std::make_shared<BNState>(origin, *this);
}

// ---- statistics ---------------------------------------------------------------------------------

void CNNBatchNormalizationStatistics::record(detail::UnaryEncoding&) const {
  complain("destinationImage", "given", "none: statistics make no image",
           "Use encodeBatch with a state.");
}

void CNNBatchNormalizationStatistics::encodeBatch(
    const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
    const CNNBatchNormalizationStatePtr& batchNormalizationState) const {
  if (!batchNormalizationState) {
    complain("batchNormalizationState", "null", "a CNNBatchNormalizationState", state_remedy);
  }
  if (sourceImages.empty()) return;
  BNState& state = *batchNormalizationState;
  Encode call(*this, commandBuffer);
  call.check_operand("sourceImages", Operand(sourceImages));
  state.check_usable(call.recording());
  const std::size_t channels = state.channel_count(), first = sourceFeatureChannelOffset();
  detail::check_channels(*this, "sourceImages", sourceImages.front(), first,
                         sourceFeatureChannelMaxCount(), channels);
  const TensorView source =
      detail::feature_channels(call.source(Operand(sourceImages)), static_cast<std::int64_t>(first),
                               static_cast<std::int32_t>(channels));
  BatchNormalizationStatistics op;
  op.restart = state.begin_statistics(pixels(sourceImages)) ? 1 : 0;
  detail::encode(call.recording(), memo_, op,
                 {source, state.view(call.recording(), BNState::sums_slot),
                  state.view(call.recording(), BNState::mean_slot),
                  state.view(call.recording(), BNState::variance_slot)});
  call.consume(Operand(sourceImages));
}

// ---- gradients ----------------------------------------------------------------------------------

CNNBatchNormalizationStatisticsGradient::CNNBatchNormalizationStatisticsGradient(
    const Device& device, const NNNeuronDescriptor& fusedNeuronDescriptor)
    : KernelOf(device),
      neuron_(fusedNeuronDescriptor),
      slopes_(slope_buffer(device, fusedNeuronDescriptor)) {
  op_.forward.activation = neuron_.activation();
}

void CNNBatchNormalizationStatisticsGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  coder("fusedNeuronDescriptor", neuron_);
  if (!coder.is_reading()) return;
  op_.forward.activation = neuron_.activation();
  move_to(device());
}
void CNNBatchNormalizationStatisticsGradient::move_to(const Device& device) {
  KernelOf::move_to(device);
  slopes_ = slope_buffer(device, neuron_);
}

void CNNBatchNormalizationStatisticsGradient::record(detail::BinaryEncoding&) const {
  complain("destinationImage", "given", "none: statistics make no image",
           "Use encodeBatch with a state.");
}

void CNNBatchNormalizationStatisticsGradient::encodeBatch(
    const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
    const ImageBatch& sourceImages,
    const CNNBatchNormalizationStatePtr& batchNormalizationState) const {
  if (!batchNormalizationState) {
    complain("batchNormalizationState", "null", "a CNNBatchNormalizationState", state_remedy);
  }
  if (sourceGradients.empty() && sourceImages.empty()) return;
  BNState& state = *batchNormalizationState;
  Encode call(*this, commandBuffer);
  detail::Recording& recording = call.recording();
  const Operand gradients(sourceGradients), sources(sourceImages);
  call.check_counts("sourceImages", sources, "sourceGradients", gradients.count());
  call.check_operand("sourceGradients", gradients);
  call.check_operand("sourceImages", sources);
  call.check_edge(secondary_.edgeMode);
  state.check_usable(recording);
  const std::size_t channels = state.channel_count();
  detail::check_channels(*this, "sourceGradients", gradients.front(), primary_.featureChannelOffset,
                         primary_.featureChannelMaxCount, channels);
  detail::check_channels(*this, "sourceImages", sources.front(), secondary_.featureChannelOffset,
                         secondary_.featureChannelMaxCount, channels);
  check_slopes(*this, neuron_, channels);
  CNNGradientKernel::check(gradients.front(), sources.front(), {}, &state, gradients.count());

  const auto part = [&](const Operand& operand, const SourceGeometry& geometry) {
    return detail::feature_channels(call.source(operand),
                                    static_cast<std::int64_t>(geometry.featureChannelOffset),
                                    static_cast<std::int32_t>(channels));
  };
  const TensorView g = part(gradients, primary_), x = part(sources, secondary_);
  const Inputs in(*this, recording, g, x, x.desc.w, x.desc.h, state);
  BatchNormalizationStatisticsGradient op = op_;
  op.forward.epsilon = state.epsilon();
  op.accumulate = state.begin_gradient(recording, pixels(sourceImages)) ? 1 : 0;
  const auto array = [&](BNState::Slot slot) { return state.view(recording, slot); };
  detail::encode(
      recording, memo_, op,
      {in.gradient.view(), in.source.view(), array(BNState::mean_slot),
       array(BNState::variance_slot), array(BNState::gamma_slot), array(BNState::beta_slot),
       detail::view_of(recording, slopes_, detail::channel_desc(channels)),
       array(BNState::gradient_for_gamma_slot), array(BNState::gradient_for_beta_slot)});
  call.consume(gradients);
  call.consume(sources);
  state.consume(recording);
}

CNNBatchNormalizationGradient::CNNBatchNormalizationGradient(
    const Device& device, const NNNeuronDescriptor& fusedNeuronDescriptor)
    : KernelOf(device),
      neuron_(fusedNeuronDescriptor),
      slopes_(slope_buffer(device, fusedNeuronDescriptor)) {
  op_.forward.activation = neuron_.activation();
}

const BNState& CNNBatchNormalizationGradient::check_state(const State* state) const {
  const auto* own = dynamic_cast<const BNState*>(state);
  if (own == nullptr) {
    complain("batchNormalizationState", state == nullptr ? "null" : "of another kind",
             "a CNNBatchNormalizationState", state_remedy);
  }
  return *own;
}

void CNNBatchNormalizationGradient::check(const Image& gradient, const Image& source,
                                          const Image& destination, const State* state,
                                          std::size_t count) const {
  const BNState& own = check_state(state);
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const std::size_t channels = own.channel_count();
  detail::check_channels(*this, "sourceGradient", gradient, primary_.featureChannelOffset,
                         primary_.featureChannelMaxCount, channels);
  detail::check_channels(*this, "sourceImage", source, secondary_.featureChannelOffset,
                         secondary_.featureChannelMaxCount, channels);
  check_slopes(*this, neuron_, channels);
  if (!own.has_gradient()) {
    complain("batchNormalizationState", "without the gradients of this batch",
             "gradientForGamma and gradientForBeta",
             "Encode CNNBatchNormalizationStatisticsGradient for every image of the batch first.");
  }
  if (own.has_statistics() && own.samples() != own.gradient_samples()) {
    complain("batchNormalizationState",
             "with gradients of " + std::to_string(own.gradient_samples()) + " pixels",
             std::to_string(own.samples()) + ", as many as the statistics were computed from",
             "Encode CNNBatchNormalizationStatisticsGradient for every image of the batch first.");
  }
}

void CNNBatchNormalizationGradient::record(detail::BinaryEncoding& e) const {
  auto& state = static_cast<BNState&>(*(*e.states)[0]);
  const Inputs in(*this, e.recording, e.primary, e.secondary, e.width, e.height, state);
  BatchNormalizationGradient op = op_;
  op.forward.epsilon = state.epsilon();
  op.fixedStatistics = state.has_statistics() ? 0 : 1;
  const auto array = [&](BNState::Slot slot) { return state.view(e.recording, slot); };
  detail::encode(
      e.recording, memo_, op,
      {in.gradient.view(), in.source.view(), array(BNState::mean_slot),
       array(BNState::variance_slot), array(BNState::gamma_slot), array(BNState::beta_slot),
       detail::view_of(e.recording, slopes_, detail::channel_desc(state.channel_count())),
       array(BNState::gradient_for_gamma_slot), array(BNState::gradient_for_beta_slot),
       array(BNState::sums_slot), e.destination});
  state.gradient_was_used();
}

void CNNBatchNormalizationGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  coder("fusedNeuronDescriptor", neuron_);
  if (!coder.is_reading()) return;
  op_.forward.activation = neuron_.activation();
  move_to(device());
}
void CNNBatchNormalizationGradient::move_to(const Device& device) {
  KernelOf::move_to(device);
  slopes_ = slope_buffer(device, neuron_);
}

void CNNBatchNormalizationGradient::encode(
    const CommandBuffer& commandBuffer, const Image& sourceGradient, const Image& sourceImage,
    const CNNBatchNormalizationStatePtr& batchNormalizationState,
    const Image& destinationGradient) const {
  check_state(batchNormalizationState.get());
  CNNGradientKernel::encode(commandBuffer, sourceGradient, sourceImage,
                            StatePtr(batchNormalizationState), destinationGradient);
}
void CNNBatchNormalizationGradient::encodeBatch(
    const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
    const ImageBatch& sourceImages, const CNNBatchNormalizationStatePtr& batchNormalizationState,
    const ImageBatch& destinationGradients) const {
  check_state(batchNormalizationState.get());
  CNNGradientKernel::encodeBatch(
      commandBuffer, sourceGradients, sourceImages,
      StateBatch::repeated(batchNormalizationState, sourceGradients.size()), destinationGradients);
}
Image CNNBatchNormalizationGradient::encode(
    const CommandBuffer& commandBuffer, const Image& sourceGradient, const Image& sourceImage,
    const CNNBatchNormalizationStatePtr& batchNormalizationState) {
  check_state(batchNormalizationState.get());
  return CNNGradientKernel::encode(commandBuffer, sourceGradient, sourceImage,
                                   StatePtr(batchNormalizationState));
}
ImageBatch CNNBatchNormalizationGradient::encodeBatch(
    const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
    const ImageBatch& sourceImages, const CNNBatchNormalizationStatePtr& batchNormalizationState) {
  check_state(batchNormalizationState.get());
  return CNNGradientKernel::encodeBatch(
      commandBuffer, sourceGradients, sourceImages,
      StateBatch::repeated(batchNormalizationState, sourceGradients.size()));
}

}  // namespace cermet
