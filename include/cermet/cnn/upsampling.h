#pragma once
// Up-sampling by whole factors and its gradients (spec: pooling-shape 3).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/sampling.h"

namespace cermet {

/// y = the source pixel at the position of the grid, rounded down.
struct UpsamplingNearest {
  static constexpr std::string_view name = "CNNUpsamplingNearest";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t integerScaleFactorX = 1, integerScaleFactorY = 1;
  SamplingGrid grid{};  // encodes place it
  static void fields(auto& op, auto&& field) {
    field("integerScaleFactorX", op.integerScaleFactorX, size_range);
    field("integerScaleFactorY", op.integerScaleFactorY, size_range);
  }
};

/// d[u] = sum of the gradients whose position, rounded down, is source pixel u. `destination` is
/// placed like the forward source, which has sourceWidth x sourceHeight pixels; 0 beyond it.
struct UpsamplingNearestGradient {
  static constexpr std::string_view name = "CNNUpsamplingNearestGradient";
  enum Slot { gradient, destination };
  static constexpr std::array access{Access::read, Access::write};
  UpsamplingNearest forward{};
  std::int32_t sourceWidth = 1, sourceHeight = 1;
};

/// y = (1-t)*x[i] + t*x[i+1] along both axes, i + t the position of the grid, i whole. A pixel of
/// weight 0 is not read.
struct UpsamplingBilinear {
  static constexpr std::string_view name = "CNNUpsamplingBilinear";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t integerScaleFactorX = 1, integerScaleFactorY = 1, alignCorners = 0;
  SamplingGrid grid{};  // encodes place it
  static void fields(auto& op, auto&& field) {
    field("integerScaleFactorX", op.integerScaleFactorX, size_range);
    field("integerScaleFactorY", op.integerScaleFactorY, size_range);
    field("alignCorners", op.alignCorners, FieldRange{0, 1});
  }
};

/// The adjoint: d[u] = sum of the gradients times the weights of pixel u in them. Placed as in
/// UpsamplingNearestGradient.
struct UpsamplingBilinearGradient {
  static constexpr std::string_view name = "CNNUpsamplingBilinearGradient";
  enum Slot { gradient, destination };
  static constexpr std::array access{Access::read, Access::write};
  UpsamplingBilinear forward{};
  std::int32_t sourceWidth = 1, sourceHeight = 1;
};

using UpsamplingOperators = TypeList<UpsamplingNearest, UpsamplingNearestGradient,
                                     UpsamplingBilinear, UpsamplingBilinearGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel_shapes.h"

namespace cermet {

/// Base of up-sampling. Result size = source size * factors, whatever the padding policy says;
/// channels are kept. Destination pixel d, counted from `clipRect.origin`, lies at source position
///
///   u = offset + d / scaleFactor              alignCorners false
///   u = offset + d * (L-1) / (M-1)            alignCorners true, L source pixels, M =
///   L*scaleFactor
///
/// along each axis (u = offset where M is 1). Positions outside the source read its edge pixels,
/// whatever edgeMode says (spec: pooling-shape 3.1).
class CNNUpsampling : public CNNKernel {
 public:
  /// Whole numbers from 1 on. Default 1.
  [[nodiscard]] virtual double scaleFactorX() const = 0;
  [[nodiscard]] virtual double scaleFactorY() const = 0;
  /// Whether the centres of the corner pixels of source and result coincide. Default false.
  [[nodiscard]] virtual bool alignCorners() const = 0;

 protected:
  using CNNKernel::CNNKernel;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
  void record_with(detail::UnaryEncoding& encoding, detail::StepMemo& memo, SamplingGrid& grid,
                   const OpView& op) const;
};

/// Base of the gradients of up-sampling, the exact adjoints: the sum of the result is the sum of
/// the gradient.
///
/// Where things lie: destination pixel clipRect.origin + d is the gradient of source pixel d.
/// Gradient pixel primaryOffset + i lies at source position secondaryOffset + i / scaleFactor, or
/// as alignCorners says; those before primaryOffset do not count, and with a gradient state only
/// those that the forward encode wrote do. After a forward encode with offset o and clip origin c:
/// primaryOffset = c, secondaryOffset = o; encodes that return their result set these. The
/// secondary image gives the size of the source, its values are not read. Overwrites the
/// destination.
///
/// alignCorners is that of the gradient state; false without one (spec: pooling-shape 3.2).
class CNNUpsamplingGradient : public CNNGradientKernel {
 public:
  /// The forward factors. An encode with the state of others throws.
  [[nodiscard]] virtual double scaleFactorX() const = 0;
  [[nodiscard]] virtual double scaleFactorY() const = 0;
  void apply(const ForwardRecord& forward) override;

 protected:
  using CNNGradientKernel::CNNGradientKernel;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  /// Whether the forward encode of this state aligned corners; `otherwise` without a state.
  [[nodiscard]] bool aligned_corners(const detail::BinaryEncoding& encoding, bool otherwise) const;
  /// `sourceWidth` and `sourceHeight` belong to `op`, and so does the grid.
  void record_with(detail::BinaryEncoding& encoding, detail::StepMemo& memo, SamplingGrid& grid,
                   std::int32_t& sourceWidth, std::int32_t& sourceHeight, bool alignCorners,
                   const OpView& op) const;
};

namespace detail {

template <class Self, class Op>
class UpsamplingKernel : public OperatorKernel<Self, CNNUpsampling, Op> {
 public:
  using OperatorKernel<Self, CNNUpsampling, Op>::OperatorKernel;
  [[nodiscard]] double scaleFactorX() const override { return this->op_.integerScaleFactorX; }
  [[nodiscard]] double scaleFactorY() const override { return this->op_.integerScaleFactorY; }
  [[nodiscard]] bool alignCorners() const override {
    if constexpr (requires(const Op& op) { op.alignCorners; }) {
      return this->op_.alignCorners != 0;
    } else {
      return false;
    }
  }

 protected:
  void record(UnaryEncoding& encoding) const override {
    Op op = this->op_;
    this->record_with(encoding, this->memo_, op.grid, view_of(op));
  }
};

template <class Self, class Op>
class UpsamplingGradientKernel : public OperatorKernel<Self, CNNUpsamplingGradient, Op> {
 public:
  using OperatorKernel<Self, CNNUpsamplingGradient, Op>::OperatorKernel;
  [[nodiscard]] double scaleFactorX() const override {
    return this->op_.forward.integerScaleFactorX;
  }
  [[nodiscard]] double scaleFactorY() const override {
    return this->op_.forward.integerScaleFactorY;
  }

 protected:
  void record(BinaryEncoding& encoding) const override {
    Op op = this->op_;
    bool align = false;
    if constexpr (requires { op.forward.alignCorners; }) {
      align = this->aligned_corners(encoding, op.forward.alignCorners != 0);
      op.forward.alignCorners = align ? 1 : 0;
    }
    this->record_with(encoding, this->memo_, op.forward.grid, op.sourceWidth, op.sourceHeight,
                      align, view_of(op));
  }
};

}  // namespace detail

/// Each source pixel becomes a block of scaleFactorX x scaleFactorY pixels.
class CNNUpsamplingNearest final
    : public detail::UpsamplingKernel<CNNUpsamplingNearest, UpsamplingNearest> {
 public:
  using UpsamplingKernel::UpsamplingKernel;
  /// Throws InvalidArgument for a factor of 0.
  CNNUpsamplingNearest(const Device& device, std::size_t integerScaleFactorX,
                       std::size_t integerScaleFactorY)
      : UpsamplingKernel(device, {.integerScaleFactorX = detail::field_of(integerScaleFactorX),
                                  .integerScaleFactorY = detail::field_of(integerScaleFactorY)}) {}
};

/// The sum over each block.
class CNNUpsamplingNearestGradient final
    : public detail::UpsamplingGradientKernel<CNNUpsamplingNearestGradient,
                                              UpsamplingNearestGradient> {
 public:
  using UpsamplingGradientKernel::UpsamplingGradientKernel;
  /// Throws InvalidArgument for a factor of 0.
  CNNUpsamplingNearestGradient(const Device& device, std::size_t integerScaleFactorX,
                               std::size_t integerScaleFactorY)
      : UpsamplingGradientKernel(
            device, {{.integerScaleFactorX = detail::field_of(integerScaleFactorX),
                      .integerScaleFactorY = detail::field_of(integerScaleFactorY)}}) {}
};

/// Between the four pixels around u, linear along both axes. Without alignCorners the last
/// scaleFactor - 1 outputs of an axis repeat the last pixel; it is the grid of TensorFlow 1, not
/// that of half pixels.
class CNNUpsamplingBilinear final
    : public detail::UpsamplingKernel<CNNUpsamplingBilinear, UpsamplingBilinear> {
 public:
  using UpsamplingKernel::UpsamplingKernel;
  /// Throws InvalidArgument for a factor of 0.
  CNNUpsamplingBilinear(const Device& device, std::size_t integerScaleFactorX,
                        std::size_t integerScaleFactorY, bool alignCorners = false)
      : UpsamplingKernel(device, {.integerScaleFactorX = detail::field_of(integerScaleFactorX),
                                  .integerScaleFactorY = detail::field_of(integerScaleFactorY),
                                  .alignCorners = alignCorners ? 1 : 0}) {}
};

/// The transpose of the weights.
class CNNUpsamplingBilinearGradient final
    : public detail::UpsamplingGradientKernel<CNNUpsamplingBilinearGradient,
                                              UpsamplingBilinearGradient> {
 public:
  using UpsamplingGradientKernel::UpsamplingGradientKernel;
  /// Throws InvalidArgument for a factor of 0.
  CNNUpsamplingBilinearGradient(const Device& device, std::size_t integerScaleFactorX,
                                std::size_t integerScaleFactorY)
      : UpsamplingGradientKernel(
            device, {{.integerScaleFactorX = detail::field_of(integerScaleFactorX),
                      .integerScaleFactorY = detail::field_of(integerScaleFactorY)}}) {}
};

using UpsamplingKernels = TypeList<CNNUpsamplingNearest, CNNUpsamplingNearestGradient,
                                   CNNUpsamplingBilinear, CNNUpsamplingBilinearGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
