#pragma once
// Convolutions and their gradients with the warpgroup products of sm_90 (convolution_warpgroup.cu,
// convolution_warpgroup_weights.cu).

#include <optional>

#include "cuda/convolution_problem.h"

namespace cermet::cuda {

inline constexpr int warpgroup_architecture = 90;
inline constexpr std::size_t most_warpgroup_bytes = 227 * 1024;  // of shared memory

/// How a block works: set up once for a problem, read by the kernels.
struct WarpgroupTask {
  static constexpr int most_steps = 64;
  ConvolutionProblem::Kind kind = ConvolutionProblem::Kind::plain;
  Window window{};
  Grid source, result;
  int images = 0, width = 0;  // width: of the result before it is pooled
  float slope = 1;
  bool turned = false, paired = false;

  int rows = 0;     // of the result in an item
  int columns = 0;  // and how far it is to the next item across
  int second = 0;   // column where the second segment begins; 0: it is of the next image
  int down = 1, across = 1, items = 1;
  int patch_height = 1, patch_width = 1, patch_images = 1;
  int plane = 1;                // fours of floats from one channel quad of a patch to the next
  int patches = 2, stages = 3;  // in shared memory: of the source, of weights
  int steps = 0, chunks = 1;    // products: of taps, of 32 source channels
  unsigned offsets[most_steps] = {};  // of the first pixel in a patch  NOLINT(*-avoid-c-arrays)
  Divisor by_across, by_down, by_patch_height, by_pooled_width, by_pooled_height;
};

class WarpgroupConvolution {
 public:
  /// None where the device, or the geometry, is not one that the kernels serve.
  static std::optional<WarpgroupConvolution> of(const ConvolutionProblem& problem,
                                                const Engine& engine);
  [[nodiscard]] std::size_t scratch_bytes() const;
  void operator()(const Args& args, const ConvolutionPointers& pointers) const;

 private:
  [[nodiscard]] int tiles() const;
  [[nodiscard]] long long packed_floats() const;
  WarpgroupTask task_;
  int multiprocessors_ = 1;
};

// ---- weight gradients

struct WeightGradientProblem {
  Window window{};
  TensorDesc source{}, gradient{};  // the gradient may be pooled
  int height = 0, width = 0;        // of the result
  bool pooled = false, biased = false;
};

struct WeightGradientPointers {
  const float* gradient;
  const unsigned char* winners;  // of a pooled gradient
  const float* source;
  float* weights;
  float* biases;  // may be null
};

struct WarpgroupWeightTask {
  static constexpr int inputs = 32, outputs = 64;  // channels of a block
  static constexpr int columns = 16;               // of an item
  Window window{};
  Grid source, gradient;
  int rows = 0, items = 0, shares = 1;
  int pairs = 1;  // of adjacent taps
  bool biased = false;
  Divisor by_across, by_down;

  [[nodiscard]] __host__ __device__ int blocks_of_taps() const {
    return pairs * ((source.channels + inputs - 1) / inputs);
  }
  [[nodiscard]] __host__ __device__ int blocks_of_outputs() const {
    return (gradient.channels + outputs - 1) / outputs;
  }
  /// Sums of weights of a block, and of all blocks of a share.
  [[nodiscard]] __host__ __device__ long long of_block() const {
    return 2LL * window.kernelHeight * inputs * outputs;
  }
  [[nodiscard]] __host__ __device__ long long weights() const {
    return blocks_of_taps() * blocks_of_outputs() * of_block();
  }
  /// Of one share: weights, then biases.
  [[nodiscard]] __host__ __device__ long long sums() const {
    return weights() + (biased ? gradient.channels : 0);
  }
};

class WarpgroupWeightGradient {
 public:
  /// None where the device, or the geometry, is not one that the kernels serve.
  static std::optional<WarpgroupWeightGradient> of(const WeightGradientProblem& problem,
                                                   const Engine& engine);
  [[nodiscard]] std::size_t scratch_bytes() const;
  void operator()(const Args& args, const WeightGradientPointers& pointers, bool accumulate) const;

 private:
  WarpgroupWeightTask task_;
  bool pooled_ = false;
};

}  // namespace cermet::cuda
