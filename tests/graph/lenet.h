#pragma once
// The network of the benchmark as a training graph on any device. Pictures and first parameters are
// multiples of small powers of two, so that the first pass up to the second last layer is exact:
// ties and signs are the same on every device.

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cermet/nn/convolution_nodes.h"
#include "cermet/nn/dropout_nodes.h"
#include "cermet/nn/graph.h"
#include "cermet/nn/loss_nodes.h"
#include "cermet/nn/neuron_nodes.h"
#include "cermet/nn/pooling_nodes.h"
#include "cermet/train/parameters.h"

namespace cermet::test {

inline std::vector<float> floats_of(const SafeTensor& tensor) {
  std::vector<float> values(tensor.data.size() / sizeof(float));
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

class LeNet {
 public:
  static constexpr std::size_t batch = 8, classes = 10, side = 28;

  explicit LeNet(const Device& device, KernelOptions options = KernelOptions::None,
                 float learning_rate = 0x1p-9F)
      : device_(device), queue_(device.makeCommandQueue()), learning_rate_(learning_rate) {
    for (std::size_t set = 0; set < data_.size(); ++set) data_[set] = make_data();
    const auto picture = NNImageNode::node(named_handle("picture"));
    const auto label = NNImageNode::node(named_handle("label"));
    NNImageNodePtr at = block(picture, "conv1", 1, 32, 16);
    at = block(at, "conv2", 32, 64, 128);
    at = full(at, "full1", 7, 64, 1024, 128);
    at = std::make_shared<CNNNeuronReLUNode>(at)->resultImage();
    at = CNNDropoutNode::node(at, 0.5F, std::size_t{1}, Size{1, 1, 1})->resultImage();
    at = full(at, "full2", 1, 1024, classes, 1024);
    auto mean = CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy,
                                                     CNNReductionType::Sum);
    mean.setWeight(1.0F / batch);
    const auto loss = NNForwardLossNode::node(at, label, mean)->resultImage();
    loss->setExportFromGraph(true);
    loss->setSynchronizeResource(true);
    loss->setImageAllocator(Image::defaultAllocator());
    const auto ends = NNInitialGradientNode::node(loss)->trainingGraph(nullptr);
    graph_.emplace(device, ends.at(0)->resultImage(), false);
    graph_->setFormat(ImageFeatureChannelFormat::Float32);
    graph_->setOptions(options);
  }

  [[nodiscard]] NNGraph& graph() { return *graph_; }
  /// Of step `number`; they come again.
  [[nodiscard]] const std::vector<ImageBatch>& inputs(std::size_t number) const {
    return data_[number % data_.size()];
  }

  /// The mean loss of the batch before the step.
  double step(std::size_t number) {
    CommandBuffer commands = queue_.makeCommandBuffer();
    std::vector<ImageBatch> losses;
    graph_->encodeBatch(commands, inputs(number), {}, &losses, nullptr);
    commands.commit();
    commands.waitUntilCompleted();
    double sum = 0;
    for (const float loss : losses.at(0).read_floats()) sum += static_cast<double>(loss);
    return sum;
  }

  /// Weights and biases of every layer as they are now.
  [[nodiscard]] std::vector<SafeTensor> parameters() const {
    SafeTensors all;
    for (const auto& layer : layers_) layer->save(all, false);
    return all.tensors;
  }

 private:
  [[nodiscard]] static ImageDescriptor descriptor(std::size_t extent, std::size_t channels) {
    return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, extent, extent,
                                            channels);
  }
  /// Noise with a brighter band for each class.
  [[nodiscard]] std::vector<ImageBatch> make_data() {
    ImageBatch pictures(device_, descriptor(side, 1), batch);
    ImageBatch labels(device_, descriptor(1, classes), batch);
    for (std::size_t i = 0; i < batch; ++i) {
      const std::size_t label = random_.below(classes);
      std::vector<float> pixels(side * side), one_hot(classes, 0.0F);
      for (std::size_t p = 0; p < pixels.size(); ++p) {
        const bool bright = p / side / 2 == label;
        pixels[p] = static_cast<float>(random_.below(3) + (bright ? 2U : 0U)) / 4;
      }
      one_hot[label] = 1;
      pictures[i].write_floats(pixels);
      labels[i].write_floats(one_hot);
    }
    return {pictures, labels};
  }
  /// Weights are multiples of 1 / `parts`.
  std::shared_ptr<ConvolutionParameters> parameters(const char* name, std::size_t size,
                                                    std::size_t in, std::size_t out, float parts) {
    auto made = std::make_shared<ConvolutionParameters>(
        device_, name, CNNConvolutionDescriptor::cnnConvolutionDescriptor(size, size, in, out),
        OptimizerSettings{OptimizerKind::sgd, learning_rate_});
    made->initialise(random_);
    SafeTensors contents;
    made->save(contents, false);
    for (SafeTensor& tensor : contents.tensors) {
      std::vector<float> values = floats_of(tensor);
      for (float& value : values) value = std::round(value * parts) / parts;
      std::memcpy(tensor.data.data(), values.data(), tensor.data.size());
    }
    made->load_from(contents, false);
    layers_.push_back(made);
    return made;
  }
  NNImageNodePtr block(const NNImageNodePtr& x, const char* name, std::size_t in, std::size_t out,
                       float parts) {
    const auto convolution = CNNConvolutionNode::node(x, parameters(name, 5, in, out, parts));
    const auto relu = std::make_shared<CNNNeuronReLUNode>(convolution->resultImage());
    return CNNPoolingMaxNode::node(relu->resultImage(), std::size_t{2})->resultImage();
  }
  NNImageNodePtr full(const NNImageNodePtr& x, const char* name, std::size_t size, std::size_t in,
                      std::size_t out, float parts) {
    return CNNFullyConnectedNode::node(x, parameters(name, size, in, out, parts))->resultImage();
  }

  Device device_;
  CommandQueue queue_;
  float learning_rate_;
  RandomNumbers random_{1};
  std::array<std::vector<ImageBatch>, 4> data_;
  std::vector<std::shared_ptr<ConvolutionParameters>> layers_;
  std::optional<NNGraph> graph_;
};

}  // namespace cermet::test
