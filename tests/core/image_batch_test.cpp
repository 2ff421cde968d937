// Batches: runs of one tensor, loose and repeated images, and the batch functions (spec: core 8).

#include <limits>
#include <numeric>

#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using test::constant;
using test::filled;
using test::floats;
using test::tested;

constexpr auto go_on = std::numeric_limits<std::ptrdiff_t>::min();

class Batches : public ::testing::Test {
 protected:
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
};

TEST_F(Batches, MadeTogetherTheyAreDistinctImagesOfOneTensor) {
  const ImageBatch batch(tested(), floats(2, 2, 3), 3);
  ASSERT_EQ(batch.size(), 3U);
  EXPECT_FALSE(batch.empty());
  EXPECT_NE(batch[0], batch[1]);
  EXPECT_EQ(batch[2], batch[2]);
  EXPECT_EQ(batch.front(), batch[0]);
  float value = 0;
  for (const Image image : batch) image.write_floats(constant(image, ++value));
  EXPECT_EQ(batch[0].read_floats(), std::vector<float>(12, 1));
  EXPECT_EQ(batch[2].read_floats(), std::vector<float>(12, 3));
  EXPECT_EQ(batch[1].resourceSize(), 48U);
  EXPECT_EQ(complaint([&] { static_cast<void>(batch[3]); }),
            "ImageBatch: index is 3; needed less than 3.");
}

TEST_F(Batches, Empty) {
  const ImageBatch none, also(std::vector<Image>{}), zero(tested(), floats(1, 1, 1), 0);
  for (const ImageBatch& batch : {none, also, zero}) {
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(ImageBatchIncrementReadCount(batch, 1), 0U);
    EXPECT_EQ(ImageBatchResourceSize(batch), 0U);
    EXPECT_EQ(ImageBatchIterate(batch, [](const Image&, std::size_t) { return std::ptrdiff_t{5}; }),
              go_on);
    EXPECT_FALSE(batch.begin() != batch.end());
  }
  EXPECT_EQ(complaint([&] { static_cast<void>(none.front()); }),
            "ImageBatch: index is 0; needed less than 0.");
}

TEST_F(Batches, SubrangesNameTheSameImages) {
  const ImageBatch run(tested(), floats(1, 1, 1), 5);
  const ImageBatch part = run.subrange({1, 3});
  ASSERT_EQ(part.size(), 3U);
  EXPECT_EQ(part[0], run[1]);
  EXPECT_EQ(part.subrange({2, 1})[0], run[3]);
  EXPECT_EQ(run.subrange({5, 0}).size(), 0U);
  const ImageBatch loose({run[4], run[0], run[4], run[2]});
  ASSERT_EQ(loose.size(), 4U);
  EXPECT_EQ(loose.subrange({1, 2})[0], run[0]);
  EXPECT_EQ(loose.subrange({1, 2})[1], run[4]);
  for (const ImageBatch& batch : {run, loose}) {
    EXPECT_EQ(complaint([&] {
                static_cast<void>(batch.subrange({2, 4}));
              }),
              "ImageBatch: range is 4 images from 2; needed images below " +
                  std::to_string(batch.size()) + ".");
    constexpr auto huge = std::numeric_limits<std::size_t>::max();
    EXPECT_NE(complaint([&] { static_cast<void>(batch.subrange({huge, 2})); }), "no exception");
    EXPECT_NE(complaint([&] { static_cast<void>(batch.subrange({1, huge})); }), "no exception");
  }
}

TEST_F(Batches, AListOfNeighboursEqualsTheRun) {
  const ImageBatch run(tested(), floats(1, 1, 1), 4);
  EXPECT_EQ(ImageBatch({run[1], run[2]}), run.subrange({1, 2}));
  EXPECT_NE(ImageBatch({run[2], run[1]}), run.subrange({1, 2}));
  EXPECT_NE(ImageBatch({run[1], run[3]}), run.subrange({1, 2}));
}

TEST_F(Batches, LooseAndRepeatedImagesGiveTheNumbersOfARun) {
  const ImageBatch run(tested(), floats(2, 3, 5), 3);
  for (std::size_t i = 0; i < 3; ++i) run[i].write_floats(constant(run[i], static_cast<float>(i)));
  const Image apart = filled(floats(2, 3, 5), 9);
  const ImageBatch loose({run[2], apart, run[0], run[2]});
  const ImageBatch together(tested(), floats(2, 3, 5), 4);
  const ImageBatch scattered({Image(tested(), floats(2, 3, 5)), Image(tested(), floats(2, 3, 5)),
                              Image(tested(), floats(2, 3, 5)), Image(tested(), floats(2, 3, 5))});
  const CNNNeuronLinear kernel(tested(), 10, 1);
  kernel.encodeBatch(buffer, loose, together);
  kernel.encodeBatch(buffer, loose, scattered);
  buffer.commit();
  buffer.waitUntilCompleted();
  const float wanted[] = {21, 91, 1, 21};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(together[i].read_floats(), constant(together[i], wanted[i]));
    EXPECT_EQ(scattered[i].read_floats(), constant(scattered[i], wanted[i]));
  }
}

TEST_F(Batches, IncrementReadCountSkipsZerosAndPermanentImages) {
  const ImageBatch run(buffer, floats(1, 1, 1), 3);
  EXPECT_EQ(ImageBatchIncrementReadCount(run, 2), 3U);
  for (const Image image : run) EXPECT_EQ(image.readCount(), 3U);
  run[1].setReadCount(0);
  EXPECT_EQ(ImageBatchIncrementReadCount(run, 4), 3U);
  EXPECT_EQ(run[0].readCount(), 7U);
  EXPECT_EQ(run[1].readCount(), 0U) << "what is at 0 stays there";
  EXPECT_EQ(ImageBatchIncrementReadCount(run.subrange({0, 2}), -7), 2U);
  EXPECT_EQ(run[0].readCount(), 0U);
  EXPECT_EQ(run[2].readCount(), 7U);
  EXPECT_EQ(ImageBatchIncrementReadCount(run.subrange({0, 2}), -1), 2U)
      << "0 is skipped, downwards too";
  const Image permanent(tested(), floats(1, 1, 1));
  EXPECT_EQ(ImageBatchIncrementReadCount({permanent, run[2], permanent, run[2], run[0]}, 1), 3U);
  EXPECT_EQ(run[2].readCount(), 8U) << "once for each distinct image";
  EXPECT_EQ(permanent.readCount(), 0U);
}

TEST_F(Batches, IncrementReadCountBelowZeroChangesNothing) {
  const ImageBatch run(buffer, floats(1, 1, 1), 3);
  const std::string wanted =
      "TemporaryImage: readCount is 1, to be changed by -2; needed a count that stays at 0 or "
      "more. "
      "Raise readCount once for every encode that reads the object.";
  EXPECT_EQ(complaint([&] { ImageBatchIncrementReadCount(run, -2); }), wanted);
  for (const Image image : run) EXPECT_EQ(image.readCount(), 1U);
  run[0].setReadCount(5);
  EXPECT_EQ(complaint([&] { ImageBatchIncrementReadCount(run, -2); }), wanted);
  EXPECT_EQ(run[0].readCount(), 5U);
  const ImageBatch loose({run[0], run[2]});
  EXPECT_EQ(complaint([&] { ImageBatchIncrementReadCount(loose, -2); }), wanted);
  EXPECT_EQ(run[0].readCount(), 5U) << "all or none";
}

TEST_F(Batches, IncrementReadCountReleases) {
  test::settle(tested());
  const std::size_t before = tested().memory_use().in_use;
  const ImageBatch run(buffer, floats(32, 32, 8), 4);
  EXPECT_GT(tested().memory_use().in_use, before);
  ImageBatchIncrementReadCount(run.subrange({0, 3}), -1);
  EXPECT_GT(tested().memory_use().in_use, before);
  ImageBatchIncrementReadCount(run.subrange({3, 1}), -1);
  EXPECT_EQ(tested().memory_use().in_use, before);
}

TEST_F(Batches, IterateVisitsEachDistinctImageWithItsFirstIndex) {
  const ImageBatch run(tested(), floats(1, 1, 1), 3);
  const ImageBatch loose({run[2], run[0], run[2], run[0], run[1]});
  std::vector<std::size_t> indices;
  std::vector<Image> images;
  const auto note = [&](const Image& image, std::size_t index) {
    images.push_back(image);
    indices.push_back(index);
    return go_on;
  };
  EXPECT_EQ(ImageBatchIterate(loose, note), go_on);
  EXPECT_EQ(indices, (std::vector<std::size_t>{0, 1, 4}));
  EXPECT_EQ(images, (std::vector<Image>{run[2], run[0], run[1]}));
  indices.clear();
  EXPECT_EQ(ImageBatchIterate(run, note), go_on);
  EXPECT_EQ(indices, (std::vector<std::size_t>{0, 1, 2}));
  int visits = 0;
  EXPECT_EQ(ImageBatchIterate(
                run, [&](const Image&, std::size_t) { return ++visits == 2 ? -17 : go_on; }),
            -17);
  EXPECT_EQ(visits, 2) << "anything greater stops";
}

TEST_F(Batches, ResourceSizeCountsDistinctImages) {
  const ImageBatch run(tested(), floats(2, 2, 3), 3);
  EXPECT_EQ(ImageBatchResourceSize(run), 144U);
  EXPECT_EQ(ImageBatchResourceSize({run[2], run[0], run[2]}), 96U);
  const Image stack(tested(), floats(2, 2, 3, 4));
  EXPECT_EQ(ImageBatchResourceSize(stack.batchRepresentation()), 0U) << "views own nothing";
  ImageBatchSynchronize(run, buffer);
}

TEST_F(Batches, AccumulatorsMayRepeatAsDestinations) {
  const ImageBatch sources(tested(), floats(1, 1, 1), 3);
  for (std::size_t i = 0; i < 3; ++i)
    sources[i].write_floats(std::vector<float>{static_cast<float>(i)});
  const Image a(tested(), floats(1, 1, 1)), b(tested(), floats(1, 1, 1));
  CNNNeuronLinear(tested(), 1, 1).encodeBatch(buffer, sources, {a, b, a});
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(a.read_floats()[0], 3) << "the last image wins, as in a loop over the elements";
  EXPECT_EQ(b.read_floats()[0], 2);
}

TEST_F(Batches, FloatsOfAllImages) {
  const ImageBatch four(tested(), floats(2, 1, 3), 4);
  std::vector<float> values(4 * 6);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  four.write_floats(values);
  EXPECT_EQ(four.read_floats(), values);
  EXPECT_EQ(four[2].read_floats(), std::vector<float>(values.begin() + 12, values.begin() + 18));
  const ImageBatch middle = four.subrange({1, 2});
  EXPECT_EQ(middle.read_floats(), std::vector<float>(values.begin() + 6, values.begin() + 18));
  middle.write_floats(std::vector<float>(12, -1.0F));
  EXPECT_EQ(four[0].read_floats(), std::vector<float>(values.begin(), values.begin() + 6));
  EXPECT_EQ(four[1].read_floats(), std::vector<float>(6, -1.0F));
  EXPECT_EQ(four[3].read_floats(), std::vector<float>(values.begin() + 18, values.end()));
  const ImageBatch loose{four[3], four[0]};
  loose.write_floats(values = std::vector<float>{6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6});
  EXPECT_EQ(loose.read_floats(), values);
  EXPECT_EQ(four[0].read_floats(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(complaint([&] { four.write_floats(values); }),
            "Image: values is 12 floats; needed 24.");
}

TEST_F(Batches, ErrorsOfUnequalImages) {
  const CNNNeuronLinear kernel(tested(), 1, 0);
  const ImageBatch two(tested(), floats(2, 2, 3), 2), three(tested(), floats(2, 2, 3), 3);
  EXPECT_EQ(complaint([&] { kernel.encodeBatch(buffer, two, three); }),
            "CNNNeuron: destinationImages is 3 images; needed 2, as many as sourceImages.");
  const ImageBatch mixed({Image(tested(), floats(2, 2, 3)), Image(tested(), floats(2, 1, 3))});
  EXPECT_EQ(complaint([&] { kernel.encodeBatch(buffer, mixed, two); }),
            "CNNNeuron: sourceImage is a batch that mixes 2x2x3 Float32 and 2x1x3 Float32; needed "
            "images of "
            "one size and format with numberOfImages 1.");
  EXPECT_EQ(complaint([&] {
              kernel.encodeBatch(buffer, ImageBatch(tested(), floats(2, 2, 3, 2), 2), two);
            }),
            "CNNNeuron: sourceImage is a batch whose images hold 2 each; needed images with "
            "numberOfImages 1. "
            "Use batchRepresentation().");
  EXPECT_EQ(complaint([&] {
              ImageBatchIncrementReadCount({Image(), two[0]}, 1);
            }),
            "Image: the image is nil; needed an image. Make one from a device and a descriptor.");
}

}  // namespace
}  // namespace cermet
