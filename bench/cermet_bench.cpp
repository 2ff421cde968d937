// One measured case: cermet_bench CASE THREADS|DEVICE [STEPS [BATCH]] prints milliseconds of a
// step, one figure a line. On the CPU each step is waited for; on a GPU a figure is the mean of
// `group` steps in flight, as training runs them. Every case first checks that training lowers its
// loss. bench/compare runs it against PyTorch, bench/compare_gpu on a GPU.

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cermet/nn/convolution_nodes.h"
#include "cermet/nn/dropout_nodes.h"
#include "cermet/nn/graph.h"
#include "cermet/nn/loss_nodes.h"
#include "cermet/nn/neuron_nodes.h"
#include "cermet/nn/pooling_nodes.h"
#include "cermet/train/parameters.h"
#include "fma_peak.h"

namespace {

using namespace cermet;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// A training graph with one input of 28x28x1 pictures and one of labels.
class Network {
 public:
  Network(Device device, std::size_t batch, bool lenet)
      : device_(std::move(device)),
        queue_(device_.makeCommandQueue()),
        pictures_(device_, descriptor(28, 28, 1), batch),
        labels_(device_, descriptor(1, 1, 10), batch),
        random_(1) {
    for (std::size_t i = 0; i < batch; ++i) {
      std::vector<float> pixels(28 * 28), one_hot(10, 0.0F);
      for (float& pixel : pixels) pixel = random_.uniform();
      one_hot[i % 10] = 1;
      pictures_[i].write_floats(pixels);
      labels_[i].write_floats(one_hot);
    }
    const auto x = NNImageNode::node(named_handle("picture"));
    const auto t = NNImageNode::node(named_handle("label"));
    NNImageNodePtr at = x;
    if (lenet) {
      at = block(at, "conv1", 5, 1, 32);
      at = block(at, "conv2", 5, 32, 64);
      at = full(at, "full1", 7, 64, 1024);
      at = std::make_shared<CNNNeuronReLUNode>(at)->resultImage();
      at = CNNDropoutNode::node(at, 0.5F, std::size_t{1}, Size{1, 1, 1})->resultImage();
      at = full(at, "full2", 1, 1024, 10);
    } else {
      at = CNNConvolutionNode::node(at, parameters("conv", 3, 1, 8))->resultImage();
      at = std::make_shared<CNNNeuronReLUNode>(at)->resultImage();
      at = full(at, "full", 28, 8, 10);
    }
    auto loss_descriptor = CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy,
                                                                CNNReductionType::Sum);
    loss_descriptor.setWeight(1.0F / static_cast<float>(batch));
    const auto loss = NNForwardLossNode::node(at, t, loss_descriptor);
    loss->resultImage()->setExportFromGraph(true);
    loss->resultImage()->setImageAllocator(Image::defaultAllocator());
    const auto ends = NNInitialGradientNode::node(loss->resultImage())->trainingGraph(nullptr);
    graph_ = std::make_unique<NNGraph>(device_, ends.at(0)->resultImage(), false);
    graph_->setFormat(ImageFeatureChannelFormat::Float32);
  }

  CommandBuffer start() {
    CommandBuffer commands = queue_.makeCommandBuffer();
    const ImageBatch inputs[] = {pictures_, labels_};
    losses_.clear();
    graph_->encodeBatch(commands, inputs, {}, &losses_, nullptr);
    commands.commit();
    return commands;
  }
  double step() {
    start().waitUntilCompleted();
    double sum = 0;
    for (const float loss : losses_.at(0).read_floats()) sum += static_cast<double>(loss);
    return sum;
  }

 private:
  static ImageDescriptor descriptor(std::size_t w, std::size_t h, std::size_t c) {
    return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c);
  }
  std::shared_ptr<ConvolutionParameters> parameters(const char* name, std::size_t size,
                                                    std::size_t in, std::size_t out) {
    auto made = std::make_shared<ConvolutionParameters>(
        device_, name, CNNConvolutionDescriptor::cnnConvolutionDescriptor(size, size, in, out),
        OptimizerSettings{OptimizerKind::sgd, 0.02F});
    made->initialise(random_);
    return made;
  }
  NNImageNodePtr block(const NNImageNodePtr& x, const char* name, std::size_t size, std::size_t in,
                       std::size_t out) {
    const auto convolution = CNNConvolutionNode::node(x, parameters(name, size, in, out));
    const auto relu = std::make_shared<CNNNeuronReLUNode>(convolution->resultImage());
    return CNNPoolingMaxNode::node(relu->resultImage(), std::size_t{2})->resultImage();
  }
  NNImageNodePtr full(const NNImageNodePtr& x, const char* name, std::size_t size, std::size_t in,
                      std::size_t out) {
    return CNNFullyConnectedNode::node(x, parameters(name, size, in, out))->resultImage();
  }

  Device device_;
  CommandQueue queue_;
  ImageBatch pictures_, labels_;
  RandomNumbers random_;
  std::unique_ptr<NNGraph> graph_;
  std::vector<ImageBatch> losses_;
};

int train(const Device& device, int steps, std::size_t batch, bool lenet) {
  Network network(device, batch, lenet);
  const double first = network.step();
  double last = first;
  for (int i = 0; i < 8; ++i) last = network.step();
  if (!(last < first)) {
    fmt::print(stderr, "the loss did not fall: {} to {}\n", first, last);
    return 1;
  }
  if (device.engine().host_can_access()) {
    for (int i = 0; i < steps; ++i) {
      const auto start = Clock::now();
      network.step();
      fmt::print("{:.6f}\n", milliseconds_since(start));
    }
    return 0;
  }
  constexpr int group = 50;
  network.start().waitUntilCompleted();
  for (int i = 0; i < steps; i += group) {
    const auto start = Clock::now();
    for (int j = 1; j < group; ++j) network.start();
    network.start().waitUntilCompleted();
    fmt::print("{:.6f}\n", milliseconds_since(start) / group);
  }
  return 0;
}

/// A repeated direct encode of a neuron into a given image: recording alone, nothing runs in the
/// measured time.
int encode(const Device& device, int steps) {
  const auto queue = device.makeCommandQueue();
  const ImageDescriptor one =
      ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 4, 4, 4);
  const Image source(device, one), destination(device, one);
  const CNNNeuronReLU relu(device, 0.0F);
  constexpr int encodes = 2000;
  for (int i = 0; i < steps; ++i) {
    CommandBuffer commands = queue.makeCommandBuffer();
    relu.encode(commands, source, destination);
    const auto start = Clock::now();
    for (int j = 0; j < encodes; ++j) relu.encode(commands, source, destination);
    fmt::print("{:.9f}\n", milliseconds_since(start) / encodes);
    commands.commit();
    commands.waitUntilCompleted();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  const std::string where = argc > 2 ? argv[2] : "1";
  const int threads = std::atoi(where.c_str());
  const int steps = argc > 3 ? std::atoi(argv[3]) : 20;
  const std::size_t batch = argc > 4          ? std::strtoul(argv[4], nullptr, 10)
                            : name == "lenet" ? 64
                                              : 1;
  try {
    if (name == "peak") {
      fmt::print("{:.3f}\n", measured_fma_peak(threads));
      return 0;
    }
    const Device device = threads > 0 ? Device::cpu(threads) : Device::named(where);
    if (name == "lenet") return train(device, steps, batch, true);
    if (name == "tiny") return train(device, steps, batch, false);
    if (name == "encode") return encode(device, steps);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "cermet_bench: {}\n", problem.what());
    return 1;
  }
  fmt::print(stderr, "usage: cermet_bench lenet|tiny|encode|peak THREADS|DEVICE [STEPS [BATCH]]\n");
  return 2;
}
