#pragma once
// Small objects that come and go at every step: their memory is kept for the next one.

#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace cermet::detail {

/// An allocator for `std::allocate_shared` and shared pointers with a deleter; safe from any
/// thread.
template <class T>
struct Pooled {
  using value_type = T;

  Pooled() = default;
  template <class U>
  Pooled(const Pooled<U>&) {}  // NOLINT(google-explicit-constructor): allocators are rebound

  [[nodiscard]] T* allocate(std::size_t count) {
    if (count == 1) {
      Kept& kept = Kept::of_this_type();
      const std::scoped_lock lock(kept.mutex);
      if (!kept.blocks.empty()) {
        void* block = kept.blocks.back();
        kept.blocks.pop_back();
        return static_cast<T*>(block);
      }
    }
    return static_cast<T*>(::operator new(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t count) noexcept {
    if (count == 1) {
      Kept& kept = Kept::of_this_type();
      const std::scoped_lock lock(kept.mutex);
      if (kept.blocks.size() < most) {
        kept.blocks.push_back(block);
        return;
      }
    }
    ::operator delete(block);
  }
  template <class U>
  bool operator==(const Pooled<U>&) const {
    return true;
  }

 private:
  static constexpr std::size_t most = 32;
  struct Kept {
    std::mutex mutex;
    std::vector<void*> blocks;
    Kept() { blocks.reserve(most); }
    /// Never destroyed: handlers of a detached worker may outlive statics.
    static Kept& of_this_type() {
      static auto* const kept = new Kept;
      return *kept;
    }
  };
};

}  // namespace cermet::detail
