#pragma once
// Where a state's memory comes from: a device, or the command buffer of a temporary.

#include "cermet/core/state.h"
#include "core/device_impl.h"

namespace cermet::detail {

struct StateOrigin {
  Device device;
  Recording* recording = nullptr;  // of a temporary state, else null

  static StateOrigin permanent(const Device& device) { return {device, nullptr}; }
  static StateOrigin temporary(const CommandBuffer& commandBuffer) {
    Recording& recording = commandBuffer.recording();
    return {recording.device(), &recording};
  }
  static StateOrigin of(const CommandBuffer& commandBuffer, bool is_temporary) {
    return is_temporary ? temporary(commandBuffer) : permanent(commandBuffer.device());
  }
  /// Memory of this origin: zero and long-lived, or undefined and from the command buffer's pool.
  [[nodiscard]] Buffer make_buffer(std::size_t bytes, bool zeroed = true) const;
};

}  // namespace cermet::detail
