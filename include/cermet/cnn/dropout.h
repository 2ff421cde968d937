#pragma once
// Dropout, the state that keeps its mask, and its gradient (spec: pointwise 13).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// destination = mask ? source / keep : +0 (selected, not multiplied). Mask element
/// ((y*strideY)*W' + x*strideX)*C' + c*strideC of image n is kept when u < keep, u = the top 24
/// bits of word (e mod 4) of Philox4x32-10 with key = seed and counter = {e / 4, first image + n,
/// encode low, encode high}, e the mask element's index in row-major order y, x, c. `mask`: uint8,
/// 1 = kept, extents (strideY ? H : 1) x (strideX ? W : 1) x (strideC ? C : 1); may be absent.
struct Dropout {
  static constexpr std::string_view name = "CNNDropout";
  enum Slot { source, mask, destination };
  static constexpr std::array access{Access::read, Access::write, Access::write};
  float keepProbability = 0.5F;
  std::int32_t maskStrideX = 1, maskStrideY = 1, maskStrideC = 1;
  struct Scalars {
    std::uint64_t seed = 0, encode = 0;
    std::uint32_t first_image = 0, unused = 0;
  };
};

/// destination = mask ? gradient / keep : 0. The mask element of destination (x, y) is that of
/// (x + shiftX, y + shiftY); outside the mask nothing was kept.
struct DropoutGradient {
  static constexpr std::string_view name = "CNNDropoutGradient";
  enum Slot { gradient, mask, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Dropout forward{};
  std::int32_t shiftX = 0, shiftY = 0;
};

using DropoutOperators = TypeList<Dropout, DropoutGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <cstdint>
#include <vector>

#include "cermet/cnn/kernel.h"
#include "cermet/core/geometry.h"

namespace cermet {

class CNNDropout;

/// The mask of one image's forward encode. States made together are parts of one buffer, so that a
/// batch is one step; they are not shared between images.
class CNNDropoutGradientState final : public NNGradientState {
 public:
  CNNDropoutGradientState(const detail::StateOrigin& origin, Buffer mask, const TensorDesc& extents,
                          const CNNDropout& dropout);

  /// A copy of the mask, one byte an element: 1 kept, 0 dropped; row-major y, x, channel with the
  /// extents (stride Y ? H : 1) x (stride X ? W : 1) x (stride of channels ? C : 1) of the region
  /// that was written. Undefined until the forward encode has completed. Throws for a temporary
  /// state.
  [[nodiscard]] std::vector<std::uint8_t> maskData();
  [[nodiscard]] std::string_view class_name() const override { return "CNNDropoutGradientState"; }

  // For kernels.
  [[nodiscard]] float keepProbability() const { return keep_; }
  [[nodiscard]] const Size& maskStrideInPixels() const { return strides_; }
  /// Extents of this state's mask; n counts the images inside one image object.
  [[nodiscard]] const TensorDesc& mask() const { return mask_; }
  [[nodiscard]] Buffer mask_buffer() { return buffer(0); }

 private:
  TensorDesc mask_;
  float keep_;
  Size strides_;
};
using CNNDropoutGradientStateBatch = StateBatch;

/// y = mask ? x / keepProbability : +0 (selected: a dropped infinity or NaN is 0 too). The mask is
/// a function of the seed, the number of the encode (0 for the first, one more for each; a copy of
/// the kernel continues), the image's index in the batch and the element's place in the region
/// written: the same on every device. There is no inference mode.
class CNNDropout final : public KernelOf<CNNKernel, Dropout> {
 public:
  /// `keepProbability` in (0, 1]. `maskStrideInPixels`: 1 for values of their own along x (width),
  /// y (height), feature channels (depth), 0 for one value shared along it. Throws InvalidArgument.
  CNNDropout(const Device& device, float keepProbability, std::size_t seed,
             Size maskStrideInPixels);
  CNNDropout(Coder& coder, const Device& device) : KernelOf(device) { read(coder); }
  [[nodiscard]] CNNDropout copy(const Device& device = {}) const { return copy_of(*this, device); }

  [[nodiscard]] float keepProbability() const { return op_.keepProbability; }
  [[nodiscard]] std::size_t seed() const { return seed_; }
  [[nodiscard]] const Size& maskStrideInPixels() const { return strides_; }
  /// The number of the next encode; set it to continue a run that was saved (ours).
  [[nodiscard]] std::uint64_t encode_number() const { return encodes_; }
  void set_encode_number(std::uint64_t number) { encodes_ = number; }

 protected:
  void code(Coder& coder) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] StateBatch make_state_batch(const detail::StateOrigin& origin,
                                            const ImageBatch& sources,
                                            const ImageBatch& destinations) const override;

 private:
  std::size_t seed_ = 0;
  Size strides_;
  mutable std::uint64_t encodes_ = 0;
};

/// dx = mask ? g / keepProbability : 0 with the state's mask. `secondaryOffset` shifts the mask:
/// destination position d uses the element of d + secondaryOffset, -offset of the forward encode
/// when the state sets it. The values of the secondary image are not read.
class CNNDropoutGradient final : public KernelOf<CNNGradientKernel, DropoutGradient> {
 public:
  /// The arguments of the forward kernel; an encode with the state of another one throws.
  CNNDropoutGradient(const Device& device, float keepProbability, std::size_t seed,
                     Size maskStrideInPixels);
  CNNDropoutGradient(Coder& coder, const Device& device) : KernelOf(device) { read(coder); }
  [[nodiscard]] CNNDropoutGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] float keepProbability() const { return op_.forward.keepProbability; }
  [[nodiscard]] std::size_t seed() const { return seed_; }
  [[nodiscard]] const Size& maskStrideInPixels() const { return strides_; }

  void apply(const ForwardRecord& forward) override;

 protected:
  void code(Coder& coder) override;
  void record(detail::BinaryEncoding& encoding) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;

 private:
  void check_state(const State* state) const;
  std::size_t seed_ = 0;
  Size strides_;
};

using DropoutKernels = TypeList<CNNDropout, CNNDropoutGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
