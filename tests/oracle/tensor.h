#pragma once
// The oracle: naive formulas in double precision, written from the specification alone. Nothing
// here knows the library; only the operators' parameter structs and the standard library are
// included. This file: the tensor they work on, and where windows lie.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cermet/cnn/convolution.h"

namespace cermet::oracle {

/// n x h x w x c, channel fastest. Empty `v`: absent.
struct Tensor {
  int n = 0, h = 0, w = 0, c = 0;
  std::vector<double> v;

  [[nodiscard]] std::size_t index(int image, int y, int x, int channel) const {
    return static_cast<std::size_t>(((std::int64_t{image} * h + y) * w + x) * c + channel);
  }
  double& operator()(int image, int y, int x, int channel) {
    return v.at(index(image, y, x, channel));
  }
  double operator()(int image, int y, int x, int channel) const {
    return v.at(index(image, y, x, channel));
  }
  [[nodiscard]] bool empty() const { return v.empty(); }
};

inline Tensor filled(int n, int h, int w, int c, double value = 0) {
  const auto count = static_cast<std::size_t>(std::int64_t{n} * h * w * c);
  return {n, h, w, c, std::vector<double>(count, value)};
}
/// A tensor of the same extents.
inline Tensor like(const Tensor& other, double value = 0) {
  return filled(other.n, other.h, other.w, other.c, value);
}
inline Tensor tensor(int n, int h, int w, int c, std::vector<double> values) {
  if (values.size() != filled(n, h, w, c).v.size()) throw std::invalid_argument("oracle::tensor");
  return {n, h, w, c, std::move(values)};
}

/// splitmix64: the next word, and the state moved on.
inline std::uint64_t random_word(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31U);
}
/// Uniform in [low, high).
inline std::vector<double> random_values(std::size_t count, std::uint64_t seed, double low = -1,
                                         double high = 1) {
  std::vector<double> values(count);
  for (double& value : values)
    value = low + (high - low) * static_cast<double>(random_word(seed) >> 11U) * 0x1p-53;
  return values;
}
inline Tensor random(int n, int h, int w, int c, std::uint64_t seed, double low = -1,
                     double high = 1) {
  return tensor(n, h, w, c, random_values(filled(n, h, w, c).v.size(), seed, low, high));
}

/// An element of a per-channel array that may be absent.
inline double entry(const std::vector<double>& values, int i, double absent = 0) {
  return values.empty() ? absent : values.at(static_cast<std::size_t>(i));
}

/// What lies outside an image (spec: core 1.3).
enum class EdgeRule { Zero, Clamp };
inline EdgeRule edge_of(const Window& window) {
  return window.clampEdges != 0 ? EdgeRule::Clamp : EdgeRule::Zero;
}
inline bool inside(const Tensor& t, int y, int x) { return y >= 0 && y < t.h && x >= 0 && x < t.w; }

/// The value at (y, x), which may lie outside.
inline double read(const Tensor& t, int n, int y, int x, int c, EdgeRule edge) {
  if (inside(t, y, x)) return t(n, y, x, c);
  if (edge == EdgeRule::Zero) return 0;
  return t(n, std::clamp(y, 0, t.h - 1), std::clamp(x, 0, t.w - 1), c);
}
/// The adjoint of `read`: adds to the pixel that a read of (y, x) would have come from.
inline void scatter(Tensor& t, int n, int y, int x, int c, double value, EdgeRule edge) {
  if (!inside(t, y, x) && edge == EdgeRule::Zero) return;
  t(n, std::clamp(y, 0, t.h - 1), std::clamp(x, 0, t.w - 1), c) += value;
}

/// visit(n, y, x, c) for every element.
template <class Visit>
void for_each(const Tensor& t, Visit visit) {
  for (int n = 0; n < t.n; ++n)
    for (int y = 0; y < t.h; ++y)
      for (int x = 0; x < t.w; ++x)
        for (int c = 0; c < t.c; ++c) visit(n, y, x, c);
}
/// visit(q, p, y, x): tap (q, p) of output (j, i) reads source position (y, x), which may lie
/// outside; row-major. spec: core 11, convolution G1
template <class Visit>
void for_each_tap(const Window& window, int j, int i, Visit visit) {
  for (int q = 0; q < window.kernelHeight; ++q)
    for (int p = 0; p < window.kernelWidth; ++p)
      visit(q, p, window.strideY * j - window.padTop + window.dilationY * q,
            window.strideX * i - window.padLeft + window.dilationX * p);
}

}  // namespace cermet::oracle
