#pragma once
// Padding along x, y and the feature channels (spec: pooling-shape 8).

#include <array>
#include <string_view>

#include "cermet/core/geometry.h"
#include "cermet/core/operator.h"

namespace cermet {

/// destination(y, x, k) = source(Y(y + offsetY), X(x + offsetX), K(k + offsetChannel)). Positions
/// i outside 0 ... n-1 are mapped by the edge mode:
///   Zero, Constant   none: 0, or fill[k], or fillValue where there is no `fill`
///   Clamp            the nearest one
///   Mirror           r = i mod 2(n-1), then r < n ? r : 2(n-1) - r; n = 1: 0
///   MirrorWithEdge   r = i mod 2n, then r < n ? r : 2n-1 - r
/// with the non-negative remainder. An element is filled where any of its positions is outside.
struct Pad {
  static constexpr std::string_view name = "NNPad";
  enum Slot { source, fill, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  ImageEdgeMode edge = ImageEdgeMode::Zero;
  std::int32_t offsetX = 0, offsetY = 0, offsetChannel = 0;
  float fillValue = 0;
};

/// destination[d] = sum of the gradients of all elements that were copied from source element d.
/// Pixel (0, 0) is source pixel (originX, originY) of sourceWidth x sourceHeight; beyond these 0.
struct PadGradient {
  static constexpr std::string_view name = "NNPadGradient";
  enum Slot { gradient, destination };
  static constexpr std::array access{Access::read, Access::write};
  Pad forward{};
  std::int32_t originX = 0, originY = 0;
  std::int32_t sourceWidth = 1, sourceHeight = 1;
};

using PadOperators = TypeList<Pad, PadGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Copies an image with something around it. Destination pixel (i, j), counted from
/// `clipRect.origin`, is source position offset + (i, j); channel k of those that are written is
/// channel k - paddingSizeBefore.channel of those that are read. Positions that are not in the
/// source, along x, y or the channels that are read, are found by `edgeMode`: besides Zero and
/// Clamp also Mirror (the edge is not repeated), MirrorWithEdge (it is), both as often as it takes,
/// and Constant. An element is filled where any of its three positions is outside.
///
/// Encodes that return a result make it larger by the sizes before and after, and set `offset` to
/// -paddingSizeBefore. With a destination of yours, `offset` and `clipRect` say where things lie
/// and the sizes along x and y are ignored. The sizes in channels always count: written are before
/// + read + after channels, from `destinationFeatureChannelOffset` on. `sourceFeatureChannelOffset`
/// need not be a multiple of 4 here.
class NNPad final : public Concrete<NNPad, CNNKernel> {
 public:
  /// Throw InvalidArgument for sizes of 2^31 or more.
  explicit NNPad(const Device& device, const ImageCoordinate& paddingSizeBefore = {},
                 const ImageCoordinate& paddingSizeAfter = {});
  /// One value for each channel that is written, from the first one on; more are ignored, and
  /// encodes with fewer throw InvalidArgument. Empty: `fillValue` for all.
  NNPad(const Device& device, const ImageCoordinate& paddingSizeBefore,
        const ImageCoordinate& paddingSizeAfter, std::span<const float> fillValueArray);
  NNPad(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  /// Left columns, upper rows, lower channels. Default 0.
  [[nodiscard]] const ImageCoordinate& paddingSizeBefore() const { return before_; }
  void setPaddingSizeBefore(const ImageCoordinate& size);
  /// Right columns, lower rows, higher channels. Default 0.
  [[nodiscard]] const ImageCoordinate& paddingSizeAfter() const { return after_; }
  void setPaddingSizeAfter(const ImageCoordinate& size);
  /// What Constant edges read; plays no role where there is an array. Default 0.
  [[nodiscard]] float fillValue() const { return fill_value_; }
  void setFillValue(float value) { fill_value_ = value; }
  /// As it was given to the constructor (ours).
  [[nodiscard]] const std::vector<float>& fill_values() const { return fill_values_; }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  [[nodiscard]] bool is_padding() const override { return true; }
  [[nodiscard]] Channels channels(std::size_t available) const override {
    return {available, before_.channel + available + after_.channel};
  }
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;

 private:
  ImageCoordinate before_, after_;
  float fill_value_ = 0;
  std::vector<float> fill_values_;
  Buffer fill_;
  mutable detail::StepMemo memo_;
};

/// Every element of the forward result gives its gradient to the source element that it was copied
/// from; filled ones give it to none. Source channels that were not read get 0.
///
/// Destination pixel d is the gradient of source pixel d + secondaryOffset, and gradient pixel i is
/// what was copied from source position i - primaryOffset + secondaryOffset, found by
/// `secondaryEdgeMode`; the secondary image gives the source's size alone. With a gradient state
/// only the region that the forward encode wrote counts, and the incoming gradient may be an image
/// of just that size. The geometry is that of the state, once `destinationImageDescriptor` or an
/// encode that returns its result has copied it.
class NNPadGradient final : public Concrete<NNPadGradient, CNNGradientKernel> {
 public:
  explicit NNPadGradient(const Device& device) : Concrete(device) {}
  NNPadGradient(Coder& coder, const Device& device) : Concrete(coder, device) { read(coder); }

  /// Channels of the forward encode's padding, which the state sets (ours). Default 0.
  [[nodiscard]] std::size_t padding_channels_before() const { return channels_before_; }
  [[nodiscard]] std::size_t padding_channels_after() const { return channels_after_; }
  /// Throws InvalidArgument for 2^31 or more.
  void set_padding_channels(std::size_t before, std::size_t after);

 protected:
  void code(Coder& coder) override;
  [[nodiscard]] bool is_padding() const override { return true; }
  [[nodiscard]] Channels channels(std::size_t, std::size_t secondary) const override {
    return {channels_before_ + secondary + channels_after_, secondary, secondary};
  }
  void record(detail::BinaryEncoding& encoding) const override;

 private:
  std::size_t channels_before_ = 0, channels_after_ = 0;
  mutable detail::StepMemo memo_;
};

using PadKernels = TypeList<NNPad, NNPadGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
