// Dropout: destination = kept ? source / keepProbability : +0 with Philox4x32-10 decisions; the
// gradient applies the stored mask (spec: pointwise 13, cnn/dropout.h).
// Own code: decisions must be the same bits on every device and for every thread count, so they
// come from a counter, eight counters (32 elements) at a time.

#include <array>
#include <cmath>

#include "cpu/engine.h"
#include "cpu/philox.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t piece = 1024;  // elements decided at a time

/// The decisions of one encode.
struct Decisions {
  std::uint64_t seed, encode;
  std::int32_t threshold;  // kept when the top 24 bits of a word are below keep * 2^24

  Decisions(const Dropout& op, const Dropout::Scalars& scalars)
      : seed(scalars.seed),
        encode(scalars.encode),
        threshold(static_cast<std::int32_t>(std::ceil(double{op.keepProbability} * 0x1p24))) {}

  /// 32 decisions, 1 or 0, of the elements from 4 * counter on.
  void write32(std::uint32_t counter, std::uint32_t image, std::uint8_t* out) const {
    const PhiloxWords counters{
        _mm256_add_epi32(lanes(counter), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), lanes(image),
        lanes(static_cast<std::uint32_t>(encode)), lanes(static_cast<std::uint32_t>(encode >> 32))};
    const auto [c0, c1, c2, c3] =
        philox(counters, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
    const __m256i bits = _mm256_or_si256(_mm256_or_si256(kept(c0, 0), kept(c1, 8)),
                                         _mm256_or_si256(kept(c2, 16), kept(c3, 24)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bits);
  }

 private:
  /// Word k of a counter decides element 4*counter + k: byte k of its lane.
  [[nodiscard]] __m256i kept(__m256i word, int shift) const {
    const __m256i below =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(threshold), _mm256_srli_epi32(word, 8));
    return _mm256_and_si256(below, lanes(1u << shift));
  }
};

/// Room for the decisions of one piece and a little more on both sides.
class Piece {
 public:
  /// Decisions of `count` <= piece elements from `first` on.
  const std::uint8_t* decide(const Decisions& decisions, std::uint32_t image, std::int64_t first,
                             std::int64_t count) {
    const std::int64_t skipped = first % 4;
    auto counter = static_cast<std::uint32_t>(first / 4);
    for (std::int64_t done = 0; done < skipped + count; done += 32, counter += 8) {
      decisions.write32(counter, image, bytes_.data() + done);
    }
    return bytes_.data() + skipped;
  }

 private:
  alignas(64) std::array<std::uint8_t, piece + 64> bytes_;
};

/// destination = kept ? source / keep : +0, `step` 0 for one decision for all.
void select(const float* source, const std::uint8_t* kept, std::int64_t step, float keep,
            float* destination, std::int64_t count) {
  if (step == 0) {
    const bool all = *kept != 0;
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) destination[i] = all ? source[i] / keep : 0.0F;
    return;
  }
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    destination[i] = kept[i] != 0 ? source[i] / keep : 0.0F;
  }
}

/// The elements of an image follow each other in the order of the mask.
bool image_is_dense(const TensorDesc& desc) {
  return (desc.w == 1 || desc.stride_w == desc.c) &&
         (desc.h == 1 || desc.stride_h == std::int64_t{desc.w} * desc.c);
}

struct Slots3 {
  TensorDesc source, mask, destination;
};

StepPtr dropout_dense(const Dropout& op, Descs descs, const Slots3& slots, int threads) {
  return make_step(descs, "dense", [=](const Args& args) {
    const auto& scalars = args.scalars_as<Dropout::Scalars>();
    const Decisions decisions(op, scalars);
    const auto* from = args.at<const float>(Dropout::source);
    auto* mask = args.at<std::uint8_t>(Dropout::mask);
    float* to = args.at(Dropout::destination);
    const TensorDesc& source = slots.source;
    const std::int64_t image = std::int64_t{source.h} * source.w * source.c;
    const std::int64_t pieces = (image + piece - 1) / piece;
    parallel(threads, source.n * pieces, [&](std::int64_t begin, std::int64_t end) {
      Piece bytes;
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t n = part / pieces, first = part % pieces * piece;
        const std::int64_t count = std::min(piece, image - first);
        const auto* kept = bytes.decide(
            decisions, scalars.first_image + static_cast<std::uint32_t>(n), first, count);
        if (slots.mask.present()) {
          std::copy_n(kept, count, mask + n * slots.mask.stride_n + first);
        }
        select(from + n * source.stride_n + first, kept, 1, op.keepProbability,
               to + n * slots.destination.stride_n + first, count);
      }
    });
  });
}

/// One pixel of the general path: mask position (y, x), decided anew where it is shared.
struct PixelRun {
  std::uint32_t image;
  std::int64_t first;  // index of the pixel's first mask element
  const float* source;
  float* destination;
  std::uint8_t* mask;  // null: not stored here
  std::int64_t channels;
};

void drop_pixel(const Dropout& op, const Decisions& decisions, const PixelRun& run, Piece& bytes) {
  const bool each = op.maskStrideC != 0;
  const std::int64_t longest = each ? piece : run.channels;
  for (std::int64_t c = 0; c < run.channels; c += longest) {
    const std::int64_t count = std::min(longest, run.channels - c), decided = each ? count : 1;
    const auto* kept = bytes.decide(decisions, run.image, run.first + c, decided);
    if (run.mask != nullptr) std::copy_n(kept, decided, run.mask + c);
    select(run.source + c, kept, each ? 1 : 0, op.keepProbability, run.destination + c, count);
  }
}

}  // namespace

StepPtr prepare(const Dropout& op, Descs descs, Engine& engine) {
  const Slots3 slots{descs[Dropout::source], descs[Dropout::mask], descs[Dropout::destination]};
  const TensorDesc source = slots.source;
  const int threads = threads_for(source.count(), engine, 8192);
  if (op.maskStrideX != 0 && op.maskStrideY != 0 && op.maskStrideC != 0 && image_is_dense(source) &&
      image_is_dense(slots.destination) && (!slots.mask.present() || image_is_dense(slots.mask))) {
    return dropout_dense(op, descs, slots, threads);
  }
  return make_step(descs, "pixels", [=](const Args& args) {
    const auto& scalars = args.scalars_as<Dropout::Scalars>();
    const Decisions decisions(op, scalars);
    const auto* from = args.at<const float>(Dropout::source);
    auto* mask = args.at<std::uint8_t>(Dropout::mask);
    float* to = args.at(Dropout::destination);
    const std::int64_t h = source.h;
    const std::int64_t mask_w = op.maskStrideX != 0 ? source.w : 1;
    const std::int64_t mask_c = op.maskStrideC != 0 ? source.c : 1;
    parallel(threads, source.n * h, [&](std::int64_t begin, std::int64_t end) {
      Piece bytes;
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t n = row / h, y = row % h, mask_y = op.maskStrideY * y;
        for (std::int64_t x = 0; x < source.w; ++x) {
          const std::int64_t mask_x = op.maskStrideX * x;
          const bool stores = slots.mask.present() && mask_x == x && mask_y == y;
          drop_pixel(op, decisions,
                     {scalars.first_image + static_cast<std::uint32_t>(n),
                      (mask_y * mask_w + mask_x) * mask_c, pixel(from, source, n, y, x),
                      pixel(to, slots.destination, n, y, x),
                      stores ? pixel(mask, slots.mask, n, y, x) : nullptr, source.c},
                     bytes);
        }
      }
    });
  });
}

StepPtr prepare(const DropoutGradient& op, Descs descs, Engine& engine) {
  const TensorDesc gradient = descs[DropoutGradient::gradient];
  const TensorDesc mask = descs[DropoutGradient::mask];
  const TensorDesc destination = descs[DropoutGradient::destination];
  const Dropout forward = op.forward;
  const bool flat = forward.maskStrideX != 0 && forward.maskStrideY != 0 &&
                    forward.maskStrideC != 0 && op.shiftX == 0 && op.shiftY == 0 &&
                    mask.h == destination.h && mask.w == destination.w &&
                    image_is_dense(gradient) && image_is_dense(mask) && image_is_dense(destination);
  const std::int64_t h = flat ? 1 : destination.h, w = flat ? 1 : destination.w;
  const std::int64_t length = destination.count() / (destination.n * h * w);
  const int threads = threads_for(destination.count(), engine);
  return make_step(descs, flat ? "dense" : "pixels", [=](const Args& args) {
    const auto* g = args.at<const float>(DropoutGradient::gradient);
    const auto* kept = args.at<const std::uint8_t>(DropoutGradient::mask);
    float* to = args.at(DropoutGradient::destination);
    parallel(threads, destination.n * h, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t n = row / h, y = row % h;
        const std::int64_t mask_y = forward.maskStrideY != 0 ? y + op.shiftY : 0;
        for (std::int64_t x = 0; x < w; ++x) {
          const std::int64_t mask_x = forward.maskStrideX != 0 ? x + op.shiftX : 0;
          float* out = pixel(to, destination, n, y, x);
          if (mask_y < 0 || mask_x < 0 || mask_y >= mask.h || mask_x >= mask.w) {
            std::fill_n(out, length, 0.0F);
          } else {
            select(pixel(g, gradient, n, y, x), pixel(kept, mask, n, mask_y, mask_x),
                   forward.maskStrideC, forward.keepProbability, out, length);
          }
        }
      }
    });
  });
}

}  // namespace cermet::cpu
