// A graph trains like the same program written by hand with kernels, states and command buffers.

#include <gtest/gtest.h>

#include "graph/network.h"

namespace cermet::test {
namespace {

/// The same step by hand.
class ByHand {
 public:
  ByHand(const Parameters& p, std::size_t batch)
      : p_(p),
        convolution_(device(), p.convolution),
        convolution_gradient_(device(), p.convolution),
        relu_(device(), 0.0F),
        relu_gradient_(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU)),
        pool_(device(), 2, 2, 2, 2),
        pool_gradient_(device(), 2, 2, 2, 2),
        full_(device(), p.full),
        full_gradient_(device(), p.full),
        loss_(device(), loss_descriptor(batch)),
        ones_(device()),
        loss_gradient_(device(), loss_descriptor(batch)) {
    pool_.setEdgeMode(ImageEdgeMode::Clamp);
    convolution_gradient_.setGradientOption(
        CNNConvolutionGradientOption::GradientWithWeightsAndBias);
    loss_.setDestinationImageAllocator(Image::defaultAllocator());
  }

  double step(const CommandQueue& queue, const Data& data) {
    CommandBuffer commands = queue.makeCommandBuffer();
    const auto kept = [](ImageBatch images) {
      ImageBatchIncrementReadCount(images, 1);
      return images;
    };
    StateBatch sc, sr, sp, sf, sl;
    const ImageBatch c = kept(convolution_.encodeBatch(commands, data.pictures, &sc, false));
    const ImageBatch r = kept(relu_.encodeBatch(commands, c, &sr, false));
    const ImageBatch p = kept(pool_.encodeBatch(commands, r, &sp, false));
    const ImageBatch logits = kept(full_.encodeBatch(commands, p, &sf, false));
    const ImageBatch losses = loss_.encodeBatch(commands, logits, data.labels, {}, &sl, false);
    ImageBatch g = ones_.encodeBatch(commands, losses);
    g = loss_gradient_.encodeBatch(commands, g, logits, data.labels, {}, sl);
    g = full_gradient_.encodeBatch(commands, g, p, sf);
    update(commands, full_, full_gradient_, *p_.full, sf);
    g = pool_gradient_.encodeBatch(commands, g, r, sp);
    g = relu_gradient_.encodeBatch(commands, g, c, sr);
    g = convolution_gradient_.encodeBatch(commands, g, data.pictures, sc);
    ImageBatchIncrementReadCount(g, -1);
    update(commands, convolution_, convolution_gradient_, *p_.convolution, sc);
    commands.commit();
    commands.waitUntilCompleted();
    double sum = 0;
    for (const Image image : losses) sum += static_cast<double>(image.read_floats()[0]);
    return sum;
  }

 private:
  static void update(const CommandBuffer& commands, CNNConvolution& forward,
                     CNNConvolutionGradient& gradient, ConvolutionParameters& parameters,
                     const StateBatch& states) {
    const auto state =
        parameters.update(commands, states.at<CNNConvolutionGradientState>(0), nullptr);
    forward.reloadWeightsAndBiases(commands, state);
    gradient.reloadWeightsAndBiases(commands, state);
  }

  Parameters p_;
  CNNConvolution convolution_;
  CNNConvolutionGradient convolution_gradient_;
  CNNNeuronReLU relu_;
  CNNNeuronGradient relu_gradient_;
  CNNPoolingMax pool_;
  CNNPoolingMaxGradient pool_gradient_;
  CNNFullyConnected full_;
  CNNFullyConnectedGradient full_gradient_;
  NNForwardLoss loss_;
  NNInitialGradient ones_;
  NNLossGradient loss_gradient_;
};

class EveryOptimizer : public testing::TestWithParam<OptimizerKind> {};

TEST_P(EveryOptimizer, GraphEqualsKernelsByHandBitForBit) {
  const OptimizerSettings optimizer{GetParam(), GetParam() == OptimizerKind::sgd ? 0.1F : 0.01F};
  const Parameters for_graph(optimizer), for_hand(optimizer);
  TrainingGraph graph(for_graph, 6);
  graph.graph->set_rewrites(false);
  ByHand hand(for_hand, 6);
  const CommandQueue queue = device().makeCommandQueue();
  double first = 0, last = 0;
  for (std::uint64_t step = 0; step < 20; ++step) {
    const Data data(6, 100 + step % 4);
    const double by_graph = graph.step(queue, data), by_hand = hand.step(queue, data);
    ASSERT_EQ(by_graph, by_hand) << "step " << step;
    if (step == 0) first = by_graph;
    last = by_graph;
  }
  EXPECT_LT(last, 0.7 * first);
}
TEST_P(EveryOptimizer, GraphWithRewritesEqualsKernelsByHand) {
  const OptimizerSettings optimizer{GetParam(), GetParam() == OptimizerKind::sgd ? 0.1F : 0.01F};
  const Parameters for_graph(optimizer), for_hand(optimizer);
  TrainingGraph graph(for_graph, 6);
  ByHand hand(for_hand, 6);
  const CommandQueue queue = device().makeCommandQueue();
  // Adam and RMSProp divide by small numbers at first and magnify rounding.
  const bool divides = GetParam() == OptimizerKind::adam || GetParam() == OptimizerKind::rmsprop;
  for (std::uint64_t step = 0; step < 20; ++step) {
    const Data data(6, 100 + step % 4);
    const double by_graph = graph.step(queue, data), by_hand = hand.step(queue, data);
    ASSERT_NEAR(by_graph, by_hand, (divides ? 1e-3 : 1e-5) * by_hand) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Training, EveryOptimizer,
                         testing::Values(OptimizerKind::sgd, OptimizerKind::momentum,
                                         OptimizerKind::rmsprop, OptimizerKind::adam),
                         [](const auto& kind) { return name_of(kind.param); });

TEST(Training, SameSeedSameBits) {
  std::vector<double> runs[2];
  for (auto& losses : runs) {
    const Parameters parameters({OptimizerKind::adam, 0.01F});
    TrainingGraph graph(parameters, 4);
    const CommandQueue queue = device().makeCommandQueue();
    for (std::uint64_t step = 0; step < 8; ++step)
      losses.push_back(graph.step(queue, Data(4, step)));
  }
  EXPECT_EQ(runs[0], runs[1]);
}

TEST(Training, BatchSizeMayChangeBetweenEncodes) {
  const Parameters parameters;
  TrainingGraph graph(parameters, 4);
  const CommandQueue queue = device().makeCommandQueue();
  for (const std::size_t batch : {4U, 1U, 7U, 4U})
    EXPECT_GT(graph.step(queue, Data(batch, batch)), 0);
}

TEST(Training, InferenceGraphSeesTheTrainedWeightsAfterReload) {
  const Parameters parameters;
  TrainingGraph training(parameters, 6);
  NNGraph inference(device(), body(NNImageNode::node(), parameters));
  inference.setFormat(ImageFeatureChannelFormat::Float32);
  const CommandQueue queue = device().makeCommandQueue();
  const Data data(3, 5);
  const auto logits = [&] {
    CommandBuffer commands = queue.makeCommandBuffer();
    const ImageBatch inputs[] = {data.pictures};
    const ImageBatch result = inference.encodeBatch(commands, inputs);
    commands.commit();
    commands.waitUntilCompleted();
    return result.front().read_floats();
  };
  const auto before = logits();
  training.step(queue, Data(6, 1));
  EXPECT_EQ(logits(), before) << "two graphs have two sets of weights";
  inference.reloadFromDataSources();
  EXPECT_NE(logits(), before);
}

}  // namespace
}  // namespace cermet::test
