// Arithmetic: destination = clamp((p*x) op (s*y) + bias), operands broadcast along axes where their
// extent is 1. ArithmeticGradient: the sum over the broadcast axes of p*g*mask [* s*other], then
// bias and clamp (cnn/arithmetic.h). Sums run in double, in an order that the extents alone decide.

#include <algorithm>
#include <limits>

#include "cuda/broadcast.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// The limits that were set; one at its default is none, so that infinities and NaN pass.
struct Clamp {
  float low, high;
  bool no_low, no_high;

  Clamp(float minimum, float maximum)
      : low(minimum),
        high(maximum),
        no_low(minimum == std::numeric_limits<float>::lowest()),
        no_high(maximum == std::numeric_limits<float>::max()) {
    if (no_low) low = -std::numeric_limits<float>::infinity();
    if (no_high) high = std::numeric_limits<float>::infinity();
  }
  __device__ float operator()(float value) const {
    const float above = value < low ? low : value;
    return above > high ? high : above;
  }
  /// The value passed unchanged and its gradient passes too.
  __device__ bool passes(float value) const {
    return (value > low || no_low) && (value < high || no_high);
  }
};

__device__ float combine_values(const Arithmetic& op, float x, float y) {
  const float p = op.primaryScale, s = op.secondaryScale;
  switch (op.kind) {
    case ArithmeticKind::add:
      return fmaf(p, x, s * y) + op.bias;
    case ArithmeticKind::subtract:
      return fmaf(p, x, -(s * y)) + op.bias;
    case ArithmeticKind::multiply:
      return fmaf(p * x, s * y, op.bias);
    case ArithmeticKind::divide:
      break;
  }
  return (p * x) / (s * y) + op.bias;
}

__global__ void combine(Arithmetic op, Clamp clamp, Operand primary, Operand secondary,
                        Tensor destination, Tensor mask) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float value = combine_values(op, primary.value(at), secondary.value(at));
    if (mask.present()) store(mask, at, clamp.passes(value) ? 1.0F : 0.0F);
    store(destination, at, clamp(value));
  }
}

/// p*g*mask [* s*other], one for each element of the gradient; where the mask is 0 exactly 0.
struct Terms {
  ArithmeticGradient op;
  Tensor gradient, mask;
  Operand other;

  template <class T>
  __device__ T value(const Index& at) const {
    if (mask.present() && load(mask, at) == 0.0F) return T{0};
    const T term = static_cast<T>(op.primaryScale) * static_cast<T>(load(gradient, at));
    if (op.kind != ArithmeticKind::multiply) return term;
    return term * (static_cast<T>(op.secondaryScale) * static_cast<T>(other.value(at)));
  }
};

/// Nothing is summed: element by element, in float.
__global__ void scale(Terms terms, Clamp clamp, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    store(destination, at, clamp(terms.value<float>(at) + terms.op.bias));
  }
}

/// How a sum is divided. A block takes `columns` (a power of two) adjacent channels of one
/// destination pixel, its other threads and `splits` blocks share the terms.
struct Division {
  int h, w, c;  // extents of the summed box; 1 along the axes that are kept
  long long terms;
  int columns, groups, splits;

  Division(const TensorDesc& gradient, const TensorDesc& destination)
      : h(destination.h < gradient.h ? gradient.h : 1),
        w(destination.w < gradient.w ? gradient.w : 1),
        c(destination.c < gradient.c ? gradient.c : 1),
        terms(gradient.count() / destination.count()) {
    for (columns = 1; columns < 32 && columns < destination.c;) columns *= 2;
    groups = (destination.c + columns - 1) / columns;
    constexpr long long enough_blocks = 512, least_terms = 8;  // blocks in all, terms of a thread
    const long long wanted = enough_blocks / (destination.pixels() * groups);
    const long long useful = terms / (least_terms * (block_threads / columns));
    splits = static_cast<int>(std::max(1LL, std::min(wanted, useful)));
  }
  long long blocks(const TensorDesc& destination) const {
    return destination.pixels() * groups * splits;
  }
};

__device__ void finish(const Terms& terms, const Clamp& clamp, const Tensor& destination,
                       const Index& at, double sum) {
  const double biased = sum + static_cast<double>(terms.op.bias);
  store(destination, at, clamp(static_cast<float>(biased)));
}

/// `partial`: splits x destination elements, null where nothing is split.
__global__ void sum_terms(Terms terms, Clamp clamp, Division division, Tensor destination,
                          double* partial) {
  begin_kernel();
  __shared__ double parts[block_threads];
  const int thread = static_cast<int>(threadIdx.x), columns = division.columns;
  const int split = static_cast<int>(blockIdx.x) % division.splits;
  const int block = static_cast<int>(blockIdx.x) / division.splits;
  const int pixel = block / division.groups;
  const TensorDesc& desc = destination.desc;
  Index at = index_of(pixel, desc.h, desc.w, 1);
  at.c = block % division.groups * columns + thread % columns;
  const long long step = static_cast<long long>(division.splits) * (block_threads / columns);
  double sum = 0;
  if (at.c < desc.c) {
    for (long long t = thread / columns * division.splits + split; t < division.terms; t += step) {
      const Index in = index_of(t, division.h, division.w, division.c);
      sum += terms.value<double>({at.n + in.n, at.y + in.y, at.x + in.x, at.c + in.c});
    }
  }
  parts[thread] = sum;
  __syncthreads();
  for (int half = block_threads / 2; half >= columns; half /= 2) {
    if (thread < half) parts[thread] += parts[thread + half];
    __syncthreads();
  }
  if (thread >= columns || at.c >= desc.c) return;
  if (partial == nullptr) {
    finish(terms, clamp, destination, at, parts[thread]);
  } else {
    partial[split * destination.count() + static_cast<long long>(pixel) * desc.c + at.c] =
        parts[thread];
  }
}

__global__ void sum_splits(Terms terms, Clamp clamp, int splits, const double* partial,
                           Tensor destination) {
  begin_kernel();
  const TensorDesc& desc = destination.desc;
  const long long count = destination.count();
  for (const long long i : grid_stride(count)) {
    double sum = 0;
    for (int split = 0; split < splits; ++split) sum += partial[split * count + i];
    finish(terms, clamp, destination, index_of(i, desc.h, desc.w, desc.c), sum);
  }
}

Tensor tensor_or_none(const TensorDesc& desc, void* data) {
  return {desc, desc.present() ? data : nullptr};
}

}  // namespace

StepPtr prepare(const Arithmetic& op, Descs slots, Engine&) {
  const TensorDesc x = slots[Arithmetic::primary], y = slots[Arithmetic::secondary];
  const TensorDesc to = slots[Arithmetic::destination], passed = slots[Arithmetic::mask];
  const Clamp clamp(op.minimumValue, op.maximumValue);
  return make_step(slots, "cuda arithmetic", [=](const Args& args) {
    const Tensor destination{to, args.slots[Arithmetic::destination]};
    launch(args, destination.count(), combine, op, clamp,
           Operand({x, args.slots[Arithmetic::primary]}, to),
           Operand({y, args.slots[Arithmetic::secondary]}, to), destination,
           tensor_or_none(passed, args.slots[Arithmetic::mask]));
  });
}

StepPtr prepare(const ArithmeticGradient& op, Descs slots, Engine&) {
  using Op = ArithmeticGradient;
  const TensorDesc g = slots[Op::gradient], other = slots[Op::other], passed = slots[Op::mask];
  const TensorDesc to = slots[Op::destination];
  const Clamp clamp(op.minimumValue, op.maximumValue);
  const auto terms_of = [=](const Args& args) {
    return Terms{op,
                 {g, args.slots[Op::gradient]},
                 tensor_or_none(passed, args.slots[Op::mask]),
                 Operand({other, args.slots[Op::other]}, g)};
  };
  if (to.count() == g.count()) {
    return make_step(slots, "cuda arithmetic", [=](const Args& args) {
      const Tensor destination{to, args.slots[Op::destination]};
      launch(args, destination.count(), scale, terms_of(args), clamp, destination);
    });
  }
  const Division division(g, to);
  const bool split = division.splits > 1;
  const auto elements = static_cast<std::size_t>(to.count());
  const std::size_t partials = split ? elements * static_cast<std::size_t>(division.splits) : 0;
  const auto body = [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    const Terms terms = terms_of(args);
    auto* partial = split ? static_cast<double*>(args.scratch) : nullptr;
    launch_blocks(args, division.blocks(to), sum_terms, terms, clamp, division, destination,
                  partial);
    if (split) {
      launch(args, destination.count(), sum_splits, terms, clamp, division.splits, partial,
             destination);
    }
  };
  return make_step(slots, "cuda arithmetic sums", body, partials * sizeof(double));
}

}  // namespace cermet::cuda
