#pragma once
// Addition and its gradient (spec: graph 8.5).

#include "cermet/cnn/arithmetic.h"
#include "cermet/nn/node.h"

namespace cermet {

/// Base of the two-source nodes: left = primary, right = secondary. Gradients are asked for in the
/// plural: [primary, secondary].
class NNBinaryArithmeticNode : public NNFilterNode {
 public:
  [[nodiscard]] float primaryScale() const { return primary_scale_; }
  void setPrimaryScale(float scale) { primary_scale_ = scale; }
  [[nodiscard]] float secondaryScale() const { return secondary_scale_; }
  void setSecondaryScale(float scale) { secondary_scale_ = scale; }
  [[nodiscard]] float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  [[nodiscard]] std::size_t primaryStrideInPixelsX() const { return primary_stride_.width; }
  void setPrimaryStrideInPixelsX(std::size_t stride) { primary_stride_.width = stride; }
  [[nodiscard]] std::size_t primaryStrideInPixelsY() const { return primary_stride_.height; }
  void setPrimaryStrideInPixelsY(std::size_t stride) { primary_stride_.height = stride; }
  [[nodiscard]] std::size_t primaryStrideInFeatureChannels() const { return primary_stride_.depth; }
  void setPrimaryStrideInFeatureChannels(std::size_t stride) { primary_stride_.depth = stride; }
  [[nodiscard]] std::size_t secondaryStrideInPixelsX() const { return secondary_stride_.width; }
  void setSecondaryStrideInPixelsX(std::size_t stride) { secondary_stride_.width = stride; }
  [[nodiscard]] std::size_t secondaryStrideInPixelsY() const { return secondary_stride_.height; }
  void setSecondaryStrideInPixelsY(std::size_t stride) { secondary_stride_.height = stride; }
  [[nodiscard]] std::size_t secondaryStrideInFeatureChannels() const {
    return secondary_stride_.depth;
  }
  void setSecondaryStrideInFeatureChannels(std::size_t stride) { secondary_stride_.depth = stride; }
  [[nodiscard]] float minimumValue() const { return minimum_; }
  void setMinimumValue(float value) { minimum_ = value; }
  [[nodiscard]] float maximumValue() const { return maximum_; }
  void setMaximumValue(float value) { maximum_ = value; }

 protected:
  explicit NNBinaryArithmeticNode(std::vector<NNImageNodePtr> sources);
  /// Sets the node's properties on its kernel.
  void apply_to(CNNArithmetic& kernel) const;

 private:
  float primary_scale_ = 1, secondary_scale_ = 1, bias_ = 0;
  Size primary_stride_, secondary_stride_;
  float minimum_ = std::numeric_limits<float>::lowest(),
        maximum_ = std::numeric_limits<float>::max();
};

/// The gradient by one operand of an arithmetic node.
class NNArithmeticGradientNode : public NNGradientFilterNode {
 public:
  [[nodiscard]] bool isSecondarySourceFilter() const { return of_secondary_; }
  [[nodiscard]] float primaryScale() const { return primary_scale_; }
  void setPrimaryScale(float scale) { primary_scale_ = scale; }
  [[nodiscard]] float secondaryScale() const { return secondary_scale_; }
  void setSecondaryScale(float scale) { secondary_scale_ = scale; }
  [[nodiscard]] float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  [[nodiscard]] std::size_t secondaryStrideInPixelsX() const { return stride_.width; }
  void setSecondaryStrideInPixelsX(std::size_t stride) { stride_.width = stride; }
  [[nodiscard]] std::size_t secondaryStrideInPixelsY() const { return stride_.height; }
  void setSecondaryStrideInPixelsY(std::size_t stride) { stride_.height = stride; }
  [[nodiscard]] std::size_t secondaryStrideInFeatureChannels() const { return stride_.depth; }
  void setSecondaryStrideInFeatureChannels(std::size_t stride) { stride_.depth = stride; }
  [[nodiscard]] float minimumValue() const { return minimum_; }
  void setMinimumValue(float value) { minimum_ = value; }
  [[nodiscard]] float maximumValue() const { return maximum_; }
  void setMaximumValue(float value) { maximum_ = value; }

 protected:
  NNArithmeticGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                           NNStateNodePtr gradientState, bool isSecondarySourceFilter);
  void apply_to(CNNArithmeticGradient& kernel) const;

 private:
  bool of_secondary_;
  float primary_scale_ = 1, secondary_scale_ = 1, bias_ = 0;
  Size stride_;
  float minimum_ = std::numeric_limits<float>::lowest(),
        maximum_ = std::numeric_limits<float>::max();
};

class NNAdditionGradientNode final : public NNArithmeticGradientNode {
 public:
  NNAdditionGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                         NNStateNodePtr gradientState, bool isSecondarySourceFilter)
      : NNArithmeticGradientNode(std::move(sourceGradient), std::move(sourceImage),
                                 std::move(gradientState), isSecondarySourceFilter) {}
  [[nodiscard]] std::string_view class_name() const override { return "NNAdditionGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

/// primaryScale * left + secondaryScale * right + bias.
class NNAdditionNode final : public NNBinaryArithmeticNode {
 public:
  NNAdditionNode(NNImageNodePtr leftSource, NNImageNodePtr rightSource)
      : NNBinaryArithmeticNode({std::move(leftSource), std::move(rightSource)}) {}
  /// Exactly two sources.
  explicit NNAdditionNode(std::vector<NNImageNodePtr> sources)
      : NNBinaryArithmeticNode(std::move(sources)) {}
  [[nodiscard]] std::string_view class_name() const override { return "NNAdditionNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

}  // namespace cermet
