// Batch and spatial normalisation in training graphs, on the device and on the host, against their
// kernels by hand, bit for bit; and forward filters that run for their state alone.

#include <gtest/gtest.h>

#include <cmath>

#include "cermet/core/matrix.h"
#include "cermet/nn/arithmetic_nodes.h"
#include "cermet/nn/batch_normalization_nodes.h"
#include "cermet/nn/normalization_nodes.h"
#include "cermet/nn/optimizer.h"
#include "graph/chain.h"

namespace cermet::test {
namespace {

// ---- batch normalisation -----------------------------------------------------------------------

/// Gamma and beta by gradient descent, statistics as moving averages: on the device or on the host.
class Statistics final : public CNNBatchNormalizationDataSource {
 public:
  explicit Statistics(std::size_t channels)
      : gamma_(numbers(channels, 11)),
        beta_(numbers(channels, 12)),
        mean_(channels, 0),
        variance_(channels, 1),
        descent_(device(), 0.0625F),
        average_(device(), 0, false,
                 NNOptimizerDescriptor(-0.25F, 1, NNRegularizationType::L2, -1)) {
    const auto buffer = [&] { return device().makeBuffer(channels * sizeof(float)); };
    scale_ = std::make_shared<CNNNormalizationGammaAndBetaState>(buffer(), buffer());
    moving_ = std::make_shared<CNNNormalizationMeanAndVarianceState>(buffer(), buffer());
    std::ranges::copy(variance_, moving_->variance().as<float>().begin());
  }
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return gamma_.size(); }
  [[nodiscard]] const float* gamma() override { return gamma_.data(); }
  [[nodiscard]] const float* beta() override { return beta_.data(); }
  [[nodiscard]] const float* mean() override { return mean_.data(); }
  [[nodiscard]] const float* variance() override { return variance_.data(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return {}; }
  [[nodiscard]] float epsilon() const override { return 1e-3F; }

  std::shared_ptr<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(
      const CommandBuffer& commands, const CNNBatchNormalizationStatePtr& state) override {
    calls += "G";
    descent_.encode(commands, state, {}, scale_);
    return scale_;
  }
  std::shared_ptr<CNNNormalizationMeanAndVarianceState> updateMeanAndVariance(
      const CommandBuffer& commands, const CNNBatchNormalizationStatePtr& state) override {
    calls += "M";
    const auto vector = [&](const Buffer& buffer) {
      return Vector(buffer, VectorDescriptor::vectorDescriptor(gamma_.size(), DataType::Float32));
    };
    for (const auto& [batch, moving] : {std::pair(state->mean(), moving_->mean()),
                                        std::pair(state->variance(), moving_->variance())}) {
      const Vector to = vector(moving);
      average_.encode(commands, vector(batch), to, Vector(), to);
    }
    return moving_;
  }
  bool updateGammaAndBeta(const CNNBatchNormalizationStatePtr& state) override {
    calls += "g";
    const auto descend = [](Floats& values, const Buffer& gradient) {
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] -= 0.0625F * gradient.as<float>()[i];
    };
    descend(gamma_, state->gradientForGamma());
    descend(beta_, state->gradientForBeta());
    return true;
  }
  bool updateMeanAndVariance(const CNNBatchNormalizationStatePtr& state) override {
    calls += "m";
    for (std::size_t i = 0; i < mean_.size(); ++i) {
      mean_[i] += 0.25F * (state->mean().as<float>()[i] - mean_[i]);
      variance_[i] += 0.25F * (state->variance().as<float>()[i] - variance_[i]);
    }
    return true;
  }
  [[nodiscard]] Floats values() const {
    Floats all;
    for (const Floats* part : {&gamma_, &beta_, &mean_, &variance_})
      all.insert(all.end(), part->begin(), part->end());
    return all;
  }
  [[nodiscard]] Floats device_values() const {
    Floats all;
    for (const Buffer& part :
         {scale_->gamma(), scale_->beta(), moving_->mean(), moving_->variance()}) {
      const Floats one = floats_of(part);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  std::string calls;  // in order; capitals on the device

 private:
  Floats gamma_, beta_, mean_, variance_;
  NNOptimizerStochasticGradientDescent descent_, average_;
  std::shared_ptr<CNNNormalizationGammaAndBetaState> scale_;
  std::shared_ptr<CNNNormalizationMeanAndVarianceState> moving_;
};

class BatchNormalizationByHand {
 public:
  explicit BatchNormalizationByHand(std::shared_ptr<Statistics> source)
      : source_(std::move(source)), kernel_(device(), source_) {}
  Floats step(const ImageBatch& x, const ImageBatch& t, bool on_host) {
    CommandBuffer commands = queue().makeCommandBuffer();
    const Image one = x.front();
    const ImageBatch y = batch(x.size(), one.width(), one.height(), one.featureChannels(), 0);
    const auto state =
        std::dynamic_pointer_cast<CNNBatchNormalizationState>(kernel_.resultState(x[0], {}, y[0]));
    CNNBatchNormalizationStatistics(device()).encodeBatch(commands, x, state);
    kernel_.encodeBatch(commands, x, state, y);
    const ImageBatch e = error_gradient(commands, y, t);
    CNNBatchNormalizationStatisticsGradient(device()).encodeBatch(commands, e, x, state);
    CNNBatchNormalizationGradient gradient = kept(CNNBatchNormalizationGradient(device()));
    const ImageBatch dx = gradient.encodeBatch(commands, e, x, state);
    if (!on_host) {
      kernel_.reloadMeanAndVariance(commands, source_->updateMeanAndVariance(commands, state));
      kernel_.reloadGammaAndBeta(commands, source_->updateGammaAndBeta(commands, state));
    }
    finish(commands);
    if (on_host) {
      EXPECT_TRUE(source_->updateMeanAndVariance(state) && source_->updateGammaAndBeta(state));
      kernel_.reloadMeanAndVarianceFromDataSource();
      kernel_.reloadGammaAndBetaFromDataSource();
    }
    return read(dx);
  }

 private:
  std::shared_ptr<Statistics> source_;
  CNNBatchNormalization kernel_;
};

Chain normalization_chain(const std::shared_ptr<Statistics>& source, Style style,
                          CNNBatchNormalizationFlags flags = CNNBatchNormalizationFlags::Default) {
  return Chain([&](const NNImageNodePtr& x) {
    const auto node = CNNBatchNormalizationNode::node(x, source);
    node->setTrainingStyle(style);
    node->setFlags(flags);
    return node->resultImage();
  });
}

class BatchNormalizationNode : public testing::TestWithParam<bool> {};

TEST_P(BatchNormalizationNode, TrainsLikeItsKernelsByHand) {
  const bool on_host = GetParam();
  const auto source = std::make_shared<Statistics>(3),
             hand_source = std::make_shared<Statistics>(3);
  Chain graph =
      normalization_chain(source, on_host ? Style::UpdateDeviceCPU : Style::UpdateDeviceGPU);
  BatchNormalizationByHand hand(hand_source);
  const Floats before = on_host ? source->values() : source->device_values();
  std::string calls;
  for (std::uint64_t step = 0; step < 4; ++step) {
    const ImageBatch x = batch(3, 4, 2, 3, step), t = batch(3, 4, 2, 3, step + 50);
    EXPECT_EQ(graph.step(x, t), hand.step(x, t, on_host)) << "step " << step;
    calls += on_host ? "mg" : "MG";
    EXPECT_EQ(source->calls, calls) << "statistics first, each once";
  }
  const Floats after = on_host ? source->values() : source->device_values();
  EXPECT_EQ(after, on_host ? hand_source->values() : hand_source->device_values());
  for (std::size_t i = 0; i < after.size(); ++i)
    EXPECT_NE(after[i], before[i]) << "number " << i << " did not change";
}
INSTANTIATE_TEST_SUITE_P(TrainingStyle, BatchNormalizationNode, testing::Bool(),
                         [](const auto& one) { return one.param ? "OnTheHost" : "OnTheDevice"; });

TEST(BatchNormalizationNodes, StyleNoneAsksNobody) {
  const auto source = std::make_shared<Statistics>(3);
  Chain graph = normalization_chain(source, Style::UpdateDeviceNone);
  const auto gradient = graph.made_node<CNNBatchNormalizationGradientNode>();
  ASSERT_TRUE(gradient);
  EXPECT_EQ(gradient->trainingStyle(), Style::UpdateDeviceNone) << "inherited";
  static_cast<void>(graph.step(batch(2, 4, 2, 3, 1), batch(2, 4, 2, 3, 2)));
  EXPECT_EQ(source->calls, "");
}

/// Never: the data source's statistics, as constants, in a training graph too.
TEST(BatchNormalizationNodes, FlagsChooseTheStatistics) {
  const ImageBatch x = batch(2, 4, 2, 3, 1), t = batch(2, 4, 2, 3, 2);
  const auto dx = [&](CNNBatchNormalizationFlags flags) {
    return normalization_chain(std::make_shared<Statistics>(3), Style::UpdateDeviceNone, flags)
        .step(x, t);
  };
  const Floats automatic = dx(CNNBatchNormalizationFlags::CalculateStatisticsAutomatic),
               always = dx(CNNBatchNormalizationFlags::CalculateStatisticsAlways),
               never = dx(CNNBatchNormalizationFlags::CalculateStatisticsNever);
  EXPECT_EQ(automatic, always);
  EXPECT_NE(automatic, never);
  // With mean 0 and variance 1: y = gamma * x / s + beta, dx = gamma / s * 2 (y - t).
  const Statistics source(3);
  const Floats values = source.values(), xs = read(x), ts = read(t);
  const float s = std::sqrt(1 + source.epsilon());
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const float gamma = values[i % 3], beta = values[3 + i % 3];
    EXPECT_NEAR(never[i], gamma / s * 2 * (gamma * xs[i] / s + beta - ts[i]), 1e-5F) << i;
  }
}

TEST(BatchNormalizationNodes, MayLoseTheirGraphBeforeTheWorkIsDone) {
  const auto source = std::make_shared<Statistics>(3),
             hand_source = std::make_shared<Statistics>(3);
  std::optional<Chain> graph(normalization_chain(source, Style::UpdateDeviceCPU));
  const ImageBatch x = batch(3, 4, 2, 3, 1), t = batch(3, 4, 2, 3, 2);
  CommandBuffer commands = queue().makeCommandBuffer();
  const ImageBatch dx = graph->graph->encodeBatch(commands, graph->inputs(x, t));
  graph.reset();
  EXPECT_GT(source.use_count(), 1) << "the handler does not keep the data source";
  EXPECT_EQ(source->calls, "");
  finish(commands);
  EXPECT_EQ(source->calls, "mg");
  BatchNormalizationByHand hand(hand_source);
  EXPECT_EQ(read(dx), hand.step(x, t, true));
  EXPECT_EQ(source->values(), hand_source->values());
  commands = {};
  EXPECT_EQ(source.use_count(), 1) << "the handler is still there";
}

// ---- spatial normalisation ---------------------------------------------------------------------

TEST(SpatialNormalizationNodes, TrainLikeTheirKernelsByHand) {
  const auto set = [](auto& of) {
    of.setAlpha(1.5F);
    of.setBeta(0.75F);
    of.setDelta(2);
  };
  Chain graph([&](const NNImageNodePtr& x) {
    const auto node = CNNSpatialNormalizationNode::node(x, 3);
    EXPECT_EQ(node->kernelHeight(), 3U);
    node->setKernelHeight(2);
    set(*node);
    return node->resultImage();
  });
  const auto made = graph.made_node<CNNSpatialNormalizationGradientNode>();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->kernelWidth(), 3U);
  EXPECT_EQ(made->kernelHeight(), 2U);
  EXPECT_EQ(made->alpha(), 1.5F);
  EXPECT_EQ(made->beta(), 0.75F);
  EXPECT_EQ(made->delta(), 2);
  CNNSpatialNormalization forward = kept(CNNSpatialNormalization(device(), 3, 2));
  CNNSpatialNormalizationGradient gradient = kept(CNNSpatialNormalizationGradient(device(), 3, 2));
  set(forward);
  set(gradient);
  const ImageBatch x = batch(2, 5, 4, 3, 1), t = batch(2, 5, 4, 3, 2);
  CommandBuffer commands = queue().makeCommandBuffer();
  StateBatch states;
  const ImageBatch y = forward.encodeBatch(commands, x, &states, false);
  const ImageBatch dx = gradient.encodeBatch(commands, error_gradient(commands, y, t), x, states);
  finish(commands);
  EXPECT_EQ(graph.step(x, t), read(dx));
}

/// Properties of a gradient node made by hand are its own.
TEST(SpatialNormalizationNodes, GradientNodeMadeByHand) {
  const auto x = NNImageNode::node(named_handle("x")), e = NNImageNode::node(named_handle("e"));
  const auto node = CNNSpatialNormalizationNode::node(x);
  EXPECT_EQ(node->kernelWidth(), 5U) << "the default";
  const auto made = std::make_shared<CNNSpatialNormalizationGradientNode>(e, x, node->resultState(),
                                                                          std::size_t{5});
  EXPECT_EQ(made->alpha(), 1);
  EXPECT_EQ(made->beta(), 5);
  EXPECT_EQ(made->delta(), 1);
  const ImageBatch x_images = batch(2, 6, 4, 3, 1), e_images = batch(2, 6, 4, 3, 2);
  const auto run = [&] {
    NNGraph graph(device(), made->resultImage());
    graph.setFormat(Float32);
    std::vector<ImageBatch> inputs;
    for (const auto& handle : graph.sourceImageHandles())
      inputs.push_back(handle == x->handle() ? x_images : e_images);
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch dx = graph.encodeBatch(commands, inputs);
    finish(commands);
    return read(dx);
  };
  const Floats plain = run();
  for (auto set : {&CNNSpatialNormalizationGradientNode::setAlpha,
                   &CNNSpatialNormalizationGradientNode::setBeta,
                   &CNNSpatialNormalizationGradientNode::setDelta}) {
    ((*made).*set)(0.5F);
    EXPECT_NE(run(), plain);
    ((*made).*set)(set == &CNNSpatialNormalizationGradientNode::setBeta ? 5.0F : 1.0F);
    EXPECT_EQ(run(), plain);
  }
}

// ---- forward filters for their state alone -----------------------------------------------------

/// A gradient node whose incoming gradient is an input of the graph: the forward filter runs for
/// its state, and nobody reads its image.
TEST(ForwardFilters, MayServeTheirStateAlone) {
  const auto e = NNImageNode::node(named_handle("e"));
  const auto dx = [&](const std::shared_ptr<NNFilterNode>& forward) {
    const auto gradients = forward->gradientFilters(e);
    NNGraph graph(device(), gradients[0]->resultImage());
    graph.setFormat(Float32);
    std::vector<ImageBatch> inputs;
    for (const auto& handle : graph.sourceImageHandles())
      inputs.push_back(batch(2, 4, 2, 3, handle == e->handle() ? 7 : 8));
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch result = graph.encodeBatch(commands, inputs);
    finish(commands);
    return read(result);
  };
  const Floats incoming = read(batch(2, 4, 2, 3, 7)), x = read(batch(2, 4, 2, 3, 8));
  Floats relu(incoming.size());
  for (std::size_t i = 0; i < relu.size(); ++i) relu[i] = x[i] >= 0 ? incoming[i] : 0;
  EXPECT_EQ(dx(std::make_shared<CNNNeuronReLUNode>(NNImageNode::node())), relu);
  EXPECT_EQ(dx(std::make_shared<NNAdditionNode>(NNImageNode::node(), NNImageNode::node())),
            incoming);
  EXPECT_EQ(dx(CNNPoolingAverageNode::node(NNImageNode::node(), std::size_t{1})), incoming);
  const auto normalization =
      CNNBatchNormalizationNode::node(NNImageNode::node(), std::make_shared<Statistics>(3));
  const Floats normal = dx(normalization);
  EXPECT_EQ(normal.size(), incoming.size());
  for (std::size_t c = 0; c < 3; ++c) {  // such a gradient has no mean
    double sum = 0;
    for (std::size_t i = c; i < normal.size(); i += 3) sum += double{normal[i]};
    EXPECT_NEAR(sum, 0, 1e-4);
  }
}

}  // namespace
}  // namespace cermet::test
