#pragma once
// Which work of other workers of its device a piece of work follows (ADR 0010).

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cermet/core/step.h"
#include "core/memory.h"
#include "core/run_memory.h"

namespace cermet::detail {

/// What committed work touches, and how far it has come.
struct Footprint {
  RunMemory memory;
  std::vector<const Memory*> mirrored;  // at the commit; `memory` has them as written
  bool everything = false;              // it is not known: conflicts with all
};

/// A place in the order of commits of a device.
class Ticket {
 public:
  explicit Ticket(Footprint footprint) : footprint_(std::move(footprint)) {}

  [[nodiscard]] const Footprint& footprint() const { return footprint_; }
  /// Makes what is enqueued on `stream` from now on wait for the work that this one follows. Blocks
  /// until that is enqueued: its commit came before, so no two wait for each other.
  void follow(Stream& stream);
  /// The work is enqueued, and ends at `mark`.
  void enqueued(Stream& stream, std::uint64_t mark);
  void finished();

 private:
  friend class Tickets;
  enum class State { waiting, enqueued, finished };
  [[nodiscard]] bool conflicts(const Ticket& other) const;

  Footprint footprint_;
  std::vector<std::shared_ptr<Ticket>> before_;
  std::atomic<State> state_{State::waiting};
  Stream* stream_ = nullptr;  // once it is enqueued
  std::uint64_t mark_ = 0;
};

/// The unfinished tickets of a device. Its owner guards it.
class Tickets {
 public:
  /// The next one in the order of commits, for work of the worker with this number.
  [[nodiscard]] std::shared_ptr<Ticket> next(std::size_t worker, Footprint footprint);

 private:
  std::array<std::vector<std::shared_ptr<Ticket>>, max_streams> open_;  // in order
};

}  // namespace cermet::detail
