// Neuron: destination = f(source). NeuronGradient: destination = gradient * f'(source), the source
// being the forward source. Formulas: cpu/activation.h. In place is allowed.
// Own code: oneDNN's eltwise has other slopes at the kinks and lacks half of the types.

#include "cpu/activation.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

template <CNNNeuronType type>
void evaluate_values(const Activation& f, const float* x, const float* slopes, float* y,
                     std::int64_t count) {
  const Activation parameters = f;  // a copy: stores to y cannot change it
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float slope = type == CNNNeuronType::PReLU ? slopes[i] : 0.0F;
    y[i] = evaluate<type>(parameters, x[i], slope);
  }
}

template <CNNNeuronType type>
void gradient_values(const Activation& f, const float* g, const float* x, const float* slopes,
                     float* d, std::int64_t count) {
  const Activation parameters = f;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float slope = type == CNNNeuronType::PReLU ? slopes[i] : 0.0F;
    d[i] = g[i] * derivative<type>(parameters, x[i], slope);
  }
}

/// Elements that one thread is woken for: cheap functions are bound by memory.
std::int64_t elements_per_thread(CNNNeuronType type) {
  using enum CNNNeuronType;
  const bool cheap = type == None || type == ReLU || type == Linear || type == HardSigmoid ||
                     type == Absolute || type == SoftSign || type == PReLU || type == ReLUN;
  return cheap ? 65536 : 8192;
}

/// Whole rows at a time where every slot's pixels are adjacent; PReLU goes pixel by pixel, so that
/// a value's position is its channel.
bool whole_rows(const Activation& f, Descs descs) {
  return f.type != CNNNeuronType::PReLU &&
         std::all_of(descs.begin(), descs.end(), [](const TensorDesc& desc) {
           return !desc.present() || desc.stride_w == desc.c || desc.w == 1;
         });
}

}  // namespace

EvaluateRow evaluate_row(CNNNeuronType type) {
  return dispatch(type,
                  []<CNNNeuronType known>() -> EvaluateRow { return &evaluate_values<known>; });
}

GradientRow gradient_row(CNNNeuronType type) {
  return dispatch(type,
                  []<CNNNeuronType known>() -> GradientRow { return &gradient_values<known>; });
}

StepPtr prepare(const Neuron& op, Descs descs, Engine& engine) {
  const TensorDesc source = descs[Neuron::source], destination = descs[Neuron::destination];
  const TensorDesc images[] = {source, destination};
  const bool rows = whole_rows(op.activation, images);
  const EvaluateRow evaluate = evaluate_row(op.activation.type);
  const int threads = threads_for(source.count(), engine, elements_per_thread(op.activation.type));
  return make_step(descs, rows ? "rows" : "pixels", [=, f = op.activation](const Args& args) {
    const auto* x = args.at<const float>(Neuron::source);
    const auto* slopes = args.at<const float>(Neuron::slopes);
    float* y = args.at(Neuron::destination);
    const std::int64_t columns = rows ? 1 : source.w;
    const std::int64_t length = rows ? std::int64_t{source.w} * source.c : source.c;
    for_each_row(threads, source, [&](std::int64_t n, std::int64_t j) {
      for (std::int64_t i = 0; i < columns; ++i) {
        evaluate(f, pixel(x, source, n, j, i), slopes, pixel(y, destination, n, j, i), length);
      }
    });
  });
}

StepPtr prepare(const NeuronGradient& op, Descs descs, Engine& engine) {
  const TensorDesc gradient = descs[NeuronGradient::gradient],
                   source = descs[NeuronGradient::source];
  const TensorDesc destination = descs[NeuronGradient::destination];
  const Activation f = op.forward.activation;
  const TensorDesc images[] = {gradient, source, destination};
  const bool rows = whole_rows(f, images);
  const GradientRow multiply = gradient_row(f.type);
  const int threads = threads_for(source.count(), engine, elements_per_thread(f.type));
  return make_step(descs, rows ? "rows" : "pixels", [=](const Args& args) {
    const auto* g = args.at<const float>(NeuronGradient::gradient);
    const auto* x = args.at<const float>(NeuronGradient::source);
    const auto* slopes = args.at<const float>(NeuronGradient::slopes);
    float* d = args.at(NeuronGradient::destination);
    const std::int64_t columns = rows ? 1 : destination.w;
    const std::int64_t length = rows ? std::int64_t{destination.w} * destination.c : destination.c;
    for_each_row(threads, destination, [&](std::int64_t n, std::int64_t j) {
      for (std::int64_t i = 0; i < columns; ++i) {
        multiply(f, pixel(g, gradient, n, j, i), pixel(x, source, n, j, i), slopes,
                 pixel(d, destination, n, j, i), length);
      }
    });
  });
}

}  // namespace cermet::cpu
