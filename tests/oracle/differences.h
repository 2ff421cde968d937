#pragma once
// Derivatives by central differences, the judge of every analytic gradient.

#include <cstddef>
#include <vector>

namespace cermet::oracle {

/// df/dx[i] of a scalar function of a vector.
template <class Function>
double central_difference(Function&& f, std::vector<double> x, std::size_t i, double step = 1e-5) {
  const double here = x.at(i), above = here + step, below = here - step;
  x[i] = above;
  const double upper = f(x);
  x[i] = below;
  return (upper - f(x)) / (above - below);
}

template <class Function>
std::vector<double> gradient_by_differences(Function&& f, const std::vector<double>& x,
                                            double step = 1e-5) {
  std::vector<double> gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) gradient[i] = central_difference(f, x, i, step);
  return gradient;
}

}  // namespace cermet::oracle
