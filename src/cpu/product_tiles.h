#pragma once
// Products of matrices by tiles of 6 x 16: float32 sums over 64 factors, float64 sums of those, in
// an order that nothing changes.

#include <algorithm>
#include <array>

#include "cpu/convolution_tiles.h"

namespace cermet::cpu::product {

using general::block;
using general::Index;
using general::lanes;
using general::tile_rows;

/// Factors of a float32 sum: `count` below is this or less.
inline constexpr Index chunk = 64;

/// Element (i, t) is at[i * row + t * inner].
struct Left {
  const float* at;
  Index row, inner;
};
/// Element (t, j) is at[t * row + j].
struct Right {
  const float* at;
  Index row;
};

/// sums[i * sums_row + j] += sum of left(i, t) * right(t, j) over t < count, for i < rows <=
/// tile_rows and j < columns <= block.
template <bool whole>
void add_tile(const Left& left, const Right& right, Index count, Index rows, Index columns,
              double* sums, Index sums_row) {
  __m256 part[tile_rows][2];
  const float* factors[tile_rows];
  for (Index i = 0; i < tile_rows; ++i) {
    part[i][0] = part[i][1] = _mm256_setzero_ps();
    factors[i] = left.at + std::min(i, rows - 1) * left.row;
  }
  const __m256i masks[2] = {general::lane_mask(columns), general::lane_mask(columns - lanes)};
  for (Index t = 0; t < count; ++t) {
    const float* from = right.at + t * right.row;
    const __m256 low = whole ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, masks[0]);
    const __m256 high =
        whole ? _mm256_loadu_ps(from + lanes) : _mm256_maskload_ps(from + lanes, masks[1]);
#pragma GCC unroll 6
    for (Index i = 0; i < tile_rows; ++i) {
      const __m256 factor = _mm256_broadcast_ss(factors[i] + t * left.inner);
      part[i][0] = _mm256_fmadd_ps(factor, low, part[i][0]);
      part[i][1] = _mm256_fmadd_ps(factor, high, part[i][1]);
    }
  }
  alignas(32) std::array<float, static_cast<std::size_t>(block)> row;
  for (Index i = 0; i < rows; ++i) {
    _mm256_store_ps(row.data(), part[i][0]);
    _mm256_store_ps(row.data() + lanes, part[i][1]);
    for (Index j = 0; j < columns; ++j)
      sums[i * sums_row + j] += double{row[static_cast<std::size_t>(j)]};
  }
}
inline void add_product(const Left& left, const Right& right, Index count, Index rows,
                        Index columns, double* sums, Index sums_row) {
  for (Index first = 0; first < columns; first += block) {
    const Right part{right.at + first, right.row};
    const Index width = std::min(block, columns - first);
    if (width == block) {
      add_tile<true>(left, part, count, rows, width, sums + first, sums_row);
    } else {
      add_tile<false>(left, part, count, rows, width, sums + first, sums_row);
    }
  }
}

}  // namespace cermet::cpu::product
