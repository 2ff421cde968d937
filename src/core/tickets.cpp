#include "core/tickets.h"

#include <algorithm>
#include <utility>

namespace cermet::detail {

bool Ticket::conflicts(const Ticket& other) const {
  return footprint_.everything || other.footprint_.everything ||
         footprint_.memory.conflicts(other.footprint_.memory);
}

void Ticket::follow(Stream& stream) {
  for (const std::shared_ptr<Ticket>& earlier : before_) {
    earlier->state_.wait(State::waiting, std::memory_order_acquire);
    if (earlier->state_.load(std::memory_order_acquire) == State::enqueued)
      stream.follow(*earlier->stream_, earlier->mark_);
  }
  before_.clear();  // or each ticket would keep all those before it
}

void Ticket::enqueued(Stream& stream, std::uint64_t mark) {
  stream_ = &stream;
  mark_ = mark;
  state_.store(State::enqueued, std::memory_order_release);
  state_.notify_all();
}

void Ticket::finished() {
  state_.store(State::finished, std::memory_order_release);
  state_.notify_all();
}

std::shared_ptr<Ticket> Tickets::next(std::size_t worker, Footprint footprint) {
  auto ticket = std::make_shared<Ticket>(std::move(footprint));
  for (std::size_t other = 0; other < open_.size(); ++other) {
    auto& open = open_[other];
    // A worker finishes its work in order.
    open.erase(open.begin(), std::find_if(open.begin(), open.end(), [](const auto& one) {
                 return one->state_.load(std::memory_order_acquire) != Ticket::State::finished;
               }));
    if (other == worker) continue;
    // And runs it in order: to follow the latest is to follow all.
    const auto latest = std::find_if(open.rbegin(), open.rend(),
                                     [&](const auto& one) { return ticket->conflicts(*one); });
    if (latest != open.rend()) ticket->before_.push_back(*latest);
  }
  open_[worker].push_back(ticket);
  return ticket;
}

}  // namespace cermet::detail
