// Shift: a window moved over an image, with zeros or the nearest edge pixel outside (ops/copy.h).

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__global__ void shift(Shift by, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    Index from{at.n, at.y + by.offsetY, at.x + by.offsetX, at.c};
    if (by.clampEdges != 0) {
      from.y = min(max(from.y, 0), source.desc.h - 1);
      from.x = min(max(from.x, 0), source.desc.w - 1);
    }
    store(destination, at, source.inside(from.y, from.x) ? load(source, from) : 0.0F);
  }
}

}  // namespace

StepPtr prepare(const Shift& op, Descs slots, Engine&) {
  const TensorDesc from = slots[Shift::source], to = slots[Shift::destination];
  return make_step(slots, "cuda shift", [=](const Args& args) {
    const Tensor destination{to, args.slots[Shift::destination]};
    launch(args, destination.count(), shift, op, Tensor{from, args.slots[Shift::source]},
           destination);
  });
}

}  // namespace cermet::cuda
