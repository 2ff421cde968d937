#pragma once
// Windows and the adjoint along an axis; at stride 1 around each pixel, what normalisations by a
// neighbourhood share. A rule says what an output is, and what it gives to the pixels that it
// reads:
//
//   struct Rule {
//     __device__ float value(double sum, double squares, float x) const;
//     __device__ Contribution contribute(float g, double sum, double squares, float x) const;
//   };
//
// with sum and sum of squares of the window and the pixel x in its middle. The gradient is two
// kernels: what each output contributes, then for every pixel the sum over the outputs that read
// it. Sums are in double, in the order of the taps.

#include "cermet/ops/window.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// Windows along one axis of the source.
struct Axis {
  int kernel, pad, extent;
  bool clamps;
  int stride = 1;

  /// The source position of tap p of output i; -1 is a zero outside.
  __device__ int position(int i, int p) const {
    const int at = stride * i - pad + p, near = max(0, min(at, extent - 1));
    return at == near || clamps ? near : -1;
  }
  __device__ int centre(int i) const { return position(i, kernel / 2); }

  /// How many taps of output i read position `at`: several where a clamped edge repeats.
  __device__ int times(int i, int at) const {
    const int first = stride * i - pad, last = first + kernel - 1;
    const int begin = clamps && at == 0 ? first : max(first, at);
    const int end = clamps && at == extent - 1 ? last : min(last, at);
    return max(end - begin + 1, 0);
  }
  /// The first of `count` outputs that may read `at`, and one past the last.
  __device__ int first_reader(int at) const {
    const int first = at + pad - kernel + 1;
    return (clamps && at == 0) || first <= 0 ? 0 : (first + stride - 1) / stride;
  }
  __device__ int end_of_readers(int at, int count) const {
    if (clamps && at == extent - 1) return count;
    return at + pad < 0 ? 0 : min((at + pad) / stride + 1, count);
  }
};

struct Moments {
  double sum, squares;
};

struct Neighbourhood {
  Tensor source;
  Axis y, x;

  Neighbourhood(const Window& window, const Tensor& from)
      : source(from),
        y{window.kernelHeight, window.padTop, from.desc.h, window.clampEdges != 0},
        x{window.kernelWidth, window.padLeft, from.desc.w, window.clampEdges != 0} {}

  __device__ Moments moments(const Index& at) const {
    Moments found{0, 0};
    for (int q = 0; q < y.kernel; ++q) {
      const int row = y.position(at.y, q);
      if (row < 0) continue;
      for (int p = 0; p < x.kernel; ++p) {
        const int column = x.position(at.x, p);
        if (column < 0) continue;
        const double value = load(source, Index{at.n, row, column, at.c});
        found.sum += value;
        found.squares += value * value;
      }
    }
    return found;
  }
  /// The pixel in the middle of an output's window.
  __device__ float centre(const Index& at) const {
    const int row = y.centre(at.y), column = x.centre(at.x);
    return row < 0 || column < 0 ? 0.0F : load(source, Index{at.n, row, column, at.c});
  }
};

template <class Rule>
__global__ void normalize(Neighbourhood windows, Rule rule, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const Moments found = windows.moments(at);
    store(destination, at, rule.value(found.sum, found.squares, windows.centre(at)));
  }
}

/// What an output gives to the gradient of the pixels u that it reads: `direct` to the one in the
/// middle of its window, and constant + slope * x(u) for each tap.
struct Contribution {
  float direct, constant, slope;
};
/// Those of all outputs. Dense, placed like the gradient.
struct Contributions {
  Tensor direct, constant, slope;
};

template <class Rule>
__global__ void contribute(Neighbourhood windows, Rule rule, Tensor gradient, Contributions to) {
  begin_kernel();
  for (const Index at : elements(gradient)) {
    const Moments found = windows.moments(at);
    const Contribution part =
        rule.contribute(load(gradient, at), found.sum, found.squares, windows.centre(at));
    store(to.direct, at, part.direct);
    store(to.constant, at, part.constant);
    store(to.slope, at, part.slope);
  }
}

__global__ void gather(Neighbourhood windows, Contributions from, Tensor destination) {
  begin_kernel();
  const int rows = from.direct.desc.h, columns = from.direct.desc.w;
  for (const Index at : elements(destination)) {
    if (!windows.source.inside(at.y, at.x)) {
      store(destination, at, 0.0F);
      continue;
    }
    const int row_end = windows.y.end_of_readers(at.y, rows);
    const int column_end = windows.x.end_of_readers(at.x, columns);
    double sum = 0, slope = 0;
    for (int j = windows.y.first_reader(at.y); j < row_end; ++j) {
      const int row_times = windows.y.times(j, at.y);
      const bool row_is_centre = windows.y.centre(j) == at.y;
      for (int i = windows.x.first_reader(at.x); i < column_end; ++i) {
        const Index output{at.n, j, i, at.c};
        if (row_is_centre && windows.x.centre(i) == at.x) sum += load(from.direct, output);
        const double times = row_times * windows.x.times(i, at.x);
        sum += times * static_cast<double>(load(from.constant, output));
        slope += times * static_cast<double>(load(from.slope, output));
      }
    }
    const double own = load(windows.source, at);
    store(destination, at, static_cast<float>(sum + slope * own));
  }
}

/// The steps; `Rule` is made from the forward operator.
template <class Rule, class Op>
StepPtr window_step(const Op& op, Descs slots) {
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  return make_step(slots, "cuda window sums", [op, from, to](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), normalize<Rule>,
           Neighbourhood(op.window, {from, args.slots[Op::source]}), Rule(op), destination);
  });
}

template <class Rule, class Op>
StepPtr window_gradient_step(const Op& op, Descs slots) {
  const TensorDesc arriving = slots[Op::gradient], from = slots[Op::source];
  const TensorDesc to = slots[Op::destination];
  const TensorDesc dense = dense_desc(arriving.n, arriving.h, arriving.w, arriving.c);
  const auto body = [=](const Args& args) {
    const Neighbourhood windows(op.forward.window, {from, args.slots[Op::source]});
    const Tensor gradient{arriving, args.slots[Op::gradient]};
    const Tensor destination{to, args.slots[Op::destination]};
    auto* scratch = static_cast<float*>(args.scratch);
    const long long count = dense.count();
    const Contributions parts{
        {dense, scratch}, {dense, scratch + count}, {dense, scratch + 2 * count}};
    launch(args, gradient.count(), contribute<Rule>, windows, Rule(op.forward), gradient, parts);
    launch(args, destination.count(), gather, windows, parts, destination);
  };
  return make_step(slots, "cuda window gather", body,
                   3 * static_cast<std::size_t>(dense.count()) * sizeof(float));
}

}  // namespace
}  // namespace cermet::cuda
