#pragma once
// Nodes of the convolution family (spec: graph 8.1).

#include <memory>

#include "cermet/cnn/convolution.h"
#include "cermet/nn/node.h"

namespace cermet {

/// A convolution. A data source that is trained may carry no fused neuron and no folded
/// normalisation.
class CNNConvolutionNode : public NNFilterNode, public NNTrainableNode {
 public:
  CNNConvolutionNode(NNImageNodePtr source, std::shared_ptr<CNNConvolutionDataSource> weights);
  [[nodiscard]] static std::shared_ptr<CNNConvolutionNode> node(
      NNImageNodePtr source, std::shared_ptr<CNNConvolutionDataSource> weights);
  [[nodiscard]] std::string_view class_name() const override { return "CNNConvolutionNode"; }
  [[nodiscard]] NNConvolutionAccumulatorPrecisionOption accumulatorPrecision() const {
    return accumulator_;
  }
  void setAccumulatorPrecision(NNConvolutionAccumulatorPrecisionOption option) {
    accumulator_ = option;
  }
  [[nodiscard]] std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState();
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
  [[nodiscard]] const std::shared_ptr<CNNConvolutionDataSource>& weights() const {
    return weights_;
  }

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;

 private:
  std::shared_ptr<CNNConvolutionDataSource> weights_;
  NNConvolutionAccumulatorPrecisionOption accumulator_ =
      NNConvolutionAccumulatorPrecisionOption::Float;
};

class CNNFullyConnectedNode final : public CNNConvolutionNode {
 public:
  using CNNConvolutionNode::CNNConvolutionNode;
  [[nodiscard]] static std::shared_ptr<CNNFullyConnectedNode> node(
      NNImageNodePtr source, std::shared_ptr<CNNConvolutionDataSource> weights);
  [[nodiscard]] std::string_view class_name() const override { return "CNNFullyConnectedNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

/// The gradient of a convolution, and the place where its parameters are updated. `weights` null:
/// the forward node's data source.
class CNNConvolutionGradientNode : public NNGradientFilterNode, public NNTrainableNode {
 public:
  CNNConvolutionGradientNode(
      NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
      std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState,
      std::shared_ptr<CNNConvolutionDataSource> weights);
  [[nodiscard]] static std::shared_ptr<CNNConvolutionGradientNode> node(
      NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
      std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState,
      std::shared_ptr<CNNConvolutionDataSource> weights);
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNConvolutionGradientNode";
  }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  /// The data source to train: the node's own, else the forward node's.
  [[nodiscard]] std::shared_ptr<CNNConvolutionDataSource> trained_source() const;

 private:
  std::shared_ptr<CNNConvolutionDataSource> weights_;
};

class CNNFullyConnectedGradientNode final : public CNNConvolutionGradientNode {
 public:
  using CNNConvolutionGradientNode::CNNConvolutionGradientNode;
  [[nodiscard]] static std::shared_ptr<CNNFullyConnectedGradientNode> node(
      NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
      std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState,
      std::shared_ptr<CNNConvolutionDataSource> weights);
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNFullyConnectedGradientNode";
  }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

}  // namespace cermet
