#pragma once
// Transposed convolution, its gradient and state (spec: convolution 8).
//
// It is the data gradient of an adjoint convolution, whose weights are the rotated ones with their
// channel axes exchanged, v[c][kH-1-q][kW-1-p][k] = w[k][q][p][c]; its gradients are that
// convolution's forward and weight passes. So the passes are those of cnn/convolution.h, with the
// adjoint's weights as a copy of the kernel's own, and what follows here is the rest.

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// destination[g*C/G + c][kH-1-q][kW-1-p][k - g*K/G] (+)= source[k][q][p][c], g = k / (K/G):
/// weights to those of the adjoint, or back.
struct ConvolutionAdjointWeights {
  static constexpr std::string_view name = "CNNConvolutionTranspose.weights";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::update};
  std::int32_t groups = 1;
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

/// y = f(x + biases[c]).
struct ConvolutionTransposeBias {
  static constexpr std::string_view name = "CNNConvolutionTranspose.bias";
  enum Slot { source, biases, slopes, destination };  // biases and slopes may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  Activation activation{};
};

/// biasGradient[c] (+)= sum of gradient over all pixels of all images.
struct ConvolutionTransposeGradientBias {
  static constexpr std::string_view name = "CNNConvolutionTransposeGradient.bias";
  enum Slot { gradient, biasGradient };
  static constexpr std::array access{Access::read, Access::update};
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

using ConvolutionTransposeOperators =
    TypeList<ConvolutionAdjointWeights, ConvolutionTransposeBias, ConvolutionTransposeGradientBias>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <memory>

#include "cermet/cnn/convolution.h"

namespace cermet {

class CNNConvolutionTranspose;

/// What a transposed convolution leaves for its gradient. One state serves all images of one batch
/// and adds up, as CNNConvolutionGradientState does. It may have a partner: the state of the
/// convolution that is undone.
class CNNConvolutionTransposeGradientState final : public CNNConvolutionGradientState {
 public:
  CNNConvolutionTransposeGradientState(const detail::StateOrigin& origin,
                                       const CNNConvolutionTranspose& transpose);
  /// The kernel that made the state; valid while that kernel exists. `convolution` is the one that
  /// made the partner's state, null without a partner.
  [[nodiscard]] const CNNConvolutionTranspose* convolutionTranspose() const { return transpose_; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNConvolutionTransposeGradientState";
  }

  // For kernels.
  [[nodiscard]] const std::shared_ptr<CNNConvolutionGradientState>& partner() const {
    return partner_;
  }
  void set_partner(std::shared_ptr<CNNConvolutionGradientState> partner);
  /// Where the forward encode put source pixel (0, 0) in the expanded image: offset * stride +
  /// kernelOffset.
  [[nodiscard]] Offset expanded_offset() const { return expanded_; }
  void set_expanded_offset(Offset offset) { expanded_ = offset; }

 private:
  const CNNConvolutionTranspose* transpose_;
  std::shared_ptr<CNNConvolutionGradientState> partner_;
  Offset expanded_;
};
using CNNConvolutionTransposeGradientStateBatch = StateBatch;

/// A transposed convolution, which undoes the strides of a convolution. z[n][y][x][k] = b[k] + sum
/// over q, p, c of w[k][q][p][c] * Z(n, y + t - DH/2 + d*q, x + t - DW/2 + d*p, g(k)*C/G + c), then
/// the fused neuron; Z is the source with stride-1 zeros between its
/// pixels, 0 outside, and t = offset * stride + kernelOffset. The weights are not rotated. Sized by
/// a padding policy the result has (source-1)*stride + 1 + s*(D-1) pixels, s = -1 valid, 0 same, 1
/// full, or with the gradient state of a convolution the size of that one's source; both set
/// kernelOffset, and offset to 0. `edgeMode` plays no role.
class CNNConvolutionTranspose final : public Concrete<CNNConvolutionTranspose, CNNKernel> {
 public:
  /// Throws InvalidArgument where the descriptor is invalid or depthwise, or `load` answers false.
  CNNConvolutionTranspose(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// Without a data source where the archive holds the weights alone.
  CNNConvolutionTranspose(Coder& coder, const Device& device) : Concrete(device) { read(coder); }

  [[nodiscard]] std::size_t inputFeatureChannels() const;
  [[nodiscard]] std::size_t outputFeatureChannels() const;
  [[nodiscard]] std::size_t groups() const;
  /// Offset in the expanded image. Default 0.
  [[nodiscard]] std::ptrdiff_t kernelOffsetX() const { return kernel_offset_.x; }
  void setKernelOffsetX(std::ptrdiff_t offset) { kernel_offset_.x = offset; }
  [[nodiscard]] std::ptrdiff_t kernelOffsetY() const { return kernel_offset_.y; }
  void setKernelOffsetY(std::ptrdiff_t offset) { kernel_offset_.y = offset; }
  /// A hint: products always accumulate in float32. Default Float.
  [[nodiscard]] NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption() const {
    return accumulator_;
  }
  void setAccumulatorPrecisionOption(NNConvolutionAccumulatorPrecisionOption option) {
    accumulator_ = option;
  }
  [[nodiscard]] const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const {
    return source_;
  }
  [[nodiscard]] std::size_t kernelWidth() const override;
  [[nodiscard]] std::size_t kernelHeight() const override;
  [[nodiscard]] std::size_t strideInPixelsX() const override;
  [[nodiscard]] std::size_t strideInPixelsY() const override;
  [[nodiscard]] std::size_t dilationRateX() const override;
  [[nodiscard]] std::size_t dilationRateY() const override;
  [[nodiscard]] bool isBackwards() const override { return true; }
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return true; }

  /// Reads weights and biases again, at once; work already encoded keeps the old ones.
  void reloadWeightsAndBiasesFromDataSource();
  /// Copies from the state in command buffer order; reads the state once. Without biases in the
  /// state the present ones stay.
  void reloadWeightsAndBiases(const CommandBuffer& commandBuffer,
                              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state);
  /// A float32 copy of the present parameters; permanent unless a temporary is allowed.
  [[nodiscard]] std::shared_ptr<CNNConvolutionWeightsAndBiasesState> exportWeightsAndBiases(
      const CommandBuffer& commandBuffer, bool resultStateCanBeTemporary) const;

  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  /// Sized and placed by the state of the convolution that is undone, if there is one; reads it
  /// once.
  [[nodiscard]] Image encode(
      const CommandBuffer& commandBuffer, const Image& sourceImage,
      const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState);
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages,
                                       const StateBatch& convolutionGradientStates);
  /// The same into a given destination. A CNNConvolutionTransposeGradientState is the result state
  /// of this encode, and its partner, if it was made with one, places it.
  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
              const Image& destinationImage) const;
  void encode(const CommandBuffer& commandBuffer, const Image& sourceImage,
              const std::shared_ptr<CNNConvolutionTransposeGradientState>& destinationState,
              const Image& destinationImage) const;
  void encodeBatch(const CommandBuffer& commandBuffer, const ImageBatch& sourceImages,
                   const StateBatch& states, const ImageBatch& destinationImages) const;
  /// Training: also makes the result state.
  template <class S>
  [[nodiscard]] Image encode(
      const CommandBuffer& commandBuffer, const Image& sourceImage,
      const std::shared_ptr<CNNConvolutionGradientState>& convolutionGradientState,
      std::shared_ptr<S>* destinationState, bool destinationStateIsTemporary) {
    StateBatch states;
    const StateBatch partners =
        convolutionGradientState ? StateBatch::repeated(convolutionGradientState, 1) : StateBatch();
    const ImageBatch result =
        encodeBatch(commandBuffer, {sourceImage}, partners, &states, destinationStateIsTemporary);
    if (destinationState != nullptr) *destinationState = states.empty() ? nullptr : states.at<S>(0);
    return result.front();
  }
  [[nodiscard]] ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                                       const ImageBatch& sourceImages,
                                       const StateBatch& convolutionGradientStates,
                                       StateBatch* destinationStates,
                                       bool destinationStateIsTemporary);

  /// `sourceStates`: the gradient state of the convolution that is undone, or nothing.
  [[nodiscard]] StatePtr resultState(const Image& sourceImage,
                                     std::span<const StatePtr> sourceStates,
                                     const Image& destinationImage) const;
  [[nodiscard]] StatePtr temporaryResultState(const CommandBuffer& commandBuffer,
                                              const Image& sourceImage,
                                              std::span<const StatePtr> sourceStates,
                                              const Image& destinationImage) const;
  [[nodiscard]] StateBatch resultStateBatch(const ImageBatch& sourceImages,
                                            std::span<const StateBatch> sourceStates,
                                            const ImageBatch& destinationImages) const;
  [[nodiscard]] StateBatch temporaryResultStateBatch(const CommandBuffer& commandBuffer,
                                                     const ImageBatch& sourceImages,
                                                     std::span<const StateBatch> sourceStates,
                                                     const ImageBatch& destinationImages) const;

  // For states.
  [[nodiscard]] std::size_t weight_count() const;

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  [[nodiscard]] Channels channels(std::size_t available) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;

 private:
  /// The one state of the batch; null: there is none.
  [[nodiscard]] std::shared_ptr<CNNConvolutionGradientState> partner_of(
      const StateBatch& convolutionGradientStates, std::size_t images) const;
  [[nodiscard]] StateBatch with_partner(StateBatch states,
                                        std::span<const StateBatch> sourceStates) const;

  std::shared_ptr<const detail::ConvolutionShape> shape_;
  std::shared_ptr<CNNConvolutionDataSource> source_;
  std::shared_ptr<detail::ConvolutionWeights> weights_;
  Offset kernel_offset_;
  NNConvolutionAccumulatorPrecisionOption accumulator_ =
      NNConvolutionAccumulatorPrecisionOption::Float;
  mutable std::shared_ptr<CNNConvolutionGradientState> partner_;  // of the present encode
  mutable detail::StepMemo memo_, bias_memo_;
};

/// Gradients of a transposed convolution. dS[n][j][i][c] = sum over k, q, p of w[k][q][p][c] *
/// E(n, s*j - t + DH/2 - d*q, s*i - t + DW/2 - d*p, k) into an image; dW[k][q][p][c] += sum of S *
/// E over the same pairs and db[k] += sum of E into the state, which must be given: geometry and
/// offsets come from it. The incoming gradient is that of the result before any fused neuron.
/// Destination pixel d is the gradient of source pixel d + secondaryOffset. Keeps its own copy of
/// the weights.
class CNNConvolutionTransposeGradient final
    : public Concrete<CNNConvolutionTransposeGradient, CNNGradientKernel> {
 public:
  /// Throws InvalidArgument where the descriptor is invalid or depthwise, or `load` answers false.
  CNNConvolutionTransposeGradient(const Device& device,
                                  std::shared_ptr<CNNConvolutionDataSource> weights);
  /// Without a data source where the archive holds the weights alone.
  CNNConvolutionTransposeGradient(Coder& coder, const Device& device) : Concrete(device) {
    read(coder);
  }

  [[nodiscard]] std::size_t sourceGradientFeatureChannels() const;
  [[nodiscard]] std::size_t sourceImageFeatureChannels() const;
  [[nodiscard]] std::size_t groups() const;
  [[nodiscard]] const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const {
    return source_;
  }
  /// What an encode computes. Default All. Without data the destination is not written; encodes
  /// that return it return zeros.
  [[nodiscard]] CNNConvolutionGradientOption gradientOption() const { return option_; }
  void setGradientOption(CNNConvolutionGradientOption option) { option_ = option; }
  [[nodiscard]] bool isStateModified() const override { return true; }

  void reloadWeightsAndBiasesFromDataSource();
  void reloadWeightsAndBiases(const CommandBuffer& commandBuffer,
                              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state);

  void apply(const ForwardRecord& forward) override;

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::BinaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t secondary) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  [[nodiscard]] bool writes_destination() const override { return computes(1); }

 private:
  [[nodiscard]] bool computes(unsigned bit) const {
    return (static_cast<unsigned>(option_) & bit) != 0;
  }
  std::shared_ptr<const detail::ConvolutionShape> shape_;
  std::shared_ptr<CNNConvolutionDataSource> source_;
  std::shared_ptr<detail::ConvolutionWeights> weights_;
  CNNConvolutionGradientOption option_ = CNNConvolutionGradientOption::All;
  mutable detail::StepMemo data_memo_, weights_memo_, adjoint_memo_, bias_memo_;
};

using ConvolutionTransposeKernels =
    TypeList<CNNConvolutionTranspose, CNNConvolutionTransposeGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
