// A device whose memory the host cannot reach and whose work ends after it was enqueued, without a
// GPU: the CPU's steps behind an engine that says so (ADR 0010).

#include <gtest/gtest.h>

#include <future>

#include "cermet/cnn/neuron.h"
#include "core/device_impl.h"
#include "help.h"

namespace cermet::test {
namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};

struct DiscreteStream final : Stream {
  std::unique_ptr<Stream> inner;
  std::uint64_t marks = 0;
  std::uint64_t fails = never;  // the mark whose work fails

  [[nodiscard]] std::uint64_t mark() override { return marks++; }
  void wait(std::uint64_t at) override {
    if (at == fails) throw DeviceError(CommandBufferError::PageFault, "the step failed");
  }
};

class DiscreteEngine final : public Engine {
 public:
  [[nodiscard]] StepPtr prepare(const OpView& op, Descs descs) override {
    return inner_->prepare(op, descs);
  }
  [[nodiscard]] void* allocate(std::size_t bytes) override { return inner_->allocate(bytes); }
  void release(void* memory, std::size_t bytes) noexcept override {
    inner_->release(memory, bytes);
  }
  void fill_zero(void* memory, std::size_t bytes) override { inner_->fill_zero(memory, bytes); }
  [[nodiscard]] bool host_can_access() const override { return false; }
  [[nodiscard]] std::unique_ptr<Stream> make_stream() override {
    auto stream = std::make_unique<DiscreteStream>();
    stream->inner = inner_->make_stream();
    stream->fails = fails;
    return stream;
  }
  [[nodiscard]] std::string name() const override { return "discrete"; }
  [[nodiscard]] int threads() const override { return 1; }

  std::uint64_t fails = never;

 private:
  std::shared_ptr<Engine> inner_ = make_cpu_engine(1);
};

Device discrete(std::uint64_t fails = never) {
  auto engine = std::make_shared<DiscreteEngine>();
  engine->fails = fails;
  return detail::DeviceImpl::handle(detail::DeviceImpl::make(std::move(engine)));
}

/// Adds 1 to the float in slot 0, and tells `ran`.
struct Increment final : Step {
  struct Bound final : BoundStep {
    explicit Bound(const Increment* what) : step(what) {}
    void run(Stream&) noexcept override {
      *address += 1;
      if (step->ran) step->ran();
    }
    void rebind(const Slots& slots, void*, const void*) override {
      address = static_cast<float*>(slots[0]);
    }
    const Increment* step;
    float* address = nullptr;
  };
  Increment() : Step() { slots.push_back(flat_desc(1)); }
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
    return std::make_unique<Bound>(this);
  }
  std::function<void()> ran;
};

void encode(const CommandBuffer& commands, const StepPtr& step, const Buffer& buffer) {
  const auto& memory = detail::BufferImpl::of(buffer)->memory;
  commands.recording().retain(memory);
  commands.recording().add(step, {memory->data}, nullptr, 0);
}
void run(const CommandQueue& queue, const StepPtr& step, const Buffer& buffer) {
  CommandBuffer commands = queue.makeCommandBuffer();
  encode(commands, step, buffer);
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(commands.status(), CommandBufferStatus::Completed);
}

TEST(DiscreteDevice, ContentsFollowTheDeviceAndTheHost) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const auto step = std::make_shared<Increment>();
  const Buffer buffer = device.makeBuffer(64);
  run(queue, step, buffer);
  EXPECT_EQ(buffer.values<float>()[0], 1);
  auto* const contents = static_cast<float*>(buffer.contents());
  EXPECT_NE(static_cast<void*>(contents), detail::BufferImpl::of(buffer)->memory->data);
  EXPECT_EQ(contents[0], 1);
  run(queue, step, buffer);
  EXPECT_EQ(contents[0], 2) << "an old pointer sees new work";
  contents[0] = 10;
  EXPECT_EQ(buffer.values<float>()[0], 10) << "what the host wrote is not on the device yet";
  run(queue, step, buffer);
  EXPECT_EQ(contents[0], 11) << "work sees what the host wrote";
  const float value = 20;
  buffer.copy_in(&value, sizeof value);
  EXPECT_EQ(contents[0], 20);
  run(queue, step, buffer);
  EXPECT_EQ(contents[0], 21);
  EXPECT_EQ(buffer.contents(), contents);
}

TEST(DiscreteDevice, WorkOnOtherMemoryLeavesAMirrorAlone) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const auto step = std::make_shared<Increment>();
  const Buffer held = device.makeBuffer(64), other = device.makeBuffer(64);
  auto* const contents = static_cast<float*>(held.contents());
  contents[0] = 3;
  run(queue, step, other);
  EXPECT_EQ(contents[0], 3);
  EXPECT_EQ(other.values<float>()[0], 1);
}

TEST(DiscreteDevice, TheNextWorkStartsBeforeAHandlerOfTheLastReturns) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const Buffer buffer = device.makeBuffer(64);
  std::promise<void> second_ran;
  const auto plain_step = std::make_shared<Increment>();
  const auto telling = std::make_shared<Increment>();
  telling->ran = [&] { second_ran.set_value(); };
  CommandBuffer first = queue.makeCommandBuffer(), second = queue.makeCommandBuffer();
  encode(first, plain_step, buffer);
  encode(second, telling, buffer);
  bool overlapped = false;
  first.addCompletedHandler([&](CommandBuffer) {
    overlapped =
        second_ran.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  });
  first.commit();
  second.commit();
  second.waitUntilCompleted();
  EXPECT_TRUE(overlapped);
  EXPECT_EQ(first.status(), CommandBufferStatus::Completed);
  EXPECT_EQ(buffer.values<float>()[0], 2);
}

TEST(DiscreteDevice, APredicateSeesWhatAHandlerBeforeItWrote) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const Buffer buffer = device.makeBuffer(64);
  const auto step = std::make_shared<Increment>();
  const Predicate go(device);
  CommandBuffer first = queue.makeCommandBuffer(), second = queue.makeCommandBuffer();
  encode(first, step, buffer);
  second.setPredicate(go);
  encode(second, step, buffer);
  first.addCompletedHandler([&](CommandBuffer) {
    const std::uint32_t yes = 1;
    go.predicateBuffer().copy_in(&yes, sizeof yes, go.predicateOffset());
  });
  first.commit();
  second.commit();
  second.waitUntilCompleted();
  EXPECT_EQ(buffer.values<float>()[0], 2);
}

TEST(DiscreteDevice, AFailureBelongsToItsCommandBuffer) {
  const Device device = discrete(1);
  const CommandQueue queue = device.makeCommandQueue();
  const Buffer buffer = device.makeBuffer(64);
  const auto step = std::make_shared<Increment>();
  run(queue, step, buffer);
  CommandBuffer failing = queue.makeCommandBuffer();
  encode(failing, step, buffer);
  failing.commit();
  failing.waitUntilCompleted();
  EXPECT_EQ(failing.status(), CommandBufferStatus::Error);
  ASSERT_TRUE(failing.error().has_value());
  EXPECT_EQ(failing.error()->code(), CommandBufferError::PageFault);
  run(queue, step, buffer);
}

TEST(DiscreteDevice, KernelsAndImagesWork) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const Image source(device, floats(3, 2, 5)), result(device, halves(3, 2, 5));
  std::vector<float> values(30);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 15;
  source.write_floats(values);
  CommandBuffer commands = queue.makeCommandBuffer();
  CNNNeuronLinear(device, 2, 1).encode(commands, source, result);
  commands.commit();
  commands.waitUntilCompleted();
  for (float& value : values) value = 2 * value + 1;
  EXPECT_EQ(result.read_floats(), values);
  const float row[] = {7, 8, 9, 10, 11};
  source.writeBytes(row, DataLayout::HeightxWidthxFeatureChannels, {}, {{1, 1, 0}, {1, 1, 1}},
                    {0, 5}, 0);
  const std::vector<float> after = source.read_floats();
  EXPECT_EQ(std::vector<float>(after.begin() + 20, after.begin() + 25),
            std::vector<float>(row, row + 5));
  EXPECT_EQ(after[19], 4) << "the rest stays";
}

}  // namespace
}  // namespace cermet::test
