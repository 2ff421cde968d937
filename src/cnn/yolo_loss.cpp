#include "cermet/cnn/yolo_loss.h"

#include <algorithm>
#include <cmath>

#include "cnn/loss_labels.h"

namespace cermet {

using detail::LossParameters;

// ---- descriptor
// ----------------------------------------------------------------------------------

namespace {

/// Of a part, with the reduction that all parts share.
CNNLossDescriptor shared(const CNNYOLOLossDescriptor& whole, CNNLossDescriptor part) {
  part.setReductionType(whole.reductionType());
  part.setReduceAcrossBatch(whole.reduceAcrossBatch());
  return part;
}

/// Throws InvalidArgument in the name of `kernel`.
void check_descriptor(const CNNYOLOLossDescriptor& what, std::string_view kernel) {
  for (const CNNLossDescriptor& part :
       {what.XYLossDescriptor(), what.WHLossDescriptor(), what.confidenceLossDescriptor(),
        what.classesLossDescriptor()}) {
    static_cast<void>(LossParameters(shared(what, part), kernel));  // which checks it
  }
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed) {
    fail({kernel, "", argument, std::move(got), std::move(needed), "Correct the loss descriptor."});
  };
  const auto& boxes = what.anchorBoxes();
  const std::size_t count = what.numberOfAnchorBoxes();
  constexpr std::size_t most = std::numeric_limits<std::int32_t>::max() / 2;
  if (count == 0 || count > most) refuse("numberOfAnchorBoxes", std::to_string(count), "1 or more");
  if (boxes.size() < 2 * count) {
    refuse("anchorBoxes", std::to_string(boxes.size()) + " numbers",
           std::to_string(2 * count) + ", a width and a height for each anchor");
  }
  for (std::size_t i = 0; i < 2 * count; ++i) {
    if (std::isfinite(boxes[i]) && boxes[i] > 0) continue;
    refuse("anchorBoxes", std::to_string(boxes[i]) + " as number " + std::to_string(i),
           "widths and heights above 0");
  }
}

YOLOLoss::Part part_of(const CNNLossDescriptor& descriptor) {
  return {
      descriptor.lossType(),
      static_cast<std::int32_t>(descriptor.numberOfClasses()),
      {descriptor.weight(), descriptor.labelSmoothing(), descriptor.epsilon(), descriptor.delta()}};
}

}  // namespace

CNNYOLOLossDescriptor CNNYOLOLossDescriptor::cnnLossDescriptor(
    CNNLossType XYLossType, CNNLossType WHLossType, CNNLossType confidenceLossType,
    CNNLossType classesLossType, CNNReductionType reductionType, std::span<const float> anchorBoxes,
    std::size_t numberOfAnchorBoxes) {
  CNNYOLOLossDescriptor descriptor;
  descriptor.xy_ = CNNLossDescriptor::cnnLossDescriptor(XYLossType, reductionType);
  descriptor.wh_ = CNNLossDescriptor::cnnLossDescriptor(WHLossType, reductionType);
  descriptor.confidence_ = CNNLossDescriptor::cnnLossDescriptor(confidenceLossType, reductionType);
  descriptor.classes_ = CNNLossDescriptor::cnnLossDescriptor(classesLossType, reductionType);
  descriptor.reduction_ = reductionType;
  descriptor.anchors_ = numberOfAnchorBoxes;
  descriptor.anchor_boxes_.assign(anchorBoxes.begin(), anchorBoxes.end());
  check_descriptor(descriptor, "CNNYOLOLossDescriptor");
  return descriptor;
}

bool CNNYOLOLossDescriptor::operator==(const CNNYOLOLossDescriptor& other) const {
  const auto scales = [](const YOLOLoss::Scalars& s) {
    return std::array{s.scaleXY,
                      s.scaleWH,
                      s.scaleNoObject,
                      s.scaleObject,
                      s.scaleClass,
                      s.minIOUForObjectPresence,
                      s.maxIOUForObjectAbsence};
  };
  return xy_ == other.xy_ && wh_ == other.wh_ && confidence_ == other.confidence_ &&
         classes_ == other.classes_ && reduction_ == other.reduction_ &&
         across_batch_ == other.across_batch_ && rescore_ == other.rescore_ &&
         scales(scales_) == scales(other.scales_) && anchors_ == other.anchors_ &&
         anchor_boxes_ == other.anchor_boxes_;
}

void CNNYOLOLossDescriptor::code(Coder& coder) {
  coder("XYLossDescriptor", xy_);
  coder("WHLossDescriptor", wh_);
  coder("confidenceLossDescriptor", confidence_);
  coder("classesLossDescriptor", classes_);
  coder("reductionType", reduction_, CNNReductionType::SumByNonZeroWeights);
  coder("reduceAcrossBatch", across_batch_);
  coder("rescore", rescore_);
  coder("scaleXY", scales_.scaleXY);
  coder("scaleWH", scales_.scaleWH);
  coder("scaleNoObject", scales_.scaleNoObject);
  coder("scaleObject", scales_.scaleObject);
  coder("scaleClass", scales_.scaleClass);
  coder("minIOUForObjectPresence", scales_.minIOUForObjectPresence);
  coder("maxIOUForObjectAbsence", scales_.maxIOUForObjectAbsence);
  coder("numberOfAnchorBoxes", anchors_);
  coder("anchorBoxes", anchor_boxes_);
}
void CNNYOLOLossDescriptor::encodeWithCoder(Coder& coder) const {
  CNNYOLOLossDescriptor(*this).code(coder);
}
void YOLOLossSwitches::code(Coder& coder) {
  coder("yolo_plain_sum", yolo_plain_sum);
  coder("softmax_cross_entropy_exact_gradient", softmax_cross_entropy_exact_gradient);
  coder("kl_gradient_published", kl_gradient_published);
}

// ---- the filter
// ----------------------------------------------------------------------------------

CNNYOLOLoss::CNNYOLOLoss(const Device& device, const CNNYOLOLossDescriptor& lossDescriptor)
    : KernelOf(device) {
  descriptor_ = lossDescriptor;
  build(device);
}

void CNNYOLOLoss::build(const Device& device) {
  check_descriptor(descriptor_, class_name());
  op_.xy = part_of(descriptor_.XYLossDescriptor());
  op_.wh = part_of(descriptor_.WHLossDescriptor());
  op_.confidence = part_of(descriptor_.confidenceLossDescriptor());
  op_.classes = part_of(descriptor_.classesLossDescriptor());
  op_.reduction = reductionType();
  op_.reduceAcrossBatch = reduceAcrossBatch() ? 1 : 0;
  op_.rescore = rescore() ? 1 : 0;
  op_.plainSum = switches_.yolo_plain_sum ? 1 : 0;
  op_.exactSoftMax = switches_.softmax_cross_entropy_exact_gradient ? 1 : 0;
  op_.publishedKullbackLeibler = switches_.kl_gradient_published ? 1 : 0;
  anchors_ = device.makeBuffer(anchorBoxes().data(), 2 * numberOfAnchorBoxes() * sizeof(float));
}

void CNNYOLOLoss::set_switches(const YOLOLossSwitches& switches) {
  switches_ = switches;
  build(device());
}

CNNLoss CNNYOLOLoss::part(const CNNLossDescriptor& descriptor) const {
  return {device(), shared(descriptor_, descriptor)};
}

void CNNYOLOLoss::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("lossDescriptor", descriptor_);
  coder("switches", switches_);
  if (coder.is_reading()) build(device());
}
void CNNYOLOLoss::move_to(const Device& device) {
  KernelOf::move_to(device);
  build(device);
}

void CNNYOLOLoss::record(detail::UnaryEncoding&) const {
  complain("labels", "absent", "a labels object for each image",
           "Use the encodes that take labels.");
}

void CNNYOLOLoss::encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                              const CNNLossLabelsBatch& labels,
                              const ImageBatch& destinationImages) const {
  if (sourceImages.empty()) return;
  const std::size_t anchors = numberOfAnchorBoxes();
  if (const Image first = sourceImages.front();
      first && (first.featureChannels() % anchors != 0 || first.featureChannels() / anchors < 6)) {
    complain(
        "sourceImages", detail::describe(first),
        "(5 + classes) * " + std::to_string(anchors) + " feature channels, with 1 class or more",
        "Predict x, y, width, height, a confidence and the classes for each anchor.");
  }
  detail::LabelledEncode call(*this, commandBuffer, sourceImages, labels, destinationImages,
                              reductionType() != CNNReductionType::None);
  detail::encode(call.recording(), memo_, op_,
                 {call.source, call.labels, call.weights,
                  detail::view_of(call.recording(), anchors_,
                                  flat_desc(2 * static_cast<std::int64_t>(anchors))),
                  call.losses, call.gradients},
                 descriptor_.scales());
  call.finish();
}

void CNNYOLOLoss::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                         const std::shared_ptr<CNNLossLabels>& labels,
                         const Image& destinationImage) const {
  encodeBatch(commandBuffer, ImageBatch{sourceImage}, {labels}, ImageBatch{destinationImage});
}
ImageBatch CNNYOLOLoss::encodeBatch(const CommandBuffer& commandBuffer,
                                    const ImageBatch& sourceImages,
                                    const CNNLossLabelsBatch& labels) {
  if (sourceImages.empty()) return {};
  ImageBatch destinations = detail::results_for(*this, commandBuffer, sourceImages);
  encodeBatch(commandBuffer, sourceImages, labels, destinations);
  return destinations;
}
Image CNNYOLOLoss::encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                          const std::shared_ptr<CNNLossLabels>& labels) {
  return encodeBatch(commandBuffer, ImageBatch{sourceImage}, CNNLossLabelsBatch{labels}).front();
}

}  // namespace cermet
