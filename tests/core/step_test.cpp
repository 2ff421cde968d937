// Steps: what a recording does with them, and what becomes of one that fails (design 3).

#include "cermet/core/step.h"

#include <cstring>
#include <new>

#include "cermet/core/step_memo.h"
#include "core/device_impl.h"
#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using Status = CommandBufferStatus;

/// The steps below run on the host, whatever the device under test.
const Device& host() {
  static const Device device = Device::cpu(1);
  return device;
}

/// Writes its scalar to the address of slot 0, and notes what it was given.
struct Probe final : Step {
  struct Bound final : BoundStep {
    explicit Bound(const Probe* what) : step(what) {}
    void run(Stream&) noexcept override {
      *address = value;
      step->scratch_seen = scratch;
      if (scratch != nullptr) std::memset(scratch, 0xFF, step->scratch_bytes);
    }
    void rebind(const Slots& slots, void* memory, const void* scalars) override {
      address = static_cast<float*>(slots[0]);
      scratch = memory;
      std::memcpy(&value, scalars, sizeof value);
    }
    const Probe* step;
    float* address = nullptr;
    void* scratch = nullptr;
    float value = 0;
  };
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
    ++binds;
    if (fault) fault();
    return std::make_unique<Bound>(this);
  }
  std::function<void()> fault;
  mutable int binds = 0;
  mutable void* scratch_seen = nullptr;
};

void add(const CommandBuffer& buffer, const StepPtr& step, float* address, float value) {
  buffer.recording().add(step, {address}, &value, sizeof value);
}

TEST(Step, IsBoundOnceAndGetsTheValuesOfEachEncode) {
  CommandBuffer buffer = host().makeCommandQueue().makeCommandBuffer();
  const auto step = std::make_shared<Probe>();
  float results[3] = {};
  for (int i = 0; i < 3; ++i) add(buffer, step, &results[i], static_cast<float>(i + 5));
  EXPECT_EQ(buffer.recording().steps(), 3U);
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(results[0], 5);
  EXPECT_EQ(results[1], 6);
  EXPECT_EQ(results[2], 7);
  EXPECT_EQ(step->binds, 1);
}

TEST(Step, IsKeptUntilItHasRun) {
  const auto step = std::make_shared<Probe>();
  const std::weak_ptr<Probe> watch = step;
  float result = 0;
  CommandBuffer buffer = host().makeCommandQueue().makeCommandBuffer();
  {
    auto moved = std::make_shared<Probe>();
    add(buffer, moved, &result, 4);
  }
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(result, 4);
  CommandBuffer dropped = host().makeCommandQueue().makeCommandBuffer();
  add(dropped, step, &result, 9);
  EXPECT_EQ(step.use_count(), 2);
  dropped = {};
  EXPECT_EQ(step.use_count(), 1);
  EXPECT_EQ(result, 4);
}

TEST(Step, ScratchIsAlignedAndSharedByTheStream) {
  CommandBuffer buffer = host().makeCommandQueue().makeCommandBuffer();
  const auto one = std::make_shared<Probe>(), two = std::make_shared<Probe>();
  one->scratch_bytes = 3000;
  two->scratch_bytes = 2900;
  float result = 0;
  add(buffer, one, &result, 1);
  add(buffer, two, &result, 2);
  buffer.commit();
  buffer.waitUntilCompleted();
  ASSERT_NE(one->scratch_seen, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one->scratch_seen) % 64, 0U);
  EXPECT_EQ(one->scratch_seen, two->scratch_seen) << "they run one after the other";
}

TEST(Step, WithoutMemoryForItsScratchNothingIsRecorded) {
  CommandBuffer buffer = host().makeCommandQueue().makeCommandBuffer();
  float result = 3;
  {
    const auto greedy = std::make_shared<Probe>();
    greedy->scratch_bytes = std::size_t{1} << 55;
    EXPECT_THROW(add(buffer, greedy, &result, 1), DeviceError);
    EXPECT_EQ(greedy.use_count(), 1);
  }
  EXPECT_EQ(buffer.recording().steps(), 0U);
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(buffer.status(), Status::Completed);
  EXPECT_EQ(result, 3);
}

TEST(Step, AFaultBecomesTheErrorOfTheBufferAndSkipsTheRest) {
  struct Row {
    std::function<void()> fault;
    CommandBufferError code;
    const char* text;
  };
  const Row rows[] = {
      {[] { throw DeviceError(CommandBufferError::PageFault, "page 7"); },
       CommandBufferError::PageFault, "page 7"},
      {[] { throw std::bad_alloc(); }, CommandBufferError::OutOfMemory,
       "CommandBuffer: a step found no memory."},
      {[] { throw std::logic_error("odd"); }, CommandBufferError::Internal,
       "CommandBuffer: a step failed: odd"},
      {[] { throw 3; }, CommandBufferError::Internal, "CommandBuffer: a step failed."},
  };
  const CommandQueue queue = host().makeCommandQueue();
  for (const Row& row : rows) {
    CommandBuffer buffer = queue.makeCommandBuffer();
    const auto faulty = std::make_shared<Probe>(), after = std::make_shared<Probe>();
    faulty->fault = row.fault;
    float result = 0;
    bool handled = false;
    add(buffer, faulty, &result, 1);
    add(buffer, after, &result, 2);
    buffer.addCompletedHandler(
        [&](CommandBuffer given) { handled = given.status() == Status::Error; });
    buffer.commit();
    buffer.waitUntilCompleted();
    EXPECT_TRUE(handled);
    EXPECT_EQ(buffer.status(), Status::Error);
    ASSERT_TRUE(buffer.error());
    EXPECT_EQ(buffer.error()->code(), row.code);
    EXPECT_STREQ(buffer.error()->what(), row.text);
    EXPECT_EQ(result, 0);
    CommandBuffer next = queue.makeCommandBuffer();
    add(next, after, &result, 8);
    next.commit();
    next.waitUntilCompleted();
    EXPECT_EQ(next.status(), Status::Completed) << "the queue goes on";
    EXPECT_EQ(result, 8);
  }
}

TEST(Step, DescriptionsReadWell) {
  EXPECT_EQ(describe(dense_desc(32, 28, 20, 64)), "32x28x20x64 float32");
  EXPECT_EQ(describe(flat_desc(7, ElementType::uint8)), "1x1x1x7 uint8");
  EXPECT_EQ(describe(TensorDesc{}), "absent");
  EXPECT_TRUE(dense_desc(2, 3, 4, 5).dense());
  TensorDesc window = dense_desc(2, 3, 4, 5);
  window.w = 3;
  EXPECT_FALSE(window.dense());
  EXPECT_EQ(window.count(), 90);
  EXPECT_EQ(window.pixels(), 18);
}

/// Makes a new step for every question.
struct CountingEngine final : Engine {
  StepPtr prepare(const OpView&, Descs) override {
    ++prepared;
    if (refuse) throw std::runtime_error("refused");
    return std::make_shared<Probe>();
  }
  void* allocate(std::size_t) override { return nullptr; }
  void release(void*, std::size_t) noexcept override {}
  void fill_zero(void*, std::size_t) override {}
  std::unique_ptr<Stream> make_stream() override { return nullptr; }
  [[nodiscard]] std::string name() const override { return "counting"; }
  [[nodiscard]] int threads() const override { return 1; }
  int prepared = 0;
  bool refuse = false;
};

TEST(StepMemo, AsksOnlyWhenSomethingChanged) {
  CountingEngine engine, other;
  detail::StepMemo memo;
  int parameters[2] = {1, 2};
  OpView op{7, parameters, sizeof parameters, "op", {}};
  std::vector<TensorDesc> descs = {dense_desc(1, 2, 3, 4), dense_desc(1, 2, 3, 4)};
  const StepPtr first = memo.find(engine, op, descs);
  EXPECT_EQ(memo.find(engine, op, descs), first);
  EXPECT_EQ(engine.prepared, 1);
  const auto changes = [&](auto&& change) {
    const int before = engine.prepared + other.prepared;
    change();
    return engine.prepared + other.prepared - before;
  };
  EXPECT_EQ(changes([&] {
              parameters[1] = 9;
              static_cast<void>(memo.find(engine, op, descs));
            }),
            1);
  EXPECT_EQ(changes([&] {
              op.id = 8;
              static_cast<void>(memo.find(engine, op, descs));
            }),
            1);
  EXPECT_EQ(changes([&] {
              op.bytes = 4;
              static_cast<void>(memo.find(engine, op, descs));
            }),
            1);
  EXPECT_EQ(changes([&] {
              descs[1].stride_h = 99;
              static_cast<void>(memo.find(engine, op, descs));
            }),
            1);
  EXPECT_EQ(changes([&] {
              descs.pop_back();
              static_cast<void>(memo.find(engine, op, descs));
            }),
            1);
  EXPECT_EQ(changes([&] { static_cast<void>(memo.find(other, op, descs)); }), 1);
  EXPECT_EQ(changes([&] { static_cast<void>(memo.find(other, op, descs)); }), 0);
  detail::StepMemo copy = memo;
  EXPECT_EQ(changes([&] { static_cast<void>(copy.find(other, op, descs)); }), 1)
      << "a copy starts empty";
}

TEST(StepMemo, AFailureLeavesItAsItWas) {
  CountingEngine engine;
  detail::StepMemo memo;
  int parameter = 1;
  const OpView op{7, &parameter, sizeof parameter, "op", {}};
  const std::vector<TensorDesc> descs = {dense_desc(1, 1, 1, 1)}, others = {dense_desc(1, 1, 1, 2)};
  const StepPtr first = memo.find(engine, op, descs);
  engine.refuse = true;
  EXPECT_THROW(static_cast<void>(memo.find(engine, op, others)), std::runtime_error);
  EXPECT_EQ(memo.find(engine, op, descs), first);
}

TEST(Complaint, HasItsParts) {
  EXPECT_EQ(describe(Complaint{"CNNPoolingMax", "pool1", "source", "4x4x3", "one image or more",
                               "Pass the batch."}),
            "CNNPoolingMax \"pool1\": source is 4x4x3; needed one image or more. Pass the batch.");
  EXPECT_EQ(describe(Complaint{"Image", "", "region", "empty", "", ""}), "Image: region is empty.");
  EXPECT_EQ(complaint([] {
              fail({"A", "b", "c", "d", "e", "f"});
            }),
            "A \"b\": c is d; needed e. f");
}

}  // namespace
}  // namespace cermet
