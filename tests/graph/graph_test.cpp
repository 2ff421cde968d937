// The graph's interface: handles, order of inputs, formats, exports, pruning, training graphs,
// errors.

#include <gtest/gtest.h>

#include <cmath>
#include <future>

#include "cermet/nn/arithmetic_nodes.h"
#include "cermet/nn/dropout_nodes.h"
#include "cermet/nn/softmax_nodes.h"
#include "graph/network.h"

namespace cermet::test {
namespace {

std::vector<std::string> labels_of(const std::vector<HandlePtr>& handles) {
  std::vector<std::string> labels;
  for (const auto& handle : handles) labels.push_back(handle ? handle->label() : "");
  return labels;
}
using Names = std::vector<std::string>;

Image picture(float value, std::size_t w = 2, std::size_t h = 2, std::size_t c = 1) {
  const Image image(device(),
                    ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c));
  image.write_floats(std::vector<float>(w * h * c, value));
  return image;
}

std::vector<float> run(NNGraph& graph, std::initializer_list<Image> inputs) {
  CommandBuffer commands = device().makeCommandQueue().makeCommandBuffer();
  const std::vector<Image> sources(inputs);
  const Image result = graph.encode(commands, sources);
  commands.commit();
  commands.waitUntilCompleted();
  return result.read_floats();
}

TEST(Graph, InputsAreOrderedByOneWalkFromTheResult) {
  const Parameters parameters;
  const TrainingGraph training(parameters, 2);
  // The gradient of the convolution is walked first: gradient argument, then the source image.
  EXPECT_EQ(labels_of(training.graph->sourceImageHandles()), (Names{"picture", "label"}));
  EXPECT_EQ(labels_of(training.graph->intermediateImageHandles()), Names{"loss"});
}

TEST(Graph, TwoNodesWithOneHandleAreTwoInputs) {
  const auto handle = named_handle("same");
  const auto sum =
      std::make_shared<NNAdditionNode>(NNImageNode::node(handle), NNImageNode::node(handle));
  NNGraph graph(device(), sum->resultImage());
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  EXPECT_EQ(graph.sourceImageHandles().size(), 2U);
  EXPECT_EQ(run(graph, {picture(1), picture(2)}), std::vector<float>(4, 3.0F));
}

TEST(Graph, DefaultFormatIsHalfAndMayBeSetAfterConstruction) {
  const auto relu = std::make_shared<CNNNeuronReLUNode>(NNImageNode::node());
  NNGraph graph(device(), relu->resultImage());
  EXPECT_EQ(run(graph, {picture(0.1F)})[0], float_from_half(half_from_float(0.1F)));
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  EXPECT_EQ(run(graph, {picture(0.1F)})[0], 0.1F);
}

TEST(Graph, NodeFormatWinsOverTheGraphs) {
  const auto relu = std::make_shared<CNNNeuronReLUNode>(NNImageNode::node());
  relu->resultImage()->setFormat(ImageFeatureChannelFormat::Float32);
  NNGraph graph(device(), relu->resultImage());
  EXPECT_EQ(run(graph, {picture(0.1F)})[0], 0.1F);
}

TEST(Graph, AddsTheGradientsOfAnImageWithTwoReaders) {
  // y = relu(x) + 3*x at x = 2: dy/dx = 1 + 3, seeded with ones.
  const auto x = NNImageNode::node(named_handle("x"));
  const auto relu = std::make_shared<CNNNeuronReLUNode>(x);
  const auto linear = std::make_shared<CNNNeuronLinearNode>(x, 3.0F, 0.0F);
  const auto sum = std::make_shared<NNAdditionNode>(relu->resultImage(), linear->resultImage());
  const auto seed = NNInitialGradientNode::node(sum->resultImage());
  int additions = 0;
  const auto ends =
      seed->trainingGraph(nullptr, [&](NNFilterNode* made, NNFilterNode* inference,
                                       const NNImageNodePtr& source, const NNImageNodePtr&) {
        if (inference == nullptr) {
          ++additions;
          EXPECT_EQ(made->class_name(), "NNAdditionNode");
          EXPECT_EQ(source, x);
        }
      });
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(additions, 1);
  NNGraph graph(device(), ends[0]->resultImage());
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  EXPECT_EQ(run(graph, {picture(2)}), std::vector<float>(4, 4.0F));
  EXPECT_EQ(run(graph, {picture(-2)}), std::vector<float>(4, 3.0F));
}

TEST(Graph, StopGradientEndsTheBackwardHalfAtTheImage) {
  const auto x = NNImageNode::node(named_handle("x"));
  const auto first = std::make_shared<CNNNeuronReLUNode>(x);
  first->resultImage()->setStopGradient(true);
  const auto second = std::make_shared<CNNNeuronLinearNode>(first->resultImage(), 2.0F, 0.0F);
  const auto ends = NNInitialGradientNode::node(second->resultImage())->trainingGraph(nullptr);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0]->class_name(), "CNNNeuronGradientNode");
  EXPECT_EQ(ends[0]->sources()[1], first->resultImage());
}

TEST(Graph, LossesDifferentiateTheirLabelsToo) {
  const auto x = NNImageNode::node(named_handle("x")), t = NNImageNode::node(named_handle("t"));
  const auto loss = NNForwardLossNode::node(
      x, t,
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum));
  const auto ends = NNInitialGradientNode::node(loss->resultImage())->trainingGraph(nullptr);
  ASSERT_EQ(ends.size(), 2U);
  EXPECT_EQ(ends[0]->resultImage()->handle(), x->handle());
  EXPECT_EQ(ends[1]->resultImage()->handle(), t->handle());
  EXPECT_TRUE(dynamic_cast<NNLossGradientNode&>(*ends[1]).isLabelsGradientFilter());
  const NNImageNodePtr results[] = {ends[0]->resultImage(), ends[1]->resultImage()};
  NNGraph graph(device(), results, {true, true});
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  CommandBuffer commands = device().makeCommandQueue().makeCommandBuffer();
  const std::vector<Image> inputs{picture(3), picture(1)};
  std::vector<Image> more;
  results[1]->setImageAllocator(Image::defaultAllocator());
  NNGraph again(device(), results, {true, true});
  again.setFormat(ImageFeatureChannelFormat::Float32);
  const Image by_prediction = again.encode(commands, inputs, {}, &more, nullptr);
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(by_prediction.read_floats(), std::vector<float>(4, 4.0F));
  ASSERT_EQ(more.size(), 1U);
  EXPECT_EQ(more[0].read_floats(), std::vector<float>(4, -4.0F));
}

class Callback final : public NNLossCallback {
 public:
  float scalarWeight(const Image&, const Image&) override {
    ++calls;
    return weight;
  }
  int calls = 0;
  float weight = 1;
};

TEST(Graph, LossCallbacksAreAskedOncePerEncodeAndObeyed) {
  const auto x = NNImageNode::node(), t = NNImageNode::node();
  const auto descriptor =
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum);
  const auto loss = NNForwardLossNode::node(x, t, descriptor);
  const auto forward = std::make_shared<Callback>(), backward = std::make_shared<Callback>();
  loss->setPropertyCallBack(forward);
  const auto ones = NNInitialGradientNode::node(loss->resultImage());
  const auto gradient =
      std::dynamic_pointer_cast<NNLossGradientNode>(loss->gradientFilter(ones->resultImage()));
  NNGraph plain(device(), gradient->resultImage());
  plain.setFormat(ImageFeatureChannelFormat::Float32);
  forward->weight = 3;
  EXPECT_EQ(run(plain, {picture(3), picture(1)})[0], 12.0F)
      << "the state carries the forward node's weight";
  EXPECT_EQ(forward->calls, 1);
  gradient->setPropertyCallBack(backward);
  NNGraph own(device(), gradient->resultImage());
  own.setFormat(ImageFeatureChannelFormat::Float32);
  backward->weight = 5;
  EXPECT_EQ(run(own, {picture(3), picture(1)})[0], 20.0F)
      << "the gradient node's own callback wins";
  EXPECT_EQ(backward->calls, 1);
}

TEST(Graph, DropoutDrawsANewMaskEachEncodeFromItsSeed) {
  const auto make = [] {
    NNGraph graph(device(),
                  CNNDropoutNode::node(NNImageNode::node(), 0.5F, std::size_t{9}, Size{1, 1, 1})
                      ->resultImage());
    graph.setFormat(ImageFeatureChannelFormat::Float32);
    return graph;
  };
  NNGraph one = make(), two = make();
  const auto first = run(one, {picture(1, 16, 16)}), second = run(one, {picture(1, 16, 16)});
  EXPECT_NE(first, second);
  EXPECT_EQ(first, run(two, {picture(1, 16, 16)}));
}

TEST(Graph, SoftMaxTwiceTrains) {
  const auto x = NNImageNode::node(named_handle("x")), t = NNImageNode::node(named_handle("t"));
  const auto soft = CNNSoftMaxNode::node(x);
  const auto loss =
      NNForwardLossNode::node(soft->resultImage(), t,
                              CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy,
                                                                   CNNReductionType::Sum));
  const auto ends = NNInitialGradientNode::node(loss->resultImage())->trainingGraph(nullptr);
  NNGraph graph(device(), ends[0]->resultImage());
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  const Image logits(device(),
                     ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 1, 1, 2));
  const Image labels(device(),
                     ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 1, 1, 2));
  logits.write_floats(std::vector<float>{1, 0});
  labels.write_floats(std::vector<float>{1, 0});
  const auto gradient = run(graph, {logits, labels});
  // p = softmax(1, 0), q = softmax(p): d = p_k*(g_k - sum g_j p_j) with g = q - t.
  const double p = 1 / (1 + std::exp(-1.0)), q = 1 / (1 + std::exp(1 - 2 * p));
  const double g0 = q - 1, g1 = 1 - q, mean = g0 * p + g1 * (1 - p);
  EXPECT_NEAR(gradient[0], p * (g0 - mean), 1e-6);
  EXPECT_NEAR(gradient[1], (1 - p) * (g1 - mean), 1e-6);
}

TEST(Graph, AFrozenLayerKeepsItsWeights) {
  const Parameters parameters;
  const std::vector<float> before(parameters.full->biasTerms(),
                                  parameters.full->biasTerms() + classes);
  const auto x = NNImageNode::node(named_handle("x")), t = NNImageNode::node(named_handle("t"));
  const auto full = CNNFullyConnectedNode::node(x, parameters.full);
  full->setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto loss = NNForwardLossNode::node(full->resultImage(), t, loss_descriptor(1));
  const auto ends = NNInitialGradientNode::node(loss->resultImage())->trainingGraph(nullptr);
  NNGraph graph(device(), ends[0]->resultImage(), true);
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  const Image labels(device(), label_descriptor());
  labels.write_floats(std::vector<float>{1, 0, 0, 0, 0});
  static_cast<void>(run(graph, {picture(0.5F, side / 2, side / 2, 6), labels}));
  EXPECT_EQ(before, std::vector<float>(parameters.full->biasTerms(),
                                       parameters.full->biasTerms() + classes));
}

TEST(Graph, AnUnneededGradientOfAFrozenLayerIsNotComputed) {
  const Parameters parameters;
  TrainingGraph training(parameters, 1);
  EXPECT_NE(training.graph->debugDescription().find("CNNConvolutionGradientNode (parameters only)"),
            std::string::npos);
}

TEST(Graph, NamesWhatIsMissing) {
  const Parameters parameters;
  TrainingGraph training(parameters, 2);
  CommandBuffer commands = device().makeCommandQueue().makeCommandBuffer();
  const Data data(2, 1);
  const ImageBatch inputs[] = {data.pictures};
  try {
    training.graph->encodeBatch(commands, inputs);
    FAIL();
  } catch (const InvalidArgument& problem) {
    EXPECT_STREQ(problem.what(),
                 "NNGraph: sourceImages is 1 batches; needed 2 (picture, label). Pass one batch "
                 "for each entry of "
                 "sourceImageHandles, in that order.");
  }
}

TEST(Graph, GradientsOfGradientsAreRefused) {
  const auto relu = std::make_shared<CNNNeuronReLUNode>(NNImageNode::node());
  const auto gradient = relu->gradientFilter(NNImageNode::node());
  EXPECT_THROW(static_cast<void>(gradient->gradientFilter(NNImageNode::node())), InvalidArgument);
}

TEST(Graph, ExecuteAsyncHandsTheResultToItsHandler) {
  const auto linear = std::make_shared<CNNNeuronLinearNode>(NNImageNode::node(), 2.0F, 1.0F);
  NNGraph graph(device(), linear->resultImage());
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  std::promise<float> value;
  const std::vector<Image> inputs{picture(3)};
  graph.executeAsync(inputs, [&](const Image& result, const std::optional<DeviceError>& error) {
    EXPECT_FALSE(error);
    value.set_value(result.read_floats()[0]);
  });
  EXPECT_EQ(value.get_future().get(), 7.0F);
}

}  // namespace
}  // namespace cermet::test
