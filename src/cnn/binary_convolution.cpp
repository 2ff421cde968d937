#include "cermet/cnn/binary_convolution.h"

#include <array>
#include <cstring>

#include "cnn/convolution_weights.h"
#include "cnn/loaded.h"

namespace cermet {

using detail::ConvolutionShape;

namespace {

constexpr std::size_t word_bits = 32;
constexpr std::uint32_t half_bits = 16, half_mask = 0xFFFF;

std::size_t words_of(std::size_t channels) { return (channels + word_bits - 1) / word_bits; }

/// Clears the bits beyond the last channel.
void mask(std::vector<std::uint32_t>& words, std::size_t channels) {
  const std::size_t group = words_of(channels), used = channels % word_bits;
  if (used == 0) return;
  for (std::size_t i = group - 1; i < words.size(); i += group)
    words[i] &= (std::uint32_t{1} << used) - 1;
}

std::vector<float> floats(const Buffer& buffer) {
  return buffer ? buffer.values<float>() : std::vector<float>();
}

}  // namespace

// ---- making
// --------------------------------------------------------------------------------------

CNNBinaryConvolution::CNNBinaryConvolution(
    const Device& device, std::shared_ptr<CNNConvolutionDataSource> convolutionData,
    float scaleValue, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryConvolution(device) {
  load("CNNBinaryConvolution", convolutionData.get(), scaleValue, type, flags);
}
CNNBinaryConvolution::CNNBinaryConvolution(
    const Device& device, std::shared_ptr<CNNConvolutionDataSource> convolutionData,
    const float* outputBiasTerms, const float* outputScaleTerms, const float* inputBiasTerms,
    const float* inputScaleTerms, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryConvolution(device) {
  load("CNNBinaryConvolution", convolutionData.get(), outputBiasTerms, outputScaleTerms,
       inputBiasTerms, inputScaleTerms, type, flags);
}

void CNNBinaryConvolution::load(std::string_view kernel, CNNConvolutionDataSource* source,
                                float scale, CNNBinaryConvolutionType type,
                                CNNBinaryConvolutionFlags flags) {
  load(kernel, source, Terms{}, &scale, type, flags);
}

void CNNBinaryConvolution::load(std::string_view kernel, CNNConvolutionDataSource* source,
                                const float* output_bias, const float* output_scale,
                                const float* input_bias, const float* input_scale,
                                CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags) {
  const auto descriptor = source != nullptr ? source->descriptor() : nullptr;
  Terms terms;
  if (descriptor) {
    const auto of = [](const float* values, std::size_t count, float without) {
      return values != nullptr ? std::vector<float>(values, values + count)
                               : std::vector<float>(count, without);
    };
    terms.output_bias = of(output_bias, descriptor->outputFeatureChannels(), 0);
    terms.output_scale = of(output_scale, descriptor->outputFeatureChannels(), 1);
    if (input_bias != nullptr || input_scale != nullptr) {
      terms.input_bias = of(input_bias, descriptor->inputFeatureChannels(), 0);
      terms.input_scale = of(input_scale, descriptor->inputFeatureChannels(), 1);
    }
  }
  load(kernel, source, std::move(terms), nullptr, type, flags);
}

void CNNBinaryConvolution::load(std::string_view kernel, CNNConvolutionDataSource* source,
                                Terms terms, const float* scale, CNNBinaryConvolutionType type,
                                CNNBinaryConvolutionFlags flags) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed,
                          std::string remedy = {}) {
    fail({kernel, source != nullptr ? source->label() : "", argument, std::move(got),
          std::move(needed), std::move(remedy)});
  };
  if (source == nullptr) refuse("convolutionData", "null", "a data source");
  const auto descriptor = source->descriptor();
  if (!descriptor) refuse("convolutionData", "without a descriptor", "one with a descriptor");
  if (type > CNNBinaryConvolutionType::AND) {
    refuse("type", std::to_string(static_cast<unsigned>(type)), "BinaryWeights, XNOR or AND");
  }
  if (flags > CNNBinaryConvolutionFlags::UseBetaScaling)
    refuse("flags", std::to_string(static_cast<unsigned>(flags)), "None or UseBetaScaling");
  shape_ = ConvolutionShape::of(*descriptor, kernel, source->label());
  if (shape_->groups != 1 || shape_->multiplier != 0) {
    refuse("groups",
           shape_->multiplier != 0 ? "those of a depthwise convolution"
                                   : std::to_string(shape_->groups),
           "1", "Binary convolutions have no groups.");
  }
  shape_->refuse_sub_pixels(kernel, source->label());
  if (source->dataType() != DataType::UInt32)
    refuse("dataType", "of another kind", "UInt32 words of 32 weights");
  type_ = type;
  flags_ = flags;
  setLabel(source->label());
  setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));

  std::vector<std::uint32_t> words(word_count());
  {
    const detail::Loaded loaded(*source, kernel, source->label(), "weights", "weights");
    const void* given = source->weights();
    if (given == nullptr)
      refuse("weights", "a null pointer", std::to_string(words.size()) + " words");
    std::memcpy(words.data(), given, words.size() * sizeof(std::uint32_t));
    if (scale != nullptr) {
      const float* bias = source->biasTerms();
      terms.output_scale.assign(shape_->outputs, *scale);
      terms.output_bias.assign(shape_->outputs, 0.0F);
      if (bias != nullptr) terms.output_bias.assign(bias, bias + shape_->outputs);
    }
  }
  mask(words, shape_->inputs);
  if (const auto& [factor, addend] = shape_->folding; !factor.empty()) {
    for (std::size_t k = 0; k < shape_->outputs; ++k) {
      terms.output_scale[k] *= factor[k];
      terms.output_bias[k] = terms.output_bias[k] * factor[k] + addend[k];
    }
  }
  build(words, terms);
}

void CNNBinaryConvolution::build(const std::vector<std::uint32_t>& words, const Terms& terms) {
  const auto made = [&](const std::vector<float>& values) {
    return values.empty() ? Buffer()
                          : device().makeBuffer(values.data(), values.size() * sizeof(float));
  };
  words_ = device().makeBuffer(words.data(), words.size() * sizeof(std::uint32_t));
  output_bias_ = made(terms.output_bias);
  output_scale_ = made(terms.output_scale);
  input_bias_ = made(terms.input_bias);
  input_scale_ = made(terms.input_scale);
  slopes_ = made(shape_->neuron.data());
}

// ---- archives and copies
// -------------------------------------------------------------------------

void CNNBinaryConvolution::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("type", type_, CNNBinaryConvolutionType::AND);
  coder("flags", flags_, CNNBinaryConvolutionFlags::UseBetaScaling);
  auto shape = ConvolutionShape::code(coder, shape_, class_name());
  bool has_input_terms = !coder.is_reading() && input_bias_;
  coder("has_input_terms", has_input_terms);
  std::vector<float> halves;  // of the words, low ones first: floats hold them exactly
  Terms terms;
  if (coder.is_reading()) {
    shape_ = std::move(shape);
    if (shape_->groups != 1 || shape_->multiplier != 0)
      coder.refuse("descriptor", "with groups", "one group");
  } else {
    for (const std::uint32_t word : words_.values<std::uint32_t>()) {
      halves.push_back(static_cast<float>(word & half_mask));
      halves.push_back(static_cast<float>(word >> half_bits));
    }
    terms = {floats(output_bias_), floats(output_scale_), floats(input_bias_),
             floats(input_scale_)};
  }
  coder.tensor("words", halves,
               std::array{shape_->outputs, shape_->kernelHeight, shape_->kernelWidth,
                          2 * words_of(shape_->inputs)});
  coder.tensor("outputBiasTerms", terms.output_bias, std::array{shape_->outputs});
  coder.tensor("outputScaleTerms", terms.output_scale, std::array{shape_->outputs});
  if (has_input_terms) {
    coder.tensor("inputBiasTerms", terms.input_bias, std::array{shape_->inputs});
    coder.tensor("inputScaleTerms", terms.input_scale, std::array{shape_->inputs});
  }
  if (!coder.is_reading()) return;
  std::vector<std::uint32_t> words(halves.size() / 2);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const float value = halves[i];
    if (!(value >= 0 && value <= static_cast<float>(half_mask)))
      coder.refuse("words", std::to_string(value), "halves of words, 0 to 65535");
    words[i / 2] |= static_cast<std::uint32_t>(value) << (i % 2 == 0 ? 0U : half_bits);
  }
  mask(words, shape_->inputs);
  build(words, terms);
}

void CNNBinaryConvolution::move_to(const Device& device) {
  if (device == this->device()) {
    KernelOf::move_to(device);
    return;
  }
  const auto words = words_.values<std::uint32_t>();
  const Terms terms{floats(output_bias_), floats(output_scale_), floats(input_bias_),
                    floats(input_scale_)};
  KernelOf::move_to(device);
  build(words, terms);
}

// ---- the kernel
// ----------------------------------------------------------------------------------

std::size_t CNNBinaryConvolution::word_count() const {
  return shape_->outputs * shape_->kernelHeight * shape_->kernelWidth * words_of(shape_->inputs);
}
std::size_t CNNBinaryConvolution::inputFeatureChannels() const { return shape_->inputs; }
std::size_t CNNBinaryConvolution::outputFeatureChannels() const { return shape_->outputs; }
const NNNeuronDescriptor& CNNBinaryConvolution::fusedNeuronDescriptor() const {
  return shape_->neuron;
}
std::size_t CNNBinaryConvolution::kernelWidth() const { return shape_->kernelWidth; }
std::size_t CNNBinaryConvolution::kernelHeight() const { return shape_->kernelHeight; }
std::size_t CNNBinaryConvolution::strideInPixelsX() const { return shape_->strideX; }
std::size_t CNNBinaryConvolution::strideInPixelsY() const { return shape_->strideY; }
std::size_t CNNBinaryConvolution::dilationRateX() const { return shape_->dilationX; }
std::size_t CNNBinaryConvolution::dilationRateY() const { return shape_->dilationY; }

CNNKernel::Channels CNNBinaryConvolution::channels(std::size_t) const {
  return {shape_->inputs, shape_->outputs};
}

Window CNNBinaryConvolution::window() const { return shape_->window(edgeMode(), offset()); }

void CNNBinaryConvolution::record(detail::UnaryEncoding& e) const {
  BinaryConvolution op;
  op.window = window();
  op.type = type_;
  op.betaScaling = flags_ == CNNBinaryConvolutionFlags::UseBetaScaling ? 1 : 0;
  op.activation = shape_->neuron.activation();
  const auto i32 = [](std::size_t value) { return static_cast<std::int32_t>(value); };
  const TensorDesc words =
      dense_desc(i32(shape_->outputs), i32(shape_->kernelHeight), i32(shape_->kernelWidth),
                 i32(words_of(shape_->inputs) * sizeof(std::uint32_t)), ElementType::uint8);
  const TensorDesc inputs = flat_desc(static_cast<std::int64_t>(shape_->inputs)),
                   outputs = flat_desc(static_cast<std::int64_t>(shape_->outputs));
  const auto view = [&](const Buffer& buffer, const TensorDesc& desc) {
    return detail::view_of(e.recording, buffer, desc);
  };
  detail::encode(e.recording, memo_, op,
                 {e.source, view(words_, words), view(input_bias_, inputs),
                  view(input_scale_, inputs), view(output_bias_, outputs),
                  view(output_scale_, outputs), view(slopes_, outputs), e.destination});
}

// ---- fully connected
// -----------------------------------------------------------------------------

CNNBinaryFullyConnected::CNNBinaryFullyConnected(
    const Device& device, std::shared_ptr<CNNConvolutionDataSource> convolutionData,
    float scaleValue, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryConvolution(device) {
  load("CNNBinaryFullyConnected", convolutionData.get(), scaleValue, type, flags);
}
CNNBinaryFullyConnected::CNNBinaryFullyConnected(
    const Device& device, std::shared_ptr<CNNConvolutionDataSource> convolutionData,
    const float* outputBiasTerms, const float* outputScaleTerms, const float* inputBiasTerms,
    const float* inputScaleTerms, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryConvolution(device) {
  load("CNNBinaryFullyConnected", convolutionData.get(), outputBiasTerms, outputScaleTerms,
       inputBiasTerms, inputScaleTerms, type, flags);
}

void CNNBinaryFullyConnected::check(const Image& source, const Image& destination,
                                    std::size_t) const {
  detail::check_fully_connected(*this, 1, source, destination, "CNNBinaryConvolution");
}
Window CNNBinaryFullyConnected::window() const { return shape_->window(edgeMode()); }

}  // namespace cermet
