// Soft-max cross entropy of images of one pixel: a lane for each channel. The time of so little
// work is that of reading one value after another and of fetching code, so a lane reads at once all
// that it needs, and kernels are short.

#include "cuda/loss_one_pixel.h"

#include <cmath>

#include "cuda/loss.cuh"

namespace cermet::cuda {
namespace {

using Scalars = ScalarsOf<Loss::Scalars>;

constexpr int threads = 64;  // of a block: few, so that many multiprocessors share the work

struct Inputs {
  const float *source, *labels;
  int images, channels, label_channels;
  double class_share;
};

/// Dense float32 without weights, where the derivative of the reduction is 1. Source, labels and
/// weights are slots from `first` on.
bool serves(const Loss& op, Descs slots, std::size_t first) {
  for (const TensorDesc& slot : slots) {
    if (slot.present() && (slot.type != ElementType::float32 || !slot.dense())) return false;
  }
  const TensorDesc &source = slots[first], &weights = slots[first + 2];
  return op.type == CNNLossType::SoftMaxCrossEntropy && op.reduceAcrossBatch == 0 &&
         (op.reduction == CNNReductionType::Sum || op.reduction == CNNReductionType::Mean) &&
         source.h == 1 && source.w == 1 && source.c <= warp && !weights.present();
}

Inputs inputs_of(const Loss& op, const Args& args, Descs slots, std::size_t first) {
  const TensorDesc &source = slots[first], &labels = slots[first + 1];
  return {args.at(first), args.at(first + 1), source.n,
          source.c,       labels.c,           1.0 / op.numberOfClasses};
}

/// What a lane reads of its image and channel. A lane beyond them reads the last, so that no read
/// waits for a branch.
template <int lanes>
struct Element {
  int n, c;
  bool inside;
  float y, label;

  __device__ explicit Element(const Inputs& in) {
    const auto image = static_cast<int>((blockIdx.x * threads + threadIdx.x) / lanes);
    const auto channel = static_cast<int>(threadIdx.x % lanes);
    inside = image < in.images && channel < in.channels;
    n = min(image, in.images - 1);
    c = min(channel, in.channels - 1);
    y = in.source[static_cast<long long>(n) * in.channels + c];
    label = in.labels[static_cast<long long>(n) * in.label_channels + c];
  }
};

/// The lanes' exponentials of y - largest, 0 beyond the channels, and their sum, which is at least
/// 1 or NaN.
template <int lanes>
struct Exponentials {
  float below, exponential;  // below: y - largest
  double sum;

  __device__ explicit Exponentials(const Element<lanes>& at) {
    const float y = at.inside ? at.y : -INFINITY;
    below = y - warp_largest<lanes>(y);
    exponential = expf(below);
    sum = warp_sum<lanes>(static_cast<double>(exponential));
  }
  __device__ double share() const { return static_cast<double>(exponential) * (1 / sum); }
  /// The logarithm is that of float, a far shorter chain than that of double: off by two units in
  /// the last place at most, and no more in the result, whose two terms have the same sign.
  __device__ double log_share() const {
    return static_cast<double>(below) - static_cast<double>(log1pf(static_cast<float>(sum - 1)));
  }
};

template <int lanes>
__global__ void one_pixel_losses(Inputs in, Scalars scalars, float* destination) {
  begin_kernel();
  let_next_begin();
  const Element<lanes> at(in);
  const LossParameters p(in.class_share, scalars.get());
  const double log_share = Exponentials<lanes>(at).log_share();
  const double loss = at.inside ? soft_max_loss(p.weight, p.label(at.label), log_share) : 0;
  const double sum = warp_sum<lanes>(loss);
  if (at.inside && at.c == 0) destination[at.n] = static_cast<float>(sum);
}

/// `gradient`: one value an image, or null.
template <int lanes, bool exact>
__global__ void one_pixel_gradients(Inputs in, const float* gradient, Scalars scalars,
                                    float* destination) {
  begin_kernel();
  let_next_begin();
  const Element<lanes> at(in);
  const float read = (gradient != nullptr ? gradient : in.source)[at.n];
  const LossParameters p(in.class_share, scalars.get());
  const double share = Exponentials<lanes>(at).share();
  const double factor = scaled(p.weight, gradient != nullptr ? read : 1.0F);
  const double t = p.label(at.label);
  double value;
  if constexpr (exact) {
    const double pull = scaled(factor, t);
    value = share * warp_sum<lanes>(at.inside ? pull : 0) - pull;
  } else {
    value = scaled(factor, share - t);
  }
  if (at.inside) {
    destination[static_cast<long long>(at.n) * in.channels + at.c] = static_cast<float>(value);
  }
}

/// Half a warp for each image where that suffices.
int lanes_for(const TensorDesc& source) { return source.c <= warp / 2 ? warp / 2 : warp; }

template <class... Parameters, class... Given>
void launch_lanes(const Args& args, long long lanes, void (*kernel)(Parameters...),
                  Given&&... given) {
  const auto blocks = static_cast<unsigned>((lanes + threads - 1) / threads);
  launch_with(args, dim3(blocks), threads, 0, kernel, Parameters(given)...);
}

}  // namespace

StepPtr one_pixel_loss(const Loss& op, Descs slots) {
  if (!serves(op, slots, Loss::source)) return nullptr;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const int lanes = lanes_for(descs[Loss::source]);
  const auto kernel = lanes == warp ? one_pixel_losses<warp> : one_pixel_losses<warp / 2>;
  return make_step(slots, "cuda loss", [=](const Args& args) {
    const Inputs in = inputs_of(op, args, descs, Loss::source);
    launch_lanes(args, static_cast<long long>(in.images) * lanes, kernel, in,
                 scalars<Loss::Scalars>(args), args.at(Loss::loss));
  });
}

StepPtr one_pixel_gradient(const LossGradient& op, Descs slots) {
  using Op = LossGradient;
  if (op.byLabels != 0 || slots[Op::destination].c != slots[Op::source].c ||
      !serves(op.forward, slots, Op::source))
    return nullptr;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const int lanes = lanes_for(descs[Op::source]);
  const bool exact = op.exactSoftMax != 0;
  const auto whole = exact ? one_pixel_gradients<warp, true> : one_pixel_gradients<warp, false>;
  const auto half =
      exact ? one_pixel_gradients<warp / 2, true> : one_pixel_gradients<warp / 2, false>;
  return make_step(slots, "cuda loss gradient", [=](const Args& args) {
    const Inputs in = inputs_of(op.forward, args, descs, Op::source);
    launch_lanes(args, static_cast<long long>(in.images) * lanes, lanes == warp ? whole : half, in,
                 descs[Op::gradient].present() ? args.at(Op::gradient) : nullptr,
                 scalars<Loss::Scalars>(args), args.at(Op::destination));
  });
}

}  // namespace cermet::cuda
