// RandomFill (formula: matrix/random.h). Own code: the stream is the same on every device and for
// every number of threads, so each piece of it comes from its place alone: eight blocks, 32 words,
// at a time.

#include "cermet/matrix/random.h"

#include <array>
#include <bit>
#include <cmath>

#include "backend/inverse_normal.h"
#include "cpu/engine.h"
#include "cpu/philox.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t piece = 1024;  // elements made at a time

/// The 32 words from block `first` on.
void write32(std::uint64_t first, const RandomFill::Scalars& scalars, std::uint32_t* out) {
  const __m256i base = lanes(static_cast<std::uint32_t>(first));
  const __m256i low = _mm256_add_epi32(base, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  // -1 where the sum did not wrap round, for which the high word is one more.
  const __m256i in_order = _mm256_cmpeq_epi32(_mm256_max_epu32(low, base), low);
  const __m256i high =
      _mm256_add_epi32(lanes(static_cast<std::uint32_t>(first >> 32) + 1), in_order);
  const __m256i zero = _mm256_setzero_si256();
  const auto [c0, c1, c2, c3] = philox({zero, zero, high, low}, scalars.seed, scalars.generator);
  // From words of eight blocks to blocks of four words; each register has blocks k and k + 4.
  const __m256i a = _mm256_unpacklo_epi32(c0, c1), b = _mm256_unpackhi_epi32(c0, c1);
  const __m256i c = _mm256_unpacklo_epi32(c2, c3), d = _mm256_unpackhi_epi32(c2, c3);
  const __m256i r0 = _mm256_unpacklo_epi64(a, c), r1 = _mm256_unpackhi_epi64(a, c);
  const __m256i r2 = _mm256_unpacklo_epi64(b, d), r3 = _mm256_unpackhi_epi64(b, d);
  auto* to = reinterpret_cast<__m256i*>(out);
  _mm256_storeu_si256(to, _mm256_permute2x128_si256(r0, r1, 0x20));
  _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(r2, r3, 0x20));
  _mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(r0, r1, 0x31));
  _mm256_storeu_si256(to + 3, _mm256_permute2x128_si256(r2, r3, 0x31));
}

/// The polynomial from power k on, over x^k. Without a loop: loops with one in them do not
/// vectorise.
template <std::size_t k = 0, std::size_t count>
float horner(const float (&coefficients)[count], float x) {
  if constexpr (k + 1 == count) {
    return coefficients[k];
  } else {
    return std::fma(horner<k + 1>(coefficients, x), x, coefficients[k]);
  }
}

/// What has the share p of a standard normal distribution below it, and q = 1 - p above it.
float inverse_normal(float p, float q) {
  using Fit = backend::InverseNormal;
  constexpr Fit fit;
  const float t = 4 * p * q;
  const auto bits = std::bit_cast<std::int32_t>(t);
  const std::int32_t exponent = (bits - Fit::least_m) >> 23;
  const float f = std::bit_cast<float>(bits - exponent * (1 << 23)) - 1;
  const float logarithm = std::fma(f * f, horner(fit.logarithm, f), f);
  const float sum = std::fma(static_cast<float>(exponent), -Fit::log_2, -logarithm);
  const float w = sum > 0 ? sum : 0;
  const float root = std::sqrt(w);
  const float tail = std::fma(root, Fit::root_2, horner(fit.tail, 1 / root - Fit::place));
  const float central = horner(fit.central, w - Fit::centre);
  return (p - q) * (w < Fit::border ? central : tail);
}

/// The end of every number: scaled, moved and cut off.
struct Placing {
  float scale, offset, least, most;

  explicit Placing(const RandomFill& op)
      : scale(op.scale), offset(op.offset), least(op.least), most(op.most) {}
  [[nodiscard]] float operator()(float variate) const {
    const float value = std::fma(scale, variate, offset);
    const float above = value < least ? least : value;
    return above > most ? most : above;
  }
};

/// The top 23 bits, in [0, 1).
float unit(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word >> 9)) * 0x1p-23F;
}

void make_uniform(const RandomFill& op, std::int64_t count, const std::uint32_t* words,
                  float* numbers) {
  const Placing placed(op);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) numbers[i] = placed(unit(words[i]));
}
void make_normal(const RandomFill& op, std::int64_t count, const std::uint32_t* words,
                 float* numbers) {
  const Placing placed(op);
  const float below = op.below, between = op.between, above = op.above;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float given = unit(words[i]);
    const float u = given == 0 ? 0x1p-24F : given;
    numbers[i] =
        placed(inverse_normal(std::fma(between, u, below), std::fma(between, 1 - u, above)));
  }
}

/// Elements [first, first + count) of the destination, row by row.
template <class T>
void place(const TensorDesc& desc, std::int64_t first, std::int64_t count, const T* numbers,
           T* to) {
  while (count > 0) {
    const std::int64_t row = first / desc.c, column = first % desc.c;
    const std::int64_t together = std::min(count, desc.c - column);
    std::copy_n(numbers, together, pixel(to, desc, row / desc.h, row % desc.h, 0) + column);
    first += together;
    numbers += together;
    count -= together;
  }
}

}  // namespace

StepPtr prepare(const RandomFill& op, Descs descs, Engine& engine) {
  using Op = RandomFill;
  TensorDesc destination = descs[Op::destination];
  const std::int64_t count = destination.count(), pieces = (count + piece - 1) / piece;
  if (destination.dense() && count <= std::numeric_limits<std::int32_t>::max())
    destination = flat_desc(count);
  const int threads = threads_for(count, engine, 16384);
  return make_step(descs, "pieces of a stream", [=](const Args& args) {
    const auto& scalars = args.scalars_as<Op::Scalars>();
    parallel(threads, pieces, [&](std::int64_t begin, std::int64_t end) {
      alignas(64) std::array<std::uint32_t, piece> words;
      alignas(64) std::array<float, piece> numbers;
      for (std::int64_t at = begin; at < end; ++at) {
        const std::int64_t first = at * piece, here = std::min(piece, count - first);
        for (std::int64_t done = 0; done < here; done += 32) {
          write32(scalars.block + static_cast<std::uint64_t>((first + done) / 4), scalars,
                  words.data() + done);
        }
        if (op.variate == RandomVariate::word) {
          place(destination, first, here, words.data(), args.at<std::uint32_t>(Op::destination));
          continue;
        }
        if (op.variate == RandomVariate::uniform) {
          make_uniform(op, here, words.data(), numbers.data());
        } else {
          make_normal(op, here, words.data(), numbers.data());
        }
        place(destination, first, here, numbers.data(), args.at(Op::destination));
      }
    });
  });
}

}  // namespace cermet::cpu
