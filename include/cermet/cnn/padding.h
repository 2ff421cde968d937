#pragma once
// Padding policies: how the size and the offset of a result are chosen (spec: core 10).

#include <memory>
#include <span>
#include <string>

#include "cermet/core/image.h"
#include "cermet/core/kernel.h"
#include "cermet/core/state.h"

namespace cermet {

/// Bits: alignment, side of the remainder, size (spec: core 10.2).
enum class NNPaddingMethod : unsigned {
  AlignCentered = 0,
  AlignTopLeft = 1,
  AlignBottomRight = 2,
  Align_reserved = 3,
  AlignMask = 0x3,
  AddRemainderToTopLeft = 0,
  AddRemainderToTopRight = 0x4,
  AddRemainderToBottomLeft = 0x8,
  AddRemainderToBottomRight = 0xC,
  AddRemainderToMask = 0xC,
  SizeValidOnly = 0,
  SizeSame = 0x10,
  SizeFull = 0x20,
  Size_reserved = 0x30,
  SizeMask = 0x7F0,
  CustomAllowForNodeFusion = 0x2000,
  CustomWhitelistForNodeFusion = 0x2000,
  Custom = 0x4000,
  ExcludeEdges = 0x8000,
};
[[nodiscard]] constexpr NNPaddingMethod operator|(NNPaddingMethod a, NNPaddingMethod b) {
  return static_cast<NNPaddingMethod>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr unsigned operator&(NNPaddingMethod a, NNPaddingMethod b) {
  return static_cast<unsigned>(a) & static_cast<unsigned>(b);
}

/// Chooses sizes and offsets for encodes that return their result.
class NNPadding : public Codable {
 public:
  [[nodiscard]] virtual NNPaddingMethod paddingMethod() const = 0;
  [[nodiscard]] virtual std::string label() const { return {}; }
  /// Called iff the method has the Custom bit, after everything else: may edit the suggested
  /// descriptor and any property of `kernel`, whose `offset` alone is recomputed for each encode.
  [[nodiscard]] virtual ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor);
  /// The policy of the gradient pass; null: the gradient's default.
  [[nodiscard]] virtual std::shared_ptr<NNPadding> inverse() const { return nullptr; }

  /// For kernels: how archives name the stock policies.
  [[nodiscard]] static std::span<const Coder::Stock> stock();
};

/// The stock policies.
class NNDefaultPadding : public NNPadding {
 public:
  explicit NNDefaultPadding(NNPaddingMethod method) : method_(method) {}
  [[nodiscard]] static std::shared_ptr<NNDefaultPadding> padding(NNPaddingMethod method);
  /// Same size, centred, odd remainder to the bottom and right; sets edgeMode Clamp.
  [[nodiscard]] static std::shared_ptr<NNDefaultPadding> paddingForTensorflowAveragePooling();
  /// Valid-only sibling; also sets edgeMode Clamp.
  [[nodiscard]] static std::shared_ptr<NNDefaultPadding>
  paddingForTensorflowAveragePoolingValidOnly();

  [[nodiscard]] NNPaddingMethod paddingMethod() const override { return method_; }
  [[nodiscard]] std::string label() const override;
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor) override;
  [[nodiscard]] std::shared_ptr<NNPadding> inverse() const override;
  /// True, but for subclasses that do not say themselves.
  [[nodiscard]] bool supportsSecureCoding() const override;
  [[nodiscard]] std::string_view archive_name() const override { return "NNDefaultPadding"; }

 protected:
  void code(Coder& coder) override;

 private:
  friend class NNPadding;
  NNPaddingMethod method_;
};

/// Result extent along one axis; `window` is dilated (spec: core 10.3, 10.6). May be <= 0.
[[nodiscard]] std::ptrdiff_t padded_extent(NNPaddingMethod method, std::size_t source,
                                           std::size_t window, std::size_t stride,
                                           bool backwards = false);
/// Offset along one axis for a result of `destination` pixels (spec: core 10.4, 10.6).
[[nodiscard]] std::ptrdiff_t padded_offset(NNPaddingMethod method, bool horizontal,
                                           std::size_t source, std::size_t destination,
                                           std::size_t window, std::size_t stride,
                                           bool backwards = false);

}  // namespace cermet
