// Neuron: destination = f(source). NeuronGradient: destination = gradient * f'(source)
// (ops/neuron.h; the functions: activation.cuh).

#include "cuda/activation.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__device__ float slope_of(const float* slopes, int channel) {
  return slopes != nullptr ? slopes[channel] : 0.0F;
}

__global__ void evaluate(Activation f, Tensor source, const float* slopes, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    store(destination, at, activate(f, load(source, at), slope_of(slopes, at.c)));
  }
}

__global__ void multiply_derivative(Activation f, Tensor gradient, Tensor source,
                                    const float* slopes, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float slope = slope_of(slopes, at.c);
    store(destination, at, load(gradient, at) * derivative(f, load(source, at), slope));
  }
}

__global__ void evaluate_flat(Activation f, const float4* source, float4* destination,
                              long long count) {
  begin_kernel();
  for (const long long i : grid_stride(count))
    destination[i] = each([&](float x) { return activate(f, x, 0.0F); }, source[i]);
}

__global__ void multiply_derivative_flat(Activation f, const float4* gradient, const float4* source,
                                         float4* destination, long long count) {
  begin_kernel();
  for (const long long i : grid_stride(count)) {
    destination[i] =
        each([&](float g, float x) { return g * derivative(f, x, 0.0F); }, gradient[i], source[i]);
  }
}

/// Null for every type but PReLU.
const float* slopes_of(const Activation& f, const Args& args, std::size_t slot) {
  return f.type == CNNNeuronType::PReLU ? args.at<const float>(slot) : nullptr;
}

}  // namespace

StepPtr prepare(const Neuron& op, Descs slots, Engine&) {
  const TensorDesc from = slots[Neuron::source], to = slots[Neuron::destination];
  return make_step(slots, "cuda neuron", [from, to, f = op.activation](const Args& args) {
    const Tensor source{from, args.slots[Neuron::source]};
    const Tensor destination{to, args.slots[Neuron::destination]};
    const float* slopes = slopes_of(f, args, Neuron::slopes);
    if (slopes == nullptr && are_flat({source, destination})) {
      launch(args, destination.count() / 4, evaluate_flat, f, args.at<float4>(Neuron::source),
             args.at<float4>(Neuron::destination), destination.count() / 4);
      return;
    }
    launch(args, destination.count(), evaluate, f, source, slopes, destination);
  });
}

StepPtr prepare(const NeuronGradient& op, Descs slots, Engine&) {
  using Op = NeuronGradient;
  const TensorDesc g = slots[Op::gradient], from = slots[Op::source], to = slots[Op::destination];
  return make_step(
      slots, "cuda neuron", [g, from, to, f = op.forward.activation](const Args& args) {
        const Tensor gradient{g, args.slots[Op::gradient]}, source{from, args.slots[Op::source]};
        const Tensor destination{to, args.slots[Op::destination]};
        const float* slopes = slopes_of(f, args, Op::slopes);
        if (slopes == nullptr && are_flat({gradient, source, destination})) {
          launch(args, destination.count() / 4, multiply_derivative_flat, f,
                 args.at<float4>(Op::gradient), args.at<float4>(Op::source),
                 args.at<float4>(Op::destination), destination.count() / 4);
          return;
        }
        launch(args, destination.count(), multiply_derivative, f, gradient, source, slopes,
               destination);
      });
}

}  // namespace cermet::cuda
