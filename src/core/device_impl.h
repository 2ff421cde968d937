#pragma once
// What stands behind the handles Device, CommandQueue and CommandBuffer.

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "cermet/core/buffer.h"
#include "cermet/core/command_buffer.h"
#include "cermet/core/device.h"
#include "core/capture.h"
#include "core/memory.h"
#include "core/pooled.h"
#include "core/worker.h"

namespace cermet::detail {

/// Rounds of a wait before it sleeps: some microseconds, longer than a small step, cheap to waste.
constexpr int spins_before_sleep = 4000;

struct DeviceImpl : std::enable_shared_from_this<DeviceImpl> {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Allocator> allocator;
  std::unique_ptr<Workers> workers;

  [[nodiscard]] static std::shared_ptr<DeviceImpl> make(std::shared_ptr<Engine> engine);
  [[nodiscard]] static Device handle(std::shared_ptr<DeviceImpl> impl) {
    return Device(std::move(impl));
  }
  [[nodiscard]] static DeviceImpl& of(const Device& device);
};

struct BufferImpl {
  Device device;
  MemoryPtr memory;
  std::size_t offset = 0;  // of the first byte in `memory`
  std::size_t length = 0;
  std::string label;
  std::shared_ptr<BufferImpl> whole;  // the buffer that this is a part of, or null

  [[nodiscard]] std::byte* data() const { return memory->data + offset; }
  /// `length` bytes of a buffer from `offset` as a buffer of its own.
  [[nodiscard]] static Buffer part(const Buffer& whole, std::size_t offset, std::size_t length);
  /// Gives the memory of a temporary back where this is the last handle of it.
  static void recycle(const Buffer& last, Recording& recording);
  [[nodiscard]] static Buffer handle(std::shared_ptr<BufferImpl> impl) {
    return Buffer(std::move(impl));
  }
  [[nodiscard]] static const std::shared_ptr<BufferImpl>& of(const Buffer& buffer) {
    return buffer.impl_;
  }
};

/// A queue's claim on a worker. Handles of the queue hold it, and its recordings until their work
/// is finished: a queue that is waited for and dropped frees its worker at once, though a thread of
/// the device may still be letting go of its last recording.
class Seat {
 public:
  /// On a worker that the device chooses, or on this one.
  explicit Seat(std::shared_ptr<QueueImpl> queue);
  Seat(std::shared_ptr<QueueImpl> queue, std::size_t worker);
  ~Seat();
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  [[nodiscard]] Worker& worker() const { return worker_; }

 private:
  std::shared_ptr<QueueImpl> queue_;
  Worker& worker_;
};

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
  std::weak_ptr<Seat> seat;

  /// A handle holds the seat, and through it the queue.
  [[nodiscard]] static CommandQueue handle(const std::shared_ptr<QueueImpl>& impl);
  [[nodiscard]] static const std::shared_ptr<QueueImpl>& of(const CommandQueue& queue) {
    return queue.impl_;
  }
  [[nodiscard]] std::shared_ptr<Recording> make_recording();
  void enqueue(Recording& recording);
  void commit(const std::shared_ptr<Recording>& recording);
  /// Takes back the place of a recording that is dropped uncommitted.
  void forget(const Recording& recording);

 private:
  /// A new one where nobody holds one: then the queue has no unfinished work.
  [[nodiscard]] std::shared_ptr<Seat> seat_locked();
  void hand_over_locked();
};

/// The words of one or more predicates, kept alive. All must be other than 0.
struct Predicates {
  std::vector<Predicate> all;
  /// What they say once the work before has run.
  [[nodiscard]] bool hold() const;
};

/// What a command buffer's heap provider is asked for and told.
struct HeapSource {
  std::shared_ptr<HeapProvider> provider;
  double cache_delay = 5;
};

/// One committed piece of work: steps with their addresses, and what must stay alive for them.
class Recording {
 public:
  /// Identity of a chain of pieces joined by `commitAndContinue`; temporaries belong to it.
  std::uint64_t family = 0;

  [[nodiscard]] const QueueImpl& queue() const { return *queue_; }
  [[nodiscard]] const Device& device() const { return queue_->device; }
  [[nodiscard]] DeviceImpl& device_impl() const { return DeviceImpl::of(queue_->device); }
  [[nodiscard]] Engine& engine() const { return *device_impl().engine; }

  /// Appends one run of `step`. The caller retains what the addresses point into.
  void add(StepPtr step, const Slots& slots, const void* scalars, std::size_t scalar_bytes);
  /// The same for a caller that retains the step and has its scratch memory.
  void add(const StepRun& run) {
    if (predicates_ != (conditions_.empty() ? nullptr : conditions_.back().predicates))
      conditions_.push_back({runs_.size(), predicates_});
    runs_.push_back(run);
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

  [[nodiscard]] std::size_t steps() const { return runs_.size(); }
  /// Names of the implementations recorded so far, for tests and logs.
  [[nodiscard]] std::vector<std::string> implementations() const;

 private:
  friend struct QueueImpl;
  friend class Worker;
  friend class Workers;
  friend class ::cermet::CommandBuffer;
  friend void ::cermet::SetHeapCacheDuration(const CommandBuffer& commandBuffer, double seconds);
  // `self` is this recording. It keeps no reference to itself, which would hold on to the memory of
  // its last owners while it waits to be used again.
  void start(const std::shared_ptr<Recording>& self, Stream& stream, const Ticket* ticket);
  static void run_if(const Predicates* predicates, std::span<const StepRun> runs, Stream& stream);
  /// Once what `start` enqueued is done, or has failed with `problem`.
  void finish(const std::shared_ptr<Recording>& self, const std::optional<DeviceError>& problem);
  void note(CommandBufferError code, const std::string& what);
  void call(const std::shared_ptr<Recording>& self, std::vector<CommandBuffer::Handler>& handlers);
  [[nodiscard]] std::vector<const Memory*> mirrored() const;
  void copy_back(Stream& stream, const Ticket* ticket) const;
  [[nodiscard]] Footprint footprint() const;
  [[nodiscard]] bool has_predicates() const;
  void reset();
  /// Memory from the heap provider; null: it has none.
  [[nodiscard]] MemoryPtr provided(std::size_t bytes);
  /// Deleter of handed-out recordings: puts them back into their queue for reuse.
  static void recycle_recording(Recording* recording) noexcept;
  void wait(CommandBufferStatus at_least);

  std::shared_ptr<QueueImpl> queue_;
  std::shared_ptr<Seat> seat_;  // until it is finished
  Worker* worker_ = nullptr;    // of the seat
  std::vector<StepRun> runs_;
  struct Condition {
    std::size_t first = 0;                   // run that it begins at
    const Predicates* predicates = nullptr;  // null: always
  };
  std::vector<Condition> conditions_;  // none: always
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
