#include "cermet/nn/dropout_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

CNNDropoutNode::CNNDropoutNode(NNImageNodePtr source, float keepProbability, std::size_t seed,
                               Size maskStrideInPixels)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()),
      keep_(keepProbability),
      seed_(seed),
      stride_(maskStrideInPixels) {}
std::unique_ptr<detail::GraphFilter> CNNDropoutNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::unary_filter(CNNDropout(build.device, keep_, seed_, stride_), *this);
}
NNFilterNode::Gradients CNNDropoutNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{std::make_shared<CNNDropoutGradientNode>(gradient, sources()[0], resultState(), keep_,
                                                    seed_, stride_)},
          {0}};
}

CNNDropoutGradientNode::CNNDropoutGradientNode(NNImageNodePtr sourceGradient,
                                               NNImageNodePtr sourceImage,
                                               NNStateNodePtr gradientState, float keepProbability,
                                               std::size_t seed, Size maskStrideInPixels)
    : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                           {std::move(gradientState)}),
      keep_(keepProbability),
      seed_(seed),
      stride_(maskStrideInPixels) {}
std::unique_ptr<detail::GraphFilter> CNNDropoutGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::gradient_filter(CNNDropoutGradient(build.device, keep_, seed_, stride_), *this);
}

}  // namespace cermet
