#include "cermet/cnn/neuron.h"

#include <algorithm>

#include "cnn/gradient_state.h"
#include "cnn/incoming_gradient.h"

namespace cermet {
namespace {

struct Defaults {
  float a, b, c;
};

Defaults defaults_of(CNNNeuronType type) {
  switch (type) {
    case CNNNeuronType::HardSigmoid:
      return {0.2F, 0.5F, 0};
    case CNNNeuronType::Linear:
      return {1, 0, 0};
    case CNNNeuronType::TanH:
    case CNNNeuronType::SoftPlus:
      return {1, 1, 0};
    case CNNNeuronType::ELU:
      return {1, 0, 0};
    case CNNNeuronType::ReLUN:
      return {1, 6, 0};
    case CNNNeuronType::Power:
      return {1, 0, 1};
    case CNNNeuronType::Exponential:
    case CNNNeuronType::Logarithm:
      return {1, 0, -1};
    default:
      return {0, 0, 0};
  }
}

Buffer slope_buffer(const Device& device, const NNNeuronDescriptor& descriptor,
                    std::string_view kernel) {
  if (descriptor.neuronType() != CNNNeuronType::PReLU) return {};
  if (descriptor.data().empty()) {
    fail({kernel, "", "neuronDescriptor", "PReLU without data",
          "one slope for each feature channel",
          "Use NNNeuronDescriptor::cnnNeuronPReLUDescriptor."});
  }
  return device.makeBuffer(descriptor.data().data(), descriptor.data().size() * sizeof(float));
}

using Type = CNNNeuronType;
NNNeuronDescriptor of(Type type, std::optional<float> a = {}, std::optional<float> b = {},
                      std::optional<float> c = {}) {
  return NNNeuronDescriptor::cnnNeuronDescriptor(type, a, b, c);
}

}  // namespace

NNNeuronDescriptor NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType neuronType,
                                                           std::optional<float> a,
                                                           std::optional<float> b,
                                                           std::optional<float> c) {
  if (neuronType < CNNNeuronType::None || neuronType >= CNNNeuronType::Count) {
    fail({"NNNeuronDescriptor", "", "neuronType", std::to_string(static_cast<int>(neuronType)),
          "a type from 0 to 15", ""});
  }
  const Defaults defaults = defaults_of(neuronType);
  NNNeuronDescriptor descriptor;
  descriptor.activation_ = {neuronType, a.value_or(defaults.a), b.value_or(defaults.b),
                            c.value_or(defaults.c)};
  return descriptor;
}

NNNeuronDescriptor NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::span<const float> data, bool) {
  if (data.empty())
    fail({"NNNeuronDescriptor", "", "data", "empty", "one slope for each feature channel", ""});
  NNNeuronDescriptor descriptor;
  descriptor.activation_.type = CNNNeuronType::PReLU;
  descriptor.data_.assign(data.begin(), data.end());
  return descriptor;
}

void NNNeuronDescriptor::code(Coder& coder) {
  coder("neuronType", activation_.type, CNNNeuronType::GeLU);
  coder("a", activation_.a);
  coder("b", activation_.b);
  coder("c", activation_.c);
  coder("data", data_);
}
void NNNeuronDescriptor::encodeWithCoder(Coder& coder) const {
  NNNeuronDescriptor(*this).code(coder);
}

CNNNeuron::CNNNeuron(const Device& device, const NNNeuronDescriptor& neuronDescriptor)
    : KernelOf(device),
      descriptor_(neuronDescriptor),
      slopes_(slope_buffer(device, neuronDescriptor, "CNNNeuron")) {
  op_.activation = descriptor_.activation();
}

void CNNNeuron::code(Coder& coder) {
  CNNKernel::code(coder);
  coder("neuronDescriptor", descriptor_);
  if (!coder.is_reading()) return;
  op_.activation = descriptor_.activation();
  move_to(device());
}
void CNNNeuron::move_to(const Device& device) {
  KernelOf::move_to(device);
  slopes_ = slope_buffer(device, descriptor_, class_name());
}

void CNNNeuron::check(const Image& source, const Image&, std::size_t) const {
  const std::size_t channels = std::min(sourceFeatureChannelMaxCount(),
                                        source.featureChannels() - sourceFeatureChannelOffset());
  if (slopes_ && data().size() < channels) {
    complain("data", std::to_string(data().size()) + " slopes",
             std::to_string(channels) + ", one for each feature channel");
  }
}

void CNNNeuron::record(detail::UnaryEncoding& e) const {
  const auto source = e.aligned(*this);
  detail::encode(
      e.recording, memo_, op_,
      {source.view(), detail::view_of(e.recording, slopes_, flat_desc(e.destination.desc.c)),
       e.destination});
}

StatePtr CNNNeuron::make_state(const detail::StateOrigin& origin, const Image&,
                               const Image&) const {
  return std::make_shared<detail::GeometryState>(origin);
}

CNNNeuronGradient::CNNNeuronGradient(const Device& device,
                                     const NNNeuronDescriptor& neuronDescriptor)
    : KernelOf(device),
      descriptor_(neuronDescriptor),
      slopes_(slope_buffer(device, neuronDescriptor, "CNNNeuronGradient")) {
  op_.forward.activation = descriptor_.activation();
}

void CNNNeuronGradient::code(Coder& coder) {
  CNNGradientKernel::code(coder);
  coder("neuronDescriptor", descriptor_);
  if (!coder.is_reading()) return;
  op_.forward.activation = descriptor_.activation();
  move_to(device());
}
void CNNNeuronGradient::move_to(const Device& device) {
  KernelOf::move_to(device);
  slopes_ = slope_buffer(device, descriptor_, class_name());
}

void CNNNeuronGradient::check(const Image& gradient, const Image& source, const Image& destination,
                              const State* state, std::size_t count) const {
  CNNGradientKernel::check(gradient, source, destination, state, count);
  const std::size_t channels =
      std::min(secondarySourceFeatureChannelMaxCount(),
               source.featureChannels() - secondarySourceFeatureChannelOffset());
  if (slopes_ && data().size() < channels) {
    complain("data", std::to_string(data().size()) + " slopes",
             std::to_string(channels) + ", one for each feature channel");
  }
}

void CNNNeuronGradient::record(detail::BinaryEncoding& e) const {
  const detail::IncomingGradient gradient(*this, e);
  const detail::AlignedSource source(e.recording, e.secondary, secondaryOffset(), e.width, e.height,
                                     secondaryEdgeMode());
  detail::encode(
      e.recording, memo_, op_,
      {gradient.view(), source.view(),
       detail::view_of(e.recording, slopes_, flat_desc(e.destination.desc.c)), e.destination});
}

CNNNeuronLinear::CNNNeuronLinear(const Device& device, float a, float b)
    : CNNNeuron(device, of(Type::Linear, a, b)) {}
CNNNeuronReLU::CNNNeuronReLU(const Device& device, float a)
    : CNNNeuron(device, of(Type::ReLU, a)) {}
CNNNeuronPReLU::CNNNeuronPReLU(const Device& device, const float* a, std::size_t count)
    : CNNNeuron(device, NNNeuronDescriptor::cnnNeuronPReLUDescriptor({a, count})) {}
CNNNeuronSigmoid::CNNNeuronSigmoid(const Device& device) : CNNNeuron(device, of(Type::Sigmoid)) {}
CNNNeuronHardSigmoid::CNNNeuronHardSigmoid(const Device& device, float a, float b)
    : CNNNeuron(device, of(Type::HardSigmoid, a, b)) {}
CNNNeuronTanH::CNNNeuronTanH(const Device& device, float a, float b)
    : CNNNeuron(device, of(Type::TanH, a, b)) {}
CNNNeuronAbsolute::CNNNeuronAbsolute(const Device& device)
    : CNNNeuron(device, of(Type::Absolute)) {}
CNNNeuronSoftPlus::CNNNeuronSoftPlus(const Device& device, float a, float b)
    : CNNNeuron(device, of(Type::SoftPlus, a, b)) {}
CNNNeuronSoftSign::CNNNeuronSoftSign(const Device& device)
    : CNNNeuron(device, of(Type::SoftSign)) {}
CNNNeuronELU::CNNNeuronELU(const Device& device, float a) : CNNNeuron(device, of(Type::ELU, a)) {}
CNNNeuronReLUN::CNNNeuronReLUN(const Device& device, float a, float b)
    : CNNNeuron(device, of(Type::ReLUN, a, b)) {}
CNNNeuronPower::CNNNeuronPower(const Device& device, float a, float b, float c)
    : CNNNeuron(device, of(Type::Power, a, b, c)) {}
CNNNeuronExponential::CNNNeuronExponential(const Device& device, float a, float b, float c)
    : CNNNeuron(device, of(Type::Exponential, a, b, c)) {}
CNNNeuronLogarithm::CNNNeuronLogarithm(const Device& device, float a, float b, float c)
    : CNNNeuron(device, of(Type::Logarithm, a, b, c)) {}

}  // namespace cermet
