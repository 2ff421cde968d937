#pragma once
// What a backend exports that lives in a library of its own: one constant, `cermet_backend`.

#include <memory>
#include <vector>

#include "cermet/core/device.h"
#include "cermet/core/engine.h"

namespace cermet {

struct BackendLibrary {
  /// Must equal that of the library which opens it.
  const char* (*version)();
  /// Appends the devices, or one entry that says why there is none.
  void (*list)(std::vector<DeviceSummary>& found);
  /// Throws DeviceError.
  std::shared_ptr<Engine> (*make)(int index);
};

}  // namespace cermet
