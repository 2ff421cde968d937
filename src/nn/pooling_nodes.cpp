#include "cermet/nn/pooling_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

using detail::GraphFilter;

CNNPoolingNode::CNNPoolingNode(NNImageNodePtr source, std::size_t kernelWidth,
                               std::size_t kernelHeight, std::size_t strideInPixelsX,
                               std::size_t strideInPixelsY)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()),
      kernel_width_(kernelWidth),
      kernel_height_(kernelHeight),
      stride_x_(strideInPixelsX),
      stride_y_(strideInPixelsY) {}

CNNPoolingGradientNode::CNNPoolingGradientNode(
    NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage, NNStateNodePtr gradientState,
    std::size_t kernelWidth, std::size_t kernelHeight, std::size_t strideInPixelsX,
    std::size_t strideInPixelsY, std::shared_ptr<NNPadding> paddingPolicy)
    : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                           {std::move(gradientState)}),
      kernel_width_(kernelWidth),
      kernel_height_(kernelHeight),
      stride_x_(strideInPixelsX),
      stride_y_(strideInPixelsY) {
  setPaddingPolicy(std::move(paddingPolicy));
}

namespace {

template <class K>
std::unique_ptr<GraphFilter> forward(const CNNPoolingNode& node, const detail::GraphBuild& build) {
  K kernel(build.device, node.kernelWidth(), node.kernelHeight(), node.strideInPixelsX(),
           node.strideInPixelsY());
  kernel.setEdgeMode(ImageEdgeMode::Clamp);
  return detail::unary_filter(std::move(kernel), node);
}
template <class K>
std::unique_ptr<GraphFilter> backward(const CNNPoolingGradientNode& node,
                                      const detail::GraphBuild& build) {
  return detail::gradient_filter(K(build.device, node.kernelWidth(), node.kernelHeight(),
                                   node.strideInPixelsX(), node.strideInPixelsY()),
                                 node);
}
template <class Node>
std::shared_ptr<Node> gradient_of(CNNPoolingNode& node, const NNImageNodePtr& gradient) {
  return std::make_shared<Node>(gradient, node.sources()[0], node.resultState(), node.kernelWidth(),
                                node.kernelHeight(), node.strideInPixelsX(),
                                node.strideInPixelsY());
}

}  // namespace

std::unique_ptr<GraphFilter> CNNPoolingMaxNode::instantiate(const detail::GraphBuild& build) const {
  return forward<CNNPoolingMax>(*this, build);
}
NNFilterNode::Gradients CNNPoolingMaxNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{gradient_of<CNNPoolingMaxGradientNode>(*this, gradient)}, {0}};
}
std::unique_ptr<GraphFilter> CNNPoolingMaxGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return backward<CNNPoolingMaxGradient>(*this, build);
}
std::unique_ptr<GraphFilter> CNNPoolingAverageNode::instantiate(
    const detail::GraphBuild& build) const {
  return forward<CNNPoolingAverage>(*this, build);
}
NNFilterNode::Gradients CNNPoolingAverageNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{gradient_of<CNNPoolingAverageGradientNode>(*this, gradient)}, {0}};
}
std::unique_ptr<GraphFilter> CNNPoolingAverageGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return backward<CNNPoolingAverageGradient>(*this, build);
}

}  // namespace cermet
