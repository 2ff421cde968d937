#pragma once
// Reductions of an image along its width, its height or its feature channels, and weighted sums
// over the feature channels of two images (spec: pooling-shape 5).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// What is reduced: the pixels of a row, those of a column, or the channels of a pixel.
enum class ReduceAxis : std::int32_t { row, column, feature_channels };
enum class ReduceKind : std::int32_t { min, max, mean, sum, argument_min, argument_max };

/// One value for each row, column or pixel of the source: `destination` has its extents, with 1 in
/// place of the reduced one. min, max: NaN where there is one. mean: sum / count. sum: weight *
/// sum. argument_min, argument_max, of feature channels alone: the index of the first NaN, or else
/// of the first extremum.
struct Reduce {
  static constexpr std::string_view name = "NNReduceUnary";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  ReduceAxis axis = ReduceAxis::row;
  ReduceKind kind = ReduceKind::sum;
  float weight = 1;
};

enum class WeightedDivisor : std::int32_t { one, non_zero_weights, channels };

/// destination = sum over c of features[c] * weights[c] / divisor, at each pixel; 0 where no weight
/// counts. An extent 1 of `weights`, of images, rows or columns, serves all.
struct ReduceWithWeights {
  static constexpr std::string_view name = "NNReduceFeatureChannelsAndWeights";
  enum Slot { features, weights, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  WeightedDivisor divisor = WeightedDivisor::one;
};

using ReduceOperators = TypeList<Reduce, ReduceWithWeights>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Reduces the part `clipRectSource` of the source, w x h pixels of it, and writes results from
/// `clipRect.origin` on:
///
///   NNReduceRow...              1 x h pixels: over x, for each row and channel
///   NNReduceColumn...           w x 1 pixels: over y, for each column and channel
///   NNReduceFeatureChannels...  w x h pixels, one channel: over the channels that are read
///
/// Results that `clipRect` has no room for are left out, and pixels of it beyond the results keep
/// their values; so do images. An encode that returns its result makes an image of their size.
/// `offset`, deprecated, and `edgeMode` are ignored. Sums are made in double precision, and the
/// mean divides by the number of elements that were there. Min and max give NaN where there is one,
/// the argument kernels the index of the first. There is no gradient.
///
/// Where `clipRectSource` does not meet the source, sums and means write 0 to all of `clipRect` and
/// the others nothing; of an encode that returns its result, the former make an image of one pixel
/// along an axis that is empty, and the latter throw InvalidArgument.
class NNReduceUnary : public CNNKernel {
 public:
  /// The part of the source that is read, cut to it; origin.z and depth select images. Default
  /// RectNoClip.
  [[nodiscard]] const Region& clipRectSource() const { return clip_source_; }
  void setClipRectSource(const Region& clipRectSource) { clip_source_ = clipRectSource; }

 protected:
  NNReduceUnary(const Device& device, ReduceAxis axis, ReduceKind kind);
  void code(Coder& coder) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t available) const override;
  [[nodiscard]] const Region* source_region() const override { return &clip_source_; }
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;

  Reduce op_;

 private:
  [[nodiscard]] bool is_sum() const;
  Region clip_source_ = RectNoClip;
  mutable detail::StepMemo memo_;
};

/// A concrete class of NNReduceUnary.
template <class Self, ReduceAxis axis, ReduceKind kind>
class ReduceKernel : public Concrete<Self, NNReduceUnary> {
 public:
  explicit ReduceKernel(const Device& device) : Concrete<Self, NNReduceUnary>(device, axis, kind) {}
  ReduceKernel(Coder& coder, const Device& device)
      : Concrete<Self, NNReduceUnary>(device, axis, kind) {
    this->read(coder);
  }
};

/// The smallest of each row.
class NNReduceRowMin final : public ReduceKernel<NNReduceRowMin, ReduceAxis::row, ReduceKind::min> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The largest of each row.
class NNReduceRowMax final : public ReduceKernel<NNReduceRowMax, ReduceAxis::row, ReduceKind::max> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The mean of each row.
class NNReduceRowMean final
    : public ReduceKernel<NNReduceRowMean, ReduceAxis::row, ReduceKind::mean> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The sum of each row.
class NNReduceRowSum final : public ReduceKernel<NNReduceRowSum, ReduceAxis::row, ReduceKind::sum> {
 public:
  using ReduceKernel::ReduceKernel;
};

/// The smallest of each column.
class NNReduceColumnMin final
    : public ReduceKernel<NNReduceColumnMin, ReduceAxis::column, ReduceKind::min> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The largest of each column.
class NNReduceColumnMax final
    : public ReduceKernel<NNReduceColumnMax, ReduceAxis::column, ReduceKind::max> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The mean of each column.
class NNReduceColumnMean final
    : public ReduceKernel<NNReduceColumnMean, ReduceAxis::column, ReduceKind::mean> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The sum of each column.
class NNReduceColumnSum final
    : public ReduceKernel<NNReduceColumnSum, ReduceAxis::column, ReduceKind::sum> {
 public:
  using ReduceKernel::ReduceKernel;
};

/// The smallest channel of each pixel.
class NNReduceFeatureChannelsMin final
    : public ReduceKernel<NNReduceFeatureChannelsMin, ReduceAxis::feature_channels,
                          ReduceKind::min> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The largest channel of each pixel.
class NNReduceFeatureChannelsMax final
    : public ReduceKernel<NNReduceFeatureChannelsMax, ReduceAxis::feature_channels,
                          ReduceKind::max> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The mean of the channels of each pixel.
class NNReduceFeatureChannelsMean final
    : public ReduceKernel<NNReduceFeatureChannelsMean, ReduceAxis::feature_channels,
                          ReduceKind::mean> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// weight * the sum of the channels of each pixel.
class NNReduceFeatureChannelsSum final
    : public ReduceKernel<NNReduceFeatureChannelsSum, ReduceAxis::feature_channels,
                          ReduceKind::sum> {
 public:
  using ReduceKernel::ReduceKernel;
  /// Factor of the sum. Default 1.
  [[nodiscard]] float weight() const { return op_.weight; }
  void setWeight(float weight) { op_.weight = weight; }
};
/// The index of the smallest channel of each pixel, as a float, counted from the first channel that
/// is read; the lowest where several are equal. Float16 holds all indices up to 2048.
class NNReduceFeatureChannelsArgumentMin final
    : public ReduceKernel<NNReduceFeatureChannelsArgumentMin, ReduceAxis::feature_channels,
                          ReduceKind::argument_min> {
 public:
  using ReduceKernel::ReduceKernel;
};
/// The index of the largest channel of each pixel; see NNReduceFeatureChannelsArgumentMin.
class NNReduceFeatureChannelsArgumentMax final
    : public ReduceKernel<NNReduceFeatureChannelsArgumentMax, ReduceAxis::feature_channels,
                          ReduceKind::argument_max> {
 public:
  using ReduceKernel::ReduceKernel;
};

/// Reduces the part `primarySourceClipRect` of the primary source together with the part
/// `secondarySourceClipRect` of the secondary: result pixel (x, y), counted from `clipRect.origin`,
/// is that of pixel (x, y) of the primary part. Results that `clipRect` has no room for are left
/// out, and pixels of it beyond the results keep their values; an encode that returns its result
/// makes an image of their size. Offsets, deprecated, and strides are ignored. There is no
/// gradient.
///
/// Where `primarySourceClipRect` does not meet the primary source, 0 is written to all of
/// `clipRect`; an encode that returns its result makes an image of one pixel along an axis that is
/// empty. A `secondarySourceClipRect` that does not meet the secondary source throws.
class NNReduceBinary : public CNNBinaryKernel {
 public:
  /// The part of the primary source that is read, cut to it; origin.z and depth select images.
  /// Default RectNoClip.
  [[nodiscard]] const Region& primarySourceClipRect() const { return clips_[0]; }
  void setPrimarySourceClipRect(const Region& clipRect) { clips_[0] = clipRect; }
  /// The same of the secondary source.
  [[nodiscard]] const Region& secondarySourceClipRect() const { return clips_[1]; }
  void setSecondarySourceClipRect(const Region& clipRect) { clips_[1] = clipRect; }

 protected:
  explicit NNReduceBinary(const Device& device) : CNNBinaryKernel(device) {}
  NNReduceBinary(Coder& coder, const Device& device) : CNNBinaryKernel(coder, device) {}
  void code(Coder& coder) override;
  /// Narrows all to what there is to do.
  void record(detail::BinaryEncoding& encoding) const override;
  /// Primary and destination have the same images, rows and columns, at least one of each.
  virtual void record_results(detail::BinaryEncoding& encoding) const = 0;
  [[nodiscard]] const Region* source_region(bool secondary) const override {
    return &clips_[secondary ? 1 : 0];
  }
  void plan_default(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  void check(const Image& primary, const Image& secondary, const Image& destination,
             const State* state, std::size_t count) const override;
  /// Whether the part of the secondary source must hold a pixel for each result, or 1 along an
  /// axis.
  [[nodiscard]] virtual bool pairs_pixels() const = 0;

 private:
  std::array<Region, 2> clips_{RectNoClip, RectNoClip};
};

namespace detail {

/// What the two weighted reductions share.
class WeightedReduceKernel : public NNReduceBinary {
 protected:
  WeightedReduceKernel(const Device& device, WeightedDivisor divisor) : NNReduceBinary(device) {
    op_.divisor = divisor;
  }
  void record_results(BinaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t) const override {
    return {primary, primary, 1};
  }
  [[nodiscard]] bool pairs_pixels() const override { return true; }

  ReduceWithWeights op_;

 private:
  mutable StepMemo memo_;
};

}  // namespace detail

/// sum over the channels of f[c] * v[c], primary = features f, secondary = weights v; with
/// doWeightedSumByNonZeroWeights divided by the number of channels whose weight is not 0, and 0
/// where there is none. Sums in double precision. The weights of a pixel are those at the same
/// place in `secondarySourceClipRect`; an extent of 1 serves all rows, columns or images. There
/// must be as many of them as features; channels beyond are not read.
class NNReduceFeatureChannelsAndWeightsSum final
    : public Concrete<NNReduceFeatureChannelsAndWeightsSum, detail::WeightedReduceKernel> {
 public:
  explicit NNReduceFeatureChannelsAndWeightsSum(const Device& device,
                                                bool doWeightedSumByNonZeroWeights = false)
      : Concrete(device, doWeightedSumByNonZeroWeights ? WeightedDivisor::non_zero_weights
                                                       : WeightedDivisor::one) {}
  NNReduceFeatureChannelsAndWeightsSum(Coder& coder, const Device& device)
      : NNReduceFeatureChannelsAndWeightsSum(device) {
    read(coder);
  }
  [[nodiscard]] bool doWeightedSumByNonZeroWeights() const {
    return op_.divisor == WeightedDivisor::non_zero_weights;
  }

 protected:
  void code(Coder& coder) override;
};

/// sum over the N channels of f[c] * v[c], divided by N; otherwise as
/// NNReduceFeatureChannelsAndWeightsSum.
class NNReduceFeatureChannelsAndWeightsMean final
    : public Concrete<NNReduceFeatureChannelsAndWeightsMean, detail::WeightedReduceKernel> {
 public:
  explicit NNReduceFeatureChannelsAndWeightsMean(const Device& device)
      : Concrete(device, WeightedDivisor::channels) {}
  NNReduceFeatureChannelsAndWeightsMean(Coder& coder, const Device& device)
      : NNReduceFeatureChannelsAndWeightsMean(device) {
    read(coder);
  }
};

using ReduceKernels =
    TypeList<NNReduceRowMin, NNReduceRowMax, NNReduceRowMean, NNReduceRowSum, NNReduceColumnMin,
             NNReduceColumnMax, NNReduceColumnMean, NNReduceColumnSum, NNReduceFeatureChannelsMin,
             NNReduceFeatureChannelsMax, NNReduceFeatureChannelsMean, NNReduceFeatureChannelsSum,
             NNReduceFeatureChannelsArgumentMin, NNReduceFeatureChannelsArgumentMax,
             NNReduceFeatureChannelsAndWeightsSum, NNReduceFeatureChannelsAndWeightsMean>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
