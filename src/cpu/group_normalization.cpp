// Instance and group normalisation and their gradient (formulas: cnn/group_normalization.h). Own
// code: oneDNN 2.6 has neither. Statistics take two passes, sums are double.

#include <omp.h>

#include <cmath>

#include "cpu/chunk_sums.h"

namespace cermet::cpu {
namespace {

/// A number in two floats, so that a mean is subtracted as if it were exact: what cancels gives 0,
/// however small epsilon is.
struct Split {
  float high = 0, low = 0;
  void operator=(double value) {
    high = static_cast<float>(value);
    low = static_cast<float>(value - double{high});
  }
};

/// One image: which samples, and how its sums are made.
struct Plan {
  TensorDesc source;  // of one image
  Chunks chunks;
  double epsilon;
  std::int64_t channels, width;  // of a group
  int threads;
  bool whole_images;  // threads take images each, else all take parts of one

  Plan(const GroupNormalization& op, const TensorDesc& all, Engine& engine)
      : source(one_of(all)),
        chunks(source),
        epsilon(op.epsilon),
        channels(all.c),
        width(all.c / op.groups),
        threads(threads_for(all.count(), engine)),
        whole_images(all.n >= threads) {}

  /// Doubles that work on one image needs: chunk sums, then `arrays` of a channel each.
  [[nodiscard]] std::size_t scratch_bytes(std::int64_t arrays) const {
    const int workers = whole_images ? threads : 1;
    return static_cast<std::size_t>(workers) * image_bytes(arrays);
  }
  [[nodiscard]] std::size_t image_bytes(std::int64_t arrays) const {
    return chunks.bytes(2) + static_cast<std::size_t>(arrays * channels) * sizeof(double);
  }
  /// body(image, threads for it, its scratch) for each image.
  template <class Body>
  void for_each_image(std::int64_t images, void* scratch, std::int64_t arrays, Body&& body) const {
    auto* bytes = static_cast<std::byte*>(scratch);
    if (!whole_images) {
      for (std::int64_t n = 0; n < images; ++n) body(n, threads, reinterpret_cast<double*>(bytes));
      return;
    }
    parallel(threads, images, [&](std::int64_t begin, std::int64_t end) {
      const auto worker = static_cast<std::size_t>(omp_get_thread_num());
      auto* own = reinterpret_cast<double*>(bytes + worker * image_bytes(arrays));
      for (std::int64_t n = begin; n < end; ++n) body(n, 1, own);
    });
  }
  [[nodiscard]] double samples() const {
    return static_cast<double>(source.pixels()) * static_cast<double>(width);
  }
  /// use(first channel, sum over the channels of the group of `values`).
  template <class Use>
  void for_each_group(const double* values, Use&& use) const {
    for (std::int64_t first = 0; first < channels; first += width) {
      double sum = 0;
      for (std::int64_t c = first; c < first + width; ++c) sum += values[c];
      use(first, sum);
    }
  }

  /// The statistics of one image, repeated for the channels of each group.
  void statistics(const float* x, int workers, double* sums, float* high, float* low,
                  double* inverse) const {
    chunks.sum(workers, sums, channels,
               [&](std::int64_t, std::int64_t j, std::int64_t i, double* own) {
                 const float* values = pixel(x, source, 0, j, i);
#pragma omp simd
                 for (std::int64_t c = 0; c < channels; ++c) own[c] += double{values[c]};
               });
    for_each_group(sums, [&](std::int64_t first, double sum) {
      Split mean;
      mean = sum / samples();
      std::fill_n(high + first, width, mean.high);
      std::fill_n(low + first, width, mean.low);
    });
    chunks.sum(workers, sums, channels,
               [&](std::int64_t, std::int64_t j, std::int64_t i, double* own) {
                 const float* values = pixel(x, source, 0, j, i);
#pragma omp simd
                 for (std::int64_t c = 0; c < channels; ++c) {
                   const float deviation = (values[c] - high[c]) - low[c];
                   own[c] += double{deviation} * double{deviation};
                 }
               });
    for_each_group(sums, [&](std::int64_t first, double sum) {
      std::fill_n(inverse + first, width, 1.0 / std::sqrt(sum / samples() + epsilon));
    });
  }

 private:
  static TensorDesc one_of(TensorDesc desc) {
    desc.n = 1;
    return desc;
  }
};

}  // namespace

StepPtr prepare(const GroupNormalization& op, Descs descs, Engine& engine) {
  using Op = GroupNormalization;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const Plan plan(op, source, engine);
  constexpr std::int64_t arrays = 3;  // 1/s; scale and shift; high and low
  const auto body = [=](const Args& args) {
    const auto *gamma = args.at<const float>(Op::gamma), *beta = args.at<const float>(Op::beta);
    plan.for_each_image(
        source.n, args.scratch, arrays, [&](std::int64_t n, int workers, double* sums) {
          const std::int64_t channels = plan.channels;
          double* inverse = sums + 2 * plan.chunks.count * channels;
          auto* scale = reinterpret_cast<float*>(inverse + channels);
          float *high = scale + channels, *low = high + channels;
          const float* x = pixel(args.at<const float>(Op::source), source, n, 0, 0);
          float* y = pixel(args.at(Op::destination), destination, n, 0, 0);
          plan.statistics(x, workers, sums, high, low, inverse);
          for (std::int64_t c = 0; c < channels; ++c)
            scale[c] = static_cast<float>(double{gamma[c]} * inverse[c]);
          for_each_pixel(workers, plan.source, [&](std::int64_t, std::int64_t j, std::int64_t i) {
            const float* from = pixel(x, source, 0, j, i);
            float* to = pixel(y, destination, 0, j, i);
#pragma omp simd
            for (std::int64_t c = 0; c < channels; ++c)
              to[c] = std::fma((from[c] - high[c]) - low[c], scale[c], beta[c]);
          });
        });
  };
  return make_step(descs, "two passes", body, plan.scratch_bytes(arrays));
}

StepPtr prepare(const GroupNormalizationGradient& op, Descs descs, Engine& engine) {
  using Op = GroupNormalizationGradient;
  const TensorDesc source = descs[Op::source], gradient = descs[Op::gradient];
  const TensorDesc destination = descs[Op::destination], for_gamma = descs[Op::gradientForGamma],
                   for_beta = descs[Op::gradientForBeta];
  const std::int64_t images = source.n / for_gamma.n;  // that share a sum
  const Plan plan(op.forward, source, engine);
  constexpr std::int64_t arrays = 6;  // 1/s, A, B; six of floats
  const auto body = [=](const Args& args) {
    const auto* gamma = args.at<const float>(Op::gamma);
    const auto one_image = [&](std::int64_t n, int workers, double* sums) {
      const std::int64_t channels = plan.channels;
      double* inverse = sums + 2 * plan.chunks.count * channels;
      double *weighted = inverse + channels, *tilted = weighted + channels;
      auto* high = reinterpret_cast<float*>(tilted + channels);
      float *low = high + channels, *unit = low + channels, *level = unit + channels,
            *rest = level + channels, *tilt = rest + channels;
      const float* x = pixel(args.at<const float>(Op::source), source, n, 0, 0);
      const float* g = pixel(args.at<const float>(Op::gradient), gradient, n, 0, 0);
      float* dx = pixel(args.at(Op::destination), destination, n, 0, 0);
      plan.statistics(x, workers, sums, high, low, inverse);
      for (std::int64_t c = 0; c < channels; ++c) unit[c] = static_cast<float>(inverse[c]);
      plan.chunks.sum(workers, sums, 2 * channels,
                      [&](std::int64_t, std::int64_t j, std::int64_t i, double* own) {
                        const float* values = pixel(x, source, 0, j, i);
                        const float* incoming = pixel(g, gradient, 0, j, i);
#pragma omp simd
                        for (std::int64_t c = 0; c < channels; ++c) {
                          const float normalized = ((values[c] - high[c]) - low[c]) * unit[c];
                          own[c] += double{incoming[c]};
                          own[channels + c] += double{incoming[c]} * double{normalized};
                        }
                      });
      float* beta_sums = args.at(Op::gradientForBeta) + n / images * for_beta.stride_n;
      float* gamma_sums = args.at(Op::gradientForGamma) + n / images * for_gamma.stride_n;
      const bool first = n % images == 0;
      for (std::int64_t c = 0; c < channels; ++c) {
        const double b = sums[c], a = sums[channels + c];
        beta_sums[c] = static_cast<float>(first ? b : double{beta_sums[c]} + b);
        gamma_sums[c] = static_cast<float>(first ? a : double{gamma_sums[c]} + a);
        weighted[c] = double{gamma[c]} * b;
        tilted[c] = double{gamma[c]} * a;
      }
      plan.for_each_group(weighted, [&](std::int64_t from, double sum) {
        Split mean;
        mean = sum / plan.samples();
        std::fill_n(level + from, plan.width, mean.high);
        std::fill_n(rest + from, plan.width, mean.low);
      });
      plan.for_each_group(tilted, [&](std::int64_t from, double sum) {
        std::fill_n(tilt + from, plan.width, static_cast<float>(sum / plan.samples()));
      });
      for_each_pixel(workers, plan.source, [&](std::int64_t, std::int64_t j, std::int64_t i) {
        const float* values = pixel(x, source, 0, j, i);
        const float* incoming = pixel(g, gradient, 0, j, i);
        float* to = pixel(dx, destination, 0, j, i);
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) {
          const float normalized = ((values[c] - high[c]) - low[c]) * unit[c];
          const float above = std::fma(gamma[c], incoming[c], -level[c]) - rest[c];
          to[c] = unit[c] * std::fma(-normalized, tilt[c], above);
        }
      });
    };
    if (images == 1) {
      plan.for_each_image(source.n, args.scratch, arrays, one_image);
    } else {  // sums of several images, in order
      for (std::int64_t n = 0; n < source.n; ++n)
        one_image(n, plan.threads, static_cast<double*>(args.scratch));
    }
  };
  return make_step(descs, "two passes, chunk sums", body, plan.scratch_bytes(arrays));
}

}  // namespace cermet::cpu
