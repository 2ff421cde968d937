// A whole network, compiled: its gradients against differences of its loss.

#include <gtest/gtest.h>

#include "../graph/network.h"
#include "../harness/refusal.h"
#include "cermet/check/checked_graph.h"

namespace cermet::test {
namespace {

/// The classifier of network.h on data sources that a check may change, and its loss.
struct CheckedNetwork {
  Parameters parameters;
  std::shared_ptr<CheckedWeights> convolution =
                                      std::make_shared<CheckedWeights>(parameters.convolution),
                                  full = std::make_shared<CheckedWeights>(parameters.full);
  NNImageNodePtr loss, gradient;
  Data data{3, 11};

  explicit CheckedNetwork(NNTrainingStyle style, float gradient_weight = 1) {
    loss = make(style, 1)->resultImage();
    gradient = NNInitialGradientNode::node(make(style, gradient_weight)->resultImage())
                   ->trainingGraph(nullptr)[0]
                   ->resultImage();
  }
  /// Nodes of their own each time: the two graphs share the data sources alone.
  [[nodiscard]] std::shared_ptr<NNForwardLossNode> make(NNTrainingStyle style, float weight) const {
    const auto x = NNImageNode::node(named_handle("picture")),
               t = NNImageNode::node(named_handle("label"));
    const auto first = CNNConvolutionNode::node(x, convolution);
    first->setTrainingStyle(style);
    const auto relu = std::make_shared<CNNNeuronReLUNode>(first->resultImage());
    const auto pool = CNNPoolingMaxNode::node(relu->resultImage(), std::size_t{2});
    const auto last = CNNFullyConnectedNode::node(pool->resultImage(), full);
    last->setTrainingStyle(style);
    auto descriptor = loss_descriptor(3);
    descriptor.setWeight(weight);
    return NNForwardLossNode::node(last->resultImage(), t, descriptor);
  }
  [[nodiscard]] CheckedGraph check() const {
    return {device(),
            loss,
            {{"picture", gradient}},
            {{"picture", data.pictures}, {"label", data.labels}},
            {convolution, full}};
  }
};

std::vector<CheckedGradient> found_by(CheckedGraph&& graph) {
  GradientCheckOptions options;
  options.elements = 12;
  return check_gradient(graph, options);
}

TEST(CheckedGraph, ChecksImagesAndWeightsOfANetwork) {
  for (const NNTrainingStyle style :
       {NNTrainingStyle::UpdateDeviceGPU, NNTrainingStyle::UpdateDeviceCPU}) {
    const auto found = found_by(CheckedNetwork(style).check());
    EXPECT_TRUE(passed(found)) << text_of(found);
    ASSERT_EQ(found.size(), 5u);
    EXPECT_EQ(found[0].name, "picture");
    EXPECT_EQ(found[1].name, "convolution weights");
    EXPECT_EQ(found[4].name, "full biases");
    EXPECT_GT(std::abs(found[1].expected), 0);
  }
}

TEST(CheckedGraph, FindsTheGradientOfAnotherLoss) {
  const auto found = found_by(CheckedNetwork(NNTrainingStyle::UpdateDeviceGPU, 1.02F).check());
  for (const auto& one : found) EXPECT_FALSE(one.passed) << text_of(found);
}

TEST(CheckedGraph, LeavesTheSourcesAsTheyWere) {
  CheckedNetwork network(NNTrainingStyle::UpdateDeviceGPU);
  const auto& source = *network.parameters.convolution;
  const auto* weights = static_cast<const float*>(network.parameters.convolution->weights());
  const std::vector<float> before(weights, weights + 9 * 2 * 6);
  static_cast<void>(found_by(network.check()));
  const auto* after = static_cast<const float*>(network.parameters.convolution->weights());
  EXPECT_EQ(before, std::vector<float>(after, after + 9 * 2 * 6)) << source.label();
}

TEST(CheckedGraph, FindsTheSameTwice) {
  CheckedGraph graph = CheckedNetwork(NNTrainingStyle::UpdateDeviceGPU).check();
  const auto first = check_gradient(graph), second = check_gradient(graph);
  EXPECT_TRUE(passed(first));
  EXPECT_EQ(text_of(first), text_of(second));
}

TEST(CheckedGraph, SaysWhatIsMissing) {
  expect_refusal(
      [] {
        static_cast<void>(found_by(CheckedNetwork(NNTrainingStyle::UpdateDeviceNone).check()));
      },
      "CheckedWeights \"convolution\": update is not called; needed called by the gradient graph. "
      "Make the nodes with this data source, and let their training style not be None.");
  const CheckedNetwork network(NNTrainingStyle::UpdateDeviceGPU);
  expect_refusal(
      [&] {
        CheckedGraph(device(), network.loss, {{"picture", network.gradient}},
                     {{"picture", network.data.pictures}});
      },
      "CheckedGraph: images is none for \"label\"; needed images for each input, by the label of "
      "its handle. Give the input's node a handle, and its images under that label.");
  expect_refusal([&] { CheckedGraph(device(), network.loss, {}, {}); },
                 "CheckedGraph: gradients is empty; needed the gradient image of at least one "
                 "input. trainingGraph returns the ends of the gradient chain.");
  expect_refusal([] { CheckedWeights(nullptr); },
                 "CheckedWeights: source is null; needed a data source.");
}

}  // namespace
}  // namespace cermet::test
