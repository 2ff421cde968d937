// SpatialNormalization and its exact gradient (formulas: ops/normalization.h). The gradient is two
// kernels: what each output contributes, then for every pixel the sum over the outputs that read
// it.

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// Windows at stride 1 along one axis of the source.
struct Axis {
  int kernel, pad, extent;
  bool clamps;

  /// The source position of tap p of output i; -1 is a zero outside.
  __device__ int position(int i, int p) const {
    const int at = i - pad + p, near = max(0, min(at, extent - 1));
    return at == near || clamps ? near : -1;
  }
  __device__ int centre(int i) const { return position(i, kernel / 2); }

  /// How many taps of output i read position `at`: several where a clamped edge repeats.
  __device__ int times(int i, int at) const {
    const int first = i - pad, last = first + kernel - 1;
    const int begin = clamps && at == 0 ? first : max(first, at);
    const int end = clamps && at == extent - 1 ? last : min(last, at);
    return max(end - begin + 1, 0);
  }
  /// The first of `count` outputs that may read `at`, and one past the last.
  __device__ int first_reader(int at) const {
    return clamps && at == 0 ? 0 : max(at + pad - kernel + 1, 0);
  }
  __device__ int end_of_readers(int at, int count) const {
    return clamps && at == extent - 1 ? count : min(at + pad + 1, count);
  }
};

struct Windows {
  Tensor source;
  Axis y, x;
  float alpha, beta, delta;  // alpha: of the sum of squares

  Windows(const SpatialNormalization& op, const Tensor& from)
      : source(from),
        y{op.window.kernelHeight, op.window.padTop, from.desc.h, op.window.clampEdges != 0},
        x{op.window.kernelWidth, op.window.padLeft, from.desc.w, op.window.clampEdges != 0},
        alpha(op.alpha / static_cast<float>(op.window.kernelWidth * op.window.kernelHeight)),
        beta(op.beta),
        delta(op.delta) {}

  /// T of an output.
  __device__ float level(const Index& at) const {
    double squares = 0;
    for (int q = 0; q < y.kernel; ++q) {
      const int row = y.position(at.y, q);
      if (row < 0) continue;
      for (int p = 0; p < x.kernel; ++p) {
        const int column = x.position(at.x, p);
        if (column < 0) continue;
        const double value = load(source, Index{at.n, row, column, at.c});
        squares += value * value;
      }
    }
    return static_cast<float>(static_cast<double>(delta) + static_cast<double>(alpha) * squares);
  }
  /// The pixel in the centre of an output's window.
  __device__ float centre(const Index& at) const {
    const int row = y.centre(at.y), column = x.centre(at.x);
    return row < 0 || column < 0 ? 0.0F : load(source, Index{at.n, row, column, at.c});
  }
};

__global__ void normalize(Windows windows, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    store(destination, at, windows.centre(at) * powf(windows.level(at), -windows.beta));
  }
}

/// What every output contributes: `direct` to its centre, `through` to each pixel u of its window
/// when multiplied by u. Both dense, placed like the gradient.
struct Contributions {
  Tensor direct, through;
};

__global__ void contribute(Windows windows, Tensor gradient, Contributions to) {
  begin_kernel();
  for (const Index at : elements(gradient)) {
    const float t = windows.level(at), scaled = load(gradient, at) * powf(t, -windows.beta);
    store(to.direct, at, scaled);
    store(to.through, at, scaled * windows.centre(at) / t);
  }
}

__global__ void gather(Windows windows, Contributions from, Tensor destination) {
  begin_kernel();
  const double scale =
      -2.0 * static_cast<double>(windows.alpha) * static_cast<double>(windows.beta);
  const int rows = from.direct.desc.h, columns = from.direct.desc.w;
  for (const Index at : elements(destination)) {
    if (!windows.source.inside(at.y, at.x)) {
      store(destination, at, 0.0F);
      continue;
    }
    const int row_end = windows.y.end_of_readers(at.y, rows);
    const int column_end = windows.x.end_of_readers(at.x, columns);
    double direct = 0, through = 0;
    for (int j = windows.y.first_reader(at.y); j < row_end; ++j) {
      const int row_times = windows.y.times(j, at.y);
      const bool row_is_centre = windows.y.centre(j) == at.y;
      for (int i = windows.x.first_reader(at.x); i < column_end; ++i) {
        const Index output{at.n, j, i, at.c};
        if (row_is_centre && windows.x.centre(i) == at.x) direct += load(from.direct, output);
        const double times = row_times * windows.x.times(i, at.x);
        through += times * static_cast<double>(load(from.through, output));
      }
    }
    const double own = load(windows.source, at);
    store(destination, at, static_cast<float>(direct + scale * through * own));
  }
}

}  // namespace

StepPtr prepare(const SpatialNormalization& op, Descs slots, Engine&) {
  using Op = SpatialNormalization;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  return make_step(slots, "cuda window sums", [op, from, to](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), normalize, Windows(op, {from, args.slots[Op::source]}),
           destination);
  });
}

StepPtr prepare(const SpatialNormalizationGradient& op, Descs slots, Engine&) {
  using Op = SpatialNormalizationGradient;
  const TensorDesc arriving = slots[Op::gradient], from = slots[Op::source];
  const TensorDesc to = slots[Op::destination];
  const TensorDesc dense = dense_desc(arriving.n, arriving.h, arriving.w, arriving.c);
  const auto body = [=](const Args& args) {
    const Windows windows(op.forward, {from, args.slots[Op::source]});
    const Tensor gradient{arriving, args.slots[Op::gradient]};
    const Tensor destination{to, args.slots[Op::destination]};
    auto* scratch = static_cast<float*>(args.scratch);
    const Contributions parts{{dense, scratch}, {dense, scratch + dense.count()}};
    launch(args, gradient.count(), contribute, windows, gradient, parts);
    launch(args, destination.count(), gather, windows, parts, destination);
  };
  return make_step(slots, "cuda window gather", body,
                   2 * static_cast<std::size_t>(dense.count()) * sizeof(float));
}

}  // namespace cermet::cuda
