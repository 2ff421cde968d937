#include "cuda/branches.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cermet::cuda {

std::vector<Place> places_of(const std::vector<RunMemory>& memory) {
  const std::size_t count = memory.size();
  std::vector<std::vector<std::size_t>> after(count);  // conflicting launches that come later
  std::vector<std::size_t> length(count, 1);           // of the longest chain from there on
  for (std::size_t i = count; i-- > 0;) {
    for (std::size_t j = i + 1; j < count; ++j) {
      if (!memory[i].conflicts(memory[j])) continue;
      after[i].push_back(j);
      length[i] = std::max(length[i], length[j] + 1);
    }
  }
  std::vector<bool> aside(count, true);
  const auto longest = std::max_element(length.begin(), length.end());
  for (auto at = static_cast<std::size_t>(longest - length.begin()); at < count;) {
    aside[at] = false;
    const auto next = std::find_if(after[at].begin(), after[at].end(),
                                   [&](std::size_t j) { return length[j] + 1 == length[at]; });
    at = next == after[at].end() ? count : *next;
  }

  // Launches are numbered by the launches of the chain up to them. `needed`: the first of the chain
  // that needs a launch, directly or not.
  std::vector<std::size_t> turn(count, 0), needed(count, count + 1), chain;
  for (std::size_t i = 0; i < count; ++i) {
    if (aside[i]) continue;
    chain.push_back(i);
    turn[i] = chain.size();
  }
  for (std::size_t i = count; i-- > 0;) {
    for (const std::size_t j : after[i])
      needed[i] = std::min(needed[i], aside[j] ? needed[j] : turn[j]);
  }
  // Of two launches that read the same result the chain's goes first where it does not need the
  // other: the device might run them the other way round, and each may fill it.
  for (std::size_t i = 0; i < count; ++i) {
    for (const std::size_t j : after[i]) {
      if (!aside[j]) continue;
      const bool yields = !aside[i] && turn[i] + 1 < needed[j] && memory[j].reads(memory[i]);
      turn[j] = std::max(turn[j], turn[i] + (yields ? 1 : 0));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t least = needed[i] > 1 ? 1 : 0;  // the first of the chain begins alone
    turn[i] = std::clamp(turn[i], least, chain.size());
  }
  std::vector<Place> places(count);
  for (std::size_t i = 0; i < count; ++i) places[i] = {i, aside[i], std::nullopt};
  std::stable_sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
    return std::pair(turn[a.launch], a.aside) < std::pair(turn[b.launch], b.aside);
  });

  // By position: the latest on the other stream that it must follow. Nobody waits for what its
  // stream has waited for.
  std::vector<std::size_t> position(count);
  for (std::size_t i = 0; i < count; ++i) position[places[i].launch] = i;
  using Position = std::optional<std::size_t>;
  std::vector<Position> needs(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (aside[i] && turn[i] > 0)
      needs[position[i]] = std::max(needs[position[i]], Position(position[chain[turn[i] - 1]]));
    for (const std::size_t j : after[i]) {
      Position& latest = needs[position[j]];
      if (aside[i] != aside[j]) latest = std::max(latest, Position(position[i]));
    }
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
