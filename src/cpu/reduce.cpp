// Reduce and ReduceWithWeights (cnn/reduce.h; spec: pooling-shape 5). Sums in double. Own code:
// oneDNN's reductions take no strides and say nothing of NaN.

#include <array>
#include <limits>

#include "backend/reduction.h"
#include "cpu/dot.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t block = 64;  // results that are made side by side

struct Sum {
  using Value = double;
  static constexpr Value none = 0;
  static Value join(Value a, Value b) { return a + b; }
};
/// A NaN stays.
struct Smallest {
  using Value = float;
  static constexpr Value none = std::numeric_limits<float>::infinity();
  static Value join(Value a, Value b) { return b < a || b != b ? b : a; }
};
struct Largest {
  using Value = float;
  static constexpr Value none = -std::numeric_limits<float>::infinity();
  static Value join(Value a, Value b) { return b > a || b != b ? b : a; }
};

/// values[k] = elements from[k], from[k + stride] ... joined, `count` of them, for k < width.
template <class Kind>
void join_lines(const float* from, std::int64_t stride, std::int64_t count, std::int64_t width,
                typename Kind::Value* values) {
  using Value = typename Kind::Value;
  std::fill_n(values, width, Kind::none);
  for (std::int64_t i = 0; i < count; ++i) {
    const float* line = from + i * stride;
#pragma omp simd
    for (std::int64_t k = 0; k < width; ++k) values[k] = Kind::join(values[k], Value{line[k]});
  }
}
/// The same for lines of `width` elements that follow one another without gaps: as few wide lines
/// as a block has room for, of which each holds several.
template <class Kind>
void join_dense(const float* from, std::int64_t count, std::int64_t width,
                typename Kind::Value* values) {
  using Value = typename Kind::Value;
  const std::int64_t wide = block / width * width, all = count * width, lines = all / wide;
  if (lines == 0) {
    join_lines<Kind>(from, width, count, width, values);
    return;
  }
  join_lines<Kind>(from, wide, lines, wide, values);
  const float* rest = from + lines * wide;
  for (std::int64_t k = 0; k < all - lines * wide; ++k)
    values[k] = Kind::join(values[k], Value{rest[k]});
  for (std::int64_t k = width; k < wide; ++k)
    values[k % width] = Kind::join(values[k % width], values[k]);
}

/// `count` elements that follow one another, joined.
template <class Kind>
typename Kind::Value join_all(const float* from, std::int64_t count) {
  using Value = typename Kind::Value;
  constexpr std::int64_t side_by_side = 16;
  Value all = Kind::none;
  std::int64_t i = 0;
  if (count >= side_by_side) {
    alignas(64) std::array<Value, side_by_side> values;
    const std::int64_t lines = count / side_by_side;
    join_lines<Kind>(from, side_by_side, lines, side_by_side, values.data());
    for (const Value value : values) all = Kind::join(all, value);
    i = lines * side_by_side;
  }
  for (; i < count; ++i) all = Kind::join(all, Value{from[i]});
  return all;
}

/// result(value) for each row or column.
template <class Kind, class Result>
StepPtr line_step(const Reduce& op, Descs descs, Engine& engine, Result result) {
  const backend::Reduction r(op, descs);
  const std::int64_t channels = r.first.c, blocks = (channels + block - 1) / block;
  const bool dense = r.stride == channels && channels <= block / 2;
  const int threads = threads_for(descs[Reduce::source].count(), engine);
  return make_step(descs, "reduction", [=](const Args& args) {
    const auto* from = args.at<const float>(Reduce::source);
    float* to = args.at(Reduce::destination);
    const std::int64_t h = r.first.h, w = r.first.w;
    const auto make = [&](std::int64_t at) {
      const std::int64_t first = at % blocks * block, pixels = at / blocks;
      const std::int64_t x = pixels % w, y = pixels / w % h, n = pixels / w / h;
      const float* elements = pixel(from, r.first, n, y, x) + first;
      float* out = pixel(to, r.results, n, y, x) + first;
      const std::int64_t width = std::min(block, channels - first);
      alignas(64) std::array<typename Kind::Value, block> values;
      if (dense) {
        join_dense<Kind>(elements, r.count, width, values.data());
      } else {
        join_lines<Kind>(elements, r.stride, r.count, width, values.data());
      }
      for (std::int64_t k = 0; k < width; ++k) out[k] = result(values[static_cast<std::size_t>(k)]);
    };
    parallel(threads, r.first.pixels() * blocks, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin; at < end; ++at) make(at);
    });
  });
}
/// result(value, first element) for each pixel.
template <class Kind, class Result>
StepPtr channel_step(Descs descs, Engine& engine, Result result) {
  const TensorDesc source = descs[Reduce::source], results = descs[Reduce::destination];
  const int threads = threads_for(source.count(), engine);
  return make_step(descs, "channel reduction", [=](const Args& args) {
    const auto* from = args.at<const float>(Reduce::source);
    float* to = args.at(Reduce::destination);
    for_each_pixel(threads, results, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const float* elements = pixel(from, source, n, y, x);
      *pixel(to, results, n, y, x) = result(join_all<Kind>(elements, source.c), elements);
    });
  });
}

template <class Kind, class Result>
StepPtr step(const Reduce& op, Descs descs, Engine& engine, Result result) {
  if (op.axis != ReduceAxis::feature_channels) return line_step<Kind>(op, descs, engine, result);
  return channel_step<Kind>(
      descs, engine, [result](typename Kind::Value value, const float*) { return result(value); });
}
/// Where the extreme value is first met.
template <class Kind>
StepPtr argument_step(Descs descs, Engine& engine) {
  return channel_step<Kind>(descs, engine, [](float value, const float* elements) {
    std::int64_t index = 0;
    if (value != value) {
      while (elements[index] == elements[index]) ++index;
    } else {
      while (elements[index] != value) ++index;
    }
    return static_cast<float>(index);
  });
}

}  // namespace

StepPtr prepare(const Reduce& op, Descs descs, Engine& engine) {
  const auto as_it_is = [](float value) { return value; };
  switch (op.kind) {
    case ReduceKind::min:
      return step<Smallest>(op, descs, engine, as_it_is);
    case ReduceKind::max:
      return step<Largest>(op, descs, engine, as_it_is);
    case ReduceKind::argument_min:
      return argument_step<Smallest>(descs, engine);
    case ReduceKind::argument_max:
      return argument_step<Largest>(descs, engine);
    default: {
      const backend::Reduction r(op, descs);
      return step<Sum>(op, descs, engine, [factor = r.factor, divisor = r.divisor](double value) {
        return static_cast<float>(value * factor / divisor);
      });
    }
  }
}

StepPtr prepare(const ReduceWithWeights& op, Descs descs, Engine& engine) {
  using Op = ReduceWithWeights;
  const TensorDesc features = descs[Op::features], destination = descs[Op::destination];
  TensorDesc weights = descs[Op::weights];
  if (weights.n == 1) weights.stride_n = 0;
  if (weights.h == 1) weights.stride_h = 0;
  if (weights.w == 1) weights.stride_w = 0;
  const std::int64_t channels = features.c;
  const int threads = threads_for(features.count(), engine);
  return make_step(descs, "weighted channel sums", [=](const Args& args) {
    const auto* f = args.at<const float>(Op::features);
    const auto* v = args.at<const float>(Op::weights);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const float* weight = pixel(v, weights, n, y, x);
      const double sum = dot(pixel(f, features, n, y, x), weight, channels);
      float& out = *pixel(to, destination, n, y, x);
      switch (op.divisor) {
        case WeightedDivisor::one:
          out = static_cast<float>(sum);
          break;
        case WeightedDivisor::channels:
          out = static_cast<float>(sum / static_cast<double>(channels));
          break;
        case WeightedDivisor::non_zero_weights: {
          const auto counting = channels - std::count(weight, weight + channels, 0.0F);
          out = counting == 0 ? 0.0F : static_cast<float>(sum / static_cast<double>(counting));
          break;
        }
      }
    });
  });
}

}  // namespace cermet::cpu
