// PoolingL2Norm and its gradient (formulas: cnn/pooling.h), in double: squares neither overflow nor
// vanish. The gradient is two kernels: gradient / norm of every window, then for each pixel the sum
// over the windows that read it.

#include "cermet/cnn/pooling.h"
#include "cuda/neighbourhood.cuh"

namespace cermet::cuda {
namespace {

struct Windows {
  Axis y, x;

  Windows(const Window& window, const TensorDesc& source)
      : y{window.kernelHeight, window.padTop, source.h, window.clampEdges != 0, window.strideY},
        x{window.kernelWidth, window.padLeft, source.w, window.clampEdges != 0, window.strideX} {}

  __device__ double norm(const Tensor& source, const Index& of) const {
    double squares = 0;
    for (int q = 0; q < y.kernel; ++q) {
      const int row = y.position(of.y, q);
      if (row < 0) continue;
      for (int p = 0; p < x.kernel; ++p) {
        const int column = x.position(of.x, p);
        if (column < 0) continue;
        const double value = load(source, Index{of.n, row, column, of.c});
        squares += value * value;
      }
    }
    return sqrt(squares);
  }
};

__global__ void pool(Windows windows, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination))
    store(destination, at, static_cast<float>(windows.norm(source, at)));
}

/// gradient / norm; one a gradient element, in row-major order.
__global__ void share(Windows windows, Tensor source, Tensor gradient, double* shares) {
  begin_kernel();
  const TensorDesc& desc = gradient.desc;
  for (const long long i : grid_stride(gradient.count())) {
    const Index at = index_of(i, desc.h, desc.w, desc.c);
    const double norm = windows.norm(source, at);
    shares[i] = norm == 0 ? 0.0 : static_cast<double>(load(gradient, at)) / norm;
  }
}

__global__ void gather_shares(Windows windows, int originY, int originX, TensorDesc gradient,
                              const double* shares, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const int row = at.y + originY, column = at.x + originX;
    if (!source.inside(row, column)) {
      store(destination, at, 0.0F);
      continue;
    }
    const int row_end = windows.y.end_of_readers(row, gradient.h);
    const int column_end = windows.x.end_of_readers(column, gradient.w);
    double sum = 0;
    for (int j = windows.y.first_reader(row); j < row_end; ++j) {
      const int row_times = windows.y.times(j, row);
      const long long line = (static_cast<long long>(at.n) * gradient.h + j) * gradient.w;
      for (int i = windows.x.first_reader(column); i < column_end; ++i) {
        const long long times = static_cast<long long>(row_times) * windows.x.times(i, column);
        if (times != 0) sum += static_cast<double>(times) * shares[(line + i) * gradient.c + at.c];
      }
    }
    const double own = load(source, Index{at.n, row, column, at.c});
    store(destination, at, static_cast<float>(sum * own));
  }
}

}  // namespace

StepPtr prepare(const PoolingL2Norm& op, Descs slots, Engine&) {
  using Op = PoolingL2Norm;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  const Windows windows(op.window, from);
  return make_step(slots, "cuda window norms", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), pool, windows, Tensor{from, args.slots[Op::source]},
           destination);
  });
}

StepPtr prepare(const PoolingL2NormGradient& op, Descs slots, Engine&) {
  using Op = PoolingL2NormGradient;
  const TensorDesc g = slots[Op::gradient], from = slots[Op::source], to = slots[Op::destination];
  const Windows windows(op.forward.window, from);
  const int top = op.originY, left = op.originX;
  const auto body = [=](const Args& args) {
    const Tensor gradient{g, args.slots[Op::gradient]}, source{from, args.slots[Op::source]};
    const Tensor destination{to, args.slots[Op::destination]};
    auto* shares = static_cast<double*>(args.scratch);
    launch(args, gradient.count(), share, windows, source, gradient, shares);
    launch(args, destination.count(), gather_shares, windows, top, left, g, shares, source,
           destination);
  };
  return make_step(slots, "cuda window norms, gather", body,
                   static_cast<std::size_t>(g.count()) * sizeof(double));
}

}  // namespace cermet::cuda
