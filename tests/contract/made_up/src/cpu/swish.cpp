// Swish and its gradient (formulas: cnn/swish.h).

#include "cermet/cnn/swish.h"

#include <cmath>

#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

float logistic(float x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

StepPtr prepare(const Swish& op, Descs descs, Engine& engine) {
  const TensorDesc source = descs[Swish::source], destination = descs[Swish::destination];
  const int threads = threads_for(destination.count(), engine);
  return make_step(descs, "swish", [=](const Args& args) {
    const auto* from = args.at<const float>(Swish::source);
    float* to = args.at(Swish::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const float* in = pixel(from, source, n, y, x);
      float* out = pixel(to, destination, n, y, x);
      for (std::int64_t c = 0; c < destination.c; ++c) out[c] = in[c] * logistic(op.beta * in[c]);
    });
  });
}

StepPtr prepare(const SwishGradient& op, Descs descs, Engine& engine) {
  using Op = SwishGradient;
  const TensorDesc gradient = descs[Op::gradient], source = descs[Op::source];
  const TensorDesc destination = descs[Op::destination];
  const float beta = op.forward.beta;
  const int threads = threads_for(destination.count(), engine);
  return make_step(descs, "swish gradient", [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const float* arriving = pixel(g, gradient, n, y, x);
      const float* in = pixel(from, source, n, y, x);
      float* out = pixel(to, destination, n, y, x);
      for (std::int64_t c = 0; c < destination.c; ++c) {
        const float s = logistic(beta * in[c]);
        out[c] = arriving[c] * (s + beta * in[c] * s * (1 - s));
      }
    });
  });
}

}  // namespace cermet::cpu
