// Images: storage in every format, host access, views, tables and errors (spec: core 5).

#include "cermet/core/image.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "cermet/cnn/loss.h"
#include "help.h"

namespace cermet {
namespace {

using test::complaint;
using test::constant;
using test::filled;
using test::floats;
using test::tested;
using Format = ImageFeatureChannelFormat;
constexpr auto HWC = DataLayout::HeightxWidthxFeatureChannels;
constexpr auto CHW = DataLayout::FeatureChannelsxHeightxWidth;
constexpr auto huge = std::numeric_limits<std::size_t>::max();

constexpr std::size_t channel_counts[] = {1, 2, 3, 4, 5, 9};
constexpr Format all_formats[] = {Format::Unorm8, Format::Unorm16, Format::Float16, Format::Float32,
                                  Format::BFloat16};

ImageDescriptor described(Format format, std::size_t w, std::size_t h, std::size_t c,
                          std::size_t n = 1) {
  return ImageDescriptor::imageDescriptor(format, w, h, c, n);
}

/// 0, 1, 2, ... in `[image][y][x][c]` order.
Image counted(const ImageDescriptor& descriptor) {
  Image image(tested(), descriptor);
  std::vector<float> values(test::elements(image));
  std::iota(values.begin(), values.end(), 0.0F);
  image.write_floats(values);
  return image;
}

// ---- storage
// -------------------------------------------------------------------------------------

TEST(ImageStorage, StartsAtZeroAndIsMadeAtFirstUse) {
  test::settle(tested());
  {  // dirties a block of this size
    const Image dirty = filled(floats(33, 17, 5), 9);
  }
  const std::size_t before = tested().memory_use().in_use;
  const Image image(tested(), floats(33, 17, 5));
  EXPECT_EQ(tested().memory_use().in_use, before);
  EXPECT_EQ(image.resourceSize(), 33U * 17 * 5 * 4) << "known without being made";
  EXPECT_EQ(image.setPurgeableState(PurgeableState::Volatile), PurgeableState::AllocationDeferred);
  EXPECT_EQ(tested().memory_use().in_use, before);
  EXPECT_EQ(image.read_floats(), constant(image, 0));
  EXPECT_GT(tested().memory_use().in_use, before);
  EXPECT_EQ(image.setPurgeableState(PurgeableState::KeepCurrent), PurgeableState::NonVolatile);
}

TEST(ImageStorage, EveryFormatKeepsWhatItCanHold) {
  for (const Format format : all_formats) {
    for (const std::size_t c : channel_counts) {
      const Image image(tested(), described(format, 3, 2, c, 2));
      std::vector<float> values(test::elements(image));
      for (std::size_t i = 0; i < values.size(); ++i) {
        switch (format) {  // exact in the format; the index shows in the value
          case Format::Unorm8:
            values[i] = static_cast<float>(i % 256) / 255;
            break;
          case Format::Unorm16:
            values[i] = static_cast<float>(i * 601) / 65535;
            break;
          default:
            values[i] = static_cast<float>(i) - 50;
            break;
        }
      }
      image.write_floats(values);
      const std::vector<float> got = image.read_floats();
      ASSERT_EQ(got, values) << name_of(format) << " with " << c << " channels";
    }
  }
}

TEST(ImageStorage, RoundingToEachFormat) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.5F,     -0.25F,    1.5F,      nan,
                                     infinity, -infinity, 100000.0F, 1 + 0x1p-11F};
  const auto through = [&](Format format) {
    const Image image(tested(), described(format, 4, 2, 1));
    image.write_floats(values);
    return image.read_floats();
  };
  EXPECT_EQ(through(Format::Unorm8), (std::vector<float>{128.0F / 255, 0, 1, 0, 1, 0, 1, 1}));
  EXPECT_EQ(through(Format::Unorm16), (std::vector<float>{32768.0F / 65535, 0, 1, 0, 1, 0, 1, 1}));
  const auto half = through(Format::Float16);
  EXPECT_TRUE(std::isnan(half[3]));
  EXPECT_EQ(half[4], infinity);
  EXPECT_EQ(half[5], -infinity);
  EXPECT_EQ(half[6], infinity) << "overflow";
  EXPECT_EQ(half[7], 1) << "a tie goes to even";
  const auto bfloat = through(Format::BFloat16);
  EXPECT_TRUE(std::isnan(bfloat[3]));
  EXPECT_EQ(bfloat[6], 99840.0F);
  const auto full = through(Format::Float32);
  EXPECT_TRUE(std::isnan(full[3]));
  EXPECT_EQ(full[7], 1 + 0x1p-11F);
}

TEST(ImageStorage, UnormRoundsToTheNearestCode) {
  for (const auto& [format, top] : {std::pair{Format::Unorm8, 255.0}, {Format::Unorm16, 65535.0}}) {
    const Image image(tested(), described(format, 256, 1, 1));
    std::vector<float> values(256);
    for (const double part : {-0.49, -0.01, 0.0, 0.01, 0.49}) {
      for (std::size_t i = 0; i < 256; ++i) {
        values[i] = static_cast<float>((static_cast<double>(i) * (top / 255) + part) / top);
      }
      image.write_floats(values);
      const std::vector<float> got = image.read_floats();
      for (std::size_t i = 0; i < 256; ++i) {
        ASSERT_EQ(got[i], static_cast<float>(static_cast<double>(i) * (top / 255) / top))
            << name_of(format) << " " << i << " " << part;
      }
    }
  }
}

TEST(ImageStorage, KernelsRoundAsTheHostDoes) {
  const CommandQueue queue = tested().makeCommandQueue();
  const Image source(tested(), floats(16, 16, 5));
  std::vector<float> values(test::elements(source));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i) * 0.0017F - 0.4F;
  }
  source.write_floats(values);
  for (const Format format : all_formats) {
    const Image by_kernel(tested(), described(format, 16, 16, 5)),
        by_host(tested(), described(format, 16, 16, 5));
    CommandBuffer buffer = queue.makeCommandBuffer();
    CNNNeuronLinear(tested(), 1, 0).encode(buffer, source, by_kernel);
    buffer.commit();
    buffer.waitUntilCompleted();
    by_host.write_floats(values);
    EXPECT_EQ(by_kernel.read_floats(), by_host.read_floats()) << name_of(format);
  }
}

TEST(ImageStorage, ReadBytesGivesTheStorageType) {
  const Image image(tested(), described(Format::Float16, 2, 1, 1));
  image.write_floats(std::vector<float>{1, -2});
  std::uint16_t bits[2] = {};
  image.readBytes(bits, HWC);
  EXPECT_EQ(bits[0], 0x3C00);
  EXPECT_EQ(bits[1], 0xC000);
  const Image bytes(tested(), described(Format::Unorm8, 2, 1, 1));
  const std::uint8_t raw[2] = {7, 255};
  bytes.writeBytes(raw, HWC);
  EXPECT_EQ(bytes.read_floats(), (std::vector<float>{7.0F / 255, 1}));
}

// ---- readBytes and writeBytes
// --------------------------------------------------------------------

TEST(ImageBytes, WholeImagesInBothLayouts) {
  for (const std::size_t c : channel_counts) {
    const std::size_t w = 3, h = 2;
    const Image image = counted(floats(w, h, c, 2));
    for (std::size_t n = 0; n < 2; ++n) {
      std::vector<float> hwc(w * h * c, -1), chw(w * h * c, -1);
      image.readBytes(hwc.data(), HWC, n);
      image.readBytes(chw.data(), CHW, n);
      for (std::size_t y = 0; y < h; ++y) {
        for (std::size_t x = 0; x < w; ++x) {
          for (std::size_t k = 0; k < c; ++k) {
            const auto wanted = static_cast<float>(((n * h + y) * w + x) * c + k);
            ASSERT_EQ(hwc[(y * w + x) * c + k], wanted);
            ASSERT_EQ(chw[(k * h + y) * w + x], wanted);
          }
        }
      }
      const Image back(tested(), floats(w, h, c));
      back.writeBytes(hwc.data(), HWC);
      EXPECT_EQ(back.read_floats(), hwc);
      back.write_floats(constant(back, -5));
      back.writeBytes(chw.data(), CHW);
      EXPECT_EQ(back.read_floats(), hwc);
    }
  }
}

TEST(ImageBytes, AWindowOfPixelsAndChannels) {
  // The worked example of spec core 5.4: byte 64y + 16x + 4c.
  const Image image = counted(floats(4, 3, 10));
  const auto at = [](std::size_t y, std::size_t x, std::size_t c) {
    return static_cast<float>((y * 4 + x) * 10 + c);
  };
  std::vector<float> memory(32, -1);
  image.readBytes(memory.data(), HWC, {.bytesPerRow = 64}, {{1, 0, 0}, {2, 2, 1}}, {4, 4}, 0);
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t y = i / 16, x = i % 16 / 4, c = i % 4;
    ASSERT_EQ(memory[i], x < 2 ? at(y, 1 + x, 4 + c) : -1.0F) << i;
  }
  // The last channels, though their count is no multiple of 4; CHW with a column stride of 3
  // floats.
  std::vector<float> planes(2 * 2 * 8, -1);
  image.readBytes(planes.data(), CHW, {.bytesPerColumn = 12, .bytesPerRow = 32},
                  {{2, 1, 0}, {2, 2, 1}}, {8, 2}, 0);
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const std::size_t c = i / 16, y = i % 16 / 8, x = i % 8;
    const float wanted = x == 0 || x == 3 ? at(1 + y, 2 + x / 3, 8 + c) : -1.0F;
    ASSERT_EQ(planes[i], wanted) << i;
  }
}

TEST(ImageBytes, AWriteChangesExactlyItsWindow) {
  const Image image = filled(floats(4, 3, 10, 2), 5);
  std::vector<float> memory(2 * 2 * 4);
  std::iota(memory.begin(), memory.end(), 100.0F);
  image.writeBytes(memory.data(), HWC, {}, {{1, 1, 1}, {2, 2, 1}}, {4, 4}, 0);
  const std::vector<float> got = image.read_floats();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t c = i % 10, x = i / 10 % 4, y = i / 40 % 3, n = i / 120;
    const bool window = n == 1 && x >= 1 && x < 3 && y >= 1 && c >= 4 && c < 8;
    const auto wanted = static_cast<float>(100 + ((y - 1) * 2 + (x - 1)) * 4 + (c - 4));
    ASSERT_EQ(got[i], window ? wanted : 5.0F) << i;
  }
}

TEST(ImageBytes, ImageIndexAndOriginAdd) {
  const Image image = counted(floats(1, 1, 1, 6));
  float values[4] = {-1, -1, -1, -1};
  image.readBytes(values, HWC, {.bytesPerImage = 8}, {{0, 0, 2}, {1, 1, 2}}, {0, 1}, 1);
  EXPECT_EQ(values[0], 3);
  EXPECT_EQ(values[1], -1);
  EXPECT_EQ(values[2], 4);
  EXPECT_EQ(values[3], -1);
}

TEST(ImageBytes, SeveralImagesAreDenseByDefault) {
  const Image image = counted(floats(2, 2, 3, 3));
  std::vector<float> hwc(36), chw(36);
  image.readBytes(hwc.data(), HWC, {}, {{}, {2, 2, 3}}, {0, 3}, 0);
  EXPECT_EQ(hwc, image.read_floats());
  image.readBytes(chw.data(), CHW, {}, {{}, {2, 2, 3}}, {0, 3}, 0);
  const Image back(tested(), floats(2, 2, 3, 3));
  back.writeBytes(chw.data(), CHW, {}, {{}, {2, 2, 3}}, {0, 3}, 0);
  EXPECT_EQ(back.read_floats(), hwc);
}

TEST(ImageBytes, StridesThatAreNeverSteppedAreNotLookedAt) {
  const Image image(tested(), floats(4, 1, 3));
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.0F);
  // A client passes width * 4 for HWC floats of several channels and one row.
  image.writeBytes(values.data(), HWC, {.bytesPerRow = 16}, {{}, {4, 1, 1}}, {0, 3}, 0);
  EXPECT_EQ(image.read_floats(), values);
  image.writeBytes(values.data(), HWC, {.bytesPerRow = 1, .bytesPerImage = 1}, {{}, {4, 1, 1}},
                   {0, 3}, 0);
  EXPECT_EQ(image.read_floats(), values);
  const Image column(tested(), floats(1, 3, 1));
  column.writeBytes(values.data(), HWC, {.bytesPerColumn = 1}, {{}, {1, 3, 1}}, {0, 1}, 0);
  EXPECT_EQ(column.read_floats(), (std::vector<float>{0, 1, 2}));
}

TEST(ImageBytes, StridesThatAreSteppedMustHold) {
  const Image image(tested(), floats(4, 2, 3, 2));
  std::vector<float> m(64);
  const Region whole{{}, {4, 2, 2}};
  const auto hwc = [&](Image::Strides strides) {
    return complaint([&] { image.readBytes(m.data(), HWC, strides, whole, {0, 3}, 0); });
  };
  const auto chw = [&](Image::Strides strides) {
    return complaint([&] { image.writeBytes(m.data(), CHW, strides, whole, {0, 3}, 0); });
  };
  EXPECT_EQ(hwc({.bytesPerColumn = 8}),
            "Image: bytesPerColumn is 8; needed 12 or more. Pass 0 for dense memory.");
  EXPECT_EQ(hwc({.bytesPerRow = 16}),
            "Image: bytesPerRow is 16; needed 48 or more. Pass 0 for dense memory.");
  EXPECT_EQ(hwc({.bytesPerImage = 95}),
            "Image: bytesPerImage is 95; needed 96 or more. Pass 0 for dense memory.");
  EXPECT_EQ(chw({.bytesPerRow = 15}),
            "Image: bytesPerRow is 15; needed 16 or more. Pass 0 for dense memory.");
  EXPECT_EQ(chw({.bytesPerImage = 95}),
            "Image: bytesPerImage is 95; needed 96 or more. Pass 0 for dense memory.");
  EXPECT_EQ(hwc({.bytesPerRow = 48, .bytesPerImage = 96}), "no exception");
  EXPECT_EQ(chw({.bytesPerRow = 16, .bytesPerImage = 96}), "no exception");
  // One row of several planes: the planes are `rows * bytesPerRow` apart, so the stride is stepped.
  EXPECT_EQ(complaint([&] {
              image.readBytes(m.data(), CHW, {.bytesPerRow = 4}, {{}, {4, 1, 1}}, {0, 3}, 0);
            }),
            "Image: bytesPerRow is 4; needed 16 or more. Pass 0 for dense memory.");
}

TEST(ImageBytes, ErrorsNameWhatIsWrong) {
  Image image(tested(), floats(4, 3, 10, 2));
  image.setLabel("input");
  std::vector<float> m(4 * 3 * 10 * 2, 8);
  const auto read = [&](Region region, ImageReadWriteParams channels, std::size_t index) {
    return complaint([&] { image.readBytes(m.data(), HWC, {}, region, channels, index); });
  };
  const Region one{{}, {1, 1, 1}};
  EXPECT_EQ(read({{3, 0, 0}, {2, 1, 1}}, {0, 10}, 0),
            "Image \"input\": region is 2x1 at (3, 0); needed a region inside 4x3.");
  EXPECT_EQ(read({{0, 0, 0}, {1, 4, 1}}, {0, 10}, 0),
            "Image \"input\": region is 1x4 at (0, 0); needed a region inside 4x3.");
  EXPECT_EQ(read({{0, 0, 0}, {0, 1, 1}}, {0, 10}, 0),
            "Image \"input\": region is 0x1 at (0, 0); needed a region inside 4x3.");
  EXPECT_EQ(
      read({{2, 0, 0}, {huge, 1, 1}}, {0, 10}, 0),
      "Image \"input\": region is 18446744073709551615x1 at (2, 0); needed a region inside 4x3.");
  EXPECT_EQ(read({{huge, huge, 0}, {2, 2, 1}}, {0, 10}, 0).substr(0, 24),
            "Image \"input\": region is");
  EXPECT_EQ(read(one, {0, 10}, 2),
            "Image \"input\": imageIndex is 2 with 1 images; needed images below 2.");
  EXPECT_EQ(read({{0, 0, 1}, {1, 1, 1}}, {0, 10}, 1),
            "Image \"input\": imageIndex is 2 with 1 images; needed images below 2.");
  EXPECT_NE(read(one, {0, 10}, huge), "no exception");
  EXPECT_NE(read({{0, 0, huge}, {1, 1, 1}}, {0, 10}, 1), "no exception");
  EXPECT_NE(read({{0, 0, 1}, {1, 1, huge}}, {0, 10}, 0), "no exception");
  EXPECT_NE(read({{0, 0, 0}, {1, 1, 0}}, {0, 10}, 0), "no exception");
  const std::string channels = "; needed an offset that is a multiple of 4 and channels below 10.";
  EXPECT_EQ(read(one, {2, 4}, 0),
            "Image \"input\": featureChannelInfo is offset 2, count 4" + channels);
  EXPECT_EQ(read(one, {4, 3}, 0),
            "Image \"input\": featureChannelInfo is offset 4, count 3" + channels);
  EXPECT_EQ(read(one, {0, 0}, 0),
            "Image \"input\": featureChannelInfo is offset 0, count 0" + channels);
  EXPECT_EQ(read(one, {8, 4}, 0),
            "Image \"input\": featureChannelInfo is offset 8, count 4" + channels);
  EXPECT_NE(read(one, {8, huge - 7}, 0), "no exception");
  EXPECT_EQ(read(one, {8, 2}, 0), "no exception") << "the last channels";
  EXPECT_EQ(read(one, {0, 3}, 0), "no exception") << "any count from channel 0";
  EXPECT_EQ(complaint([&] { image.readBytes(nullptr, HWC); }),
            "Image \"input\": dataBytes is null; needed memory of the host.");
  EXPECT_EQ(complaint([&] { image.write_floats(std::vector<float>(3)); }),
            "Image \"input\": values is 3 floats; needed 240.");
  EXPECT_EQ(image.read_floats(), constant(image, 0)) << "nothing was written";
}

TEST(ImageBytes, PrivateImagesAreOutOfReach) {
  ImageDescriptor descriptor = floats(1, 1, 1);
  descriptor.storageMode = StorageMode::Private;
  const Image image(tested(), descriptor);
  float value = 0;
  EXPECT_EQ(
      complaint([&] { image.readBytes(&value, HWC); }),
      "Image: the image is private; needed storage that the host can reach. Make the image with "
      "Image::defaultAllocator() and storageMode Shared to read or write it.");
  EXPECT_NE(complaint([&] { image.writeBytes(&value, HWC); }), "no exception");
}

// ---- views
// ---------------------------------------------------------------------------------------

TEST(ImageView, SubImageSharesItsChannelsBothWays) {
  const Image image = counted(floats(2, 2, 10, 2));
  const Image view = image.subImage({4, 4});
  EXPECT_EQ(view.featureChannels(), 4U);
  EXPECT_EQ(view.width(), 2U);
  EXPECT_EQ(view.numberOfImages(), 2U);
  EXPECT_EQ(view.parent(), image);
  EXPECT_FALSE(image.parent());
  EXPECT_EQ(view.resourceSize(), 0U);
  std::vector<float> values = view.read_floats();
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(values[i], static_cast<float>(i / 4 * 10 + 4 + i % 4));
  }
  view.write_floats(constant(view, -1));
  const std::vector<float> changed = image.read_floats();
  for (std::size_t i = 0; i < changed.size(); ++i) {
    const std::size_t c = i % 10;
    ASSERT_EQ(changed[i], c >= 4 && c < 8 ? -1.0F : static_cast<float>(i));
  }
  image.write_floats(constant(image, 6));
  EXPECT_EQ(view.read_floats(), constant(view, 6));
  const Image tail = image.subImage({8, 4});
  EXPECT_EQ(tail.featureChannels(), 2U) << "a length too large is cut";
  EXPECT_EQ(image.subImage({0, huge}).featureChannels(), 10U);
}

TEST(ImageView, BatchRepresentationSharesItsImages) {
  const Image image = counted(floats(2, 1, 3, 4));
  const ImageBatch all = image.batchRepresentation(), middle = image.batchRepresentation({1, 2});
  ASSERT_EQ(all.size(), 4U);
  ASSERT_EQ(middle.size(), 2U);
  EXPECT_EQ(middle[1].numberOfImages(), 1U);
  EXPECT_EQ(middle[1].parent(), image);
  EXPECT_EQ(middle[0].read_floats(), (std::vector<float>{6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(middle[1].read_floats(), all[2].read_floats());
  middle[1].write_floats(constant(middle[1], 0));
  EXPECT_EQ(all[2].read_floats(), constant(all[2], 0));
  EXPECT_EQ(image.read_floats()[17], 0);
  EXPECT_EQ(image.read_floats()[18], 18);
  // A view of a view.
  const Image wide = counted(floats(1, 1, 12, 3));
  const Image deep = wide.subImage({4, 8}).batchRepresentation({1, 2})[1].subImage({4, 4});
  EXPECT_EQ(deep.read_floats(), (std::vector<float>{32, 33, 34, 35}));
  const Image one_of_many = ImageBatch(tested(), floats(1, 1, 8), 3)[2];
  one_of_many.subImage({4, 4}).write_floats(std::vector<float>{1, 2, 3, 4});
  EXPECT_EQ(one_of_many.read_floats(), (std::vector<float>{0, 0, 0, 0, 1, 2, 3, 4}));
}

TEST(ImageView, MadeBeforeTheStorageIs) {
  const Image image(tested(), floats(2, 2, 8));
  const Image view = image.subImage({4, 4});
  EXPECT_EQ(view.setPurgeableState(PurgeableState::KeepCurrent),
            PurgeableState::AllocationDeferred);
  view.write_floats(constant(view, 2));
  EXPECT_EQ(image.read_floats()[7], 2);
  EXPECT_EQ(image.read_floats()[3], 0);
  EXPECT_EQ(view.setPurgeableState(PurgeableState::KeepCurrent), PurgeableState::NonVolatile);
}

TEST(ImageView, KernelsWriteThroughViews) {
  const Image image = filled(floats(2, 2, 8), 3);
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  NNInitialGradient(tested()).encode(buffer, image.subImage({0, 4}), image.subImage({4, 4}));
  buffer.commit();
  buffer.waitUntilCompleted();
  const std::vector<float> values = image.read_floats();
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], i % 8 < 4 ? 3.0F : 1.0F);
}

TEST(ImageView, Errors) {
  const Image image(tested(), floats(2, 2, 10, 3));
  const auto channels = [&](Range range) {
    return complaint([&] { static_cast<void>(image.subImage(range)); });
  };
  EXPECT_EQ(
      channels({2, 4}),
      "Image: featureChannelRange is 4 channels from 2; needed multiples of 4 inside 10 channels.");
  EXPECT_NE(channels({0, 3}), "no exception");
  EXPECT_NE(channels({12, 4}), "no exception");
  EXPECT_NE(channels({0, 0}), "no exception");
  EXPECT_NE(channels({huge - 3, 8}), "no exception");
  EXPECT_EQ(channels({8, 2}), "no exception");
  const auto images = [&](Range range) {
    return complaint([&] { static_cast<void>(image.batchRepresentation(range)); });
  };
  EXPECT_EQ(images({2, 2}), "Image: subRange is 2 images from 2; needed images below 3.");
  EXPECT_NE(images({0, 0}), "no exception");
  EXPECT_NE(images({huge, 2}), "no exception");
  EXPECT_EQ(images({2, 1}), "no exception");
}

// ---- tables and handles
// --------------------------------------------------------------------------

TEST(ImageTables, PixelFormats) {
  struct Row {
    Format format;
    PixelFormat r, rg, rgba;
    std::size_t bytes, precision;
  };
  using enum PixelFormat;
  for (const Row& row : {Row{Format::Unorm8, R8Unorm, RG8Unorm, RGBA8Unorm, 1, 8},
                         Row{Format::Unorm16, R16Unorm, RG16Unorm, RGBA16Unorm, 2, 16},
                         Row{Format::Float16, R16Float, RG16Float, RGBA16Float, 2, 11},
                         Row{Format::Float32, R32Float, RG32Float, RGBA32Float, 4, 24}}) {
    for (const std::size_t c : channel_counts) {
      const Image image(tested(), described(row.format, 2, 2, c));
      EXPECT_EQ(image.pixelFormat(), c == 1 ? row.r : c == 2 ? row.rg : row.rgba);
      EXPECT_EQ(image.pixelSize(), row.bytes * (c == 1 ? 1U : c == 2 ? 2U : 4U));
      EXPECT_EQ(image.precision(), row.precision);
      EXPECT_EQ(image.textureType(), c <= 4 ? TextureType::Type2D : TextureType::Type2DArray);
      EXPECT_EQ(image.featureChannelFormat(), row.format);
    }
  }
  EXPECT_EQ(Image(tested(), described(Format::Float32, 1, 1, 1, 2)).textureType(),
            TextureType::Type2DArray);
  const Image bfloat(tested(), described(Format::BFloat16, 1, 1, 4));
  EXPECT_EQ(bfloat.pixelFormat(), RGBA16Unorm);
  EXPECT_EQ(bfloat.featureChannelFormat(), Format::BFloat16);
  EXPECT_EQ(bfloat.precision(), 8U);
  const Image chosen(tested(), described(Format::None, 1, 1, 4));
  EXPECT_EQ(chosen.featureChannelFormat(), Format::Float16);
  EXPECT_EQ(chosen.pixelSize(), 8U);
}

TEST(ImageHandle, DescriptorErrors) {
  const auto made = [](std::size_t w, std::size_t h, std::size_t c, std::size_t n) {
    return complaint([&] { Image(tested(), floats(w, h, c, n)); });
  };
  const std::string remedy =
      "; needed extents of 1 or more. Set width, height and featureChannels.";
  EXPECT_EQ(made(0, 2, 3, 1), "Image: imageDescriptor is 1 image(s) of 0x2x3" + remedy);
  EXPECT_EQ(made(2, 0, 3, 1), "Image: imageDescriptor is 1 image(s) of 2x0x3" + remedy);
  EXPECT_EQ(made(2, 2, 0, 1), "Image: imageDescriptor is 1 image(s) of 2x2x0" + remedy);
  EXPECT_EQ(made(2, 2, 3, 0), "Image: imageDescriptor is 0 image(s) of 2x2x3" + remedy);
  const std::size_t large = (std::size_t{1} << 31) - 1;
  EXPECT_EQ(
      made(large, large, 4, 1),
      "Image: imageDescriptor is 1 image(s) of 2147483647x2147483647x4; needed what fits into "
      "memory. Set width, height and featureChannels.");
  EXPECT_NE(made(large + 1, 1, 1, 1), "no exception");
  EXPECT_NE(made(large, large, large, large), "no exception");
  EXPECT_NE(
      complaint([&] { ImageBatch(tested(), floats(1, 1, 1, 2), (std::size_t{1} << 63) + 1); }),
      "no exception");
  EXPECT_NE(complaint([&] { ImageBatch(tested(), floats(1, 1, 1), (std::size_t{1} << 32) + 1); }),
            "no exception");
  EXPECT_EQ(complaint([&] { Image(Device(), floats(1, 1, 1)); }),
            "Image: device is nil; needed a device.");
  EXPECT_EQ(complaint([&] { static_cast<void>(Image().width()); }),
            "Image: the image is nil; needed an image. Make one from a device and a descriptor.");
}

TEST(ImageHandle, CopiesAreTheSameImage) {
  Image image(tested(), floats(1, 1, 1));
  const Image copy = image, other(tested(), floats(1, 1, 1));
  EXPECT_EQ(image, copy);
  EXPECT_NE(image, other);
  image.setLabel("mean");
  EXPECT_EQ(copy.label(), "mean");
  EXPECT_EQ(image.device(), tested());
  EXPECT_EQ(image.usage(), TextureUsage::ShaderReadWrite);
  EXPECT_FALSE(image.is_temporary());
  EXPECT_EQ(image.readCount(), 0U);
  EXPECT_EQ(complaint([&] { image.setReadCount(2); }),
            "Image \"mean\": readCount is of a permanent image; needed a temporary image that "
            "still has reads.");
}

TEST(ImageHandle, StockAllocatorsMakeWhatTheyAreNamedFor) {
  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const CNNNeuronReLU kernel(tested(), 0);
  ImageDescriptor descriptor = floats(2, 3, 4);
  const Image plain = Image::defaultAllocator()->image(buffer, descriptor, kernel);
  EXPECT_FALSE(plain.is_temporary());
  EXPECT_EQ(plain.height(), 3U);
  const ImageBatch many = Image::defaultAllocator()->imageBatch(buffer, descriptor, kernel, 3);
  ASSERT_EQ(many.size(), 3U);
  EXPECT_FALSE(many[2].is_temporary());
  const Image temporary = TemporaryImage::defaultAllocator()->image(buffer, descriptor, kernel);
  EXPECT_TRUE(temporary.is_temporary());
  EXPECT_EQ(temporary.readCount(), 1U);
  EXPECT_EQ(
      TemporaryImage::defaultAllocator()->imageBatch(buffer, descriptor, kernel, 3)[1].readCount(),
      1U);
  EXPECT_EQ(Image::defaultAllocator(), Image::defaultAllocator()) << "shared";
}

TEST(ImageHandle, AnAllocatorWithoutABatchMethodIsAskedOnceForEach) {
  struct Counting final : ImageAllocator {
    Image image(const CommandBuffer& buffer, ImageDescriptor& descriptor, const Kernel&) override {
      ++calls;
      descriptor.channelFormat = Format::Float32;  // clients edit it
      return {buffer.device(), descriptor};
    }
    int calls = 0;
  } allocator;
  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  ImageDescriptor descriptor = described(Format::Float16, 1, 1, 1);
  const ImageBatch batch = allocator.imageBatch(buffer, descriptor, CNNNeuronReLU(tested(), 0), 4);
  EXPECT_EQ(allocator.calls, 4);
  EXPECT_EQ(batch.size(), 4U);
  EXPECT_EQ(batch[3].featureChannelFormat(), Format::Float32);
}

/// Channel c of image n has the value 100 n + c.
Image numbered(std::size_t channels, std::size_t images) {
  Image image(tested(), floats(1, 1, channels, images));
  std::vector<float> values;
  for (std::size_t n = 0; n < images; ++n) {
    for (std::size_t c = 0; c < channels; ++c) values.push_back(static_cast<float>(100 * n + c));
  }
  image.write_floats(values);
  return image;
}

TEST(ImageSlices, OfOneImage) {
  const Image parent = numbered(10, 2);  // 3 slices each
  const Image tail(parent, {4, 2}, 6);
  EXPECT_EQ(tail.parent(), parent);
  EXPECT_EQ(tail.featureChannels(), 6U);
  EXPECT_EQ(tail.numberOfImages(), 1U);
  EXPECT_EQ(tail.resourceSize(), 0U);
  EXPECT_EQ(tail.read_floats(), (std::vector<float>{104, 105, 106, 107, 108, 109}));
  const Image some(parent, {0, 1}, 3);
  EXPECT_EQ(some.read_floats(), (std::vector<float>{0, 1, 2}));
  some.write_floats(std::vector<float>{-1, -2, -3});
  EXPECT_EQ(parent.read_floats()[2], -3.0F) << "shares storage";
}

TEST(ImageSlices, AsSeveralImages) {
  const Image parent = numbered(16, 2);  // 4 slices each
  const Image four(parent, {4, 4}, 4);
  EXPECT_EQ(four.numberOfImages(), 4U);
  EXPECT_EQ(four.batchRepresentation()[2].read_floats(), (std::vector<float>{108, 109, 110, 111}));
  const Image pairs(parent, {0, 4}, 7);
  EXPECT_EQ(pairs.numberOfImages(), 2U);
  EXPECT_EQ(pairs.read_floats(),
            (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14}));
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const Image result(tested(), floats(1, 1, 7, 2));
  CNNNeuronLinear(tested(), 2, 0).encode(buffer, pairs, result);
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(result.read_floats()[7], 16.0F) << "kernels read them";
}

TEST(ImageSlices, AsWholeImages) {
  const Image parent = numbered(6, 4);  // 2 slices each
  const Image middle(parent, {2, 4}, 5);
  EXPECT_EQ(middle.numberOfImages(), 2U);
  EXPECT_EQ(middle.read_floats(),
            (std::vector<float>{100, 101, 102, 103, 104, 200, 201, 202, 203, 204}));
}

TEST(ImageSlices, OfATemporaryTakeOverARead) {
  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const TemporaryImage parent(buffer, floats(1, 1, 8));
  const Image view(parent, {1, 1}, 4);
  EXPECT_TRUE(view.is_temporary());
  view.setReadCount(0);
  EXPECT_EQ(parent.readCount(), 0U);
  EXPECT_EQ(
      complaint([&] {
        const Image again(parent, {0, 1}, 4);
      }),
      "Image: the image is read for the last time already; needed a temporary image with reads "
      "left. Raise readCount once for every encode that reads it or a view of it.");
}

TEST(ImageSlices, ThatDoNotFitAreRefused) {
  Image parent = numbered(10, 2);
  parent.setLabel("p");
  const auto text = [&](Range slices, std::size_t channels) {
    return complaint([&] { const Image view(parent, slices, channels); });
  };
  EXPECT_EQ(text({0, 1}, 0),
            "Image \"p\": featureChannels is 0; needed 1 to 12, as many as the parent's slices "
            "hold.");
  EXPECT_EQ(text({0, 4}, 13),
            "Image \"p\": featureChannels is 13; needed 1 to 12, as many as the parent's slices "
            "hold.");
  EXPECT_EQ(text({0, 3}, 8),
            "Image \"p\": sliceRange is 3 slices from 0; needed a multiple of 2 slices below 6.");
  EXPECT_EQ(text({5, 2}, 8),
            "Image \"p\": sliceRange is 2 slices from 5; needed a multiple of 2 slices below 6.");
  EXPECT_EQ(text({0, 0}, 4),
            "Image \"p\": sliceRange is 0 slices from 0; needed a multiple of 1 slices below 6.");
  EXPECT_EQ(text({2, 2}, 4),
            "Image \"p\": sliceRange is 2 slices from 2; needed slices of one image, or whole "
            "images of 3 slices. Make a view of each image.");
  EXPECT_EQ(text({2, 1}, 4),
            "Image \"p\": featureChannels is 4; needed channels that the parent has, 10.");
  EXPECT_EQ(complaint([] {
              const Image view(Image(), {0, 1}, 4);
            }),
            "Image: the image is nil; needed an image. Make one from a device and a descriptor.");
}

TEST(ImageDescriptors, MadeInOneCall) {
  const ImageDescriptor descriptor = ImageDescriptor::imageDescriptor(
      ImageFeatureChannelFormat::Unorm8, 3, 4, 5, 6, TextureUsage::ShaderRead);
  EXPECT_EQ(descriptor.numberOfImages, 6U);
  EXPECT_EQ(descriptor.usage, TextureUsage::ShaderRead);
  EXPECT_EQ(Image(tested(), descriptor).usage(), TextureUsage::ShaderRead);
}

}  // namespace
}  // namespace cermet
