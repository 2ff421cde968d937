#include <algorithm>

#include "cermet/cnn/normalization.h"
#include "cermet/ops/copy.h"
#include "cnn/gradient_state.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

Window window_of(std::size_t width, std::size_t height, std::string_view kernel) {
  for (const auto& [name, value] :
       {std::pair{"kernelWidth", width}, std::pair{"kernelHeight", height}}) {
    if (value == 0) fail({kernel, "", name, "0", "1 or more", ""});
  }
  Window window;
  window.kernelWidth = static_cast<std::int32_t>(width);
  window.kernelHeight = static_cast<std::int32_t>(height);
  return window;
}

/// Places windows so that output (0, 0) is centred on `offset`.
void place(Window& window, Offset offset, ImageEdgeMode edge) {
  window.padLeft = window.kernelWidth / 2 - static_cast<std::int32_t>(offset.x);
  window.padTop = window.kernelHeight / 2 - static_cast<std::int32_t>(offset.y);
  window.clampEdges = edge == ImageEdgeMode::Clamp ? 1 : 0;
}

/// The fields of both kernels.
void code(Coder& coder, SpatialNormalization& op, std::string_view kernel) {
  coder("kernelWidth", op.window.kernelWidth);
  coder("kernelHeight", op.window.kernelHeight);
  coder("alpha", op.alpha);
  coder("beta", op.beta);
  coder("delta", op.delta);
  if (!coder.is_reading()) return;
  op.window = window_of(static_cast<std::size_t>(std::max(op.window.kernelWidth, 0)),
                        static_cast<std::size_t>(std::max(op.window.kernelHeight, 0)), kernel);
}

}  // namespace

CNNSpatialNormalization::CNNSpatialNormalization(const Device& device, std::size_t kernelWidth,
                                                 std::size_t kernelHeight)
    : KernelOf(device) {
  op_.window = window_of(kernelWidth, kernelHeight, "CNNSpatialNormalization");
}

void CNNSpatialNormalization::code(Coder& coder) {
  CNNKernel::code(coder);
  cermet::code(coder, op_, class_name());
}

std::size_t CNNSpatialNormalization::kernelWidth() const {
  return static_cast<std::size_t>(op_.window.kernelWidth);
}
std::size_t CNNSpatialNormalization::kernelHeight() const {
  return static_cast<std::size_t>(op_.window.kernelHeight);
}

void CNNSpatialNormalization::record(detail::UnaryEncoding& e) const {
  SpatialNormalization op = op_;
  place(op.window, offset(), edgeMode());
  detail::encode(e.recording, memo_, op, {e.source, e.destination});
}

StatePtr CNNSpatialNormalization::make_state(const detail::StateOrigin& origin, const Image&,
                                             const Image&) const {
  return std::make_shared<detail::GeometryState>(origin);
}

CNNSpatialNormalizationGradient::CNNSpatialNormalizationGradient(const Device& device,
                                                                 std::size_t kernelWidth,
                                                                 std::size_t kernelHeight)
    : KernelOf(device) {
  op_.forward.window = window_of(kernelWidth, kernelHeight, "CNNSpatialNormalizationGradient");
  primary_.kernelWidth = secondary_.kernelWidth = kernelWidth;
  primary_.kernelHeight = secondary_.kernelHeight = kernelHeight;
}

void CNNSpatialNormalizationGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  cermet::code(coder, op_.forward, class_name());
}

std::size_t CNNSpatialNormalizationGradient::kernelWidth() const {
  return static_cast<std::size_t>(op_.forward.window.kernelWidth);
}
std::size_t CNNSpatialNormalizationGradient::kernelHeight() const {
  return static_cast<std::size_t>(op_.forward.window.kernelHeight);
}

void CNNSpatialNormalizationGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  secondary_.kernelWidth = kernelWidth();
  secondary_.kernelHeight = kernelHeight();
}

void CNNSpatialNormalizationGradient::check(const Image& gradient, const Image& source,
                                            const Image& destination, const State* state,
                                            std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const auto* forward_state = dynamic_cast<const NNGradientState*>(state);
  if (forward_state == nullptr) return;
  const ForwardRecord& forward = forward_state->forward();
  if (forward.kernelWidth == kernelWidth() && forward.kernelHeight == kernelHeight()) return;
  const auto size = [](std::size_t w, std::size_t h) {
    return std::to_string(w) + "x" + std::to_string(h);
  };
  complain("gradientState", "for a window of " + size(forward.kernelWidth, forward.kernelHeight),
           size(kernelWidth(), kernelHeight()) + ", the window of this kernel",
           "Make the gradient kernel with the window of the forward kernel.");
}

// The operator's output o is a pixel of the gradient region and its source positions are those of
// the whole source image, so that edges are where they were in the forward encode.
void CNNSpatialNormalizationGradient::record(detail::BinaryEncoding& e) const {
  const detail::WrittenRegion gradient(e.primary, primaryOffset(), detail::forward_of(e.states));
  const Offset source = secondaryOffset();
  SpatialNormalizationGradient op = op_;
  place(op.forward.window, {source.x - gradient.offset.x, source.y - gradient.offset.y, 0},
        secondaryEdgeMode());
  const TensorDesc& from = e.secondary.desc;
  const bool same_frame = source.x == 0 && source.y == 0 && e.width == from.w && e.height == from.h;
  if (same_frame) {
    detail::encode(e.recording, memo_, op, {gradient.view, e.secondary, e.destination});
    return;
  }
  TensorDesc frame = from;
  frame.type = e.destination.desc.type;
  const detail::ScratchTensor all(e.recording, frame);
  detail::encode(e.recording, memo_, op, {gradient.view, e.secondary, all.view});
  const detail::AlignedSource part(e.recording, all.view, source, e.width, e.height,
                                   ImageEdgeMode::Zero);
  detail::encode(e.recording, copy_memo_, Copy{}, {part.view(), e.destination});
}

}  // namespace cermet
