#include "cermet/nn/arithmetic_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

using detail::GraphFilter;

NNBinaryArithmeticNode::NNBinaryArithmeticNode(std::vector<NNImageNodePtr> sources)
    : NNFilterNode(std::move(sources), {}, std::make_shared<NNArithmeticGradientStateNode>()) {
  if (this->sources().size() != 2) {
    fail({"NNBinaryArithmeticNode", "", "sources",
          std::to_string(this->sources().size()) + " image nodes", "exactly two", ""});
  }
}

void NNBinaryArithmeticNode::apply_to(CNNArithmetic& kernel) const {
  kernel.setPrimaryScale(primary_scale_);
  kernel.setSecondaryScale(secondary_scale_);
  kernel.setBias(bias_);
  kernel.setPrimaryStrideInPixelsX(primary_stride_.width);
  kernel.setPrimaryStrideInPixelsY(primary_stride_.height);
  kernel.setPrimaryStrideInFeatureChannels(primary_stride_.depth);
  kernel.setSecondaryStrideInPixelsX(secondary_stride_.width);
  kernel.setSecondaryStrideInPixelsY(secondary_stride_.height);
  kernel.setSecondaryStrideInFeatureChannels(secondary_stride_.depth);
  kernel.setMinimumValue(minimum_);
  kernel.setMaximumValue(maximum_);
}

NNArithmeticGradientNode::NNArithmeticGradientNode(NNImageNodePtr sourceGradient,
                                                   NNImageNodePtr sourceImage,
                                                   NNStateNodePtr gradientState,
                                                   bool isSecondarySourceFilter)
    : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                           {std::move(gradientState)}),
      of_secondary_(isSecondarySourceFilter) {}

void NNArithmeticGradientNode::apply_to(CNNArithmeticGradient& kernel) const {
  kernel.setPrimaryScale(primary_scale_);
  kernel.setSecondaryScale(secondary_scale_);
  kernel.setBias(bias_);
  kernel.setSecondaryStrideInPixelsX(stride_.width);
  kernel.setSecondaryStrideInPixelsY(stride_.height);
  kernel.setSecondaryStrideInFeatureChannels(stride_.depth);
  kernel.setMinimumValue(minimum_);
  kernel.setMaximumValue(maximum_);
}

namespace {

class ArithmeticFilter final : public GraphFilter {
 public:
  ArithmeticFilter(CNNAdd kernel, const NNFilterNode& node) : kernel_(std::move(kernel)) {
    detail::set_up(kernel_, node);
  }
  [[nodiscard]] CNNAdd& kernel() override { return kernel_; }
  [[nodiscard]] Result encode(const Run& run) override {
    const Image sources[] = {run.sources[0].front(), run.sources[1].front()};
    Result result;
    result.images = detail::make_result(kernel_, run, sources, {});
    if (!run.wants_state) {
      kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1], result.images);
      return result;
    }
    result.states =
        run.state_is_temporary
            ? kernel_.temporaryResultStateBatch(run.commands, run.sources[0], run.sources[1], {},
                                                result.images)
            : kernel_.resultStateBatch(run.sources[0], run.sources[1], {}, result.images);
    kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1], result.states, result.images);
    return result;
  }

 private:
  CNNAdd kernel_;
};

}  // namespace

std::unique_ptr<GraphFilter> NNAdditionNode::instantiate(const detail::GraphBuild& build) const {
  CNNAdd kernel(build.device);
  apply_to(kernel);
  return std::make_unique<ArithmeticFilter>(std::move(kernel), *this);
}

NNFilterNode::Gradients NNAdditionNode::make_gradients(const NNImageNodePtr& gradient) {
  Gradients made;
  for (const bool second : {false, true}) {
    auto node = std::make_shared<NNAdditionGradientNode>(gradient, sources()[second ? 1 : 0],
                                                         resultState(), second);
    node->setPrimaryScale(second ? secondaryScale() : primaryScale());
    made.nodes.push_back(std::move(node));
    made.sources.push_back(second ? 1 : 0);
  }
  return made;
}

std::unique_ptr<GraphFilter> NNAdditionGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  CNNAddGradient kernel(build.device, isSecondarySourceFilter());
  apply_to(kernel);
  return detail::gradient_filter(std::move(kernel), *this);
}

}  // namespace cermet
