#include "cermet/core/kernel.h"

#include <cstdlib>

#include "core/device_impl.h"

namespace cermet {

Kernel::Kernel(const Device& device) : device_(device) {
  static_cast<void>(detail::DeviceImpl::of(device));
  if (std::getenv("MPS_LOG_INFO") != nullptr) options_ = KernelOptions::Verbose;
}

void Kernel::complain(std::string_view argument, std::string got, std::string needed,
                      std::string remedy) const {
  fail({class_name(), label_, argument, std::move(got), std::move(needed), std::move(remedy)});
}

}  // namespace cermet
