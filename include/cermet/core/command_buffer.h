#pragma once
// CommandQueue and CommandBuffer: record work, commit it, wait for it.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cermet/core/device.h"

namespace cermet {

class CommandBuffer;
namespace detail {
struct QueueImpl;
struct CommandBufferCore;
class Recording;
}  // namespace detail

enum class CommandBufferStatus : int {
  NotEnqueued = 0,
  Enqueued = 1,
  Committed = 2,
  Scheduled = 3,
  Completed = 4,
  Error = 5,
};

/// Work of one queue runs in the order its buffers were enqueued (spec: core 2.2).
class CommandQueue {
 public:
  CommandQueue() = default;
  [[nodiscard]] explicit operator bool() const { return impl_ != nullptr; }
  bool operator==(const CommandQueue&) const = default;

  [[nodiscard]] CommandBuffer makeCommandBuffer() const;
  [[nodiscard]] Device device() const;
  [[nodiscard]] std::string label() const;
  void setLabel(std::string label);

 private:
  friend struct detail::QueueImpl;
  explicit CommandQueue(std::shared_ptr<detail::QueueImpl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<detail::QueueImpl> impl_;
};

/// Records encoded work and keeps alive what it uses. One class serves both the Metal and the MPS
/// command buffer of the original: it can be committed in pieces (spec: core 2.2, 3).
///
/// Errors: encoding, adding handlers or committing after `commit`, and waiting without a commit,
/// are InvalidArgument. A buffer that is dropped uncommitted runs nothing and gives up its place.
class CommandBuffer {
 public:
  using Handler = std::function<void(CommandBuffer)>;

  CommandBuffer() = default;
  [[nodiscard]] static CommandBuffer commandBufferFromCommandQueue(const CommandQueue& queue);
  [[nodiscard]] explicit operator bool() const { return core_ != nullptr; }
  /// Equal buffers are recording, or were, the same piece of work.
  bool operator==(const CommandBuffer& other) const;

  /// Reserves the place in the queue's order without starting.
  void enqueue();
  void commit();
  /// Commits what is recorded and goes on in a fresh buffer of the same queue; temporaries made
  /// before stay usable. Handlers added so far stay with the committed piece.
  void commitAndContinue();

  void addScheduledHandler(Handler handler);
  /// Handlers run once, in the order they were added, with the final status already set, and have
  /// returned when `waitUntilCompleted` returns.
  void addCompletedHandler(Handler handler);
  void waitUntilScheduled();
  void waitUntilCompleted();

  [[nodiscard]] CommandBufferStatus status() const;
  /// What went wrong; empty unless `status()` is Error.
  [[nodiscard]] std::optional<DeviceError> error() const;

  /// The piece now being recorded, as a buffer of its own: save it before `commitAndContinue` to
  /// wait for it later.
  [[nodiscard]] CommandBuffer rootCommandBuffer() const;
  [[nodiscard]] CommandBuffer commandBuffer() const { return rootCommandBuffer(); }
  [[nodiscard]] CommandQueue commandQueue() const;
  [[nodiscard]] Device device() const;
  [[nodiscard]] std::string label() const;
  void setLabel(std::string label);

  /// Seconds on a steady clock; 0 until known.
  [[nodiscard]] double GPUStartTime() const;
  [[nodiscard]] double GPUEndTime() const;

  /// Makes sure that temporary memory for `bytes` is at hand; a hint.
  void prefetchHeapForWorkloadSize(std::size_t bytes);

  /// The recording side, for kernels. Throws InvalidArgument once committed.
  [[nodiscard]] detail::Recording& recording() const;

 private:
  friend struct detail::CommandBufferCore;
  explicit CommandBuffer(std::shared_ptr<detail::CommandBufferCore> core)
      : core_(std::move(core)) {}
  [[nodiscard]] const std::shared_ptr<detail::Recording>& root() const;
  std::shared_ptr<detail::CommandBufferCore> core_;
};

}  // namespace cermet
