// The YOLO loss and its gradient (formula: cnn/yolo_loss.h). Evaluated in double and rounded once
// at the store. A thread for each anchor of each cell. Objects are counted first; sums go block by
// block, then over the blocks of an image or of the batch, in a fixed order.

#include <cmath>

#include "cuda/loss.cuh"

namespace cermet::cuda {
namespace {

using Scalars = ScalarsOf<YOLOLoss::Scalars>;

/// The slots, and where the channels of an anchor lie.
struct Grid {
  YOLOLoss op;
  Tensor source, labels, weights, shapes, loss, gradient;  // weights may be absent
  int anchors, channels;                                   // channels: of an anchor

  Grid(const YOLOLoss& of, const Args& args, Descs descs)
      : op(of),
        source(tensor(args, descs, YOLOLoss::source)),
        labels(tensor(args, descs, YOLOLoss::labels)),
        weights(tensor(args, descs, YOLOLoss::weights)),
        shapes(tensor(args, descs, YOLOLoss::anchors)),
        loss(tensor(args, descs, YOLOLoss::loss)),
        gradient(tensor(args, descs, YOLOLoss::gradient)),
        anchors(shapes.desc.c / 2),
        channels(source.desc.c / anchors) {}

  /// Anchors of one image.
  __host__ __device__ long long in_image() const {
    return static_cast<long long>(source.desc.h) * source.desc.w * anchors;
  }
};

/// One anchor of one cell: `at` is its first channel.
struct Cell {
  const Grid& grid;
  Index at;

  __device__ Index channel(int c) const { return {at.n, at.y, at.x, at.c + c}; }
  __device__ double y(int c) const { return static_cast<double>(load(grid.source, channel(c))); }
  __device__ double t(int c) const { return static_cast<double>(load(grid.labels, channel(c))); }
  __device__ double w(int c) const {
    return grid.weights.present() ? static_cast<double>(load(grid.weights, channel(c))) : 1.0;
  }
  __device__ int anchor() const { return at.c / grid.channels; }
  /// The width (0) or height (1) of the anchor.
  __device__ double shape(int axis) const {
    return static_cast<double>(load(grid.shapes, Index{0, 0, 0, 2 * anchor() + axis}));
  }
};
/// Anchor number `i` of image `n`.
__device__ Cell cell_of(const Grid& grid, int n, long long i) {
  Index at = index_of(i, grid.source.desc.h, grid.source.desc.w, grid.anchors);
  return {grid, {n, at.y, at.x, at.c * grid.channels}};
}

__device__ double overlap(double width, double height, double one_area, double other_area) {
  const double both = fmax(width, 0.0) * fmax(height, 0.0);
  const double either = one_area + other_area - both;
  return either > 0 ? both / either : 0;
}
/// The length that two intervals share, from their centres and lengths.
__device__ double shared(double centre, double length, double other_centre, double other_length) {
  return fmin(centre + length / 2, other_centre + other_length / 2) -
         fmax(centre - length / 2, other_centre - other_length / 2);
}
__device__ double shape_overlap(const Cell& cell) {
  const double aw = cell.shape(0), ah = cell.shape(1), w = cell.t(2), h = cell.t(3);
  return overlap(fmin(aw, w), fmin(ah, h), aw * ah, w * h);
}

enum class Presence { neither, object, absent };

__device__ Presence presence(const Cell& cell, const YOLOLoss::Scalars& limits) {
  const double own = shape_overlap(cell);
  if (cell.t(4) == 1.0) {
    double best = 0;
    Cell other = cell;
    for (int a = 0; a < cell.grid.anchors; ++a) {
      other.at.c = a * cell.grid.channels;
      best = fmax(best, shape_overlap(other));
    }
    if (own == best || own > static_cast<double>(limits.minIOUForObjectPresence))
      return Presence::object;
  }
  return own < static_cast<double>(limits.maxIOUForObjectAbsence) ? Presence::absent
                                                                  : Presence::neither;
}

/// A block for each image.
__global__ void count_objects(Grid grid, Scalars scalars, double* counts) {
  begin_kernel();
  const YOLOLoss::Scalars limits = scalars.get();
  const int n = static_cast<int>(blockIdx.x);
  double objects = 0;
  for (long long i = threadIdx.x; i < grid.in_image(); i += block_threads)
    objects += presence(cell_of(grid, n, i), limits) == Presence::object ? 1 : 0;
  objects = block_sum(objects);
  if (threadIdx.x == 0) counts[n] = objects;
}

/// What the terms are multiplied by.
struct Prefactors {
  double xy, wh, object, absent, classes;

  __device__ Prefactors(const Grid& grid, const YOLOLoss::Scalars& s, double objects) {
    const bool plain = grid.op.plainSum != 0;
    const double count = plain ? 1 : 1e-4 + objects;
    const double area = plain ? 1 : static_cast<double>(grid.source.desc.w) * grid.source.desc.h;
    xy = static_cast<double>(s.scaleXY) / count;
    wh = static_cast<double>(s.scaleWH) / ((plain ? 1 : 2) * count);
    object = static_cast<double>(s.scaleObject) / area;
    absent = static_cast<double>(s.scaleNoObject) / area;
    classes = static_cast<double>(s.scaleClass) / count;
  }
};

/// Stores terms of one anchor and adds them up.
struct Taker {
  const Cell& cell;
  bool each;  // losses are stored one by one
  double sum = 0;

  __device__ void take(int c, double loss, double slope) {
    sum += loss;
    store(cell.grid.gradient, cell.channel(c), static_cast<float>(slope));
    if (each) store(cell.grid.loss, cell.channel(c), static_cast<float>(loss));
  }
  __device__ void nothing(int first, int end) {
    for (int c = first; c < end; ++c) take(c, 0, 0);
  }
  /// Channels [first, first + count): predictions y(i) against labels t(i), `slope(i)` being the
  /// derivative of y(i) by the raw prediction.
  template <class Y, class T, class Slope>
  __device__ void judge(const YOLOLoss::Part& part, int first, int count, double factor, const Y& y,
                        const T& t, const Slope& slope) {
    const YOLOLoss& op = cell.grid.op;
    Loss function;
    function.type = part.type;
    function.numberOfClasses = part.numberOfClasses;
    const LossParameters p(function, part.scalars);
    const bool softmax = part.type == CNNLossType::SoftMaxCrossEntropy;
    const bool cosine = part.type == CNNLossType::CosineDistance;
    const auto scale = [&](int i) {
      return factor * p.weight * (cosine ? 1.0 : cell.w(first + i));
    };
    double largest = -INFINITY, total = 0, pulled = 0;
    if (softmax) {
      for (int i = 0; i < count; ++i) largest = fmax(largest, y(i));
      for (int i = 0; i < count; ++i) {
        total += exp(y(i) - largest);
        pulled += scaled(scale(i), p.label(t(i)));
      }
      total = log(total);
    }
    for (int i = 0; i < count; ++i) {
      const double s = scale(i), target = p.label(t(i)), value = y(i);
      double loss = 0, derivative = 0;
      if (softmax) {
        const double logarithm = value - largest - total, share = exp(logarithm);
        loss = soft_max_loss(s, target, logarithm);
        derivative =
            op.exactSoftMax != 0 ? share * pulled - scaled(s, target) : scaled(s, share - target);
      } else {
        const double l = loss_of(part.type, value, target, p);
        loss = scaled(s, cosine ? -l : l);
        derivative =
            scaled(s, slope_of(part.type, op.publishedKullbackLeibler != 0, value, target, p));
      }
      take(first + i, loss, derivative * slope(i));
    }
    if (cosine) sum += scale(0);
  }
};

constexpr int box = 5;  // channels before the classes

/// Writes the gradient of an anchor, and its losses where they are wanted; returns their sum.
__device__ double judge_anchor(const Cell& cell, const Prefactors& by, Presence presence,
                               bool each) {
  const YOLOLoss& op = cell.grid.op;
  const int channels = cell.grid.channels;
  Taker taker{cell, each};
  if (presence == Presence::neither) {
    taker.nothing(0, channels);
    return 0;
  }
  const bool object = presence == Presence::object;
  const auto one = [](int) { return 1.0; };
  const auto confidence_at = [&](int) { return cell.y(4); };
  double confidence = 0;
  if (object) {
    const double px = stable_sigmoid(cell.y(0)), py = stable_sigmoid(cell.y(1));
    const double aw = cell.shape(0), ah = cell.shape(1);
    const double lw = cell.t(2), lh = cell.t(3);
    const auto centre = [&](int i) { return i == 0 ? px : py; };
    taker.judge(
        op.xy, 0, 2, by.xy, centre, [&](int i) { return cell.t(i); },
        [&](int i) { return centre(i) * (1 - centre(i)); });
    taker.judge(
        op.wh, 2, 2, by.wh, [&](int i) { return cell.y(2 + i); },
        [&](int i) { return log((i == 0 ? lw / aw : lh / ah) + 1e-5); }, one);
    const double w = aw * exp(cell.y(2)), h = ah * exp(cell.y(3));
    confidence = op.rescore == 0 ? 1
                                 : overlap(shared(px, w, cell.t(0), lw),
                                           shared(py, h, cell.t(1), lh), w * h, lw * lh);
  } else {
    taker.nothing(0, 4);
  }
  taker.judge(
      op.confidence, 4, 1, object ? by.object : by.absent, confidence_at,
      [&](int) { return confidence; }, one);
  if (object) {
    taker.judge(
        op.classes, box, channels - box, by.classes, [&](int i) { return cell.y(box + i); },
        [&](int i) { return cell.t(box + i); }, one);
  } else {
    taker.nothing(box, channels);
  }
  return taker.sum;
}

/// `blocks` blocks for each image, a thread for each anchor.
__global__ void judge_anchors(Grid grid, Scalars scalars, const double* counts, int blocks,
                              double* sums) {
  begin_kernel();
  double objects = 0;
  for (int n = static_cast<int>(threadIdx.x); n < grid.source.desc.n; n += block_threads)
    objects += counts[n];
  objects = block_sum(objects);
  const YOLOLoss::Scalars values = scalars.get();
  const Prefactors by(grid, values, objects);
  const int n = static_cast<int>(blockIdx.x) / blocks;
  const long long i =
      static_cast<long long>(static_cast<int>(blockIdx.x) % blocks) * block_threads + threadIdx.x;
  double sum = 0;
  if (i < grid.in_image()) {
    const Cell cell = cell_of(grid, n, i);
    sum =
        judge_anchor(cell, by, presence(cell, values), grid.op.reduction == CNNReductionType::None);
    if (cell.at.c == 0) {
      for (int c = grid.source.desc.c; c < grid.gradient.desc.c; ++c)
        store(grid.gradient, cell.channel(c), 0.0F);
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// A block for each image, or one for the batch; `count` sums each.
__global__ void reduce(Grid grid, const double* sums, long long count, int images) {
  begin_kernel();
  double sum = 0;
  for (long long i = threadIdx.x; i < count; i += block_threads)
    sum += sums[blockIdx.x * count + i];
  sum = block_sum(sum);
  const int first = static_cast<int>(blockIdx.x) * images;
  for (int i = static_cast<int>(threadIdx.x); i < images; i += block_threads)
    store(grid.loss, Index{first + i, 0, 0, 0}, i != 0 ? 0.0F : static_cast<float>(sum));
}

}  // namespace

StepPtr prepare(const YOLOLoss& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const TensorDesc source = descs[YOLOLoss::source];
  const long long anchors = descs[YOLOLoss::anchors].c / 2;
  const long long in_image = static_cast<long long>(source.h) * source.w * anchors;
  const auto blocks = static_cast<int>((in_image + block_threads - 1) / block_threads);
  const auto images = static_cast<std::size_t>(source.n);
  const auto body = [=](const Args& args) {
    const Grid grid(op, args, descs);
    const Scalars given = scalars<YOLOLoss::Scalars>(args);
    auto* counts = static_cast<double*>(args.scratch);
    double* sums = counts + source.n;
    const long long all = static_cast<long long>(source.n) * blocks;
    launch_blocks(args, source.n, count_objects, grid, given, counts);
    launch_blocks(args, all, judge_anchors, grid, given, counts, blocks, sums);
    if (op.reduction == CNNReductionType::None) return;
    const int together = op.reduceAcrossBatch != 0 ? source.n : 1;
    launch_blocks(args, source.n / together, reduce, grid, sums,
                  static_cast<long long>(blocks) * together, together);
  };
  return make_step(slots, "cuda yolo loss", body,
                   images * (1 + static_cast<std::size_t>(blocks)) * sizeof(double));
}

}  // namespace cermet::cuda
