#pragma once
// The caching allocator of a device and the blocks it hands out.

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cermet/core/engine.h"
#include "core/run_memory.h"

namespace cermet::detail {

class Allocator;
class HostMirrors;

/// A block of device memory; goes back to its allocator's cache when the last owner lets go.
/// Without an allocator it is an address that stands for memory (capture.h).
struct Memory {
  std::shared_ptr<Allocator> allocator;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  bool provided = false;  // by the heap provider of a command buffer, for its work alone

  Memory(std::shared_ptr<Allocator> from, std::byte* block, std::size_t size)
      : allocator(std::move(from)), data(block), bytes(size) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  /// The address for the host: `data`, or that of a mirror which is made and filled at the first
  /// call and then follows the device memory (HostMirrors).
  [[nodiscard]] std::byte* on_host();
  void copy_in(const void* bytes, std::size_t length, std::size_t offset);
  void copy_out(void* bytes, std::size_t length, std::size_t offset) const;

 private:
  friend class HostMirrors;
  std::byte* mirror_ = nullptr;  // of the allocator's HostMirrors, which guards it
};
using MemoryPtr = std::shared_ptr<Memory>;

/// Host copies of device memory that the host cannot reach, for buffers whose `contents()` were
/// asked for. What a recording touches is copied to the device before it and back after it, in the
/// order of the stream.
class HostMirrors {
 public:
  explicit HostMirrors(Engine& engine) : engine_(engine) {}
  ~HostMirrors();
  HostMirrors(const HostMirrors&) = delete;
  HostMirrors& operator=(const HostMirrors&) = delete;

  [[nodiscard]] std::byte* of(Memory& memory);
  void copy_in(Memory& memory, const void* bytes, std::size_t length, std::size_t offset);
  void copy_out(const Memory& memory, void* bytes, std::size_t length, std::size_t offset);
  void drop(Memory& memory) noexcept;

  [[nodiscard]] bool empty() const { return count_.load(std::memory_order_acquire) == 0; }
  /// Adds the block that `address` lies in, if it has a mirror and is not listed yet.
  void find(const void* address, std::vector<const Memory*>& found) const;
  void to_device(const std::vector<const Memory*>& blocks, Stream& stream) const;
  void to_host(const std::vector<const Memory*>& blocks, Stream& stream) const;
  /// The bytes of `part` that lie in them.
  void to_host(const std::vector<const Memory*>& blocks, const RunMemory::Range& part,
               Stream& stream) const;

 private:
  Engine& engine_;
  mutable std::mutex mutex_;
  std::map<const std::byte*, Memory*> mirrored_;  // by address on the device
  std::map<std::size_t, std::vector<std::byte*>> free_;
  std::atomic<std::size_t> count_{0};
};

/// Rounds sizes up to a few classes and keeps what is given back, up to `cache_limit` bytes.
class Allocator : public std::enable_shared_from_this<Allocator> {
 public:
  explicit Allocator(std::shared_ptr<Engine> engine)
      : engine_(std::move(engine)), mirrors_(*engine_) {}
  [[nodiscard]] Engine& engine() const { return *engine_; }
  [[nodiscard]] HostMirrors& mirrors() { return mirrors_; }
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  [[nodiscard]] MemoryPtr allocate(std::size_t bytes, bool zeroed);
  void give_back(std::byte* block, std::size_t bytes) noexcept;
  [[nodiscard]] std::size_t in_use() const;
  [[nodiscard]] std::size_t cached() const;

  /// Size class of a request: 64-byte steps when small, eighths of a power of two above.
  [[nodiscard]] static std::size_t round_up(std::size_t bytes);

 private:
  static constexpr std::size_t cache_limit = std::size_t{512} << 20;
  void release_cache_locked() noexcept;

  std::shared_ptr<Engine> engine_;
  HostMirrors mirrors_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<std::byte*>> free_;
  std::size_t in_use_ = 0, cached_ = 0;
};

/// Free temporary blocks, smallest sufficient first; not locked.
class BlockList {
 public:
  void put(MemoryPtr block) {
    bytes_ += block->bytes;
    blocks_.push_back(std::move(block));
  }
  /// A block of at least `bytes` and at most twice that, else null.
  [[nodiscard]] MemoryPtr take(std::size_t bytes);
  void move_to(BlockList& other);
  /// Those that a heap provider made.
  void move_provided_to(BlockList& other);
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  void clear() { blocks_.clear(), bytes_ = 0; }

 private:
  std::vector<MemoryPtr> blocks_;
  std::size_t bytes_ = 0;
};

}  // namespace cermet::detail
