#pragma once
// Products of dense row-major float32 matrices by cuBLASLt.

#include <cublasLt.h>

#include <cstdint>
#include <memory>

#include "cuda/engine.h"

namespace cermet::cuda {

/// result[rows][columns] = left * right, each of left and right as it is or transposed. Products
/// and sums in float32, in an order that depends on the sizes alone.
class MatrixProduct {
 public:
  struct Shape {
    std::int64_t rows = 0, columns = 0, inner = 0;
    bool left_transposed = false;   // left is inner x rows
    bool right_transposed = false;  // right is columns x inner
    bool accumulate = false;        // adds to the result
  };
  /// Null where cuBLASLt offers nothing.
  static std::shared_ptr<const MatrixProduct> make(Engine& engine, const Shape& shape);
  ~MatrixProduct();
  MatrixProduct(const MatrixProduct&) = delete;
  MatrixProduct& operator=(const MatrixProduct&) = delete;

  /// Scratch memory, taken from its begin.
  [[nodiscard]] std::size_t workspace_bytes() const;
  void run(const Args& args, const void* left, const void* right, void* result) const;

 private:
  MatrixProduct() = default;
  cublasLtHandle_t handle_ = nullptr;  // of the engine
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t left_ = nullptr, right_ = nullptr, result_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  std::size_t workspace_ = 0;
  bool accumulate_ = false;
};

}  // namespace cermet::cuda
