#pragma once
// Convolution, fully connected, their gradients, states and data source (spec: convolution).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"
#include "cermet/ops/window.h"

namespace cermet {

/// z = bias[k] + sum of weights[k][q][p][c] * source(window), then the activation.
/// Channel k belongs to group k / (K/groups); depthwise convolution is groups = C.
struct Convolution {
  static constexpr std::string_view name = "CNNConvolution";
  enum Slot { source, weights, biases, slopes, destination };  // biases, slopes may be absent
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::read,
                                     Access::write};
  Window window{};
  std::int32_t groups = 1;
  Activation activation{};
  /// 1: the factors of products may be rounded to TF32 (11 significant bits); sums stay float32.
  std::int32_t reducedPrecision = 0;
};

/// destination[u][c] = sum of weights[k][q][p][c] * gradient[j][i][k] over all outputs and taps
/// that read source value (u, c): the exact adjoint. Every destination pixel is written.
struct ConvolutionGradientData {
  static constexpr std::string_view name = "CNNConvolutionGradient.data";
  enum Slot { gradient, weights, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Convolution forward{};
};

/// weightGradient[k][q][p][c] (+)= sum over n, j, i of gradient * source(window); biasGradient[k]
/// (+)= sum of gradient. Sums over the batch, never means.
struct ConvolutionGradientWeights {
  static constexpr std::string_view name = "CNNConvolutionGradient.weights";
  enum Slot { gradient, source, weightGradient, biasGradient };
  static constexpr std::array access{Access::read, Access::read, Access::update, Access::update};
  Convolution forward{};
  std::int32_t accumulate = 0;  // 0: overwrite, 1: add
};

/// destination(n, y, x, m) = source(n, y/r, x/r, M*(r*(y mod r) + x mod r) + m): M*r*r channels
/// become r x r pixels of M channels.
struct SubPixel {
  static constexpr std::string_view name = "CNNConvolution.subPixel";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  std::int32_t scaleFactor = 1;
};

using ConvolutionOperators =
    TypeList<Convolution, ConvolutionGradientData, ConvolutionGradientWeights, SubPixel>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <memory>
#include <optional>
#include <vector>

#include "cermet/cnn/kernel.h"
#include "cermet/cnn/neuron.h"

namespace cermet {

class CNNConvolution;
class CNNConvolutionGradientState;
class CNNConvolutionWeightsAndBiasesState;
namespace detail {
struct ConvolutionWeights;
struct ConvolutionShape;
}  // namespace detail

enum class CNNConvolutionFlags : unsigned { None = 0 };
enum class CNNConvolutionWeightsLayout : std::uint32_t { OHWI = 0 };
enum class CNNWeightsQuantizationType : std::uint32_t { None = 0, Linear = 1, LookupTable = 2 };
enum class CNNConvolutionGradientOption : unsigned {
  GradientWithData = 1,
  GradientWithWeightsAndBias = 2,
  All = 3
};
enum class NNConvolutionAccumulatorPrecisionOption : unsigned { Half = 0, Float = 1 };

/// Describes a convolution. Kernels take a snapshot when they are made.
class CNNConvolutionDescriptor {
 public:
  CNNConvolutionDescriptor() = default;
  /// Reads what encodeWithCoder wrote; FileError otherwise.
  explicit CNNConvolutionDescriptor(Coder& coder);
  virtual ~CNNConvolutionDescriptor() = default;
  /// Archives everything but the object in `neuron`.
  void encodeWithCoder(Coder& coder) const;
  [[nodiscard]] static bool supportsSecureCoding() { return true; }
  /// Throws InvalidArgument where an argument is 0.
  [[nodiscard]] static std::shared_ptr<CNNConvolutionDescriptor> cnnConvolutionDescriptor(
      std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
      std::size_t outputFeatureChannels);
  /// Deprecated: with a neuron after the convolution, or none.
  [[nodiscard]] static std::shared_ptr<CNNConvolutionDescriptor> cnnConvolutionDescriptor(
      std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
      std::size_t outputFeatureChannels, const CNNNeuron* neuronFilter);

  [[nodiscard]] std::size_t kernelWidth() const { return kernel_width_; }
  void setKernelWidth(std::size_t width) { kernel_width_ = width; }
  [[nodiscard]] std::size_t kernelHeight() const { return kernel_height_; }
  void setKernelHeight(std::size_t height) { kernel_height_ = height; }
  [[nodiscard]] std::size_t inputFeatureChannels() const { return input_channels_; }
  void setInputFeatureChannels(std::size_t channels) { input_channels_ = channels; }
  [[nodiscard]] std::size_t outputFeatureChannels() const { return output_channels_; }
  void setOutputFeatureChannels(std::size_t channels) { output_channels_ = channels; }
  [[nodiscard]] std::size_t strideInPixelsX() const { return stride_x_; }
  void setStrideInPixelsX(std::size_t stride) { stride_x_ = stride; }
  [[nodiscard]] std::size_t strideInPixelsY() const { return stride_y_; }
  void setStrideInPixelsY(std::size_t stride) { stride_y_ = stride; }
  /// Must divide both channel counts; any divisor is accepted. Default 1.
  [[nodiscard]] std::size_t groups() const { return groups_; }
  void setGroups(std::size_t groups) { groups_ = groups; }
  [[nodiscard]] std::size_t dilationRateX() const { return dilation_x_; }
  void setDilationRateX(std::size_t rate) { dilation_x_ = rate; }
  [[nodiscard]] std::size_t dilationRateY() const { return dilation_y_; }
  void setDilationRateY(std::size_t rate) { dilation_y_ = rate; }
  /// The activation after bias and batch normalisation. Default type None.
  [[nodiscard]] const NNNeuronDescriptor& fusedNeuronDescriptor() const { return neuron_; }
  void setFusedNeuronDescriptor(NNNeuronDescriptor descriptor) {
    neuron_ = std::move(descriptor);
    neuron_object_ = nullptr;
  }
  /// Deprecated: the same as a kernel. Null unless set by `setNeuron` since the descriptor was.
  [[nodiscard]] const std::shared_ptr<const CNNNeuron>& neuron() const { return neuron_object_; }
  /// Null: no neuron.
  void setNeuron(std::shared_ptr<const CNNNeuron> neuron);

  /// Folds a batch normalisation into weights and biases, for inference: w' = w*I, b' = b*I + J
  /// with I = gamma/sqrt(variance + epsilon), J = beta - I*mean. Null: gamma 1, beta 0, mean 0,
  /// variance 1 (with epsilon 0); all null removes the folding. Copies `outputFeatureChannels`
  /// floats of each.
  void setBatchNormalizationParametersForInference(const float* mean, const float* variance,
                                                   const float* gamma, const float* beta,
                                                   float epsilon);

  // Deprecated spellings.
  void setNeuronType(CNNNeuronType neuronType, float parameterA, float parameterB);
  [[nodiscard]] CNNNeuronType neuronType() const { return neuron_.neuronType(); }
  [[nodiscard]] float neuronParameterA() const { return neuron_.a(); }
  [[nodiscard]] float neuronParameterB() const { return neuron_.b(); }
  /// One slope for each output channel.
  void setNeuronToPReLUWithParametersA(std::span<const float> a);

  /// Filters for each input channel of a depthwise convolution; 0 for any other.
  [[nodiscard]] virtual std::size_t channelMultiplier() const { return 0; }

  /// Pixels along each axis that the channels of one become; 1 for any other descriptor.
  [[nodiscard]] virtual std::size_t subPixelScaleFactor() const { return 1; }

  /// Per output channel: factors and addends of a folded batch normalisation; empty without one.
  struct Folding {
    std::vector<float> factor, addend;
  };
  [[nodiscard]] const Folding& folding() const { return folding_; }
  /// Lists the fields to a coder.
  virtual void code(Coder& coder);

 protected:
  [[nodiscard]] virtual std::string_view archive_name() const { return "CNNConvolutionDescriptor"; }

 private:
  std::size_t kernel_width_ = 3, kernel_height_ = 3, input_channels_ = 1, output_channels_ = 1;
  std::size_t stride_x_ = 1, stride_y_ = 1, groups_ = 1, dilation_x_ = 1, dilation_y_ = 1;
  NNNeuronDescriptor neuron_;
  std::shared_ptr<const CNNNeuron> neuron_object_;
  Folding folding_;
};

/// One filter, or M, for each input channel: out[c*M + m] = corr(in[c], w[c*M + m]). Weights are
/// [C*M][kH][kW]; groups must be 1.
class CNNDepthWiseConvolutionDescriptor final : public CNNConvolutionDescriptor {
 public:
  CNNDepthWiseConvolutionDescriptor() = default;
  explicit CNNDepthWiseConvolutionDescriptor(Coder& coder);
  [[nodiscard]] static std::shared_ptr<CNNDepthWiseConvolutionDescriptor> cnnConvolutionDescriptor(
      std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
      std::size_t outputFeatureChannels);
  [[nodiscard]] std::size_t channelMultiplier() const override {
    return outputFeatureChannels() / inputFeatureChannels();
  }

 protected:
  [[nodiscard]] std::string_view archive_name() const override {
    return "CNNDepthWiseConvolutionDescriptor";
  }
};

/// A convolution whose outputFeatureChannels = M*r*r results at a pixel become r x r pixels of M
/// channels, r the scale factor: result(y, x, m) = z(y/r, x/r, M*(r*(y mod r) + x mod r) + m).
/// Bias, batch normalisation and neuron are those of the channels of z. For inference: there is no
/// gradient (spec: convolution 2.3).
class CNNSubPixelConvolutionDescriptor final : public CNNConvolutionDescriptor {
 public:
  CNNSubPixelConvolutionDescriptor() = default;
  explicit CNNSubPixelConvolutionDescriptor(Coder& coder);
  [[nodiscard]] static std::shared_ptr<CNNSubPixelConvolutionDescriptor> cnnConvolutionDescriptor(
      std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
      std::size_t outputFeatureChannels);
  /// r; its square divides outputFeatureChannels. Default 1.
  [[nodiscard]] std::size_t subPixelScaleFactor() const override { return scale_; }
  void setSubPixelScaleFactor(std::size_t factor) { scale_ = factor; }
  void code(Coder& coder) override;

 protected:
  [[nodiscard]] std::string_view archive_name() const override {
    return "CNNSubPixelConvolutionDescriptor";
  }

 private:
  std::size_t scale_ = 1;
};

/// Owns the weights and hands them out on demand. `load` comes before any other call and is
/// balanced by one `purge`; pointers are not used after it. `copy` of a kernel asks for a copy of
/// its source, nothing else does (spec: convolution 3). Archives hold the weights themselves unless
/// the source can be archived and has the same.
class CNNConvolutionDataSource : public Codable {
 public:
  /// Float32, Float16 or UInt8.
  [[nodiscard]] virtual DataType dataType() const = 0;
  [[nodiscard]] virtual std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const = 0;
  /// Elements `[output][kernelHeight][kernelWidth][input / groups]`; depthwise without the last
  /// axis.
  [[nodiscard]] virtual const void* weights() = 0;
  /// One float for each output channel, or null: no bias.
  [[nodiscard]] virtual const float* biasTerms() = 0;
  /// False makes the construction of a kernel fail.
  [[nodiscard]] virtual bool load() = 0;
  virtual void purge() = 0;
  [[nodiscard]] virtual std::string label() const = 0;

  /// For UInt8 weights, Linear: {minimum, maximum} of each output channel.
  [[nodiscard]] virtual const std::array<float, 2>* rangesForUInt8Kernel() { return nullptr; }
  /// For UInt8 weights, LookupTable: the value of each of the 256 codes.
  [[nodiscard]] virtual const float* lookupTableForUInt8Kernel() { return nullptr; }
  [[nodiscard]] virtual CNNWeightsQuantizationType weightsQuantizationType() const {
    return CNNWeightsQuantizationType::None;
  }
  [[nodiscard]] virtual CNNConvolutionWeightsLayout weightsLayout() const {
    return CNNConvolutionWeightsLayout::OHWI;
  }
  /// Float16 rounds the weights to half precision once, at load. Absent: the source's own
  /// precision; see half_weights_when_unspecified.
  [[nodiscard]] virtual std::optional<DataType> kernelWeightsDataType() const {
    return std::nullopt;
  }

  /// Called by a graph right after the layer's gradient was encoded: encode the update on
  /// `commandBuffer` and return the new parameters; null leaves them as they are.
  virtual std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer& /*commandBuffer*/,
      const std::shared_ptr<CNNConvolutionGradientState>& /*gradientState*/,
      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& /*sourceState*/) {
    return nullptr;
  }
  /// Called from the completed handler where the node's training style asks for the CPU; true: the
  /// source has new values and kernels reload from it.
  virtual bool update(const std::shared_ptr<CNNConvolutionGradientState>& /*gradientState*/,
                      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& /*sourceState*/) {
    return false;
  }
  /// A source for another device; null: share this one.
  [[nodiscard]] virtual std::shared_ptr<CNNConvolutionDataSource> copy(
      const Device& /*device*/) const {
    return nullptr;
  }
};

/// Whether weights are rounded to half precision where a data source's `kernelWeightsDataType` is
/// absent, as the original does it, instead of keeping the source's own precision (spec:
/// convolution 3(6)). A setting of the process: of all kernels, graphs and recurrent layers for
/// inference that load weights from then on. Default false.
[[nodiscard]] bool half_weights_when_unspecified();
void set_half_weights_when_unspecified(bool half);

/// Weights and biases as float32 buffers in the data source's order.
class CNNConvolutionWeightsAndBiasesState final : public State {
 public:
  /// Exact-size buffers; `biases` may be nil.
  CNNConvolutionWeightsAndBiasesState(Buffer weights, Buffer biases);
  CNNConvolutionWeightsAndBiasesState(const Device& device,
                                      const CNNConvolutionDescriptor& cnnConvolutionDescriptor);
  /// Parts of buffers; offsets are bytes, multiples of 4. Throws where a part does not fit.
  CNNConvolutionWeightsAndBiasesState(Buffer weights, std::size_t weightsOffset, Buffer biases,
                                      std::size_t biasesOffset,
                                      const CNNConvolutionDescriptor& cnnConvolutionDescriptor);
  [[nodiscard]] static std::shared_ptr<CNNConvolutionWeightsAndBiasesState>
  temporaryCNNConvolutionWeightsAndBiasesState(
      const CommandBuffer& commandBuffer, const CNNConvolutionDescriptor& cnnConvolutionDescriptor);
  CNNConvolutionWeightsAndBiasesState(const detail::StateOrigin& origin, std::size_t weights,
                                      std::size_t biases);

  [[nodiscard]] Buffer weights() { return buffer(0); }
  /// Nil where there are none.
  [[nodiscard]] Buffer biases() { return has_biases_ ? buffer(1) : Buffer(); }
  [[nodiscard]] std::size_t weightsOffset() const { return weights_offset_; }
  [[nodiscard]] std::size_t biasesOffset() const { return biases_offset_; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNConvolutionWeightsAndBiasesState";
  }
  /// Number of weights and of biases.
  [[nodiscard]] std::size_t weight_count() const { return weight_count_; }
  [[nodiscard]] std::size_t bias_count() const { return bias_count_; }

 private:
  std::size_t weights_offset_ = 0, biases_offset_ = 0, weight_count_ = 0, bias_count_ = 0;
  bool has_biases_ = true;
};

/// Links a forward convolution with its gradient and receives the gradients of its parameters: sums
/// over all images of the batch and all sub-batches. One state serves one batch: the first gradient
/// encode overwrites, later ones add (spec: convolution 6).
class CNNConvolutionGradientState : public NNGradientState, public ImageSizeEncodingState {
 public:
  CNNConvolutionGradientState(const detail::StateOrigin& origin, const CNNConvolution& convolution);

  /// Float32, in the order of the data source's weights.
  [[nodiscard]] Buffer gradientForWeights() { return buffer(0); }
  [[nodiscard]] Buffer gradientForBiases() { return buffer(1); }
  [[nodiscard]] CNNConvolutionWeightsLayout gradientForWeightsLayout() const {
    return CNNConvolutionWeightsLayout::OHWI;
  }
  /// The kernel that made the state; valid while that kernel exists.
  [[nodiscard]] const CNNConvolution* convolution() const { return convolution_; }
  [[nodiscard]] std::size_t sourceWidth() const override { return forward().sourceWidth; }
  [[nodiscard]] std::size_t sourceHeight() const override { return forward().sourceHeight; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNConvolutionGradientState";
  }
  /// Also places a transposed convolution that undoes this one.
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor) override;

  // For kernels.
  [[nodiscard]] std::size_t weight_count() const { return weight_count_; }
  [[nodiscard]] std::size_t bias_count() const { return bias_count_; }
  struct Accumulator {
    Buffer weights, biases;
    bool accumulate = false;  // false: nothing was written yet
  };
  [[nodiscard]] Accumulator begin_gradient();

 protected:
  CNNConvolutionGradientState(const detail::StateOrigin& origin, const CNNConvolution* convolution,
                              std::size_t weights, std::size_t biases);
  void set_convolution(const CNNConvolution* convolution) { convolution_ = convolution; }

 private:
  const CNNConvolution* convolution_;
  std::size_t weight_count_, bias_count_;
  bool written_ = false;
};
using CNNConvolutionGradientStateBatch = StateBatch;

/// A convolution with its fused neuron, a correlation without flip. z[n][j][i][k] = b[k] + sum over
/// q, p, c of w[k][q][p][c] * source(n, s*j + oy - DH/2 + d*q, s*i + ox - DW/2 + d*p, g(k)*C/G +
/// c), then the neuron; `offset` is the centre of the first window (spec: convolution 5).
class CNNConvolution : public KernelOf<CNNKernel, Convolution> {
 public:
  /// Throws InvalidArgument where the descriptor is invalid or `load` answers false.
  CNNConvolution(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// Deprecated: float weights without a data source, rounded to half precision; not for training.
  CNNConvolution(const Device& device, const CNNConvolutionDescriptor& convolutionDescriptor,
                 const float* kernelWeights, const float* biasTerms, CNNConvolutionFlags flags);
  /// Without a data source where the archive holds the weights alone.
  CNNConvolution(Coder& coder, const Device& device) : CNNConvolution(device) { read(coder); }
  CNNConvolution(const CNNConvolution&) = default;
  CNNConvolution& operator=(const CNNConvolution&) = default;
  ~CNNConvolution() override = default;
  [[nodiscard]] CNNConvolution copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] std::size_t inputFeatureChannels() const;
  [[nodiscard]] std::size_t outputFeatureChannels() const;
  [[nodiscard]] std::size_t groups() const;
  [[nodiscard]] std::size_t subPixelScaleFactor() const;
  /// Filters for each input channel; 0: not depthwise.
  [[nodiscard]] std::size_t channelMultiplier() const;
  [[nodiscard]] const NNNeuronDescriptor& fusedNeuronDescriptor() const;
  /// Deprecated: a new kernel with the fused neuron; null where there is none.
  [[nodiscard]] std::shared_ptr<CNNNeuron> neuron() const;
  [[nodiscard]] CNNNeuronType neuronType() const { return fusedNeuronDescriptor().neuronType(); }
  [[nodiscard]] float neuronParameterA() const { return fusedNeuronDescriptor().a(); }
  [[nodiscard]] float neuronParameterB() const { return fusedNeuronDescriptor().b(); }
  [[nodiscard]] float neuronParameterC() const { return fusedNeuronDescriptor().c(); }
  [[nodiscard]] const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const {
    return source_;
  }
  /// A hint: products always accumulate in float32. Default Float.
  [[nodiscard]] NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption() const {
    return accumulator_;
  }
  void setAccumulatorPrecisionOption(NNConvolutionAccumulatorPrecisionOption option) {
    accumulator_ = option;
  }
  [[nodiscard]] std::size_t kernelWidth() const override;
  [[nodiscard]] std::size_t kernelHeight() const override;
  [[nodiscard]] std::size_t strideInPixelsX() const override;
  [[nodiscard]] std::size_t strideInPixelsY() const override;
  [[nodiscard]] std::size_t dilationRateX() const override;
  [[nodiscard]] std::size_t dilationRateY() const override;
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return true; }

  /// Reads weights and biases again, at once; work already encoded keeps the old ones.
  void reloadWeightsAndBiasesFromDataSource();
  /// Deprecated; the argument is ignored.
  void reloadWeightsAndBiases(const std::shared_ptr<CNNConvolutionDataSource>&) {
    reloadWeightsAndBiasesFromDataSource();
  }
  /// Copies from the state in command buffer order; reads the state once. Without biases in the
  /// state the present ones stay.
  void reloadWeightsAndBiases(const CommandBuffer& commandBuffer,
                              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state);
  /// A float32 copy of the present parameters; permanent unless a temporary is allowed.
  [[nodiscard]] std::shared_ptr<CNNConvolutionWeightsAndBiasesState> exportWeightsAndBiases(
      const CommandBuffer& commandBuffer, bool resultStateCanBeTemporary) const;

  // For graphs: what a gradient kernel may share.
  [[nodiscard]] const std::shared_ptr<detail::ConvolutionWeights>& parameters() const {
    return weights_;
  }

 protected:
  /// For subclasses that read themselves from a coder.
  explicit CNNConvolution(const Device& device) : KernelOf(device) {}
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;
  [[nodiscard]] Channels channels(std::size_t available) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
  /// Left and top pads for the present properties.
  [[nodiscard]] virtual Window window() const;

  std::shared_ptr<const detail::ConvolutionShape> shape_;

 private:
  std::shared_ptr<CNNConvolutionDataSource> source_;
  std::shared_ptr<detail::ConvolutionWeights> weights_;
  NNConvolutionAccumulatorPrecisionOption accumulator_ =
      NNConvolutionAccumulatorPrecisionOption::Float;
  mutable detail::StepMemo sub_pixel_memo_;
};

/// Gradients of a convolution: of the data into an image, of weights and biases into the state
/// (spec: convolution 7). The incoming gradient is that of the result before any fused neuron, as
/// large as the forward clip rectangle. Keeps its own copy of the weights.
class CNNConvolutionGradient : public KernelOf<CNNGradientKernel, ConvolutionGradientData> {
 public:
  CNNConvolutionGradient(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  /// The weights come from the archive or from the archived data source. Where it holds neither,
  /// there are none until a reload, and data gradients are refused.
  CNNConvolutionGradient(Coder& coder, const Device& device) : CNNConvolutionGradient(device) {
    read(coder);
  }
  CNNConvolutionGradient(const CNNConvolutionGradient&) = default;
  CNNConvolutionGradient& operator=(const CNNConvolutionGradient&) = default;
  ~CNNConvolutionGradient() override = default;
  [[nodiscard]] CNNConvolutionGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] std::string_view class_name() const override { return "CNNConvolutionGradient"; }
  [[nodiscard]] std::size_t sourceGradientFeatureChannels() const;
  [[nodiscard]] std::size_t sourceImageFeatureChannels() const;
  [[nodiscard]] std::size_t groups() const;
  [[nodiscard]] std::size_t channelMultiplier() const;
  [[nodiscard]] const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const {
    return source_;
  }
  /// What an encode computes. Default All. Without data the destination is not written; encodes
  /// that return it return zeros.
  [[nodiscard]] CNNConvolutionGradientOption gradientOption() const { return option_; }
  void setGradientOption(CNNConvolutionGradientOption option) { option_ = option; }
  /// Deprecated: whether an archive holds the weights. Default false: they are loaded from the data
  /// source, if it could be archived, or reloaded by the caller.
  [[nodiscard]] bool serializeWeightsAndBiases() const { return serialize_; }
  void setSerializeWeightsAndBiases(bool serialize) { serialize_ = serialize; }
  /// Whether taps that a forward encode with edge mode Clamp took from the edge give nothing to the
  /// data gradient, as the construction that the original documents has it (ours). Default false:
  /// the exact adjoint, which gives it to the edge pixel (spec: convolution 7.3). Weight gradients
  /// are the same in both cases.
  [[nodiscard]] bool clamp_gradient_drops_edge() const { return drops_edge_; }
  void set_clamp_gradient_drops_edge(bool drop) { drops_edge_ = drop; }
  [[nodiscard]] bool isStateModified() const override { return true; }

  void reloadWeightsAndBiasesFromDataSource();
  void reloadWeightsAndBiases(const CommandBuffer& commandBuffer,
                              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state);

  void apply(const ForwardRecord& forward) override;
  [[nodiscard]] const std::shared_ptr<detail::ConvolutionWeights>& parameters() const {
    return weights_;
  }
  // For graphs: uses a forward kernel's parameters instead of an own copy, and reloads them for
  // both.
  void share_parameters(std::shared_ptr<detail::ConvolutionWeights> weights) {
    weights_ = std::move(weights);
  }
  void reload_shared(const CommandBuffer& commandBuffer,
                     const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state);

 protected:
  /// For subclasses that read themselves from a coder.
  explicit CNNConvolutionGradient(const Device& device) : KernelOf(device) {}
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::BinaryEncoding& encoding) const override;
  [[nodiscard]] Channels channels(std::size_t primary, std::size_t secondary) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  [[nodiscard]] bool writes_destination() const override { return computes(1); }
  /// Windows of the data gradient and of the weight gradient for the present properties.
  [[nodiscard]] virtual Window data_window() const;
  [[nodiscard]] virtual Window weights_window() const;

  std::shared_ptr<const detail::ConvolutionShape> shape_;

 private:
  [[nodiscard]] bool computes(unsigned bit) const {
    return (static_cast<unsigned>(option_) & bit) != 0;
  }
  std::shared_ptr<CNNConvolutionDataSource> source_;
  std::shared_ptr<detail::ConvolutionWeights> weights_;
  CNNConvolutionGradientOption option_ = CNNConvolutionGradientOption::All;
  bool serialize_ = false, drops_edge_ = false;
  mutable detail::StepMemo weights_memo_;
};

/// A convolution whose window is the whole source and whose result is one pixel; `offset` is
/// ignored. Out[n][k] = neuron(b[k] + sum of w[k][y][x][c] * I[n][y][x][c]). Default padding: valid
/// only.
class CNNFullyConnected : public CNNConvolution {
 public:
  CNNFullyConnected(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights);
  CNNFullyConnected(const Device& device, const CNNConvolutionDescriptor& convolutionDescriptor,
                    const float* kernelWeights, const float* biasTerms, CNNConvolutionFlags flags);
  CNNFullyConnected(Coder& coder, const Device& device) : CNNConvolution(device) { read(coder); }
  [[nodiscard]] CNNFullyConnected copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNFullyConnected"; }

 protected:
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  [[nodiscard]] Window window() const override;
};

/// The gradient of a fully connected layer: dI[y][x][c] = sum over k of w[k][y][x][c] * E[k] into
/// an image; dW[k][y][x][c] += E[k] * I[y][x][c] and db[k] += E[k], summed over the batch, into the
/// state.
class CNNFullyConnectedGradient : public CNNConvolutionGradient {
 public:
  CNNFullyConnectedGradient(const Device& device,
                            std::shared_ptr<CNNConvolutionDataSource> weights);
  CNNFullyConnectedGradient(Coder& coder, const Device& device) : CNNConvolutionGradient(device) {
    read(coder);
  }
  [[nodiscard]] CNNFullyConnectedGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNFullyConnectedGradient"; }

 protected:
  [[nodiscard]] Window data_window() const override;
  [[nodiscard]] Window weights_window() const override;
};

using ConvolutionKernels =
    TypeList<CNNConvolution, CNNConvolutionGradient, CNNFullyConnected, CNNFullyConnectedGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
