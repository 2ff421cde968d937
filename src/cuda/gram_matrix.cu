// GramMatrix and its gradient (formulas: cnn/gram_matrix.h). Products of tiles of 64 x 64: each
// thread has 4 x 4 of them, with float32 sums over 16 factors and float64 sums of those. The pixels
// of a Gram matrix are shared among blocks whose sums are added in order; how many depends on the
// image alone.

#include <algorithm>

#include "cermet/cnn/gram_matrix.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

constexpr int tile = 64, depth = 16, own = 4;  // own x own results of a thread
constexpr int across = tile / own;
static_assert(across * across == block_threads);

/// sums[a][b] = sum of left(i, t) * right(t, j) over t in [begin, end), i = tile_row(a) and j =
/// tile_column(b) of the tile. All threads of the block must call. Both functions are asked inside
/// rows x columns alone.
template <class Left, class Right>
__device__ void product(Left left, Right right, int rows, int columns, int begin, int end,
                        double (&sums)[own][own]) {
  __shared__ float lefts[depth][tile], rights[depth][tile];
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / across * own, column = thread % across * own;
  for (int a = 0; a < own; ++a)
    for (int b = 0; b < own; ++b) sums[a][b] = 0;
  for (int first = begin; first < end; first += depth) {
    for (int at = thread; at < depth * tile; at += block_threads) {
      const int t = at / tile, i = at % tile;
      const bool there = first + t < end;
      lefts[t][i] = there && i < rows ? left(i, first + t) : 0.0F;
      rights[t][i] = there && i < columns ? right(first + t, i) : 0.0F;
    }
    __syncthreads();
    float part[own][own] = {};
#pragma unroll
    for (int t = 0; t < depth; ++t) {
#pragma unroll
      for (int a = 0; a < own; ++a) {
#pragma unroll
        for (int b = 0; b < own; ++b) part[a][b] += lefts[t][row + a] * rights[t][column + b];
      }
    }
    for (int a = 0; a < own; ++a)
      for (int b = 0; b < own; ++b) sums[a][b] += static_cast<double>(part[a][b]);
    __syncthreads();
  }
}
__device__ int tile_row(int a) { return static_cast<int>(threadIdx.x) / across * own + a; }
__device__ int tile_column(int b) { return static_cast<int>(threadIdx.x) % across * own + b; }

/// How the work on one image is divided.
struct Parts {
  int tiles;   // along an axis of the matrix
  int shares;  // of the pixels
  int pixels;  // of a share

  Parts(int channels, int all_pixels) : tiles((channels + tile - 1) / tile) {
    constexpr int least = 512, most_blocks = 256;
    const long long matrix = static_cast<long long>(tiles) * tiles;
    const long long wanted = std::max(1LL, most_blocks / matrix);
    shares = static_cast<int>(
        std::min(wanted, (static_cast<long long>(all_pixels) + least - 1) / least));
    pixels = (all_pixels + shares - 1) / shares;
  }
};

/// partial[n][share][f][c] = sum over the pixels of the share.
__global__ void gram(Parts parts, Tensor source, double* partial) {
  begin_kernel();
  const int channels = source.desc.c, width = source.desc.w;
  const int all = source.desc.h * width;
  long long at = blockIdx.x;
  const int c0 = static_cast<int>(at % parts.tiles) * tile;
  at /= parts.tiles;
  const int f0 = static_cast<int>(at % parts.tiles) * tile;
  at /= parts.tiles;
  const int share = static_cast<int>(at % parts.shares), n = static_cast<int>(at / parts.shares);
  const auto element = [&](int pixel, int c) {
    return load(source, Index{n, pixel / width, pixel % width, c});
  };
  const long long begin = static_cast<long long>(share) * parts.pixels;
  const long long end = min(begin + parts.pixels, static_cast<long long>(all));
  double sums[own][own];
  product([&](int f, int t) { return element(t, f0 + f); },
          [&](int t, int c) { return element(t, c0 + c); }, min(tile, channels - f0),
          min(tile, channels - c0), static_cast<int>(min(begin, end)), static_cast<int>(end), sums);
  double* to = partial + at * channels * channels;  // `at` counts the shares of all images
  for (int a = 0; a < own; ++a) {
    for (int b = 0; b < own; ++b) {
      const int f = f0 + tile_row(a), c = c0 + tile_column(b);
      if (f < channels && c < channels) to[static_cast<long long>(f) * channels + c] = sums[a][b];
    }
  }
}

__global__ void add_shares(int shares, float alpha, const double* partial, Tensor destination) {
  begin_kernel();
  const long long channels = destination.desc.c, matrix = channels * channels;
  for (const Index at : elements(destination)) {
    const double* first = partial + at.n * shares * matrix + at.x * channels + at.c;
    double sum = 0;
    for (int share = 0; share < shares; ++share) sum += first[share * matrix];
    store(destination, at, static_cast<float>(static_cast<double>(alpha) * sum));
  }
}

__global__ void gram_gradient(float alpha, Tensor gradient, Tensor source, Tensor destination) {
  begin_kernel();
  const int channels = source.desc.c, width = source.desc.w;
  const int all = source.desc.h * width, tiles = (channels + tile - 1) / tile;
  const int pixel_tiles = (all + tile - 1) / tile;
  const int k0 = static_cast<int>(blockIdx.x % static_cast<unsigned>(tiles)) * tile;
  const int rest = static_cast<int>(blockIdx.x / static_cast<unsigned>(tiles));
  const int p0 = rest % pixel_tiles * tile, n = rest / pixel_tiles;
  double sums[own][own];
  product(
      [&](int p, int c) {
        return load(source, Index{n, (p0 + p) / width, (p0 + p) % width, c});
      },
      [&](int c, int k) {
        return load(gradient, Index{n, 0, k0 + k, c}) + load(gradient, Index{n, 0, c, k0 + k});
      },
      min(tile, all - p0), min(tile, channels - k0), 0, channels, sums);
  for (int a = 0; a < own; ++a) {
    for (int b = 0; b < own; ++b) {
      const int p = p0 + tile_row(a), k = k0 + tile_column(b);
      if (p < all && k < channels) {
        store(destination, Index{n, p / width, p % width, k},
              static_cast<float>(static_cast<double>(alpha) * sums[a][b]));
      }
    }
  }
}

}  // namespace

StepPtr prepare(const GramMatrix& op, Descs slots, Engine&) {
  using Op = GramMatrix;
  const TensorDesc from = slots[Op::source], to = slots[Op::destination];
  const Parts parts(from.c, from.h * from.w);
  const long long shares = static_cast<long long>(from.n) * parts.shares;
  const auto body = [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    auto* partial = static_cast<double*>(args.scratch);
    launch_blocks(args, shares * parts.tiles * parts.tiles, gram, parts,
                  Tensor{from, args.slots[Op::source]}, partial);
    launch(args, destination.count(), add_shares, parts.shares, op.alpha, partial, destination);
  };
  return make_step(slots, "cuda product", body,
                   static_cast<std::size_t>(shares * from.c * from.c) * sizeof(double));
}

StepPtr prepare(const GramMatrixGradient& op, Descs slots, Engine&) {
  using Op = GramMatrixGradient;
  const TensorDesc arriving = slots[Op::gradient], from = slots[Op::source];
  const TensorDesc to = slots[Op::destination];
  const long long tiles = (from.c + tile - 1) / tile;
  const long long pixel_tiles = (static_cast<long long>(from.h) * from.w + tile - 1) / tile;
  return make_step(slots, "cuda product", [=, alpha = op.forward.alpha](const Args& args) {
    launch_blocks(args, from.n * pixel_tiles * tiles, gram_gradient, alpha,
                  Tensor{arriving, args.slots[Op::gradient]}, Tensor{from, args.slots[Op::source]},
                  Tensor{to, args.slots[Op::destination]});
  });
}

}  // namespace cermet::cuda
