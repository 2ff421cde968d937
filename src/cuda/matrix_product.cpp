#include "cuda/matrix_product.h"

namespace cermet::cuda {
namespace {

/// cuBLASLt refuses a workspace that is aligned to less, and one that it does not need, too.
constexpr std::size_t workspace_alignment = 256;
constexpr std::size_t aligned(std::size_t at) {
  return (at + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
}

}  // namespace

std::size_t MatrixProduct::workspace_bytes() const {
  return workspace_ == 0 ? 0 : workspace_ + workspace_alignment;
}

std::shared_ptr<const MatrixProduct> MatrixProduct::make(Engine& engine, const Shape& shape) {
  std::shared_ptr<MatrixProduct> made(new MatrixProduct);
  made->handle_ = engine.cublas();
  made->accumulate_ = shape.accumulate;
  bool good = true;
  const auto note = [&](cublasStatus_t status) { good = good && status == CUBLAS_STATUS_SUCCESS; };
  // Row-major matrices are the transposes of column-major ones: result^T = right^T * left^T. So
  // cuBLASLt's A is our right and its B our left.
  note(cublasLtMatmulDescCreate(&made->product_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const auto set = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
    note(cublasLtMatmulDescSetAttribute(made->product_, name, &value, sizeof value));
  };
  const cublasOperation_t a = shape.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                          b = shape.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  set(CUBLASLT_MATMUL_DESC_TRANSA, a);
  set(CUBLASLT_MATMUL_DESC_TRANSB, b);
  const auto layout = [&](cublasLtMatrixLayout_t& matrix, std::int64_t rows, std::int64_t columns) {
    note(cublasLtMatrixLayoutCreate(&matrix, CUDA_R_32F, static_cast<std::uint64_t>(columns),
                                    static_cast<std::uint64_t>(rows), columns));
  };
  layout(made->right_, shape.right_transposed ? shape.columns : shape.inner,
         shape.right_transposed ? shape.inner : shape.columns);
  layout(made->left_, shape.left_transposed ? shape.inner : shape.rows,
         shape.left_transposed ? shape.rows : shape.inner);
  layout(made->result_, shape.rows, shape.columns);

  cublasLtMatmulPreference_t preference = nullptr;
  note(cublasLtMatmulPreferenceCreate(&preference));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    note(cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof value));
  };
  constexpr std::uint64_t most = std::uint64_t{32} << 20;
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most);
  // Parameters and images of a batch start at any element.
  constexpr std::uint32_t element = sizeof(float);
  for (const auto name :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    const bool whole = shape.inner % 4 == 0 && shape.rows % 4 == 0 && shape.columns % 4 == 0;
    prefer(name, whole ? 4 * element : element);
  }
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  if (good) {
    note(cublasLtMatmulAlgoGetHeuristic(made->handle_, made->product_, made->right_, made->left_,
                                        made->result_, made->result_, preference, 1, &found,
                                        &count));
  }
  if (preference != nullptr) static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
  if (!good || count == 0) return nullptr;
  made->algorithm_ = found.algo;
  made->workspace_ = found.workspaceSize;
  return made;
}

MatrixProduct::~MatrixProduct() {
  if (product_ != nullptr) static_cast<void>(cublasLtMatmulDescDestroy(product_));
  for (cublasLtMatrixLayout_t one : {left_, right_, result_}) {
    if (one != nullptr) static_cast<void>(cublasLtMatrixLayoutDestroy(one));
  }
}

void MatrixProduct::run(const Args& args, const void* left, const void* right, void* result) const {
  constexpr float one = 1, zero = 0;
  void* const workspace =
      workspace_ == 0
          ? nullptr
          : reinterpret_cast<void*>(aligned(reinterpret_cast<std::size_t>(args.scratch)));
  const cublasStatus_t status = cublasLtMatmul(
      handle_, product_, &one, right, right_, left, left_, accumulate_ ? &one : &zero, result,
      result_, result, result_, &algorithm_, workspace, workspace_, args.stream->get());
  if (status != CUBLAS_STATUS_SUCCESS) {
    args.stream->fail(cudaErrorUnknown,
                      std::string("cuBLASLt: ") + cublasLtGetStatusString(status));
  }
}

}  // namespace cermet::cuda
