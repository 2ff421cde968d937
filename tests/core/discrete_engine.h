#pragma once
// A device whose memory the host cannot reach and whose work runs later than it was enqueued,
// without a GPU: the CPU's steps behind an engine that says so, each stream with a thread of its
// own.

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/device_impl.h"

namespace cermet::test {

/// The mark of a stream whose work fails.
struct Failure {
  std::size_t stream = 0;
  std::uint64_t mark = 0;
};

class DiscreteStream final : public Stream {
 public:
  explicit DiscreteStream(std::unique_ptr<Stream> inner, std::optional<Failure> failure)
      : inner_(std::move(inner)), failure_(failure), thread_([this] { work(); }) {}
  ~DiscreteStream() override {
    post({});
    thread_.join();
  }
  DiscreteStream(const DiscreteStream&) = delete;
  DiscreteStream& operator=(const DiscreteStream&) = delete;

  void run(std::span<const StepRun> runs) override {
    post([this, list = std::vector<StepRun>(runs.begin(), runs.end())] {
      inner_->index = index;
      inner_->run(list);
    });
  }
  [[nodiscard]] std::uint64_t mark() override {
    post([this] {
      const std::scoped_lock lock(mutex_);
      ++reached_;
      changed_.notify_all();
    });
    return marks_++;
  }
  void wait(std::uint64_t mark) override {
    reach(mark);
    if (failure_ && failure_->stream == index && failure_->mark == mark)
      throw DeviceError(CommandBufferError::PageFault, "the step failed");
  }
  void follow(Stream& other, std::uint64_t mark) override {
    post([&other, mark] { static_cast<DiscreteStream&>(other).reach(mark); });
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    post([=] { std::memcpy(to, from, bytes); });
  }
  /// All that is enqueued.
  void finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tasks_.empty() && !busy_; });
  }

 private:
  using Task = std::function<void()>;
  void post(Task task) {
    const std::scoped_lock lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void reach(std::uint64_t mark) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reached_ > mark; });
  }
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return !tasks_.empty(); });
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      if (!task) return;
      busy_ = true;
      lock.unlock();
      task();
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  std::unique_ptr<Stream> inner_;
  std::optional<Failure> failure_;
  std::uint64_t marks_ = 0;  // of the thread that drives the stream
  std::mutex mutex_;         // of what follows
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool busy_ = false;
  std::uint64_t reached_ = 0;
  std::thread thread_;
};

class DiscreteEngine final : public Engine {
 public:
  explicit DiscreteEngine(std::optional<Failure> failure) : failure_(failure) {}
  [[nodiscard]] StepPtr prepare(const OpView& op, Descs descs) override {
    return inner_->prepare(op, descs);
  }
  [[nodiscard]] void* allocate(std::size_t bytes) override { return inner_->allocate(bytes); }
  void release(void* memory, std::size_t bytes) noexcept override {
    inner_->release(memory, bytes);
  }
  void fill_zero(void* memory, std::size_t bytes) override { inner_->fill_zero(memory, bytes); }
  [[nodiscard]] bool host_can_access() const override { return false; }
  void finish() override {
    const std::scoped_lock lock(mutex_);
    for (const std::weak_ptr<DiscreteStream>& one : streams_) {
      if (const auto stream = one.lock()) stream->finish();
    }
  }
  [[nodiscard]] std::unique_ptr<Stream> make_stream() override {
    struct Handle final : Stream {  // so that the engine may look at streams that are gone
      std::shared_ptr<DiscreteStream> stream;
      DiscreteStream& get() {
        if (stream->index != index) stream->index = index;  // once, before others read it
        return *stream;
      }
      void run(std::span<const StepRun> runs) override { get().run(runs); }
      [[nodiscard]] std::uint64_t mark() override { return get().mark(); }
      void wait(std::uint64_t mark) override { stream->wait(mark); }
      void follow(Stream& other, std::uint64_t mark) override {
        get().follow(*static_cast<Handle&>(other).stream, mark);
      }
      void copy(void* to, const void* from, std::size_t bytes) override {
        get().copy(to, from, bytes);
      }
    };
    auto handle = std::make_unique<Handle>();
    handle->stream = std::make_shared<DiscreteStream>(inner_->make_stream(), failure_);
    const std::scoped_lock lock(mutex_);
    streams_.push_back(handle->stream);
    return handle;
  }
  [[nodiscard]] std::string name() const override { return "discrete"; }
  [[nodiscard]] int threads() const override { return 1; }

 private:
  std::shared_ptr<Engine> inner_ = make_cpu_engine(1);
  std::optional<Failure> failure_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<DiscreteStream>> streams_;
};

inline Device discrete(std::optional<Failure> failure = {}) {
  return detail::DeviceImpl::handle(
      detail::DeviceImpl::make(std::make_shared<DiscreteEngine>(failure)));
}

/// Does something to floats, the first `read` of which it only reads. It hears the number of its
/// stream, too.
class FloatStep final : public Step {
 public:
  using Floats = std::vector<float*>;
  using Body = std::function<void(const Floats&, std::size_t)>;

  FloatStep(std::size_t read, std::size_t written, Body body) : body_(std::move(body)) {
    access_.assign(read, Access::read);
    access_.resize(read + written, Access::update);
    access = access_;
    slots.assign(read + written, flat_desc(1));
    bytes.assign(read + written, sizeof(float));
  }
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
    return std::make_unique<Bound>(*this);
  }

 private:
  struct Bound final : BoundStep {
    explicit Bound(const FloatStep& of) : step(of) {}
    void run(Stream& stream) noexcept override { step.body_(floats, stream.index); }
    void rebind(const Slots& slots, void*, const void*) override {
      floats.clear();
      for (std::size_t i = 0; i < step.slots.size(); ++i)
        floats.push_back(static_cast<float*>(slots[i]));
    }
    const FloatStep& step;
    Floats floats;
  };
  Body body_;
  std::vector<Access> access_;
};

/// A float in a buffer.
struct Cell {
  Buffer buffer;
  std::size_t number = 0;

  explicit Cell(const Device& device) : buffer(device.makeBuffer(sizeof(float))) {}
  Cell(Buffer of, std::size_t at) : buffer(std::move(of)), number(at) {}
  [[nodiscard]] float value() const { return buffer.values<float>()[number]; }
};

inline void encode(const CommandBuffer& commands, const StepPtr& step,
                   const std::vector<Cell>& cells) {
  Slots slots{};
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto& memory = detail::BufferImpl::of(cells[i].buffer)->memory;
    commands.recording().retain(memory);
    slots[i] = memory->data + cells[i].number * sizeof(float);
  }
  commands.recording().add(step, slots, nullptr, 0);
}
inline CommandBuffer commit(const CommandQueue& queue, const StepPtr& step,
                            const std::vector<Cell>& cells) {
  CommandBuffer commands = queue.makeCommandBuffer();
  encode(commands, step, cells);
  commands.commit();
  return commands;
}
inline void run(const CommandQueue& queue, const StepPtr& step, const std::vector<Cell>& cells) {
  CommandBuffer commands = commit(queue, step, cells);
  commands.waitUntilCompleted();
  EXPECT_EQ(commands.status(), CommandBufferStatus::Completed);
}

/// Adds 1 to a float, and tells `ran`.
inline StepPtr increment(std::function<void()> ran = {}) {
  return std::make_shared<FloatStep>(
      0, 1, [ran = std::move(ran)](const FloatStep::Floats& floats, std::size_t) {
        *floats[0] += 1;
        if (ran) ran();
      });
}

}  // namespace cermet::test
