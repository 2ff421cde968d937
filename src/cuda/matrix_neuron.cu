// BiasedNeuron and its gradient (formulas: matrix/neuron.h). Sums of the bias gradient are double,
// by one block for each 32 columns of a matrix, whose threads share the rows in a fixed order.

#include "cermet/matrix/neuron.h"
#include "cuda/activation.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

constexpr int lanes = 32, rows = block_threads / lanes;

/// The arrays along the columns; slopes are float32.
struct Columns {
  Tensor bias;
  const float* slopes;

  Columns(const Activation& f, const Args& args, Descs slots, std::size_t bias_slot)
      : bias(tensor(args, slots, bias_slot)),
        slopes(f.type == CNNNeuronType::PReLU ? args.at<const float>(bias_slot + 1) : nullptr) {}
  /// alpha * x + bias, the same bits in forward and gradient.
  __device__ float line(float alpha, float x, const Index& at) const {
    return bias.present() ? fmaf(alpha, x, load(bias, Index{at.n, 0, 0, at.c})) : alpha * x;
  }
  __device__ float slope(const Index& at) const { return slopes != nullptr ? slopes[at.c] : 0.0F; }
};

__global__ void evaluate(BiasedNeuron op, Columns columns, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float u = columns.line(op.alpha, load(source, at), at);
    store(destination, at, activate(op.activation, u, columns.slope(at)));
  }
}

/// g * f'(u)
__device__ float through(const BiasedNeuron& op, const Columns& columns, const Tensor& gradient,
                         const Tensor& source, const Index& at) {
  const float u = columns.line(op.alpha, load(source, at), at);
  return load(gradient, at) * derivative(op.activation, u, columns.slope(at));
}

/// Before multiply_derivative, which may write where this reads.
__global__ void sum_bias(BiasedNeuron op, Columns columns, Tensor gradient, Tensor source,
                         Tensor bias_gradient) {
  begin_kernel();
  const int tiles = (source.desc.c + lanes - 1) / lanes;
  const int n = static_cast<int>(blockIdx.x) / tiles;
  const int c =
      static_cast<int>(blockIdx.x) % tiles * lanes + static_cast<int>(threadIdx.x) % lanes;
  double sum = 0;
  if (c < source.desc.c) {
    for (int i = static_cast<int>(threadIdx.x) / lanes; i < source.desc.h; i += rows)
      sum += static_cast<double>(through(op, columns, gradient, source, Index{n, i, 0, c}));
  }
  sum = channel_sum(sum);
  if (threadIdx.x < lanes && c < source.desc.c)
    store(bias_gradient, Index{n, 0, 0, c}, static_cast<float>(sum));
}

__global__ void multiply_derivative(BiasedNeuron op, Columns columns, Tensor gradient,
                                    Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination))
    store(destination, at, op.alpha * through(op, columns, gradient, source, at));
}

}  // namespace

StepPtr prepare(const BiasedNeuron& op, Descs slots, Engine&) {
  using Op = BiasedNeuron;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda neuron", [=](const Args& args) {
    const Tensor destination = tensor(args, descs, Op::destination);
    launch(args, destination.count(), evaluate, op, Columns(op.activation, args, descs, Op::bias),
           tensor(args, descs, Op::source), destination);
  });
}

StepPtr prepare(const BiasedNeuronGradient& op, Descs slots, Engine&) {
  using Op = BiasedNeuronGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda neuron", [descs, forward = op.forward](const Args& args) {
    const Columns columns(forward.activation, args, descs, Op::bias);
    const Tensor gradient = tensor(args, descs, Op::gradient);
    const Tensor source = tensor(args, descs, Op::source);
    const Tensor destination = tensor(args, descs, Op::destination);
    const Tensor bias_gradient = tensor(args, descs, Op::biasGradient);
    if (bias_gradient.present()) {
      const long long tiles = (source.desc.c + lanes - 1) / lanes;
      launch_blocks(args, source.desc.n * tiles, sum_bias, forward, columns, gradient, source,
                    bias_gradient);
    }
    launch(args, destination.count(), multiply_derivative, forward, columns, gradient, source,
           destination);
  });
}

}  // namespace cermet::cuda
