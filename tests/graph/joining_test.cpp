// Programs on a backend that joins the updates of parameters (cuda/joining.h), for which the CPU
// stands here.

#include "cuda/joining.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <typeinfo>

#include "cermet/ops/optimizer.h"
#include "core/device_impl.h"
#include "graph/lenet.h"
#include "graph/network.h"
#include "graph/wrapped_engine.h"

namespace cermet::test {
namespace {

struct JoinableStep final : Step, cuda::Joinable {
  explicit JoinableStep(StepPtr of) : inner(std::move(of)) {
    slots = inner->slots;
    bytes = inner->bytes;
    scratch_bytes = inner->scratch_bytes;
    implementation = inner->implementation;
  }
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override { return inner->bind(); }
  [[nodiscard]] const void* kind() const override { return &typeid(JoinableStep); }
  void launch_joined(std::span<const StepRun* const>, cuda::CudaStream&) const override {}
  StepPtr inner;
};

/// The CPU with updates that are put off; those of one launch run backwards. A program's memory is
/// shared from `worth` bytes on.
class JoiningEngine final : public WrappedEngine {
 public:
  explicit JoiningEngine(std::size_t worth) : WrappedEngine(Device::cpu(1)), worth_(worth) {}
  [[nodiscard]] std::size_t memory_worth_sharing() const override { return worth_; }
  [[nodiscard]] StepPtr prepare(const OpView& op, Descs descs) override {
    StepPtr step = WrappedEngine::prepare(op, descs);
    if (op.name != StochasticGradientDescent::name && op.name != Adam::name) return step;
    return std::make_shared<JoinableStep>(std::move(step));
  }
  [[nodiscard]] std::unique_ptr<Stream> make_stream() override {
    auto stream = std::make_unique<Joining>();
    stream->inner = WrappedEngine::make_stream();
    stream->most = &most;
    return stream;
  }
  std::atomic<std::size_t> most{0};  // runs of one launch

 private:
  struct Joining final : Stream {
    std::unique_ptr<Stream> inner;
    std::atomic<std::size_t>* most = nullptr;
    void run(std::span<const StepRun> runs) override {
      for (const std::vector<std::size_t>& launch : cuda::launches_of(runs)) {
        *most = std::max(most->load(), launch.size());
        for (auto i = launch.rbegin(); i != launch.rend(); ++i) inner->run(runs.subspan(*i, 1));
      }
    }
  };
  std::size_t worth_;
};

Device device_of(const std::shared_ptr<JoiningEngine>& engine) {
  return detail::DeviceImpl::handle(detail::DeviceImpl::make(engine));
}

TEST(JoinedUpdates, MemoryIsSharedFromTheSizeThatTheBackendNames) {
  // Five results of 5 x 4 x 3 floats, 240 bytes in places of 256; the last one is not in the arena.
  struct Row {
    std::size_t worth, arena;
  };
  std::vector<float> first;
  for (const Row& row : {Row{0, 512}, Row{1024, 512}, Row{1025, 1024}}) {
    const Device own = device_of(std::make_shared<JoiningEngine>(row.worth));
    NNImageNodePtr at = NNImageNode::node();
    for (int layer = 0; layer < 5; ++layer)
      at = std::make_shared<CNNNeuronSigmoidNode>(at)->resultImage();
    NNGraph graph(own, at);
    graph.setFormat(ImageFeatureChannelFormat::Float32);
    graph.set_rewrites(false);
    ImageBatch pictures(
        own, ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 5, 4, 3), 1);
    std::vector<float> values(60);
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = 0.1F * static_cast<float>(k) - 3;
    pictures[0].write_floats(values);
    const ImageBatch inputs[] = {pictures};
    CommandBuffer commands = own.makeCommandQueue().makeCommandBuffer();
    const ImageBatch result = graph.encodeBatch(commands, inputs);
    commands.commit();
    commands.waitUntilCompleted();
    const std::vector<float> seen = result[0].read_floats();
    if (first.empty()) first = seen;
    EXPECT_EQ(seen, first);
    const std::string text = graph.debugDescription(),
                      line = "arena: " + std::to_string(row.arena) + " bytes for 1024 bytes";
    EXPECT_NE(text.find(line), std::string::npos) << text;
  }
}

TEST(JoinedUpdates, KeepTheBitsOfTrainingSteps) {
  LeNet plain(Device::cpu(1));
  const auto sharing = std::make_shared<JoiningEngine>(0);
  const auto apart = std::make_shared<JoiningEngine>(std::size_t{1} << 30);
  LeNet one(device_of(sharing)), other(device_of(apart));
  for (std::size_t step = 0; step < 3; ++step) {
    const double loss = plain.step(step);
    EXPECT_EQ(one.step(step), loss) << "step " << step;
    EXPECT_EQ(other.step(step), loss) << "step " << step;
  }
  EXPECT_TRUE(one.parameters() == plain.parameters());
  EXPECT_TRUE(other.parameters() == plain.parameters());
  // Biases of four layers, and those of their weights that the CPU does not pack for the next step.
  EXPECT_GE(sharing->most, 4U);
  EXPECT_GE(apart->most, 4U);
}

}  // namespace
}  // namespace cermet::test
