#pragma once
// Rows of convolutions and fully connected layers: what they say and how they run.

#include <array>
#include <cmath>

#include "../oracle/convolution.h"
#include "cermet/cnn/convolution.h"
#include "device.h"
#include "random.h"
#include "subject.h"

namespace cermet::test {

/// How the data source holds its weights.
enum class Stored { float32, float16, uint8_linear, uint8_lookup, float32_as_half };

struct ConvolutionRow {
  Row row{};
  std::size_t kernelWidth = 3, kernelHeight = 3, outputFeatureChannels = 4;
  std::size_t inputFeatureChannels = 0;  // 0: all channels that can be read
  std::size_t strideInPixelsX = 1, strideInPixelsY = 1, dilationRateX = 1, dilationRateY = 1;
  std::size_t groups = 1;
  bool depthwise = false, biased = true, folded = false;
  Stored stored = Stored::float32;
  Activation neuron{};
  std::vector<float> slopes{};
  // Typed from the specification; empty: random, not given.
  std::vector<float> weights{}, biases{};
  std::vector<double> weight_gradient{}, bias_gradient{};
};

/// To eleven significant bits, ties to even: IEEE half precision without its limits.
inline double rounded_to_half(double value) {
  if (value == 0) return 0;
  const double step = std::ldexp(1.0, std::ilogb(value) - 10);
  return std::nearbyint(value / step) * step;
}

/// The parameters of a row: as the data source holds them, and as the specification reads them.
class RowWeights final : public CNNConvolutionDataSource {
 public:
  RowWeights(const ConvolutionRow& r, std::size_t inputs) : stored_(r.stored) {
    const std::size_t outputs = r.outputFeatureChannels;
    if (r.depthwise)
      descriptor_ = CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(
          r.kernelWidth, r.kernelHeight, inputs, outputs);
    else
      descriptor_ = CNNConvolutionDescriptor::cnnConvolutionDescriptor(
          r.kernelWidth, r.kernelHeight, inputs, outputs);
    descriptor_->setStrideInPixelsX(r.strideInPixelsX);
    descriptor_->setStrideInPixelsY(r.strideInPixelsY);
    descriptor_->setDilationRateX(r.dilationRateX);
    descriptor_->setDilationRateY(r.dilationRateY);
    descriptor_->setGroups(r.groups);
    if (r.neuron.type == CNNNeuronType::PReLU)
      descriptor_->setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronPReLUDescriptor(r.slopes));
    else
      descriptor_->setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronDescriptor(
          r.neuron.type, r.neuron.a, r.neuron.b, r.neuron.c));

    const std::size_t inputs_of_group = r.depthwise ? 1 : inputs / r.groups;
    const std::size_t count = outputs * r.kernelHeight * r.kernelWidth * inputs_of_group;
    real = oracle::filled(static_cast<int>(outputs), static_cast<int>(r.kernelHeight),
                          static_cast<int>(r.kernelWidth), static_cast<int>(inputs_of_group));
    floats_ = r.weights.empty() ? floats(count, 11) : r.weights;
    for (std::size_t i = 0; i < count; ++i) store(i, i / (count / outputs));
    if (r.biased) biases_ = r.biases.empty() ? floats(outputs, 12) : r.biases;
    real_biases.assign(biases_.begin(), biases_.end());
    if (r.folded) fold(outputs);
  }

  oracle::Tensor real;  // as the convolution multiplies with them
  std::vector<double> real_biases;

  [[nodiscard]] DataType dataType() const override {
    const bool wide = stored_ == Stored::float32 || stored_ == Stored::float32_as_half;
    return wide                         ? DataType::Float32
           : stored_ == Stored::float16 ? DataType::Float16
                                        : DataType::UInt8;
  }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override {
    if (dataType() == DataType::Float32) return floats_.data();
    return dataType() == DataType::Float16 ? static_cast<const void*>(halves_.data())
                                           : codes_.data();
  }
  [[nodiscard]] const float* biasTerms() override {
    return biases_.empty() ? nullptr : biases_.data();
  }
  [[nodiscard]] bool load() override { return ++loads, available; }
  void purge() override { ++purges; }
  [[nodiscard]] std::string label() const override { return name; }
  [[nodiscard]] const std::array<float, 2>* rangesForUInt8Kernel() override {
    return stored_ == Stored::uint8_linear ? ranges_.data() : nullptr;
  }
  [[nodiscard]] const float* lookupTableForUInt8Kernel() override {
    return stored_ == Stored::uint8_lookup ? table_.data() : nullptr;
  }
  [[nodiscard]] CNNWeightsQuantizationType weightsQuantizationType() const override {
    return stored_ == Stored::uint8_linear   ? CNNWeightsQuantizationType::Linear
           : stored_ == Stored::uint8_lookup ? CNNWeightsQuantizationType::LookupTable
                                             : CNNWeightsQuantizationType::None;
  }
  [[nodiscard]] std::optional<DataType> kernelWeightsDataType() const override {
    if (stored_ == Stored::float32_as_half) return DataType::Float16;
    return std::nullopt;
  }

  int loads = 0, purges = 0;
  std::string name;
  bool available = true;  // what `load` answers

 private:
  /// Weight `i`, of output channel `k`, in the stored form and as a real number (spec: convolution
  /// 3).
  void store(std::size_t i, std::size_t k) {
    double& value = real.v[i];
    switch (stored_) {
      case Stored::float32:
        value = double{floats_[i]};
        return;
      case Stored::float32_as_half:
        value = rounded_to_half(double{floats_[i]});
        return;
      case Stored::float16:
        value = rounded_to_half(double{floats_[i]});
        halves_.push_back(half_from_float(floats_[i]));
        return;
      case Stored::uint8_linear: {
        if (ranges_.size() <= k) {
          const float reach = 0.5F + 0.25F * static_cast<float>(k);
          ranges_.push_back({-reach, 2 * reach});
        }
        codes_.push_back(static_cast<std::uint8_t>((floats_[i] + 1) * 127.5F));
        const auto [low, high] = ranges_[k];
        value = codes_[i] / 255.0 * (double{high} - double{low}) + double{low};
        return;
      }
      case Stored::uint8_lookup:
        if (table_.empty()) table_ = floats(256, 13);
        codes_.push_back(static_cast<std::uint8_t>((floats_[i] + 1) * 127.5F));
        value = double{table_[codes_[i]]};
        return;
    }
  }
  /// spec: convolution 2.2
  void fold(std::size_t outputs) {
    const auto mean = floats(outputs, 14), variance = floats(outputs, 15, 0.25F, 2),
               gamma = floats(outputs, 16, 0.5F, 2), beta = floats(outputs, 17);
    const float epsilon = 0.125F;
    descriptor_->setBatchNormalizationParametersForInference(mean.data(), variance.data(),
                                                             gamma.data(), beta.data(), epsilon);
    real_biases.resize(outputs);
    for (std::size_t k = 0; k < outputs; ++k) {
      const double factor = double{gamma[k]} / std::sqrt(double{variance[k]} + double{epsilon});
      const std::size_t each = real.v.size() / outputs;
      for (std::size_t i = k * each; i < (k + 1) * each; ++i) real.v[i] *= factor;
      real_biases[k] = real_biases[k] * factor + double{beta[k]} - factor * double{mean[k]};
    }
  }

  Stored stored_;
  std::shared_ptr<CNNConvolutionDescriptor> descriptor_;
  std::vector<float> floats_, biases_, table_;
  std::vector<std::uint16_t> halves_;
  std::vector<std::uint8_t> codes_;
  std::vector<std::array<float, 2>> ranges_;
};

template <class Forward, class Gradient>
class ConvolutionSubjectOf final : public SubjectOf<Forward, Gradient> {
  static constexpr bool fully_connected = std::is_same_v<Forward, CNNFullyConnected>;

 public:
  explicit ConvolutionSubjectOf(const ConvolutionRow& r)
      : SubjectOf<Forward, Gradient>(r.row),
        r_(r),
        inputs_(r.inputFeatureChannels != 0
                    ? r.inputFeatureChannels
                    : std::min(r.row.source_channels, r.row.source.c - r.row.source_channel)),
        source_(std::make_shared<RowWeights>(r, inputs_)) {}

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<Forward>(device, source_);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<Gradient>(device, source_);
  }
  [[nodiscard]] std::vector<std::vector<float>> parameters(
      const StateBatch& states) const override {
    auto& own = dynamic_cast<CNNConvolutionGradientState&>(*states[0]);
    const auto weights = own.gradientForWeights().template as<float>(),
               biases = own.gradientForBiases().template as<float>();
    return {{weights.begin(), weights.end()}, {biases.begin(), biases.end()}};
  }
  [[nodiscard]] std::vector<std::vector<double>> given_parameters() const override {
    if (r_.weight_gradient.empty()) return {};
    return {r_.weight_gradient, r_.bias_gradient};
  }

  [[nodiscard]] WindowSize window() const override {
    return {(r_.kernelWidth - 1) * r_.dilationRateX + 1,
            (r_.kernelHeight - 1) * r_.dilationRateY + 1, r_.strideInPixelsX, r_.strideInPixelsY};
  }
  [[nodiscard]] NNPaddingMethod default_policy() const override {
    return fully_connected ? NNPaddingMethod::SizeValidOnly : NNPaddingMethod::SizeSame;
  }
  [[nodiscard]] std::size_t channels_read(std::size_t) const override { return inputs_; }
  [[nodiscard]] std::size_t channels_written(std::size_t) const override {
    return r_.outputFeatureChannels;
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    Convolution op = operation(g);
    op.activation = r_.neuron;
    return oracle::convolution(op, source, source_->real, source_->real_biases,
                               {r_.slopes.begin(), r_.slopes.end()}, g.h, g.w);
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const Convolution op = operation(g);
    const auto of_weights = oracle::convolution_gradient_weights({op}, incoming, source);
    return {oracle::convolution_gradient_data({op}, incoming, source_->real, source.h, source.w),
            {of_weights.weights.v, of_weights.biases}};
  }
  [[nodiscard]] bool incoming_is_region() const override { return true; }
  [[nodiscard]] bool shared_state() const override { return true; }
  /// A library's matrix product takes another order of sums for another number of rows.
  [[nodiscard]] bool bits_depend_on_batch() const override {
    return fully_connected || !device_under_test(1).engine().host_can_access();
  }

 private:
  /// spec: convolution G1; a fully connected layer ignores the offset (9)
  [[nodiscard]] Convolution operation(const Geometry& g) const {
    const auto i32 = [](std::size_t value) { return static_cast<int>(value); };
    Convolution op;
    op.window.kernelWidth = i32(r_.kernelWidth);
    op.window.kernelHeight = i32(r_.kernelHeight);
    op.window.strideX = i32(r_.strideInPixelsX);
    op.window.strideY = i32(r_.strideInPixelsY);
    op.window.dilationX = i32(r_.dilationRateX);
    op.window.dilationY = i32(r_.dilationRateY);
    op.window.padLeft = fully_connected ? 0 : g.pad_left(window().w);
    op.window.padTop = fully_connected ? 0 : g.pad_top(window().h);
    op.window.clampEdges = g.edge == oracle::EdgeRule::Clamp && !fully_connected ? 1 : 0;
    op.groups = i32(r_.depthwise ? inputs_ : r_.groups);
    return op;
  }

  ConvolutionRow r_;
  std::size_t inputs_;
  std::shared_ptr<RowWeights> source_;
};
using ConvolutionSubject = ConvolutionSubjectOf<CNNConvolution, CNNConvolutionGradient>;
using FullyConnectedSubject = ConvolutionSubjectOf<CNNFullyConnected, CNNFullyConnectedGradient>;

}  // namespace cermet::test
