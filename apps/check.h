#pragma once
// The command `cermet check`.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct CheckCommand {
  std::string kernel;                         // empty: every one
  std::vector<std::string> settings;          // name=value
  std::optional<std::string> images, format;  // absent: 2x7x5x3, float32
  std::string device;
  std::uint64_t seed = 1;
  std::optional<std::size_t> elements;  // absent: 64, in a sweep 16
  std::optional<double> tolerance;      // absent: that of the format
  bool all = false, list = false;
};

/// Prints what it found; 0: everything passed.
int check(const CheckCommand& command);
