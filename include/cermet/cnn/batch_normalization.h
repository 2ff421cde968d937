#pragma once
// Batch normalisation: data source, states, statistics, normalisation and both gradients
// (spec: normalization 6).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// Folds the samples of `source` into the running sums by merging (count, mean, M2) and writes mean
/// and biased variance of everything so far. `sums`: double[1 + 2*C] = count, means, M2s, held in a
/// uint8 slot of 8*(1 + 2*C) bytes.
struct BatchNormalizationStatistics {
  static constexpr std::string_view name = "CNNBatchNormalizationStatistics";
  enum Slot { source, sums, mean, variance };
  static constexpr std::array access{Access::read, Access::update, Access::write, Access::write};
  std::int32_t restart = 1;  // 1: a new batch, sums start at zero
};

/// y = f((x - mean) * gamma / sqrt(variance + epsilon) + beta), f the activation.
struct BatchNormalization {
  static constexpr std::string_view name = "CNNBatchNormalization";
  enum Slot { source, mean, variance, gamma, beta, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::write};
  float epsilon = 1.17549435e-38F;
  Activation activation{};
};

/// gradientForBeta (+)= sum g', gradientForGamma (+)= sum g'*xh, with xh = (x - mean)/sqrt(variance
/// + epsilon), g' = g * f'(gamma*xh + beta).
struct BatchNormalizationStatisticsGradient {
  static constexpr std::string_view name = "CNNBatchNormalizationStatisticsGradient";
  enum Slot {
    gradient,
    source,
    mean,
    variance,
    gamma,
    beta,
    slopes,
    gradientForGamma,
    gradientForBeta
  };
  static constexpr std::array access{Access::read, Access::read,   Access::read,
                                     Access::read, Access::read,   Access::read,
                                     Access::read, Access::update, Access::update};
  BatchNormalization forward{};
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

/// dx = gamma/s * (g' - (gradientForBeta + xh*gradientForGamma)/m), m = sums[0] samples, or the
/// pixels of the source where `sums` is absent; `fixedStatistics`: dx = gamma/s * g'.
struct BatchNormalizationGradient {
  static constexpr std::string_view name = "CNNBatchNormalizationGradient";
  enum Slot {
    gradient,
    source,
    mean,
    variance,
    gamma,
    beta,
    slopes,
    gradientForGamma,
    gradientForBeta,
    sums,
    destination
  };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::write};
  BatchNormalization forward{};
  std::int32_t fixedStatistics = 0;
};

using BatchNormalizationOperators =
    TypeList<BatchNormalizationStatistics, BatchNormalization, BatchNormalizationStatisticsGradient,
             BatchNormalizationGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <limits>
#include <memory>
#include <string>

#include "cermet/cnn/channel_arrays.h"
#include "cermet/cnn/kernel.h"
#include "cermet/cnn/neuron.h"

namespace cermet {

class CNNBatchNormalization;
class CNNBatchNormalizationState;
using CNNBatchNormalizationStatePtr = std::shared_ptr<CNNBatchNormalizationState>;

/// Where a graph takes the statistics of a batch normalisation from.
enum class CNNBatchNormalizationFlags : unsigned {
  Default = 0,
  CalculateStatisticsAutomatic = Default,
  CalculateStatisticsAlways = 1,
  CalculateStatisticsNever = 2,
  CalculateStatisticsMask = 3,
};

/// Owns scale, bias and running statistics and hands them out on demand. `load` comes before any
/// other call and is balanced by one `purge`; pointers are not used after it (spec:
/// normalization 6.1).
class CNNBatchNormalizationDataSource : public Codable {
 public:
  [[nodiscard]] virtual std::size_t numberOfFeatureChannels() const = 0;
  /// One float for each feature channel. Null: gamma 1, beta 0, mean 0, variance 1.
  [[nodiscard]] virtual const float* gamma() = 0;
  [[nodiscard]] virtual const float* beta() = 0;
  /// Running statistics, for inference and to begin states with.
  [[nodiscard]] virtual const float* mean() = 0;
  [[nodiscard]] virtual const float* variance() = 0;
  /// False makes the construction of a kernel fail.
  [[nodiscard]] virtual bool load() = 0;
  virtual void purge() = 0;
  [[nodiscard]] virtual std::string label() const = 0;

  /// Added to the variance inside the square root.
  [[nodiscard]] virtual float epsilon() const { return std::numeric_limits<float>::min(); }
  /// Called by a graph after the layer's gradient was encoded: encode the update on `commandBuffer`
  /// and return the new values; null leaves them. Each call uses up one read of the state.
  virtual std::shared_ptr<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(
      const CommandBuffer& /*commandBuffer*/,
      const CNNBatchNormalizationStatePtr& /*batchNormalizationState*/) {
    return nullptr;
  }
  virtual std::shared_ptr<CNNNormalizationMeanAndVarianceState> updateMeanAndVariance(
      const CommandBuffer& /*commandBuffer*/,
      const CNNBatchNormalizationStatePtr& /*batchNormalizationState*/) {
    return nullptr;
  }
  /// Called from the completed handler where the training style asks for the CPU; true: the source
  /// has new values and kernels reload from it.
  virtual bool updateGammaAndBeta(
      const CNNBatchNormalizationStatePtr& /*batchNormalizationState*/) {
    return false;
  }
  virtual bool updateMeanAndVariance(
      const CNNBatchNormalizationStatePtr& /*batchNormalizationState*/) {
    return false;
  }
  /// A source for another device; null: share this one.
  [[nodiscard]] virtual std::shared_ptr<CNNBatchNormalizationDataSource> copy(
      const Device& /*device*/) const {
    return nullptr;
  }
};

/// What the kernels of one layer share for one batch: scale, bias, statistics and gradients,
/// float32 with one entry for each feature channel. Made by CNNBatchNormalization; the same object
/// serves all images. It may be used again for the next batch: statistics encoded after a
/// normalisation that used the statistics begin a new batch, and gradients begin anew with the
/// first statistics gradient after new statistics, or after a gradient encode. Consecutive encodes
/// accumulate (spec: normalization 6.4).
class CNNBatchNormalizationState final : public NNGradientState {
 public:
  CNNBatchNormalizationState(const detail::StateOrigin& origin,
                             const CNNBatchNormalization& kernel);

  /// The kernel that made the state; valid while that kernel exists.
  [[nodiscard]] const CNNBatchNormalization* batchNormalization() const { return kernel_; }
  /// Scale and bias: the kernel's, as of the last normalisation encode.
  [[nodiscard]] Buffer gamma() { return value(gamma_slot); }
  [[nodiscard]] Buffer beta() { return value(beta_slot); }
  /// Statistics of the batch (biased variance, without epsilon); the kernel's until some were
  /// encoded.
  [[nodiscard]] Buffer mean() { return value(mean_slot); }
  [[nodiscard]] Buffer variance() { return value(variance_slot); }
  /// Sums over the batch; nil until the first encode that computes them.
  [[nodiscard]] Buffer gradientForGamma() {
    return has_gradient_ ? buffer(gradient_for_gamma_slot) : Buffer();
  }
  [[nodiscard]] Buffer gradientForBeta() {
    return has_gradient_ ? buffer(gradient_for_beta_slot) : Buffer();
  }
  /// Forgets statistics and gradients, for encodes made after the call.
  void reset();

  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor) override;
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNBatchNormalizationState";
  }

  // For kernels. Phases are kept at encode time; the device sees operators that restart or add.
  enum Slot : std::size_t {
    gamma_slot,
    beta_slot,
    mean_slot,
    variance_slot,
    gradient_for_gamma_slot,
    gradient_for_beta_slot,
    sums_slot,
  };
  using Values = std::array<Buffer, 4>;  // gamma, beta, mean, variance
  [[nodiscard]] std::size_t channel_count() const { return channels_; }
  [[nodiscard]] float epsilon() const { return epsilon_; }
  /// Whether the state was made by this kernel or a copy of it.
  [[nodiscard]] bool belongs_to(const CNNBatchNormalization& kernel) const;
  [[nodiscard]] TensorView view(detail::Recording& recording, Slot slot);

  /// Statistics of `samples` more pixels; true: the sums start at zero.
  [[nodiscard]] bool begin_statistics(std::size_t samples);
  [[nodiscard]] bool has_statistics() const { return has_statistics_; }
  /// A normalisation: brings gamma and beta, and statistics unless they were computed, up to date.
  void begin_normalization(detail::Recording& recording, const Values& values);
  /// Gradients of `samples` more pixels; true: they are added.
  [[nodiscard]] bool begin_gradient(detail::Recording& recording, std::size_t samples);
  /// Whether the gradients of this batch were computed, and of as many pixels as the statistics.
  [[nodiscard]] bool has_gradient() const { return gradient_is_current_; }
  [[nodiscard]] std::size_t samples() const { return samples_; }
  [[nodiscard]] std::size_t gradient_samples() const { return gradient_samples_; }
  void gradient_was_used() { gradient_restarts_ = true; }

 private:
  /// One of the first four arrays, with the initial values where no encode has written any.
  [[nodiscard]] Buffer value(Slot slot);
  void copy(detail::Recording& recording, const Values& values, Slot slot);

  const CNNBatchNormalization* kernel_;
  std::shared_ptr<const void> identity_;
  std::size_t channels_;
  float epsilon_;
  Values initial_;
  bool begun_ = false;  // gamma and beta are valid on the device
  bool scale_written_ = false, statistics_written_ = false;  // some encode did, ever
  bool has_statistics_ = false, statistics_were_used_ = false;
  bool has_gradient_ = false, gradient_is_current_ = false, gradient_restarts_ = true;
  std::size_t samples_ = 0, gradient_samples_ = 0;
};

/// y = f((x - mean) * gamma / sqrt(variance + epsilon) + beta), f the fused neuron. With a state
/// mean and variance are the batch's, once they were computed; without one the data source's.
class CNNBatchNormalization final : public KernelOf<CNNKernel, BatchNormalization> {
 public:
  /// Throws InvalidArgument where `load` answers false or there are no feature channels.
  CNNBatchNormalization(const Device& device,
                        std::shared_ptr<CNNBatchNormalizationDataSource> dataSource,
                        const NNNeuronDescriptor& fusedNeuronDescriptor = {});
  /// Gamma, beta, mean and variance come from the archive; so does the data source, if it could be
  /// archived, else there is none.
  CNNBatchNormalization(Coder& coder, const Device& device);
  [[nodiscard]] CNNBatchNormalization copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] std::size_t numberOfFeatureChannels() const { return channels_; }
  /// Default: the data source's. A state keeps the value it was made with for its gradients.
  [[nodiscard]] float epsilon() const { return op_.epsilon; }
  void setEpsilon(float epsilon) { op_.epsilon = epsilon; }
  [[nodiscard]] const std::shared_ptr<CNNBatchNormalizationDataSource>& dataSource() const {
    return source_;
  }
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return true; }

  /// Normalises with the state; each call uses up one read of a temporary state.
  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const CNNBatchNormalizationStatePtr& batchNormalizationState,
              const Image& destinationImage) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const CNNBatchNormalizationStatePtr& batchNormalizationState,
                   const ImageBatch& destinationImages) const;
  /// Normalises with the data source's statistics (inference). The forms of other kernels that take
  /// or make a destination state do not exist here.
  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const Image& destinationImage) const {
    CNNKernel::encode(commandBuffer, sourceImage, destinationImage);
  }
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const ImageBatch& destinationImages) const {
    CNNKernel::encodeBatch(commandBuffer, sourceImages, destinationImages);
  }
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceImage) {
    return CNNKernel::encode(commandBuffer, sourceImage);
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages) {
    return CNNKernel::encodeBatch(commandBuffer, sourceImages);
  }

  /// Read the data source again, at once; work already encoded keeps the old values.
  void reloadGammaAndBetaFromDataSource();
  void reloadMeanAndVarianceFromDataSource();
  /// Copy from a state in command buffer order; each uses up one read of a temporary state.
  void reloadGammaAndBeta(
      const CommandBuffer& commandBuffer,
      const std::shared_ptr<CNNNormalizationGammaAndBetaState>& gammaAndBetaState);
  void reloadMeanAndVariance(
      const CommandBuffer& commandBuffer,
      const std::shared_ptr<CNNNormalizationMeanAndVarianceState>& meanAndVarianceState);
  /// Deprecated: takes everything from another data source.
  void reloadDataSource(std::shared_ptr<CNNBatchNormalizationDataSource> dataSource);

  // For states.
  [[nodiscard]] const CNNBatchNormalizationState::Values& values() const {
    return arrays_.values();
  }
  [[nodiscard]] const std::shared_ptr<const void>& identity() const { return identity_; }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t) const override { return {channels_, channels_}; }
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;

 private:
  using Slot = CNNBatchNormalizationState::Slot;
  /// The state as one of this kernel's; throws where it is not.
  CNNBatchNormalizationState& own_state(State* state) const;
  /// Takes the values at these slots from the data source.
  void load(std::initializer_list<Slot> slots);

  std::shared_ptr<CNNBatchNormalizationDataSource> source_;
  std::size_t channels_ = 0;
  detail::ChannelArrays<4> arrays_;
  std::shared_ptr<const void> identity_;  // shared by copies
  NNNeuronDescriptor neuron_;
  Buffer slopes_;
};

/// Mean and biased variance over all pixels of all images since the state's batch began. Several
/// encodes, one for each part of a batch, accumulate. Reads whole images; makes no image.
class CNNBatchNormalizationStatistics final
    : public KernelOf<CNNKernel, BatchNormalizationStatistics> {
 public:
  explicit CNNBatchNormalizationStatistics(const Device& device) : KernelOf(device) {}
  CNNBatchNormalizationStatistics(Coder& coder, const Device& device) : KernelOf(device) {
    read(coder);
  }
  [[nodiscard]] CNNBatchNormalizationStatistics copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const CNNBatchNormalizationStatePtr& batchNormalizationState) const;
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return true; }
  [[nodiscard]] bool appendBatchBarrier() const override { return true; }
  [[nodiscard]] bool isStateModified() const override { return true; }
  /// There is no result image.
  void encode() = delete;

 protected:
  void record(detail::UnaryEncoding& encoding) const override;
};

/// gradientForGamma and gradientForBeta of the state, summed over all parts of the batch; makes no
/// image. Placed by the properties as in CNNBatchNormalizationGradient.
class CNNBatchNormalizationStatisticsGradient final
    : public KernelOf<CNNGradientKernel, BatchNormalizationStatisticsGradient> {
 public:
  /// The neuron fused into the forward kernel.
  explicit CNNBatchNormalizationStatisticsGradient(
      const Device& device, const NNNeuronDescriptor& fusedNeuronDescriptor = {});
  CNNBatchNormalizationStatisticsGradient(Coder& coder, const Device& device) : KernelOf(device) {
    read(coder);
  }
  [[nodiscard]] CNNBatchNormalizationStatisticsGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages,
                   const CNNBatchNormalizationStatePtr& batchNormalizationState) const;
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return true; }
  [[nodiscard]] bool appendBatchBarrier() const override { return true; }
  [[nodiscard]] bool isStateModified() const override { return true; }
  /// There is no result image.
  void encode() = delete;

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::BinaryEncoding& encoding) const override;
  [[nodiscard]] bool writes_destination() const override { return false; }

 private:
  NNNeuronDescriptor neuron_;
  Buffer slopes_;
};

/// dx = gamma/s * (g' - (gradientForBeta + xh*gradientForGamma)/m), g' = g * f'(gamma*xh + beta), m
/// the samples of the whole batch; dx = gamma/s * g' where no statistics were computed. Every part
/// of the batch must have passed CNNBatchNormalizationStatisticsGradient before.
class CNNBatchNormalizationGradient final
    : public KernelOf<CNNGradientKernel, BatchNormalizationGradient> {
 public:
  /// The neuron fused into the forward kernel.
  explicit CNNBatchNormalizationGradient(const Device& device,
                                         const NNNeuronDescriptor& fusedNeuronDescriptor = {});
  CNNBatchNormalizationGradient(Coder& coder, const Device& device) : KernelOf(device) {
    read(coder);
  }
  [[nodiscard]] CNNBatchNormalizationGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  /// Each call uses up one read of a temporary state.
  void encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
              const Image& sourceImage,
              const CNNBatchNormalizationStatePtr& batchNormalizationState,
              const Image& destinationGradient) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages,
                   const CNNBatchNormalizationStatePtr& batchNormalizationState,
                   const ImageBatch& destinationGradients) const;
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer, const Image& sourceGradient,
                             const Image& sourceImage,
                             const CNNBatchNormalizationStatePtr& batchNormalizationState);
  [[nodiscard]] ImageBatch encodeBatch(
      const CommandBuffer& commandBuffer, const ImageBatch& sourceGradients,
      const ImageBatch& sourceImages, const CNNBatchNormalizationStatePtr& batchNormalizationState);
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return true; }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::BinaryEncoding& encoding) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;

 private:
  const CNNBatchNormalizationState& check_state(const State* state) const;
  NNNeuronDescriptor neuron_;
  Buffer slopes_;
};

using BatchNormalizationKernels =
    TypeList<CNNBatchNormalizationStatistics, CNNBatchNormalization,
             CNNBatchNormalizationStatisticsGradient, CNNBatchNormalizationGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
