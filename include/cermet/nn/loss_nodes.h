#pragma once
// Loss nodes (spec: graph 7, loss 12).

#include "cermet/cnn/loss.h"
#include "cermet/nn/node.h"

namespace cermet {

/// Changes the scalar weight of a loss just before each encode.
class NNLossCallback : public Codable {
 public:
  /// Called once per encode with the first image of each batch.
  [[nodiscard]] virtual float scalarWeight(const Image& sourceImage,
                                           const Image& destinationImage) = 0;
};
using NNLossCallbackPtr = std::shared_ptr<NNLossCallback>;

/// Loss and gradient in one: the result is the gradient by the source; the loss goes into the
/// labels bound to `inputLabels`.
class CNNLossNode final : public NNFilterNode {
 public:
  CNNLossNode(NNImageNodePtr source, const CNNLossDescriptor& lossDescriptor);
  [[nodiscard]] static std::shared_ptr<CNNLossNode> node(NNImageNodePtr source,
                                                         const CNNLossDescriptor& lossDescriptor) {
    return std::make_shared<CNNLossNode>(std::move(source), lossDescriptor);
  }
  /// The graph's input for the labels; set its handle to find it among `sourceStateHandles`.
  [[nodiscard]] const std::shared_ptr<NNLabelsNode>& inputLabels() const { return labels_; }
  [[nodiscard]] std::string_view class_name() const override { return "CNNLossNode"; }
  [[nodiscard]] bool is_loss() const override { return true; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 private:
  CNNLossNode(NNImageNodePtr source, const CNNLossDescriptor& lossDescriptor,
              std::shared_ptr<NNLabelsNode> labels);
  std::shared_ptr<NNLabelsNode> labels_;
  CNNLossDescriptor descriptor_;
};

/// What the forward and gradient loss nodes show of their descriptor.
class LossProperties {
 public:
  [[nodiscard]] CNNLossType lossType() const { return descriptor_.lossType(); }
  [[nodiscard]] CNNReductionType reductionType() const { return descriptor_.reductionType(); }
  [[nodiscard]] std::size_t numberOfClasses() const { return descriptor_.numberOfClasses(); }
  [[nodiscard]] bool reduceAcrossBatch() const { return descriptor_.reduceAcrossBatch(); }
  [[nodiscard]] float weight() const { return descriptor_.weight(); }
  [[nodiscard]] float labelSmoothing() const { return descriptor_.labelSmoothing(); }
  [[nodiscard]] float epsilon() const { return descriptor_.epsilon(); }
  [[nodiscard]] float delta() const { return descriptor_.delta(); }
  [[nodiscard]] const NNLossCallbackPtr& propertyCallBack() const { return callback_; }
  void setPropertyCallBack(NNLossCallbackPtr callback) { callback_ = std::move(callback); }

 protected:
  explicit LossProperties(const CNNLossDescriptor& descriptor) : descriptor_(descriptor) {}
  ~LossProperties() = default;
  CNNLossDescriptor descriptor_;

 private:
  NNLossCallbackPtr callback_;
};

/// The value of the loss; sources are predictions, labels and, optionally, weights.
class NNForwardLossNode final : public NNFilterNode, public LossProperties {
 public:
  NNForwardLossNode(NNImageNodePtr source, NNImageNodePtr labels, NNImageNodePtr weights,
                    const CNNLossDescriptor& lossDescriptor);
  NNForwardLossNode(NNImageNodePtr source, NNImageNodePtr labels,
                    const CNNLossDescriptor& lossDescriptor)
      : NNForwardLossNode(std::move(source), std::move(labels), nullptr, lossDescriptor) {}
  /// `sources`: predictions, labels and, optionally, weights.
  NNForwardLossNode(std::vector<NNImageNodePtr> sources, const CNNLossDescriptor& lossDescriptor);
  template <class... Arguments>
  [[nodiscard]] static std::shared_ptr<NNForwardLossNode> node(Arguments&&... arguments) {
    return std::make_shared<NNForwardLossNode>(std::forward<Arguments>(arguments)...);
  }
  /// The gradient by the predictions alone; `gradientFilters` returns [predictions, labels].
  [[nodiscard]] std::shared_ptr<NNGradientFilterNode> gradientFilter(
      const NNImageNodePtr& gradientImage) override;
  using NNFilterNode::gradientFilter;
  [[nodiscard]] std::string_view class_name() const override { return "NNForwardLossNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

/// The gradient of a loss by its predictions, or by its labels. Sources: gradient, predictions,
/// labels and, optionally, weights.
class NNLossGradientNode final : public NNGradientFilterNode, public LossProperties {
 public:
  /// `weights` and `gradientState` may be null.
  NNLossGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                     NNImageNodePtr labels, NNImageNodePtr weights, NNStateNodePtr gradientState,
                     const CNNLossDescriptor& lossDescriptor, bool isLabelsGradientFilter);
  NNLossGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                     NNImageNodePtr labels, NNStateNodePtr gradientState,
                     const CNNLossDescriptor& lossDescriptor, bool isLabelsGradientFilter)
      : NNLossGradientNode(std::move(sourceGradient), std::move(sourceImage), std::move(labels),
                           nullptr, std::move(gradientState), lossDescriptor,
                           isLabelsGradientFilter) {}
  NNLossGradientNode(std::vector<NNImageNodePtr> sources, NNStateNodePtr gradientState,
                     const CNNLossDescriptor& lossDescriptor, bool isLabelsGradientFilter);
  template <class... Arguments>
  [[nodiscard]] static std::shared_ptr<NNLossGradientNode> node(Arguments&&... arguments) {
    return std::make_shared<NNLossGradientNode>(std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] bool isLabelsGradientFilter() const { return by_labels_; }
  [[nodiscard]] std::string_view class_name() const override { return "NNLossGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 private:
  bool by_labels_;
};

/// An image of ones of the source's size: the seed of back-propagation.
class NNInitialGradientNode final : public NNFilterNode {
 public:
  explicit NNInitialGradientNode(NNImageNodePtr source);
  [[nodiscard]] static std::shared_ptr<NNInitialGradientNode> node(NNImageNodePtr source) {
    return std::make_shared<NNInitialGradientNode>(std::move(source));
  }
  [[nodiscard]] std::string_view class_name() const override { return "NNInitialGradientNode"; }
  [[nodiscard]] bool is_loss() const override { return true; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

}  // namespace cermet
