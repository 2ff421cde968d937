#pragma once
// The command `cermet check`.

#include <cstdint>
#include <string>
#include <vector>

struct CheckCommand {
  std::string kernel;                 // empty: every one
  std::vector<std::string> settings;  // name=value
  std::string images = "2x7x5x3";
  std::string format = "float32", device;
  std::uint64_t seed = 1;
  std::size_t elements = 64;
  double tolerance = 0;  // 0: that of the format
  bool all = false, list = false;
};

/// Prints what it found; 0: everything passed.
int check(const CheckCommand& command);
