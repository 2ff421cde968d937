// Arithmetic: destination = clamp((p*x) op (s*y) + bias), operands broadcast along axes where their
// extent is 1. ArithmeticGradient: the sum over the broadcast axes of p*g*mask [* s*other], then
// bias and clamp (spec: pointwise 8-11). In place is allowed where nothing is summed. Own code: no
// library has scales, bias, clamp and mask in one pass. Reductions run in double, one destination
// pixel at a time in row-major order of the gradient, so they repeat bit for bit.

#include <array>
#include <cmath>
#include <limits>

#include "cpu/broadcast.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t channel_block = 64;

/// The limits that were set; one at its default is none, so that infinities and NaN pass.
struct Clamp {
  float low, high;
  std::int32_t no_low, no_high;

  Clamp(float minimum, float maximum)
      : low(minimum),
        high(maximum),
        no_low(minimum == std::numeric_limits<float>::lowest() ? 1 : 0),
        no_high(maximum == std::numeric_limits<float>::max() ? 1 : 0) {
    if (no_low != 0) low = -std::numeric_limits<float>::infinity();
    if (no_high != 0) high = std::numeric_limits<float>::infinity();
  }
  [[nodiscard]] float operator()(float value) const {
    const float above = value < low ? low : value;
    return above > high ? high : above;
  }
  /// 1: the value passed unchanged and its gradient passes too.
  [[nodiscard]] std::int32_t passes(float value) const {
    const std::int32_t above = value > low ? 1 : no_low;
    const std::int32_t below = value < high ? 1 : no_high;
    return above & below;
  }
};

template <ArithmeticKind kind>
float combined(float x, float y, const Arithmetic& op) {
  const float p = op.primaryScale, s = op.secondaryScale;
  if constexpr (kind == ArithmeticKind::add) return std::fma(p, x, s * y) + op.bias;
  if constexpr (kind == ArithmeticKind::subtract) return std::fma(p, x, -(s * y)) + op.bias;
  if constexpr (kind == ArithmeticKind::multiply) return std::fma(p * x, s * y, op.bias);
  if constexpr (kind == ArithmeticKind::divide) return (p * x) / (s * y) + op.bias;
}

template <ArithmeticKind kind>
void combine_run(const Run& run, const Arithmetic& op, const Clamp& clamp) {
  if (run.mask != nullptr) {
    combine(run, run.mask,
            [op, clamp](float x, float y) { return clamp.passes(combined<kind>(x, y, op)); });
  }
  combine(run, run.z, [op, clamp](float x, float y) { return clamp(combined<kind>(x, y, op)); });
}

using CombineRun = void (*)(const Run&, const Arithmetic&, const Clamp&);
CombineRun combine_of(ArithmeticKind kind) {
  switch (kind) {
    case ArithmeticKind::add:
      return &combine_run<ArithmeticKind::add>;
    case ArithmeticKind::subtract:
      return &combine_run<ArithmeticKind::subtract>;
    case ArithmeticKind::multiply:
      return &combine_run<ArithmeticKind::multiply>;
    case ArithmeticKind::divide:
      break;
  }
  return &combine_run<ArithmeticKind::divide>;
}

}  // namespace

StepPtr prepare(const Arithmetic& op, Descs descs, Engine& engine) {
  const TensorDesc destination = descs[Arithmetic::destination];
  const Runs runs(descs[Arithmetic::primary], descs[Arithmetic::secondary], destination,
                  descs[Arithmetic::mask]);
  const CombineRun combine_one = combine_of(op.kind);
  const int threads = threads_for(destination.count(), engine);
  return make_step(descs, runs.name(), [=](const Args& args) {
    const Clamp clamp(op.minimumValue, op.maximumValue);
    runs.for_each(threads, args.at<const float>(Arithmetic::primary),
                  args.at<const float>(Arithmetic::secondary), args.at(Arithmetic::destination),
                  args.at<std::uint8_t>(Arithmetic::mask),
                  [&](const Run& run) { combine_one(run, op, clamp); });
  });
}

namespace {

/// One pixel of the gradient and what takes part in its terms.
struct Terms {
  const float *g, *other;    // `other` null: it takes no part
  const std::uint8_t* mask;  // may be null
  std::int64_t other_step;
  float p, s;

  /// use(term) with a function of the channel that gives p*g*mask [* s*other] in type T; where the
  /// mask is 0 the term is exactly 0. Every case has a loop of its own.
  template <class T, class Use>
  void visit(Use&& use) const {
    if (other == nullptr) return visit_mask<T>(use, [](std::int64_t) { return T{1}; });
    if (other_step != 0) {
      return visit_mask<T>(use, [v = other, k = T{s}](std::int64_t c) { return k * T{v[c]}; });
    }
    visit_mask<T>(use, [value = T{s} * T{*other}](std::int64_t) { return value; });
  }

 private:
  template <class T, class Use, class Factor>
  void visit_mask(Use&& use, Factor factor) const {
    const auto product = [values = g, k = T{p}, factor](std::int64_t c) {
      return k * T{values[c]} * factor(c);
    };
    if (mask == nullptr) return use(product);
    use([product, m = mask](std::int64_t c) {
      const T term = product(c);
      return m[c] != 0 ? term : T{0};
    });
  }
};

/// Everything about the gradient but addresses.
struct Reduction {
  TensorDesc gradient, mask, destination;
  Broadcast other;
  ArithmeticGradient op;
  bool multiplies;

  explicit Reduction(const ArithmeticGradient& given, Descs descs)
      : gradient(descs[ArithmeticGradient::gradient]),
        mask(descs[ArithmeticGradient::mask]),
        destination(descs[ArithmeticGradient::destination]),
        other(descs[ArithmeticGradient::other], gradient),
        op(given),
        multiplies(given.kind == ArithmeticKind::multiply) {}

  [[nodiscard]] Terms terms(const Args& args, std::int64_t n, std::int64_t y,
                            std::int64_t x) const {
    const auto* v = args.at<const float>(ArithmeticGradient::other);
    const auto* m = args.at<const std::uint8_t>(ArithmeticGradient::mask);
    return {pixel(args.at<const float>(ArithmeticGradient::gradient), gradient, n, y, x),
            multiplies ? v + other.at(n, y, x) : nullptr,
            mask.present() ? pixel(m, mask, n, y, x) : nullptr,
            other.c,
            op.primaryScale,
            op.secondaryScale};
  }
  /// visit(n, y, x) for the gradient's pixels that fall on this destination pixel.
  template <class Visit>
  void for_each_source(std::int64_t n, std::int64_t y, std::int64_t x, Visit&& visit) const {
    const auto range = [](std::int64_t at, std::int32_t extent, std::int32_t larger) {
      return extent < larger ? std::array<std::int64_t, 2>{0, larger}
                             : std::array<std::int64_t, 2>{at, at + 1};
    };
    const auto images = range(n, destination.n, gradient.n);
    const auto lines = range(y, destination.h, gradient.h);
    const auto columns = range(x, destination.w, gradient.w);
    for (std::int64_t a = images[0]; a < images[1]; ++a) {
      for (std::int64_t b = lines[0]; b < lines[1]; ++b) {
        for (std::int64_t c = columns[0]; c < columns[1]; ++c) visit(a, b, c);
      }
    }
  }
  void store(float* out, double sum) const {
    const Clamp clamp(op.minimumValue, op.maximumValue);
    *out = clamp(static_cast<float>(sum + double{op.bias}));
  }
};

/// One destination pixel from channel `c` on, the channels kept apart.
void reduce_channels(const Reduction& r, const Args& args, const std::array<std::int64_t, 3>& at,
                     std::int64_t c, float* out) {
  alignas(64) std::array<double, channel_block> sums;
  const std::int64_t count = std::min(channel_block, r.destination.c - c);
  std::fill_n(sums.data(), count, 0.0);
  r.for_each_source(at[0], at[1], at[2], [&](std::int64_t n, std::int64_t y, std::int64_t x) {
    r.terms(args, n, y, x).visit<double>([&](const auto& term) {
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) sums[static_cast<std::size_t>(i)] += term(c + i);
    });
  });
  for (std::int64_t i = 0; i < count; ++i) r.store(out + c + i, sums[static_cast<std::size_t>(i)]);
}

/// One destination pixel that sums the channels too.
void reduce_all(const Reduction& r, const Args& args, const std::array<std::int64_t, 3>& at,
                float* out) {
  double sum = 0;
  r.for_each_source(at[0], at[1], at[2], [&](std::int64_t n, std::int64_t y, std::int64_t x) {
    r.terms(args, n, y, x).visit<double>([&](const auto& term) {
      double part = 0;
#pragma omp simd reduction(+ : part)
      for (std::int64_t c = 0; c < r.gradient.c; ++c) part += term(c);
      sum += part;
    });
  });
  r.store(out, sum);
}

/// Nothing is summed: adjacent values one by one, in float.
void scale_values(const Terms& terms, const ArithmeticGradient& op, float* out,
                  std::int64_t count) {
  const Clamp clamp(op.minimumValue, op.maximumValue);
  const float bias = op.bias;
  terms.visit<float>([&](const auto& term) {
    const auto own = term;  // a copy: stores cannot change it
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) out[i] = clamp(own(i) + bias);
  });
}

StepPtr without_sums(const Reduction& r, Descs descs, int threads) {
  const Broadcast own(r.destination, r.destination), gradient(r.gradient, r.destination);
  const Broadcast mask(r.mask.present() ? r.mask : r.destination, r.destination);
  const bool rows = own.is_row(r.destination) && gradient.is_row(r.destination) &&
                    mask.is_row(r.destination) && (!r.multiplies || r.other.is_row(r.destination));
  return make_step(descs, rows ? "rows" : "pixels", [=](const Args& args) {
    float* to = args.at(ArithmeticGradient::destination);
    const std::int64_t columns = rows ? 1 : r.destination.w;
    const std::int64_t count =
        rows ? std::int64_t{r.destination.w} * r.destination.c : r.destination.c;
    for_each_row(threads, r.destination, [&](std::int64_t n, std::int64_t y) {
      for (std::int64_t x = 0; x < columns; ++x) {
        scale_values(r.terms(args, n, y, x), r.op, pixel(to, r.destination, n, y, x), count);
      }
    });
  });
}

}  // namespace

StepPtr prepare(const ArithmeticGradient& op, Descs descs, Engine& engine) {
  const Reduction reduction(op, descs);
  const TensorDesc destination = reduction.destination;
  const bool all = destination.c < reduction.gradient.c;
  const int threads = threads_for(reduction.gradient.count(), engine, 8192);
  if (destination.count() == reduction.gradient.count()) {
    return without_sums(reduction, descs, threads);
  }
  return make_step(descs, all ? "channel sums" : "pixels", [=](const Args& args) {
    float* to = args.at(ArithmeticGradient::destination);
    const std::int64_t h = destination.h, w = destination.w;
    const std::int64_t blocks = (destination.c + channel_block - 1) / channel_block;
    parallel(threads, destination.pixels() * blocks, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t at = part / blocks, n = at / (h * w), y = at / w % h, x = at % w;
        float* out = pixel(to, destination, n, y, x);
        if (all) {
          reduce_all(reduction, args, {n, y, x}, out);
        } else {
          reduce_channels(reduction, args, {n, y, x}, part % blocks * channel_block, out);
        }
      }
    });
  });
}

}  // namespace cermet::cpu
