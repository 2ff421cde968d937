// SoftMax and SoftMaxGradient, plain and logarithmic, over the channels of each pixel
// (cnn/softmax.h). Sums in double. In place is allowed: a lane writes what it alone reads.

#include "cuda/channel_sums.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// The largest over the lanes of a pixel, NaN passed over.
template <int lanes>
__device__ float largest_of(float value) {
  for (int step = lanes / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFU, value, step));
  }
  return value;
}

template <int lanes>
__global__ void soft_max(Tensor source, Tensor destination, bool logarithmic) {
  begin_kernel();
  const TensorDesc& desc = source.desc;
  for (const long long i : grid_stride(source.pixels() * lanes)) {
    const int lane = static_cast<int>(i % lanes);
    const Index at = index_of(i / lanes, desc.h, desc.w, 1);
    const long long x = source.offset(at), y = destination.offset(at);
    float largest = -INFINITY;
    for (int c = lane; c < desc.c; c += lanes) largest = fmaxf(largest, load(source, x + c));
    largest = largest_of<lanes>(largest);
    double sum = 0;
    for (int c = lane; c < desc.c; c += lanes) {
      sum += static_cast<double>(expf(load(source, x + c) - largest));
    }
    sum = sum_of<lanes>(sum);
    const auto divisor = static_cast<float>(logarithmic ? log(sum) : sum);
    for (int c = lane; c < desc.c; c += lanes) {
      const float above = load(source, x + c) - largest;
      store(destination, y + c, logarithmic ? above - divisor : expf(above) / divisor);
    }
  }
}

template <int lanes>
__global__ void soft_max_gradient(Tensor gradient, Tensor result, Tensor destination,
                                  bool logarithmic) {
  begin_kernel();
  const TensorDesc& desc = destination.desc;
  for (const long long i : grid_stride(destination.pixels() * lanes)) {
    const int lane = static_cast<int>(i % lanes);
    const Index at = index_of(i / lanes, desc.h, desc.w, 1);
    const long long g = gradient.offset(at), y = result.offset(at), d = destination.offset(at);
    double sum = 0;
    for (int c = lane; c < desc.c; c += lanes) {
      const double value = load(gradient, g + c);
      sum += logarithmic ? value : value * static_cast<double>(load(result, y + c));
    }
    sum = sum_of<lanes>(sum);
    for (int c = lane; c < desc.c; c += lanes) {
      const double value = load(gradient, g + c);
      const float forward = load(result, y + c);
      const double flows = logarithmic ? value - static_cast<double>(expf(forward)) * sum
                                       : static_cast<double>(forward) * (value - sum);
      store(destination, d + c, static_cast<float>(flows));
    }
  }
}

}  // namespace

StepPtr prepare(const SoftMax& op, Descs slots, Engine&) {
  const TensorDesc from = slots[SoftMax::source], to = slots[SoftMax::destination];
  const int lanes = lanes_for(from.c);
  const auto kernel = lanes == 1 ? soft_max<1> : soft_max<32>;
  return make_step(
      slots, "cuda soft-max", [=, logarithmic = op.logarithmic != 0](const Args& args) {
        launch(args, from.pixels() * lanes, kernel, Tensor{from, args.slots[SoftMax::source]},
               Tensor{to, args.slots[SoftMax::destination]}, logarithmic);
      });
}

StepPtr prepare(const SoftMaxGradient& op, Descs slots, Engine&) {
  using Op = SoftMaxGradient;
  const TensorDesc g = slots[Op::gradient], y = slots[Op::result], to = slots[Op::destination];
  const int lanes = lanes_for(to.c);
  const auto kernel = lanes == 1 ? soft_max_gradient<1> : soft_max_gradient<32>;
  return make_step(slots, "cuda soft-max",
                   [=, logarithmic = op.forward.logarithmic != 0](const Args& args) {
                     launch(args, to.pixels() * lanes, kernel, Tensor{g, args.slots[Op::gradient]},
                            Tensor{y, args.slots[Op::result]},
                            Tensor{to, args.slots[Op::destination]}, logarithmic);
                   });
}

}  // namespace cermet::cuda
