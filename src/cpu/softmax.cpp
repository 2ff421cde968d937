// SoftMax: y[k] = exp(x[k] - m) / sum exp(x[j] - m) over the channels of a pixel, m the largest.
// Logarithmic: y[k] = x[k] - m - ln(sum). Gradients from the forward RESULT y: y[k]*(g[k] - sum
// g[j]*y[j]); logarithmic: g[k] - exp(y[k])*sum g[j] (spec: pointwise 6, 7). Sums in double. In
// place is allowed. Own code: a row needs one exponential a channel and no set-up.

#include <cmath>

#include "cpu/activation.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

void soft_max(const float* x, float* y, std::int64_t channels) {
  const float largest = largest_of(x, channels);
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < channels; ++c) {
    const float value = exponential(x[c] - largest);
    y[c] = value;
    sum += double{value};
  }
  const auto divisor = static_cast<float>(sum);
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) y[c] /= divisor;
}

void log_soft_max(const float* x, float* y, std::int64_t channels) {
  const float largest = largest_of(x, channels);
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < channels; ++c) sum += double{exponential(x[c] - largest)};
  const auto logarithm = static_cast<float>(std::log(sum));
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) y[c] = (x[c] - largest) - logarithm;
}

void soft_max_gradient(const float* g, const float* y, float* d, std::int64_t channels) {
  double dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t c = 0; c < channels; ++c) dot += double{g[c]} * double{y[c]};
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    d[c] = static_cast<float>(double{y[c]} * (double{g[c]} - dot));
  }
}

void log_soft_max_gradient(const float* g, const float* y, float* d, std::int64_t channels) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < channels; ++c) sum += double{g[c]};
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    d[c] = static_cast<float>(double{g[c]} - double{exponential(y[c])} * sum);
  }
}

}  // namespace

StepPtr prepare(const SoftMax& op, Descs descs, Engine& engine) {
  const TensorDesc source = descs[SoftMax::source], destination = descs[SoftMax::destination];
  const int threads = threads_for(source.count(), engine, 4096);
  const auto row = op.logarithmic != 0 ? &log_soft_max : &soft_max;
  return make_step(descs, "pixels", [=](const Args& args) {
    const auto* x = args.at<const float>(SoftMax::source);
    float* y = args.at(SoftMax::destination);
    for_each_pixel(threads, source, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      row(pixel(x, source, n, j, i), pixel(y, destination, n, j, i), source.c);
    });
  });
}

StepPtr prepare(const SoftMaxGradient& op, Descs descs, Engine& engine) {
  const TensorDesc gradient = descs[SoftMaxGradient::gradient];
  const TensorDesc result = descs[SoftMaxGradient::result];
  const TensorDesc destination = descs[SoftMaxGradient::destination];
  const int threads = threads_for(result.count(), engine, 4096);
  const auto row = op.forward.logarithmic != 0 ? &log_soft_max_gradient : &soft_max_gradient;
  return make_step(descs, "pixels", [=](const Args& args) {
    const auto* g = args.at<const float>(SoftMaxGradient::gradient);
    const auto* y = args.at<const float>(SoftMaxGradient::result);
    float* d = args.at(SoftMaxGradient::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      row(pixel(g, gradient, n, j, i), pixel(y, result, n, j, i), pixel(d, destination, n, j, i),
          result.c);
    });
  });
}

}  // namespace cermet::cpu
