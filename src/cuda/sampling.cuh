#pragma once
// Scaled images: what an output reads along an axis, and what reads a source pixel. Positions are
// whole numbers of 1/divisor source pixels, so that weights are exact.

#include "cermet/ops/sampling.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// Rounded down; b > 0.
__device__ inline long long floor_divided(long long a, long long b) {
  const long long quotient = a / b;
  return quotient - (a % b < 0 ? 1 : 0);
}

/// Source pixel `first` with weight 1 - next, and the one after it with weight `next`; where that
/// is 0 it is not read.
struct Reading {
  int first;
  double next;
};
struct Range {
  int begin, end;
};

/// One axis over a source of `extent` pixels. `Linear`: between two pixels; else the pixel at the
/// position rounded down.
template <bool Linear>
struct SamplingLine {
  SamplingAxis axis;
  int extent;

  __device__ long long position(int output) const {
    const long long divisor = axis.divisor;
    const long long at = axis.offset * divisor + static_cast<long long>(output) * axis.step;
    return max(0LL, min(at, (extent - 1) * divisor));
  }
  __device__ Reading reading(int output) const {
    const long long at = position(output), first = at / axis.divisor;
    const auto rest = static_cast<double>(at - first * axis.divisor);
    return {static_cast<int>(first), Linear ? rest / axis.divisor : 0.0};
  }
  /// Outputs below `count` that may read source pixel `at`.
  __device__ Range readers(int at, int count) const {
    Range range{0, count};
    if (at > 0) {  // the first output at or, between two pixels, behind this position
      const long long from = (at - (Linear ? 1LL : 0LL) - axis.offset) * axis.divisor;
      const long long first = floor_divided(from - (Linear ? 0 : 1), axis.step) + 1;
      range.begin = static_cast<int>(max(0LL, min(first, static_cast<long long>(count))));
    }
    if (at < extent - 1) {  // the first output at or behind the next pixel
      const long long to = (at + 1LL - axis.offset) * axis.divisor;
      const long long end = floor_divided(to - 1, axis.step) + 1;
      range.end = static_cast<int>(max(0LL, min(end, static_cast<long long>(count))));
    }
    return range;
  }
  /// Of source pixel `at` in an output, times the divisor.
  __device__ double weight(int output, int at) const {
    if (!Linear) return axis.divisor;
    const long long away = position(output) - static_cast<long long>(at) * axis.divisor;
    return static_cast<double>(axis.divisor - (away < 0 ? -away : away));
  }
};

template <bool Linear>
struct SamplingLines {
  SamplingLine<Linear> y, x;
  SamplingLines(const SamplingGrid& grid, int height, int width)
      : y{grid.y, height}, x{grid.x, width} {}
};

template <bool Linear>
__global__ void sample(SamplingLines<Linear> lines, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const Reading row = lines.y.reading(at.y), column = lines.x.reading(at.x);
    const Index first{at.n, row.first, column.first, at.c};
    if (row.next == 0 && column.next == 0) {
      store(destination, at, load(source, first));
      continue;
    }
    const auto along = [&](int line) {
      const double a = load(source, Index{at.n, line, first.x, at.c});
      if (column.next == 0) return a;
      const double b = load(source, Index{at.n, line, first.x + 1, at.c});
      return (1 - column.next) * a + column.next * b;
    };
    double value = along(first.y);
    if (row.next != 0) value = (1 - row.next) * value + row.next * along(first.y + 1);
    store(destination, at, static_cast<float>(value));
  }
}

/// Destination pixel u is the sum over the outputs that read source pixel u; 0 beyond the source.
template <bool Linear>
__global__ void gather_samples(SamplingLines<Linear> lines, Tensor gradient, Tensor destination) {
  begin_kernel();
  const double whole =
      static_cast<double>(lines.y.axis.divisor) * static_cast<double>(lines.x.axis.divisor);
  for (const Index at : elements(destination)) {
    double sum = 0;
    if (at.y < lines.y.extent && at.x < lines.x.extent) {
      const Range rows = lines.y.readers(at.y, gradient.desc.h);
      const Range columns = lines.x.readers(at.x, gradient.desc.w);
      for (int j = rows.begin; j < rows.end; ++j) {
        const double across = lines.y.weight(j, at.y);
        for (int i = columns.begin; i < columns.end; ++i) {
          sum += across * lines.x.weight(i, at.x) *
                 static_cast<double>(load(gradient, Index{at.n, j, i, at.c}));
        }
      }
    }
    store(destination, at, static_cast<float>(sum / whole));
  }
}

/// The steps of a kernel with a grid.
template <bool Linear, class Op>
StepPtr grid_step(const Op& op, Descs slots) {
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  const SamplingLines<Linear> lines(op.grid, from.h, from.w);
  return make_step(slots, "cuda sampling", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), sample<Linear>, lines, Tensor{from, args.slots[Op::source]},
           destination);
  });
}
template <bool Linear, class Op>
StepPtr grid_gradient_step(const Op& op, Descs slots) {
  const TensorDesc g = slots[Op::gradient], to = slots[Op::destination];
  const SamplingLines<Linear> lines(op.forward.grid, op.sourceHeight, op.sourceWidth);
  return make_step(slots, "cuda sampling, gather", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), gather_samples<Linear>, lines,
           Tensor{g, args.slots[Op::gradient]}, destination);
  });
}

}  // namespace
}  // namespace cermet::cuda
