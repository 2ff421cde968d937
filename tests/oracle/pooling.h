#pragma once
// Pooling and its gradients (spec: pooling-shape 1, 2).

#include <cmath>

#include "cermet/cnn/pooling.h"
#include "tensor.h"

namespace cermet::oracle {

/// The tap that a window selects: the first largest in row-major order; among equals a tap inside
/// the source goes before an outside zero; the first NaN before everything.
struct LargestTap {
  double value = 0;
  int y = 0, x = 0;
};
inline LargestTap largest_tap(const PoolingMax& op, const Tensor& source, int n, int j, int i,
                              int c) {
  const auto edge = edge_of(op.window);
  const auto padding = [&](int y, int x) {
    return edge == EdgeRule::Zero && !inside(source, y, x);
  };
  LargestTap best;
  bool none = true;
  for_each_tap(op.window, j, i, [&](int, int, int y, int x) {
    const double value = read(source, n, y, x, c, edge);
    const bool replaces_padding = value == best.value && padding(best.y, best.x) && !padding(y, x);
    const bool first_nan = std::isnan(value) && !std::isnan(best.value);
    if (none || first_nan || value > best.value || replaces_padding) best = {value, y, x};
    none = false;
  });
  return best;
}

inline Tensor pooling_max(const PoolingMax& op, const Tensor& source, int out_h, int out_w) {
  auto out = filled(source.n, out_h, out_w, source.c);
  for_each(out, [&](int n, int j, int i, int c) {
    out(n, j, i, c) = largest_tap(op, source, n, j, i, c).value;
  });
  return out;
}

/// The part of `whole` that starts at (y0, x0); 0 outside.
inline Tensor cut(const Tensor& whole, int y0, int x0, int h, int w) {
  auto out = filled(whole.n, h, w, whole.c);
  for_each(out, [&](int n, int y, int x, int c) {
    out(n, y, x, c) = read(whole, n, y0 + y, x0 + x, c, EdgeRule::Zero);
  });
  return out;
}

/// `h` and `w`: the destination's.
inline Tensor pooling_max_gradient(const PoolingMaxGradient& op, const Tensor& gradient,
                                   const Tensor& source, int h, int w) {
  auto whole = like(source);
  for_each(gradient, [&](int n, int j, int i, int c) {
    const auto best = largest_tap(op.forward, source, n, j, i, c);
    scatter(whole, n, best.y, best.x, c, gradient(n, j, i, c), edge_of(op.forward.window));
  });
  return cut(whole, op.originY, op.originX, h, w);
}

/// What the sum of window (j, i) over a source of h x w pixels is divided by; clamp edges do not
/// repeat pixels here, they cut the window to the source and its band of zeros.
inline double average_divisor(const PoolingAverage& op, int j, int i, int h, int w) {
  if (op.window.clampEdges == 0) return op.window.kernelHeight * op.window.kernelWidth;
  int taps = 0;
  for_each_tap(op.window, j, i, [&](int, int, int y, int x) {
    if (y >= -op.zeroPadSizeY && y < h + op.zeroPadSizeY && x >= -op.zeroPadSizeX &&
        x < w + op.zeroPadSizeX)
      ++taps;
  });
  return std::max(taps, 1);  // an empty window sums to 0
}

inline Tensor pooling_average(const PoolingAverage& op, const Tensor& source, int out_h,
                              int out_w) {
  auto out = filled(source.n, out_h, out_w, source.c);
  for_each(out, [&](int n, int j, int i, int c) {
    double sum = 0;
    for_each_tap(op.window, j, i,
                 [&](int, int, int y, int x) { sum += read(source, n, y, x, c, EdgeRule::Zero); });
    out(n, j, i, c) = sum / average_divisor(op, j, i, source.h, source.w);
  });
  return out;
}

/// `h` and `w`: the destination's.
inline Tensor pooling_average_gradient(const PoolingAverageGradient& op, const Tensor& gradient,
                                       int h, int w) {
  auto whole = filled(gradient.n, op.sourceHeight, op.sourceWidth, gradient.c);
  for_each(gradient, [&](int n, int j, int i, int c) {
    const double share = gradient(n, j, i, c) / average_divisor(op.forward, j, i, whole.h, whole.w);
    for_each_tap(op.forward.window, j, i, [&](int, int, int y, int x) {
      scatter(whole, n, y, x, c, share, EdgeRule::Zero);
    });
  });
  return cut(whole, op.originY, op.originX, h, w);
}

/// Clamp edges repeat pixels here.
inline double l2_norm(const PoolingL2Norm& op, const Tensor& source, int n, int j, int i, int c) {
  double squares = 0;
  for_each_tap(op.window, j, i, [&](int, int, int y, int x) {
    const double value = read(source, n, y, x, c, edge_of(op.window));
    squares += value * value;
  });
  return std::sqrt(squares);
}

inline Tensor pooling_l2_norm(const PoolingL2Norm& op, const Tensor& source, int out_h, int out_w) {
  auto out = filled(source.n, out_h, out_w, source.c);
  for_each(out,
           [&](int n, int j, int i, int c) { out(n, j, i, c) = l2_norm(op, source, n, j, i, c); });
  return out;
}

/// `h` and `w`: the destination's.
inline Tensor pooling_l2_norm_gradient(const PoolingL2NormGradient& op, const Tensor& gradient,
                                       const Tensor& source, int h, int w) {
  const auto edge = edge_of(op.forward.window);
  auto whole = like(source);
  for_each(gradient, [&](int n, int j, int i, int c) {
    const double norm = l2_norm(op.forward, source, n, j, i, c);
    if (norm == 0) return;
    for_each_tap(op.forward.window, j, i, [&](int, int, int y, int x) {
      const double slope = read(source, n, y, x, c, edge) / norm;
      scatter(whole, n, y, x, c, gradient(n, j, i, c) * slope, edge);
    });
  });
  return cut(whole, op.originY, op.originX, h, w);
}

}  // namespace cermet::oracle
