// Buffers and the caching allocator; a request that nothing can meet (spec: core 2.1, 2.3).

#include "core/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "cermet/core/state.h"
#include "core/device_impl.h"
#include "help.h"

// The sanitizers' allocators abort when asked for too much, unless told to return null like malloc.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }

namespace cermet {
namespace {

using detail::Allocator;
using detail::BlockList;
using detail::MemoryPtr;
using test::complaint;
using test::filled;
using test::floats;
using test::settle;
using test::tested;

/// The code of the DeviceError that `call` throws.
template <class Call>
CommandBufferError code_of(Call&& call) {
  try {
    call();
  } catch (const DeviceError& problem) {
    return problem.code();
  }
  return CommandBufferError::None;
}

TEST(Buffer, IsZeroWhateverTheMemoryHeldBefore) {
  for (const std::size_t length :
       std::initializer_list<std::size_t>{1, 63, 64, 65, 1000, 1025, 5000, 100000}) {
    for (int round = 0; round < 3; ++round) {
      const Buffer buffer = tested().makeBuffer(length);
      EXPECT_EQ(buffer.length(), length);
      EXPECT_TRUE(std::ranges::all_of(buffer.as<char>(), [](char c) { return c == 0; })) << length;
      std::memset(buffer.contents(), 0x5A, length);
    }
  }
}

TEST(Buffer, ContentsNeverMove) {
  Buffer buffer = tested().makeBuffer(256);
  const Buffer copy = buffer;
  void* const at = buffer.contents();
  static_cast<float*>(at)[3] = 7;
  for (int i = 0; i < 50; ++i) static_cast<void>(tested().makeBuffer(256));
  EXPECT_EQ(buffer.contents(), at);
  EXPECT_EQ(copy.contents(), at);
  EXPECT_EQ(copy, buffer);
  EXPECT_NE(tested().makeBuffer(256), buffer);
  buffer = {};
  EXPECT_EQ(copy.as<float>()[3], 7);
  EXPECT_EQ(copy.as<float>().size(), 64U);
  EXPECT_EQ(copy.device(), tested());
}

TEST(Buffer, CopiesBytes) {
  const char bytes[] = "twelve bytes";
  const Buffer buffer = tested().makeBuffer(bytes, 12);
  EXPECT_EQ(std::memcmp(buffer.contents(), bytes, 12), 0);
  EXPECT_NE(buffer.contents(), bytes);
  EXPECT_EQ(tested().makeBuffer(nullptr, 0).length(), 0U);
  EXPECT_NE(tested().makeBuffer(0).contents(), nullptr);
  EXPECT_EQ(complaint([] { static_cast<void>(tested().makeBuffer(nullptr, 4)); }),
            "Device: bytes is null; needed 4 bytes.");
}

TEST(Buffer, NilBuffersSaySo) {
  const Buffer buffer;
  EXPECT_FALSE(buffer);
  const std::string wanted = "Buffer: the buffer is nil. Make one with device.makeBuffer(length).";
  EXPECT_EQ(complaint([&] { static_cast<void>(buffer.contents()); }), wanted);
  EXPECT_EQ(complaint([&] { static_cast<void>(buffer.length()); }), wanted);
  EXPECT_EQ(complaint([&] { static_cast<void>(buffer.device()); }), wanted);
}

TEST(Memory, InUseReturnsToWhatItWas) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  {
    const Buffer buffer = tested().makeBuffer(10000);
    EXPECT_GE(tested().memory_use().in_use, before + 10000);
    const CommandQueue queue = tested().makeCommandQueue();
    CommandBuffer work = queue.makeCommandBuffer();
    const Image source = filled(test::halves(20, 20, 7), 1),
                result(tested(), test::halves(20, 20, 7));
    CNNNeuronLinear kernel(tested(), 1, 1);
    Image last = source;
    for (int i = 0; i < 4; ++i) last = kernel.encode(work, last);
    kernel.encode(work, last, result);
    work.commit();
    work.waitUntilCompleted();
    settle(tested());  // the worker has let go of the buffer
  }
  EXPECT_EQ(tested().memory_use().in_use, before);
}

TEST(Memory, WhatIsGivenBackIsUsedAgain) {
  const Device device = Device::cpu(1);
  EXPECT_EQ(device.memory_use().in_use, 0U);
  EXPECT_EQ(device.memory_use().cached, 0U);
  const void* at = device.makeBuffer(5000).contents();
  const std::size_t size = Allocator::round_up(5000);
  EXPECT_EQ(device.memory_use().in_use, 0U);
  EXPECT_EQ(device.memory_use().cached, size);
  const Buffer again = device.makeBuffer(size - 1);  // the same class
  EXPECT_EQ(again.contents(), at);
  EXPECT_EQ(device.memory_use().cached, 0U);
  EXPECT_EQ(device.memory_use().in_use, size);
  const Buffer other = device.makeBuffer(9000);
  EXPECT_NE(other.contents(), at);
}

TEST(Memory, TheCacheIsBounded) {
  const std::size_t large = std::size_t{600} << 20;  // more than the cache holds; never touched
  const auto allocator = std::make_shared<Allocator>(make_cpu_engine(1));
  MemoryPtr block = allocator->allocate(large, false);
  EXPECT_GE(allocator->in_use(), large);
  block.reset();
  EXPECT_EQ(allocator->in_use(), 0U);
  EXPECT_EQ(allocator->cached(), 0U);
}

TEST(Memory, SizeClasses) {
  EXPECT_EQ(Allocator::round_up(0), 64U);
  EXPECT_EQ(Allocator::round_up(1), 64U);
  EXPECT_EQ(Allocator::round_up(64), 64U);
  EXPECT_EQ(Allocator::round_up(65), 128U);
  EXPECT_EQ(Allocator::round_up(1024), 1024U);
  EXPECT_EQ(Allocator::round_up(1025), 1152U);
  EXPECT_EQ(Allocator::round_up(2048), 2048U);
  std::size_t before = 0;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 40); bytes += bytes / 7 + 1) {
    const std::size_t size = Allocator::round_up(bytes);
    ASSERT_GE(size, bytes);
    ASSERT_LE(size, bytes + std::max<std::size_t>(64, bytes / 8 + 1));
    ASSERT_EQ(size % 64, 0U);
    ASSERT_GE(size, before);
    ASSERT_EQ(Allocator::round_up(size), size);
    before = size;
  }
}

TEST(Memory, FreeBlocksGoToTheSmallestFit) {
  const auto allocator = std::make_shared<Allocator>(make_cpu_engine(1));
  BlockList list;
  for (const std::size_t bytes : std::initializer_list<std::size_t>{4096, 1024, 2048})
    list.put(allocator->allocate(bytes, false));
  EXPECT_EQ(list.bytes(), 7168U);
  EXPECT_EQ(list.take(5000), nullptr);
  EXPECT_EQ(list.take(64), nullptr) << "all are more than twice as large";
  const MemoryPtr fit = list.take(1500);
  ASSERT_NE(fit, nullptr);
  EXPECT_EQ(fit->bytes, 2048U);
  EXPECT_EQ(list.bytes(), 5120U);
  BlockList other;
  list.move_to(other);
  EXPECT_EQ(list.bytes(), 0U);
  EXPECT_EQ(list.take(1024), nullptr);
  EXPECT_EQ(other.bytes(), 5120U);
  EXPECT_EQ(other.take(1024)->bytes, 1024U);
}

TEST(Memory, TheSameRequestsGetTheSameFreeBlocks) {
  const auto allocator = std::make_shared<Allocator>(make_cpu_engine(1));
  BlockList list;
  for (int i = 0; i < 4; ++i) list.put(allocator->allocate(1024, false));
  std::vector<void*> before;
  for (int round = 0; round < 4; ++round) {
    std::vector<MemoryPtr> taken;
    std::vector<void*> addresses;
    for (int i = 0; i < 3; ++i) {
      taken.push_back(list.take(1024));
      addresses.push_back(taken.back()->data);
    }
    std::rotate(taken.begin(), taken.begin() + 1, taken.end());
    for (MemoryPtr& block : taken) list.put(std::move(block));
    if (round != 0) {
      EXPECT_EQ(addresses, before);
    }
    before = addresses;
  }
}

TEST(OutOfMemory, IsAnErrorAndTheProcessGoesOn) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  constexpr auto most = std::numeric_limits<std::size_t>::max();
  for (const std::size_t bytes : {std::size_t{1} << 50, std::size_t{1} << 60, most / 2,
                                  most / 2 + 1, most - 100000, most - 63, most}) {
    EXPECT_EQ(code_of([&] { static_cast<void>(tested().makeBuffer(bytes)); }),
              CommandBufferError::OutOfMemory)
        << bytes;
    EXPECT_EQ(code_of([&] { static_cast<void>(State(tested(), bytes).resource(0)); }),
              CommandBufferError::OutOfMemory);
  }
  EXPECT_EQ(tested().memory_use().in_use, before);
  EXPECT_EQ(tested().makeBuffer(100).as<char>()[99], 0);
}

TEST(OutOfMemory, ReleasesTheCacheFirst) {
  const Device device = Device::cpu(1);
  static_cast<void>(device.makeBuffer(100000));
  EXPECT_GT(device.memory_use().cached, 0U);
  EXPECT_EQ(code_of([&] { static_cast<void>(device.makeBuffer(std::size_t{1} << 50)); }),
            CommandBufferError::OutOfMemory);
  EXPECT_EQ(device.memory_use().cached, 0U) << "it may have been what was missing";
}

TEST(OutOfMemory, OfImagesLeavesTheCommandBufferUsable) {
  const std::size_t side = std::size_t{1} << 20;
  const ImageDescriptor absurd = floats(side, side, 1024);
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const CNNNeuronLinear kernel(tested(), 1, 1);
  const Image source = filled(floats(2, 2, 2), 1), result(tested(), floats(2, 2, 2));
  const Image unmade(tested(), absurd);  // cheap until it is used
  EXPECT_EQ(unmade.resourceSize(), std::size_t{1} << 52);
  EXPECT_EQ(code_of([&] {
              unmade.writeBytes(&side, DataLayout::HeightxWidthxFeatureChannels, {}, {}, {0, 2}, 0);
            }),
            CommandBufferError::OutOfMemory);
  kernel.encode(buffer, source, result);
  EXPECT_EQ(code_of([&] { TemporaryImage(buffer, absurd); }), CommandBufferError::OutOfMemory);
  EXPECT_EQ(code_of([&] { kernel.encode(buffer, unmade, unmade); }),
            CommandBufferError::OutOfMemory);
  EXPECT_EQ(
      code_of([&] { static_cast<void>(State::temporaryState(buffer, std::size_t{1} << 52)); }),
      CommandBufferError::OutOfMemory);
  EXPECT_EQ(buffer.recording().steps(), 1U);
  kernel.encode(buffer, result, result);
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(buffer.status(), CommandBufferStatus::Completed);
  EXPECT_EQ(result.read_floats(), test::constant(result, 3));
}

TEST(Devices, HaveNames) {
  const bool limited = std::getenv("OMP_THREAD_LIMIT") != nullptr;  // as under the thread sanitizer
  EXPECT_TRUE(Device::named("cpu:3").threads() == 3 || limited);
  EXPECT_EQ(Device::cpu(1).threads(), 1);
  EXPECT_NE(Device::cpu(1).name().find("1 thread)"), std::string::npos);
  for (const char* name :
       {"", "gpu", "cpu:", "cpu:0", "cpu:-1", "cpu:2x", "cpu:99999999999", "CPU"}) {
    EXPECT_EQ(complaint([&] { static_cast<void>(Device::named(name)); }),
              "Device: name is \"" + std::string(name) +
                  "\"; needed cpu, cpu:N with N threads, cuda or cuda:N. Change the option or the "
                  "variable CERMET_DEVICE.");
  }
  EXPECT_EQ(CreateSystemDefaultDevice(), GetPreferredDevice(DeviceOptions::LowPower));
  EXPECT_TRUE(SupportsDevice(tested()));
  EXPECT_FALSE(SupportsDevice(Device()));
}

}  // namespace
}  // namespace cermet
