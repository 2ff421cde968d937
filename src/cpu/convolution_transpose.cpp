// What a transposed convolution needs besides the passes of its adjoint: the weights of the
// adjoint, bias and activation, the gradient of the bias (formulas: cnn/convolution_transpose.h).

#include "cpu/activation.h"
#include "cpu/chunk_sums.h"

namespace cermet::cpu {

StepPtr prepare(const ConvolutionAdjointWeights& op, Descs descs, Engine& engine) {
  using Op = ConvolutionAdjointWeights;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const std::int64_t outputs = source.n / op.groups;  // of a group
  const int threads = threads_for(source.count(), engine);
  const auto body = [=](const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    // Each filter of the destination is written by one thread.
    parallel(threads, destination.n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const std::int64_t group = n / source.c, c = n % source.c;
        for (std::int64_t y = 0; y < destination.h; ++y) {
          for (std::int64_t x = 0; x < destination.w; ++x) {
            float* row = pixel(to, destination, n, y, x);
            const std::int64_t q = source.h - 1 - y, p = source.w - 1 - x;
            for (std::int64_t k = 0; k < outputs; ++k) {
              const float value = pixel(from, source, group * outputs + k, q, p)[c];
              row[k] = op.accumulate != 0 ? row[k] + value : value;
            }
          }
        }
      }
    });
  };
  return make_step(descs, "rotated", body);
}

StepPtr prepare(const ConvolutionTransposeBias& op, Descs descs, Engine& engine) {
  using Op = ConvolutionTransposeBias;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const bool biased = descs[Op::biases].present(), sloped = descs[Op::slopes].present();
  const EvaluateRow evaluate = evaluate_row(op.activation.type);
  const int threads = threads_for(source.count(), engine);
  const auto body = [=](const Args& args) {
    const auto* x = args.at<const float>(Op::source);
    const auto* biases = biased ? args.at<const float>(Op::biases) : nullptr;
    const auto* slopes = sloped ? args.at<const float>(Op::slopes) : nullptr;
    float* y = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      const float* from = pixel(x, source, n, j, i);
      float* to = pixel(y, destination, n, j, i);
      if (biases != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < destination.c; ++c) to[c] = from[c] + biases[c];
        from = to;
      }
      evaluate(op.activation, from, slopes, to, destination.c);
    });
  };
  return make_step(descs, "pixels", body);
}

StepPtr prepare(const ConvolutionTransposeGradientBias& op, Descs descs, Engine& engine) {
  using Op = ConvolutionTransposeGradientBias;
  const TensorDesc gradient = descs[Op::gradient];
  const Chunks chunks(gradient);
  const int threads = threads_for(gradient.count(), engine);
  const auto body = [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    auto* sums = static_cast<double*>(args.scratch);
    chunks.sum(threads, sums, gradient.c,
               [&](std::int64_t n, std::int64_t j, std::int64_t i, double* own) {
                 const float* values = pixel(g, gradient, n, j, i);
#pragma omp simd
                 for (std::int64_t c = 0; c < gradient.c; ++c) own[c] += double{values[c]};
               });
    float* biases = args.at(Op::biasGradient);
    for (std::int64_t c = 0; c < gradient.c; ++c) {
      const double before = op.accumulate != 0 ? double{biases[c]} : 0.0;
      biases[c] = static_cast<float>(before + sums[c]);
    }
  };
  return make_step(descs, "chunk sums", body, chunks.bytes(1));
}

}  // namespace cermet::cpu
