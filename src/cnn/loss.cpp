#include "cermet/cnn/loss.h"

#include <algorithm>
#include <cstring>

#include "cermet/ops/copy.h"
#include "cnn/loss_labels.h"

namespace cermet {

using detail::check_geometry;
using detail::check_labels;
using detail::Encode;
using detail::LossParameters;
using detail::Operand;

// ---- descriptors and labels
// ----------------------------------------------------------------------

CNNLossDataDescriptor CNNLossDataDescriptor::cnnLossDataDescriptor(std::span<const float> data,
                                                                   DataLayout layout,
                                                                   const Size& size) {
  const std::size_t dense = size.width * size.height * size.depth;
  if (dense == 0 || data.size() < dense) {
    fail({"CNNLossDataDescriptor", "", "data", std::to_string(data.size()) + " floats",
          std::to_string(size.width) + "x" + std::to_string(size.height) + "x" +
              std::to_string(size.depth) + " values with no extent 0",
          ""});
  }
  CNNLossDataDescriptor descriptor;
  descriptor.data_.assign(data.begin(), data.end());
  descriptor.layout_ = layout;
  descriptor.size_ = size;
  const bool hwc = layout == DataLayout::HeightxWidthxFeatureChannels;
  descriptor.bytes_per_row_ = size.width * (hwc ? size.depth : 1) * sizeof(float);
  descriptor.bytes_per_image_ = size.height * descriptor.bytes_per_row_;
  return descriptor;
}

Image CNNLossDataDescriptor::make_image(const Device& device) const {
  const bool hwc = layout_ == DataLayout::HeightxWidthxFeatureChannels;
  const auto bytes_at = [&](std::size_t y, std::size_t x, std::size_t c) {
    return hwc ? y * bytes_per_row_ + (x * size_.depth + c) * sizeof(float)
               : c * bytes_per_image_ + y * bytes_per_row_ + x * sizeof(float);
  };
  if (bytes_at(size_.height - 1, size_.width - 1, size_.depth - 1) + sizeof(float) >
      data_.size() * sizeof(float)) {
    fail({"CNNLossDataDescriptor", "", "bytesPerRow and bytesPerImage",
          std::to_string(bytes_per_row_) + " and " + std::to_string(bytes_per_image_),
          "strides inside " + std::to_string(data_.size() * sizeof(float)) + " bytes of data", ""});
  }
  std::vector<float> values;
  values.reserve(size_.width * size_.height * size_.depth);
  for (std::size_t y = 0; y < size_.height; ++y) {
    for (std::size_t x = 0; x < size_.width; ++x) {
      for (std::size_t c = 0; c < size_.depth; ++c) {
        float value = 0;
        std::memcpy(&value, reinterpret_cast<const std::byte*>(data_.data()) + bytes_at(y, x, c),
                    sizeof value);
        values.push_back(value);
      }
    }
  }
  Image image(device, ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32,
                                                       size_.width, size_.height, size_.depth));
  image.write_floats(values);
  return image;
}

CNNLossLabels::CNNLossLabels(const Device& device, const CNNLossDataDescriptor& labelsDescriptor)
    : CNNLossLabels(device, {1, 1, 1}, labelsDescriptor, nullptr) {}
CNNLossLabels::CNNLossLabels(const Device& device, const Size& lossImageSize,
                             const CNNLossDataDescriptor& labelsDescriptor,
                             const CNNLossDataDescriptor* weightsDescriptor)
    : CNNLossLabels(
          device, lossImageSize, labelsDescriptor.make_image(device),
          weightsDescriptor != nullptr ? weightsDescriptor->make_image(device) : Image()) {}
CNNLossLabels::CNNLossLabels(const Device& device, const Size& lossImageSize, Image labelsImage,
                             Image weightsImage)
    : State(device, StateResourceList()),
      labels_(std::move(labelsImage)),
      weights_(std::move(weightsImage)) {
  if (!labels_) fail({class_name(), "", "labelsImage", "nil", "an image", ""});
  const bool one = lossImageSize == Size{1, 1, 1};
  const bool whole =
      lossImageSize.width == labels_.width() && lossImageSize.height == labels_.height();
  if (!one && !whole) {
    fail({class_name(), "", "lossImageSize",
          std::to_string(lossImageSize.width) + "x" + std::to_string(lossImageSize.height) + "x" +
              std::to_string(lossImageSize.depth),
          "1x1x1 or the size of the source", "Use 1x1x1 unless the reduction is None."});
  }
  loss_ = Image(device, ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32,
                                                         lossImageSize.width, lossImageSize.height,
                                                         lossImageSize.depth));
}

CNNLossDescriptor CNNLossDescriptor::cnnLossDescriptor(CNNLossType lossType,
                                                       CNNReductionType reductionType) {
  CNNLossDescriptor descriptor;
  descriptor.type_ = lossType;
  descriptor.reduction_ = reductionType;
  static_cast<void>(LossParameters(descriptor, "CNNLossDescriptor"));
  return descriptor;
}

void CNNLossDescriptor::code(Coder& coder) {
  coder("lossType", type_, CNNLossType::KullbackLeiblerDivergence);
  coder("reductionType", reduction_, CNNReductionType::SumByNonZeroWeights);
  coder("reduceAcrossBatch", across_batch_);
  coder("weight", weight_);
  coder("labelSmoothing", smoothing_);
  coder("numberOfClasses", classes_);
  coder("epsilon", epsilon_);
  coder("delta", delta_);
}
void CNNLossDescriptor::encodeWithCoder(Coder& coder) const {
  CNNLossDescriptor(*this).code(coder);
}
void LossSwitches::code(Coder& coder) {
  coder("softmax_cross_entropy_exact_gradient", softmax_cross_entropy_exact_gradient);
  coder("kl_gradient_published", kl_gradient_published);
  coder("loss_gradient_ignores_reduction", loss_gradient_ignores_reduction);
  coder("cnn_loss_gradient_applies_reduction", cnn_loss_gradient_applies_reduction);
}

// ---- shared
// --------------------------------------------------------------------------------------

namespace detail {

LossParameters::LossParameters(const CNNLossDescriptor& what, std::string_view kernel)
    : descriptor(what) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed) {
    fail({kernel, "", argument, std::move(got), std::move(needed), "Correct the loss descriptor."});
  };
  if (what.lossType() >= CNNLossType::Count) {
    refuse("lossType", std::to_string(static_cast<unsigned>(what.lossType())),
           "a type from 0 to 9");
  }
  const auto reduction = what.reductionType();
  if (reduction < CNNReductionType::None || reduction >= CNNReductionType::Count) {
    refuse("reductionType", std::to_string(static_cast<int>(reduction)),
           "None, Sum, Mean or SumByNonZeroWeights");
  }
  if (what.lossType() == CNNLossType::CosineDistance && reduction != CNNReductionType::Sum) {
    refuse("reductionType", std::to_string(static_cast<int>(reduction)), "Sum for CosineDistance");
  }
  if (what.lossType() == CNNLossType::SoftMaxCrossEntropy && what.labelSmoothing() > 0 &&
      what.numberOfClasses() == 0) {
    refuse("numberOfClasses", "0", "the number of classes when labels are smoothed");
  }
  if (what.lossType() == CNNLossType::Huber && !(what.delta() >= 0)) {
    refuse("delta", std::to_string(what.delta()), "0 or more");
  }
}

void LossParameters::code(Coder& coder, std::string_view kernel) {
  coder("lossDescriptor", descriptor);
  coder("switches", switches);
  static_cast<void>(LossParameters(descriptor, kernel));  // which checks it
}

Loss LossParameters::op() const {
  return {descriptor.lossType(), descriptor.reductionType(), descriptor.reduceAcrossBatch() ? 1 : 0,
          static_cast<std::int32_t>(descriptor.numberOfClasses())};
}
Loss::Scalars LossParameters::scalars() const {
  return {descriptor.weight(), descriptor.labelSmoothing(), descriptor.epsilon(),
          descriptor.delta()};
}

}  // namespace detail

namespace {

/// The scalars that were in force at the forward encode.
class LossState final : public NNGradientState {
 public:
  explicit LossState(const detail::StateOrigin& origin) : NNGradientState(origin) {}
  [[nodiscard]] std::string_view class_name() const override {
    return "NNForwardLoss gradient state";
  }
  Loss::Scalars scalars;
};

}  // namespace

// ---- value and gradient in one
// -------------------------------------------------------------------

CNNLoss::CNNLoss(const Device& device, const CNNLossDescriptor& lossDescriptor)
    : KernelOf(device), p_(lossDescriptor, "CNNLoss") {}

void CNNLoss::code(Coder& coder) {
  CNNKernel::code(coder);
  p_.code(coder, class_name());
}
void CNNLoss::record(detail::UnaryEncoding&) const {
  complain("labels", "absent", "a labels object for each image",
           "Use the encodes that take labels.");
}

void CNNLoss::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                          const CNNLossLabelsBatch& labels,
                          const ImageBatch& destinationImages) const {
  if (sourceImages.empty()) return;
  detail::LabelledEncode call(*this, commandBuffer, sourceImages, labels, destinationImages,
                              p_.reduced());
  detail::encode(call.recording(), memo_, p_.op(),
                 {call.source, call.labels, call.weights, call.losses}, p_.scalars());
  LossGradient gradient;
  gradient.forward = p_.op();
  gradient.ignoreReduction = p_.switches.cnn_loss_gradient_applies_reduction ? 0 : 1;
  gradient.exactSoftMax = p_.switches.softmax_cross_entropy_exact_gradient ? 1 : 0;
  gradient.publishedKullbackLeibler = p_.switches.kl_gradient_published ? 1 : 0;
  detail::encode(call.recording(), gradient_memo_, gradient,
                 {TensorView{}, call.source, call.labels, call.weights, call.gradients},
                 p_.scalars());
  call.finish();
}

void CNNLoss::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                     const std::shared_ptr<CNNLossLabels>& labels,
                     const Image& destinationImage) const {
  encodeBatch(commandBuffer, ImageBatch{sourceImage}, {labels}, ImageBatch{destinationImage});
}
ImageBatch CNNLoss::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                                const CNNLossLabelsBatch& labels) {
  if (sourceImages.empty()) return {};
  ImageBatch destinations = detail::results_for(*this, commandBuffer, sourceImages);
  encodeBatch(commandBuffer, sourceImages, labels, destinations);
  return destinations;
}
Image CNNLoss::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                      const std::shared_ptr<CNNLossLabels>& labels) {
  return encodeBatch(commandBuffer, ImageBatch{sourceImage}, CNNLossLabelsBatch{labels}).front();
}

// ---- forward
// -------------------------------------------------------------------------------------

NNForwardLoss::NNForwardLoss(const Device& device, const CNNLossDescriptor& lossDescriptor)
    : KernelOf(device), p_(lossDescriptor, "NNForwardLoss") {}

void NNForwardLoss::code(Coder& coder) {
  CNNKernel::code(coder);
  p_.code(coder, class_name());
}
void NNForwardLoss::record(detail::UnaryEncoding&) const {
  complain("labels", "absent", "a batch of label images", "Use the encodes that take labels.");
}
void NNForwardLoss::adjust(ImageDescriptor& descriptor, std::span<const Image>) {
  if (p_.reduced()) descriptor.width = descriptor.height = descriptor.featureChannels = 1;
  setOffset({});
}
StatePtr NNForwardLoss::make_state(const detail::StateOrigin& origin, const Image&,
                                   const Image&) const {
  auto state = std::make_shared<LossState>(origin);
  state->scalars = p_.scalars();
  return state;
}

void NNForwardLoss::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                                const ImageBatch& labels, const ImageBatch& weights,
                                const StateBatch& destinationStates,
                                const ImageBatch& destinationImages) const {
  if (sourceImages.empty()) return;
  Encode call(*this, commandBuffer);
  check_geometry(*this, offset(), clipRect());
  const Operand source(sourceImages), label(labels), weight(weights),
      destination(destinationImages);
  call.check_counts("labels", label, "sourceImages", sourceImages.size());
  call.check_counts("destinationImages", destination, "sourceImages", sourceImages.size());
  call.check_operand("sourceImages", source);
  call.check_operand("labels", label);
  call.check_operand("destinationImages", destination);
  const Image from = sourceImages.front(), to = destinationImages.front();
  check_labels(*this, "labels", labels.front(), from);
  if (!weights.empty()) {
    call.check_counts("weights", weight, "sourceImages", sourceImages.size());
    call.check_operand("weights", weight);
    check_labels(*this, "weights", weights.front(), from);
  }
  if (!destinationStates.empty())
    call.check_states("destinationStates", destinationStates, sourceImages.size());
  const bool fits = p_.reduced() ? to.width() == 1 && to.height() == 1 && to.featureChannels() == 1
                                 : to.width() == from.width() && to.height() == from.height() &&
                                       to.featureChannels() == from.featureChannels();
  if (!fits) {
    complain("destinationImages", detail::describe(to),
             p_.reduced() ? "1x1x1 for a reduced loss" : "the source's size for reduction None");
  }
  for (std::size_t i = 0; i < destinationStates.size(); ++i) {
    if (auto state = destinationStates.at<LossState>(i)) {
      state->scalars = p_.scalars();
      state->set_forward(forward_record(from, to));
    }
  }
  const TensorView losses = call.destination(destination);
  detail::encode(call.recording(), memo_, p_.op(),
                 {call.source(source), call.source(label),
                  weights.empty() ? TensorView{} : call.source(weight), losses},
                 p_.scalars());
  call.scatter(destination, losses, 0, 0, 0);
  call.consume(source);
  call.consume(label);
  if (!weights.empty()) call.consume(weight);
}

ImageBatch NNForwardLoss::encodeBatch(const CommandBuffer& commandBuffer,
                                      const ImageBatch& sourceImages, const ImageBatch& labels,
                                      const ImageBatch& weights, StateBatch* destinationStates,
                                      bool destinationStateIsTemporary) {
  if (destinationStates != nullptr) *destinationStates = {};
  if (sourceImages.empty()) return {};
  ImageBatch destinations = detail::results_for(*this, commandBuffer, sourceImages);
  StateBatch states;
  if (destinationStates != nullptr) {
    states = destinationStateIsTemporary
                 ? temporaryResultStateBatch(commandBuffer, sourceImages, {}, destinations)
                 : resultStateBatch(sourceImages, {}, destinations);
  }
  encodeBatch(commandBuffer, sourceImages, labels, weights, states, destinations);
  if (destinationStates != nullptr) *destinationStates = std::move(states);
  return destinations;
}

// ---- gradient
// ------------------------------------------------------------------------------------

NNLossGradient::NNLossGradient(const Device& device, const CNNLossDescriptor& lossDescriptor)
    : KernelOf(device), p_(lossDescriptor, "NNLossGradient") {}

void NNLossGradient::code(Coder& coder) {
  CNNBinaryKernel::code(coder);
  p_.code(coder, class_name());
  coder("computeLabelGradients", by_labels_);
  coder("weight_override", weight_override_);
}
void NNLossGradient::record(detail::BinaryEncoding&) const {
  complain("labels", "absent", "a batch of label images", "Use the encodes that take labels.");
}

void NNLossGradient::encodeBatch(const CommandBuffer& commandBuffer,
                                 const ImageBatch& sourceGradients, const ImageBatch& sourceImages,
                                 const ImageBatch& labels, const ImageBatch& weights,
                                 const StateBatch& sourceStates,
                                 const ImageBatch& destinationGradients) const {
  if (sourceImages.empty()) return;
  Encode call(*this, commandBuffer);
  check_geometry(*this, primaryOffset(), clipRect());
  check_geometry(*this, secondaryOffset(), clipRect());
  const Operand gradient(sourceGradients), source(sourceImages), label(labels), weight(weights),
      destination(destinationGradients);
  call.check_counts("sourceGradients", gradient, "sourceImages", sourceImages.size());
  call.check_counts("labels", label, "sourceImages", sourceImages.size());
  call.check_counts("destinationGradients", destination, "sourceImages", sourceImages.size());
  for (const auto& [name, operand] : {std::pair{"sourceGradients", gradient},
                                      {"sourceImages", source},
                                      {"labels", label},
                                      {"destinationGradients", destination}}) {
    call.check_operand(name, operand);
  }
  const Image from = sourceImages.front(), g = sourceGradients.front(),
              to = destinationGradients.front();
  check_labels(*this, "labels", labels.front(), from);
  if (!weights.empty()) {
    call.check_counts("weights", weight, "sourceImages", sourceImages.size());
    call.check_operand("weights", weight);
    check_labels(*this, "weights", weights.front(), from);
  }
  if (!sourceStates.empty()) call.check_states("sourceStates", sourceStates, sourceImages.size());
  const bool one = g.width() == 1 && g.height() == 1 && g.featureChannels() == 1;
  const bool whole = g.width() == from.width() && g.height() == from.height() &&
                     g.featureChannels() == from.featureChannels();
  if (p_.reduced() ? !one : !whole) {
    complain("sourceGradients", detail::describe(g),
             p_.reduced() ? "1x1x1, the size of a reduced loss"
                          : "the size of the source images for reduction None");
  }
  const Image like = by_labels_ ? labels.front() : from;
  if (to.width() != like.width() || to.height() != like.height() ||
      to.featureChannels() != like.featureChannels()) {
    complain("destinationGradients", detail::describe(to),
             detail::describe(like) + std::string(by_labels_ ? ", the size of the labels"
                                                             : ", the size of the source images"));
  }
  Loss::Scalars scalars = p_.scalars();
  if (!sourceStates.empty()) {
    const auto state = sourceStates.at<LossState>(0);
    if (!state) {
      complain("sourceStates", "of another kind", "the states that NNForwardLoss returned",
               "Encode the backward pass with the states returned by the matching forward encode.");
    }
    scalars = state->scalars;
  }
  if (weight_override_) scalars.weight = *weight_override_;
  LossGradient op;
  op.forward = p_.op();
  op.byLabels = by_labels_ ? 1 : 0;
  op.ignoreReduction = p_.switches.loss_gradient_ignores_reduction ? 1 : 0;
  op.exactSoftMax = p_.switches.softmax_cross_entropy_exact_gradient ? 1 : 0;
  op.publishedKullbackLeibler = p_.switches.kl_gradient_published ? 1 : 0;
  const TensorView result = call.destination(destination);
  detail::encode(call.recording(), memo_, op,
                 {call.source(gradient), call.source(source), call.source(label),
                  weights.empty() ? TensorView{} : call.source(weight), result},
                 scalars);
  call.scatter(destination, result, 0, 0, 0);
  call.consume(gradient);
  call.consume(source);
  call.consume(label);
  if (!weights.empty()) call.consume(weight);
  if (!sourceStates.empty()) call.consume(sourceStates);
}

ImageBatch NNLossGradient::encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceGradients,
                                       const ImageBatch& sourceImages, const ImageBatch& labels,
                                       const ImageBatch& weights, const StateBatch& sourceStates) {
  if (sourceImages.empty()) return {};
  if (labels.empty() || sourceGradients.empty())
    complain("labels and sourceGradients", "empty", "one for each image");
  const Image like = by_labels_ ? labels.front() : sourceImages.front();
  const Image sources[] = {sourceGradients.front(), like};
  ImageDescriptor descriptor = destinationImageDescriptor(sources, {});
  descriptor.width = like.width();
  descriptor.height = like.height();
  descriptor.featureChannels = like.featureChannels();
  setPrimaryOffset({});
  setSecondaryOffset({});
  ImageBatch destinations = destinationImageAllocator()->imageBatch(commandBuffer, descriptor,
                                                                    *this, sourceImages.size());
  encodeBatch(commandBuffer, sourceGradients, sourceImages, labels, weights, sourceStates,
              destinations);
  return destinations;
}

void NNInitialGradient::record(detail::UnaryEncoding& e) const {
  detail::encode(e.recording, memo_, Fill{1.0F}, {e.destination});
}

}  // namespace cermet
