#pragma once
// What normalising kernels share: arrays with an entry for each feature channel.

#include <initializer_list>
#include <span>
#include <utility>

#include "cermet/cnn/channel_arrays.h"
#include "cnn/encoding.h"

namespace cermet::detail {

[[nodiscard]] inline TensorDesc channel_desc(std::size_t channels) {
  return flat_desc(static_cast<std::int64_t>(channels));
}
/// Records a copy; nothing where both are one buffer.
void copy_channels(Recording& recording, const Buffer& from, const Buffer& to,
                   std::size_t channels);
/// A data source's array on a device; null: `absent` in every place.
[[nodiscard]] Buffer channel_buffer(const Device& device, const float* values, float absent,
                                    std::size_t channels);
/// The arrays again on another device.
void move_channels(std::span<Buffer> arrays, const Device& device);
void code_channels(Coder& coder, const Device& device, std::string_view name, Buffer& array,
                   std::size_t channels);

/// Throws unless the image has as many feature channels as the layer, or enough from an offset on.
void check_channels(const Kernel& kernel, const char* argument, const Image& image,
                    std::size_t offset, std::size_t most, std::size_t channels);
/// Where a gradient kernel reads a channel range of its source, ends it after `channels`.
void select_channels(Kernel& kernel, std::size_t channels);
/// Throws where one of the buffers is too short.
void check_channel_buffers(const Kernel& kernel, const char* argument,
                           std::initializer_list<Buffer> buffers, std::size_t channels);

/// A device reload: writes `from` into the arrays from `first` on, in command buffer order. A copy
/// of the kernel that shares them keeps what it has.
template <std::size_t N>
void reload_channels(Recording& recording, ChannelArrays<N>& arrays, std::size_t first,
                     std::initializer_list<Buffer> from, std::size_t channels) {
  if (arrays.is_shared()) {
    typename ChannelArrays<N>::Values own = arrays.values();
    for (Buffer& buffer : own) {
      const Buffer before = buffer;
      buffer = before.device().makeBuffer(before.length());
      copy_channels(recording, before, buffer, channels);
    }
    arrays.assign(std::move(own));
  }
  for (const Buffer& buffer : from) copy_channels(recording, buffer, arrays[first++], channels);
}

}  // namespace cermet::detail
