// The node of CNNLoss: loss and gradient in one, against the kernel by hand.

#include <gtest/gtest.h>

#include "graph/chain.h"

namespace cermet::test {
namespace {

/// The node of CNNLoss begins the backward half itself; labels come in and losses go out through
/// a state.
TEST(CombinedLossNode, TrainsLikeItsKernelsByHand) {
  const auto source = std::make_shared<HostWeights>(3, 3, 2, 3),
             hand_source = std::make_shared<HostWeights>(3, 3, 2, 3);
  auto descriptor = squares();
  descriptor.setWeight(0.25F);
  const auto x = NNImageNode::node(named_handle("x"));
  const auto layer = CNNConvolutionNode::node(x, source);
  layer->setTrainingStyle(Style::UpdateDeviceCPU);
  const auto loss = CNNLossNode::node(layer->resultImage(), descriptor);
  loss->inputLabels()->setHandle(named_handle("labels"));
  const auto ends = loss->trainingGraph(nullptr);
  ASSERT_EQ(ends.size(), 1U);
  NNGraph graph(device(), ends[0]->resultImage());
  graph.setFormat(Float32);
  ASSERT_EQ(graph.sourceImageHandles().size(), 1U);
  ASSERT_EQ(graph.sourceStateHandles().size(), 1U);
  EXPECT_EQ(graph.sourceStateHandles()[0]->label(), "labels");

  const auto labels_of = [](const ImageBatch& t) {
    std::vector<StatePtr> list;
    for (const Image image : t)
      list.push_back(std::make_shared<CNNLossLabels>(device(), Size{1, 1, 1}, image, Image()));
    return list;
  };
  const auto losses_of = [](const std::vector<StatePtr>& labels) {
    Floats all;
    for (const auto& one : labels)
      all.push_back(dynamic_cast<CNNLossLabels&>(*one).lossImage().read_floats()[0]);
    return all;
  };
  Floats first;
  for (std::uint64_t step = 0; step < 3; ++step) {
    const ImageBatch pictures = batch(3, 4, 4, 2, 1), t = batch(3, 4, 4, 3, 2);
    const auto labels = labels_of(t), hand_labels = labels_of(t);
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch inputs[] = {pictures};
    const StateBatch states[] = {StateBatch(labels)};
    const ImageBatch dx = graph.encodeBatch(commands, inputs, states);
    finish(commands);

    CommandBuffer by_hand = queue().makeCommandBuffer();
    CNNConvolution forward = kept(CNNConvolution(device(), hand_source));
    CNNConvolutionGradient gradient = kept(CNNConvolutionGradient(device(), hand_source));
    CNNLoss kernel = kept(CNNLoss(device(), descriptor));
    StateBatch convolution;
    const ImageBatch y = forward.encodeBatch(by_hand, pictures, &convolution, false);
    CNNLossLabelsBatch list;
    for (const auto& one : hand_labels)
      list.push_back(std::dynamic_pointer_cast<CNNLossLabels>(one));
    const ImageBatch e = kernel.encodeBatch(by_hand, y, list);
    const ImageBatch wanted = gradient.encodeBatch(by_hand, e, pictures, convolution);
    finish(by_hand);
    EXPECT_EQ(read(dx), read(wanted)) << "step " << step;
    EXPECT_EQ(losses_of(labels), losses_of(hand_labels)) << "step " << step;
    hand_source->update(convolution.at<CNNConvolutionGradientState>(0), nullptr);
    EXPECT_EQ(source->weights_values, hand_source->weights_values);
    if (step == 0) first = losses_of(labels);
    if (step == 2) {
      EXPECT_LT(losses_of(labels)[0], first[0]) << "nothing was learned";
    }
  }
}

TEST(CombinedLossNode, GivesItsGradientAsAnImage) {
  const auto x = NNImageNode::node();
  const auto loss = CNNLossNode::node(x, squares());
  NNGraph graph(device(), loss->resultImage());
  graph.setFormat(Float32);
  const ImageBatch y = batch(2, 2, 2, 3, 1), t = batch(2, 2, 2, 3, 2);
  std::vector<StatePtr> labels;
  for (const Image image : t)
    labels.push_back(std::make_shared<CNNLossLabels>(device(), Size{1, 1, 1}, image, Image()));
  CommandBuffer commands = queue().makeCommandBuffer();
  const ImageBatch inputs[] = {y};
  const StateBatch states[] = {StateBatch(labels)};
  const ImageBatch gradient = graph.encodeBatch(commands, inputs, states);
  finish(commands);
  const Floats ys = read(y), ts = read(t), got = read(gradient);
  for (std::size_t i = 0; i < ys.size(); ++i) EXPECT_FLOAT_EQ(got[i], 2 * (ys[i] - ts[i]));
  EXPECT_THROW(static_cast<void>(loss->gradientFilter(x)), InvalidArgument);
}

}  // namespace
}  // namespace cermet::test
