#include "cuda/matrix_product.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "cuda/trial.h"

namespace cermet::cuda {
namespace {

using Shape = MatrixProduct::Shape;
using Epilogue = MatrixProduct::Epilogue;

/// cuBLASLt refuses a workspace that is aligned to less, and one that it does not need, too.
constexpr std::size_t workspace_alignment = 256;
constexpr std::size_t aligned(std::size_t at) {
  return (at + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
}
/// Algorithms are asked for that may read or write an epilogue's array 16 bytes at once.
constexpr std::uintptr_t array_alignment = 16;

/// cuBLASLt's description of a product. It lives for one call, since it holds the array's address.
class Description {
 public:
  Description(const Shape& shape, Epilogue epilogue, const void* array) {
    note(cublasLtMatmulDescInit(
        &memory_, shape.reduced ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, shape.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, shape.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (epilogue == Epilogue::none) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE,
        epilogue == Epilogue::bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_BGRADB);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, array);
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] cublasLtMatmulDesc_t get() { return &memory_; }

 private:
  void note(cublasStatus_t status) { good_ = good_ && status == CUBLAS_STATUS_SUCCESS; }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value) {
    note(cublasLtMatmulDescSetAttribute(&memory_, name, &value, sizeof value));
  }
  cublasLtMatmulDescOpaque_t memory_{};
  bool good_ = true;
};

template <class T>
T config_of(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value{};
  std::size_t written = 0;
  static_cast<void>(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written));
  return value;
}

std::string name_of(const cublasLtMatmulHeuristicResult_t& found) {
  std::string text = "algorithm";
  const auto add = [&](const char* what, auto value) {
    text.append(" ").append(what).append(" ").append(std::to_string(value));
  };
  const cublasLtMatmulAlgo_t& algorithm = found.algo;
  add("id", config_of<std::int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_ID));
  add("tile", config_of<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID));
  add("stages", config_of<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID));
  add("split", config_of<std::int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
  add("reduction", config_of<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME));
  add("swizzling", config_of<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING));
  add("option", config_of<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION));
  add("inner", config_of<std::uint16_t>(algorithm, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID));
  add("cluster", config_of<std::uint16_t>(algorithm, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID));
  add("workspace", found.workspaceSize);
  return text;
}

/// Parts of a sum that are added in the order in which they get ready give other bits at each run.
/// Those of a sum that an epilogue makes besides are said nothing of: there are none then.
std::uint32_t reductions_of(Epilogue epilogue) {
  return epilogue == Epilogue::left_sums ? CUBLASLT_REDUCTION_SCHEME_NONE
                                         : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
}
bool is_deterministic(const cublasLtMatmulAlgo_t& algorithm, Epilogue epilogue) {
  const auto scheme = config_of<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
  return scheme == CUBLASLT_REDUCTION_SCHEME_NONE || scheme == reductions_of(epilogue);
}

std::string problem_of(const Shape& shape, Epilogue epilogue) {
  std::string text = "product, cuBLASLt " + std::to_string(cublasLtGetVersion());
  for (const std::int64_t number : {shape.rows, shape.columns, shape.inner})
    text.append(" ").append(std::to_string(number));
  for (const bool flag :
       {shape.left_transposed, shape.right_transposed, shape.accumulate, shape.reduced})
    text.append(flag ? " 1" : " 0");
  text.append(" ").append(std::to_string(static_cast<int>(epilogue)));
  if (!shape.strided()) return text;
  for (const std::int64_t stride : {shape.left_stride, shape.right_stride, shape.result_stride})
    text.append(" ").append(std::to_string(stride));
  return text;
}

}  // namespace

std::size_t MatrixProduct::workspace_bytes() const {
  const std::size_t most = std::max(plain_.workspace, whole_ ? whole_->workspace : 0);
  return most == 0 ? 0 : most + workspace_alignment;
}

std::shared_ptr<const MatrixProduct> MatrixProduct::make(Engine& engine, const Shape& shape) {
  std::shared_ptr<MatrixProduct> made(new MatrixProduct);
  made->handle_ = engine.cublas();
  made->shape_ = shape;
  bool good = true;
  // Row-major matrices are the transposes of column-major ones: result^T = right^T * left^T. So
  // cuBLASLt's A is our right and its B our left.
  const auto layout = [&](cublasLtMatrixLayout_t& matrix, std::int64_t rows, std::int64_t columns,
                          std::int64_t stride) {
    good =
        good && cublasLtMatrixLayoutCreate(&matrix, CUDA_R_32F, static_cast<std::uint64_t>(columns),
                                           static_cast<std::uint64_t>(rows),
                                           stride != 0 ? stride : columns) == CUBLAS_STATUS_SUCCESS;
  };
  layout(made->right_, shape.right_transposed ? shape.columns : shape.inner,
         shape.right_transposed ? shape.inner : shape.columns, shape.right_stride);
  layout(made->left_, shape.left_transposed ? shape.inner : shape.rows,
         shape.left_transposed ? shape.rows : shape.inner, shape.left_stride);
  layout(made->result_, shape.rows, shape.columns, shape.result_stride);
  if (!good) return nullptr;
  const auto plain = made->choose(engine, Epilogue::none);
  if (!plain) return nullptr;
  made->plain_ = *plain;
  if (shape.epilogue != Epilogue::none) made->whole_ = made->choose(engine, shape.epilogue);
  return made;
}

std::optional<MatrixProduct::Algorithm> MatrixProduct::choose(Engine& engine,
                                                              Epilogue epilogue) const {
  // The heuristics look at the alignment of this address alone. NOLINTNEXTLINE(*-no-int-to-ptr)
  Description product(shape_, epilogue, reinterpret_cast<const void*>(array_alignment));
  cublasLtMatmulPreference_t preference = nullptr;
  bool good =
      product.good() && cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS;
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    good = good && cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof value) ==
                       CUBLAS_STATUS_SUCCESS;
  };
  constexpr std::uint64_t most = std::uint64_t{32} << 20;
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions_of(epilogue));
  // Parameters and images of a batch start at any element.
  constexpr std::uint32_t element = sizeof(float);
  for (const auto name :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    const bool whole = shape_.strided() ||
                       (shape_.inner % 4 == 0 && shape_.rows % 4 == 0 && shape_.columns % 4 == 0);
    prefer(name, whole ? 4 * element : element);
  }
  std::array<cublasLtMatmulHeuristicResult_t, 16> found{};
  int count = 0;
  good = good && cublasLtMatmulAlgoGetHeuristic(handle_, product.get(), right_, left_, result_,
                                                result_, preference, static_cast<int>(found.size()),
                                                found.data(), &count) == CUBLAS_STATUS_SUCCESS;
  if (preference != nullptr) static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
  if (!good) return std::nullopt;

  std::vector<Algorithm> algorithms;
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    constexpr std::size_t most_candidates = 8;
    const cublasLtMatmulHeuristicResult_t& one = found[static_cast<std::size_t>(i)];
    if (one.state != CUBLAS_STATUS_SUCCESS || !is_deterministic(one.algo, epilogue)) continue;
    std::string name = name_of(one);
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    names.push_back(std::move(name));
    algorithms.push_back({one.algo, one.workspaceSize});
    if (algorithms.size() == most_candidates) break;
  }
  if (algorithms.empty()) return std::nullopt;
  const auto bytes = [](std::int64_t rows, std::int64_t columns, std::int64_t stride = 0) {
    return static_cast<std::size_t>(rows * (stride != 0 ? stride : columns)) * sizeof(float);
  };
  const bool left = shape_.left_transposed, right = shape_.right_transposed;
  Trial trial(engine, {bytes(left ? shape_.inner : shape_.rows, left ? shape_.rows : shape_.inner,
                             shape_.left_stride),
                       bytes(right ? shape_.columns : shape_.inner,
                             right ? shape_.inner : shape_.columns, shape_.right_stride),
                       bytes(shape_.rows, shape_.columns, shape_.result_stride),
                       bytes(1, std::max(shape_.rows, shape_.columns))});
  return algorithms[engine.plans().choose(problem_of(shape_, epilogue), names, [&](std::size_t i) {
    const Algorithm& one = algorithms[i];
    return trial.microseconds(one.workspace, [&](const std::vector<void*>& at, void* workspace) {
      if (enqueue(one, epilogue, {at[0], at[1], at[2], at[3]}, workspace, nullptr) !=
          CUBLAS_STATUS_SUCCESS)
        throw DeviceError(CommandBufferError::Internal, "cuBLASLt refuses a plan of its own.");
    });
  })];
}

MatrixProduct::~MatrixProduct() {
  for (cublasLtMatrixLayout_t one : {left_, right_, result_}) {
    if (one != nullptr) static_cast<void>(cublasLtMatrixLayoutDestroy(one));
  }
}

cublasStatus_t MatrixProduct::enqueue(const Algorithm& algorithm, Epilogue epilogue,
                                      const Operands& operands, void* workspace,
                                      cudaStream_t stream) const {
  const float alpha = shape_.alpha, beta = shape_.accumulate ? shape_.beta : 0.0F;
  Description product(shape_, epilogue, operands.array);
  if (!product.good()) return CUBLAS_STATUS_INTERNAL_ERROR;
  return cublasLtMatmul(handle_, product.get(), &alpha, operands.right, right_, operands.left,
                        left_, &beta, operands.result, result_, operands.result, result_,
                        &algorithm.config, algorithm.workspace == 0 ? nullptr : workspace,
                        algorithm.workspace, stream);
}

bool MatrixProduct::run(const Args& args, const void* left, const void* right, void* result,
                        void* array) const {
  const bool whole = whole_ && reinterpret_cast<std::uintptr_t>(array) % array_alignment == 0;
  const auto address = reinterpret_cast<std::size_t>(args.scratch);
  void* const workspace = static_cast<std::byte*>(args.scratch) + (aligned(address) - address);
  const cublasStatus_t status =
      enqueue(whole ? *whole_ : plain_, whole ? shape_.epilogue : Epilogue::none,
              {left, right, result, array}, workspace, args.stream->get());
  if (status != CUBLAS_STATUS_SUCCESS) {
    args.stream->fail(cudaErrorUnknown,
                      std::string("cuBLASLt: ") + cublasLtGetStatusString(status));
  }
  return whole;
}

}  // namespace cermet::cuda
