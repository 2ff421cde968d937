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
  for (const Index at : elements(destination)) {
    store(destination, at, activate(f, load(source, at), slope_of(slopes, at.c)));
  }
}

__global__ void multiply_derivative(Activation f, Tensor gradient, Tensor source,
                                    const float* slopes, Tensor destination) {
  for (const Index at : elements(destination)) {
    const float slope = slope_of(slopes, at.c);
    store(destination, at, load(gradient, at) * derivative(f, load(source, at), slope));
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
    const Tensor destination{to, args.slots[Neuron::destination]};
    launch(args, destination.count(), evaluate, f, Tensor{from, args.slots[Neuron::source]},
           slopes_of(f, args, Neuron::slopes), destination);
  });
}

StepPtr prepare(const NeuronGradient& op, Descs slots, Engine&) {
  using Op = NeuronGradient;
  const TensorDesc g = slots[Op::gradient], from = slots[Op::source], to = slots[Op::destination];
  return make_step(
      slots, "cuda neuron", [g, from, to, f = op.forward.activation](const Args& args) {
        const Tensor destination{to, args.slots[Op::destination]};
        launch(args, destination.count(), multiply_derivative, f,
               Tensor{g, args.slots[Op::gradient]}, Tensor{from, args.slots[Op::source]},
               slopes_of(f, args, Op::slopes), destination);
      });
}

}  // namespace cermet::cuda
