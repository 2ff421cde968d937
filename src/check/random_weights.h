#pragma once
// Data sources of checks.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cermet/cnn/convolution.h"
#include "check/random_values.h"

namespace cermet::detail {

inline std::vector<float> random_values(std::size_t count, std::uint64_t seed, double low,
                                        double high) {
  std::vector<float> values(count);
  RandomValues random(seed);
  for (float& value : values) value = random.uniform(low, high);
  return values;
}

class RandomWeights final : public CNNConvolutionDataSource {
 public:
  RandomWeights(std::shared_ptr<const CNNConvolutionDescriptor> descriptor, std::size_t weights,
                bool has_biases, std::uint64_t seed)
      : descriptor_(std::move(descriptor)), weights_(random_values(weights, seed, -1, 1)) {
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
  std::shared_ptr<const CNNConvolutionDescriptor> descriptor_;
  std::vector<float> weights_, biases_;
};

}  // namespace cermet::detail
