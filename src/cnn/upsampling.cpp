#include "cermet/cnn/upsampling.h"

#include <limits>

#include "cermet/ops/copy.h"
#include "cnn/encoding.h"
#include "cnn/sampling.h"
#include "cnn/written_region.h"

namespace cermet {
namespace {

/// What a gradient does not find in the geometry of its forward encode.
struct UpsamplingState final : NNGradientState {
  UpsamplingState(const detail::StateOrigin& origin, const CNNUpsampling& kernel)
      : NNGradientState(origin),
        scale_x(kernel.scaleFactorX()),
        scale_y(kernel.scaleFactorY()),
        aligns_corners(kernel.alignCorners()) {}
  double scale_x, scale_y;
  bool aligns_corners;
};

constexpr double most_pixels = std::numeric_limits<std::int32_t>::max();

SamplingGrid grid_of(double scale_x, double scale_y, const TensorDesc& source, bool align_corners,
                     Offset offset) {
  const auto axis = [&](std::int32_t extent, double scale, std::ptrdiff_t from) {
    return detail::sampling_axis(extent, extent * static_cast<std::int32_t>(scale), align_corners,
                                 from);
  };
  return {axis(source.w, scale_x, offset.x), axis(source.h, scale_y, offset.y)};
}

std::string factors(double x, double y) {
  return std::to_string(static_cast<std::int64_t>(x)) + "x" +
         std::to_string(static_cast<std::int64_t>(y));
}

/// Empty, or what is needed of a source.
std::string size_problem(const Image& source, double scale_x, double scale_y) {
  if (static_cast<double>(source.width()) * scale_x <= most_pixels &&
      static_cast<double>(source.height()) * scale_y <= most_pixels)
    return {};
  return "at most " + std::to_string(std::numeric_limits<std::int32_t>::max()) +
         " pixels along an axis after scaling by " + factors(scale_x, scale_y);
}

}  // namespace

void CNNUpsampling::adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) {
  descriptor.width = sourceImages[0].width() * static_cast<std::size_t>(scaleFactorX());
  descriptor.height = sourceImages[0].height() * static_cast<std::size_t>(scaleFactorY());
}

void CNNUpsampling::check(const Image& source, const Image&, std::size_t) const {
  if (std::string needed = size_problem(source, scaleFactorX(), scaleFactorY()); !needed.empty())
    complain("sourceImage", detail::describe(source), std::move(needed));
}

StatePtr CNNUpsampling::make_state(const detail::StateOrigin& origin, const Image&,
                                   const Image&) const {
  return std::make_shared<UpsamplingState>(origin, *this);
}

void CNNUpsampling::record_with(detail::UnaryEncoding& e, detail::StepMemo& memo,
                                SamplingGrid& grid, const OpView& op) const {
  grid = grid_of(scaleFactorX(), scaleFactorY(), e.source.desc, alignCorners(), offset());
  detail::encode(e.recording, memo, op, std::array{e.source, e.destination});
}

void CNNUpsamplingGradient::apply(const ForwardRecord& forward) {
  CNNGradientKernel::apply(forward);
  primary_.offset = {static_cast<std::ptrdiff_t>(forward.clipRect.origin.x),
                     static_cast<std::ptrdiff_t>(forward.clipRect.origin.y), 0};
  secondary_.offset = {forward.offset.x, forward.offset.y, 0};
}

void CNNUpsamplingGradient::check(const Image& gradient, const Image& source,
                                  const Image& destination, const State* state,
                                  std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  if (std::string needed = size_problem(source, scaleFactorX(), scaleFactorY()); !needed.empty())
    complain("sourceImage", detail::describe(source), std::move(needed));
  const auto* forward = dynamic_cast<const UpsamplingState*>(state);
  if (forward != nullptr &&
      (forward->scale_x != scaleFactorX() || forward->scale_y != scaleFactorY())) {
    complain("gradientState", "for factors " + factors(forward->scale_x, forward->scale_y),
             factors(scaleFactorX(), scaleFactorY()) + ", the factors of this kernel",
             "Make the gradient kernel with the factors of the forward kernel.");
  }
  const Origin first = forward != nullptr ? forward->forward().clipRect.origin : Origin{};
  if (primary_.offset.x < static_cast<std::ptrdiff_t>(first.x) ||
      primary_.offset.y < static_cast<std::ptrdiff_t>(first.y)) {
    complain("primaryOffset",
             std::to_string(primary_.offset.x) + ", " + std::to_string(primary_.offset.y),
             forward != nullptr
                 ? "the forward clipRect's origin or more: the first gradient pixel to use"
                 : "0 or more: the first gradient pixel to use");
  }
}

bool CNNUpsamplingGradient::aligned_corners(const detail::BinaryEncoding& e, bool otherwise) const {
  if (e.states == nullptr) return otherwise;
  const auto* forward = dynamic_cast<const UpsamplingState*>((*e.states)[0].get());
  return forward != nullptr ? forward->aligns_corners : otherwise;
}

void CNNUpsamplingGradient::record_with(detail::BinaryEncoding& e, detail::StepMemo& memo,
                                        SamplingGrid& grid, std::int32_t& sourceWidth,
                                        std::int32_t& sourceHeight, bool alignCorners,
                                        const OpView& op) const {
  const detail::WrittenRegion written(e.primary, primaryOffset(), detail::forward_of(e.states));
  const auto [x, y, z] = written.offset;
  const TensorDesc& region = written.view.desc;
  if (x >= region.w || y >= region.h) {
    detail::encode(e.recording, memo, Fill{}, {e.destination});
    return;
  }
  const TensorDesc& source = e.secondary.desc;
  sourceWidth = source.w;
  sourceHeight = source.h;
  grid = grid_of(scaleFactorX(), scaleFactorY(), source, alignCorners, secondaryOffset());
  const TensorView used =
      detail::window(written.view, x, y, region.w - static_cast<std::int32_t>(x),
                     region.h - static_cast<std::int32_t>(y));
  detail::encode(e.recording, memo, op, std::array{used, e.destination});
}

}  // namespace cermet
