#pragma once
// Products of dense row-major float32 matrices that have few columns, by kernels of our own: fully
// connected layers with few outputs, as classifiers end with. So small products are all latency.

#include <cstdint>
#include <optional>

#include "cuda/engine.h"

namespace cermet::cuda {

/// result[rows][outputs] = source[rows][inner] * weights[outputs][inner]^T, and its gradients.
/// Factors are never rounded; addresses need be aligned to floats alone.
struct ThinProduct {
  int rows = 0, inner = 0, outputs = 0;

  /// None where a product is not served.
  static std::optional<ThinProduct> of(std::int64_t rows, std::int64_t inner, std::int64_t outputs);

  /// Adds `biases`, which may be null, to each row.
  void run(const Args& args, const float* source, const float* weights, const float* biases,
           float* result) const;
  void gradient_data(const Args& args, const float* gradient, const float* weights,
                     float* destination) const;
  /// `bias_gradient`, the sums of the gradient's rows, may be null.
  void gradient_weights(const Args& args, const float* gradient, const float* source,
                        bool accumulate, float* weight_gradient, float* bias_gradient) const;
};

}  // namespace cermet::cuda
