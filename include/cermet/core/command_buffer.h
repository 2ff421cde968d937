#pragma once
// CommandQueue and CommandBuffer: record work, commit it, wait for it.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cermet/core/buffer.h"
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

/// Work of one queue runs in the order its buffers were enqueued (spec: core 2.2). On a CPU the
/// queues of a device take turns, in the order of commits. On a GPU their work runs at the same
/// time, unless one writes what the other reads or writes: then in the order of commits, too.
/// Handlers of one queue are called one by one, in the order of its work; on a GPU those of
/// different queues may be called at the same time, in any order.
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

/// Whether work runs, decided when its turn comes: it runs iff the 32-bit word in the buffer is not
/// 0 (spec: core 3). A small handle; a default-made one is nil.
class Predicate {
 public:
  Predicate() = default;
  /// Throws InvalidArgument for a nil buffer, an offset that is no multiple of 4, or a word that is
  /// not in the buffer.
  Predicate(Buffer buffer, std::size_t offset);
  [[nodiscard]] static Predicate predicate(const Buffer& buffer, std::size_t offset) {
    return {buffer, offset};
  }
  /// With a word of its own, 0 at first. Only the 4 bytes at `predicateOffset` may be written.
  explicit Predicate(const Device& device);

  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(buffer_); }
  bool operator==(const Predicate&) const = default;
  [[nodiscard]] const Buffer& predicateBuffer() const { return buffer_; }
  [[nodiscard]] std::size_t predicateOffset() const { return offset_; }

 private:
  Buffer buffer_;
  std::size_t offset_ = 0;
};

struct HeapDescriptor {
  std::size_t size = 0;  // bytes
};

/// Supplies the memory of temporaries. A heap is a buffer of the command buffer's device; each
/// holds one temporary at a time.
class HeapProvider {
 public:
  virtual ~HeapProvider() = default;
  /// A heap of `descriptor.size` bytes or more that nothing else uses; nil: the library takes its
  /// own memory. What it throws leaves the encode.
  [[nodiscard]] virtual Buffer newHeap(const HeapDescriptor& descriptor) = 0;
  /// The command buffers that used `heap` have completed; `seconds`: how long to keep it for others
  /// (SetHeapCacheDuration). Called from any thread, the device's workers among them; what it
  /// throws is lost. The default does nothing.
  virtual void retireHeap(const Buffer& heap, double seconds);
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
  /// Wraps a command buffer: records into the same piece of work, with a predicate of its own
  /// besides those of what it wraps; work runs iff all of them let it.
  [[nodiscard]] static CommandBuffer commandBuffer(const CommandBuffer& commandBuffer);
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
  /// In a handler these return at once for work of the handler's queue, which would never come; and
  /// in a scheduled handler for all work of the device.
  void waitUntilScheduled();
  void waitUntilCompleted();

  [[nodiscard]] CommandBufferStatus status() const;
  /// What went wrong; empty unless `status()` is Error.
  [[nodiscard]] std::optional<DeviceError> error() const;

  /// The piece now being recorded, as a buffer of its own: save it before `commitAndContinue` to
  /// wait for it later.
  [[nodiscard]] CommandBuffer rootCommandBuffer() const;
  /// What this one wraps; otherwise as rootCommandBuffer().
  [[nodiscard]] CommandBuffer commandBuffer() const;
  [[nodiscard]] CommandQueue commandQueue() const;
  [[nodiscard]] Device device() const;
  [[nodiscard]] std::string label() const;
  void setLabel(std::string label);

  /// Seconds on a steady clock; 0 until known.
  [[nodiscard]] double GPUStartTime() const;
  [[nodiscard]] double GPUEndTime() const;

  /// Makes sure that temporary memory for `bytes` is at hand; a hint.
  void prefetchHeapForWorkloadSize(std::size_t bytes);

  /// Applies to what is encoded from now on through this object and its copies; nil: always run.
  /// Work that is skipped leaves its destinations as they were, undefined if they are new;
  /// bookkeeping at encode time (read counts, result sizes, the number of an encode) happens all
  /// the same. A predicate of another device throws InvalidArgument.
  [[nodiscard]] Predicate predicate() const;
  void setPredicate(const Predicate& predicate);
  /// Where temporaries made from now on take their memory; null: the library. Belongs to the chain
  /// of pieces joined by `commitAndContinue`, whichever wrapper sets it.
  [[nodiscard]] std::shared_ptr<HeapProvider> heapProvider() const;
  void setHeapProvider(std::shared_ptr<HeapProvider> heapProvider);

  /// The recording side, for kernels. Throws InvalidArgument once committed.
  [[nodiscard]] detail::Recording& recording() const;

 private:
  friend struct detail::CommandBufferCore;
  explicit CommandBuffer(std::shared_ptr<detail::CommandBufferCore> core)
      : core_(std::move(core)) {}
  friend void SetHeapCacheDuration(const CommandBuffer& commandBuffer, double seconds);
  [[nodiscard]] const std::shared_ptr<detail::Recording>& root() const;
  std::shared_ptr<detail::CommandBufferCore> core_;
};

/// How long a heap provider should keep what this command buffer retires; 5 seconds by default, NaN
/// counts as 0. The library's own memory is cached by size, not by time.
void SetHeapCacheDuration(const CommandBuffer& commandBuffer, double seconds);
/// Tells how many bytes of temporaries will live at once; a hint.
void HintTemporaryMemoryHighWaterMark(const CommandBuffer& commandBuffer, std::size_t bytes);

}  // namespace cermet
