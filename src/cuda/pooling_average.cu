// PoolingAverage: sum of the taps inside / divisor. PoolingAverageGradient: sum of gradient /
// divisor over the windows that contain a pixel (cnn/pooling.h).

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

struct Range {
  int begin, end;
};

/// Windows along one axis of a source `extent` long.
struct Axis {
  int kernel, stride, pad, extent, zero_pad;
  bool shrinks;

  /// Source positions that window i reads.
  __device__ Range taps(int i) const {
    const int first = stride * i - pad;
    return {max(first, 0), min(first + kernel, extent)};
  }
  /// Length of window i as far as it counts in the divisor.
  __device__ int length(int i) const {
    if (!shrinks) return kernel;
    const int first = stride * i - pad;
    return max(min(first + kernel, extent + zero_pad) - max(first, -zero_pad), 0);
  }
  /// Windows below `count` that read source position `at`.
  __device__ Range windows(int at, int count) const {
    if (at < 0 || at >= extent) return {0, 0};
    const int last = at + pad, first = last - kernel + 1;
    return {first <= 0 ? 0 : (first + stride - 1) / stride,
            last < 0 ? 0 : min(last / stride + 1, count)};
  }
};

struct Axes {
  Axis y, x;
  Axes(const PoolingAverage& op, int height, int width)
      : y{op.window.kernelHeight, op.window.strideY,        op.window.padTop, height,
          op.zeroPadSizeY,        op.window.clampEdges != 0},
        x{op.window.kernelWidth, op.window.strideX,        op.window.padLeft, width,
          op.zeroPadSizeX,       op.window.clampEdges != 0} {}
  __device__ float divisor(int j, int i) const {
    return static_cast<float>(static_cast<long long>(y.length(j)) * x.length(i));
  }
};

template <class Sum>
__global__ void pool(Axes axes, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const Range lines = axes.y.taps(at.y), columns = axes.x.taps(at.x);
    Sum sum = 0;
    for (int y = lines.begin; y < lines.end; ++y) {
      for (int x = columns.begin; x < columns.end; ++x) {
        sum += static_cast<Sum>(load(source, {at.n, y, x, at.c}));
      }
    }
    const bool empty = lines.begin >= lines.end || columns.begin >= columns.end;
    const auto divisor = static_cast<Sum>(axes.divisor(at.y, at.x));
    store(destination, at, empty ? 0.0F : static_cast<float>(sum / divisor));
  }
}

template <class Sum>
__global__ void gather(Axes axes, int originY, int originX, Tensor gradient, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const Range lines = axes.y.windows(at.y + originY, gradient.desc.h);
    const Range columns = axes.x.windows(at.x + originX, gradient.desc.w);
    Sum sum = 0;
    for (int j = lines.begin; j < lines.end; ++j) {
      for (int i = columns.begin; i < columns.end; ++i) {
        const Sum share = Sum{1} / static_cast<Sum>(axes.divisor(j, i));
        sum += static_cast<Sum>(load(gradient, {at.n, j, i, at.c})) * share;
      }
    }
    store(destination, at, static_cast<float>(sum));
  }
}

/// Sums of more terms than this run in double.
bool many(const Window& window) { return window.kernelWidth * window.kernelHeight > 32; }

}  // namespace

StepPtr prepare(const PoolingAverage& op, Descs slots, Engine&) {
  const TensorDesc from = slots[PoolingAverage::source], to = slots[PoolingAverage::destination];
  const Axes axes(op, from.h, from.w);
  const auto kernel = many(op.window) ? pool<double> : pool<float>;
  return make_step(slots, "cuda pooling average", [=](const Args& args) {
    const Tensor destination{to, args.slots[PoolingAverage::destination]};
    launch(args, destination.count(), kernel, axes,
           Tensor{from, args.slots[PoolingAverage::source]}, destination);
  });
}

StepPtr prepare(const PoolingAverageGradient& op, Descs slots, Engine&) {
  using Op = PoolingAverageGradient;
  const TensorDesc g = slots[Op::gradient], to = slots[Op::destination];
  const Axes axes(op.forward, op.sourceHeight, op.sourceWidth);
  const auto kernel = many(op.forward.window) ? gather<double> : gather<float>;
  return make_step(slots, "cuda pooling average", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), kernel, axes, op.originY, op.originX,
           Tensor{g, args.slots[Op::gradient]}, destination);
  });
}

}  // namespace cermet::cuda
