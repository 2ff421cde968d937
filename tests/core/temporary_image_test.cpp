// Temporary images: read counts, views, errors, and reuse of their memory (spec: core 6).

#include <algorithm>
#include <random>

#include "cermet/cnn/loss.h"
#include "core/device_impl.h"
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

class TemporaryImages : public ::testing::Test {
 protected:
  CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();
  CNNNeuronLinear plus_one{tested(), 1, 1}, same{tested(), 1, 0};
  Image source = filled(floats(4, 4, 4), 3), out{tested(), floats(4, 4, 4)};

  void finish() {
    buffer.commit();
    buffer.waitUntilCompleted();
  }
};

const char* const read_before =
    "read for the last time already; needed a temporary image with reads left. Raise readCount "
    "once "
    "for every encode that reads it.";

// ---- counts
// --------------------------------------------------------------------------------------

TEST_F(TemporaryImages, OneReadAnyNumberOfWrites) {
  const TemporaryImage image(buffer, floats(4, 4, 4));
  EXPECT_TRUE(image.is_temporary());
  EXPECT_EQ(image.readCount(), 1U);
  plus_one.encode(buffer, source, image);
  same.encode(buffer, source, image);
  NNInitialGradient(tested()).encode(buffer, source, image);
  EXPECT_EQ(image.readCount(), 1U) << "writing does not change the count";
  plus_one.encode(buffer, image, out);
  EXPECT_EQ(image.readCount(), 0U);
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 2));
}

TEST_F(TemporaryImages, ARaisedCountPermitsMoreReads) {
  const TemporaryImage image(buffer, floats(4, 4, 4));
  plus_one.encode(buffer, source, image);
  image.setReadCount(3);
  const Image second(tested(), floats(4, 4, 4)), third(tested(), floats(4, 4, 4));
  same.encode(buffer, image, out);
  EXPECT_EQ(image.readCount(), 2U);
  same.encode(buffer, image, second);
  same.encode(buffer, image, third);
  EXPECT_EQ(image.readCount(), 0U);
  finish();
  for (const Image& result : {out, second, third})
    EXPECT_EQ(result.read_floats(), constant(result, 4));
}

TEST_F(TemporaryImages, UseAfterTheLastReadIsAnErrorThatNamesIt) {
  TemporaryImage image(buffer, floats(4, 4, 4));
  image.setLabel("activation 3");
  plus_one.encode(buffer, source, image);
  plus_one.encode(buffer, image, out);
  CNNNeuronLinear reader(tested(), 1, 0);
  reader.setLabel("copy");
  const std::string subject = "CNNNeuron \"copy\": ", what = "4x4x4 Float32 \"activation 3\", ";
  EXPECT_EQ(complaint([&] { reader.encode(buffer, image, out); }),
            subject + "sourceImage is " + what + read_before);
  EXPECT_EQ(complaint([&] { reader.encode(buffer, source, image); }),
            subject + "destinationImage is " + what + read_before);
  EXPECT_EQ(complaint([&] { image.setReadCount(1); }),
            "Image \"activation 3\": readCount is 0: the storage is gone; needed a temporary image "
            "that still has reads.");
  EXPECT_EQ(complaint([&] {
              static_cast<void>(image.subImage({0, 4}));
            }),
            "Image \"activation 3\": the image is read for the last time already; needed a "
            "temporary image with "
            "reads left. Raise readCount once for every encode that reads it or a view of it.");
  EXPECT_NE(complaint([&] { static_cast<void>(image.batchRepresentation()); }), "no exception");
  EXPECT_EQ(buffer.recording().steps(), 2U) << "refused encodes record nothing";
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 5));
}

TEST_F(TemporaryImages, SettingTheCountToZeroReleases) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  const TemporaryImage image(buffer, floats(64, 64, 8));
  const std::size_t with = tested().memory_use().in_use;
  EXPECT_GE(with, before + 64 * 64 * 8 * 4);
  image.setReadCount(0);
  EXPECT_EQ(image.readCount(), 0U);
  EXPECT_EQ(tested().memory_use().in_use, before);
  EXPECT_NE(complaint([&] { same.encode(buffer, source, image); }), "no exception");
  EXPECT_NE(complaint([&] { image.setReadCount(0); }), "no exception");
}

TEST_F(TemporaryImages, ReleasedByHandStillServesWhatWasEncoded) {
  const TemporaryImage image(buffer, floats(4, 4, 4));
  plus_one.encode(buffer, source, image);
  image.setReadCount(2);
  same.encode(buffer, image, out);
  image.setReadCount(0);
  const Image host = filled(floats(4, 4, 4), 77);  // must not get the memory
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 4));
  EXPECT_EQ(host.read_floats(), constant(host, 77));
}

TEST_F(TemporaryImages, AnotherCommandBufferIsAnError) {
  const TemporaryImage image(buffer, floats(4, 4, 4));
  plus_one.encode(buffer, source, image);
  CommandBuffer other = queue.makeCommandBuffer();
  const std::string wanted =
      "CNNNeuron: sourceImage is temporary in another command buffer; needed images of this "
      "command "
      "buffer. Use Image::defaultAllocator() for images that outlive their command buffer.";
  EXPECT_EQ(complaint([&] { same.encode(other, image, out); }), wanted);
  EXPECT_NE(complaint([&] { same.encode(other, source, image); }), "no exception");
  EXPECT_EQ(image.readCount(), 1U) << "a refused encode reads nothing";
  same.encode(buffer, image, out);
  finish();
  // Not even one that uses the memory of a finished buffer again.
  const CommandBuffer old = buffer;
  buffer = queue.makeCommandBuffer();
  const TemporaryImage late(buffer, floats(4, 4, 4));
  buffer = {};
  other = queue.makeCommandBuffer();
  EXPECT_EQ(complaint([&] { same.encode(other, late, out); }), wanted);
}

TEST_F(TemporaryImages, TheHostCannotReachThem) {
  const TemporaryImage image(buffer, floats(1, 1, 1));
  float value = 0;
  const std::string wanted =
      "Image: the image is temporary; needed storage that the host can reach. Make the image with "
      "Image::defaultAllocator() and storageMode Shared to read or write it.";
  const auto layout = DataLayout::HeightxWidthxFeatureChannels;
  EXPECT_EQ(complaint([&] { image.readBytes(&value, layout); }), wanted);
  EXPECT_EQ(complaint([&] { image.writeBytes(&value, layout); }), wanted);
  EXPECT_EQ(complaint([&] { static_cast<void>(image.read_floats()); }), wanted);
  EXPECT_EQ(complaint([&] { image.write_floats(std::vector<float>(1)); }), wanted);
}

TEST_F(TemporaryImages, CountedOncePerDistinctObjectOfABatch) {
  const ImageBatch batch(buffer, floats(4, 4, 4), 2);
  const TemporaryImage single(buffer, floats(4, 4, 4));
  for (const Image& image : {batch[0], batch[1], Image(single)}) same.encode(buffer, source, image);
  batch[0].setReadCount(2);
  const ImageBatch mixed({batch[1], single, batch[1], batch[0], single});
  const ImageBatch results(tested(), floats(4, 4, 4), 5);
  plus_one.encodeBatch(buffer, mixed, results);
  EXPECT_EQ(batch[0].readCount(), 1U);
  EXPECT_EQ(batch[1].readCount(), 0U);
  EXPECT_EQ(single.readCount(), 0U);
  EXPECT_EQ(
      complaint([&] { same.encodeBatch(buffer, batch, ImageBatch(tested(), floats(4, 4, 4), 2)); }),
      std::string("CNNNeuron: sourceImage is 2 images of 4x4x4 Float32, ") + read_before);
  EXPECT_EQ(batch[0].readCount(), 1U);
  finish();
  for (const Image image : results) EXPECT_EQ(image.read_floats(), constant(image, 4));
}

TEST_F(TemporaryImages, ReturnedResultsStartWithOneRead) {
  const Image first = CNNNeuronLinear(plus_one).encode(buffer, source);
  EXPECT_TRUE(first.is_temporary());
  EXPECT_EQ(first.readCount(), 1U);
  const Image second = CNNNeuronLinear(plus_one).encode(buffer, first);
  EXPECT_EQ(first.readCount(), 0U);
  same.encode(buffer, second, out);
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 5));
}

// ---- views
// ---------------------------------------------------------------------------------------

TEST_F(TemporaryImages, AViewHoldsOneReadOfItsParent) {
  const TemporaryImage image(buffer, floats(4, 4, 8));
  plus_one.encode(buffer, filled(floats(4, 4, 8), 1), image);
  image.setReadCount(2);
  const Image view = image.subImage({4, 4});
  EXPECT_TRUE(view.is_temporary());
  EXPECT_EQ(view.readCount(), 1U);
  EXPECT_EQ(image.readCount(), 2U) << "making a view does not raise the count";
  view.setReadCount(2);
  same.encode(buffer, view, out);
  EXPECT_EQ(image.readCount(), 2U);
  same.encode(buffer, view, out);
  EXPECT_EQ(view.readCount(), 0U);
  EXPECT_EQ(image.readCount(), 1U) << "the view has used up its read";
  EXPECT_EQ(view.parent(), image);
  EXPECT_EQ(view.resourceSize(), 0U);
  same.encode(buffer, image, Image(tested(), floats(4, 4, 8)));
  EXPECT_EQ(image.readCount(), 0U);
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 2));
}

TEST_F(TemporaryImages, AFamilyOfBatchViewsHoldsOneRead) {
  const TemporaryImage image(buffer, floats(4, 4, 4, 3));
  NNInitialGradient(tested()).encode(buffer, Image(tested(), floats(4, 4, 4, 3)), image);
  const ImageBatch views = image.batchRepresentation();
  same.encode(buffer, views[0], out);
  same.encode(buffer, views[2], out);
  EXPECT_EQ(image.readCount(), 1U);
  same.encode(buffer, views[1], out);
  EXPECT_EQ(image.readCount(), 0U) << "released with the last child";
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 1));
}

TEST_F(TemporaryImages, AViewOfAViewReleasesTheWholeChain) {
  const TemporaryImage image(buffer, floats(4, 4, 12));
  NNInitialGradient(tested()).encode(buffer, Image(tested(), floats(4, 4, 12)), image);
  const Image view = image.subImage({4, 8}), deep = view.subImage({4, 4});
  same.encode(buffer, deep, out);
  EXPECT_EQ(view.readCount(), 0U);
  EXPECT_EQ(image.readCount(), 0U);
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 1));
}

TEST_F(TemporaryImages, AViewOfAnImageThatIsGoneIsAnError) {
  TemporaryImage image(buffer, floats(4, 4, 8));
  image.setLabel("features");
  plus_one.encode(buffer, filled(floats(4, 4, 8), 1), image);
  const Image view = image.subImage({0, 4});
  same.encode(buffer, image, Image(tested(), floats(4, 4, 8)));  // takes the only read
  const std::size_t steps = buffer.recording().steps();
  EXPECT_EQ(complaint([&] { same.encode(buffer, view, out); }),
            "Image \"features\": the image is read for the last time already; needed a temporary "
            "image with "
            "reads left. Raise readCount once for every encode that reads it or a view of it.");
  EXPECT_EQ(view.readCount(), 1U);
  EXPECT_EQ(buffer.recording().steps(), steps);
}

TEST_F(TemporaryImages, AViewOfAReadImageOfALivingBatchIsAnError) {
  const ImageBatch batch(buffer, floats(4, 4, 8), 2);
  plus_one.encode(buffer, filled(floats(4, 4, 8), 1), batch[0]);
  const Image view = batch[0].subImage({0, 4});
  batch[0].setReadCount(0);
  EXPECT_NE(complaint([&] { same.encode(buffer, view, out); }), "no exception");
  EXPECT_EQ(batch[1].readCount(), 1U);
}

// ---- memory
// --------------------------------------------------------------------------------------

TEST_F(TemporaryImages, MemoryIsUsedAgainWithinABuffer) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  const std::size_t one = 32 * 32 * 16 * 4;
  Image last = filled(floats(32, 32, 16), 0);
  for (int i = 0; i < 40; ++i) last = CNNNeuronLinear(plus_one).encode(buffer, last);
  EXPECT_LE(tested().memory_use().in_use, before + 3 * one) << "the source and two temporaries";
  const Image result(tested(), floats(32, 32, 16));
  same.encode(buffer, last, result);
  finish();
  EXPECT_EQ(result.read_floats(), constant(result, 40));
}

TEST_F(TemporaryImages, MemoryIsUsedAgainAcrossBuffers) {
  const auto chain = [&](float start) {
    buffer = queue.makeCommandBuffer();
    Image last = filled(halves(32, 32, 16), start);
    const Image result(tested(), halves(32, 32, 16));
    for (int i = 0; i < 5; ++i) last = CNNNeuronLinear(plus_one).encode(buffer, last);
    same.encode(buffer, last, result);
    buffer.commit();
    return result;
  };
  chain(0);
  buffer.waitUntilCompleted();
  settle(tested());
  const std::size_t warm = tested().memory_use().in_use;
  std::vector<Image> results;
  {
    const Gate gate(queue);  // all are in flight together: one queue runs them one by one
    for (int i = 0; i < 10; ++i) results.push_back(chain(static_cast<float>(i)));
  }
  buffer.waitUntilCompleted();
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].read_floats(), constant(results[i], static_cast<float>(i) + 5));
  }
  results.clear();
  settle(tested());
  EXPECT_LE(tested().memory_use().in_use, warm + 4096);
}

TEST_F(TemporaryImages, ScratchOfPendingWorkNeverBecomesAnImage) {
  // A half-precision neuron converts through scratch, free for later encodes of the stream but not
  // for the host, whatever happens to the temporary that takes it next.
  settle(tested());
  const Image half = filled(halves(32, 32, 16), 2), result(tested(), halves(32, 32, 16));
  plus_one.encode(buffer, half, result);
  for (int i = 0; i < 4; ++i) {
    const TemporaryImage unused(buffer, floats(64, 32, 16));
    const TemporaryImage dropped(buffer, floats(32, 32, 16));
    unused.setReadCount(0);
  }
  std::vector<Image> host;
  for (int i = 0; i < 8; ++i) {
    host.push_back(filled(floats(32, 32, 16), 77));
    host.push_back(filled(floats(64, 32, 16), 77));
  }
  finish();
  for (const Image& image : host) EXPECT_EQ(image.read_floats(), constant(image, 77));
  EXPECT_EQ(result.read_floats(), constant(result, 3));
}

TEST_F(TemporaryImages, ScratchOfACommittedBufferNeverBecomesAnImage) {
  settle(tested());
  const Image half = filled(halves(32, 32, 16), 2), result(tested(), halves(32, 32, 16));
  std::vector<Image> host;
  {
    const Gate gate(queue);
    plus_one.encode(buffer, half, result);
    buffer.commit();
    CommandBuffer next = queue.makeCommandBuffer();  // takes the scratch from the pool
    { const TemporaryImage unused(next, floats(64, 32, 16)), other(next, floats(32, 32, 16)); }
    next = {};
    for (int i = 0; i < 8; ++i) {
      host.push_back(filled(floats(32, 32, 16), 77));
      host.push_back(filled(floats(64, 32, 16), 77));
    }
  }
  buffer.waitUntilCompleted();
  for (const Image& image : host) EXPECT_EQ(image.read_floats(), constant(image, 77));
  EXPECT_EQ(result.read_floats(), constant(result, 3));
}

TEST_F(TemporaryImages, HintsChangeNothingButMemory) {
  TemporaryImage::prefetchStorage(buffer,
                                  std::vector<ImageDescriptor>{floats(4, 4, 4), floats(8, 8, 8)});
  buffer.prefetchHeapForWorkloadSize(10000);
  const TemporaryImage image(buffer, floats(4, 4, 4));
  plus_one.encode(buffer, source, image);
  same.encode(buffer, image, out);
  finish();
  EXPECT_EQ(out.read_floats(), constant(out, 4));
}

TEST_F(TemporaryImages, AnImageMayOutliveItsBufferUnread) {
  settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  {
    const TemporaryImage image(buffer, floats(64, 64, 4));
    plus_one.encode(buffer, filled(floats(64, 64, 4), 1), image);
    finish();
    buffer = {};
    queue = {};
    EXPECT_EQ(image.readCount(), 1U);
  }
  settle(tested());
  EXPECT_EQ(tested().memory_use().in_use, before);
}

/// A random program on three open command buffers: every value is known, and memory that is handed
/// out too early shows as a wrong one.
class RandomProgram {
 public:
  explicit RandomProgram(unsigned seed) : random_(seed) {
    for (Open& open : open_) open.buffer = queue_.makeCommandBuffer();
  }

  void run(int operations) {
    for (int i = 0; i < operations; ++i) act();
    for (Open& open : open_) open.buffer.commit();
    for (Open& open : open_) open.buffer.waitUntilCompleted();
    for (const Known& known : permanent_) {
      ASSERT_EQ(known.image.read_floats(), constant(known.image, known.value));
    }
  }

 private:
  struct Known {
    Image image;
    float value = 0;
  };
  struct Open {
    CommandBuffer buffer;
    std::vector<Known> temporaries;
  };

  int pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }
  ImageDescriptor descriptor() {
    const auto size = static_cast<std::size_t>(8 + 2 * pick(3));
    return pick(2) == 0 ? floats(size, size, 4) : halves(size, size, 4);
  }
  /// An image of the same size as `like` in either format.
  ImageDescriptor result_like(const Image& like) {
    return pick(2) == 0 ? floats(like.width(), like.width(), 4)
                        : halves(like.width(), like.width(), 4);
  }
  static float step(float value) { return value >= 100 ? value - 100 : value + 1; }
  void encode(Open& open, const Known& from, const Known& to) {
    CNNNeuronLinear(tested(), 1, to.value - from.value).encode(open.buffer, from.image, to.image);
  }

  void act() {
    Open& open = open_[static_cast<std::size_t>(pick(3))];
    auto& temporaries = open.temporaries;
    const bool any = !temporaries.empty();
    const auto chosen =
        any ? static_cast<std::size_t>(pick(static_cast<int>(temporaries.size()))) : 0;
    switch (pick(12)) {
      case 0:
      case 1: {  // host data, then a temporary made from it
        const ImageDescriptor d = descriptor();
        const auto value = static_cast<float>(pick(100));
        permanent_.push_back({filled(d, value), value});
        const Known made{TemporaryImage(open.buffer, result_like(permanent_.back().image)),
                         step(value)};
        encode(open, permanent_.back(), made);
        temporaries.push_back(made);
        break;
      }
      case 2:
      case 3:
      case 4:  // temporary to temporary
        if (any) {
          const Known from = temporaries[chosen];
          const Known made{TemporaryImage(open.buffer, result_like(from.image)), step(from.value)};
          if (pick(2) == 0) from.image.setReadCount(2);
          encode(open, from, made);
          if (from.image.readCount() == 0)
            temporaries.erase(temporaries.begin() + static_cast<int>(chosen));
          temporaries.push_back(made);
        }
        break;
      case 5:
      case 6:  // temporary to a permanent result
        if (any) {
          const Known from = temporaries[chosen];
          permanent_.push_back({Image(tested(), result_like(from.image)), step(from.value)});
          encode(open, from, permanent_.back());
          temporaries.erase(temporaries.begin() + static_cast<int>(chosen));
        }
        break;
      case 7:  // never read
        if (any) {
          if (pick(2) == 0) temporaries[chosen].image.setReadCount(0);
          temporaries.erase(temporaries.begin() + static_cast<int>(chosen));
        }
        break;
      case 8: {
        const TemporaryImage unused(open.buffer, descriptor());
        break;
      }
      case 9:
        open.buffer.commitAndContinue();
        break;
      case 10:
        temporaries.clear();
        open.buffer.commit();
        if (pick(4) == 0) settle(tested());
        open.buffer = queue_.makeCommandBuffer();
        break;
      default:
        open.buffer.enqueue();
        break;
    }
  }

  std::mt19937 random_;
  CommandQueue queue_ = tested().makeCommandQueue();
  Open open_[3];
  std::vector<Known> permanent_;
};

TEST(TemporaryImageMemory, RandomProgramsComputeWhatTheySay) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    RandomProgram(seed).run(300);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace cermet
