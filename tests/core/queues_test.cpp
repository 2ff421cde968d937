// Queues of a device whose memory the host cannot reach: each has a stream, and what one of them
// reads or writes keeps its place in the order of commits (ADR 0010).

#include <atomic>
#include <chrono>
#include <future>
#include <set>

#include "discrete_engine.h"
#include "harness/random.h"

namespace cermet::test {
namespace {

using Floats = FloatStep::Floats;
using std::chrono::milliseconds;

constexpr std::chrono::seconds patience{20};

/// Whether it ends soon; unlike a wait it lets a test go on.
bool ends(const CommandBuffer& commands, std::chrono::milliseconds within = patience) {
  const auto end = std::chrono::steady_clock::now() + within;
  while (commands.status() < CommandBufferStatus::Completed) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}
bool waits(const CommandBuffer& commands) { return !ends(commands, milliseconds(100)); }

/// Holds a step, or a handler, until it is opened.
class Held {
 public:
  ~Held() { open(); }
  void open() {
    if (!open_.exchange(true)) promise_.set_value();
  }
  [[nodiscard]] std::shared_future<void> future() const { return future_; }
  /// Also told that it began.
  std::promise<void> began;

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
  std::atomic<bool> open_{false};
};

StepPtr held_step(
    std::size_t read, std::size_t written, const std::shared_ptr<Held>& held,
    FloatStep::Body body = [](const Floats&, std::size_t) {}) {
  return std::make_shared<FloatStep>(
      read, written, [held, body = std::move(body)](const Floats& floats, std::size_t stream) {
        held->began.set_value();
        held->future().wait();
        body(floats, stream);
      });
}
StepPtr set_to(float value) {
  return std::make_shared<FloatStep>(
      0, 1, [value](const Floats& floats, std::size_t) { *floats[0] = value; });
}
StepPtr copy() {
  return std::make_shared<FloatStep>(
      1, 1, [](const Floats& floats, std::size_t) { *floats[1] = *floats[0]; });
}
FloatStep::Body copies() {
  return [](const Floats& floats, std::size_t) { *floats[1] = *floats[0]; };
}
FloatStep::Body sets_to(float value) {
  return [value](const Floats& floats, std::size_t) { *floats[0] = value; };
}

class Queues : public testing::Test {
 protected:
  ~Queues() override { held->open(); }

  std::shared_ptr<Held> held = std::make_shared<Held>();
  Device device = discrete();
  CommandQueue a = device.makeCommandQueue(), b = device.makeCommandQueue();
  Cell x{device}, y{device}, z{device};

  [[nodiscard]] static std::size_t workers(const Device& of) {
    return detail::DeviceImpl::of(of).workers->count();
  }
  /// Numbers of the streams that run work of these.
  static std::set<std::size_t> streams(const std::vector<CommandQueue>& queues) {
    std::set<std::size_t> found;
    for (const CommandQueue& queue : queues) {
      std::size_t number = max_streams;
      const auto tell = std::make_shared<FloatStep>(
          0, 1, [&](const Floats&, std::size_t stream) { number = stream; });
      run(queue, tell, {Cell(queue.device())});
      found.insert(number);
    }
    return found;
  }
};

TEST_F(Queues, HaveStreamsOfTheirOwn) {
  EXPECT_EQ(streams({a, b}), (std::set<std::size_t>{0, 1}));
  EXPECT_EQ(streams({b, a}), (std::set<std::size_t>{0, 1}));
  EXPECT_EQ(workers(device), 2U);
}

TEST_F(Queues, ThatFollowOneAnotherKeepOneStream) {
  const Device own = discrete();
  for (int i = 0; i < 200; ++i) run(own.makeCommandQueue(), increment(), {Cell(own)});
  EXPECT_EQ(workers(own), 1U);
  {
    const CommandQueue first = own.makeCommandQueue(), second = own.makeCommandQueue();
    EXPECT_EQ(streams({first, second}).size(), 2U);
  }
  for (int i = 0; i < 20; ++i) {
    const CommandQueue first = own.makeCommandQueue(), second = own.makeCommandQueue();
    EXPECT_EQ(streams({first, second}).size(), 2U);
  }
  EXPECT_EQ(workers(own), 2U) << "idle ones are taken before new ones are made";
}

TEST_F(Queues, AreKeptByTheirUnfinishedWork) {
  const Device own = discrete();
  CommandBuffer first = commit(own.makeCommandQueue(), held_step(0, 1, held), {Cell(own)});
  const CommandQueue second = own.makeCommandQueue();
  EXPECT_EQ(workers(own), 2U);
  held->open();
  first.waitUntilCompleted();
  run(second, increment(), {Cell(own)});
  const CommandQueue again = first.commandQueue();  // nobody has kept it
  EXPECT_EQ(again, first.commandQueue());
  run(again, increment(), {Cell(own)});
  EXPECT_EQ(streams({again, second}).size(), 2U);
}

TEST_F(Queues, BeyondTheMostShareStreams) {
  std::vector<CommandQueue> queues{a, b};
  while (queues.size() < 3 * max_streams) queues.push_back(device.makeCommandQueue());
  EXPECT_EQ(streams(queues).size(), max_streams);
  EXPECT_EQ(workers(device), max_streams);
  for (std::size_t round = 0; round < 4; ++round) {
    for (const CommandQueue& queue : queues) static_cast<void>(commit(queue, increment(), {x}));
  }
  run(a, increment(), {x});
  EXPECT_EQ(x.value(), 4.0F * static_cast<float>(queues.size()) + 1);
}

TEST_F(Queues, RunAtTheSameTime) {
  const CommandBuffer slow = commit(a, held_step(1, 1, held, copies()), {x, y});
  const CommandBuffer quick = commit(b, copy(), {x, z});  // both read x
  EXPECT_TRUE(ends(quick));
  EXPECT_LT(slow.status(), CommandBufferStatus::Completed);
  held->open();
  EXPECT_TRUE(ends(slow));
}

TEST_F(Queues, ReadWhatAnotherWroteBefore) {
  const CommandBuffer first = commit(a, held_step(0, 1, held, sets_to(7)), {x});
  const CommandBuffer second = commit(b, copy(), {x, y});
  EXPECT_TRUE(waits(second));
  held->open();
  ASSERT_TRUE(ends(second));
  EXPECT_EQ(y.value(), 7);
}

TEST_F(Queues, WriteAfterAnotherHasRead) {
  run(a, set_to(3), {x});
  const CommandBuffer first = commit(a, held_step(1, 1, held, copies()), {x, y});
  const CommandBuffer second = commit(b, set_to(9), {x});
  EXPECT_TRUE(waits(second));
  held->open();
  ASSERT_TRUE(ends(first) && ends(second));
  EXPECT_EQ(y.value(), 3);
  EXPECT_EQ(x.value(), 9);
}

TEST_F(Queues, WriteInTheOrderOfCommits) {
  const CommandBuffer first = commit(a, held_step(0, 1, held, sets_to(3)), {x});
  const CommandBuffer second = commit(b, set_to(9), {x});
  EXPECT_TRUE(waits(second));
  held->open();
  ASSERT_TRUE(ends(second));
  EXPECT_EQ(x.value(), 9);
}

TEST_F(Queues, FollowAllOthers) {
  const CommandQueue c = device.makeCommandQueue();
  const auto other = std::make_shared<Held>();
  const CommandBuffer first = commit(a, held_step(0, 1, held, sets_to(1)), {x});
  const CommandBuffer behind = commit(a, increment(), {z});  // later, of no interest
  const CommandBuffer second = commit(b, held_step(0, 1, other, sets_to(2)), {y});
  const auto sum = std::make_shared<FloatStep>(
      2, 1, [](const Floats& floats, std::size_t) { *floats[2] = *floats[0] + *floats[1]; });
  const Cell result(device);
  const CommandBuffer third = commit(c, sum, {x, y, result});
  EXPECT_TRUE(waits(third));
  held->open();
  EXPECT_TRUE(waits(third));
  other->open();
  ASSERT_TRUE(ends(third));
  EXPECT_EQ(result.value(), 3);
}

TEST_F(Queues, OfAChainPassOnWhatTheyFollow) {
  const CommandQueue c = device.makeCommandQueue();
  const CommandBuffer first = commit(a, held_step(0, 1, held, sets_to(5)), {x});
  static_cast<void>(commit(b, copy(), {x, y}));
  const CommandBuffer last = commit(c, copy(), {y, z});
  EXPECT_TRUE(waits(last));
  held->open();
  ASSERT_TRUE(ends(last));
  EXPECT_EQ(z.value(), 5);
}

TEST_F(Queues, FollowWorkFromBeforeTheyWereMade) {
  b = {};
  for (int round = 0; round < 3; ++round) {  // and again, when the first one has been alone again
    const auto again = std::make_shared<Held>();
    const float value = static_cast<float>(round) + 7;
    const CommandBuffer first = commit(a, held_step(0, 1, again, sets_to(value)), {x});
    const CommandQueue made = device.makeCommandQueue();
    const CommandBuffer second = commit(made, copy(), {x, y});
    EXPECT_TRUE(waits(second));
    again->open();
    ASSERT_TRUE(ends(second));
    EXPECT_EQ(y.value(), value);
    run(made, set_to(0), {y});
  }
}

TEST_F(Queues, PredicatesSeeWhatAnotherWrote) {
  const Predicate go(device);
  const Cell word(go.predicateBuffer(), 0);
  const CommandBuffer first = commit(
      a, held_step(0, 1, held, [](const Floats& floats, std::size_t) { *floats[0] = 1; }), {word});
  CommandBuffer second = b.makeCommandBuffer();
  second.setPredicate(go);
  encode(second, increment(), {x});
  second.commit();
  EXPECT_TRUE(waits(second));
  const CommandBuffer third = commit(a, set_to(0), {word});  // which it was committed before
  held->open();
  ASSERT_TRUE(ends(second) && ends(third));
  EXPECT_EQ(x.value(), 1);
}

TEST_F(Queues, KeepFailuresApart) {
  const Device failing = discrete(Failure{0, 1});
  const CommandQueue first = failing.makeCommandQueue(), second = failing.makeCommandQueue();
  const Cell cell(failing);
  // The first mark of its stream is that of the work before the second queue.
  CommandBuffer bad = commit(first, held_step(0, 1, held, sets_to(1)), {cell});
  CommandBuffer good = commit(second, increment(), {cell});
  held->open();
  bad.waitUntilCompleted();
  good.waitUntilCompleted();
  EXPECT_EQ(bad.status(), CommandBufferStatus::Error);
  EXPECT_EQ(good.status(), CommandBufferStatus::Completed);
  EXPECT_FALSE(good.error());
  run(first, increment(), {cell});
  EXPECT_EQ(cell.value(), 3);
}

// ---- handlers

TEST_F(Queues, MayBeMadeAndWaitedForInACompletedHandler) {
  b = {};
  CommandBuffer first = a.makeCommandBuffer();
  encode(first, set_to(4), {x});
  std::promise<float> seen;
  first.addCompletedHandler([&](CommandBuffer) {
    held->future().wait();
    const CommandQueue made = device.makeCommandQueue();
    CommandBuffer inner = commit(made, copy(), {x, y});
    inner.waitUntilCompleted();
    seen.set_value(y.value());
  });
  first.commit();
  const CommandBuffer behind = commit(a, increment(), {x});
  held->open();
  auto value = seen.get_future();
  ASSERT_EQ(value.wait_for(patience), std::future_status::ready);
  EXPECT_EQ(value.get(), 5) << "what was committed before is done";
  EXPECT_TRUE(ends(behind));
}

TEST_F(Queues, MayBeMadeInAScheduledHandler) {
  b = {};
  CommandBuffer first = a.makeCommandBuffer(), inner;
  encode(first, set_to(4), {x});
  first.addScheduledHandler([&](CommandBuffer) {
    const CommandQueue made = device.makeCommandQueue();
    inner = commit(made, copy(), {x, y});
    inner.waitUntilCompleted();  // returns: that work follows what this thread has yet to enqueue
  });
  first.commit();
  ASSERT_TRUE(ends(first));
  ASSERT_TRUE(ends(inner));
  EXPECT_EQ(y.value(), 4);
}

TEST_F(Queues, AHandlerDoesNotHoldUpAnother) {
  CommandBuffer first = a.makeCommandBuffer(), second = b.makeCommandBuffer();
  encode(first, increment(), {x});
  encode(second, increment(), {x});
  std::promise<void> called;
  bool together = false;
  first.addCompletedHandler([&](CommandBuffer) {
    together = called.get_future().wait_for(patience) == std::future_status::ready;
  });
  second.addCompletedHandler([&](CommandBuffer) { called.set_value(); });
  first.commit();
  second.commit();
  EXPECT_TRUE(ends(second));
  first.waitUntilCompleted();
  EXPECT_TRUE(together);
}

TEST_F(Queues, TheLastHandlesMayGoInHandlers) {
  for (int round = 0; round < 20; ++round) {
    std::promise<void> one, two;
    {
      const Device own = discrete();
      const auto cell = std::make_shared<Cell>(own);
      CommandBuffer first = own.makeCommandQueue().makeCommandBuffer();
      CommandBuffer second = own.makeCommandQueue().makeCommandBuffer();
      encode(first, increment(), {*cell});
      encode(second, increment(), {*cell});
      first.addCompletedHandler([own, &one](CommandBuffer) { one.set_value(); });
      second.addCompletedHandler([own, cell, &two](CommandBuffer) {
        EXPECT_EQ(cell->value(), 2);
        two.set_value();
      });
      first.commit();
      second.commit();
    }
    ASSERT_EQ(one.get_future().wait_for(patience), std::future_status::ready);
    ASSERT_EQ(two.get_future().wait_for(patience), std::future_status::ready);
  }
}

// ---- mirrors of `contents()`

TEST_F(Queues, WithAMirrorTheyTakeTurnsOnTheWholeBlock) {
  const Buffer both = device.makeBuffer(2 * sizeof(float));
  const auto* const contents = static_cast<float*>(both.contents());
  const CommandBuffer first = commit(a, held_step(0, 1, held, sets_to(1)), {{both, 0}});
  const CommandBuffer second = commit(b, set_to(2), {{both, 1}});
  EXPECT_TRUE(waits(second)) << "it copies the first float, too";
  held->open();
  ASSERT_TRUE(ends(first) && ends(second));
  EXPECT_EQ(contents[0], 1);
  EXPECT_EQ(contents[1], 2);
}

TEST_F(Queues, AMirrorMadeMeanwhileLosesNothing) {
  const Buffer both = device.makeBuffer(2 * sizeof(float));
  // Committed, not enqueued: their scheduled handlers wait.
  const auto second_held = std::make_shared<Held>(), step_held = std::make_shared<Held>();
  CommandBuffer first = a.makeCommandBuffer(), second = b.makeCommandBuffer();
  first.addScheduledHandler([this](CommandBuffer) { held->future().wait(); });
  second.addScheduledHandler([=](CommandBuffer) { second_held->future().wait(); });
  encode(first, set_to(1), {{both, 0}});
  encode(first, held_step(0, 1, step_held), {x});
  encode(second, set_to(2), {{both, 1}});
  first.commit();
  second.commit();
  const auto* const contents = static_cast<float*>(both.contents());
  held->open();
  ASSERT_EQ(step_held->began.get_future().wait_for(patience), std::future_status::ready);
  second_held->open();  // between the first one's write and its copy to the host
  ASSERT_TRUE(ends(second));
  step_held->open();
  ASSERT_TRUE(ends(first));
  EXPECT_EQ(contents[0], 1);
  EXPECT_EQ(contents[1], 2);
}

// ---- all together

TEST_F(Queues, GiveWhatOneQueueGives) {
  // Threads commit to queues that come and go; the same is done here in the order of commits.
  constexpr std::size_t threads = 4, rounds = 150, shared = 5;
  std::vector<Cell> cells;
  for (std::size_t i = 0; i < shared + threads; ++i) cells.emplace_back(device);
  std::vector<float> wanted(cells.size(), 0.0F);
  std::mutex order;
  const auto mix = [](float& to, float from, float addend) {
    to = static_cast<float>(
        (static_cast<int>(to) * 3 + static_cast<int>(from) + 1 + static_cast<int>(addend)) % 1009);
  };
  std::vector<std::thread> all;
  for (std::size_t thread = 0; thread < threads; ++thread) {
    all.emplace_back([&, thread] {
      Random random(thread + 1);
      CommandQueue queue = device.makeCommandQueue();
      CommandBuffer last;
      for (std::size_t round = 0; round < rounds; ++round) {
        if (random.below(10) == 0) queue = device.makeCommandQueue();
        const std::size_t from = random.below(shared);
        const std::size_t to = random.below(3) == 0 ? shared + thread : random.below(shared);
        const auto addend = static_cast<float>(random.below(100));
        const auto pause = std::chrono::microseconds(random.below(200));
        const auto step = std::make_shared<FloatStep>(1, 1, [=](const Floats& floats, std::size_t) {
          const float value = *floats[0];
          std::this_thread::sleep_for(pause);
          mix(*floats[1], value, addend);
        });
        last = queue.makeCommandBuffer();
        encode(last, step, {cells[from], cells[to]});
        const std::scoped_lock lock(order);
        last.commit();
        mix(wanted[to], wanted[from], addend);
      }
      last.waitUntilCompleted();
    });
  }
  for (std::thread& one : all) one.join();
  for (std::size_t i = 0; i < cells.size(); ++i) {
    run(a, increment(), {cells[i]});  // behind all that touches it
    EXPECT_EQ(cells[i].value(), wanted[i] + 1) << i;
  }
}

}  // namespace
}  // namespace cermet::test
