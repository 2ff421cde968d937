#include "cermet/cnn/kernel_shapes.h"

#include "cermet/ops/copy.h"
#include "cnn/gradient_state.h"
#include "cnn/incoming_gradient.h"
#include "cnn/written_region.h"

namespace cermet::detail {
namespace {

/// Places windows so that output (0, 0) is centred on `offset`.
void place(Window& window, Offset offset, ImageEdgeMode edge) {
  window.padLeft = window.kernelWidth / 2 - static_cast<std::int32_t>(offset.x);
  window.padTop = window.kernelHeight / 2 - static_cast<std::int32_t>(offset.y);
  window.clampEdges = edge == ImageEdgeMode::Clamp ? 1 : 0;
}

}  // namespace

std::int32_t field_of(std::size_t size) {
  return size <= std::size_t{std::numeric_limits<std::int32_t>::max()}
             ? static_cast<std::int32_t>(size)
             : 0;
}

Window window_of(std::size_t kernelWidth, std::size_t kernelHeight) {
  Window window;
  window.kernelWidth = field_of(kernelWidth);
  window.kernelHeight = field_of(kernelHeight);
  return window;
}

StatePtr geometry_state(const StateOrigin& origin) {
  return std::make_shared<GeometryState>(origin);
}

std::string window_size(const Window& window) {
  return std::to_string(window.kernelWidth) + "x" + std::to_string(window.kernelHeight);
}

std::string other_window(const State* state, const Window& window) {
  const auto* gradient_state = dynamic_cast<const NNGradientState*>(state);
  if (gradient_state == nullptr) return {};
  Window forward;
  forward.kernelWidth = static_cast<std::int32_t>(gradient_state->forward().kernelWidth);
  forward.kernelHeight = static_cast<std::int32_t>(gradient_state->forward().kernelHeight);
  const std::string size = window_size(forward);
  return size == window_size(window) ? "" : size;
}

void record_pixels(const CNNKernel& kernel, UnaryEncoding& e, StepMemo& memo, const OpView& op) {
  const AlignedSource source = e.aligned(kernel);
  encode(e.recording, memo, op, std::array{source.view(), e.destination});
}

void record_pixel_gradient(const CNNGradientKernel& kernel, BinaryEncoding& e, StepMemo& memo,
                           const OpView& op) {
  const IncomingGradient gradient(kernel, e);
  const AlignedSource source(e.recording, e.secondary, kernel.secondaryOffset(), e.width, e.height,
                             kernel.secondaryEdgeMode());
  encode(e.recording, memo, op, std::array{gradient.view(), source.view(), e.destination});
}

void record_windows(const CNNKernel& kernel, UnaryEncoding& e, StepMemo& memo, Window& window,
                    const OpView& op) {
  place(window, kernel.offset(), kernel.edgeMode());
  encode(e.recording, memo, op, std::array{e.source, e.destination});
}

// The operator's output o is a pixel of the gradient region and its source positions are those of
// the whole source image, so that edges are where they were in the forward encode.
void record_window_gradient(const CNNGradientKernel& kernel, BinaryEncoding& e, StepMemo& memo,
                            StepMemo& copy_memo, Window& window, const OpView& op) {
  const WrittenRegion gradient(e.primary, kernel.primaryOffset(), forward_of(e.states));
  const Offset source = kernel.secondaryOffset();
  place(window, {source.x - gradient.offset.x, source.y - gradient.offset.y, 0},
        kernel.secondaryEdgeMode());
  const TensorDesc& from = e.secondary.desc;
  const bool same_frame = source.x == 0 && source.y == 0 && e.width == from.w && e.height == from.h;
  if (same_frame) {
    encode(e.recording, memo, op, std::array{gradient.view, e.secondary, e.destination});
    return;
  }
  TensorDesc frame = from;
  frame.type = e.destination.desc.type;
  const ScratchTensor all(e.recording, frame);
  encode(e.recording, memo, op, std::array{gradient.view, e.secondary, all.view});
  const AlignedSource part(e.recording, all.view, source, e.width, e.height, ImageEdgeMode::Zero);
  encode(e.recording, copy_memo, Copy{}, {part.view(), e.destination});
}

}  // namespace cermet::detail
