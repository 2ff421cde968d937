// GridSample (formulas: cnn/grid_sample.h).

#include "cermet/cnn/grid_sample.h"
#include "cuda/bilinear.cuh"

namespace cermet::cuda {
namespace {

/// The neighbours of a position. Far outside it makes no difference where.
__device__ Between neighbours(double position, int extent, bool clamps) {
  const double last = extent - 1;
  const double at = clamps ? fmin(fmax(position, 0.0), last) : fmin(fmax(position, -1.0), last + 1);
  const int low = static_cast<int>(floor(at));
  const double t = at - low;
  return {low, t > 0 ? low + 1 : low, t};
}

__device__ double sample(const Tensor& image, const Index& at, double weight) {
  return image.inside(at.y, at.x) ? weighted(image, at, weight) : 0.0;
}

__global__ void grid_sample(GridSample op, Tensor image, Tensor grid, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    double u = load(grid, {at.n, at.y, at.x, 0}), v = load(grid, {at.n, at.y, at.x, 1});
    if (op.useGridValueAsInputCoordinate == 0) {
      u += static_cast<double>(static_cast<long long>(at.x) + op.offsetX);
      v += static_cast<double>(static_cast<long long>(at.y) + op.offsetY);
    }
    if (isnan(u) || isnan(v)) {
      store(destination, at, static_cast<float>(u + v));
      continue;
    }
    const bool clamps = op.clampEdges != 0;
    const Between x = neighbours(u, image.desc.w, clamps), y = neighbours(v, image.desc.h, clamps);
    double sum = sample(image, {at.n, y.low, x.low, at.c}, (1 - y.t) * (1 - x.t));
    sum += sample(image, {at.n, y.low, x.high, at.c}, (1 - y.t) * x.t);
    sum += sample(image, {at.n, y.high, x.low, at.c}, y.t * (1 - x.t));
    sum += sample(image, {at.n, y.high, x.high, at.c}, y.t * x.t);
    store(destination, at, static_cast<float>(sum));
  }
}

}  // namespace

StepPtr prepare(const GridSample& op, Descs slots, Engine&) {
  using Op = GridSample;
  const TensorDesc from = slots[Op::image], positions = slots[Op::grid];
  const TensorDesc to = slots[Op::destination];
  return make_step(slots, "cuda bilinear samples", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), grid_sample, op, Tensor{from, args.slots[Op::image]},
           Tensor{positions, args.slots[Op::grid]}, destination);
  });
}

}  // namespace cermet::cuda
