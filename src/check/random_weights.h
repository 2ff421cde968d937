#pragma once
// Data sources of checks.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cermet/cnn/convolution.h"
#include "cermet/core/error.h"
#include "check/random_values.h"

namespace cermet::detail {

class RandomWeights final : public CNNConvolutionDataSource {
 public:
  RandomWeights(std::shared_ptr<const CNNConvolutionDescriptor> descriptor, std::size_t weights,
                bool has_biases, std::uint64_t seed)
      : descriptor_(std::move(descriptor)),
        weights_(random_values(checked_count(weights), seed, -1, 1)) {
    if (has_biases) biases_ = random_values(descriptor_->outputFeatureChannels(), seed + 1, -1, 1);
  }
  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return weights_.data(); }
  [[nodiscard]] const float* biasTerms() override {
    return biases_.empty() ? nullptr : biases_.data();
  }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "random weights"; }

 private:
  /// Each factor is at most 2^20, their product need not be.
  static std::size_t checked_count(std::size_t weights) {
    constexpr std::size_t most = std::size_t{1} << 28;
    if (weights > most) {
      fail({"check", "", "weights", std::to_string(weights), "at most " + std::to_string(most),
            "Make the kernel smaller."});
    }
    return weights;
  }
  std::shared_ptr<const CNNConvolutionDescriptor> descriptor_;
  std::vector<float> weights_, biases_;
};

}  // namespace cermet::detail
