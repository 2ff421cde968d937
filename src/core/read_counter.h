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

  /// Throws if `change` would leave a count below 0.
  void check(std::uint32_t first, std::uint32_t n, std::ptrdiff_t amount, const char* what,
             const std::string& label) const {
    for (std::uint32_t i = first; i < first + n; ++i) {
      const std::ptrdiff_t left = reads_of(i);
      if (left != 0 && left + amount < 0) {
        fail({what, label, "readCount",
              std::to_string(left) + ", to be changed by " + std::to_string(amount),
              "a count that stays at 0 or more",
              "Raise readCount once for every encode that reads the object."});
      }
      if (single_reads.empty()) return;  // all are equal
    }
  }

  /// Adds to the counts of `[first, first + n)`, skipping what is at 0; all or none.
  void change(std::uint32_t first, std::uint32_t n, std::ptrdiff_t amount, const char* what,
              const std::string& label) {
    check(first, n, amount, what, label);
    if (single_reads.empty() && first == 0 && n == count) {
      if (reads == 0) return;
      reads += amount;
      if (reads == 0) live = 0;
      return;
    }
    if (single_reads.empty()) single_reads.assign(count, reads);
    for (std::uint32_t i = first; i < first + n; ++i) {
      if (single_reads[i] == 0) continue;
      single_reads[i] += amount;
      if (single_reads[i] == 0) --live;
    }
  }
};

}  // namespace cermet::detail
