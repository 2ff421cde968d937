#pragma once
// The loss of an object detector that predicts a box, a confidence and classes for each anchor of
// each grid cell (spec: loss 13).

#include <array>
#include <string_view>

#include "cermet/cnn/loss.h"
#include "cermet/core/operator.h"

namespace cermet {

/// Value and gradient in one, since the count of objects couples all images. A cell is a pixel;
/// `anchors` holds a width and a height for each of the A anchors; source and labels have 5+K
/// channels for each: x, y, w, h, confidence and K classes. With the raw predictions x, y, w, h, c,
/// f and the labels X, Y, W, H, C, F of an anchor of aw by ah:
///
///   px = s(x), py = s(y), pw = aw*exp(w), ph = ah*exp(h), s the logistic function
///   S: IoU of aw x ah and W x H on one centre; I: IoU of the predicted and the labelled box
///   object: C is 1, and S is the largest of its cell or above minIOUForObjectPresence
///   absent: no object, and S is below maxIOUForObjectAbsence
///   count = 1e-4 + objects of the whole batch, area = cells of an image
///   loss = sum over objects of scaleXY/count * (l(px, X) + l(py, Y))
///                            + scaleWH/(2*count) * (l(w, ln(W/aw + 1e-5)) + l(h, ln(H/ah + 1e-5)))
///                            + scaleClass/count * l(f, F)
///        + sum over objects and absent of scaleObject or scaleNoObject / area * l(c, t),
///          t = I (1 unless `rescore`) of an object, 0 of an absent one
///
/// l: the function of the part; its soft-max and cosine distance take the channels of the part of
/// one anchor together, and the distance has a 1 for each anchor. gradient: of this sum by the raw
/// predictions, with I a constant; channels beyond the source's get 0. `plainSum`: count, area and
/// the 2 are 1. loss: the terms of each channel for reduction None, else their sum, n x 1 x 1 x 1;
/// with reduceAcrossBatch the total is in image 0 and the others are exactly 0. `labels` and
/// `weights` may have more channels than `source`. Sums in double, in a fixed order.
struct YOLOLoss {
  static constexpr std::string_view name = "CNNYOLOLoss";
  enum Slot { source, labels, weights, anchors, loss, gradient };  // weights may be absent
  static constexpr std::array access{Access::read, Access::read,  Access::read,
                                     Access::read, Access::write, Access::write};
  struct Part {
    CNNLossType type = CNNLossType::MeanSquaredError;
    std::int32_t numberOfClasses = 1;
    Loss::Scalars scalars{};
  };
  Part xy{}, wh{}, confidence{}, classes{};
  CNNReductionType reduction = CNNReductionType::Sum;
  std::int32_t reduceAcrossBatch = 0, rescore = 1;
  std::int32_t plainSum = 0, exactSoftMax = 0, publishedKullbackLeibler = 0;
  struct Scalars {
    float scaleXY = 10, scaleWH = 10, scaleNoObject = 5, scaleObject = 100, scaleClass = 2;
    float minIOUForObjectPresence = 0.7F, maxIOUForObjectAbsence = 0.3F;
  };
};

using YOLOLossOperators = TypeList<YOLOLoss>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Parameters of a YOLO loss (spec: loss 13.1). Filters copy them.
class CNNYOLOLossDescriptor {
 public:
  CNNYOLOLossDescriptor() = default;
  explicit CNNYOLOLossDescriptor(Coder& coder) { code(coder); }
  void encodeWithCoder(Coder& coder) const;
  /// `anchorBoxes`: a width and a height in grid cells for each anchor. Usual types: mean squared
  /// error, Huber, sigmoid and soft-max cross entropy; usual reduction: Sum. Throws InvalidArgument
  /// for codes that are not a type or a reduction, for CosineDistance with another reduction than
  /// Sum, for no anchors, fewer numbers than they need, and numbers that are not above 0.
  [[nodiscard]] static CNNYOLOLossDescriptor cnnLossDescriptor(
      CNNLossType XYLossType, CNNLossType WHLossType, CNNLossType confidenceLossType,
      CNNLossType classesLossType, CNNReductionType reductionType,
      std::span<const float> anchorBoxes, std::size_t numberOfAnchorBoxes);

  /// The four parts: their type, weight, labelSmoothing, numberOfClasses, epsilon and delta count;
  /// reduction and reduceAcrossBatch are those of this descriptor.
  [[nodiscard]] const CNNLossDescriptor& XYLossDescriptor() const { return xy_; }
  void setXYLossDescriptor(const CNNLossDescriptor& descriptor) { xy_ = descriptor; }
  [[nodiscard]] const CNNLossDescriptor& WHLossDescriptor() const { return wh_; }
  void setWHLossDescriptor(const CNNLossDescriptor& descriptor) { wh_ = descriptor; }
  [[nodiscard]] const CNNLossDescriptor& confidenceLossDescriptor() const { return confidence_; }
  void setConfidenceLossDescriptor(const CNNLossDescriptor& descriptor) {
    confidence_ = descriptor;
  }
  [[nodiscard]] const CNNLossDescriptor& classesLossDescriptor() const { return classes_; }
  void setClassesLossDescriptor(const CNNLossDescriptor& descriptor) { classes_ = descriptor; }
  /// Mean and SumByNonZeroWeights are as Sum.
  [[nodiscard]] CNNReductionType reductionType() const { return reduction_; }
  void setReductionType(CNNReductionType type) { reduction_ = type; }
  /// The total of the batch in its first loss image, 0 in the others. Default false.
  [[nodiscard]] bool reduceAcrossBatch() const { return across_batch_; }
  void setReduceAcrossBatch(bool reduce) { across_batch_ = reduce; }
  /// Whether the confidence of an object should be the IoU of its predicted box, not 1. Default
  /// true.
  [[nodiscard]] bool rescore() const { return rescore_; }
  void setRescore(bool rescore) { rescore_ = rescore; }
  /// Default 10.
  [[nodiscard]] float scaleXY() const { return scales_.scaleXY; }
  void setScaleXY(float scale) { scales_.scaleXY = scale; }
  /// Default 10.
  [[nodiscard]] float scaleWH() const { return scales_.scaleWH; }
  void setScaleWH(float scale) { scales_.scaleWH = scale; }
  /// Of the confidence where there is no object. Default 5.
  [[nodiscard]] float scaleNoObject() const { return scales_.scaleNoObject; }
  void setScaleNoObject(float scale) { scales_.scaleNoObject = scale; }
  /// Of the confidence of an object. Default 100.
  [[nodiscard]] float scaleObject() const { return scales_.scaleObject; }
  void setScaleObject(float scale) { scales_.scaleObject = scale; }
  /// Default 2.
  [[nodiscard]] float scaleClass() const { return scales_.scaleClass; }
  void setScaleClass(float scale) { scales_.scaleClass = scale; }
  /// An anchor whose shape overlaps the label's more than this holds the object. Default 0.7.
  [[nodiscard]] float minIOUForObjectPresence() const { return scales_.minIOUForObjectPresence; }
  void setMinIOUForObjectPresence(float iou) { scales_.minIOUForObjectPresence = iou; }
  /// One that overlaps it less than this holds none. Default 0.3.
  [[nodiscard]] float maxIOUForObjectAbsence() const { return scales_.maxIOUForObjectAbsence; }
  void setMaxIOUForObjectAbsence(float iou) { scales_.maxIOUForObjectAbsence = iou; }
  [[nodiscard]] std::size_t numberOfAnchorBoxes() const { return anchors_; }
  void setNumberOfAnchorBoxes(std::size_t count) { anchors_ = count; }
  /// At least twice as many numbers as anchors; the first ones count.
  [[nodiscard]] const std::vector<float>& anchorBoxes() const { return anchor_boxes_; }
  void setAnchorBoxes(std::vector<float> boxes) { anchor_boxes_ = std::move(boxes); }

  bool operator==(const CNNYOLOLossDescriptor& other) const;
  /// Lists the fields to a coder.
  void code(Coder& coder);
  // For kernels.
  [[nodiscard]] const YOLOLoss::Scalars& scales() const { return scales_; }

 private:
  CNNLossDescriptor xy_, wh_, confidence_, classes_;
  CNNReductionType reduction_ = CNNReductionType::Sum;
  bool across_batch_ = false, rescore_ = true;
  YOLOLoss::Scalars scales_;
  std::size_t anchors_ = 0;
  std::vector<float> anchor_boxes_;
};

/// The documented switches of the YOLO loss; all false is the behaviour this library resolves to.
struct YOLOLossSwitches {
  bool yolo_plain_sum = false;  // spec: loss 13.4: count, area and the 2 are 1
  bool softmax_cross_entropy_exact_gradient = false;  // spec: loss 6.3(3)
  bool kl_gradient_published = false;                 // spec: loss 6.3(10)
  bool operator==(const YOLOLossSwitches&) const = default;
  void code(Coder& coder);
};

/// The YOLO loss into the labels' loss images and its gradient by the source into the destination,
/// which is already the gradient to feed backwards (spec: loss 13.2). Source, labels and
/// destination have (5 + K)*A feature channels, K >= 1 classes and A anchors; a weights image
/// multiplies the term and the gradient of each channel. The count of objects is that of the whole
/// batch: images encoded one by one have other gradients than in one batch. Default offsets and
/// clipRect only.
class CNNYOLOLoss final : public KernelOf<CNNKernel, YOLOLoss> {
 public:
  CNNYOLOLoss(const Device& device, const CNNYOLOLossDescriptor& lossDescriptor);
  CNNYOLOLoss(Coder& coder, const Device& device) : KernelOf(device) { read(coder); }
  [[nodiscard]] CNNYOLOLoss copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "CNNYOLOLoss"; }

  /// The four parts: each call makes a new kernel of that part's descriptor and this reduction.
  [[nodiscard]] CNNLoss lossXY() const { return part(descriptor_.XYLossDescriptor()); }
  [[nodiscard]] CNNLoss lossWH() const { return part(descriptor_.WHLossDescriptor()); }
  [[nodiscard]] CNNLoss lossConfidence() const {
    return part(descriptor_.confidenceLossDescriptor());
  }
  [[nodiscard]] CNNLoss lossClasses() const { return part(descriptor_.classesLossDescriptor()); }
  [[nodiscard]] float scaleXY() const { return descriptor_.scaleXY(); }
  [[nodiscard]] float scaleWH() const { return descriptor_.scaleWH(); }
  [[nodiscard]] float scaleNoObject() const { return descriptor_.scaleNoObject(); }
  [[nodiscard]] float scaleObject() const { return descriptor_.scaleObject(); }
  [[nodiscard]] float scaleClass() const { return descriptor_.scaleClass(); }
  [[nodiscard]] float minIOUForObjectPresence() const {
    return descriptor_.minIOUForObjectPresence();
  }
  [[nodiscard]] float maxIOUForObjectAbsence() const {
    return descriptor_.maxIOUForObjectAbsence();
  }
  [[nodiscard]] CNNReductionType reductionType() const { return descriptor_.reductionType(); }
  [[nodiscard]] bool reduceAcrossBatch() const { return descriptor_.reduceAcrossBatch(); }
  [[nodiscard]] std::size_t numberOfAnchorBoxes() const {
    return descriptor_.numberOfAnchorBoxes();
  }
  [[nodiscard]] const std::vector<float>& anchorBoxes() const { return descriptor_.anchorBoxes(); }
  /// Ours; the original has no getter.
  [[nodiscard]] bool rescore() const { return descriptor_.rescore(); }
  [[nodiscard]] const YOLOLossSwitches& switches() const { return switches_; }
  void set_switches(const YOLOLossSwitches& switches);

  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const std::shared_ptr<CNNLossLabels>& labels, const Image& destinationImage) const;
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
                             const std::shared_ptr<CNNLossLabels>& labels);
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const CNNLossLabelsBatch& labels, const ImageBatch& destinationImages) const;
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages,
                                       const CNNLossLabelsBatch& labels);

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;

 private:
  [[nodiscard]] CNNLoss part(const CNNLossDescriptor& descriptor) const;
  /// Checks the descriptor and makes what derives from it.
  void build(const Device& device);

  CNNYOLOLossDescriptor descriptor_;
  YOLOLossSwitches switches_;
  Buffer anchors_;
};

using YOLOLossKernels = TypeList<CNNYOLOLoss>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
