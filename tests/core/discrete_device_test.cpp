// What core does where host and device have memories of their own (ADR 0010), without a GPU.

#include "discrete_engine.h"

#include <future>

#include "cermet/cnn/neuron.h"
#include "help.h"

namespace cermet::test {
namespace {

std::vector<Cell> cells(const Buffer& buffer) { return {Cell(buffer, 0)}; }

TEST(DiscreteDevice, ContentsFollowTheDeviceAndTheHost) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const auto step = increment();
  const Buffer buffer = device.makeBuffer(64);
  run(queue, step, cells(buffer));
  EXPECT_EQ(buffer.values<float>()[0], 1);
  auto* const contents = static_cast<float*>(buffer.contents());
  EXPECT_NE(static_cast<void*>(contents), detail::BufferImpl::of(buffer)->memory->data);
  EXPECT_EQ(contents[0], 1);
  run(queue, step, cells(buffer));
  EXPECT_EQ(contents[0], 2) << "an old pointer sees new work";
  contents[0] = 10;
  EXPECT_EQ(buffer.values<float>()[0], 10) << "what the host wrote is not on the device yet";
  run(queue, step, cells(buffer));
  EXPECT_EQ(contents[0], 11) << "work sees what the host wrote";
  const float value = 20;
  buffer.copy_in(&value, sizeof value);
  EXPECT_EQ(contents[0], 20);
  run(queue, step, cells(buffer));
  EXPECT_EQ(contents[0], 21);
  EXPECT_EQ(buffer.contents(), contents);
}

TEST(DiscreteDevice, WorkOnOtherMemoryLeavesAMirrorAlone) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const auto step = increment();
  const Buffer held = device.makeBuffer(64), other = device.makeBuffer(64);
  auto* const contents = static_cast<float*>(held.contents());
  contents[0] = 3;
  run(queue, step, cells(other));
  EXPECT_EQ(contents[0], 3);
  EXPECT_EQ(other.values<float>()[0], 1);
}

TEST(DiscreteDevice, TheNextWorkStartsBeforeAHandlerOfTheLastReturns) {
  const Device device = discrete();
  const CommandQueue queue = device.makeCommandQueue();
  const Buffer buffer = device.makeBuffer(64);
  std::promise<void> second_ran;
  const auto plain_step = increment();
  const auto telling = increment([&] { second_ran.set_value(); });
  CommandBuffer first = queue.makeCommandBuffer(), second = queue.makeCommandBuffer();
  encode(first, plain_step, cells(buffer));
  encode(second, telling, cells(buffer));
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
  const auto step = increment();
  const Predicate go(device);
  CommandBuffer first = queue.makeCommandBuffer(), second = queue.makeCommandBuffer();
  encode(first, step, cells(buffer));
  second.setPredicate(go);
  encode(second, step, cells(buffer));
  first.addCompletedHandler([&](CommandBuffer) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the work is done by now
    const std::uint32_t yes = 1;
    go.predicateBuffer().copy_in(&yes, sizeof yes, go.predicateOffset());
  });
  first.commit();
  second.commit();
  second.waitUntilCompleted();
  EXPECT_EQ(buffer.values<float>()[0], 2);
}

TEST(DiscreteDevice, AFailureBelongsToItsCommandBuffer) {
  const Device device = discrete(Failure{0, 1});
  const CommandQueue queue = device.makeCommandQueue();
  const Buffer buffer = device.makeBuffer(64);
  const auto step = increment();
  run(queue, step, cells(buffer));
  CommandBuffer failing = queue.makeCommandBuffer();
  encode(failing, step, cells(buffer));
  failing.commit();
  failing.waitUntilCompleted();
  EXPECT_EQ(failing.status(), CommandBufferStatus::Error);
  ASSERT_TRUE(failing.error().has_value());
  EXPECT_EQ(failing.error()->code(), CommandBufferError::PageFault);
  run(queue, step, cells(buffer));
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
