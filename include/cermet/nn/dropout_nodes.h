#pragma once
// Dropout nodes (spec: graph 8.7).

#include "cermet/cnn/dropout.h"
#include "cermet/nn/node.h"

namespace cermet {

/// Draws a new mask at each encode; leave it out of inference graphs.
class CNNDropoutNode final : public NNFilterNode {
 public:
  explicit CNNDropoutNode(NNImageNodePtr source, float keepProbability = 0.5F, std::size_t seed = 0,
                          Size maskStrideInPixels = {1, 1, 1});
  template <class... Arguments>
  [[nodiscard]] static std::shared_ptr<CNNDropoutNode> node(NNImageNodePtr source,
                                                            Arguments... arguments) {
    return std::make_shared<CNNDropoutNode>(std::move(source), arguments...);
  }
  [[nodiscard]] float keepProbability() const { return keep_; }
  [[nodiscard]] std::size_t seed() const { return seed_; }
  [[nodiscard]] const Size& maskStrideInPixels() const { return stride_; }
  [[nodiscard]] std::string_view class_name() const override { return "CNNDropoutNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;

 private:
  float keep_;
  std::size_t seed_;
  Size stride_;
};

class CNNDropoutGradientNode final : public NNGradientFilterNode {
 public:
  CNNDropoutGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                         NNStateNodePtr gradientState, float keepProbability, std::size_t seed,
                         Size maskStrideInPixels);
  [[nodiscard]] float keepProbability() const { return keep_; }
  [[nodiscard]] std::size_t seed() const { return seed_; }
  [[nodiscard]] const Size& maskStrideInPixels() const { return stride_; }
  [[nodiscard]] std::string_view class_name() const override { return "CNNDropoutGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 private:
  float keep_;
  std::size_t seed_;
  Size stride_;
};

}  // namespace cermet
