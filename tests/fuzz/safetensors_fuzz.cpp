// Whatever the bytes are, parse_safetensors throws FileError or returns tensors that can be written
// and read again without a change.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "cermet/core/error.h"
#include "cermet/train/safetensors.h"

namespace {

bool same(const cermet::SafeTensors& first, const cermet::SafeTensors& second) {
  return first.metadata == second.metadata && first.tensors.size() == second.tensors.size() &&
         std::ranges::all_of(first.tensors, [&](const cermet::SafeTensor& tensor) {
           return second.at(tensor.name) == tensor;
         });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cermet::SafeTensors contents;
  try {
    contents = cermet::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
  } catch (const cermet::FileError&) {
    return 0;
  }
  const auto again = cermet::parse_safetensors(cermet::format_safetensors(contents), "again");
  if (!same(contents, again)) std::abort();
  return 0;
}
