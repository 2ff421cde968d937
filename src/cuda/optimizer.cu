// Parameter updates: stochastic gradient descent, RMSProp, Adam and AMSGrad (formulas:
// ops/optimizer.h). All slots are flat. Every element is read before it is written, so `result` may
// be the values or the gradient. Fused multiply-adds stand where the CPU has them.

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// The gradient in use, of the raw gradient and the value; NaN passes the clip.
__device__ float prepared(const GradientPreparation& op, const GradientScalars& scalars, float raw,
                          float w) {
  if (op.clip != 0) {
    raw = raw < scalars.clipMin ? scalars.clipMin : raw;
    raw = raw > scalars.clipMax ? scalars.clipMax : raw;
  }
  const float scaled = raw * scalars.rescale;
  switch (static_cast<NNRegularizationType>(op.regularization)) {
    case NNRegularizationType::L1: {
      const float sign = w > 0.0F ? 1.0F : (w < 0.0F ? -1.0F : 0.0F);
      return fmaf(scalars.regularizationScale, sign, scaled);
    }
    case NNRegularizationType::L2:
      return fmaf(scalars.regularizationScale, w, scaled);
    case NNRegularizationType::None:
      break;
  }
  return scaled;
}

__global__ void descend(StochasticGradientDescent op,
                        ScalarsOf<StochasticGradientDescent::Scalars> given, Tensor gradient,
                        Tensor values, Tensor momentum, Tensor result) {
  const StochasticGradientDescent::Scalars scalars = given.get();
  const float rate = scalars.learningRate, mu = scalars.momentumScale;
  for (const long long i : grid_stride(values.count())) {
    const float w = load(values, i);
    const float g = prepared(op.preparation, scalars.gradient, load(gradient, i), w);
    if (!momentum.present()) {
      store(result, i, fmaf(-rate, g, w));
      continue;
    }
    const bool nesterov = op.nesterov != 0;
    const float m = fmaf(mu, load(momentum, i), nesterov ? g : rate * g);
    store(momentum, i, m);
    store(result, i, nesterov ? fmaf(-rate, fmaf(mu, m, g), w) : w - m);
  }
}

/// Without momentum.
__global__ void descend_flat(StochasticGradientDescent op,
                             ScalarsOf<StochasticGradientDescent::Scalars> given,
                             const float4* gradient, const float4* values, float4* result,
                             long long count) {
  const StochasticGradientDescent::Scalars scalars = given.get();
  const auto updated = [&](float raw, float w) {
    return fmaf(-scalars.learningRate, prepared(op.preparation, scalars.gradient, raw, w), w);
  };
  for (const long long i : grid_stride(count)) result[i] = each(updated, gradient[i], values[i]);
}

__global__ void propagate(RMSProp op, ScalarsOf<RMSProp::Scalars> given, Tensor gradient,
                          Tensor values, Tensor squares, Tensor result) {
  const RMSProp::Scalars scalars = given.get();
  for (const long long i : grid_stride(values.count())) {
    const float w = load(values, i);
    const float g = prepared(op.preparation, scalars.gradient, load(gradient, i), w);
    const float sum = fmaf(scalars.decay, load(squares, i), scalars.oneMinusDecay * g * g);
    store(squares, i, sum);
    store(result, i, w - scalars.learningRate * g / (sqrtf(sum) + scalars.epsilon));
  }
}

struct AdamSlots {
  Tensor gradient, values, momentum, velocity, maximum, result;
};

__global__ void adapt(Adam op, ScalarsOf<Adam::Scalars> given, AdamSlots slots) {
  const Adam::Scalars scalars = given.get();
  for (const long long i : grid_stride(slots.values.count())) {
    const float w = load(slots.values, i);
    const float g = prepared(op.preparation, scalars.gradient, load(slots.gradient, i), w);
    const float m = fmaf(scalars.beta1, load(slots.momentum, i), scalars.oneMinusBeta1 * g);
    float v = fmaf(scalars.beta2, load(slots.velocity, i), scalars.oneMinusBeta2 * g * g);
    store(slots.momentum, i, m);
    store(slots.velocity, i, v);
    if (slots.maximum.present()) {
      const float before = load(slots.maximum, i);
      v = v <= before ? before : v;  // NaN replaces the maximum
      store(slots.maximum, i, v);
    }
    store(slots.result, i, w - scalars.stepLearningRate * m / (sqrtf(v) + scalars.epsilon));
  }
}

}  // namespace

StepPtr prepare(const StochasticGradientDescent& op, Descs slots, Engine&) {
  using Op = StochasticGradientDescent;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gradient descent", [op, descs](const Args& args) {
    const Tensor values = tensor(args, descs, Op::values), result = tensor(args, descs, Op::result);
    const Tensor gradient = tensor(args, descs, Op::gradient);
    const Tensor momentum = tensor(args, descs, Op::momentum);
    if (!momentum.present() && are_flat({gradient, values, result})) {
      launch(args, values.count() / 4, descend_flat, op, scalars<Op::Scalars>(args),
             args.at<float4>(Op::gradient), args.at<float4>(Op::values),
             args.at<float4>(Op::result), values.count() / 4);
      return;
    }
    launch(args, values.count(), descend, op, scalars<Op::Scalars>(args), gradient, values,
           momentum, result);
  });
}

StepPtr prepare(const RMSProp& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda RMSProp", [op, descs](const Args& args) {
    const Tensor values = tensor(args, descs, RMSProp::values);
    launch(args, values.count(), propagate, op, scalars<RMSProp::Scalars>(args),
           tensor(args, descs, RMSProp::gradient), values,
           tensor(args, descs, RMSProp::sumOfSquares), tensor(args, descs, RMSProp::result));
  });
}

StepPtr prepare(const Adam& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda Adam", [op, descs](const Args& args) {
    const AdamSlots all{
        tensor(args, descs, Adam::gradient),        tensor(args, descs, Adam::values),
        tensor(args, descs, Adam::momentum),        tensor(args, descs, Adam::velocity),
        tensor(args, descs, Adam::maximumVelocity), tensor(args, descs, Adam::result)};
    launch(args, all.values.count(), adapt, op, scalars<Adam::Scalars>(args), all);
  });
}

}  // namespace cermet::cuda
