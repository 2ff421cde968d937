#include "cermet/cnn/arithmetic.h"

#include <algorithm>
#include <limits>

#include "cermet/ops/copy.h"
#include "cnn/encoding.h"

namespace cermet {

using ArithmeticState = CNNArithmeticGradientState;

namespace {

const char* const state_remedy =
    "Encode the backward pass with the states returned by the matching forward encode.";

std::size_t available(const Image& image, const SourceGeometry& geometry) {
  const std::size_t have = image.featureChannels(), first = geometry.featureChannelOffset;
  return first >= have ? 0 : std::min(geometry.featureChannelMaxCount, have - first);
}

std::string size(std::size_t width, std::size_t height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

}  // namespace

// ---- state --------------------------------------------------------------------------------------

NNBinaryGradientState::NNBinaryGradientState(const detail::StateOrigin& origin)
    : State(origin, StateResourceList()) {}

ArithmeticState::CNNArithmeticGradientState(const detail::StateOrigin& origin,
                                            const CNNArithmetic& kernel, const Image& primary,
                                            const Image& secondary, const Image& destination)
    : NNBinaryGradientState(origin) {
  for (const bool second : {false, true}) {
    const Image& image = second ? secondary : primary;
    Operand& operand = operands_[second ? 1 : 0];
    operand.width = image.width();
    operand.height = image.height();
    operand.featureChannels = image.featureChannels();
  }
  written_.destinationWidth = destination.width();
  written_.destinationHeight = destination.height();
  written_.images = static_cast<std::int32_t>(destination.numberOfImages());
  set_forward(kernel);
  masked_ = kernel.has_limits();
  if (!masked_) return;
  const auto bytes =
      static_cast<std::size_t>(written_.images) * static_cast<std::size_t>(written_.height) *
      static_cast<std::size_t>(written_.width) * static_cast<std::size_t>(written_.featureChannels);
  add_buffer(bytes);
  if (origin.recording != nullptr) set_buffer(0, origin.make_buffer(bytes, false));
}

void ArithmeticState::set_forward(const CNNArithmetic& kernel) {
  std::array<std::size_t, 2> channels{};
  for (const bool second : {false, true}) {
    Operand& operand = operands_[second ? 1 : 0];
    operand.geometry = kernel.geometry(second);
    operand.strideInFeatureChannels = second ? kernel.secondaryStrideInFeatureChannels()
                                             : kernel.primaryStrideInFeatureChannels();
    const SourceGeometry& g = operand.geometry;
    const std::size_t have =
        operand.featureChannels - std::min(g.featureChannelOffset, operand.featureChannels);
    channels[second ? 1 : 0] =
        operand.strideInFeatureChannels == 0 ? 1 : std::min(g.featureChannelMaxCount, have);
  }
  const Region& clip = kernel.clipRect();
  const auto cut = [](std::size_t origin, std::size_t extent, std::size_t whole) {
    return static_cast<std::int32_t>(origin >= whole ? 0 : std::min(extent, whole - origin));
  };
  written_.x = static_cast<std::int32_t>(clip.origin.x);
  written_.y = static_cast<std::int32_t>(clip.origin.y);
  written_.width = cut(clip.origin.x, clip.size.width, written_.destinationWidth);
  written_.height = cut(clip.origin.y, clip.size.height, written_.destinationHeight);
  written_.featureChannelOffset = kernel.destinationFeatureChannelOffset();
  written_.featureChannels = static_cast<std::int32_t>(std::max(channels[0], channels[1]));
}

TensorView ArithmeticState::mask(detail::Recording& recording) {
  if (!masked_) return {};
  const TensorDesc desc = dense_desc(written_.images, written_.height, written_.width,
                                     written_.featureChannels, ElementType::uint8);
  const auto bytes = static_cast<std::size_t>(desc.count());
  if (resourceCount() == 0) add_buffer(bytes);
  if (bufferSize(0) < bytes || (isTemporary() && !resource(0, false))) {
    const detail::StateOrigin origin{device(), isTemporary() ? &recording : nullptr};
    set_buffer(0, origin.make_buffer(bytes, false));
  }
  return detail::view_of(recording, buffer(0, true), desc);
}

ImageDescriptor ArithmeticState::destinationImageDescriptor(
    std::span<const Image>, std::span<const StatePtr>, Kernel& kernel,
    const ImageDescriptor& suggestedDescriptor) {
  ImageDescriptor descriptor = suggestedDescriptor;
  if (auto* gradient = dynamic_cast<CNNArithmeticGradient*>(&kernel)) {
    gradient->place(*this);
    const Operand& target = operand(gradient->isSecondarySourceFilter());
    descriptor.width = target.width;
    descriptor.height = target.height;
    descriptor.featureChannels = target.featureChannels;
  }
  return descriptor;
}

// ---- forward ------------------------------------------------------------------------------------

CNNArithmetic::CNNArithmetic(const Device& device, ArithmeticKind kind) : KernelOf(device) {
  op_.kind = kind;
}

void CNNArithmetic::code(Coder& coder) {
  CNNBinaryKernel::code(coder);
  coder("primaryScale", op_.primaryScale);
  coder("secondaryScale", op_.secondaryScale);
  coder("bias", op_.bias);
  coder("primaryStrideInFeatureChannels", primary_stride_c_);
  coder("secondaryStrideInFeatureChannels", secondary_stride_c_);
  coder("minimumValue", op_.minimumValue);
  coder("maximumValue", op_.maximumValue);
}

bool CNNArithmetic::has_limits() const {
  return op_.minimumValue != std::numeric_limits<float>::lowest() ||
         op_.maximumValue != std::numeric_limits<float>::max();
}

CNNBinaryKernel::Channels CNNArithmetic::channels(std::size_t primary,
                                                  std::size_t secondary) const {
  const std::size_t first = primary_stride_c_ == 0 ? 1 : primary,
                    second = secondary_stride_c_ == 0 ? 1 : secondary;
  return {first, second, primary_stride_c_ == 0 ? second : first};
}

void CNNArithmetic::check_strides() const {
  const auto check_one = [&](const char* argument, std::size_t stride) {
    if (stride > 1) complain(argument, std::to_string(stride), "0 or 1");
  };
  check_one("primaryStrideInPixelsX", primary_.strideInPixelsX);
  check_one("primaryStrideInPixelsY", primary_.strideInPixelsY);
  check_one("primaryStrideInFeatureChannels", primary_stride_c_);
  check_one("secondaryStrideInPixelsX", secondary_.strideInPixelsX);
  check_one("secondaryStrideInPixelsY", secondary_.strideInPixelsY);
  check_one("secondaryStrideInFeatureChannels", secondary_stride_c_);
}

void CNNArithmetic::plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) {
  check_strides();
  const Image &first = sourceImages[0], &second = sourceImages[1];
  const auto extent = [&](std::size_t x, std::size_t y, std::size_t stride_x,
                          std::size_t stride_y) {
    if (stride_x == 1 && stride_y == 1 && x != y) {
      complain("secondaryImage", detail::describe(second),
               size(first.width(), first.height()) + " pixels, as many as the primary image",
               "Set the stride along an axis to 0 to broadcast an operand.");
    }
    return stride_x == 1 ? x : stride_y == 1 ? y : 1;
  };
  descriptor.width =
      extent(first.width(), second.width(), primary_.strideInPixelsX, secondary_.strideInPixelsX);
  descriptor.height =
      extent(first.height(), second.height(), primary_.strideInPixelsY, secondary_.strideInPixelsY);
  primary_.offset = secondary_.offset = {};
}

void CNNArithmetic::check(const Image& primary, const Image& secondary, const Image& destination,
                          const State* state, std::size_t) const {
  check_strides();
  const std::size_t first = available(primary, primary_), second = available(secondary, secondary_);
  if (primary_stride_c_ == 1 && secondary_stride_c_ == 1 && first != second) {
    complain("secondaryImage", detail::describe(secondary),
             std::to_string(first) + " feature channels, as many as the primary image",
             "Set secondaryStrideInFeatureChannels to 0 to use one for all.");
  }
  if (state == nullptr) return;
  const auto* own = dynamic_cast<const ArithmeticState*>(state);
  if (own == nullptr)
    complain("destinationState", "of another kind", "a CNNArithmeticGradientState");
  const auto made_for = [&](const ArithmeticState::Operand& operand, const Image& image) {
    return operand.width == image.width() && operand.height == image.height() &&
           operand.featureChannels == image.featureChannels();
  };
  const auto& written = own->written();
  if (made_for(own->operand(false), primary) && made_for(own->operand(true), secondary) &&
      written.destinationWidth == destination.width() &&
      written.destinationHeight == destination.height()) {
    return;
  }
  complain("destinationState", "for images of other sizes",
           "one made by resultState for these images");
}

StatePtr CNNArithmetic::make_state(const detail::StateOrigin& origin, const Image& primary,
                                   const Image& secondary, const Image& destination) const {
  return std::make_shared<ArithmeticState>(origin, *this, primary, secondary, destination);
}

void CNNArithmetic::record(detail::BinaryEncoding& e) const {
  const auto aligned = [&](const TensorView& view, const SourceGeometry& g) {
    return detail::AlignedSource(e.recording, view, g.offset, g.strideInPixelsX == 0 ? 1 : e.width,
                                 g.strideInPixelsY == 0 ? 1 : e.height, g.edgeMode);
  };
  const auto x = aligned(e.primary, primary_), y = aligned(e.secondary, secondary_);
  const std::size_t count = e.states != nullptr ? e.states->size() : 0;
  if (count > 1 && e.states->shared()) {
    complain("destinationStates", "one state for " + std::to_string(count) + " images",
             "a state for each image");
  }
  const auto each = count != 0 ? e.destination.desc.n / static_cast<std::int32_t>(count) : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto state = e.states->at<ArithmeticState>(i);
    if (!state)
      complain("destinationStates", "of another kind", "CNNArithmeticGradientState objects");
    state->set_forward(*this);
    state->set_masked(has_limits());
    if (has_limits()) {
      const std::int32_t first = static_cast<std::int32_t>(i) * each;
      record_values(e.recording, detail::images(x.view(), first, each),
                    detail::images(y.view(), first, each),
                    detail::images(e.destination, first, each), state->mask(e.recording));
    }
  }
  if (count == 0 || !has_limits())
    record_values(e.recording, x.view(), y.view(), e.destination, {});
}

void CNNArithmetic::record_values(detail::Recording& recording, const TensorView& primary,
                                  const TensorView& secondary, const TensorView& destination,
                                  const TensorView& mask) const {
  detail::encode(recording, memo_, op_, {primary, secondary, destination, mask});
}

void CNNArithmetic::encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
                           const Image& secondaryImage,
                           const std::shared_ptr<CNNArithmeticGradientState>& destinationState,
                           const Image& destinationImage) const {
  if (!destinationState) complain("destinationState", "null", "a CNNArithmeticGradientState");
  const StateBatch states = StateBatch::repeated(destinationState, 1);
  run(commandBuffer, detail::Operand(primaryImage), detail::Operand(secondaryImage), &states,
      detail::Operand(destinationImage));
}
void CNNArithmetic::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& primaryImages,
                                const ImageBatch& secondaryImages,
                                const StateBatch& destinationStates,
                                const ImageBatch& destinationImages) const {
  run(commandBuffer, detail::Operand(primaryImages), detail::Operand(secondaryImages),
      &destinationStates, detail::Operand(destinationImages));
}

// ---- gradient -----------------------------------------------------------------------------------

CNNArithmeticGradient::CNNArithmeticGradient(const Device& device, ArithmeticKind kind,
                                             bool isSecondarySourceFilter)
    : KernelOf(device), of_secondary_(isSecondarySourceFilter) {
  op_.kind = kind;
  if (kind == ArithmeticKind::subtract && of_secondary_) op_.primaryScale = -1;
}

void CNNArithmeticGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  coder("isSecondarySourceFilter", of_secondary_);
  coder("primaryScale", op_.primaryScale);
  coder("secondaryScale", op_.secondaryScale);
  coder("bias", op_.bias);
  coder("secondaryStrideInFeatureChannels", secondary_stride_c_);
  coder("minimumValue", op_.minimumValue);
  coder("maximumValue", op_.maximumValue);
}

void CNNArithmeticGradient::place(const CNNArithmeticGradientState& forward) {
  const ArithmeticState::Operand &target = forward.operand(of_secondary_),
                                 &other = forward.operand(!of_secondary_);
  const ArithmeticState::Operand& second = multiplies() ? other : target;
  const ArithmeticState::Written& written = forward.written();
  const Offset from = target.geometry.offset;
  primary_.offset = {written.x - from.x, written.y - from.y, 0};
  primary_.featureChannelOffset = written.featureChannelOffset;
  primary_.featureChannelMaxCount = static_cast<std::size_t>(written.featureChannels);
  secondary_ = second.geometry;
  secondary_stride_c_ = second.strideInFeatureChannels;
  sums_channels_ = target.strideInFeatureChannels == 0;
  if (secondary_stride_c_ == 0) secondary_.featureChannelMaxCount = 1;
  if (multiplies()) {  // moves with the destination unless one of the two stands still
    if (other.geometry.strideInPixelsX == 1 && !target.sums_x()) secondary_.offset.x -= from.x;
    if (other.geometry.strideInPixelsY == 1 && !target.sums_y()) secondary_.offset.y -= from.y;
    secondary_.offset.z = 0;
  } else {
    secondary_.offset = {};
  }
  setDestinationFeatureChannelOffset(target.geometry.featureChannelOffset);
  setClipRect(RectNoClip);
}

CNNBinaryKernel::Channels CNNArithmeticGradient::channels(std::size_t primary,
                                                          std::size_t secondary) const {
  if (multiplies()) {
    const bool one = secondary_stride_c_ == 0 || secondary == 1;
    return {primary, one ? 1 : primary, sums_channels_ ? 1 : primary};
  }
  const std::size_t written = sums_channels_ || secondary_stride_c_ == 0 ? 1 : secondary;
  return {written == 1 ? primary : written, secondary, written};
}

void CNNArithmeticGradient::plan_default(ImageDescriptor& descriptor,
                                         std::span<const Image> sourceImages) {
  if (!multiplies()) {
    CNNGradientKernel::plan_default(descriptor, sourceImages);
    return;
  }
  descriptor.width = sourceImages[0].width();
  descriptor.height = sourceImages[0].height();
}

void CNNArithmeticGradient::check(const Image& gradient, const Image& source, const Image&,
                                  const State* state, std::size_t) const {
  for (const std::size_t stride :
       {secondary_.strideInPixelsX, secondary_.strideInPixelsY, secondary_stride_c_}) {
    if (stride > 1) complain("a secondary stride", std::to_string(stride), "0 or 1");
  }
  if (state == nullptr) return;
  const auto* own = dynamic_cast<const ArithmeticState*>(state);
  if (own == nullptr)
    complain("gradientState", "of another kind", "a CNNArithmeticGradientState", state_remedy);
  const ArithmeticState::Written& written = own->written();
  const bool whole = gradient.width() == written.destinationWidth &&
                     gradient.height() == written.destinationHeight;
  const auto w = static_cast<std::size_t>(written.width),
             h = static_cast<std::size_t>(written.height);
  if (!whole && (gradient.width() != w || gradient.height() != h)) {
    complain("sourceGradient", size(gradient.width(), gradient.height()),
             size(w, h) + ", the size that its gradientState was made for", state_remedy);
  }
  const ArithmeticState::Operand& other = own->operand(!of_secondary_);
  if (multiplies() && (source.width() != other.width || source.height() != other.height)) {
    complain("sourceImage", size(source.width(), source.height()),
             size(other.width, other.height) + ", the size of the other operand",
             "Pass the operand that is not the target.");
  }
}

namespace {

/// One axis of the reduction: destination positions [first, first + count) from gradient positions
/// [from, from + length); count is 1 where the axis is summed, else length.
struct Axis {
  std::int64_t first = 0, from = 0;
  std::int32_t count = 0, length = 0;

  /// `at` is the gradient position of destination position 0, `target` the one that is written when
  /// the axis is summed.
  Axis(bool sums, std::int32_t destination, std::int32_t gradient, std::int64_t at,
       std::int64_t target) {
    if (sums) {
      first = target;
      count = target >= 0 && target < destination ? 1 : 0;
      length = gradient;
      return;
    }
    first = std::max<std::int64_t>(0, -at);
    from = first + at;
    const std::int64_t last = std::min<std::int64_t>(destination, gradient - at);
    count = length = static_cast<std::int32_t>(std::max<std::int64_t>(0, last - first));
  }
};

}  // namespace

void CNNArithmeticGradient::record_images(detail::BinaryEncoding& e,
                                          CNNArithmeticGradientState* state, const TensorView& mask,
                                          std::int32_t first, std::int32_t count) const {
  TensorView gradient = detail::images(e.primary, first, count);
  const TensorView destination = detail::images(e.destination, first, count);
  Offset at = primaryOffset(), target{};
  bool sums_x = !multiplies() && secondary_.strideInPixelsX == 0;
  bool sums_y = !multiplies() && secondary_.strideInPixelsY == 0;
  if (state != nullptr) {
    const ArithmeticState::Written& written = state->written();
    const ArithmeticState::Operand& operand = state->operand(of_secondary_);
    if (static_cast<std::size_t>(gradient.desc.w) == written.destinationWidth &&
        static_cast<std::size_t>(gradient.desc.h) == written.destinationHeight) {
      gradient = detail::window(gradient, written.x, written.y, written.width, written.height);
    }
    at = {at.x - written.x, at.y - written.y, 0};
    sums_x = operand.sums_x();
    sums_y = operand.sums_y();
    if (operand.geometry.strideInPixelsX == 0) target.x = operand.geometry.offset.x;
    if (operand.geometry.strideInPixelsY == 0) target.y = operand.geometry.offset.y;
  } else {
    sums_x = sums_x || (e.width == 1 && gradient.desc.w > 1);
    sums_y = sums_y || (e.height == 1 && gradient.desc.h > 1);
  }
  const Axis x(sums_x, e.width, gradient.desc.w, at.x, target.x),
      y(sums_y, e.height, gradient.desc.h, at.y, target.y);
  if (x.count != e.width || y.count != e.height) {
    const Fill unread{std::min(std::max(op_.bias, op_.minimumValue), op_.maximumValue)};
    detail::encode(e.recording, fill_memo_, unread, {destination});
  }
  if (x.count == 0 || y.count == 0) return;

  const TensorView part = detail::window(gradient, x.from, y.from, x.length, y.length);
  const TensorView passed =
      mask.desc.present() ? detail::window(mask, x.from, y.from, x.length, y.length) : mask;
  const TensorView written = detail::window(destination, x.first, y.first, x.count, y.count);
  if (!multiplies()) {
    detail::encode(e.recording, memo_, op_, {part, {}, passed, written});
    return;
  }
  const bool moves_x = secondary_.strideInPixelsX != 0, moves_y = secondary_.strideInPixelsY != 0;
  const Offset from{secondary_.offset.x + (moves_x ? (sums_x ? x.from : x.first) : 0),
                    secondary_.offset.y + (moves_y ? (sums_y ? y.from : y.first) : 0), 0};
  const detail::AlignedSource other(e.recording, detail::images(e.secondary, first, count), from,
                                    moves_x ? x.length : 1, moves_y ? y.length : 1,
                                    secondary_.edgeMode);
  detail::encode(e.recording, memo_, op_, {part, other.view(), passed, written});
}

void CNNArithmeticGradient::record(detail::BinaryEncoding& e) const {
  const std::int32_t images = e.destination.desc.n;
  const std::size_t states = e.states != nullptr ? e.states->size() : 0;
  bool masked = false;
  for (std::size_t i = 0; i < states; ++i) {
    const auto state = e.states->at<ArithmeticState>(i);
    if (!state || state->written().featureChannels != e.primary.desc.c) {
      complain("gradientStates",
               state ? "for another number of feature channels" : "of another kind",
               "CNNArithmeticGradientState objects of the forward encode", state_remedy);
    }
    masked = masked || state->mask(e.recording).desc.present();
  }
  if (!masked) {
    record_images(e, states != 0 ? e.states->at<ArithmeticState>(0).get() : nullptr, {}, 0, images);
    return;
  }
  const auto each = images / static_cast<std::int32_t>(states);
  for (std::size_t i = 0; i < states; ++i) {
    const auto state = e.states->at<ArithmeticState>(i);
    record_images(e, state.get(), state->mask(e.recording), static_cast<std::int32_t>(i) * each,
                  each);
  }
}

// The number of channels written must be known before the base class looks at the images.
void CNNArithmeticGradient::look_at_target(const State* state, const Image& destination) const {
  if (const auto* own = dynamic_cast<const ArithmeticState*>(state)) {
    sums_channels_ = own->operand(of_secondary_).strideInFeatureChannels == 0;
  } else {
    sums_channels_ =
        destination && destination.featureChannels() == destinationFeatureChannelOffset() + 1;
  }
}
void CNNArithmeticGradient::encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
                                   const Image& sourceImage, const StatePtr& gradientState,
                                   const Image& destinationGradient) const {
  look_at_target(gradientState.get(), destinationGradient);
  CNNGradientKernel::encode(commandBuffer, sourceGradient, sourceImage, gradientState,
                            destinationGradient);
}
void CNNArithmeticGradient::encodeBatch(const CommandBuffer& commandBuffer,
                                        const ImageBatch& sourceGradients,
                                        const ImageBatch& sourceImages,
                                        const StateBatch& gradientStates,
                                        const ImageBatch& destinationGradients) const {
  if (!gradientStates.empty() && !destinationGradients.empty()) {
    look_at_target(gradientStates[0].get(), destinationGradients.front());
  }
  CNNGradientKernel::encodeBatch(commandBuffer, sourceGradients, sourceImages, gradientStates,
                                 destinationGradients);
}
void CNNArithmeticGradient::encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
                                   const Image& sourceImage,
                                   const Image& destinationGradient) const {
  look_at_target(nullptr, destinationGradient);
  CNNGradientKernel::encode(commandBuffer, sourceGradient, sourceImage, destinationGradient);
}
void CNNArithmeticGradient::encodeBatch(const CommandBuffer& commandBuffer,
                                        const ImageBatch& sourceGradients,
                                        const ImageBatch& sourceImages,
                                        const ImageBatch& destinationGradients) const {
  if (!destinationGradients.empty()) look_at_target(nullptr, destinationGradients.front());
  CNNGradientKernel::encodeBatch(commandBuffer, sourceGradients, sourceImages,
                                 destinationGradients);
}

}  // namespace cermet
