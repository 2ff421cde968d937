#pragma once
// What stands behind the handles Device, CommandQueue and CommandBuffer.

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cermet/core/buffer.h"
#include "cermet/core/command_buffer.h"
#include "cermet/core/device.h"
#include "core/capture.h"
#include "core/memory.h"
#include "core/pooled.h"

namespace cermet::detail {

/// The one thread of a device that runs steps, packs weights and calls handlers.
class Worker {
 public:
  explicit Worker(std::shared_ptr<Engine> engine);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void submit(std::shared_ptr<Recording> recording);
  [[nodiscard]] bool is_current_thread() const {
    return std::this_thread::get_id() == thread_.get_id();
  }

 private:
  // The thread owns the queue of work too: a handler may drop the last handle of the device.
  struct Shared {
    std::mutex mutex;
    std::condition_variable wake;
    std::vector<std::shared_ptr<Recording>> work;  // from `first` on
    std::size_t first = 0;
    std::atomic<std::uint64_t> submitted{0};
    bool asleep = false, stop = false;

    std::shared_ptr<Recording> next(std::uint64_t& taken);
  };
  static void loop(const std::shared_ptr<Shared>& shared, const std::shared_ptr<Engine>& engine);

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

struct DeviceImpl : std::enable_shared_from_this<DeviceImpl> {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Allocator> allocator;
  std::unique_ptr<Worker> worker;

  [[nodiscard]] static Device handle(std::shared_ptr<DeviceImpl> impl) {
    return Device(std::move(impl));
  }
  [[nodiscard]] static DeviceImpl& of(const Device& device);
};

struct BufferImpl {
  Device device;
  MemoryPtr memory;
  std::size_t length = 0;
  std::string label;

  [[nodiscard]] static Buffer handle(std::shared_ptr<BufferImpl> impl) {
    return Buffer(std::move(impl));
  }
  [[nodiscard]] static const std::shared_ptr<BufferImpl>& of(const Buffer& buffer) {
    return buffer.impl_;
  }
};

class Recording;

struct QueueImpl : std::enable_shared_from_this<QueueImpl> {
  Device device;
  std::string label;
  std::mutex mutex;
  /// Owns the recording only once it is committed: one that is enqueued and dropped gives up its
  /// place.
  struct Place {
    const Recording* recording = nullptr;
    std::shared_ptr<Recording> committed;
  };
  std::vector<Place> order;                          // enqueued, not yet handed to the worker
  std::vector<std::unique_ptr<Recording>> recycled;  // ready for reuse; these hold no queue
  BlockList pool;                                    // temporary memory of committed buffers

  [[nodiscard]] static CommandQueue handle(std::shared_ptr<QueueImpl> impl) {
    return CommandQueue(std::move(impl));
  }
  [[nodiscard]] static const std::shared_ptr<QueueImpl>& of(const CommandQueue& queue) {
    return queue.impl_;
  }
  [[nodiscard]] std::shared_ptr<Recording> make_recording();
  void enqueue(Recording& recording);
  void commit(const std::shared_ptr<Recording>& recording);
  /// Takes back the place of a recording that is dropped uncommitted.
  void forget(const Recording& recording);

 private:
  void hand_over_locked();
};

/// The words of one or more predicates, kept alive. All must be other than 0.
struct Predicates {
  std::vector<Predicate> all;
  [[nodiscard]] bool hold() const;
};

/// What a command buffer's heap provider is asked for and told.
struct HeapSource {
  std::shared_ptr<HeapProvider> provider;
  double cache_delay = 5;
};

/// One committed piece of work: steps with their addresses, and what must stay alive for them.
class Recording : public std::enable_shared_from_this<Recording> {
 public:
  struct Entry {
    const Step* step = nullptr;
    Slots slots{};
    void* scratch = nullptr;
    const Predicates* predicates = nullptr;  // null: always runs; `add` fills it in
    alignas(8) std::array<std::byte, max_scalar_bytes> scalars{};
  };
  /// Identity of a chain of pieces joined by `commitAndContinue`; temporaries belong to it.
  std::uint64_t family = 0;

  [[nodiscard]] const QueueImpl& queue() const { return *queue_; }
  [[nodiscard]] const Device& device() const { return queue_->device; }
  [[nodiscard]] DeviceImpl& device_impl() const { return DeviceImpl::of(queue_->device); }
  [[nodiscard]] Engine& engine() const { return *device_impl().engine; }

  /// Appends one run of `step`. The caller retains what the addresses point into.
  void add(StepPtr step, const Slots& slots, const void* scalars, std::size_t scalar_bytes);
  /// The same for a caller that retains the step and has its scratch memory.
  void add(const Entry& entry) {
    entries_.push_back(entry);
    entries_.back().predicates = predicates_;
  }
  void retain(std::shared_ptr<const void> object) {
    (capture_ != nullptr ? capture_->retained : retained_).push_back(std::move(object));
  }

  /// What is added from now on runs iff these hold; null: always.
  void set_predicates(const std::shared_ptr<const Predicates>& predicates) {
    if (predicates_ == predicates.get()) return;
    if (predicates) retain(predicates);
    predicates_ = predicates.get();
  }
  /// While it lives, what is added runs whatever the predicates say: work that later encodes rely
  /// on, such as filling a cache.
  class Always {
   public:
    explicit Always(Recording& recording)
        : recording_(recording), before_(std::exchange(recording.predicates_, nullptr)) {}
    ~Always() { recording_.predicates_ = before_; }
    Always(const Always&) = delete;
    Always& operator=(const Always&) = delete;

   private:
    Recording& recording_;
    const Predicates* before_;
  };

  /// From now on kernels record operators into `capture`; nothing of it ever runs.
  void begin_capture(Capture& capture) { capture_ = &capture; }
  [[nodiscard]] Capture* capture() const { return capture_; }

  /// Memory for a temporary; `recycle` gives it back at the last read, for reuse by later encodes.
  /// The recording keeps what it recycled alive until it has run, whoever takes the block next.
  [[nodiscard]] MemoryPtr temporary(std::size_t bytes);
  void recycle(MemoryPtr block);

  /// Becomes true when this piece is committed and nothing before it can run later.
  [[nodiscard]] std::shared_ptr<std::atomic<bool>> committed_flag();

  [[nodiscard]] std::size_t steps() const { return entries_.size(); }
  /// Names of the implementations recorded so far, for tests and logs.
  [[nodiscard]] std::vector<std::string> implementations() const;

 private:
  friend struct QueueImpl;
  friend class Worker;
  friend class ::cermet::CommandBuffer;
  friend void ::cermet::SetHeapCacheDuration(const CommandBuffer& commandBuffer, double seconds);
  void run(Stream& stream);
  void reset();
  /// Memory from the heap provider; null: it has none.
  [[nodiscard]] MemoryPtr provided(std::size_t bytes);
  /// Deleter of handed-out recordings: puts them back into their queue for reuse.
  static void recycle_recording(Recording* recording) noexcept;
  void wait(CommandBufferStatus at_least);

  std::shared_ptr<QueueImpl> queue_;
  std::vector<Entry> entries_;
  std::vector<std::shared_ptr<const void>> retained_;
  std::vector<CommandBuffer::Handler> scheduled_, completed_;
  BlockList free_;
  HeapSource heaps_;
  Capture* capture_ = nullptr;
  const Predicates* predicates_ = nullptr;  // retained
  std::shared_ptr<std::atomic<bool>> committed_flag_;
  bool enqueued_by_hand_ = false, enqueued_ = false;
  std::atomic<bool> committed_{false};
  std::atomic<int> status_{0};
  std::atomic<bool> done_{false};
  std::optional<DeviceError> error_;
  std::string label_;
  double started_ = 0, ended_ = 0;
};

struct CommandBufferCore {
  std::shared_ptr<Recording> root;           // null where `inner` has it
  std::shared_ptr<CommandBufferCore> inner;  // what this one wraps
  std::shared_ptr<const Predicates> predicates;

  [[nodiscard]] CommandBufferCore& innermost() {
    CommandBufferCore* core = this;
    while (core->inner) core = core->inner.get();
    return *core;
  }
  /// Its own and those of what it wraps.
  [[nodiscard]] std::shared_ptr<const Predicates> all_predicates() const;
  [[nodiscard]] static std::shared_ptr<CommandBufferCore> make(std::shared_ptr<Recording> root) {
    return std::allocate_shared<CommandBufferCore>(Pooled<CommandBufferCore>(),
                                                   CommandBufferCore{std::move(root), {}, {}});
  }
  [[nodiscard]] static CommandBuffer handle(std::shared_ptr<CommandBufferCore> core) {
    return CommandBuffer(std::move(core));
  }
};

}  // namespace cermet::detail
