#pragma once
// Products of row-major float32 matrices by cuBLASLt.

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "cuda/engine.h"

namespace cermet::cuda {

/// result[rows][columns] = left * right, each of left and right as it is or transposed. Sums in
/// float32, in an order that depends on the shape and the recorded choice (plan_choices.h) alone.
class MatrixProduct {
 public:
  /// What a product may do besides, with an array of float32: add it to each row of the result, or
  /// write to it, for each row of the result, the sum of left's factors.
  enum class Epilogue { none, bias, left_sums };
  struct Shape {
    std::int64_t rows = 0, columns = 0, inner = 0;
    bool left_transposed = false;   // left is inner x rows
    bool right_transposed = false;  // right is columns x inner
    bool accumulate = false;        // adds to the result
    bool reduced = false;           // factors may be rounded to TF32
    Epilogue epilogue = Epilogue::none;
    // Of the product, and of what it is added to where it accumulates.
    float alpha = 1, beta = 1;
    // Elements from one row to the next as the matrices are stored; 0: they are dense. With one of
    // these all addresses must be aligned to 16 bytes, and all three strides be multiples of 4.
    std::int64_t left_stride = 0, right_stride = 0, result_stride = 0;

    [[nodiscard]] bool strided() const {
      return left_stride != 0 || right_stride != 0 || result_stride != 0;
    }
  };
  /// The fastest of cuBLASLt's heuristics that gives the same bits at every run. Null where it
  /// offers nothing.
  static std::shared_ptr<const MatrixProduct> make(Engine& engine, const Shape& shape);
  ~MatrixProduct();
  MatrixProduct(const MatrixProduct&) = delete;
  MatrixProduct& operator=(const MatrixProduct&) = delete;

  /// Scratch memory, taken from its begin.
  [[nodiscard]] std::size_t workspace_bytes() const;
  /// Returns whether it did the epilogue, too; else that is left to the caller. `array` is the
  /// epilogue's.
  bool run(const Args& args, const void* left, const void* right, void* result,
           void* array = nullptr) const;

 private:
  struct Algorithm {
    cublasLtMatmulAlgo_t config{};
    std::size_t workspace = 0;
  };
  struct Operands {
    const void *left, *right;
    void *result, *array;
  };
  MatrixProduct() = default;
  [[nodiscard]] std::optional<Algorithm> choose(Engine& engine, Epilogue epilogue) const;
  cublasStatus_t enqueue(const Algorithm& algorithm, Epilogue epilogue, const Operands& operands,
                         void* workspace, cudaStream_t stream) const;

  cublasLtHandle_t handle_ = nullptr;  // of the engine
  Shape shape_;
  cublasLtMatrixLayout_t left_ = nullptr, right_ = nullptr, result_ = nullptr;
  Algorithm plain_;
  std::optional<Algorithm> whole_;  // with the epilogue
};

}  // namespace cermet::cuda
