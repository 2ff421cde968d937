#pragma once
// An engine that stands before that of a device like the one under test: tests override what they
// want to see.

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "cermet/core/device.h"
#include "cermet/core/engine.h"

namespace cermet::test {

class WrappedEngine : public Engine {
 public:
  WrappedEngine() = default;
  explicit WrappedEngine(Device device) : device_(std::move(device)) {}

  [[nodiscard]] StepPtr prepare(const OpView& op, Descs descs) override {
    return inner().prepare(op, descs);
  }
  [[nodiscard]] void* allocate(std::size_t bytes) override { return inner().allocate(bytes); }
  void release(void* memory, std::size_t bytes) noexcept override {
    inner().release(memory, bytes);
  }
  void fill_zero(void* memory, std::size_t bytes) override { inner().fill_zero(memory, bytes); }
  [[nodiscard]] std::size_t memory_worth_sharing() const override {
    return inner().memory_worth_sharing();
  }
  [[nodiscard]] bool host_can_access() const override { return inner().host_can_access(); }
  void finish() override { inner().finish(); }
  void copy_to_device(void* to, const void* from, std::size_t bytes) override {
    inner().copy_to_device(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes) override {
    inner().copy_to_host(to, from, bytes);
  }
  [[nodiscard]] void* allocate_host(std::size_t bytes) override {
    return inner().allocate_host(bytes);
  }
  void release_host(void* memory, std::size_t bytes) noexcept override {
    inner().release_host(memory, bytes);
  }
  [[nodiscard]] std::unique_ptr<Stream> make_stream() override { return inner().make_stream(); }
  [[nodiscard]] std::string name() const override { return inner().name(); }
  [[nodiscard]] int threads() const override { return inner().threads(); }

 private:
  [[nodiscard]] Engine& inner() const { return device_.engine(); }
  // Not the device of the other tests: one stream at a time runs the steps of an engine.
  Device device_ = [] {
    const char* const name = std::getenv("CERMET_TEST_DEVICE");
    return name != nullptr && *name != '\0' ? Device::named(name) : Device::cpu(1);
  }();
};

}  // namespace cermet::test
