#pragma once
// Neuron functions and derivatives (spec: pointwise 1-4).

#include <cmath>
#include <limits>

#include "cermet/cnn/neuron.h"
#include "tensor.h"

namespace cermet::oracle {

inline double sigmoid(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
inline double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x * 0; }

/// A neuron function of one channel: PReLU's slope stands in `a`.
struct NeuronFunction {
  CNNNeuronType type = CNNNeuronType::None;
  double a = 0, b = 0, c = 0;

  [[nodiscard]] double value(double x) const {
    const double u = a * x + b;
    switch (type) {
      case CNNNeuronType::None:
        return x;
      case CNNNeuronType::ReLU:
      case CNNNeuronType::PReLU:
        return x >= 0 ? x : a * x;
      case CNNNeuronType::Linear:
        return u;
      case CNNNeuronType::Sigmoid:
        return sigmoid(x);
      case CNNNeuronType::HardSigmoid:
        return u < 0 ? 0 : u > 1 ? 1 : u;
      case CNNNeuronType::TanH:
        return a * std::tanh(b * x);
      case CNNNeuronType::Absolute:
        return std::abs(x);
      case CNNNeuronType::SoftPlus:
        return a * (std::max(b * x, 0.0) + std::log1p(std::exp(-std::abs(b * x))));
      case CNNNeuronType::SoftSign:
        return x / (1 + std::abs(x));
      case CNNNeuronType::ELU:
        return x >= 0 ? x : a * std::expm1(x);
      case CNNNeuronType::ReLUN:
        return std::min(x >= 0 ? x : a * x, b);  // min(NaN, b) is NaN
      case CNNNeuronType::Power:
        return std::pow(u, c);
      case CNNNeuronType::Exponential:
        return c == -1 ? std::exp(u) : std::pow(c, u);
      case CNNNeuronType::Logarithm:
        return c == -1 ? std::log(u) : std::log(u) / std::log(c);
      case CNNNeuronType::GeLU:
        return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
      case CNNNeuronType::Count:
        break;
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  [[nodiscard]] double derivative(double x) const {
    constexpr double two_pi = 6.283185307179586;
    const double u = a * x + b;
    switch (type) {
      case CNNNeuronType::None:
        return 1;
      case CNNNeuronType::ReLU:
      case CNNNeuronType::PReLU:
        return x >= 0 ? 1 : a;
      case CNNNeuronType::Linear:
        return a;
      case CNNNeuronType::Sigmoid:
        return sigmoid(x) * (1 - sigmoid(x));
      case CNNNeuronType::HardSigmoid:
        return u >= 0 && u <= 1 ? a : 0;
      case CNNNeuronType::TanH:
        return a * b * (1 - std::tanh(b * x) * std::tanh(b * x));
      case CNNNeuronType::Absolute:
        return sign(x);
      case CNNNeuronType::SoftPlus:
        return a * b * sigmoid(b * x);
      case CNNNeuronType::SoftSign:
        return 1 / ((1 + std::abs(x)) * (1 + std::abs(x)));
      case CNNNeuronType::ELU:
        return x >= 0 ? 1 : a * std::exp(x);
      case CNNNeuronType::ReLUN:
        return (x >= 0 ? x : a * x) >= b ? 0 : x >= 0 ? 1 : a;
      case CNNNeuronType::Power:
        return c == 0 ? 0 : c == 1 ? a : a * c * std::pow(u, c - 1);
      case CNNNeuronType::Exponential:
        return a * value(x) * (c == -1 ? 1 : std::log(c));
      case CNNNeuronType::Logarithm:
        return a / (u * (c == -1 ? 1 : std::log(c)));
      case CNNNeuronType::GeLU:
        return 0.5 * (1 + std::erf(x * std::sqrt(0.5))) +
               x * std::exp(-x * x / 2) / std::sqrt(two_pi);
      case CNNNeuronType::Count:
        break;
    }
    return std::numeric_limits<double>::quiet_NaN();
  }
};

inline NeuronFunction neuron_function(const Activation& activation,
                                      const std::vector<double>& slopes, int channel) {
  const bool prelu = activation.type == CNNNeuronType::PReLU;
  return {activation.type, prelu ? entry(slopes, channel) : activation.a, activation.b,
          activation.c};
}

inline Tensor neuron(const Neuron& op, const Tensor& source, const std::vector<double>& slopes) {
  auto out = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    out(n, y, x, c) = neuron_function(op.activation, slopes, c).value(source(n, y, x, c));
  });
  return out;
}

/// `source`: the forward source.
inline Tensor neuron_gradient(const NeuronGradient& op, const Tensor& gradient,
                              const Tensor& source, const std::vector<double>& slopes) {
  auto out = like(source);
  for_each(source, [&](int n, int y, int x, int c) {
    const auto f = neuron_function(op.forward.activation, slopes, c);
    out(n, y, x, c) = gradient(n, y, x, c) * f.derivative(source(n, y, x, c));
  });
  return out;
}

}  // namespace cermet::oracle
