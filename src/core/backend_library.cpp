// Opens the library of the CUDA backend when a GPU is asked for.

#include "core/backend_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace cermet {
namespace {

constexpr const char* file_name = "libcermet_cuda.so";

struct Opened {
  const BackendLibrary* library = nullptr;
  std::string problem;
};

/// Beside this code, in the library folder beside its folder, then wherever the linker looks.
std::vector<std::string> places() {
  if (const char* named = std::getenv("CERMET_CUDA_LIBRARY"); named != nullptr && *named != '\0')
    return {named};
  std::vector<std::string> found;
  Dl_info here{};
  if (dladdr(reinterpret_cast<const void*>(&places), &here) != 0 && here.dli_fname != nullptr) {
    std::error_code ignored;
    const auto module = std::filesystem::canonical(here.dli_fname, ignored);
    if (!ignored) {
      const auto folder = module.parent_path();
      found.push_back(folder / file_name);
      found.push_back(folder.parent_path() / "lib" / file_name);
      found.push_back(folder.parent_path() / CERMET_LIBDIR / file_name);
    }
  }
  found.emplace_back(file_name);
  return found;
}

Opened open() {
  void* handle = nullptr;
  std::string why;
  for (const std::string& place : places()) {
    const bool is_path = place.find('/') != std::string::npos;
    std::error_code ignored;
    if (is_path && !std::filesystem::exists(place, ignored)) continue;
    handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
    if (is_path) why = dlerror();
  }
  const char* named = std::getenv("CERMET_CUDA_LIBRARY");
  if (handle == nullptr && why.empty() && named != nullptr && *named != '\0')
    return {nullptr, std::string("CERMET_CUDA_LIBRARY names ") + named + ", which is not there."};
  if (handle == nullptr) {
    return {nullptr, why.empty() ? "This build of Cermet has no CUDA backend: libcermet_cuda.so is "
                                   "neither beside the program nor named by CERMET_CUDA_LIBRARY."
                                 : "The CUDA backend cannot be loaded: " + why};
  }
  const auto* library = static_cast<const BackendLibrary*>(dlsym(handle, "cermet_backend"));
  if (library == nullptr) return {nullptr, "libcermet_cuda.so is not a backend of Cermet."};
  if (std::string(library->version()) != CERMET_VERSION) {
    return {nullptr, std::string("libcermet_cuda.so is of Cermet ") + library->version() +
                         ", this is " CERMET_VERSION ": install them together."};
  }
  return {library, {}};
}

/// Opened once and never closed: steps and streams may outlive every device.
const Opened& opened() {
  static const Opened result = open();
  return result;
}

}  // namespace

std::shared_ptr<Engine> make_cuda_engine(int index) {
  const Opened& backend = opened();
  if (backend.library == nullptr)
    throw DeviceError(CommandBufferError::NotPermitted, backend.problem);
  return backend.library->make(index);
}

std::vector<DeviceSummary> list_devices() {
  std::vector<DeviceSummary> found;
  try {
    found.push_back({"cpu", make_cpu_engine(0)->name(), "", 0});
  } catch (const DeviceError& problem) {
    found.push_back({"cpu", "CPU", problem.what(), 0});
  }
  const Opened& backend = opened();
  if (backend.library == nullptr) {
    found.push_back({"cuda", "NVIDIA GPU", backend.problem, 0});
  } else {
    backend.library->list(found);
  }
  return found;
}

}  // namespace cermet
