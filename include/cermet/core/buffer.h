#pragma once
// Buffer: bytes on a device, visible to the host.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cermet {

class Device;
namespace detail {
struct BufferImpl;
}

/// A small handle; copies name the same bytes. New buffers are zero, and `contents()` is one
/// address for the buffer's life (spec: core 2.1, 2.3). Host access is defined before the first
/// command buffer that uses the buffer is committed and after the last has completed.
class Buffer {
 public:
  Buffer() = default;
  [[nodiscard]] explicit operator bool() const { return impl_ != nullptr; }
  bool operator==(const Buffer&) const = default;

  /// On a device whose memory the host cannot reach (a GPU) this is a mirror in host memory: from
  /// the first call on, every command buffer that uses the bytes copies them in before its work and
  /// out after it. `copy_in` and `copy_out` cost one copy, now.
  [[nodiscard]] void* contents() const;
  /// Copies `length` bytes from or to `offset`. Throws InvalidArgument for bytes outside.
  void copy_in(const void* bytes, std::size_t length, std::size_t offset = 0) const;
  void copy_out(void* bytes, std::size_t length, std::size_t offset = 0) const;
  [[nodiscard]] std::size_t length() const;
  [[nodiscard]] std::size_t allocatedSize() const { return length(); }
  [[nodiscard]] Device device() const;
  [[nodiscard]] std::string label() const;
  void setLabel(std::string label);
  /// Tells the device that the host changed `[location, location + length)`. Nothing to do: see
  /// contents().
  void didModifyRange(std::size_t, std::size_t) const {}

  /// A copy of the contents, as an array of T.
  template <class T>
  [[nodiscard]] std::vector<T> values() const {
    std::vector<T> copied(length() / sizeof(T));
    copy_out(copied.data(), copied.size() * sizeof(T));
    return copied;
  }
  /// The contents as an array of T.
  template <class T>
  [[nodiscard]] std::span<T> as() const {
    return {static_cast<T*>(contents()), length() / sizeof(T)};
  }

 private:
  friend struct detail::BufferImpl;
  explicit Buffer(std::shared_ptr<detail::BufferImpl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<detail::BufferImpl> impl_;
};

}  // namespace cermet
