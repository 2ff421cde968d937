#pragma once
// Kernels of any class from an archive (docs/guide/archives.md; spec: core 4.5).

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cermet/core/coder.h"
#include "cermet/core/kernel.h"

namespace cermet {

/// The classes that `decode` can make, as archives spell them.
[[nodiscard]] std::vector<std::string_view> archived_classes();

/// The kernel at the coder's place, whatever its class; nil device: the system default. `classes`:
/// what is allowed, empty for every class of the library. FileError for another class, one that is
/// unknown, or damage; nothing is made from a class that is not allowed.
[[nodiscard]] std::unique_ptr<Kernel> decode_kernel(Coder& coder, const Device& device = {},
                                                    std::span<const std::string_view> classes = {});

/// The same as a `T`, which may be a base class. FileError where it is none.
template <class T = Kernel>
[[nodiscard]] std::unique_ptr<T> decode(Coder& coder, const Device& device = {},
                                        std::span<const std::string_view> classes = {}) {
  std::unique_ptr<Kernel> kernel = decode_kernel(coder, device, classes);
  auto* wanted = dynamic_cast<T*>(kernel.get());
  if (wanted == nullptr) {
    coder.refuse("class", std::string(kernel->class_name()), "a class of the kind asked for",
                 "Ask for Kernel, or for a base of that class.");
  }
  static_cast<void>(kernel.release());
  return std::unique_ptr<T>(wanted);
}

}  // namespace cermet
