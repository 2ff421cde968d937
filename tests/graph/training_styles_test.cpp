// Where parameters of convolutions are updated and by whom: training styles, callbacks on the host
// and on the device, data sources of gradient nodes; against the kernels by hand, bit for bit.

#include <gtest/gtest.h>

#include <map>

#include "graph/chain.h"

namespace cermet::test {
namespace {

constexpr auto both_styles = static_cast<Style>(3);

struct LayerKind {
  std::string name;
  bool full;
};
void PrintTo(const LayerKind& kind, std::ostream* out) { *out << kind.name; }

/// A layer of 4x4x2 to 3 channels, of either kind.
class Layer : public testing::TestWithParam<LayerKind> {
 protected:
  [[nodiscard]] bool full() const { return GetParam().full; }
  [[nodiscard]] std::shared_ptr<HostWeights> weights(std::uint64_t seed = 5) const {
    const std::size_t window = full() ? 4 : 3;
    return std::make_shared<HostWeights>(window, window, 2, 3, seed);
  }
  [[nodiscard]] ImageBatch pictures(std::uint64_t seed) const { return batch(3, 4, 4, 2, seed); }
  [[nodiscard]] ImageBatch labels(std::uint64_t seed) const {
    return full() ? batch(3, 1, 1, 3, seed) : batch(3, 4, 4, 3, seed);
  }
  [[nodiscard]] std::shared_ptr<CNNConvolutionNode> node(
      const NNImageNodePtr& x, const std::shared_ptr<HostWeights>& source) const {
    if (full()) return CNNFullyConnectedNode::node(x, source);
    return CNNConvolutionNode::node(x, source);
  }
  [[nodiscard]] Chain chain(const std::shared_ptr<HostWeights>& source, Style style,
                            const std::function<void(NNFilterNode&)>& with_gradient = {}) const {
    return Chain(
        [&](const NNImageNodePtr& x) {
          const auto layer = node(x, source);
          layer->setTrainingStyle(style);
          return layer->resultImage();
        },
        with_gradient);
  }
  /// Forward and backward by hand, with what the two data sources hold. The state is the
  /// forward kernel's.
  struct Hand {
    Floats dx;
    std::shared_ptr<CNNConvolutionGradientState> state;
  };
  [[nodiscard]] Hand by_hand(const std::shared_ptr<HostWeights>& forward_source,
                             const std::shared_ptr<HostWeights>& gradient_source,
                             const ImageBatch& x, const ImageBatch& t) const {
    const auto run = [&](auto forward, auto gradient) {
      CommandBuffer commands = queue().makeCommandBuffer();
      StateBatch states;
      const ImageBatch y = forward.encodeBatch(commands, x, &states, false);
      const ImageBatch dx =
          gradient.encodeBatch(commands, error_gradient(commands, y, t), x, states);
      finish(commands);
      return Hand{read(dx), states.at<CNNConvolutionGradientState>(0)};
    };
    if (full())
      return run(kept(CNNFullyConnected(device(), forward_source)),
                 kept(CNNFullyConnectedGradient(device(), gradient_source)));
    return run(kept(CNNConvolution(device(), forward_source)),
               kept(CNNConvolutionGradient(device(), gradient_source)));
  }
};
INSTANTIATE_TEST_SUITE_P(TrainingStyle, Layer,
                         testing::Values(LayerKind{"Convolution", false},
                                         LayerKind{"FullyConnected", true}),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(Layer, OnTheHostIsUpdatedAfterCompletion) {
  const auto source = weights(), hand_source = weights();
  Chain graph = chain(source, Style::UpdateDeviceCPU);
  for (std::uint64_t step = 0; step < 3; ++step) {
    const ImageBatch x = pictures(step), t = labels(step + 50);
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch dx = graph.graph->encodeBatch(commands, graph.inputs(x, t));
    EXPECT_EQ(source->host_calls, static_cast<int>(step)) << "asked before the work was done";
    finish(commands);
    const Hand hand = by_hand(hand_source, hand_source, x, t);
    EXPECT_EQ(read(dx), hand.dx) << "step " << step;
    ASSERT_EQ(source->host_calls, static_cast<int>(step) + 1);
    EXPECT_EQ(source->gradients.back(), floats_of(hand.state->gradientForWeights()));
    EXPECT_EQ(source->used.back(), hand_source->weights_values)
        << "the source state holds the weights that were used";
    EXPECT_TRUE(hand_source->update(hand.state, nullptr));
    EXPECT_EQ(source->weights_values, hand_source->weights_values);
    EXPECT_EQ(source->bias_values, hand_source->bias_values);
  }
  EXPECT_NE(source->used.back(), source->used.front()) << "the weights did not change";
  EXPECT_EQ(source->device_calls, 0);
}

TEST_P(Layer, OnTheHostKeepsItsWeightsWhereTheAnswerIsNo) {
  const auto source = weights(), untouched = weights();
  source->answer = false;
  Chain graph = chain(source, Style::UpdateDeviceCPU);
  for (std::uint64_t step = 0; step < 2; ++step) {
    const ImageBatch x = pictures(step), t = labels(step + 50);
    EXPECT_EQ(graph.step(x, t), by_hand(untouched, untouched, x, t).dx) << "step " << step;
  }
  EXPECT_EQ(source->host_calls, 2);
  EXPECT_NE(source->weights_values, untouched->weights_values) << "the source did change";
}

TEST_P(Layer, StyleDecidesWhoIsAsked) {
  const std::map<Style, std::pair<int, int>> calls{{Style::UpdateDeviceNone, {0, 0}},
                                                   {Style::UpdateDeviceCPU, {1, 0}},
                                                   {Style::UpdateDeviceGPU, {0, 1}},
                                                   {both_styles, {1, 1}}};
  for (const auto& [style, wanted] : calls) {
    const auto source = weights(), untouched = weights();
    Chain graph = chain(source, style);
    const ImageBatch x = pictures(1), t = labels(2);
    EXPECT_EQ(graph.step(x, t), by_hand(untouched, untouched, x, t).dx);
    EXPECT_EQ(source->host_calls, wanted.first) << static_cast<unsigned>(style);
    EXPECT_EQ(source->device_calls, wanted.second) << static_cast<unsigned>(style);
  }
}

TEST_P(Layer, StyleGoesFromTheForwardNodeToItsGradientNode) {
  for (const Style style :
       {Style::UpdateDeviceNone, Style::UpdateDeviceCPU, Style::UpdateDeviceGPU, both_styles}) {
    const auto layer = node(NNImageNode::node(), weights());
    EXPECT_EQ(layer->trainingStyle(), Style::UpdateDeviceGPU) << "the default";
    layer->setTrainingStyle(style);
    const auto gradient = std::dynamic_pointer_cast<CNNConvolutionGradientNode>(
        layer->gradientFilter(NNImageNode::node()));
    ASSERT_TRUE(gradient);
    EXPECT_EQ(gradient->trainingStyle(), style);
    EXPECT_EQ(gradient->class_name(),
              full() ? "CNNFullyConnectedGradientNode" : "CNNConvolutionGradientNode");
  }
}

TEST_P(Layer, StyleOfTheGradientNodeIsTheOneThatCounts) {
  const auto source = weights();
  Chain graph = chain(source, Style::UpdateDeviceGPU, [](NNFilterNode& made) {
    if (auto* trainable = dynamic_cast<NNTrainableNode*>(&made))
      trainable->setTrainingStyle(Style::UpdateDeviceCPU);
  });
  static_cast<void>(graph.step(pictures(1), labels(2)));
  EXPECT_EQ(source->host_calls, 1);
  EXPECT_EQ(source->device_calls, 0);
}

/// A filter whose image nobody needs runs for its parameters, and not at all without them.
TEST_P(Layer, WithoutStyleAndReaderIsLeftOut) {
  for (const Style style : {Style::UpdateDeviceNone, Style::UpdateDeviceCPU}) {
    const auto source = weights();
    Chain graph = chain(source, style);
    graph.compile(false);
    const bool runs =
        graph.graph->debugDescription().find("GradientNode (parameters only)") != std::string::npos;
    EXPECT_EQ(runs, style == Style::UpdateDeviceCPU) << graph.graph->debugDescription();
    if (runs) {
      EXPECT_TRUE(graph.step(pictures(1), labels(2)).empty());
    }
    EXPECT_EQ(source->host_calls, runs ? 1 : 0);
  }
}

/// A gradient node with weights of its own computes and trains with them.
TEST_P(Layer, GradientNodeWithWeightsOfItsOwn) {
  const auto forward_source = weights(5), own = weights(9);
  const auto x = NNImageNode::node(named_handle("x")), e = NNImageNode::node(named_handle("e"));
  const auto layer = node(x, forward_source);
  const auto make = [&](const std::shared_ptr<CNNConvolutionDataSource>& source)
      -> std::shared_ptr<CNNConvolutionGradientNode> {
    if (full())
      return CNNFullyConnectedGradientNode::node(e, x, layer->convolutionGradientState(), source);
    return CNNConvolutionGradientNode::node(e, x, layer->convolutionGradientState(), source);
  };
  const ImageBatch pictures_in = pictures(1), gradients_in = labels(2);
  for (const bool given : {true, false}) {
    const auto gradient = make(given ? own : nullptr);
    EXPECT_EQ(gradient->trainingStyle(), Style::UpdateDeviceGPU) << "the default";
    gradient->setTrainingStyle(Style::UpdateDeviceCPU);
    NNGraph graph(device(), gradient->resultImage());
    graph.setFormat(Float32);
    std::vector<ImageBatch> inputs;
    for (const auto& handle : graph.sourceImageHandles())
      inputs.push_back(handle == x->handle() ? pictures_in : gradients_in);
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch dx = graph.encodeBatch(commands, inputs);
    const Floats before = given ? own->weights_values : forward_source->weights_values;
    const int own_calls = own->host_calls, forward_calls = forward_source->host_calls;
    finish(commands);
    ASSERT_EQ(own->host_calls - own_calls, given ? 1 : 0);
    ASSERT_EQ(forward_source->host_calls - forward_calls, given ? 0 : 1);
    const auto& asked = given ? *own : *forward_source;
    EXPECT_EQ(asked.used.back(), before);
    // The same gradient by hand, with the weights that were in use.
    const auto reference = weights(given ? 9 : 5);
    const auto wanted = [&](auto forward, auto backward) {
      CommandBuffer again = queue().makeCommandBuffer();
      StateBatch states;
      static_cast<void>(forward.encodeBatch(again, pictures_in, &states, false));
      const ImageBatch result = backward.encodeBatch(again, gradients_in, pictures_in, states);
      finish(again);
      EXPECT_EQ(asked.gradients.back(),
                floats_of(states.at<CNNConvolutionGradientState>(0)->gradientForWeights()));
      return read(result);
    };
    EXPECT_EQ(read(dx), full() ? wanted(kept(CNNFullyConnected(device(), reference)),
                                        kept(CNNFullyConnectedGradient(device(), reference)))
                               : wanted(kept(CNNConvolution(device(), reference)),
                                        kept(CNNConvolutionGradient(device(), reference))))
        << (given ? "own weights" : "the forward node's");
  }
}

/// The completed handler works without the graph: it owns filters, kernels and data source.
TEST_P(Layer, MayLoseItsGraphBeforeTheWorkIsDone) {
  const auto source = weights(), hand_source = weights();
  std::optional<Chain> graph(chain(source, Style::UpdateDeviceCPU));
  const ImageBatch x = pictures(1), t = labels(2);
  CommandBuffer commands = queue().makeCommandBuffer();
  const ImageBatch dx = graph->graph->encodeBatch(commands, graph->inputs(x, t));
  graph.reset();
  EXPECT_GT(source.use_count(), 1) << "the handler does not keep the data source";
  EXPECT_EQ(source->host_calls, 0);
  finish(commands);
  EXPECT_EQ(source->host_calls, 1);
  const Hand hand = by_hand(hand_source, hand_source, x, t);
  EXPECT_EQ(read(dx), hand.dx);
  EXPECT_EQ(source->gradients.back(), floats_of(hand.state->gradientForWeights()));
  commands = {};
  EXPECT_EQ(source.use_count(), 1) << "the handler is still there";
}

}  // namespace
}  // namespace cermet::test
