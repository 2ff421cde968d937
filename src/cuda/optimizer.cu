// Parameter updates: stochastic gradient descent, RMSProp, Adam and AMSGrad (formulas:
// ops/optimizer.h). All slots are flat. Every element is read before it is written, so `result` may
// be the values or the gradient. Fused multiply-adds stand where the CPU has them.

#include <array>
#include <cstdint>
#include <span>
#include <typeinfo>

#include "cuda/joining.h"
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
template <int width>
__device__ Pack<width> load_pack(const float* array, long long i) {
  return reinterpret_cast<const Pack<width>*>(array)[i];
}
template <int width>
__device__ void store_pack(float* array, long long i, const Pack<width>& pack) {
  reinterpret_cast<Pack<width>*>(array)[i] = pack;
}

/// Updates pack `i` of the tensors.
template <int width, int states, class Op, class Memory>
__device__ void update_pack(const Op& op, const typename Op::Scalars& scalars,
                            const Memory& tensors, long long i) {
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

template <int width, int states, class Op>
__global__ void update(Op op, ScalarsOf<typename Op::Scalars> given, Tensors tensors) {
  begin_kernel();
  const typename Op::Scalars scalars = given.get();
  for (const long long i : grid_stride(tensors.values.count() / width))
    update_pack<width, states>(op, scalars, tensors, i);
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

// ---- updates of several tensors in one launch: dense float32

struct Arrays {
  const float *gradient, *values;
  float *result, *states[most_states];
};

/// One of the updates. A thread has up to four elements of it.
template <class Op>
struct Part {
  Op op;
  int first_block, count;
  bool aligned;  // to fours of floats
  ScalarsOf<typename Op::Scalars> scalars;
  Arrays arrays;
};
template <class Op>
struct Parts {
  int ends[most_joined];  // by part, in blocks; past the last part: its end
  Part<Op> parts[most_joined];
};
constexpr int floats_of_block = 4 * block_threads;

template <int states, class Op>
__global__ void update_joined(const __grid_constant__ Parts<Op> all) {
  begin_kernel();
  const int block = static_cast<int>(blockIdx.x);
  int number = 0;
#pragma unroll
  for (std::size_t k = 0; k < most_joined; ++k) number += block >= all.ends[k] ? 1 : 0;
  const Part<Op>& part = all.parts[number];
  const typename Op::Scalars scalars = part.scalars.get();
  const int thread = static_cast<int>(threadIdx.x);
  const long long first = static_cast<long long>(block - part.first_block) * floats_of_block;
  const long long end = min(first + floats_of_block, static_cast<long long>(part.count));
  if (!part.aligned) {
    for (long long i = first + thread; i < end; i += block_threads)
      update_pack<1, states>(part.op, scalars, part.arrays, i);
    return;
  }
  const long long own = first + 4 * thread;
  if (own + 4 <= end) {
    update_pack<4, states>(part.op, scalars, part.arrays, own / 4);
  } else {
    for (long long i = own; i < end; ++i) update_pack<1, states>(part.op, scalars, part.arrays, i);
  }
}

/// What the step of an update does.
template <int states, class Op>
class Update : public Joinable {
 public:
  using StateSlots = std::array<std::size_t, most_states>;
  Update(const Op& op, Descs slots, const StateSlots& state_slots)
      : op_(op), descs_(slots.begin(), slots.end()), state_slots_(state_slots) {}

  void operator()(const Args& args) const {
    launch_update<states>(args, op_, descs_, state_slots_);
  }

  /// Large tensors gain nothing, and are better updated beside other work.
  static constexpr std::int64_t most_elements = 1 << 18;
  [[nodiscard]] const void* kind() const override {
    for (const TensorDesc& desc : descs_) {
      if (!desc.present()) continue;
      if (desc.type != ElementType::float32 || !desc.dense() || desc.count() > most_elements)
        return nullptr;
    }
    return &typeid(Update);
  }
  void launch_joined(std::span<const StepRun* const> runs, CudaStream& stream) const override {
    Parts<Op> all{};
    static_assert(sizeof(all) <= 4096, "parameters of a kernel");
    int blocks = 0;
    for (std::size_t k = 0; k < runs.size(); ++k) {
      Part<Op>& part = all.parts[k];
      part = dynamic_cast<const Update&>(*runs[k]->step).part(*runs[k], stream);
      part.first_block = blocks;
      blocks += (part.count - 1) / floats_of_block + 1;
      all.ends[k] = blocks;
    }
    for (std::size_t k = runs.size(); k < most_joined; ++k) all.ends[k] = blocks;
    Args args;
    args.stream = &stream;
    launch_blocks(args, blocks, update_joined<states, Op>, all);
  }

 private:
  [[nodiscard]] Part<Op> part(const StepRun& run, CudaStream& stream) const {
    const Args args{run.slots, run.scratch, run.scalars.data(), &stream};
    Part<Op> part{op_,
                  0,
                  static_cast<int>(descs_[Op::values].count()),
                  true,
                  scalars<typename Op::Scalars>(args),
                  {args.at(Op::gradient), args.at(Op::values), args.at(Op::result), {}}};
    for (int k = 0; k < states; ++k)
      part.arrays.states[k] = args.at(state_slots_[static_cast<std::size_t>(k)]);
    for (std::size_t slot = 0; slot < descs_.size(); ++slot) {
      const auto address = reinterpret_cast<std::uintptr_t>(run.slots[slot]);
      if (descs_[slot].present() && address % sizeof(float4) != 0) part.aligned = false;
    }
    return part;
  }

  Op op_;
  std::vector<TensorDesc> descs_;
  StateSlots state_slots_;
};

}  // namespace

StepPtr prepare(const StochasticGradientDescent& op, Descs slots, Engine&) {
  using Op = StochasticGradientDescent;
  const std::string name = "cuda gradient descent";
  if (slots[Op::momentum].present())
    return make_step(slots, name, Update<1, Op>(op, slots, {Op::momentum}));
  return make_step(slots, name, Update<0, Op>(op, slots, {}));
}

StepPtr prepare(const RMSProp& op, Descs slots, Engine&) {
  return make_step(slots, "cuda RMSProp", Update<1, RMSProp>(op, slots, {RMSProp::sumOfSquares}));
}

StepPtr prepare(const Adam& op, Descs slots, Engine&) {
  const std::string name = "cuda Adam";
  if (slots[Adam::maximumVelocity].present())
    return make_step(
        slots, name,
        Update<3, Adam>(op, slots, {Adam::momentum, Adam::velocity, Adam::maximumVelocity}));
  return make_step(slots, name, Update<2, Adam>(op, slots, {Adam::momentum, Adam::velocity}));
}

}  // namespace cermet::cuda
