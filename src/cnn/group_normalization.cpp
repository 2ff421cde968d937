#include "cermet/cnn/group_normalization.h"

#include "cermet/core/coder.h"
#include "cermet/ops/copy.h"
#include "cnn/channel_arrays.h"
#include "cnn/incoming_gradient.h"
#include "cnn/loaded.h"
#include "cnn/state_runs.h"
#include "cnn/written_region.h"

namespace cermet {

// ---- states -------------------------------------------------------------------------------------

CNNScaleGradientState::CNNScaleGradientState(const detail::StateOrigin& origin,
                                             const GroupNormalization& op, std::size_t channels,
                                             Arrays scale, const Arrays& gradients)
    : NNGradientState(origin), op_(op), channels_(channels), scale_(std::move(scale)) {
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    add_buffer(gradients[i].length());
    set_buffer(i, gradients[i]);
  }
}

ImageDescriptor CNNScaleGradientState::destinationImageDescriptor(
    std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
    const ImageDescriptor& suggestedDescriptor) {
  const ImageDescriptor descriptor = NNGradientState::destinationImageDescriptor(
      sourceImages, sourceStates, kernel, suggestedDescriptor);
  detail::select_channels(kernel, channels_);
  return descriptor;
}

CNNInstanceNormalizationGradientState::CNNInstanceNormalizationGradientState(
    const detail::StateOrigin& origin, const CNNInstanceNormalization& kernel, Arrays gradients)
    : CNNScaleGradientState(origin, kernel.normalization(), kernel.channel_count(), kernel.scale(),
                            gradients),
      kernel_(&kernel) {}

CNNGroupNormalizationGradientState::CNNGroupNormalizationGradientState(
    const detail::StateOrigin& origin, const CNNGroupNormalization& kernel, Arrays gradients)
    : CNNScaleGradientState(origin, kernel.normalization(), kernel.channel_count(), kernel.scale(),
                            gradients),
      kernel_(&kernel) {}

// ---- forward ------------------------------------------------------------------------------------

namespace {

std::size_t groups_of(const CNNInstanceNormalizationDataSource& source) {
  return source.numberOfFeatureChannels();
}
std::size_t groups_of(const CNNGroupNormalizationDataSource& source) {
  return source.numberOfGroups();
}

/// Instance normalisation has a data source that is loaded, group normalisation does not.
struct NothingToLoad {
  [[nodiscard]] static bool load() { return true; }
  static void purge() {}
};
CNNInstanceNormalizationDataSource& loading(CNNInstanceNormalizationDataSource& source) {
  return source;
}
NothingToLoad loading(const CNNGroupNormalizationDataSource&) { return {}; }

std::string count_of(std::size_t states) {
  return states == 1 ? "one state" : std::to_string(states) + " states";
}

}  // namespace

template <class Self, class Source, class GradientState>
ScaledNormalization<Self, Source, GradientState>::ScaledNormalization(
    const Device& device, std::shared_ptr<Source> dataSource)
    : Concrete<Self, CNNKernel>(device), source_(std::move(dataSource)) {
  load();
}

template <class Self, class Source, class GradientState>
ScaledNormalization<Self, Source, GradientState>::ScaledNormalization(Coder& coder,
                                                                      const Device& device)
    : Concrete<Self, CNNKernel>(coder, device) {
  this->read(coder);
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("numberOfFeatureChannels", channels_);
  auto groups = static_cast<std::size_t>(op_.groups);
  coder("numberOfGroups", groups);
  coder("epsilon", op_.epsilon);
  const bool reading = coder.is_reading();
  std::shared_ptr<Source> source = source_ && source_->supportsSecureCoding() ? source_ : nullptr;
  coder("dataSource", source);
  if (reading) source_ = std::move(source);
  std::array<Buffer, 2> values = scale_.values();
  detail::code_channels(coder, this->device(), "gamma", values[0], channels_);
  detail::code_channels(coder, this->device(), "beta", values[1], channels_);
  if (!reading) return;
  scale_.assign(std::move(values));
  if (channels_ == 0) coder.refuse("numberOfFeatureChannels", "0", "1 or more");
  if (groups == 0 || channels_ % groups != 0) {
    coder.refuse("numberOfGroups", std::to_string(groups),
                 "a divisor of " + std::to_string(channels_) + " feature channels");
  }
  op_.groups = static_cast<std::int32_t>(groups);
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::move_to(const Device& device) {
  if (source_) {
    if (auto other = source_->copy(device)) source_ = std::move(other);
  }
  if (!(device == this->device())) {
    std::array<Buffer, 2> moved = scale_.values();
    detail::move_channels(moved, device);
    scale_.assign(std::move(moved));
  }
  CNNKernel::move_to(device);
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::load() {
  if (!source_) this->complain("dataSource", "null", "a data source");
  auto&& loaded = loading(*source_);
  const detail::Loaded hold(loaded, this->class_name(), this->label(), "dataSource",
                            "gamma and beta");
  const std::size_t channels = source_->numberOfFeatureChannels();
  if (channels == 0) this->complain("numberOfFeatureChannels", "0", "1 or more");
  if (channels_ != 0 && channels != channels_) {
    this->complain("numberOfFeatureChannels", std::to_string(channels),
                   std::to_string(channels_) + ", as at construction",
                   "Make a kernel for a layer of another size.");
  }
  const std::size_t groups = groups_of(*source_);
  if (groups == 0 || channels % groups != 0) {
    this->complain("numberOfGroups", std::to_string(groups),
                   "a divisor of " + std::to_string(channels) + " feature channels");
  }
  std::array<Buffer, 2> values{
      detail::channel_buffer(this->device(), source_->gamma(), 1, channels),
      detail::channel_buffer(this->device(), source_->beta(), 0, channels)};
  if (channels_ == 0) {
    op_.epsilon = source_->epsilon();
    this->setLabel(source_->label());
  }
  channels_ = channels;
  op_.groups = static_cast<std::int32_t>(groups);
  scale_.assign(std::move(values));
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::reloadGammaAndBetaFromDataSource() {
  load();
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::replace(std::shared_ptr<Source> dataSource) {
  ScaledNormalization fresh(*this);  // a failure leaves this kernel as it is
  fresh.source_ = std::move(dataSource);
  fresh.channels_ = 0;
  fresh.load();
  *this = std::move(fresh);
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::reloadGammaAndBeta(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNNormalizationGammaAndBetaState>& gammaAndBetaState) {
  if (!gammaAndBetaState) this->complain("gammaAndBetaState", "null", "gamma and beta");
  detail::Recording& recording = commandBuffer.recording();
  gammaAndBetaState->check_usable(recording);
  const auto values = {gammaAndBetaState->gamma(), gammaAndBetaState->beta()};
  detail::check_channel_buffers(*this, "gammaAndBetaState", values, channels_);
  detail::reload_channels(recording, scale_, 0, values, channels_);
  gammaAndBetaState->consume(recording);
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::check(const Image& source, const Image&,
                                                             std::size_t) const {
  detail::check_channels(*this, "sourceImage", source, this->sourceFeatureChannelOffset(),
                         this->sourceFeatureChannelMaxCount(), channels_);
}

template <class Self, class Source, class GradientState>
void ScaledNormalization<Self, Source, GradientState>::record(detail::UnaryEncoding& e) const {
  if (e.states != nullptr) {
    for (std::size_t i = 0; i < e.states->size(); ++i) {
      const auto state = e.states->template at<GradientState>(i);
      if (state && state->channel_count() == channels_) continue;
      this->complain("destinationState",
                     state ? "for another number of channels" : "of another kind",
                     "a state of this kernel", "Use the states that resultState makes.");
    }
  }
  const auto source = e.aligned(*this);
  const TensorDesc desc = detail::channel_desc(channels_);
  detail::encode(e.recording, memo_, op_,
                 {source.view(), detail::view_of(e.recording, scale_[0], desc),
                  detail::view_of(e.recording, scale_[1], desc), e.destination});
}

template <class Self, class Source, class GradientState>
StateBatch ScaledNormalization<Self, Source, GradientState>::make_state_batch(
    const detail::StateOrigin& origin, const ImageBatch& sources, const ImageBatch&) const {
  const std::size_t bytes = channels_ * sizeof(float);
  const std::array<Buffer, 2> all{origin.make_buffer(sources.size() * bytes),
                                  origin.make_buffer(sources.size() * bytes)};
  std::vector<StatePtr> states;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    states.push_back(std::make_shared<GradientState>(
        origin, static_cast<const Self&>(*this),
        std::array{detail::part_of(all[0], i, bytes), detail::part_of(all[1], i, bytes)}));
  }
  return states;
}

// ---- gradient -----------------------------------------------------------------------------------

template <class Self, class GradientState>
void ScaledNormalizationGradient<Self, GradientState>::check(const Image& gradient,
                                                             const Image& source,
                                                             const Image& destination,
                                                             const State* state,
                                                             std::size_t count) const {
  const auto* own = dynamic_cast<const GradientState*>(state);
  if (own == nullptr) {
    this->complain("gradientState", state == nullptr ? "absent" : "of another kind",
                   "a " + std::string(detail::type_name<GradientState>()),
                   "Use the state that the forward encode of this image returned.");
  }
  CNNGradientKernel::check(gradient, source, destination, state, count);
  detail::check_channels(*this, "sourceGradient", gradient,
                         this->primarySourceFeatureChannelOffset(),
                         this->primarySourceFeatureChannelMaxCount(), own->channel_count());
  detail::check_channels(*this, "sourceImage", source, this->secondarySourceFeatureChannelOffset(),
                         this->secondarySourceFeatureChannelMaxCount(), own->channel_count());
}

// The operator works on the region that the forward encode wrote, whose statistics it took; what
// comes out is then brought to where the destination lies.
template <class Self, class GradientState>
void ScaledNormalizationGradient<Self, GradientState>::record(detail::BinaryEncoding& e) const {
  const auto state_of = [&](std::size_t i) {
    return static_cast<GradientState*>((*e.states)[i].get());
  };
  const std::size_t count = e.states->size();
  if (e.states->shared() && count > 1) {
    this->complain("gradientStates", count_of(1) + " for " + std::to_string(count) + " images",
                   "a state for each image");
  }
  const GroupNormalization op = state_of(0)->normalization();
  const std::size_t channels = state_of(0)->channel_count();
  for (std::size_t i = 0; i < count; ++i) {
    const auto own = e.states->template at<GradientState>(i);
    if (own && own->channel_count() == channels && own->normalization().groups == op.groups &&
        own->normalization().epsilon == op.epsilon && own->gamma() == state_of(0)->gamma())
      continue;
    this->complain("gradientStates", "of different kernels", "states of one forward encode");
  }
  const detail::WrittenRegion written(e.primary, this->primaryOffset(),
                                      detail::forward_of(e.states));
  const TensorDesc& region = written.view.desc;
  const Offset to = this->secondaryOffset();
  const detail::AlignedSource source(e.recording, e.secondary,
                                     {to.x - written.offset.x, to.y - written.offset.y, 0},
                                     region.w, region.h, this->secondaryEdgeMode());

  const bool in_place =
      written.offset.x == 0 && written.offset.y == 0 && region.w == e.width && region.h == e.height;
  std::unique_ptr<detail::ScratchTensor> scratch;
  TensorView result = e.destination;
  if (!in_place) {
    TensorDesc desc = region;
    desc.type = ElementType::float32;
    scratch = std::make_unique<detail::ScratchTensor>(e.recording, desc);
    result = scratch->view;
  }
  const TensorDesc scale = detail::channel_desc(channels);
  TensorDesc rows = scale;
  const std::int32_t images = region.n / static_cast<std::int32_t>(count);
  detail::for_each_run(
      count, [&](std::size_t i) { return state_of(i)->gradientForGamma(); },
      [&](std::int32_t first, std::int32_t states) {
        GradientState& state = *state_of(static_cast<std::size_t>(first));
        rows = dense_desc(states, 1, 1, scale.c);
        const auto part = [&](const TensorView& all) {
          return detail::images(all, std::int64_t{first} * images, states * images);
        };
        detail::encode(e.recording, memo_, GroupNormalizationGradient{op},
                       {part(written.view), part(source.view()),
                        detail::view_of(e.recording, state.gamma(), scale),
                        detail::view_of(e.recording, state.gradientForGamma(), rows),
                        detail::view_of(e.recording, state.gradientForBeta(), rows), part(result)});
      });
  if (in_place) return;
  detail::BinaryEncoding back = e;
  back.primary = result;
  const detail::IncomingGradient placed(*this, back);
  detail::encode(e.recording, copy_memo_, Copy{}, {placed.view(), e.destination});
}

template class ScaledNormalization<CNNInstanceNormalization, CNNInstanceNormalizationDataSource,
                                   CNNInstanceNormalizationGradientState>;
template class ScaledNormalization<CNNGroupNormalization, CNNGroupNormalizationDataSource,
                                   CNNGroupNormalizationGradientState>;
template class ScaledNormalizationGradient<CNNInstanceNormalizationGradient,
                                           CNNInstanceNormalizationGradientState>;
template class ScaledNormalizationGradient<CNNGroupNormalizationGradient,
                                           CNNGroupNormalizationGradientState>;

}  // namespace cermet
