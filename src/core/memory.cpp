#include "core/memory.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <string>

#include "cermet/core/error.h"
#include "core/capture.h"

namespace cermet::detail {

Memory::~Memory() {
  if (allocator) allocator->give_back(data, bytes);
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
    if (best == blocks_.size() || size < blocks_[best]->bytes) best = i;
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
