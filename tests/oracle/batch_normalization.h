#pragma once
// Batch normalisation: statistics, forward, both gradients (spec: normalization 6.7, 6.10).

#include "cermet/cnn/batch_normalization.h"
#include "neuron.h"

namespace cermet::oracle {

/// count, mean and sum of squared deviations of the samples so far, per channel.
struct BatchNormalizationSums {
  double count = 0;
  std::vector<double> mean, m2;

  [[nodiscard]] std::vector<double> variance() const {  // biased
    auto result = m2;
    for (double& value : result) value /= count;
    return result;
  }
};
/// `before`: the sums so far; read unless the operator restarts.
inline BatchNormalizationSums batch_normalization_statistics(
    const BatchNormalizationStatistics& op, const Tensor& source,
    const BatchNormalizationSums& before = {}) {
  const auto channels = static_cast<std::size_t>(source.c);
  const double m = double{1} * source.n * source.h * source.w;
  std::vector<double> mean(channels), m2(channels);
  for (std::size_t e = 0; e < source.v.size(); ++e) mean[e % channels] += source.v[e] / m;
  for (std::size_t e = 0; e < source.v.size(); ++e)
    m2[e % channels] += std::pow(source.v[e] - mean[e % channels], 2);
  if (op.restart != 0 || before.count == 0) return {m, mean, m2};
  const double total = before.count + m;
  for (std::size_t c = 0; c < channels; ++c) {
    const double d = mean[c] - before.mean.at(c);
    mean[c] = before.mean[c] + d * m / total;
    m2[c] += before.m2.at(c) + d * d * before.count * m / total;
  }
  return {total, mean, m2};
}

/// Per channel; gamma absent: 1, beta absent: 0.
struct BatchNormalizationArrays {
  std::vector<double> mean, variance, gamma, beta, slopes;
};
/// What forward and gradients share for one sample.
struct NormalizedSample {
  double deviation, normalized, gamma, result;  // s, xh, gamma, z = gamma * xh + beta
};
inline NormalizedSample normalized_sample(const BatchNormalization& op,
                                          const BatchNormalizationArrays& arrays, double x, int c) {
  const double s = std::sqrt(entry(arrays.variance, c) + op.epsilon);
  const double xh = (x - entry(arrays.mean, c)) / s, gamma = entry(arrays.gamma, c, 1);
  return {s, xh, gamma, gamma * xh + entry(arrays.beta, c)};
}

inline Tensor batch_normalization(const BatchNormalization& op, const Tensor& source,
                                  const BatchNormalizationArrays& arrays) {
  auto out = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    const double z = normalized_sample(op, arrays, source(n, y, x, c), c).result;
    out(n, y, x, c) = neuron_function(op.activation, arrays.slopes, c).value(z);
  });
  return out;
}

struct GammaAndBetaGradients {
  std::vector<double> gamma, beta;
};
/// `before`: what the gradients held; read when the operator accumulates.
inline GammaAndBetaGradients batch_normalization_statistics_gradient(
    const BatchNormalizationStatisticsGradient& op, const Tensor& gradient, const Tensor& source,
    const BatchNormalizationArrays& arrays, const GammaAndBetaGradients& before = {}) {
  const std::vector<double> zeros(static_cast<std::size_t>(source.c));
  auto out = op.accumulate != 0 ? before : GammaAndBetaGradients{zeros, zeros};
  for_each(source, [&](int n, int y, int x, int c) {
    const auto sample = normalized_sample(op.forward, arrays, source(n, y, x, c), c);
    const auto f = neuron_function(op.forward.activation, arrays.slopes, c);
    const double g = gradient(n, y, x, c) * f.derivative(sample.result);
    out.gamma.at(static_cast<std::size_t>(c)) += g * sample.normalized;
    out.beta.at(static_cast<std::size_t>(c)) += g;
  });
  return out;
}

/// `sums`: those of the whole batch; `m` samples stand behind the statistics.
inline Tensor batch_normalization_gradient(const BatchNormalizationGradient& op,
                                           const Tensor& gradient, const Tensor& source,
                                           const BatchNormalizationArrays& arrays,
                                           const GammaAndBetaGradients& sums, double m) {
  auto out = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    const auto sample = normalized_sample(op.forward, arrays, source(n, y, x, c), c);
    const auto f = neuron_function(op.forward.activation, arrays.slopes, c);
    double g = gradient(n, y, x, c) * f.derivative(sample.result);
    if (op.fixedStatistics == 0)
      g -= (entry(sums.beta, c) + sample.normalized * entry(sums.gamma, c)) / m;
    out(n, y, x, c) = sample.gamma / sample.deviation * g;
  });
  return out;
}

}  // namespace cermet::oracle
