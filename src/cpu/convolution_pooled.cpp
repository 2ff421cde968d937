// Convolution gradients behind max pooling and ReLU: of four gradients at most one is not 0, at a
// place that the forward pass remembers, so that a quarter of the dense products is left. A
// window's row of kernelWidth x channels is contiguous in an NHWC source with its padding, and both
// gradients come down to one loop: rows += value * row for a list of values.

#include <immintrin.h>

#include <array>
#include <vector>

#include "cermet/ops/fusion.h"
#include "cpu/engine.h"
#include "cpu/onednn.h"

namespace cermet::cpu {
namespace {

using Index = std::int64_t;

constexpr Index lanes = 8;
constexpr Index chunk = 10 * lanes;  // as many accumulators as leave registers for loads

// ---- ReLU and 2x2 pooling forward
// -----------------------------------------------------------------

/// ReLU of a tap, the tap before it, and its number.
struct Best {
  __m256 value, before;
  __m256i tap;
};

__m256 relu(__m256 x) {  // x >= 0 ? x : 0 * x, so that NaN stays NaN
  const __m256 zero = _mm256_setzero_ps();
  return _mm256_blendv_ps(_mm256_mul_ps(zero, x), x, _mm256_cmp_ps(x, zero, _CMP_GE_OQ));
}

/// A tie stays with the sooner tap and so does the first NaN (pooling_max.cpp).
void challenge(Best& best, __m256 x, int tap) {
  const __m256 value = relu(x);
  const __m256 wins = _mm256_and_ps(_mm256_cmp_ps(value, best.value, _CMP_NLE_UQ),
                                    _mm256_cmp_ps(best.value, best.value, _CMP_ORD_Q));
  best.value = _mm256_blendv_ps(best.value, value, wins);
  best.before = _mm256_blendv_ps(best.before, x, wins);
  best.tap = _mm256_blendv_epi8(best.tap, _mm256_set1_epi32(tap), _mm256_castps_si256(wins));
}

__m256i first_lanes(Index count) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), index);
}

/// Low bytes of eight integers.
std::uint64_t bytes_of(__m256i integers) {
  const __m128i pairs =
      _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs)));
}

/// `count` <= 8 channels of one window. The source may be read in full registers.
void pool_lanes(const std::array<const float*, 4>& taps, __m256i mask, Index count, float* out,
                std::uint8_t* winners) {
  const __m256 first = _mm256_maskload_ps(taps[0], mask);
  Best best{relu(first), first, _mm256_setzero_si256()};
  for (std::size_t tap = 1; tap < 4; ++tap)
    challenge(best, _mm256_maskload_ps(taps[tap], mask), static_cast<int>(tap));
  _mm256_maskstore_ps(out, mask, best.value);
  if (winners == nullptr) return;
  const __m256 passes = _mm256_cmp_ps(best.before, _mm256_setzero_ps(), _CMP_GE_OQ);
  const std::uint64_t chosen = bytes_of(_mm256_blendv_epi8(
      _mm256_set1_epi32(NeuronPoolingMax::nobody), best.tap, _mm256_castps_si256(passes)));
  std::memcpy(winners, &chosen, static_cast<std::size_t>(count));
}

/// Non-overlapping 2x2 windows from the corner, all inside the source.
bool is_tiled(const Window& w, const TensorDesc& source, const TensorDesc& destination) {
  return w.kernelWidth == 2 && w.kernelHeight == 2 && w.strideX == 2 && w.strideY == 2 &&
         w.padLeft == 0 && w.padTop == 0 && w.dilationX == 1 && w.dilationY == 1 &&
         2 * destination.h <= source.h && 2 * destination.w <= source.w;
}

/// Distances between neighbours in a source that is plain or blocked by channels.
struct Strides {
  Index image, row, column, block;  // `block`: between groups of eight channels
};

std::optional<Strides> strides_of(const TensorDesc& t) {
  if (t.layout == plain) return Strides{t.stride_n, t.stride_h, t.stride_w, lanes};
  const Index width = onednn::channel_block(t);
  if (width != lanes) return std::nullopt;
  const Index plane = Index{t.h} * t.w * width;
  return Strides{(t.c + width - 1) / width * plane, t.w * width, width, plane};
}

}  // namespace

StepPtr prepare(const NeuronPoolingMax& op, Descs descs, Engine& engine) {
  using Slot = NeuronPoolingMax::Slot;
  const TensorDesc source = descs[Slot::source], destination = descs[Slot::destination];
  const TensorDesc winners = descs[Slot::winners];
  const auto strides = strides_of(source);
  if (op.activation.type != CNNNeuronType::ReLU || op.activation.a != 0 || !strides ||
      !is_tiled(op.pooling.window, source, destination) || destination.layout != plain) {
    return nullptr;
  }
  const int threads = threads_for(source.count(), engine);
  return make_step(descs, "ReLU and 2x2", [=, s = *strides](const Args& args) {
    const auto* from = args.at<const float>(Slot::source);
    parallel(threads, Index{destination.n} * destination.h, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const Index n = row / destination.h, j = row % destination.h;
        for (Index i = 0; i < destination.w; ++i) {
          const float* tap = from + n * s.image + 2 * j * s.row + 2 * i * s.column;
          float* out = pixel(args.at(Slot::destination), destination, n, j, i);
          std::uint8_t* chosen = winners.present()
                                     ? pixel(args.at<std::uint8_t>(Slot::winners), winners, n, j, i)
                                     : nullptr;
          for (Index c = 0; c < destination.c; c += lanes, tap += s.block) {
            const Index count = std::min(lanes, destination.c - c);
            pool_lanes({tap, tap + s.column, tap + s.row, tap + s.row + s.column},
                       first_lanes(count), count, out + c,
                       chosen == nullptr ? nullptr : chosen + c);
          }
        }
      }
    });
  });
}

namespace {

// ---- lists of what is not 0
// -----------------------------------------------------------------------

struct Item {
  float value;
  std::int32_t row;  // of what is multiplied
};

/// to[0, 8*V) += sum of value * rows[row * stride + (0, 8*V)]; `mask` cuts the last register.
template <int V>
void add_rows(float* to, __m256i mask, const Item* items, Index count, const float* rows,
              Index stride) {
  __m256 sums[static_cast<std::size_t>(V)];
  for (int v = 0; v + 1 < V; ++v) sums[v] = _mm256_loadu_ps(to + v * lanes);
  sums[V - 1] = _mm256_maskload_ps(to + (V - 1) * lanes, mask);
  for (Index i = 0; i < count; ++i) {
    const __m256 value = _mm256_broadcast_ss(&items[i].value);
    const float* row = rows + items[i].row * stride;
    for (int v = 0; v + 1 < V; ++v)
      sums[v] = _mm256_fmadd_ps(value, _mm256_loadu_ps(row + v * lanes), sums[v]);
    sums[V - 1] =
        _mm256_fmadd_ps(value, _mm256_maskload_ps(row + (V - 1) * lanes, mask), sums[V - 1]);
  }
  for (int v = 0; v + 1 < V; ++v) _mm256_storeu_ps(to + v * lanes, sums[v]);
  _mm256_maskstore_ps(to + (V - 1) * lanes, mask, sums[V - 1]);
}

using AddRows = void (*)(float*, __m256i, const Item*, Index, const float*, Index);

/// The loop for `length` <= 80 floats.
AddRows add_rows_of(Index length) {
  static constexpr AddRows loops[]{add_rows<1>, add_rows<2>, add_rows<3>, add_rows<4>,
                                   add_rows<5>, add_rows<6>, add_rows<7>, add_rows<8>,
                                   add_rows<9>, add_rows<10>};
  return loops[(length - 1) / lanes];
}

__m256i last_lanes(Index length) { return first_lanes((length - 1) % lanes + 1); }

/// A row of `length` floats in chunks that fit the registers.
template <class Body>
void for_each_chunk(Index length, Body&& body) {
  for (Index from = 0; from < length; from += chunk) body(from, std::min(chunk, length - from));
}

/// The convolution's geometry and the source with its padding, cut to what windows of pooled pixels
/// read.
struct Frame {
  Index kernelHeight, kernelWidth, strideY, strideX, padTop, padLeft;
  Index pooledHeight, pooledWidth, channels, outputs;
  Index height, width;

  Frame(const Window& w, const TensorDesc& gradient, const TensorDesc& source)
      : kernelHeight(w.kernelHeight),
        kernelWidth(w.kernelWidth),
        strideY(w.strideY),
        strideX(w.strideX),
        padTop(w.padTop),
        padLeft(w.padLeft),
        pooledHeight(gradient.h),
        pooledWidth(gradient.w),
        channels(source.c),
        outputs(gradient.c),
        height(strideY * (2 * pooledHeight - 1) + kernelHeight),
        width(strideX * (2 * pooledWidth - 1) + kernelWidth) {}

  [[nodiscard]] Index row() const { return width * channels; }
  [[nodiscard]] Index floats() const { return height * row(); }
  /// Floats of one window's row, contiguous in frame and weights.
  [[nodiscard]] Index length() const { return kernelWidth * channels; }
  [[nodiscard]] Index window() const { return kernelHeight * length(); }
  [[nodiscard]] Index pooled() const { return pooledHeight * pooledWidth; }
  /// Where the window of tap `tap` of pooled pixel (j, i) begins.
  [[nodiscard]] Index begin(Index j, Index i, int tap) const {
    return strideY * (2 * j + tap / 2) * row() + strideX * (2 * i + tap % 2) * channels;
  }

  /// Calls body(frame pixel, image pixel, count) for the runs of pixels that image and frame share.
  template <class Body>
  void for_each_shared_run(const TensorDesc& image, Body&& body) const {
    const Index x0 = std::max<Index>(0, padLeft);
    const Index x1 = std::min(width, image.w + padLeft);
    if (x1 <= x0) return;
    for (Index y = std::max<Index>(0, padTop); y < std::min(height, image.h + padTop); ++y)
      body((y * width + x0) * channels, y - padTop, x0 - padLeft, x1 - x0);
  }
};

bool is_supported(const Convolution& op, Descs descs) {
  const Window& w = op.window;
  return op.groups == 1 && w.dilationX == 1 && w.dilationY == 1 && w.clampEdges == 0 &&
         std::all_of(descs.begin(), descs.end(), [](const TensorDesc& desc) {
           return !desc.present() || desc.layout == plain || desc.layout == any;
         });
}

void copy_in(const Frame& frame, const TensorDesc& desc, const float* image, float* to) {
  std::fill_n(to, frame.floats(), 0.0F);
  frame.for_each_shared_run(desc, [&](Index at, Index y, Index x, Index count) {
    for (Index i = 0; i < count; ++i)
      std::copy_n(pixel(image, desc, 0, y, x + i), frame.channels, to + at + i * frame.channels);
  });
}

}  // namespace

// Images in parallel. The gradient of an image's frame is made one row of taps and one chunk of
// channels at a time, so that the weights in use stay in the first cache.
/// oneDNN's convolution and a pass over its result are as fast.
StepPtr prepare(const PooledConvolution&, Descs, Engine&) { return nullptr; }

StepPtr prepare(const PooledConvolutionGradientData& op, Descs descs, Engine& engine) {
  using Slot = PooledConvolutionGradientData::Slot;
  if (!is_supported(op.forward, descs)) return nullptr;
  const TensorDesc gradient = descs[Slot::gradient], winners = descs[Slot::winners];
  const TensorDesc result = descs[Slot::destination];
  std::vector<TensorDesc> slots(descs.begin(), descs.end());
  slots[Slot::weights].layout = plain;
  const Frame frame(op.forward.window, gradient, result);
  const int threads = threads_for(gradient.count() * frame.window(), engine, Index{1} << 19);
  const Index positions = 4 * frame.pooled();
  const auto round_up = [](Index bytes) { return (bytes + 63) / 64 * 64; };
  const Index packed_bytes = round_up(frame.outputs * frame.window() * Index{sizeof(float)});
  const Index frame_bytes = round_up(frame.floats() * Index{sizeof(float)});
  const Index list_bytes = round_up(positions * frame.outputs * Index{sizeof(Item)});
  const Index count_bytes = round_up(positions * Index{sizeof(std::int32_t)});
  const Index own_bytes = frame_bytes + list_bytes + count_bytes;
  return make_step(
      slots, "own, skipping zeros",
      [=](const Args& args) {
        auto* scratch = static_cast<std::byte*>(args.scratch);
        auto* packed = reinterpret_cast<float*>(scratch);
        // Weights by row of taps, chunk, output channel.
        float* next = packed;
        for (Index q = 0; q < frame.kernelHeight; ++q) {
          for_each_chunk(frame.length(), [&](Index from, Index length) {
            for (Index k = 0; k < frame.outputs; ++k, next += length) {
              std::copy_n(args.at<const float>(Slot::weights) + k * frame.window() +
                              q * frame.length() + from,
                          length, next);
            }
          });
        }
        const auto one_image = [&](Index n, std::byte* own) {
          auto* sums = reinterpret_cast<float*>(own);
          auto* lists = reinterpret_cast<Item*>(own + frame_bytes);
          auto* counts = reinterpret_cast<std::int32_t*>(own + frame_bytes + list_bytes);
          std::fill_n(counts, positions, 0);
          std::fill_n(sums, frame.floats(), 0.0F);
          for (Index p = 0; p < frame.pooled(); ++p) {
            const Index j = p / frame.pooledWidth, i = p % frame.pooledWidth;
            const float* g = pixel(args.at<const float>(Slot::gradient), gradient, n, j, i);
            const std::uint8_t* w =
                pixel(args.at<const std::uint8_t>(Slot::winners), winners, n, j, i);
            for (Index k = 0; k < frame.outputs; ++k) {
              if (w[k] == NeuronPoolingMax::nobody || g[k] == 0.0F) continue;
              const Index position = 4 * p + w[k];
              lists[position * frame.outputs + counts[position]++] = {g[k],
                                                                      static_cast<std::int32_t>(k)};
            }
          }
          const float* rows = packed;
          for (Index q = 0; q < frame.kernelHeight; ++q) {
            for_each_chunk(frame.length(), [&](Index from, Index length) {
              const AddRows add = add_rows_of(length);
              const __m256i mask = last_lanes(length);
              for (Index position = 0; position < positions; ++position) {
                if (counts[position] == 0) continue;
                const Index p = position / 4;
                const Index begin = frame.begin(p / frame.pooledWidth, p % frame.pooledWidth,
                                                static_cast<int>(position % 4));
                add(sums + begin + q * frame.row() + from, mask, lists + position * frame.outputs,
                    counts[position], rows, length);
              }
              rows += frame.outputs * length;
            });
          }
          float* image = pixel(args.at(Slot::destination), result, n, 0, 0);
          for (Index y = 0; y < result.h; ++y) {
            for (Index x = 0; x < result.w; ++x)
              std::fill_n(pixel(image, result, 0, y, x), frame.channels, 0.0F);
          }
          frame.for_each_shared_run(result, [&](Index at, Index y, Index x, Index count) {
            for (Index i = 0; i < count; ++i)
              std::copy_n(sums + at + i * frame.channels, frame.channels,
                          pixel(image, result, 0, y, x + i));
          });
        };
        parallel(threads, threads, [&](Index first, Index last) {
          for (Index part = first; part < last; ++part) {
            std::byte* own = scratch + packed_bytes + part * own_bytes;
            for (Index n = gradient.n * part / threads; n < gradient.n * (part + 1) / threads; ++n)
              one_image(n, own);
          }
        });
      },
      static_cast<std::size_t>(packed_bytes + threads * own_bytes));
}

// Output channels in parallel, so that no two threads share a sum: the order of the terms does not
// depend on the number of threads. Few channels make short rows; then a window is copied as a
// whole.
StepPtr prepare(const PooledConvolutionGradientWeights& op, Descs descs, Engine& engine) {
  using Slot = PooledConvolutionGradientWeights::Slot;
  if (!is_supported(op.forward, descs)) return nullptr;
  const TensorDesc gradient = descs[Slot::gradient], winners = descs[Slot::winners];
  const TensorDesc source = descs[Slot::source];
  const bool biased = descs[Slot::biasGradient].present(), accumulate = op.accumulate != 0;
  const Frame frame(op.forward.window, gradient, source);
  const bool whole = frame.length() < 5 * lanes && frame.window() <= 2 * chunk;
  const Index rows = whole ? 1 : frame.kernelHeight;
  const Index length = whole ? frame.window() : frame.length();
  const Index padded = (length + lanes - 1) / lanes * lanes;
  const Index image_floats = whole ? 4 * frame.pooled() * padded : frame.floats();
  const Index group = std::clamp<Index>(512 / std::max<Index>(1, frame.pooled()), 1, gradient.n);
  const Index capacity = group * frame.pooled();
  const int threads = threads_for(gradient.count() * frame.window(), engine, Index{1} << 19);
  const auto round_up = [](Index bytes) { return (bytes + 63) / 64 * 64; };
  const Index frames_bytes = round_up(group * image_floats * Index{sizeof(float)});
  const Index frame_bytes = whole ? round_up(frame.floats() * Index{sizeof(float)}) : 0;
  const Index list_bytes = round_up(frame.outputs * capacity * Index{sizeof(Item)});
  const Index count_bytes = frame.outputs * Index{sizeof(std::int32_t)};
  return make_step(
      descs, "own, skipping zeros",
      [=](const Args& args) {
        auto* scratch = static_cast<std::byte*>(args.scratch);
        auto* images = reinterpret_cast<float*>(scratch);
        auto* lists = reinterpret_cast<Item*>(scratch + frames_bytes + threads * frame_bytes);
        float* sums = args.at(Slot::weightGradient);
        float* bias_sums = biased ? args.at(Slot::biasGradient) : nullptr;
        const auto load = [&](Index n, float* to, int part) {
          const float* image = pixel(args.at<const float>(Slot::source), source, n, 0, 0);
          if (!whole) {
            copy_in(frame, source, image, to);
            return;
          }
          auto* own = reinterpret_cast<float*>(scratch + frames_bytes + part * frame_bytes);
          copy_in(frame, source, image, own);
          for (Index position = 0; position < 4 * frame.pooled(); ++position) {
            const Index p = position / 4;
            const float* from = own + frame.begin(p / frame.pooledWidth, p % frame.pooledWidth,
                                                  static_cast<int>(position % 4));
            for (Index q = 0; q < frame.kernelHeight; ++q) {
              std::copy_n(from + q * frame.row(), frame.length(),
                          to + position * padded + q * frame.length());
            }
          }
        };
        auto* filled =
            reinterpret_cast<std::int32_t*>(reinterpret_cast<std::byte*>(lists) + list_bytes);
        const auto add_channels = [&](Index first, Index count, Index k0, Index k1) {
          std::fill(filled + k0, filled + k1, 0);
          for (Index m = 0; m < count; ++m) {
            for (Index p = 0; p < frame.pooled(); ++p) {
              const Index j = p / frame.pooledWidth, i = p % frame.pooledWidth;
              const float* g =
                  pixel(args.at<const float>(Slot::gradient), gradient, first + m, j, i);
              const std::uint8_t* w =
                  pixel(args.at<const std::uint8_t>(Slot::winners), winners, first + m, j, i);
              for (Index k = k0; k < k1; ++k) {
                if (w[k] == NeuronPoolingMax::nobody || g[k] == 0.0F) continue;
                const Index begin =
                    whole ? (4 * p + w[k]) * padded : frame.begin(j, i, static_cast<int>(w[k]));
                lists[k * capacity + filled[k]++] = {
                    g[k], static_cast<std::int32_t>(m * image_floats + begin)};
              }
            }
          }
          for (Index k = k0; k < k1; ++k) {
            const Item* items = lists + k * capacity;
            for (Index q = 0; q < rows; ++q) {
              for_each_chunk(length, [&](Index from, Index width) {
                add_rows_of(width)(sums + k * frame.window() + q * length + from, last_lanes(width),
                                   items, filled[k], images + q * frame.row() + from, 1);
              });
            }
            if (bias_sums == nullptr) continue;
            float sum = 0;
            for (Index i = 0; i < filled[k]; ++i) sum += items[i].value;
            bias_sums[k] += sum;
          }
        };
        const auto work = [&](int part, int parts, auto&& barrier) {
          const Index k0 = frame.outputs * part / parts, k1 = frame.outputs * (part + 1) / parts;
          if (!accumulate) {
            std::fill(sums + k0 * frame.window(), sums + k1 * frame.window(), 0.0F);
            if (bias_sums != nullptr) std::fill(bias_sums + k0, bias_sums + k1, 0.0F);
          }
          for (Index first = 0; first < gradient.n; first += group) {
            const Index count = std::min<Index>(group, gradient.n - first);
            for (Index m = part; m < count; m += parts)
              load(first + m, images + m * image_floats, part);
            barrier();
            add_channels(first, count, k0, k1);
            barrier();
          }
        };
        if (threads == 1) {
          work(0, 1, [] {});
          return;
        }
#pragma omp parallel num_threads(threads)
        work(omp_get_thread_num(), omp_get_num_threads(), [] {
#pragma omp barrier
        });
      },
      static_cast<std::size_t>(frames_bytes + threads * frame_bytes + list_bytes + count_bytes));
}

}  // namespace cermet::cpu
