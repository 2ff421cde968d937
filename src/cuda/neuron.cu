// Neuron: destination = f(source). NeuronGradient: destination = gradient * f'(source)
// (cnn/neuron.h; the functions: activation.cuh).

#include "cuda/activation.cuh"
#include "cuda/pointwise.cuh"
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

bool has_slopes(const Activation& f) { return f.type == CNNNeuronType::PReLU; }

/// What the step of a neuron does.
class NeuronBody : public Pointwise {
 public:
  using Op = Neuron;
  NeuronBody(const Op& op, Descs slots)
      : f_(op.activation), source_(slots[Op::source]), destination_(slots[Op::destination]) {}

  void operator()(const Args& args) const {
    const Tensor source{source_, args.slots[Op::source]};
    const Tensor destination{destination_, args.slots[Op::destination]};
    if (is_flat(args.slots)) {
      launch(args, destination.count() / 4, evaluate_flat, f_, args.at<float4>(Op::source),
             args.at<float4>(Op::destination), destination.count() / 4);
      return;
    }
    const float* slopes = has_slopes(f_) ? args.at<const float>(Op::slopes) : nullptr;
    launch(args, destination.count(), evaluate, f_, source, slopes, destination);
  }

  [[nodiscard]] std::size_t input_slot() const override { return Op::source; }
  [[nodiscard]] std::size_t result_slot() const override { return Op::destination; }
  [[nodiscard]] bool fits(const StepRun& run) const override { return is_flat(run.slots); }
  void describe(const StepRun& run, CudaStream&, PointwiseStage& stage) const override {
    stage.kind = PointwiseStage::Kind::neuron;
    stage.activation = f_;
    stage.result = static_cast<float4*>(run.slots[Op::destination]);
  }

 private:
  [[nodiscard]] bool is_flat(const Slots& slots) const {
    return !has_slopes(f_) &&
           are_flat({{source_, slots[Op::source]}, {destination_, slots[Op::destination]}});
  }

  Activation f_;
  TensorDesc source_, destination_;
};

/// What the step of a neuron's gradient does.
class NeuronGradientBody : public Pointwise {
 public:
  using Op = NeuronGradient;
  NeuronGradientBody(const Op& op, Descs slots)
      : f_(op.forward.activation),
        gradient_(slots[Op::gradient]),
        source_(slots[Op::source]),
        destination_(slots[Op::destination]) {}

  void operator()(const Args& args) const {
    const Tensor gradient{gradient_, args.slots[Op::gradient]};
    const Tensor source{source_, args.slots[Op::source]};
    const Tensor destination{destination_, args.slots[Op::destination]};
    if (is_flat(args.slots)) {
      launch(args, destination.count() / 4, multiply_derivative_flat, f_,
             args.at<float4>(Op::gradient), args.at<float4>(Op::source),
             args.at<float4>(Op::destination), destination.count() / 4);
      return;
    }
    const float* slopes = has_slopes(f_) ? args.at<const float>(Op::slopes) : nullptr;
    launch(args, destination.count(), multiply_derivative, f_, gradient, source, slopes,
           destination);
  }

  [[nodiscard]] std::size_t input_slot() const override { return Op::gradient; }
  [[nodiscard]] std::size_t result_slot() const override { return Op::destination; }
  [[nodiscard]] bool fits(const StepRun& run) const override { return is_flat(run.slots); }
  void describe(const StepRun& run, CudaStream&, PointwiseStage& stage) const override {
    stage.kind = PointwiseStage::Kind::neuron_gradient;
    stage.activation = f_;
    stage.source = static_cast<const float4*>(run.slots[Op::source]);
    stage.result = static_cast<float4*>(run.slots[Op::destination]);
  }

 private:
  [[nodiscard]] bool is_flat(const Slots& slots) const {
    return !has_slopes(f_) && are_flat({{gradient_, slots[Op::gradient]},
                                        {source_, slots[Op::source]},
                                        {destination_, slots[Op::destination]}});
  }

  Activation f_;
  TensorDesc gradient_, source_, destination_;
};

}  // namespace

StepPtr prepare(const Neuron& op, Descs slots, Engine&) {
  return make_step(slots, "cuda neuron", NeuronBody(op, slots));
}

StepPtr prepare(const NeuronGradient& op, Descs slots, Engine&) {
  return make_step(slots, "cuda neuron", NeuronGradientBody(op, slots));
}

}  // namespace cermet::cuda
