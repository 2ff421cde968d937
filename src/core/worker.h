#pragma once
// The threads of a device. Each worker drives one stream, for one queue or more.

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "cermet/core/engine.h"
#include "core/tickets.h"

namespace cermet::detail {

class Recording;

/// A committed recording on its way through a worker.
struct Job {
  std::shared_ptr<Recording> recording;  // null: there is only a ticket
  std::shared_ptr<Ticket> ticket;        // null: no other worker was active at the commit
  std::uint64_t mark = 0;                // on the stream: the end of its work
};

/// Jobs on their way to one thread, in order. Sleeps when there is none for a while.
class Line {
 public:
  void put(Job job);
  /// The same for one without a ticket; where tickets are needed it does nothing: false.
  [[nodiscard]] bool put_without_ticket(std::shared_ptr<Recording>& recording);
  void need_tickets(bool needed);
  /// The next one; none once it is closed and empty. `taken` counts for the caller.
  [[nodiscard]] std::optional<Job> next(std::uint64_t& taken);
  void close();

 private:
  void put_locked(Job job);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> work_;  // from `first_` on
  std::size_t first_ = 0;
  std::atomic<std::uint64_t> submitted_{0};
  bool asleep_ = false, closed_ = false, tickets_needed_ = false;
};

/// One thread runs steps, packs weights and calls handlers; where steps only enqueue (a GPU), a
/// second one waits for their end and calls the completed handlers, so that the next work can be
/// enqueued meanwhile.
class Worker {
 public:
  /// `number` becomes the index of its stream.
  Worker(std::shared_ptr<Engine> engine, std::size_t number);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] std::size_t number() const { return shared_->number; }
  [[nodiscard]] Line& work() { return shared_->work; }
  /// Whether one of its handlers is calling.
  [[nodiscard]] bool is_current_thread() const {
    const auto self = std::this_thread::get_id();
    return self == runner_.get_id() || self == finisher_.get_id();
  }
  /// Whether a scheduled handler of any worker of this engine is calling: what its thread has yet
  /// to enqueue may be what others wait for.
  [[nodiscard]] static bool current_thread_enqueues_for(const Engine& engine);

 private:
  // The threads own this too: a handler may drop the last handle of the device.
  struct Shared {
    std::shared_ptr<Engine> engine;
    std::size_t number = 0;
    std::shared_ptr<Stream> stream;  // made by the runner
    Line work, running;
    std::atomic<std::uint64_t> finished{0};

    void make_stream();
  };
  static void run(const std::shared_ptr<Shared>& shared);
  static void run_and_pass_on(const std::shared_ptr<Shared>& shared);
  static void finish(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread runner_, finisher_;
};

/// The workers of a device: one where the host shares its memory, up to `max_streams` elsewhere.
/// Work of two runs at the same time, unless one writes what the other reads or writes: then in the
/// order of commits. While only one worker has queues, that costs nothing: there are no tickets.
class Workers {
 public:
  explicit Workers(std::shared_ptr<Engine> engine);
  ~Workers() = default;
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// For one more queue: the worker that has the fewest, rather idle than new.
  [[nodiscard]] Worker& take();
  void give_back(Worker& worker);
  void submit(Worker& worker, std::shared_ptr<Recording> recording);

  /// For tests: how many there are, and a certain one for one more queue.
  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] Worker& take(std::size_t number);

 private:
  Worker& take_locked(std::size_t number);

  const std::shared_ptr<Engine> engine_;
  mutable std::mutex mutex_;  // commits while tickets are needed come one by one
  std::vector<std::unique_ptr<Worker>> workers_;
  std::array<std::size_t, max_streams> queues_{};  // of each worker
  std::size_t active_ = 0;                         // workers that have queues
  Tickets tickets_;
};

}  // namespace cermet::detail
