#include "cermet/cnn/pooling.h"

#include <algorithm>
#include <limits>

#include "cermet/ops/copy.h"
#include "cnn/gradient_state.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

std::int32_t i32(std::size_t value) { return static_cast<std::int32_t>(value); }

/// What a pooling kernel keeps of its windows, along x and y.
struct Sizes {
  std::size_t taps[2], strides[2], dilations[2];
};

std::string pair(const std::size_t (&values)[2], const char* between = ", ") {
  return std::to_string(values[0]) + between + std::to_string(values[1]);
}

void check_sizes(std::string_view name, const Sizes& s) {
  const bool dilated = s.dilations[0] != 1 || s.dilations[1] != 1;
  const auto complain = [&](std::string needed) {
    fail({name, "", "the window",
          pair(s.taps, "x") + " with strides " + pair(s.strides) +
              (dilated ? " and dilation rates " + pair(s.dilations) : ""),
          std::move(needed), ""});
  };
  constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
  for (const int axis : {0, 1}) {
    const std::size_t taps = s.taps[axis], stride = s.strides[axis], rate = s.dilations[axis];
    if (taps == 0 || stride == 0 || rate == 0) {
      complain(dilated ? "sizes, strides and dilation rates of 1 or more"
                       : "sizes and strides of 1 or more");
    }
    if (stride > most || rate > most || taps - 1 > (most - 1) / rate)
      complain("strides and an extent of at most " + std::to_string(most) + " pixels");
  }
}

Window placed_window(const Sizes& s, Offset offset, ImageEdgeMode edge) {
  const auto pad = [&](int axis, std::ptrdiff_t centre) {
    const std::size_t extent = (s.taps[axis] - 1) * s.dilations[axis] + 1;
    return static_cast<std::int32_t>(static_cast<std::ptrdiff_t>(extent / 2) - centre);
  };
  return {i32(s.taps[0]),      i32(s.taps[1]),      i32(s.strides[0]),
          i32(s.strides[1]),   pad(0, offset.x),    pad(1, offset.y),
          i32(s.dilations[0]), i32(s.dilations[1]), edge == ImageEdgeMode::Clamp ? 1 : 0};
}

Sizes sizes_of(const CNNPooling& k) {
  return {{k.kernelWidth(), k.kernelHeight()},
          {k.strideInPixelsX(), k.strideInPixelsY()},
          {k.dilationRateX(), k.dilationRateY()}};
}
Sizes sizes_of(const SourceGeometry& g) {
  return {{g.kernelWidth, g.kernelHeight},
          {g.strideInPixelsX, g.strideInPixelsY},
          {g.dilationRateX, g.dilationRateY}};
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

void CNNPooling::check_window() const { check_sizes(class_name(), sizes_of(*this)); }
void CNNPooling::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("kernelWidth", kernel_width_);
  coder("kernelHeight", kernel_height_);
  coder("strideInPixelsX", stride_x_);
  coder("strideInPixelsY", stride_y_);
  check_window();
}

Window CNNPooling::window() const { return placed_window(sizes_of(*this), offset(), edgeMode()); }

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

CNNDilatedPoolingMax::CNNDilatedPoolingMax(const Device& device, std::size_t kernelWidth,
                                           std::size_t kernelHeight, std::size_t dilationRateX,
                                           std::size_t dilationRateY, std::size_t strideInPixelsX,
                                           std::size_t strideInPixelsY)
    : Concrete(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY),
      dilation_x_(dilationRateX),
      dilation_y_(dilationRateY) {
  check_window();
}

void CNNDilatedPoolingMax::code(Coder& coder) {
  CNNPooling::code(coder);
  coder("dilationRateX", dilation_x_);
  coder("dilationRateY", dilation_y_);
  check_window();
}

void CNNDilatedPoolingMax::record(detail::UnaryEncoding& e) const {
  detail::encode(e.recording, memo_, PoolingMax{window()}, {e.source, e.destination});
}

CNNPoolingL2Norm::CNNPoolingL2Norm(const Device& device, std::size_t kernelWidth,
                                   std::size_t kernelHeight, std::size_t strideInPixelsX,
                                   std::size_t strideInPixelsY)
    : Concrete(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingL2Norm::record(detail::UnaryEncoding& e) const {
  detail::encode(e.recording, memo_, PoolingL2Norm{window()}, {e.source, e.destination});
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

void CNNPoolingGradient::check_window() const { check_sizes(class_name(), sizes_of(secondary_)); }
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
  return placed_window(sizes_of(secondary_), secondary_.offset, secondary_.edgeMode);
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
  check_window();
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

template <class Op>
void CNNPoolingGradient::record_with_source(detail::BinaryEncoding& e) const {
  const TensorView gradient = used_gradient(e);
  if (!gradient.desc.present()) {
    detail::encode(e.recording, memo_, Fill{}, {e.destination});
    return;
  }
  const auto [x, y] = destination_origin();
  detail::encode(e.recording, memo_, Op{{window()}, x, y}, {gradient, e.secondary, e.destination});
}

CNNPoolingMaxGradient::CNNPoolingMaxGradient(const Device& device, std::size_t kernelWidth,
                                             std::size_t kernelHeight, std::size_t strideInPixelsX,
                                             std::size_t strideInPixelsY)
    : CNNPoolingGradient(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingMaxGradient::record(detail::BinaryEncoding& e) const {
  record_with_source<PoolingMaxGradient>(e);
}

CNNDilatedPoolingMaxGradient::CNNDilatedPoolingMaxGradient(
    const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
    std::size_t dilationRateX, std::size_t dilationRateY, std::size_t strideInPixelsX,
    std::size_t strideInPixelsY)
    : Concrete(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  secondary_.dilationRateX = dilationRateX;
  secondary_.dilationRateY = dilationRateY;
  check_window();
}

void CNNDilatedPoolingMaxGradient::record(detail::BinaryEncoding& e) const {
  record_with_source<PoolingMaxGradient>(e);
}

CNNPoolingL2NormGradient::CNNPoolingL2NormGradient(const Device& device, std::size_t kernelWidth,
                                                   std::size_t kernelHeight,
                                                   std::size_t strideInPixelsX,
                                                   std::size_t strideInPixelsY)
    : Concrete(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  check_window();
}

void CNNPoolingL2NormGradient::record(detail::BinaryEncoding& e) const {
  record_with_source<PoolingL2NormGradient>(e);
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
