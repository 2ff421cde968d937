#include "core/memory.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "cermet/core/error.h"
#include "core/capture.h"

namespace cermet::detail {

Memory::~Memory() {
  if (!allocator) return;
  if (mirror_ != nullptr) allocator->mirrors().drop(*this);
  allocator->give_back(data, bytes);
}

std::byte* Memory::on_host() {
  return allocator->engine().host_can_access() ? data : allocator->mirrors().of(*this);
}
void Memory::copy_in(const void* from, std::size_t length, std::size_t offset) {
  if (allocator->engine().host_can_access()) {
    std::memcpy(data + offset, from, length);
  } else {
    allocator->mirrors().copy_in(*this, from, length, offset);
  }
}
void Memory::copy_out(void* to, std::size_t length, std::size_t offset) const {
  if (allocator->engine().host_can_access()) {
    std::memcpy(to, data + offset, length);
  } else {
    allocator->mirrors().copy_out(*this, to, length, offset);
  }
}

HostMirrors::~HostMirrors() {
  for (auto& [size, blocks] : free_) {
    for (std::byte* block : blocks) engine_.release_host(block, size);
  }
}

std::byte* HostMirrors::of(Memory& memory) {
  const std::scoped_lock lock(mutex_);
  if (memory.mirror_ != nullptr) return memory.mirror_;
  std::byte* mirror = nullptr;
  auto& kept = free_[memory.bytes];
  if (kept.empty()) {
    mirror = static_cast<std::byte*>(engine_.allocate_host(memory.bytes));
  } else {
    mirror = kept.back();
    kept.pop_back();
  }
  // Listed first: work that is enqueued from now on copies out, and the work before is waited for.
  memory.mirror_ = mirror;
  mirrored_.emplace(memory.data, &memory);
  count_.store(mirrored_.size(), std::memory_order_release);
  engine_.finish();
  engine_.copy_to_host(mirror, memory.data, memory.bytes);
  return mirror;
}

void HostMirrors::copy_in(Memory& memory, const void* bytes, std::size_t length,
                          std::size_t offset) {
  {
    const std::scoped_lock lock(mutex_);
    if (memory.mirror_ != nullptr) std::memcpy(memory.mirror_ + offset, bytes, length);
  }
  engine_.copy_to_device(memory.data + offset, bytes, length);
}

void HostMirrors::copy_out(const Memory& memory, void* bytes, std::size_t length,
                           std::size_t offset) {
  {
    const std::scoped_lock lock(mutex_);
    if (memory.mirror_ != nullptr) {  // what the host wrote may not be on the device yet
      std::memcpy(bytes, memory.mirror_ + offset, length);
      return;
    }
  }
  engine_.copy_to_host(bytes, memory.data + offset, length);
}

void HostMirrors::drop(Memory& memory) noexcept {
  const std::scoped_lock lock(mutex_);
  mirrored_.erase(memory.data);
  count_.store(mirrored_.size(), std::memory_order_release);
  try {
    free_[memory.bytes].push_back(memory.mirror_);
  } catch (const std::bad_alloc&) {  // no room to remember it
    engine_.release_host(memory.mirror_, memory.bytes);
  }
  memory.mirror_ = nullptr;
}

void HostMirrors::find(const void* address, std::vector<const Memory*>& found) const {
  const std::scoped_lock lock(mutex_);
  const auto* byte = static_cast<const std::byte*>(address);
  const auto after = mirrored_.upper_bound(byte);
  if (after == mirrored_.begin()) return;
  const Memory* memory = std::prev(after)->second;
  if (byte >= memory->data + memory->bytes) return;
  if (std::find(found.begin(), found.end(), memory) == found.end()) found.push_back(memory);
}

void HostMirrors::to_device(const std::vector<const Memory*>& blocks, Stream& stream) const {
  for (const Memory* block : blocks) stream.copy(block->data, block->mirror_, block->bytes);
}
void HostMirrors::to_host(const std::vector<const Memory*>& blocks, Stream& stream) const {
  for (const Memory* block : blocks) stream.copy(block->mirror_, block->data, block->bytes);
}
void HostMirrors::to_host(const std::vector<const Memory*>& blocks, const RunMemory::Range& part,
                          Stream& stream) const {
  for (const Memory* block : blocks) {
    const auto first = reinterpret_cast<std::uintptr_t>(block->data);
    const std::uintptr_t begin = std::max(part.begin, first);
    const std::uintptr_t end = std::min(part.end, first + block->bytes);
    if (begin >= end) continue;
    const std::size_t offset = begin - first;
    stream.copy(block->mirror_ + offset, block->data + offset, end - begin);
  }
}

std::size_t Capture::block_of(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  const auto after = std::upper_bound(
      blocks_.begin(), blocks_.end(), byte,
      [](const std::byte* at, const Block& block) { return std::less<>{}(at, block.first); });
  if (after == blocks_.begin()) return blocks_.size();
  const Block& block = *std::prev(after);
  return byte <= block.first + block.bytes ? static_cast<std::size_t>(&block - blocks_.data())
                                           : blocks_.size();
}

Allocator::~Allocator() { release_cache_locked(); }

std::size_t Allocator::round_up(std::size_t bytes) {
  if (bytes <= 1024) return bytes == 0 ? 64 : (bytes + 63) / 64 * 64;
  const std::size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

MemoryPtr Allocator::allocate(std::size_t bytes, bool zeroed) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 4) {  // rounding up would wrap round
    throw DeviceError(
        CommandBufferError::OutOfMemory,
        "The device has no " + std::to_string(bytes) + " bytes: more than any machine holds.");
  }
  const std::size_t size = round_up(bytes);
  std::byte* block = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (const auto found = free_.find(size); found != free_.end() && !found->second.empty()) {
      block = found->second.back();
      found->second.pop_back();
      cached_ -= size;
      in_use_ += size;
    }
  }
  if (block == nullptr) {
    try {
      block = static_cast<std::byte*>(engine_->allocate(size));
    } catch (const DeviceError&) {  // what is cached may be what is missing
      {
        const std::scoped_lock lock(mutex_);
        release_cache_locked();
      }
      block = static_cast<std::byte*>(engine_->allocate(size));
    }
    const std::scoped_lock lock(mutex_);
    in_use_ += size;
  }
  if (zeroed) engine_->fill_zero(block, size);
  return std::make_shared<Memory>(shared_from_this(), block, size);
}

void Allocator::give_back(std::byte* block, std::size_t bytes) noexcept {
  const std::scoped_lock lock(mutex_);
  in_use_ -= bytes;
  try {
    if (cached_ + bytes <= cache_limit) {
      free_[bytes].push_back(block);
      cached_ += bytes;
      return;
    }
  } catch (const std::bad_alloc&) {  // no room to remember it
  }
  engine_->release(block, bytes);
}

void Allocator::release_cache_locked() noexcept {
  for (auto& [size, blocks] : free_) {
    for (std::byte* block : blocks) engine_->release(block, size);
    blocks.clear();
  }
  cached_ = 0;
}

std::size_t Allocator::in_use() const {
  const std::scoped_lock lock(mutex_);
  return in_use_;
}
std::size_t Allocator::cached() const {
  const std::scoped_lock lock(mutex_);
  return cached_;
}

MemoryPtr BlockList::take(std::size_t bytes) {
  std::size_t best = blocks_.size();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::size_t size = blocks_[i]->bytes;
    if (size < bytes || size > 2 * Allocator::round_up(bytes)) continue;
    // The lowest address of equals: the same requests get the same memory whatever the order in
    // which it came back, and lists of steps can be replayed.
    if (best == blocks_.size() || size < blocks_[best]->bytes ||
        (size == blocks_[best]->bytes && std::less<>{}(blocks_[i]->data, blocks_[best]->data)))
      best = i;
  }
  if (best == blocks_.size()) return nullptr;
  MemoryPtr block = std::move(blocks_[best]);
  blocks_[best] = std::move(blocks_.back());
  blocks_.pop_back();
  bytes_ -= block->bytes;
  return block;
}

void BlockList::move_to(BlockList& other) {
  for (MemoryPtr& block : blocks_) other.put(std::move(block));
  clear();
}

void BlockList::move_provided_to(BlockList& other) {
  for (std::size_t i = 0; i < blocks_.size();) {
    if (!blocks_[i]->provided) {
      ++i;
      continue;
    }
    bytes_ -= blocks_[i]->bytes;
    other.put(std::move(blocks_[i]));
    blocks_[i] = std::move(blocks_.back());
    blocks_.pop_back();
  }
}

}  // namespace cermet::detail
