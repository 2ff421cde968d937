// Binary convolutions and fully connected layers: three types, beta scaling, terms of inputs and
// outputs, windows, edges, folding, the specification's example.

#include "cermet/cnn/binary_convolution.h"

#include <cmath>

#include "../harness/bench.h"
#include "../harness/random.h"
#include "../harness/rows_test.h"
#include "../oracle/neuron.h"

namespace cermet::test {
namespace {

using Type = CNNBinaryConvolutionType;
using Flags = CNNBinaryConvolutionFlags;
using Method = NNPaddingMethod;
constexpr auto clamp = ImageEdgeMode::Clamp;

struct BinaryRow {
  Row row{};
  Type type = Type::XNOR;
  bool beta = false;
  std::size_t kernelWidth = 3, kernelHeight = 3, outputFeatureChannels = 4;
  std::size_t strideInPixelsX = 1, strideInPixelsY = 1, dilationRateX = 1, dilationRateY = 1;
  bool biased = true;            // the data source has biases
  std::optional<float> scale{};  // the initialiser with one scale; else that with terms:
  bool output_bias = false, output_scale = false, input_bias = false, input_scale = false;
  bool folded = false;
  Activation neuron{};
  Values slopes{};
  std::vector<std::uint32_t> words{};  // empty: random
  Values terms_of_inputs{};            // a bias and a scale for all; empty: random
};

std::size_t words_of(std::size_t channels) { return (channels + 31) / 32; }

class BinarySource final : public CNNConvolutionDataSource {
 public:
  BinarySource(std::shared_ptr<CNNConvolutionDescriptor> of, std::vector<std::uint32_t> words,
               Values bias)
      : described(std::move(of)), bits(std::move(words)), biases(std::move(bias)) {}
  [[nodiscard]] DataType dataType() const override { return type; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return described;
  }
  [[nodiscard]] const void* weights() override { return bits.empty() ? nullptr : bits.data(); }
  [[nodiscard]] const float* biasTerms() override {
    return biases.empty() ? nullptr : biases.data();
  }
  [[nodiscard]] bool load() override { return ++loads, available; }
  void purge() override { ++purges; }
  [[nodiscard]] std::string label() const override { return "bits"; }

  std::shared_ptr<CNNConvolutionDescriptor> described;
  std::vector<std::uint32_t> bits;
  Values biases;
  DataType type = DataType::UInt32;
  bool available = true;
  int loads = 0, purges = 0;
};

/// What the formula needs besides the geometry.
struct Parameters {
  std::vector<double> output_bias, output_scale, input_bias, input_scale;
};

template <class K>
class BinarySubject final : public ForwardSubject<K> {
  static constexpr bool connected = std::is_same_v<K, CNNBinaryFullyConnected>;

 public:
  explicit BinarySubject(const BinaryRow& r)
      : ForwardSubject<K>(r.row),
        r_(r),
        inputs_(std::min(r.row.source_channels, r.row.source.c - r.row.source_channel)) {
    auto d = CNNConvolutionDescriptor::cnnConvolutionDescriptor(r.kernelWidth, r.kernelHeight,
                                                                inputs_, r.outputFeatureChannels);
    d->setStrideInPixelsX(r.strideInPixelsX);
    d->setStrideInPixelsY(r.strideInPixelsY);
    d->setDilationRateX(r.dilationRateX);
    d->setDilationRateY(r.dilationRateY);
    d->setFusedNeuronDescriptor(r.neuron.type == CNNNeuronType::PReLU
                                    ? NNNeuronDescriptor::cnnNeuronPReLUDescriptor(r.slopes)
                                    : NNNeuronDescriptor::cnnNeuronDescriptor(
                                          r.neuron.type, r.neuron.a, r.neuron.b, r.neuron.c));
    const std::size_t k = r.outputFeatureChannels;
    std::vector<std::uint32_t> words = r.words;
    Random random(41);
    while (words.size() < k * r.kernelHeight * r.kernelWidth * words_of(inputs_))
      words.push_back(static_cast<std::uint32_t>(random.word()));
    const Values biases = r.biased ? floats(k, 42) : Values();
    source_ = std::make_shared<BinarySource>(d, words, biases);

    output_bias_ = floats(k, 43);
    output_scale_ = floats(k, 44, -1.5F, 1.5F);
    input_bias_ = r.terms_of_inputs.empty() ? floats(inputs_, 45, -0.5F, 0.5F)
                                            : Values(inputs_, r.terms_of_inputs.at(0));
    input_scale_ = r.terms_of_inputs.empty() ? floats(inputs_, 46, -2, 2)
                                             : Values(inputs_, r.terms_of_inputs.at(1));
    const auto term = [](bool there, const Values& values, double without) {
      std::vector<double> real(values.begin(), values.end());
      if (!there) real.assign(values.size(), without);
      return real;
    };
    real_.output_bias = term(r.output_bias, output_bias_, 0);
    real_.output_scale = term(r.output_scale, output_scale_, 1);
    real_.input_bias = term(r.input_bias, input_bias_, 0);
    real_.input_scale = term(r.input_scale, input_scale_, 1);
    if (r.scale) {
      real_.output_scale.assign(k, double{*r.scale});
      real_.output_bias = term(r.biased, r.biased ? biases : Values(k), 0);
    }
    if (r.folded) fold();
  }

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    const Flags flags = r_.beta ? Flags::UseBetaScaling : Flags::None;
    if (r_.scale) return std::make_unique<K>(device, source_, *r_.scale, r_.type, flags);
    const auto pointer = [](bool there, const Values& values) {
      return there ? values.data() : nullptr;
    };
    return std::make_unique<K>(device, source_, pointer(r_.output_bias, output_bias_),
                               pointer(r_.output_scale, output_scale_),
                               pointer(r_.input_bias, input_bias_),
                               pointer(r_.input_scale, input_scale_), r_.type, flags);
  }
  [[nodiscard]] WindowSize window() const override {
    return {(r_.kernelWidth - 1) * r_.dilationRateX + 1,
            (r_.kernelHeight - 1) * r_.dilationRateY + 1, r_.strideInPixelsX, r_.strideInPixelsY};
  }
  [[nodiscard]] Method default_policy() const override { return Method::SizeValidOnly; }
  [[nodiscard]] std::size_t channels_read(std::size_t) const override { return inputs_; }
  [[nodiscard]] std::size_t channels_written(std::size_t) const override {
    return r_.outputFeatureChannels;
  }

  /// spec: convolution 10.1
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    const auto i32 = [](std::size_t value) { return static_cast<int>(value); };
    const int kernel_w = i32(r_.kernelWidth), kernel_h = i32(r_.kernelHeight),
              channels = i32(inputs_), outputs = i32(r_.outputFeatureChannels);
    const int centre_x = connected ? kernel_w / 2 : g.offset_x,
              centre_y = connected ? kernel_h / 2 : g.offset_y;
    const int left = i32(window().w) / 2, top = i32(window().h) / 2;
    const auto u = [&](int n, int y, int x, int c) {
      return (oracle::read(source, n, y, x, c, g.edge) + oracle::entry(real_.input_bias, c)) *
             oracle::entry(real_.input_scale, c);
    };
    const auto bit = [&](int k, int q, int p, int c) {
      const auto index =
          static_cast<std::size_t>((k * kernel_h + q) * kernel_w + p) * words_of(inputs_) +
          static_cast<std::size_t>(c / 32);
      return (source_->bits.at(index) >> (c % 32) & 1U) != 0;
    };
    auto out = oracle::filled(source.n, g.h, g.w, outputs);
    oracle::for_each(out, [&](int n, int j, int i, int k) {
      const int x0 = i32(r_.strideInPixelsX) * i + centre_x,
                y0 = i32(r_.strideInPixelsY) * j + centre_y;
      double sum = 0, beta = 0;
      for (int q = 0; q < kernel_h; ++q)
        for (int p = 0; p < kernel_w; ++p)
          for (int c = 0; c < channels; ++c) {
            const double value = u(n, y0 - top + i32(r_.dilationRateY) * q,
                                   x0 - left + i32(r_.dilationRateX) * p, c);
            const bool one = bit(k, q, p, c), sign = !(value < 0);
            if (r_.type == Type::BinaryWeights) sum += one ? value : -value;
            if (r_.type == Type::XNOR) sum += one == sign ? 1 : -1;
            if (r_.type == Type::AND) sum += one && sign ? 1 : 0;
            beta += std::abs(u(n, y0 - kernel_h / 2 + q, x0 - kernel_w / 2 + p, c)) /
                    (channels * kernel_w * kernel_h);
          }
      const double z = sum * oracle::entry(real_.output_scale, k) * (r_.beta ? beta : 1) +
                       oracle::entry(real_.output_bias, k);
      out(n, j, i, k) =
          oracle::neuron_function(r_.neuron, {r_.slopes.begin(), r_.slopes.end()}, k).value(z);
    });
    return out;
  }

 private:
  /// spec: convolution 2.2, 10.1(7)
  void fold() {
    const std::size_t k = r_.outputFeatureChannels;
    const auto mean = floats(k, 14), variance = floats(k, 15, 0.25F, 2),
               gamma = floats(k, 16, 0.5F, 2), beta = floats(k, 17);
    source_->described->setBatchNormalizationParametersForInference(
        mean.data(), variance.data(), gamma.data(), beta.data(), 0.125F);
    for (std::size_t i = 0; i < k; ++i) {
      const double factor = double{gamma[i]} / std::sqrt(double{variance[i]} + 0.125);
      real_.output_scale[i] *= factor;
      real_.output_bias[i] =
          real_.output_bias[i] * factor + double{beta[i]} - factor * double{mean[i]};
    }
  }

  BinaryRow r_;
  std::size_t inputs_;
  std::shared_ptr<BinarySource> source_;
  Values output_bias_, output_scale_, input_bias_, input_scale_;
  Parameters real_;
};

/// Every type of a row.
std::vector<BinaryRow> of_each_type(const std::vector<BinaryRow>& rows) {
  std::vector<BinaryRow> all;
  for (const auto& [type, name] : {std::pair{Type::BinaryWeights, "BinaryWeights"},
                                   {Type::XNOR, "XNOR"},
                                   {Type::AND, "AND"}}) {
    for (BinaryRow row : rows) {
      row.row.name = std::string(name) + "_" + row.row.name;
      row.row.forward_only = true;
      row.type = type;
      all.push_back(row);
    }
  }
  return all;
}

std::vector<BinaryRow> shared_rows() {
  return of_each_type({
      {.row = {.name = "plain", .source = {7, 6, 5}, .quick = true}},
      {.row = {.name = "single_pixel", .source = {1, 1, 1}, .batch = 1, .quick = true},
       .kernelWidth = 1,
       .kernelHeight = 1,
       .outputFeatureChannels = 1},
      {.row = {.name = "one_channel", .source = {6, 5, 1}, .batch = 7}, .outputFeatureChannels = 3},
      {.row = {.name = "three_channels", .source = {5, 7, 3}, .batch = 1},
       .outputFeatureChannels = 5},
      {.row = {.name = "eight_channels", .source = {6, 6, 8}}, .outputFeatureChannels = 8},
      {.row = {.name = "one_word", .source = {5, 4, 32}}},
      {.row = {.name = "one_bit_more", .source = {5, 4, 33}, .quick = true}},
      {.row = {.name = "three_words", .source = {4, 5, 71}, .batch = 1},
       .outputFeatureChannels = 9},
      {.row = {.name = "wide",
               .why = "a window of more terms than one register of results",
               .source = {4, 4, 130}},
       .outputFeatureChannels = 37},
      {.row = {.name = "even_window", .source = {7, 6, 5}}, .kernelWidth = 2, .kernelHeight = 4},
      {.row = {.name = "same", .source = {7, 6, 5}, .policy = Method::SizeSame, .quick = true}},
      {.row = {.name = "full", .source = {5, 4, 3}, .policy = Method::SizeFull}, .kernelWidth = 4},
      {.row = {.name = "clamp",
               .source = {5, 4, 3},
               .policy = Method::SizeFull,
               .edge = clamp,
               .quick = true}},
      {.row = {.name = "strides", .source = {9, 8, 5}}, .strideInPixelsX = 2, .strideInPixelsY = 3},
      {.row = {.name = "dilation", .source = {9, 8, 5}},
       .kernelWidth = 2,
       .dilationRateX = 3,
       .dilationRateY = 2},
      {.row = {.name = "all_at_once",
               .source = {13, 12, 7},
               .batch = 3,
               .destination = {7, 7},
               .offset = {1, -2},
               .clip = {{1, 2, 0}, {5, 4, all_channels}},
               .quick = true},
       .beta = true,
       .kernelWidth = 4,
       .kernelHeight = 2,
       .outputFeatureChannels = 6,
       .strideInPixelsX = 2,
       .strideInPixelsY = 2,
       .dilationRateX = 2,
       .dilationRateY = 2,
       .output_bias = true,
       .output_scale = true,
       .input_bias = true,
       .input_scale = true,
       .folded = true,
       .neuron = {CNNNeuronType::ReLU, 0.25F}},
      {.row = {.name = "all_at_once_clamp",
               .source = {13, 12, 7},
               .destination = {7, 7},
               .offset = {-1, 2},
               .edge = clamp},
       .beta = true,
       .kernelWidth = 4,
       .kernelHeight = 3,
       .strideInPixelsX = 2,
       .dilationRateY = 2,
       .output_scale = true,
       .input_bias = true},
      {.row = {.name = "channel_ranges",
               .source = {6, 5, 16},
               .source_channel = 4,
               .source_channels = 7,
               .destination_channel = 8}},
      {.row = {.name = "one_scale", .source = {6, 5, 5}, .quick = true}, .scale = -0.75F},
      {.row = {.name = "one_scale_without_bias", .source = {6, 5, 5}},
       .biased = false,
       .scale = 1.5F},
      {.row = {.name = "one_scale_folded", .source = {6, 5, 5}}, .scale = 0.5F, .folded = true},
      {.row = {.name = "output_bias", .source = {6, 5, 5}}, .output_bias = true},
      {.row = {.name = "output_scale", .source = {6, 5, 5}}, .output_scale = true},
      {.row = {.name = "input_bias",
               .why = "what lies outside has it too",
               .source = {6, 5, 5},
               .policy = Method::SizeSame,
               .quick = true},
       .input_bias = true},
      {.row = {.name = "input_scale", .source = {6, 5, 5}, .policy = Method::SizeSame},
       .input_scale = true},
      {.row = {.name = "input_terms_clamp",
               .source = {6, 5, 40},
               .policy = Method::SizeSame,
               .edge = clamp},
       .input_bias = true,
       .input_scale = true},
      {.row = {.name = "folded", .source = {6, 5, 5}}, .folded = true},
      {.row = {.name = "beta", .source = {7, 6, 5}, .quick = true}, .beta = true},
      {.row = {.name = "beta_same", .source = {7, 6, 35}, .policy = Method::SizeSame},
       .beta = true,
       .kernelWidth = 4,
       .kernelHeight = 2},
      {.row = {.name = "beta_strides", .source = {9, 8, 5}},
       .beta = true,
       .strideInPixelsX = 2,
       .strideInPixelsY = 3},
      {.row = {.name = "beta_dilation",
               .why = "the mean is of adjacent pixels",
               .source = {9, 8, 5},
               .policy = Method::SizeSame},
       .beta = true,
       .kernelWidth = 2,
       .dilationRateX = 3,
       .dilationRateY = 2},
      {.row = {.name = "beta_input_terms", .source = {7, 6, 5}, .policy = Method::SizeSame},
       .beta = true,
       .input_bias = true,
       .input_scale = true},
      {.row = {.name = "beta_one_scale", .source = {7, 6, 5}}, .beta = true, .scale = 0.5F},
      {.row = {.name = "sigmoid", .source = {6, 5, 5}},
       .output_scale = true,
       .neuron = {CNNNeuronType::Sigmoid}},
      {.row = {.name = "prelu", .source = {6, 5, 5}},
       .neuron = {CNNNeuronType::PReLU},
       .slopes = {0.5F, -1, 0.25F, 2}},
  });
}

/// E10: four channels of one pixel, and its numbers with and without terms of the inputs.
BinaryRow example(const char* name, Type type, double value, bool terms = false,
                  bool beta = false) {
  BinaryRow row{.row = {.name = name,
                        .source = {1, 1, 4},
                        .given = {.source = {0.5F, -2, 0, -0.1F}, .result = {value}},
                        .quick = true,
                        .forward_only = true},
                .type = type,
                .beta = beta,
                .kernelWidth = 1,
                .kernelHeight = 1,
                .outputFeatureChannels = 1,
                .input_bias = terms,
                .input_scale = terms,
                .words = {0b1001}};
  if (terms) row.terms_of_inputs = {0.2F, 3};
  return row;
}
std::vector<BinaryRow> convolution_rows() {
  std::vector<BinaryRow> rows = shared_rows();
  for (const BinaryRow& row : {example("E10_BinaryWeights", Type::BinaryWeights, 2.4),
                               example("E10_XNOR", Type::XNOR, 0), example("E10_AND", Type::AND, 1),
                               example("E10_BinaryWeights_terms", Type::BinaryWeights, 7.2, true),
                               example("E10_XNOR_terms", Type::XNOR, 2, true),
                               example("E10_AND_terms", Type::AND, 2, true),
                               example("E10_beta", Type::AND, 0.65, false, true),
                               example("E10_beta_terms", Type::AND, 2 * 2.1, true, true)}) {
    rows.push_back(row);
  }
  return rows;
}
std::vector<BinaryRow> connected_rows() {
  return of_each_type({
      {.row = {.name = "plain", .source = {3, 2, 5}, .quick = true},
       .kernelHeight = 2,
       .outputFeatureChannels = 6},
      {.row = {.name = "one_pixel", .source = {1, 1, 45}, .batch = 7},
       .kernelWidth = 1,
       .kernelHeight = 1,
       .output_bias = true,
       .output_scale = true},
      {.row = {.name = "terms",
               .why = "the offset is ignored",
               .source = {4, 3, 3},
               .batch = 1,
               .destination = {1, 1},
               .offset = {5, -2}},
       .beta = true,
       .kernelWidth = 4,
       .output_bias = true,
       .input_bias = true,
       .input_scale = true,
       .folded = true,
       .neuron = {CNNNeuronType::TanH, 1, 0.5F}},
      {.row = {.name = "one_scale", .source = {3, 2, 5}}, .kernelHeight = 2, .scale = 0.25F},
  });
}

INSTANTIATE_TEST_SUITE_P(
    BinaryConvolution, Rows,
    testing::ValuesIn(subjects<BinarySubject<CNNBinaryConvolution>>(convolution_rows())),
    name_of_row);
INSTANTIATE_TEST_SUITE_P(
    BinaryFullyConnected, Rows,
    testing::ValuesIn(subjects<BinarySubject<CNNBinaryFullyConnected>>(connected_rows())),
    name_of_row);

// ---- construction and errors
// ----------------------------------------------------------------------

const Device& device() { return Bench::with(1).device; }

std::shared_ptr<BinarySource> source(std::size_t inputs = 5, std::size_t outputs = 2) {
  auto d = CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, inputs, outputs);
  return std::make_shared<BinarySource>(
      d, std::vector<std::uint32_t>(outputs * 9 * words_of(inputs), 5), Values(outputs, 1));
}
template <class K = CNNBinaryConvolution>
std::string refusal(const std::shared_ptr<BinarySource>& from, Type type = Type::XNOR,
                    Flags flags = Flags::None) {
  try {
    K(device(), from, 1, type, flags);
  } catch (const InvalidArgument& error) {
    const std::string message = error.what();
    try {
      K(device(), from, nullptr, nullptr, nullptr, nullptr, type, flags);
    } catch (const InvalidArgument& again) {
      return again.what() == message ? message : "two messages";
    }
  }
  return "no exception";
}

TEST(BinaryConvolutionErrors, OfConstruction_quick) {
  EXPECT_EQ(refusal(source()), "no exception");
  EXPECT_EQ(refusal(nullptr),
            "CNNBinaryConvolution: convolutionData is null; needed a data source.");
  EXPECT_EQ(refusal<CNNBinaryFullyConnected>(nullptr),
            "CNNBinaryFullyConnected: convolutionData is null; needed a data source.");
  auto from = source();
  from->type = DataType::Float32;
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": dataType is of another kind; needed UInt32 words of 32 "
            "weights.");
  EXPECT_EQ(from->loads, 0);
  from = source();
  from->available = false;
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": weights is a data source whose load() answered false; "
            "needed weights. Check the file or memory behind the data source.");
  EXPECT_EQ(from->purges, 0);
  from = source();
  from->bits.clear();
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": weights is a null pointer; needed 18 words.");
  EXPECT_EQ(from->loads, from->purges);
  from = source();
  from->described = nullptr;
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": convolutionData is without a descriptor; needed one "
            "with a descriptor.");
  from = source(4, 2);
  from->described->setGroups(2);
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": groups is 2; needed 1. Binary convolutions have no "
            "groups.");
  from->described = CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 4);
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": groups is those of a depthwise convolution; needed 1. "
            "Binary convolutions have no groups.");
  const auto sub_pixels = CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 5, 4);
  sub_pixels->setSubPixelScaleFactor(2);
  from = source(5, 4);
  from->described = sub_pixels;
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": subPixelScaleFactor is 2; needed 1. Only "
            "CNNConvolution has sub-pixels, for inference.");
  from = source();
  from->described->setStrideInPixelsX(0);
  EXPECT_EQ(refusal(from),
            "CNNBinaryConvolution \"bits\": strideInPixelsX is 0; needed 1 or more. Correct the "
            "convolution descriptor.");
  from = source();
  from->described->setDilationRateY(0);
  EXPECT_NE(refusal(from), "no exception");
  EXPECT_EQ(refusal(source(), static_cast<Type>(3)),
            "CNNBinaryConvolution \"bits\": type is 3; needed BinaryWeights, XNOR or AND.");
  EXPECT_EQ(refusal(source(), Type::AND, static_cast<Flags>(2)),
            "CNNBinaryConvolution \"bits\": flags is 2; needed None or UseBetaScaling.");
}

TEST(BinaryConvolutionProperties, AreThoseOfTheDescriptor_quick) {
  auto from = source(5, 2);
  from->described->setKernelHeight(2);
  from->described->setStrideInPixelsX(2);
  from->described->setStrideInPixelsY(3);
  from->described->setDilationRateX(4);
  from->described->setDilationRateY(5);
  from->described->setNeuronType(CNNNeuronType::ReLU, 0.5F, 0);
  const CNNBinaryConvolution kernel(device(), from, 1, Type::AND, Flags::UseBetaScaling);
  EXPECT_EQ(kernel.inputFeatureChannels(), 5U);
  EXPECT_EQ(kernel.outputFeatureChannels(), 2U);
  EXPECT_EQ(kernel.kernelWidth(), 3U);
  EXPECT_EQ(kernel.kernelHeight(), 2U);
  EXPECT_EQ(kernel.strideInPixelsX(), 2U);
  EXPECT_EQ(kernel.strideInPixelsY(), 3U);
  EXPECT_EQ(kernel.dilationRateX(), 4U);
  EXPECT_EQ(kernel.dilationRateY(), 5U);
  EXPECT_EQ(kernel.fusedNeuronDescriptor().a(), 0.5F);
  EXPECT_EQ(kernel.type(), Type::AND);
  EXPECT_EQ(kernel.flags(), Flags::UseBetaScaling);
  EXPECT_EQ(kernel.label(), "bits");
  EXPECT_EQ(kernel.padding()->paddingMethod(), Method::SizeValidOnly);
  EXPECT_EQ(from->loads, 1);
  EXPECT_EQ(from->purges, 1);
}

/// The words are copied: what the data source does later changes nothing.
TEST(BinaryConvolutionProperties, KernelKeepsACopyOfItsParameters_quick) {
  auto from = source(5, 2);
  Values bias{1, 2}, scale{3, 4};
  const CNNBinaryConvolution kernel(device(), from, bias.data(), scale.data(), nullptr, nullptr,
                                    Type::XNOR, Flags::None);
  const Image image(device(),
                    ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, 3, 3, 5));
  image.write_floats(floats(45, 3));
  const auto run = [&] {
    CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
    CNNBinaryConvolution other = kernel.copy();
    other.setDestinationImageAllocator(Image::defaultAllocator());
    const Image result = other.encode(buffer, image);
    finish(buffer);
    return result.read_floats();
  };
  const auto before = run();
  EXPECT_EQ(before.size(), 2U);
  bias = {9, 9};
  scale = {9, 9};
  from->bits.assign(from->bits.size(), 0xFFFFFFFF);
  EXPECT_EQ(run(), before);
}

TEST(BinaryConvolutionErrors, OfEncodes_quick) {
  const auto image = [](std::size_t w, std::size_t h, std::size_t c) {
    return Image(device(),
                 ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c));
  };
  const auto refused = [](CNNKernel& kernel, const Image& from, const Image& to) {
    CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
    try {
      kernel.encode(buffer, from, to);
    } catch (const InvalidArgument& error) {
      return std::string(error.what());
    }
    return std::string("no exception");
  };
  CNNBinaryConvolution kernel(device(), source(), 1, Type::XNOR, Flags::None);
  kernel.setLabel("");
  EXPECT_EQ(refused(kernel, image(5, 5, 5), image(3, 3, 2)), "no exception");
  EXPECT_NE(refused(kernel, image(5, 5, 4), image(3, 3, 2)), "no exception");
  EXPECT_NE(refused(kernel, image(5, 5, 5), image(3, 3, 1)), "no exception");
  kernel.setDestinationFeatureChannelOffset(2);
  EXPECT_NE(refused(kernel, image(5, 5, 5), image(3, 3, 4)), "no exception");
  kernel.setDestinationFeatureChannelOffset(0);
  kernel.setEdgeMode(ImageEdgeMode::Mirror);
  EXPECT_NE(refused(kernel, image(5, 5, 5), image(3, 3, 2)), "no exception");

  CNNBinaryFullyConnected connected(device(), source(), 1, Type::XNOR, Flags::None);
  connected.setLabel("");
  EXPECT_EQ(refused(connected, image(3, 3, 5), image(1, 1, 2)), "no exception");
  EXPECT_EQ(refused(connected, image(4, 3, 5), image(1, 1, 2)),
            "CNNBinaryFullyConnected: sourceImage is 4x3x5 Float32 into 1x1; needed 3x3 pixels "
            "into 1x1, one group, strides and dilation 1. Use CNNBinaryConvolution for windows "
            "smaller than the source.");
  EXPECT_NE(refused(connected, image(3, 3, 5), image(2, 1, 2)), "no exception");
  connected.setClipRect({{1, 0, 0}, {1, 1, 1}});
  EXPECT_EQ(refused(connected, image(3, 3, 5), image(2, 1, 2)), "no exception");
  auto strided = source();
  strided->described->setStrideInPixelsX(2);
  CNNBinaryFullyConnected jumping(device(), strided, 1, Type::XNOR, Flags::None);
  EXPECT_NE(refused(jumping, image(3, 3, 5), image(1, 1, 2)), "no exception");
}

}  // namespace
}  // namespace cermet::test
