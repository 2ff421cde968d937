// Binary convolution (formula: cnn/binary_convolution.h). Each pixel is made ready once: u, its
// bits, the mean of |u|; then windows count bits, or add and subtract u for all output channels at
// a time. What lies outside is one more pixel behind the last. Counts are exact below 2^24, sums
// float32 in the order of rows, columns, channels.
// Own code: oneDNN has no weights of one bit.

#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/activation.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

using Index = std::int64_t;
using Word = std::uint32_t;
constexpr Index word_bits = 32;

/// Windows along one axis of the source.
struct Axis {
  Index extent, kernel, stride, pad, dilation;
  bool clamps;
  /// The source position of tap p of output i, undilated around the same centre where `near`; -1 is
  /// outside.
  [[nodiscard]] Index position(Index i, Index p, bool near = false) const {
    const Index centre = ((kernel - 1) * dilation + 1) / 2;
    const Index at =
        near ? stride * i - pad + centre - kernel / 2 + p : stride * i - pad + dilation * p;
    const Index inside = std::clamp<Index>(at, 0, extent - 1);
    return at == inside || clamps ? inside : -1;
  }
};

/// Arrays of one run, in scratch memory.
struct Ready {
  float* values;  // u, where there are input terms
  Word* bits;     // of XNOR and AND
  float* means;   // of |u|
  float* signs;   // of BinaryWeights: [kH][kW][C][K], 1 or -1
};

struct Problem {
  BinaryConvolution op;
  TensorDesc source, weights, destination;
  bool shifted;  // there are input terms
  Axis y, x;
  Index channels, outputs, words, taps;

  Problem(const BinaryConvolution& of, Descs descs)
      : op(of),
        source(descs[BinaryConvolution::source]),
        weights(descs[BinaryConvolution::weights]),
        destination(descs[BinaryConvolution::destination]),
        shifted(descs[BinaryConvolution::inputBias].present()),
        y{source.h,         op.window.kernelHeight, op.window.strideY,
          op.window.padTop, op.window.dilationY,    op.window.clampEdges != 0},
        x{source.w,          op.window.kernelWidth, op.window.strideX,
          op.window.padLeft, op.window.dilationX,   op.window.clampEdges != 0},
        channels(source.c),
        outputs(destination.c),
        words(weights.c / static_cast<Index>(sizeof(Word))),
        taps(y.kernel * x.kernel) {}

  [[nodiscard]] bool counts_bits() const {
    return op.type != CNNBinaryConvolutionType::BinaryWeights;
  }
  /// Pixels, and the one outside.
  [[nodiscard]] Index pixels() const { return source.pixels() + 1; }
  /// Number of the pixel; the last is what lies outside.
  [[nodiscard]] Index number(Index n, Index row, Index column) const {
    if (row < 0 || column < 0) return source.pixels();
    return (n * source.h + row) * source.w + column;
  }

  /// Where the arrays lie; `to` may be null. Returns the bytes.
  std::size_t lay_out(std::byte* to, Ready& ready) const {
    std::size_t bytes = 0;
    const auto part = [&]<class T>(bool wanted, Index count, T*& where) {
      where = to == nullptr ? nullptr : reinterpret_cast<T*>(to + bytes);
      constexpr std::size_t line = 64;
      if (wanted) bytes += (static_cast<std::size_t>(count) * sizeof(T) + line - 1) / line * line;
    };
    part(shifted, pixels() * channels, ready.values);
    part(counts_bits(), pixels() * words, ready.bits);
    part(op.betaScaling != 0, pixels(), ready.means);
    part(!counts_bits(), taps * channels * outputs, ready.signs);
    return bytes;
  }

  /// Makes pixel `i` ready, whose source is `from`, or 0 where that is null.
  void prepare_pixel(const float* from, const float* bias, const float* scale, const Ready& ready,
                     Index i) const {
    float* values = ready.values + i * channels;
    double sum = 0;
    Word word = 0;
    for (Index c = 0; c < channels; ++c) {
      float u = from != nullptr ? from[c] : 0.0F;
      if (shifted) {
        u = (u + bias[c]) * scale[c];
        values[c] = u;
      }
      sum += std::fabs(double{u});
      word |= Word{u < 0.0F ? 0U : 1U} << (c % word_bits);
      if (counts_bits() && (c % word_bits == word_bits - 1 || c == channels - 1)) {
        ready.bits[i * words + c / word_bits] = word;
        word = 0;
      }
    }
    if (op.betaScaling != 0)
      ready.means[i] = static_cast<float>(sum / static_cast<double>(channels));
  }

  [[nodiscard]] const Word* words_of(const std::uint8_t* from, Index k, Index q, Index p) const {
    return reinterpret_cast<const Word*>(from + k * weights.stride_n + q * weights.stride_h +
                                         p * weights.stride_w);
  }
  void unpack(const std::uint8_t* from, const Ready& ready) const {
    for (Index k = 0; k < outputs; ++k) {
      for (Index tap = 0; tap < taps; ++tap) {
        const Word* packed = words_of(from, k, tap / x.kernel, tap % x.kernel);
        float* to = ready.signs + tap * channels * outputs + k;
        for (Index c = 0; c < channels; ++c) {
          const bool set = (packed[c / word_bits] >> (c % word_bits) & 1U) != 0;
          to[c * outputs] = set ? 1.0F : -1.0F;
        }
      }
    }
  }

  /// out[k] += the tap's u, or -u.
  void add_values(const float* values, const float* signs, float* out) const {
    for (Index c = 0; c < channels; ++c) {
      const float u = values[c];
      const float* sign = signs + c * outputs;
#pragma omp simd
      for (Index k = 0; k < outputs; ++k) out[k] += u * sign[k];
    }
  }
  /// out[k] += the tap's bits that count.
  void add_bits(const Word* bits, const std::uint8_t* from, Index q, Index p, float* out) const {
    const bool both = op.type == CNNBinaryConvolutionType::AND;
    for (Index k = 0; k < outputs; ++k) {
      const Word* packed = words_of(from, k, q, p);
      Index count = 0;
      for (Index i = 0; i < words; ++i)
        count += std::popcount(both ? bits[i] & packed[i] : bits[i] ^ packed[i]);
      out[k] += static_cast<float>(both ? count : channels - 2 * count);
    }
  }
  [[nodiscard]] float beta(const Ready& ready, Index n, Index j, Index i) const {
    if (op.betaScaling == 0) return 1.0F;
    double sum = 0;
    for (Index q = 0; q < y.kernel; ++q) {
      for (Index p = 0; p < x.kernel; ++p)
        sum += double{ready.means[number(n, y.position(j, q, true), x.position(i, p, true))]};
    }
    return static_cast<float>(sum / static_cast<double>(taps));
  }
};

}  // namespace

StepPtr prepare(const BinaryConvolution& op, Descs descs, Engine& engine) {
  const Problem problem(op, descs);
  const int threads =
      threads_for(problem.destination.count() * problem.taps * std::max<Index>(problem.words, 4),
                  engine, 16384);
  const EvaluateRow evaluate = evaluate_row(op.activation.type);
  const bool prepares = problem.shifted || problem.counts_bits() || op.betaScaling != 0;
  const auto body = [=](const Args& args) {
    using Op = BinaryConvolution;
    Ready ready{};
    static_cast<void>(problem.lay_out(static_cast<std::byte*>(args.scratch), ready));
    const auto* from = args.at<const float>(Op::source);
    const auto* packed = args.at<const std::uint8_t>(Op::weights);
    const auto *bias = args.at<const float>(Op::outputBias),
               *scale = args.at<const float>(Op::outputScale),
               *slopes = args.at<const float>(Op::slopes);
    const auto *input_bias = args.at<const float>(Op::inputBias),
               *input_scale = args.at<const float>(Op::inputScale);
    if (prepares) {
      for_each_pixel(threads, problem.source, [&](Index n, Index row, Index column) {
        problem.prepare_pixel(pixel(from, problem.source, n, row, column), input_bias, input_scale,
                              ready, problem.number(n, row, column));
      });
      problem.prepare_pixel(nullptr, input_bias, input_scale, ready, problem.pixels() - 1);
    }
    if (!problem.counts_bits()) problem.unpack(packed, ready);

    for_each_pixel(threads, problem.destination, [&](Index n, Index j, Index i) {
      float* out = pixel(args.at(Op::destination), problem.destination, n, j, i);
      std::fill_n(out, problem.outputs, 0.0F);
      for (Index q = 0; q < problem.y.kernel; ++q) {
        const Index row = problem.y.position(j, q);
        for (Index p = 0; p < problem.x.kernel; ++p) {
          const Index column = problem.x.position(i, p), at = problem.number(n, row, column);
          if (problem.counts_bits()) {
            problem.add_bits(ready.bits + at * problem.words, packed, q, p, out);
            continue;
          }
          const bool outside = row < 0 || column < 0;
          if (outside && !problem.shifted) continue;
          const float* signs =
              ready.signs + (q * problem.x.kernel + p) * problem.channels * problem.outputs;
          problem.add_values(problem.shifted ? ready.values + at * problem.channels
                                             : pixel(from, problem.source, n, row, column),
                             signs, out);
        }
      }
      const float beta = problem.beta(ready, n, j, i);
#pragma omp simd
      for (Index k = 0; k < problem.outputs; ++k) out[k] = out[k] * scale[k] * beta + bias[k];
      evaluate(op.activation, out, slopes, out, problem.outputs);
    });
  };
  Ready none{};
  return make_step(descs, "own bits", body, problem.lay_out(nullptr, none));
}

}  // namespace cermet::cpu
