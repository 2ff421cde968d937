#include "cermet/train/idx.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>

#include "cermet/train/file.h"
#include "help.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;
using test::expect_parts;
using test::TemporaryFolder;
using test::text_of;
using test::to_bytes;

using Bytes = std::vector<std::uint8_t>;

const Bytes two_by_three = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};

Bytes gzip(const Bytes& contents) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes input = contents;
  Bytes packed(deflateBound(&stream, contents.size()) + 32);
  stream.next_in = input.data();
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.erase(packed.end() - static_cast<std::ptrdiff_t>(stream.avail_out), packed.end());
  deflateEnd(&stream);
  return packed;
}

Bytes joined(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::string failed_parse(const Bytes& bytes) {
  std::string text = text_of<FileError>([&] { (void)parse_idx(bytes, "some.idx"); });
  expect_parts(text, {"\"some.idx\""});
  return text;
}

void write_bytes(const fs::path& path, const Bytes& bytes) {
  write_file_atomically(path, std::as_bytes(std::span(bytes)));
}

TEST(Idx, ReadsPlainAndCompressed) {
  for (const Bytes& bytes : {two_by_three, gzip(two_by_three)}) {
    const IdxArray array = parse_idx(bytes, "some.idx");
    EXPECT_EQ(array.dimensions, (std::vector<std::uint32_t>{2, 3}));
    EXPECT_EQ(array.values, (Bytes{1, 2, 3, 4, 5, 6}));
  }
}

TEST(Idx, ReadsSeveralGzipMembers) {
  const Bytes start(two_by_three.begin(), two_by_three.begin() + 7);
  const Bytes rest(two_by_three.begin() + 7, two_by_three.end());
  const Bytes packed = joined(joined(gzip(start), gzip({})), gzip(rest));
  EXPECT_EQ(parse_idx(packed, "some.idx").values, (Bytes{1, 2, 3, 4, 5, 6}));
}

RC_GTEST_PROP(Idx, WhatIsWrittenIsRead, ()) {
  IdxArray array;
  const auto rank = *rc::gen::inRange<std::size_t>(1, 5);
  std::size_t count = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    array.dimensions.push_back(*rc::gen::inRange<std::uint32_t>(0, 7));
    count *= array.dimensions.back();
  }
  array.values = *rc::gen::container<Bytes>(count, rc::gen::arbitrary<std::uint8_t>());
  const TemporaryFolder folder;
  for (const char* name : {"plain", "packed.gz"}) {
    write_idx(folder / name, array);
    const IdxArray found = read_idx(folder / name);
    RC_ASSERT(found.dimensions == array.dimensions);
    RC_ASSERT(found.values == array.values);
  }
  RC_ASSERT(read_file(folder / "packed.gz").at(0) == std::byte{0x1f});
}

RC_GTEST_PROP(Idx, EveryCutIsNoticed, (bool packed)) {
  const Bytes whole = packed ? gzip(two_by_three) : two_by_three;
  const auto length = *rc::gen::inRange<std::size_t>(0, whole.size());
  const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
  RC_ASSERT_THROWS_AS((void)parse_idx(cut, "cut"), FileError);
}

RC_GTEST_PROP(Idx, ADamagedBitIsNoticedOrHarmless, ()) {
  Bytes packed = gzip(two_by_three);
  const auto place = *rc::gen::inRange<std::size_t>(2, packed.size());
  packed[place] = static_cast<std::uint8_t>(packed[place] ^ (1u << *rc::gen::inRange(0, 8)));
  try {
    // Time, system and the bits that fill the last byte of the stream carry nothing.
    RC_ASSERT(parse_idx(packed, "damaged").values == (Bytes{1, 2, 3, 4, 5, 6}));
  } catch (const FileError&) {
  }
}

TEST(Idx, RefusesAnotherKindOfFile) {
  expect_parts(failed_parse({'P', 'K', 3, 4, 0, 0}),
               {"start is 50 4b 03 04", "needed 00 00 08", "Check that this is an IDX file"});
  expect_parts(failed_parse({0, 0, 0x0d, 1, 0, 0, 0, 0}),
               {"type is 0x0d", "needed 0x08", "Convert the values"});
  expect_parts(failed_parse({0, 0, 8, 0}), {"number of dimensions is 0", "needed 1 to 8"});
  expect_parts(failed_parse({0, 0, 8, 9}), {"number of dimensions is 9", "needed 1 to 8"});
}

TEST(Idx, RefusesAShortFile) {
  Bytes cut = two_by_three;
  cut.pop_back();
  expect_parts(failed_parse({}), {"length is 0 bytes", "needed 4 bytes or more"});
  expect_parts(failed_parse({0, 0, 8, 2, 0, 0, 0}), {"length is 7 bytes", "needed 12"});
  expect_parts(failed_parse(cut),
               {"length is 17 bytes", "needed 18 (12 of header and 2x3 of values)", "cut short"});
  expect_parts(failed_parse(gzip(cut)), {"length is 17 bytes", "needed 18", "cut short"});
}

TEST(Idx, RefusesALongFile) {
  const Bytes extended = joined(two_by_three, {7, 8});
  expect_parts(failed_parse(extended),
               {"length is 20 bytes", "needed 18 (12 of header and 2x3 of values)",
                "Something follows the values"});
  expect_parts(failed_parse(gzip(extended)),
               {"length is over 18 bytes", "needed 18", "Something follows the values"});
}

TEST(Idx, RefusesADamagedGzipStream) {
  const Bytes packed = gzip(two_by_three);
  Bytes cut = packed;
  cut.pop_back();
  expect_parts(failed_parse(cut), {"compressed data is cut off", "Copy or fetch"});
  Bytes changed = packed;
  changed[packed.size() - 5] ^= 1;  // the last byte of the checksum
  expect_parts(failed_parse(changed), {"compressed data is damaged", "incorrect data check"});
  expect_parts(failed_parse(joined(packed, {1, 2, 3})),
               {"compressed data is followed by 3 other bytes"});
}

TEST(Idx, RefusesSizesAboveTheLimit) {
  const Bytes huge = {0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4};
  expect_parts(failed_parse(huge), {"size in the header is 4294967295x4294967295x4",
                                    "needed at most 2147483647 values"});
  // The product is 2^64, which is 0 in 64 bits.
  const Bytes wrapping = {0, 0, 8, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0};
  expect_parts(failed_parse(wrapping), {"65536x65536x65536x65536", "needed at most"});
}

TEST(Idx, AnEmptyArrayMayHaveAnyOtherSizes) {
  const Bytes empty = {0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
  EXPECT_TRUE(parse_idx(empty, "some.idx").values.empty());
}

TEST(Idx, ABombCostsWhatItsHeaderSays) {
  // 64 MiB of zeros in 64 KiB; the header says 6.
  const Bytes bomb = gzip(joined(two_by_three, Bytes(std::size_t{64} << 20, 0)));
  EXPECT_LT(bomb.size(), 100'000u);
  expect_parts(failed_parse(bomb), {"length is over 18 bytes"});
  // A header that claims 2 GiB over nothing.
  const Bytes claim = {0, 0, 8, 1, 0x7f, 0xff, 0xff, 0xff};
  expect_parts(failed_parse(claim), {"length is 8 bytes", "needed 2147483655"});
  expect_parts(failed_parse(gzip(claim)), {"length is 8 bytes", "needed 2147483655"});
}

TEST(Idx, NamesTheFile) {
  const TemporaryFolder folder;
  write_bytes(folder / "file", {1, 2, 3, 4});
  const auto text = text_of<FileError>([&] { (void)read_idx(folder / "file"); });
  expect_parts(text, {(folder / "file").string(), "start is 01 02 03 04"});
  const auto absent = text_of<FileError>([&] { (void)read_idx(folder / "absent"); });
  expect_parts(absent, {(folder / "absent").string(), "No such file"});
}

TEST(Idx, WritesOnlyWhatCanBeRead) {
  const TemporaryFolder folder;
  const auto refusal = [&](const IdxArray& array) {
    return text_of<InvalidArgument>([&] { write_idx(folder / "file", array); });
  };
  expect_parts(refusal({{2, 3}, Bytes(5)}), {"values is 5 long", "needed 6 for 2x3"});
  expect_parts(refusal({{}, {}}), {"dimensions is 0 of them", "needed 1 to 8"});
  EXPECT_EQ(folder.entry_count(), 0);
}

TEST(Idx, WritesTheSameBytesAlways) {
  const TemporaryFolder folder;
  write_idx(folder / "a.gz", {{3}, {1, 2, 3}});
  write_idx(folder / "b.gz", {{3}, {1, 2, 3}});
  EXPECT_EQ(read_file(folder / "a.gz"), read_file(folder / "b.gz"));
  const auto packed = read_file(folder / "a.gz");
  EXPECT_TRUE(std::all_of(packed.begin() + 4, packed.begin() + 8,
                          [](std::byte value) { return value == std::byte{0}; }));
}

class Digits : public ::testing::Test {
 protected:
  void write(const std::string& images, const std::string& labels) {
    write_idx(folder_ / images, {{2, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}});
    write_idx(folder_ / labels, {{2}, {9, 0}});
  }
  [[nodiscard]] std::string failed_load(bool train = true) const {
    return text_of<FileError>([&] { (void)load_digits(folder_.path(), train); });
  }

  TemporaryFolder folder_;
};

TEST_F(Digits, AreFoundUnderEverySpelling) {
  for (const bool train : {true, false}) {
    const std::string set = train ? "train" : "t10k";
    for (const std::string separator : {"-", "."}) {
      for (const std::string ending : {"", ".gz"}) {
        const std::string images = set + "-images" + separator + "idx3-ubyte" + ending;
        const std::string labels = set + "-labels" + separator + "idx1-ubyte" + ending;
        write(images, labels);
        const DigitSet digits = load_digits(folder_.path(), train);
        EXPECT_EQ(digits.count, 2);
        EXPECT_EQ(digits.height, 2);
        EXPECT_EQ(digits.width, 3);
        EXPECT_EQ(digits.pixels.size(), 12u);
        EXPECT_EQ(digits.pixels[7], 7);
        EXPECT_EQ(digits.labels, (Bytes{9, 0}));
        fs::remove(folder_ / images);
        fs::remove(folder_ / labels);
      }
    }
  }
}

TEST_F(Digits, AreThereWhenAllFourFilesAre) {
  EXPECT_FALSE(has_digits(folder_.path()));
  write("train-images-idx3-ubyte", "train-labels.idx1-ubyte.gz");
  EXPECT_FALSE(has_digits(folder_.path()));
  write("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte");
  EXPECT_TRUE(has_digits(folder_.path()));
  EXPECT_FALSE(has_digits(folder_ / "absent"));
}

TEST_F(Digits, SayWhatIsMissing) {
  expect_parts(text_of<FileError>([&] { (void)load_digits(folder_ / "absent", true); }),
               {"/absent\"", "folder is missing"});
  expect_parts(failed_load(false), {folder_.path().string(), "t10k-images-idx3-ubyte is missing",
                                    "t10k-images.idx3-ubyte.gz", "Name the folder"});
  write_idx(folder_ / "train-images-idx3-ubyte", {{1, 1, 1}, {0}});
  expect_parts(failed_load(), {"train-labels-idx1-ubyte is missing"});
}

TEST_F(Digits, MustAgree) {
  write("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
  const fs::path images = folder_ / "train-images-idx3-ubyte";
  const fs::path labels = folder_ / "train-labels-idx1-ubyte";
  write_idx(labels, {{3}, {1, 2, 3}});
  expect_parts(failed_load(), {labels.string(), "number of labels is 3",
                               "needed 2, one per image of train-images-idx3-ubyte"});
  write_idx(labels, {{2}, {1, 10}});
  expect_parts(failed_load(), {labels.string(), "label 1 is 10", "needed 0 to 9"});
  write_idx(labels, {{2, 1}, {1, 1}});
  expect_parts(failed_load(), {labels.string(), "number of dimensions is 2", "needed 1"});
  write_idx(labels, {{2}, {1, 1}});
  write_idx(images, {{2}, {1, 1}});
  expect_parts(failed_load(), {images.string(), "number of dimensions is 1", "needed 3"});
  write_idx(images, {{0, 28, 28}, {}});
  expect_parts(failed_load(), {images.string(), "size is 0x28x28", "needed one image"});
}

#ifdef CERMET_SOURCE_DIR
TEST_F(Digits, OfTheRepositoryAreWhole) {
  const fs::path folder = fs::path(CERMET_SOURCE_DIR) / "data/digits";
  for (const bool train : {true, false}) {
    const DigitSet digits = load_digits(folder, train);
    EXPECT_EQ(digits.count, train ? 12000 : 2000);
    EXPECT_EQ(digits.height, 28);
    EXPECT_EQ(digits.width, 28);
    for (std::uint8_t digit = 0; digit < 10; ++digit) {
      EXPECT_GT(std::ranges::count(digits.labels, digit), digits.count * 8 / 100) << int{digit};
    }
  }
}
#endif

}  // namespace
}  // namespace cermet
