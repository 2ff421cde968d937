#pragma once
// Soft-max and log-soft-max over the feature channels of each pixel (spec: pointwise 6, 7).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// y[k] = exp(x[k] - m) / sum exp(x[j] - m), m the largest x.
struct SoftMax {
  static constexpr std::string_view name = "CNNSoftMax";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t logarithmic = 0;  // 1: y[k] = x[k] - m - ln(sum exp(x[j] - m))
};

/// From the forward RESULT y: y[k]*(g[k] - sum g[j]*y[j]); logarithmic: g[k] - exp(y[k])*sum g[j].
struct SoftMaxGradient {
  static constexpr std::string_view name = "CNNSoftMaxGradient";
  enum Slot { gradient, result, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  SoftMax forward{};
};

using SoftMaxOperators = TypeList<SoftMax, SoftMaxGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"

namespace cermet {
namespace detail {

/// What the two forward classes share.
class SoftMaxKernel : public KernelOf<CNNKernel, SoftMax> {
 protected:
  SoftMaxKernel(const Device& device, bool logarithmic);
  void record(UnaryEncoding& encoding) const override;
  [[nodiscard]] StatePtr make_state(const StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
};

/// What the two gradients share: primary = gradient, secondary = forward RESULT. Both are placed
/// like the forward destination, so that `secondaryOffset` follows the rule of `primaryOffset`, and
/// each is either that whole image or as large as the region the forward encode wrote; the
/// destination has the forward source's size. Pixels that the forward encode did not read get 0.
class SoftMaxGradientKernel : public KernelOf<CNNGradientKernel, SoftMaxGradient> {
 public:
  void apply(const ForwardRecord& forward) override;

 protected:
  SoftMaxGradientKernel(const Device& device, bool logarithmic);
  void record(BinaryEncoding& encoding) const override;
  void check(const Image& gradient, const Image& result, const Image& destination,
             const State* state, std::size_t count) const override;
};

}  // namespace detail

/// y[k] = exp(x[k]) / sum exp(x[j]), j over the channels that are read; finite for any finite x.
class CNNSoftMax final : public detail::SoftMaxKernel {
 public:
  explicit CNNSoftMax(const Device& device) : SoftMaxKernel(device, false) {}
  CNNSoftMax(Coder& coder, const Device& device) : SoftMaxKernel(device, false) { read(coder); }
  [[nodiscard]] CNNSoftMax copy(const Device& device = {}) const { return copy_of(*this, device); }
};

/// y[k] = x[k] - ln(sum exp(x[j])).
class CNNLogSoftMax final : public detail::SoftMaxKernel {
 public:
  explicit CNNLogSoftMax(const Device& device) : SoftMaxKernel(device, true) {}
  CNNLogSoftMax(Coder& coder, const Device& device) : SoftMaxKernel(device, true) { read(coder); }
  [[nodiscard]] CNNLogSoftMax copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNLogSoftMax"; }
};

/// dx[k] = y[k] * (g[k] - sum g[j]*y[j]), y the forward RESULT.
class CNNSoftMaxGradient final : public detail::SoftMaxGradientKernel {
 public:
  explicit CNNSoftMaxGradient(const Device& device) : SoftMaxGradientKernel(device, false) {}
  CNNSoftMaxGradient(Coder& coder, const Device& device) : SoftMaxGradientKernel(device, false) {
    read(coder);
  }
  [[nodiscard]] CNNSoftMaxGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
};

/// dx[k] = g[k] - exp(y[k]) * sum g[j], y the forward RESULT.
class CNNLogSoftMaxGradient final : public detail::SoftMaxGradientKernel {
 public:
  explicit CNNLogSoftMaxGradient(const Device& device) : SoftMaxGradientKernel(device, true) {}
  CNNLogSoftMaxGradient(Coder& coder, const Device& device) : SoftMaxGradientKernel(device, true) {
    read(coder);
  }
  [[nodiscard]] CNNLogSoftMaxGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNLogSoftMaxGradient"; }
};

using SoftMaxKernels =
    TypeList<CNNSoftMax, CNNSoftMaxGradient, CNNLogSoftMax, CNNLogSoftMaxGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
