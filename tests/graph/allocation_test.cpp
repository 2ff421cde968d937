// A training step in its steady state allocates nothing of its own, on any thread, and no memory of
// the device.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "cermet/nn/arithmetic_nodes.h"
#include "core/device_impl.h"
#include "graph/lenet.h"
#include "graph/network.h"
#include "graph/wrapped_engine.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<std::size_t> allocations{0};

/// oneDNN makes a map of its arguments at each call.
bool is_onednn(const void* caller) {
  Dl_info info{};
  return dladdr(caller, &info) != 0 && std::strstr(info.dli_fname, "dnnl") != nullptr;
}
}  // namespace

// g++ 12 does not see that these belong together.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(std::size_t bytes) {
  if (counting && !is_onednn(__builtin_return_address(0))) ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  if (counting && !is_onednn(__builtin_return_address(0))) ++allocations;
  return std::malloc(bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace cermet::test {
namespace {

/// Counts what it allocates.
class CountingEngine final : public WrappedEngine {
 public:
  [[nodiscard]] void* allocate(std::size_t bytes) override {
    ++(counting ? steady : before);
    return WrappedEngine::allocate(bytes);
  }
  [[nodiscard]] void* allocate_host(std::size_t bytes) override {
    ++(counting ? steady : before);
    return WrappedEngine::allocate_host(bytes);
  }
  std::atomic<std::size_t> before{0}, steady{0};
};

/// Allocations of this many steps in their steady state.
std::size_t allocations_of(NNGraph& graph, const CommandQueue& queue,
                           const std::vector<ImageBatch>& inputs, int steps = 100) {
  std::vector<ImageBatch> exported;
  exported.reserve(1);
  const auto start = [&] {
    CommandBuffer commands = queue.makeCommandBuffer();
    exported.clear();
    graph.encodeBatch(commands, inputs, {}, &exported, nullptr);
    commands.commit();
    return commands;
  };
  // A step may begin while the worker lets go of the last ones: some of everything must exist.
  for (int warm_up = 0; warm_up < 10; ++warm_up) {
    std::vector<CommandBuffer> in_flight;
    std::vector<std::vector<ImageBatch>> held;
    for (int i = 0; i < 6; ++i) {
      in_flight.push_back(start());
      held.push_back(exported);
    }
    for (CommandBuffer& commands : in_flight) commands.waitUntilCompleted();
  }
  allocations = 0;
  counting = true;
  for (int i = 0; i < steps; ++i) start().waitUntilCompleted();
  counting = false;
  return allocations;
}

TEST(Allocations, NoneInASteadyTrainingStep) {
  for (const OptimizerKind kind :
       {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::rmsprop, OptimizerKind::adam}) {
    const Parameters parameters({kind, 0.01F});
    TrainingGraph training(parameters, 6);
    const Data data(6, 1);
    EXPECT_EQ(allocations_of(*training.graph, device().makeCommandQueue(), training.inputs(data)),
              0U)
        << name_of(kind);
  }
}

TEST(Allocations, NoneWhereTwoGradientsShareAState) {
  const Parameters parameters;
  const auto x = NNImageNode::node(named_handle("x"));
  const auto convolution = CNNConvolutionNode::node(x, parameters.convolution);
  std::vector<NNImageNodePtr> gradients;
  for (int i = 0; i < 2; ++i) {
    const auto node = CNNConvolutionGradientNode::node(
        NNImageNode::node(), x, convolution->convolutionGradientState(), nullptr);
    node->setTrainingStyle(NNTrainingStyle::UpdateDeviceGPU);
    gradients.push_back(node->resultImage());
  }
  const auto sum = std::make_shared<NNAdditionNode>(gradients[0], gradients[1]);
  NNGraph graph(device(), sum->resultImage());
  graph.setFormat(ImageFeatureChannelFormat::Float32);
  const ImageBatch pictures = Data(2, 1).pictures;
  const ImageBatch incoming(
      device(), ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, side, side, 6),
      2);
  std::vector<ImageBatch> inputs;
  for (const auto& handle : graph.sourceImageHandles())
    inputs.push_back(handle == x->handle() ? pictures : incoming);
  EXPECT_EQ(allocations_of(graph, device().makeCommandQueue(), inputs), 0U);
}

TEST(Allocations, NoDeviceMemoryInASteadyTrainingStep) {
  for (const KernelOptions options : {KernelOptions::None, KernelOptions::AllowReducedPrecision}) {
    const auto engine = std::make_shared<CountingEngine>();
    const Device counted = detail::DeviceImpl::handle(detail::DeviceImpl::make(engine));
    LeNet network(counted, options);
    allocations_of(network.graph(), counted.makeCommandQueue(), network.inputs(0), 20);
    EXPECT_GT(engine->before, 0U) << "nothing is counted";
    EXPECT_EQ(engine->steady, 0U);
  }
}

}  // namespace
}  // namespace cermet::test
