#include "cnn/convolution_weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "cermet/cnn/convolution_transpose.h"
#include "cermet/ops/copy.h"
#include "cnn/loaded.h"

namespace cermet {
namespace {
std::atomic<bool> rounds_when_unspecified{false};
}  // namespace

bool half_weights_when_unspecified() { return rounds_when_unspecified; }
void set_half_weights_when_unspecified(bool half) { rounds_when_unspecified = half; }
}  // namespace cermet

namespace cermet::detail {

void check_fully_connected(const CNNKernel& kernel, std::size_t groups, const Image& source,
                           const Image& destination, std::string_view other) {
  const auto clip = clip_window(kernel.clipRect(), destination);
  const bool plain_window = groups == 1 && kernel.strideInPixelsX() == 1 &&
                            kernel.strideInPixelsY() == 1 && kernel.dilationRateX() == 1 &&
                            kernel.dilationRateY() == 1;
  if (source.width() == kernel.kernelWidth() && source.height() == kernel.kernelHeight() &&
      clip.width == 1 && clip.height == 1 && plain_window) {
    return;
  }
  fail(
      {kernel.class_name(), kernel.label(), "sourceImage",
       describe(source) + " into " + std::to_string(clip.width) + "x" + std::to_string(clip.height),
       std::to_string(kernel.kernelWidth()) + "x" + std::to_string(kernel.kernelHeight()) +
           " pixels into 1x1, one group, strides and dilation 1",
       "Use " + std::string(other) + " for windows smaller than the source."});
}

namespace {

std::vector<float> dequantised(CNNConvolutionDataSource& source, const ConvolutionShape& shape,
                               std::string_view kernel) {
  const std::size_t count = shape.weight_count(), per_output = count / shape.outputs;
  const void* raw = source.weights();
  if (raw == nullptr)
    fail({kernel, source.label(), "weights", "a null pointer", std::to_string(count) + " values",
          ""});
  std::vector<float> values(count);
  switch (source.dataType()) {
    case DataType::Float32:
      std::memcpy(values.data(), raw, count * sizeof(float));
      return values;
    case DataType::Float16: {
      const auto* half = static_cast<const std::uint16_t*>(raw);
      for (std::size_t i = 0; i < count; ++i) values[i] = float_from_half(half[i]);
      return values;
    }
    case DataType::UInt8:
      break;
    default:
      fail(
          {kernel, source.label(), "dataType", "of another kind", "Float32, Float16 or UInt8", ""});
  }
  const auto* codes = static_cast<const std::uint8_t*>(raw);
  const auto* ranges = source.rangesForUInt8Kernel();
  const float* table = source.lookupTableForUInt8Kernel();
  auto kind = source.weightsQuantizationType();
  if (kind == CNNWeightsQuantizationType::None && (ranges != nullptr) != (table != nullptr)) {
    kind = ranges != nullptr ? CNNWeightsQuantizationType::Linear
                             : CNNWeightsQuantizationType::LookupTable;
  }
  const bool linear = kind == CNNWeightsQuantizationType::Linear && ranges != nullptr;
  if (!linear && !(kind == CNNWeightsQuantizationType::LookupTable && table != nullptr)) {
    fail({kernel, source.label(), "weightsQuantizationType", "not answered by ranges or a table",
          "Linear with rangesForUInt8Kernel, or LookupTable with lookupTableForUInt8Kernel", ""});
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (linear) {
      const auto [low, high] = ranges[i / per_output];
      values[i] = static_cast<float>(codes[i]) / 255.0F * (high - low) + low;
    } else {
      values[i] = table[codes[i]];
    }
  }
  return values;
}

}  // namespace

std::shared_ptr<const ConvolutionShape> ConvolutionShape::of(const CNNConvolutionDescriptor& d,
                                                             std::string_view kernel,
                                                             const std::string& label) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed) {
    fail({kernel, label, argument, std::move(got), std::move(needed),
          "Correct the convolution descriptor."});
  };
  for (const auto& [name, value] :
       {std::pair<const char*, std::size_t>{"kernelWidth", d.kernelWidth()},
        {"kernelHeight", d.kernelHeight()},
        {"inputFeatureChannels", d.inputFeatureChannels()},
        {"outputFeatureChannels", d.outputFeatureChannels()},
        {"strideInPixelsX", d.strideInPixelsX()},
        {"strideInPixelsY", d.strideInPixelsY()},
        {"dilationRateX", d.dilationRateX()},
        {"dilationRateY", d.dilationRateY()},
        {"groups", d.groups()}}) {
    if (value == 0) refuse(name, "0", "1 or more");
  }
  const std::size_t multiplier = d.channelMultiplier();
  const bool depthwise = dynamic_cast<const CNNDepthWiseConvolutionDescriptor*>(&d) != nullptr;
  if (depthwise && (d.groups() != 1 || d.outputFeatureChannels() % d.inputFeatureChannels() != 0)) {
    refuse("a depthwise descriptor",
           std::to_string(d.inputFeatureChannels()) + " to " +
               std::to_string(d.outputFeatureChannels()) + " channels in " +
               std::to_string(d.groups()) + " groups",
           "1 group and outputs that are a multiple of the inputs");
  }
  if (d.inputFeatureChannels() % d.groups() != 0 || d.outputFeatureChannels() % d.groups() != 0) {
    refuse("groups", std::to_string(d.groups()), "a divisor of both channel counts");
  }
  const auto& neuron = d.fusedNeuronDescriptor();
  if (neuron.neuronType() == CNNNeuronType::PReLU &&
      neuron.data().size() != d.outputFeatureChannels()) {
    refuse("fusedNeuronDescriptor",
           "PReLU with " + std::to_string(neuron.data().size()) + " slopes",
           std::to_string(d.outputFeatureChannels()) + ", one for each output channel");
  }
  const std::size_t sub_pixels = d.subPixelScaleFactor();
  constexpr std::size_t most = 1U << 15U;  // its square is a size
  if (sub_pixels == 0 || sub_pixels > most ||
      d.outputFeatureChannels() % (sub_pixels * sub_pixels) != 0) {
    refuse("subPixelScaleFactor", std::to_string(sub_pixels),
           "1 or more, its square a divisor of " + std::to_string(d.outputFeatureChannels()) +
               " output channels");
  }
  auto shape = std::make_shared<ConvolutionShape>();
  *shape = {d.kernelWidth(),
            d.kernelHeight(),
            d.inputFeatureChannels(),
            d.outputFeatureChannels(),
            d.strideInPixelsX(),
            d.strideInPixelsY(),
            d.groups(),
            d.dilationRateX(),
            d.dilationRateY(),
            multiplier,
            neuron,
            d.folding(),
            sub_pixels};
  return shape;
}

std::shared_ptr<const ConvolutionShape> ConvolutionShape::code(
    Coder& coder, std::shared_ptr<const ConvolutionShape> shape, std::string_view kernel) {
  Coder part = coder.at("descriptor");
  ConvolutionShape fields = shape ? *shape : ConvolutionShape();
  std::uint64_t count = 1;
  for (const auto& [name, value] : {std::pair{"kernelWidth", &fields.kernelWidth},
                                    {"kernelHeight", &fields.kernelHeight},
                                    {"inputFeatureChannels", &fields.inputs},
                                    {"outputFeatureChannels", &fields.outputs},
                                    {"strideInPixelsX", &fields.strideX},
                                    {"strideInPixelsY", &fields.strideY},
                                    {"groups", &fields.groups},
                                    {"dilationRateX", &fields.dilationX},
                                    {"dilationRateY", &fields.dilationY},
                                    {"subPixelScaleFactor", &fields.subPixels}}) {
    part(name, *value);
    constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
    if (coder.is_reading() && *value > most) {
      part.refuse(name, std::to_string(*value), "at most " + std::to_string(most));
    }
  }
  part("channelMultiplier", fields.multiplier);
  part("fusedNeuronDescriptor", fields.neuron);
  part("factor", fields.folding.factor);
  part("addend", fields.folding.addend);
  if (!coder.is_reading()) return shape;

  for (const std::size_t extent :
       {fields.outputs, fields.kernelHeight, fields.kernelWidth, fields.inputs}) {
    if (__builtin_mul_overflow(count, extent, &count) ||
        count > std::numeric_limits<std::int64_t>::max() / sizeof(float)) {
      part.refuse("kernelWidth", "part of a size that overflows", "weights that fit memory");
    }
  }
  const auto& [factor, addend] = fields.folding;
  const std::size_t terms = factor.empty() ? 0 : fields.outputs;
  if (factor.size() != terms || addend.size() != terms) {
    part.refuse("factor", std::to_string(factor.size()) + " terms",
                std::to_string(fields.outputs) + " of factor and addend, or none");
  }
  CNNConvolutionDescriptor plain;
  CNNDepthWiseConvolutionDescriptor depthwise;
  CNNSubPixelConvolutionDescriptor sub_pixel;
  sub_pixel.setSubPixelScaleFactor(fields.subPixels);
  CNNConvolutionDescriptor& descriptor = fields.multiplier != 0  ? depthwise
                                         : fields.subPixels != 1 ? sub_pixel
                                                                 : plain;
  descriptor.setKernelWidth(fields.kernelWidth);
  descriptor.setKernelHeight(fields.kernelHeight);
  descriptor.setInputFeatureChannels(std::max<std::size_t>(fields.inputs, 1));  // a divisor
  descriptor.setOutputFeatureChannels(fields.outputs);
  descriptor.setStrideInPixelsX(fields.strideX);
  descriptor.setStrideInPixelsY(fields.strideY);
  descriptor.setGroups(fields.groups);
  descriptor.setDilationRateX(fields.dilationX);
  descriptor.setDilationRateY(fields.dilationY);
  descriptor.setFusedNeuronDescriptor(fields.neuron);
  const auto checked = of(descriptor, kernel, "");
  if (fields.subPixels != 1 && (fields.multiplier != 0 || kernel != "CNNConvolution")) {
    part.refuse("subPixelScaleFactor", std::to_string(fields.subPixels),
                "1: only a CNNConvolution that is not depthwise has sub-pixels");
  }
  if (checked->multiplier != fields.multiplier || checked->inputs != fields.inputs) {
    part.refuse("channelMultiplier", std::to_string(fields.multiplier),
                std::to_string(checked->multiplier));
  }
  return std::make_shared<ConvolutionShape>(std::move(fields));
}

std::shared_ptr<const ConvolutionShape> ConvolutionShape::transpose_of(
    const std::shared_ptr<const ConvolutionShape>& shape, std::string_view kernel,
    const std::string& label) {
  if (shape->multiplier != 0) {
    fail({kernel, label, "the descriptor", "depthwise", "a plain convolution descriptor",
          "Use groups for transposed convolutions of a few channels each."});
  }
  shape->refuse_sub_pixels(kernel, label);
  auto transposed = std::make_shared<ConvolutionShape>(*shape);
  transposed->transposed = true;
  return transposed;
}

void ConvolutionShape::refuse_sub_pixels(std::string_view kernel, const std::string& label) const {
  if (subPixels == 1) return;
  fail({kernel, label, "subPixelScaleFactor", std::to_string(subPixels), "1",
        "Only CNNConvolution has sub-pixels, for inference."});
}

ConvolutionShape ConvolutionShape::adjoint() const {
  ConvolutionShape shape = *this;
  std::swap(shape.inputs, shape.outputs);
  shape.neuron = {};
  shape.folding = {};
  shape.transposed = false;
  return shape;
}

TensorDesc ConvolutionShape::weights_desc() const {
  return dense_desc(static_cast<std::int32_t>(outputs), static_cast<std::int32_t>(kernelHeight),
                    static_cast<std::int32_t>(kernelWidth),
                    static_cast<std::int32_t>(inputs_of_group()));
}

Window ConvolutionShape::window(ImageEdgeMode edge) const {
  const auto i32 = [](std::size_t value) { return static_cast<std::int32_t>(value); };
  return {i32(kernelWidth),
          i32(kernelHeight),
          i32(strideX),
          i32(strideY),
          0,
          0,
          i32(dilationX),
          i32(dilationY),
          edge == ImageEdgeMode::Clamp ? 1 : 0};
}

namespace {

/// What the operator ConvolutionAdjointWeights makes.
std::vector<float> adjoint_weights(const std::vector<float>& weights,
                                   const ConvolutionShape& shape) {
  std::vector<float> adjoint(weights.size());
  const std::size_t taps = shape.kernelHeight * shape.kernelWidth;
  const std::size_t inputs = shape.inputs / shape.groups, outputs = shape.outputs / shape.groups;
  std::size_t from = 0;
  for (std::size_t k = 0; k < shape.outputs; ++k) {
    for (std::size_t tap = 0; tap < taps; ++tap) {
      for (std::size_t c = 0; c < inputs; ++c) {
        const std::size_t input = k / outputs * inputs + c;
        adjoint[(input * taps + taps - 1 - tap) * outputs + k % outputs] = weights[from++];
      }
    }
  }
  return adjoint;
}

}  // namespace

Window ConvolutionShape::window(ImageEdgeMode edge, Offset offset) const {
  const auto pad = [](std::size_t taps, std::size_t dilation, std::ptrdiff_t centre) {
    return static_cast<std::int32_t>(static_cast<std::ptrdiff_t>(((taps - 1) * dilation + 1) / 2) -
                                     centre);
  };
  Window placed = window(edge);
  placed.padLeft = pad(kernelWidth, dilationX, offset.x);
  placed.padTop = pad(kernelHeight, dilationY, offset.y);
  return placed;
}

std::shared_ptr<ConvolutionWeights> ConvolutionWeights::make(const Device& device,
                                                             std::vector<float> weights,
                                                             const float* biases,
                                                             const ConvolutionShape& shape,
                                                             bool half, bool fold) {
  std::vector<float> bias;
  if (biases != nullptr) bias.assign(biases, biases + shape.outputs);
  if (fold && !shape.folding.factor.empty()) {
    bias.resize(shape.outputs, 0.0F);
    const std::size_t per_output = weights.size() / shape.outputs;
    for (std::size_t k = 0; k < shape.outputs; ++k) {
      for (std::size_t i = 0; i < per_output; ++i)
        weights[k * per_output + i] *= shape.folding.factor[k];
      bias[k] = bias[k] * shape.folding.factor[k] + shape.folding.addend[k];
    }
  }
  if (half) {
    for (float& value : weights) value = float_from_half(half_from_float(value));
  }
  auto result = std::make_shared<ConvolutionWeights>();
  result->half = half;
  result->weights = device.makeBuffer(weights.data(), weights.size() * sizeof(float));
  if (!bias.empty()) result->biases = device.makeBuffer(bias.data(), bias.size() * sizeof(float));
  if (shape.transposed) {
    const std::vector<float> rotated = adjoint_weights(weights, shape);
    result->adjoint = std::make_shared<ConvolutionWeights>();
    result->adjoint->weights = device.makeBuffer(rotated.data(), rotated.size() * sizeof(float));
  }
  if (const auto& slopes = shape.neuron.data(); !slopes.empty()) {
    result->slopes = device.makeBuffer(slopes.data(), slopes.size() * sizeof(float));
  }
  return result;
}

std::shared_ptr<ConvolutionWeights> ConvolutionWeights::on(const Device& device) const {
  const auto copied = [&](const Buffer& from) {
    return from ? device.makeBuffer(from.values<float>().data(), from.length()) : Buffer();
  };
  auto other = std::make_shared<ConvolutionWeights>();
  other->weights = copied(weights);
  other->biases = copied(biases);
  other->slopes = copied(slopes);
  other->half = half;
  if (adjoint) other->adjoint = adjoint->on(device);
  return other;
}

std::shared_ptr<ConvolutionWeights> ConvolutionWeights::load(const Device& device,
                                                             CNNConvolutionDataSource& source,
                                                             const ConvolutionShape& shape,
                                                             std::string_view kernel,
                                                             bool rounds_unspecified) {
  const Loaded loaded(source, kernel, source.label(), "weights", "weights");
  const DataType own = source.dataType();
  const DataType unspecified = rounds_unspecified       ? DataType::Float16
                               : own == DataType::UInt8 ? DataType::Float32
                                                        : own;
  const DataType wanted = source.kernelWeightsDataType().value_or(unspecified);
  if (wanted == DataType::Float32 && source.kernelWeightsDataType() && own != DataType::Float32) {
    fail({kernel, source.label(), "kernelWeightsDataType", "Float32",
          "Float16 for weights of UInt8 or Float16", ""});
  }
  const bool forward =
      kernel.find("Gradient") == std::string_view::npos;  // gradients know of no folding
  return make(device, dequantised(source, shape, kernel), source.biasTerms(), shape,
              wanted == DataType::Float16, forward);
}

TensorView ConvolutionWeights::master(Recording& recording, const TensorDesc& desc) const {
  return view_of(recording, weights, desc);
}

LateSlot ConvolutionWeights::late(std::size_t slot,
                                  const std::shared_ptr<ConvolutionWeights>& owner) {
  const auto resolve = [](const void* member, Recording& recording, const Step& step,
                          std::size_t at, const TensorDesc& master) {
    return (*static_cast<const std::shared_ptr<ConvolutionWeights>*>(member))
        ->view(recording, step, at, master);
  };
  return {slot, &owner, resolve};
}
LateSlot ConvolutionWeights::late_adjoint(std::size_t slot,
                                          const std::shared_ptr<ConvolutionWeights>& owner) {
  const auto resolve = [](const void* member, Recording& recording, const Step& step,
                          std::size_t at, const TensorDesc& master) {
    return (*static_cast<const std::shared_ptr<ConvolutionWeights>*>(member))
        ->adjoint->view(recording, step, at, master);
  };
  return {slot, &owner, resolve};
}

TensorView ConvolutionWeights::view(Recording& recording, const Step& step, std::size_t slot,
                                    const TensorDesc& desc) {
  const TensorDesc& wanted = step.slots[slot];
  if (wanted.layout == plain) return master(recording, desc);
  for (Packed& copy : packed_) {
    if (!(copy.desc == wanted)) continue;
    recording.retain(copy.memory);
    if (copy.family != recording.family &&
        !*copy.ready) {  // filled by work that may never be committed: fill again
      StepMemo memo;
      const Recording::Always always(recording);
      encode(recording, memo, Copy{}, {master(recording, desc), {wanted, copy.memory->data}});
    }
    return {wanted, copy.memory->data};
  }
  Packed& fresh = packed_.emplace_back();
  fresh.desc = wanted;
  fresh.memory = recording.device_impl().allocator->allocate(step.bytes[slot], false);
  fresh.family = recording.family;
  fresh.ready = recording.committed_flag();
  recording.retain(fresh.memory);
  StepMemo memo;
  const Recording::Always always(recording);  // later encodes take the copy to be filled
  encode(recording, memo, Copy{}, {master(recording, desc), {wanted, fresh.memory->data}});
  return {wanted, fresh.memory->data};
}

void ConvolutionWeights::refresh(Recording& recording, const ConvolutionShape& shape) {
  const Recording::Always always(recording);
  const TensorDesc desc = shape.weights_desc();
  if (adjoint) {
    ConvolutionAdjointWeights op;
    op.groups = static_cast<std::int32_t>(shape.groups);
    const ConvolutionShape other = shape.adjoint();
    encode(recording, adjoint_memo_, op,
           {master(recording, desc), adjoint->master(recording, other.weights_desc())});
    adjoint->refresh(recording, other);
  }
  for (Packed& copy : packed_) {
    recording.retain(copy.memory);
    encode(recording, copy.memo, Copy{}, {master(recording, desc), {copy.desc, copy.memory->data}});
  }
}

void ConvolutionWeights::reload(Recording& recording, CNNConvolutionWeightsAndBiasesState& state,
                                const ConvolutionShape& shape) {
  const auto copy = [&](StepMemo& memo, const Buffer& from, std::size_t offset, const Buffer& to,
                        std::size_t count, bool round) {
    if (from == to && offset == 0 && !round) return;  // updated in place
    const TensorDesc flat = flat_desc(static_cast<std::int64_t>(count));
    const TensorView source = view_of(recording, from, flat, offset),
                     destination = view_of(recording, to, flat);
    if (!round) {
      encode(recording, memo, Copy{}, {source, destination});
      return;
    }
    const ScratchTensor rounded(recording,
                                flat_desc(static_cast<std::int64_t>(count), ElementType::float16));
    encode(recording, memo, Copy{}, {source, rounded.view});
    encode(recording, memo, Copy{}, {rounded.view, destination});
  };
  copy(weights_memo_, state.weights(), state.weightsOffset(), weights, shape.weight_count(), half);
  if (biases && state.biases())
    copy(biases_memo_, state.biases(), state.biasesOffset(), biases, shape.outputs, false);
  refresh(recording, shape);
}

std::shared_ptr<CNNConvolutionWeightsAndBiasesState> ConvolutionWeights::exported(
    const CommandBuffer& commandBuffer, const ConvolutionShape& shape,
    bool can_be_temporary) const {
  Recording& recording = commandBuffer.recording();
  const auto origin = can_be_temporary ? StateOrigin::temporary(commandBuffer)
                                       : StateOrigin::permanent(recording.device());
  auto state = std::make_shared<CNNConvolutionWeightsAndBiasesState>(origin, shape.weight_count(),
                                                                     biases ? shape.outputs : 0);
  StepMemo memo;
  const auto copy = [&](const Buffer& from, const Buffer& to, std::size_t count) {
    const TensorDesc flat = flat_desc(static_cast<std::int64_t>(count));
    encode(recording, memo, Copy{}, {view_of(recording, from, flat), view_of(recording, to, flat)});
  };
  copy(weights, state->weights(), shape.weight_count());
  if (biases) copy(biases, state->biases(), shape.outputs);
  return state;
}

namespace {

bool same(const Buffer& a, const Buffer& b) {
  if (!a || !b) return !a && !b;
  return a.length() == b.length() && a.values<std::byte>() == b.values<std::byte>();
}

std::vector<float> floats(const Buffer& buffer) {
  return buffer ? buffer.values<float>() : std::vector<float>();
}

/// Loads from a source that came out of an archive: its weights are as many as the shape has.
std::shared_ptr<ConvolutionWeights> loaded(const Coder& coder, const Kernel& kernel,
                                           const ConvolutionShape& shape,
                                           CNNConvolutionDataSource& source) {
  const auto descriptor = source.descriptor();
  if (!descriptor) coder.refuse("dataSource", "without a descriptor", "one with a descriptor");
  const auto own = ConvolutionShape::of(*descriptor, kernel.class_name(), source.label());
  if (own->weights_desc() != shape.weights_desc()) {
    coder.refuse("dataSource", std::to_string(own->weight_count()) + " weights",
                 std::to_string(shape.weight_count()) + " in the extents of the kernel",
                 "The data source has changed since the archive was written.");
  }
  return ConvolutionWeights::load(kernel.device(), source, shape, kernel.class_name());
}

}  // namespace

void code_gradient_option(Coder& coder, CNNConvolutionGradientOption& option) {
  auto bits = static_cast<unsigned>(option);
  coder("gradientOption", bits);
  if (bits < 1 || bits > 3) coder.refuse("gradientOption", std::to_string(bits), "1 to 3");
  option = static_cast<CNNConvolutionGradientOption>(bits);
}

void code_parameters(Coder& coder, const Kernel& kernel, const ConvolutionShape& shape,
                     std::shared_ptr<CNNConvolutionDataSource>& source,
                     std::shared_ptr<ConvolutionWeights>& weights, bool values) {
  std::shared_ptr<CNNConvolutionDataSource> archived = source;
  if (source && !coder.is_reading()) {
    if (!source->supportsSecureCoding()) archived = nullptr;
    if (archived && values) {
      const auto now =
          ConvolutionWeights::load(kernel.device(), *source, shape, kernel.class_name());
      values = now->half != weights->half || !same(now->weights, weights->weights) ||
               !same(now->biases, weights->biases);
    }
  }
  values = values && (coder.is_reading() || weights->weights);
  coder("dataSource", archived);
  coder("values", values);
  if (coder.is_reading()) source = std::move(archived);
  if (!values) {
    if (coder.is_reading()) {
      weights =
          source ? loaded(coder, kernel, shape, *source) : std::make_shared<ConvolutionWeights>();
    }
    return;
  }
  bool half = coder.is_reading() ? false : weights->half;
  bool biased = !coder.is_reading() && weights->biases;
  std::vector<float> taps, biases;
  if (!coder.is_reading()) {
    taps = floats(weights->weights);
    biases = floats(weights->biases);
  }
  coder("half", half);
  coder("biased", biased);
  coder.tensor(
      "weights", taps,
      std::array{shape.outputs, shape.kernelHeight, shape.kernelWidth, shape.inputs_of_group()});
  if (biased) coder.tensor("biases", biases, std::array{shape.outputs});
  if (!coder.is_reading()) return;
  weights = ConvolutionWeights::make(kernel.device(), std::move(taps),
                                     biased ? biases.data() : nullptr, shape, half, false);
}

void reload_from_state(std::shared_ptr<ConvolutionWeights>& weights, const Kernel& kernel,
                       const CommandBuffer& commandBuffer,
                       const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state,
                       const ConvolutionShape& shape, bool for_all) {
  const auto refuse = [&](std::string got, std::string needed) {
    fail({kernel.class_name(), kernel.label(), "state", std::move(got), std::move(needed),
          "Pass a state made for the same convolution descriptor."});
  };
  if (!state) refuse("null", "weights and biases");
  Recording& recording = commandBuffer.recording();
  state->check_usable(recording);
  if (state->weight_count() != shape.weight_count() ||
      (state->biases() && state->bias_count() != shape.outputs)) {
    refuse(std::to_string(state->weight_count()) + " weights and " +
               std::to_string(state->bias_count()) + " biases",
           std::to_string(shape.weight_count()) + " and " + std::to_string(shape.outputs));
  }
  if (!weights->weights) {  // an archive without values
    const std::vector<float> zeros(shape.outputs);
    const bool biased = state->bias_count() != 0;
    weights =
        ConvolutionWeights::make(kernel.device(), std::vector<float>(shape.weight_count()),
                                 biased ? zeros.data() : nullptr, shape, weights->half, false);
  }
  if (!for_all && weights.use_count() > 1) {  // a copy of this kernel keeps what it has
    auto own = std::make_shared<ConvolutionWeights>();
    own->half = weights->half;
    own->slopes = weights->slopes;
    own->weights = kernel.device().makeBuffer(weights->weights.length());
    if (weights->adjoint) {
      own->adjoint = std::make_shared<ConvolutionWeights>();
      own->adjoint->weights = kernel.device().makeBuffer(weights->weights.length());
    }
    if (weights->biases) {
      own->biases = kernel.device().makeBuffer(weights->biases.length());
      const TensorDesc flat = flat_desc(static_cast<std::int64_t>(shape.outputs));
      StepMemo memo;
      encode(recording, memo, Copy{},
             {view_of(recording, weights->biases, flat), view_of(recording, own->biases, flat)});
    }
    weights = std::move(own);
  }
  weights->reload(recording, *state, shape);
  state->consume(recording);
}

}  // namespace cermet::detail
