// Every kernel class through an archive and as a copy: nothing is lost, and what is damaged is
// refused.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "../harness/bench.h"
#include "../harness/random.h"
#include "../train/help.h"
#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/convolution_transpose.h"
#include "cermet/cnn/dropout.h"
#include "cermet/cnn/group_normalization.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/pooling.h"
#include "cermet/cnn/yolo_loss.h"
#include "cermet/core/safetensors.h"
#include "cermet/matrix/batch_normalization.h"
#include "cermet/matrix/fully_connected.h"
#include "cermet/matrix/softmax.h"
#include "cermet/nn/archive.h"
#include "cermet/nn/optimizer.h"
#include "cnn/convolution_weights.h"
#include "rows.h"

namespace cermet::test {
namespace {

using nlohmann::json;
using Bytes = std::vector<std::byte>;

const Device& device() { return Bench::with(1).device; }

Bytes archived(const Kernel& kernel) {
  Coder coder;
  kernel.encodeWithCoder(coder);
  return coder.bytes();
}
std::unique_ptr<Kernel> unarchived(const Bytes& bytes, const Device& where = device()) {
  Coder coder(bytes, "test");
  return decode(coder, where);
}
bool same(const Bits& a, const Bits& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// An archive with its structure changed by `change`.
template <class Change>
Bytes edited(const Bytes& bytes, Change&& change) {
  SafeTensors contents = parse_safetensors(bytes, "test");
  json structure = json::parse(contents.metadata.at("structure"));
  change(structure, contents);
  contents.metadata["structure"] = structure.dump();
  return format_safetensors(contents);
}

/// Paths of all values below `node`.
void collect(const json& node, const json::json_pointer& at, std::vector<json::json_pointer>& out) {
  for (const auto& [key, value] : node.items()) {
    out.push_back(at / key);
    if (value.is_object()) collect(value, at / key, out);
  }
}

class Archives : public testing::TestWithParam<ArchiveRow> {};

TEST_P(Archives, hold_every_property) {
  const auto kernel = GetParam().make(device());
  EXPECT_EQ(kernel->class_name(), GetParam().name);
  const Bytes bytes = archived(*kernel);
  const auto again = unarchived(bytes);
  EXPECT_EQ(properties(*again), properties(*kernel));
  EXPECT_EQ(typeid(*again), typeid(*kernel));
  EXPECT_EQ(archived(*again), bytes);
  EXPECT_EQ(archived(*kernel), bytes);  // writing changed nothing
}

TEST_P(Archives, rows_leave_no_property_at_its_default) {
  // What a class cannot change, or changes on its own.
  static const std::set<std::string> fixed{"class",
                                           "kernelWidth",
                                           "kernelHeight",
                                           "strideInPixelsX",
                                           "strideInPixelsY",
                                           "dilationRateX",
                                           "dilationRateY",
                                           "primaryKernelWidth",
                                           "primaryKernelHeight",
                                           "secondaryKernelWidth",
                                           "secondaryKernelHeight",
                                           "primaryDilationRateX",
                                           "primaryDilationRateY",
                                           "secondaryDilationRateX",
                                           "secondaryDilationRateY"};
  const auto kernel = GetParam().make(device());
  const CNNNeuron unary(device(), {});
  const CNNNeuronGradient binary(device(), {});
  const NNOptimizerAdam optimizer(device(), 1e-3F);
  const MatrixBatchNormalization matrix_unary(device());
  const MatrixFullyConnected matrix_binary(device());
  const MatrixSoftMax matrix_rows(device());
  std::set<std::string> defaults;
  for (const Kernel* k : std::initializer_list<const Kernel*>{
           &unary, &binary, &optimizer, &matrix_unary, &matrix_binary, &matrix_rows})
    for (const std::string& line : properties(*k))
      if (!fixed.contains(line.substr(0, line.find('=')))) defaults.insert(line);
  for (const char* own :
       {"a", "b", "c", "data", "neuronType", "beta1", "beta2", "epsilon", "timeStep"})
    std::erase_if(defaults,
                  [&](const std::string& l) { return l.starts_with(std::string(own) + "="); });
  for (const std::string& line : properties(*kernel)) EXPECT_FALSE(defaults.contains(line)) << line;
}

TEST_P(Archives, make_a_kernel_that_encodes_the_same) {
  const auto kernel = GetParam().make(device());
  const auto again = unarchived(archived(*kernel));
  const Bits wanted = GetParam().run(*kernel);
  ASSERT_FALSE(wanted.empty());
  EXPECT_TRUE(std::ranges::any_of(wanted, [](float value) { return value != 0; }));
  EXPECT_TRUE(same(GetParam().run(*again), wanted));
  // Encodes leave traces in a kernel (offsets, numbers of steps): they are archived too.
  EXPECT_EQ(archived(*unarchived(archived(*kernel))), archived(*again));
}

TEST_P(Archives, copies_live_on_another_device) {
  const auto kernel = GetParam().make(device());
  const Device other = Device::named("cpu:2");
  const auto moved = kernel->copy(other);
  EXPECT_EQ(moved->device(), other);
  EXPECT_EQ(properties(*moved), properties(*kernel));
  EXPECT_EQ(archived(*moved), archived(*kernel));
  const auto here = kernel->copy();
  EXPECT_EQ(here->device(), device());
  EXPECT_EQ(archived(*here), archived(*kernel));
  const Bits wanted = GetParam().run(*kernel), got = GetParam().run(*moved);
  ASSERT_EQ(got.size(), wanted.size());
  if (device().engine().host_can_access() &&
      GetParam().name.find("Convolution") == std::string::npos &&
      GetParam().name.find("Connected") == std::string::npos) {
    EXPECT_TRUE(same(got, wanted));
  } else {
    // Another processor rounds otherwise, to TF32 where the row allows it; a library's sums depend
    // on the number of threads.
    const float bound = device().engine().host_can_access() ? 1e-4F : 1e-3F;
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], bound);
  }
  EXPECT_TRUE(same(GetParam().run(*here), wanted));
}

TEST_P(Archives, refuse_missing_and_wrong_fields) {
  const Bytes bytes = archived(*GetParam().make(device()));
  std::vector<json::json_pointer> paths;
  static_cast<void>(edited(bytes, [&](json& structure, SafeTensors&) {
    collect(structure, json::json_pointer(), paths);
  }));
  for (const json::json_pointer& path : paths) {
    const auto without = edited(bytes, [&](json& structure, SafeTensors&) {
      structure.at(path.parent_pointer()).erase(path.back());
    });
    EXPECT_THROW(static_cast<void>(unarchived(without)), FileError) << path.to_string();
    for (const json& wrong :
         {json("text"), json::array({1, 2}), json(-1.5e300), json(nullptr), json::object()}) {
      const auto with =
          edited(bytes, [&](json& structure, SafeTensors&) { structure.at(path) = wrong; });
      const bool fits = path.back() == "label" ||
                        ((path.back() == "padding" || path.back() == "destinationImageAllocator" ||
                          path.back() == "dataSource") &&
                         wrong.is_null());
      try {
        static_cast<void>(unarchived(with));
        const bool number = wrong.is_number() &&
                            (path.back() == "decay" || path.back().starts_with("beta") ||
                             (path.back() == "alpha" && GetParam().name.starts_with("Matrix")) ||
                             path.to_string().starts_with("/region_"));
        EXPECT_TRUE(fits || number) << path.to_string() << " " << wrong;
      } catch (const Error&) {
      }
    }
  }
  const auto tensors = parse_safetensors(bytes, "test").tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto without = edited(bytes, [&](json&, SafeTensors& contents) {
      contents.tensors.erase(contents.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    });
    EXPECT_THROW(static_cast<void>(unarchived(without)), FileError) << tensors[i].name;
    const auto integers =
        edited(bytes, [&](json&, SafeTensors& contents) { contents.tensors[i].dtype = "I32"; });
    EXPECT_THROW(static_cast<void>(unarchived(integers)), FileError) << tensors[i].name;
    if (tensors[i].data.empty()) continue;
    const auto shorter = edited(bytes, [&](json&, SafeTensors& contents) {
      SafeTensor& tensor = contents.tensors[i];
      tensor.shape = {static_cast<std::int64_t>(tensor.data.size() / sizeof(float)) - 1};
      tensor.data.resize(tensor.data.size() - sizeof(float));
    });
    const bool free_length = tensors[i].name.ends_with("neuronDescriptor/data") ||
                             tensors[i].name == "fillValueArray" || tensors[i].name == "slopes" ||
                             GetParam().name.starts_with("CNNBatchNormalization");
    try {
      static_cast<void>(unarchived(shorter));
      EXPECT_TRUE(free_length) << tensors[i].name;
    } catch (const Error&) {
    }
  }
}

TEST_P(Archives, survive_flipped_bytes) {
  const Bytes bytes = archived(*GetParam().make(device()));
  Random random(3);
  for (int trial = 0; trial < 300; ++trial) {
    Bytes damaged = bytes;
    for (std::uint64_t i = 0; i <= random.below(3); ++i)
      damaged[random.below(damaged.size())] ^= static_cast<std::byte>(1 + random.below(255));
    try {
      static_cast<void>(unarchived(damaged));
    } catch (const Error&) {  // any other exception fails the test
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Archives, testing::ValuesIn(archive_rows()),
                         [](const auto& row) { return row.param.name; });

TEST(ArchivedClasses, have_a_row_each) {
  std::set<std::string> rows;
  for (const ArchiveRow& row : archive_rows()) rows.insert(row.name);
  std::set<std::string> classes;
  for (const std::string_view name : archived_classes()) classes.insert(std::string(name));
  EXPECT_EQ(rows, classes);
  EXPECT_EQ(classes.size(), archived_classes().size());
}

/// Names, and every other character that is no space by itself.
std::vector<std::string> words_of(const std::string& text) {
  const auto in_name = [](char letter) {
    return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_';
  };
  std::vector<std::string> words;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i + 1;
    while (in_name(text[i]) && end < text.size() && in_name(text[end])) ++end;
    if (std::isspace(static_cast<unsigned char>(text[i])) == 0)
      words.push_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

TEST(ArchivedClasses, are_all_kernels_of_the_public_headers) {
  // Kernels are what derives from a kernel; these have no objects, or archive as CNNNeuron, or
  // refuse (NNGraph).
  const std::set<std::string> bases{"Kernel",
                                    "KernelOf",
                                    "Concrete",
                                    "OperatorKernel",
                                    "PixelKernel",
                                    "PixelGradientKernel",
                                    "WindowKernel",
                                    "WindowGradientKernel",
                                    "CNNKernel",
                                    "CNNBinaryKernel",
                                    "CNNMultiaryKernel",
                                    "CNNGradientKernel",
                                    "CNNPooling",
                                    "CNNPoolingGradient",
                                    "CNNUpsampling",
                                    "CNNUpsamplingGradient",
                                    "UpsamplingKernel",
                                    "UpsamplingGradientKernel",
                                    "CNNArithmetic",
                                    "CNNArithmeticGradient",
                                    "NNReduceUnary",
                                    "NNReduceBinary",
                                    "ReduceKernel",
                                    "ScaledNormalization",
                                    "ScaledNormalizationGradient",
                                    "WeightedReduceKernel",
                                    "NNOptimizer",
                                    "SoftMaxKernel",
                                    "NNGraph",
                                    "SoftMaxGradientKernel",
                                    "MatrixKernel",
                                    "MatrixUnaryKernel",
                                    "MatrixBinaryKernel",
                                    "MatrixFeatureKernel",
                                    "MatrixActivatedKernel",
                                    "MatrixConnectedKernel",
                                    "MatrixNeuronKernel",
                                    "MatrixNormalizationKernel",
                                    "MatrixRandom",
                                    "MatrixRowKernel"};
  std::set<std::string> kernels = bases;
  std::set<std::string> found;
  std::string text;
  const auto headers = std::filesystem::path(CERMET_SOURCE_DIR) / "include" / "cermet";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(headers)) {
    if (entry.path().extension() != ".h") continue;
    std::ostringstream contents;
    contents << std::ifstream(entry.path()).rdbuf();
    text += contents.str();
  }
  const std::vector<std::string> words = words_of(text);
  for (std::size_t before = 0; before != kernels.size();) {  // until nothing derives any more
    before = kernels.size();
    for (std::size_t i = 0; i + 4 < words.size(); ++i) {  // class Name [final] : public Parents {
      if (words[i] != "class") continue;
      const std::string& name = words[i + 1];
      std::size_t at = i + (words[i + 2] == "final" ? 3 : 2);
      if (words[at] != ":" || words[at + 1] != "public") continue;
      bool derives = false;
      for (at += 2; at < words.size() && words[at] != "{" && words[at] != ";"; ++at)
        derives = derives || kernels.contains(words[at]);
      if (!derives) continue;
      kernels.insert(name);
      if (!bases.contains(name) && !name.starts_with("CNNNeuron")) found.insert(name);
    }
  }
  EXPECT_GT(found.size(), 30U);
  std::set<std::string> classes;
  for (const std::string_view name : archived_classes()) classes.insert(std::string(name));
  for (const std::string& kernel : found) {
    EXPECT_TRUE(classes.contains(kernel))
        << kernel << ": add it to the list of kernels of its header, and to tests/archive/rows.cpp";
  }
}

TEST(ArchiveErrors, every_truncation_is_refused) {
  const Bytes bytes = archived(CNNNeuron(
      device(), NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::vector<float>{1, 2, 3})));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_THROW(static_cast<void>(unarchived(part)), FileError) << length;
  }
}

TEST(ArchiveErrors, every_flipped_byte_is_survived) {
  const Bytes bytes = archived(CNNPoolingMax(device(), 2, 3));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const unsigned flip : {1U, 4U, 0x80U, 0xFFU}) {
      Bytes damaged = bytes;
      damaged[at] ^= static_cast<std::byte>(flip);
      try {
        static_cast<void>(unarchived(damaged));
      } catch (const Error&) {
      }
    }
  }
}

TEST(ArchiveErrors, have_five_parts) {
  CNNPoolingMax pooling(device(), 2, 3);
  pooling.setLabel("pool1");
  const Bytes bytes = archived(pooling);
  const auto text = [&](auto&& change) {
    const Bytes wrong = edited(bytes, change);
    return text_of<FileError>([&] { static_cast<void>(unarchived(wrong)); });
  };
  EXPECT_EQ(text([](json&, SafeTensors& c) { c.metadata["cermet_archive"] = "2"; }),
            "Archive \"test\": the version is 2; needed at most 1. A newer Cermet wrote the "
            "archive: read it with that one.");
  EXPECT_EQ(text([](json&, SafeTensors& c) { c.metadata.erase("cermet_archive"); }),
            "Archive \"test\": cermet_archive is missing; needed the version of the archive. This "
            "is a safetensors file, but no archive: check that it is the right file.");
  EXPECT_EQ(text([](json& j, SafeTensors&) { j.erase("kernelWidth"); }),
            "CNNPoolingMax \"test\": kernelWidth is missing; needed a whole number from 0 to "
            "18446744073709551615. Write the archive again, or fetch it again.");
  EXPECT_EQ(text([](json& j, SafeTensors&) { j["offset"]["x"] = true; }),
            "CNNPoolingMax \"test\": offset/x is true; needed a whole number from "
            "-9223372036854775808 to 9223372036854775807. Write the archive again, or fetch it "
            "again.");
  EXPECT_EQ(text([](json& j, SafeTensors&) { j["edgeMode"] = 9; }),
            "CNNPoolingMax \"test\": edgeMode is 9; needed a whole number from 0 to 4. Write the "
            "archive again, or fetch it again.");
  EXPECT_EQ(text([](json& j, SafeTensors&) { j["class"] = "CNNPoolingMix"; }),
            "Archive \"test\": class is CNNPoolingMix; needed a kernel class of the library. Make "
            "a kernel of your own class with its constructor.");
  EXPECT_EQ(text([](json& j, SafeTensors&) { j["padding"]["class"] = "Other"; }),
            "CNNPoolingMax \"test\": padding is of class \"Other\"; needed of a class that is "
            "known here. Call register_codable with that name first.");
  EXPECT_EQ(text_of<FileError>([&] {
              Coder coder(bytes, "test");
              const CNNPoolingAverage other(coder, device());
            }),
            "Archive \"test\": class is CNNPoolingMax; needed CNNPoolingAverage. Make an object of "
            "the class that the archive holds; archived_class() tells it.");
  EXPECT_EQ(text_of<FileError>([&] {
              Coder coder(bytes, "test");
              static_cast<void>(decode<CNNGradientKernel>(coder, device()));
            }),
            "Archive \"test\": class is CNNPoolingMax; needed a class of the kind asked for. Ask "
            "for Kernel, or for a base of that class.");
  EXPECT_EQ(text_of<FileError>([&] {
              Coder coder(bytes, "test");
              static_cast<void>(decode(coder, device(), std::array<std::string_view, 1>{"CNNAdd"}));
            }),
            "Archive \"test\": class is CNNPoolingMax; needed one of the classes that were asked "
            "for. Allow the class if you trust the archive.");
}

TEST(ArchiveErrors, of_the_caller) {
  CNNPoolingMax pooling(device(), 2, 3);
  pooling.setLabel("pool1");
  Coder coder;
  pooling.encodeWithCoder(coder);
  EXPECT_EQ(text_of<InvalidArgument>([&] { pooling.encodeWithCoder(coder); }),
            "CNNPoolingMax \"pool1\": the coder's place is taken by CNNPoolingMax; needed an empty "
            "one. Encode each object of an archive to coder.at(key), with a key of its own.");
  EXPECT_THROW(static_cast<void>(Coder().at("a/b")), InvalidArgument);
  EXPECT_THROW(static_cast<void>(Coder().at("")), InvalidArgument);
  EXPECT_THROW(static_cast<void>(Coder(coder.bytes()).bytes()), InvalidArgument);
  EXPECT_THROW(register_codable("", nullptr), InvalidArgument);
  Coder latin;
  pooling.setLabel("\xE9");
  EXPECT_THROW(pooling.encodeWithCoder(latin), InvalidArgument);
}

TEST(ArchiveErrors, weights_of_another_size) {
  const Bytes bytes = archived(CNNConvolution(device(), test_weights(false)));
  const auto text = [&](auto&& change) {
    const Bytes wrong = edited(bytes, change);
    return text_of<Error>([&] { static_cast<void>(unarchived(wrong)); });
  };
  EXPECT_EQ(text([](json& j, SafeTensors&) { j["descriptor"]["kernelWidth"] = 4; }),
            "CNNConvolution \"test\": weights is a tensor [8, 2, 3, 2]; needed a tensor [8, 2, 4, "
            "2]. Write the archive again, or fetch it again.");
  // Sizes whose product wraps round, and sizes that no file can hold.
  for (const std::uint64_t size :
       {std::uint64_t{1} << 62U, std::uint64_t{1} << 31U, (std::uint64_t{1} << 31U) - 1}) {
    const Bytes wrong = edited(bytes, [&](json& j, SafeTensors&) {
      for (const char* key :
           {"kernelWidth", "kernelHeight", "inputFeatureChannels", "outputFeatureChannels"})
        j["descriptor"][key] = size;
    });
    EXPECT_THROW(static_cast<void>(unarchived(wrong)), Error) << size;
  }
  for (const char* key : {"kernelWidth", "groups", "inputFeatureChannels", "strideInPixelsX"}) {
    EXPECT_NE(text([&](json& j, SafeTensors&) { j["descriptor"][key] = 0; }), "") << key;
  }
  EXPECT_NE(text([](json& j, SafeTensors&) { j["descriptor"]["channelMultiplier"] = 3; }), "");
}

// ---- what is archived ---------------------------------------------------------------------------

TEST(Archive, of_several_kernels_in_a_file) {
  const TemporaryFolder folder;
  Coder written;
  const CNNPoolingMax pooling(device(), 2, 3);
  const CNNNeuron neuron(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::TanH));
  Coder first = written.at("pool"), second = written.at("neuron");
  pooling.encodeWithCoder(first);
  neuron.encodeWithCoder(second);
  written.save(folder / "kernels.cermet");
  EXPECT_EQ(folder.entry_count(), 1);

  Coder read = Coder::open(folder / "kernels.cermet");
  EXPECT_TRUE(read.is_reading());
  EXPECT_EQ(read.version(), Coder::newest_version);
  EXPECT_EQ(read.archived_class(), "");
  EXPECT_TRUE(read.contains("pool"));
  EXPECT_FALSE(read.contains("other"));
  EXPECT_THROW(static_cast<void>(read.at("other")), FileError);
  EXPECT_THROW(static_cast<void>(decode(read)), FileError);
  Coder at = read.at("neuron");
  EXPECT_EQ(at.archived_class(), "CNNNeuron");
  EXPECT_EQ(decode<CNNNeuron>(at, device())->neuronType(), CNNNeuronType::TanH);
  Coder pool = read.at("pool");
  EXPECT_EQ(CNNPoolingMax(pool, device()).kernelHeight(), 3U);
}

TEST(Archive, keeps_every_float) {
  for (const float value :
       {0.1F, -0.0F, 1e-45F, std::numeric_limits<float>::max(),
        std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    auto descriptor = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::Linear, value, 1);
    const auto again = unarchived(archived(CNNNeuron(device(), descriptor)));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(dynamic_cast<CNNNeuron&>(*again).a()),
              std::bit_cast<std::uint32_t>(value));
  }
  auto descriptor = NNNeuronDescriptor::cnnNeuronDescriptor(
      CNNNeuronType::Linear, std::numeric_limits<float>::quiet_NaN(), 1);
  const auto again = unarchived(archived(CNNNeuron(device(), descriptor)));
  EXPECT_TRUE(std::isnan(dynamic_cast<CNNNeuron&>(*again).a()));
}

TEST(Archive, of_a_depthwise_convolution) {
  const auto descriptor = CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 8);
  const CNNConvolution kernel(
      device(), std::make_shared<TestWeights>(descriptor, floats(72, 1), floats(8, 2), false));
  const auto again = unarchived(archived(kernel));
  EXPECT_EQ(dynamic_cast<CNNConvolution&>(*again).channelMultiplier(), 2U);
  EXPECT_EQ(archived(*again), archived(kernel));
}

TEST(Archive, data_source_in_place_of_weights) {
  register_codable<TestWeights>("TestWeights");
  const auto source = test_weights(true);
  const CNNConvolution forward(device(), source);
  const CNNConvolutionGradient backward(device(), source);
  Coder written;
  Coder first = written.at("forward"), second = written.at("backward");
  forward.encodeWithCoder(first);
  backward.encodeWithCoder(second);
  const Bytes bytes = written.bytes();
  for (const SafeTensor& tensor : parse_safetensors(bytes, "test").tensors)
    EXPECT_NE(tensor.name, "forward/weights");

  for (const bool backwards : {false, true}) {  // in either order
    Coder read(bytes);
    Coder f = read.at("forward"), b = read.at("backward");
    std::unique_ptr<CNNConvolution> a;
    std::unique_ptr<CNNConvolutionGradient> g;
    if (backwards) g = decode<CNNConvolutionGradient>(b, device());
    a = decode<CNNConvolution>(f, device());
    if (!backwards) g = decode<CNNConvolutionGradient>(b, device());
    ASSERT_TRUE(a->dataSource());
    EXPECT_EQ(a->dataSource(), g->dataSource());  // one object stays one
    EXPECT_NE(a->dataSource(), source);
  }
}

TEST(Archive, weights_that_the_data_source_does_not_have) {
  register_codable<TestWeights>("TestWeights");
  const auto source = test_weights(true);
  CNNConvolution kernel(device(), source);
  source->values()[0] += 1;  // not reloaded
  const auto again = unarchived(archived(kernel));
  auto& decoded = dynamic_cast<CNNConvolution&>(*again);
  EXPECT_TRUE(decoded.dataSource());
  const auto before = kernel.parameters()->weights.as<float>(),
             after = decoded.parameters()->weights.as<float>();
  EXPECT_TRUE(std::ranges::equal(before, after));
  decoded.reloadWeightsAndBiasesFromDataSource();
  EXPECT_NE(decoded.parameters()->weights.as<float>()[0], before[0]);
}

TEST(Archive, gradient_without_weights) {
  const auto source = test_weights(false);
  const CNNConvolutionGradient gradient(device(), source);
  EXPECT_FALSE(gradient.serializeWeightsAndBiases());
  const auto again = unarchived(archived(gradient));
  auto& decoded = dynamic_cast<CNNConvolutionGradient&>(*again);
  EXPECT_FALSE(decoded.dataSource());
  EXPECT_EQ(text_of<InvalidArgument>([&] { decoded.reloadWeightsAndBiasesFromDataSource(); }),
            "CNNConvolutionGradient \"test weights\": dataSource is absent; needed a kernel made "
            "from a data source.");
  EXPECT_EQ(archived(decoded), archived(gradient));
  EXPECT_EQ(archived(decoded.copy(Device::named("cpu:2"))), archived(gradient));

  const CNNConvolution forward(device(), source);
  CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
  const auto descriptor =
      ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 9, 8, 4);
  const Image image(device(), descriptor);
  std::shared_ptr<NNGradientState> state;
  CNNConvolution permanent = forward;
  permanent.setDestinationImageAllocator(Image::defaultAllocator());
  const Image result = permanent.encode(buffer, image, &state, false);
  EXPECT_EQ(text_of<InvalidArgument>(
                [&] { static_cast<void>(decoded.encode(buffer, result, image, state)); }),
            "CNNConvolutionGradient \"test weights\": the weights is absent: the archive held "
            "none; needed weights. Reload them, or archive with serializeWeightsAndBiases.");
  const auto values = forward.exportWeightsAndBiases(buffer, false);
  decoded.reloadWeightsAndBiases(buffer, values);
  static_cast<void>(decoded.encode(buffer, result, image, state));
  finish(buffer);
  EXPECT_TRUE(std::ranges::equal(forward.parameters()->weights.as<float>(),
                                 decoded.parameters()->weights.as<float>()));
}

/// Valid sizes, one pixel less.
class TestPadding final : public NNPadding {
 public:
  explicit TestPadding(int less) : less_(less) {}
  explicit TestPadding(Coder& coder) { code(coder); }
  [[nodiscard]] NNPaddingMethod paddingMethod() const override { return NNPaddingMethod::Custom; }
  [[nodiscard]] bool supportsSecureCoding() const override { return true; }
  [[nodiscard]] std::string_view archive_name() const override { return "TestPadding"; }
  [[nodiscard]] int less() const { return less_; }

 private:
  void code(Coder& coder) override { coder("less", less_); }
  int less_ = 0;
};
class SecretPadding final : public NNPadding {
 public:
  [[nodiscard]] NNPaddingMethod paddingMethod() const override {
    return NNPaddingMethod::SizeValidOnly;
  }
};
class Subclass final : public NNDefaultPadding {
 public:
  Subclass() : NNDefaultPadding(NNPaddingMethod::SizeSame) {}
};

TEST(Archive, policies_of_the_caller) {
  register_codable<TestPadding>("TestPadding");
  CNNPoolingMax kernel(device(), 2, 2);
  kernel.setLabel("pool1");
  kernel.setPadding(std::make_shared<TestPadding>(7));
  const auto again = unarchived(archived(kernel));
  const auto policy =
      std::dynamic_pointer_cast<TestPadding>(dynamic_cast<CNNPoolingMax&>(*again).padding());
  ASSERT_TRUE(policy);
  EXPECT_EQ(policy->less(), 7);

  for (const std::shared_ptr<NNPadding>& policy_without :
       {std::shared_ptr<NNPadding>(std::make_shared<SecretPadding>()),
        std::shared_ptr<NNPadding>(std::make_shared<Subclass>())}) {
    kernel.setPadding(policy_without);
    EXPECT_EQ(text_of<InvalidArgument>([&] { static_cast<void>(archived(kernel)); }),
              "CNNPoolingMax \"pool1\": padding is an object that cannot be archived (its "
              "supportsSecureCoding() is false); needed one that can, a stock one, or none. "
              "Override what Codable declares, or set another object before archiving.");
    EXPECT_EQ(kernel.copy().padding(), policy_without);  // which matters to archives alone
  }
  // An object of another kind where a policy belongs.
  kernel.setPadding(std::make_shared<TestPadding>(7));
  register_codable<TestWeights>("TestWeights");
  const Bytes wrong = edited(archived(kernel), [](json& j, SafeTensors&) {
    j["padding"]["class"] = "TemporaryImage.defaultAllocator";
  });
  EXPECT_THROW(static_cast<void>(unarchived(wrong)), FileError);
}

TEST(Archive, stock_policies_stay_the_same_objects) {
  const CNNPoolingMax kernel(device(), 2, 2);
  const auto again = unarchived(archived(kernel));
  const auto& decoded = dynamic_cast<CNNPoolingMax&>(*again);
  EXPECT_EQ(decoded.padding(), kernel.padding());
  EXPECT_EQ(decoded.destinationImageAllocator(), kernel.destinationImageAllocator());
}

TEST(Archive, objects_that_are_the_same_as_nothing) {
  CNNPoolingMax kernel(device(), 2, 2);
  for (const char* same : {"padding", "nowhere", "offset", "", "padding/same"}) {
    const Bytes wrong = edited(archived(kernel), [&](json& j, SafeTensors&) {
      j["padding"] = {{"same", same}};
    });
    EXPECT_THROW(static_cast<void>(unarchived(wrong)), FileError) << same;
  }
}

TEST(Archive, of_descriptors) {
  const auto descriptor =
      std::make_shared<CNNConvolutionDescriptor>(*test_weights(false)->descriptor());
  EXPECT_TRUE(CNNConvolutionDescriptor::supportsSecureCoding());
  Coder written;
  Coder a = written.at("plain"), b = written.at("depthwise"), c = written.at("neuron"),
        d = written.at("loss");
  descriptor->encodeWithCoder(a);
  CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, 4, 8)->encodeWithCoder(b);
  const auto sub_pixels = CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, 4, 8);
  sub_pixels->setSubPixelScaleFactor(2);
  Coder f = written.at("sub-pixels");
  sub_pixels->encodeWithCoder(f);
  descriptor->fusedNeuronDescriptor().encodeWithCoder(c);
  auto loss = CNNLossDescriptor::cnnLossDescriptor(CNNLossType::Huber, CNNReductionType::Mean);
  loss.setDelta(0.5F);
  loss.encodeWithCoder(d);
  const std::vector<float> anchors{1, 2, 3};
  auto yolo = CNNYOLOLossDescriptor::cnnLossDescriptor(
      CNNLossType::MeanSquaredError, CNNLossType::Huber, CNNLossType::SigmoidCrossEntropy,
      CNNLossType::SoftMaxCrossEntropy, CNNReductionType::None, anchors, 1);
  yolo.setWHLossDescriptor(loss);
  yolo.setMaxIOUForObjectAbsence(0.125F);
  Coder e = written.at("yolo");
  yolo.encodeWithCoder(e);

  Coder read(written.bytes());
  Coder plain = read.at("plain"), depthwise = read.at("depthwise"), neuron = read.at("neuron"),
        huber = read.at("loss");
  const CNNConvolutionDescriptor again(plain);
  EXPECT_EQ(again.kernelWidth(), 3U);
  EXPECT_EQ(again.kernelHeight(), 2U);
  EXPECT_EQ(again.inputFeatureChannels(), 4U);
  EXPECT_EQ(again.outputFeatureChannels(), 8U);
  EXPECT_EQ(again.strideInPixelsX(), 2U);
  EXPECT_EQ(again.dilationRateX(), 2U);
  EXPECT_EQ(again.dilationRateY(), 2U);
  EXPECT_EQ(again.groups(), 2U);
  EXPECT_EQ(again.fusedNeuronDescriptor(), descriptor->fusedNeuronDescriptor());
  EXPECT_EQ(again.folding().factor, descriptor->folding().factor);
  EXPECT_EQ(again.folding().addend, descriptor->folding().addend);
  EXPECT_EQ(CNNDepthWiseConvolutionDescriptor(depthwise).channelMultiplier(), 2U);
  Coder two = read.at("sub-pixels");
  EXPECT_EQ(CNNSubPixelConvolutionDescriptor(two).subPixelScaleFactor(), 2U);
  EXPECT_EQ(NNNeuronDescriptor(neuron), descriptor->fusedNeuronDescriptor());
  EXPECT_EQ(CNNLossDescriptor(huber), loss);
  Coder boxes = read.at("yolo");
  EXPECT_EQ(CNNYOLOLossDescriptor(boxes), yolo);
  Coder twice = read.at("depthwise");
  EXPECT_THROW(static_cast<void>(CNNConvolutionDescriptor(twice)), FileError);
}

TEST(Archive, continues_a_dropout) {
  CNNDropout kernel(device(), 0.5F, 9, {1, 1, 1});
  const auto run = [](CNNDropout& k) {
    CommandBuffer buffer = k.device().makeCommandQueue().makeCommandBuffer();
    const Image source(
        device(), ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 5, 4, 3));
    source.write_floats(std::vector<float>(60, 1.0F));
    const Image result(
        device(), ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 5, 4, 3));
    k.encode(buffer, source, result);
    finish(buffer);
    return result.read_floats();
  };
  const auto first = run(kernel);
  const auto again = unarchived(archived(kernel));
  const auto second = run(kernel);
  EXPECT_NE(first, second);
  EXPECT_EQ(run(dynamic_cast<CNNDropout&>(*again)), second);
}

// ---- copies -------------------------------------------------------------------------------------

TEST(Copies, ask_the_data_source) {
  const auto source = test_weights(false);
  const CNNConvolution kernel(device(), source);
  EXPECT_EQ(kernel.copy().dataSource(), source);  // it has no copies to give
  source->copies = true;
  const CNNConvolution other = kernel.copy(Device::named("cpu:2"));
  EXPECT_NE(other.dataSource(), source);
  EXPECT_NE(kernel.copy().dataSource(), source);
  EXPECT_EQ(CNNConvolution(kernel).dataSource(), source);  // a C++ copy shares
}

TEST(Copies, keep_their_weights_when_another_reloads) {
  const auto source = test_weights(false);
  CNNConvolution kernel(device(), source);
  const CNNConvolution here = kernel.copy(), there = kernel.copy(Device::named("cpu:2"));
  const float before = kernel.parameters()->weights.as<float>()[0];
  source->values()[0] += 1;
  kernel.reloadWeightsAndBiasesFromDataSource();
  EXPECT_NE(kernel.parameters()->weights.as<float>()[0], before);
  EXPECT_EQ(here.parameters()->weights.as<float>()[0], before);
  EXPECT_EQ(there.parameters()->weights.as<float>()[0], before);
}

TEST(Copies, through_a_base_class_are_refused) {
  const auto descriptor = CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 2, 2);
  const CNNFullyConnected kernel(
      device(), std::make_shared<TestWeights>(descriptor, floats(4, 1), floats(2, 2), false));
  const CNNConvolution& base = kernel;
  EXPECT_EQ(text_of<InvalidArgument>([&] { static_cast<void>(base.copy()); }),
            "CNNFullyConnected \"test weights\": copy is called through the base class "
            "CNNConvolution; needed a call on the class itself, or on CNNKernel, CNNBinaryKernel "
            "or Kernel.");
  EXPECT_EQ(static_cast<const CNNKernel&>(base).copy()->class_name(), "CNNFullyConnected");
}

/// Gamma and the like, with copies and archives.
class TestStatistics final : public CNNBatchNormalizationDataSource {
 public:
  explicit TestStatistics(std::vector<float> gamma) : gamma_(std::move(gamma)) {}
  explicit TestStatistics(Coder& coder) { code(coder); }
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return gamma_.size(); }
  [[nodiscard]] const float* gamma() override { return gamma_.data(); }
  [[nodiscard]] const float* beta() override { return nullptr; }
  [[nodiscard]] const float* mean() override { return nullptr; }
  [[nodiscard]] const float* variance() override { return nullptr; }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "bn"; }
  [[nodiscard]] bool supportsSecureCoding() const override { return true; }
  [[nodiscard]] std::string_view archive_name() const override { return "TestStatistics"; }
  [[nodiscard]] std::shared_ptr<CNNBatchNormalizationDataSource> copy(
      const Device&) const override {
    return std::make_shared<TestStatistics>(*this);
  }

 private:
  void code(Coder& coder) override { coder("gamma", gamma_); }
  std::vector<float> gamma_;
};

TEST(Archive, of_a_batch_normalization_with_its_data_source) {
  register_codable<TestStatistics>("TestStatistics");
  const auto source = std::make_shared<TestStatistics>(std::vector<float>{1, 2, 3});
  const CNNBatchNormalization kernel(device(), source);
  const auto again = unarchived(archived(kernel));
  auto& decoded = dynamic_cast<CNNBatchNormalization&>(*again);
  ASSERT_TRUE(std::dynamic_pointer_cast<TestStatistics>(decoded.dataSource()));
  decoded.reloadGammaAndBetaFromDataSource();
  EXPECT_EQ(archived(decoded), archived(kernel));
  const CNNBatchNormalization moved = kernel.copy(Device::named("cpu:2"));
  EXPECT_TRUE(moved.dataSource());
  EXPECT_NE(moved.dataSource(), kernel.dataSource());
}

/// Gamma of instances and groups, with archives.
template <class Base>
class TestScale : public Base {
 public:
  explicit TestScale(std::vector<float> gamma) : gamma_(std::move(gamma)) {}
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return gamma_.size(); }
  [[nodiscard]] const float* gamma() override { return gamma_.data(); }
  [[nodiscard]] const float* beta() override { return nullptr; }
  [[nodiscard]] std::string label() const override { return "scale"; }
  [[nodiscard]] bool supportsSecureCoding() const override { return true; }
  [[nodiscard]] const std::vector<float>& values() const { return gamma_; }

 protected:
  TestScale() = default;
  void code(Coder& coder) override { coder("gamma", gamma_); }

 private:
  std::vector<float> gamma_;
};
class TestInstances final : public TestScale<CNNInstanceNormalizationDataSource> {
 public:
  using TestScale::TestScale;
  explicit TestInstances(Coder& coder) { code(coder); }
  [[nodiscard]] std::string_view archive_name() const override { return "TestInstances"; }
};
class TestGroups final : public TestScale<CNNGroupNormalizationDataSource> {
 public:
  using TestScale::TestScale;
  explicit TestGroups(Coder& coder) { code(coder); }
  [[nodiscard]] std::size_t numberOfGroups() const override { return groups_; }
  void setNumberOfGroups(std::size_t numberOfGroups) override { groups_ = numberOfGroups; }
  [[nodiscard]] std::string_view archive_name() const override { return "TestGroups"; }

 private:
  void code(Coder& coder) override {
    TestScale::code(coder);
    coder("groups", groups_);
  }
  std::size_t groups_ = 1;
};

/// The data source of the kernel that an archive of `kernel` makes.
template <class Source, class K>
std::shared_ptr<Source> source_through_archive(const K& kernel) {
  const auto again = unarchived(archived(kernel));
  auto& decoded = dynamic_cast<K&>(*again);
  if (decoded.dataSource()) decoded.reloadGammaAndBetaFromDataSource();
  EXPECT_EQ(archived(decoded), archived(kernel));
  EXPECT_NE(decoded.dataSource(), kernel.dataSource());
  return std::dynamic_pointer_cast<Source>(decoded.dataSource());
}

TEST(Archive, of_an_instance_normalization_with_its_data_source) {
  register_codable<TestInstances>("TestInstances");
  const std::vector<float> gamma{1, -2, 0.5F};
  const CNNInstanceNormalization kernel(device(), std::make_shared<TestInstances>(gamma));
  const auto source = source_through_archive<TestInstances>(kernel);
  ASSERT_TRUE(source);
  EXPECT_EQ(source->values(), gamma);
}

TEST(Archive, of_a_group_normalization_with_its_data_source) {
  register_codable<TestGroups>("TestGroups");
  const std::vector<float> gamma{1, -2, 0.5F, 4, 8, 3};
  const auto given = std::make_shared<TestGroups>(gamma);
  given->setNumberOfGroups(3);
  const auto source = source_through_archive<TestGroups>(CNNGroupNormalization(device(), given));
  ASSERT_TRUE(source);
  EXPECT_EQ(source->values(), gamma);
  EXPECT_EQ(source->numberOfGroups(), 3U);
}

TEST(Archive, of_a_convolution_to_sub_pixels) {
  const auto descriptor = CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, 4, 8);
  descriptor->setSubPixelScaleFactor(2);
  const auto weights = std::make_shared<TestWeights>(descriptor, floats(std::size_t{8} * 6 * 4, 64),
                                                     floats(8, 65), false);
  CNNConvolution kernel(device(), weights);
  const auto again = unarchived(archived(kernel));
  auto& decoded = dynamic_cast<CNNConvolution&>(*again);
  EXPECT_EQ(decoded.subPixelScaleFactor(), 2U);
  const auto run = [](CNNConvolution& with) {
    with.setDestinationImageAllocator(Image::defaultAllocator());
    Image source(device(),
                 ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 5, 4, 4));
    source.write_floats(floats(80, 1));
    CommandBuffer buffer = device().makeCommandQueue().makeCommandBuffer();
    const Image result = with.encode(buffer, source);
    finish(buffer);
    EXPECT_EQ(result.width(), 10U);
    EXPECT_EQ(result.featureChannels(), 2U);
    return result.read_floats();
  };
  EXPECT_EQ(run(decoded), run(kernel));

  // No other kernel may come with them.
  const CNNConvolutionTranspose other(device(), test_weights(false));
  const auto bytes = edited(archived(other), [](json& structure, SafeTensors&) {
    std::vector<json::json_pointer> places;
    collect(structure, json::json_pointer(), places);
    for (const auto& place : places)
      if (place.to_string().ends_with("/subPixelScaleFactor")) structure[place] = 2;
  });
  EXPECT_THROW(static_cast<void>(unarchived(bytes)), FileError);
}

/// Permanent images, told by a number.
class TestAllocator final : public ImageAllocator {
 public:
  explicit TestAllocator(std::size_t number) : number_(number) {}
  explicit TestAllocator(Coder& coder) { code(coder); }
  [[nodiscard]] Image image(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
                            const Kernel&) override {
    return {commandBuffer.device(), descriptor};
  }
  [[nodiscard]] bool supportsSecureCoding() const override { return true; }
  [[nodiscard]] std::string_view archive_name() const override { return "TestAllocator"; }
  [[nodiscard]] std::size_t number() const { return number_; }

 private:
  void code(Coder& coder) override { coder("number", number_); }
  std::size_t number_ = 0;
};

TEST(Archive, allocators_of_the_caller) {
  register_codable<TestAllocator>("TestAllocator");
  CNNAdd kernel(device());
  kernel.setDestinationImageAllocator(std::make_shared<TestAllocator>(7));
  const auto again = unarchived(archived(kernel));
  const auto allocator = std::dynamic_pointer_cast<TestAllocator>(
      dynamic_cast<CNNAdd&>(*again).destinationImageAllocator());
  ASSERT_TRUE(allocator);
  EXPECT_EQ(allocator->number(), 7U);
}

/// A class of the caller's that adds a property.
class TestKernel final : public CNNNeuron {
 public:
  TestKernel(const Device& where, float extra)
      : CNNNeuron(where, NNNeuronDescriptor()), extra_(extra) {}
  TestKernel(Coder& coder, const Device& where) : CNNNeuron(where, NNNeuronDescriptor()) {
    read(coder);
  }
  [[nodiscard]] TestKernel copy(const Device& where = {}) const { return copy_of(*this, where); }
  [[nodiscard]] std::string_view class_name() const override { return "TestKernel"; }
  [[nodiscard]] float extra() const { return extra_; }

 private:
  void code(Coder& coder) override {
    CNNNeuron::code(coder);
    coder("extra", extra_);
  }
  float extra_ = 0;
};

TEST(Archive, kernel_classes_of_the_caller) {
  const TestKernel kernel(device(), 3.5F);
  Coder coder(archived(kernel));
  EXPECT_EQ(TestKernel(coder, device()).extra(), 3.5F);
  EXPECT_THROW(static_cast<void>(decode(coder, device())), FileError);
  EXPECT_EQ(kernel.copy(Device::named("cpu:2")).extra(), 3.5F);
  EXPECT_EQ(text_of<InvalidArgument>(
                [&] { static_cast<void>(static_cast<const Kernel&>(kernel).copy()); }),
            "TestKernel: the class is unknown to this function; needed a kernel class of the "
            "library. Copy a kernel of a class of your own through that class.");
}

TEST(Deprecated, neuron_of_a_descriptor_and_of_a_kernel) {
  const auto neuron = std::make_shared<CNNNeuron>(
      device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::TanH, 2.0F, 3.0F));
  const auto descriptor = CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 2, 2);
  EXPECT_FALSE(descriptor->neuron());
  descriptor->setNeuron(neuron);
  EXPECT_EQ(descriptor->neuron(), neuron);
  EXPECT_EQ(descriptor->neuronType(), CNNNeuronType::TanH);
  EXPECT_EQ(descriptor->neuronParameterB(), 3.0F);
  const CNNConvolution kernel(
      device(), std::make_shared<TestWeights>(descriptor, floats(4, 1), floats(2, 2), false));
  ASSERT_TRUE(kernel.neuron());
  EXPECT_EQ(kernel.neuron()->neuronType(), CNNNeuronType::TanH);
  EXPECT_EQ(kernel.neuron()->a(), 2.0F);
  descriptor->setFusedNeuronDescriptor({});
  EXPECT_FALSE(descriptor->neuron());
  descriptor->setNeuron(nullptr);
  EXPECT_EQ(descriptor->neuronType(), CNNNeuronType::None);
}

}  // namespace
}  // namespace cermet::test
