#pragma once
// Single operators on a device, from and to tensors of the host.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "catalog/operators.h"
#include "cermet/core/engine.h"
#include "core/device_impl.h"

namespace cermet::test {

/// A tensor of float32, or bytes.
struct Tensor {
  TensorDesc desc;
  std::vector<float> values;
  std::vector<std::uint8_t> bytes;

  explicit Tensor(const TensorDesc& of) : desc(of) {
    const auto count = static_cast<std::size_t>(of.count());
    if (of.type == ElementType::uint8) {
      bytes.assign(count, 77);
    } else {
      values.assign(count, 77.0F);
    }
  }
  [[nodiscard]] void* data() {
    return values.empty() ? static_cast<void*>(bytes.data()) : values.data();
  }
  [[nodiscard]] std::size_t size() const { return bytes.size() + values.size() * sizeof(float); }
};

class Machine {
 public:
  explicit Machine(const Device& device) : device_(device), queue_(device.makeCommandQueue()) {}

  [[nodiscard]] bool is_gpu() const { return device_.name().starts_with("CUDA"); }

  /// Null for a fused operator that the backend declines.
  template <class Op>
  [[nodiscard]] StepPtr prepare(const Op& op, const std::vector<Tensor*>& tensors) {
    std::vector<TensorDesc> descs;
    for (const Tensor* tensor : tensors)
      descs.push_back(tensor != nullptr ? tensor->desc : TensorDesc{});
    return device_.engine().prepare(view_of(op), descs);
  }
  template <class Op>
  void run(const Op& op, const std::vector<Tensor*>& tensors) {
    const StepPtr step = prepare(op, tensors);
    ASSERT_TRUE(step) << Op::name;
    run_step(step, tensors);
  }
  void run_step(const StepPtr& step, const std::vector<Tensor*>& tensors) {
    CommandBuffer commands = queue_.makeCommandBuffer();
    std::vector<Buffer> buffers(tensors.size());
    Slots slots{};
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i] == nullptr) continue;
      buffers[i] = device_.makeBuffer(tensors[i]->data(), tensors[i]->size());
      const auto& memory = detail::BufferImpl::of(buffers[i])->memory;
      commands.recording().retain(memory);
      slots[i] = memory->data;
    }
    commands.recording().add(step, slots, nullptr, 0);
    commands.commit();
    commands.waitUntilCompleted();
    ASSERT_EQ(commands.status(), CommandBufferStatus::Completed) << step->implementation;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i] != nullptr) buffers[i].copy_out(tensors[i]->data(), tensors[i]->size());
    }
  }

 private:
  Device device_;
  CommandQueue queue_;
};

}  // namespace cermet::test
