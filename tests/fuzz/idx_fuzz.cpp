// Whatever the bytes are, parse_idx returns an array that fits its sizes or throws FileError.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cermet/core/error.h"
#include "cermet/train/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const cermet::IdxArray array = cermet::parse_idx({data, size}, "fuzz");
    std::uint64_t count = 1;
    for (const std::uint32_t dimension : array.dimensions) {
      count = dimension == 0 || count == 0 ? 0 : count * dimension;
    }
    if (array.dimensions.empty() || array.values.size() != count) std::abort();
  } catch (const cermet::FileError&) {
  }
  return 0;
}
