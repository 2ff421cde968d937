#pragma once
// Batch normalisation nodes (spec: graph 6.3, 8.4).

#include "cermet/cnn/batch_normalization.h"
#include "cermet/nn/node.h"

namespace cermet {

/// Uses the statistics of the batch in a graph that consumes its result state (a training graph),
/// and the data source's otherwise; `flags` force one or the other.
class CNNBatchNormalizationNode final : public NNFilterNode, public NNTrainableNode {
 public:
  CNNBatchNormalizationNode(NNImageNodePtr source,
                            std::shared_ptr<CNNBatchNormalizationDataSource> dataSource);
  [[nodiscard]] static std::shared_ptr<CNNBatchNormalizationNode> node(
      NNImageNodePtr source, std::shared_ptr<CNNBatchNormalizationDataSource> dataSource) {
    return std::make_shared<CNNBatchNormalizationNode>(std::move(source), std::move(dataSource));
  }
  [[nodiscard]] CNNBatchNormalizationFlags flags() const { return flags_; }
  void setFlags(CNNBatchNormalizationFlags flags) { flags_ = flags; }
  [[nodiscard]] std::string_view class_name() const override { return "CNNBatchNormalizationNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
  [[nodiscard]] const std::shared_ptr<CNNBatchNormalizationDataSource>& data_source() const {
    return source_;
  }

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;

 private:
  std::shared_ptr<CNNBatchNormalizationDataSource> source_;
  CNNBatchNormalizationFlags flags_ = CNNBatchNormalizationFlags::Default;
};

/// The gradients of a batch normalisation, and the place where its parameters are updated:
/// mean and variance first, then gamma and beta.
class CNNBatchNormalizationGradientNode final : public NNGradientFilterNode,
                                                public NNTrainableNode {
 public:
  CNNBatchNormalizationGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                                    NNStateNodePtr gradientState)
      : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                             {std::move(gradientState)}) {}
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNBatchNormalizationGradientNode";
  }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

}  // namespace cermet
