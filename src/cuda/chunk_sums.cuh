#pragma once
// Sums over pixels for each channel: double, over chunks of pixels whose size depends on the shape
// alone; a second kernel adds the chunks in order.

#include <algorithm>

#include "cuda/tensor.cuh"

namespace cermet::cuda {

/// Blocks that sum have a thread for each of `lanes` adjacent channels of `rows` pixels.
constexpr int lanes = 32, rows = block_threads / lanes;

/// Sets of pixels, a whole batch or an image each, in chunks; a block for each chunk of `lanes`
/// channels.
struct Chunks {
  Tensor of;
  long long set, size;     // pixels of a set, of a chunk
  int sets, count, tiles;  // `count`: chunks of a set

  explicit Chunks(const TensorDesc& desc, int sets_of = 1)
      : of{desc, nullptr}, set(of.pixels() / sets_of), sets(sets_of) {
    constexpr long long smallest = 128, blocks = 1024;
    tiles = (desc.c + lanes - 1) / lanes;
    const long long most = std::max(1LL, blocks / tiles);  // whatever the number of sets: same bits
    size = std::max(smallest, (set + most - 1) / most);
    count = static_cast<int>((set + size - 1) / size);
  }
  [[nodiscard]] long long blocks() const { return static_cast<long long>(sets) * count * tiles; }

  /// This block's chunk, counted through all sets.
  __device__ int chunk() const { return static_cast<int>(blockIdx.x) / tiles; }
  /// This thread's channel; beyond the last one in the last block.
  __device__ int channel() const { return tile(static_cast<int>(blockIdx.x) % tiles); }
  __device__ static int tile(int number) {
    return number * lanes + static_cast<int>(threadIdx.x) % lanes;
  }
  /// Pixels of a chunk.
  __device__ long long pixels(int number) const {
    const long long left = set - number % count * size;
    return left < size ? left : size;
  }
  /// visit(Index) for this thread's part of the block's pixels.
  template <class Visit>
  __device__ void for_each(Visit&& visit) const {
    const int c = channel(), number = chunk();
    if (c >= of.desc.c) return;
    const long long first = number / count * set + number % count * size;
    const long long end = first + pixels(number);
    for (long long i = first + threadIdx.x / lanes; i < end; i += rows) {
      Index at = index_of(i, of.desc.h, of.desc.w, 1);
      at.c = c;
      visit(at);
    }
  }
};

/// Of every chunk (slowest) and channel, in scratch: its mean and its sum of squared deviations, or
/// its two sums.
struct Parts {
  double *first, *second;

  Parts(const Chunks& chunks, void* scratch) : first(static_cast<double*>(scratch)) {
    second = first + count(chunks);
  }
  static long long count(const Chunks& chunks) {
    return static_cast<long long>(chunks.sets) * chunks.count * chunks.of.desc.c;
  }
  static std::size_t bytes(const Chunks& chunks) {
    return 2 * static_cast<std::size_t>(count(chunks)) * sizeof(double);
  }
  /// The block's results, given by the threads of its first row.
  __device__ void put(const Chunks& chunks, double a, double b) const {
    const int c = chunks.channel();
    if (threadIdx.x >= lanes || c >= chunks.of.desc.c) return;
    const long long at = static_cast<long long>(chunks.chunk()) * chunks.of.desc.c + c;
    first[at] = a;
    second[at] = b;
  }
};

/// Means and sums of squared deviations of the chunks.
static __global__ void chunk_statistics(Chunks chunks, Tensor source, Parts parts) {
  begin_kernel();
  const auto samples = static_cast<double>(chunks.pixels(chunks.chunk()));
  double sum = 0, squares = 0;
  chunks.for_each([&](const Index& at) { sum += static_cast<double>(load(source, at)); });
  const double mean = channel_sum(sum) / samples;
  chunks.for_each([&](const Index& at) {
    const double deviation = static_cast<double>(load(source, at)) - mean;
    squares += deviation * deviation;
  });
  squares = channel_sum(squares);
  parts.put(chunks, mean, squares);
}

}  // namespace cermet::cuda
