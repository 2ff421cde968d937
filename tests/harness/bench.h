#pragma once
// The devices that rows run on.

#include <array>
#include <vector>

#include "cermet/core/command_buffer.h"
#include "harness/device.h"

namespace cermet::test {

using Values = std::vector<float>;

/// A device and its queue; the same two for the whole program.
struct Bench {
  Device device;
  CommandQueue queue;
  explicit Bench(int threads)
      : device(device_under_test(threads)), queue(device.makeCommandQueue()) {}
  static const Bench& with(int threads) {
    static const std::array<Bench, 2> benches{Bench(1), Bench(2)};
    return benches.at(static_cast<std::size_t>(threads - 1));
  }
};

/// Runs what was encoded; throws what went wrong.
inline void finish(CommandBuffer& buffer) {
  buffer.commit();
  buffer.waitUntilCompleted();
  if (const auto error = buffer.error()) throw *error;
}

}  // namespace cermet::test
