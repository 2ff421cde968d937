#pragma once
// Neurons: element-wise functions and their gradient (spec: pointwise 1-4).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// destination = f(source); all slots have the same extents. `slopes`: PReLU alone, one per
/// channel.
struct Neuron {
  static constexpr std::string_view name = "CNNNeuron";
  enum Slot { source, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  Activation activation{};
};

/// destination = gradient * f'(source), source being the forward source.
struct NeuronGradient {
  static constexpr std::string_view name = "CNNNeuronGradient";
  enum Slot { gradient, source, slopes, destination };
  static constexpr std::array access{Access::read, Access::read, Access::read, Access::write};
  Neuron forward{};
};

using NeuronOperators = TypeList<Neuron, NeuronGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include <optional>
#include <span>
#include <vector>

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Names a neuron function and its parameters. Parameters that a factory is not given take the
/// documented defaults of the type: ReLU a=0, Linear 1 0, HardSigmoid 0.2 0.5, TanH 1 1, SoftPlus 1
/// 1, ELU 1, ReLUN 1 6, Power 1 0 1, Exponential and Logarithm 1 0 -1 (base e).
class NNNeuronDescriptor {
 public:
  NNNeuronDescriptor() = default;
  explicit NNNeuronDescriptor(Coder& coder) { code(coder); }
  void encodeWithCoder(Coder& coder) const;
  /// Throws InvalidArgument for a code that is not a type.
  [[nodiscard]] static NNNeuronDescriptor cnnNeuronDescriptor(CNNNeuronType neuronType,
                                                              std::optional<float> a = {},
                                                              std::optional<float> b = {},
                                                              std::optional<float> c = {});
  /// One slope for each feature channel. `noCopy` is a hint; the data is copied.
  [[nodiscard]] static NNNeuronDescriptor cnnNeuronPReLUDescriptor(std::span<const float> data,
                                                                   bool noCopy = false);

  [[nodiscard]] CNNNeuronType neuronType() const { return activation_.type; }
  void setNeuronType(CNNNeuronType type) { activation_.type = type; }
  [[nodiscard]] float a() const { return activation_.a; }
  void setA(float a) { activation_.a = a; }
  [[nodiscard]] float b() const { return activation_.b; }
  void setB(float b) { activation_.b = b; }
  [[nodiscard]] float c() const { return activation_.c; }
  void setC(float c) { activation_.c = c; }
  /// PReLU slopes, entry k for channel k; empty for other types.
  [[nodiscard]] const std::vector<float>& data() const { return data_; }
  void setData(std::vector<float> data) { data_ = std::move(data); }

  [[nodiscard]] const Activation& activation() const { return activation_; }
  bool operator==(const NNNeuronDescriptor&) const = default;
  /// Lists the fields to a coder.
  void code(Coder& coder);

 private:
  Activation activation_;
  std::vector<float> data_;
};

/// y = f(x), channel by channel; result size = source size.
class CNNNeuron : public KernelOf<CNNKernel, Neuron> {
 public:
  /// Throws InvalidArgument for PReLU without data.
  CNNNeuron(const Device& device, const NNNeuronDescriptor& neuronDescriptor);
  CNNNeuron(Coder& coder, const Device& device) : KernelOf(device) { read(coder); }
  [[nodiscard]] CNNNeuron copy(const Device& device = {}) const { return copy_of(*this, device); }

  [[nodiscard]] CNNNeuronType neuronType() const { return descriptor_.neuronType(); }
  [[nodiscard]] float a() const { return descriptor_.a(); }
  [[nodiscard]] float b() const { return descriptor_.b(); }
  [[nodiscard]] float c() const { return descriptor_.c(); }
  [[nodiscard]] const std::vector<float>& data() const { return descriptor_.data(); }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::UnaryEncoding& encoding) const override;
  void check(const Image& source, const Image& destination, std::size_t count) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;

 private:
  NNNeuronDescriptor descriptor_;
  Buffer slopes_;
};

/// dx = g * f'(x), x the forward SOURCE. At kinks the documented slope: ReLU, PReLU and ELU 1 at 0.
class CNNNeuronGradient final : public KernelOf<CNNGradientKernel, NeuronGradient> {
 public:
  CNNNeuronGradient(const Device& device, const NNNeuronDescriptor& neuronDescriptor);
  CNNNeuronGradient(Coder& coder, const Device& device) : KernelOf(device) { read(coder); }
  [[nodiscard]] CNNNeuronGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }

  [[nodiscard]] CNNNeuronType neuronType() const { return descriptor_.neuronType(); }
  [[nodiscard]] float a() const { return descriptor_.a(); }
  [[nodiscard]] float b() const { return descriptor_.b(); }
  [[nodiscard]] float c() const { return descriptor_.c(); }
  [[nodiscard]] const std::vector<float>& data() const { return descriptor_.data(); }

 protected:
  void code(Coder& coder) override;
  void move_to(const Device& device) override;
  void record(detail::BinaryEncoding& encoding) const override;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;

 private:
  NNNeuronDescriptor descriptor_;
  Buffer slopes_;
};

// The deprecated one-class-a-function spellings; the same numbers as the descriptor form. Archives
// and copies hold them as CNNNeuron.
class CNNNeuronLinear final : public CNNNeuron {
 public:
  CNNNeuronLinear(const Device& device, float a, float b);
};
class CNNNeuronReLU final : public CNNNeuron {
 public:
  CNNNeuronReLU(const Device& device, float a);
};
class CNNNeuronPReLU final : public CNNNeuron {
 public:
  CNNNeuronPReLU(const Device& device, const float* a, std::size_t count);
};
class CNNNeuronSigmoid final : public CNNNeuron {
 public:
  explicit CNNNeuronSigmoid(const Device& device);
};
class CNNNeuronHardSigmoid final : public CNNNeuron {
 public:
  CNNNeuronHardSigmoid(const Device& device, float a, float b);
};
class CNNNeuronTanH final : public CNNNeuron {
 public:
  CNNNeuronTanH(const Device& device, float a, float b);
};
class CNNNeuronAbsolute final : public CNNNeuron {
 public:
  explicit CNNNeuronAbsolute(const Device& device);
};
class CNNNeuronSoftPlus final : public CNNNeuron {
 public:
  CNNNeuronSoftPlus(const Device& device, float a, float b);
};
class CNNNeuronSoftSign final : public CNNNeuron {
 public:
  explicit CNNNeuronSoftSign(const Device& device);
};
class CNNNeuronELU final : public CNNNeuron {
 public:
  CNNNeuronELU(const Device& device, float a);
};
class CNNNeuronReLUN final : public CNNNeuron {
 public:
  CNNNeuronReLUN(const Device& device, float a, float b);
};
class CNNNeuronPower final : public CNNNeuron {
 public:
  CNNNeuronPower(const Device& device, float a, float b, float c);
};
class CNNNeuronExponential final : public CNNNeuron {
 public:
  CNNNeuronExponential(const Device& device, float a, float b, float c);
};
class CNNNeuronLogarithm final : public CNNNeuron {
 public:
  CNNNeuronLogarithm(const Device& device, float a, float b, float c);
};

using NeuronKernels = TypeList<CNNNeuron, CNNNeuronGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
