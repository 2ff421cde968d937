#pragma once
// What tests of training graphs share: a layer that the host trains, a chain of nodes with a
// squared error at its end, and the same by hand.

#include <functional>

#include "graph/network.h"

namespace cermet::test {

using Style = NNTrainingStyle;
using Floats = std::vector<float>;
inline constexpr auto Float32 = ImageFeatureChannelFormat::Float32;

inline const CommandQueue& queue() {
  static const CommandQueue one = device().makeCommandQueue();
  return one;
}
inline void finish(CommandBuffer& commands) {
  commands.commit();
  commands.waitUntilCompleted();
  if (const auto error = commands.error()) throw *error;
}
inline Floats numbers(std::size_t count, std::uint64_t seed) {
  RandomNumbers random(seed);
  Floats values(count);
  for (float& value : values) value = 2 * random.uniform() - 1;
  return values;
}
inline Floats floats_of(const Buffer& buffer) {
  const auto all = buffer.as<float>();
  return {all.begin(), all.end()};
}
inline ImageBatch batch(std::size_t count, std::size_t w, std::size_t h, std::size_t c,
                        std::uint64_t seed) {
  ImageBatch images(device(), ImageDescriptor::imageDescriptor(Float32, w, h, c), count);
  for (std::size_t i = 0; i < count; ++i)
    images[i].write_floats(numbers(w * h * c, seed + 1000 * i));
  return images;
}
inline Floats read(const ImageBatch& images) {
  Floats all;
  for (const Image image : images) {
    const auto one = image.read_floats();
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}
/// Permanent results: nothing by hand counts reads.
template <class K>
K kept(K kernel) {
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  return kernel;
}

/// Weights of a layer that the host updates, w - rate * gradient, and a record of how it was asked.
class HostWeights final : public CNNConvolutionDataSource {
 public:
  HostWeights(std::size_t width, std::size_t height, std::size_t inputs, std::size_t outputs,
              std::uint64_t seed = 5)
      : descriptor_(
            CNNConvolutionDescriptor::cnnConvolutionDescriptor(width, height, inputs, outputs)),
        weights_values(numbers(width * height * inputs * outputs, seed)),
        bias_values(numbers(outputs, seed + 1)) {}

 private:
  std::shared_ptr<CNNConvolutionDescriptor> descriptor_;

 public:
  Floats weights_values, bias_values;
  bool answer = true;  // of the host's update
  int host_calls = 0, device_calls = 0;
  std::vector<Floats> gradients, used;  // of each host call: weight gradients, weights shown

  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return weights_values.data(); }
  [[nodiscard]] const float* biasTerms() override { return bias_values.data(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return {}; }

  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer&, const std::shared_ptr<CNNConvolutionGradientState>&,
      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>&) override {
    ++device_calls;
    return nullptr;
  }
  bool update(const std::shared_ptr<CNNConvolutionGradientState>& gradient,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& source) override {
    ++host_calls;
    gradients.push_back(floats_of(gradient->gradientForWeights()));
    if (source) used.push_back(floats_of(source->weights()));
    descend(weights_values, gradient->gradientForWeights());
    descend(bias_values, gradient->gradientForBiases());
    return answer;
  }

 private:
  static void descend(Floats& values, const Buffer& gradient) {
    const auto g = gradient.as<float>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.05F * g[i];
  }
};

inline CNNLossDescriptor squares() {
  return CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum);
}

/// A chain of nodes with a squared error at its end, as a training graph whose result is the
/// gradient of x.
struct Chain {
  NNImageNodePtr x = NNImageNode::node(named_handle("x")), t = NNImageNode::node(named_handle("t"));
  std::shared_ptr<NNForwardLossNode> loss;
  std::vector<std::shared_ptr<NNFilterNode>> made;  // gradient nodes
  NNImageNodePtr dx;
  std::optional<NNGraph> graph;

  explicit Chain(const std::function<NNImageNodePtr(const NNImageNodePtr&)>& body,
                 const std::function<void(NNFilterNode&)>& with_gradient = {}) {
    loss = NNForwardLossNode::node(body(x), t, squares());
    const auto ends =
        NNInitialGradientNode::node(loss->resultImage())
            ->trainingGraph(nullptr, [&](NNFilterNode* node, NNFilterNode*,
                                         const NNImageNodePtr& source, const NNImageNodePtr&) {
              node->resultImage()->setHandle(source->handle());
              if (with_gradient) with_gradient(*node);
              made.push_back(node->shared_from_this());
            });
    for (const auto& end : ends)
      if (end->resultImage()->handle() == x->handle()) dx = end->resultImage();
    compile();
  }
  void compile(bool needed = true) {
    graph.emplace(device(), dx, needed);
    graph->setFormat(Float32);
  }
  [[nodiscard]] std::vector<ImageBatch> inputs(const ImageBatch& x_images,
                                               const ImageBatch& t_images) const {
    std::vector<ImageBatch> list;
    for (const auto& handle : graph->sourceImageHandles())
      list.push_back(handle == x->handle() ? x_images : t_images);
    return list;
  }
  Floats step(const ImageBatch& x_images, const ImageBatch& t_images) {
    CommandBuffer commands = queue().makeCommandBuffer();
    const ImageBatch result = graph->encodeBatch(commands, inputs(x_images, t_images));
    finish(commands);
    return read(result);
  }
  template <class Node>
  [[nodiscard]] std::shared_ptr<Node> made_node() const {
    for (const auto& node : made)
      if (auto found = std::dynamic_pointer_cast<Node>(node)) return found;
    return nullptr;
  }
};

/// The gradient of the squared error by hand.
inline ImageBatch error_gradient(const CommandBuffer& commands, const ImageBatch& y,
                                 const ImageBatch& t) {
  NNForwardLoss loss = kept(NNForwardLoss(device(), squares()));
  NNInitialGradient ones = kept(NNInitialGradient(device()));
  NNLossGradient gradient = kept(NNLossGradient(device(), squares()));
  StateBatch states;
  const ImageBatch losses = loss.encodeBatch(commands, y, t, {}, &states, false);
  return gradient.encodeBatch(commands, ones.encodeBatch(commands, losses), y, t, {}, states);
}

}  // namespace cermet::test
