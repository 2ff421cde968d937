#include "cuda/branches.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cermet::cuda {

namespace {

using Numbers = std::vector<std::size_t>;

/// Launches, numbered in their order.
struct Launches {
  const std::vector<RunMemory>& memory;
  std::vector<Numbers> after;  // of each launch: those that come later and conflict
  Numbers chain;               // the longest of launches that conflict with one another
  std::vector<bool> aside;     // not of the chain

  explicit Launches(const std::vector<RunMemory>& given)
      : memory(given), after(given.size()), aside(given.size(), true) {
    Numbers length(memory.size(), 1);  // of the longest chain from there on
    for (std::size_t i = memory.size(); i-- > 0;) {
      for (std::size_t j = i + 1; j < memory.size(); ++j) {
        if (!memory[i].conflicts(memory[j])) continue;
        after[i].push_back(j);
        length[i] = std::max(length[i], length[j] + 1);
      }
    }
    const auto longest = std::max_element(length.begin(), length.end());
    for (auto at = static_cast<std::size_t>(longest - length.begin()); at < memory.size();) {
      chain.push_back(at);
      aside[at] = false;
      const auto next = std::find_if(after[at].begin(), after[at].end(),
                                     [&](std::size_t j) { return length[j] + 1 == length[at]; });
      at = next == after[at].end() ? memory.size() : *next;
    }
  }
};

/// How many launches of the chain each launch follows, itself included.
Numbers turns_of(const Launches& launches) {
  const std::size_t count = launches.memory.size();
  Numbers turn(count, 0), needed(count, count + 1);  // needed: by this turn
  for (std::size_t k = 0; k < launches.chain.size(); ++k) turn[launches.chain[k]] = k + 1;
  for (std::size_t i = count; i-- > 0;) {
    for (const std::size_t j : launches.after[i])
      needed[i] = std::min(needed[i], launches.aside[j] ? needed[j] : turn[j]);
  }
  // Of two launches that read the same result the chain's goes first where it does not need the
  // other: the device might run them the other way round, and each may fill it.
  for (std::size_t i = 0; i < count; ++i) {
    for (const std::size_t j : launches.after[i]) {
      if (!launches.aside[j]) continue;
      const bool yields = !launches.aside[i] && turn[i] + 1 < needed[j] &&
                          launches.memory[j].reads(launches.memory[i]);
      turn[j] = std::max(turn[j], turn[i] + (yields ? 1 : 0));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t least = needed[i] > 1 ? 1 : 0;  // the first of the chain begins alone
    turn[i] = std::clamp(turn[i], least, launches.chain.size());
  }
  return turn;
}

}  // namespace

std::vector<Place> places_of(const std::vector<RunMemory>& memory) {
  const Launches launches(memory);
  const Numbers turn = turns_of(launches);
  const std::size_t count = memory.size();
  std::vector<Place> places(count);
  for (std::size_t i = 0; i < count; ++i) places[i] = {i, launches.aside[i], std::nullopt};
  std::stable_sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
    return std::pair(turn[a.launch], a.aside) < std::pair(turn[b.launch], b.aside);
  });

  // By position: the latest on the other stream that it must follow. Nobody waits for what its
  // stream has waited for.
  Numbers position(count);
  for (std::size_t i = 0; i < count; ++i) position[places[i].launch] = i;
  using Position = std::optional<std::size_t>;
  std::vector<Position> needs(count);
  const auto follow = [&](std::size_t launch, std::size_t before) {
    Position& latest = needs[position[launch]];
    if (launches.aside[launch] != launches.aside[before])
      latest = std::max(latest, Position(position[before]));
  };
  for (std::size_t i = 0; i < count; ++i) {
    if (turn[i] > 0) follow(i, launches.chain[turn[i] - 1]);
    for (const std::size_t j : launches.after[i]) follow(j, i);
  }
  std::array<Position, 2> waited{};
  for (std::size_t i = 0; i < count; ++i) {
    Position& last = waited[places[i].aside ? 1 : 0];
    if (needs[i] <= last) continue;
    last = needs[i];
    places[i].waits_for = places[*last].launch;
  }
  return places;
}

}  // namespace cermet::cuda
