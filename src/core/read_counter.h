#pragma once
// Read counts of temporaries: one for a whole batch, one for each image once somebody needs it.

#include <cstdint>
#include <string>
#include <vector>

#include "cermet/core/error.h"

namespace cermet::detail {

struct ReadCounter {
  bool temporary = false;
  std::uint64_t family = 0;  // the command buffer chain that the temporary belongs to
  std::uint32_t count = 1, live = 1;
  std::ptrdiff_t reads = 1;
  std::vector<std::ptrdiff_t> single_reads;

  void begin(std::uint64_t of_family, std::uint32_t objects) {
    temporary = true;
    family = of_family;
    count = live = objects;
  }
  [[nodiscard]] std::ptrdiff_t reads_of(std::uint32_t index) const {
    return single_reads.empty() ? reads : single_reads[index];
  }
  [[nodiscard]] bool gone() const { return live == 0; }

  /// Adds to the counts of `[first, first + n)`, skipping what is at 0.
  void change(std::uint32_t first, std::uint32_t n, std::ptrdiff_t amount, const char* what,
              const std::string& label) {
    const auto checked = [&](std::ptrdiff_t left) {
      if (left + amount < 0) {
        fail({what, label, "readCount", std::to_string(left) + ", to be changed by " + std::to_string(amount),
              "a count that stays at 0 or more", "Raise readCount once for every encode that reads the object."});
      }
      return left + amount;
    };
    if (single_reads.empty() && first == 0 && n == count) {
      if (reads == 0) return;
      reads = checked(reads);
      if (reads == 0) live = 0;
      return;
    }
    if (single_reads.empty()) single_reads.assign(count, reads);
    for (std::uint32_t i = first; i < first + n; ++i) {
      if (single_reads[i] == 0) continue;
      single_reads[i] = checked(single_reads[i]);
      if (single_reads[i] == 0) --live;
    }
  }
};

}  // namespace cermet::detail
