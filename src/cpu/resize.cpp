// ResizeBilinear and CropAndResizeBilinear (formulas: cnn/resize.h). Own code: oneDNN's resampling
// knows the half-pixel grid alone.

#include <cmath>
#include <vector>

#include "cermet/cnn/resize.h"
#include "cpu/bilinear.h"

namespace cermet::cpu {
namespace {

using Index = std::int64_t;

/// Places of `count` outputs of an axis with `extent` source pixels, as exact fractions.
std::vector<Between> places(Index count, Index extent, Index resized, Index offset, bool align) {
  const Index gaps = align ? extent - 1 : extent,
              steps = std::max<Index>(align ? resized - 1 : resized, 1);
  const bool alone = align && resized == 1;
  std::vector<Between> out(static_cast<std::size_t>(count));
  for (Index d = 0; d < count; ++d) {
    const Index along = alone ? 0 : d * gaps;
    const Index low = along / steps + offset;
    out[static_cast<std::size_t>(d)] = {
        std::clamp<Index>(low, 0, extent - 1), std::clamp<Index>(low + 1, 0, extent - 1),
        static_cast<double>(along % steps) / static_cast<double>(steps)};
  }
  return out;
}

/// Where output d of `resized` stands between the edges of a box; false: outside the source.
bool find(double first, double last, Index d, Index resized, Index extent, Between& place) {
  const auto end = static_cast<double>(extent - 1), steps = static_cast<double>(resized - 1);
  const auto at = static_cast<double>(d);
  const double u =
      resized == 1 ? 0.5 * (first + last) * end : (first * (steps - at) + last * at) * end / steps;
  if (!(u >= 0 && u <= end)) return false;
  place.low = static_cast<Index>(u);
  place.high = std::min<Index>(place.low + 1, extent - 1);
  place.t = u - static_cast<double>(place.low);
  return true;
}

}  // namespace

StepPtr prepare(const ResizeBilinear& op, Descs descs, Engine& engine) {
  using Op = ResizeBilinear;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const int threads = threads_for(destination.count(), engine, 16384);
  const bool align = op.alignCorners != 0;
  const auto body = [=, rows = places(destination.h, source.h, op.resizeHeight, op.offsetY, align),
                     columns = places(destination.w, source.w, op.resizeWidth, op.offsetX, align)](
                        const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    for_each_row(threads, destination, [&](Index n, Index y) {
      for (Index x = 0; x < destination.w; ++x) {
        interpolate(from, source, n, rows[static_cast<std::size_t>(y)],
                    columns[static_cast<std::size_t>(x)], pixel(to, destination, n, y, x));
      }
    });
  };
  return make_step(descs, "bilinear", body);
}

StepPtr prepare(const CropAndResizeBilinear& op, Descs descs, Engine& engine) {
  using Op = CropAndResizeBilinear;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const int threads = threads_for(destination.count(), engine, 16384);
  return make_step(descs, "bilinear boxes", [=](const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    const auto* boxes = args.at<const double>(Op::boxes);
    float* to = args.at(Op::destination);
    for_each_row(threads, destination, [&](Index n, Index y) {
      const double* box = boxes + 4 * n;
      Between row, column;
      const bool inside = find(box[1], box[3], y, op.resizeHeight, source.h, row);
      for (Index x = 0; x < destination.w; ++x) {
        float* out = pixel(to, destination, n, y, x);
        if (inside && find(box[0], box[2], x, op.resizeWidth, source.w, column)) {
          interpolate(from, source, source.n == 1 ? 0 : n, row, column, out);
        } else {
          std::fill_n(out, destination.c, 0.0F);
        }
      }
    });
  });
}

}  // namespace cermet::cpu
