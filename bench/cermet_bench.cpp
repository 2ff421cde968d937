// One measured case: cermet_bench CASE THREADS|DEVICE [STEPS [BATCH]] [--tf32]
//   lenet, tiny    milliseconds of a training step of a graph
//   tiny-direct    the same for kernels encoded by hand
//   lstm           milliseconds of an LSTM forward and back through time, encoded by hand
//   fed            milliseconds of a step of lenet whose pictures and labels the host writes: the
//                  next ones while the current ones are computed
//   pair           milliseconds of a step of two tiny networks, each with a queue of its own
//   pair-shared    the same with one queue for both
//   encode         milliseconds of a direct encode that was seen before
//   host           microseconds of a replayed step of lenet: of the thread that encodes and
//                  commits, and of the one that enqueues (on the CPU: computes)
//   copy           GB/s read and written by a copy within the device's memory
//   rate           TFLOP/s of a large fully connected layer
//   peak           GFLOP/s of this many threads of the processor
// One figure a line. On the CPU each step is waited for; on a GPU a figure is the mean of `group`
// steps in flight, as training runs them. Every training case first checks that its loss falls.
// --tf32: KernelOptions::AllowReducedPrecision. bench/compare runs it against PyTorch,
// bench/compare_gpu on a GPU.

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "cermet/core/engine.h"
#include "cermet/nn/convolution_nodes.h"
#include "cermet/nn/dropout_nodes.h"
#include "cermet/nn/graph.h"
#include "cermet/nn/loss_nodes.h"
#include "cermet/nn/neuron_nodes.h"
#include "cermet/nn/pooling_nodes.h"
#include "digits.h"
#include "fma_peak.h"
#include "lstm_direct.h"
#include "tiny_direct.h"

namespace {

using namespace cermet;
using namespace cermet::bench;
using Clock = std::chrono::steady_clock;

bool on_host(const Device& device) { return device.engine().host_can_access(); }

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// A training graph with one input of 28x28x1 pictures and one of labels.
class Network {
 public:
  Network(Device device, std::size_t batch, bool lenet, KernelOptions options)
      : Network(device, batch, lenet, options, device.makeCommandQueue()) {}
  Network(Device device, std::size_t batch, bool lenet, KernelOptions options, CommandQueue queue)
      : device_(std::move(device)),
        queue_(std::move(queue)),
        random_(1),
        digits_(device_, batch, random_) {
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
    const auto loss = NNForwardLossNode::node(at, t, mean_cross_entropy(batch));
    loss->resultImage()->setExportFromGraph(true);
    loss->resultImage()->setImageAllocator(Image::defaultAllocator());
    const auto ends = NNInitialGradientNode::node(loss->resultImage())->trainingGraph(nullptr);
    graph_ = std::make_unique<NNGraph>(device_, ends.at(0)->resultImage(), false);
    graph_->setFormat(ImageFeatureChannelFormat::Float32);
    graph_->setOptions(options);
  }

  CommandBuffer start() { return start(queue_.makeCommandBuffer()); }
  CommandBuffer start(CommandBuffer commands) { return start(std::move(commands), digits_); }
  CommandBuffer start(CommandBuffer commands, const Digits& digits) {
    const ImageBatch inputs[] = {digits.pictures, digits.labels};
    losses_.clear();
    graph_->encodeBatch(commands, inputs, {}, &losses_, nullptr);
    commands.commit();
    return commands;
  }
  double step() {
    start().waitUntilCompleted();
    return sum(losses_.at(0));
  }
  [[nodiscard]] const CommandQueue& queue() const { return queue_; }

 private:
  std::shared_ptr<ConvolutionParameters> parameters(const char* name, std::size_t size,
                                                    std::size_t in, std::size_t out) {
    return bench::parameters(device_, random_, name, size, in, out);
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
  RandomNumbers random_;
  Digits digits_;
  std::unique_ptr<NNGraph> graph_;
  std::vector<ImageBatch> losses_;
};

template <class Trained>
int train(Trained network, const Device& device, int steps) {
  const double first = network.step();
  double last = first;
  for (int i = 0; i < 8; ++i) last = network.step();
  if (!(last < first)) {
    fmt::print(stderr, "the loss did not fall: {} to {}\n", first, last);
    return 1;
  }
  if (on_host(device)) {
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

/// Two batches take turns: one is written as soon as the step that reads it is done.
int fed(const Device& device, int steps, std::size_t batch, KernelOptions options) {
  Network network(device, batch, true, options);
  RandomNumbers random(2);
  std::vector<Digits> turns;
  std::vector<std::vector<float>> pictures, labels;
  for (int i = 0; i < 2; ++i) {
    const Digits& made = turns.emplace_back(device, batch, random);
    pictures.push_back(made.pictures.read_floats());
    labels.push_back(made.labels.read_floats());
  }
  std::vector<CommandBuffer> in_flight;
  for (std::size_t i = 0; i < turns.size(); ++i) in_flight.push_back(network.start());
  const auto step = [&](std::size_t turn) {
    in_flight[turn].waitUntilCompleted();
    turns[turn].pictures.write_floats(pictures[turn]);
    turns[turn].labels.write_floats(labels[turn]);
    in_flight[turn] = network.start(network.queue().makeCommandBuffer(), turns[turn]);
  };
  constexpr std::size_t group = 50;
  for (std::size_t i = 0; i < group; ++i) step(i % turns.size());
  for (int i = 0; i < steps; i += static_cast<int>(group)) {
    const auto start = Clock::now();
    for (std::size_t j = 0; j < group; ++j) step(j % turns.size());
    for (CommandBuffer& commands : in_flight) commands.waitUntilCompleted();
    fmt::print("{:.6f}\n", milliseconds_since(start) / group);
  }
  return 0;
}

int pair(const Device& device, int steps, std::size_t batch, KernelOptions options, bool shared) {
  const CommandQueue first = device.makeCommandQueue();
  const CommandQueue second = shared ? first : device.makeCommandQueue();
  Network a(device, batch, false, options, first), b(device, batch, false, options, second);
  const auto both = [&] {
    CommandBuffer one = a.start(), other = b.start();
    return std::array{one, other};
  };
  constexpr int group = 50;
  for (int i = 0; i < group; ++i) both();
  for (int i = 0; i < steps; i += group) {
    const auto start = Clock::now();
    for (int j = 1; j < group; ++j) both();
    for (CommandBuffer& commands : both()) commands.waitUntilCompleted();
    fmt::print("{:.6f}\n", milliseconds_since(start) / group);
  }
  return 0;
}

int lstm(const Device& device, int steps, std::size_t rows) {
  LstmDirect layer(device, rows);
  const int group = on_host(device) ? 1 : 50;
  for (int i = 0; i < 8; ++i) layer.start().waitUntilCompleted();
  for (int i = 0; i < steps; i += group) {
    const auto start = Clock::now();
    for (int j = 1; j < group; ++j) layer.start();
    layer.start().waitUntilCompleted();
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

/// What a step costs the host while at most a few are in flight.
int host(const Device& device, int steps, std::size_t batch, KernelOptions options) {
  Network network(device, batch, true, options);
  for (int i = 0; i < 9; ++i) network.step();
  // The thread that enqueues finds a few steps at once and calls a handler before each.
  constexpr int few = 4;
  for (int i = 0; i < steps; i += few - 1) {
    std::promise<void> opened;
    CommandBuffer gate = network.queue().makeCommandBuffer();
    gate.addScheduledHandler([open = opened.get_future().share()](CommandBuffer) { open.wait(); });
    gate.commit();
    std::array<Clock::time_point, few> enqueued;
    std::vector<CommandBuffer> in_flight;
    double encoding = 0;
    for (Clock::time_point& time : enqueued) {
      CommandBuffer commands = network.queue().makeCommandBuffer();
      commands.addScheduledHandler([&time](CommandBuffer) { time = Clock::now(); });
      const auto start = Clock::now();
      in_flight.push_back(network.start(std::move(commands)));
      encoding += milliseconds_since(start) / few;
    }
    opened.set_value();
    for (CommandBuffer& commands : in_flight) commands.waitUntilCompleted();
    for (std::size_t j = 1; j < few; ++j) {
      const std::chrono::duration<double, std::micro> between = enqueued[j] - enqueued[j - 1];
      fmt::print("{:.3f} {:.3f}\n", 1e3 * encoding, between.count());
    }
  }
  return 0;
}

int copy(const Device& device, int steps) {
  const std::size_t bytes = std::size_t{on_host(device) ? 256U : 2048U} << 20U;
  Engine& engine = device.engine();
  const auto release = [&](void* memory) { engine.release(memory, bytes); };
  using Memory = std::unique_ptr<void, decltype(release)>;
  const Memory from(engine.allocate(bytes), release), to(engine.allocate(bytes), release);
  engine.fill_zero(from.get(), bytes);
  engine.fill_zero(to.get(), bytes);
  const auto stream = engine.make_stream();
  constexpr int group = 10;
  for (int i = 0; i < steps; i += group) {
    const auto start = Clock::now();
    for (int j = 0; j < group; ++j) stream->copy(to.get(), from.get(), bytes);
    stream->wait(stream->mark());
    const double seconds = milliseconds_since(start) * 1e-3 / group;
    fmt::print("{:.1f}\n", 2e-9 * static_cast<double>(bytes) / seconds);
  }
  return 0;
}

int rate(const Device& device, int steps, KernelOptions options) {
  const std::size_t extent = on_host(device) ? 1024 : 8192;
  RandomNumbers random(1);
  CNNFullyConnected layer(device, parameters(device, random, "full", 1, extent, extent));
  layer.setOptions(options);
  const ImageDescriptor rows = floats(1, 1, extent, extent);
  const Image source(device, rows), result(device, rows);
  std::vector<float> values(extent * extent);
  for (float& value : values) value = random.uniform() - 0.5F;
  source.write_floats(values);
  const CommandQueue queue = device.makeCommandQueue();
  const auto start = [&] {
    CommandBuffer commands = queue.makeCommandBuffer();
    layer.encode(commands, source, result);
    commands.commit();
    return commands;
  };
  for (int i = 0; i < 3; ++i) start().waitUntilCompleted();
  constexpr int group = 5;
  for (int i = 0; i < steps; i += group) {
    const auto from = Clock::now();
    for (int j = 1; j < group; ++j) start();
    start().waitUntilCompleted();
    const double seconds = milliseconds_since(from) * 1e-3 / group;
    const auto products = static_cast<double>(extent * extent) * static_cast<double>(extent);
    fmt::print("{:.3f}\n", 2e-12 * products / seconds);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool tf32 = std::erase(words, "--tf32") != 0;
  const KernelOptions options = tf32 ? KernelOptions::AllowReducedPrecision : KernelOptions::None;
  const auto word = [&](std::size_t at, const char* otherwise) {
    return at < words.size() ? words[at] : otherwise;
  };
  const std::string name = word(0, ""), where = word(1, "1");
  const int threads = std::atoi(where.c_str());
  const int steps = std::atoi(word(2, "20").c_str());
  const bool lenet = name == "lenet" || name == "host" || name == "fed";
  const char* const usual = lenet ? "64" : (name == "lstm" ? "32" : "1");
  const std::size_t batch = std::strtoul(word(3, usual).c_str(), nullptr, 10);
  try {
    if (name == "peak") {
      fmt::print("{:.3f}\n", measured_fma_peak(threads));
      return 0;
    }
    const Device device = threads > 0 ? Device::cpu(threads) : Device::named(where);
    if (name == "lenet" || name == "tiny")
      return train(Network(device, batch, lenet, options), device, steps);
    if (name == "tiny-direct") return train(TinyDirect(device, batch, options), device, steps);
    if (name == "lstm") return lstm(device, steps, batch);
    if (name == "fed") return fed(device, steps, batch, options);
    if (name == "pair" || name == "pair-shared")
      return pair(device, steps, batch, options, name == "pair-shared");
    if (name == "encode") return encode(device, steps);
    if (name == "host") return host(device, steps, batch, options);
    if (name == "copy") return copy(device, steps);
    if (name == "rate") return rate(device, steps, options);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "cermet_bench: {}\n", problem.what());
    return 1;
  }
  fmt::print(stderr,
             "usage: cermet_bench "
             "lenet|tiny|tiny-direct|lstm|fed|pair|pair-shared|encode|host|copy|rate|peak "
             "THREADS|DEVICE [STEPS [BATCH]] [--tf32]\n");
  return 2;
}
