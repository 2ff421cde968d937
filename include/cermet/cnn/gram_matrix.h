#pragma once
// Products of the feature channels of an image with one another (spec: pooling-shape 10).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// destination(n, 0, f, c) = alpha * sum of source(n, y, x, f) * source(n, y, x, c) over the
/// pixels; 1 x C x C.
struct GramMatrix {
  static constexpr std::string_view name = "NNGramMatrixCalculation";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  float alpha = 1;
  static void fields(auto& op, auto&& field) { field("alpha", op.alpha); }
};

/// destination(n, y, x, k) = alpha * sum of (G(k, c) + G(c, k)) * source(n, y, x, c) over the
/// channels c, G(f, c) = gradient(n, 0, f, c).
struct GramMatrixGradient {
  static constexpr std::string_view name = "NNGramMatrixCalculationGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  GramMatrix forward{};
};

using GramMatrixOperators = TypeList<GramMatrix, GramMatrixGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel_shapes.h"

namespace cermet {

/// The Gram matrix of the C feature channels that are read, over all pixels of an image: pixel f of
/// the one row, channel c of the result is alpha * sum of x[f]*x[c]. Not a mean: pass alpha =
/// 1/(W*H) for that. The result is C pixels wide, 1 high, and has C channels; the part of a
/// destination that is written, its clip rectangle, must have that size, else encodes throw
/// InvalidArgument. `offset` and `edgeMode` play no role.
class NNGramMatrixCalculation final
    : public OperatorKernel<NNGramMatrixCalculation, CNNKernel, GramMatrix> {
 public:
  using OperatorKernel::OperatorKernel;
  explicit NNGramMatrixCalculation(const Device& device, float alpha = 1)
      : OperatorKernel(device, GramMatrix{.alpha = alpha}) {}

  /// Factor of the result. Default 1.
  [[nodiscard]] float alpha() const { return op_.alpha; }
  void setAlpha(float alpha) { op_.alpha = alpha; }

 protected:
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
};

/// dx[k] = alpha * sum of (G[k][c] + G[c][k]) * x[c] over the channels, at every pixel; the
/// incoming gradient G need not be symmetric. The secondary image is the forward source.
/// Destination pixel d is the gradient of source pixel d + secondaryOffset, and G begins at pixel
/// primaryOffset of the gradient image, which is as large as the forward destination, or with a
/// gradient state just the C x 1 pixels that were written. alpha is that of the state where one is
/// given.
class NNGramMatrixCalculationGradient final
    : public OperatorKernel<NNGramMatrixCalculationGradient, CNNGradientKernel,
                            GramMatrixGradient> {
 public:
  using OperatorKernel::OperatorKernel;
  explicit NNGramMatrixCalculationGradient(const Device& device, float alpha = 1)
      : OperatorKernel(device, GramMatrixGradient{{.alpha = alpha}}) {}

  /// Factor of the forward result, for encodes without a state. Default 1.
  [[nodiscard]] float alpha() const { return op_.forward.alpha; }
  void setAlpha(float alpha) { op_.forward.alpha = alpha; }
  void apply(const ForwardRecord& forward) override;

 protected:
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  void record(detail::BinaryEncoding& encoding) const override;
};

using GramMatrixKernels = TypeList<NNGramMatrixCalculation, NNGramMatrixCalculationGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
