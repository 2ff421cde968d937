// The base class of kernels with any number of sources, through the smallest kernel that it can
// have: a weighted sum (spec: core 15).

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "cermet/cnn/arithmetic.h"
#include "cermet/core/coder.h"
#include "cnn/encoding.h"
#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using test::filled;
using test::floats;
using test::halves;
using test::settle;
using test::tested;

class SumState final : public NNMultiaryGradientState {
 public:
  explicit SumState(const detail::StateOrigin& origin) : NNMultiaryGradientState(origin) {}
};

/// destination = sum over i of weight(i) * source(i); as many channels as the poorest source.
class WeightedSum final : public CNNMultiaryKernel {
 public:
  WeightedSum(const Device& device, std::vector<float> weights)
      : CNNMultiaryKernel(device, weights.size()), weights_(std::move(weights)) {}
  WeightedSum(Coder& coder, const Device& device) : CNNMultiaryKernel(coder, device) {
    read(coder);
  }
  [[nodiscard]] WeightedSum copy(const Device& device = {}) const { return copy_of(*this, device); }
  [[nodiscard]] std::string_view class_name() const override { return "WeightedSum"; }
  [[nodiscard]] bool isResultStateReusedAcrossBatch() const override { return reuses_state; }
  [[nodiscard]] bool isBackwards() const override { return backwards; }

  bool has_state = false, reuses_state = false, backwards = false;
  mutable std::size_t checked_images = 0;
  mutable const State* checked_state = nullptr;

 private:
  void code(Coder& coder) override {
    CNNMultiaryKernel::code(coder);
    coder("weights", weights_);
  }
  void record(detail::MultiaryEncoding& e) const override {
    detail::StepMemo memo;
    for (std::size_t i = 0; i < e.sources.size(); ++i) {
      const auto source = e.aligned(*this, i);
      Arithmetic op;
      op.primaryScale = i == 0 ? 0.0F : 1.0F;
      op.secondaryScale = weights_[i];
      detail::encode(e.recording, memo, op,
                     {i == 0 ? source.view() : e.destination, source.view(), e.destination, {}});
    }
  }
  [[nodiscard]] std::size_t channels(std::span<std::size_t> sources) const override {
    const std::size_t least = *std::ranges::min_element(sources);
    std::ranges::fill(sources, least);
    return least;
  }
  void check(std::span<const Image>, const Image&, const State* state,
             std::size_t count) const override {
    checked_images = count;
    checked_state = state;
  }
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, std::span<const Image>,
                                    const Image&) const override {
    return has_state ? std::make_shared<SumState>(origin) : nullptr;
  }

  std::vector<float> weights_;
};

class Multiary : public ::testing::Test {
 protected:
  CommandQueue queue = tested().makeCommandQueue();
  CommandBuffer buffer = queue.makeCommandBuffer();

  void finish() {
    buffer.commit();
    buffer.waitUntilCompleted();
    ASSERT_EQ(buffer.status(), CommandBufferStatus::Completed);
    buffer = queue.makeCommandBuffer();
  }
  /// 0, 1, 2, ... plus `first`.
  static Image counting(const ImageDescriptor& descriptor, float first) {
    Image image(tested(), descriptor);
    std::vector<float> values(test::elements(image));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
    image.write_floats(values);
    return image;
  }
  static ImageBatch filled_batch(std::size_t count, float first, bool loose) {
    if (!loose) {
      ImageBatch batch(tested(), floats(2, 1, 1), count);
      for (std::size_t i = 0; i < count; ++i)
        batch[i].write_floats(std::vector<float>(2, first + static_cast<float>(i)));
      return batch;
    }
    std::vector<Image> images;
    for (std::size_t i = 0; i < count; ++i)
      images.push_back(filled(floats(2, 1, 1), first + static_cast<float>(i)));
    return images;
  }
};

TEST_F(Multiary, PropertiesOfTheKernel) {
  WeightedSum sum(tested(), {1, 2, 3});
  EXPECT_EQ(sum.sourceCount(), 3U);
  EXPECT_EQ(sum.clipRect(), RectNoClip);
  EXPECT_EQ(sum.destinationFeatureChannelOffset(), 0U);
  EXPECT_FALSE(sum.isStateModified());
  EXPECT_FALSE(sum.appendBatchBarrier());
  EXPECT_EQ(sum.padding()->paddingMethod(), NNPaddingMethod::SizeSame);
  EXPECT_EQ(sum.destinationImageAllocator(), TemporaryImage::defaultAllocator());
  sum.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
  sum.setDestinationImageAllocator(Image::defaultAllocator());
  EXPECT_EQ(sum.padding()->paddingMethod(), NNPaddingMethod::SizeValidOnly);
  EXPECT_EQ(sum.destinationImageAllocator(), Image::defaultAllocator());
  sum.setPadding(nullptr);
  sum.setDestinationImageAllocator(nullptr);
  EXPECT_EQ(sum.padding()->paddingMethod(), NNPaddingMethod::SizeSame) << "null: the default";
  EXPECT_EQ(sum.destinationImageAllocator(), TemporaryImage::defaultAllocator());
}

TEST_F(Multiary, EachSourceHasPropertiesOfItsOwn) {
  WeightedSum sum(tested(), {1, 1});
  const auto expect_defaults = [&](std::size_t i) {
    EXPECT_EQ(sum.offset(i), Offset{});
    EXPECT_EQ(sum.sourceFeatureChannelOffset(i), 0U);
    EXPECT_EQ(sum.sourceFeatureChannelMaxCount(i), std::numeric_limits<std::size_t>::max());
    EXPECT_EQ(sum.edgeMode(i), ImageEdgeMode::Zero);
    for (const std::size_t one :
         {sum.kernelWidth(i), sum.kernelHeight(i), sum.strideInPixelsX(i), sum.strideInPixelsY(i),
          sum.dilationRateX(i), sum.dilationRateY(i)}) {
      EXPECT_EQ(one, 1U);
    }
  };
  expect_defaults(0);
  sum.setOffset({1, -2, 3}, 1);
  sum.setSourceFeatureChannelOffset(4, 1);
  sum.setSourceFeatureChannelMaxCount(5, 1);
  sum.setEdgeMode(ImageEdgeMode::Clamp, 1);
  sum.setKernelWidth(6, 1);
  sum.setKernelHeight(7, 1);
  sum.setStrideInPixelsX(8, 1);
  sum.setStrideInPixelsY(9, 1);
  sum.setDilationRateX(10, 1);
  sum.setDilationRateY(11, 1);
  expect_defaults(0);
  EXPECT_EQ(sum.offset(1), (Offset{1, -2, 3}));
  EXPECT_EQ(sum.sourceFeatureChannelOffset(1), 4U);
  EXPECT_EQ(sum.sourceFeatureChannelMaxCount(1), 5U);
  EXPECT_EQ(sum.edgeMode(1), ImageEdgeMode::Clamp);
  EXPECT_EQ(sum.kernelWidth(1), 6U);
  EXPECT_EQ(sum.kernelHeight(1), 7U);
  EXPECT_EQ(sum.strideInPixelsX(1), 8U);
  EXPECT_EQ(sum.strideInPixelsY(1), 9U);
  EXPECT_EQ(sum.dilationRateX(1), 10U);
  EXPECT_EQ(sum.dilationRateY(1), 11U);
}

TEST_F(Multiary, AnIndexWithoutASourceIsRefused) {
  WeightedSum sum(tested(), {1, 1});
  sum.setLabel("sum1");
  const std::string text =
      "WeightedSum \"sum1\": index is 2; needed less than 2. The kernel was made for that many "
      "sources.";
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.offset(2)); }), text);
  EXPECT_EQ(complaint([&] { sum.setKernelWidth(3, 2); }), text);
  EXPECT_EQ(complaint([] { const WeightedSum none(tested(), {}); }),
            "CNNMultiaryKernel: sourceCount is 0; needed 1 or more.");
}

TEST_F(Multiary, EncodesIntoADestination) {
  for (const std::size_t count : {1U, 2U, 5U}) {
    std::vector<Image> sources;
    std::vector<float> weights;
    float wanted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      sources.push_back(filled(floats(3, 2, 5), static_cast<float>(i + 1)));
      weights.push_back(static_cast<float>(10 * i + 1));
      wanted += weights.back() * static_cast<float>(i + 1);
    }
    const WeightedSum sum(tested(), weights);
    const Image destination(tested(), floats(3, 2, 5));
    sum.encode(buffer, sources, destination);
    finish();
    EXPECT_EQ(destination.read_floats(), test::constant(destination, wanted)) << count;
    EXPECT_EQ(sum.checked_images, 1U);
    EXPECT_EQ(sum.checked_state, nullptr);
  }
}

TEST_F(Multiary, OffsetsAndEdgesOfEachSource) {
  WeightedSum sum(tested(), {1, 100});
  sum.setOffset({-1, 0, 0}, 0);  // Zero
  sum.setOffset({1, 0, 0}, 1);
  sum.setEdgeMode(ImageEdgeMode::Clamp, 1);
  const std::array sources{counting(floats(4, 1, 1), 1), counting(floats(4, 1, 1), 1)};
  const Image destination(tested(), floats(4, 1, 1));
  sum.encode(buffer, sources, destination);
  finish();
  EXPECT_EQ(destination.read_floats(), (std::vector<float>{200, 301, 402, 403}));
  EXPECT_EQ(sum.offset(0), (Offset{-1, 0, 0})) << "the padding policy is not asked";
}

TEST_F(Multiary, WritesTheClipRectangleAndChannelsAlone) {
  WeightedSum sum(tested(), {1, 10});
  sum.setClipRect({{1, 0, 0}, {1, 9, 1}});
  sum.setSourceFeatureChannelOffset(4, 0);
  sum.setSourceFeatureChannelMaxCount(2, 1);
  sum.setDestinationFeatureChannelOffset(4);
  const std::array sources{counting(floats(2, 1, 8), 0), counting(floats(2, 1, 4), 1)};
  const Image destination = filled(floats(3, 1, 7), -1);
  sum.encode(buffer, sources, destination);
  finish();
  std::vector<float> wanted(21, -1);
  wanted[7 + 4] = 4 + 10 * 1;  // source pixel 0: the offset is where the rectangle's corner lands
  wanted[7 + 5] = 5 + 10 * 2;
  EXPECT_EQ(destination.read_floats(), wanted);
}

TEST_F(Multiary, StackedImagesStartAtEachOffset) {
  WeightedSum sum(tested(), {1, 10});
  sum.setOffset({0, 0, 1}, 0);
  sum.setClipRect({{0, 0, 1}, {1, 1, 2}});
  const std::array sources{counting(floats(1, 1, 1, 3), 1), counting(floats(1, 1, 1, 2), 5)};
  const Image destination(tested(), floats(1, 1, 1, 4));
  sum.encode(buffer, sources, destination);
  finish();
  EXPECT_EQ(destination.read_floats(), (std::vector<float>{0, 2 + 50, 3 + 60, 0}));
}

TEST_F(Multiary, BatchesAreIndexedBySourceThenImage) {
  for (const bool loose : {false, true}) {
    const std::array sources{filled_batch(3, 1, loose), filled_batch(3, 5, !loose)};
    const ImageBatch destinations = filled_batch(3, 0, loose);
    const WeightedSum sum(tested(), {1, 10});
    sum.encodeBatch(buffer, sources, destinations);
    finish();
    for (std::size_t i = 0; i < 3; ++i) {
      const auto wanted = static_cast<float>(1 + i + 10 * (5 + i));
      EXPECT_EQ(destinations[i].read_floats(), (std::vector<float>{wanted, wanted})) << i;
    }
    EXPECT_EQ(sum.checked_images, 3U);
  }
}

TEST_F(Multiary, EmptyBatchesDoNothing) {
  WeightedSum sum(tested(), {1, 10});
  sum.has_state = true;
  const std::array<ImageBatch, 2> none;
  sum.encodeBatch(buffer, none, {});
  StateBatch states{StateBatch::repeated(std::make_shared<State>(tested(), 4), 2)};
  EXPECT_TRUE(sum.encodeBatch(buffer, none, &states, true).empty());
  EXPECT_TRUE(states.empty()) << "always assigned";
  EXPECT_TRUE(sum.resultStateBatch(none, {}, {}).empty());
  EXPECT_EQ(buffer.recording().steps(), 0U);
}

TEST_F(Multiary, ReturnsAnImageSizedByThePolicy) {
  WeightedSum sum(tested(), {1, 10});
  sum.setOffset({2, 2, 0}, 0);
  sum.setDestinationFeatureChannelOffset(4);
  sum.setDestinationImageAllocator(Image::defaultAllocator());
  const std::array sources{filled(halves(3, 2, 5), 1), filled(halves(3, 2, 6), 2)};
  const Image result = sum.encode(buffer, sources);
  finish();
  EXPECT_EQ(result.width(), 3U);
  EXPECT_EQ(result.height(), 2U);
  EXPECT_EQ(result.featureChannels(), 9U) << "the channel offset and what is written";
  EXPECT_EQ(result.featureChannelFormat(), ImageFeatureChannelFormat::Float16) << "of source 0";
  EXPECT_EQ(sum.offset(0), Offset{}) << "overwritten by the policy";
  EXPECT_EQ(result.read_floats()[4], 21.0F);
}

TEST_F(Multiary, PlansTheWindowOfEachSource) {
  WeightedSum sum(tested(), {1, 1});
  sum.setKernelWidth(3, 0);
  sum.setKernelHeight(2, 0);
  sum.setDilationRateX(2, 0);
  sum.setStrideInPixelsY(2, 0);
  sum.setKernelWidth(3, 1);
  const std::array sources{Image(tested(), floats(9, 6, 2)), Image(tested(), floats(7, 3, 3))};
  sum.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
  const ImageDescriptor valid = sum.destinationImageDescriptor(sources, {});
  EXPECT_EQ(valid.width, 5U) << "9 less the dilated window, 5, and 1";
  EXPECT_EQ(valid.height, 3U);
  EXPECT_EQ(valid.featureChannels, 2U);
  EXPECT_EQ(valid.channelFormat, ImageFeatureChannelFormat::Float32);
  EXPECT_EQ(sum.offset(0), (Offset{2, 1, 0}));
  EXPECT_EQ(sum.offset(1), (Offset{1, 0, 0})) << "its own window for the common size";
  EXPECT_EQ(sum.plan(sources, {}, ImageFeatureChannelFormat::Float16).channelFormat,
            ImageFeatureChannelFormat::Float16);
  sum.setPadding(nullptr);
  EXPECT_EQ(sum.destinationImageDescriptor(sources, {}).width, 9U);
  sum.backwards = true;
  sum.setStrideInPixelsX(2, 0);
  EXPECT_EQ(sum.destinationImageDescriptor(sources, {}).width, 17U) << "(9 - 1) * 2 + 1";
}

TEST_F(Multiary, ReadsTakeOneOfEachTemporary) {
  WeightedSum sum(tested(), {1, 10, 100});
  const TemporaryImage once(buffer, floats(1, 1, 1)), twice(buffer, floats(1, 1, 1));
  twice.setReadCount(3);
  const std::array sources{Image(twice), Image(once), Image(twice)};
  const Image result = sum.encode(buffer, sources);
  EXPECT_EQ(once.readCount(), 0U);
  EXPECT_EQ(twice.readCount(), 1U) << "one read for each slot";
  EXPECT_TRUE(result.is_temporary());
  EXPECT_EQ(result.readCount(), 1U);
  EXPECT_EQ(complaint([&] { sum.encode(buffer, sources, Image(tested(), floats(1, 1, 1))); }),
            "WeightedSum: sourceImages[1] is 1x1x1 Float32, read for the last time already; needed "
            "a temporary image with reads left. Raise readCount once for every encode that reads "
            "it.");
  EXPECT_EQ(twice.readCount(), 1U) << "a refused call changes nothing";
}

TEST_F(Multiary, ReturnsAStateWithARecordOfEachSource) {
  WeightedSum sum(tested(), {1, 10});
  sum.has_state = true;
  sum.setSourceFeatureChannelOffset(4, 1);
  sum.setKernelWidth(3, 1);
  const std::array sources{filled(floats(3, 2, 1), 1), filled(floats(4, 5, 6), 2)};
  for (const bool temporary : {false, true}) {
    std::shared_ptr<NNMultiaryGradientState> state;
    const Image result = sum.encode(buffer, sources, &state, temporary);
    ASSERT_TRUE(state);
    EXPECT_EQ(state->class_name(), "NNMultiaryGradientState");
    EXPECT_EQ(state->isTemporary(), temporary);
    EXPECT_EQ(state->readCount(), temporary ? 1U : 0U) << "an encode that writes does not read";
    EXPECT_EQ(sum.checked_state, state.get());
    ASSERT_EQ(state->forward().size(), 2U);
    const ForwardRecord& second = state->forward()[1];
    EXPECT_EQ(second.sourceWidth, 4U);
    EXPECT_EQ(second.sourceHeight, 5U);
    EXPECT_EQ(second.sourceFeatureChannels, 6U);
    EXPECT_EQ(second.destinationWidth, result.width());
    EXPECT_EQ(second.sourceFeatureChannelOffset, 4U);
    EXPECT_EQ(second.kernelWidth, 3U);
    EXPECT_EQ(second.offset, sum.offset(1));
    EXPECT_EQ(state->forward()[0].sourceWidth, 3U);
  }
  sum.has_state = false;
  StatePtr none = std::make_shared<State>(tested(), 4);
  static_cast<void>(sum.encode(buffer, sources, &none, false));
  EXPECT_FALSE(none) << "the class has none: always assigned";
  static_cast<void>(sum.encode(buffer, sources, static_cast<StatePtr*>(nullptr), false));
}

TEST_F(Multiary, ResultStatesOfBatches) {
  WeightedSum sum(tested(), {1, 10});
  const std::array sources{filled_batch(3, 1, false), filled_batch(3, 5, false)};
  EXPECT_TRUE(sum.resultStateBatch(sources, {}, sources[0]).empty()) << "the class has none";
  sum.has_state = true;
  for (const bool reuses : {false, true}) {
    sum.reuses_state = reuses;
    for (const bool temporary : {false, true}) {
      StateBatch states;
      const ImageBatch results = sum.encodeBatch(buffer, sources, &states, temporary);
      ASSERT_EQ(results.size(), 3U);
      ASSERT_EQ(states.size(), 3U);
      EXPECT_EQ(states.distinct().size(), reuses ? 1U : 3U);
      for (std::size_t i = 0; i < 3; ++i) {
        ASSERT_TRUE(states.at<SumState>(i));
        EXPECT_EQ(states[i]->isTemporary(), temporary);
        EXPECT_EQ(states.at<SumState>(i)->forward().size(), 2U);
      }
    }
  }
  const std::array images{sources[0].front(), sources[1].front()};
  EXPECT_FALSE(sum.resultState(images, {}, images[0])->isTemporary());
  EXPECT_TRUE(sum.temporaryResultState(buffer, images, {}, images[0])->isTemporary());
  EXPECT_TRUE(sum.temporaryResultStateBatch(buffer, sources, {}, sources[0])[2]->isTemporary());
}

TEST_F(Multiary, ReturnsABatch) {
  WeightedSum sum(tested(), {1, 10});
  sum.setDestinationImageAllocator(Image::defaultAllocator());
  const std::array sources{filled_batch(3, 1, false), filled_batch(3, 5, true)};
  const ImageBatch results = sum.encodeBatch(buffer, sources);
  finish();
  ASSERT_EQ(results.size(), 3U);
  EXPECT_EQ(results[2].read_floats(), (std::vector<float>{73, 73}));
}

TEST_F(Multiary, MessagesAboutSources) {
  WeightedSum sum(tested(), {1, 1});
  sum.setLabel("s");
  const Image a(tested(), floats(3, 2, 4)), out(tested(), floats(3, 2, 4));
  const std::array one{a};
  const std::array nil{a, Image()};
  const std::array good{a, a};
  EXPECT_EQ(complaint([&] { sum.encode(buffer, one, out); }),
            "WeightedSum \"s\": sourceImages is 1 sources; needed 2, as many as sourceCount.");
  EXPECT_EQ(complaint([&] { sum.encode(buffer, nil, out); }),
            "WeightedSum \"s\": sourceImages[1] is nil; needed an image.");
  EXPECT_EQ(complaint([&] { sum.encode(buffer, good, Image()); }),
            "WeightedSum \"s\": destinationImage is nil; needed an image.");
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.encode(buffer, one)); }),
            "WeightedSum \"s\": sourceImages is 1 sources; needed 2, as many as sourceCount.");
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.encode(buffer, nil)); }),
            "WeightedSum \"s\": sourceImages[1] is nil; needed an image.");
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.destinationImageDescriptor(nil, {})); }),
            "WeightedSum \"s\": sourceImages[1] is nil; needed an image.");
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.resultState(one, {}, out)); }),
            "WeightedSum \"s\": sourceImages is 1 sources; needed 2, as many as sourceCount.");
  const std::array uneven{filled_batch(3, 1, false), filled_batch(2, 1, false)};
  const std::string counts =
      "WeightedSum \"s\": sourceImages[1] is 2 images; needed 3, as many as sourceImages[0].";
  EXPECT_EQ(complaint([&] { sum.encodeBatch(buffer, uneven, uneven[0]); }), counts);
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.encodeBatch(buffer, uneven)); }), counts);
  const std::array even{filled_batch(3, 1, false), filled_batch(3, 1, false)};
  EXPECT_EQ(complaint([&] { sum.encodeBatch(buffer, even, uneven[1]); }),
            "WeightedSum \"s\": destinationImages is 2 images; needed 3, as many as "
            "sourceImages[0].");
  const CommandBuffer elsewhere = Device::cpu(1).makeCommandQueue().makeCommandBuffer();
  EXPECT_EQ(complaint([&] { sum.encode(elsewhere, good, out); }),
            "WeightedSum \"s\": commandBuffer is on another device; needed a command buffer of the "
            "kernel's device. Make a copy of the kernel for that device.");
  EXPECT_EQ(buffer.recording().steps(), 0U) << "nothing was recorded";
}

TEST_F(Multiary, MessagesAboutGeometry) {
  const std::array good{Image(tested(), floats(3, 2, 4)), Image(tested(), floats(3, 2, 4))};
  const Image out(tested(), floats(3, 2, 4));
  const auto expect = [&](const std::function<void(WeightedSum&)>& change, const char* text) {
    WeightedSum sum(tested(), {1, 1});
    change(sum);
    EXPECT_EQ(complaint([&] { sum.encode(buffer, good, out); }),
              std::string("WeightedSum: ") + text);
  };
  expect([](auto& s) { s.setSourceFeatureChannelOffset(2, 1); },
         "sourceFeatureChannelOffset[1] is 2; needed a multiple of 4.");
  expect([](auto& s) { s.setDestinationFeatureChannelOffset(3); },
         "destinationFeatureChannelOffset is 3; needed a multiple of 4.");
  expect([](auto& s) { s.setSourceFeatureChannelOffset(4, 1); },
         "sourceImages[1] is 3x2x4 Float32; needed 1 feature channels from channel 4.");
  expect([](auto& s) { s.setDestinationFeatureChannelOffset(4); },
         "destinationImage is 3x2x4 Float32; needed 8 feature channels.");
  expect([](auto& s) { s.setEdgeMode(ImageEdgeMode::Mirror, 1); },
         "edgeMode[1] is 2; needed Zero or Clamp. Mirror, MirrorWithEdge and Constant belong to "
         "padding kernels.");
  expect(
      [](auto& s) {
        s.setClipRect({{3, 0, 0}, {1, 2, 1}});
      },
      "clipRect is 1x2x1 at (3, 0, 0); needed a region that meets the destination, 3x2x4 "
      "Float32.");
  expect(
      [](auto& s) {
        s.setOffset({0, 0, 1}, 1);
      },
      "sourceImages[1] is 1 images; needed 2: its offset.z and clipRect select that many.");
  expect([](auto& s) { s.setKernelWidth(0, 1); }, "kernelWidth[1] is 0; needed 1 or more.");
  expect([](auto& s) { s.setKernelHeight(0, 0); }, "kernelHeight[0] is 0; needed 1 or more.");
  expect([](auto& s) { s.setDilationRateX(0, 1); }, "dilationRateX[1] is 0; needed 1 or more.");
  expect([](auto& s) { s.setDilationRateY(0, 1); }, "dilationRateY[1] is 0; needed 1 or more.");
  WeightedSum sum(tested(), {1, 1});
  sum.setStrideInPixelsX(0, 0);
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.encode(buffer, good)); }),
            "WeightedSum: strideInPixelsX[0] is 0; needed 1 or more.");
  sum.setStrideInPixelsX(1, 0);
  sum.setKernelWidth(4, 0);
  sum.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
  EXPECT_EQ(complaint([&] { static_cast<void>(sum.encode(buffer, good)); }),
            "WeightedSum: sourceImages[0] is 3x2x4 Float32; needed at least 4x1 pixels. The window "
            "must fit into the source; choose the Same size or a smaller window.");
  EXPECT_EQ(buffer.recording().steps(), 0U);
}

TEST_F(Multiary, CopiesAndArchivesKeepEverything) {
  WeightedSum sum(tested(), {1, 10, 100});
  sum.setLabel("sum1");
  sum.setClipRect({{0, 0, 0}, {2, 1, 1}});
  sum.setDestinationFeatureChannelOffset(4);
  sum.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeFull));
  sum.setDestinationImageAllocator(Image::defaultAllocator());
  sum.setOffset({1, -2, 3}, 2);
  sum.setSourceFeatureChannelOffset(8, 1);
  sum.setEdgeMode(ImageEdgeMode::Clamp, 1);
  sum.setKernelWidth(5, 2);
  sum.setStrideInPixelsY(2, 0);
  sum.setDilationRateX(3, 1);
  Coder coder;
  sum.encodeWithCoder(coder);
  const std::vector<std::byte> bytes = coder.bytes();
  Coder archive(bytes);
  const WeightedSum again(archive, tested());
  const Device other = Device::cpu(1);
  const WeightedSum there = sum.copy(other);
  EXPECT_EQ(there.device(), other);
  for (const WeightedSum* kernel : {&again, &there}) {
    Coder second;
    kernel->encodeWithCoder(second);
    EXPECT_EQ(second.bytes(), bytes) << "equal kernels, equal bytes";
    EXPECT_EQ(kernel->sourceCount(), 3U);
    EXPECT_EQ(kernel->label(), "sum1");
    EXPECT_EQ(kernel->padding(), sum.padding());
    EXPECT_EQ(kernel->destinationImageAllocator(), sum.destinationImageAllocator());
    EXPECT_EQ(kernel->offset(2), (Offset{1, -2, 3}));
    EXPECT_EQ(kernel->kernelWidth(2), 5U);
  }
}

TEST_F(Multiary, ASourceCountThatTheArchiveDoesNotHaveIsRefused) {
  const WeightedSum sum(tested(), {1, 10});
  Coder coder;
  sum.encodeWithCoder(coder);
  const auto with_count = [&](char digit) {
    std::vector<std::byte> bytes = coder.bytes();
    const std::string key = "sourceCount";
    const auto found = std::search(bytes.begin(), bytes.end(), key.begin(), key.end(),
                                   [](std::byte b, char c) { return b == std::byte(c); });
    const auto at = std::find(found, bytes.end(), std::byte{'2'});
    if (at != bytes.end()) *at = std::byte(digit);
    Coder damaged(bytes);
    const WeightedSum read(damaged, tested());
  };
  EXPECT_NO_THROW(with_count('2'));
  EXPECT_THROW(with_count('3'), FileError);
  EXPECT_THROW(with_count('0'), FileError);
}

}  // namespace
}  // namespace cermet
