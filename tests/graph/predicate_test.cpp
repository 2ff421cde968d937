// Graphs under predicates: of the command buffer, and of a data source alone.

#include <gtest/gtest.h>

#include "graph/chain.h"

namespace cermet::test {
namespace {

/// Weights whose update on the device encodes something that never runs.
class GuardedWeights final : public CNNConvolutionDataSource {
 public:
  explicit GuardedWeights(std::uint64_t seed) : held_(3, 3, 2, 2, seed) {}
  [[nodiscard]] DataType dataType() const override { return held_.dataType(); }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return held_.descriptor();
  }
  [[nodiscard]] const void* weights() override { return held_.weights(); }
  [[nodiscard]] const float* biasTerms() override { return held_.biasTerms(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return {}; }

  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer& commands, const std::shared_ptr<CNNConvolutionGradientState>&,
      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>&) override {
    ++calls;
    CommandBuffer guarded = CommandBuffer::commandBuffer(commands);
    guarded.setPredicate(Predicate(device()));
    CNNNeuronLinear(device(), 2, 1).encode(guarded, untouched_[0], untouched_[1]);
    return nullptr;
  }
  [[nodiscard]] Floats written() const { return untouched_[1].read_floats(); }
  int calls = 0;

 private:
  HostWeights held_;
  ImageBatch untouched_ =
      ImageBatch(device(), ImageDescriptor::imageDescriptor(Float32, 1, 1, 1), 2);
};

template <class Source>
Chain two_layers(const std::shared_ptr<Source>& first, const std::shared_ptr<Source>& second) {
  return Chain([&](const NNImageNodePtr& x) {
    const auto lower = CNNConvolutionNode::node(x, first);
    return CNNConvolutionNode::node(lower->resultImage(), second)->resultImage();
  });
}

TEST(GraphPredicates, OfADataSourceEndWithItsUpdate) {
  const auto guarded = std::make_shared<GuardedWeights>(7);
  Chain graph = two_layers(std::make_shared<GuardedWeights>(5), guarded);
  Chain plain = two_layers(std::make_shared<HostWeights>(3, 3, 2, 2, 5),
                           std::make_shared<HostWeights>(3, 3, 2, 2, 7));
  for (std::uint64_t step = 0; step < 4; ++step) {  // the first is encoded, others are replayed
    const ImageBatch x = batch(3, 4, 4, 2, step), t = batch(3, 4, 4, 2, step + 50);
    EXPECT_EQ(graph.step(x, t), plain.step(x, t)) << "step " << step;
  }
  EXPECT_EQ(guarded->calls, 4);
  EXPECT_EQ(guarded->written(), Floats{0});
}

TEST(GraphPredicates, SkipAStepAndNothingElse) {
  const auto make = [] {
    return two_layers(std::make_shared<HostWeights>(3, 3, 2, 2, 5),
                      std::make_shared<HostWeights>(3, 3, 2, 2, 7));
  };
  Chain graph = make(), plain = make();
  for (std::uint64_t step = 0; step < 4; ++step) {
    const ImageBatch x = batch(3, 4, 4, 2, step), t = batch(3, 4, 4, 2, step + 50);
    CommandBuffer commands = queue().makeCommandBuffer();
    commands.setPredicate(Predicate(device()));
    const ImageBatch skipped = graph.graph->encodeBatch(commands, graph.inputs(x, t));
    const Floats before = read(skipped);
    finish(commands);
    EXPECT_EQ(read(skipped), before) << "step " << step;
    EXPECT_EQ(graph.step(x, t), plain.step(x, t)) << "step " << step;
  }
}

}  // namespace
}  // namespace cermet::test
