#pragma once
// What the convolution loops of our own share: tiles of a few pixels or taps by sixteen channels,
// which stay in registers.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <vector>

#include "cermet/cnn/convolution.h"

namespace cermet::cpu::general {

using Index = std::int64_t;
constexpr Index lanes = 8;          // floats of a register
constexpr Index block = 2 * lanes;  // channels that one tile keeps in registers
constexpr int tile_rows = 6;  // 6 x 2 accumulators, 2 operands and a broadcast fill 16 registers
constexpr Index products_per_thread = 1 << 19;  // about twenty microseconds

constexpr Index divide_up(Index value, Index by) { return (value + by - 1) / by; }
constexpr Index round_up(Index value, Index to) { return divide_up(value, to) * to; }
[[nodiscard]] inline std::size_t float_bytes(Index count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

template <int count>
inline constexpr auto extent = static_cast<std::size_t>(count);  // of an array

/// Selects the first `count` lanes.
[[nodiscard]] inline __m256i lane_mask(Index count) {
  alignas(32) static constexpr std::array<std::int32_t, 16> bits{-1, -1, -1, -1, -1, -1, -1, -1};
  const Index shown = std::clamp<Index>(count, 0, lanes);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits.data() + (lanes - shown)));
}

/// One group per channel, so that lanes can be channels.
[[nodiscard]] inline bool is_lanewise(Index groups, Index input_channels_of_group) {
  return groups > 1 && input_channels_of_group == 1;
}

/// The input channels of the lanes of two registers from channel `first` on: lane k reads
/// k * ratio[0] / ratio[1].
inline void set_source_lanes(__m256i (&registers)[2], Index first,
                             const std::array<std::int32_t, 2>& ratio) {
  alignas(32) std::array<std::int32_t, block> channel;
  for (std::size_t l = 0; l < channel.size(); ++l) {
    channel[l] =
        (static_cast<std::int32_t>(first) + static_cast<std::int32_t>(l)) * ratio[0] / ratio[1];
  }
  for (int v = 0; v < 2; ++v) {
    registers[v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(channel.data() + v * lanes));
  }
}

/// Where in the source each tap of a window reads, `channels` adjacent ones for each position.
[[nodiscard]] inline std::vector<Index> tap_offsets(const Window& window, const TensorDesc& source,
                                                    Index channels) {
  std::vector<Index> offsets;
  for (Index q = 0; q < window.kernelHeight; ++q) {
    for (Index p = 0; p < window.kernelWidth; ++p) {
      for (Index c = 0; c < channels; ++c) {
        offsets.push_back(q * window.dilationY * source.stride_h +
                          p * window.dilationX * source.stride_w + c);
      }
    }
  }
  return offsets;
}

}  // namespace cermet::cpu::general
