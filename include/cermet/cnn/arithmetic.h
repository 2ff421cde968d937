#pragma once
// Element-wise arithmetic on two images, with broadcasting, and its gradients (spec: pointwise 8,
// 10, 11).

#include <array>
#include <limits>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

enum class ArithmeticKind : std::int32_t { add, subtract, multiply, divide };

/// destination = clamp((p*x) op (s*y) + bias). An operand whose extent along w, h or c is 1 while
/// the destination's is larger is broadcast along it. `mask` (one byte an element, may be absent):
/// 1 where the raw result lies strictly between the limits.
/// A limit at its default is no limit: infinities and NaN pass.
struct Arithmetic {
  static constexpr std::string_view name = "CNNArithmetic";
  enum Slot { primary, secondary, destination, mask };
  static constexpr std::array access{Access::read, Access::read, Access::write, Access::write};
  ArithmeticKind kind = ArithmeticKind::add;
  float primaryScale = 1, secondaryScale = 1, bias = 0;
  float minimumValue = std::numeric_limits<float>::lowest(),
        maximumValue = std::numeric_limits<float>::max();
};

/// destination = clamp(sum over the axes along which the destination's extent is 1 and the
/// gradient's is larger of (primaryScale * gradient * mask) [* (secondaryScale * other)] + bias).
/// `other` takes part for multiply alone and may be broadcast; `mask` may be absent.
struct ArithmeticGradient {
  static constexpr std::string_view name = "CNNArithmeticGradient";
  enum Slot { gradient, other, mask, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  ArithmeticKind kind = ArithmeticKind::add;
  float primaryScale = 1, secondaryScale = 1, bias = 0;
  float minimumValue = std::numeric_limits<float>::lowest(),
        maximumValue = std::numeric_limits<float>::max();
};

using ArithmeticOperators = TypeList<Arithmetic, ArithmeticGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"

namespace cermet {

class CNNArithmetic;
class CNNArithmeticGradient;

/// Links a two-source forward encode with its gradients; opaque.
class NNBinaryGradientState : public State {
 public:
  [[nodiscard]] std::string_view class_name() const override { return "NNBinaryGradientState"; }

 protected:
  explicit NNBinaryGradientState(const detail::StateOrigin& origin);
};
using NNBinaryGradientStateBatch = StateBatch;

/// Geometry of both operands of one image's forward encode and, where limits were set, which
/// results lay strictly between them: elsewhere no gradient passes.
class CNNArithmeticGradientState final : public NNBinaryGradientState {
 public:
  CNNArithmeticGradientState(const detail::StateOrigin& origin, const CNNArithmetic& kernel,
                             const Image& primary, const Image& secondary,
                             const Image& destination);

  /// Copies the forward geometry into an arithmetic gradient kernel.
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor) override;
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNArithmeticGradientState";
  }

  // For kernels.
  struct Operand {
    std::size_t width = 0, height = 0, featureChannels = 0;
    SourceGeometry geometry;
    std::size_t strideInFeatureChannels = 1;
    /// Whether one element of the operand served the whole axis, so that its gradient is a sum.
    [[nodiscard]] bool sums_x() const { return sums(geometry.strideInPixelsX, width); }
    [[nodiscard]] bool sums_y() const { return sums(geometry.strideInPixelsY, height); }

   private:
    [[nodiscard]] bool sums(std::size_t stride, std::size_t extent) const {
      return stride == 0 || (extent == 1 && geometry.edgeMode == ImageEdgeMode::Clamp);
    }
  };
  [[nodiscard]] const Operand& operand(bool secondary) const {
    return operands_[secondary ? 1 : 0];
  }
  /// The part of the destination that was written.
  struct Written {
    std::size_t destinationWidth = 0, destinationHeight = 0, featureChannelOffset = 0;
    std::int32_t x = 0, y = 0, width = 0, height = 0, featureChannels = 0, images = 0;
    bool operator==(const Written&) const = default;
  };
  [[nodiscard]] const Written& written() const { return written_; }
  /// Takes over what the kernel's properties are now; sizes stay.
  void set_forward(const CNNArithmetic& kernel);
  /// The mask, made if it does not exist; absent where the last encode had no limits.
  [[nodiscard]] TensorView mask(detail::Recording& recording);
  void set_masked(bool masked) { masked_ = masked; }

 private:
  std::array<Operand, 2> operands_;
  Written written_;
  bool masked_ = false;
};
using CNNArithmeticGradientStateBatch = StateBatch;

/// z = clamp((primaryScale * x) op (secondaryScale * y) + bias, minimumValue, maximumValue),
/// clamped only by limits that are not at their defaults. Strides are 1, or 0: along that axis one
/// element of the operand, the one at its offset, serves all. Result size, axis by axis: that of
/// the operand with stride 1; both must agree where both are 1.
class CNNArithmetic : public KernelOf<CNNBinaryKernel, Arithmetic> {
 public:
  [[nodiscard]] float primaryScale() const { return op_.primaryScale; }
  void setPrimaryScale(float scale) { op_.primaryScale = scale; }
  [[nodiscard]] float secondaryScale() const { return op_.secondaryScale; }
  void setSecondaryScale(float scale) { op_.secondaryScale = scale; }
  /// Added after the operation. Default 0.
  [[nodiscard]] float bias() const { return op_.bias; }
  void setBias(float bias) { op_.bias = bias; }
  [[nodiscard]] std::size_t primaryStrideInFeatureChannels() const { return primary_stride_c_; }
  void setPrimaryStrideInFeatureChannels(std::size_t stride) { primary_stride_c_ = stride; }
  [[nodiscard]] std::size_t secondaryStrideInFeatureChannels() const { return secondary_stride_c_; }
  void setSecondaryStrideInFeatureChannels(std::size_t stride) { secondary_stride_c_ = stride; }
  /// Default -FLT_MAX: no limit.
  [[nodiscard]] float minimumValue() const { return op_.minimumValue; }
  void setMinimumValue(float value) { op_.minimumValue = value; }
  /// Default FLT_MAX: no limit.
  [[nodiscard]] float maximumValue() const { return op_.maximumValue; }
  void setMaximumValue(float value) { op_.maximumValue = value; }

  using CNNBinaryKernel::encode;
  using CNNBinaryKernel::encodeBatch;
  /// Fills states made by resultState as well; one for each image.
  void encode(const CommandBuffer& commandBuffer, const Image& primaryImage,
              const Image& secondaryImage,
              const std::shared_ptr<CNNArithmeticGradientState>& destinationState,
              const Image& destinationImage) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& primaryImages,
                   const ImageBatch& secondaryImages, const StateBatch& destinationStates,
                   const ImageBatch& destinationImages) const;

  // For states.
  /// Whether results are clamped, so that a gradient needs to know which were.
  [[nodiscard]] virtual bool has_limits() const;
  [[nodiscard]] SourceGeometry geometry(bool secondary) const {
    return secondary ? secondary_ : primary_;
  }

 protected:
  CNNArithmetic(const Device& device, ArithmeticKind kind);
  void code(Coder& coder) override;
  void record(detail::BinaryEncoding& encoding) const override;
  /// Records the operation on operands that have extent 1 along the axes where they are broadcast.
  /// The mask may be absent.
  virtual void record_values(detail::Recording& recording, const TensorView& primary,
                             const TensorView& secondary, const TensorView& destination,
                             const TensorView& mask) const;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t secondary) const override;
  void check(const Image& primary, const Image& secondary, const Image& destination,
             const State* state, std::size_t count) const override;
  void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& primary,
                                    const Image& secondary,
                                    const Image& destination) const override;

 private:
  void check_strides() const;
  std::size_t primary_stride_c_ = 1, secondary_stride_c_ = 1;
};

/// z = p*x + s*y + bias.
class CNNAdd final : public CNNArithmetic {
 public:
  explicit CNNAdd(const Device& device) : CNNArithmetic(device, ArithmeticKind::add) {}
  CNNAdd(Coder& coder, const Device& device) : CNNArithmetic(device, ArithmeticKind::add) {
    read(coder);
  }
  [[nodiscard]] CNNAdd copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "CNNAdd"; }
};
/// z = p*x - s*y + bias.
class CNNSubtract final : public CNNArithmetic {
 public:
  explicit CNNSubtract(const Device& device) : CNNArithmetic(device, ArithmeticKind::subtract) {}
  CNNSubtract(Coder& coder, const Device& device)
      : CNNArithmetic(device, ArithmeticKind::subtract) {
    read(coder);
  }
  [[nodiscard]] CNNSubtract copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "CNNSubtract"; }
};
/// z = (p*x) * (s*y) + bias.
class CNNMultiply final : public CNNArithmetic {
 public:
  explicit CNNMultiply(const Device& device) : CNNArithmetic(device, ArithmeticKind::multiply) {}
  CNNMultiply(Coder& coder, const Device& device)
      : CNNArithmetic(device, ArithmeticKind::multiply) {
    read(coder);
  }
  [[nodiscard]] CNNMultiply copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "CNNMultiply"; }
};
/// z = (p*x) / (s*y) + bias, by the rules of IEEE. There is no gradient.
class CNNDivide final : public CNNArithmetic {
 public:
  explicit CNNDivide(const Device& device) : CNNArithmetic(device, ArithmeticKind::divide) {}
  CNNDivide(Coder& coder, const Device& device) : CNNArithmetic(device, ArithmeticKind::divide) {
    read(coder);
  }
  [[nodiscard]] CNNDivide copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "CNNDivide"; }
};

/// Gradient of one operand, the target: r = clamp(sum of (primaryScale * g) [* (secondaryScale *
/// v)] + bias), summed over the axes along which one element of the target served all; v, for
/// multiply alone, is the OTHER operand. Masked where a state is given and the forward encode had
/// limits.
///
/// primary = gradient of the forward result, the whole image or just the region that was written;
/// secondary = for multiply the other operand, else the target (its size alone counts). Destination
/// pixel d, counted from `clipRect.origin`, belongs to gradient pixel d + primaryOffset of the
/// whole forward destination and to pixel secondaryOffset + stride * d of the other operand; along
/// axes that are summed d runs over the region. The axes come from the state; without one they are
/// those where the destination's extent is 1 and the gradient's is larger. Elements that were not
/// read get 0 + bias.
class CNNArithmeticGradient : public KernelOf<CNNGradientKernel, ArithmeticGradient> {
 public:
  /// False: the target is the forward primary operand; true: the secondary.
  [[nodiscard]] bool isSecondarySourceFilter() const { return of_secondary_; }
  /// Default 1; -1 for the secondary operand of a subtraction.
  [[nodiscard]] float primaryScale() const { return op_.primaryScale; }
  void setPrimaryScale(float scale) { op_.primaryScale = scale; }
  [[nodiscard]] float secondaryScale() const { return op_.secondaryScale; }
  void setSecondaryScale(float scale) { op_.secondaryScale = scale; }
  [[nodiscard]] float bias() const { return op_.bias; }
  void setBias(float bias) { op_.bias = bias; }
  /// As the secondary pixel strides: the forward stride, 0 or 1, of the image passed as second
  /// source.
  [[nodiscard]] std::size_t secondaryStrideInFeatureChannels() const { return secondary_stride_c_; }
  void setSecondaryStrideInFeatureChannels(std::size_t stride) { secondary_stride_c_ = stride; }
  /// Limits of this kernel's own result, not those of the forward kernel.
  [[nodiscard]] float minimumValue() const { return op_.minimumValue; }
  void setMinimumValue(float value) { op_.minimumValue = value; }
  [[nodiscard]] float maximumValue() const { return op_.maximumValue; }
  void setMaximumValue(float value) { op_.maximumValue = value; }

  using CNNGradientKernel::encode;
  using CNNGradientKernel::encodeBatch;
  void encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
              const Image& sourceImage, const StatePtr& gradientState,
              const Image& destinationGradient) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const StateBatch& gradientStates,
                   const ImageBatch& destinationGradients) const;
  void encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
              const Image& sourceImage, const Image& destinationGradient) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const ImageBatch& destinationGradients) const;

  /// Copies a forward encode's geometry into this kernel's properties.
  void place(const CNNArithmeticGradientState& forward);

 protected:
  CNNArithmeticGradient(const Device& device, ArithmeticKind kind, bool isSecondarySourceFilter);
  void code(Coder& coder) override;
  void record(detail::BinaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t secondary) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;

 private:
  [[nodiscard]] bool multiplies() const { return op_.kind == ArithmeticKind::multiply; }
  void look_at_target(const State* state, const Image& destination) const;
  void record_images(detail::BinaryEncoding& encoding, CNNArithmeticGradientState* state,
                     const TensorView& mask, std::int32_t first, std::int32_t count) const;

  bool of_secondary_;
  std::size_t secondary_stride_c_ = 1;
  mutable bool sums_channels_ = false;  // of the target that is encoded next
  mutable detail::StepMemo fill_memo_;
};

/// d = primaryScale * g, of either operand of a sum.
class CNNAddGradient final : public CNNArithmeticGradient {
 public:
  CNNAddGradient(const Device& device, bool isSecondarySourceFilter)
      : CNNArithmeticGradient(device, ArithmeticKind::add, isSecondarySourceFilter) {}
  CNNAddGradient(Coder& coder, const Device& device)
      : CNNArithmeticGradient(device, ArithmeticKind::add, false) {
    read(coder);
  }
  [[nodiscard]] CNNAddGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNAddGradient"; }
};
/// d = primaryScale * g; primaryScale begins as -1 for the secondary operand.
class CNNSubtractGradient final : public CNNArithmeticGradient {
 public:
  CNNSubtractGradient(const Device& device, bool isSecondarySourceFilter)
      : CNNArithmeticGradient(device, ArithmeticKind::subtract, isSecondarySourceFilter) {}
  CNNSubtractGradient(Coder& coder, const Device& device)
      : CNNArithmeticGradient(device, ArithmeticKind::subtract, false) {
    read(coder);
  }
  [[nodiscard]] CNNSubtractGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNSubtractGradient"; }
};
/// d = primaryScale * g * secondaryScale * the OTHER operand.
class CNNMultiplyGradient final : public CNNArithmeticGradient {
 public:
  CNNMultiplyGradient(const Device& device, bool isSecondarySourceFilter)
      : CNNArithmeticGradient(device, ArithmeticKind::multiply, isSecondarySourceFilter) {}
  CNNMultiplyGradient(Coder& coder, const Device& device)
      : CNNArithmeticGradient(device, ArithmeticKind::multiply, false) {
    read(coder);
  }
  [[nodiscard]] CNNMultiplyGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNMultiplyGradient"; }
};

using ArithmeticKernels = TypeList<CNNAdd, CNNSubtract, CNNMultiply, CNNDivide, CNNAddGradient,
                                   CNNSubtractGradient, CNNMultiplyGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
