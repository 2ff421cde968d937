// What a command buffer adds to its work: predicates, wrapping, heap providers (spec: core 3).

#include <array>
#include <atomic>
#include <limits>
#include <mutex>

#include "cermet/cnn/convolution.h"
#include "cermet/core/state.h"
#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using test::filled;
using test::floats;
using test::settle;
using test::tested;

/// Adds 1: a neuron a * x + b.
CNNNeuronLinear plus_one() { return {tested(), 1.0F, 1.0F}; }

std::uint32_t& word(const Predicate& predicate) {
  return predicate.predicateBuffer().as<std::uint32_t>()[predicate.predicateOffset() / 4];
}

class Predicates : public ::testing::Test {
 protected:
  CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();
  const ImageDescriptor descriptor = floats(2, 1, 1);
  const Image source = filled(descriptor, 4);

  [[nodiscard]] static float value(const Image& image) { return image.read_floats()[0]; }
  void finish() {
    buffer.commit();
    buffer.waitUntilCompleted();
    ASSERT_EQ(buffer.status(), CommandBufferStatus::Completed);
  }
};

TEST_F(Predicates, WordsInABuffer) {
  const Buffer words = tested().makeBuffer(12);
  const Predicate predicate(words, 8);
  EXPECT_EQ(predicate.predicateBuffer(), words);
  EXPECT_EQ(predicate.predicateOffset(), 8U);
  EXPECT_EQ(Predicate::predicate(words, 8), predicate);
  EXPECT_NE(Predicate::predicate(words, 4), predicate);
  EXPECT_FALSE(Predicate());
  const Predicate own(tested());
  EXPECT_TRUE(own);
  EXPECT_EQ(word(own), 0U);
  const Predicate other(tested());
  word(own) = 1;
  EXPECT_EQ(word(other), 0U) << "each has a word of its own";
}

TEST_F(Predicates, MessagesAboutPredicates) {
  const Buffer words = tested().makeBuffer(8);
  EXPECT_EQ(complaint([&] { const Predicate p(words, 2); }),
            "Predicate: offset is 2 of 8 bytes; needed a multiple of 4 with 4 bytes behind it.");
  EXPECT_EQ(complaint([&] { const Predicate p(words, 8); }),
            "Predicate: offset is 8 of 8 bytes; needed a multiple of 4 with 4 bytes behind it.");
  EXPECT_EQ(complaint([&] { const Predicate p(tested().makeBuffer(2), 0); }),
            "Predicate: offset is 0 of 2 bytes; needed a multiple of 4 with 4 bytes behind it.");
  EXPECT_EQ(complaint([] { const Predicate p(Buffer(), 0); }),
            "Predicate: buffer is nil; needed a buffer.");
  buffer.setLabel("b");
  EXPECT_EQ(
      complaint([&] { buffer.setPredicate(Predicate(Device::cpu(1))); }),
      "CommandBuffer \"b\": predicate is on another device; needed a predicate of the command "
      "buffer's device.");
  EXPECT_FALSE(buffer.predicate());
}

TEST_F(Predicates, SkipWhatIsEncodedUnderThem) {
  const Predicate predicate(tested());
  for (const bool runs : {false, true}) {
    word(predicate) = runs ? 7 : 0;
    buffer = queue.makeCommandBuffer();
    const Image before = filled(descriptor, -1), under = filled(descriptor, -1),
                after = filled(descriptor, -1);
    plus_one().encode(buffer, source, before);
    buffer.setPredicate(predicate);
    EXPECT_EQ(buffer.predicate(), predicate);
    plus_one().encode(buffer, source, under);
    buffer.setPredicate({});
    EXPECT_FALSE(buffer.predicate());
    plus_one().encode(buffer, source, after);
    finish();
    EXPECT_EQ(value(before), 5);
    EXPECT_EQ(value(under), runs ? 5 : -1);
    EXPECT_EQ(value(after), 5);
  }
}

TEST_F(Predicates, AreReadWhenTheWorkRuns) {
  const Predicate predicate(tested());
  const Image under = filled(descriptor, -1);
  buffer.setPredicate(predicate);
  plus_one().encode(buffer, source, under);
  test::Gate gate(queue);
  buffer.commit();
  word(predicate) = 1;
  gate.open();
  buffer.waitUntilCompleted();
  EXPECT_EQ(value(under), 5);
}

TEST_F(Predicates, ReadCountsAreTakenAtEncodeAllTheSame) {
  buffer.setPredicate(Predicate(tested()));
  const TemporaryImage once(buffer, descriptor);
  plus_one().encode(buffer, once, filled(descriptor, 0));
  EXPECT_EQ(once.readCount(), 0U);
  finish();
}

TEST_F(Predicates, KeepTheirBufferAlive) {
  const Image under = filled(descriptor, -1);
  {
    const Predicate predicate(tested());
    word(predicate) = 1;
    buffer.setPredicate(predicate);
    plus_one().encode(buffer, source, under);
    buffer.setPredicate({});
  }
  const Buffer others[] = {tested().makeBuffer(4),
                           tested().makeBuffer(4)};  // might take its memory
  finish();
  EXPECT_EQ(value(under), 5);
}

TEST_F(Predicates, WrappersHaveOneEach) {
  const Predicate outer(tested()), inner(tested());
  for (const bool outer_runs : {false, true}) {
    for (const bool inner_runs : {false, true}) {
      word(outer) = outer_runs ? 1 : 0;
      word(inner) = inner_runs ? 1 : 0;
      buffer = queue.makeCommandBuffer();
      const CommandBuffer plain = buffer.rootCommandBuffer();
      buffer.setPredicate(inner);
      CommandBuffer wrapper = CommandBuffer::commandBuffer(buffer);
      EXPECT_FALSE(wrapper.predicate());
      wrapper.setPredicate(outer);
      EXPECT_EQ(buffer.predicate(), inner);
      std::array<Image, 3> results;
      for (Image& result : results) result = filled(descriptor, -1);
      plus_one().encode(wrapper, source, results[0]);
      plus_one().encode(buffer, source, results[1]);
      plus_one().encode(plain, source, results[2]);
      finish();
      EXPECT_EQ(value(results[0]), outer_runs && inner_runs ? 5 : -1);
      EXPECT_EQ(value(results[1]), inner_runs ? 5 : -1);
      EXPECT_EQ(value(results[2]), 5);
    }
  }
}

TEST_F(Predicates, WrappersAreOnePieceOfWork) {
  buffer.setLabel("inner");
  CommandBuffer wrapper = CommandBuffer::commandBuffer(buffer);
  CommandBuffer twice = CommandBuffer::commandBuffer(wrapper);
  EXPECT_EQ(wrapper, buffer);
  EXPECT_EQ(wrapper.label(), "inner");
  EXPECT_EQ(wrapper.commandBuffer(), buffer);
  EXPECT_EQ(twice.rootCommandBuffer(), buffer.rootCommandBuffer());
  EXPECT_EQ(wrapper.device(), tested());
  wrapper.setPredicate(Predicate(tested()));
  EXPECT_TRUE(twice.commandBuffer().predicate()) << "what it wraps, with its predicate";
  EXPECT_FALSE(buffer.commandBuffer().predicate());
  const TemporaryImage temporary(buffer, descriptor);
  const CommandBuffer first = wrapper.rootCommandBuffer();
  twice.commitAndContinue();
  EXPECT_EQ(first.status() >= CommandBufferStatus::Committed, true);
  EXPECT_EQ(buffer.status(), CommandBufferStatus::NotEnqueued) << "forwarded to what is wrapped";
  EXPECT_EQ(twice, buffer);
  EXPECT_TRUE(wrapper.predicate());
  const Image result = filled(descriptor, -1);
  plus_one().encode(buffer, temporary, filled(descriptor, 0));
  plus_one().encode(wrapper, source, result);
  wrapper.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(value(result), -1);
  EXPECT_EQ(complaint([] { static_cast<void>(CommandBuffer::commandBuffer({})); }),
            "CommandBuffer: commandBuffer is nil. Make one with queue.makeCommandBuffer().");
}

class OnesSource final : public CNNConvolutionDataSource {
 public:
  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 16, 16);
  }
  [[nodiscard]] const void* weights() override { return values_.data(); }
  [[nodiscard]] const float* biasTerms() override { return nullptr; }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "ones"; }

 private:
  std::vector<float> values_ = std::vector<float>(std::size_t{3 * 3 * 16 * 16}, 1.0F);
};

TEST_F(Predicates, PackedWeightsAreFilledWhateverTheySay) {
  const CNNConvolution convolution(tested(), std::make_shared<OnesSource>());
  const Image input = filled(floats(8, 8, 16), 1);
  const Image skipped(tested(), floats(8, 8, 16)), result(tested(), floats(8, 8, 16));
  buffer.setPredicate(Predicate(tested()));
  convolution.encode(buffer, input, skipped);  // the first encode packs the weights
  buffer.setPredicate({});
  convolution.encode(buffer, input, result);
  finish();
  EXPECT_EQ(value(skipped), 0);
  EXPECT_EQ(value(result), 4 * 16) << "a corner: 4 taps inside";
}

/// Hands out buffers and takes note of them.
class Heaps final : public HeapProvider {
 public:
  Buffer newHeap(const HeapDescriptor& heap) override {
    const std::scoped_lock lock(mutex_);
    asked.push_back(heap.size);
    if (refuses) return {};
    made.push_back(wrong ? wrong : tested().makeBuffer(heap.size));
    return made.back();
  }
  void retireHeap(const Buffer& heap, double seconds) override {
    const std::scoped_lock lock(mutex_);
    retired.push_back(heap);
    delays.push_back(seconds);
  }
  [[nodiscard]] std::size_t retired_count() const {
    const std::scoped_lock lock(mutex_);
    return retired.size();
  }

  bool refuses = false;
  Buffer wrong;
  std::vector<std::size_t> asked;
  std::vector<Buffer> made, retired;
  std::vector<double> delays;

 private:
  mutable std::mutex mutex_;
};

class HeapProviders : public Predicates {
 protected:
  const std::shared_ptr<Heaps> heaps = std::make_shared<Heaps>();

  /// Two temporaries, one after the other: 4 + 1 + 1 + 1.
  [[nodiscard]] Image chain() {
    const Image result = filled(descriptor, -1);
    const Image first = plus_one().encode(buffer, source);
    const Image second = plus_one().encode(buffer, first);
    plus_one().encode(buffer, second, result);
    return result;
  }
  static CNNNeuronLinear plus_one() { return {tested(), 1.0F, 1.0F}; }
};

TEST_F(HeapProviders, SupplyTheMemoryOfTemporaries) {
  EXPECT_EQ(buffer.heapProvider(), nullptr);
  buffer.setHeapProvider(heaps);
  EXPECT_EQ(buffer.heapProvider(), heaps);
  EXPECT_EQ(buffer.rootCommandBuffer().heapProvider(), heaps) << "of the root, not the wrapper";
  const Image result = chain();
  ASSERT_EQ(heaps->made.size(), 2U);
  EXPECT_GE(heaps->asked[0], 8U);
  EXPECT_EQ(heaps->retired_count(), 0U);
  static_cast<void>(plus_one().encode(buffer, source));
  EXPECT_EQ(heaps->made.size(), 2U) << "a heap is free again after the last read";
  finish();
  settle(tested());
  EXPECT_EQ(value(result), 7);
  EXPECT_EQ(heaps->retired_count(), 2U) << "each once, when the work is done";
  EXPECT_EQ(heaps->delays, (std::vector<double>{5, 5})) << "the documented default";
}

TEST_F(HeapProviders, AreToldHowLongToKeepAHeap) {
  buffer.setHeapProvider(heaps);
  SetHeapCacheDuration(buffer, 0.25);
  static_cast<void>(plus_one().encode(buffer, source));
  finish();
  settle(tested());
  EXPECT_EQ(heaps->delays, std::vector<double>{0.25});
  buffer = queue.makeCommandBuffer();
  EXPECT_EQ(buffer.heapProvider(), nullptr) << "a new buffer has none";
  buffer.setHeapProvider(heaps);
  SetHeapCacheDuration(buffer, std::numeric_limits<double>::quiet_NaN());
  HintTemporaryMemoryHighWaterMark(buffer, 64);
  finish();
  settle(tested());
  ASSERT_EQ(heaps->delays.size(), 2U);
  EXPECT_EQ(heaps->delays[1], 0.0);
}

TEST_F(HeapProviders, MayRefuse) {
  heaps->refuses = true;
  buffer.setHeapProvider(heaps);
  const Image result = chain();
  finish();
  EXPECT_FALSE(heaps->asked.empty());
  EXPECT_EQ(value(result), 7) << "with the library's own memory";
}

TEST_F(HeapProviders, AreChecked) {
  buffer.setHeapProvider(heaps);
  buffer.setLabel("b");
  heaps->wrong = tested().makeBuffer(16);
  EXPECT_EQ(complaint([&] { static_cast<void>(plus_one().encode(buffer, source)); }),
            "HeapProvider \"b\": newHeap is 16 bytes; needed 64 bytes or more on the device of the "
            "command buffer. Return nil to let the library take its own memory.");
  heaps->wrong = Device::cpu(1).makeBuffer(64);
  EXPECT_EQ(
      complaint([&] { static_cast<void>(plus_one().encode(buffer, source)); }),
      "HeapProvider \"b\": newHeap is on another device; needed 64 bytes or more on the device "
      "of the command buffer. Return nil to let the library take its own memory.");
  buffer.setHeapProvider(nullptr);
  EXPECT_NO_THROW(static_cast<void>(plus_one().encode(buffer, source)));
}

TEST_F(HeapProviders, StayWithTheChainOfPieces) {
  buffer.setHeapProvider(heaps);
  const Image first = plus_one().encode(buffer, source);
  const Image gone = plus_one().encode(buffer, source);
  plus_one().encode(buffer, gone, filled(descriptor, 0));  // its heap is free
  buffer.commitAndContinue();
  EXPECT_EQ(buffer.heapProvider(), heaps);
  settle(tested());
  EXPECT_EQ(heaps->retired_count(), 0U) << "still of use to the next piece";
  const Image result = filled(descriptor, -1);
  const Image second = plus_one().encode(buffer, first);
  EXPECT_EQ(heaps->made.size(), 2U);
  plus_one().encode(buffer, second, result);
  finish();
  settle(tested());
  EXPECT_EQ(value(result), 7);
  EXPECT_EQ(heaps->retired_count(), 2U);
}

TEST_F(HeapProviders, HearOfBuffersThatAreDropped) {
  buffer.setHeapProvider(heaps);
  {
    const TemporaryImage unused(buffer, descriptor);
    const auto state = State::temporaryState(buffer, 100);
    EXPECT_EQ(heaps->made.size(), 2U) << "states too";
  }
  static_cast<void>(plus_one().encode(buffer, source));
  buffer = {};
  settle(tested());
  EXPECT_EQ(heaps->retired_count(), heaps->made.size());
}

TEST_F(HeapProviders, MayUseTheQueueWhenTheyAreTold) {
  struct Busy final : HeapProvider {
    CommandQueue queue;
    std::atomic<int> told{0};
    explicit Busy(CommandQueue of) : queue(std::move(of)) {}
    Buffer newHeap(const HeapDescriptor& heap) override { return tested().makeBuffer(heap.size); }
    void retireHeap(const Buffer&, double) override {
      CommandBuffer another = queue.makeCommandBuffer();
      another.commit();
      ++told;
      throw std::runtime_error("lost");
    }
  };
  const auto busy = std::make_shared<Busy>(queue);
  buffer.setHeapProvider(busy);
  const Image result = chain();
  finish();
  settle(tested());
  EXPECT_EQ(value(result), 7);
  EXPECT_EQ(busy->told, 2);
}

}  // namespace
}  // namespace cermet
