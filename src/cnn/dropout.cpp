#include "cermet/cnn/dropout.h"

#include <algorithm>
#include <cstddef>

#include "cnn/state_runs.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

const char* const state_remedy =
    "Encode the backward pass with the state returned by the matching forward encode.";

std::string describe(const Size& strides) {
  std::string text("{");  // appended to: g++ 12 warns, wrongly, of `"{" + ...` here
  text.append(std::to_string(strides.width)).append(", ");
  text.append(std::to_string(strides.height)).append(", ");
  return text.append(std::to_string(strides.depth)).append("}");
}

std::string size(const TensorDesc& desc) {
  return std::to_string(desc.w) + "x" + std::to_string(desc.h) + "x" + std::to_string(desc.c);
}

/// The operator of these arguments; throws where one is out of range.
Dropout checked(float keep, const Size& strides, std::string_view kernel) {
  if (!(keep > 0 && keep <= 1)) {
    fail({kernel, "", "keepProbability", std::to_string(keep), "more than 0 and at most 1",
          "It is the probability to keep an element, not to drop it."});
  }
  if (strides.width > 1 || strides.height > 1 || strides.depth > 1) {
    fail({kernel, "", "maskStrideInPixels", describe(strides), "0 or 1 in each place", ""});
  }
  const auto i32 = [](std::size_t value) { return static_cast<std::int32_t>(value); };
  return {keep, i32(strides.width), i32(strides.height), i32(strides.depth)};
}

TensorDesc mask_desc(const Dropout& op, std::int32_t images, std::int32_t h, std::int32_t w,
                     std::int32_t c) {
  return dense_desc(images, op.maskStrideY != 0 ? h : 1, op.maskStrideX != 0 ? w : 1,
                    op.maskStrideC != 0 ? c : 1, ElementType::uint8);
}

/// Calls use(first image, images, masks) for each run of states whose masks, of extents `one`, lie
/// one after the other.
template <class Use>
void for_each_mask(detail::Recording& recording, const StateBatch& states, const TensorDesc& one,
                   Use&& use) {
  const auto mask_of = [&](std::size_t i) {
    return static_cast<CNNDropoutGradientState*>(states[i].get())->mask_buffer();
  };
  detail::for_each_run(states.size(), mask_of, [&](std::int32_t first, std::int32_t count) {
    TensorDesc masks = one;
    masks.n = one.n * count;
    use(first * one.n, masks.n,
        detail::view_of(recording, mask_of(static_cast<std::size_t>(first)), masks));
  });
}

}  // namespace

// ---- state --------------------------------------------------------------------------------------

CNNDropoutGradientState::CNNDropoutGradientState(const detail::StateOrigin& origin, Buffer mask,
                                                 const TensorDesc& extents,
                                                 const CNNDropout& dropout)
    : NNGradientState(origin),
      mask_(extents),
      keep_(dropout.keepProbability()),
      strides_(dropout.maskStrideInPixels()) {
  add_buffer(mask.length());
  set_buffer(0, std::move(mask));
}

std::vector<std::uint8_t> CNNDropoutGradientState::maskData() {
  if (isTemporary()) {
    fail({class_name(), label(), "maskData", "of a temporary state", "a permanent state",
          "Encode with destinationStateIsTemporary false."});
  }
  return mask_buffer().values<std::uint8_t>();
}

// ---- forward ------------------------------------------------------------------------------------

CNNDropout::CNNDropout(const Device& device, float keepProbability, std::size_t seed,
                       Size maskStrideInPixels)
    : KernelOf(device), seed_(seed), strides_(maskStrideInPixels) {
  op_ = checked(keepProbability, strides_, "CNNDropout");
}

void CNNDropout::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("keepProbability", op_.keepProbability);
  coder("seed", seed_);
  coder("maskStrideInPixels", strides_);
  coder("encode_number", encodes_);
  if (coder.is_reading()) op_ = checked(keepProbability(), strides_, class_name());
}

StateBatch CNNDropout::make_state_batch(const detail::StateOrigin& origin,
                                        const ImageBatch& sources,
                                        const ImageBatch& destinations) const {
  const detail::ClipWindow region = detail::clip_window(clipRect(), destinations.front());
  const std::size_t have = sources.front().featureChannels(), first = sourceFeatureChannelOffset();
  const std::size_t channels =
      first >= have ? 0 : std::min(sourceFeatureChannelMaxCount(), have - first);
  const TensorDesc mask = mask_desc(op_, region.images, region.height, region.width,
                                    static_cast<std::int32_t>(channels));
  const auto bytes = static_cast<std::size_t>(mask.count());
  const Buffer masks = origin.make_buffer(sources.size() * bytes, false);
  std::vector<StatePtr> states;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    states.push_back(std::make_shared<CNNDropoutGradientState>(
        origin, detail::part_of(masks, i, bytes), mask, *this));
  }
  return states;
}

void CNNDropout::record(detail::UnaryEncoding& e) const {
  const TensorDesc& to = e.destination.desc;
  if (e.states != nullptr) {
    const auto count = static_cast<std::int32_t>(e.states->size());
    const TensorDesc needed = mask_desc(op_, to.n / count, to.h, to.w, to.c);
    if (e.states->shared() && count > 1) {
      complain("destinationStates", "one state for " + std::to_string(count) + " images",
               "a state for each image");
    }
    for (std::size_t i = 0; i < e.states->size(); ++i) {
      const auto state = e.states->at<CNNDropoutGradientState>(i);
      if (!state)
        complain("destinationStates", "of another kind", "CNNDropoutGradientState objects");
      if (state->mask() == needed && state->keepProbability() == keepProbability() &&
          state->maskStrideInPixels() == strides_) {
        continue;
      }
      complain("destinationStates", "for a mask of " + size(state->mask()),
               size(needed) + ", the mask of the region that is written",
               "Make the states after all properties of this kernel are final.");
    }
  }
  const auto source = e.aligned(*this);
  Dropout::Scalars scalars;
  scalars.seed = seed_;
  scalars.encode = encodes_++;
  scalars.first_image = e.first_image;
  const auto encode = [&](const std::array<TensorView, 3>& slots) {
    detail::encode(e.recording, memo_, view_of(op_), slots,
                   {.scalars = &scalars,
                    .scalar_bytes = sizeof scalars,
                    .counter = {&encodes_, offsetof(Dropout::Scalars, encode)}});
  };
  if (e.states == nullptr) {
    encode({source.view(), {}, e.destination});
    return;
  }
  const TensorDesc one = e.states->at<CNNDropoutGradientState>(0)->mask();
  for_each_mask(e.recording, *e.states, one,
                [&](std::int32_t first, std::int32_t count, const TensorView& masks) {
                  scalars.first_image = e.first_image + static_cast<std::uint32_t>(first);
                  encode({detail::images(source.view(), first, count), masks,
                          detail::images(e.destination, first, count)});
                });
}

// ---- gradient -----------------------------------------------------------------------------------

CNNDropoutGradient::CNNDropoutGradient(const Device& device, float keepProbability,
                                       std::size_t seed, Size maskStrideInPixels)
    : KernelOf(device), seed_(seed), strides_(maskStrideInPixels) {
  op_.forward = checked(keepProbability, strides_, "CNNDropoutGradient");
}

void CNNDropoutGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  coder("keepProbability", op_.forward.keepProbability);
  coder("seed", seed_);
  coder("maskStrideInPixels", strides_);
  if (coder.is_reading()) op_.forward = checked(keepProbability(), strides_, class_name());
}

void CNNDropoutGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  secondary_.offset = {-forward.offset.x, -forward.offset.y, 0};
}

void CNNDropoutGradient::check_state(const State* state) const {
  const auto* own = dynamic_cast<const CNNDropoutGradientState*>(state);
  if (own == nullptr) {
    complain("gradientState", state == nullptr ? "absent" : "of another kind",
             "a CNNDropoutGradientState", state_remedy);
  }
  if (own->keepProbability() != keepProbability()) {
    complain("keepProbability", std::to_string(keepProbability()),
             std::to_string(own->keepProbability()) + ", that of the forward kernel");
  }
  if (!(own->maskStrideInPixels() == strides_)) {
    complain("maskStrideInPixels", describe(strides_),
             describe(own->maskStrideInPixels()) + ", that of the forward kernel");
  }
}

void CNNDropoutGradient::check(const Image& gradient, const Image& source, const Image& destination,
                               const State* state, std::size_t count) const {
  check_state(state);
  CNNGradientKernel::check(gradient, source, destination, state, count);
}

void CNNDropoutGradient::record(detail::BinaryEncoding& e) const {
  const auto& front = static_cast<const CNNDropoutGradientState&>(*(*e.states)[0]);
  const TensorDesc& one = front.mask();
  const TensorDesc& to = e.destination.desc;
  const auto states = static_cast<std::int32_t>(e.states->size());
  const std::int32_t channels = strides_.depth != 0 ? to.c : 1;
  for (std::size_t i = 0; i < e.states->size(); ++i) {
    check_state((*e.states)[i].get());
    const auto& mask = static_cast<const CNNDropoutGradientState&>(*(*e.states)[i]).mask();
    if (mask == one && mask.c == channels && mask.n * states == to.n &&
        !(e.states->shared() && states > 1))
      continue;
    complain("gradientStates",
             "for a mask of " + size(mask) + " for " + std::to_string(mask.n) + " images",
             std::to_string(to.n / states) + " of " + std::to_string(channels) +
                 " channels for each image",
             state_remedy);
  }
  const detail::WrittenRegion written(e.primary, primaryOffset(), &front.forward());
  const detail::AlignedSource gradient(e.recording, written.view, written.offset, e.width, e.height,
                                       ImageEdgeMode::Zero);
  DropoutGradient op = op_;
  op.shiftX = static_cast<std::int32_t>(secondaryOffset().x);
  op.shiftY = static_cast<std::int32_t>(secondaryOffset().y);
  for_each_mask(e.recording, *e.states, one,
                [&](std::int32_t first, std::int32_t count, const TensorView& masks) {
                  detail::encode(e.recording, memo_, op,
                                 {detail::images(gradient.view(), first, count), masks,
                                  detail::images(e.destination, first, count)});
                });
}

}  // namespace cermet
