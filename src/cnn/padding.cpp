#include "cermet/cnn/padding.h"

#include <array>
#include <map>
#include <mutex>
#include <typeinfo>

#include "cermet/cnn/kernel.h"

namespace cermet {

ImageDescriptor NNPadding::destinationImageDescriptor(std::span<const Image>,
                                                      std::span<const StatePtr>, Kernel&,
                                                      const ImageDescriptor& suggestedDescriptor) {
  return suggestedDescriptor;
}

std::shared_ptr<NNDefaultPadding> NNDefaultPadding::padding(NNPaddingMethod method) {
  static std::mutex mutex;
  static std::map<NNPaddingMethod, std::shared_ptr<NNDefaultPadding>> known;
  const std::scoped_lock lock(mutex);
  auto& policy = known[method];
  if (!policy) policy = std::make_shared<NNDefaultPadding>(method);
  return policy;
}
std::shared_ptr<NNDefaultPadding> NNDefaultPadding::paddingForTensorflowAveragePooling() {
  using enum NNPaddingMethod;
  return padding(Custom | AddRemainderToBottomRight | SizeSame);
}
std::shared_ptr<NNDefaultPadding> NNDefaultPadding::paddingForTensorflowAveragePoolingValidOnly() {
  return padding(NNPaddingMethod::Custom | NNPaddingMethod::SizeValidOnly);
}

std::span<const Coder::Stock> NNPadding::stock() {
  static constexpr std::array<Coder::Stock, 1> policies{
      {{"NNDefaultPadding", [](Coder& coder) -> std::shared_ptr<Codable> {
          NNDefaultPadding read(NNPaddingMethod::SizeValidOnly);
          read.code(coder);
          return NNDefaultPadding::padding(read.paddingMethod());
        }}}};
  return policies;
}
bool NNDefaultPadding::supportsSecureCoding() const {
  return typeid(*this) == typeid(NNDefaultPadding);
}
void NNDefaultPadding::code(Coder& coder) { coder.flags("paddingMethod", method_); }

std::string NNDefaultPadding::label() const {
  static constexpr const char* size_names[] = {"valid", "same", "full", "reserved"};
  return std::string("NNDefaultPadding ") +
         size_names[(method_ & NNPaddingMethod::SizeMask) >> 4 & 3u];
}

ImageDescriptor NNDefaultPadding::destinationImageDescriptor(
    std::span<const Image>, std::span<const StatePtr>, Kernel& kernel,
    const ImageDescriptor& suggestedDescriptor) {
  if (auto* unary = dynamic_cast<CNNKernel*>(&kernel)) unary->setEdgeMode(ImageEdgeMode::Clamp);
  return suggestedDescriptor;
}

std::shared_ptr<NNPadding> NNDefaultPadding::inverse() const {
  using enum NNPaddingMethod;
  const auto bits = static_cast<unsigned>(method_);
  unsigned size = bits & static_cast<unsigned>(SizeMask);
  if (size == static_cast<unsigned>(SizeValidOnly)) {
    size = static_cast<unsigned>(SizeFull);
  } else if (size == static_cast<unsigned>(SizeFull)) {
    size = static_cast<unsigned>(SizeValidOnly);
  }
  const unsigned kept = bits & ~(static_cast<unsigned>(SizeMask) | static_cast<unsigned>(Custom));
  return padding(static_cast<NNPaddingMethod>(kept | size));
}

namespace {

std::ptrdiff_t style_of(NNPaddingMethod method) {
  return static_cast<std::ptrdiff_t>((method & NNPaddingMethod::SizeMask) >> 4) - 1;
}

}  // namespace

std::ptrdiff_t padded_extent(NNPaddingMethod method, std::size_t source, std::size_t window,
                             std::size_t stride, bool backwards) {
  const auto s = static_cast<std::ptrdiff_t>(source), k = static_cast<std::ptrdiff_t>(window),
             step = static_cast<std::ptrdiff_t>(stride);
  const std::ptrdiff_t style = style_of(method);
  return backwards ? (s - 1) * step + 1 + style * (k - 1) : (s + style * (k - 1) + step - 1) / step;
}

std::ptrdiff_t padded_offset(NNPaddingMethod method, bool horizontal, std::size_t source,
                             std::size_t destination, std::size_t window, std::size_t stride,
                             bool backwards) {
  const auto s = static_cast<std::ptrdiff_t>(source), k = static_cast<std::ptrdiff_t>(window),
             step = static_cast<std::ptrdiff_t>(stride),
             d = static_cast<std::ptrdiff_t>(destination);
  const std::ptrdiff_t extra =
      backwards ? (d - 1 + k) - ((s - 1) * step + 1) : (d - 1) * step + k - s;
  const auto towards_end = horizontal ? NNPaddingMethod::AddRemainderToTopRight
                                      : NNPaddingMethod::AddRemainderToBottomLeft;
  std::ptrdiff_t left = 0;
  switch (method & NNPaddingMethod::AlignMask) {
    case 1:
      left = extra;
      break;
    case 2:
      left = 0;
      break;
    default:
      left = (extra + ((method & towards_end) != 0 ? 0 : 1)) / 2;  // C truncation, as published
  }
  return k / 2 - left;
}

}  // namespace cermet
