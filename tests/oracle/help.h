#pragma once
// What the tests of the oracle share. Every expected number of a test named after an example is
// typed from the specification's page.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../harness/random.h"
#include "differences.h"
#include "tensor.h"

namespace cermet::oracle {

using Values = std::vector<double>;
inline const Tensor no_tensor;

/// The examples carry ten significant digits or twelve decimals.
inline void expect_values(const Values& got, const Values& wanted, const std::string& what = "",
                          double relative = 1e-9) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], wanted[i], relative * std::abs(wanted[i]) + 1e-12)
        << what << " [" << i << "]";
}

inline Values scaled(Values values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}
inline double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b.at(i);
  return sum;
}

/// `analytic` against differences of `objective(x)`, to 1e-7 of the largest derivative.
template <class Objective>
void expect_gradient(const Values& analytic, Objective objective, const Values& x,
                     const std::string& what = "") {
  const Values numeric = gradient_by_differences(objective, x);
  ASSERT_EQ(analytic.size(), numeric.size()) << what;
  double largest = 1e-3;
  for (const double value : numeric) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < numeric.size(); ++i)
    ASSERT_NEAR(analytic[i], numeric[i], 1e-7 * largest) << what << " [" << i << "]";
}

/// A window by the specification's `offset`, which names the centre tap.
inline Window placed(int kernel_w, int kernel_h, int offset_x, int offset_y, int stride_x = 1,
                     int stride_y = 1, int dilation_x = 1, int dilation_y = 1) {
  Window w{.kernelWidth = kernel_w, .kernelHeight = kernel_h};
  w.strideX = stride_x;
  w.strideY = stride_y;
  w.dilationX = dilation_x;
  w.dilationY = dilation_y;
  w.padLeft = ((kernel_w - 1) * dilation_x + 1) / 2 - offset_x;
  w.padTop = ((kernel_h - 1) * dilation_y + 1) / 2 - offset_y;
  return w;
}
inline Window clamped(Window w) {
  w.clampEdges = 1;
  return w;
}
inline std::string describe(const Window& w) {
  std::string text = "window";
  for (const int value : {w.kernelWidth, w.kernelHeight, w.strideX, w.strideY, w.padLeft, w.padTop,
                          w.dilationX, w.dilationY, w.clampEdges})
    text.append(" ").append(std::to_string(value));
  return text;
}

/// Small random integers.
struct Dice {
  std::uint64_t state;
  int operator()(int low, int high) {
    return low + static_cast<int>(random_word(state) % static_cast<std::uint64_t>(high - low + 1));
  }
};
/// Odd and even windows, strides, dilations, negative pads, both edge rules.
inline Window random_window(Dice& dice, int largest_stride, int largest_dilation) {
  Window w{.kernelWidth = dice(1, 4), .kernelHeight = dice(1, 4)};
  w.strideX = dice(1, largest_stride);
  w.strideY = dice(1, largest_stride);
  w.dilationX = dice(1, largest_dilation);
  w.dilationY = dice(1, largest_dilation);
  w.padLeft = dice(-2, 3);
  w.padTop = dice(-2, 3);
  w.clampEdges = dice(0, 1);
  return w;
}

}  // namespace cermet::oracle
