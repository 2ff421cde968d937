#include "cuda/matrix_product_thin.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "cuda/tensor_core.cuh"

namespace cermet::cuda {
namespace {

// `bound`: the most outputs that a kernel serves; those past the last one count as zeros.
// `aligned`: rows of source, weights and destination start at multiples of 16 bytes.

constexpr unsigned all_lanes = 0xFFFFFFFFU;
constexpr int lanes = 32;

template <bool aligned>
__device__ float4 load_four_or_zeros(const float* from, bool valid) {
  return valid ? load_four(from, aligned) : float4{0, 0, 0, 0};
}

__device__ void multiply_add(float (&sums)[4], const float4& a, float b) {
  sums[0] = fmaf(a.x, b, sums[0]);
  sums[1] = fmaf(a.y, b, sums[1]);
  sums[2] = fmaf(a.z, b, sums[2]);
  sums[3] = fmaf(a.w, b, sums[3]);
}

/// to[i] = sum of values[i], the first `count` of them, over the lanes that differ in the bits of
/// `step` down to `last`. At each step a lane gives away half of its sums and keeps the others.
template <int count, int step, int last, int size>
__device__ void put_sums(float (&values)[size], int lane, float* to) {
  if constexpr (step < last) {
#pragma unroll
    for (int i = 0; i < count; ++i) to[i] = values[i];
  } else if constexpr (count % 2 == 0) {
    constexpr int half = count / 2;
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float given = upper ? values[i] : values[half + i];
      const float kept = upper ? values[half + i] : values[i];
      values[i] = kept + __shfl_xor_sync(all_lanes, given, step);
    }
    put_sums<half, step / 2, last>(values, lane, to + (upper ? half : 0));
  } else {  // lanes get and write the same sums
#pragma unroll
    for (int i = 0; i < count; ++i) values[i] += __shfl_xor_sync(all_lanes, values[i], step);
    put_sums<count, step / 2, last>(values, lane, to);
  }
}

// ---- forward

/// A block for some rows and `bound` of the outputs; its threads share the sums' terms.
template <int rows, int bound, bool aligned>
__global__ void __launch_bounds__(block_threads)
    multiply(ThinProduct sizes, const float* __restrict__ source, const float* __restrict__ weights,
             const float* __restrict__ biases, float* __restrict__ result) {
  begin_kernel();
  let_next_begin();
  constexpr int count = rows * bound;
  __shared__ float parts[block_threads / lanes][count], addends[bound];
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int first_row = static_cast<int>(blockIdx.y) * rows,
            first_output = static_cast<int>(blockIdx.x) * bound;

  float bias = 0;
  if (biases != nullptr && thread < bound && first_output + thread < sizes.outputs)
    bias = biases[first_output + thread];
  float sums[count] = {};
  for (int i = 4 * thread; i < sizes.inner; i += 4 * threads) {
    float4 left[rows], right[bound];
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const int row = first_row + r;
      left[r] = load_four_or_zeros<aligned>(source + row * sizes.inner + i, row < sizes.rows);
    }
#pragma unroll
    for (int k = 0; k < bound; ++k) {
      const int output = first_output + k;
      right[k] =
          load_four_or_zeros<aligned>(weights + output * sizes.inner + i, output < sizes.outputs);
    }
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int k = 0; k < bound; ++k) {
        float& sum = sums[r * bound + k];
        sum = fmaf(left[r].x, right[k].x, sum);
        sum = fmaf(left[r].y, right[k].y, sum);
        sum = fmaf(left[r].z, right[k].z, sum);
        sum = fmaf(left[r].w, right[k].w, sum);
      }
    }
  }
  put_sums<count, lanes / 2, 1>(sums, thread % lanes, parts[thread / lanes]);
  if (thread < bound) addends[thread] = bias;
  __syncthreads();
  for (int i = thread; i < count; i += threads) {
    const int row = first_row + i / bound, output = first_output + i % bound;
    if (row >= sizes.rows || output >= sizes.outputs) continue;
    float sum = 0;
    for (int warp = 0; warp < threads / lanes; ++warp) sum += parts[warp][i];
    result[row * sizes.outputs + output] = sum + addends[i % bound];
  }
}

// ---- data gradient

constexpr int data_threads = 128, most_data_rows = 16;  // of a block

/// A thread for four columns of some rows, a chunk of columns and the rows being the block's.
template <int bound, bool aligned>
__global__ void __launch_bounds__(data_threads)
    multiply_gradient(ThinProduct sizes, int rows, const float* __restrict__ gradient,
                      const float* __restrict__ weights, float* __restrict__ destination) {
  begin_kernel();
  let_next_begin();
  constexpr int fours = (bound + 3) / 4;
  __shared__ float4 staged[most_data_rows][fours];
  const int thread = static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(blockIdx.y) * rows, given = min(rows, sizes.rows - first);
  const int i = 4 * (static_cast<int>(blockIdx.x) * data_threads + thread);

  float4 own[bound];
#pragma unroll
  for (int k = 0; k < bound; ++k) {
    own[k] = load_four_or_zeros<aligned>(weights + k * sizes.inner + i,
                                         k < sizes.outputs && i < sizes.inner);
  }
  for (int at = thread; at < given * 4 * fours; at += data_threads) {
    const int row = at / (4 * fours), k = at % (4 * fours);
    reinterpret_cast<float*>(staged)[at] =
        k < sizes.outputs ? gradient[(first + row) * sizes.outputs + k] : 0.0F;
  }
  __syncthreads();
  if (i >= sizes.inner) return;
#pragma unroll 2
  for (int row = 0; row < given; ++row) {
    float sums[4] = {};
#pragma unroll
    for (int four = 0; four < fours; ++four) {
      const float4 factors = staged[row][four];
      const float of[4] = {factors.x, factors.y, factors.z, factors.w};
#pragma unroll
      for (int k = 4 * four; k < min(4 * four + 4, bound); ++k)
        multiply_add(sums, own[k], of[k - 4 * four]);
    }
    float* const to = destination + (first + row) * sizes.inner + i;
    if constexpr (aligned) {
      *reinterpret_cast<float4*>(to) = {sums[0], sums[1], sums[2], sums[3]};
    } else {
#pragma unroll
      for (int c = 0; c < 4; ++c) to[c] = sums[c];
    }
  }
}

// ---- weight gradient

constexpr int columns = 4;                // fours of columns of a block
constexpr int together = 4;               // rows of a thread under way
constexpr int most_weight_threads = 512;  // of a block

/// sums (+)= sums of the gradient's rows, by a block. Rows may nearly cancel out: in double.
__device__ void sum_gradient(const ThinProduct& sizes, const float* gradient, bool accumulate,
                             float* sums) {
  __shared__ double parts[most_weight_threads];
  const int thread = static_cast<int>(threadIdx.x), count = sizes.rows * sizes.outputs;
  // At once a power of two of whole rows: then each thread has numbers of one output.
  const int rows = 1 << (31 - __clz(static_cast<int>(blockDim.x) / sizes.outputs));
  const int stride = rows * sizes.outputs;
  double sum = 0;
  constexpr int numbers_together = 16;
  for (int i = thread; thread < stride && i < count; i += stride * numbers_together) {
    float numbers[numbers_together];
#pragma unroll
    for (int t = 0; t < numbers_together; ++t) {
      const int at = i + t * stride;
      numbers[t] = at < count ? gradient[at] : 0.0F;
    }
#pragma unroll
    for (const float number : numbers) sum += static_cast<double>(number);
  }
  parts[thread] = sum;
  __syncthreads();
  for (int half = stride / 2; half >= sizes.outputs; half /= 2) {
    if (thread < half) parts[thread] += parts[thread + half];
    __syncthreads();
  }
  if (thread >= sizes.outputs) return;
  const auto total = static_cast<float>(parts[thread]);
  sums[thread] = accumulate ? sums[thread] + total : total;
}

/// A block for a chunk of columns, whose threads share the rows; the last one for the biases, where
/// these are wanted.
template <int bound, bool aligned>
__global__ void __launch_bounds__(most_weight_threads)
    multiply_rows(ThinProduct sizes, const float* __restrict__ gradient,
                  const float* __restrict__ source, bool accumulate, float* weight_gradient,
                  float* bias_gradient) {
  begin_kernel();
  let_next_begin();
  constexpr int fours = (bound + 3) / 4;
  constexpr int pitch = 4 * (fours | 1);  // the rows that a warp reads lie in different banks
  constexpr int width = 4 * columns, count = 4 * bound;
  constexpr int most_rows = most_weight_threads / columns * together;
  constexpr int shares = bound * together / columns;  // of a stage's factors
  __shared__ float4 shared[most_rows * pitch / 4];
  auto* const staged = reinterpret_cast<float*>(shared);
  static_assert(most_weight_threads / lanes * columns * count <= most_rows * pitch);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int column = thread % columns, group = thread / columns, groups = threads / columns;
  const int first_column = static_cast<int>(blockIdx.x) * width, i = first_column + 4 * column;
  if (first_column >= sizes.inner) {
    sum_gradient(sizes, gradient, accumulate, bias_gradient);
    return;
  }

  float sums[bound][4] = {};
  for (int first = 0; first < sizes.rows; first += groups * together) {
    float4 values[together];
    float factors[shares];
#pragma unroll
    for (int t = 0; t < together; ++t) {
      const int row = first + t * groups + group;
      values[t] = load_four_or_zeros<aligned>(source + row * sizes.inner + i,
                                              row < sizes.rows && i < sizes.inner);
    }
#pragma unroll
    for (int share = 0; share < shares; ++share) {
      const int at = share * threads + thread, row = first + at / bound, k = at % bound;
      const bool valid = row < sizes.rows && k < sizes.outputs;
      factors[share] = valid ? gradient[row * sizes.outputs + k] : 0.0F;
    }
    __syncthreads();
#pragma unroll
    for (int share = 0; share < shares; ++share) {
      const int at = share * threads + thread;
      staged[at / bound * pitch + at % bound] = factors[share];
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < together; ++t) {
      if (first + t * groups >= sizes.rows) break;
      const float4* const own = shared + (t * groups + group) * (pitch / 4);
#pragma unroll
      for (int four = 0; four < fours; ++four) {
        const float4 factor = own[four];
        const float of[4] = {factor.x, factor.y, factor.z, factor.w};
#pragma unroll
        for (int k = 4 * four; k < min(4 * four + 4, bound); ++k)
          multiply_add(sums[k], values[t], of[k - 4 * four]);
      }
    }
  }

  __syncthreads();
  float flat[count];
#pragma unroll
  for (int k = 0; k < bound; ++k) {
#pragma unroll
    for (int c = 0; c < 4; ++c) flat[4 * k + c] = sums[k][c];
  }
  put_sums<count, lanes / 2, columns>(flat, thread % lanes,
                                      staged + (thread / lanes * columns + column) * count);
  __syncthreads();
  for (int at = thread; at < bound * width; at += threads) {
    const int k = at / width, x = at % width;
    if (k >= sizes.outputs || first_column + x >= sizes.inner) continue;
    float* const to = weight_gradient + k * sizes.inner + first_column + x;
    const float before = accumulate ? *to : 0.0F;
    float sum = 0;
    for (int warp = 0; warp < threads / lanes; ++warp)
      sum += staged[(warp * columns + x / 4) * count + 4 * k + x % 4];
    *to = before + sum;
  }
}

// ---- which kernels

constexpr int few_rows = 128;  // more take larger blocks, which read the weights less often
constexpr int few_block_rows = 2, few_block_outputs = 4, block_rows = 8;

struct Kernels {
  int bound;
  void (*forward)(ThinProduct, const float*, const float*, const float*, float*);
  void (*data)(ThinProduct, int, const float*, const float*, float*);
  void (*weights)(ThinProduct, const float*, const float*, bool, float*, float*);
};
template <int bound, bool aligned>
constexpr Kernels kernels{bound, multiply<block_rows, bound, aligned>,
                          multiply_gradient<bound, aligned>, multiply_rows<bound, aligned>};
constexpr int most_outputs = 16;

const Kernels& kernels_for(int outputs, bool aligned) {
  static constexpr Kernels all[][2]{{kernels<4, false>, kernels<4, true>},
                                    {kernels<10, false>, kernels<10, true>},
                                    {kernels<most_outputs, false>, kernels<most_outputs, true>}};
  const auto* const found = std::find_if(std::begin(all), std::end(all) - 1,
                                         [&](const auto& one) { return outputs <= one[0].bound; });
  return (*found)[aligned ? 1 : 0];
}

bool are_aligned(std::initializer_list<const float*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(), [](const float* one) {
    return reinterpret_cast<std::uintptr_t>(one) % sizeof(float4) == 0;
  });
}

dim3 grid_of(int columns_of_blocks, int rows_of_blocks) {
  return {static_cast<unsigned>(columns_of_blocks), static_cast<unsigned>(rows_of_blocks)};
}

}  // namespace

std::optional<ThinProduct> ThinProduct::of(std::int64_t rows, std::int64_t inner,
                                           std::int64_t outputs) {
  constexpr std::int64_t most_rows = 4096, most_inner = 8192;
  if (rows > most_rows || inner > most_inner || inner % 4 != 0 || outputs > most_outputs)
    return std::nullopt;
  return ThinProduct{static_cast<int>(rows), static_cast<int>(inner), static_cast<int>(outputs)};
}

void ThinProduct::run(const Args& args, const float* source, const float* weights,
                      const float* biases, float* result) const {
  const bool aligned = are_aligned({source, weights});
  const int threads = std::min(divide_up(inner / 4, lanes) * lanes, block_threads);
  if (rows <= few_rows) {
    const auto kernel = aligned ? multiply<few_block_rows, few_block_outputs, true>
                                : multiply<few_block_rows, few_block_outputs, false>;
    launch_with(args,
                grid_of(divide_up(outputs, few_block_outputs), divide_up(rows, few_block_rows)),
                threads, 0, kernel, *this, source, weights, biases, result);
    return;
  }
  launch_with(args, grid_of(1, divide_up(rows, block_rows)), threads, 0,
              kernels_for(outputs, aligned).forward, *this, source, weights, biases, result);
}

void ThinProduct::gradient_data(const Args& args, const float* gradient, const float* weights,
                                float* destination) const {
  constexpr int wanted_blocks = 256;  // about two for each multiprocessor of the largest cards
  const int chunks = divide_up(inner, 4 * data_threads);
  const int rows_of_block = std::min(divide_up(rows * chunks, wanted_blocks), most_data_rows);
  launch_with(args, grid_of(chunks, divide_up(rows, rows_of_block)), data_threads, 0,
              kernels_for(outputs, are_aligned({weights, destination})).data, *this, rows_of_block,
              gradient, weights, destination);
}

void ThinProduct::gradient_weights(const Args& args, const float* gradient, const float* source,
                                   bool accumulate, float* weight_gradient,
                                   float* bias_gradient) const {
  const int chunks = divide_up(inner, 4 * columns);
  const int threads =
      rows * columns <= most_weight_threads / 2 ? most_weight_threads / 2 : most_weight_threads;
  launch_with(args, grid_of(chunks + (bias_gradient != nullptr ? 1 : 0), 1), threads, 0,
              kernels_for(outputs, are_aligned({source})).weights, *this, gradient, source,
              accumulate, weight_gradient, bias_gradient);
}

}  // namespace cermet::cuda
