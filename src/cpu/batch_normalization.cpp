// Batch normalisation: statistics, y = f((x - mean)*gamma/s + beta) with s = sqrt(variance +
// epsilon), and both gradients with the derivative of the fused neuron (spec: normalization 6.7,
// 6.10). Own code: statistics accumulate over encodes, epsilon may be as small as 1e-38 and the
// neuron's derivative is ours; oneDNN offers none of these.
// Sums are double, per channel, over chunks of pixels whose size depends on the shape alone; chunks
// combine in order, so every thread count gives the same bits. Variance takes a second pass.

#include <array>
#include <cmath>

#include "cpu/activation.h"
#include "cpu/chunk_sums.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t channel_block = 64;

/// Merges `samples` with these means and sums of squared deviations into the running sums.
void merge(double* running, double samples, const double* mean, const double* squares,
           std::int64_t channels) {
  const double before = running[0], total = before + samples;
  double *means = running + 1, *deviations = means + channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double step = mean[c] - means[c];
    means[c] += step * samples / total;
    deviations[c] += squares[c] + step * step * before * samples / total;
  }
  running[0] = total;
}

}  // namespace

StepPtr prepare(const BatchNormalizationStatistics& op, Descs descs, Engine& engine) {
  using Op = BatchNormalizationStatistics;
  const TensorDesc source = descs[Op::source];
  const Chunks chunks(source);
  const int threads = threads_for(source.count(), engine);
  const std::int64_t channels = source.c;
  const auto body = [=](const Args& args) {
    const auto* x = args.at<const float>(Op::source);
    auto* running = args.at<double>(Op::sums);
    auto* sums = static_cast<double*>(args.scratch);
    double* mean = sums + chunks.count * channels;
    const auto samples = static_cast<double>(source.pixels());

    chunks.sum(threads, sums, channels,
               [&](std::int64_t n, std::int64_t j, std::int64_t i, double* own) {
                 const float* values = pixel(x, source, n, j, i);
#pragma omp simd
                 for (std::int64_t c = 0; c < channels; ++c) own[c] += double{values[c]};
               });
    for (std::int64_t c = 0; c < channels; ++c) mean[c] = sums[c] / samples;
    chunks.sum(threads, sums, channels,
               [&](std::int64_t n, std::int64_t j, std::int64_t i, double* own) {
                 const float* values = pixel(x, source, n, j, i);
#pragma omp simd
                 for (std::int64_t c = 0; c < channels; ++c) {
                   const double deviation = double{values[c]} - mean[c];
                   own[c] += deviation * deviation;
                 }
               });

    if (op.restart != 0) std::fill_n(running, 1 + 2 * channels, 0.0);
    merge(running, samples, mean, sums, channels);
    for (std::int64_t c = 0; c < channels; ++c) {
      args.at(Op::mean)[c] = static_cast<float>(running[1 + c]);
      args.at(Op::variance)[c] = static_cast<float>(running[1 + channels + c] / running[0]);
    }
  };
  const std::size_t mean_bytes = static_cast<std::size_t>(channels) * sizeof(double);
  return make_step(descs, "two passes", body, chunks.bytes(1) + mean_bytes);
}

namespace {

/// What the normalising kernels share: slots from `mean` on are mean, variance, gamma, beta,
/// slopes.
struct Normalization {
  TensorDesc source;
  Activation activation;
  float epsilon;
  std::size_t first;  // the slot of mean
  bool has_gamma, has_beta;

  Normalization(const BatchNormalization& op, Descs descs, std::size_t source_slot)
      : source(descs[source_slot]),
        activation(op.activation),
        epsilon(op.epsilon),
        first(source_slot + 1),
        has_gamma(descs[first + 2].present()),
        has_beta(descs[first + 3].present()) {}
  [[nodiscard]] bool plain() const { return activation.type == CNNNeuronType::None; }
  [[nodiscard]] std::size_t factor_bytes() const {
    return 3 * static_cast<std::size_t>(source.c) * sizeof(float);
  }
};

/// Factors of each channel for one run.
struct Factors {
  const float *mean, *slopes;
  const float *inverse, *scale, *shift;  // 1/s, gamma/s and beta, in scratch

  Factors(const Normalization& op, const Args& args, float* room)
      : mean(args.at<const float>(op.first)), slopes(args.at<const float>(op.first + 4)) {
    const std::int64_t channels = op.source.c;
    const auto* variance = args.at<const float>(op.first + 1);
    const auto* gamma = args.at<const float>(op.first + 2);
    const auto* beta = args.at<const float>(op.first + 3);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double one = 1.0 / std::sqrt(double{variance[c]} + double{op.epsilon});
      room[c] = static_cast<float>(one);
      room[channels + c] = static_cast<float>(op.has_gamma ? double{gamma[c]} * one : one);
      room[2 * channels + c] = op.has_beta ? beta[c] : 0.0F;
    }
    inverse = room;
    scale = room + channels;
    shift = room + 2 * channels;
  }
  /// gamma*xh + beta, the same bits in forward and gradient: a kink is on the same side in both.
  void normalize(const float* x, std::int64_t begin, std::int64_t count, float* z) const {
#pragma omp simd
    for (std::int64_t c = 0; c < count; ++c) {
      z[c] = std::fma(x[begin + c] - mean[begin + c], scale[begin + c], shift[begin + c]);
    }
  }
};

/// Calls use(first channel, count, g') for blocks of a pixel's channels, g' = g * f'(z).
template <class Use>
void for_each_block(const Normalization& op, const Factors& factors, GradientRow multiply,
                    const float* g, const float* x, Use&& use) {
  alignas(64) std::array<float, channel_block> through;
  for (std::int64_t first = 0; first < op.source.c; first += channel_block) {
    const std::int64_t count = std::min(channel_block, op.source.c - first);
    if (op.plain()) {
      use(first, count, g + first);
      continue;
    }
    const bool has_slopes = op.activation.type == CNNNeuronType::PReLU;
    const float* slopes = has_slopes ? factors.slopes + first : nullptr;
    factors.normalize(x, first, count, through.data());
    multiply(op.activation, g + first, through.data(), slopes, through.data(), count);
    use(first, count, through.data());
  }
}

}  // namespace

StepPtr prepare(const BatchNormalization& op, Descs descs, Engine& engine) {
  const Normalization shared(op, descs, BatchNormalization::source);
  const TensorDesc source = shared.source, destination = descs[BatchNormalization::destination];
  const EvaluateRow evaluate = evaluate_row(op.activation.type);
  const int threads = threads_for(source.count(), engine);
  const auto body = [=](const Args& args) {
    const Factors factors(shared, args, static_cast<float*>(args.scratch));
    const auto* x = args.at<const float>(BatchNormalization::source);
    float* to = args.at(BatchNormalization::destination);
    for_each_pixel(threads, source, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      float* out = pixel(to, destination, n, j, i);
      factors.normalize(pixel(x, source, n, j, i), 0, source.c, out);
      if (!shared.plain()) evaluate(shared.activation, out, factors.slopes, out, source.c);
    });
  };
  return make_step(descs, "pixels", body, shared.factor_bytes());
}

StepPtr prepare(const BatchNormalizationStatisticsGradient& op, Descs descs, Engine& engine) {
  using Op = BatchNormalizationStatisticsGradient;
  const Normalization shared(op.forward, descs, Op::source);
  const TensorDesc source = shared.source, gradient = descs[Op::gradient];
  const Chunks chunks(source);
  const GradientRow multiply = gradient_row(op.forward.activation.type);
  const int threads = threads_for(source.count(), engine);
  const auto body = [=](const Args& args) {
    const std::int64_t channels = source.c;
    auto* sums = static_cast<double*>(args.scratch);  // of g' and, channels later, of g' * xh
    const Factors factors(shared, args,
                          reinterpret_cast<float*>(sums + 2 * chunks.count * channels));
    const auto* g = args.at<const float>(Op::gradient);
    const auto* x = args.at<const float>(Op::source);
    chunks.sum(threads, sums, 2 * channels,
               [&](std::int64_t n, std::int64_t j, std::int64_t i, double* own) {
                 const float* values = pixel(x, source, n, j, i);
                 for_each_block(shared, factors, multiply, pixel(g, gradient, n, j, i), values,
                                [&](std::int64_t first, std::int64_t count, const float* through) {
#pragma omp simd
                                  for (std::int64_t k = 0; k < count; ++k) {
                                    const std::int64_t c = first + k;
                                    const float normalized =
                                        (values[c] - factors.mean[c]) * factors.inverse[c];
                                    own[c] += double{through[k]};
                                    own[channels + c] += double{through[k]} * double{normalized};
                                  }
                                });
               });
    float *for_gamma = args.at(Op::gradientForGamma), *for_beta = args.at(Op::gradientForBeta);
    for (std::int64_t c = 0; c < channels; ++c) {
      const bool adds = op.accumulate != 0;
      for_beta[c] = static_cast<float>((adds ? double{for_beta[c]} : 0.0) + sums[c]);
      for_gamma[c] = static_cast<float>((adds ? double{for_gamma[c]} : 0.0) + sums[channels + c]);
    }
  };
  return make_step(descs, "chunk sums", body, chunks.bytes(2) + shared.factor_bytes());
}

StepPtr prepare(const BatchNormalizationGradient& op, Descs descs, Engine& engine) {
  using Op = BatchNormalizationGradient;
  const Normalization shared(op.forward, descs, Op::source);
  const TensorDesc source = shared.source, gradient = descs[Op::gradient];
  const TensorDesc destination = descs[Op::destination];
  const bool counted = descs[Op::sums].present();
  const GradientRow multiply = gradient_row(op.forward.activation.type);
  const int threads = threads_for(source.count(), engine);
  const auto body = [=](const Args& args) {
    const std::int64_t channels = source.c;
    const bool fixed = op.fixedStatistics != 0;
    const double samples =
        !fixed && counted ? *args.at<const double>(Op::sums) : static_cast<double>(source.pixels());
    auto* room = static_cast<float*>(args.scratch);
    const Factors factors(shared, args, room);
    float *level = room + 3 * channels, *tilt = level + channels;  // the means of g' and g' * xh
    for (std::int64_t c = 0; c < channels; ++c) {
      level[c] = fixed ? 0.0F : static_cast<float>(args.at(Op::gradientForBeta)[c] / samples);
      tilt[c] = fixed ? 0.0F : static_cast<float>(args.at(Op::gradientForGamma)[c] / samples);
    }
    const auto* g = args.at<const float>(Op::gradient);
    const auto* x = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, source, [&](std::int64_t n, std::int64_t j, std::int64_t i) {
      const float* values = pixel(x, source, n, j, i);
      float* out = pixel(to, destination, n, j, i);
      for_each_block(
          shared, factors, multiply, pixel(g, gradient, n, j, i), values,
          [&](std::int64_t first, std::int64_t count, const float* through) {
#pragma omp simd
            for (std::int64_t k = 0; k < count; ++k) {
              const std::int64_t c = first + k;
              const float normalized = (values[c] - factors.mean[c]) * factors.inverse[c];
              out[c] = factors.scale[c] * (through[k] - std::fma(normalized, tilt[c], level[c]));
            }
          });
    });
  };
  const std::size_t more = 2 * static_cast<std::size_t>(source.c) * sizeof(float);
  return make_step(descs, "pixels", body, shared.factor_bytes() + more);
}

}  // namespace cermet::cpu
