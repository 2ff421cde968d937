#pragma once
// Device: where work runs. Everything else is made from one.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cermet/core/buffer.h"
#include "cermet/core/error.h"

namespace cermet {

class CommandQueue;
class Engine;
namespace detail {
struct DeviceImpl;
}

/// Options of `GetPreferredDevice`; CPU backends have no such choice and ignore them.
enum class DeviceOptions : unsigned { Default = 0, LowPower = 1, SkipRemovable = 2 };

/// A small handle; copies name the same device. A default-made one is nil.
class Device {
 public:
  Device() = default;

  /// A CPU device with its own worker and `threads` threads (0: all the process may use). Programs
  /// normally share `CreateSystemDefaultDevice()`; two devices compete for the same cores.
  /// Throws DeviceError where the processor lacks AVX2, FMA or F16C.
  [[nodiscard]] static Device cpu(int threads = 0);
  /// NVIDIA GPU number `index`. Throws DeviceError, which says why there is none: no CUDA backend,
  /// no driver or too old a one, no such GPU, or one that the build has no code for.
  [[nodiscard]] static Device cuda(int index = 0);
  /// "cpu", "cpu:N" (N threads), "cuda" or "cuda:N" (GPU N): the form of the variable
  /// CERMET_DEVICE. Throws InvalidArgument, and as `cpu` and `cuda` do.
  [[nodiscard]] static Device named(const std::string& name);

  [[nodiscard]] explicit operator bool() const { return impl_ != nullptr; }
  bool operator==(const Device&) const = default;

  [[nodiscard]] std::string name() const;
  /// Threads of a CPU device; 1 for others.
  [[nodiscard]] int threads() const;
  [[nodiscard]] Engine& engine() const;

  [[nodiscard]] CommandQueue makeCommandQueue() const;
  /// `maxCommandBufferCount` is a hint; a queue never blocks.
  [[nodiscard]] CommandQueue makeCommandQueue(std::size_t maxCommandBufferCount) const;
  /// Zero-filled memory whose `contents()` never moves.
  [[nodiscard]] Buffer makeBuffer(std::size_t length) const;
  /// A copy of `length` bytes.
  [[nodiscard]] Buffer makeBuffer(const void* bytes, std::size_t length) const;

  /// Bytes held by the device's allocator: in use, and cached for reuse.
  struct MemoryUse {
    std::size_t in_use = 0, cached = 0;
  };
  [[nodiscard]] MemoryUse memory_use() const;

 private:
  friend struct detail::DeviceImpl;
  explicit Device(std::shared_ptr<detail::DeviceImpl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<detail::DeviceImpl> impl_;
};

/// A device of this machine, or why there is none of a kind.
struct DeviceSummary {
  std::string name;  ///< For Device::named.
  std::string description;
  std::string problem;     ///< Empty: the device can be used.
  std::size_t memory = 0;  ///< Bytes of a device with memory of its own.
};
/// The CPU, and each GPU or one entry without.
[[nodiscard]] std::vector<DeviceSummary> list_devices();

/// The device that CERMET_DEVICE names, else the CPU; one for the whole process.
[[nodiscard]] Device CreateSystemDefaultDevice();
[[nodiscard]] Device GetPreferredDevice(DeviceOptions options);
/// Whether kernels can be made on the device.
[[nodiscard]] bool SupportsDevice(const Device& device);

}  // namespace cermet
