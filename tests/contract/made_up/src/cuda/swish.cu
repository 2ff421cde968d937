// Swish and its gradient (formulas: cnn/swish.h).

#include "cermet/cnn/swish.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__device__ float logistic(float x) { return 1.0F / (1.0F + expf(-x)); }

__global__ void swish(float beta, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float x = load(source, at);
    store(destination, at, x * logistic(beta * x));
  }
}

__global__ void swish_gradient(float beta, Tensor gradient, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float x = load(source, at), s = logistic(beta * x);
    store(destination, at, load(gradient, at) * (s + beta * x * s * (1.0F - s)));
  }
}

}  // namespace

StepPtr prepare(const Swish& op, Descs slots, Engine&) {
  const TensorDesc from = slots[Swish::source], to = slots[Swish::destination];
  return make_step(slots, "cuda swish", [op, from, to](const Args& args) {
    const Tensor destination{to, args.slots[Swish::destination]};
    launch(args, destination.count(), swish, op.beta, Tensor{from, args.slots[Swish::source]},
           destination);
  });
}

StepPtr prepare(const SwishGradient& op, Descs slots, Engine&) {
  using Op = SwishGradient;
  const TensorDesc arriving = slots[Op::gradient], from = slots[Op::source];
  const TensorDesc to = slots[Op::destination];
  return make_step(slots, "cuda swish gradient", [op, arriving, from, to](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), swish_gradient, op.forward.beta,
           Tensor{arriving, args.slots[Op::gradient]}, Tensor{from, args.slots[Op::source]},
           destination);
  });
}

}  // namespace cermet::cuda
