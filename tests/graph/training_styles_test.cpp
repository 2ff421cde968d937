// Where parameters are updated and by whom: training styles, callbacks on the host and on the
// device, data sources of gradient nodes; normalisation and combined losses inside graphs. All
// against the same kernels by hand, bit for bit.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "cermet/core/matrix.h"
#include "cermet/nn/arithmetic_nodes.h"
#include "cermet/nn/batch_normalization_nodes.h"
#include "cermet/nn/normalization_nodes.h"
#include "cermet/nn/optimizer.h"
#include "graph/network.h"

namespace cermet::test {
namespace {

using Style = NNTrainingStyle;
using Floats = std::vector<float>;
constexpr auto Float32 = ImageFeatureChannelFormat::Float32;
constexpr auto both_styles = static_cast<Style>(3);

const CommandQueue& queue() {
  static const CommandQueue one = device().makeCommandQueue();
  return one;
}
void finish(CommandBuffer& commands) {
  commands.commit();
  commands.waitUntilCompleted();
  if (const auto error = commands.error()) throw *error;
}
Floats numbers(std::size_t count, std::uint64_t seed) {
  RandomNumbers random(seed);
  Floats values(count);
  for (float& value : values) value = 2 * random.uniform() - 1;
  return values;
}
Floats floats_of(const Buffer& buffer) {
  const auto all = buffer.as<float>();
  return {all.begin(), all.end()};
}
ImageBatch batch(std::size_t count, std::size_t w, std::size_t h, std::size_t c,
                 std::uint64_t seed) {
  ImageBatch images(device(), ImageDescriptor::imageDescriptor(Float32, w, h, c), count);
  for (std::size_t i = 0; i < count; ++i)
    images[i].write_floats(numbers(w * h * c, seed + 1000 * i));
  return images;
}
Floats read(const ImageBatch& images) {
  Floats all;
  for (const Image image : images) {
    const auto one = image.read_floats();
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}
/// Permanent results: nothing by hand counts reads.
template <class K>
K kept(K kernel) {
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  return kernel;
}

/// Weights of a layer that the host updates, w - rate * gradient, and a record of how it was asked.
class HostWeights final : public CNNConvolutionDataSource {
 public:
  HostWeights(std::size_t width, std::size_t height, std::size_t inputs, std::size_t outputs,
              std::uint64_t seed = 5)
      : descriptor_(
            CNNConvolutionDescriptor::cnnConvolutionDescriptor(width, height, inputs, outputs)),
        weights_values(numbers(width * height * inputs * outputs, seed)),
        bias_values(numbers(outputs, seed + 1)) {}

 private:
  std::shared_ptr<CNNConvolutionDescriptor> descriptor_;

 public:
  Floats weights_values, bias_values;
  bool answer = true;  // of the host's update
  int host_calls = 0, device_calls = 0;
  std::vector<Floats> gradients, used;  // of each host call: weight gradients, weights shown

  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return weights_values.data(); }
  [[nodiscard]] const float* biasTerms() override { return bias_values.data(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return {}; }

  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer&, const std::shared_ptr<CNNConvolutionGradientState>&,
      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>&) override {
    ++device_calls;
    return nullptr;
  }
  bool update(const std::shared_ptr<CNNConvolutionGradientState>& gradient,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& source) override {
    ++host_calls;
    gradients.push_back(floats_of(gradient->gradientForWeights()));
    if (source) used.push_back(floats_of(source->weights()));
    descend(weights_values, gradient->gradientForWeights());
    descend(bias_values, gradient->gradientForBiases());
    return answer;
  }

 private:
  static void descend(Floats& values, const Buffer& gradient) {
    const auto g = gradient.as<float>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.05F * g[i];
  }
};

CNNLossDescriptor squares() {
  return CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum);
}

/// A chain of nodes with a squared error at its end, as a training graph whose result is the
/// gradient of x.
struct Chain {
  NNImageNodePtr x = NNImageNode::node(named_handle("x")), t = NNImageNode::node(named_handle("t"));
  std::shared_ptr<NNForwardLossNode> loss;
  std::vector<std::shared_ptr<NNFilterNode>> made;  // gradient nodes
  NNImageNodePtr dx;
  std::optional<NNGraph> graph;

  explicit Chain(const std::function<NNImageNodePtr(const NNImageNodePtr&)>& body,
                 const std::function<void(NNFilterNode&)>& with_gradient = {}) {
    loss = NNForwardLossNode::node(body(x), t, squares());
    const auto ends =
        NNInitialGradientNode::node(loss->resultImage())
            ->trainingGraph(nullptr, [&](NNFilterNode* node, NNFilterNode*,
                                         const NNImageNodePtr& source, const NNImageNodePtr&) {
              node->resultImage()->setHandle(source->handle());
              if (with_gradient) with_gradient(*node);
              made.push_back(node->shared_from_this());
            });
    for (const auto& end : ends)
      if (end->resultImage()->handle() == x->handle()) dx = end->resultImage();
    compile();
  }
  void compile(bool needed = true) {
    graph.emplace(device(), dx, needed);
    graph->setFormat(Float32);
  }
  [[nodiscard]] std::vector<ImageBatch> inputs(const ImageBatch& x_images,
                                               const ImageBatch& t_images) const {
    std::vector<ImageBatch> list;
    for (const auto& handle : graph->sourceImageHandles())
      list.push_back(handle == x->handle() ? x_images : t_images);
    return list;
  }
  Floats step(const ImageBatch& x_images, const ImageBatch& t_images) {
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch result = graph->encodeBatch(commands, inputs(x_images, t_images));
    finish(commands);
    return read(result);
  }
  template <class Node>
  [[nodiscard]] std::shared_ptr<Node> made_node() const {
    for (const auto& node : made)
      if (auto found = std::dynamic_pointer_cast<Node>(node)) return found;
    return nullptr;
  }
};

/// The gradient of the squared error by hand.
ImageBatch error_gradient(const CommandBuffer& commands, const ImageBatch& y, const ImageBatch& t) {
  NNForwardLoss loss = kept(NNForwardLoss(device(), squares()));
  NNInitialGradient ones = kept(NNInitialGradient(device()));
  NNLossGradient gradient = kept(NNLossGradient(device(), squares()));
  StateBatch states;
  const ImageBatch losses = loss.encodeBatch(commands, y, t, {}, &states, false);
  return gradient.encodeBatch(commands, ones.encodeBatch(commands, losses), y, t, {}, states);
}

// ---- convolution and fully connected layers ----------------------------------------------------

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

// ---- combined losses ---------------------------------------------------------------------------

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
