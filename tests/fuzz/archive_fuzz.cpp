// Whatever the bytes are, reading an archive throws a typed error or makes a kernel that can be
// archived and read again without a change.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "cermet/nn/archive.h"

namespace {

std::vector<std::byte> archived(const cermet::Kernel& kernel) {
  cermet::Coder coder;
  kernel.encodeWithCoder(coder);
  return coder.bytes();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const cermet::Device device = cermet::Device::cpu(1);
  std::unique_ptr<cermet::Kernel> kernel;
  try {
    cermet::Coder coder(std::as_bytes(std::span(data, size)), "fuzz");
    kernel = cermet::decode(coder, device);
  } catch (const cermet::Error&) {
    return 0;
  }
  const auto bytes = archived(*kernel);
  cermet::Coder again(bytes, "again");
  if (archived(*cermet::decode(again, device)) != bytes) std::abort();
  return 0;
}
