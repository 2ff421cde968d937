#include "cuda/branches.h"

#include <algorithm>
#include <array>

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
  std::vector<Place> places(count, Place{true, std::nullopt});
  const auto longest = std::max_element(length.begin(), length.end());
  if (longest == length.end()) return places;
  for (auto at = static_cast<std::size_t>(longest - length.begin());;) {
    places[at].aside = false;
    const auto next = std::find_if(after[at].begin(), after[at].end(),
                                   [&](std::size_t j) { return length[j] + 1 == length[at]; });
    if (next == after[at].end()) break;
    at = *next;
  }
  // Of each launch the latest one of the other stream that it conflicts with; nobody waits for what
  // its stream has waited for.
  std::vector<std::optional<std::size_t>> needs(count);
  for (std::size_t i = 0; i < count; ++i) {
    for (const std::size_t j : after[i]) {
      if (places[i].aside != places[j].aside) needs[j] = i;
    }
  }
  std::array<std::optional<std::size_t>, 2> waited{};
  for (std::size_t i = 0; i < count; ++i) {
    std::optional<std::size_t>& last = waited[places[i].aside ? 1 : 0];
    if (needs[i] <= last) continue;
    places[i].waits_for = last = needs[i];
  }
  return places;
}

}  // namespace cermet::cuda
