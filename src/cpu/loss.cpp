// Loss and its gradients by prediction or label: ten functions, four reductions, weights, label
// smoothing (spec: loss 6, 7). Formulas are evaluated in double and rounded once at the store. Sums
// go row by row, then over the rows of an image, then over images: the order is fixed.
// Own code: no library has these functions with these weights, reductions and label gradients.

#include <array>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu/activation.h"
#include "cpu/loss_functions.h"

namespace cermet::cpu {

LossParameters loss_parameters(const Loss& op, const Loss::Scalars& scalars) {
  LossParameters p{.weight = scalars.weight, .epsilon = scalars.epsilon, .delta = scalars.delta};
  const double smoothing = scalars.labelSmoothing;
  const bool softmax = op.type == CNNLossType::SoftMaxCrossEntropy;
  if (smoothing > 0 && (softmax || op.type == CNNLossType::SigmoidCrossEntropy)) {
    p.keep = 1 - smoothing;
    p.extra = smoothing / (softmax ? op.numberOfClasses : 2);
  }
  return p;
}

namespace {

using Parameters = LossParameters;

/// d l / d t, t being the label before smoothing.
template <CNNLossType type>
inline double label_slope_of(double y, double t, const Parameters& p) {
  using enum CNNLossType;
  if constexpr (type == SigmoidCrossEntropy) return -p.keep * y;
  if constexpr (type == CategoricalCrossEntropy) return -std::log(y);
  if constexpr (type == Hinge) return 1 + (1 - 2 * t) * y > 0 ? -2 * y : 0;
  if constexpr (type == Log) return std::log(1 - y + p.epsilon) - std::log(y + p.epsilon);
  if constexpr (type == KullbackLeiblerDivergence) return t == 0 ? 0 : std::log(t) + 1 - y;
  if constexpr (type == CosineDistance) return -y;
  return -slope_of<type>(y, t, p);  // a function of y - t
}

/// Adjacent values: one pixel, or a row of pixels where channels do not interact.
struct Run {
  const float *y, *t, *w;  // w may be null
  std::int64_t count;
  [[nodiscard]] double weight(const Parameters& p, std::int64_t c) const {
    return w == nullptr ? p.weight : p.weight * double{w[c]};
  }
};

/// The largest value and ln(sum exp(y - largest)).
struct LogSum {
  float largest;
  double rest;
  [[nodiscard]] double of(float y) const { return double{y - largest} - rest; }
};
LogSum log_sum(const Run& run) {
  const float largest = largest_of(run.y, run.count);
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < run.count; ++c) sum += double{exponential(run.y[c] - largest)};
  return {largest, std::log(sum)};
}

/// Sum of weighted losses; stores each when `out` is given.
template <CNNLossType type>
double loss_run(const Run& run, const Parameters& p, float* out) {
  double sum = 0;
  LogSum shift{};
  if constexpr (type == CNNLossType::SoftMaxCrossEntropy) shift = log_sum(run);
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < run.count; ++c) {
    const double t = p.keep * double{run.t[c]} + p.extra;
    double value;
    if constexpr (type == CNNLossType::SoftMaxCrossEntropy) {
      value = t == 0 ? 0 : -t * shift.of(run.y[c]);
    } else {
      value = loss_of<type>(run.y[c], t, p);
    }
    const double w = type == CNNLossType::CosineDistance ? 1.0 : run.weight(p, c);
    const double weighted = w == 0 ? 0 : w * value;
    if (out != nullptr) out[c] = static_cast<float>(weighted);
    sum += weighted;
  }
  return sum;
}

/// The gradient that arrives: `each` one value an element (may be null), times `all`.
struct Arriving {
  const float* each;
  double all;
  /// G * w * R, exactly 0 where w is 0.
  [[nodiscard]] double scale(const Run& run, const Parameters& p, std::int64_t c) const {
    const double w = run.weight(p, c);
    return w == 0 ? 0 : all * w * (each == nullptr ? 1.0 : double{each[c]});
  }
};

template <CNNLossType type, bool by_labels>
void gradient_run(const Run& run, const Arriving& arriving, const Parameters& p, float* out) {
  LogSum shift{};
  if constexpr (type == CNNLossType::SoftMaxCrossEntropy) shift = log_sum(run);
#pragma omp simd
  for (std::int64_t c = 0; c < run.count; ++c) {
    const double t = p.keep * double{run.t[c]} + p.extra;
    const double factor = arriving.scale(run, p, c);
    double slope;
    if constexpr (type == CNNLossType::SoftMaxCrossEntropy) {
      const double logarithm = shift.of(run.y[c]);
      slope = by_labels ? -p.keep * logarithm : exponential(static_cast<float>(logarithm)) - t;
    } else {
      slope = by_labels ? label_slope_of<type>(run.y[c], t, p) : slope_of<type>(run.y[c], t, p);
    }
    out[c] = static_cast<float>(factor == 0 ? 0 : factor * slope);
  }
}

/// Soft-max with labels or weights that differ between channels: share * sum(scale * label) -
/// scale * label, in place of scale * (share - label).
void exact_softmax_run(const Run& run, const Arriving& arriving, const Parameters& p, float* out) {
  const LogSum shift = log_sum(run);
  const auto pull = [&](std::int64_t c) {
    const double factor = arriving.scale(run, p, c), t = p.keep * double{run.t[c]} + p.extra;
    return factor == 0 ? 0 : factor * t;
  };
  double pulled = 0;
  for (std::int64_t c = 0; c < run.count; ++c) pulled += pull(c);
  for (std::int64_t c = 0; c < run.count; ++c) {
    out[c] = static_cast<float>(std::exp(shift.of(run.y[c])) * pulled - pull(c));
  }
}

using LossRun = double (*)(const Run&, const Parameters&, float*);
using GradientRun = void (*)(const Run&, const Arriving&, const Parameters&, float*);

/// Where the slots' values lie, and how they are cut into runs.
struct Geometry {
  TensorDesc source, labels, weights;
  bool weighted;                // the weights slot takes part
  std::int64_t columns, count;  // runs of a row, values of a run

  /// `others`: further slots that hold a value an element, unless they hold one an image.
  Geometry(CNNLossType type, Descs inputs, std::initializer_list<TensorDesc> others)
      : source(inputs[0]),
        labels(inputs[1]),
        weights(inputs[2]),
        weighted(weights.present() && type != CNNLossType::CosineDistance) {
    const auto adjacent = [&](const TensorDesc& desc) {
      return desc.c == source.c && (desc.stride_w == desc.c || desc.w == 1);
    };
    bool rows = type != CNNLossType::SoftMaxCrossEntropy && adjacent(source) && adjacent(labels) &&
                (!weighted || adjacent(weights));
    for (const TensorDesc& desc : others) rows &= desc.count() == desc.n || adjacent(desc);
    columns = rows ? 1 : source.w;
    count = rows ? std::int64_t{source.w} * source.c : source.c;
  }
  [[nodiscard]] Run run(const float* y, const float* t, const float* w, std::int64_t row,
                        std::int64_t x) const {
    const std::int64_t n = row / source.h, line = row % source.h;
    return {pixel(y, source, n, line, x), pixel(t, labels, n, line, x),
            weighted ? pixel(w, weights, n, line, x) : nullptr, count};
  }
  [[nodiscard]] std::int64_t rows() const { return std::int64_t{source.n} * source.h; }
  /// Weights of a row that are not zero.
  [[nodiscard]] double count_weights(const float* w, std::int64_t row) const {
    if (!weighted) return static_cast<double>(source.w) * source.c;
    std::int64_t found = 0;
    for (std::int64_t x = 0; x < columns; ++x) {
      const float* first = pixel(w, weights, row / source.h, row % source.h, x);
      found += std::count_if(first, first + count, [](float value) { return value != 0.0F; });
    }
    return static_cast<double>(found);
  }
};

/// A row's sum of losses and its weights that are not zero.
struct RowSum {
  double loss = 0, weights = 0;
};

RowSum sum_of_rows(const RowSum* rows, std::int64_t begin, std::int64_t end) {
  RowSum sum;
  for (std::int64_t row = begin; row < end; ++row) {
    sum.loss += rows[row].loss;
    sum.weights += rows[row].weights;
  }
  return sum;
}

/// What a sum is divided by, given the count of weights of the image (or batch).
double divisor(const Loss& op, const TensorDesc& source, double weights) {
  const bool softmax = op.type == CNNLossType::SoftMaxCrossEntropy;
  if (op.type == CNNLossType::CosineDistance) return 1;
  if (op.reduction == CNNReductionType::SumByNonZeroWeights) return weights;
  if (op.reduction != CNNReductionType::Mean) return 1;
  return static_cast<double>(source.w) * source.h * (softmax ? 1 : source.c) *
         (op.reduceAcrossBatch != 0 ? source.n : 1);
}

/// One value an image from the sums of its rows.
void reduce(const Loss& op, const Parameters& p, const Geometry& geometry, const RowSum* rows,
            float* out, const TensorDesc& desc) {
  const std::int64_t h = geometry.source.h;
  RowSum batch;
  for (std::int64_t n = 0; n < geometry.source.n; ++n) {
    RowSum image = sum_of_rows(rows, n * h, (n + 1) * h);
    if (op.type == CNNLossType::CosineDistance) {
      image.loss = p.weight == 0 ? 0 : p.weight * (1 - image.loss);
    }
    batch.loss += image.loss;
    batch.weights += image.weights;
    const double by = divisor(op, geometry.source, image.weights);
    *pixel(out, desc, n, 0, 0) =
        op.reduceAcrossBatch != 0 || by == 0 ? 0.0F : static_cast<float>(image.loss / by);
  }
  const double by = divisor(op, geometry.source, batch.weights);
  if (op.reduceAcrossBatch != 0 && by != 0) *out = static_cast<float>(batch.loss / by);
}

}  // namespace

StepPtr prepare(const Loss& op, Descs descs, Engine& engine) {
  const TensorDesc destination = descs[Loss::loss];
  const Geometry geometry(op.type, descs.subspan(Loss::source, 3), {destination});
  const LossRun sum_run =
      with_type(op.type, []<CNNLossType type>() -> LossRun { return &loss_run<type>; });
  const int threads = threads_for(geometry.source.count(), engine, 2048);
  const bool each = op.reduction == CNNReductionType::None;
  const auto scratch = static_cast<std::size_t>(geometry.rows()) * sizeof(RowSum);
  const auto body = [=](const Args& args) {
    const Parameters p = loss_parameters(op, args.scalars_as<Loss::Scalars>());
    auto* sums = static_cast<RowSum*>(args.scratch);
    const auto* y = args.at<const float>(Loss::source);
    const auto* t = args.at<const float>(Loss::labels);
    const auto* w = args.at<const float>(Loss::weights);
    float* out = args.at(Loss::loss);
    const std::int64_t h = geometry.source.h;
    parallel(threads, geometry.rows(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        double sum = 0;
        for (std::int64_t x = 0; x < geometry.columns; ++x) {
          float* here = each ? pixel(out, destination, row / h, row % h, x) : nullptr;
          sum += sum_run(geometry.run(y, t, w, row, x), p, here);
        }
        if (!each) sums[row] = {sum, geometry.count_weights(w, row)};
      }
    });
    if (!each) reduce(op, p, geometry, sums, out, destination);
  };
  return make_step(descs, "row sums", body, each ? 0 : scratch);
}

namespace {

/// R of each image; `rows` is room for the sums of all rows.
void reduction_factors(const LossGradient& op, const Geometry& geometry, const float* w,
                       RowSum* rows, double* factors) {
  const std::int64_t h = geometry.source.h, images = geometry.source.n;
  const bool counted = op.forward.reduction == CNNReductionType::SumByNonZeroWeights;
  for (std::int64_t row = 0; counted && row < geometry.rows(); ++row) {
    rows[row] = {0, geometry.count_weights(w, row)};
  }
  const bool across = op.forward.reduceAcrossBatch != 0;
  double weights = counted && across ? sum_of_rows(rows, 0, images * h).weights : 0;
  for (std::int64_t n = 0; n < images; ++n) {
    if (counted && !across) weights = sum_of_rows(rows, n * h, (n + 1) * h).weights;
    const double by = divisor(op.forward, geometry.source, weights);
    factors[n] = op.ignoreReduction != 0 ? 1 : (by == 0 ? 0 : 1 / by);
  }
}

}  // namespace

StepPtr prepare(const LossGradient& op, Descs descs, Engine& engine) {
  const TensorDesc gradient = descs[LossGradient::gradient];
  const TensorDesc destination = descs[LossGradient::destination];
  const Geometry geometry(op.forward.type, descs.subspan(LossGradient::source, 3),
                          {gradient, destination});
  const GradientRun write_run = with_type(op.forward.type, [&]<CNNLossType type>() -> GradientRun {
    const bool softmax = type == CNNLossType::SoftMaxCrossEntropy;
    if (op.byLabels != 0) return &gradient_run<type, true>;
    return softmax && op.exactSoftMax != 0 ? &exact_softmax_run : &gradient_run<type, false>;
  });
  const int threads = threads_for(geometry.source.count(), engine, 2048);
  const auto rows = static_cast<std::size_t>(geometry.rows());
  const auto images = static_cast<std::size_t>(geometry.source.n);
  return make_step(
      descs, "rows",
      [=](const Args& args) {
        Parameters p = loss_parameters(op.forward, args.scalars_as<Loss::Scalars>());
        p.published_kl = op.publishedKullbackLeibler != 0;
        auto* sums = static_cast<RowSum*>(args.scratch);
        auto* factors = reinterpret_cast<double*>(sums + rows);
        const auto* g = gradient.present() ? args.at<const float>(LossGradient::gradient) : nullptr;
        const auto* y = args.at<const float>(LossGradient::source);
        const auto* t = args.at<const float>(LossGradient::labels);
        const auto* w = args.at<const float>(LossGradient::weights);
        float* out = args.at(LossGradient::destination);
        reduction_factors(op, geometry, w, sums, factors);
        const bool each = op.forward.reduction == CNNReductionType::None;
        const std::int64_t h = geometry.source.h, extra = destination.c - geometry.source.c;
        parallel(threads, geometry.rows(), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t n = row / h, from = op.forward.reduceAcrossBatch != 0 ? 0 : n;
            Arriving arriving{nullptr, factors[n]};
            if (g != nullptr && !each) arriving.all *= *pixel(g, gradient, from, 0, 0);
            for (std::int64_t x = 0; x < geometry.columns; ++x) {
              if (g != nullptr && each) arriving.each = pixel(g, gradient, n, row % h, x);
              float* here = pixel(out, destination, n, row % h, x);
              write_run(geometry.run(y, t, w, row, x), arriving, p, here);
              if (extra > 0) std::fill_n(here + geometry.source.c, extra, 0.0F);
            }
          }
        });
      },
      rows * sizeof(RowSum) + images * sizeof(double));
}

}  // namespace cermet::cpu
