// Loss and its gradients by prediction or label: ten functions, four reductions, weights, label
// smoothing (formulas: cnn/loss.h). Formulas are evaluated in double and rounded once at the store.
// Sums go row by row, then over rows, in a fixed order.

#include <algorithm>
#include <cmath>

#include "cuda/loss.cuh"
#include "cuda/loss_one_pixel.h"

namespace cermet::cuda {
namespace {

using Scalars = ScalarsOf<Loss::Scalars>;
using Parameters = LossParameters;

__device__ double slope_of(const LossGradient& op, double y, double t, const Parameters& p) {
  return slope_of(op.forward.type, op.publishedKullbackLeibler != 0, y, t, p);
}
/// d l / d t, t being the label before smoothing.
__device__ double label_slope_of(const LossGradient& op, double y, double t, const Parameters& p) {
  using enum CNNLossType;
  switch (op.forward.type) {
    case SigmoidCrossEntropy:
      return -p.keep * y;
    case CategoricalCrossEntropy:
      return -log(y);
    case Hinge:
      return 1 + (1 - 2 * t) * y > 0 ? -2 * y : 0;
    case Log:
      return log(1 - y + p.epsilon) - log(y + p.epsilon);
    case KullbackLeiblerDivergence:
      return t == 0 ? 0 : log(t) + 1 - y;
    case CosineDistance:
      return -y;
    default:
      return -slope_of(op, y, t, p);  // a function of y - t
  }
}

// ---- the slots

/// What both operators read.
struct Inputs {
  Loss op;
  Tensor source, labels, weights;  // weights: absent also where they take no part

  Inputs(const Loss& loss, const Args& args, Descs descs, std::size_t first)
      : op(loss),
        source(tensor(args, descs, first)),
        labels(tensor(args, descs, first + 1)),
        weights(tensor(args, descs, first + 2)) {
    if (op.type == CNNLossType::CosineDistance) weights.data = nullptr;
  }
  __host__ __device__ long long rows() const {
    return static_cast<long long>(source.desc.n) * source.desc.h;
  }
  __device__ double weight(const Parameters& p, const Index& at) const {
    return weights.present() ? p.weight * static_cast<double>(load(weights, at)) : p.weight;
  }
  __device__ double label(const Parameters& p, const Index& at) const {
    return p.label(static_cast<double>(load(labels, at)));
  }
};

/// What arrives at an element: `each` one value an element (or absent), or one an image, or 1;
/// times the derivative of the reduction.
struct Arriving {
  Tensor gradient;
  bool each, from_first;
  double factor;          // of every image
  const double* factors;  // of each image, if not null

  /// G * w * R, exactly 0 where w is 0.
  __device__ double scale(const Inputs& in, const Parameters& p, const Index& at) const {
    const double w = in.weight(p, at);
    if (w == 0) return 0;
    double all = factors != nullptr ? factors[at.n] : factor;
    if (!gradient.present()) return all * w;
    if (each) return all * w * static_cast<double>(load(gradient, at));
    all *= static_cast<double>(load(gradient, Index{from_first ? 0 : at.n, 0, 0, 0}));
    return all * w;
  }
};

// ---- soft-max: sums over the channels of a pixel

/// The largest value, ln(sum exp(y - largest)), and for the exact gradient sum(scale * label).
struct PixelSums {
  float largest;
  double rest, pulled;
  /// ln of the share of y.
  __device__ double of(float y) const { return static_cast<double>(y - largest) - rest; }
};
__device__ long long pixel_number(const Tensor& of, const Index& at) {
  return (static_cast<long long>(at.n) * of.desc.h + at.y) * of.desc.w + at.x;
}

__device__ double pull(const Inputs& in, const Arriving& arriving, const Parameters& p,
                       const Index& at) {
  return scaled(arriving.scale(in, p, at), in.label(p, at));
}

/// The warp's sums of a pixel.
__device__ PixelSums sum_pixel(const Inputs& in, const Parameters& p, const Arriving& arriving,
                               bool pulls, Index at) {
  const int lane = static_cast<int>(threadIdx.x) % warp, channels = in.source.desc.c;
  float largest = -INFINITY;
  for (at.c = lane; at.c < channels; at.c += warp) largest = fmaxf(largest, load(in.source, at));
  largest = warp_largest(largest);
  double sum = 0, pulled = 0;
  for (at.c = lane; at.c < channels; at.c += warp) {
    sum += static_cast<double>(expf(load(in.source, at) - largest));
    if (pulls) pulled += pull(in, arriving, p, at);
  }
  return {largest, log(warp_sum(sum)), pulls ? warp_sum(pulled) : 0};
}

/// This warp's share of `count` pieces of work: visit(number).
template <class Visit>
__device__ void for_each_of_warp(long long count, Visit&& visit) {
  const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / warp;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x / warp;
  for (long long i = first; i < count; i += step) visit(i);
}

__global__ void sum_pixels(Inputs in, Scalars scalars, PixelSums* sums) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  const TensorDesc& desc = in.source.desc;
  for_each_of_warp(in.source.pixels(), [&](long long i) {
    const PixelSums pixel = sum_pixel(in, p, Arriving{}, false, index_of(i, desc.h, desc.w, 1));
    if (threadIdx.x % warp == 0) sums[i] = pixel;
  });
}

// ---- values and their sums

/// `pixel` matters to the soft-max alone.
__device__ double weighted_loss(const Inputs& in, const Parameters& p, const PixelSums& pixel,
                                const Index& at) {
  const double w = in.op.type == CNNLossType::CosineDistance ? 1.0 : in.weight(p, at);
  if (w == 0) return 0;
  const double t = in.label(p, at);
  const float y = load(in.source, at);
  if (in.op.type != CNNLossType::SoftMaxCrossEntropy) return w * loss_of(in.op.type, y, t, p);
  return soft_max_loss(w, t, pixel.of(y));
}

__global__ void losses(Inputs in, Scalars scalars, Tensor destination) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  for (const Index at : elements(in.source)) {
    store(destination, at, static_cast<float>(weighted_loss(in, p, PixelSums{}, at)));
  }
}
/// The same for the soft-max: a warp for each pixel.
__global__ void soft_max_losses(Inputs in, Scalars scalars, Tensor destination) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  const TensorDesc& desc = in.source.desc;
  for_each_of_warp(in.source.pixels(), [&](long long i) {
    Index at = index_of(i, desc.h, desc.w, 1);
    const PixelSums pixel = sum_pixel(in, p, Arriving{}, false, at);
    for (at.c = static_cast<int>(threadIdx.x) % warp; at.c < desc.c; at.c += warp)
      store(destination, at, static_cast<float>(weighted_loss(in, p, pixel, at)));
  });
}

/// A row's sum of losses and its weights that are not zero.
struct RowSum {
  double loss, weights;
};

/// 1 for a weight that is not zero.
__device__ double counts(const Inputs& in, const Index& at) {
  return !in.weights.present() || load(in.weights, at) != 0.0F ? 1 : 0;
}

/// A block for each row. Without `with_losses` the weights alone are counted.
__global__ void sum_rows(Inputs in, Scalars scalars, const PixelSums* sums, bool with_losses,
                         RowSum* rows) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  const TensorDesc& desc = in.source.desc;
  const int n = static_cast<int>(blockIdx.x) / desc.h, y = static_cast<int>(blockIdx.x) % desc.h;
  const long long count = static_cast<long long>(desc.w) * desc.c;
  double loss = 0, weights = 0;
  for (long long i = threadIdx.x; i < count; i += block_threads) {
    Index at = index_of(i, 1, desc.w, desc.c);
    at.n = n;
    at.y = y;
    if (with_losses) {
      const PixelSums pixel = sums != nullptr ? sums[pixel_number(in.source, at)] : PixelSums{};
      loss += weighted_loss(in, p, pixel, at);
    }
    weights += counts(in, at);
  }
  loss = block_sum(loss);
  weights = block_sum(weights);
  if (threadIdx.x == 0) rows[blockIdx.x] = {loss, weights};
}

/// What a sum is divided by, given the count of weights of the image (or batch).
__host__ __device__ double divisor(const Loss& op, const TensorDesc& source, double weights) {
  const bool softmax = op.type == CNNLossType::SoftMaxCrossEntropy;
  if (op.type == CNNLossType::CosineDistance) return 1;
  if (op.reduction == CNNReductionType::SumByNonZeroWeights) return weights;
  if (op.reduction != CNNReductionType::Mean) return 1;
  return static_cast<double>(source.w) * source.h * (softmax ? 1 : source.c) *
         (op.reduceAcrossBatch != 0 ? source.n : 1);
}

/// The images that one sum is of.
__host__ __device__ int images_of_sum(const Loss& op, const TensorDesc& source) {
  return op.reduceAcrossBatch != 0 ? source.n : 1;
}

/// The block's sum of the rows of image `blockIdx.x`, or of the batch.
__device__ RowSum sum_of_rows(const Loss& op, const TensorDesc& source, const RowSum* rows) {
  const long long count = static_cast<long long>(images_of_sum(op, source)) * source.h;
  RowSum sum{0, 0};
  for (long long i = threadIdx.x; i < count; i += block_threads) {
    const RowSum row = rows[blockIdx.x * count + i];
    sum.loss += row.loss;
    sum.weights += row.weights;
  }
  return {block_sum(sum.loss), block_sum(sum.weights)};
}

/// The reduced loss of `images`.
__device__ float reduced(const Loss& op, const TensorDesc& source, const Parameters& p, RowSum sum,
                         int images) {
  if (op.type == CNNLossType::CosineDistance) {
    sum.loss = p.weight == 0 ? 0 : p.weight * (images - sum.loss);
  }
  const double by = divisor(op, source, sum.weights);
  return by == 0 ? 0.0F : static_cast<float>(sum.loss / by);
}

/// A block for each image, or one for the batch.
__global__ void reduce(Loss op, TensorDesc source, Scalars scalars, const RowSum* rows,
                       Tensor destination) {
  begin_kernel();
  const Parameters p(op, scalars.get());
  const RowSum sum = sum_of_rows(op, source, rows);
  const int images = images_of_sum(op, source);
  const float value = reduced(op, source, p, sum, images);
  const int first = static_cast<int>(blockIdx.x) * images;
  for (int i = static_cast<int>(threadIdx.x); i < images; i += block_threads)
    store(destination, Index{first + i, 0, 0, 0}, i != 0 ? 0.0F : value);
}

/// Images so small that a warp sums one at once.
bool are_small(const Loss& op, const TensorDesc& source) {
  constexpr int most_pixels = 4, most_channels = 4096;
  return op.reduceAcrossBatch == 0 && source.h * source.w <= most_pixels &&
         source.c <= most_channels;
}
__global__ void reduce_small(Inputs in, Scalars scalars, Tensor destination) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  const TensorDesc& desc = in.source.desc;
  const bool softmax = in.op.type == CNNLossType::SoftMaxCrossEntropy;
  for_each_of_warp(desc.n, [&](long long n) {
    RowSum sum{0, 0};
    for (int i = 0; i < desc.h * desc.w; ++i) {
      Index at{static_cast<int>(n), i / desc.w, i % desc.w, 0};
      const PixelSums pixel = softmax ? sum_pixel(in, p, Arriving{}, false, at) : PixelSums{};
      for (at.c = static_cast<int>(threadIdx.x) % warp; at.c < desc.c; at.c += warp) {
        sum.loss += weighted_loss(in, p, pixel, at);
        sum.weights += counts(in, at);
      }
    }
    sum = {warp_sum(sum.loss), warp_sum(sum.weights)};
    if (threadIdx.x % warp == 0)
      store(destination, Index{static_cast<int>(n), 0, 0, 0}, reduced(in.op, desc, p, sum, 1));
  });
}

/// R of the images, from the counts of weights. Blocks as in `reduce`.
__global__ void reduction_factors(Loss op, TensorDesc source, const RowSum* rows, double* factors) {
  begin_kernel();
  const double by = divisor(op, source, sum_of_rows(op, source, rows).weights);
  const int images = images_of_sum(op, source), first = static_cast<int>(blockIdx.x) * images;
  for (int i = static_cast<int>(threadIdx.x); i < images; i += block_threads) {
    factors[first + i] = by == 0 ? 0 : 1 / by;
  }
}

// ---- gradients

/// Of a channel of the destination; those beyond the source's get 0. `pixel` matters to the
/// soft-max alone.
__device__ double gradient_of(const LossGradient& op, const Inputs& in, const Parameters& p,
                              const Arriving& arriving, const PixelSums& pixel, const Index& at) {
  const bool softmax = in.op.type == CNNLossType::SoftMaxCrossEntropy, by_labels = op.byLabels != 0;
  if (at.c >= in.source.desc.c) return 0;
  const float y = load(in.source, at);
  if (softmax && op.exactSoftMax != 0 && !by_labels)
    return exp(pixel.of(y)) * pixel.pulled - pull(in, arriving, p, at);
  const double factor = arriving.scale(in, p, at), t = in.label(p, at);
  double slope;
  if (softmax) {
    const double logarithm = pixel.of(y);
    slope = by_labels ? -p.keep * logarithm : expf(static_cast<float>(logarithm)) - t;
  } else {
    slope = by_labels ? label_slope_of(op, y, t, p) : slope_of(op, y, t, p);
  }
  return scaled(factor, slope);
}

__global__ void gradients(LossGradient op, Inputs in, Scalars scalars, Arriving arriving,
                          Tensor destination) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  const long long count = in.source.pixels() * destination.desc.c;
  for (const Index at : Elements(count, in.source.desc.h, in.source.desc.w, destination.desc.c)) {
    store(destination, at, static_cast<float>(gradient_of(op, in, p, arriving, PixelSums{}, at)));
  }
}
/// The same for the soft-max: a warp for each pixel.
__global__ void soft_max_gradients(LossGradient op, Inputs in, Scalars scalars, Arriving arriving,
                                   Tensor destination) {
  begin_kernel();
  const Parameters p(in.op, scalars.get());
  const TensorDesc& desc = in.source.desc;
  const bool pulls = op.exactSoftMax != 0 && op.byLabels == 0;
  for_each_of_warp(in.source.pixels(), [&](long long i) {
    Index at = index_of(i, desc.h, desc.w, 1);
    const PixelSums pixel = sum_pixel(in, p, arriving, pulls, at);
    for (at.c = static_cast<int>(threadIdx.x) % warp; at.c < destination.desc.c; at.c += warp)
      store(destination, at, static_cast<float>(gradient_of(op, in, p, arriving, pixel, at)));
  });
}

}  // namespace

StepPtr prepare(const Loss& op, Descs slots, Engine&) {
  if (StepPtr lean = one_pixel_loss(op, slots)) return lean;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const TensorDesc source = descs[Loss::source];
  const bool softmax = op.type == CNNLossType::SoftMaxCrossEntropy;
  const bool each = op.reduction == CNNReductionType::None, small = are_small(op, source);
  const auto rows = static_cast<std::size_t>(source.n) * static_cast<std::size_t>(source.h);
  const std::size_t row_bytes = each || small ? 0 : rows * sizeof(RowSum);
  const std::size_t pixel_bytes =
      softmax && row_bytes != 0 ? static_cast<std::size_t>(source.pixels()) * sizeof(PixelSums) : 0;
  const auto body = [=](const Args& args) {
    const Inputs in(op, args, descs, Loss::source);
    const Scalars given = scalars<Loss::Scalars>(args);
    const Tensor destination = tensor(args, descs, Loss::loss);
    if (each && softmax) {
      launch(args, source.pixels() * warp, soft_max_losses, in, given, destination);
    } else if (each) {
      launch(args, source.count(), losses, in, given, destination);
    } else if (small) {
      launch(args, static_cast<long long>(source.n) * warp, reduce_small, in, given, destination);
    } else {
      auto* row_sums = static_cast<RowSum*>(args.scratch);
      PixelSums* pixel_sums = nullptr;
      if (softmax) {
        pixel_sums =
            reinterpret_cast<PixelSums*>(static_cast<std::byte*>(args.scratch) + row_bytes);
        launch(args, source.pixels() * warp, sum_pixels, in, given, pixel_sums);
      }
      launch_blocks(args, in.rows(), sum_rows, in, given, pixel_sums, true, row_sums);
      launch_blocks(args, source.n / images_of_sum(op, source), reduce, op, source, given, row_sums,
                    destination);
    }
  };
  return make_step(slots, "cuda loss", body, row_bytes + pixel_bytes);
}

StepPtr prepare(const LossGradient& op, Descs slots, Engine&) {
  using Op = LossGradient;
  if (StepPtr lean = one_pixel_gradient(op, slots)) return lean;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const TensorDesc source = descs[Op::source];
  const auto images = static_cast<std::size_t>(source.n);
  const auto rows = images * static_cast<std::size_t>(source.h);
  const bool counts_weights = op.forward.reduction == CNNReductionType::SumByNonZeroWeights &&
                              op.forward.type != CNNLossType::CosineDistance &&
                              op.ignoreReduction == 0;
  const std::size_t row_bytes = counts_weights ? rows * sizeof(RowSum) : 0;
  const std::size_t factor_bytes = counts_weights ? images * sizeof(double) : 0;
  const auto body = [=](const Args& args) {
    const Inputs in(op.forward, args, descs, Op::source);
    const Scalars given = scalars<Loss::Scalars>(args);
    auto* row_sums = static_cast<RowSum*>(args.scratch);
    auto* factors = reinterpret_cast<double*>(static_cast<std::byte*>(args.scratch) + row_bytes);
    Arriving arriving{tensor(args, descs, Op::gradient),
                      op.forward.reduction == CNNReductionType::None,
                      op.forward.reduceAcrossBatch != 0, 1, nullptr};
    if (counts_weights) {
      launch_blocks(args, in.rows(), sum_rows, in, given, nullptr, false, row_sums);
      launch_blocks(args, source.n / images_of_sum(op.forward, source), reduction_factors,
                    op.forward, source, row_sums, factors);
      arriving.factors = factors;
    } else if (op.ignoreReduction == 0) {
      const double by = divisor(op.forward, source, 0);
      arriving.factor = by == 0 ? 0 : 1 / by;
    }
    const Tensor destination = tensor(args, descs, Op::destination);
    if (op.forward.type == CNNLossType::SoftMaxCrossEntropy) {
      launch(args, source.pixels() * warp, soft_max_gradients, op, in, given, arriving,
             destination);
    } else {
      launch(args, source.pixels() * destination.desc.c, gradients, op, in, given, arriving,
             destination);
    }
  };
  return make_step(slots, "cuda loss gradient", body, row_bytes + factor_bytes);
}

}  // namespace cermet::cuda
