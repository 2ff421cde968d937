#pragma once
// The only thing that core, cnn and nn know of a backend.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "cermet/core/step.h"

namespace cermet {

class Engine {
 public:
  virtual ~Engine() = default;

  /// The step of `op` for these descriptions, from the engine's cache or made now. Null only for an
  /// operator listed as a fusion that this backend does not offer. Safe from any thread.
  [[nodiscard]] virtual StepPtr prepare(const OpView& op, Descs descs) = 0;

  /// Memory aligned to 64 bytes. Throws DeviceError (OutOfMemory).
  [[nodiscard]] virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory, std::size_t bytes) noexcept = 0;
  virtual void fill_zero(void* memory, std::size_t bytes) = 0;
  /// A program whose tensors take fewer bytes than this gives each of them memory of its own. For
  /// backends that change the order of steps: sharing memory keeps them in theirs.
  [[nodiscard]] virtual std::size_t memory_worth_sharing() const { return 0; }

  /// Whether the host may read and write `allocate`d memory. If not, these copy, and return when it
  /// is done; `allocate_host` makes memory that copies to and from the device fastest.
  [[nodiscard]] virtual bool host_can_access() const { return true; }
  /// Waits for all that was enqueued on any stream.
  virtual void finish() {}
  virtual void copy_to_device(void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
  }
  virtual void copy_to_host(void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
  }
  [[nodiscard]] virtual void* allocate_host(std::size_t bytes) { return allocate(bytes); }
  virtual void release_host(void* memory, std::size_t bytes) noexcept { release(memory, bytes); }

  /// The context of the calling thread, which becomes the stream's only driver.
  [[nodiscard]] virtual std::unique_ptr<Stream> make_stream() = 0;

  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual int threads() const = 0;
};

/// The CPU backend with `threads` threads (0: all that the process may use). Defined in cpu.
[[nodiscard]] std::shared_ptr<Engine> make_cpu_engine(int threads);
/// The CUDA backend on GPU number `index`, from its library, which is opened at the first call.
/// Throws DeviceError.
[[nodiscard]] std::shared_ptr<Engine> make_cuda_engine(int index);

}  // namespace cermet
