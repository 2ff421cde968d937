// States: their resources, read counts and batches (spec: core 9).

#include "cermet/core/state.h"

#include <algorithm>

#include "core/device_impl.h"
#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using test::filled;
using test::floats;
using test::settle;
using test::tested;

StateResourceList mixed_list() {
  StateResourceList list = StateResourceList::resourceList();
  list.appendBuffer(100);
  list.appendTexture(floats(4, 3, 6));
  list.appendBuffer(20);
  list.appendTexture(floats(2, 2, 2));
  return list;
}

class States : public ::testing::Test {
 protected:
  CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();
};

TEST_F(States, OneBuffer) {
  State state(tested(), 64);
  EXPECT_EQ(state.resourceCount(), 1U);
  EXPECT_EQ(state.resourceType(0), StateResourceType::Buffer);
  EXPECT_EQ(state.bufferSize(0), 64U);
  EXPECT_EQ(state.resourceSize(), 64U);
  EXPECT_FALSE(state.resource(0, false)) << "not made before it is asked for";
  const Buffer made = state.resource(0);
  ASSERT_TRUE(made);
  EXPECT_EQ(made.length(), 64U);
  EXPECT_TRUE(std::ranges::all_of(made.as<char>(), [](char c) { return c == 0; }));
  EXPECT_EQ(state.resource(0, false), made) << "the same ever after";
  EXPECT_FALSE(state.isTemporary());
  EXPECT_EQ(state.readCount(), 0U);
  state.setReadCount(5);
  EXPECT_EQ(state.readCount(), 0U) << "permanent states ignore it";
  state.setLabel("moments");
  EXPECT_EQ(state.label(), "moments");
  EXPECT_EQ(state.device(), tested());
}

TEST_F(States, TexturesComeBeforeBuffers) {
  State state(tested(), mixed_list());
  ASSERT_EQ(state.resourceCount(), 4U);
  using enum StateResourceType;
  EXPECT_EQ(state.resourceType(0), Texture);
  EXPECT_EQ(state.resourceType(1), Texture);
  EXPECT_EQ(state.resourceType(2), StateResourceType::Buffer);
  EXPECT_EQ(state.resourceType(4), None);
  EXPECT_EQ(state.bufferSize(2), 100U);
  EXPECT_EQ(state.bufferSize(3), 20U);
  EXPECT_EQ(state.bufferSize(0), 0U) << "a texture";
  const StateTextureInfo info = state.textureInfo(0);
  EXPECT_EQ(info.width, 4U);
  EXPECT_EQ(info.height, 3U);
  EXPECT_EQ(info.depth, 1U);
  EXPECT_EQ(info.arrayLength, 2U) << "six channels are two slices";
  EXPECT_EQ(info.pixelFormat, PixelFormat::RGBA32Float);
  EXPECT_EQ(info.textureType, TextureType::Type2DArray);
  EXPECT_EQ(info.usage, TextureUsage::ShaderReadWrite);
  EXPECT_EQ(state.textureInfo(1).textureType, TextureType::Type2D);
  EXPECT_EQ(state.textureInfo(2).width, 0U) << "a buffer";
  EXPECT_FALSE(state.texture(1, false));
  const Image image = state.texture(1);
  ASSERT_TRUE(image);
  EXPECT_EQ(image.read_floats(), std::vector<float>(8, 0));
  EXPECT_EQ(state.texture(1), image);
  EXPECT_FALSE(state.resource(1)) << "a texture is not a buffer";
  EXPECT_FALSE(state.texture(2));
  EXPECT_FALSE(state.resource(9));
  EXPECT_FALSE(state.texture(9));
  EXPECT_EQ(state.resourceSize(), 4U * 3 * 6 * 4 + 2 * 2 * 2 * 4 + 120);
}

TEST_F(States, AdoptedBuffers) {
  const cermet::Buffer a = tested().makeBuffer(16), b = tested().makeBuffer(24);
  State state(std::vector<cermet::Buffer>{a, b});
  EXPECT_EQ(state.resource(1, false), b);
  EXPECT_EQ(state.bufferSize(1), 24U);
  EXPECT_EQ(state.resourceSize(), 0U) << "not known";
  EXPECT_EQ(State(a).resourceCount(), 1U);
  EXPECT_EQ(complaint([] { State(cermet::Buffer()); }), "State: resource is nil; needed a buffer.");
  const Device other = Device::cpu(1);
  EXPECT_EQ(complaint([&] {
              State(std::vector<cermet::Buffer>{a, other.makeBuffer(8)});
            }),
            "State: resource is on another device; needed buffers of one device.");
}

TEST_F(States, TemporariesLiveInTheirBuffer) {
  const StatePtr state = State::temporaryState(buffer, 64);
  EXPECT_TRUE(state->isTemporary());
  EXPECT_EQ(state->readCount(), 1U);
  state->check_usable(buffer.recording());
  CommandBuffer other = queue.makeCommandBuffer();
  EXPECT_EQ(
      complaint([&] { state->check_usable(other.recording()); }),
      "State: the state is temporary in another command buffer; needed a state of this command "
      "buffer, or a permanent one.");
  buffer.commitAndContinue();
  state->check_usable(buffer.recording());
  state->setReadCount(2);
  state->consume(buffer.recording());
  EXPECT_EQ(state->readCount(), 1U);
  state->consume(buffer.recording());
  EXPECT_EQ(state->readCount(), 0U);
  state->consume(buffer.recording());
  EXPECT_EQ(state->readCount(), 0U) << "read through two slots of one encode";
  EXPECT_EQ(complaint([&] { state->check_usable(buffer.recording()); }),
            "State: the state is read for the last time already; needed a temporary state with "
            "reads left. "
            "Raise readCount once for every encode that reads it.");
  EXPECT_EQ(
      complaint([&] { state->setReadCount(1); }),
      "State: readCount is 0: the storage is gone; needed a state that still has reads. Raise "
      "readCount before the last encode that reads the state.");
  EXPECT_NE(complaint([&] { static_cast<void>(state->resource(0)); }), "no exception");
  EXPECT_FALSE(state->resource(0, false));
}

TEST_F(States, WithoutAResourceTheyCountAllTheSame) {
  const StatePtr state = State::temporaryState(buffer);
  EXPECT_TRUE(state->isTemporary());
  EXPECT_EQ(state->resourceCount(), 0U);
  EXPECT_EQ(state->readCount(), 1U);
  state->setReadCount(0);
  EXPECT_NE(complaint([&] { state->check_usable(buffer.recording()); }), "no exception");
}

TEST_F(States, AnotherDeviceIsAnError) {
  const Device other = Device::cpu(1);
  State state(other, 8);
  EXPECT_EQ(complaint([&] { state.check_usable(buffer.recording()); }),
            "State: the state is on another device; needed the device of the command buffer.");
  EXPECT_NE(complaint([&] { state.synchronize(buffer); }), "no exception");
  State own(tested(), 8);
  own.synchronize(buffer);
  own.synchronize(buffer);
  EXPECT_NE(complaint([] { State(Device(), 8); }), "no exception");
}

TEST_F(States, TheLastReadGivesTheMemoryToLaterEncodes) {
  settle(tested());
  const StatePtr first = State::temporaryState(buffer, mixed_list());
  void* const memory = first->resource(2).contents();
  static_cast<void>(first->texture(0));
  first->consume(buffer.recording());
  EXPECT_FALSE(first->texture(0, false));
  const StatePtr second = State::temporaryState(buffer, 100);
  EXPECT_EQ(second->resource(0).contents(), memory);
}

TEST_F(States, ABufferThatSomebodyHoldsIsNotUsedAgain) {
  const StatePtr state = State::temporaryState(buffer, 4096);
  const cermet::Buffer held = state->resource(0);
  std::ranges::fill(held.as<char>(), 'x');
  state->consume(buffer.recording());
  const StatePtr next = State::temporaryState(buffer, 4096);
  EXPECT_NE(next->resource(0).contents(), held.contents());
  EXPECT_EQ(held.as<char>()[4095], 'x');
}

TEST_F(States, DroppedStatesReturnTheirMemory) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  {
    State state(tested(), mixed_list());
    for (std::size_t i = 0; i < 4; ++i) {
      static_cast<void>(state.resource(i));
      static_cast<void>(state.texture(i));
    }
    EXPECT_GT(tested().memory_use().in_use, before);
    const StatePtr unread = State::temporaryState(buffer, 1000);
  }
  EXPECT_EQ(tested().memory_use().in_use, before);
}

TEST_F(States, TheHookReturnsTheSuggestion) {
  State state(tested(), 8);
  CNNNeuronReLU kernel(tested(), 0);
  const ImageDescriptor suggested = floats(3, 4, 5);
  EXPECT_EQ(state.destinationImageDescriptor({}, {}, kernel, suggested), suggested);
}

TEST_F(States, BatchesKnowTheirDistinctStates) {
  const auto a = std::make_shared<State>(tested(), 8), b = std::make_shared<State>(tested(), 32);
  const StateBatch repeated = StateBatch::repeated(a, 3), same({a, a}),
                   mixed({a, b, a, b, nullptr}), none;
  EXPECT_EQ(repeated.size(), 3U);
  EXPECT_EQ(repeated.shared(), a);
  EXPECT_EQ(same.shared(), a) << "a list of one object is a repeated batch";
  EXPECT_EQ(mixed.shared(), nullptr);
  EXPECT_EQ(mixed.size(), 5U);
  EXPECT_EQ(mixed[3], b);
  EXPECT_EQ(mixed.distinct(), (std::vector<StatePtr>{a, b}));
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(StateBatch::repeated(nullptr, 3).empty());
  EXPECT_TRUE(StateBatch::repeated(a, 0).empty());
  EXPECT_EQ(complaint([&] { static_cast<void>(repeated[3]); }),
            "StateBatch: index is 3; needed less than 3.");
  EXPECT_EQ(complaint([&] { static_cast<void>(mixed[5]); }),
            "StateBatch: index is 5; needed less than 5.");
  EXPECT_EQ(repeated.at<State>(2), a);
  EXPECT_EQ(StateBatchResourceSize(mixed), 40U);
  EXPECT_EQ(StateBatchResourceSize(repeated), 8U);
  EXPECT_EQ(StateBatchIncrementReadCount(none, 1), 0U);
  EXPECT_EQ(StateBatchIncrementReadCount(mixed, 1), 2U);
  StateBatchSynchronize(mixed, buffer);
}

TEST_F(States, BatchIncrementSkipsZerosAndChangesAllOrNone) {
  const StatePtr a = State::temporaryState(buffer, 8), b = State::temporaryState(buffer, 8);
  const StatePtr gone = State::temporaryState(buffer, 8);
  gone->setReadCount(0);
  EXPECT_EQ(StateBatchIncrementReadCount(StateBatch({a, b, a, gone}), 3), 3U);
  EXPECT_EQ(a->readCount(), 4U);
  EXPECT_EQ(b->readCount(), 4U);
  EXPECT_EQ(gone->readCount(), 0U);
  b->setReadCount(1);
  b->setLabel("mask");
  EXPECT_EQ(complaint([&] {
              StateBatchIncrementReadCount(StateBatch({a, b}), -2);
            }),
            "State \"mask\": readCount is 1, to be changed by -2; needed a count that stays at 0 "
            "or more. "
            "Raise readCount once for every encode that reads the state.");
  EXPECT_EQ(a->readCount(), 4U);
  EXPECT_EQ(StateBatchIncrementReadCount(StateBatch::repeated(a, 7), -4), 1U);
  EXPECT_EQ(a->readCount(), 0U);
  EXPECT_EQ(StateBatchIncrementReadCount(StateBatch({a, gone}), -4), 2U);
}

TEST_F(States, OneTexture) {
  State state(tested(), floats(4, 3, 6));
  EXPECT_EQ(state.resourceCount(), 1U);
  EXPECT_EQ(state.resourceType(0), StateResourceType::Texture);
  EXPECT_EQ(state.textureInfo(0).arrayLength, 2U);
  EXPECT_EQ(state.texture(0).featureChannels(), 6U);
  EXPECT_FALSE(state.isTemporary());
  const StatePtr temporary = State::temporaryState(buffer, floats(4, 3, 6));
  EXPECT_TRUE(temporary->isTemporary());
  EXPECT_EQ(temporary->resourceType(0), StateResourceType::Texture);
  EXPECT_EQ(temporary->texture(0).width(), 4U);
}

TEST_F(States, TheOnlyResource) {
  State one(tested(), 64);
  EXPECT_EQ(one.resource().length(), 64U) << "made on demand";
  EXPECT_EQ(one.resource(), one.resource(0));
  EXPECT_FALSE(State(tested(), mixed_list()).resource()) << "which of them?";
  EXPECT_FALSE(State(tested(), StateResourceList()).resource());
  EXPECT_FALSE(State(tested(), floats(1, 1, 1)).resource()) << "a texture: texture(0)";
}

}  // namespace
}  // namespace cermet
