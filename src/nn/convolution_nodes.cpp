#include "cermet/nn/convolution_nodes.h"

#include "cnn/convolution_weights.h"
#include "nn/graph_filter.h"

namespace cermet {
namespace {

using detail::GraphFilter;

template <class K>
class ForwardFilter final : public detail::UnaryFilter<K> {
 public:
  using detail::UnaryFilter<K>::UnaryFilter;
  void reload_from_data_source() override { this->kernel().reloadWeightsAndBiasesFromDataSource(); }
};

/// The gradient kernel and the update of the layer: both kernels share one set of parameters, so
/// that an update is one copy and one refresh.
template <class K>
class ConvolutionGradientFilter final : public GraphFilter {
 public:
  ConvolutionGradientFilter(K kernel, const NNFilterNode& node, NNTrainingStyle style,
                            std::shared_ptr<CNNConvolutionDataSource> source,
                            std::shared_ptr<CNNConvolution> forward, bool data_needed)
      : kernel_(std::move(kernel)),
        style_(style),
        source_(std::move(source)),
        forward_(std::move(forward)) {
    detail::set_up(kernel_, node);
    const bool learns = style != NNTrainingStyle::UpdateDeviceNone;
    kernel_.setGradientOption(!data_needed
                                  ? CNNConvolutionGradientOption::GradientWithWeightsAndBias
                              : learns ? CNNConvolutionGradientOption::All
                                       : CNNConvolutionGradientOption::GradientWithData);
    share();
  }
  [[nodiscard]] K& kernel() override { return kernel_; }

  [[nodiscard]] Result encode(const Run& run) override {
    const Image sources[] = {run.sources[0].front(), run.sources[1].front()};
    Result result;
    if (run.result_needed) {
      result.images = detail::make_result(kernel_, run, sources, {&run.states[0][0], 1});
      gradient_encode(run, result.images);
    } else {
      static_cast<void>(kernel_.destinationImageDescriptor(sources, {&run.states[0][0], 1}));
      gradient_encode(run, run.sources[1]);  // the destination is not written
    }
    if (has(NNTrainingStyle::UpdateDeviceCPU))
      state_ = run.states[0].template at<CNNConvolutionGradientState>(0);
    return result;
  }

  [[nodiscard]] bool updates() const override { return has(NNTrainingStyle::UpdateDeviceGPU); }
  void update(const CommandBuffer& commands, std::span<const StateBatch> states) override {
    const auto fresh = source_->update(
        commands, states[0].template at<CNNConvolutionGradientState>(0), parameters_state());
    if (!fresh) return;
    if (!shares_ && forward_ != nullptr) {
      if (fresh->isTemporary()) fresh->setReadCount(fresh->readCount() + 1);
      forward_->reloadWeightsAndBiases(commands, fresh);
    }
    if (shares_) {
      kernel_.reload_shared(commands, fresh);
    } else {
      kernel_.reloadWeightsAndBiases(commands, fresh);
    }
  }
  [[nodiscard]] bool can_replay() const override { return !has(NNTrainingStyle::UpdateDeviceCPU); }

  void reload_from_data_source() override {
    if (shares_) {
      kernel_.share_parameters(forward_->parameters());
    } else {
      kernel_.reloadWeightsAndBiasesFromDataSource();
    }
  }

  [[nodiscard]] std::function<void()> on_completion() override {
    if (!has(NNTrainingStyle::UpdateDeviceCPU)) return {};
    return [self = this->shared_from_this(), this, state = state_, current = parameters_state()] {
      if (!source_->update(state, current)) return;
      if (forward_) forward_->reloadWeightsAndBiasesFromDataSource();
      reload_from_data_source();
    };
  }

 private:
  [[nodiscard]] bool has(NNTrainingStyle bit) const {
    return (static_cast<unsigned>(style_) & static_cast<unsigned>(bit)) != 0;
  }
  void share() {
    shares_ = forward_ && forward_->dataSource() == kernel_.dataSource();
    if (shares_) kernel_.share_parameters(forward_->parameters());
  }
  void gradient_encode(const Run& run, const ImageBatch& destination) {
    kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1], run.states[0], destination);
  }
  /// The parameters themselves, as the state that callbacks are shown.
  [[nodiscard]] const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& parameters_state() {
    const auto& own = *kernel_.parameters();
    if (!shown_ || !(shown_->weights() == own.weights) || !(shown_->biases() == own.biases))
      shown_ = std::make_shared<CNNConvolutionWeightsAndBiasesState>(own.weights, own.biases);
    return shown_;
  }

  K kernel_;
  NNTrainingStyle style_;
  std::shared_ptr<CNNConvolutionDataSource> source_;
  std::shared_ptr<CNNConvolution> forward_;
  bool shares_ = false;
  std::shared_ptr<CNNConvolutionGradientState> state_;  // of the last encode, for CPU updates
  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> shown_;
};

/// Training computes with the plain convolution: what is fused into the forward pass has no
/// gradient.
void refuse_fused(const CNNConvolutionDataSource& source, std::string_view node,
                  const std::string& label) {
  const auto descriptor = source.descriptor();
  const bool neuron = descriptor->fusedNeuronDescriptor().neuronType() != CNNNeuronType::None;
  if (!neuron && descriptor->folding().factor.empty()) return;
  fail({node, label, "weights",
        neuron ? "a data source with a fused neuron" : "a data source with folded normalisation",
        "a plain convolution", "Put the neuron or the normalisation into a node of its own."});
}

template <class K>
std::unique_ptr<GraphFilter> gradient_of(const NNFilterNode& node, NNTrainingStyle style,
                                         const std::shared_ptr<CNNConvolutionDataSource>& source,
                                         const detail::GraphBuild& build) {
  if (!source) {
    fail({node.class_name(), node.label(), "weights", "null",
          "a data source, here or on the forward node", ""});
  }
  refuse_fused(*source, node.class_name(), node.label());
  auto forward =
      detail::built_kernel<CNNConvolution>(build, node.source_states().at(0)->producer());
  return std::make_unique<ConvolutionGradientFilter<K>>(K(build.device, source), node, style,
                                                        source, std::move(forward),
                                                        !build.result_unused.contains(&node));
}

}  // namespace

CNNConvolutionNode::CNNConvolutionNode(NNImageNodePtr source,
                                       std::shared_ptr<CNNConvolutionDataSource> weights)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<CNNConvolutionGradientStateNode>()),
      weights_(std::move(weights)) {
  if (!weights_) fail({"CNNConvolutionNode", "", "weights", "null", "a data source", ""});
}
std::shared_ptr<CNNConvolutionNode> CNNConvolutionNode::node(
    NNImageNodePtr source, std::shared_ptr<CNNConvolutionDataSource> weights) {
  return std::make_shared<CNNConvolutionNode>(std::move(source), std::move(weights));
}
std::shared_ptr<CNNConvolutionGradientStateNode> CNNConvolutionNode::convolutionGradientState() {
  return std::static_pointer_cast<CNNConvolutionGradientStateNode>(resultState());
}
std::unique_ptr<GraphFilter> CNNConvolutionNode::instantiate(
    const detail::GraphBuild& build) const {
  CNNConvolution kernel(build.device, weights_);
  kernel.setAccumulatorPrecisionOption(accumulator_);
  return std::make_unique<ForwardFilter<CNNConvolution>>(std::move(kernel), *this);
}

namespace {
template <class Node>
std::shared_ptr<Node> gradient_node(CNNConvolutionNode& forward, const NNImageNodePtr& gradient) {
  auto node = std::make_shared<Node>(gradient, forward.sources()[0],
                                     forward.convolutionGradientState(), nullptr);
  node->setTrainingStyle(forward.trainingStyle());
  return node;
}
}  // namespace

NNFilterNode::Gradients CNNConvolutionNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{gradient_node<CNNConvolutionGradientNode>(*this, gradient)}, {0}};
}

std::shared_ptr<CNNFullyConnectedNode> CNNFullyConnectedNode::node(
    NNImageNodePtr source, std::shared_ptr<CNNConvolutionDataSource> weights) {
  return std::make_shared<CNNFullyConnectedNode>(std::move(source), std::move(weights));
}
std::unique_ptr<GraphFilter> CNNFullyConnectedNode::instantiate(
    const detail::GraphBuild& build) const {
  CNNFullyConnected kernel(build.device, weights());
  kernel.setAccumulatorPrecisionOption(accumulatorPrecision());
  return std::make_unique<ForwardFilter<CNNFullyConnected>>(std::move(kernel), *this);
}
NNFilterNode::Gradients CNNFullyConnectedNode::make_gradients(const NNImageNodePtr& gradient) {
  return {{gradient_node<CNNFullyConnectedGradientNode>(*this, gradient)}, {0}};
}

CNNConvolutionGradientNode::CNNConvolutionGradientNode(
    NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
    std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState,
    std::shared_ptr<CNNConvolutionDataSource> weights)
    : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                           {std::move(convolutionGradientState)}),
      weights_(std::move(weights)) {}

std::shared_ptr<CNNConvolutionGradientNode> CNNConvolutionGradientNode::node(
    NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
    std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState,
    std::shared_ptr<CNNConvolutionDataSource> weights) {
  return std::make_shared<CNNConvolutionGradientNode>(
      std::move(sourceGradient), std::move(sourceImage), std::move(convolutionGradientState),
      std::move(weights));
}
std::shared_ptr<CNNConvolutionDataSource> CNNConvolutionGradientNode::trained_source() const {
  if (weights_) return weights_;
  const auto* forward = dynamic_cast<const CNNConvolutionNode*>(source_states()[0]->producer());
  return forward != nullptr ? forward->weights() : nullptr;
}
std::unique_ptr<GraphFilter> CNNConvolutionGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return gradient_of<CNNConvolutionGradient>(*this, trainingStyle(), trained_source(), build);
}

std::shared_ptr<CNNFullyConnectedGradientNode> CNNFullyConnectedGradientNode::node(
    NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
    std::shared_ptr<CNNConvolutionGradientStateNode> convolutionGradientState,
    std::shared_ptr<CNNConvolutionDataSource> weights) {
  return std::make_shared<CNNFullyConnectedGradientNode>(
      std::move(sourceGradient), std::move(sourceImage), std::move(convolutionGradientState),
      std::move(weights));
}
std::unique_ptr<GraphFilter> CNNFullyConnectedGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  return gradient_of<CNNFullyConnectedGradient>(*this, trainingStyle(), trained_source(), build);
}

}  // namespace cermet
