// Binary convolution (formula: cnn/binary_convolution.h). A warp makes each pixel ready once: u,
// its bits, the mean of |u|; then a thread for each output element counts bits with the machine's
// own instruction, or adds and subtracts u. What lies outside is one more pixel behind the last.
// Counts are exact; sums are float32, one short sum for each tap, in a fixed order.

#include <algorithm>
#include <cmath>

#include "cuda/activation.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

constexpr int word_bits = 32;  // and the lanes of a warp

/// Windows along one axis of the source.
struct Axis {
  int extent, kernel, stride, pad, dilation;
  bool clamps;
  /// The source position; -1 is outside.
  __device__ int inside(int at) const {
    const int near = max(0, min(at, extent - 1));
    return at == near || clamps ? near : -1;
  }
  /// Of tap p of output i.
  __device__ int position(int i, int p) const { return inside(stride * i - pad + dilation * p); }
  /// The same for the undilated window around the same centre.
  __device__ int near_position(int i, int p) const {
    const int centre = ((kernel - 1) * dilation + 1) / 2;
    return inside(stride * i - pad + centre - kernel / 2 + p);
  }
};

/// What all kernels see.
struct Problem {
  BinaryConvolution op;
  Axis y, x;
  Tensor source, weights, input_bias, input_scale;
  int words;
  float* values;   // u of each pixel
  unsigned* bits;  // of XNOR and AND
  float* means;    // of |u|

  __host__ __device__ bool counts_bits() const {
    return op.type != CNNBinaryConvolutionType::BinaryWeights;
  }
  /// Number of the pixel; the last is what lies outside.
  __device__ long long number(int n, int row, int column) const {
    if (row < 0 || column < 0) return source.pixels();
    return (static_cast<long long>(n) * source.desc.h + row) * source.desc.w + column;
  }
  __device__ const unsigned* words_of(int k, int q, int p) const {
    return reinterpret_cast<const unsigned*>(static_cast<const unsigned char*>(weights.data) +
                                             weights.offset({k, q, p, 0}));
  }
};

/// A warp for each pixel, and one for what lies outside.
__global__ void prepare_pixels(Problem problem) {
  begin_kernel();
  const Tensor& source = problem.source;
  const int lane = static_cast<int>(threadIdx.x) % word_bits, channels = source.desc.c;
  const long long pixels = source.pixels();
  const long long first =
      (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / word_bits;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x / word_bits;
  for (long long i = first; i <= pixels; i += step) {
    Index at{};
    if (i < pixels) at = index_of(i, source.desc.h, source.desc.w, 1);
    double sum = 0;
    for (int word = 0; word < problem.words; ++word) {
      at.c = word * word_bits + lane;
      const bool inside = at.c < channels;
      float u = inside && i < pixels ? load(source, at) : 0.0F;
      if (inside && problem.input_bias.present())
        u = (u + load(problem.input_bias, at.c)) * load(problem.input_scale, at.c);
      const unsigned bits = __ballot_sync(0xFFFFFFFF, inside && !(u < 0.0F));
      if (problem.counts_bits()) {
        if (lane == 0) problem.bits[i * problem.words + word] = bits;
      } else if (inside) {
        problem.values[i * channels + at.c] = u;
      }
      if (inside) sum += static_cast<double>(fabsf(u));
    }
    if (problem.op.betaScaling == 0) continue;
    for (int other = word_bits / 2; other > 0; other /= 2)
      sum += __shfl_xor_sync(0xFFFFFFFF, sum, other);
    if (lane == 0) problem.means[i] = static_cast<float>(sum / channels);
  }
}

/// The sum of a tap whose pixel is number `pixel`.
__device__ float value_of_tap(const Problem& problem, const unsigned* weights, long long pixel) {
  const int channels = problem.source.desc.c;
  const float* values = problem.values + pixel * channels;
  float sum = 0;
  for (int word = 0; word < problem.words; ++word) {
    const int count = min(word_bits, channels - word * word_bits);
    const unsigned signs = weights[word];
    for (int c = 0; c < count; ++c) {
      const float u = values[word * word_bits + c];
      sum += (signs >> c & 1U) != 0 ? u : -u;
    }
  }
  return sum;
}
__device__ int bits_of_tap(const Problem& problem, const unsigned* weights, long long pixel) {
  const unsigned* bits = problem.bits + pixel * problem.words;
  const bool both = problem.op.type == CNNBinaryConvolutionType::AND;
  int count = 0;
  for (int word = 0; word < problem.words; ++word)
    count += __popc(both ? bits[word] & weights[word] : bits[word] ^ weights[word]);
  return both ? count : problem.source.desc.c - 2 * count;
}

__device__ float beta_of(const Problem& problem, const Index& at) {
  if (problem.op.betaScaling == 0) return 1.0F;
  double sum = 0;
  for (int q = 0; q < problem.y.kernel; ++q) {
    for (int p = 0; p < problem.x.kernel; ++p) {
      const int row = problem.y.near_position(at.y, q), column = problem.x.near_position(at.x, p);
      sum += static_cast<double>(problem.means[problem.number(at.n, row, column)]);
    }
  }
  return static_cast<float>(sum / (static_cast<double>(problem.y.kernel) * problem.x.kernel));
}

__global__ void convolve_bits(Problem problem, Tensor output_bias, Tensor output_scale,
                              Tensor slopes, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    float sum = 0;
    long long count = 0;
    for (int q = 0; q < problem.y.kernel; ++q) {
      const int row = problem.y.position(at.y, q);
      for (int p = 0; p < problem.x.kernel; ++p) {
        const long long pixel = problem.number(at.n, row, problem.x.position(at.x, p));
        const unsigned* weights = problem.words_of(at.c, q, p);
        if (problem.counts_bits()) {
          count += bits_of_tap(problem, weights, pixel);
        } else {
          sum += value_of_tap(problem, weights, pixel);
        }
      }
    }
    if (problem.counts_bits()) sum = static_cast<float>(count);
    const float scaled = sum * load(output_scale, at.c) * beta_of(problem, at);
    const float slope = slopes.present() ? load(slopes, at.c) : 0.0F;
    store(destination, at,
          activate(problem.op.activation, scaled + load(output_bias, at.c), slope));
  }
}

constexpr std::size_t line = 256;  // bytes
std::size_t lines(std::size_t bytes) { return (bytes + line - 1) / line * line; }

}  // namespace

StepPtr prepare(const BinaryConvolution& op, Descs slots, Engine&) {
  using Op = BinaryConvolution;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const TensorDesc source = descs[Op::source];
  const bool counts_bits = op.type != CNNBinaryConvolutionType::BinaryWeights;
  const int words = descs[Op::weights].c / static_cast<int>(sizeof(unsigned));
  const auto pixels = static_cast<std::size_t>(source.pixels()) + 1;
  const std::size_t value_bytes =
      counts_bits ? lines(pixels * static_cast<std::size_t>(words) * sizeof(unsigned))
                  : lines(pixels * static_cast<std::size_t>(source.c) * sizeof(float));
  const std::size_t mean_bytes = op.betaScaling != 0 ? lines(pixels * sizeof(float)) : 0;
  const auto body = [=](const Args& args) {
    auto* scratch = static_cast<std::byte*>(args.scratch);
    const Window& w = op.window;
    const Problem problem{
        op,
        {source.h, w.kernelHeight, w.strideY, w.padTop, w.dilationY, w.clampEdges != 0},
        {source.w, w.kernelWidth, w.strideX, w.padLeft, w.dilationX, w.clampEdges != 0},
        tensor(args, descs, Op::source),
        tensor(args, descs, Op::weights),
        tensor(args, descs, Op::inputBias),
        tensor(args, descs, Op::inputScale),
        words,
        reinterpret_cast<float*>(scratch),
        reinterpret_cast<unsigned*>(scratch),
        reinterpret_cast<float*>(scratch + value_bytes)};
    const Tensor destination = tensor(args, descs, Op::destination);
    launch(args, static_cast<long long>(pixels) * word_bits, prepare_pixels, problem);
    launch(args, destination.count(), convolve_bits, problem, tensor(args, descs, Op::outputBias),
           tensor(args, descs, Op::outputScale), tensor(args, descs, Op::slopes), destination);
  };
  return make_step(slots, "cuda bits", body, value_bytes + mean_bytes);
}

}  // namespace cermet::cuda
