#pragma once
// Rows of neurons: what they say and how they run.

#include "../oracle/neuron.h"
#include "cermet/cnn/neuron.h"
#include "subject.h"

namespace cermet::test {

struct NeuronRow {
  Row row{};
  CNNNeuronType type = CNNNeuronType::None;
  float a = 0, b = 0, c = 0;
  std::vector<float> slopes{};  // PReLU
};

class NeuronSubject final : public SubjectOf<CNNNeuron, CNNNeuronGradient> {
 public:
  explicit NeuronSubject(const NeuronRow& r) : SubjectOf(r.row), r_(r) {}

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<CNNNeuron>(device, descriptor());
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<CNNNeuronGradient>(device, descriptor());
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::neuron({{r_.type, r_.a, r_.b, r_.c}}, aligned(source, g), slopes());
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const NeuronGradient op{{{r_.type, r_.a, r_.b, r_.c}}};
    const auto region = oracle::neuron_gradient(op, incoming, aligned(source, g), slopes());
    return {scattered(region, g), {}};
  }

 private:
  [[nodiscard]] std::vector<double> slopes() const { return {r_.slopes.begin(), r_.slopes.end()}; }
  [[nodiscard]] NNNeuronDescriptor descriptor() const {
    if (r_.type == CNNNeuronType::PReLU)
      return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(r_.slopes);
    return NNNeuronDescriptor::cnnNeuronDescriptor(r_.type, r_.a, r_.b, r_.c);
  }
  NeuronRow r_;
};

}  // namespace cermet::test
