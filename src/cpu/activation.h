#pragma once
// The neuron functions and their derivatives, for every kernel that ends with one (spec: pointwise
// 1). Templates on the type, so that a row's loop has no branch and vectorises; `dispatch` chooses
// the type once. Own code: the slopes at the kinks are the specification's, which no library
// shares. Sigmoid, TanH, ELU and the natural exponential are polynomials good to about an ulp;
// SoftPlus, Power, Logarithm and GeLU call the scalar C library.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cermet/ops/activation.h"

namespace cermet::cpu {

/// x = power * ln(2) + rest with |rest| <= ln(2)/2, for |x| below 128.
struct ReducedExponent {
  float power, rest;
};
[[nodiscard]] inline ReducedExponent reduce_exponent(float x) {
  const float power = std::rint(x * 0x1.715476p+0F);
  const float high = std::fma(power, -0x1.62e430p-1F, x);  // exact: ln(2) to 24 bits, fused
  return {power, std::fma(power, 0x1.05c610p-29F, high)};
}

/// e^r - 1 for |r| <= ln(2)/2: Taylor to r^7, the next term is below 6e-9.
[[nodiscard]] inline float exp_minus_one_near_zero(float r) {
  float sum = 1.0F / 5040;
  sum = std::fma(sum, r, 1.0F / 720);
  sum = std::fma(sum, r, 1.0F / 120);
  sum = std::fma(sum, r, 1.0F / 24);
  sum = std::fma(sum, r, 1.0F / 6);
  sum = std::fma(sum, r, 0.5F);
  return std::fma(sum * r, r, r);
}

[[nodiscard]] inline float power_of_two(std::int32_t exponent) {
  return std::bit_cast<float>((exponent + 127) << 23);
}

/// e^x with subnormal results, infinity and NaN as in IEEE arithmetic.
[[nodiscard]] inline float exponential(float x) {
  const float above = x > -104.0F ? x : -104.0F;
  const auto [power, rest] = reduce_exponent(above < 89.0F ? above : 89.0F);
  const auto exponent = static_cast<std::int32_t>(power);
  const std::int32_t half = exponent >> 1;  // two factors: 2^128 and 2^-150 are no floats
  const float value = (1.0F + exp_minus_one_near_zero(rest)) * power_of_two(half);
  return x == x ? value * power_of_two(exponent - half) : x;
}

/// e^x - 1 for x <= 0, exact to about an ulp near zero.
[[nodiscard]] inline float exponential_minus_one(float x) {
  const auto [power, rest] = reduce_exponent(x > -87.0F ? x : -87.0F);
  const float scale = power_of_two(static_cast<std::int32_t>(power));
  const float value = std::fma(scale, exp_minus_one_near_zero(rest), scale - 1.0F);
  return x == x ? value : x;
}

[[nodiscard]] inline float sigmoid(float x) {
  const float e = exponential(-std::fabs(x));
  return (x >= 0.0F ? 1.0F : e) / (1.0F + e);
}
/// e^x/(1 + e^x)^2 = sigmoid * (1 - sigmoid), even in x, without the cancellation of 1 - sigmoid.
[[nodiscard]] inline float sigmoid_derivative(float x) {
  const float e = exponential(-std::fabs(x));
  return e / ((1.0F + e) * (1.0F + e));
}
[[nodiscard]] inline float hyperbolic_tangent(float x) {
  const float e = exponential_minus_one(-2.0F * std::fabs(x));
  return std::copysign(e / (2.0F + e), x);
}

/// The largest of `count` values, NaN passed over; -infinity for none.
[[nodiscard]] inline float largest_of(const float* values, std::int64_t count) {
  float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, values[i]);
  return largest;
}

/// f(x). `slope`: PReLU's of the channel, unused otherwise.
template <CNNNeuronType type>
[[nodiscard]] inline float evaluate(const Activation& f, float x, [[maybe_unused]] float slope) {
  using enum CNNNeuronType;
  if constexpr (type == ReLU) return x >= 0.0F ? x : f.a * x;
  if constexpr (type == Linear) return f.a * x + f.b;
  if constexpr (type == Sigmoid) return sigmoid(x);
  if constexpr (type == HardSigmoid) {
    const float line = f.a * x + f.b;
    return line < 0.0F ? 0.0F : (line > 1.0F ? 1.0F : line);
  }
  if constexpr (type == TanH) return f.a * hyperbolic_tangent(f.b * x);
  if constexpr (type == Absolute) return std::fabs(x);
  if constexpr (type == SoftPlus) {
    const float z = f.b * x;
    return f.a * ((z < 0.0F ? 0.0F : z) + std::log1p(exponential(-std::fabs(z))));
  }
  if constexpr (type == SoftSign) return x / (1.0F + std::fabs(x));
  if constexpr (type == ELU) return x >= 0.0F ? x : f.a * exponential_minus_one(x);
  if constexpr (type == PReLU) return x >= 0.0F ? x : slope * x;
  if constexpr (type == ReLUN) {
    const float v = x >= 0.0F ? x : f.a * x;
    return v > f.b ? f.b : v;
  }
  if constexpr (type == Power) return std::pow(f.a * x + f.b, f.c);
  if constexpr (type == Exponential) {
    const float z = f.a * x + f.b;
    return f.c == -1.0F ? exponential(z) : std::pow(f.c, z);
  }
  if constexpr (type == Logarithm) {
    const float z = std::log(f.a * x + f.b);
    return f.c == -1.0F ? z : z / std::log(f.c);
  }
  if constexpr (type == GeLU) return 0.5F * x * std::erfc(-0x1.6a09e6p-1F * x);
  return x;
}

/// f'(x), x being the source of f.
template <CNNNeuronType type>
[[nodiscard]] inline float derivative(const Activation& f, float x, [[maybe_unused]] float slope) {
  using enum CNNNeuronType;
  if constexpr (type == ReLU) return x >= 0.0F ? 1.0F : f.a;
  if constexpr (type == Linear) return f.a;
  if constexpr (type == Sigmoid) return sigmoid_derivative(x);
  if constexpr (type == HardSigmoid) {
    const float product =
        f.a * x;  // no sum to fuse with: 0.2f * -2.5 is -0.5 and counts as the end
    return product >= -f.b && product <= 1.0F - f.b ? f.a : 0.0F;
  }
  if constexpr (type == TanH) return 4.0F * f.a * f.b * sigmoid_derivative(2.0F * (f.b * x));
  if constexpr (type == Absolute) return x > 0.0F ? 1.0F : (x < 0.0F ? -1.0F : 0.0F);
  if constexpr (type == SoftPlus) return f.a * f.b * sigmoid(f.b * x);
  if constexpr (type == SoftSign) {
    const float root = 1.0F + std::fabs(x);
    return 1.0F / (root * root);
  }
  if constexpr (type == ELU) return x >= 0.0F ? 1.0F : f.a * exponential(x);
  if constexpr (type == PReLU) return x >= 0.0F ? 1.0F : slope;
  if constexpr (type == ReLUN) {
    const float v = x >= 0.0F ? x : f.a * x;
    return v >= f.b ? 0.0F : (x >= 0.0F ? 1.0F : f.a);
  }
  if constexpr (type == Power) {
    if (f.c == 0.0F) return 0.0F;  // not 0 * infinity
    if (f.c == 1.0F) return f.a;
    return f.a * f.c * std::pow(f.a * x + f.b, f.c - 1.0F);
  }
  if constexpr (type == Exponential) {
    const float z = f.a * x + f.b;
    if (f.c == -1.0F) return f.a * exponential(z);
    return f.a * std::log(f.c) * std::pow(f.c, z);
  }
  if constexpr (type == Logarithm) {
    const float z = f.a * x + f.b;
    return f.c == -1.0F ? f.a / z : f.a / (std::log(f.c) * z);
  }
  if constexpr (type == GeLU) {
    const float density = 0x1.988454p-2F * exponential(-0.5F * x * x);  // 1/sqrt(2 pi)
    return 0.5F * std::erfc(-0x1.6a09e6p-1F * x) + x * density;
  }
  return 1.0F;
}

/// body.template operator()<type>(), the type known to the compiler.
template <class Body>
decltype(auto) dispatch(CNNNeuronType type, Body&& body) {
  using enum CNNNeuronType;
  switch (type) {
    case ReLU:
      return body.template operator()<ReLU>();
    case Linear:
      return body.template operator()<Linear>();
    case Sigmoid:
      return body.template operator()<Sigmoid>();
    case HardSigmoid:
      return body.template operator()<HardSigmoid>();
    case TanH:
      return body.template operator()<TanH>();
    case Absolute:
      return body.template operator()<Absolute>();
    case SoftPlus:
      return body.template operator()<SoftPlus>();
    case SoftSign:
      return body.template operator()<SoftSign>();
    case ELU:
      return body.template operator()<ELU>();
    case PReLU:
      return body.template operator()<PReLU>();
    case ReLUN:
      return body.template operator()<ReLUN>();
    case Power:
      return body.template operator()<Power>();
    case Exponential:
      return body.template operator()<Exponential>();
    case Logarithm:
      return body.template operator()<Logarithm>();
    case GeLU:
      return body.template operator()<GeLU>();
    case None:
    case Count:
      break;
  }
  return body.template operator()<None>();
}

/// y = f(x) and d = g * f'(x) for `count` adjacent values; outputs may be the same memory as
/// inputs. `slopes` is read for PReLU alone, one a value. Defined in neuron.cpp.
using EvaluateRow = void (*)(const Activation& f, const float* x, const float* slopes, float* y,
                             std::int64_t count);
using GradientRow = void (*)(const Activation& f, const float* g, const float* x,
                             const float* slopes, float* d, std::int64_t count);
[[nodiscard]] EvaluateRow evaluate_row(CNNNeuronType type);
[[nodiscard]] GradientRow gradient_row(CNNNeuronType type);

}  // namespace cermet::cpu
