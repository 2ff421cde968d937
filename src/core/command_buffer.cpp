#include "cermet/core/command_buffer.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/device_impl.h"

namespace cermet {
namespace {

constexpr std::size_t recycled_recordings = 8;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void misuse(const std::string& label, std::string got, std::string remedy) {
  fail({"CommandBuffer", label, "the command buffer", std::move(got), "", std::move(remedy)});
}

[[noreturn]] void refuse_committed(const std::string& label) {
  misuse(label, "committed already", "Encode, add handlers and commit on a new command buffer.");
}

std::uint64_t next_family() {
  static std::atomic<std::uint64_t> counter{0};
  return ++counter;
}

}  // namespace

namespace detail {

namespace {

/// A block from a heap provider, which hears of it when the last user lets go.
struct ProvidedMemory final : Memory {
  Buffer heap;
  HeapSource from;

  ProvidedMemory(Buffer buffer, HeapSource source)
      : Memory(nullptr, BufferImpl::of(buffer)->data(), buffer.length()),
        heap(std::move(buffer)),
        from(std::move(source)) {
    provided = true;
  }
  ProvidedMemory(const ProvidedMemory&) = delete;
  ProvidedMemory& operator=(const ProvidedMemory&) = delete;
  ~ProvidedMemory() {
    try {
      from.provider->retireHeap(heap, from.cache_delay);
    } catch (...) {  // NOLINT(bugprone-empty-catch): nobody is left to be told
    }
  }
};

}  // namespace

bool Predicates::hold() const {
  for (const Predicate& one : all) {
    std::uint32_t word = 0;
    one.predicateBuffer().copy_out(&word, sizeof word, one.predicateOffset());
    if (word == 0) return false;
  }
  return true;
}

std::shared_ptr<const Predicates> CommandBufferCore::all_predicates() const {
  std::shared_ptr<const Predicates> found;
  for (const CommandBufferCore* core = this; core != nullptr; core = core->inner.get()) {
    if (!core->predicates) continue;
    if (!found) {
      found = core->predicates;
      continue;
    }
    auto both = std::make_shared<Predicates>(*found);
    both->all.insert(both->all.end(), core->predicates->all.begin(), core->predicates->all.end());
    found = std::move(both);
  }
  return found;
}

Seat::Seat(std::shared_ptr<QueueImpl> queue)
    : queue_(std::move(queue)), worker_(DeviceImpl::of(queue_->device).workers->take()) {}
Seat::Seat(std::shared_ptr<QueueImpl> queue, std::size_t worker)
    : queue_(std::move(queue)), worker_(DeviceImpl::of(queue_->device).workers->take(worker)) {}
Seat::~Seat() { DeviceImpl::of(queue_->device).workers->give_back(worker_); }

std::shared_ptr<Seat> QueueImpl::seat_locked() {
  std::shared_ptr<Seat> held = seat.lock();
  if (!held) seat = held = std::make_shared<Seat>(shared_from_this());
  return held;
}

CommandQueue QueueImpl::handle(const std::shared_ptr<QueueImpl>& impl) {
  const std::scoped_lock lock(impl->mutex);
  return CommandQueue(std::shared_ptr<QueueImpl>(impl->seat_locked(), impl.get()));
}

std::shared_ptr<Recording> QueueImpl::make_recording() {
  std::unique_ptr<Recording> recording;
  std::shared_ptr<Seat> held;
  {
    const std::scoped_lock lock(mutex);
    held = seat_locked();
    if (!recycled.empty()) {
      recording = std::move(recycled.back());
      recycled.pop_back();
    }
  }
  if (!recording) recording = std::make_unique<Recording>();
  recording->queue_ = shared_from_this();
  recording->worker_ = &held->worker();
  recording->seat_ = std::move(held);
  recording->family = next_family();
  return {recording.release(), &Recording::recycle_recording, Pooled<Recording>()};
}

void Recording::recycle_recording(Recording* recording) noexcept {
  std::unique_ptr<Recording> owned(recording);
  const std::shared_ptr<QueueImpl> queue = std::move(recording->queue_);
  if (recording->enqueued_ && !recording->committed_) queue->forget(*recording);
  recording->reset();  // not under the lock: handlers may own the last handle of another buffer
  BlockList provided;  // gone after the lock: providers are code of the user
  recording->free_.move_provided_to(provided);
  const std::scoped_lock lock(queue->mutex);
  recording->free_.move_to(queue->pool);
  if (queue->recycled.size() < recycled_recordings) queue->recycled.push_back(std::move(owned));
}

void QueueImpl::enqueue(Recording& recording) {
  const std::scoped_lock lock(mutex);
  if (recording.enqueued_) return;
  order.push_back({&recording, nullptr});
  recording.enqueued_ = true;
  recording.enqueued_by_hand_ = true;
  recording.status_ = static_cast<int>(CommandBufferStatus::Enqueued);
}

void QueueImpl::commit(const std::shared_ptr<Recording>& recording) {
  BlockList provided;  // not for other command buffers
  const std::scoped_lock lock(mutex);
  if (recording->committed_) refuse_committed(recording->label_);
  if (recording->enqueued_) {
    const auto is_it = [&](const Place& place) { return place.recording == recording.get(); };
    std::find_if(order.begin(), order.end(), is_it)->committed = recording;
  } else {
    order.push_back({recording.get(), recording});
    recording->enqueued_ = true;
  }
  recording->committed_ = true;
  recording->status_ = static_cast<int>(CommandBufferStatus::Committed);
  // Work that was enqueued by hand may run before buffers committed earlier: its memory must not be
  // handed to them, so it returns at completion instead.
  recording->free_.move_provided_to(provided);
  if (!recording->enqueued_by_hand_) recording->free_.move_to(pool);
  hand_over_locked();
}

void QueueImpl::forget(const Recording& recording) {
  const std::scoped_lock lock(mutex);
  std::erase_if(order, [&](const Place& place) { return place.recording == &recording; });
  hand_over_locked();
}

void QueueImpl::hand_over_locked() {
  while (!order.empty() && order.front().committed) {
    std::shared_ptr<Recording> recording = std::move(order.front().committed);
    order.erase(order.begin());
    // Set behind: who sees it may commit work of another queue that needs this one.
    const std::shared_ptr<std::atomic<bool>> flag = recording->committed_flag_;
    Worker& worker = *recording->worker_;
    DeviceImpl::of(device).workers->submit(worker, std::move(recording));
    if (flag) *flag = true;
  }
}

void Recording::reset() {
  seat_.reset();
  worker_ = nullptr;
  runs_.clear();
  conditions_.clear();
  retained_.clear();
  scheduled_.clear();
  completed_.clear();
  committed_flag_.reset();
  heaps_ = {};
  capture_ = nullptr;
  predicates_ = nullptr;
  enqueued_by_hand_ = enqueued_ = committed_ = false;
  status_ = 0;
  done_ = false;
  error_.reset();
  label_.clear();
  started_ = ended_ = 0;
}

void Recording::add(StepPtr step, const Slots& slots, const void* scalars,
                    std::size_t scalar_bytes) {
  StepRun run{step.get(), slots};  // added last: nothing may run if the memory for it is missing
  if (scalar_bytes != 0) std::memcpy(run.scalars.data(), scalars, scalar_bytes);
  if (step->scratch_bytes !=
      0) {  // free again at once: later steps of the stream run after this one
    MemoryPtr scratch = temporary(step->scratch_bytes);
    run.scratch = scratch->data;
    recycle(std::move(scratch));
  }
  retain(std::move(step));
  add(run);
}

MemoryPtr Recording::temporary(std::size_t bytes) {
  if (capture_ != nullptr) return capture_->memory(bytes);
  if (MemoryPtr block = free_.take(bytes)) return block;
  if (heaps_.provider) {
    if (MemoryPtr block = provided(bytes)) return block;
  }
  // The pool holds memory of buffers that were committed: whoever has taken a place before them
  // must not share it, or a temporary carried on by commitAndContinue is overwritten between its
  // pieces.
  if (!enqueued_by_hand_) {
    const std::scoped_lock lock(queue_->mutex);
    if (MemoryPtr block = queue_->pool.take(bytes)) return block;
  }
  return device_impl().allocator->allocate(bytes, false);
}

MemoryPtr Recording::provided(std::size_t bytes) {
  const std::size_t size = Allocator::round_up(bytes);
  Buffer heap = heaps_.provider->newHeap({size});
  if (!heap) return nullptr;
  if (!(heap.device() == device()) || heap.length() < size) {
    fail(
        {"HeapProvider", label_, "newHeap",
         heap.device() == device() ? std::to_string(heap.length()) + " bytes" : "on another device",
         std::to_string(size) + " bytes or more on the device of the command buffer",
         "Return nil to let the library take its own memory."});
  }
  return std::make_shared<ProvidedMemory>(std::move(heap), heaps_);
}

std::shared_ptr<std::atomic<bool>> Recording::committed_flag() {
  if (!committed_flag_) committed_flag_ = std::make_shared<std::atomic<bool>>(false);
  return committed_flag_;
}

void Recording::recycle(MemoryPtr block) {
  if (capture_ != nullptr) return;
  retain(block);
  free_.put(std::move(block));
}

std::vector<std::string> Recording::implementations() const {
  std::vector<std::string> names;
  for (const StepRun& run : runs_) names.push_back(run.step->implementation);
  return names;
}

void Recording::note(CommandBufferError code, const std::string& what) {
  if (!error_) error_.emplace(code, what);  // the first stays: others may be reading it
}

void Recording::call(const std::shared_ptr<Recording>& self,
                     std::vector<CommandBuffer::Handler>& handlers) {
  if (handlers.empty()) return;
  const CommandBuffer commands = CommandBufferCore::handle(CommandBufferCore::make(self));
  for (auto& handler : handlers) {
    try {
      handler(commands);
    } catch (const std::exception& problem) {
      note(CommandBufferError::Internal,
           std::string("CommandBuffer: a handler threw: ") + problem.what());
    } catch (...) {
      note(CommandBufferError::Internal, "CommandBuffer: a handler threw.");
    }
  }
  handlers.clear();
}

bool Recording::has_predicates() const { return !conditions_.empty(); }

std::vector<const Memory*> Recording::mirrored() const {
  std::vector<const Memory*> found;
  const HostMirrors& mirrors = device_impl().allocator->mirrors();
  if (mirrors.empty()) return found;
  for (const StepRun& run : runs_) {
    for (std::size_t slot = 0; slot < run.step->slots.size(); ++slot)
      mirrors.find(run.slots[slot], found);
  }
  return found;
}

void Recording::copy_back(Stream& stream, const Ticket* ticket) const {
  const HostMirrors& mirrors = device_impl().allocator->mirrors();
  if (mirrors.empty()) return;
  std::vector<const Memory*> blocks = mirrored();  // with those made meanwhile
  if (ticket == nullptr) {
    mirrors.to_host(blocks, stream);
    return;
  }
  const std::vector<const Memory*>& known = ticket->footprint().mirrored;
  mirrors.to_host(known, stream);
  // Other queues may be writing other parts of a block whose mirror was made since the commit.
  std::erase_if(blocks, [&](const Memory* block) {
    return std::find(known.begin(), known.end(), block) != known.end();
  });
  for (const RunMemory::Range& part : ticket->footprint().memory.written())
    mirrors.to_host(blocks, part, stream);
}

Footprint Recording::footprint() const {
  Footprint found{RunMemory(runs_), mirrored()};
  for (const Memory* block : found.mirrored)  // copied in before and back after the work
    found.memory.add_written(block->data, block->bytes);
  for (const Condition& condition : conditions_) {
    if (condition.predicates == nullptr) continue;
    for (const Predicate& one : condition.predicates->all) {
      const std::byte* words = BufferImpl::of(one.predicateBuffer())->data();
      found.memory.add_read(words + one.predicateOffset(), sizeof(std::uint32_t));
    }
  }
  return found;
}

void Recording::run_if(const Predicates* predicates, std::span<const StepRun> runs,
                       Stream& stream) {
  if (predicates == nullptr) {
    stream.run(runs);
    return;
  }
  for (const StepRun& run : runs) {  // each is asked: the one before may have changed the word
    stream.wait(stream.mark());
    if (predicates->hold()) stream.run({&run, 1});
  }
}

void Recording::start(const std::shared_ptr<Recording>& self, Stream& stream,
                      const Ticket* ticket) {
  status_ = static_cast<int>(CommandBufferStatus::Scheduled);
  status_.notify_all();
  call(self, scheduled_);
  started_ = now_seconds();
  try {
    const HostMirrors& mirrors = device_impl().allocator->mirrors();
    mirrors.to_device(ticket != nullptr ? ticket->footprint().mirrored : mirrored(), stream);
    const std::span<const StepRun> all(runs_);
    const std::size_t always = conditions_.empty() ? all.size() : conditions_.front().first;
    if (always != 0) stream.run(all.first(always));
    for (std::size_t i = 0; i < conditions_.size(); ++i) {
      const std::size_t end = i + 1 < conditions_.size() ? conditions_[i + 1].first : all.size();
      const auto part = all.subspan(conditions_[i].first, end - conditions_[i].first);
      run_if(conditions_[i].predicates, part, stream);
    }
    copy_back(stream, ticket);
  } catch (const DeviceError& problem) {
    note(problem.code(), problem.what());
  } catch (const std::bad_alloc&) {
    note(CommandBufferError::OutOfMemory, "CommandBuffer: a step found no memory.");
  } catch (const std::exception& problem) {
    note(CommandBufferError::Internal,
         std::string("CommandBuffer: a step failed: ") + problem.what());
  } catch (...) {
    note(CommandBufferError::Internal, "CommandBuffer: a step failed.");
  }
}

void Recording::finish(const std::shared_ptr<Recording>& self,
                       const std::optional<DeviceError>& problem) {
  if (problem) note(problem->code(), problem->what());
  ended_ = now_seconds();
  runs_.clear();
  conditions_.clear();
  retained_.clear();
  if (enqueued_by_hand_) {
    const std::scoped_lock lock(queue_->mutex);
    free_.move_to(queue_->pool);
  }
  status_ = static_cast<int>(error_ ? CommandBufferStatus::Error : CommandBufferStatus::Completed);
  status_.notify_all();
  call(self, completed_);
  if (error_) status_ = static_cast<int>(CommandBufferStatus::Error);
  seat_.reset();
  done_ = true;
  done_.notify_all();
}

void Recording::wait(CommandBufferStatus at_least) {
  if (!committed_)
    misuse(label_, "not committed", "Call commit() before waiting, or the wait never ends.");
  // In a handler a wait for what this thread has yet to do would never end.
  if (worker_->is_current_thread() || Worker::current_thread_enqueues_for(engine())) return;
  if (at_least == CommandBufferStatus::Completed) {
    for (int spin = 0; spin < spins_before_sleep && !done_.load(std::memory_order_acquire); ++spin)
      _mm_pause();
    done_.wait(false, std::memory_order_acquire);
    return;
  }
  for (int seen = status_; seen < static_cast<int>(at_least); seen = status_) status_.wait(seen);
}

}  // namespace detail

namespace {

detail::QueueImpl& checked(const std::shared_ptr<detail::QueueImpl>& queue) {
  if (!queue)
    fail({"CommandQueue", "", "the queue", "nil", "", "Make one with device.makeCommandQueue()."});
  return *queue;
}

}  // namespace

CommandBuffer CommandQueue::makeCommandBuffer() const {
  return detail::CommandBufferCore::handle(
      detail::CommandBufferCore::make(checked(impl_).make_recording()));
}
Device CommandQueue::device() const { return checked(impl_).device; }
std::string CommandQueue::label() const { return checked(impl_).label; }
void CommandQueue::setLabel(std::string label) { checked(impl_).label = std::move(label); }

CommandBuffer CommandBuffer::commandBufferFromCommandQueue(const CommandQueue& queue) {
  return queue.makeCommandBuffer();
}

const std::shared_ptr<detail::Recording>& CommandBuffer::root() const {
  if (!core_)
    fail({"CommandBuffer", "", "commandBuffer", "nil", "",
          "Make one with queue.makeCommandBuffer()."});
  return core_->innermost().root;
}

bool CommandBuffer::operator==(const CommandBuffer& other) const {
  return core_ == other.core_ || (core_ && other.core_ && root() == other.root());
}

detail::Recording& CommandBuffer::recording() const {
  detail::Recording& open = *root();
  if (open.committed_) refuse_committed(open.label_);
  if (core_->inner || core_->predicates) {
    open.set_predicates(core_->all_predicates());
  } else {
    open.predicates_ = nullptr;
  }
  return open;
}

void CommandBuffer::enqueue() {
  detail::Recording& open = recording();
  open.queue_->enqueue(open);
}
void CommandBuffer::commit() {
  const std::shared_ptr<detail::Recording> open = root();
  open->queue_->commit(open);  // which refuses the second of two threads
}
void CommandBuffer::commitAndContinue() {
  const std::shared_ptr<detail::QueueImpl> queue = recording().queue_;
  const std::shared_ptr<detail::Recording> old = root();
  auto fresh = queue->make_recording();
  fresh->family = old->family;
  fresh->label_ = old->label_;
  fresh->heaps_ = old->heaps_;
  old->free_.move_provided_to(fresh->free_);
  core_->innermost().root = std::move(fresh);
  queue->commit(old);
}

void CommandBuffer::addScheduledHandler(Handler handler) {
  if (!handler) fail({"CommandBuffer", label(), "handler", "nil", "a function", ""});
  recording().scheduled_.push_back(std::move(handler));
}
void CommandBuffer::addCompletedHandler(Handler handler) {
  if (!handler) fail({"CommandBuffer", label(), "handler", "nil", "a function", ""});
  recording().completed_.push_back(std::move(handler));
}
void CommandBuffer::waitUntilScheduled() { root()->wait(CommandBufferStatus::Scheduled); }
void CommandBuffer::waitUntilCompleted() { root()->wait(CommandBufferStatus::Completed); }

CommandBufferStatus CommandBuffer::status() const {
  return static_cast<CommandBufferStatus>(root()->status_.load(std::memory_order_acquire));
}
std::optional<DeviceError> CommandBuffer::error() const {
  return status() == CommandBufferStatus::Error ? root()->error_ : std::nullopt;
}
CommandBuffer CommandBuffer::rootCommandBuffer() const {
  return CommandBuffer(
      std::make_shared<detail::CommandBufferCore>(detail::CommandBufferCore{root(), {}, {}}));
}
CommandBuffer CommandBuffer::commandBuffer() const {
  static_cast<void>(root());
  return core_->inner ? CommandBuffer(core_->inner) : rootCommandBuffer();
}
CommandBuffer CommandBuffer::commandBuffer(const CommandBuffer& commandBuffer) {
  static_cast<void>(commandBuffer.root());
  return CommandBuffer(std::make_shared<detail::CommandBufferCore>(
      detail::CommandBufferCore{{}, commandBuffer.core_, {}}));
}

Predicate CommandBuffer::predicate() const {
  static_cast<void>(root());
  return core_->predicates ? core_->predicates->all[0] : Predicate();
}
void CommandBuffer::setPredicate(const Predicate& predicate) {
  const detail::Recording& open = *root();
  if (!predicate) {
    core_->predicates = nullptr;
    return;
  }
  if (!(predicate.predicateBuffer().device() == open.device())) {
    fail({"CommandBuffer", label(), "predicate", "on another device",
          "a predicate of the command buffer's device", ""});
  }
  core_->predicates = std::make_shared<const detail::Predicates>(detail::Predicates{{predicate}});
}

std::shared_ptr<HeapProvider> CommandBuffer::heapProvider() const {
  return root()->heaps_.provider;
}
void CommandBuffer::setHeapProvider(std::shared_ptr<HeapProvider> heapProvider) {
  recording().heaps_.provider = std::move(heapProvider);
}
CommandQueue CommandBuffer::commandQueue() const {
  return detail::QueueImpl::handle(root()->queue_);
}
Device CommandBuffer::device() const { return root()->device(); }
std::string CommandBuffer::label() const { return root()->label_; }
void CommandBuffer::setLabel(std::string label) { root()->label_ = std::move(label); }
double CommandBuffer::GPUStartTime() const {
  return status() >= CommandBufferStatus::Completed ? root()->started_ : 0;
}
double CommandBuffer::GPUEndTime() const {
  return status() >= CommandBufferStatus::Completed ? root()->ended_ : 0;
}
void CommandBuffer::prefetchHeapForWorkloadSize(std::size_t bytes) {
  detail::Recording& open = recording();
  open.recycle(open.temporary(bytes));
}

Predicate::Predicate(Buffer buffer, std::size_t offset)
    : buffer_(std::move(buffer)), offset_(offset) {
  if (!buffer_) fail({"Predicate", "", "buffer", "nil", "a buffer", ""});
  const std::size_t length = buffer_.length();
  if (offset % 4 != 0 || length < sizeof(std::uint32_t) ||
      offset > length - sizeof(std::uint32_t)) {
    fail({"Predicate", "", "offset",
          std::to_string(offset) + " of " + std::to_string(length) + " bytes",
          "a multiple of 4 with 4 bytes behind it", ""});
  }
}
Predicate::Predicate(const Device& device)
    : Predicate(device.makeBuffer(sizeof(std::uint32_t)), 0) {}

void HeapProvider::retireHeap(const Buffer&, double) {}

void SetHeapCacheDuration(const CommandBuffer& commandBuffer, double seconds) {
  commandBuffer.recording().heaps_.cache_delay = std::isnan(seconds) ? 0 : seconds;
}
void HintTemporaryMemoryHighWaterMark(const CommandBuffer& commandBuffer, std::size_t bytes) {
  CommandBuffer(commandBuffer).prefetchHeapForWorkloadSize(bytes);
}

}  // namespace cermet
