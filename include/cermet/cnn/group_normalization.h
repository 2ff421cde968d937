#pragma once
// Instance and group normalisation: data sources, states, kernels and gradients (spec:
// normalization 7, 8).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// The channels of each image are in `groups` groups of C/groups consecutive ones. Over the pixels
/// and channels of a group, m samples: their mean and biased variance;
/// y = (x - mean) * gamma[c] / sqrt(variance + epsilon) + beta[c]. `gamma`, `beta`: C floats.
struct GroupNormalization {
  static constexpr std::string_view name = "CNNGroupNormalization";
  enum Slot { source, gamma, beta, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  float epsilon = 1.17549435e-38F;
  std::int32_t groups = 1;
};

/// With xh = (x - mean)/s, s = sqrt(variance + epsilon), of each image: gradientForBeta[c] = sum of
/// g over its pixels, gradientForGamma[c] = sum of g*xh; with A and B the sums over the channels of
/// a group of gamma*gradientForBeta and gamma*gradientForGamma: dx = (gamma*g - (A + xh*B)/m)/s.
/// The gradients for gamma and beta are n x 1 x 1 x C; where they are fewer than the images each
/// is the sum over as many consecutive images.
struct GroupNormalizationGradient {
  static constexpr std::string_view name = "CNNGroupNormalizationGradient";
  enum Slot { gradient, source, gamma, gradientForGamma, gradientForBeta, destination };
  static constexpr std::array access{Access::read,  Access::read,  Access::read,
                                     Access::write, Access::write, Access::write};
  GroupNormalization forward{};
};

using GroupNormalizationOperators = TypeList<GroupNormalization, GroupNormalizationGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <limits>
#include <memory>
#include <string>

#include "cermet/cnn/channel_arrays.h"
#include "cermet/cnn/kernel.h"

namespace cermet {

/// What the data sources of instance and group normalisation have in common: scale and bias, and
/// what a graph asks of their owner.
class CNNScaleDataSource : public Codable {
 public:
  [[nodiscard]] virtual std::size_t numberOfFeatureChannels() const = 0;
  /// One float for each feature channel. Null: gamma 1, beta 0.
  [[nodiscard]] virtual const float* gamma() = 0;
  [[nodiscard]] virtual const float* beta() = 0;
  [[nodiscard]] virtual std::string label() const = 0;
  /// Added to the variance inside the square root. Default FLT_MIN.
  [[nodiscard]] virtual float epsilon() const { return std::numeric_limits<float>::min(); }
  /// Called by a graph after the layer's gradient was encoded: encode the update on `commandBuffer`
  /// and return the new values; null leaves them. The gradients of the batch are the sums over all
  /// states, which the source adds up. Each call uses up one read of each state.
  virtual std::shared_ptr<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(
      const CommandBuffer& /*commandBuffer*/, const StateBatch& /*stateBatch*/) {
    return nullptr;
  }
  /// Called from the completed handler where the training style asks for the CPU; true: the source
  /// has new values and kernels reload from it.
  virtual bool updateGammaAndBeta(const StateBatch& /*stateBatch*/) { return false; }
};

/// Owns scale and bias of an instance normalisation (spec: normalization 7.1).
class CNNInstanceNormalizationDataSource : public CNNScaleDataSource {
 public:
  /// Called before any other call and balanced by one `purge`; pointers are not used after it.
  /// False makes the construction of a kernel fail. Default true.
  [[nodiscard]] virtual bool load() { return true; }
  virtual void purge() {}
  /// A source for another device; null: share this one.
  [[nodiscard]] virtual std::shared_ptr<CNNInstanceNormalizationDataSource> copy(
      const Device& /*device*/) const {
    return nullptr;
  }
};

/// Owns scale and bias of a group normalisation (spec: normalization 8.1).
class CNNGroupNormalizationDataSource : public CNNScaleDataSource {
 public:
  /// Divides numberOfFeatureChannels. Read when a kernel is made and when it reloads.
  [[nodiscard]] virtual std::size_t numberOfGroups() const = 0;
  virtual void setNumberOfGroups(std::size_t numberOfGroups) = 0;
  /// A source for another device; null: share this one.
  [[nodiscard]] virtual std::shared_ptr<CNNGroupNormalizationDataSource> copy(
      const Device& /*device*/) const {
    return nullptr;
  }
};

/// What a normalisation leaves for the gradient of one image: scale, bias, and the gradients for
/// them, float32 with one entry for each feature channel. There is a state for each image, and each
/// gradient encode overwrites it.
class CNNScaleGradientState : public NNGradientState {
 public:
  /// The values that the forward kernel had when the state was made.
  [[nodiscard]] const Buffer& gamma() const { return scale_[0]; }
  [[nodiscard]] const Buffer& beta() const { return scale_[1]; }
  /// Sums over the pixels of the image; 0 before a gradient was encoded.
  [[nodiscard]] Buffer gradientForGamma() { return buffer(0); }
  [[nodiscard]] Buffer gradientForBeta() { return buffer(1); }

  // For kernels.
  /// The arguments of the forward operator.
  [[nodiscard]] const GroupNormalization& normalization() const { return op_; }
  [[nodiscard]] std::size_t channel_count() const { return channels_; }
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor) override;

 protected:
  using Arrays = std::array<Buffer, 2>;
  CNNScaleGradientState(const detail::StateOrigin& origin, const GroupNormalization& op,
                        std::size_t channels, Arrays scale, const Arrays& gradients);

 private:
  GroupNormalization op_;
  std::size_t channels_;
  Arrays scale_;
};

class CNNInstanceNormalization;
class CNNGroupNormalization;

class CNNInstanceNormalizationGradientState final : public CNNScaleGradientState {
 public:
  CNNInstanceNormalizationGradientState(const detail::StateOrigin& origin,
                                        const CNNInstanceNormalization& kernel, Arrays gradients);
  /// The kernel that made the state; valid while that kernel exists.
  [[nodiscard]] const CNNInstanceNormalization* instanceNormalization() const { return kernel_; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNInstanceNormalizationGradientState";
  }

 private:
  const CNNInstanceNormalization* kernel_;
};

class CNNGroupNormalizationGradientState final : public CNNScaleGradientState {
 public:
  CNNGroupNormalizationGradientState(const detail::StateOrigin& origin,
                                     const CNNGroupNormalization& kernel, Arrays gradients);
  /// The kernel that made the state; valid while that kernel exists.
  [[nodiscard]] const CNNGroupNormalization* groupNormalization() const { return kernel_; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNGroupNormalizationGradientState";
  }

 private:
  const CNNGroupNormalization* kernel_;
};

/// What instance and group normalisation have in common. `Source`: the kind of data source,
/// `GradientState`: of state.
template <class Self, class Source, class GradientState>
class ScaledNormalization : public Concrete<Self, CNNKernel> {
 public:
  /// Throws InvalidArgument where the source has no feature channels or cannot be loaded.
  ScaledNormalization(const Device& device, std::shared_ptr<Source> dataSource);
  /// Gamma and beta come from the archive; so does the data source, if it could be archived, else
  /// there is none.
  ScaledNormalization(Coder& coder, const Device& device);

  /// Default: the data source's. A state keeps the value it was made with for its gradient.
  [[nodiscard]] float epsilon() const { return op_.epsilon; }
  void setEpsilon(float epsilon) { op_.epsilon = epsilon; }
  [[nodiscard]] const std::shared_ptr<Source>& dataSource() const { return source_; }

  /// Reads the data source again, at once; work already encoded keeps the old values.
  void reloadGammaAndBetaFromDataSource();
  /// Copies from a state in command buffer order; uses up one read of a temporary state.
  void reloadGammaAndBeta(
      const CommandBuffer& commandBuffer,
      const std::shared_ptr<CNNNormalizationGammaAndBetaState>& gammaAndBetaState);

  // For states.
  [[nodiscard]] const GroupNormalization& normalization() const { return op_; }
  [[nodiscard]] std::size_t channel_count() const { return channels_; }
  [[nodiscard]] const std::array<Buffer, 2>& scale() const { return scale_.values(); }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  [[nodiscard]] CNNKernel::Channels channels(std::size_t) const override {
    return {channels_, channels_};
  }
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] StateBatch make_state_batch(const detail::StateOrigin& origin,
                                            const ImageBatch& sources,
                                            const ImageBatch& destinations) const override;
  void replace(std::shared_ptr<Source> dataSource);

 private:
  void load();
  std::shared_ptr<Source> source_;
  std::size_t channels_ = 0;
  GroupNormalization op_;
  detail::ChannelArrays<2> scale_;  // gamma, beta
  mutable detail::StepMemo memo_;
};

/// What their gradients have in common: epsilon, groups, scale and geometry come from the state.
template <class Self, class GradientState>
class ScaledNormalizationGradient : public Concrete<Self, CNNGradientKernel> {
 public:
  explicit ScaledNormalizationGradient(const Device& device)
      : Concrete<Self, CNNGradientKernel>(device) {}
  ScaledNormalizationGradient(Coder& coder, const Device& device)
      : Concrete<Self, CNNGradientKernel>(coder, device) {
    this->read(coder);
  }
  [[nodiscard]] bool isStateModified() const override { return true; }

 protected:
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  void record(detail::BinaryEncoding& encoding) const override;

 private:
  mutable detail::StepMemo memo_, copy_memo_;
};

/// y = (x - mean[c]) * gamma[c] / sqrt(variance[c] + epsilon) + beta[c], mean and biased variance
/// of channel c over the pixels of one image, at inference too. The pixels are those that the
/// region written reads: where `offset`, `clipRect` or the destination's size select a part of the
/// source, or reach beyond it, the statistics are of that part with its edges. Channel ranges must
/// select as many channels as the data source has.
class CNNInstanceNormalization final
    : public ScaledNormalization<CNNInstanceNormalization, CNNInstanceNormalizationDataSource,
                                 CNNInstanceNormalizationGradientState> {
 public:
  using ScaledNormalization::ScaledNormalization;
  /// Deprecated: takes everything from another data source.
  void reloadDataSource(std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource) {
    replace(std::move(dataSource));
  }
};

/// y = (x - mean[r]) * gamma[c] / sqrt(variance[r] + epsilon) + beta[c], mean and biased variance
/// over the pixels of one image and the channels of the group r of channel c: C/numberOfGroups
/// consecutive ones. Else as CNNInstanceNormalization, which has a group for each channel. Throws
/// InvalidArgument where the number of groups does not divide that of channels.
class CNNGroupNormalization final
    : public ScaledNormalization<CNNGroupNormalization, CNNGroupNormalizationDataSource,
                                 CNNGroupNormalizationGradientState> {
 public:
  using ScaledNormalization::ScaledNormalization;
};

/// dx = gamma/s * (g - (gradientForBeta + xh*gradientForGamma)/m), xh = (x - mean)/s, s =
/// sqrt(variance + epsilon), m the pixels of the image; writes gradientForBeta = sum of g and
/// gradientForGamma = sum of g*xh of each image into its state, which must be given.
class CNNInstanceNormalizationGradient final
    : public ScaledNormalizationGradient<CNNInstanceNormalizationGradient,
                                         CNNInstanceNormalizationGradientState> {
 public:
  using ScaledNormalizationGradient::ScaledNormalizationGradient;
};

/// dx = (gamma*g - (A + xh*B)/m)/s, with A and B the sums over a group's channels of
/// gamma*gradientForBeta and gamma*gradientForGamma, m its samples; else as
/// CNNInstanceNormalizationGradient.
class CNNGroupNormalizationGradient final
    : public ScaledNormalizationGradient<CNNGroupNormalizationGradient,
                                         CNNGroupNormalizationGradientState> {
 public:
  using ScaledNormalizationGradient::ScaledNormalizationGradient;
};

using GroupNormalizationKernels =
    TypeList<CNNInstanceNormalization, CNNInstanceNormalizationGradient, CNNGroupNormalization,
             CNNGroupNormalizationGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
