// BiasedNeuron and its gradient (formulas: matrix/neuron.h). Sums of the bias gradient are double,
// over chunks of rows whose size depends on the shape alone and which combine in order, so every
// number of threads gives the same bits.

#include <array>
#include <cmath>

#include "cermet/matrix/neuron.h"
#include "cpu/activation.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t block = 256;  // columns at a time

/// The arrays that go along the columns of matrix n.
struct Columns {
  const float *bias, *slopes;

  Columns(const Args& args, const TensorDesc& desc, std::size_t bias_slot, std::int64_t n)
      : bias(desc.present() ? args.at<const float>(bias_slot) + n * desc.stride_n : nullptr),
        slopes(args.at<const float>(bias_slot + 1)) {}
};

/// u = alpha * x + bias, the same bits in forward and gradient: a kink is on the same side in both.
void line(float alpha, const float* x, const float* bias, float* u, std::int64_t count) {
  if (bias == nullptr) {
#pragma omp simd
    for (std::int64_t c = 0; c < count; ++c) u[c] = alpha * x[c];
    return;
  }
#pragma omp simd
  for (std::int64_t c = 0; c < count; ++c) u[c] = std::fma(alpha, x[c], bias[c]);
}

template <class T>
T* from(T* array, std::int64_t first) {
  return array != nullptr ? array + first : nullptr;
}

}  // namespace

StepPtr prepare(const BiasedNeuron& op, Descs descs, Engine& engine) {
  using Op = BiasedNeuron;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const TensorDesc bias = descs[Op::bias];
  const EvaluateRow evaluate = evaluate_row(op.activation.type);
  const int threads = threads_for(source.count(), engine, 8192);
  return make_step(descs, "rows", [=](const Args& args) {
    const auto* x = args.at<const float>(Op::source);
    float* y = args.at(Op::destination);
    for_each_row(threads, source, [&](std::int64_t n, std::int64_t i) {
      const Columns columns(args, bias, Op::bias, n);
      float* out = pixel(y, destination, n, i, 0);
      line(op.alpha, pixel(x, source, n, i, 0), columns.bias, out, source.c);
      evaluate(op.activation, out, columns.slopes, out, source.c);
    });
  });
}

StepPtr prepare(const BiasedNeuronGradient& op, Descs descs, Engine& engine) {
  using Op = BiasedNeuronGradient;
  const TensorDesc gradient = descs[Op::gradient], source = descs[Op::source];
  const TensorDesc destination = descs[Op::destination], bias = descs[Op::bias];
  const TensorDesc for_bias = descs[Op::biasGradient];
  const bool sums_bias = for_bias.present();
  const BiasedNeuron forward = op.forward;
  const bool has_slopes = forward.activation.type == CNNNeuronType::PReLU;
  const GradientRow multiply = gradient_row(forward.activation.type);
  const std::int64_t rows = source.h, width = source.c;
  const std::int64_t chunk = std::max<std::int64_t>(64, (rows + 63) / 64);
  const std::int64_t chunks = (rows + chunk - 1) / chunk;
  const int threads = threads_for(source.count(), engine, 8192);
  const auto body = [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* x = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    auto* all_sums = static_cast<double*>(args.scratch);
    parallel(threads, source.n * chunks, [&](std::int64_t begin, std::int64_t end) {
      alignas(64) std::array<float, static_cast<std::size_t>(block)> through;
      for (std::int64_t at = begin; at < end; ++at) {
        const std::int64_t n = at / chunks, first = at % chunks * chunk;
        const Columns columns(args, bias, Op::bias, n);
        double* sums = all_sums + at * width;
        if (sums_bias) std::fill_n(sums, width, 0.0);
        for (std::int64_t i = first; i < std::min(first + chunk, rows); ++i) {
          for (std::int64_t c = 0; c < width; c += block) {
            const std::int64_t count = std::min(block, width - c);
            line(forward.alpha, pixel(x, source, n, i, 0) + c, from(columns.bias, c),
                 through.data(), count);
            multiply(forward.activation, pixel(g, gradient, n, i, 0) + c, through.data(),
                     has_slopes ? columns.slopes + c : nullptr, through.data(), count);
            if (sums_bias) {
#pragma omp simd
              for (std::int64_t k = 0; k < count; ++k)
                sums[c + k] += double{through[static_cast<std::size_t>(k)]};
            }
            float* out = pixel(to, destination, n, i, 0) + c;
#pragma omp simd
            for (std::int64_t k = 0; k < count; ++k)
              out[k] = forward.alpha * through[static_cast<std::size_t>(k)];
          }
        }
      }
    });
    if (!sums_bias) return;
    for (std::int64_t n = 0; n < source.n; ++n) {
      double* sums = all_sums + n * chunks * width;
      for (std::int64_t other = 1; other < chunks; ++other) {
#pragma omp simd
        for (std::int64_t c = 0; c < width; ++c) sums[c] += sums[other * width + c];
      }
      float* out = args.at(Op::biasGradient) + n * for_bias.stride_n;
      for (std::int64_t c = 0; c < width; ++c) out[c] = static_cast<float>(sums[c]);
    }
  };
  const std::size_t bytes =
      sums_bias ? static_cast<std::size_t>(source.n * chunks * width) * sizeof(double) : 0;
  return make_step(descs, "chunk sums", body, bytes);
}

}  // namespace cermet::cpu
