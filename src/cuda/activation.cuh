#pragma once
// The neuron functions and their derivatives (ops/activation.h), for every kernel that ends with
// one. The type is the same for a whole launch, so the switch costs no divergence.

#include <cuda_runtime.h>

#include "cermet/ops/activation.h"

namespace cermet::cuda {

__device__ inline float sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return (x >= 0.0F ? 1.0F : e) / (1.0F + e);
}
/// e^x/(1 + e^x)^2 = sigmoid * (1 - sigmoid), even in x, without the cancellation of 1 - sigmoid.
__device__ inline float sigmoid_derivative(float x) {
  const float e = expf(-fabsf(x));
  return e / ((1.0F + e) * (1.0F + e));
}

/// Fused as on the CPU: Power and Logarithm magnify its rounding where a * x nearly cancels b.
__device__ inline float line(const Activation& f, float x) { return fmaf(f.a, x, f.b); }

/// f(x). `slope`: PReLU's of the channel, unused otherwise.
__device__ inline float activate(const Activation& f, float x, float slope) {
  using enum CNNNeuronType;
  switch (f.type) {
    case ReLU:
      return x >= 0.0F ? x : f.a * x;
    case Linear:
      return line(f, x);
    case Sigmoid:
      return sigmoid(x);
    case HardSigmoid: {
      const float v = line(f, x);
      return v < 0.0F ? 0.0F : (v > 1.0F ? 1.0F : v);
    }
    case TanH:
      return f.a * tanhf(f.b * x);
    case Absolute:
      return fabsf(x);
    case SoftPlus: {
      const float z = f.b * x;
      return f.a * ((z < 0.0F ? 0.0F : z) + log1pf(expf(-fabsf(z))));
    }
    case SoftSign:
      return x / (1.0F + fabsf(x));
    case ELU:
      return x >= 0.0F ? x : f.a * expm1f(x);
    case PReLU:
      return x >= 0.0F ? x : slope * x;
    case ReLUN: {
      const float v = x >= 0.0F ? x : f.a * x;
      return v > f.b ? f.b : v;
    }
    case Power:
      return powf(line(f, x), f.c);
    case Exponential: {
      const float z = line(f, x);
      return f.c == -1.0F ? expf(z) : powf(f.c, z);
    }
    case Logarithm: {
      const float z = logf(line(f, x));
      return f.c == -1.0F ? z : z / logf(f.c);
    }
    case GeLU:
      return 0.5F * x * erfcf(-0x1.6a09e6p-1F * x);
    case None:
    case Count:
      break;
  }
  return x;
}

/// f'(x), x being the source of f.
__device__ inline float derivative(const Activation& f, float x, float slope) {
  using enum CNNNeuronType;
  switch (f.type) {
    case ReLU:
      return x >= 0.0F ? 1.0F : f.a;
    case Linear:
      return f.a;
    case Sigmoid:
      return sigmoid_derivative(x);
    case HardSigmoid: {
      const float product = __fmul_rn(f.a, x);  // rounded: 0.2f * -2.5 is -0.5, the end itself
      return product >= -f.b && product <= 1.0F - f.b ? f.a : 0.0F;
    }
    case TanH:
      return 4.0F * f.a * f.b * sigmoid_derivative(2.0F * (f.b * x));
    case Absolute:
      return x > 0.0F ? 1.0F : (x < 0.0F ? -1.0F : 0.0F);
    case SoftPlus:
      return f.a * f.b * sigmoid(f.b * x);
    case SoftSign: {
      const float root = 1.0F + fabsf(x);
      return 1.0F / (root * root);
    }
    case ELU:
      return x >= 0.0F ? 1.0F : f.a * expf(x);
    case PReLU:
      return x >= 0.0F ? 1.0F : slope;
    case ReLUN: {
      const float v = x >= 0.0F ? x : f.a * x;
      return v >= f.b ? 0.0F : (x >= 0.0F ? 1.0F : f.a);
    }
    case Power:
      if (f.c == 0.0F) return 0.0F;  // not 0 * infinity
      if (f.c == 1.0F) return f.a;
      return f.a * f.c * powf(line(f, x), f.c - 1.0F);
    case Exponential: {
      const float z = line(f, x);
      return f.c == -1.0F ? f.a * expf(z) : f.a * logf(f.c) * powf(f.c, z);
    }
    case Logarithm: {
      const float z = line(f, x);
      return f.c == -1.0F ? f.a / z : f.a / (logf(f.c) * z);
    }
    case GeLU: {
      const float density = 0x1.988454p-2F * expf(-0.5F * x * x);  // 1/sqrt(2 pi)
      return 0.5F * erfcf(-0x1.6a09e6p-1F * x) + x * density;
    }
    case None:
    case Count:
      break;
  }
  return 1.0F;
}

}  // namespace cermet::cuda
