// Pad and its adjoint (formulas: cnn/pad.h). The gradient gathers: what leads to a source position
// is at most two arithmetic progressions along each axis.

#include "cermet/cnn/pad.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// Positions `offset`, `offset` + 1, ... along an axis whose source has `extent` elements.
struct Axis {
  ImageEdgeMode edge;
  long long offset, extent;

  __device__ static long long remainder(long long value, long long period) {
    const long long r = value % period;
    return r < 0 ? r + period : r;
  }
  /// 1 where a mirror repeats the edge.
  __device__ long long repeated() const { return edge == ImageEdgeMode::MirrorWithEdge ? 1 : 0; }
  __device__ long long period() const {
    const long long full = 2 * (extent - 1 + repeated());
    return full > 0 ? full : 1;
  }

  /// The source position that position number i leads to; -1: none.
  __device__ int source(int i) const {
    const long long at = i + offset;
    if (at >= 0 && at < extent) return static_cast<int>(at);
    if (edge == ImageEdgeMode::Zero || edge == ImageEdgeMode::Constant) return -1;
    if (edge == ImageEdgeMode::Clamp) return at < 0 ? 0 : static_cast<int>(extent - 1);
    const long long r = remainder(at, period());
    return static_cast<int>(r < extent ? r : period() - repeated() - r);
  }

  /// visit(i) for each of `count` positions that leads to source position s, in a fixed order.
  template <class Visit>
  __device__ void for_each_reader(long long s, long long count, Visit&& visit) const {
    if (s < 0 || s >= extent) return;
    if (edge == ImageEdgeMode::Mirror || edge == ImageEdgeMode::MirrorWithEdge) {
      const long long other = remainder(-repeated() - s, period());
      for (long long i = remainder(s - offset, period()); i < count; i += period())
        visit(static_cast<int>(i));
      if (other == s) return;
      for (long long i = remainder(other - offset, period()); i < count; i += period())
        visit(static_cast<int>(i));
      return;
    }
    const bool clamps = edge == ImageEdgeMode::Clamp;
    const long long first = clamps && s == 0 ? 0 : max(s - offset, 0LL);
    const long long last = clamps && s == extent - 1 ? count - 1 : min(s - offset, count - 1);
    for (long long i = first; i <= last; ++i) visit(static_cast<int>(i));
  }
};

struct Axes {
  Axis y, x, c;
  Axes(const Pad& op, long long height, long long width, long long channels)
      : y{op.edge, op.offsetY, height},
        x{op.edge, op.offsetX, width},
        c{op.edge, op.offsetChannel, channels} {}
};

__global__ void pad(Axes axes, float value, Tensor source, Tensor fill, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const Index from{at.n, axes.y.source(at.y), axes.x.source(at.x), axes.c.source(at.c)};
    float result = value;
    if (from.y >= 0 && from.x >= 0 && from.c >= 0) {
      result = load(source, from);
    } else if (fill.present()) {
      result = load(fill, at.c);
    }
    store(destination, at, result);
  }
}

__global__ void pad_gradient(Axes axes, int origin_y, int origin_x, Tensor gradient,
                             Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    double sum = 0;
    axes.y.for_each_reader(static_cast<long long>(at.y) + origin_y, gradient.desc.h, [&](int y) {
      axes.x.for_each_reader(static_cast<long long>(at.x) + origin_x, gradient.desc.w, [&](int x) {
        axes.c.for_each_reader(at.c, gradient.desc.c, [&](int c) {
          sum += static_cast<double>(load(gradient, Index{at.n, y, x, c}));
        });
      });
    });
    store(destination, at, static_cast<float>(sum));
  }
}

}  // namespace

StepPtr prepare(const Pad& op, Descs slots, Engine&) {
  const TensorDesc from = slots[Pad::source], fill = slots[Pad::fill];
  const TensorDesc to = slots[Pad::destination];
  const float value = op.edge == ImageEdgeMode::Constant ? op.fillValue : 0.0F;
  const Axes axes(op, from.h, from.w, from.c);
  return make_step(slots, "cuda pad", [=](const Args& args) {
    const Tensor destination{to, args.slots[Pad::destination]};
    const Tensor fills{fill, fill.present() ? args.slots[Pad::fill] : nullptr};
    launch(args, destination.count(), pad, axes, value, Tensor{from, args.slots[Pad::source]},
           fills, destination);
  });
}

StepPtr prepare(const PadGradient& op, Descs slots, Engine&) {
  using Op = PadGradient;
  const TensorDesc arriving = slots[Op::gradient], to = slots[Op::destination];
  const Axes axes(op.forward, op.sourceHeight, op.sourceWidth, to.c);
  return make_step(slots, "cuda pad gather", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), pad_gradient, axes, op.originY, op.originX,
           Tensor{arriving, args.slots[Op::gradient]}, destination);
  });
}

}  // namespace cermet::cuda
