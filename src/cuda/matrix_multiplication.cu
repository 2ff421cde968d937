// MatrixMultiply (formula: matrix/multiplication.h): cuBLASLt for large float32 matrices, then what
// follows the product in a kernel of its own; else tiles of 64 x 64, of which each thread has 4
// x 4. Their sums are float32, over 16 factors at a time and then over those, in an order that the
// shape alone decides.

#include <algorithm>

#include "cermet/matrix/multiplication.h"
#include "cuda/activation.cuh"
#include "cuda/matrix_product.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

constexpr int tile = 64, depth = 16, own = 4;  // own x own results of a thread
constexpr int across = tile / own;
static_assert(across * across == block_threads);

/// Element (row, column) of matrix n.
__device__ float element(const Tensor& matrix, int n, int row, int column) {
  return load(matrix, Index{n, row, 0, column});
}
__device__ float element(const Tensor& matrix, bool transposed, int n, int row, int column) {
  return transposed ? element(matrix, n, column, row) : element(matrix, n, row, column);
}

struct Ending {
  float alpha, beta;
  Activation activation;

  __device__ void finish(const Tensor& bias, const Tensor& result, const Index& at,
                         float product) const {
    float value = alpha * product;
    if (beta != 0.0F) value = fmaf(beta, load(result, at), value);
    if (bias.present()) value += element(bias, at.n, 0, at.c);
    store(result, at, activate(activation, value, 0.0F));
  }
};

__global__ void multiply(MatrixMultiply op, Tensor left, Tensor right, Tensor bias, Tensor result) {
  begin_kernel();
  __shared__ float lefts[depth][tile + 1], rights[depth][tile + 1];
  const bool left_transposed = op.transposeLeft != 0, right_transposed = op.transposeRight != 0;
  const int rows = result.desc.h, columns = result.desc.c;
  const int inner = left_transposed ? left.desc.h : left.desc.c;
  const int tiles_across = (columns + tile - 1) / tile, tiles_down = (rows + tile - 1) / tile;
  const int i0 = static_cast<int>(blockIdx.x / static_cast<unsigned>(tiles_across)) % tiles_down;
  const int n = static_cast<int>(blockIdx.x / static_cast<unsigned>(tiles_across)) / tiles_down;
  const int first_row = i0 * tile;
  const int first_column =
      static_cast<int>(blockIdx.x % static_cast<unsigned>(tiles_across)) * tile;
  const int thread = static_cast<int>(threadIdx.x);
  const int own_row = thread / across * own, own_column = thread % across * own;
  float sums[own][own] = {};
  for (int first = 0; first < inner; first += depth) {
    // Adjacent threads read adjacent elements.
    for (int at = thread; at < depth * tile; at += block_threads) {
      const int lt = left_transposed ? at / tile : at % depth;
      const int li = left_transposed ? at % tile : at / depth;
      lefts[lt][li] = first + lt < inner && first_row + li < rows
                          ? element(left, left_transposed, n, first_row + li, first + lt)
                          : 0.0F;
      const int rt = right_transposed ? at % depth : at / tile;
      const int rj = right_transposed ? at / depth : at % tile;
      rights[rt][rj] = first + rt < inner && first_column + rj < columns
                           ? element(right, right_transposed, n, first + rt, first_column + rj)
                           : 0.0F;
    }
    __syncthreads();
    float part[own][own] = {};
#pragma unroll
    for (int t = 0; t < depth; ++t) {
#pragma unroll
      for (int a = 0; a < own; ++a) {
#pragma unroll
        for (int b = 0; b < own; ++b)
          part[a][b] = fmaf(lefts[t][own_row + a], rights[t][own_column + b], part[a][b]);
      }
    }
    for (int a = 0; a < own; ++a)
      for (int b = 0; b < own; ++b) sums[a][b] += part[a][b];
    __syncthreads();
  }
  const Ending ending{op.alpha, op.beta, op.activation};
  for (int a = 0; a < own; ++a) {
    for (int b = 0; b < own; ++b) {
      const int i = first_row + own_row + a, j = first_column + own_column + b;
      if (i < rows && j < columns) ending.finish(bias, result, Index{n, i, 0, j}, sums[a][b]);
    }
  }
}

/// In place, after a product that has alpha and beta in it.
__global__ void end_product(Activation activation, Tensor bias, Tensor result) {
  begin_kernel();
  const Ending ending{1, 0, activation};
  for (const Index at : elements(result)) ending.finish(bias, result, at, load(result, at));
}

/// What cuBLASLt is asked for; null where tiles of our own do it.
std::shared_ptr<const MatrixProduct> product_of(const MatrixMultiply& op, const TensorDesc& left,
                                                const TensorDesc& right, const TensorDesc& result,
                                                Engine& engine) {
  const long long inner = op.transposeLeft != 0 ? left.h : left.c;
  constexpr long long least = 1LL << 20, most_matrices = 64;
  if (inner * result.h * result.c < least || result.n > most_matrices) return nullptr;
  const auto stride_of = [](const TensorDesc& one) {
    return one.h == 1 ? (one.c + 3LL) / 4 * 4 : static_cast<long long>(one.stride_h);
  };
  for (const TensorDesc* one : {&left, &right, &result}) {
    const bool even = stride_of(*one) % 4 == 0 && (one->n == 1 || one->stride_n % 4 == 0);
    if (one->type != ElementType::float32 || !even || stride_of(*one) < one->c) return nullptr;
  }
  return MatrixProduct::make(engine, {.rows = result.h,
                                      .columns = result.c,
                                      .inner = inner,
                                      .left_transposed = op.transposeLeft != 0,
                                      .right_transposed = op.transposeRight != 0,
                                      .accumulate = op.beta != 0,
                                      .alpha = op.alpha,
                                      .beta = op.beta,
                                      .left_stride = stride_of(left),
                                      .right_stride = stride_of(right),
                                      .result_stride = stride_of(result)});
}

bool is_aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % (4 * sizeof(float)) == 0;
}

}  // namespace

StepPtr prepare(const MatrixMultiply& op, Descs slots, Engine& engine) {
  using Op = MatrixMultiply;
  const TensorDesc a = slots[Op::left], b = slots[Op::right], c = slots[Op::result];
  const TensorDesc bias_desc = slots[Op::bias];
  const auto product = product_of(op, a, b, c, engine);
  const bool ends = bias_desc.present() || op.activation.type != CNNNeuronType::None;
  const long long tiles =
      static_cast<long long>(c.n) * ((c.h + tile - 1) / tile) * ((c.c + tile - 1) / tile);
  const auto body = [=](const Args& args) {
    const Tensor left{a, args.slots[Op::left]}, right{b, args.slots[Op::right]};
    const Tensor result{c, args.slots[Op::result]};
    const Tensor bias{bias_desc, bias_desc.present() ? args.slots[Op::bias] : nullptr};
    if (!product || !is_aligned(left.data) || !is_aligned(right.data) || !is_aligned(result.data)) {
      launch_blocks(args, tiles, multiply, op, left, right, bias, result);
      return;
    }
    for (int n = 0; n < c.n; ++n) {
      static_cast<void>(product->run(args, args.at(Op::left) + n * a.stride_n,
                                     args.at(Op::right) + n * b.stride_n,
                                     args.at(Op::result) + n * c.stride_n));
    }
    if (ends) launch(args, result.count(), end_product, op.activation, bias, result);
  };
  return make_step(slots, product ? "cublaslt product" : "cuda product", body,
                   product ? product->workspace_bytes() : 0);
}

}  // namespace cermet::cuda
