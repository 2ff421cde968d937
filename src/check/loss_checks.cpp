// Losses in their forms: CNNLoss and CNNYOLOLoss, whose result is the gradient, and NNForwardLoss
// with NNLossGradient, by predictions and by labels.

#include <algorithm>
#include <array>

#include "cermet/cnn/loss.h"
#include "cermet/cnn/yolo_loss.h"
#include "check/catalog.h"
#include "check/checked_images.h"
#include "check/functions.h"
#include "check/random_values.h"

namespace cermet::detail {
namespace {

constexpr auto float32 = ImageFeatureChannelFormat::Float32;

std::vector<CheckSetting> loss_settings() {
  const auto type = [](CNNLossType one) { return static_cast<double>(one); };
  const std::vector<double> types = cases_to(CNNLossType::KullbackLeiblerDivergence);
  return {{"lossType", type(CNNLossType::MeanSquaredError), types},
          {"reductionType", static_cast<double>(CNNReductionType::Sum), {0, 2, 3}},
          {"reduceAcrossBatch", 0, {1}},
          {"weight", 1, {1.5}},
          {"labelSmoothing", 0, {0.125}},
          {"numberOfClasses", 1, {3}},
          {"epsilon", 1e-7, {0.125}},
          {"delta", 1, {0.5}},
          {"weights", 0, {1}}};
}

CNNLossDescriptor descriptor_of(const Settings& s) {
  auto descriptor = CNNLossDescriptor::cnnLossDescriptor(
      s.choice<CNNLossType>("lossType"), s.choice<CNNReductionType>("reductionType"));
  descriptor.setReduceAcrossBatch(s.flag("reduceAcrossBatch"));
  descriptor.setWeight(s.number("weight"));
  descriptor.setLabelSmoothing(s.number("labelSmoothing"));
  descriptor.setNumberOfClasses(s.size("numberOfClasses"));
  descriptor.setEpsilon(s.number("epsilon"));
  descriptor.setDelta(s.number("delta"));
  return descriptor;
}

/// Predictions and labels in the domain of the type.
CheckedImages predictions_of(CNNLossType type, CheckedImages images) {
  switch (type) {
    case CNNLossType::CategoricalCrossEntropy:
    case CNNLossType::Log:
      images.low = 0.0625;
      images.high = 0.9375;
      break;
    case CNNLossType::KullbackLeiblerDivergence:
      images.low = -4;
      images.high = -0.125;
      break;
    default:
      images.low = -2;
      images.high = 2;
  }
  return images;
}
CheckedImages labels_of(CNNLossType type, CheckedImages images) {
  images.seed += 1;
  switch (type) {
    case CNNLossType::MeanAbsoluteError:
    case CNNLossType::MeanSquaredError:
    case CNNLossType::Huber:
    case CNNLossType::CosineDistance:
      images.low = -2;
      images.high = 2;
      break;
    default:
      images.low = 0.0625;
      images.high = 0.9375;
  }
  return images;
}
/// Some of them 0.
std::vector<float> element_weights(const Settings& s, const CheckedImages& images) {
  if (!s.flag("weights")) return {};
  CheckedImages weights = images;
  weights.seed += 2;
  weights.low = 0;
  weights.high = 2;
  std::vector<float> values = values_of(weights);
  for (std::size_t i = 0; i < values.size(); i += 3) values[i] = 0;
  return values;
}
CheckedVariable variable_of(const std::string& name, const CheckedImages& images) {
  return {name, shape_of(images), values_of(images)};
}

std::unique_ptr<Differentiable> forward_loss(const Device& device, const Settings& s,
                                             const CheckedImages& images) {
  check_images(s.kernel(), images);
  const auto forward = std::make_shared<NNForwardLoss>(device, descriptor_of(s));
  const auto by_prediction = std::make_shared<NNLossGradient>(device, descriptor_of(s));
  const auto by_label = std::make_shared<NNLossGradient>(device, descriptor_of(s));
  by_label->setComputeLabelGradients(true);
  for (const auto& gradient : {by_prediction, by_label}) {
    gradient->set_switches({.softmax_cross_entropy_exact_gradient = true});
    gradient->setDestinationImageAllocator(Image::defaultAllocator());
  }
  forward->setDestinationImageAllocator(Image::defaultAllocator());
  const auto type = s.choice<CNNLossType>("lossType");
  const CheckedImages predictions = predictions_of(type, images), labels = labels_of(type, images);
  const CommandQueue queue = device.makeCommandQueue();
  const std::vector<float> weights = element_weights(s, images);
  const auto weights_batch = [=] {
    return weights.empty() ? ImageBatch() : upload(device, images, float32, weights);
  };
  const auto encode = [=](const CommandBuffer& commands, const ImageBatch& source,
                          const ImageBatch& target, StateBatch* states) {
    return forward->encodeBatch(commands, source, target, weights_batch(), states, false);
  };
  return std::make_unique<CheckedFunctions>(
      std::vector{variable_of("prediction", predictions), variable_of("label", labels)},
      [=](const CheckedPoint& point) {
        CommandBuffer commands = queue.makeCommandBuffer();
        const ImageBatch loss = encode(commands, upload(device, predictions, float32, point[0]),
                                       upload(device, labels, float32, point[1]), nullptr);
        finish(commands);
        return loss.read_floats();
      },
      [=](const CheckedPoint& point, const std::vector<float>& incoming) {
        CommandBuffer commands = queue.makeCommandBuffer();
        const ImageBatch source = upload(device, predictions, images.format, point[0]),
                         target = upload(device, labels, float32, point[1]);
        StateBatch states;
        const ImageBatch loss = encode(commands, source, target, &states);
        const CheckedImages extents = extents_of(loss);
        const ImageBatch given = upload(device, extents, float32, incoming);
        const ImageBatch found = by_prediction->encodeBatch(commands, given, source, target,
                                                            weights_batch(), states),
                         for_labels = by_label->encodeBatch(commands, given, source, target,
                                                            weights_batch(), states);
        finish(commands);
        return CheckedPoint{found.read_floats(), for_labels.read_floats()};
      });
}

/// `Kernel`: CNNLoss or CNNYOLOLoss. Its loss images and its result.
template <class Kernel>
class LossOfLabels {
 public:
  LossOfLabels(std::shared_ptr<Kernel> kernel, const CheckedImages& images,
               std::vector<float> labels, std::vector<float> weights, bool reduced)
      : kernel_(std::move(kernel)),
        images_(images),
        labels_(std::move(labels)),
        weights_(std::move(weights)),
        reduced_(reduced),
        queue_(kernel_->device().makeCommandQueue()) {}

  struct Found {
    std::vector<float> losses, gradient;
  };
  [[nodiscard]] Found run(const std::vector<float>& predictions,
                          ImageFeatureChannelFormat format) const {
    const Device device = kernel_->device();
    const Size size =
        reduced_ ? Size{1, 1, 1} : Size{images_.width, images_.height, images_.featureChannels};
    const ImageBatch labels = upload(device, images_, float32, labels_),
                     weights = weights_.empty() ? ImageBatch()
                                                : upload(device, images_, float32, weights_),
                     result = upload(device, images_, format, predictions);
    CNNLossLabelsBatch states;
    for (std::size_t i = 0; i < images_.count; ++i)
      states.push_back(std::make_shared<CNNLossLabels>(device, size, labels[i],
                                                       weights.empty() ? Image() : weights[i]));
    CommandBuffer commands = queue_.makeCommandBuffer();
    kernel_->encodeBatch(commands, upload(device, images_, format, predictions), states, result);
    finish(commands);
    Found found{{}, result.read_floats()};
    for (const auto& state : states) {
      const std::vector<float> loss = state->lossImage().read_floats();
      found.losses.insert(found.losses.end(), loss.begin(), loss.end());
    }
    return found;
  }
  [[nodiscard]] std::unique_ptr<Differentiable> check() const {
    return std::make_unique<CheckedFunctions>(
        std::vector{variable_of("prediction", images_)},
        [self = *this](const CheckedPoint& point) { return self.run(point[0], float32).losses; },
        [self = *this](const CheckedPoint& point, const std::vector<float>&) {
          return CheckedPoint{self.run(point[0], self.images_.format).gradient};
        },
        false);
  }

 private:
  std::shared_ptr<Kernel> kernel_;
  CheckedImages images_;
  std::vector<float> labels_, weights_;
  bool reduced_;
  CommandQueue queue_;
};

/// With the switches under which its result is the gradient of its value.
std::unique_ptr<Differentiable> cnn_loss(const Device& device, const Settings& s,
                                         const CheckedImages& images) {
  check_images(s.kernel(), images);
  const auto kernel = std::make_shared<CNNLoss>(device, descriptor_of(s));
  kernel->set_switches(
      {.softmax_cross_entropy_exact_gradient = true, .cnn_loss_gradient_applies_reduction = true});
  const auto type = s.choice<CNNLossType>("lossType");
  return LossOfLabels(kernel, predictions_of(type, images), values_of(labels_of(type, images)),
                      element_weights(s, images),
                      s.choice<CNNReductionType>("reductionType") != CNNReductionType::None)
      .check();
}

/// Two anchors and as many classes as make (5 + classes) * 2 feature channels of at least those
/// asked for. The IoU of `rescore` is a constant of the gradient and not of the loss, so it is off.
std::unique_ptr<Differentiable> yolo_loss(const Device& device, const Settings& s,
                                          const CheckedImages& images) {
  constexpr std::size_t anchors = 2, box = 5;
  const std::size_t classes = std::max<std::size_t>(1, images.featureChannels);
  CheckedImages predictions = images;
  predictions.featureChannels = anchors * (box + classes);
  check_images(s.kernel(), predictions);
  auto descriptor = CNNYOLOLossDescriptor::cnnLossDescriptor(
      s.choice<CNNLossType>("XYLossType"), s.choice<CNNLossType>("WHLossType"),
      s.choice<CNNLossType>("confidenceLossType"), s.choice<CNNLossType>("classesLossType"),
      s.choice<CNNReductionType>("reductionType"), std::array<float, 4>{1, 2, 2.5F, 1.5F}, anchors);
  descriptor.setReduceAcrossBatch(s.flag("reduceAcrossBatch"));
  descriptor.setRescore(false);
  descriptor.setScaleXY(s.number("scaleXY"));
  descriptor.setScaleWH(s.number("scaleWH"));
  descriptor.setScaleNoObject(s.number("scaleNoObject"));
  descriptor.setScaleObject(s.number("scaleObject"));
  descriptor.setScaleClass(s.number("scaleClass"));
  const auto kernel = std::make_shared<CNNYOLOLoss>(device, descriptor);
  kernel->set_switches({.softmax_cross_entropy_exact_gradient = true});

  CheckedImages labels = predictions;
  labels.seed += 1;
  labels.low = 0.25;
  labels.high = 2;
  std::vector<float> values = values_of(labels);
  RandomValues random(labels.seed + 1);
  for (std::size_t first = 0; first < values.size(); first += box + classes) {
    values[first + 4] = random.below(2) == 0 ? 0.0F : 1.0F;
    for (std::size_t k = 0; k < classes; ++k) values[first + box + k] = 0;
    values[first + box + random.below(classes)] = 1;
  }
  return LossOfLabels(kernel, predictions, values, {},
                      s.choice<CNNReductionType>("reductionType") != CNNReductionType::None)
      .check();
}

}  // namespace

Catalog loss_checks() {
  const auto type = [](CNNLossType one) { return static_cast<double>(one); };
  return {
      {"NNForwardLoss", true, loss_settings(), forward_loss},
      {"CNNLoss", true, loss_settings(), cnn_loss},
      {"CNNYOLOLoss",
       true,
       {{"XYLossType", type(CNNLossType::MeanSquaredError), {type(CNNLossType::Huber)}},
        {"WHLossType", type(CNNLossType::Huber), {type(CNNLossType::MeanAbsoluteError)}},
        {"confidenceLossType",
         type(CNNLossType::SigmoidCrossEntropy),
         {type(CNNLossType::MeanSquaredError)}},
        {"classesLossType",
         type(CNNLossType::SoftMaxCrossEntropy),
         {type(CNNLossType::SigmoidCrossEntropy)}},
        {"reductionType", static_cast<double>(CNNReductionType::Sum), {0, 2}},
        {"reduceAcrossBatch", 0, {1}},
        {"scaleXY", 10, {3}},
        {"scaleWH", 10, {4}},
        {"scaleNoObject", 5, {6}},
        {"scaleObject", 100, {7}},
        {"scaleClass", 2, {8}}},
       yolo_loss},
  };
}

}  // namespace cermet::detail
