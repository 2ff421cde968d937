// Order, handlers, waiting, errors and lifetimes of command buffers (spec: core 2.2, 3).

#include "cermet/core/command_buffer.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using test::constant;
using test::filled;
using test::floats;
using test::Gate;
using test::halves;
using test::settle;
using test::tested;
using Status = CommandBufferStatus;

/// Records image = 2 * image + addend; the order of such steps shows in the result.
void double_and_add(const CommandBuffer& buffer, const Image& image, float addend) {
  CNNNeuronLinear(image.device(), 2, addend).encode(buffer, image, image);
}

bool completes_within_seconds(const CommandBuffer& buffer, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (buffer.status() < Status::Completed && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return buffer.status() == Status::Completed;
}

TEST(CommandBuffer, WorkRunsInEncodeOrderAndBuffersInCommitOrder) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(3, 2, 5), 1);
  float wanted = 1;
  CommandBuffer last;
  for (int k = 0; k < 20; ++k) {
    last = queue.makeCommandBuffer();
    double_and_add(last, image, static_cast<float>(k % 2));
    double_and_add(last, image, static_cast<float>(-k));
    wanted = 2 * (2 * wanted + static_cast<float>(k % 2)) + static_cast<float>(-k);
    if (wanted > 1e5F || wanted < -1e5F) {  // stay where floats are exact
      CNNNeuronLinear(tested(), 0, 1).encode(last, image, image);
      wanted = 1;
    }
    last.commit();
  }
  last.waitUntilCompleted();
  EXPECT_EQ(image.read_floats(), constant(image, wanted));
}

TEST(CommandBuffer, EnqueueReservesThePlace) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(1, 1, 1), 1);
  CommandBuffer first = queue.makeCommandBuffer(), second = queue.makeCommandBuffer();
  CommandBuffer third = queue.makeCommandBuffer();
  first.enqueue();
  first.enqueue();  // again: nothing more
  second.enqueue();
  double_and_add(third, image, 300);
  third.commit();
  double_and_add(second, image, 20);
  second.commit();
  settle(tested());
  EXPECT_EQ(second.status(), Status::Committed) << "the first buffer is not committed yet";
  EXPECT_EQ(third.status(), Status::Committed);
  EXPECT_EQ(image.read_floats(), constant(image, 1));
  double_and_add(first, image, 1);
  first.commit();
  third.waitUntilCompleted();
  EXPECT_EQ(image.read_floats(), constant(image, 2 * (2 * (2 * 1 + 1) + 20) + 300));
}

TEST(CommandBuffer, AnEnqueuedBufferThatIsDroppedGivesUpItsPlace) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(1, 1, 1), 1);
  CommandBuffer dropped = queue.makeCommandBuffer();
  dropped.enqueue();
  double_and_add(dropped, image, 1000);
  CommandBuffer behind = queue.makeCommandBuffer();
  double_and_add(behind, image, 5);
  behind.commit();
  settle(tested());
  EXPECT_EQ(behind.status(), Status::Committed);
  dropped = {};
  ASSERT_TRUE(completes_within_seconds(behind, 20));
  EXPECT_EQ(image.read_floats(), constant(image, 7));
}

TEST(CommandBuffer, AnEnqueuedBufferThatIsDroppedDoesNotKeepItsQueue) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  {
    const CommandQueue queue = tested().makeCommandQueue();
    CommandBuffer dropped = queue.makeCommandBuffer();
    dropped.enqueue();
    dropped.prefetchHeapForWorkloadSize(100000);  // memory that goes when the queue goes
    EXPECT_GT(tested().memory_use().in_use, before);
  }
  EXPECT_EQ(tested().memory_use().in_use, before);
}

TEST(CommandBuffer, StatusGoesThroughItsStages) {
  const CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();
  EXPECT_EQ(buffer.status(), Status::NotEnqueued);
  buffer.enqueue();
  EXPECT_EQ(buffer.status(), Status::Enqueued);
  {
    const Gate gate(queue);
    buffer.commit();
    EXPECT_EQ(buffer.status(), Status::Committed);
    EXPECT_EQ(buffer.GPUStartTime(), 0);
    EXPECT_EQ(buffer.GPUEndTime(), 0);
  }
  buffer.waitUntilScheduled();
  EXPECT_GE(buffer.status(), Status::Scheduled);
  buffer.waitUntilCompleted();
  EXPECT_EQ(buffer.status(), Status::Completed);
  EXPECT_FALSE(buffer.error());
  EXPECT_GT(buffer.GPUStartTime(), 0);
  EXPECT_GE(buffer.GPUEndTime(), buffer.GPUStartTime());
}

TEST(CommandBuffer, DroppedUncommittedRunsNothing) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(2, 2, 2), 3);
  const auto token = std::make_shared<int>(0);
  {
    CommandBuffer buffer = queue.makeCommandBuffer();
    double_and_add(buffer, image, 1);
    buffer.addScheduledHandler([token](CommandBuffer) { ++*token; });
    buffer.addCompletedHandler([token](CommandBuffer) { ++*token; });
    EXPECT_EQ(token.use_count(), 3);
  }
  settle(tested());
  EXPECT_EQ(token.use_count(), 1) << "handlers are released";
  EXPECT_EQ(*token, 0);
  EXPECT_EQ(image.read_floats(), constant(image, 3));
}

TEST(CommandBuffer, ADroppedBufferMayOwnAnotherOfItsQueue) {
  const CommandQueue queue = tested().makeCommandQueue();
  auto owner = std::make_unique<CommandBuffer>(queue.makeCommandBuffer());
  owner->addCompletedHandler([inner = queue.makeCommandBuffer()](CommandBuffer) {});
  auto dropped = std::async(std::launch::async, [&] { owner.reset(); });
  ASSERT_EQ(dropped.wait_for(std::chrono::seconds(20)), std::future_status::ready) << "deadlock";
}

TEST(CommandBuffer, ABufferIsFreshWhenItsMemoryIsUsedAgain) {
  const CommandQueue queue = tested().makeCommandQueue();
  for (int i = 0; i < 40; ++i) {
    CommandBuffer buffer = queue.makeCommandBuffer();
    EXPECT_EQ(buffer.label(), "");
    EXPECT_EQ(buffer.status(), Status::NotEnqueued);
    EXPECT_FALSE(buffer.error());
    EXPECT_EQ(buffer.GPUEndTime(), 0);
    buffer.setLabel("used");
    if (i % 3 == 0)
      buffer.addCompletedHandler([](CommandBuffer) { throw std::runtime_error("x"); });
    if (i % 3 == 1) buffer.enqueue();
    if (i % 3 == 2) continue;  // dropped
    buffer.commit();
    buffer.waitUntilCompleted();
    EXPECT_EQ(buffer.status(), i % 3 == 0 ? Status::Error : Status::Completed);
  }
}

// ---- commitAndContinue
// ---------------------------------------------------------------------------

TEST(CommitAndContinue, TemporariesSurvive) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image source = filled(floats(8, 8, 4), 3), out(tested(), floats(8, 8, 4));
  const CNNNeuronLinear plus_one(tested(), 1, 1), twice(tested(), 2, 0);
  CommandBuffer buffer = queue.makeCommandBuffer();
  const TemporaryImage held(buffer, floats(8, 8, 4));
  plus_one.encode(buffer, source, held);
  buffer.commitAndContinue();
  {  // another buffer in between, with temporaries of the same size
    CommandBuffer between = queue.makeCommandBuffer();
    const TemporaryImage other(between, floats(8, 8, 4));
    twice.encode(between, source, other);
    twice.encode(between, other, Image(tested(), floats(8, 8, 4)));
    between.commit();
  }
  twice.encode(buffer, held, out);
  EXPECT_EQ(held.readCount(), 0U);
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(out.read_floats(), constant(out, 8));
}

TEST(CommitAndContinue, MemoryIsNotSharedWithABufferThatRunsBetweenThePieces) {
  // Execution order is [first piece, middle, second piece], but the middle one is committed, and
  // frees its temporary, before the first piece encodes.
  const CommandQueue queue = tested().makeCommandQueue();
  const Image source = filled(floats(16, 16, 4), 3), out(tested(), floats(16, 16, 4));
  const Image sink(tested(), floats(16, 16, 4));
  const CNNNeuronLinear same(tested(), 1, 0), seven(tested(), 0, 7);
  CommandBuffer chain = queue.makeCommandBuffer();
  chain.enqueue();
  CommandBuffer middle = queue.makeCommandBuffer();
  const TemporaryImage scratch(middle, floats(16, 16, 4));
  seven.encode(middle, source, scratch);
  same.encode(middle, scratch, sink);
  middle.commit();
  const TemporaryImage held(chain, floats(16, 16, 4));
  same.encode(chain, source, held);
  chain.commitAndContinue();
  same.encode(chain, held, out);
  chain.commit();
  chain.waitUntilCompleted();
  EXPECT_EQ(sink.read_floats(), constant(sink, 7));
  EXPECT_EQ(out.read_floats(), constant(out, 3));
}

TEST(CommitAndContinue, HandlersAndTheRootStayWithThePieceTheyWereGivenTo) {
  const CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();
  buffer.setLabel("chain");
  const CommandBuffer copy = buffer;
  std::vector<int> calls;
  buffer.addCompletedHandler([&](CommandBuffer) { calls.push_back(1); });
  CommandBuffer first = buffer.rootCommandBuffer();
  EXPECT_EQ(first, buffer);
  {
    const Gate gate(queue);
    buffer.commitAndContinue();
    EXPECT_EQ(first.status(), Status::Committed);
  }
  EXPECT_EQ(buffer.status(), Status::NotEnqueued) << "status refers to the new piece";
  EXPECT_EQ(copy, buffer) << "a copy goes on with the buffer it was copied from";
  EXPECT_NE(first, buffer);
  EXPECT_EQ(buffer.label(), "chain");
  first.waitUntilCompleted();
  EXPECT_EQ(calls, std::vector<int>{1});
  buffer.addCompletedHandler([&](CommandBuffer) { calls.push_back(2); });
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(calls, (std::vector<int>{1, 2}));
}

// ---- handlers
// ------------------------------------------------------------------------------------

TEST(CommandBufferHandler, RunInOrderOnceWithTheFinalStatus) {
  const CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();
  std::vector<std::string> calls;
  std::thread::id caller;
  for (int i = 0; i < 3; ++i) {
    buffer.addCompletedHandler([&, i](CommandBuffer given) {
      calls.push_back("completed" + std::to_string(i));
      EXPECT_EQ(given.status(), Status::Completed);
      EXPECT_EQ(given, buffer);
      caller = std::this_thread::get_id();
    });
    buffer.addScheduledHandler([&, i](CommandBuffer given) {
      calls.push_back("scheduled" + std::to_string(i));
      EXPECT_EQ(given.status(), Status::Scheduled);
    });
  }
  buffer.commit();
  buffer.waitUntilCompleted();
  buffer.waitUntilCompleted();
  EXPECT_EQ(calls, (std::vector<std::string>{"scheduled0", "scheduled1", "scheduled2", "completed0",
                                             "completed1", "completed2"}));
  EXPECT_NE(caller, std::this_thread::get_id());
}

TEST(CommandBufferHandler, HaveReturnedWhenTheWaitReturns) {
  const CommandQueue queue = tested().makeCommandQueue();
  for (int i = 0; i < 20; ++i) {
    CommandBuffer buffer = queue.makeCommandBuffer();
    bool returned = false;
    buffer.addCompletedHandler([&](CommandBuffer) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      returned = true;
    });
    buffer.commit();
    buffer.waitUntilCompleted();
    ASSERT_TRUE(returned);
  }
}

TEST(CommandBufferHandler, SeeTheResultsOfTheWork) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(2, 2, 2), 4);
  CommandBuffer buffer = queue.makeCommandBuffer();
  std::vector<float> scheduled, completed;
  double_and_add(buffer, image, 1);
  buffer.addScheduledHandler([&](CommandBuffer) { scheduled = image.read_floats(); });
  buffer.addCompletedHandler([&](CommandBuffer) { completed = image.read_floats(); });
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(scheduled, constant(image, 4));
  EXPECT_EQ(completed, constant(image, 9));
}

TEST(CommandBufferHandler, AnExceptionBecomesTheErrorOfTheBuffer) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(2, 2, 2), 4);
  CommandBuffer buffer = queue.makeCommandBuffer();
  int later = 0;
  double_and_add(buffer, image, 1);
  buffer.addCompletedHandler([](CommandBuffer) { throw std::runtime_error("disk full"); });
  buffer.addCompletedHandler([&](CommandBuffer) { ++later; });
  buffer.addCompletedHandler([](CommandBuffer) { throw std::runtime_error("a second one"); });
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(later, 1) << "the other handlers still run";
  EXPECT_EQ(buffer.status(), Status::Error);
  ASSERT_TRUE(buffer.error());
  EXPECT_EQ(buffer.error()->code(), CommandBufferError::Internal);
  EXPECT_STREQ(buffer.error()->what(), "CommandBuffer: a handler threw: disk full");
  // The queue and the process go on.
  CommandBuffer next = queue.makeCommandBuffer();
  double_and_add(next, image, 0);
  next.commit();
  next.waitUntilCompleted();
  EXPECT_EQ(next.status(), Status::Completed);
  EXPECT_EQ(image.read_floats(), constant(image, 18));
}

TEST(CommandBufferHandler, AnExceptionOfAnotherKindToo) {
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  Status seen = Status::NotEnqueued;
  buffer.addScheduledHandler([](CommandBuffer) { throw 5; });
  buffer.addCompletedHandler([&](CommandBuffer given) {
    seen = given.status();
    ASSERT_TRUE(given.error());
    EXPECT_STREQ(given.error()->what(), "CommandBuffer: a handler threw.");
  });
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(seen, Status::Error);
  EXPECT_EQ(buffer.status(), Status::Error);
}

TEST(CommandBufferHandler, AWaitInAHandlerReturnsAtOnce) {
  const CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer(), behind = queue.makeCommandBuffer();
  std::promise<void> committed;
  bool reached = false;
  buffer.addCompletedHandler([&](CommandBuffer given) {
    given.waitUntilScheduled();
    given.waitUntilCompleted();
    committed.get_future().wait();
    behind.waitUntilCompleted();            // cannot complete before this handler returns
    const Status status = behind.status();  // a GPU may have it enqueued already
    reached = tested().engine().host_can_access() ? status == Status::Committed
                                                  : status < Status::Completed;
  });
  buffer.commit();
  behind.commit();
  committed.set_value();
  ASSERT_TRUE(completes_within_seconds(behind, 20));
  buffer.waitUntilCompleted();
  EXPECT_TRUE(reached);
}

TEST(CommandBufferHandler, MayCommitMoreWork) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(1, 1, 4), 1);
  std::promise<CommandBuffer> more;
  CommandBuffer buffer = queue.makeCommandBuffer();
  buffer.addCompletedHandler([&](CommandBuffer given) {
    CommandBuffer next = given.commandQueue().makeCommandBuffer();
    double_and_add(next, image, 1);
    next.commit();
    more.set_value(next);
  });
  buffer.commit();
  CommandBuffer next = more.get_future().get();
  next.waitUntilCompleted();
  EXPECT_EQ(image.read_floats(), constant(image, 3));
}

// ---- misuse
// --------------------------------------------------------------------------------------

TEST(CommandBufferMisuse, AfterCommit) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(1, 1, 1), 1);
  CommandBuffer buffer = queue.makeCommandBuffer();
  buffer.setLabel("step 7");
  buffer.commit();
  const std::string wanted =
      "CommandBuffer \"step 7\": the command buffer is committed already. Encode, add handlers and "
      "commit on a new command buffer.";
  EXPECT_EQ(complaint([&] { buffer.commit(); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.enqueue(); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.commitAndContinue(); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.addScheduledHandler([](CommandBuffer) {}); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.addCompletedHandler([](CommandBuffer) {}); }), wanted);
  EXPECT_EQ(complaint([&] { double_and_add(buffer, image, 1); }), wanted);
  EXPECT_EQ(complaint([&] { TemporaryImage(buffer, floats(1, 1, 1)); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.prefetchHeapForWorkloadSize(8); }), wanted);
  buffer.waitUntilCompleted();
  EXPECT_EQ(complaint([&] { buffer.commit(); }), wanted);
  EXPECT_EQ(buffer.status(), Status::Completed);
  EXPECT_EQ(image.read_floats(), constant(image, 1));
}

TEST(CommandBufferMisuse, WaitingWithoutACommit) {
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const std::string wanted =
      "CommandBuffer: the command buffer is not committed. Call commit() before waiting, or the "
      "wait never ends.";
  EXPECT_EQ(complaint([&] { buffer.waitUntilCompleted(); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.waitUntilScheduled(); }), wanted);
  buffer.enqueue();
  EXPECT_EQ(complaint([&] { buffer.waitUntilCompleted(); }), wanted);
  buffer.commitAndContinue();
  EXPECT_EQ(complaint([&] { buffer.waitUntilCompleted(); }), wanted);
}

TEST(CommandBufferMisuse, NilObjects) {
  CommandBuffer buffer;
  const std::string wanted =
      "CommandBuffer: commandBuffer is nil. Make one with queue.makeCommandBuffer().";
  EXPECT_EQ(complaint([&] { buffer.commit(); }), wanted);
  EXPECT_EQ(complaint([&] { buffer.waitUntilCompleted(); }), wanted);
  EXPECT_EQ(complaint([&] { static_cast<void>(buffer.status()); }), wanted);
  EXPECT_EQ(complaint([&] { static_cast<void>(buffer.device()); }), wanted);
  EXPECT_EQ(complaint([&] { static_cast<void>(buffer.rootCommandBuffer()); }), wanted);
  const CommandQueue queue;
  const std::string no_queue =
      "CommandQueue: the queue is nil. Make one with device.makeCommandQueue().";
  EXPECT_EQ(complaint([&] { static_cast<void>(queue.makeCommandBuffer()); }), no_queue);
  EXPECT_EQ(complaint([&] { static_cast<void>(queue.device()); }), no_queue);
  EXPECT_EQ(complaint([&] { static_cast<void>(Device().makeCommandQueue()); }),
            "Device: device is nil; needed a device. Pass CreateSystemDefaultDevice() or "
            "Device::cpu().");
  buffer = tested().makeCommandQueue().makeCommandBuffer();
  EXPECT_EQ(complaint([&] { buffer.addCompletedHandler(nullptr); }),
            "CommandBuffer: handler is nil; needed a function.");
  EXPECT_EQ(complaint([&] { buffer.addScheduledHandler(nullptr); }),
            "CommandBuffer: handler is nil; needed a function.");
}

TEST(CommandBufferMisuse, TwoThreadsCommitOneBuffer) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(1, 1, 1), 1);
  for (int round = 0; round < 50; ++round) {
    image.write_floats(constant(image, 1));
    CommandBuffer buffer = queue.makeCommandBuffer();
    double_and_add(buffer, image, 1);
    std::atomic<int> refused{0};
    const auto commit = [&] {
      try {
        CommandBuffer(buffer).commit();
      } catch (const InvalidArgument&) {
        ++refused;
      }
    };
    std::thread other(commit);
    commit();
    other.join();
    buffer.waitUntilCompleted();
    ASSERT_EQ(refused, 1);
    ASSERT_EQ(image.read_floats(), constant(image, 3)) << "the work ran once";
  }
}

// ---- lifetimes and threads
// -----------------------------------------------------------------------

TEST(CommandBufferLifetime, TheDeviceMayBeDroppedWhileWorkIsInFlight) {
  for (int round = 0; round < 30; ++round) {
    std::promise<std::vector<float>> result;
    std::promise<void> gate;
    {
      const Device device = Device::cpu(1);
      const Image image = filled(floats(4, 4, 3), 1, device);
      CommandBuffer buffer = device.makeCommandQueue().makeCommandBuffer();
      const TemporaryImage between(buffer, floats(4, 4, 3));
      buffer.addScheduledHandler(
          [closed = gate.get_future().share()](CommandBuffer) { closed.wait(); });
      CNNNeuronLinear(device, 2, 1).encode(buffer, image, between);
      CNNNeuronLinear(device, 2, 1).encode(buffer, between, image);
      buffer.addCompletedHandler(
          [&result, image](CommandBuffer) { result.set_value(image.read_floats()); });
      buffer.commit();
    }
    gate.set_value();  // the worker now lets go of the last handle of its own device
    EXPECT_EQ(result.get_future().get(), std::vector<float>(48, 7));
  }
}

TEST(CommandBufferLifetime, DroppingTheBufferAfterCommitChangesNothing) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image image = filled(floats(1, 1, 1), 1);
  {
    const Gate gate(queue);
    for (int i = 0; i < 10; ++i) {
      CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
      double_and_add(buffer, image, 1);
      buffer.commit();
    }
  }
  settle(tested());
  EXPECT_EQ(image.read_floats(), constant(image, 2047));
}

TEST(CommandBufferThreads, ManyThreadsCommitOnSeveralQueues) {
  constexpr int rounds = 60, threads = 6;
  const std::vector<CommandQueue> queues = {
      tested().makeCommandQueue(), tested().makeCommandQueue(), tested().makeCommandQueue()};
  std::atomic<int> handled{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      const CommandQueue queue = queues[static_cast<std::size_t>(t) % queues.size()];
      const CNNNeuronLinear next(tested(), 1, 1), same(tested(), 1, 0);
      const auto size = static_cast<std::size_t>(8 + t % 2);  // half of them share sizes
      const Image image = filled(halves(size, size, 4), static_cast<float>(t));
      CommandBuffer last;
      for (int i = 0; i < rounds; ++i) {
        last = queue.makeCommandBuffer();
        if (i % 7 == 3) last.enqueue();
        const TemporaryImage a(last, halves(size, size, 4)), b(last, floats(size, size, 4));
        next.encode(last, image, a);
        if (i % 5 == 2) last.commitAndContinue();
        same.encode(last, a, b);
        same.encode(last, b, image);
        last.addCompletedHandler([&](CommandBuffer) { ++handled; });
        last.commit();
        if (i % 10 == 0) last.waitUntilCompleted();
        if (i % 10 == 5) last.waitUntilScheduled();
      }
      last.waitUntilCompleted();
      EXPECT_EQ(image.read_floats(), constant(image, static_cast<float>(t + rounds)));
    });
  }
  for (std::thread& thread : all) thread.join();
  EXPECT_EQ(handled, threads * rounds);
}

TEST(CommandBufferThreads, AnotherThreadMayWaitAndAskForTheStatus) {
  const CommandQueue queue = tested().makeCommandQueue();
  for (int round = 0; round < 30; ++round) {
    CommandBuffer buffer = queue.makeCommandBuffer();
    buffer.addCompletedHandler([](CommandBuffer) { throw std::runtime_error("on purpose"); });
    std::thread waiter([buffer]() mutable {
      while (buffer.status() < Status::Committed) std::this_thread::yield();
      while (!buffer.error()) std::this_thread::yield();
      buffer.waitUntilCompleted();
      EXPECT_STREQ(buffer.error()->what(), "CommandBuffer: a handler threw: on purpose");
    });
    buffer.commit();
    waiter.join();
  }
}

}  // namespace
}  // namespace cermet
