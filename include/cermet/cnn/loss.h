#pragma once
// Losses in their three forms: CNNLoss (value and gradient in one), NNForwardLoss with
// NNLossGradient, and the image of ones that starts back-propagation (spec: loss).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// The loss of one element (spec: loss 2).
enum class CNNLossType : std::uint32_t {
  MeanAbsoluteError = 0,
  MeanSquaredError = 1,
  SoftMaxCrossEntropy = 2,
  SigmoidCrossEntropy = 3,
  CategoricalCrossEntropy = 4,
  Hinge = 5,
  Huber = 6,
  CosineDistance = 7,
  Log = 8,
  KullbackLeiblerDivergence = 9,
  Count = 10,
};
/// What becomes of the losses of the elements (spec: loss 7).
enum class CNNReductionType : std::int32_t {
  None = 0,
  Sum = 1,
  Mean = 2,
  SumByNonZeroWeights = 3,
  Count = 4
};

/// loss: source extents for reduction None, else n x 1 x 1 x 1; with reduceAcrossBatch the total is
/// in image 0 and the others are exactly 0. `labels` and `weights` may have more channels than
/// `source`; the first ones count. Sums in double, in a fixed order.
struct Loss {
  static constexpr std::string_view name = "NNForwardLoss";
  enum Slot { source, labels, weights, loss };  // weights may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  CNNLossType type = CNNLossType::SoftMaxCrossEntropy;
  CNNReductionType reduction = CNNReductionType::Sum;
  std::int32_t reduceAcrossBatch = 0;
  std::int32_t numberOfClasses = 1;
  struct Scalars {
    float weight = 1, labelSmoothing = 0, epsilon = 1e-7F, delta = 1;
  };
};

/// destination = G * w * dY * R: dY the derivative by the prediction, or by the label when
/// `byLabels`; G the incoming gradient (absent: 1; one value an image when reduced, image 0's for
/// all with reduceAcrossBatch); R the derivative of the reduction, or 1 when `ignoreReduction`.
/// `exactSoftMax`, `publishedKullbackLeibler`: the switches of the spec.
/// With byLabels channels of labels beyond the source's get 0.
struct LossGradient {
  static constexpr std::string_view name = "NNLossGradient";
  enum Slot { gradient, source, labels, weights, destination };  // gradient, weights may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::write};
  Loss forward{};
  std::int32_t byLabels = 0, ignoreReduction = 0;
  std::int32_t exactSoftMax = 0, publishedKullbackLeibler = 0;
  using Scalars = Loss::Scalars;
};

using LossOperators = TypeList<Loss, LossGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Labels or weights of one image in host memory, float32 (spec: loss 3).
class CNNLossDataDescriptor {
 public:
  /// Copies `data`. `size.depth` counts feature channels. Throws InvalidArgument for a zero extent
  /// or less data than the dense size.
  [[nodiscard]] static CNNLossDataDescriptor cnnLossDataDescriptor(std::span<const float> data,
                                                                   DataLayout layout,
                                                                   const Size& size);
  [[nodiscard]] DataLayout layout() const { return layout_; }
  [[nodiscard]] const Size& size() const { return size_; }
  /// Bytes between rows. Default dense: width*channels*4 in HWC, width*4 in CHW.
  [[nodiscard]] std::size_t bytesPerRow() const { return bytes_per_row_; }
  void setBytesPerRow(std::size_t bytes) { bytes_per_row_ = bytes; }
  /// HWC: bytes of the image; CHW: bytes between channel planes. Default dense.
  [[nodiscard]] std::size_t bytesPerImage() const { return bytes_per_image_; }
  void setBytesPerImage(std::size_t bytes) { bytes_per_image_ = bytes; }

  /// The values as a new float32 image; throws where the strides leave the data.
  [[nodiscard]] Image make_image(const Device& device) const;

 private:
  std::vector<float> data_;
  DataLayout layout_ = DataLayout::HeightxWidthxFeatureChannels;
  Size size_;
  std::size_t bytes_per_row_ = 0, bytes_per_image_ = 0;
};

/// Labels and weights of ONE image on their way into CNNLoss, and the loss on its way out. Images
/// are float32 and may be written again between encodes (spec: loss 4).
class CNNLossLabels final : public State {
 public:
  CNNLossLabels(const Device& device, const CNNLossDataDescriptor& labelsDescriptor);
  /// `lossImageSize`: {1, 1, 1} for a reduced loss, or the source's size for reduction None.
  CNNLossLabels(const Device& device, const Size& lossImageSize,
                const CNNLossDataDescriptor& labelsDescriptor,
                const CNNLossDataDescriptor* weightsDescriptor);
  /// Keeps the images themselves: they are read when the filter runs. `weightsImage` may be nil.
  CNNLossLabels(const Device& device, const Size& lossImageSize, Image labelsImage,
                Image weightsImage);

  [[nodiscard]] const Image& lossImage() const { return loss_; }
  [[nodiscard]] const Image& labelsImage() const { return labels_; }
  /// Nil without weights.
  [[nodiscard]] const Image& weightsImage() const { return weights_; }
  [[nodiscard]] std::string_view class_name() const override { return "CNNLossLabels"; }

 private:
  Image loss_, labels_, weights_;
};
using CNNLossLabelsBatch = std::vector<std::shared_ptr<CNNLossLabels>>;

/// Parameters of a loss (spec: loss 5). Filters copy them.
class CNNLossDescriptor {
 public:
  CNNLossDescriptor() = default;
  explicit CNNLossDescriptor(Coder& coder) { code(coder); }
  void encodeWithCoder(Coder& coder) const;
  /// Throws InvalidArgument for codes that are not a type or a reduction, and for CosineDistance
  /// with another reduction than Sum.
  [[nodiscard]] static CNNLossDescriptor cnnLossDescriptor(CNNLossType lossType,
                                                           CNNReductionType reductionType);

  [[nodiscard]] CNNLossType lossType() const { return type_; }
  void setLossType(CNNLossType type) { type_ = type; }
  [[nodiscard]] CNNReductionType reductionType() const { return reduction_; }
  void setReductionType(CNNReductionType type) { reduction_ = type; }
  /// The total of the batch in its first loss image, 0 in the others. Default false.
  [[nodiscard]] bool reduceAcrossBatch() const { return across_batch_; }
  void setReduceAcrossBatch(bool reduce) { across_batch_ = reduce; }
  /// Multiplies every element, together with a weights image. Default 1.
  [[nodiscard]] float weight() const { return weight_; }
  void setWeight(float weight) { weight_ = weight; }
  /// SoftMax and sigmoid cross entropy: t*(1-s) + s/classes, t*(1-s) + s/2. Default 0.
  [[nodiscard]] float labelSmoothing() const { return smoothing_; }
  void setLabelSmoothing(float smoothing) { smoothing_ = smoothing; }
  /// Used by the smoothing of soft-max cross entropy alone. Default 1.
  [[nodiscard]] std::size_t numberOfClasses() const { return classes_; }
  void setNumberOfClasses(std::size_t classes) { classes_ = classes; }
  /// Of the Log loss. Default 1e-7.
  [[nodiscard]] float epsilon() const { return epsilon_; }
  void setEpsilon(float epsilon) { epsilon_ = epsilon; }
  /// Of the Huber loss. Default 1.
  [[nodiscard]] float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  bool operator==(const CNNLossDescriptor&) const = default;
  /// Lists the fields to a coder.
  void code(Coder& coder);

 private:
  CNNLossType type_ = CNNLossType::SoftMaxCrossEntropy;
  CNNReductionType reduction_ = CNNReductionType::None;
  bool across_batch_ = false;
  float weight_ = 1, smoothing_ = 0, epsilon_ = 1e-7F, delta_ = 1;
  std::size_t classes_ = 1;
};

/// The documented switches of the loss pages; all false is the behaviour this library resolves to.
struct LossSwitches {
  bool softmax_cross_entropy_exact_gradient = false;  // spec: loss 6.3(3)
  bool kl_gradient_published = false;                 // spec: loss 6.3(10)
  bool loss_gradient_ignores_reduction = false;       // spec: loss 7.5
  bool cnn_loss_gradient_applies_reduction = false;   // spec: loss 7.5
  bool operator==(const LossSwitches&) const = default;
  void code(Coder& coder);
};

namespace detail {
/// What the three loss filters share: the checked descriptor.
class LossParameters {
 public:
  LossParameters(const CNNLossDescriptor& descriptor, std::string_view kernel);
  CNNLossDescriptor descriptor;
  LossSwitches switches;

  void code(Coder& coder, std::string_view kernel);
  [[nodiscard]] Loss op() const;
  [[nodiscard]] Loss::Scalars scalars() const;
  [[nodiscard]] bool reduced() const {
    return descriptor.reductionType() != CNNReductionType::None;
  }
};
}  // namespace detail

/// The loss into the labels' loss image and its gradient by the source into the destination, which
/// is already the gradient to feed backwards (spec: loss 8). Its reduction factor is 1.
class CNNLoss final : public KernelOf<CNNKernel, Loss> {
 public:
  CNNLoss(const Device& device, const CNNLossDescriptor& lossDescriptor);
  CNNLoss(Coder& coder, const Device& device) : CNNLoss(device, CNNLossDescriptor()) {
    read(coder);
  }
  [[nodiscard]] CNNLoss copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "CNNLoss"; }

  [[nodiscard]] CNNLossType lossType() const { return p_.descriptor.lossType(); }
  [[nodiscard]] CNNReductionType reductionType() const { return p_.descriptor.reductionType(); }
  [[nodiscard]] bool reduceAcrossBatch() const { return p_.descriptor.reduceAcrossBatch(); }
  [[nodiscard]] float weight() const { return p_.descriptor.weight(); }
  [[nodiscard]] float labelSmoothing() const { return p_.descriptor.labelSmoothing(); }
  [[nodiscard]] std::size_t numberOfClasses() const { return p_.descriptor.numberOfClasses(); }
  [[nodiscard]] float epsilon() const { return p_.descriptor.epsilon(); }
  [[nodiscard]] float delta() const { return p_.descriptor.delta(); }
  [[nodiscard]] const LossSwitches& switches() const { return p_.switches; }
  void set_switches(const LossSwitches& switches) { p_.switches = switches; }

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
  void record(detail::UnaryEncoding& encoding) const override;

 private:
  detail::LossParameters p_;
  mutable detail::StepMemo gradient_memo_;
};

/// The loss image of predictions against labels: 1x1x1 for each image when reduced, else of the
/// source's size (spec: loss 9). Default offset and clipRect only.
class NNForwardLoss final : public KernelOf<CNNKernel, Loss> {
 public:
  NNForwardLoss(const Device& device, const CNNLossDescriptor& lossDescriptor);
  NNForwardLoss(Coder& coder, const Device& device) : NNForwardLoss(device, CNNLossDescriptor()) {
    read(coder);
  }
  [[nodiscard]] NNForwardLoss copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "NNForwardLoss"; }

  [[nodiscard]] CNNLossType lossType() const { return p_.descriptor.lossType(); }
  [[nodiscard]] CNNReductionType reductionType() const { return p_.descriptor.reductionType(); }
  [[nodiscard]] bool reduceAcrossBatch() const { return p_.descriptor.reduceAcrossBatch(); }
  [[nodiscard]] std::size_t numberOfClasses() const { return p_.descriptor.numberOfClasses(); }
  [[nodiscard]] float weight() const { return p_.descriptor.weight(); }
  void setWeight(float weight) { p_.descriptor.setWeight(weight); }
  [[nodiscard]] float labelSmoothing() const { return p_.descriptor.labelSmoothing(); }
  void setLabelSmoothing(float smoothing) { p_.descriptor.setLabelSmoothing(smoothing); }
  [[nodiscard]] float epsilon() const { return p_.descriptor.epsilon(); }
  void setEpsilon(float epsilon) { p_.descriptor.setEpsilon(epsilon); }
  [[nodiscard]] float delta() const { return p_.descriptor.delta(); }
  void setDelta(float delta) { p_.descriptor.setDelta(delta); }

  /// `weights` may be empty, `destinationStates` too.
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const ImageBatch& labels, const ImageBatch& weights,
                   const StateBatch& destinationStates, const ImageBatch& destinationImages) const;
  /// Returns the loss images; `destinationStates` may be null.
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages, const ImageBatch& labels,
                                       const ImageBatch& weights, StateBatch* destinationStates,
                                       bool destinationStateIsTemporary);

 protected:
  void code(Coder& coder) override;
  void record(detail::UnaryEncoding& encoding) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;

 private:
  detail::LossParameters p_;
};

/// G * w * dY * R, or dT instead of dY when computeLabelGradients (spec: loss 10). A source state
/// carries weight, labelSmoothing, epsilon and delta of its forward encode and wins over the
/// properties. R is the derivative of the reduction.
class NNLossGradient final : public KernelOf<CNNBinaryKernel, LossGradient> {
 public:
  NNLossGradient(const Device& device, const CNNLossDescriptor& lossDescriptor);
  NNLossGradient(Coder& coder, const Device& device) : NNLossGradient(device, CNNLossDescriptor()) {
    read(coder);
  }
  [[nodiscard]] NNLossGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "NNLossGradient"; }

  [[nodiscard]] CNNLossType lossType() const { return p_.descriptor.lossType(); }
  [[nodiscard]] CNNReductionType reductionType() const { return p_.descriptor.reductionType(); }
  [[nodiscard]] bool reduceAcrossBatch() const { return p_.descriptor.reduceAcrossBatch(); }
  [[nodiscard]] std::size_t numberOfClasses() const { return p_.descriptor.numberOfClasses(); }
  [[nodiscard]] float weight() const { return p_.descriptor.weight(); }
  void setWeight(float weight) { p_.descriptor.setWeight(weight); }
  [[nodiscard]] float labelSmoothing() const { return p_.descriptor.labelSmoothing(); }
  void setLabelSmoothing(float smoothing) { p_.descriptor.setLabelSmoothing(smoothing); }
  [[nodiscard]] float epsilon() const { return p_.descriptor.epsilon(); }
  void setEpsilon(float epsilon) { p_.descriptor.setEpsilon(epsilon); }
  [[nodiscard]] float delta() const { return p_.descriptor.delta(); }
  void setDelta(float delta) { p_.descriptor.setDelta(delta); }
  /// Whether the gradient is that of the labels. Default false: of the predictions.
  [[nodiscard]] bool computeLabelGradients() const { return by_labels_; }
  void setComputeLabelGradients(bool compute) { by_labels_ = compute; }
  [[nodiscard]] const LossSwitches& switches() const { return p_.switches; }
  void set_switches(const LossSwitches& switches) { p_.switches = switches; }
  /// A weight that wins over the one in a source state, for graph callbacks.
  void set_weight_override(std::optional<float> weight) { weight_override_ = weight; }

  /// `weights` and `sourceStates` may be empty.
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceGradients,
                                       const ImageBatch& sourceImages, const ImageBatch& labels,
                                       const ImageBatch& weights, const StateBatch& sourceStates);
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const ImageBatch& labels,
                   const ImageBatch& weights, const StateBatch& sourceStates,
                   const ImageBatch& destinationGradients) const;

 protected:
  void code(Coder& coder) override;
  void record(detail::BinaryEncoding& encoding) const override;

 private:
  detail::LossParameters p_;
  bool by_labels_ = false;
  std::optional<float> weight_override_;
};

/// Every element of the result is 1, the derivative of an image by itself (spec: loss 11).
class NNInitialGradient final : public CNNKernel {
 public:
  explicit NNInitialGradient(const Device& device) : CNNKernel(device) {}
  NNInitialGradient(Coder& coder, const Device& device) : CNNKernel(coder, device) { read(coder); }
  [[nodiscard]] NNInitialGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "NNInitialGradient"; }

 protected:
  void record(detail::UnaryEncoding& encoding) const override;

 private:
  mutable detail::StepMemo memo_;
};

using LossKernels = TypeList<CNNLoss, NNForwardLoss, NNLossGradient, NNInitialGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
