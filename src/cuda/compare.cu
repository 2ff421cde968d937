// Compare: destination = 1 where a comparison holds, else 0 (cnn/compare.h).

#include "cermet/cnn/compare.h"

#include "cuda/broadcast.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__device__ bool holds(const Compare& op, float x, float y) {
  const float distance = x == y ? 0.0F : fabsf(x - y);  // of two infinities x - y is NaN
  const bool equal = distance <= op.threshold;
  switch (op.comparisonType) {
    case NNComparisonType::Equal:
      return equal;
    case NNComparisonType::NotEqual:
      return !equal;
    case NNComparisonType::Less:
      return x < y;
    case NNComparisonType::LessOrEqual:
      return x < y || equal;
    case NNComparisonType::Greater:
      return x > y;
    case NNComparisonType::GreaterOrEqual:
      break;
  }
  return x > y || equal;
}

__global__ void compare(Compare op, Operand primary, Operand secondary, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    store(destination, at, holds(op, primary.value(at), secondary.value(at)) ? 1.0F : 0.0F);
  }
}

}  // namespace

StepPtr prepare(const Compare& op, Descs slots, Engine&) {
  const TensorDesc x = slots[Compare::primary], y = slots[Compare::secondary];
  const TensorDesc to = slots[Compare::destination];
  return make_step(slots, "cuda compare", [=](const Args& args) {
    const Tensor destination{to, args.slots[Compare::destination]};
    launch(args, destination.count(), compare, op, Operand({x, args.slots[Compare::primary]}, to),
           Operand({y, args.slots[Compare::secondary]}, to), destination);
  });
}

}  // namespace cermet::cuda
