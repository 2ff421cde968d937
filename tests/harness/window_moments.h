#pragma once
// Moments of a window at stride 1, for the formulas of normalisations (spec: normalization 3, 4).

#include <cmath>

#include "../oracle/tensor.h"

namespace cermet::test {

/// Means over all kw*kh taps of output (j, i), and the pixel in the middle of its window.
struct WindowMoments {
  double mean = 0, mean_square = 0, variance = 0, centre = 0;

  WindowMoments(const Window& window, const oracle::Tensor& source, int n, int j, int i, int c) {
    const double area = window.kernelHeight * window.kernelWidth;
    const oracle::EdgeRule edge = oracle::edge_of(window);
    oracle::for_each_tap(window, j, i, [&](int, int, int y, int x) {
      const double value = oracle::read(source, n, y, x, c, edge);
      mean += value / area;
      mean_square += value * value / area;
    });
    oracle::for_each_tap(window, j, i, [&](int, int, int y, int x) {
      const double distance = oracle::read(source, n, y, x, c, edge) - mean;
      variance += distance * distance / area;
    });
    centre = oracle::read(source, n, j - window.padTop + window.kernelHeight / 2,
                          i - window.padLeft + window.kernelWidth / 2, c, edge);
  }
};

}  // namespace cermet::test
