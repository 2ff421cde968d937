#pragma once
// Normalisation by the energy of a pixel's neighbourhood (spec: normalization 3).

#include "cermet/cnn/kernel.h"
#include "cermet/ops/normalization.h"

namespace cermet {

/// T = delta + alpha/(kw*kh) * sum of x^2 over the window, y = x * T^-beta, each feature channel by
/// itself. The window of destination pixel (i, j), counted from `clipRect.origin`, is centred on
/// source pixel offset + (i, j): kw/2 (rounded down) pixels to the left and kw - 1 - kw/2 to the
/// right, the same for rows. Taps outside the source read by `edgeMode`, and the divisor stays
/// kw*kh. Result size = source size. T <= 0 is the caller's duty: an IEEE result.
class CNNSpatialNormalization final : public KernelOf<CNNKernel, SpatialNormalization> {
 public:
  /// Sizes from 1 on, even and rectangular ones too. Throws InvalidArgument for 0.
  CNNSpatialNormalization(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight);
  CNNSpatialNormalization(Coder& coder, const Device& device) : KernelOf(device) { read(coder); }
  [[nodiscard]] CNNSpatialNormalization copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  /// Weight of the mean energy. Default 1.
  [[nodiscard]] float alpha() const { return op_.alpha; }
  void setAlpha(float alpha) { op_.alpha = alpha; }
  /// Exponent. Default 5.
  [[nodiscard]] float beta() const { return op_.beta; }
  void setBeta(float beta) { op_.beta = beta; }
  /// Added constant. Default 1.
  [[nodiscard]] float delta() const { return op_.delta; }
  void setDelta(float delta) { op_.delta = delta; }
  [[nodiscard]] std::size_t kernelWidth() const override;
  [[nodiscard]] std::size_t kernelHeight() const override;

 protected:
  void code(Coder& coder) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
};

/// The exact derivative: sum over the windows that read a pixel, with T of each window's own centre
/// (the formula the original prints is not the derivative; spec: normalization 3.3). Overwrites the
/// destination; pixels that no window read get 0.
///
/// Where things lie: destination pixel d, counted from `clipRect.origin`, is the gradient of source
/// pixel d + secondaryOffset, and the window centred on that pixel produced gradient pixel d +
/// primaryOffset. Both hold for the whole forward destination; with a gradient state only the
/// region that the forward encode wrote counts, and the incoming gradient may be just that region
/// instead of the whole image. Without a state the whole gradient image counts. After a forward
/// encode with offset o and clip origin c: primaryOffset = c - o, secondaryOffset = 0,
/// secondaryEdgeMode = edgeMode; encodes that return their result set these. Beyond the gradient
/// image there is none, whatever primaryEdgeMode says.
///
/// alpha, beta, delta and the window are not taken from the state: they must be those of the
/// forward kernel. An encode with the state of another window throws.
class CNNSpatialNormalizationGradient final
    : public KernelOf<CNNGradientKernel, SpatialNormalizationGradient> {
 public:
  CNNSpatialNormalizationGradient(const Device& device, std::size_t kernelWidth,
                                  std::size_t kernelHeight);
  CNNSpatialNormalizationGradient(Coder& coder, const Device& device) : KernelOf(device) {
    read(coder);
  }
  [[nodiscard]] CNNSpatialNormalizationGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] float alpha() const { return op_.forward.alpha; }
  void setAlpha(float alpha) { op_.forward.alpha = alpha; }
  [[nodiscard]] float beta() const { return op_.forward.beta; }
  void setBeta(float beta) { op_.forward.beta = beta; }
  [[nodiscard]] float delta() const { return op_.forward.delta; }
  void setDelta(float delta) { op_.forward.delta = delta; }
  [[nodiscard]] std::size_t kernelWidth() const;
  [[nodiscard]] std::size_t kernelHeight() const;

  void apply(const ForwardRecord& forward) override;

 protected:
  void code(Coder& coder) override;
  void record(detail::BinaryEncoding& encoding) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;

 private:
  mutable detail::StepMemo copy_memo_;
};

}  // namespace cermet
