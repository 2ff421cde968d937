#include "cermet/nn/neuron_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

CNNNeuronNode::CNNNeuronNode(NNImageNodePtr source, NNNeuronDescriptor descriptor)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()),
      descriptor_(std::move(descriptor)) {}

std::shared_ptr<CNNNeuronNode> CNNNeuronNode::node(NNImageNodePtr source,
                                                   const NNNeuronDescriptor& d) {
  const float a = d.a(), b = d.b(), c = d.c();
  switch (d.neuronType()) {
    case CNNNeuronType::ReLU:
      return std::make_shared<CNNNeuronReLUNode>(std::move(source), a);
    case CNNNeuronType::Linear:
      return std::make_shared<CNNNeuronLinearNode>(std::move(source), a, b);
    case CNNNeuronType::Sigmoid:
      return std::make_shared<CNNNeuronSigmoidNode>(std::move(source));
    case CNNNeuronType::HardSigmoid:
      return std::make_shared<CNNNeuronHardSigmoidNode>(std::move(source), a, b);
    case CNNNeuronType::TanH:
      return std::make_shared<CNNNeuronTanHNode>(std::move(source), a, b);
    case CNNNeuronType::Absolute:
      return std::make_shared<CNNNeuronAbsoluteNode>(std::move(source));
    case CNNNeuronType::SoftPlus:
      return std::make_shared<CNNNeuronSoftPlusNode>(std::move(source), a, b);
    case CNNNeuronType::SoftSign:
      return std::make_shared<CNNNeuronSoftSignNode>(std::move(source));
    case CNNNeuronType::ELU:
      return std::make_shared<CNNNeuronELUNode>(std::move(source), a);
    case CNNNeuronType::PReLU:
      return std::make_shared<CNNNeuronPReLUNode>(std::move(source), d.data());
    case CNNNeuronType::ReLUN:
      return std::make_shared<CNNNeuronReLUNNode>(std::move(source), a, b);
    case CNNNeuronType::Power:
      return std::make_shared<CNNNeuronPowerNode>(std::move(source), a, b, c);
    case CNNNeuronType::Exponential:
      return std::make_shared<CNNNeuronExponentialNode>(std::move(source), a, b, c);
    case CNNNeuronType::Logarithm:
      return std::make_shared<CNNNeuronLogarithmNode>(std::move(source), a, b, c);
    case CNNNeuronType::GeLU:
      return std::make_shared<CNNNeuronGeLUNode>(std::move(source));
    case CNNNeuronType::None:
    case CNNNeuronType::Count:
      break;
  }
  fail({"CNNNeuronNode", "", "descriptor", "of type None", "a neuron function",
        "Leave the node out."});
}

std::unique_ptr<detail::GraphFilter> CNNNeuronNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::unary_filter(CNNNeuron(build.device, descriptor_), *this);
}
NNFilterNode::Gradients CNNNeuronNode::make_gradients(const NNImageNodePtr& gradient) {
  return {
      {std::make_shared<CNNNeuronGradientNode>(gradient, sources()[0], resultState(), descriptor_)},
      {0}};
}

CNNNeuronGradientNode::CNNNeuronGradientNode(NNImageNodePtr sourceGradient,
                                             NNImageNodePtr sourceImage,
                                             NNStateNodePtr gradientState,
                                             NNNeuronDescriptor descriptor)
    : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                           {std::move(gradientState)}),
      descriptor_(std::move(descriptor)) {}
std::unique_ptr<detail::GraphFilter> CNNNeuronGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return detail::gradient_filter(CNNNeuronGradient(build.device, descriptor_), *this);
}

}  // namespace cermet
