// Queues that train at the same time, or take turns: the same bits as with one queue.

#include <gtest/gtest.h>

#include <thread>

#include "graph/network.h"

namespace cermet::test {
namespace {

constexpr std::size_t steps = 24, batch = 5;

/// A network in training, its steps committed without a wait.
class Net {
 public:
  explicit Net(std::uint64_t seed)
      : parameters_({OptimizerKind::adam, 0.01F}, seed), graph_(parameters_, batch) {
    for (std::size_t i = 0; i < 4; ++i) data_.emplace_back(batch, 100 * seed + i);
  }
  void step(const CommandQueue& queue) {
    last_ = queue.makeCommandBuffer();
    std::vector<ImageBatch> losses;
    graph_.graph->encodeBatch(last_, graph_.inputs(data_[count_++ % data_.size()]), {}, &losses,
                              nullptr);
    last_.commit();
    committed_.push_back(last_);
    losses_.push_back(losses.at(0));
    if (committed_.size() > 3) committed_[committed_.size() - 3].waitUntilCompleted();
  }
  /// Every loss, and the parameters behind them.
  [[nodiscard]] std::vector<float> outcome() {
    for (CommandBuffer& one : committed_) one.waitUntilCompleted();
    std::vector<float> all;
    for (const ImageBatch& images : losses_) {
      for (const Image image : images) all.push_back(image.read_floats()[0]);
    }
    const auto add = [&](ConvolutionParameters& from, std::size_t weights, std::size_t biases) {
      const auto* const values = static_cast<const float*>(from.weights());
      all.insert(all.end(), values, values + weights);
      all.insert(all.end(), from.biasTerms(), from.biasTerms() + biases);
    };
    add(*parameters_.convolution, std::size_t{3} * 3 * 2 * 6, 6);
    add(*parameters_.full, side / 2 * (side / 2) * 6 * classes, classes);
    return all;
  }

 private:
  Parameters parameters_;
  TrainingGraph graph_;
  std::vector<Data> data_;
  std::size_t count_ = 0;
  CommandBuffer last_;
  std::vector<CommandBuffer> committed_;
  std::vector<ImageBatch> losses_;
};

std::vector<float> with_one_queue(std::uint64_t seed) {
  Net net(seed);
  const CommandQueue queue = device().makeCommandQueue();
  for (std::size_t i = 0; i < steps; ++i) net.step(queue);
  return net.outcome();
}

TEST(Queues, TrainTwoNetworksAtTheSameTime) {
  const std::vector<float> wanted[]{with_one_queue(1), with_one_queue(2)};
  ASSERT_NE(wanted[0], wanted[1]);
  for (int round = 0; round < 3; ++round) {
    Net nets[]{Net(1), Net(2)};
    const CommandQueue queues[]{device().makeCommandQueue(), device().makeCommandQueue()};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        for (std::size_t step = 0; step < steps; ++step) nets[i].step(queues[i]);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(nets[i].outcome(), wanted[i]) << i;
  }
}

TEST(Queues, TrainOneNetworkInTurns) {
  const std::vector<float> wanted = with_one_queue(3);
  for (const std::size_t count : {2U, 3U}) {
    Net net(3);
    std::vector<CommandQueue> queues;
    while (queues.size() < count) queues.push_back(device().makeCommandQueue());
    for (std::size_t step = 0; step < steps; ++step) net.step(queues[step % count]);
    EXPECT_EQ(net.outcome(), wanted) << count << " queues";
  }
}

}  // namespace
}  // namespace cermet::test
