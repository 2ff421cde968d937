#pragma once
// Neuron nodes: one class for each function, one gradient node for all (spec: graph 8.2).

#include "cermet/cnn/neuron.h"
#include "cermet/nn/node.h"

namespace cermet {

class CNNNeuronNode : public NNFilterNode {
 public:
  /// The node of the subclass that the descriptor names.
  [[nodiscard]] static std::shared_ptr<CNNNeuronNode> node(NNImageNodePtr source,
                                                           const NNNeuronDescriptor& descriptor);
  [[nodiscard]] float a() const { return descriptor_.a(); }
  [[nodiscard]] float b() const { return descriptor_.b(); }
  [[nodiscard]] float c() const { return descriptor_.c(); }
  [[nodiscard]] const NNNeuronDescriptor& descriptor() const { return descriptor_; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  CNNNeuronNode(NNImageNodePtr source, NNNeuronDescriptor descriptor);
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;

 private:
  NNNeuronDescriptor descriptor_;
};

namespace detail {
/// One neuron node class; parameters that are left out take the defaults of the function.
template <CNNNeuronType type, std::size_t parameters>
class NeuronNodeOf : public CNNNeuronNode {
 public:
  explicit NeuronNodeOf(NNImageNodePtr source)
      : CNNNeuronNode(std::move(source), NNNeuronDescriptor::cnnNeuronDescriptor(type)) {}
  NeuronNodeOf(NNImageNodePtr source, float a) requires(parameters == 1)
      : CNNNeuronNode(std::move(source), NNNeuronDescriptor::cnnNeuronDescriptor(type, a)) {}
  NeuronNodeOf(NNImageNodePtr source, float a, float b) requires(parameters == 2)
      : CNNNeuronNode(std::move(source), NNNeuronDescriptor::cnnNeuronDescriptor(type, a, b)) {}
  NeuronNodeOf(NNImageNodePtr source, float a, float b, float c) requires(parameters == 3)
      : CNNNeuronNode(std::move(source), NNNeuronDescriptor::cnnNeuronDescriptor(type, a, b, c)) {}
};
}  // namespace detail

class CNNNeuronAbsoluteNode final : public detail::NeuronNodeOf<CNNNeuronType::Absolute, 0> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronAbsoluteNode"; }
};
class CNNNeuronELUNode final : public detail::NeuronNodeOf<CNNNeuronType::ELU, 1> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronELUNode"; }
};
class CNNNeuronReLUNode final : public detail::NeuronNodeOf<CNNNeuronType::ReLU, 1> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronReLUNode"; }
};
class CNNNeuronReLUNNode final : public detail::NeuronNodeOf<CNNNeuronType::ReLUN, 2> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronReLUNNode"; }
};
class CNNNeuronLinearNode final : public detail::NeuronNodeOf<CNNNeuronType::Linear, 2> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronLinearNode"; }
};
class CNNNeuronSigmoidNode final : public detail::NeuronNodeOf<CNNNeuronType::Sigmoid, 0> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronSigmoidNode"; }
};
class CNNNeuronHardSigmoidNode final : public detail::NeuronNodeOf<CNNNeuronType::HardSigmoid, 2> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronHardSigmoidNode"; }
};
class CNNNeuronSoftPlusNode final : public detail::NeuronNodeOf<CNNNeuronType::SoftPlus, 2> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronSoftPlusNode"; }
};
class CNNNeuronSoftSignNode final : public detail::NeuronNodeOf<CNNNeuronType::SoftSign, 0> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronSoftSignNode"; }
};
class CNNNeuronTanHNode final : public detail::NeuronNodeOf<CNNNeuronType::TanH, 2> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronTanHNode"; }
};
class CNNNeuronPReLUNode final : public CNNNeuronNode {
 public:
  CNNNeuronPReLUNode(NNImageNodePtr source, std::span<const float> aData)
      : CNNNeuronNode(std::move(source), NNNeuronDescriptor::cnnNeuronPReLUDescriptor(aData)) {}
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronPReLUNode"; }
};
class CNNNeuronPowerNode final : public detail::NeuronNodeOf<CNNNeuronType::Power, 3> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronPowerNode"; }
};
class CNNNeuronExponentialNode final : public detail::NeuronNodeOf<CNNNeuronType::Exponential, 3> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronExponentialNode"; }
};
class CNNNeuronLogarithmNode final : public detail::NeuronNodeOf<CNNNeuronType::Logarithm, 3> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronLogarithmNode"; }
};
class CNNNeuronGeLUNode final : public detail::NeuronNodeOf<CNNNeuronType::GeLU, 0> {
 public:
  using NeuronNodeOf::NeuronNodeOf;
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronGeLUNode"; }
};

class CNNNeuronGradientNode final : public NNGradientFilterNode {
 public:
  CNNNeuronGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                        NNStateNodePtr gradientState, NNNeuronDescriptor descriptor);
  [[nodiscard]] const NNNeuronDescriptor& descriptor() const { return descriptor_; }
  [[nodiscard]] std::string_view class_name() const override { return "CNNNeuronGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 private:
  NNNeuronDescriptor descriptor_;
};

}  // namespace cermet
