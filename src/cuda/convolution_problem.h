#pragma once
// A convolution, or the data gradient of one, as kernels on tensor cores see it.

#include "cuda/tensor_core.cuh"

namespace cermet::cuda {

/// The data gradient of a convolution with stride 1 is the convolution of the gradient with the
/// weights turned around.
struct ConvolutionProblem {
  enum class Kind {
    plain,
    pooled_result,  // ReLU and 2x2 pooling of the result
    pooled_source   // given by pooled gradients and their winners
  };
  Kind kind = Kind::plain;
  Window window{};  // of `turned` weights: of the convolution that the data gradient is
  TensorDesc source{}, result{};  // of a pooled source or result: the pooled one
  bool turned = false;            // weights: source channels come first, taps in the opposite order
  float slope = 1;                // of ReLU; 1: none

  [[nodiscard]] int taps() const { return window.kernelWidth * window.kernelHeight; }
  /// Height and width of the result before it is pooled.
  [[nodiscard]] int height() const { return kind == Kind::pooled_result ? 2 * result.h : result.h; }
  [[nodiscard]] int width() const { return kind == Kind::pooled_result ? 2 * result.w : result.w; }
};

struct ConvolutionPointers {
  const float* source;
  const unsigned char* source_winners;  // of a pooled source
  const float* weights;
  const float* biases;  // may be null
  float* result;
  unsigned char* winners;  // of a pooled result; may be null
};

}  // namespace cermet::cuda
