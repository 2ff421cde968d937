#include "cermet/cnn/reduce.h"

#include <algorithm>

#include "cermet/ops/copy.h"
#include "cnn/encoding.h"

namespace cermet {

using detail::clip_window;
using detail::ClipWindow;

namespace {

bool empty(const ClipWindow& part) {
  return part.width == 0 || part.height == 0 || part.images == 0;
}
/// Of an image that is made for results; one pixel where there is no result.
std::size_t extent(std::int32_t results) {
  return static_cast<std::size_t>(std::max(results, std::int32_t{1}));
}
/// Extents that both have.
TensorView cut(const TensorView& view, std::int32_t images, std::int32_t w, std::int32_t h) {
  return detail::images(detail::window(view, 0, 0, w, h), 0, images);
}
void fill_zero(detail::Recording& recording, const TensorView& destination) {
  detail::StepMemo once;
  detail::encode(recording, once, Fill{}, {destination});
}

}  // namespace

// ---- one source ---------------------------------------------------------------------------------

NNReduceUnary::NNReduceUnary(const Device& device, ReduceAxis axis, ReduceKind kind)
    : CNNKernel(device) {
  op_.axis = axis;
  op_.kind = kind;
}

void NNReduceUnary::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("clipRectSource", clip_source_);
  if (op_.axis == ReduceAxis::feature_channels && op_.kind == ReduceKind::sum)
    coder("weight", op_.weight);
}

bool NNReduceUnary::is_sum() const {
  return op_.kind == ReduceKind::sum || op_.kind == ReduceKind::mean;
}

CNNKernel::Channels NNReduceUnary::channels(std::size_t available) const {
  return {available, op_.axis == ReduceAxis::feature_channels ? 1 : available};
}

void NNReduceUnary::adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) {
  const ClipWindow part = clip_window(clip_source_, sourceImages[0]);
  if (empty(part) && !is_sum()) {
    complain("clipRectSource", detail::describe(clip_source_),
             detail::region_of("the source", sourceImages[0]));
  }
  descriptor.width = op_.axis == ReduceAxis::row ? 1 : extent(part.width);
  descriptor.height = op_.axis == ReduceAxis::column ? 1 : extent(part.height);
  descriptor.numberOfImages = extent(part.images);
}

void NNReduceUnary::record(detail::UnaryEncoding& e) const {
  TensorView& to = e.destination;
  if (e.source.desc.count() == 0) {
    if (is_sum()) {
      fill_zero(e.recording, to);
    } else {
      to = cut(to, to.desc.n, 0, 0);
    }
    return;
  }
  const TensorDesc from = e.source.desc;
  const bool row = op_.axis == ReduceAxis::row, column = op_.axis == ReduceAxis::column;
  to = cut(to, std::min(from.n, to.desc.n), std::min(row ? 1 : from.w, to.desc.w),
           std::min(column ? 1 : from.h, to.desc.h));
  const TensorView source =
      cut(e.source, to.desc.n, row ? from.w : to.desc.w, column ? from.h : to.desc.h);
  detail::encode(e.recording, memo_, op_, {source, to});
}

// ---- two sources --------------------------------------------------------------------------------

void NNReduceBinary::code(Coder& coder) {
  CNNBinaryKernel::code(coder);
  coder("primarySourceClipRect", clips_[0]);
  coder("secondarySourceClipRect", clips_[1]);
}

void NNReduceBinary::plan_default(ImageDescriptor& descriptor,
                                  std::span<const Image> sourceImages) {
  const ClipWindow part = clip_window(clips_[0], sourceImages[0]);
  descriptor.width = extent(part.width);
  descriptor.height = extent(part.height);
  descriptor.numberOfImages = extent(part.images);
}

void NNReduceBinary::check(const Image& primary, const Image& secondary, const Image& destination,
                           const State*, std::size_t) const {
  const ClipWindow first = clip_window(clips_[0], primary);
  if (empty(first)) return;
  const ClipWindow second = clip_window(clips_[1], secondary);
  if (empty(second)) {
    complain("secondarySourceClipRect", detail::describe(clips_[1]),
             detail::region_of("the secondary source", secondary));
  }
  const ClipWindow to = clip_window(clipRect(), destination);
  const auto serves = [](std::int32_t have, std::int32_t a, std::int32_t b) {
    return have == 1 || have >= std::min(a, b);
  };
  if (!serves(second.images, first.images, to.images)) {
    complain("secondaryImage", std::to_string(second.images) + " images",
             std::to_string(std::min(first.images, to.images)) +
                 ", as many as are reduced, or 1 that serves all");
  }
  if (pairs_pixels() && (!serves(second.width, first.width, to.width) ||
                         !serves(second.height, first.height, to.height))) {
    const auto size = [](std::int32_t w, std::int32_t h) {
      return std::to_string(w) + "x" + std::to_string(h);
    };
    complain("secondaryImage",
             size(second.width, second.height) + " pixels in secondarySourceClipRect",
             size(std::min(first.width, to.width), std::min(first.height, to.height)) +
                 ", one for each result, or 1 along an axis");
  }
}

void NNReduceBinary::record(detail::BinaryEncoding& e) const {
  TensorView& to = e.destination;
  const TensorDesc from = e.primary.desc;
  if (from.count() == 0) {
    fill_zero(e.recording, to);
    return;
  }
  to = cut(to, std::min(from.n, to.desc.n), std::min(from.w, to.desc.w),
           std::min(from.h, to.desc.h));
  e.primary = cut(e.primary, to.desc.n, to.desc.w, to.desc.h);
  if (e.secondary.desc.n > 1) e.secondary = detail::images(e.secondary, 0, to.desc.n);
  record_results(e);
}

void detail::WeightedReduceKernel::record_results(BinaryEncoding& e) const {
  const auto serving = [](std::int32_t have, std::int32_t needed) {
    return have == 1 ? 1 : needed;
  };
  TensorView& weights = e.secondary;
  weights = cut(weights, weights.desc.n, serving(weights.desc.w, e.primary.desc.w),
                serving(weights.desc.h, e.primary.desc.h));
  detail::encode(e.recording, memo_, op_, {e.primary, weights, e.destination});
}

void NNReduceFeatureChannelsAndWeightsSum::code(Coder& coder) {
  WeightedReduceKernel::code(coder);
  bool non_zero = doWeightedSumByNonZeroWeights();
  coder("doWeightedSumByNonZeroWeights", non_zero);
  op_.divisor = non_zero ? WeightedDivisor::non_zero_weights : WeightedDivisor::one;
}

}  // namespace cermet
