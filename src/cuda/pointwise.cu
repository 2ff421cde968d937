// Chains of pointwise steps (pointwise.h): neurons, dropout and their gradients.

#include "cuda/pointwise.cuh"

#include <algorithm>
#include <array>

#include "cuda/activation.cuh"
#include "cuda/dropout.cuh"

namespace cermet::cuda {
namespace {

using Kind = PointwiseStage::Kind;

struct Chain {
  PointwiseStage stages[most_chained];
  int length;
  unsigned fours;
  const float4* input;  // of the first stage
};

constexpr int chain_threads = 128;  // few, so that small tensors keep many multiprocessors busy

__device__ unsigned own_four() { return blockIdx.x * chain_threads + threadIdx.x; }

/// What a stage reads besides its input.
struct Beside {
  float4 source;
  uchar4 mask;
  Dropout::Scalars scalars;
};

__device__ Beside load_beside(Kind kind, const PointwiseStage& stage, unsigned i) {
  Beside beside{};
  if (kind == Kind::neuron_gradient) beside.source = stage.source[i];
  if (kind == Kind::dropout) beside.scalars = stage.scalars.get();
  if (kind == Kind::dropout_gradient) beside.mask = stage.mask[i];
  return beside;
}

/// What a stage makes of four elements of its input; `f`: its function, where it is a neuron's.
__device__ float4 result_of(Kind kind, const Activation& f, const PointwiseStage& stage,
                            const Beside& beside, const float4& input, unsigned i) {
  switch (kind) {
    case Kind::neuron:
      return each([&](float x) { return activate(f, x, 0.0F); }, input);
    case Kind::neuron_gradient:
      return each([&](float g, float x) { return g * derivative(f, x, 0.0F); }, input,
                  beside.source);
    case Kind::dropout: {
      const auto image = static_cast<unsigned>(stage.image_fours);
      const uchar4 decided = decide(beside.scalars, stage.threshold, i % image, i / image);
      if (stage.mask != nullptr) stage.mask[i] = decided;
      return apply(decided, input, stage.keep);
    }
    case Kind::dropout_gradient:
      return apply(beside.mask, input, stage.keep);
  }
  return input;
}

// A thread has four elements. It reads all before it writes any, so that stages may work in place.

/// Stages are one loop, so that the code of each kind stands once, and no result is contracted with
/// what the next stage does.
__global__ void run_chain(const __grid_constant__ Chain chain) {
  begin_kernel();
  let_next_begin();
  const unsigned i = own_four();
  if (i >= chain.fours) return;
  float4 value = chain.input[i];
  Beside beside[most_chained];
#pragma unroll
  for (int k = 0; k < static_cast<int>(most_chained); ++k)
    if (k < chain.length) beside[k] = load_beside(chain.stages[k].kind, chain.stages[k], i);
#pragma unroll 1
  for (int k = 0; k < chain.length; ++k) {
    const PointwiseStage& stage = chain.stages[k];
    value = result_of(stage.kind, stage.activation, stage, beside[0], value, i);
    stage.result[i] = value;
#pragma unroll
    for (std::size_t next = 1; next < most_chained; ++next) beside[next - 1] = beside[next];
  }
}

/// The same for stages of these kinds, all neurons being ReLU: few instructions, one behind
/// another. To fetch those of `run_chain`, which lie far apart, takes longer than a short kernel
/// should.
template <Kind... kinds>
__global__ void run_relu_chain(const __grid_constant__ Chain chain) {
  begin_kernel();
  let_next_begin();
  const unsigned i = own_four();
  if (i >= chain.fours) return;
  constexpr int length = sizeof...(kinds);
  constexpr Kind kind_of[] = {kinds...};
  float4 value = chain.input[i];
  Beside beside[length];
#pragma unroll
  for (int k = 0; k < length; ++k) beside[k] = load_beside(kind_of[k], chain.stages[k], i);
#pragma unroll
  for (int k = 0; k < length; ++k) {
    const PointwiseStage& stage = chain.stages[k];
    Activation relu = stage.activation;
    relu.type = CNNNeuronType::ReLU;  // known to the compiler
    value = result_of(kind_of[k], relu, stage, beside[k], value, i);
    stage.result[i] = value;
  }
}

/// Whether `run_relu_chain` of these kinds does what `chain` asks for.
template <Kind... kinds>
bool is_relu_chain(const Chain& chain) {
  constexpr std::array all{kinds...};
  return std::equal(all.begin(), all.end(), chain.stages, chain.stages + chain.length,
                    [](Kind kind, const PointwiseStage& stage) {
                      const bool neuron = kind == Kind::neuron || kind == Kind::neuron_gradient;
                      return stage.kind == kind &&
                             (!neuron || stage.activation.type == CNNNeuronType::ReLU);
                    });
}

using Kernel = void (*)(Chain);
Kernel kernel_of(const Chain& chain) {
  if (is_relu_chain<Kind::neuron, Kind::dropout>(chain))
    return run_relu_chain<Kind::neuron, Kind::dropout>;
  if (is_relu_chain<Kind::dropout_gradient, Kind::neuron_gradient>(chain))
    return run_relu_chain<Kind::dropout_gradient, Kind::neuron_gradient>;
  return run_chain;
}

}  // namespace

void launch_chain(std::span<const StepRun* const> runs, CudaStream& stream) {
  Chain chain{};
  for (const StepRun* run : runs) {
    dynamic_cast<const Pointwise&>(*run->step).describe(*run, stream, chain.stages[chain.length++]);
  }
  const StepRun& first = *runs.front();
  const std::size_t input = dynamic_cast<const Pointwise&>(*first.step).input_slot();
  chain.input = static_cast<const float4*>(first.slots[input]);
  chain.fours = static_cast<unsigned>(first.step->slots[input].count() / 4);
  Args args;
  args.stream = &stream;
  launch_with(args, dim3((chain.fours - 1) / chain_threads + 1), chain_threads, 0, kernel_of(chain),
              chain);
}

}  // namespace cermet::cuda
