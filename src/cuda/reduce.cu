// Reduce and ReduceWithWeights (cnn/reduce.h). Sums in double. A team of threads makes some
// adjacent results together: lanes are results, and slots share the elements of each, which are
// then joined in the order of a tree. Its size depends on the extents alone.

#include <cmath>

#include "backend/reduction.h"
#include "cuda/channel_sums.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

struct Sum {
  double value;
  __device__ static Sum none() { return {0}; }
  __device__ static Sum of(float element, int) { return {static_cast<double>(element)}; }
  __device__ void join(const Sum& other) { value += other.value; }
  __device__ float result(double factor, double divisor) const {
    return static_cast<float>(value * factor / divisor);
  }
};

/// Whether `a` comes before `b` as a minimum or maximum; NaN comes first.
template <bool largest>
__device__ bool before(float a, float b) {
  return largest ? a > b || (a != a && b == b) : a < b || (a != a && b == b);
}
template <bool largest>
struct Extreme {
  float value;
  __device__ static Extreme none() { return {largest ? -INFINITY : INFINITY}; }
  __device__ static Extreme of(float element, int) { return {element}; }
  __device__ void join(const Extreme& other) {
    if (before<largest>(other.value, value)) *this = other;
  }
  __device__ float result(double, double) const { return value; }
};
/// The first of those that are equal.
template <bool largest>
struct Argument {
  float value;
  int index;
  __device__ static Argument none() { return {largest ? -INFINITY : INFINITY, 0x7FFFFFFF}; }
  __device__ static Argument of(float element, int index) { return {element, index}; }
  __device__ void join(const Argument& other) {
    if (before<largest>(other.value, value) ||
        (!before<largest>(value, other.value) && other.index < index))
      *this = other;
  }
  __device__ float result(double, double) const { return static_cast<float>(index); }
};

/// Threads that work together; both are powers of two.
struct Team {
  int lanes, size;
};

template <class Value>
__global__ void reduce(backend::Reduction r, Tensor first, Tensor results, Team team) {
  begin_kernel();
  __shared__ Value parts[block_threads];
  const int own = static_cast<int>(threadIdx.x), id = own % team.size;
  const int lane = id % team.lanes, slot = id / team.lanes, slots = team.size / team.lanes;
  const TensorDesc& desc = first.desc;
  const int parts_of_pixel = (desc.c + team.lanes - 1) / team.lanes;
  const long long groups = first.pixels() * parts_of_pixel, at_once = block_threads / team.size;
  for (long long begin = blockIdx.x * at_once; begin < groups; begin += gridDim.x * at_once) {
    const long long group = begin + own / team.size;
    Index at = index_of(group, desc.h, desc.w, parts_of_pixel);
    at.c = at.c * team.lanes + lane;
    const bool active = group < groups && at.c < desc.c;
    Value value = Value::none();
    if (active) {
      const long long origin = first.offset(at);
#pragma unroll 4
      for (int i = slot; i < r.count; i += slots)
        value.join(Value::of(load(first, origin + i * static_cast<long long>(r.stride)), i));
    }
    parts[own] = value;
    for (int half = team.size / 2; half >= team.lanes; half /= 2) {
      __syncthreads();
      if (id < half) parts[own].join(parts[own + half]);
    }
    if (active && slot == 0) store(results, at, parts[own].result(r.factor, r.divisor));
    __syncthreads();
  }
}

/// Lanes for the channels of a pixel, and as many slots as have four elements or more.
Team team_for(const backend::Reduction& r) {
  Team team{1, 1};
  while (team.lanes < 32 && team.lanes < r.first.c) team.lanes *= 2;
  team.size = team.lanes;
  while (team.size < block_threads && r.count / (team.size / team.lanes) >= 8) team.size *= 2;
  return team;
}

template <class Value>
StepPtr reduction_step(const backend::Reduction& r, Descs slots) {
  const Team team = team_for(r);
  const long long groups =
      static_cast<long long>(r.first.pixels()) * ((r.first.c + team.lanes - 1) / team.lanes);
  return make_step(slots, "cuda reduction", [=](const Args& args) {
    launch(args, groups * team.size, reduce<Value>, r, Tensor{r.first, args.slots[Reduce::source]},
           Tensor{r.results, args.slots[Reduce::destination]}, team);
  });
}

template <int lanes>
__global__ void reduce_with_weights(WeightedDivisor divisor, Tensor features, Tensor weights,
                                    Tensor destination) {
  begin_kernel();
  const int channels = features.desc.c;
  for (const long long i : grid_stride(destination.pixels() * lanes)) {
    const int lane = static_cast<int>(i % lanes);
    const Index at = index_of(i / lanes, destination.desc.h, destination.desc.w, 1);
    const long long f = features.offset(at);
    const long long v =
        weights.offset({weights.desc.n == 1 ? 0 : at.n, weights.desc.h == 1 ? 0 : at.y,
                        weights.desc.w == 1 ? 0 : at.x, 0});
    double sum = 0;
    int counting = 0;
    for (int c = lane; c < channels; c += lanes) {
      const float weight = load(weights, v + c);
      sum += static_cast<double>(load(features, f + c)) * static_cast<double>(weight);
      counting += weight != 0.0F ? 1 : 0;
    }
    sum = sum_of<lanes>(sum);
    counting = sum_of<lanes>(counting);
    if (lane != 0) continue;
    if (divisor == WeightedDivisor::channels) sum /= channels;
    if (divisor == WeightedDivisor::non_zero_weights) sum = counting == 0 ? 0.0 : sum / counting;
    store(destination, at, static_cast<float>(sum));
  }
}

}  // namespace

StepPtr prepare(const Reduce& op, Descs slots, Engine&) {
  const backend::Reduction r(op, slots);
  switch (op.kind) {
    case ReduceKind::min:
      return reduction_step<Extreme<false>>(r, slots);
    case ReduceKind::max:
      return reduction_step<Extreme<true>>(r, slots);
    case ReduceKind::argument_min:
      return reduction_step<Argument<false>>(r, slots);
    case ReduceKind::argument_max:
      return reduction_step<Argument<true>>(r, slots);
    default:
      return reduction_step<Sum>(r, slots);
  }
}

StepPtr prepare(const ReduceWithWeights& op, Descs slots, Engine&) {
  using Op = ReduceWithWeights;
  const TensorDesc f = slots[Op::features], v = slots[Op::weights], to = slots[Op::destination];
  const int lanes = lanes_for(f.c);
  const auto kernel = lanes == 1 ? reduce_with_weights<1> : reduce_with_weights<32>;
  return make_step(
      slots, "cuda weighted channel sums", [=, divisor = op.divisor](const Args& args) {
        launch(args, to.pixels() * lanes, kernel, divisor, Tensor{f, args.slots[Op::features]},
               Tensor{v, args.slots[Op::weights]}, Tensor{to, args.slots[Op::destination]});
      });
}

}  // namespace cermet::cuda
