#pragma once
// Scale, shift and statistics of normalising kernels, float32 with an entry for each feature
// channel, and the state that brings new ones.

#include <array>
#include <memory>
#include <string_view>

#include "cermet/core/state.h"

namespace cermet {

/// Scale and bias as float32 buffers with one entry for each feature channel, or more.
class CNNNormalizationGammaAndBetaState final : public State {
 public:
  CNNNormalizationGammaAndBetaState(Buffer gamma, Buffer beta);
  /// Undefined until written.
  [[nodiscard]] static std::shared_ptr<CNNNormalizationGammaAndBetaState> temporaryState(
      const CommandBuffer& commandBuffer, std::size_t numberOfFeatureChannels);
  CNNNormalizationGammaAndBetaState(const detail::StateOrigin& origin,
                                    std::size_t numberOfFeatureChannels);

  [[nodiscard]] Buffer gamma() { return buffer(0); }
  [[nodiscard]] Buffer beta() { return buffer(1); }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNNormalizationGammaAndBetaState";
  }
};

/// Mean and variance as float32 buffers with one entry for each feature channel, or more.
class CNNNormalizationMeanAndVarianceState final : public State {
 public:
  CNNNormalizationMeanAndVarianceState(Buffer mean, Buffer variance);
  /// Undefined until written.
  [[nodiscard]] static std::shared_ptr<CNNNormalizationMeanAndVarianceState> temporaryState(
      const CommandBuffer& commandBuffer, std::size_t numberOfFeatureChannels);
  CNNNormalizationMeanAndVarianceState(const detail::StateOrigin& origin,
                                       std::size_t numberOfFeatureChannels);

  [[nodiscard]] Buffer mean() { return buffer(0); }
  [[nodiscard]] Buffer variance() { return buffer(1); }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNNormalizationMeanAndVarianceState";
  }
};

namespace detail {

/// Arrays that a kernel multiplies with, shared by its copies until one of them reloads. Steps in
/// a command buffer use the addresses they were recorded with: a host reload makes new buffers, a
/// device reload writes into these.
template <std::size_t N>
class ChannelArrays {
 public:
  using Values = std::array<Buffer, N>;
  [[nodiscard]] const Values& values() const { return *values_; }
  [[nodiscard]] const Buffer& operator[](std::size_t index) const { return (*values_)[index]; }
  void assign(Values values) { values_ = std::make_shared<Values>(std::move(values)); }
  [[nodiscard]] bool is_shared() const { return values_.use_count() > 1; }

 private:
  std::shared_ptr<Values> values_ = std::make_shared<Values>();
};

}  // namespace detail
}  // namespace cermet
