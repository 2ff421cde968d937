#include "cermet/nn/softmax_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

CNNSoftMaxNode::CNNSoftMaxNode(NNImageNodePtr source)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()) {}
CNNLogSoftMaxNode::CNNLogSoftMaxNode(NNImageNodePtr source)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()) {}

std::unique_ptr<detail::GraphFilter> CNNSoftMaxNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::unary_filter(CNNSoftMax(build.device), *this);
}
std::unique_ptr<detail::GraphFilter> CNNLogSoftMaxNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::unary_filter(CNNLogSoftMax(build.device), *this);
}
std::unique_ptr<detail::GraphFilter> CNNSoftMaxGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::gradient_filter(CNNSoftMaxGradient(build.device), *this);
}
std::unique_ptr<detail::GraphFilter> CNNLogSoftMaxGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::gradient_filter(CNNLogSoftMaxGradient(build.device), *this);
}
NNFilterNode::Gradients CNNSoftMaxNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{std::make_shared<CNNSoftMaxGradientNode>(gradient, resultImage(), resultState())}, {0}};
}
NNFilterNode::Gradients CNNLogSoftMaxNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{std::make_shared<CNNLogSoftMaxGradientNode>(gradient, resultImage(), resultState())},
          {0}};
}

}  // namespace cermet
