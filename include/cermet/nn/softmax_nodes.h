#pragma once
// Soft-max nodes. Their gradients take the forward result (spec: graph 3.2).

#include "cermet/cnn/softmax.h"
#include "cermet/nn/node.h"

namespace cermet {

class CNNSoftMaxNode final : public NNFilterNode {
 public:
  explicit CNNSoftMaxNode(NNImageNodePtr source);
  [[nodiscard]] static std::shared_ptr<CNNSoftMaxNode> node(NNImageNodePtr source) {
    return std::make_shared<CNNSoftMaxNode>(std::move(source));
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNSoftMaxNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

class CNNLogSoftMaxNode final : public NNFilterNode {
 public:
  explicit CNNLogSoftMaxNode(NNImageNodePtr source);
  [[nodiscard]] static std::shared_ptr<CNNLogSoftMaxNode> node(NNImageNodePtr source) {
    return std::make_shared<CNNLogSoftMaxNode>(std::move(source));
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNLogSoftMaxNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

/// `sourceImage` is the forward result.
class CNNSoftMaxGradientNode final : public NNGradientFilterNode {
 public:
  CNNSoftMaxGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                         NNStateNodePtr gradientState)
      : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                             {std::move(gradientState)}) {}
  [[nodiscard]] std::string_view class_name() const override { return "CNNSoftMaxGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

/// `sourceImage` is the forward result.
class CNNLogSoftMaxGradientNode final : public NNGradientFilterNode {
 public:
  CNNLogSoftMaxGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                            NNStateNodePtr gradientState)
      : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                             {std::move(gradientState)}) {}
  [[nodiscard]] std::string_view class_name() const override { return "CNNLogSoftMaxGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

}  // namespace cermet
