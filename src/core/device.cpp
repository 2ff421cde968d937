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

std::shared_ptr<detail::DeviceImpl> detail::DeviceImpl::make(std::shared_ptr<Engine> engine) {
  auto impl = std::make_shared<DeviceImpl>();
  impl->engine = std::move(engine);
  impl->allocator = std::make_shared<Allocator>(impl->engine);
  impl->workers = std::make_unique<Workers>(impl->engine);
  return impl;
}

Device Device::cpu(int threads) {
  return Device(detail::DeviceImpl::make(make_cpu_engine(threads)));
}
Device Device::cuda(int index) {
  if (index < 0)
    fail({"Device", "", "index", std::to_string(index), "0 or more", "GPUs are counted from 0."});
  return Device(detail::DeviceImpl::make(make_cuda_engine(index)));
}

Device Device::named(const std::string& name) {
  const auto colon = name.find(':');
  const std::string kind = name.substr(0, colon);
  int number = 0;
  bool valid = kind == "cpu" || kind == "cuda";
  if (colon != std::string::npos) {
    const char* end = name.data() + name.size();
    const auto result = std::from_chars(name.data() + colon + 1, end, number);
    valid =
        valid && result.ec == std::errc{} && result.ptr == end && number >= (kind == "cpu" ? 1 : 0);
  }
  if (valid) return kind == "cpu" ? cpu(number) : cuda(number);
  fail({"Device", "", "name", "\"" + name + "\"", "cpu, cpu:N with N threads, cuda or cuda:N",
        "Change the option or the variable CERMET_DEVICE."});
}

std::string Device::name() const { return detail::DeviceImpl::of(*this).engine->name(); }
int Device::threads() const { return detail::DeviceImpl::of(*this).engine->threads(); }
Engine& Device::engine() const { return *detail::DeviceImpl::of(*this).engine; }

CommandQueue Device::makeCommandQueue() const {
  auto queue = std::make_shared<detail::QueueImpl>();
  static_cast<void>(detail::DeviceImpl::of(*this));
  queue->device = *this;
  return detail::QueueImpl::handle(queue);
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
  if (length != 0) buffer.copy_in(bytes, length);
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

void check_part(const detail::BufferImpl& buffer, const void* bytes, std::size_t length,
                std::size_t offset) {
  if (length > buffer.length || offset > buffer.length - length) {
    fail({"Buffer", buffer.label, "length",
          std::to_string(length) + " bytes at " + std::to_string(offset),
          "bytes inside the buffer's " + std::to_string(buffer.length), ""});
  }
  if (bytes == nullptr && length != 0)
    fail({"Buffer", buffer.label, "bytes", "null", "memory of the host", ""});
}

}  // namespace

Buffer detail::BufferImpl::part(const Buffer& whole, std::size_t offset, std::size_t length) {
  auto impl = std::make_shared<BufferImpl>(*of(whole));
  impl->offset += offset;
  impl->length = length;
  impl->whole = of(whole);
  return handle(std::move(impl));
}
void detail::BufferImpl::recycle(const Buffer& last, Recording& recording) {
  const auto& impl = of(last);
  if (impl.use_count() != 1 || (impl->whole && impl->whole.use_count() != 1)) return;
  recording.recycle(impl->memory);
}

void* Buffer::contents() const {
  const auto& impl = checked(impl_);
  return impl.memory->on_host() + impl.offset;
}
void Buffer::copy_in(const void* bytes, std::size_t length, std::size_t offset) const {
  check_part(checked(impl_), bytes, length, offset);
  if (length != 0) impl_->memory->copy_in(bytes, length, impl_->offset + offset);
}
void Buffer::copy_out(void* bytes, std::size_t length, std::size_t offset) const {
  check_part(checked(impl_), bytes, length, offset);
  if (length != 0) impl_->memory->copy_out(bytes, length, impl_->offset + offset);
}
std::size_t Buffer::length() const { return checked(impl_).length; }
Device Buffer::device() const { return checked(impl_).device; }
std::string Buffer::label() const { return checked(impl_).label; }
void Buffer::setLabel(std::string label) { checked(impl_).label = std::move(label); }

}  // namespace cermet
