// NNForwardLossNode and NNLossGradientNode: initialisers, properties, gradients by predictions and
// by labels, callbacks.

#include <gtest/gtest.h>

#include <functional>

#include "cermet/nn/loss_nodes.h"
#include "graph/network.h"

namespace cermet::test {
namespace {

using Floats = std::vector<float>;
using Type = CNNLossType;
using Reduction = CNNReductionType;
constexpr auto Float32 = ImageFeatureChannelFormat::Float32;

ImageBatch batch(std::size_t count, std::size_t w, std::size_t h, std::size_t c,
                 std::uint64_t seed) {
  RandomNumbers random(seed);
  ImageBatch images(device(), ImageDescriptor::imageDescriptor(Float32, w, h, c), count);
  for (const Image image : images) {
    Floats values(w * h * c);
    for (float& value : values) value = 0.125F + 0.75F * random.uniform();
    image.write_floats(values);
  }
  return images;
}
Floats read(const ImageBatch& images) {
  Floats all;
  for (const Image image : images) {
    const auto one = image.read_floats();
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}
void finish(CommandBuffer& commands) {
  commands.commit();
  commands.waitUntilCompleted();
  if (const auto error = commands.error()) throw *error;
}
CommandBuffer command_buffer() {
  static const CommandQueue queue = device().makeCommandQueue();
  return queue.makeCommandBuffer();
}

/// Answers a number and remembers what it was asked about.
class Weight final : public NNLossCallback {
 public:
  explicit Weight(float value) : value_(value) {}
  float scalarWeight(const Image& source, const Image& destination) override {
    ++calls;
    sources.push_back(source);
    destinations.push_back(destination);
    return value_;
  }
  int calls = 0;
  std::vector<Image> sources, destinations;

 private:
  float value_;
};

/// Inputs of a loss gradient, as nodes and as images.
struct Inputs {
  NNImageNodePtr e = NNImageNode::node(named_handle("e")), y = NNImageNode::node(named_handle("y")),
                 t = NNImageNode::node(named_handle("t")), w = NNImageNode::node(named_handle("w"));
  ImageBatch e_images, y_images = batch(3, 2, 2, 4, 1), t_images = batch(3, 2, 2, 4, 2),
                       w_images = batch(3, 2, 2, 4, 3);
  explicit Inputs(const CNNLossDescriptor& descriptor)
      : e_images(descriptor.reductionType() == Reduction::None ? batch(3, 2, 2, 4, 4)
                                                               : batch(3, 1, 1, 1, 4)) {}

  Floats run(const NNImageNodePtr& result) const {
    NNGraph graph(device(), result);
    graph.setFormat(Float32);
    return run(graph);
  }
  Floats run(NNGraph& graph) const {
    std::vector<ImageBatch> sources;
    for (const auto& handle : graph.sourceImageHandles()) {
      sources.push_back(handle == e->handle()   ? e_images
                        : handle == y->handle() ? y_images
                        : handle == t->handle() ? t_images
                                                : w_images);
    }
    CommandBuffer commands = command_buffer();
    const ImageBatch result_images = graph.encodeBatch(commands, sources);
    finish(commands);
    return read(result_images);
  }
  /// The kernel by hand.
  [[nodiscard]] Floats kernel(const CNNLossDescriptor& descriptor, bool by_labels,
                              bool weighted) const {
    NNLossGradient gradient(device(), descriptor);
    gradient.setDestinationImageAllocator(Image::defaultAllocator());
    gradient.setComputeLabelGradients(by_labels);
    CommandBuffer commands = command_buffer();
    const ImageBatch result = gradient.encodeBatch(commands, e_images, y_images, t_images,
                                                   weighted ? w_images : ImageBatch(), {});
    finish(commands);
    return read(result);
  }
};

CNNLossDescriptor make_descriptor(Type type, Reduction reduction = Reduction::Sum) {
  return CNNLossDescriptor::cnnLossDescriptor(type, reduction);
}

TEST(LossGradientNode, ThreeInitialisersOrderTheirSources) {
  const auto descriptor = make_descriptor(Type::MeanSquaredError);
  const Inputs in(descriptor);
  const auto forward = NNForwardLossNode::node(in.y, in.t, in.w, descriptor);
  const NNStateNodePtr state = forward->resultState();
  using Sources = std::vector<NNImageNodePtr>;
  const auto check = [&](const std::shared_ptr<NNLossGradientNode>& node, const Sources& sources,
                         bool has_state, bool by_labels) {
    EXPECT_EQ(node->sources(), sources);
    EXPECT_EQ(node->source_states().size(), has_state ? 1U : 0U);
    if (has_state) {
      EXPECT_EQ(node->source_states()[0], state);
    }
    EXPECT_EQ(node->isLabelsGradientFilter(), by_labels);
    EXPECT_EQ(in.run(node->resultImage()), in.kernel(descriptor, by_labels, sources.size() > 3));
  };
  for (const bool by_labels : {false, true}) {
    check(NNLossGradientNode::node(in.e, in.y, in.t, in.w, NNStateNodePtr(), descriptor, by_labels),
          {in.e, in.y, in.t, in.w}, false, by_labels);
    check(NNLossGradientNode::node(in.e, in.y, in.t, NNImageNodePtr(), NNStateNodePtr(), descriptor,
                                   by_labels),
          {in.e, in.y, in.t}, false, by_labels);
    check(NNLossGradientNode::node(in.e, in.y, in.t, NNStateNodePtr(), descriptor, by_labels),
          {in.e, in.y, in.t}, false, by_labels);
    check(NNLossGradientNode::node(Sources{in.e, in.y, in.t}, NNStateNodePtr(), descriptor,
                                   by_labels),
          {in.e, in.y, in.t}, false, by_labels);
    check(NNLossGradientNode::node(Sources{in.e, in.y, in.t, in.w}, NNStateNodePtr(), descriptor,
                                   by_labels),
          {in.e, in.y, in.t, in.w}, false, by_labels);
    check(NNLossGradientNode::node(in.e, in.y, in.t, in.w, state, descriptor, by_labels),
          {in.e, in.y, in.t, in.w}, true, by_labels);
    check(NNLossGradientNode::node(Sources{in.e, in.y, in.t, in.w}, state, descriptor, by_labels),
          {in.e, in.y, in.t, in.w}, true, by_labels);
  }
  EXPECT_THROW(
      static_cast<void>(NNLossGradientNode::node(Sources{in.e, in.y}, state, descriptor, false)),
      InvalidArgument);
  EXPECT_THROW(static_cast<void>(NNLossGradientNode::node(Sources{in.e, in.y, in.t, in.w, in.w},
                                                          state, descriptor, false)),
               InvalidArgument);
}

TEST(LossGradientNode, ShowsItsTenProperties) {
  auto descriptor = make_descriptor(Type::SoftMaxCrossEntropy, Reduction::Mean);
  descriptor.setNumberOfClasses(7);
  descriptor.setReduceAcrossBatch(true);
  descriptor.setWeight(0.5F);
  descriptor.setLabelSmoothing(0.125F);
  descriptor.setEpsilon(0.25F);
  descriptor.setDelta(3);
  const Inputs in(descriptor);
  const auto check = [&](const auto& node) {
    EXPECT_EQ(node->lossType(), Type::SoftMaxCrossEntropy);
    EXPECT_EQ(node->reductionType(), Reduction::Mean);
    EXPECT_EQ(node->numberOfClasses(), 7U);
    EXPECT_TRUE(node->reduceAcrossBatch());
    EXPECT_EQ(node->weight(), 0.5F);
    EXPECT_EQ(node->labelSmoothing(), 0.125F);
    EXPECT_EQ(node->epsilon(), 0.25F);
    EXPECT_EQ(node->delta(), 3);
    EXPECT_EQ(node->propertyCallBack(), nullptr);
    const auto callback = std::make_shared<Weight>(2.0F);
    node->setPropertyCallBack(callback);
    EXPECT_EQ(node->propertyCallBack(), callback);
  };
  const auto node = NNLossGradientNode::node(in.e, in.y, in.t, NNStateNodePtr(), descriptor, true);
  check(node);
  EXPECT_TRUE(node->isLabelsGradientFilter());
  const auto forward = NNForwardLossNode::node(in.y, in.t, descriptor);
  const auto made = forward->gradientFilters(in.e);
  ASSERT_EQ(made.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto gradient = std::dynamic_pointer_cast<NNLossGradientNode>(made[i]);
    ASSERT_TRUE(gradient);
    EXPECT_EQ(gradient->isLabelsGradientFilter(), i == 1) << "predictions, then labels";
    check(gradient);
  }
  check(forward);
}

/// Each property that the gradient depends on, in a graph: another one is another gradient, that of
/// the kernel with the same descriptor.
TEST(LossGradientNode, ObeysItsProperties) {
  const struct {
    const char* name;
    Type type;
    bool by_labels;
    std::function<void(CNNLossDescriptor&)> change;
  } cases[] = {
      {"lossType", Type::MeanSquaredError, false,
       [](CNNLossDescriptor& d) { d.setLossType(Type::SigmoidCrossEntropy); }},
      {"reductionType", Type::MeanSquaredError, false,
       [](CNNLossDescriptor& d) { d.setReductionType(Reduction::Mean); }},
      {"numberOfClasses", Type::SoftMaxCrossEntropy, false,
       [](CNNLossDescriptor& d) { d.setNumberOfClasses(3); }},
      {"reduceAcrossBatch", Type::MeanSquaredError, false,
       [](CNNLossDescriptor& d) { d.setReduceAcrossBatch(true); }},
      {"weight", Type::MeanSquaredError, false, [](CNNLossDescriptor& d) { d.setWeight(0.25F); }},
      {"labelSmoothing", Type::SoftMaxCrossEntropy, false,
       [](CNNLossDescriptor& d) { d.setLabelSmoothing(0.5F); }},
      {"labelSmoothing by labels", Type::SigmoidCrossEntropy, true,
       [](CNNLossDescriptor& d) { d.setLabelSmoothing(0.5F); }},
      {"epsilon", Type::Log, false, [](CNNLossDescriptor& d) { d.setEpsilon(0.25F); }},
      {"epsilon by labels", Type::Log, true, [](CNNLossDescriptor& d) { d.setEpsilon(0.25F); }},
      {"delta", Type::Huber, false, [](CNNLossDescriptor& d) { d.setDelta(0.0625F); }},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    auto plain = make_descriptor(one.type);
    plain.setLabelSmoothing(0.125F);
    auto changed = plain;
    one.change(changed);
    const Inputs in(plain);
    const auto gradient = [&](const CNNLossDescriptor& descriptor) {
      return in.run(
          NNLossGradientNode::node(in.e, in.y, in.t, NNStateNodePtr(), descriptor, one.by_labels)
              ->resultImage());
    };
    EXPECT_EQ(gradient(plain), in.kernel(plain, one.by_labels, false));
    EXPECT_EQ(gradient(changed), in.kernel(changed, one.by_labels, false));
    EXPECT_NE(gradient(changed), gradient(plain));
  }
}

/// A whole batch is one encode: the callback is asked once, about its first images.
TEST(LossGradientNode, CallbackIsAskedOncePerEncodeAndObeyed) {
  const auto descriptor = make_descriptor(Type::MeanSquaredError);
  const Inputs in(descriptor);
  for (const bool by_labels : {false, true}) {
    const auto node =
        NNLossGradientNode::node(in.e, in.y, in.t, NNStateNodePtr(), descriptor, by_labels);
    const auto callback = std::make_shared<Weight>(3.0F);
    node->setPropertyCallBack(callback);
    NNGraph graph(device(), node->resultImage());
    graph.setFormat(Float32);
    auto tripled = descriptor;
    tripled.setWeight(3);
    for (int encode = 1; encode <= 3; ++encode) {
      EXPECT_EQ(in.run(graph), in.kernel(tripled, by_labels, false));
      ASSERT_EQ(callback->calls, encode);
      EXPECT_EQ(callback->sources.back(), in.y_images[0]);
      EXPECT_EQ(callback->destinations.back().width(), 2U);
    }
  }
}

TEST(ForwardLossNode, CallbackIsAskedOncePerEncodeAndObeyed) {
  const auto descriptor = make_descriptor(Type::MeanSquaredError);
  const Inputs in(descriptor);
  const auto node = NNForwardLossNode::node(in.y, in.t, in.w, descriptor);
  const auto callback = std::make_shared<Weight>(3.0F);
  node->setPropertyCallBack(callback);
  NNGraph graph(device(), node->resultImage());
  graph.setFormat(Float32);
  auto tripled = descriptor;
  tripled.setWeight(3);
  NNForwardLoss kernel(device(), tripled);
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  CommandBuffer commands = command_buffer();
  const ImageBatch wanted =
      kernel.encodeBatch(commands, in.y_images, in.t_images, in.w_images, nullptr, false);
  finish(commands);
  for (int encode = 1; encode <= 3; ++encode) {
    EXPECT_EQ(in.run(graph), read(wanted));
    ASSERT_EQ(callback->calls, encode);
    EXPECT_EQ(callback->sources.back(), in.y_images[0]);
    EXPECT_EQ(callback->destinations.back().featureChannels(), 1U);
  }
}

/// The forward node's callback reaches both gradients through the state, and is not copied.
TEST(ForwardLossNode, CallbackReachesTheGradientsThroughTheState) {
  const auto descriptor = make_descriptor(Type::MeanSquaredError);
  const Inputs in(descriptor);
  const auto node = NNForwardLossNode::node(in.y, in.t, descriptor);
  const auto callback = std::make_shared<Weight>(3.0F);
  node->setPropertyCallBack(callback);
  auto tripled = descriptor;
  tripled.setWeight(3);
  const auto gradients = node->gradientFilters(in.e);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(dynamic_cast<NNLossGradientNode&>(*gradients[i]).propertyCallBack(), nullptr);
    EXPECT_EQ(in.run(gradients[i]->resultImage()), in.kernel(tripled, i == 1, false));
    EXPECT_EQ(callback->calls, static_cast<int>(i) + 1);
  }
  // A callback of the gradient node wins.
  const auto own = std::make_shared<Weight>(5.0F);
  dynamic_cast<NNLossGradientNode&>(*gradients[0]).setPropertyCallBack(own);
  auto fivefold = descriptor;
  fivefold.setWeight(5);
  EXPECT_EQ(in.run(gradients[0]->resultImage()), in.kernel(fivefold, false, false));
  EXPECT_EQ(own->calls, 1);
  EXPECT_EQ(callback->calls, 3);
}

}  // namespace
}  // namespace cermet::test
