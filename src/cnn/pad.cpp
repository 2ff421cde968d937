#include "cermet/cnn/pad.h"

#include <limits>

#include "cnn/planning.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

std::int32_t i32(auto value) { return static_cast<std::int32_t>(value); }

constexpr auto most = std::size_t{std::numeric_limits<std::int32_t>::max()};

bool is_too_large(const ImageCoordinate& size) {
  return size.x > most || size.y > most || size.channel > most;
}
std::string text_of(const ImageCoordinate& size) {
  return std::to_string(size.x) + ", " + std::to_string(size.y) + ", " +
         std::to_string(size.channel);
}
void code_size(const Coder& coder, std::string_view key, ImageCoordinate& size) {
  Size coded{size.x, size.y, size.channel};
  coder(key, coded);
  size = {coded.width, coded.height, coded.depth};
  if (is_too_large(size)) coder.refuse(key, text_of(size), "sizes below 2^31");
}

/// Carries the padding of channels from a forward encode to its gradient.
class PadState final : public NNGradientState {
 public:
  explicit PadState(const detail::StateOrigin& origin) : NNGradientState(origin) {}
  void set_channels(std::size_t before, std::size_t after) {
    before_ = before;
    after_ = after;
  }
  ImageDescriptor destinationImageDescriptor(std::span<const Image> images,
                                             std::span<const StatePtr> states, Kernel& kernel,
                                             const ImageDescriptor& suggested) override {
    if (auto* gradient = dynamic_cast<NNPadGradient*>(&kernel))
      gradient->set_padding_channels(before_, after_);
    return NNGradientState::destinationImageDescriptor(images, states, kernel, suggested);
  }

 private:
  std::size_t before_ = 0, after_ = 0;
};

}  // namespace

NNPad::NNPad(const Device& device, const ImageCoordinate& paddingSizeBefore,
             const ImageCoordinate& paddingSizeAfter)
    : NNPad(device, paddingSizeBefore, paddingSizeAfter, {}) {}

NNPad::NNPad(const Device& device, const ImageCoordinate& paddingSizeBefore,
             const ImageCoordinate& paddingSizeAfter, std::span<const float> fillValueArray)
    : Concrete(device), fill_values_(fillValueArray.begin(), fillValueArray.end()) {
  setPaddingSizeBefore(paddingSizeBefore);
  setPaddingSizeAfter(paddingSizeAfter);
  move_to(device);
}

void NNPad::setPaddingSizeBefore(const ImageCoordinate& size) {
  if (is_too_large(size)) complain("paddingSizeBefore", text_of(size), "sizes below 2^31");
  before_ = size;
}
void NNPad::setPaddingSizeAfter(const ImageCoordinate& size) {
  if (is_too_large(size)) complain("paddingSizeAfter", text_of(size), "sizes below 2^31");
  after_ = size;
}

void NNPad::code(Coder& coder) {
  CNNKernel::code(coder);
  code_size(coder, "paddingSizeBefore", before_);
  code_size(coder, "paddingSizeAfter", after_);
  coder("fillValue", fill_value_);
  coder("fillValueArray", fill_values_);
  if (coder.is_reading()) move_to(device());
}
void NNPad::move_to(const Device& device) {
  Concrete::move_to(device);
  fill_ = fill_values_.empty()
              ? Buffer()
              : device.makeBuffer(fill_values_.data(), fill_values_.size() * sizeof(float));
}

void NNPad::check(const Image& source, const Image&, std::size_t) const {
  const std::size_t written =
      channels(detail::available_channels(source, sourceFeatureChannelOffset(),
                                          sourceFeatureChannelMaxCount()))
          .written;
  if (fill_values_.empty() || fill_values_.size() >= written) return;
  complain("fillValueArray", std::to_string(fill_values_.size()) + " values",
           std::to_string(written) + ", one for each channel that is written");
}

void NNPad::adjust(ImageDescriptor& descriptor, std::span<const Image>) {
  descriptor.width += before_.x + after_.x;
  descriptor.height += before_.y + after_.y;
  setOffset({-static_cast<std::ptrdiff_t>(before_.x), -static_cast<std::ptrdiff_t>(before_.y), 0});
}

void NNPad::record(detail::UnaryEncoding& e) const {
  for (std::size_t i = 0; e.states != nullptr && i < e.states->size(); ++i) {
    if (auto* state = dynamic_cast<PadState*>((*e.states)[i].get()))
      state->set_channels(before_.channel, after_.channel);
  }
  const bool by_channel = edgeMode() == ImageEdgeMode::Constant && fill_;
  const Pad op{edgeMode(), i32(offset().x), i32(offset().y), -i32(before_.channel),
               by_channel ? 0 : fill_value_};
  const TensorView fill = by_channel
                              ? detail::view_of(e.recording, fill_, flat_desc(e.destination.desc.c))
                              : TensorView();
  detail::encode(e.recording, memo_, op, {e.source, fill, e.destination});
}

StatePtr NNPad::make_state(const detail::StateOrigin& origin, const Image&, const Image&) const {
  return std::make_shared<PadState>(origin);
}

void NNPadGradient::set_padding_channels(std::size_t before, std::size_t after) {
  if (before > most || after > most) {
    complain("padding_channels", std::to_string(before) + ", " + std::to_string(after),
             "numbers below 2^31");
  }
  channels_before_ = before;
  channels_after_ = after;
}

void NNPadGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  ImageCoordinate before{0, 0, channels_before_}, after{0, 0, channels_after_};
  code_size(coder, "padding_before", before);
  code_size(coder, "padding_after", after);
  set_padding_channels(before.channel, after.channel);
}

void NNPadGradient::record(detail::BinaryEncoding& e) const {
  const detail::WrittenRegion gradient(e.primary, primaryOffset(), detail::forward_of(e.states));
  const Offset source = secondaryOffset();
  const PadGradient op{{secondaryEdgeMode(), i32(source.x - gradient.offset.x),
                        i32(source.y - gradient.offset.y), -i32(channels_before_)},
                       i32(source.x),
                       i32(source.y),
                       e.secondary.desc.w,
                       e.secondary.desc.h};
  detail::encode(e.recording, memo_, op, {gradient.view, e.destination});
}

}  // namespace cermet
