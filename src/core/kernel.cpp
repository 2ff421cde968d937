#include "cermet/core/kernel.h"

#include <cstdlib>

#include "cermet/core/coder.h"
#include "core/device_impl.h"

namespace cermet {

Kernel::Kernel(const Device& device) : device_(device) {
  static_cast<void>(detail::DeviceImpl::of(device));
  if (std::getenv("MPS_LOG_INFO") != nullptr) options_ = KernelOptions::Verbose;
}

Kernel::Kernel(Coder&, const Device& device) : Kernel(device) {}

void Kernel::encodeWithCoder(Coder& coder) const {
  Coder place = coder;
  place.begin(class_name(), label_, device_);
  const_cast<Kernel&>(*this).code(place);  // which writes, and so changes nothing
}

void Kernel::read(Coder& coder) {
  Coder place = coder;
  place.begin(class_name(), "", device_);
  code(place);
}

void Kernel::code(Coder& coder) {
  coder.flags("options", options_);
  coder("label", label_);
}

void Kernel::move_to(const Device& device) { device_ = device; }

void Kernel::finish_copy(const Kernel& original, const Device& device) {
  if (class_name() != original.class_name()) {
    original.complain("copy", "called through the base class " + std::string(class_name()),
                      "a call on the class itself, or on CNNKernel, CNNBinaryKernel or Kernel", "");
  }
  if (device) static_cast<void>(detail::DeviceImpl::of(device));
  move_to(device ? device : original.device());
}

void Kernel::complain(std::string_view argument, std::string got, std::string needed,
                      std::string remedy) const {
  fail({class_name(), label_, argument, std::move(got), std::move(needed), std::move(remedy)});
}

}  // namespace cermet
