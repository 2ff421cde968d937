#include "core/worker.h"

#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "core/device_impl.h"

namespace cermet::detail {
namespace {

constexpr std::size_t most_taken = 64;  // places of work taken that a line keeps

thread_local const Engine* enqueues_for = nullptr;

}  // namespace

// ---- lines

void Line::put_locked(Job job) {
  work_.push_back(std::move(job));
  submitted_.fetch_add(1, std::memory_order_release);
}

void Line::put(Job job) {
  bool sleeping = false;
  {
    const std::scoped_lock lock(mutex_);
    put_locked(std::move(job));
    sleeping = asleep_;
  }
  if (sleeping) wake_.notify_one();
}

bool Line::put_without_ticket(std::shared_ptr<Recording>& recording) {
  bool sleeping = false;
  {
    const std::scoped_lock lock(mutex_);
    if (tickets_needed_) return false;
    put_locked({std::move(recording), {}});
    sleeping = asleep_;
  }
  if (sleeping) wake_.notify_one();
  return true;
}

void Line::need_tickets(bool needed) {
  const std::scoped_lock lock(mutex_);
  tickets_needed_ = needed;
}

std::optional<Job> Line::next(std::uint64_t& taken) {
  for (int spin = 0; spin < spins_before_sleep; ++spin) {
    if (submitted_.load(std::memory_order_acquire) != taken) break;
    _mm_pause();
  }
  std::unique_lock lock(mutex_);
  asleep_ = true;
  wake_.wait(lock, [this] { return closed_ || first_ < work_.size(); });
  asleep_ = false;
  if (first_ == work_.size()) return std::nullopt;
  std::optional<Job> job = std::move(work_[first_++]);
  if (first_ == work_.size() || first_ == most_taken) {
    work_.erase(work_.begin(), work_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  ++taken;
  return job;
}

void Line::close() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  wake_.notify_one();
}

// ---- a worker

Worker::Worker(std::shared_ptr<Engine> engine, std::size_t number) {
  const bool waits = engine->host_can_access();
  shared_->engine = std::move(engine);
  shared_->number = number;
  runner_ =
      std::thread([shared = shared_, waits] { waits ? run(shared) : run_and_pass_on(shared); });
  if (!waits) finisher_ = std::thread([shared = shared_] { finish(shared); });
}

Worker::~Worker() {
  shared_->work.close();
  for (std::thread* thread : {&runner_, &finisher_}) {
    if (!thread->joinable()) continue;
    if (thread->get_id() == std::this_thread::get_id()) {
      thread->detach();  // the last owner of the device was a handler: the loop ends by itself
    } else {
      thread->join();
    }
  }
}

bool Worker::current_thread_enqueues_for(const Engine& engine) { return enqueues_for == &engine; }

void Worker::Shared::make_stream() {
  stream = engine->make_stream();
  stream->index = number;
  enqueues_for = engine.get();
}

void Worker::run(const std::shared_ptr<Shared>& shared) {
  shared->make_stream();
  std::uint64_t taken = 0;
  while (const auto job = shared->work.next(taken)) {
    job->recording->start(job->recording, *shared->stream, nullptr);
    job->recording->finish(job->recording, {});
  }
}

void Worker::run_and_pass_on(const std::shared_ptr<Shared>& shared) {
  shared->make_stream();
  Stream& stream = *shared->stream;
  std::uint64_t taken = 0;
  while (auto job = shared->work.next(taken)) {
    Ticket* const ticket = job->ticket.get();
    if (job->recording && job->recording->has_predicates()) {
      // What decides must have happened, handlers of the own queue included.
      std::uint64_t finished = 0;
      while ((finished = shared->finished.load()) != taken - 1) shared->finished.wait(finished);
    }
    if (ticket != nullptr) ticket->follow(stream);
    if (job->recording) job->recording->start(job->recording, stream, ticket);
    job->mark = stream.mark();
    if (ticket != nullptr) ticket->enqueued(stream, job->mark);
    shared->running.put(std::move(*job));
  }
  shared->running.close();
}

void Worker::finish(const std::shared_ptr<Shared>& shared) {
  std::uint64_t taken = 0;
  while (const auto job = shared->running.next(taken)) {
    std::optional<DeviceError> problem;
    try {
      shared->stream->wait(job->mark);
    } catch (const DeviceError& failure) {
      problem.emplace(failure);
    }
    if (job->ticket) job->ticket->finished();
    if (job->recording) job->recording->finish(job->recording, problem);
    shared->finished.fetch_add(1);
    shared->finished.notify_all();
  }
}

// ---- the workers of a device

Workers::Workers(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {
  workers_.push_back(std::make_unique<Worker>(engine_, 0));
}

std::size_t Workers::count() const {
  const std::scoped_lock lock(mutex_);
  return workers_.size();
}

Worker& Workers::take() {
  const std::scoped_lock lock(mutex_);
  const auto end = queues_.begin() + static_cast<std::ptrdiff_t>(workers_.size());
  auto fewest = std::min_element(queues_.begin(), end);
  if (*fewest != 0 && workers_.size() < max_streams && !engine_->host_can_access()) {
    workers_.push_back(std::make_unique<Worker>(engine_, workers_.size()));
    fewest = end;
  }
  return take_locked(static_cast<std::size_t>(fewest - queues_.begin()));
}

Worker& Workers::take(std::size_t number) {
  const std::scoped_lock lock(mutex_);
  return take_locked(number);
}

Worker& Workers::take_locked(std::size_t number) {
  Worker& worker = *workers_.at(number);
  if (queues_[number]++ != 0 || ++active_ == 1) return worker;
  worker.work().need_tickets(true);
  if (active_ > 2) return worker;
  // The other one has been alone. Its work has no tickets, so one that is put behind it stands for
  // all of it; nobody waits here, since this may be one of its handlers.
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (i == number || queues_[i] == 0) continue;
    workers_[i]->work().need_tickets(true);
    workers_[i]->work().put({nullptr, tickets_.next(i, {{}, {}, true})});
  }
  return worker;
}

void Workers::give_back(Worker& worker) {
  const std::scoped_lock lock(mutex_);
  if (--queues_[worker.number()] != 0) return;
  // Its work is finished: a queue keeps its worker until then.
  worker.work().need_tickets(false);
  if (--active_ != 1) return;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (queues_[i] != 0) workers_[i]->work().need_tickets(false);
  }
}

void Workers::submit(Worker& worker, std::shared_ptr<Recording> recording) {
  if (worker.work().put_without_ticket(recording)) return;
  Footprint footprint = recording->footprint();
  const std::scoped_lock lock(mutex_);
  auto ticket = tickets_.next(worker.number(), std::move(footprint));
  worker.work().put({std::move(recording), std::move(ticket)});
}

}  // namespace cermet::detail
