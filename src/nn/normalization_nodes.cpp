#include "cermet/nn/normalization_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

CNNNormalizationNode::CNNNormalizationNode(NNImageNodePtr source)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()) {}

namespace {
template <class K, class Node>
K with_parameters(K kernel, const Node& node) {
  kernel.setAlpha(node.alpha());
  kernel.setBeta(node.beta());
  kernel.setDelta(node.delta());
  return kernel;
}
}  // namespace

std::unique_ptr<detail::GraphFilter> CNNSpatialNormalizationNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::unary_filter(
      with_parameters(CNNSpatialNormalization(build.device, kernel_width_, kernel_height_), *this),
      *this);
}
NNFilterNode::Gradients CNNSpatialNormalizationNode::make_gradients(
    const NNImageNodePtr& gradient) {
  auto node = std::make_shared<CNNSpatialNormalizationGradientNode>(gradient, sources()[0],
                                                                    resultState(), kernel_width_);
  node->setKernelHeight(kernel_height_);
  node->setAlpha(alpha());
  node->setBeta(beta());
  node->setDelta(delta());
  return {{node}, {0}};
}
std::unique_ptr<detail::GraphFilter> CNNSpatialNormalizationGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::gradient_filter(
      with_parameters(CNNSpatialNormalizationGradient(build.device, kernel_width_, kernel_height_),
                      *this),
      *this);
}

}  // namespace cermet
