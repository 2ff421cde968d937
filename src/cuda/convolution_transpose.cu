// What a transposed convolution needs besides the passes of its adjoint: the weights of the
// adjoint, bias and activation, the gradient of the bias (formulas: cnn/convolution_transpose.h).

#include "cuda/activation.cuh"
#include "cuda/chunk_sums.cuh"

namespace cermet::cuda {
namespace {

__global__ void rotate(int groups, bool accumulate, Tensor source, Tensor destination) {
  begin_kernel();
  const int outputs = source.desc.n / groups, inputs = source.desc.c;  // of a group
  for (const Index at : elements(destination)) {
    const Index from{at.n / inputs * outputs + at.c, source.desc.h - 1 - at.y,
                     source.desc.w - 1 - at.x, at.n % inputs};
    const float before = accumulate ? load(destination, at) : 0.0F;
    store(destination, at, before + load(source, from));
  }
}

__global__ void add_bias(Activation f, Tensor source, const float* biases, const float* slopes,
                         Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const float x = load(source, at) + (biases != nullptr ? biases[at.c] : 0.0F);
    const float slope = slopes != nullptr ? slopes[at.c] : 0.0F;
    store(destination, at, f.type == CNNNeuronType::None ? x : activate(f, x, slope));
  }
}

__global__ void chunk_totals(Chunks chunks, Tensor source, Parts parts) {
  begin_kernel();
  double sum = 0;
  chunks.for_each([&](const Index& at) { sum += static_cast<double>(load(source, at)); });
  parts.put(chunks, channel_sum(sum), 0);
}

/// A block for each tile.
__global__ void merge_totals(Chunks chunks, Parts parts, bool accumulate, float* totals) {
  begin_kernel();
  const int channels = chunks.of.desc.c, c = Chunks::tile(static_cast<int>(blockIdx.x));
  const int row = static_cast<int>(threadIdx.x) / lanes;
  double sum = 0;
  if (c < channels) {
    for (int chunk = row; chunk < chunks.count; chunk += rows)
      sum += parts.first[static_cast<long long>(chunk) * channels + c];
  }
  sum = channel_sum(sum);
  if (row != 0 || c >= channels) return;
  totals[c] = static_cast<float>((accumulate ? static_cast<double>(totals[c]) : 0.0) + sum);
}

}  // namespace

StepPtr prepare(const ConvolutionAdjointWeights& op, Descs slots, Engine&) {
  using Op = ConvolutionAdjointWeights;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const auto body = [op, descs](const Args& args) {
    const Tensor destination = tensor(args, descs, Op::destination);
    launch(args, destination.count(), rotate, op.groups, op.accumulate != 0,
           tensor(args, descs, Op::source), destination);
  };
  return make_step(slots, "cuda rotated", body);
}

StepPtr prepare(const ConvolutionTransposeBias& op, Descs slots, Engine&) {
  using Op = ConvolutionTransposeBias;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const auto body = [op, descs](const Args& args) {
    const Tensor destination = tensor(args, descs, Op::destination);
    const auto array = [&](std::size_t slot) -> const float* {
      return descs[slot].present() ? args.at<const float>(slot) : nullptr;
    };
    launch(args, destination.count(), add_bias, op.activation, tensor(args, descs, Op::source),
           array(Op::biases), array(Op::slopes), destination);
  };
  return make_step(slots, "cuda bias", body);
}

StepPtr prepare(const ConvolutionTransposeGradientBias& op, Descs slots, Engine&) {
  using Op = ConvolutionTransposeGradientBias;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const Chunks chunks(descs[Op::gradient]);
  const auto body = [op, descs, chunks](const Args& args) {
    const Parts parts(chunks, args.scratch);
    launch_blocks(args, chunks.blocks(), chunk_totals, chunks, tensor(args, descs, Op::gradient),
                  parts);
    launch_blocks(args, chunks.tiles, merge_totals, chunks, parts, op.accumulate != 0,
                  args.at(Op::biasGradient));
  };
  return make_step(slots, "cuda chunk sums", body, Parts::bytes(chunks));
}

}  // namespace cermet::cuda
