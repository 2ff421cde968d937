#pragma once
// States that hold a part each of one tensor: steps work on all of them at once.

#include "cnn/encoding.h"

namespace cermet::detail {

/// Whether `next` begins where `buffer` ends.
[[nodiscard]] inline bool is_followed_by(const Buffer& buffer, const Buffer& next) {
  const BufferImpl &a = *BufferImpl::of(buffer), &b = *BufferImpl::of(next);
  return a.memory == b.memory && a.offset + a.length == b.offset;
}

/// Calls use(first, count) for each run of states whose buffers follow one another in memory: once
/// for states that were made together. `buffer_of(i)`: the buffer of the i-th of `count` states.
template <class BufferOf, class Use>
void for_each_run(std::size_t count, BufferOf&& buffer_of, Use&& use) {
  for (std::size_t first = 0, last = 0; first < count; first = last) {
    for (last = first + 1; last < count && is_followed_by(buffer_of(last - 1), buffer_of(last));)
      ++last;
    use(static_cast<std::int32_t>(first), static_cast<std::int32_t>(last - first));
  }
}

/// The `index`-th of equal parts of a buffer of `bytes` each.
[[nodiscard]] inline Buffer part_of(const Buffer& whole, std::size_t index, std::size_t bytes) {
  return BufferImpl::part(whole, index * bytes, bytes);
}

}  // namespace cermet::detail
