// MatrixMultiply (formula: matrix/multiplication.h). Large products are cut into blocks, by the
// shape alone, each of which is one product of oneDNN by one thread: so every number of threads
// gives the same bits. What is small, or refused by oneDNN, is multiplied by tiles of our own.

#include "cermet/matrix/multiplication.h"

#include <cmath>
#include <cstring>

#include "cpu/activation.h"
#include "cpu/engine.h"
#include "cpu/onednn.h"
#include "cpu/product_tiles.h"

namespace cermet::cpu {
namespace {

using general::divide_up;
using general::Index;
using general::tile_rows;

constexpr Index products_per_thread = 1 << 19;  // about twenty microseconds
constexpr Index small_product = 1 << 15;        // oneDNN needs longer to begin than this takes

std::size_t float_bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(float); }

struct Problem {
  MatrixMultiply op;
  TensorDesc left, right, result;
  bool biased;
  Index rows, columns, inner;

  Problem(const MatrixMultiply& what, Descs descs)
      : op(what),
        left(descs[MatrixMultiply::left]),
        right(descs[MatrixMultiply::right]),
        result(descs[MatrixMultiply::result]),
        biased(descs[MatrixMultiply::bias].present()),
        rows(result.h),
        columns(result.c),
        inner(op.transposeLeft != 0 ? left.h : left.c) {}

  [[nodiscard]] Index products() const { return rows * columns * inner; }
  /// The product itself is the result.
  [[nodiscard]] bool is_bare() const {
    return op.alpha == 1 && op.beta == 0 && !biased && op.activation.type == CNNNeuronType::None;
  }
  /// Elements from one row of op(left) to the next, and from one column to the next.
  [[nodiscard]] Index left_row() const { return op.transposeLeft != 0 ? 1 : left.stride_h; }
  [[nodiscard]] Index left_inner() const { return op.transposeLeft != 0 ? left.stride_h : 1; }
  [[nodiscard]] Index right_inner() const { return op.transposeRight != 0 ? 1 : right.stride_h; }
  [[nodiscard]] Index right_column() const { return op.transposeRight != 0 ? right.stride_h : 1; }
};

/// What follows the product in a row of the result.
struct Ending {
  float alpha, beta;
  Activation activation;
  EvaluateRow evaluate;

  explicit Ending(const MatrixMultiply& op)
      : alpha(op.alpha),
        beta(op.beta),
        activation(op.activation),
        evaluate(evaluate_row(op.activation.type)) {}

  /// `product` may be `out`. `bias` may be null.
  template <class T>
  void finish(const T* product, const float* bias, float* out, Index count) const {
    const auto factor = static_cast<T>(alpha), kept = static_cast<T>(beta);
    if (beta != 0) {  // NOLINT(bugprone-branch-clone): sees no loop behind a pragma
#pragma omp simd
      for (Index j = 0; j < count; ++j)
        out[j] = static_cast<float>(factor * product[j] + kept * static_cast<T>(out[j]));
    } else {
#pragma omp simd
      for (Index j = 0; j < count; ++j) out[j] = static_cast<float>(factor * product[j]);
    }
    if (bias != nullptr) {
#pragma omp simd
      for (Index j = 0; j < count; ++j) out[j] += bias[j];
    }
    if (activation.type != CNNNeuronType::None) evaluate(activation, out, nullptr, out, count);
  }
};

/// The bias of matrix n of a batch.
const float* bias_of(const Args& args, const TensorDesc& bias, Index n) {
  if (!bias.present()) return nullptr;
  return args.at<const float>(MatrixMultiply::bias) + n * bias.stride_n;
}

// ---- tiles of our own

StepPtr tiles(const Problem& p, Descs descs, const Engine& engine) {
  const Index strips = divide_up(p.rows, tile_rows), count = p.result.n;
  const bool packs = p.op.transposeRight != 0;
  const Index sums_of_strip = tile_rows * p.columns, packed = packs ? p.inner * p.columns : 0;
  const int threads = threads_for(count * p.products(), engine, products_per_thread);
  const auto sums_count = static_cast<std::size_t>(count * strips * sums_of_strip);
  const auto body = [p, strips, count, packs, sums_of_strip, packed, threads, sums_count,
                     ending = Ending(p.op),
                     bias_desc = descs[MatrixMultiply::bias]](const Args& args) {
    const auto* left = args.at<const float>(MatrixMultiply::left);
    const auto* right = args.at<const float>(MatrixMultiply::right);
    float* to = args.at(MatrixMultiply::result);
    auto* all_sums = static_cast<double*>(args.scratch);
    auto* transposed = reinterpret_cast<float*>(all_sums + sums_count);
    if (packs) {
      parallel(threads, count * p.inner, [&](Index begin, Index end) {
        for (Index at = begin; at < end; ++at) {
          const float* from = right + at / p.inner * p.right.stride_n + at % p.inner;
          for (Index j = 0; j < p.columns; ++j)
            transposed[at * p.columns + j] = from[j * p.right.stride_h];
        }
      });
    }
    parallel(threads, count * strips, [&](Index begin, Index end) {
      for (Index strip = begin; strip < end; ++strip) {
        const Index n = strip / strips, first = strip % strips * tile_rows;
        const Index rows = std::min<Index>(tile_rows, p.rows - first);
        const float* a = left + n * p.left.stride_n + first * p.left_row();
        const float* b = packs ? transposed + n * packed : right + n * p.right.stride_n;
        const Index b_row = packs ? p.columns : p.right.stride_h;
        double* sums = all_sums + strip * sums_of_strip;
        std::fill_n(sums, rows * p.columns, 0.0);
        for (Index t = 0; t < p.inner; t += product::chunk) {
          product::add_product({a + t * p.left_inner(), p.left_row(), p.left_inner()},
                               {b + t * b_row, b_row}, std::min(product::chunk, p.inner - t), rows,
                               p.columns, sums, p.columns);
        }
        for (Index i = 0; i < rows; ++i) {
          ending.finish(sums + i * p.columns, bias_of(args, bias_desc, n),
                        pixel(to, p.result, n, first + i, 0), p.columns);
        }
      }
    });
  };
  return make_step(descs, "own product", body,
                   sums_count * sizeof(double) + float_bytes(count * packed));
}

// ---- blocks of oneDNN

/// How a product is cut into blocks: as large as 128 x 128, smaller where that makes 16 of them
/// that are still worth a thread.
struct Grid {
  Index block_rows, block_columns, down, across;

  explicit Grid(const Problem& p) {
    constexpr Index largest = 128, smallest = 32, wanted = 16;
    block_rows = std::min(largest, p.rows);
    block_columns = std::min(largest, p.columns);
    if (p.rows == 1) block_columns = std::min(Index{512}, p.columns);
    const auto parts = [&] {
      return p.result.n * divide_up(p.rows, block_rows) * divide_up(p.columns, block_columns);
    };
    while (parts() < wanted && block_rows * block_columns * p.inner > products_per_thread) {
      Index& edge = block_rows >= block_columns ? block_rows : block_columns;
      if (edge <= smallest) break;
      edge = divide_up(edge, 2);
    }
    // No last block of a single column (see Blocks).
    while (p.columns > block_columns && p.columns % block_columns == 1) --block_columns;
    down = divide_up(p.rows, block_rows);
    across = divide_up(p.columns, block_columns);
  }
};

class Blocks final : public Step {
 public:
  /// Null where oneDNN has no product of such matrices.
  static StepPtr make(const Problem& p, Descs descs, const Engine& engine) {
    auto step = std::make_shared<Blocks>(p, descs, engine);
    return step->has_all_ ? step : nullptr;
  }

  Blocks(const Problem& p, Descs descs, const Engine& engine)
      : p_(p), grid_(p), ending_(p.op), bias_(descs[MatrixMultiply::bias]) {
    const onednn::ThreadScope one_thread(1);
    const Index last_rows = p.rows - (grid_.down - 1) * grid_.block_rows;
    const Index last_columns = p.columns - (grid_.across - 1) * grid_.block_columns;
    const Index result_row = p.op.beta != 0 ? grid_.block_columns : p.result.stride_h;
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      const Index rows = kind / 2 != 0 ? last_rows : grid_.block_rows;
      const Index columns = kind % 2 != 0 ? last_columns : grid_.block_columns;
      // oneDNN 3.7 takes the rows of a single column for neighbours with AVX-512: wrong numbers.
      if (columns == 1 && rows > 1 && result_row != 1) {
        has_all_ = false;
        return;
      }
      auto made = onednn::matrix_product(
          {onednn::matrix_desc({rows, p.inner}, {p.left_row(), p.left_inner()}),
           onednn::matrix_desc({p.inner, columns}, {p.right_inner(), p.right_column()}),
           onednn::Desc(), onednn::matrix_desc({rows, columns}, {result_row, 1})});
      if (!made || made->is("ref")) {
        has_all_ = false;
        return;
      }
      products_[kind] = onednn::make_step(std::move(*made), {});
      own_scratch_ = std::max(own_scratch_, products_[kind]->scratch_bytes);
    }
    own_scratch_ = (own_scratch_ + 63) / 64 * 64;
    const Index blocks = Index{p.result.n} * grid_.down * grid_.across;
    threads_ = static_cast<int>(std::min<Index>(
        blocks, threads_for(p.result.n * p.products(), engine, products_per_thread)));
    if (p.op.beta != 0) block_bytes_ = float_bytes(grid_.block_rows * grid_.block_columns);
    slots.assign(descs.begin(), descs.end());
    for (const TensorDesc& desc : slots) bytes.push_back(float_bytes(desc.count()));
    scratch_bytes = static_cast<std::size_t>(threads_) * (own_scratch_ + block_bytes_);
    implementation = "blocks of " + products_[0]->implementation;
  }

  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
    return std::make_unique<Bound>(this);
  }

 private:
  /// By whether the block is the last of its column, and of its row.
  static constexpr std::size_t kinds = 4;

  struct Bound final : BoundStep {
    explicit Bound(const Blocks* what)
        : step(what), products(static_cast<std::size_t>(what->threads_)) {
      for (auto& of_thread : products)
        for (std::size_t kind = 0; kind < kinds; ++kind)
          of_thread[kind] = step->products_[kind]->bind();
    }
    void rebind(const Slots& slots, void* scratch, const void*) override {
      args.slots = slots;
      args.scratch = scratch;
    }
    void run(Stream& stream) noexcept override {
      const onednn::ThreadScope one_thread(1);
      const Grid& grid = step->grid_;
      const Index of_matrix = grid.down * grid.across;
      parallel(step->threads_, step->p_.result.n * of_matrix, [&](Index begin, Index end) {
        const auto thread = static_cast<std::size_t>(omp_get_thread_num());
        for (Index at = begin; at < end; ++at) {
          step->run_block(args, stream, products[thread], thread, at / of_matrix,
                          at % of_matrix / grid.across, at % grid.across);
        }
      });
    }
    const Blocks* step;
    std::vector<std::array<std::unique_ptr<BoundStep>, kinds>> products;
    Args args;
  };

  void run_block(const Args& args, Stream& stream,
                 const std::array<std::unique_ptr<BoundStep>, kinds>& products, std::size_t thread,
                 Index n, Index down, Index across) const {
    const Index first = down * grid_.block_rows, column = across * grid_.block_columns;
    const Index rows = std::min(grid_.block_rows, p_.rows - first);
    const Index columns = std::min(grid_.block_columns, p_.columns - column);
    float* left = args.at(MatrixMultiply::left) + n * p_.left.stride_n + first * p_.left_row();
    float* right =
        args.at(MatrixMultiply::right) + n * p_.right.stride_n + column * p_.right_column();
    float* to = pixel(args.at(MatrixMultiply::result), p_.result, n, first, 0) + column;
    auto* scratch = static_cast<std::byte*>(args.scratch) + thread * (own_scratch_ + block_bytes_);
    const bool apart = block_bytes_ != 0;
    float* product = apart ? reinterpret_cast<float*>(scratch + own_scratch_) : to;
    const std::size_t kind =
        (down + 1 == grid_.down ? 2U : 0U) + (across + 1 == grid_.across ? 1U : 0U);
    products[kind]->rebind({left, right, nullptr, product}, scratch, nullptr);
    products[kind]->run(stream);
    if (p_.is_bare()) return;
    const float* bias = bias_of(args, bias_, n);
    for (Index i = 0; i < rows; ++i) {
      ending_.finish(product + i * (apart ? grid_.block_columns : p_.result.stride_h),
                     bias != nullptr ? bias + column : nullptr, to + i * p_.result.stride_h,
                     columns);
    }
  }

  Problem p_;
  Grid grid_;
  Ending ending_;
  TensorDesc bias_;
  std::array<StepPtr, kinds> products_;
  bool has_all_ = true;
  int threads_ = 1;
  std::size_t own_scratch_ = 0, block_bytes_ = 0;  // of each thread
};

}  // namespace

StepPtr prepare(const MatrixMultiply& op, Descs descs, Engine& engine) {
  const Problem problem(op, descs);
  if (problem.products() > small_product) {
    if (StepPtr made = Blocks::make(problem, descs, engine)) return made;
  }
  return tiles(problem, descs, engine);
}

}  // namespace cermet::cpu
