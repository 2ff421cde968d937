#pragma once
// A small classifier, built as a graph and by hand with the same parameters.

#include <memory>
#include <vector>

#include "cermet/nn/convolution_nodes.h"
#include "cermet/nn/graph.h"
#include "cermet/nn/loss_nodes.h"
#include "cermet/nn/neuron_nodes.h"
#include "cermet/nn/pooling_nodes.h"
#include "cermet/train/parameters.h"
#include "harness/device.h"

namespace cermet::test {

inline const Device& device() {
  static const Device one = device_under_test(2);
  return one;
}

constexpr std::size_t side = 8, classes = 5;

inline ImageDescriptor picture_descriptor() {
  return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, side, side, 2);
}
inline ImageDescriptor label_descriptor() {
  return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 1, 1, classes);
}

/// Pictures of noise around a pattern of their class, so that there is something to learn.
struct Data {
  ImageBatch pictures, labels;
  Data(std::size_t count, std::uint64_t seed)
      : pictures(device(), picture_descriptor(), count),
        labels(device(), label_descriptor(), count) {
    RandomNumbers random(seed);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t label = random.below(classes);
      std::vector<float> pixels(side * side * 2), one_hot(classes, 0.0F);
      for (std::size_t p = 0; p < pixels.size(); ++p) {
        pixels[p] = random.uniform() - 0.5F + (p % classes == label ? 0.5F : 0.0F);
      }
      one_hot[label] = 1;
      pictures[i].write_floats(pixels);
      labels[i].write_floats(one_hot);
    }
  }
};

struct Parameters {
  std::shared_ptr<ConvolutionParameters> convolution, full;
  explicit Parameters(OptimizerSettings optimizer = {OptimizerKind::sgd, 0.1F},
                      std::uint64_t seed = 7) {
    convolution = std::make_shared<ConvolutionParameters>(
        device(), "convolution", CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 2, 6),
        optimizer);
    full = std::make_shared<ConvolutionParameters>(
        device(), "full",
        CNNConvolutionDescriptor::cnnConvolutionDescriptor(side / 2, side / 2, 6, classes),
        optimizer);
    RandomNumbers random(seed);
    convolution->initialise(random);
    full->initialise(random);
  }
};

inline CNNLossDescriptor loss_descriptor(std::size_t batch) {
  auto descriptor =
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum);
  descriptor.setWeight(1.0F / static_cast<float>(batch));
  return descriptor;
}

/// The nodes of the classifier up to its logits.
inline NNImageNodePtr body(const NNImageNodePtr& x, const Parameters& p) {
  const auto convolution = CNNConvolutionNode::node(x, p.convolution);
  const auto relu = std::make_shared<CNNNeuronReLUNode>(convolution->resultImage());
  const auto pool = CNNPoolingMaxNode::node(relu->resultImage(), std::size_t{2});
  return CNNFullyConnectedNode::node(pool->resultImage(), p.full)->resultImage();
}

/// A training graph in float32 with forward losses exported, seeded by ones.
struct TrainingGraph {
  NNImageNodePtr x = NNImageNode::node(named_handle("picture")),
                 labels = NNImageNode::node(named_handle("label"));
  std::optional<NNGraph> graph;

  TrainingGraph(const Parameters& p, std::size_t batch) {
    const auto loss = NNForwardLossNode::node(body(x, p), labels, loss_descriptor(batch));
    loss->resultImage()->setHandle(named_handle("loss"));
    loss->resultImage()->setExportFromGraph(true);
    loss->resultImage()->setSynchronizeResource(true);
    loss->resultImage()->setImageAllocator(Image::defaultAllocator());
    const auto seed = NNInitialGradientNode::node(loss->resultImage());
    const auto ends = seed->trainingGraph(nullptr);
    for (const auto& end : ends) {
      if (end->resultImage()->handle() == x->handle())
        graph.emplace(device(), end->resultImage(), false);
    }
    graph->setFormat(ImageFeatureChannelFormat::Float32);
  }

  std::vector<ImageBatch> inputs(const Data& data) const {
    std::vector<ImageBatch> batches;
    for (const auto& handle : graph->sourceImageHandles()) {
      batches.push_back(handle == x->handle() ? data.pictures : data.labels);
    }
    return batches;
  }

  double step(const CommandQueue& queue, const Data& data) {
    CommandBuffer commands = queue.makeCommandBuffer();
    std::vector<ImageBatch> intermediates;
    graph->encodeBatch(commands, inputs(data), {}, &intermediates, nullptr);
    commands.commit();
    commands.waitUntilCompleted();
    double sum = 0;
    for (const Image image : intermediates.at(0))
      sum += static_cast<double>(image.read_floats()[0]);
    return sum;
  }
};

}  // namespace cermet::test
