#pragma once
// The device under test.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "cermet/core/device.h"

namespace cermet::test {

/// The device that CERMET_TEST_DEVICE names, one for the whole program; by default a CPU device of
/// its own with `threads` threads. Without the device the program ends with 77: not run.
inline Device device_under_test(int threads) {
  static const char* const name = std::getenv("CERMET_TEST_DEVICE");
  if (name == nullptr || *name == '\0') return Device::cpu(threads);
  static const Device device = [] {
    try {
      return Device::named(name);
    } catch (const DeviceError& problem) {
      std::printf("not run: %s\n", problem.what());
      std::exit(77);
    }
  }();
  return device;
}

/// Asks for the device before the first test: a program without its device runs none.
class DeviceFirst final : public testing::Environment {
 public:
  void SetUp() override { static_cast<void>(device_under_test(1)); }
};
inline const testing::Environment* const device_first =
    testing::AddGlobalTestEnvironment(new DeviceFirst);

}  // namespace cermet::test
