#include "cuda/engine.h"

#include <cublasLt.h>

#include <string>

#include "cermet/core/error.h"
#include "core/backend_library.h"
#include "cuda/cudnn.h"

namespace cermet::cuda {
namespace {

/// The oldest card that this build has code for, 10 * major + minor.
constexpr int oldest = CERMET_CUDA_OLDEST;
static_assert(oldest >= 80, "bfloat16 needs compute capability 8.0");

/// Work of other threads may be capturing a graph: this thread's calls must not disturb it.
class Current {
 public:
  explicit Current(int device) { check(cudaSetDevice(device), "cudaSetDevice"); }
};

std::string gigabytes(std::size_t bytes) {
  const std::size_t tenths = bytes * 10 / (std::size_t{1} << 30);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
}

/// Empty, or why `device` cannot be used.
std::string problem_of(const cudaDeviceProp& device) {
  const int capability = 10 * device.major + device.minor;
  if (capability >= oldest) return "";
  const auto version = [](int number) {
    return std::to_string(number / 10) + "." + std::to_string(number % 10);
  };
  const std::string remedy =
      capability >= 80
          ? ": build with CERMET_CUDA_ARCHITECTURES=" + std::to_string(capability) + "."
          : "; no build serves cards older than 8.0.";
  return std::string(device.name) + " has compute capability " + version(capability) +
         ", and this build needs " + version(oldest) + " or newer" + remedy;
}

/// Number of GPUs; `problem`: why there is none.
int count_devices(std::string& problem) {
  int count = 0, driver = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return count;
  static_cast<void>(cudaGetLastError());
  static_cast<void>(cudaDriverGetVersion(&driver));
  constexpr int runtime = CUDART_VERSION;
  const auto version = [](int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  };
  if (driver == 0) {
    problem = "This machine has no NVIDIA driver.";
  } else if (driver / 1000 < runtime / 1000) {
    problem = "The NVIDIA driver knows CUDA " + version(driver) + "; CUDA " + version(runtime) +
              " is needed: install a newer driver.";
  } else if (code == cudaErrorNoDevice || code == cudaSuccess) {
    problem = "The NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES hides them, too).";
  } else {
    problem = std::string("The NVIDIA driver fails: ") + cudaGetErrorString(code) + ".";
  }
  return 0;
}

}  // namespace

void check(cudaError_t code, const std::string& what) {
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const std::string text = "CUDA: " + what + ": " + cudaGetErrorString(code);
  switch (code) {
    case cudaErrorMemoryAllocation:
      throw DeviceError(CommandBufferError::OutOfMemory,
                        "The GPU has no memory left (CUDA: " + what +
                            "). nvidia-smi lists the programs that hold it: end one of them, or "
                            "run on the CPU.");
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
      throw DeviceError(CommandBufferError::PageFault, text);
    case cudaErrorLaunchTimeout:
      throw DeviceError(CommandBufferError::Timeout, text);
    default:
      throw DeviceError(CommandBufferError::Internal, text);
  }
}

// ---- engine

Engine::Engine(int device) : device_(device) {
  const Current scope(device);
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  if (std::string problem = problem_of(properties); !problem.empty())
    throw DeviceError(CommandBufferError::NotPermitted, problem);
  name_ = std::string("CUDA (") + properties.name + ")";
  multiprocessors_ = properties.multiProcessorCount;
  architecture_ = 10 * properties.major + properties.minor;
  plans_ = std::make_unique<PlanChoices>(std::string(properties.name) + ", cuDNN " +
                                         std::to_string(cudnnGetVersion()));
  check(cudaStreamCreateWithFlags(&transfers_, cudaStreamNonBlocking), "cudaStreamCreate");
}

Engine::~Engine() {
  if (cublas_ != nullptr) static_cast<void>(cublasLtDestroy(cublas_));
  static_cast<void>(cudaStreamDestroy(transfers_));
}

const CudnnHandle& Engine::cudnn() {
  const std::scoped_lock lock(libraries_mutex_);
  if (!cudnn_) cudnn_ = std::make_shared<CudnnHandle>();
  return *cudnn_;
}

cublasLtContext* Engine::cublas() {
  const std::scoped_lock lock(libraries_mutex_);
  if (cublas_ == nullptr && cublasLtCreate(&cublas_) != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(CommandBufferError::Internal, "CUDA: cuBLASLt cannot be started.");
  return cublas_;
}

StepPtr Engine::make(const OpView& op, Descs descs, Entry entry) {
  const Current scope(device_);
  return entry(op.data, descs, *this);
}

void* Engine::allocate(std::size_t bytes) {
  const Current scope(device_);
  void* memory = nullptr;
  const cudaError_t code = cudaMalloc(&memory, bytes);
  if (code == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    std::size_t available = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&available, &total));
    throw DeviceError(CommandBufferError::OutOfMemory,
                      name_ + " has no " + std::to_string(bytes) +
                          " bytes left: " + gigabytes(available) + " of " + gigabytes(total) +
                          " are free. Use a smaller batch or release images and buffers first.");
  }
  check(code, "cudaMalloc");
  return memory;
}
void Engine::release(void* memory, std::size_t) noexcept {
  static_cast<void>(cudaSetDevice(device_));
  static_cast<void>(cudaFree(memory));
}
void Engine::fill_zero(void* memory, std::size_t bytes) {
  const Current scope(device_);
  check(cudaMemsetAsync(memory, 0, bytes, transfers_), "cudaMemset");
  check(cudaStreamSynchronize(transfers_), "cudaMemset");
}

void Engine::finish() {
  const Current scope(device_);
  check(cudaDeviceSynchronize(), "the work before");
}
void Engine::copy_to_device(void* to, const void* from, std::size_t bytes) {
  const Current scope(device_);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, transfers_), "a copy");
  check(cudaStreamSynchronize(transfers_), "a copy to the device");
}
void Engine::copy_to_host(void* to, const void* from, std::size_t bytes) {
  const Current scope(device_);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, transfers_), "a copy");
  check(cudaStreamSynchronize(transfers_), "a copy to the host");
}
void* Engine::allocate_host(std::size_t bytes) {
  const Current scope(device_);
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "cudaHostAlloc");
  return memory;
}
void Engine::release_host(void* memory, std::size_t) noexcept {
  static_cast<void>(cudaFreeHost(memory));
}

std::unique_ptr<Stream> Engine::make_stream() {
  const Current scope(device_);  // for the steps that the calling thread will run
  return std::make_unique<CudaStream>(device_);
}

}  // namespace cermet::cuda

// ---- what core looks up in the library

namespace {

using namespace cermet;  // NOLINT(google-build-using-namespace): the end of the file

const char* version() { return CERMET_VERSION; }

void list(std::vector<DeviceSummary>& found) {
  std::string problem;
  const int count = cuda::count_devices(problem);
  if (count == 0) found.push_back({"cuda", "NVIDIA GPU", problem, 0});
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    found.push_back({"cuda:" + std::to_string(index), properties.name, cuda::problem_of(properties),
                     properties.totalGlobalMem});
  }
}

std::shared_ptr<Engine> make(int index) {
  std::string problem;
  const int count = cuda::count_devices(problem);
  if (count == 0) throw DeviceError(CommandBufferError::NotPermitted, problem);
  if (index >= count) {
    throw DeviceError(CommandBufferError::NotPermitted,
                      "There is no GPU " + std::to_string(index) + ": this machine has " +
                          std::to_string(count) + ", counted from 0.");
  }
  return std::make_shared<cuda::Engine>(index);
}

}  // namespace

extern "C" __attribute__((visibility("default")))
const cermet::BackendLibrary cermet_backend{&version, &list, &make};
