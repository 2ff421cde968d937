#include "cermet/nn/loss_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

using detail::GraphFilter;

namespace {

std::vector<NNImageNodePtr> with_optional(std::vector<NNImageNodePtr> sources,
                                          NNImageNodePtr last) {
  if (last) sources.push_back(std::move(last));
  return sources;
}
std::vector<NNStateNodePtr> state_list(NNStateNodePtr state) {
  return state ? std::vector<NNStateNodePtr>{std::move(state)} : std::vector<NNStateNodePtr>{};
}

class FusedLossFilter final : public GraphFilter {
 public:
  FusedLossFilter(CNNLoss kernel, const NNFilterNode& node) : kernel_(std::move(kernel)) {
    detail::set_up(kernel_, node);
  }
  [[nodiscard]] CNNLoss& kernel() override { return kernel_; }
  [[nodiscard]] Result encode(const Run& run) override {
    const Image first = run.sources[0].front();
    CNNLossLabelsBatch labels;
    for (std::size_t i = 0; i < run.states[0].size(); ++i) {
      labels.push_back(run.states[0].at<CNNLossLabels>(i));
      if (!labels.back()) {
        fail({"CNNLossNode", kernel_.label(), "the labels' state", "of another kind",
              "one CNNLossLabels for each image", ""});
      }
    }
    // Where nobody needs the gradient the loss is still wanted: the result is then made and
    // dropped.
    ImageDescriptor descriptor = kernel_.plan({&first, 1}, {}, run.format);
    Result result;
    auto allocator = run.allocator != nullptr ? nullptr : TemporaryImage::defaultAllocator();
    result.images = (allocator ? allocator.get() : run.allocator)
                        ->imageBatch(run.commands, descriptor, kernel_, labels.size());
    kernel_.encodeBatch(run.commands, run.sources[0], labels, result.images);
    if (allocator) ImageBatchIncrementReadCount(result.images, -1);
    return result;
  }

 private:
  CNNLoss kernel_;
};

class ForwardLossFilter final : public GraphFilter {
 public:
  ForwardLossFilter(NNForwardLoss kernel, const NNFilterNode& node, NNLossCallbackPtr callback)
      : kernel_(std::move(kernel)), callback_(std::move(callback)) {
    detail::set_up(kernel_, node);
  }
  [[nodiscard]] NNForwardLoss& kernel() override { return kernel_; }
  [[nodiscard]] bool can_replay() const override { return callback_ == nullptr; }
  [[nodiscard]] Result encode(const Run& run) override {
    const Image first = run.sources[0].front();
    Result result;
    result.images = detail::make_result(kernel_, run, {&first, 1}, {});
    if (callback_) kernel_.setWeight(callback_->scalarWeight(first, result.images.front()));
    if (run.wants_state) {
      result.states =
          run.state_is_temporary
              ? kernel_.temporaryResultStateBatch(run.commands, run.sources[0], {}, result.images)
              : kernel_.resultStateBatch(run.sources[0], {}, result.images);
    }
    kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1],
                        run.sources.size() > 2 ? run.sources[2] : ImageBatch(), result.states,
                        result.images);
    return result;
  }

 private:
  NNForwardLoss kernel_;
  NNLossCallbackPtr callback_;
};

class LossGradientFilter final : public GraphFilter {
 public:
  LossGradientFilter(NNLossGradient kernel, const NNFilterNode& node, NNLossCallbackPtr callback)
      : kernel_(std::move(kernel)), callback_(std::move(callback)) {
    detail::set_up(kernel_, node);
  }
  [[nodiscard]] NNLossGradient& kernel() override { return kernel_; }
  [[nodiscard]] bool can_replay() const override { return callback_ == nullptr; }
  [[nodiscard]] Result encode(const Run& run) override {
    const ImageBatch& like = kernel_.computeLabelGradients() ? run.sources[2] : run.sources[1];
    const Image sources[] = {run.sources[0].front(), like.front()};
    ImageDescriptor descriptor = kernel_.plan(sources, {}, run.format);
    descriptor.width = sources[1].width();
    descriptor.height = sources[1].height();
    descriptor.featureChannels = sources[1].featureChannels();
    kernel_.setPrimaryOffset({});
    kernel_.setSecondaryOffset({});
    Result result;
    result.images =
        run.allocator->imageBatch(run.commands, descriptor, kernel_, run.sources[0].size());
    const ImageBatch weights = run.sources.size() > 3 ? run.sources[3] : ImageBatch();
    const StateBatch states = run.states.empty() ? StateBatch() : run.states[0];
    if (callback_) {
      kernel_.set_weight_override(
          callback_->scalarWeight(run.sources[1].front(), result.images.front()));
    }
    kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1], run.sources[2], weights,
                        states, result.images);
    return result;
  }

 private:
  NNLossGradient kernel_;
  NNLossCallbackPtr callback_;
};

}  // namespace

CNNLossNode::CNNLossNode(NNImageNodePtr source, const CNNLossDescriptor& lossDescriptor)
    : CNNLossNode(std::move(source), lossDescriptor, std::make_shared<NNLabelsNode>()) {}
CNNLossNode::CNNLossNode(NNImageNodePtr source, const CNNLossDescriptor& lossDescriptor,
                         std::shared_ptr<NNLabelsNode> labels)
    : NNFilterNode({std::move(source)}, {labels}),
      labels_(std::move(labels)),
      descriptor_(lossDescriptor) {}
std::unique_ptr<GraphFilter> CNNLossNode::instantiate(const detail::GraphBuild& build) const {
  return std::make_unique<FusedLossFilter>(CNNLoss(build.device, descriptor_), *this);
}

NNForwardLossNode::NNForwardLossNode(NNImageNodePtr source, NNImageNodePtr labels,
                                     NNImageNodePtr weights,
                                     const CNNLossDescriptor& lossDescriptor)
    : NNForwardLossNode(with_optional({std::move(source), std::move(labels)}, std::move(weights)),
                        lossDescriptor) {}
NNForwardLossNode::NNForwardLossNode(std::vector<NNImageNodePtr> sources,
                                     const CNNLossDescriptor& lossDescriptor)
    : NNFilterNode(std::move(sources), {}, std::make_shared<NNGradientStateNode>()),
      LossProperties(lossDescriptor) {
  if (this->sources().size() < 2 || this->sources().size() > 3) {
    complain("sources", std::to_string(this->sources().size()) + " image nodes",
             "predictions, labels and, optionally, weights");
  }
}
std::unique_ptr<GraphFilter> NNForwardLossNode::instantiate(const detail::GraphBuild& build) const {
  return std::make_unique<ForwardLossFilter>(NNForwardLoss(build.device, descriptor_), *this,
                                             propertyCallBack());
}
NNFilterNode::Gradients NNForwardLossNode::make_gradients(const NNImageNodePtr& gradient) {
  const NNImageNodePtr weights = sources().size() > 2 ? sources()[2] : nullptr;
  const auto by = [&](bool labels) {
    return std::make_shared<NNLossGradientNode>(gradient, sources()[0], sources()[1], weights,
                                                resultState(), descriptor_, labels);
  };
  return {{by(false), by(true)}, {0, 1}};
}
std::shared_ptr<NNGradientFilterNode> NNForwardLossNode::gradientFilter(
    const NNImageNodePtr& gradientImage) {
  return make_gradients(gradientImage).nodes[0];
}

NNLossGradientNode::NNLossGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                                       NNImageNodePtr labels, NNImageNodePtr weights,
                                       NNStateNodePtr gradientState,
                                       const CNNLossDescriptor& lossDescriptor,
                                       bool isLabelsGradientFilter)
    : NNLossGradientNode(
          with_optional({std::move(sourceGradient), std::move(sourceImage), std::move(labels)},
                        std::move(weights)),
          std::move(gradientState), lossDescriptor, isLabelsGradientFilter) {}
NNLossGradientNode::NNLossGradientNode(std::vector<NNImageNodePtr> sources,
                                       NNStateNodePtr gradientState,
                                       const CNNLossDescriptor& lossDescriptor,
                                       bool isLabelsGradientFilter)
    : NNGradientFilterNode(std::move(sources), state_list(std::move(gradientState))),
      LossProperties(lossDescriptor),
      by_labels_(isLabelsGradientFilter) {
  if (this->sources().size() < 3 || this->sources().size() > 4) {
    complain("sources", std::to_string(this->sources().size()) + " image nodes",
             "gradient, predictions, labels and, optionally, weights");
  }
}
std::unique_ptr<GraphFilter> NNLossGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  NNLossGradient kernel(build.device, descriptor_);
  kernel.setComputeLabelGradients(by_labels_);
  return std::make_unique<LossGradientFilter>(std::move(kernel), *this, propertyCallBack());
}

NNInitialGradientNode::NNInitialGradientNode(NNImageNodePtr source)
    : NNFilterNode({std::move(source)}) {}
std::unique_ptr<GraphFilter> NNInitialGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::unary_filter(NNInitialGradient(build.device), *this);
}

}  // namespace cermet
