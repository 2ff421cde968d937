#include "cermet/core/device.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "cermet/core/command_buffer.h"
#include "core/device_impl.h"

namespace cermet {

detail::DeviceImpl& detail::DeviceImpl::of(const Device& device) {
  if (!device) {
    fail({"Device", "", "device", "nil", "a device",
          "Pass CreateSystemDefaultDevice() or Device::cpu()."});
  }
  return *device.impl_;
}

Device Device::cpu(int threads) {
  auto impl = std::make_shared<detail::DeviceImpl>();
  impl->engine = make_cpu_engine(threads);
  impl->allocator = std::make_shared<detail::Allocator>(impl->engine);
  impl->worker = std::make_unique<detail::Worker>(impl->engine);
  return Device(std::move(impl));
}

Device Device::named(const std::string& name) {
  if (name == "cpu") return cpu();
  if (name.starts_with("cpu:")) {
    int threads = 0;
    const char* end = name.data() + name.size();
    const auto result = std::from_chars(name.data() + 4, end, threads);
    if (result.ec == std::errc{} && result.ptr == end && threads > 0) return cpu(threads);
  }
  fail({"Device", "", "name", "\"" + name + "\"", "cpu or cpu:N with N threads",
        "Change the option or the variable CERMET_DEVICE."});
}

std::string Device::name() const { return detail::DeviceImpl::of(*this).engine->name(); }
int Device::threads() const { return detail::DeviceImpl::of(*this).engine->threads(); }
Engine& Device::engine() const { return *detail::DeviceImpl::of(*this).engine; }

CommandQueue Device::makeCommandQueue() const {
  auto queue = std::make_shared<detail::QueueImpl>();
  static_cast<void>(detail::DeviceImpl::of(*this));
  queue->device = *this;
  return detail::QueueImpl::handle(std::move(queue));
}
CommandQueue Device::makeCommandQueue(std::size_t) const { return makeCommandQueue(); }

Buffer Device::makeBuffer(std::size_t length) const {
  auto buffer = std::make_shared<detail::BufferImpl>();
  buffer->device = *this;
  buffer->memory = detail::DeviceImpl::of(*this).allocator->allocate(length, true);
  buffer->length = length;
  return detail::BufferImpl::handle(std::move(buffer));
}
Buffer Device::makeBuffer(const void* bytes, std::size_t length) const {
  if (bytes == nullptr && length != 0)
    fail({"Device", "", "bytes", "null", std::to_string(length) + " bytes", ""});
  Buffer buffer = makeBuffer(length);
  if (length != 0) std::memcpy(buffer.contents(), bytes, length);
  return buffer;
}

Device::MemoryUse Device::memory_use() const {
  const auto& allocator = *detail::DeviceImpl::of(*this).allocator;
  return {allocator.in_use(), allocator.cached()};
}

Device CreateSystemDefaultDevice() {
  static const Device device = [] {
    const char* name = std::getenv("CERMET_DEVICE");
    return Device::named(name != nullptr && *name != '\0' ? name : "cpu");
  }();
  return device;
}
Device GetPreferredDevice(DeviceOptions) { return CreateSystemDefaultDevice(); }
bool SupportsDevice(const Device& device) { return static_cast<bool>(device); }

namespace {

detail::BufferImpl& checked(const std::shared_ptr<detail::BufferImpl>& buffer) {
  if (!buffer)
    fail({"Buffer", "", "the buffer", "nil", "", "Make one with device.makeBuffer(length)."});
  return *buffer;
}

}  // namespace

void* Buffer::contents() const { return checked(impl_).memory->data; }
std::size_t Buffer::length() const { return checked(impl_).length; }
Device Buffer::device() const { return checked(impl_).device; }
std::string Buffer::label() const { return checked(impl_).label; }
void Buffer::setLabel(std::string label) { checked(impl_).label = std::move(label); }

}  // namespace cermet
