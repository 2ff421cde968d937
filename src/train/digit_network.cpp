#include "cermet/train/digit_network.h"

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <optional>

#include "cermet/cnn/dropout.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/pooling.h"

namespace cermet {
namespace {

/// A layer with parameters: its source, and one kernel in each direction.
template <class Forward, class Backward>
struct Layer {
  std::shared_ptr<ConvolutionParameters> parameters;
  std::optional<Forward> forward;
  std::optional<Backward> backward;

  /// Kernels are made once the parameters hold their first values.
  void build(const Device& device) {
    forward.emplace(device, parameters);
    backward.emplace(device, parameters);
  }
  void reload() {
    forward->reloadWeightsAndBiasesFromDataSource();
    backward->reloadWeightsAndBiasesFromDataSource();
  }
  /// One optimiser step, then the new weights into both kernels.
  void update(const CommandBuffer& commands, const StateBatch& states) {
    const auto state =
        parameters->update(commands, states.at<CNNConvolutionGradientState>(0), nullptr);
    forward->reloadWeightsAndBiases(commands, state);
    backward->reloadWeightsAndBiases(commands, state);
  }
};
using ConvolutionLayer = Layer<CNNConvolution, CNNConvolutionGradient>;
using FullyConnectedLayer = Layer<CNNFullyConnected, CNNFullyConnectedGradient>;

CNNLossDescriptor loss_of(std::size_t batch) {
  auto descriptor =
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum);
  descriptor.setWeight(1.0F / static_cast<float>(batch));
  return descriptor;
}

int right_answers(const ImageBatch& logits, std::span<const std::uint8_t> labels) {
  int right = 0;
  const std::vector<float> all = logits.read_floats();
  const auto classes = static_cast<std::ptrdiff_t>(logits.front().featureChannels());
  for (auto scores = all.begin(); const std::uint8_t label : labels) {
    right += std::max_element(scores, scores + classes) - scores == label ? 1 : 0;
    scores += classes;
  }
  return right;
}

}  // namespace

struct DigitNetwork::Impl {
  struct Step {  // in flight
    CommandBuffer commands;
    ImageBatch losses, logits;
    std::vector<std::uint8_t> labels;
  };

  DigitNetworkSettings settings;
  Device device;
  CommandQueue queue;
  ConvolutionLayer conv1, conv2;
  FullyConnectedLayer full1, full2;
  CNNNeuronReLU relu;
  CNNNeuronGradient relu_gradient;
  CNNPoolingMax pool;
  CNNPoolingMaxGradient pool_gradient;
  CNNDropout dropout;
  CNNDropoutGradient dropout_gradient;
  NNForwardLoss loss;
  NNInitialGradient ones;
  NNLossGradient loss_gradient;
  std::array<ImageBatch, 2> pictures,
      targets;  // taken in turn: one is filled while the other is read
  std::uint64_t steps = 0;
  std::deque<Step> in_flight;

  Impl(const Device& on, const DigitNetworkSettings& with)
      : settings(with),
        device(on),
        queue(on.makeCommandQueue()),
        relu(on, 0.0F),
        relu_gradient(on, NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU, 0.0F)),
        pool(on, 2, 2, 2, 2),
        pool_gradient(on, 2, 2, 2, 2),
        dropout(on, 0.5F, with.seed, {1, 1, 1}),
        dropout_gradient(on, 0.5F, with.seed, {1, 1, 1}),
        loss(on, loss_of(with.batch)),
        ones(on),
        loss_gradient(on, loss_of(with.batch)) {
    if (with.batch == 0 || with.width < 4 || with.height < 4 || with.classes == 0) {
      fail({"DigitNetwork", "", "settings",
            std::to_string(with.batch) + " images of " + std::to_string(with.width) + "x" +
                std::to_string(with.height),
            "a batch of 1 or more images of at least 4x4 pixels", ""});
    }
    const auto halved = [](std::size_t extent) { return ((extent + 1) / 2 + 1) / 2; };
    const auto parameters = [&](const char* label, std::size_t w, std::size_t h, std::size_t in,
                                std::size_t out) {
      return std::make_shared<ConvolutionParameters>(
          device, label, CNNConvolutionDescriptor::cnnConvolutionDescriptor(w, h, in, out),
          settings.optimizer);
    };
    conv1.parameters = parameters("conv1", 5, 5, 1, 32);
    conv2.parameters = parameters("conv2", 5, 5, 32, 64);
    full1.parameters =
        parameters("full1", halved(settings.width), halved(settings.height), 64, 1024);
    full2.parameters = parameters("full2", 1, 1, 1024, settings.classes);
    RandomNumbers random(settings.seed);
    for_parameters([&](ConvolutionParameters& p) { p.initialise(random); });
    conv1.build(device);
    conv2.build(device);
    full1.build(device);
    full2.build(device);
    conv1.backward->setGradientOption(CNNConvolutionGradientOption::GradientWithWeightsAndBias);
    full2.forward->setDestinationImageAllocator(
        Image::defaultAllocator());  // read for the accuracy
    loss.setDestinationImageAllocator(Image::defaultAllocator());
    const auto format = ImageFeatureChannelFormat::Float32;
    for (std::size_t i = 0; i < 2; ++i) {
      pictures[i] = ImageBatch(
          device, ImageDescriptor::imageDescriptor(format, settings.width, settings.height, 1),
          settings.batch);
      targets[i] = ImageBatch(
          device, ImageDescriptor::imageDescriptor(format, 1, 1, settings.classes), settings.batch);
    }
  }

  template <class Visit>
  void for_parameters(Visit&& visit) const {
    visit(*conv1.parameters);
    visit(*conv2.parameters);
    visit(*full1.parameters);
    visit(*full2.parameters);
  }

  void fill(std::size_t slot, const DigitSet& set, std::span<const std::uint32_t> chosen,
            std::vector<std::uint8_t>& labels) {
    const std::size_t pixels = settings.width * settings.height;
    std::vector<float> values(chosen.size() * pixels), one_hot(chosen.size() * settings.classes);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const std::uint8_t* bytes = set.pixels.data() + chosen[i] * pixels;
      for (std::size_t p = 0; p < pixels; ++p)
        values[i * pixels + p] = static_cast<float>(bytes[p]) / 255.0F;
      const std::uint8_t label = set.labels[chosen[i]];
      if (label >= settings.classes) {
        fail({"DigitNetwork", "", "labels", "class " + std::to_string(label),
              "classes below " + std::to_string(settings.classes), ""});
      }
      one_hot[i * settings.classes + label] = 1;
      labels.push_back(label);
    }
    pictures[slot].subrange({0, chosen.size()}).write_floats(values);
    targets[slot].subrange({0, chosen.size()}).write_floats(one_hot);
  }

  /// The whole step: forward, loss, backward, update. Each image that its gradient reads again gets
  /// one more read before the forward kernel takes the first.
  void encode(const CommandBuffer& commands, const ImageBatch& x, const ImageBatch& labels,
              Step& step) {
    constexpr bool temporary = true;
    const auto kept = [](ImageBatch images) {
      ImageBatchIncrementReadCount(images, 1);
      return images;
    };
    StateBatch s_conv1, s_relu1, s_pool1, s_conv2, s_relu2, s_pool2, s_full1, s_relu3, s_drop,
        s_full2, s_loss;
    const ImageBatch c1 = kept(conv1.forward->encodeBatch(commands, x, &s_conv1, temporary));
    const ImageBatch r1 = kept(relu.encodeBatch(commands, c1, &s_relu1, temporary));
    const ImageBatch p1 = kept(pool.encodeBatch(commands, r1, &s_pool1, temporary));
    const ImageBatch c2 = kept(conv2.forward->encodeBatch(commands, p1, &s_conv2, temporary));
    const ImageBatch r2 = kept(relu.encodeBatch(commands, c2, &s_relu2, temporary));
    const ImageBatch p2 = kept(pool.encodeBatch(commands, r2, &s_pool2, temporary));
    const ImageBatch f1 = kept(full1.forward->encodeBatch(commands, p2, &s_full1, temporary));
    const ImageBatch r3 = kept(relu.encodeBatch(commands, f1, &s_relu3, temporary));
    const ImageBatch d = kept(dropout.encodeBatch(commands, r3, &s_drop, temporary));
    step.logits = full2.forward->encodeBatch(commands, d, &s_full2, temporary);
    step.losses = loss.encodeBatch(commands, step.logits, labels, {}, &s_loss, temporary);

    for (const StateBatch* states : {&s_conv1, &s_conv2, &s_full1, &s_full2}) {
      StateBatchIncrementReadCount(*states, 1);  // the gradient and the optimiser
    }
    ImageBatch g = ones.encodeBatch(commands, step.losses);
    g = loss_gradient.encodeBatch(commands, g, step.logits, labels, {}, s_loss);
    g = full2.backward->encodeBatch(commands, g, d, s_full2);
    g = dropout_gradient.encodeBatch(commands, g, r3, s_drop);
    g = relu_gradient.encodeBatch(commands, g, f1, s_relu3);
    g = full1.backward->encodeBatch(commands, g, p2, s_full1);
    g = pool_gradient.encodeBatch(commands, g, r2, s_pool2);
    g = relu_gradient.encodeBatch(commands, g, c2, s_relu2);
    g = conv2.backward->encodeBatch(commands, g, p1, s_conv2);
    g = pool_gradient.encodeBatch(commands, g, r1, s_pool1);
    g = relu_gradient.encodeBatch(commands, g, c1, s_relu1);
    g = conv1.backward->encodeBatch(commands, g, x, s_conv1);
    ImageBatchIncrementReadCount(g, -1);  // nobody reads the gradient of the pictures

    conv1.update(commands, s_conv1);
    conv2.update(commands, s_conv2);
    full1.update(commands, s_full1);
    full2.update(commands, s_full2);
  }

  StepResult collect() {
    Step step = std::move(in_flight.front());
    in_flight.pop_front();
    step.commands.waitUntilCompleted();
    if (const auto problem = step.commands.error()) throw *problem;
    StepResult result;
    result.images = static_cast<int>(step.labels.size());
    for (const float one : step.losses.read_floats()) result.loss += static_cast<double>(one);
    result.loss *= static_cast<double>(settings.batch) / result.images;  // the weight is 1/batch
    result.correct = right_answers(step.logits, step.labels);
    return result;
  }
};

DigitNetwork::DigitNetwork(const Device& device, const DigitNetworkSettings& settings)
    : impl_(std::make_unique<Impl>(device, settings)) {}
DigitNetwork::~DigitNetwork() {
  for (auto& step : impl_->in_flight) step.commands.waitUntilCompleted();
}

std::vector<StepResult> DigitNetwork::submit(const DigitSet& set,
                                             std::span<const std::uint32_t> images) {
  Impl& self = *impl_;
  if (images.empty() || images.size() > self.settings.batch) {
    fail({"DigitNetwork", "", "images", std::to_string(images.size()),
          "1 to " + std::to_string(self.settings.batch), ""});
  }
  std::vector<StepResult> done;
  while (self.in_flight.size() >= 2) done.push_back(self.collect());
  const std::size_t slot = self.steps % 2;
  Impl::Step step;
  self.fill(slot, set, images, step.labels);
  step.commands = self.queue.makeCommandBuffer();
  const Range range{0, images.size()};
  self.encode(step.commands, self.pictures[slot].subrange(range),
              self.targets[slot].subrange(range), step);
  step.commands.commit();
  self.in_flight.push_back(std::move(step));
  ++self.steps;
  return done;
}

std::vector<StepResult> DigitNetwork::finish() {
  std::vector<StepResult> done;
  while (!impl_->in_flight.empty()) done.push_back(impl_->collect());
  return done;
}

int DigitNetwork::count_correct(const DigitSet& set) {
  Impl& self = *impl_;
  if (!self.in_flight.empty()) {
    fail({"DigitNetwork", "", "the network", "training", "a network without steps in flight",
          "Call finish() first."});
  }
  int correct = 0;
  for (std::size_t first = 0; first < static_cast<std::size_t>(set.count);
       first += self.settings.batch) {
    const std::size_t count =
        std::min(self.settings.batch, static_cast<std::size_t>(set.count) - first);
    std::vector<std::uint32_t> chosen(count);
    for (std::size_t i = 0; i < count; ++i) chosen[i] = static_cast<std::uint32_t>(first + i);
    std::vector<std::uint8_t> labels;
    self.fill(0, set, chosen, labels);
    const CommandBuffer commands = self.queue.makeCommandBuffer();
    ImageBatch images =
        self.conv1.forward->encodeBatch(commands, self.pictures[0].subrange({0, count}));
    images = self.pool.encodeBatch(commands, self.relu.encodeBatch(commands, images));
    images = self.conv2.forward->encodeBatch(commands, images);
    images = self.pool.encodeBatch(commands, self.relu.encodeBatch(commands, images));
    images = self.relu.encodeBatch(commands, self.full1.forward->encodeBatch(commands, images));
    images = self.full2.forward->encodeBatch(commands, images);
    CommandBuffer(commands).commit();
    CommandBuffer(commands).waitUntilCompleted();
    correct += right_answers(images, labels);
  }
  return correct;
}

void DigitNetwork::set_learning_rate(float rate) {
  impl_->for_parameters([&](ConvolutionParameters& p) { p.set_learning_rate(rate); });
}

void DigitNetwork::save(SafeTensors& file, bool training) const {
  impl_->for_parameters([&](const ConvolutionParameters& p) { p.save(file, training); });
  if (training) file.metadata["steps"] = std::to_string(impl_->steps);
}

void DigitNetwork::load(const SafeTensors& file, bool training) {
  std::uint64_t steps = 0;
  if (training) {
    steps = metadata_count(file, "steps", std::numeric_limits<std::uint64_t>::max(),
                           "Resume from a checkpoint of a training run.");
  }
  impl_->for_parameters([&](ConvolutionParameters& p) { p.load_from(file, training); });
  impl_->steps = steps;
  impl_->dropout.set_encode_number(steps);  // the masks go on where they stopped
  impl_->conv1.reload();
  impl_->conv2.reload();
  impl_->full1.reload();
  impl_->full2.reload();
}

std::size_t DigitNetwork::parameter_count() const {
  std::size_t count = 0;
  impl_->for_parameters([&](const ConvolutionParameters& p) {
    const auto& d = *p.descriptor();
    count += d.outputFeatureChannels() *
             (d.kernelWidth() * d.kernelHeight() * d.inputFeatureChannels() + 1);
  });
  return count;
}

}  // namespace cermet
