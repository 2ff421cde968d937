#pragma once
// Convolutions with weights of one bit, for inference (spec: convolution 10).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"
#include "cermet/ops/window.h"

namespace cermet {

/// What has one bit: the weights alone, or weights and inputs (spec: convolution 1).
enum class CNNBinaryConvolutionType : unsigned { BinaryWeights = 0, XNOR = 1, AND = 2 };
/// UseBetaScaling multiplies with the mean of |u| around each window.
enum class CNNBinaryConvolutionFlags : unsigned { None = 0, UseBetaScaling = 1 };

/// u = (source + inputBias[c]) * inputScale[c], also of what lies outside, whose source is the
/// window's edge value. z = acc * outputScale[k] * beta + outputBias[k], then the activation, with
/// the sums over the C channels of the window's taps:
///
///   BinaryWeights: acc = sum of u where the weight's bit is set, of -u where it is not
///   XNOR: acc = taps and channels where the bit is (u < 0 ? 0 : 1), less those where it is not
///   AND: acc = those where both bits are 1
///
/// beta: 1, or with `betaScaling` the mean of |u| over the channels and the kernelHeight *
/// kernelWidth pixels around the window's centre, undilated. weights: n = K, h = kH, w = kW, bytes
/// of 32-bit words, channel f being bit f % 32 of word f / 32; bits beyond C are 0.
struct BinaryConvolution {
  static constexpr std::string_view name = "CNNBinaryConvolution";
  enum Slot {
    source,
    weights,
    inputBias,  // absent together with inputScale: 0 and 1
    inputScale,
    outputBias,
    outputScale,
    slopes,  // may be absent
    destination
  };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::read, Access::read, Access::read, Access::write};
  Window window{};
  CNNBinaryConvolutionType type = CNNBinaryConvolutionType::BinaryWeights;
  std::int32_t betaScaling = 0;
  Activation activation{};
};

using BinaryConvolutionOperators = TypeList<BinaryConvolution>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <memory>
#include <vector>

#include "cermet/cnn/convolution.h"

namespace cermet {

/// Inference with weights of one bit, and inputs of one bit for XNOR and AND (spec: convolution
/// 10.1). The data source has UInt32 words `[K][kernelHeight][kernelWidth][ceil(C / 32)]`: input
/// channel f is bit f % 32, counted from the least significant one, of word f / 32, and 1 stands
/// for +1 (1 with AND), 0 for -1 (0). Bits beyond channel C do not count. `offset` is the centre of
/// the first window, as in CNNConvolution; stride, dilation, fused neuron and the batch
/// normalisation that is folded into the output terms come from the descriptor. Default padding:
/// valid only. Pixels outside are the edge mode's value, 0 or the nearest pixel, which then passes
/// through input bias, scale and the rounding to a bit like any other: 0 becomes bit 1.
class CNNBinaryConvolution : public KernelOf<CNNKernel, BinaryConvolution> {
 public:
  /// One scale for all; the biases are the data source's. Throws InvalidArgument where the
  /// descriptor is invalid, has groups or is depthwise, where the words are not UInt32 or absent,
  /// `load` answers false, or type or flags are unknown.
  CNNBinaryConvolution(const Device& device,
                       std::shared_ptr<CNNConvolutionDataSource> convolutionData, float scaleValue,
                       CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  /// One term for each output channel, and for each input channel; null: 0, 1, 0 and 1. The data
  /// source's biases are not used.
  CNNBinaryConvolution(const Device& device,
                       std::shared_ptr<CNNConvolutionDataSource> convolutionData,
                       const float* outputBiasTerms, const float* outputScaleTerms,
                       const float* inputBiasTerms, const float* inputScaleTerms,
                       CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  CNNBinaryConvolution(Coder& coder, const Device& device) : CNNBinaryConvolution(device) {
    read(coder);
  }
  CNNBinaryConvolution(const CNNBinaryConvolution&) = default;
  CNNBinaryConvolution& operator=(const CNNBinaryConvolution&) = default;
  ~CNNBinaryConvolution() override = default;
  [[nodiscard]] CNNBinaryConvolution copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] std::size_t inputFeatureChannels() const;
  [[nodiscard]] std::size_t outputFeatureChannels() const;
  /// Ours, as the following.
  [[nodiscard]] CNNBinaryConvolutionType type() const { return type_; }
  [[nodiscard]] CNNBinaryConvolutionFlags flags() const { return flags_; }
  [[nodiscard]] const NNNeuronDescriptor& fusedNeuronDescriptor() const;
  [[nodiscard]] std::size_t kernelWidth() const override;
  [[nodiscard]] std::size_t kernelHeight() const override;
  [[nodiscard]] std::size_t strideInPixelsX() const override;
  [[nodiscard]] std::size_t strideInPixelsY() const override;
  [[nodiscard]] std::size_t dilationRateX() const override;
  [[nodiscard]] std::size_t dilationRateY() const override;

 protected:
  /// The parameters of a kernel; empty input terms: none.
  struct Terms {
    std::vector<float> output_bias, output_scale, input_bias, input_scale;
  };
  /// For subclasses, which then `load`, or read themselves from a coder.
  explicit CNNBinaryConvolution(const Device& device) : KernelOf(device) {}
  /// The initialisers, in the name of `kernel`.
  void load(std::string_view kernel, CNNConvolutionDataSource* source, float scale,
            CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  void load(std::string_view kernel, CNNConvolutionDataSource* source, const float* output_bias,
            const float* output_scale, const float* input_bias, const float* input_scale,
            CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t available) const override;
  /// Left and top pads for the present properties.
  [[nodiscard]] virtual Window window() const;

  std::shared_ptr<const detail::ConvolutionShape> shape_;

 private:
  void load(std::string_view kernel, CNNConvolutionDataSource* source, Terms terms,
            const float* scale, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  /// Buffers on the device of this kernel.
  void build(const std::vector<std::uint32_t>& words, const Terms& terms);
  [[nodiscard]] std::size_t word_count() const;

  CNNBinaryConvolutionType type_ = CNNBinaryConvolutionType::BinaryWeights;
  CNNBinaryConvolutionFlags flags_ = CNNBinaryConvolutionFlags::None;
  Buffer words_, output_bias_, output_scale_, input_bias_, input_scale_, slopes_;
};

/// A binary convolution whose window is the whole source and whose result is one pixel; `offset` is
/// ignored (spec: convolution 9, 10.2). Default padding: valid only.
class CNNBinaryFullyConnected final : public CNNBinaryConvolution {
 public:
  CNNBinaryFullyConnected(const Device& device,
                          std::shared_ptr<CNNConvolutionDataSource> convolutionData,
                          float scaleValue, CNNBinaryConvolutionType type,
                          CNNBinaryConvolutionFlags flags);
  CNNBinaryFullyConnected(const Device& device,
                          std::shared_ptr<CNNConvolutionDataSource> convolutionData,
                          const float* outputBiasTerms, const float* outputScaleTerms,
                          const float* inputBiasTerms, const float* inputScaleTerms,
                          CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  CNNBinaryFullyConnected(Coder& coder, const Device& device) : CNNBinaryConvolution(device) {
    read(coder);
  }
  [[nodiscard]] CNNBinaryFullyConnected copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNBinaryFullyConnected"; }

 protected:
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  [[nodiscard]] Window window() const override;
};

using BinaryConvolutionKernels = TypeList<CNNBinaryConvolution, CNNBinaryFullyConnected>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
