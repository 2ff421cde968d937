#pragma once
// Normalisation by a moving window and its exact gradient (spec: normalization 3).

#include <cmath>

#include "cermet/ops/normalization.h"
#include "tensor.h"

namespace cermet::oracle {

/// T = delta + alpha / area * sum of squares over the window of output (j, i).
inline double window_energy(const SpatialNormalization& op, const Tensor& source, int n, int j,
                            int i, int c) {
  double squares = 0;
  for_each_tap(op.window, j, i, [&](int, int, int y, int x) {
    const double value = read(source, n, y, x, c, edge_of(op.window));
    squares += value * value;
  });
  return op.delta + double{op.alpha} / (op.window.kernelHeight * op.window.kernelWidth) * squares;
}
/// Where output (j, i) itself lies in the source: tap (kh / 2, kw / 2).
inline int centre_y(const Window& window, int j) {
  return window.strideY * j - window.padTop + window.kernelHeight / 2;
}
inline int centre_x(const Window& window, int i) {
  return window.strideX * i - window.padLeft + window.kernelWidth / 2;
}

inline Tensor spatial_normalization(const SpatialNormalization& op, const Tensor& source, int out_h,
                                    int out_w) {
  auto out = filled(source.n, out_h, out_w, source.c);
  for_each(out, [&](int n, int j, int i, int c) {
    const double value =
        read(source, n, centre_y(op.window, j), centre_x(op.window, i), c, edge_of(op.window));
    out(n, j, i, c) = value * std::pow(window_energy(op, source, n, j, i, c), -double{op.beta});
  });
  return out;
}

/// `gradient` lies like the forward destination, the result like `source`.
inline Tensor spatial_normalization_gradient(const SpatialNormalizationGradient& op,
                                             const Tensor& gradient, const Tensor& source) {
  const auto& f = op.forward;
  const auto edge = edge_of(f.window);
  const double area = f.window.kernelHeight * f.window.kernelWidth, beta = f.beta;
  auto out = like(source);
  for_each(gradient, [&](int n, int j, int i, int c) {
    const int y0 = centre_y(f.window, j), x0 = centre_x(f.window, i);
    const double g = gradient(n, j, i, c), t = window_energy(f, source, n, j, i, c);
    const double pull =
        2 * beta * f.alpha / area * g * read(source, n, y0, x0, c, edge) * std::pow(t, -beta - 1);
    scatter(out, n, y0, x0, c, g * std::pow(t, -beta), edge);
    for_each_tap(f.window, j, i, [&](int, int, int y, int x) {
      scatter(out, n, y, x, c, -pull * read(source, n, y, x, c, edge), edge);
    });
  });
  return out;
}

}  // namespace cermet::oracle
