// CrossChannelNormalization and its exact gradient (formulas: cnn/normalization.h; spec:
// normalization 5). Own code: oneDNN's form differs for even windows and its gradient wants a
// workspace of the forward pass.

#include <cmath>
#include <vector>

#include "cermet/cnn/normalization.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

/// The channels of windows over `count` of them.
struct Channels {
  std::int64_t count, below, above;  // of a channel's window

  Channels(const CrossChannelNormalization& op, std::int64_t channels)
      : count(channels), below(op.kernelSize / 2), above((op.kernelSize - 1) / 2) {}
  [[nodiscard]] std::int64_t begin(std::int64_t k) const {
    return std::max<std::int64_t>(k - below, 0);
  }
  [[nodiscard]] std::int64_t end(std::int64_t k) const { return std::min(k + above + 1, count); }
  /// Those whose windows contain channel k.
  [[nodiscard]] std::int64_t readers_begin(std::int64_t k) const {
    return std::max<std::int64_t>(k - above, 0);
  }
  [[nodiscard]] std::int64_t readers_end(std::int64_t k) const {
    return std::min(k + below + 1, count);
  }
};

/// L of channel k of a pixel.
float level(const CrossChannelNormalization& op, const Channels& channels, const float* x,
            std::int64_t k) {
  double squares = 0;
  for (std::int64_t q = channels.begin(k); q < channels.end(k); ++q)
    squares += double{x[q]} * double{x[q]};
  return static_cast<float>(double{op.delta} + double{op.alpha} / op.kernelSize * squares);
}

}  // namespace

StepPtr prepare(const CrossChannelNormalization& op, Descs descs, Engine& engine) {
  using Op = CrossChannelNormalization;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const Channels channels(op, source.c);
  const int threads = threads_for(destination.count(), engine, 2048);
  return make_step(descs, "channel sums", [=](const Args& args) {
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const float* in = pixel(from, source, n, y, x);
      float* out = pixel(to, destination, n, y, x);
      for (std::int64_t k = 0; k < channels.count; ++k)
        out[k] = in[k] * std::pow(level(op, channels, in, k), -op.beta);
    });
  });
}

StepPtr prepare(const CrossChannelNormalizationGradient& op, Descs descs, Engine& engine) {
  using Op = CrossChannelNormalizationGradient;
  const CrossChannelNormalization& f = op.forward;
  const TensorDesc gradient = descs[Op::gradient], source = descs[Op::source];
  const TensorDesc destination = descs[Op::destination];
  const Channels channels(f, source.c);
  const double pull = -2 * double{f.alpha} * double{f.beta} / f.kernelSize;
  const int threads = threads_for(destination.count(), engine, 2048);
  // Each pixel keeps g*L^-beta and g*x*L^(-beta-1) of its channels.
  const std::int64_t kept = 2 * channels.count;
  const auto body = [=](const Args& args) {
    const auto* g = args.at<const float>(Op::gradient);
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    auto* scratch = static_cast<float*>(args.scratch);
    for_each_row(threads, destination, [&](std::int64_t n, std::int64_t y) {
      float* direct = scratch + (n * destination.h + y) * kept;
      float* through = direct + channels.count;
      for (std::int64_t x = 0; x < destination.w; ++x) {
        const float* arriving = pixel(g, gradient, n, y, x);
        const float* in = pixel(from, source, n, y, x);
        float* out = pixel(to, destination, n, y, x);
        for (std::int64_t k = 0; k < channels.count; ++k) {
          const float l = level(f, channels, in, k);
          direct[k] = arriving[k] * std::pow(l, -f.beta);
          through[k] = direct[k] * in[k] / l;
        }
        for (std::int64_t k = 0; k < channels.count; ++k) {
          double sum = 0;
          for (std::int64_t r = channels.readers_begin(k); r < channels.readers_end(k); ++r)
            sum += double{through[r]};
          out[k] = static_cast<float>(double{direct[k]} + pull * double{in[k]} * sum);
        }
      }
    });
  };
  return make_step(
      descs, "channel gather", body,
      static_cast<std::size_t>(std::int64_t{destination.n} * destination.h * kept) * sizeof(float));
}

}  // namespace cermet::cpu
