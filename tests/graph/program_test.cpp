// Programs: what graphs lower to. Replaying equals encoding kernel by kernel, rewrites change
// nothing but rounding, and states, results and inputs of different encodes stay apart.

#include <gtest/gtest.h>

#include <functional>

#include "cermet/cnn/dropout.h"
#include "cermet/nn/dropout_nodes.h"
#include "graph/network.h"

namespace cermet::test {
namespace {

/// Two blocks of convolution, ReLU and max pooling, two fully connected layers with dropout.
struct DeepGraph {
  std::vector<std::shared_ptr<ConvolutionParameters>> parameters;
  NNImageNodePtr x = NNImageNode::node(named_handle("picture"));
  NNImageNodePtr labels = NNImageNode::node(named_handle("label"));
  std::optional<NNGraph> graph;
  std::size_t width, height;

  DeepGraph(std::size_t w, std::size_t h, bool rewrites, OptimizerSettings optimizer,
            std::size_t batch)
      : width(w), height(h) {
    RandomNumbers random(3);
    const auto layer = [&](std::size_t kw, std::size_t kh, std::size_t in, std::size_t out) {
      auto made = std::make_shared<ConvolutionParameters>(
          device(), "layer" + std::to_string(parameters.size()),
          CNNConvolutionDescriptor::cnnConvolutionDescriptor(kw, kh, in, out), optimizer);
      made->initialise(random);
      parameters.push_back(made);
      return made;
    };
    const auto block = [&](const NNImageNodePtr& from, std::size_t k, std::size_t in,
                           std::size_t out) {
      const auto convolution = CNNConvolutionNode::node(from, layer(k, k, in, out));
      const auto relu = std::make_shared<CNNNeuronReLUNode>(convolution->resultImage());
      return CNNPoolingMaxNode::node(relu->resultImage(), std::size_t{2})->resultImage();
    };
    auto at = block(x, 5, 1, 12);
    at = block(at, 3, 12, 20);
    at = CNNFullyConnectedNode::node(at, layer((w + 3) / 4, (h + 3) / 4, 20, 16))->resultImage();
    at = std::make_shared<CNNNeuronReLUNode>(at)->resultImage();
    at = CNNDropoutNode::node(at, 0.5F, std::size_t{1}, Size{1, 1, 1})->resultImage();
    at = CNNFullyConnectedNode::node(at, layer(1, 1, 16, classes))->resultImage();
    const auto loss = NNForwardLossNode::node(at, labels, loss_descriptor(batch));
    loss->resultImage()->setExportFromGraph(true);
    loss->resultImage()->setImageAllocator(Image::defaultAllocator());
    const auto ends = NNInitialGradientNode::node(loss->resultImage())->trainingGraph(nullptr);
    graph.emplace(device(), ends.at(0)->resultImage(), false);
    graph->setFormat(ImageFeatureChannelFormat::Float32);
    graph->set_rewrites(rewrites);
  }

  std::vector<ImageBatch> data(std::size_t count, std::uint64_t seed) const {
    const auto format = ImageFeatureChannelFormat::Float32;
    ImageBatch pictures(device(), ImageDescriptor::imageDescriptor(format, width, height, 1),
                        count);
    ImageBatch truth(device(), label_descriptor(), count);
    RandomNumbers random(seed);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t label = random.below(classes);
      std::vector<float> pixels(width * height), one_hot(classes, 0.0F);
      for (std::size_t p = 0; p < pixels.size(); ++p) {
        // Exact zeros, as in pictures of digits: ReLU of 0 and ties between taps are common there.
        const float noise = random.uniform() - 0.5F;
        pixels[p] = noise < 0 ? 0.0F : noise + (p % classes == label ? 0.5F : 0.0F);
      }
      one_hot[label] = 1;
      pictures[i].write_floats(pixels);
      truth[i].write_floats(one_hot);
    }
    if (graph->sourceImageHandles().at(0) == x->handle()) return {pictures, truth};
    return {truth, pictures};
  }

  std::vector<float> step(const CommandQueue& queue, std::size_t batch, std::uint64_t seed) {
    CommandBuffer commands = queue.makeCommandBuffer();
    std::vector<ImageBatch> losses;
    graph->encodeBatch(commands, data(batch, seed), {}, &losses, nullptr);
    commands.commit();
    commands.waitUntilCompleted();
    const auto problem = commands.error();
    EXPECT_FALSE(problem.has_value()) << problem->what();
    EXPECT_EQ(commands.status(), CommandBufferStatus::Completed);
    return losses.at(0).read_floats();
  }
};

double sum(const std::vector<float>& values) {
  double total = 0;
  for (const float value : values) total += static_cast<double>(value);
  return total;
}

struct Extent {
  std::size_t width, height;
};
class Rewrites : public testing::TestWithParam<Extent> {};

TEST_P(Rewrites, ChangeNothingButRoundingOver20Steps) {
  const OptimizerSettings sgd{OptimizerKind::sgd, 0.05F};
  constexpr std::size_t batch = 7;
  DeepGraph with(GetParam().width, GetParam().height, true, sgd, batch);
  DeepGraph without(GetParam().width, GetParam().height, false, sgd, batch);
  const CommandQueue queue = device().makeCommandQueue();
  for (std::uint64_t step = 0; step < 20; ++step) {
    const double a = sum(with.step(queue, batch, step % 3));
    const double b = sum(without.step(queue, batch, step % 3));
    ASSERT_NEAR(a, b, 1e-5 * std::abs(b)) << "step " << step;
  }
}
INSTANTIATE_TEST_SUITE_P(Programs, Rewrites,
                         testing::Values(Extent{12, 8}, Extent{16, 16}, Extent{8, 12},
                                         Extent{13, 9}, Extent{10, 11}));

TEST(Programs, PoolingIsFusedWhereWindowsDoNotOverlapTheEdge) {
  const OptimizerSettings sgd{OptimizerKind::sgd, 0.05F};
  const CommandQueue queue = device().makeCommandQueue();
  const auto description = [&](std::size_t width, bool rewrites) {
    DeepGraph graph(width, 8, rewrites, sgd, 2);
    static_cast<void>(graph.step(queue, 2, 1));
    return graph.graph->debugDescription();
  };
  const std::string fused = "CNNPoolingMax+CNNNeuron+CNNConvolutionGradient.weights";
  EXPECT_NE(description(8, true).find(fused), std::string::npos);
  EXPECT_EQ(description(8, false).find("CNNPoolingMax+"), std::string::npos);
  EXPECT_NE(description(8, false).find("CNNPoolingMaxGradient"), std::string::npos);
}

TEST(Programs, RewritesKeepTheBitsForAnyThreadCount) {
  // Own kernels divide their work so that no sum depends on it.
  std::vector<float> losses[2];
  for (const int threads : {1, 2}) {
    const Device own = device_under_test(threads);
    RandomNumbers random(5);
    auto parameters = std::make_shared<ConvolutionParameters>(
        own, "convolution", CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 16),
        OptimizerSettings{OptimizerKind::sgd, 0.1F});
    parameters->initialise(random);
    const auto x = NNImageNode::node();
    const auto convolution = CNNConvolutionNode::node(x, parameters);
    const auto relu = std::make_shared<CNNNeuronReLUNode>(convolution->resultImage());
    const auto pool = CNNPoolingMaxNode::node(relu->resultImage(), std::size_t{2});
    const auto seed = NNInitialGradientNode::node(pool->resultImage());
    const auto ends = seed->trainingGraph(nullptr);
    NNGraph graph(own, ends.at(0)->resultImage(), true);
    graph.setFormat(ImageFeatureChannelFormat::Float32);
    const auto format = ImageFeatureChannelFormat::Float32;
    ImageBatch pictures(own, ImageDescriptor::imageDescriptor(format, 24, 24, 4), 9);
    for (const Image image : pictures) {
      std::vector<float> values(24 * 24 * 4);
      for (float& value : values) value = random.uniform() - 0.5F;
      image.write_floats(values);
    }
    const CommandQueue queue = own.makeCommandQueue();
    CommandBuffer commands = queue.makeCommandBuffer();
    const ImageBatch inputs[] = {pictures};
    const ImageBatch gradient = graph.encodeBatch(commands, inputs);
    commands.commit();
    commands.waitUntilCompleted();
    auto& kept = losses[threads - 1];
    for (const Image image : gradient) {
      const auto values = image.read_floats();
      kept.insert(kept.end(), values.begin(), values.end());
    }
    const auto* weights = static_cast<const float*>(parameters->weights());
    kept.insert(kept.end(), weights, weights + 3 * 3 * 4 * 16);
  }
  EXPECT_EQ(losses[0], losses[1]);
}

TEST(Programs, BatchSizesOfOneGraphKeepTheirOwnPrograms) {
  const OptimizerSettings none{OptimizerKind::sgd, 0.0F};
  DeepGraph graph(8, 8, true, none, 4);
  const CommandQueue queue = device().makeCommandQueue();
  for (const std::size_t batch : {4U, 1U, 4U, 3U, 1U})
    EXPECT_EQ(graph.step(queue, batch, 2).size(), batch);
  std::size_t programs = 0;
  const std::string text = graph.graph->debugDescription();
  for (auto at = text.find("\nprogram\n"); at != std::string::npos;
       at = text.find("\nprogram\n", at + 1)) {
    ++programs;
  }
  EXPECT_EQ(programs, 3U);
}

TEST(Programs, ResultsOfEncodesInFlightStayApart) {
  const OptimizerSettings sgd{OptimizerKind::sgd, 0.1F};
  DeepGraph graph(8, 8, true, sgd, 4), one_by_one(8, 8, true, sgd, 4);
  const CommandQueue queue = device().makeCommandQueue();
  std::vector<CommandBuffer> buffers;
  std::vector<ImageBatch> losses;
  for (std::uint64_t step = 0; step < 6; ++step) {
    buffers.push_back(queue.makeCommandBuffer());
    graph.graph->encodeBatch(buffers.back(), graph.data(4, step), {}, &losses, nullptr);
    buffers.back().commit();
  }
  for (CommandBuffer& buffer : buffers) buffer.waitUntilCompleted();
  for (std::uint64_t step = 0; step < 6; ++step) {
    const auto expected = one_by_one.step(queue, 4, step);
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_EQ(losses[step][i].read_floats()[0], expected[i]) << "step " << step;
  }
}

using GradientState = std::shared_ptr<CNNConvolutionGradientState>;
using ParameterState = std::shared_ptr<CNNConvolutionWeightsAndBiasesState>;

/// The parameters of another source with an update of one's own.
class Wrapped final : public CNNConvolutionDataSource {
 public:
  using Update = std::function<ParameterState(const CommandBuffer&, const GradientState&,
                                              const ParameterState&)>;
  Wrapped(std::shared_ptr<ConvolutionParameters> from, Update update)
      : from_(std::move(from)), update_(std::move(update)) {}
  [[nodiscard]] DataType dataType() const override { return from_->dataType(); }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return from_->descriptor();
  }
  [[nodiscard]] const void* weights() override { return from_->weights(); }
  [[nodiscard]] const float* biasTerms() override { return from_->biasTerms(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return from_->label(); }
  ParameterState update(const CommandBuffer& commandBuffer, const GradientState& gradientState,
                        const ParameterState& sourceState) override {
    return update_(commandBuffer, gradientState, sourceState);
  }
  using CNNConvolutionDataSource::update;

 private:
  std::shared_ptr<ConvolutionParameters> from_;
  Update update_;
};

TEST(Programs, ParametersOfTwoLayersAreOneTruth) {
  // What is worked on in place must train like what is copied: alone and shared by two layers.
  for (const std::size_t layers : {1U, 2U}) {
    std::vector<std::vector<float>> trained;
    for (const bool blind : {false, true}) {
      RandomNumbers random(5);
      auto values = std::make_shared<ConvolutionParameters>(
          device(), "layer", CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 2, 2),
          OptimizerSettings{OptimizerKind::momentum, 0.001F});
      values->initialise(random);
      std::shared_ptr<CNNConvolutionDataSource> source = values;
      if (blind) {  // never sees the kernels' parameters, and works in its own
        source = std::make_shared<Wrapped>(
            values, [values](const auto& commands, const auto& state, const auto&) {
              return values->update(commands, state, nullptr);
            });
      }
      NNImageNodePtr at = NNImageNode::node();
      for (std::size_t i = 0; i < layers; ++i)
        at = CNNConvolutionNode::node(at, source)->resultImage();
      const auto ends = NNInitialGradientNode::node(at)->trainingGraph(nullptr);
      NNGraph graph(device(), ends.at(0)->resultImage(), false);
      graph.setFormat(ImageFeatureChannelFormat::Float32);
      const CommandQueue queue = device().makeCommandQueue();
      for (std::uint64_t step = 0; step < 5; ++step) {
        const Data data(3, step);
        CommandBuffer commands = queue.makeCommandBuffer();
        const ImageBatch inputs[] = {data.pictures};
        graph.encodeBatch(commands, inputs);
        commands.commit();
        commands.waitUntilCompleted();
        if (step == 2) graph.reloadFromDataSources();
      }
      const auto* weights = static_cast<const float*>(values->weights());
      trained.emplace_back(weights, weights + 3 * 3 * 2 * 2);
    }
    EXPECT_EQ(trained[0], trained[1]) << layers << " layers";
  }
}

TEST(Programs, UserCodeMayCommitAndContinue) {
  std::vector<float> trained[2];
  for (const bool impatient : {false, true}) {
    RandomNumbers random(5);
    std::vector<std::shared_ptr<ConvolutionParameters>> layers;
    NNImageNodePtr at = NNImageNode::node();
    for (int i = 0; i < 3; ++i) {
      layers.push_back(std::make_shared<ConvolutionParameters>(
          device(), "layer", CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 2, 2),
          OptimizerSettings{OptimizerKind::sgd, 0.001F}));
      layers.back()->initialise(random);
      const auto update = [impatient, values = layers.back()](
                              const CommandBuffer& commands, const auto& state, const auto& shown) {
        auto result = values->update(commands, state, shown);
        if (impatient) CommandBuffer(commands).commitAndContinue();
        return result;
      };
      const auto source = std::make_shared<Wrapped>(layers.back(), update);
      at = CNNConvolutionNode::node(at, source)->resultImage();
    }
    const auto ends = NNInitialGradientNode::node(at)->trainingGraph(nullptr);
    NNGraph graph(device(), ends.at(0)->resultImage(), false);
    graph.setFormat(ImageFeatureChannelFormat::Float32);
    const CommandQueue queue = device().makeCommandQueue();
    CommandBuffer last;
    for (std::uint64_t step = 0; step < 6; ++step) {
      const Data data(3, step);  // gone before it has been read
      last = queue.makeCommandBuffer();
      const ImageBatch inputs[] = {data.pictures};
      graph.encodeBatch(last, inputs);
      last.commit();
    }
    last.waitUntilCompleted();
    for (const auto& layer : layers) {
      const auto* weights = static_cast<const float*>(layer->weights());
      trained[impatient ? 1 : 0].insert(trained[impatient ? 1 : 0].end(), weights,
                                        weights + 3 * 3 * 2 * 2);
    }
  }
  EXPECT_EQ(trained[0], trained[1]);
}

TEST(Programs, GradientStatesThatTheUserKeepsAreNotWrittenAgain) {
  RandomNumbers random(5);
  const auto values = std::make_shared<ConvolutionParameters>(
      device(), "layer", CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 2, 4),
      OptimizerSettings{});
  values->initialise(random);
  std::vector<GradientState> kept;
  const auto parameters = std::make_shared<Wrapped>(
      values, [&](const auto&, const GradientState& state, const auto&) -> ParameterState {
        kept.push_back(state);
        return nullptr;
      });
  const auto x = NNImageNode::node();
  const auto convolution = CNNConvolutionNode::node(x, parameters);
  const auto ends = NNInitialGradientNode::node(convolution->resultImage())->trainingGraph(nullptr);
  NNGraph graph(device(), ends.at(0)->resultImage(), false);
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  const CommandQueue queue = device().makeCommandQueue();
  const Data first(2, 1), second(2, 2);
  std::vector<float> seen[3];
  for (std::size_t step = 0; step < 3; ++step) {
    CommandBuffer commands = queue.makeCommandBuffer();
    const ImageBatch inputs[] = {step == 1 ? second.pictures : first.pictures};
    graph.encodeBatch(commands, inputs);
    commands.commit();
    commands.waitUntilCompleted();
    const auto gradient = kept.back()->gradientForWeights().as<float>();
    seen[step].assign(gradient.begin(), gradient.end());
  }
  for (std::size_t step = 0; step < 3; ++step) {
    const auto gradient = kept[step]->gradientForWeights().as<float>();
    EXPECT_TRUE(std::equal(gradient.begin(), gradient.end(), seen[step].begin())) << step;
  }
  EXPECT_EQ(seen[0], seen[2]);
  EXPECT_NE(seen[0], seen[1]);
}

TEST(Programs, DropoutDrawsAnewAtEachEncode) {
  const auto dropped =
      CNNDropoutNode::node(NNImageNode::node(), 0.5F, std::size_t{7}, Size{1, 1, 1});
  NNGraph graph(device(), dropped->resultImage());
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  CNNDropout by_hand(device(), 0.5F, 7, Size{1, 1, 1});
  by_hand.setDestinationImageAllocator(Image::defaultAllocator());
  const CommandQueue queue = device().makeCommandQueue();
  const Data data(2, 1);
  const ImageBatch inputs[] = {data.pictures};
  std::vector<float> before;
  for (int i = 0; i < 4; ++i) {
    CommandBuffer commands = queue.makeCommandBuffer();
    const ImageBatch result = graph.encodeBatch(commands, inputs);
    const ImageBatch expected = by_hand.encodeBatch(commands, data.pictures);
    commands.commit();
    commands.waitUntilCompleted();
    const auto values = result[1].read_floats();
    EXPECT_EQ(values, expected[1].read_floats()) << "encode " << i;
    EXPECT_NE(values, before);
    before = values;
  }
}

TEST(Programs, AreNotSharedByQueues) {
  // Two queues may run at the same time, and what a program keeps between encodes is one memory.
  DeepGraph graph(8, 8, true, {OptimizerKind::sgd, 0.0F}, 2);
  for (int i = 0; i < 2; ++i) {
    const CommandQueue first = device().makeCommandQueue(), second = device().makeCommandQueue();
    static_cast<void>(graph.step(first, 2, 1));
    static_cast<void>(graph.step(second, 2, 1));
    const std::string text = graph.graph->debugDescription();
    EXPECT_NE(text.find("\nprogram\n"), text.rfind("\nprogram\n"));
  }
}

TEST(Programs, SkippedStepsKeepTheParametersOfTwoLayers) {
  RandomNumbers random(5);
  auto values = std::make_shared<ConvolutionParameters>(
      device(), "layer", CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 2, 2),
      OptimizerSettings{OptimizerKind::sgd, 0.5F});
  values->initialise(random);
  const auto weights = [&] {
    const auto* first = static_cast<const float*>(values->weights());
    return std::vector<float>(first, first + 3 * 3 * 2 * 2);
  };
  const auto before = weights();
  NNImageNodePtr at = NNImageNode::node();
  for (int i = 0; i < 2; ++i) at = CNNConvolutionNode::node(at, values)->resultImage();
  const auto ends = NNInitialGradientNode::node(at)->trainingGraph(nullptr);
  NNGraph graph(device(), ends.at(0)->resultImage(), false);
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  const CommandQueue queue = device().makeCommandQueue();
  const Data data(2, 1);
  const ImageBatch inputs[] = {data.pictures};
  const Predicate run(device());
  for (int step = 0; step < 3; ++step) {
    CommandBuffer commands = queue.makeCommandBuffer();
    commands.setPredicate(run);
    graph.encodeBatch(commands, inputs);
    commands.commit();
    commands.waitUntilCompleted();
  }
  EXPECT_EQ(weights(), before);
}

/// Counts how often it is asked.
class Counting final : public NNDefaultPadding {
 public:
  Counting() : NNDefaultPadding(NNPaddingMethod::SizeSame) {}
  [[nodiscard]] NNPaddingMethod paddingMethod() const override {
    ++asked;
    return NNDefaultPadding::paddingMethod();
  }
  mutable std::size_t asked = 0;
};

TEST(Programs, PaddingPoliciesOfTheUserAreAskedAtEachEncode) {
  const Parameters parameters;
  const auto policy = std::make_shared<Counting>();
  const auto convolution = CNNConvolutionNode::node(NNImageNode::node(), parameters.convolution);
  convolution->setPaddingPolicy(policy);
  NNGraph graph(device(), convolution->resultImage());
  const CommandQueue queue = device().makeCommandQueue();
  const Data data(2, 1);
  const ImageBatch inputs[] = {data.pictures};
  std::size_t before = 0;
  for (int i = 0; i < 3; ++i) {
    CommandBuffer commands = queue.makeCommandBuffer();
    static_cast<void>(graph.encodeBatch(commands, inputs));
    commands.commit();
    commands.waitUntilCompleted();
    EXPECT_GT(policy->asked, before);
    before = policy->asked;
  }
  EXPECT_NE(graph.debugDescription().find("a padding policy of the user"), std::string::npos);
}

TEST(Programs, TemporarySourcesLoseOneReadAndKeepThemWhenAnEncodeFails) {
  const OptimizerSettings sgd{OptimizerKind::sgd, 0.1F};
  DeepGraph graph(8, 8, true, sgd, 2);
  const CommandQueue queue = device().makeCommandQueue();
  CommandBuffer commands = queue.makeCommandBuffer();
  const auto format = ImageFeatureChannelFormat::Float32;
  const ImageBatch pictures(commands, ImageDescriptor::imageDescriptor(format, 8, 8, 1), 2);
  ImageBatchIncrementReadCount(pictures, 1);
  const bool pictures_first = graph.graph->sourceImageHandles().at(0) == graph.x->handle();
  const auto encode = [&](std::size_t channels) {
    const ImageBatch truth(device(), ImageDescriptor::imageDescriptor(format, 1, 1, channels), 2);
    std::vector<ImageBatch> inputs{truth, pictures};
    if (pictures_first) std::swap(inputs[0], inputs[1]);
    graph.graph->encodeBatch(commands, inputs);
  };
  EXPECT_THROW(encode(classes - 1), InvalidArgument);
  EXPECT_EQ(pictures.front().readCount(), 2U);
  encode(classes);
  EXPECT_EQ(pictures.front().readCount(), 1U);
  encode(classes);
  EXPECT_EQ(pictures.front().readCount(), 0U);
  EXPECT_THROW(encode(classes), InvalidArgument);
  commands.commit();
  commands.waitUntilCompleted();
}

}  // namespace
}  // namespace cermet::test
