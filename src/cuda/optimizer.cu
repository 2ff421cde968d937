// Parameter updates: stochastic gradient descent, RMSProp, Adam and AMSGrad (formulas:
// ops/optimizer.h). All slots are flat. Every element is read before it is written, so `result` may
// be the values or the gradient. Fused multiply-adds stand where the CPU has them.

#include <array>

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

// One element of each rule: the new value, of the raw gradient, the value `w` and `states` numbers
// that are kept from update to update.

template <int states>
__device__ float updated(const StochasticGradientDescent& op,
                         const StochasticGradientDescent::Scalars& scalars, float raw, float w,
                         float* state) {
  const float rate = scalars.learningRate, g = prepared(op.preparation, scalars.gradient, raw, w);
  if constexpr (states == 0) return fmaf(-rate, g, w);
  const bool nesterov = op.nesterov != 0;
  const float mu = scalars.momentumScale, m = fmaf(mu, state[0], nesterov ? g : rate * g);
  state[0] = m;
  return nesterov ? fmaf(-rate, fmaf(mu, m, g), w) : w - m;
}

template <int states>
__device__ float updated(const RMSProp& op, const RMSProp::Scalars& scalars, float raw, float w,
                         float* state) {
  const float g = prepared(op.preparation, scalars.gradient, raw, w);
  state[0] = fmaf(scalars.decay, state[0], scalars.oneMinusDecay * g * g);
  return w - scalars.learningRate * g / (sqrtf(state[0]) + scalars.epsilon);
}

/// States: momentum, velocity and, with AMSGrad, the maximum of the velocity.
template <int states>
__device__ float updated(const Adam& op, const Adam::Scalars& scalars, float raw, float w,
                         float* state) {
  const float g = prepared(op.preparation, scalars.gradient, raw, w);
  const float m = fmaf(scalars.beta1, state[0], scalars.oneMinusBeta1 * g);
  float v = fmaf(scalars.beta2, state[1], scalars.oneMinusBeta2 * g * g);
  state[0] = m;
  state[1] = v;
  if constexpr (states == 3) {
    v = v <= state[2] ? state[2] : v;  // NaN replaces the maximum
    state[2] = v;
  }
  return w - scalars.stepLearningRate * m / (sqrtf(v) + scalars.epsilon);
}

constexpr int most_states = 3;
struct Tensors {
  Tensor gradient, values, result, states[most_states];
};

/// Adjacent elements, read and written at once; more than one only where tensors are flat.
template <int width>
struct alignas(width * sizeof(float)) Pack {
  float of[width];
};
template <int width>
__device__ Pack<width> load_pack(const Tensor& tensor, long long i) {
  if constexpr (width == 1) {
    return {{load(tensor, i)}};
  } else {
    return static_cast<const Pack<width>*>(tensor.data)[i];
  }
}
template <int width>
__device__ void store_pack(const Tensor& tensor, long long i, const Pack<width>& pack) {
  if constexpr (width == 1) {
    store(tensor, i, pack.of[0]);
  } else {
    static_cast<Pack<width>*>(tensor.data)[i] = pack;
  }
}

template <int width, int states, class Op>
__global__ void update(Op op, ScalarsOf<typename Op::Scalars> given, Tensors tensors) {
  begin_kernel();
  const typename Op::Scalars scalars = given.get();
  for (const long long i : grid_stride(tensors.values.count() / width)) {
    const Pack<width> raw = load_pack<width>(tensors.gradient, i),
                      w = load_pack<width>(tensors.values, i);
    Pack<width> kept[most_states], result;
#pragma unroll
    for (int k = 0; k < states; ++k) kept[k] = load_pack<width>(tensors.states[k], i);
#pragma unroll
    for (int e = 0; e < width; ++e) {
      float state[most_states] = {};
      for (int k = 0; k < states; ++k) state[k] = kept[k].of[e];
      result.of[e] = updated<states>(op, scalars, raw.of[e], w.of[e], state);
      for (int k = 0; k < states; ++k) kept[k].of[e] = state[k];
    }
#pragma unroll
    for (int k = 0; k < states; ++k) store_pack(tensors.states[k], i, kept[k]);
    store_pack(tensors.result, i, result);
  }
}

/// The update of a step whose slots are `op`'s, with those `state_slots` that are present.
template <int states, class Op>
void launch_update(const Args& args, const Op& op, Descs slots,
                   const std::array<std::size_t, most_states>& state_slots) {
  Tensors all{tensor(args, slots, Op::gradient),
              tensor(args, slots, Op::values),
              tensor(args, slots, Op::result),
              {}};
  bool flat = are_flat({all.gradient, all.values, all.result});
  for (int k = 0; k < states; ++k) {
    all.states[k] = tensor(args, slots, state_slots[static_cast<std::size_t>(k)]);
    flat = flat && are_flat({all.states[k]});
  }
  const auto given = scalars<typename Op::Scalars>(args);
  const long long count = all.values.count();
  if (flat) {
    launch(args, count / 4, update<4, states, Op>, op, given, all);
  } else {
    launch(args, count, update<1, states, Op>, op, given, all);
  }
}

}  // namespace

StepPtr prepare(const StochasticGradientDescent& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda gradient descent", [op, descs](const Args& args) {
    constexpr std::size_t momentum = StochasticGradientDescent::momentum;
    if (descs[momentum].present()) {
      launch_update<1>(args, op, descs, {momentum});
    } else {
      launch_update<0>(args, op, descs, {});
    }
  });
}

StepPtr prepare(const RMSProp& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda RMSProp", [op, descs](const Args& args) {
    launch_update<1>(args, op, descs, {RMSProp::sumOfSquares});
  });
}

StepPtr prepare(const Adam& op, Descs slots, Engine&) {
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda Adam", [op, descs](const Args& args) {
    if (descs[Adam::maximumVelocity].present()) {
      launch_update<3>(args, op, descs, {Adam::momentum, Adam::velocity, Adam::maximumVelocity});
    } else {
      launch_update<2>(args, op, descs, {Adam::momentum, Adam::velocity});
    }
  });
}

}  // namespace cermet::cuda
