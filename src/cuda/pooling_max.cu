// PoolingMax: the largest tap of each window. PoolingMaxGradient: the sum of the gradients of the
// windows whose first largest tap a pixel is (cnn/pooling.h). Zeros outside take part with Zero
// edges but lose a tie to a tap inside; the first NaN wins always. NeuronPoolingMax: ReLU and 2x2
// windows in one pass (pooled.cuh).

#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

constexpr int nobody = -1;

/// The first largest tap of a window: its value, and its source pixel y * w + x or `nobody` where
/// that is a zero outside.
struct Winner {
  float value;
  int pixel;
};

/// Of the window whose result is element `of`.
__device__ Winner winner(const Window& window, const Tensor& source, const Index& of) {
  const TensorDesc& desc = source.desc;
  const int top = of.y * window.strideY - window.padTop;
  const int left = of.x * window.strideX - window.padLeft;
  const long long origin = source.offset({of.n, 0, 0, of.c});
  Winner best{0.0F, nobody};
  bool outside = false;
  for (int q = 0; q < window.kernelHeight; ++q) {
    const int y = top + q * window.dilationY, near_y = min(max(y, 0), desc.h - 1);
    for (int p = 0; p < window.kernelWidth; ++p) {
      const int x = left + p * window.dilationX, near_x = min(max(x, 0), desc.w - 1);
      if (window.clampEdges == 0 && (near_y != y || near_x != x)) {
        outside = true;
        continue;
      }
      const float tap = load(source, origin + near_y * desc.stride_h + near_x * desc.stride_w);
      const bool wins = !(tap <= best.value) && best.value == best.value;
      if (best.pixel == nobody || wins) best = {tap, near_y * desc.w + near_x};
    }
  }
  if (outside && best.value < 0.0F) return {0.0F, nobody};
  return best;
}

__global__ void pool(Window window, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    store(destination, at, winner(window, source, at).value);
  }
}

/// One a gradient element, in row-major order.
__global__ void find_winners(Window window, Tensor source, Tensor gradient, int* winners) {
  begin_kernel();
  const TensorDesc& desc = gradient.desc;
  for (const long long i : grid_stride(gradient.count())) {
    winners[i] = winner(window, source, index_of(i, desc.h, desc.w, desc.c)).pixel;
  }
}

/// Windows along one axis.
struct Axis {
  int kernel, stride, pad, dilation;
  bool clamp;
};
struct Range {
  int begin, end;
};

/// Windows below `count` that may read position `at` of a source `extent` long.
__device__ Range readers(const Axis& axis, int at, int extent, int count) {
  if (at < 0 || at >= extent) return {0, 0};
  const int last = at + axis.pad, first = last - axis.dilation * (axis.kernel - 1);
  Range range{first <= 0 ? 0 : (first + axis.stride - 1) / axis.stride,
              last < 0 ? 0 : min(last / axis.stride + 1, count)};
  if (axis.clamp && at == 0) range.begin = 0;
  if (axis.clamp && at == extent - 1) range.end = count;
  return range;
}

/// `winners` may be null: they are found anew.
__global__ void gather(PoolingMaxGradient op, Tensor gradient, Tensor source, Tensor destination,
                       const int* winners) {
  begin_kernel();
  const Window& window = op.forward.window;
  const bool clamp = window.clampEdges != 0;
  const Axis vertical{window.kernelHeight, window.strideY, window.padTop, window.dilationY, clamp};
  const Axis across{window.kernelWidth, window.strideX, window.padLeft, window.dilationX, clamp};
  const TensorDesc& desc = gradient.desc;
  for (const Index at : elements(destination)) {
    const int y = at.y + op.originY, x = at.x + op.originX;
    const Range lines = readers(vertical, y, source.desc.h, desc.h);
    const Range columns = readers(across, x, source.desc.w, desc.w);
    float sum = 0;
    for (int j = lines.begin; j < lines.end; ++j) {
      const long long row = (static_cast<long long>(at.n) * desc.h + j) * desc.w;
      for (int i = columns.begin; i < columns.end; ++i) {
        const Index reader{at.n, j, i, at.c};
        const int pixel = winners != nullptr ? winners[(row + i) * desc.c + at.c]
                                             : winner(window, source, reader).pixel;
        if (pixel == y * source.desc.w + x) sum += load(gradient, reader);
      }
    }
    store(destination, at, sum);
  }
}

/// A thread for each window, which writes all of its pixels: for windows that tile the destination.
__global__ void scatter(Window window, Tensor gradient, Tensor source, Tensor destination) {
  begin_kernel();
  const TensorDesc& desc = destination.desc;
  for (const Index of : elements(gradient)) {
    const int pixel = winner(window, source, of).pixel;
    const float value = load(gradient, of);
    for (int q = 0; q < window.kernelHeight; ++q) {
      const int y = of.y * window.strideY + q;
      for (int p = 0; p < window.kernelWidth && y < desc.h; ++p) {
        const int x = of.x * window.strideX + p;
        if (x >= desc.w) break;
        store(destination, Index{of.n, y, x, of.c}, pixel == y * desc.w + x ? value : 0.0F);
      }
    }
  }
}

bool tiles(const PoolingMaxGradient& op, const TensorDesc& gradient, const TensorDesc& source,
           const TensorDesc& destination) {
  const Window& w = op.forward.window;
  const bool inside = gradient.w * w.strideX <= source.w && gradient.h * w.strideY <= source.h;
  return w.kernelWidth == w.strideX && w.kernelHeight == w.strideY && w.dilationX == 1 &&
         w.dilationY == 1 && w.padLeft == 0 && w.padTop == 0 && (w.clampEdges == 0 || inside) &&
         op.originX == 0 && op.originY == 0 && destination.w == source.w &&
         destination.h == source.h && gradient.w * w.strideX >= source.w &&
         gradient.h * w.strideY >= source.h;
}

bool overlaps(const Window& window) {
  return window.dilationX * (window.kernelWidth - 1) >= window.strideX ||
         window.dilationY * (window.kernelHeight - 1) >= window.strideY;
}

// ---- ReLU and 2x2 windows

__device__ float pool_taps(float a, float b, float c, float d, unsigned char* winner) {
  return pool_window(a, b, c, d, *winner);
}
__device__ float4 pool_taps(const float4& a, const float4& b, const float4& c, const float4& d,
                            uchar4* winner) {
  return {pool_window(a.x, b.x, c.x, d.x, winner->x), pool_window(a.y, b.y, c.y, d.y, winner->y),
          pool_window(a.z, b.z, c.z, d.z, winner->z), pool_window(a.w, b.w, c.w, d.w, winner->w)};
}

/// A thread for each float or float4 of the destination; all is dense. `winners` may be null.
template <class Value, class Winner>
__global__ void pool_tiles(Tensor source, Tensor destination, Winner* winners) {
  begin_kernel();
  constexpr int together = sizeof(Value) / sizeof(float);
  const TensorDesc& desc = destination.desc;
  const int channels = desc.c / together;
  const auto* taps = static_cast<const Value*>(source.data);
  const long long row = static_cast<long long>(source.desc.w) * channels;
  for (const long long i : grid_stride(destination.count() / together)) {
    const Index at = index_of(i, desc.h, desc.w, channels);
    const Value* tap = taps + (static_cast<long long>(at.n) * source.desc.h + 2 * at.y) * row +
                       2LL * at.x * channels + at.c;
    Winner winner;
    static_cast<Value*>(destination.data)[i] =
        pool_taps(tap[0], tap[channels], tap[row], tap[row + channels], &winner);
    if (winners != nullptr) winners[i] = winner;
  }
}

}  // namespace

StepPtr prepare(const PoolingMax& op, Descs slots, Engine&) {
  const TensorDesc from = slots[PoolingMax::source], to = slots[PoolingMax::destination];
  return make_step(slots, "cuda pooling max", [from, to, window = op.window](const Args& args) {
    const Tensor destination{to, args.slots[PoolingMax::destination]};
    launch(args, destination.count(), pool, window, Tensor{from, args.slots[PoolingMax::source]},
           destination);
  });
}

// Where windows overlap, a pixel asks several of them, so each finds its winner once beforehand.
StepPtr prepare(const PoolingMaxGradient& op, Descs slots, Engine&) {
  using Op = PoolingMaxGradient;
  const TensorDesc g = slots[Op::gradient], from = slots[Op::source], to = slots[Op::destination];
  if (tiles(op, g, from, to)) {
    return make_step(slots, "cuda pooling max, window by window",
                     [g, from, to, window = op.forward.window](const Args& args) {
                       const Tensor gradient{g, args.slots[Op::gradient]};
                       launch(args, gradient.count(), scatter, window, gradient,
                              Tensor{from, args.slots[Op::source]},
                              Tensor{to, args.slots[Op::destination]});
                     });
  }
  const bool twice = overlaps(op.forward.window);
  const std::size_t scratch = twice ? static_cast<std::size_t>(g.count()) * sizeof(int) : 0;
  const auto body = [=](const Args& args) {
    const Tensor gradient{g, args.slots[Op::gradient]}, source{from, args.slots[Op::source]};
    const Tensor destination{to, args.slots[Op::destination]};
    auto* winners = twice ? static_cast<int*>(args.scratch) : nullptr;
    if (twice) {
      launch(args, gradient.count(), find_winners, op.forward.window, source, gradient, winners);
    }
    launch(args, destination.count(), gather, op, gradient, source, destination, winners);
  };
  return make_step(slots, twice ? "cuda pooling max, winners first" : "cuda pooling max", body,
                   scratch);
}

StepPtr prepare(const NeuronPoolingMax& op, Descs slots, Engine&) {
  using Op = NeuronPoolingMax;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  const TensorDesc chosen = slots[Op::winners];
  if (!is_relu(op.activation) || !is_tiled(op.pooling.window, from, to) || !is_plain(from) ||
      !is_plain(to) || !are_winners(chosen))
    return nullptr;
  return make_step(slots, "cuda ReLU and 2x2", [from, to, chosen](const Args& args) {
    const Tensor source{from, args.slots[Op::source]}, destination{to, args.slots[Op::destination]};
    auto* winners = chosen.present() ? args.at<unsigned char>(Op::winners) : nullptr;
    const bool fours = to.c % 4 == 0 && are_flat({source, destination}) &&
                       reinterpret_cast<std::uintptr_t>(winners) % sizeof(uchar4) == 0;
    if (fours) {
      launch(args, destination.count() / 4, pool_tiles<float4, uchar4>, source, destination,
             reinterpret_cast<uchar4*>(winners));
    } else {
      launch(args, destination.count(), pool_tiles<float, unsigned char>, source, destination,
             winners);
    }
  });
}

}  // namespace cermet::cuda
