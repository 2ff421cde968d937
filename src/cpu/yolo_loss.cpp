// The YOLO loss and its gradient (formula: cnn/yolo_loss.h). Evaluated in double and rounded once
// at the store. Objects are counted first; then sums go row by row, over the rows of an image, and
// over images: the order is fixed.
// Own code: no library has this loss.

#include <cmath>
#include <limits>

#include "cpu/loss_functions.h"

namespace cermet::cpu {
namespace {

using Function = double (*)(double, double, const LossParameters&);

/// How one part of an anchor is judged.
struct Part {
  CNNLossType type;
  LossParameters parameters;
  Function loss, slope;
  bool exact_softmax;

  Part(const YOLOLoss::Part& part, const YOLOLoss& op)
      : type(part.type),
        parameters(loss_parameters({.type = part.type, .numberOfClasses = part.numberOfClasses},
                                   part.scalars)),
        loss(with_type(type, []<CNNLossType t>() -> Function { return &loss_of<t>; })),
        slope(with_type(type, []<CNNLossType t>() -> Function { return &slope_of<t>; })),
        exact_softmax(op.exactSoftMax != 0) {
    parameters.published_kl = op.publishedKullbackLeibler != 0;
  }
};

struct Term {
  double loss = 0, slope = 0;
};

/// The `count` channels of a part: predictions y(i) against labels t(i), each times factor and
/// weight(i); take(i, Term) gets them. Returns what the part adds beside its terms.
template <class Y, class T, class W, class Take>
double judge(const Part& part, std::int64_t count, double factor, const Y& y, const T& t,
             const W& weight, const Take& take) {
  const LossParameters& p = part.parameters;
  const bool softmax = part.type == CNNLossType::SoftMaxCrossEntropy;
  const bool cosine = part.type == CNNLossType::CosineDistance;
  const auto scale = [&](std::int64_t i) {
    return factor * p.weight * (cosine ? 1.0 : double{weight(i)});
  };
  const auto label = [&](std::int64_t i) { return p.keep * t(i) + p.extra; };
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, pulled = 0;
  if (softmax) {
    for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, y(i));
    for (std::int64_t i = 0; i < count; ++i) {
      sum += std::exp(y(i) - largest);
      pulled += scale(i) == 0 ? 0 : scale(i) * label(i);
    }
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const double s = scale(i), target = label(i), value = y(i);
    Term term;
    if (softmax) {
      const double logarithm = value - largest - std::log(sum), share = std::exp(logarithm);
      if (s != 0) term = {target == 0 ? 0 : s * -target * logarithm, s * (share - target)};
      if (part.exact_softmax) term.slope = share * pulled - (s == 0 ? 0 : s * target);
    } else if (s != 0) {
      const double l = part.loss(value, target, p);
      term = {s * (cosine ? -l : l), s * part.slope(value, target, p)};
    }
    take(i, term);
  }
  return cosine ? scale(0) : 0;
}

double overlap(double width, double height, double one_area, double other_area) {
  const double both = std::max(width, 0.0) * std::max(height, 0.0);
  const double either = one_area + other_area - both;
  return either > 0 ? both / either : 0;
}
/// The length that two intervals share, from their centres and lengths.
double shared(double centre, double length, double other_centre, double other_length) {
  return std::min(centre + length / 2, other_centre + other_length / 2) -
         std::max(centre - length / 2, other_centre - other_length / 2);
}

enum class Presence { neither, object, absent };

constexpr std::int64_t box = 5;  // channels before the classes

/// What a run works on.
struct Grid {
  YOLOLoss op;
  TensorDesc source, labels, weights, loss, gradient;
  std::int64_t anchors, channels;  // channels: of an anchor

  explicit Grid(const YOLOLoss& of, Descs descs)
      : op(of),
        source(descs[YOLOLoss::source]),
        labels(descs[YOLOLoss::labels]),
        weights(descs[YOLOLoss::weights]),
        loss(descs[YOLOLoss::loss]),
        gradient(descs[YOLOLoss::gradient]),
        anchors(descs[YOLOLoss::anchors].c / 2),
        channels(source.c / anchors) {}

  [[nodiscard]] double shape_overlap(const float* shapes, const float* truth,
                                     std::int64_t a) const {
    const double aw = shapes[2 * a], ah = shapes[2 * a + 1];
    const double w = truth[a * channels + 2], h = truth[a * channels + 3];
    return overlap(std::min(aw, w), std::min(ah, h), aw * ah, w * h);
  }
  /// The largest shape overlap of a cell.
  [[nodiscard]] double best_overlap(const float* shapes, const float* truth) const {
    double best = 0;
    for (std::int64_t a = 0; a < anchors; ++a)
      best = std::max(best, shape_overlap(shapes, truth, a));
    return best;
  }
  [[nodiscard]] Presence presence(const float* shapes, const float* truth, std::int64_t a,
                                  double best, const YOLOLoss::Scalars& limits) const {
    const double s = shape_overlap(shapes, truth, a);
    const bool labelled = truth[a * channels + 4] == 1.0F;
    if (labelled && (s == best || s > limits.minIOUForObjectPresence)) return Presence::object;
    return s < limits.maxIOUForObjectAbsence ? Presence::absent : Presence::neither;
  }
};

/// What the terms are multiplied by.
struct Prefactors {
  double xy, wh, object, absent, classes;
};
Prefactors prefactors(const Grid& grid, const YOLOLoss::Scalars& s, double objects) {
  const bool plain = grid.op.plainSum != 0;
  const double count = plain ? 1 : 1e-4 + objects;
  const double area = plain ? 1 : static_cast<double>(grid.source.w) * grid.source.h;
  return {s.scaleXY / count, s.scaleWH / ((plain ? 1 : 2) * count), s.scaleObject / area,
          s.scaleNoObject / area, s.scaleClass / count};
}

/// One anchor of one cell.
struct Cell {
  const float *y, *t, *w;  // its channels; w may be null
  float *loss, *gradient;  // loss may be null
  double aw, ah;
  [[nodiscard]] double weight(std::int64_t c) const { return w == nullptr ? 1.0 : double{w[c]}; }
};

struct Parts {
  Part xy, wh, confidence, classes;
  explicit Parts(const YOLOLoss& op)
      : xy(op.xy, op), wh(op.wh, op), confidence(op.confidence, op), classes(op.classes, op) {}
};

/// Writes the gradient of an anchor, and its losses where they are wanted; returns their sum.
double judge_anchor(const Grid& grid, const Parts& parts, const Prefactors& by, Presence presence,
                    const Cell& cell) {
  std::fill_n(cell.gradient, grid.channels, 0.0F);
  if (cell.loss != nullptr) std::fill_n(cell.loss, grid.channels, 0.0F);
  if (presence == Presence::neither) return 0;
  double sum = 0;
  const auto take = [&](std::int64_t c, double loss, double slope) {
    sum += loss;
    cell.gradient[c] = static_cast<float>(slope);
    if (cell.loss != nullptr) cell.loss[c] = static_cast<float>(loss);
  };
  const auto part = [&](const Part& how, std::int64_t first, std::int64_t count, double factor,
                        const auto& y, const auto& t, const auto& slope) {
    sum += judge(
        how, count, factor, y, t, [&](std::int64_t i) { return cell.weight(first + i); },
        [&](std::int64_t i, const Term& term) {
          take(first + i, term.loss, term.slope * slope(i));
        });
  };
  const auto one = [](std::int64_t) { return 1.0; };
  const auto raw = [&](std::int64_t first) {
    return [&cell, first](std::int64_t i) { return double{cell.y[first + i]}; };
  };
  const bool object = presence == Presence::object;
  double confidence = 0;
  if (object) {
    const std::array centre{stable_sigmoid(cell.y[0]), stable_sigmoid(cell.y[1])};
    const std::array shape{cell.aw, cell.ah};
    const auto px = [&](std::int64_t i) { return centre[static_cast<std::size_t>(i)]; };
    const auto label = [&](std::int64_t i) { return double{cell.t[i]}; };
    const auto size_label = [&](std::int64_t i) {
      return std::log(double{cell.t[2 + i]} / shape[static_cast<std::size_t>(i)] + 1e-5);
    };
    part(parts.xy, 0, 2, by.xy, px, label, [&](std::int64_t i) { return px(i) * (1 - px(i)); });
    part(parts.wh, 2, 2, by.wh, raw(2), size_label, one);
    const double w = cell.aw * std::exp(double{cell.y[2]}),
                 h = cell.ah * std::exp(double{cell.y[3]});
    const double lw = cell.t[2], lh = cell.t[3];
    confidence = grid.op.rescore == 0
                     ? 1
                     : overlap(shared(centre[0], w, cell.t[0], lw),
                               shared(centre[1], h, cell.t[1], lh), w * h, lw * lh);
  }
  part(
      parts.confidence, 4, 1, object ? by.object : by.absent, raw(4),
      [&](std::int64_t) { return confidence; }, one);
  if (object) {
    part(
        parts.classes, box, grid.channels - box, by.classes, raw(box),
        [&](std::int64_t i) { return double{cell.t[box + i]}; }, one);
  }
  return sum;
}

/// One value an image from the sums of its rows.
void reduce(const Grid& grid, const double* rows, float* out) {
  const bool across = grid.op.reduceAcrossBatch != 0;
  double batch = 0;
  for (std::int64_t n = 0; n < grid.source.n; ++n) {
    double image = 0;
    for (std::int64_t y = 0; y < grid.source.h; ++y) image += rows[n * grid.source.h + y];
    batch += image;
    *pixel(out, grid.loss, n, 0, 0) = across ? 0.0F : static_cast<float>(image);
  }
  if (across) *out = static_cast<float>(batch);
}

}  // namespace

StepPtr prepare(const YOLOLoss& op, Descs descs, Engine& engine) {
  const Grid grid(op, descs);
  const Parts parts(op);
  const int threads = threads_for(grid.source.count(), engine, 2048);
  const std::int64_t rows = std::int64_t{grid.source.n} * grid.source.h;
  const auto body = [=](const Args& args) {
    const auto& scalars = args.scalars_as<YOLOLoss::Scalars>();
    const auto* y = args.at<const float>(YOLOLoss::source);
    const auto* t = args.at<const float>(YOLOLoss::labels);
    const auto* w = grid.weights.present() ? args.at<const float>(YOLOLoss::weights) : nullptr;
    const auto* shapes = args.at<const float>(YOLOLoss::anchors);
    float *loss = args.at(YOLOLoss::loss), *gradient = args.at(YOLOLoss::gradient);
    auto* sums = static_cast<double*>(args.scratch);
    const std::int64_t height = grid.source.h;
    const bool each = op.reduction == CNNReductionType::None;

    parallel(threads, rows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        std::int64_t objects = 0;
        for (std::int64_t x = 0; x < grid.source.w; ++x) {
          const float* truth = pixel(t, grid.labels, row / height, row % height, x);
          const double best = grid.best_overlap(shapes, truth);
          for (std::int64_t a = 0; a < grid.anchors; ++a)
            objects += grid.presence(shapes, truth, a, best, scalars) == Presence::object ? 1 : 0;
        }
        sums[row] = static_cast<double>(objects);
      }
    });
    double objects = 0;
    for (std::int64_t row = 0; row < rows; ++row) objects += sums[row];
    const Prefactors by = prefactors(grid, scalars, objects);

    parallel(threads, rows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t n = row / height, line = row % height;
        double sum = 0;
        for (std::int64_t x = 0; x < grid.source.w; ++x) {
          const float* truth = pixel(t, grid.labels, n, line, x);
          const double best = grid.best_overlap(shapes, truth);
          float* slopes = pixel(gradient, grid.gradient, n, line, x);
          for (std::int64_t a = 0; a < grid.anchors; ++a) {
            const std::int64_t first = a * grid.channels;
            const Cell cell{pixel(y, grid.source, n, line, x) + first,
                            truth + first,
                            w == nullptr ? nullptr : pixel(w, grid.weights, n, line, x) + first,
                            each ? pixel(loss, grid.loss, n, line, x) + first : nullptr,
                            slopes + first,
                            shapes[2 * a],
                            shapes[2 * a + 1]};
            sum +=
                judge_anchor(grid, parts, by, grid.presence(shapes, truth, a, best, scalars), cell);
          }
          std::fill_n(slopes + grid.source.c, grid.gradient.c - grid.source.c, 0.0F);
        }
        sums[row] = sum;
      }
    });
    if (!each) reduce(grid, sums, loss);
  };
  return make_step(descs, "cells", body, static_cast<std::size_t>(rows) * sizeof(double));
}

}  // namespace cermet::cpu
