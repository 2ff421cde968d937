// SubPixel: channels of a convolution become pixels (cnn/convolution.h).

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__global__ void sub_pixels(int r, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const int part = at.y % r * r + at.x % r;
    const Index from{at.n, at.y / r, at.x / r, part * destination.desc.c + at.c};
    store(destination, at, load(source, from));
  }
}

}  // namespace

StepPtr prepare(const SubPixel& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const auto body = [op, descs](const Args& args) {
    const Tensor destination = tensor(args, descs, SubPixel::destination);
    launch(args, destination.count(), sub_pixels, op.scaleFactor,
           tensor(args, descs, SubPixel::source), destination);
  };
  return make_step(slots, "cuda sub-pixels", body);
}

}  // namespace cermet::cuda
