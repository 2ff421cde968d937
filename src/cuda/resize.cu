// ResizeBilinear and CropAndResizeBilinear (formulas: cnn/resize.h).

#include "cermet/cnn/resize.h"
#include "cuda/bilinear.cuh"

namespace cermet::cuda {
namespace {

/// Where the outputs of an axis stand, as exact fractions.
struct Grid {
  long long gaps, steps, offset;
  int last;  // source position

  Grid(int extent, int resized, int first, bool align)
      : gaps(!align         ? extent
             : resized == 1 ? 0
                            : extent - 1),
        steps(align && resized > 1 ? resized - 1 : resized),
        offset(first),
        last(extent - 1) {}
  __device__ int clamped(long long at) const {
    return static_cast<int>(max(0LL, min(at, static_cast<long long>(last))));
  }
  __device__ Between place(int d) const {
    const long long along = d * gaps, low = along / steps + offset;
    return {clamped(low), clamped(low + 1),
            static_cast<double>(along % steps) / static_cast<double>(steps)};
  }
};

__global__ void resize(Grid rows, Grid columns, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination))
    store(destination, at, interpolate(source, at.n, rows.place(at.y), columns.place(at.x), at.c));
}

/// Where output d of `resized` stands between the edges of a box; false: outside the source.
__device__ bool find(double first, double last, int d, int resized, int extent, Between& place) {
  const double end = extent - 1, steps = resized - 1;
  const double u =
      resized == 1 ? 0.5 * (first + last) * end : (first * (steps - d) + last * d) * end / steps;
  if (!(u >= 0 && u <= end)) return false;
  place.low = static_cast<int>(u);
  place.high = min(place.low + 1, extent - 1);
  place.t = u - place.low;
  return true;
}

__global__ void crop_and_resize(CropAndResizeBilinear op, const double* boxes, Tensor source,
                                Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const double* box = boxes + 4LL * at.n;
    Between y{}, x{};
    const bool inside = find(box[1], box[3], at.y, op.resizeHeight, source.desc.h, y) &&
                        find(box[0], box[2], at.x, op.resizeWidth, source.desc.w, x);
    const int n = source.desc.n == 1 ? 0 : at.n;
    store(destination, at, inside ? interpolate(source, n, y, x, at.c) : 0.0F);
  }
}

}  // namespace

StepPtr prepare(const ResizeBilinear& op, Descs slots, Engine&) {
  using Op = ResizeBilinear;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  const bool align = op.alignCorners != 0;
  const Grid rows(from.h, op.resizeHeight, op.offsetY, align);
  const Grid columns(from.w, op.resizeWidth, op.offsetX, align);
  return make_step(slots, "cuda bilinear", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), resize, rows, columns, Tensor{from, args.slots[Op::source]},
           destination);
  });
}

StepPtr prepare(const CropAndResizeBilinear& op, Descs slots, Engine&) {
  using Op = CropAndResizeBilinear;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  return make_step(slots, "cuda bilinear boxes", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), crop_and_resize, op, args.at<const double>(Op::boxes),
           Tensor{from, args.slots[Op::source]}, destination);
  });
}

}  // namespace cermet::cuda
