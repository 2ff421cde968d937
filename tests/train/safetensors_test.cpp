#include "cermet/train/safetensors.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cermet/train/file.h"
#include "help.h"

namespace cermet {
namespace {

using test::expect_parts;
using test::TemporaryFolder;
using test::text_of;
using test::to_bytes;
using test::to_text;

/// A file with this header, whatever it says, and this many bytes of data.
std::vector<std::byte> file_of(std::string_view header, std::size_t data_bytes,
                               std::uint64_t header_length) {
  std::vector<std::byte> bytes;
  for (int shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<std::byte>(header_length >> shift));
  }
  const auto text = to_bytes(header);
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), data_bytes, std::byte{1});
  return bytes;
}

std::vector<std::byte> file_of(std::string_view header, std::size_t data_bytes) {
  return file_of(header, data_bytes, header.size());
}

std::string failed_parse(const std::vector<std::byte>& bytes) {
  std::string text =
      text_of<FileError>([&] { (void)parse_safetensors(bytes, "some.safetensors"); });
  expect_parts(text, {"Safetensors file \"some.safetensors\": "});
  return text;
}

std::string failed_parse(std::string_view header, std::size_t data_bytes) {
  return failed_parse(file_of(header, data_bytes));
}

std::string failed_format(const SafeTensors& contents) {
  return text_of<InvalidArgument>([&] { (void)format_safetensors(contents); });
}

SafeTensor tensor_of(std::string name, std::string dtype, std::vector<std::int64_t> shape) {
  SafeTensor tensor = {std::move(name), std::move(dtype), std::move(shape), {}};
  std::size_t bytes = safetensor_element_bytes(tensor.dtype);
  for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::size_t>(size);
  for (std::size_t index = 0; index < bytes; ++index) {
    tensor.data.push_back(static_cast<std::byte>(index * 7 + tensor.name.size()));
  }
  return tensor;
}

constexpr std::string_view example =
    R"({"__metadata__":{"format":"cermet"},)"
    R"("b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},)"
    R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}   )";

TEST(Safetensors, ReadsAFileOfAnotherWriter) {
  const SafeTensors contents = parse_safetensors(file_of(example, 11), "some.safetensors");
  EXPECT_EQ(contents.metadata, (std::map<std::string, std::string>{{"format", "cermet"}}));
  ASSERT_EQ(contents.tensors.size(), 2u);
  EXPECT_EQ(contents.tensors[0].name, "a");
  EXPECT_EQ(contents.at("a").dtype, "F32");
  EXPECT_EQ(contents.at("a").shape, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(contents.at("b").data.size(), 3u);
}

TEST(Safetensors, ReadsScalarsAndEmptyTensors) {
  const SafeTensors contents =
      parse_safetensors(file_of(R"({"z":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                                R"("e":{"dtype":"F32","shape":[5,0],"data_offsets":[4,4]},)"
                                R"("f":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}})",
                                4),
                        "some.safetensors");
  EXPECT_EQ(contents.at("z").data.size(), 4u);
  EXPECT_TRUE(contents.at("e").data.empty());
  EXPECT_TRUE(contents.at("f").data.empty());
  EXPECT_TRUE(parse_safetensors(file_of("{}", 0), "some.safetensors").tensors.empty());
}

TEST(Safetensors, NamesWhatIsNotThere) {
  const SafeTensors contents = parse_safetensors(file_of(example, 11), "some.safetensors");
  const auto text = text_of<FileError>([&] { (void)contents.at("conv1.weight"); });
  EXPECT_EQ(text,
            "Safetensors file \"some.safetensors\": tensor \"conv1.weight\" is missing; needed "
            "one of its 2 tensors (a, b). Check that the file belongs to this model.");
}

RC_GTEST_PROP(Safetensors, WhatIsWrittenIsRead, ()) {
  const std::vector<std::string> types = {"BOOL", "U8",  "I8",  "F8_E4M3", "F8_E5M2",
                                          "U16",  "I16", "F16", "BF16",    "U32",
                                          "I32",  "F32", "U64", "I64",     "F64"};
  SafeTensors contents;
  contents.metadata = *rc::gen::map(
      rc::gen::arbitrary<std::map<int, int>>(), [](const std::map<int, int>& numbers) {
        std::map<std::string, std::string> texts;
        for (const auto& [key, value] : numbers) {
          texts["key \"" + std::to_string(key)] = "\xc3\xa4\n" + std::to_string(value);
        }
        return texts;
      });
  const int count = *rc::gen::inRange(0, 8);
  for (int index = 0; index < count; ++index) {
    const auto rank = *rc::gen::inRange<std::size_t>(0, 4);
    contents.tensors.push_back(tensor_of("layer." + std::to_string(index),
                                         *rc::gen::elementOf(types),
                                         *rc::gen::container<std::vector<std::int64_t>>(
                                             rank, rc::gen::inRange<std::int64_t>(0, 5))));
  }
  const TemporaryFolder folder;
  write_safetensors(folder / "file", contents);
  const SafeTensors found = read_safetensors(folder / "file");
  RC_ASSERT(found.metadata == contents.metadata);
  RC_ASSERT(found.file == (folder / "file").string());
  RC_ASSERT(found.tensors.size() == contents.tensors.size());
  for (const SafeTensor& tensor : contents.tensors) RC_ASSERT(found.at(tensor.name) == tensor);
  // Written again, the same bytes.
  RC_ASSERT(format_safetensors(found).size() == format_safetensors(contents).size());
  RC_ASSERT(parse_safetensors(format_safetensors(found), "again").tensors == found.tensors);
}

RC_GTEST_PROP(Safetensors, EveryCutIsNoticed, ()) {
  const auto whole = format_safetensors({{}, {tensor_of("a", "F32", {2, 3})}, {}});
  const auto length = *rc::gen::inRange<std::size_t>(0, whole.size());
  RC_ASSERT_THROWS_AS((void)parse_safetensors(std::span(whole).first(length), "cut"), FileError);
}

TEST(Safetensors, AlignsEveryTensor) {
  const SafeTensors contents = {
      {},
      {tensor_of("flags", "U8", {3}), tensor_of("half", "F16", {3}), tensor_of("step", "I64", {}),
       tensor_of("weight", "F32", {5}), tensor_of("bias", "F32", {1})},
      {}};
  const auto bytes = format_safetensors(contents);
  const auto header_bytes =
      std::to_integer<std::size_t>(bytes[0]) + 256 * std::to_integer<std::size_t>(bytes[1]);
  EXPECT_EQ((8 + header_bytes) % 8, 0u);
  const auto header = nlohmann::json::parse(to_text(std::span(bytes).subspan(8, header_bytes)));
  for (const SafeTensor& tensor : contents.tensors) {
    const auto begin = header[tensor.name]["data_offsets"][0].get<std::size_t>();
    EXPECT_EQ(begin % safetensor_element_bytes(tensor.dtype), 0u) << tensor.name;
  }
  EXPECT_LT(header["weight"]["data_offsets"][0], header["bias"]["data_offsets"][0]);
}

TEST(Safetensors, RefusesAWrongHeaderLength) {
  expect_parts(failed_parse(to_bytes("1234567")), {"length is 7 bytes", "needed 8 or more"});
  expect_parts(failed_parse(file_of("{}", 0, 3)),
               {"header length is 3 bytes", "needed at most 100000000, and 2 follow"});
  expect_parts(failed_parse(file_of("{}", 0, ~std::uint64_t{0})),
               {"header length is 18446744073709551615 bytes"});
  expect_parts(failed_parse(file_of("{}", 0, 0)), {"start of the header is missing"});
}

TEST(Safetensors, RefusesAHeaderThatIsNotAJsonObject) {
  expect_parts(failed_parse(" {}", 0), {"start of the header is 0x20", "needed '{'"});
  expect_parts(failed_parse("[1]", 0), {"start of the header is 0x5b"});
  expect_parts(failed_parse("{\"a\":", 0), {"header is not JSON", "parse_error"});
  expect_parts(failed_parse("{}x", 0), {"header is not JSON"});
  expect_parts(failed_parse("{\"\xff\":1}", 0), {"header is not JSON", "UTF-8"});
  expect_parts(failed_parse("{\"a\":" + std::string(100'000, '['), 0),
               {"header is nested too deep"});
}

TEST(Safetensors, RefusesRepeatedKeys) {
  expect_parts(failed_parse(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                            R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                            1),
               {"key \"a\" is there twice", "needed each key once"});
  expect_parts(
      failed_parse(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
      {"key \"dtype\" is there twice"});
}

TEST(Safetensors, RefusesMalformedMetadata) {
  expect_parts(failed_parse(R"({"__metadata__":[1]})", 0),
               {"__metadata__ is [1]", "an object of strings"});
  expect_parts(failed_parse(R"({"__metadata__":{"k":1}})", 0),
               {"__metadata__ \"k\" is 1", "needed a string"});
}

TEST(Safetensors, RefusesMalformedEntries) {
  expect_parts(failed_parse(R"({"a":7})", 0), {"tensor \"a\" is 7", "an object with dtype"});
  expect_parts(failed_parse(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1),
               {"dtype of tensor \"a\" is missing"});
  expect_parts(failed_parse(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,1]}})", 1),
               {"dtype of tensor \"a\" is \"F31\"", "F16, BF16", "Convert the tensor"});
  expect_parts(failed_parse(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1),
               {"shape of tensor \"a\" is missing"});
  for (const char* shape : {"[-1]", "[1.5]", "[\"1\"]", "[9223372036854775808]", "[1e30]"}) {
    const std::string header =
        R"({"a":{"dtype":"U8","shape":)" + std::string(shape) + R"(,"data_offsets":[0,1]}})";
    expect_parts(failed_parse(header, 1),
                 {"shape of tensor \"a\" is [", "whole numbers from 0 to 2^63 - 1"});
  }
  expect_parts(failed_parse(R"({"a":{"dtype":"U8","shape":3,"data_offsets":[0,1]}})", 1),
               {"shape of tensor \"a\" is 3", "needed a list"});
  for (const char* offsets : {"[1,0]", "[0]", "[0,1,2]"}) {
    const std::string header =
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":)" + std::string(offsets) + "}}";
    expect_parts(failed_parse(header, 1),
                 {"data_offsets of tensor \"a\" is " + std::string(offsets), "begin <= end"});
  }
}

TEST(Safetensors, RefusesDataThatDoesNotFitTheShape) {
  expect_parts(failed_parse(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,23]}})", 23),
               {"data of tensor \"a\" is 23 bytes", "needed 24 for F32 [2, 3]"});
  expect_parts(
      failed_parse(R"({"a":{"dtype":"I64","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
                   0),
      {"data of tensor \"a\" is 0 bytes", "needed more than 2^64"});
}

TEST(Safetensors, RefusesOverlapsHolesAndWrongEnds) {
  const auto pair = [](std::string_view first, std::string_view second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + std::string(first) +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + std::string(second) + "}}";
  };
  expect_parts(failed_parse(pair("[0,4]", "[2,6]"), 8),
               {"begin of tensor \"b\" is 2", "needed 4", "they overlap"});
  expect_parts(failed_parse(pair("[0,4]", "[0,4]"), 4), {"begin of tensor \"b\" is 0", "overlap"});
  expect_parts(failed_parse(pair("[0,4]", "[5,9]"), 9),
               {"begin of tensor \"b\" is 5", "needed 4", "there is a hole"});
  expect_parts(failed_parse(pair("[5,9]", "[1,5]"), 9), {"begin of tensor \"b\" is 1", "hole"});
  expect_parts(failed_parse(pair("[0,4]", "[4,8]"), 7),
               {"data is 7 bytes", "needed 8, where the last tensor ends", "cut short"});
  expect_parts(failed_parse(pair("[0,4]", "[4,8]"), 9), {"data is 9 bytes", "needed 8"});
  expect_parts(failed_parse("{}", 1), {"data is 1 bytes", "needed 0"});
}

TEST(Safetensors, MessagesStayShort) {
  const std::string name(100'000, 'n');
  EXPECT_LT(failed_parse("{\"" + name + "\":1}", 0).size(), 400u);
  EXPECT_LT(failed_parse("{\"a\":\"" + name + "\"}", 0).size(), 400u);
  EXPECT_LT(failed_parse("{\"" + name + "\":", 0).size(), 400u);
  EXPECT_LT(failed_parse("{\"a\":\"" + name, 0).size(), 400u);
}

TEST(Safetensors, WritesOnlyWhatCanBeRead) {
  SafeTensor odd = tensor_of("odd", "F32", {2});
  odd.data.pop_back();
  expect_parts(failed_format({{}, {odd}, {}}),
               {"SafeTensor \"odd\": data is 7 bytes", "needed 8 for F32 [2]"});
  odd.shape = {-1};
  expect_parts(failed_format({{}, {odd}, {}}), {"an impossible number for F32 [-1]"});
  expect_parts(failed_format({{}, {tensor_of("__metadata__", "U8", {})}, {}}),
               {"name is reserved", "Put strings into metadata"});
  expect_parts(failed_format({{}, {{"x", "float", {}, {}}}, {}}), {"dtype is \"float\""});
  expect_parts(failed_format({{}, {tensor_of("a", "U8", {}), tensor_of("a", "F32", {})}, {}}),
               {"SafeTensor \"a\": name is there twice"});
  expect_parts(failed_format({{{"key", "\xff"}}, {}, {}}), {"not UTF-8", "Encode it first"});
}

TEST(Safetensors, NamesTheFile) {
  const TemporaryFolder folder;
  const auto text = text_of<FileError>([&] { (void)read_safetensors(folder / "absent"); });
  expect_parts(text, {(folder / "absent").string(), "No such file"});
  write_file_atomically(folder / "short", to_bytes("x"));
  const auto cut = text_of<FileError>([&] { (void)read_safetensors(folder / "short"); });
  expect_parts(cut, {(folder / "short").string(), "length is 1 bytes"});
}

TEST(Safetensors, AFailedWriteKeepsTheOldFile) {
  const TemporaryFolder folder;
  write_safetensors(folder / "file", {{}, {tensor_of("a", "U8", {4})}, {}});
  SafeTensor odd = tensor_of("odd", "F32", {2});
  odd.data.clear();
  (void)text_of<InvalidArgument>([&] { write_safetensors(folder / "file", {{}, {odd}, {}}); });
  EXPECT_EQ(read_safetensors(folder / "file").at("a").data.size(), 4u);
  EXPECT_EQ(folder.entry_count(), 1);
}

}  // namespace
}  // namespace cermet
