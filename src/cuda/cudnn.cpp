#include "cuda/cudnn.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "cermet/core/error.h"
#include "cuda/trial.h"

namespace cermet::cuda {
namespace {

void require(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw DeviceError(CommandBufferError::Internal,
                    std::string("cuDNN: ") + what + ": " + cudnnGetErrorString(status));
}

/// Descriptors of one plan under construction; what fails to finish makes `good()` false.
class Builder {
 public:
  ~Builder() {
    for (cudnnBackendDescriptor_t one : owned_)
      static_cast<void>(cudnnBackendDestroyDescriptor(one));
  }
  Builder() = default;
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  [[nodiscard]] cudnnBackendDescriptor_t create(cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = nullptr;
    note(cudnnBackendCreateDescriptor(type, &made));
    if (made != nullptr) owned_.push_back(made);
    return made;
  }
  template <class T>
  void set(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
           cudnnBackendAttributeType_t type, std::span<const T> values) {
    note(cudnnBackendSetAttribute(to, name, type, static_cast<std::int64_t>(values.size()),
                                  values.data()));
  }
  template <class T>
  void set(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
           cudnnBackendAttributeType_t type, const T& value) {
    set(to, name, type, std::span<const T>(&value, 1));
  }
  void finish(cudnnBackendDescriptor_t one) { note(cudnnBackendFinalize(one)); }
  void note(cudnnStatus_t status) { good_ = good_ && status == CUDNN_STATUS_SUCCESS; }
  [[nodiscard]] bool good() const { return good_; }
  void forgive() { good_ = true; }
  [[nodiscard]] std::vector<cudnnBackendDescriptor_t> release() {
    return std::exchange(owned_, {});
  }

 private:
  std::vector<cudnnBackendDescriptor_t> owned_;
  bool good_ = true;
};

/// NHWC memory as cuDNN's n, c, h, w; weights: k, c, h, w.
cudnnBackendDescriptor_t describe_tensor(Builder& builder, const TensorDesc& desc,
                                         std::int64_t id) {
  const std::array<std::int64_t, 4> extents{desc.n, desc.c, desc.h, desc.w};
  const std::array<std::int64_t, 4> strides{desc.stride_n, 1, desc.stride_h, desc.stride_w};
  // Windows of images and packed parameters start at any element.
  const std::int64_t alignment = desc.c % 4 == 0 && desc.stride_w % 4 == 0 ? 16 : 4;
  cudnnBackendDescriptor_t tensor = builder.create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  builder.set(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  builder.set(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64,
              std::span<const std::int64_t>(extents));
  builder.set(tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64,
              std::span<const std::int64_t>(strides));
  builder.set(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  builder.set(tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment);
  builder.finish(tensor);
  return tensor;
}

/// Whether as many zeros after the source as before it make as many outputs as there are. There are
/// plans of cuDNN that compute something else where the two differ.
bool is_symmetric(int extent, int outputs, int kernel, int stride, int pad, int dilation) {
  const int span = extent + 2 * pad - (dilation * (kernel - 1) + 1);
  return pad >= 0 && span >= 0 && span / stride + 1 == outputs;
}

cudnnBackendDescriptor_t describe_convolution(Builder& builder, const Window& w,
                                              const CudnnPlan::Tensors& t) {
  if (!is_symmetric(t.source.h, t.destination.h, w.kernelHeight, w.strideY, w.padTop,
                    w.dilationY) ||
      !is_symmetric(t.source.w, t.destination.w, w.kernelWidth, w.strideX, w.padLeft,
                    w.dilationX)) {
    builder.note(CUDNN_STATUS_NOT_SUPPORTED);
    return nullptr;
  }
  const std::array<std::int64_t, 2> pads{w.padTop, w.padLeft}, dilations{w.dilationY, w.dilationX},
      strides{w.strideY, w.strideX};
  cudnnBackendDescriptor_t made = builder.create(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  builder.set(made, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  builder.set(made, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
              CUDNN_CROSS_CORRELATION);
  builder.set(made, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2});
  const auto pair = [&](cudnnBackendAttributeName_t name, const std::array<std::int64_t, 2>& two) {
    builder.set(made, name, CUDNN_TYPE_INT64, std::span<const std::int64_t>(two));
  };
  pair(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, pads);
  pair(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, pads);
  pair(CUDNN_ATTR_CONVOLUTION_DILATIONS, dilations);
  pair(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, strides);
  builder.finish(made);
  return made;
}

/// Attribute names of a pass: those of source, weights, destination, convolution, alpha, beta.
struct PassNames {
  cudnnBackendDescriptorType_t type;
  std::array<cudnnBackendAttributeName_t, 6> names;
};
PassNames names_of(CudnnPlan::Pass pass) {
  switch (pass) {
    case CudnnPlan::Pass::forward:
      return {
          CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
          {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA}};
    case CudnnPlan::Pass::data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA}};
    case CudnnPlan::Pass::weights:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
}

struct Candidate {
  cudnnBackendDescriptor_t plan;
  std::size_t workspace;
  std::string name;
};

std::vector<cudnnBackendDescriptor_t> configurations(Builder& builder,
                                                     cudnnBackendDescriptor_t graph,
                                                     cudnnBackendHeurMode_t mode) {
  builder.forgive();
  cudnnBackendDescriptor_t heuristics = builder.create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  builder.set(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              graph);
  builder.set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  builder.finish(heuristics);
  std::int64_t count = 0, got = 0;
  builder.note(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr));
  if (!builder.good() || count == 0) return {};
  std::vector<cudnnBackendDescriptor_t> found(static_cast<std::size_t>(count));
  for (auto& config : found) config = builder.create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  builder.note(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &got,
                                        static_cast<void*>(found.data())));
  found.resize(builder.good() ? static_cast<std::size_t>(got) : 0);
  return found;
}

std::string problem_of(CudnnPlan::Pass pass, const Convolution& op,
                       const CudnnPlan::Tensors& tensors) {
  const Window& w = op.window;
  std::string text = "pass ";
  const auto add = [&](std::int64_t number) { text.append(std::to_string(number)).append(" "); };
  add(static_cast<int>(pass));
  for (const TensorDesc* one : {&tensors.source, &tensors.weights, &tensors.destination}) {
    for (const std::int32_t extent : {one->n, one->h, one->w, one->c}) add(extent);
    for (const std::int64_t stride : {one->stride_n, one->stride_h, one->stride_w}) add(stride);
  }
  for (const std::int32_t number :
       {w.kernelHeight, w.kernelWidth, w.strideY, w.strideX, w.padTop, w.padLeft, w.dilationY,
        w.dilationX, op.groups, op.reducedPrecision})
    add(number);
  return text;
}

/// Whether an engine takes no liberty: no atomics, no transforms, no rounding, and tensor cores
/// only where `reduced`. `with` receives it.
bool is_exact(cudnnBackendDescriptor_t config, cudnnBackendDescriptor_t with, bool reduced) {
  std::int64_t count = 0;
  if (cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                               1, &count, static_cast<void*>(&with)) != CUDNN_STATUS_SUCCESS)
    return false;
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  count = 0;
  if (cudnnBackendGetAttribute(with, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                               static_cast<std::int64_t>(notes.size()), &count,
                               notes.data()) != CUDNN_STATUS_SUCCESS)
    return false;
  return std::all_of(notes.begin(), notes.begin() + count, [&](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP ||  // the others are liberties
           (reduced && note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  });
}

}  // namespace

CudnnHandle::CudnnHandle() { require(cudnnCreate(&handle_), "cudnnCreate"); }
void CudnnHandle::enqueue_on(cudaStream_t stream) const {
  require(cudnnSetStream(handle_, stream), "cudnnSetStream");
}
CudnnHandle::~CudnnHandle() { static_cast<void>(cudnnDestroy(handle_)); }

std::shared_ptr<const CudnnPlan> CudnnPlan::make(Engine& engine, Pass pass, const Convolution& op,
                                                 const Tensors& tensors) {
  for (const TensorDesc* desc : {&tensors.source, &tensors.weights, &tensors.destination}) {
    if (desc->type != ElementType::float32) return nullptr;
  }
  if (op.window.clampEdges != 0) return nullptr;
  const CudnnHandle& handle = engine.cudnn();
  Builder builder;
  const PassNames pass_names = names_of(pass);
  cudnnBackendDescriptor_t convolution = describe_convolution(builder, op.window, tensors);
  if (!builder.good()) return nullptr;
  const std::array<cudnnBackendDescriptor_t, 4> parts{
      describe_tensor(builder, tensors.source, 1), describe_tensor(builder, tensors.weights, 2),
      describe_tensor(builder, tensors.destination, 3), convolution};
  cudnnBackendDescriptor_t operation = builder.create(pass_names.type);
  for (std::size_t i = 0; i < parts.size(); ++i)
    builder.set(operation, pass_names.names[i], CUDNN_TYPE_BACKEND_DESCRIPTOR, parts[i]);
  builder.set(operation, pass_names.names[4], CUDNN_TYPE_FLOAT, 1.0F);
  builder.set(operation, pass_names.names[5], CUDNN_TYPE_FLOAT, 0.0F);
  builder.finish(operation);
  cudnnBackendDescriptor_t graph = builder.create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  builder.set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operation);
  builder.set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle.get());
  builder.finish(graph);
  if (!builder.good()) return nullptr;

  std::vector<Candidate> candidates;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (cudnnBackendDescriptor_t config : configurations(builder, graph, mode)) {
      constexpr std::size_t most_candidates = 8;
      if (candidates.size() == most_candidates) break;
      builder.forgive();
      cudnnBackendDescriptor_t with = builder.create(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      if (!is_exact(config, with, op.reducedPrecision != 0)) continue;
      cudnnBackendDescriptor_t plan = builder.create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      builder.set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle.get());
      builder.set(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                  config);
      builder.finish(plan);
      std::int64_t workspace = 0, number = 0, one = 0;
      builder.note(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                            CUDNN_TYPE_INT64, 1, &one, &workspace));
      builder.note(cudnnBackendGetAttribute(with, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64,
                                            1, &one, &number));
      constexpr std::int64_t most = std::int64_t{1} << 28;
      if (!builder.good() || workspace > most) continue;
      const std::string name = "engine " + std::to_string(number) + ", plan " +
                               std::to_string(candidates.size()) + ", workspace " +
                               std::to_string(workspace);
      candidates.push_back({plan, static_cast<std::size_t>(workspace), name});
    }
    if (!candidates.empty()) break;
  }
  if (candidates.empty()) return nullptr;

  std::shared_ptr<CudnnPlan> made(new CudnnPlan);
  made->owned_ = builder.release();
  std::vector<std::string> names;
  names.reserve(candidates.size());
  for (const Candidate& one : candidates) names.push_back(one.name);
  std::vector<std::size_t> bytes;
  for (const TensorDesc* d : {&tensors.source, &tensors.weights, &tensors.destination}) {
    const std::int64_t last =
        (d->n - 1) * d->stride_n + (d->h - 1) * d->stride_h + (d->w - 1) * d->stride_w + d->c;
    bytes.push_back(static_cast<std::size_t>(last) * sizeof(float));
  }
  Trial trial(engine, std::move(bytes));
  const std::size_t best =
      engine.plans().choose(problem_of(pass, op, tensors), names, [&](std::size_t i) {
        made->plan_ = candidates[i].plan;
        made->workspace_ = candidates[i].workspace;
        CudnnBinding binding;
        return trial.microseconds(
            made->workspace_, [&](const std::vector<void*>& at, void* workspace) {
              made->run(engine.cudnn(), binding, {at[0], at[1], at[2]}, workspace);
            });
      });
  made->plan_ = candidates[best].plan;
  made->workspace_ = candidates[best].workspace;
  return made;
}

CudnnPlan::~CudnnPlan() {
  for (auto one = owned_.rbegin(); one != owned_.rend(); ++one)
    static_cast<void>(cudnnBackendDestroyDescriptor(*one));
}

CudnnBinding::~CudnnBinding() {
  if (pack != nullptr) static_cast<void>(cudnnBackendDestroyDescriptor(pack));
}

void CudnnPlan::run(const CudnnHandle& handle, CudnnBinding& binding,
                    const std::array<void*, 3>& addresses, void* workspace) const {
  const std::array<void*, 4> wanted{addresses[0], addresses[1], addresses[2], workspace};
  if (binding.pack == nullptr || binding.addresses != wanted) {
    if (binding.pack != nullptr) {
      static_cast<void>(cudnnBackendDestroyDescriptor(std::exchange(binding.pack, nullptr)));
    }
    cudnnBackendDescriptor_t& pack = binding.pack;
    require(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack), "a pack");
    const auto set = [&](cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         std::int64_t count, const void* values) {
      require(cudnnBackendSetAttribute(pack, name, type, count, values), "addresses");
    };
    const std::array<std::int64_t, 3> ids{1, 2, 3};
    set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids.data());
    set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, wanted.data());
    set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &wanted[3]);
    require(cudnnBackendFinalize(pack), "a pack");
    binding.addresses = wanted;
  }
  require(cudnnBackendExecute(handle.get(), plan_, binding.pack), "a convolution");
}

}  // namespace cermet::cuda
