#include "cuda/dependencies.h"

#include <algorithm>
#include <utility>

namespace cermet::cuda {

Dependencies::Node Dependencies::describe(const StepRun& run) {
  const Step& step = *run.step;
  Node node;
  node.known = step.access.size() == step.slots.size();
  if (!node.known) return node;
  const auto add = [&](const void* address, std::size_t bytes, bool written) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    if (address != nullptr && bytes != 0) node.ranges.push_back({begin, begin + bytes, written});
  };
  for (std::size_t slot = 0; slot < step.slots.size(); ++slot) {
    const TensorDesc& desc = step.slots[slot];
    if (!desc.present()) continue;
    const std::size_t bytes = desc.layout == plain
                                  ? static_cast<std::size_t>(desc.span()) * size_of(desc.type)
                                  : step.bytes[slot];
    add(run.slots[slot], bytes, step.access[slot] != Access::read);
  }
  add(run.scratch, step.scratch_bytes, true);
  return node;
}

bool Dependencies::conflict(const Node& a, const Node& b) {
  if (!a.known || !b.known) return true;
  return std::any_of(a.ranges.begin(), a.ranges.end(), [&](const Range& one) {
    return std::any_of(b.ranges.begin(), b.ranges.end(), [&](const Range& other) {
      return (one.written || other.written) && one.begin < other.end && other.begin < one.end;
    });
  });
}

std::vector<std::size_t> Dependencies::add(const StepRun& run) {
  Node node = describe(run);
  node.before.resize(nodes_.size());
  std::vector<std::size_t> direct;
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    if (node.before[i] || !conflict(node, nodes_[i])) continue;
    direct.push_back(i);
    node.before[i] = true;
    for (std::size_t k = 0; k < i; ++k) {
      if (nodes_[i].before[k]) node.before[k] = true;
    }
  }
  nodes_.push_back(std::move(node));
  return direct;
}

std::vector<bool> longest_path(const std::vector<std::vector<std::size_t>>& needs) {
  std::vector<std::size_t> lengths;
  for (const auto& list : needs) {
    std::size_t longest = 0;
    for (const std::size_t i : list) longest = std::max(longest, lengths[i]);
    lengths.push_back(longest + 1);
  }
  std::vector<bool> chosen(needs.size());
  if (needs.empty()) return chosen;
  chosen[static_cast<std::size_t>(std::max_element(lengths.begin(), lengths.end()) -
                                  lengths.begin())] = true;
  for (std::size_t i = needs.size(); i-- > 0;) {
    if (!chosen[i]) continue;
    for (const std::size_t before : needs[i]) chosen[before] = true;
  }
  return chosen;
}

}  // namespace cermet::cuda
