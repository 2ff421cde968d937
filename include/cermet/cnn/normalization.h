#pragma once
// Normalisation by the neighbourhood of a value: spatial, local contrast, cross channel (spec:
// normalization 3-5). The gradients are the exact derivatives; the formulas that the original
// prints are not (docs/adr/0005-true-gradients.md).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/window.h"

namespace cermet {

/// T = delta + alpha/(kw*kh) * sum of x^2 over the window; y = x * T^-beta, per channel. Stride 1,
/// no dilation. The pixel itself is tap (floor(kw/2), floor(kh/2)) of its window.
struct SpatialNormalization {
  static constexpr std::string_view name = "CNNSpatialNormalization";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
  float alpha = 1, beta = 5, delta = 1;
  static void fields(auto& op, auto&& field) {
    field("kernelWidth", op.window.kernelWidth, window_sizes);
    field("kernelHeight", op.window.kernelHeight, window_sizes);
    field("alpha", op.alpha);
    field("beta", op.beta);
    field("delta", op.delta);
  }
};

/// For every output o whose window W(o) reads pixel u,
/// d[u] += [u is o's centre] g(o)*T(o)^-beta - 2*alpha*beta/(kw*kh) *
/// g(o)*x(o)*T(o)^(-beta-1)*x(u). `gradient` is placed like the forward destination, `destination`
/// like the forward source.
struct SpatialNormalizationGradient {
  static constexpr std::string_view name = "CNNSpatialNormalizationGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  SpatialNormalization forward{};
};

/// M, V: mean and biased variance over the window, divisor kw*kh; T = delta + alpha*V;
/// y = pm + ps * (x - p0*M) * T^-beta, per channel. Windows as in SpatialNormalization.
struct LocalContrastNormalization {
  static constexpr std::string_view name = "CNNLocalContrastNormalization";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
  float alpha = 0, beta = 0.5F, delta = 1.0F / 1024, p0 = 1, pm = 0, ps = 1;
  static void fields(auto& op, auto&& field) {
    field("kernelWidth", op.window.kernelWidth, window_sizes);
    field("kernelHeight", op.window.kernelHeight, window_sizes);
    field("alpha", op.alpha);
    field("beta", op.beta);
    field("delta", op.delta);
    field("p0", op.p0);
    field("pm", op.pm);
    field("ps", op.ps);
  }
};

/// For every output o whose window reads pixel u, N = kw*kh:
/// d[u] += ps*g(o) * ([u is o's centre] T^-beta - p0/N * T^-beta
///         - 2*alpha*beta/N * (x(u) - M) * (x(o) - p0*M) * T^(-beta-1)), M and T those of o.
struct LocalContrastNormalizationGradient {
  static constexpr std::string_view name = "CNNLocalContrastNormalizationGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  LocalContrastNormalization forward{};
};

/// L[k] = delta + alpha/N * sum of x[q]^2 over the channels q from k - N/2 to k + (N-1)/2 that
/// there are, N = kernelSize; y[k] = x[k] * L[k]^-beta, at every pixel.
struct CrossChannelNormalization {
  static constexpr std::string_view name = "CNNCrossChannelNormalization";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t kernelSize = 5;
  float alpha = 1, beta = 5, delta = 1;
  static void fields(auto& op, auto&& field) {
    field("kernelSize", op.kernelSize, FieldRange{1, 1 << 20});
    field("alpha", op.alpha);
    field("beta", op.beta);
    field("delta", op.delta);
  }
};

/// d[k] = g[k]*L[k]^-beta - 2*alpha*beta/N * x[k] * sum of g[r]*x[r]*L[r]^(-beta-1) over the
/// channels r from k - (N-1)/2 to k + N/2 that there are.
struct CrossChannelNormalizationGradient {
  static constexpr std::string_view name = "CNNCrossChannelNormalizationGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  CrossChannelNormalization forward{};
};

using NormalizationOperators =
    TypeList<SpatialNormalization, SpatialNormalizationGradient, LocalContrastNormalization,
             LocalContrastNormalizationGradient, CrossChannelNormalization,
             CrossChannelNormalizationGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel_shapes.h"

namespace cermet {

/// T = delta + alpha/(kw*kh) * sum of x^2 over the window, y = x * T^-beta, each feature channel by
/// itself. The window of destination pixel (i, j), counted from `clipRect.origin`, is centred on
/// source pixel offset + (i, j): kw/2 (rounded down) pixels to the left and kw - 1 - kw/2 to the
/// right, the same for rows. Taps outside the source read by `edgeMode`, and the divisor stays
/// kw*kh. Result size = source size. T <= 0 is the caller's duty: an IEEE result.
class CNNSpatialNormalization final
    : public WindowKernel<CNNSpatialNormalization, SpatialNormalization> {
 public:
  using WindowKernel::WindowKernel;
  /// Sizes from 1 to 32767, even and rectangular ones too. Throws InvalidArgument for others.
  CNNSpatialNormalization(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight)
      : WindowKernel(device, {.window = detail::window_of(kernelWidth, kernelHeight)}) {}

  /// Weight of the mean energy. Default 1.
  [[nodiscard]] float alpha() const { return op_.alpha; }
  void setAlpha(float alpha) { op_.alpha = alpha; }
  /// Exponent. Default 5.
  [[nodiscard]] float beta() const { return op_.beta; }
  void setBeta(float beta) { op_.beta = beta; }
  /// Added constant. Default 1.
  [[nodiscard]] float delta() const { return op_.delta; }
  void setDelta(float delta) { op_.delta = delta; }
};

/// The exact derivative: sum over the windows that read a pixel, with T of each window's own centre
/// (spec: normalization 3.2). WindowGradientKernel says where things lie; alpha, beta, delta and
/// the window must be those of the forward kernel.
class CNNSpatialNormalizationGradient final
    : public WindowGradientKernel<CNNSpatialNormalizationGradient, SpatialNormalizationGradient> {
 public:
  using WindowGradientKernel::WindowGradientKernel;
  CNNSpatialNormalizationGradient(const Device& device, std::size_t kernelWidth,
                                  std::size_t kernelHeight)
      : WindowGradientKernel(device, {{.window = detail::window_of(kernelWidth, kernelHeight)}}) {}

  [[nodiscard]] float alpha() const { return op_.forward.alpha; }
  void setAlpha(float alpha) { op_.forward.alpha = alpha; }
  [[nodiscard]] float beta() const { return op_.forward.beta; }
  void setBeta(float beta) { op_.forward.beta = beta; }
  [[nodiscard]] float delta() const { return op_.forward.delta; }
  void setDelta(float delta) { op_.forward.delta = delta; }
};

/// y = pm + ps * (x - p0*M) * T^-beta, T = delta + alpha*V, with mean M and biased variance V over
/// the window, each feature channel by itself. Windows and edges as in CNNSpatialNormalization:
/// zeros outside enter M and V, and the divisor stays kw*kh. alpha is not divided by the window's
/// area. With the default alpha = 0 the result is (x - M) * 32. T <= 0 is the caller's duty: an
/// IEEE result.
class CNNLocalContrastNormalization final
    : public WindowKernel<CNNLocalContrastNormalization, LocalContrastNormalization> {
 public:
  using WindowKernel::WindowKernel;
  /// Sizes from 1 to 32767, even and rectangular ones too. Throws InvalidArgument for others.
  CNNLocalContrastNormalization(const Device& device, std::size_t kernelWidth,
                                std::size_t kernelHeight)
      : WindowKernel(device, {.window = detail::window_of(kernelWidth, kernelHeight)}) {}

  /// Weight of the variance. Default 0.
  [[nodiscard]] float alpha() const { return op_.alpha; }
  void setAlpha(float alpha) { op_.alpha = alpha; }
  /// Exponent. Default 0.5.
  [[nodiscard]] float beta() const { return op_.beta; }
  void setBeta(float beta) { op_.beta = beta; }
  /// Added constant. Default 1/1024.
  [[nodiscard]] float delta() const { return op_.delta; }
  void setDelta(float delta) { op_.delta = delta; }
  /// Weight of the mean that is subtracted. Default 1.
  [[nodiscard]] float p0() const { return op_.p0; }
  void setP0(float p0) { op_.p0 = p0; }
  /// Added to the result. Default 0.
  [[nodiscard]] float pm() const { return op_.pm; }
  void setPm(float pm) { op_.pm = pm; }
  /// Factor of the result. Default 1.
  [[nodiscard]] float ps() const { return op_.ps; }
  void setPs(float ps) { op_.ps = ps; }
};

/// The exact derivative, with M and T of each window's own centre (spec: normalization 4.2); pm
/// does not enter. WindowGradientKernel says where things lie; all parameters must be those of the
/// forward kernel.
class CNNLocalContrastNormalizationGradient final
    : public WindowGradientKernel<CNNLocalContrastNormalizationGradient,
                                  LocalContrastNormalizationGradient> {
 public:
  using WindowGradientKernel::WindowGradientKernel;
  CNNLocalContrastNormalizationGradient(const Device& device, std::size_t kernelWidth,
                                        std::size_t kernelHeight)
      : WindowGradientKernel(device, {{.window = detail::window_of(kernelWidth, kernelHeight)}}) {}

  [[nodiscard]] float alpha() const { return op_.forward.alpha; }
  void setAlpha(float alpha) { op_.forward.alpha = alpha; }
  [[nodiscard]] float beta() const { return op_.forward.beta; }
  void setBeta(float beta) { op_.forward.beta = beta; }
  [[nodiscard]] float delta() const { return op_.forward.delta; }
  void setDelta(float delta) { op_.forward.delta = delta; }
  [[nodiscard]] float p0() const { return op_.forward.p0; }
  void setP0(float p0) { op_.forward.p0 = p0; }
  [[nodiscard]] float pm() const { return op_.forward.pm; }
  void setPm(float pm) { op_.forward.pm = pm; }
  [[nodiscard]] float ps() const { return op_.forward.ps; }
  void setPs(float ps) { op_.forward.ps = ps; }
};

/// y[k] = x[k] * L[k]^-beta, L[k] = delta + alpha/N * sum of x[q]^2 over the N = kernelSize
/// channels around k that there are, one more below than above where N is even. The divisor stays N
/// at the first and last channels. Channels are those that are read (sourceFeatureChannelOffset,
/// sourceFeatureChannelMaxCount). L <= 0 is the caller's duty: an IEEE result.
class CNNCrossChannelNormalization final
    : public PixelKernel<CNNCrossChannelNormalization, CrossChannelNormalization> {
 public:
  using PixelKernel::PixelKernel;
  /// Throws InvalidArgument for 0 and beyond 1048576.
  explicit CNNCrossChannelNormalization(const Device& device, std::size_t kernelSize = 5)
      : PixelKernel(device, {.kernelSize = detail::field_of(kernelSize)}) {}

  [[nodiscard]] std::size_t kernelSize() const { return static_cast<std::size_t>(op_.kernelSize); }
  /// Weight of the mean energy. Default 1.
  [[nodiscard]] float alpha() const { return op_.alpha; }
  void setAlpha(float alpha) { op_.alpha = alpha; }
  /// Exponent. Default 5.
  [[nodiscard]] float beta() const { return op_.beta; }
  void setBeta(float beta) { op_.beta = beta; }
  /// Added constant. Default 1.
  [[nodiscard]] float delta() const { return op_.delta; }
  void setDelta(float delta) { op_.delta = delta; }
};

/// d[k] = g[k]*L[k]^-beta - 2*alpha*beta/N * x[k] * sum of g[r]*x[r]*L[r]^(-beta-1) over the
/// channels r whose windows contain k (spec: normalization 5.2). All parameters must be those of
/// the forward kernel.
class CNNCrossChannelNormalizationGradient final
    : public PixelGradientKernel<CNNCrossChannelNormalizationGradient,
                                 CrossChannelNormalizationGradient> {
 public:
  using PixelGradientKernel::PixelGradientKernel;
  explicit CNNCrossChannelNormalizationGradient(const Device& device, std::size_t kernelSize = 5)
      : PixelGradientKernel(device, {{.kernelSize = detail::field_of(kernelSize)}}) {}

  [[nodiscard]] std::size_t kernelSize() const {
    return static_cast<std::size_t>(op_.forward.kernelSize);
  }
  [[nodiscard]] float alpha() const { return op_.forward.alpha; }
  void setAlpha(float alpha) { op_.forward.alpha = alpha; }
  [[nodiscard]] float beta() const { return op_.forward.beta; }
  void setBeta(float beta) { op_.forward.beta = beta; }
  [[nodiscard]] float delta() const { return op_.forward.delta; }
  void setDelta(float delta) { op_.forward.delta = delta; }
};

using NormalizationKernels =
    TypeList<CNNSpatialNormalization, CNNSpatialNormalizationGradient,
             CNNLocalContrastNormalization, CNNLocalContrastNormalizationGradient,
             CNNCrossChannelNormalization, CNNCrossChannelNormalizationGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
