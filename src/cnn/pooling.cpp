#include "cermet/cnn/pooling.h"

#include <algorithm>

#include "cermet/ops/copy.h"
#include "cnn/gradient_state.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

std::int32_t i32(std::size_t value) { return static_cast<std::int32_t>(value); }

void check_sizes(std::string_view name, std::size_t width, std::size_t height, std::size_t stride_x,
                 std::size_t stride_y) {
  if (width != 0 && height != 0 && stride_x != 0 && stride_y != 0) return;
  fail({name, "", "the window",
        std::to_string(width) + "x" + std::to_string(height) + " with strides " +
            std::to_string(stride_x) + ", " + std::to_string(stride_y),
        "sizes and strides of 1 or more", ""});
}

/// Carries zeroPadSize from the forward average to its gradient.
class AverageState final : public NNGradientState {
 public:
  AverageState(const detail::StateOrigin& origin, std::size_t x, std::size_t y)
      : NNGradientState(origin), zero_pad_x_(x), zero_pad_y_(y) {}
  ImageDescriptor destinationImageDescriptor(std::span<const Image> images,
                                             std::span<const StatePtr> states, Kernel& kernel,
                                             const ImageDescriptor& suggested) override {
    if (auto* gradient = dynamic_cast<CNNPoolingAverageGradient*>(&kernel)) {
      gradient->setZeroPadSizeX(zero_pad_x_);
      gradient->setZeroPadSizeY(zero_pad_y_);
    }
    return NNGradientState::destinationImageDescriptor(images, states, kernel, suggested);
  }

 private:
  std::size_t zero_pad_x_, zero_pad_y_;
};

}  // namespace

CNNPooling::CNNPooling(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                       std::size_t strideInPixelsX, std::size_t strideInPixelsY)
    : CNNKernel(device),
      kernel_width_(kernelWidth),
      kernel_height_(kernelHeight),
      stride_x_(strideInPixelsX),
      stride_y_(strideInPixelsY) {}

void CNNPooling::check_window() const {
  check_sizes(class_name(), kernel_width_, kernel_height_, stride_x_, stride_y_);
}
void CNNPooling::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("kernelWidth", kernel_width_);
  coder("kernelHeight", kernel_height_);
  coder("strideInPixelsX", stride_x_);
  coder("strideInPixelsY", stride_y_);
  check_window();
}

Window CNNPooling::window() const {
  const auto pad = [](std::size_t taps, std::ptrdiff_t offset) {
    return static_cast<std::int32_t>(static_cast<std::ptrdiff_t>(taps / 2) - offset);
  };
  return {i32(kernel_width_),
          i32(kernel_height_),
          i32(stride_x_),
          i32(stride_y_),
          pad(kernel_width_, offset().x),
          pad(kernel_height_, offset().y),
          1,
          1,
          edgeMode() == ImageEdgeMode::Clamp ? 1 : 0};
}

StatePtr CNNPooling::make_state(const detail::StateOrigin& origin, const Image&,
                                const Image&) const {
  return std::make_shared<detail::GeometryState>(origin);
}

CNNPoolingMax::CNNPoolingMax(const Device& device, std::size_t kernelWidth,
                             std::size_t kernelHeight, std::size_t strideInPixelsX,
                             std::size_t strideInPixelsY)
    : CNNPooling(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingMax::record(detail::UnaryEncoding& e) const {
  detail::encode(e.recording, memo_, PoolingMax{window()}, {e.source, e.destination});
}

CNNPoolingAverage::CNNPoolingAverage(const Device& device, std::size_t kernelWidth,
                                     std::size_t kernelHeight, std::size_t strideInPixelsX,
                                     std::size_t strideInPixelsY)
    : CNNPooling(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingAverage::code(Coder& coder) {
  CNNPooling::code(coder);
  coder("zeroPadSizeX", zero_pad_x_);
  coder("zeroPadSizeY", zero_pad_y_);
}

void CNNPoolingAverage::record(detail::UnaryEncoding& e) const {
  detail::encode(e.recording, memo_, PoolingAverage{window(), i32(zero_pad_x_), i32(zero_pad_y_)},
                 {e.source, e.destination});
}

StatePtr CNNPoolingAverage::make_state(const detail::StateOrigin& origin, const Image&,
                                       const Image&) const {
  return std::make_shared<AverageState>(origin, zero_pad_x_, zero_pad_y_);
}

// ExcludeEdges asks for Caffe's rule: the divisor counts the padding that the policy applied.
void CNNPoolingAverage::adjust(ImageDescriptor&, std::span<const Image>) {
  if ((padding()->paddingMethod() & NNPaddingMethod::ExcludeEdges) == 0) return;
  setEdgeMode(ImageEdgeMode::Clamp);
  const Window now = window();
  zero_pad_x_ = static_cast<std::size_t>(std::max(now.padLeft, 0));
  zero_pad_y_ = static_cast<std::size_t>(std::max(now.padTop, 0));
}

CNNPoolingGradient::CNNPoolingGradient(const Device& device, std::size_t kernelWidth,
                                       std::size_t kernelHeight, std::size_t strideInPixelsX,
                                       std::size_t strideInPixelsY)
    : CNNGradientKernel(device) {
  primary_.strideInPixelsX = secondary_.strideInPixelsX = strideInPixelsX;
  primary_.strideInPixelsY = secondary_.strideInPixelsY = strideInPixelsY;
  secondary_.kernelWidth = kernelWidth;
  secondary_.kernelHeight = kernelHeight;
}

void CNNPoolingGradient::check_window() const {
  check_sizes(class_name(), secondary_.kernelWidth, secondary_.kernelHeight,
              secondary_.strideInPixelsX, secondary_.strideInPixelsY);
}
void CNNPoolingGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  coder("sourceSize", source_size_);
  coder("whole_image", whole_image_);
  check_window();
}

void CNNPoolingGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  primary_.offset = {static_cast<std::ptrdiff_t>(forward.clipRect.origin.x),
                     static_cast<std::ptrdiff_t>(forward.clipRect.origin.y), 0};
  secondary_.offset = {forward.offset.x, forward.offset.y, 0};
  const auto used = [](std::size_t origin, std::size_t size, std::size_t extent) {
    return origin >= extent ? std::size_t{0} : std::min(size, extent - origin);
  };
  source_size_ = {
      used(forward.clipRect.origin.x, forward.clipRect.size.width, forward.destinationWidth),
      used(forward.clipRect.origin.y, forward.clipRect.size.height, forward.destinationHeight),
      all_channels};
  whole_image_ = true;
}

Window CNNPoolingGradient::window() const {
  const auto pad = [](std::size_t taps, std::ptrdiff_t offset) {
    return static_cast<std::int32_t>(static_cast<std::ptrdiff_t>(taps / 2) - offset);
  };
  return {i32(secondary_.kernelWidth),
          i32(secondary_.kernelHeight),
          i32(secondary_.strideInPixelsX),
          i32(secondary_.strideInPixelsY),
          pad(secondary_.kernelWidth, secondary_.offset.x),
          pad(secondary_.kernelHeight, secondary_.offset.y),
          1,
          1,
          secondary_.edgeMode == ImageEdgeMode::Clamp ? 1 : 0};
}

CNNPoolingGradient::Origin2D CNNPoolingGradient::destination_origin() const {
  // From a state the result has the source's size and coordinates; by hand the clip rectangle's
  // origin stands for the first pixel that the first window reads.
  if (whole_image_) return {i32(clipRect().origin.x), i32(clipRect().origin.y)};
  const Window w = window();
  return {std::max(0, -w.padLeft), std::max(0, -w.padTop)};
}

TensorView CNNPoolingGradient::used_gradient(const detail::BinaryEncoding& e) const {
  const auto part = [](std::ptrdiff_t origin, std::size_t size, std::int32_t extent) {
    if (origin >= extent) return std::int32_t{0};
    return static_cast<std::int32_t>(
        std::min<std::size_t>(size, static_cast<std::size_t>(extent - origin)));
  };
  std::ptrdiff_t x = primary_.offset.x, y = primary_.offset.y;
  const ForwardRecord* forward = detail::forward_of(e.states);
  if (forward != nullptr && (e.primary.desc.w != i32(forward->destinationWidth) ||
                             e.primary.desc.h != i32(forward->destinationHeight))) {
    // The image is just the region that the forward encode wrote, and begins at its origin.
    x -= static_cast<std::ptrdiff_t>(forward->clipRect.origin.x);
    y -= static_cast<std::ptrdiff_t>(forward->clipRect.origin.y);
  }
  const std::int32_t w = part(x, source_size_.width, e.primary.desc.w);
  const std::int32_t h = part(y, source_size_.height, e.primary.desc.h);
  if (w == 0 || h == 0) return {};
  return detail::window(e.primary, x, y, w, h);
}

void CNNPoolingGradient::check(const Image& gradient, const Image& source, const Image& destination,
                               const State* state, std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  if (kernelOffsetX() != 0 || kernelOffsetY() != 0) {
    complain("kernelOffset",
             std::to_string(kernelOffsetX()) + ", " + std::to_string(kernelOffsetY()), "0, 0",
             "secondaryOffset places the windows of a pooling gradient.");
  }
  const auto* forward_state = dynamic_cast<const NNGradientState*>(state);
  const bool region =
      forward_state != nullptr && (gradient.width() != forward_state->forward().destinationWidth ||
                                   gradient.height() != forward_state->forward().destinationHeight);
  const Origin first = region ? forward_state->forward().clipRect.origin : Origin{};
  if (primary_.offset.x < static_cast<std::ptrdiff_t>(first.x) ||
      primary_.offset.y < static_cast<std::ptrdiff_t>(first.y)) {
    complain("primaryOffset",
             std::to_string(primary_.offset.x) + ", " + std::to_string(primary_.offset.y),
             region ? "the forward clipRect's origin or more: the first gradient pixel to use"
                    : "0 or more: the first gradient pixel to use");
  }
}

CNNPoolingMaxGradient::CNNPoolingMaxGradient(const Device& device, std::size_t kernelWidth,
                                             std::size_t kernelHeight, std::size_t strideInPixelsX,
                                             std::size_t strideInPixelsY)
    : CNNPoolingGradient(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingMaxGradient::record(detail::BinaryEncoding& e) const {
  const TensorView gradient = used_gradient(e);
  if (!gradient.desc.present()) {
    detail::encode(e.recording, memo_, Fill{}, {e.destination});
    return;
  }
  const auto [x, y] = destination_origin();
  detail::encode(e.recording, memo_, PoolingMaxGradient{{window()}, x, y},
                 {gradient, e.secondary, e.destination});
}

CNNPoolingAverageGradient::CNNPoolingAverageGradient(const Device& device, std::size_t kernelWidth,
                                                     std::size_t kernelHeight,
                                                     std::size_t strideInPixelsX,
                                                     std::size_t strideInPixelsY)
    : CNNPoolingGradient(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingAverageGradient::code(Coder& coder) {
  CNNPoolingGradient::code(coder);
  coder("zeroPadSizeX", zero_pad_x_);
  coder("zeroPadSizeY", zero_pad_y_);
}

void CNNPoolingAverageGradient::record(detail::BinaryEncoding& e) const {
  const TensorView gradient = used_gradient(e);
  if (!gradient.desc.present()) {
    detail::encode(e.recording, memo_, Fill{}, {e.destination});
    return;
  }
  const auto [x, y] = destination_origin();
  const PoolingAverageGradient op{
      {window(), i32(zero_pad_x_), i32(zero_pad_y_)}, x, y, e.secondary.desc.w, e.secondary.desc.h};
  detail::encode(e.recording, memo_, op, {gradient, e.destination});
}

}  // namespace cermet
