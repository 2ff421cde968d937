// CNNInstanceNormalization and CNNGroupNormalization: groups, epsilon, scales, parts and edges of
// the source, one state for each image (spec: normalization 7, 8, 12).

#include "cermet/cnn/group_normalization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/operator_rows.h"
#include "../harness/random.h"
#include "../harness/refusal.h"

namespace cermet::test {
namespace {

struct NormalizationRow {
  Row row{};
  std::size_t groups = 2;
  float epsilon = 1e-3F;
  bool scaled = true;  // the data source has gamma and beta
  std::vector<float> gamma{}, beta{};
  std::vector<std::vector<double>> parameters{};  // the specification's gradients
};

template <class Base>
class RowSource : public Base {
 public:
  RowSource(const NormalizationRow& row, std::size_t channels)
      : gamma_(row.gamma), beta_(row.beta), channels_(channels), epsilon_(row.epsilon) {
    if (gamma_.empty() && row.scaled) gamma_ = floats(channels, 41, 0.5F, 2);
    if (beta_.empty() && row.scaled) beta_ = floats(channels, 42);
  }
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return channels_; }
  [[nodiscard]] const float* gamma() override { return gamma_.empty() ? nullptr : gamma_.data(); }
  [[nodiscard]] const float* beta() override { return beta_.empty() ? nullptr : beta_.data(); }
  [[nodiscard]] std::string label() const override { return "n1"; }
  [[nodiscard]] float epsilon() const override { return epsilon_; }

  std::vector<float> gamma_, beta_;
  std::size_t channels_;

 private:
  float epsilon_;
};

class InstanceSource final : public RowSource<CNNInstanceNormalizationDataSource> {
 public:
  InstanceSource(const NormalizationRow& row, std::size_t channels) : RowSource(row, channels) {}
  [[nodiscard]] bool load() override {
    ++held;
    return loads;
  }
  void purge() override { --held; }
  int held = 0;
  bool loads = true;
};
class GroupSource final : public RowSource<CNNGroupNormalizationDataSource> {
 public:
  GroupSource(const NormalizationRow& row, std::size_t channels)
      : RowSource(row, channels), groups_(row.groups) {}
  [[nodiscard]] std::size_t numberOfGroups() const override { return groups_; }
  void setNumberOfGroups(std::size_t numberOfGroups) override { groups_ = numberOfGroups; }

 private:
  std::size_t groups_;
};

/// y = (x - mean)*gamma/sqrt(variance + epsilon) + beta over the groups of channels of an image.
oracle::Tensor normalized(const oracle::Tensor& x, int groups, double epsilon,
                          const std::vector<double>& gamma, const std::vector<double>& beta) {
  oracle::Tensor y = oracle::like(x);
  const int width = x.c / groups;
  const double samples = double{1} * x.h * x.w * width;
  for (int n = 0; n < x.n; ++n) {
    for (int group = 0; group < groups; ++group) {
      const auto each = [&](auto use) {
        for (int j = 0; j < x.h; ++j)
          for (int i = 0; i < x.w; ++i)
            for (int c = group * width; c < (group + 1) * width; ++c) use(j, i, c);
      };
      double mean = 0, variance = 0;
      each([&](int j, int i, int c) { mean += x(n, j, i, c) / samples; });
      each([&](int j, int i, int c) { variance += std::pow(x(n, j, i, c) - mean, 2) / samples; });
      each([&](int j, int i, int c) {
        y(n, j, i, c) = (x(n, j, i, c) - mean) * gamma[static_cast<std::size_t>(c)] /
                            std::sqrt(variance + epsilon) +
                        beta[static_cast<std::size_t>(c)];
      });
    }
  }
  return y;
}

template <class Forward, class Gradient, class State, class Source>
class NormalizationSubject final : public SubjectOf<Forward, Gradient> {
 public:
  explicit NormalizationSubject(const NormalizationRow& row)
      : SubjectOf<Forward, Gradient>(row.row),
        r_(row),
        channels_(std::min(row.row.source.c - row.row.source_channel, row.row.source_channels)),
        source_(std::make_shared<Source>(row, channels_)) {}

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<Forward>(device, source_);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<Gradient>(device);
  }
  [[nodiscard]] std::vector<std::vector<float>> parameters(
      const StateBatch& states) const override {
    std::vector<std::vector<float>> all(2);
    for (std::size_t n = 0; n < states.size(); ++n) {
      auto& state = dynamic_cast<State&>(*states[n]);
      const auto gamma = state.gradientForGamma().template values<float>(),
                 beta = state.gradientForBeta().template values<float>();
      all[0].insert(all[0].end(), gamma.begin(), gamma.end());
      all[1].insert(all[1].end(), beta.begin(), beta.end());
    }
    return all;
  }
  [[nodiscard]] std::vector<std::vector<double>> given_parameters() const override {
    return r_.parameters;
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return value(source, g, scale(source_->gamma_, 1), scale(source_->beta_, 0));
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const auto one = [&](const oracle::Tensor& image) { return value(image, g); };
    const auto gamma = scale(source_->gamma_, 1), beta = scale(source_->beta_, 0);
    Gradients all{gradient_by_differences(one, source, incoming), {}};
    all.parameters.push_back(of_each_image(
        gamma, [&](const auto& changed) { return value(source, g, changed, beta); }, incoming));
    all.parameters.push_back(of_each_image(
        beta, [&](const auto& changed) { return value(source, g, gamma, changed); }, incoming));
    return all;
  }

 private:
  [[nodiscard]] std::vector<double> scale(const std::vector<float>& values, double absent) const {
    if (values.empty()) return std::vector<double>(channels_, absent);
    return {values.begin(), values.end()};
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source, const Geometry& g,
                                     const std::vector<double>& gamma,
                                     const std::vector<double>& beta) const {
    constexpr bool instance = std::is_same_v<Forward, CNNInstanceNormalization>;
    return normalized(aligned(source, g), static_cast<int>(instance ? channels_ : r_.groups),
                      r_.epsilon, gamma, beta);
  }
  /// The derivative for each of `values` of the sum of incoming * y over each image.
  template <class Value>
  static std::vector<double> of_each_image(const std::vector<double>& values, const Value& value_of,
                                           const oracle::Tensor& incoming) {
    std::vector<double> all;
    const auto image = static_cast<std::ptrdiff_t>(incoming.v.size()) / incoming.n;
    for (int n = 0; n < incoming.n; ++n) {
      const auto objective = [&](const std::vector<double>& changed) {
        const oracle::Tensor y = value_of(changed);
        const auto first = y.v.begin() + image * n;
        return std::inner_product(first, first + image, incoming.v.begin() + image * n, 0.0);
      };
      const auto part = oracle::gradient_by_differences(objective, values, 0x1p-8);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

  const NormalizationRow r_;
  std::size_t channels_;
  std::shared_ptr<Source> source_;
};

using InstanceSubject =
    NormalizationSubject<CNNInstanceNormalization, CNNInstanceNormalizationGradient,
                         CNNInstanceNormalizationGradientState, InstanceSource>;
using GroupSubject = NormalizationSubject<CNNGroupNormalization, CNNGroupNormalizationGradient,
                                          CNNGroupNormalizationGradientState, GroupSource>;

const std::vector<NormalizationRow> instance_rows{
    {.row = {.name = "plain", .quick = true}},
    {.row = {.name = "batch_7", .source = {4, 3, 5}, .batch = 7, .quick = true}},
    {.row = {.name = "one_channel", .source = {6, 5, 1}, .batch = 1}},
    {.row = {.name = "many_channels", .source = {4, 3, 40}, .batch = 3}},
    {.row = {.name = "large_image", .why = "several chunks", .source = {29, 31, 5}}},
    {.row = {.name = "one_pixel", .why = "y = beta, no gradient", .source = {1, 1, 4}}},
    {.row = {.name = "no_scale", .source = {5, 4, 3}}, .scaled = false},
    {.row = {.name = "far_from_0",
             .why = "the variance does not cancel",
             .source = {9, 8, 3},
             .low = 100,
             .high = 101,
             .tolerance = 1e-4,
             .loosened = "the source itself is rounded to 1e-5 of its spread",
             .float32_only = true}},
    {.row = {.name = "epsilon", .source = {4, 4, 4}}, .epsilon = 0.5F},
    {.row = {.name = "offset",
             .why = "the statistics are of what the region reads, zeros beyond the edge too",
             .source = {5, 4, 5},
             .destination = {7, 6},
             .offset = {-2, -1},
             .quick = true}},
    {.row = {.name = "offset_clamp",
             .why = "edge pixels collect from what read them",
             .source = {5, 4, 3},
             .destination = {7, 6},
             .offset = {-2, -1},
             .edge = ImageEdgeMode::Clamp,
             .quick = true}},
    {.row = {.name = "clip",
             .source = {6, 5, 4},
             .destination = {6, 5},
             .offset = {1, 0},
             .clip = {{2, 1, 0}, {3, 4, all_channels}}}},
    {.row = {.name = "channel_ranges",
             .source = {4, 3, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 8,
             .quick = true}},
    {.row = {.name = "E5",
             .source = {2, 1, 1},
             .given = {.source = {1, 2, 3, 6},
                       .incoming = {1, 0, 0, 2},
                       .result = {-0.654700538379, 1.654700538379, -1.309068067467, 2.309068067467},
                       .source_gradient = {0.76980035892, -0.76980035892, -0.219280977875,
                                           0.219280977875}},
             .quick = true},
     .epsilon = 0.5F,
     .gamma = {2},
     .beta = {0.5F},
     .parameters = {{-0.57735026919, 1.809068067467}, {1, 2}}},
};

const std::vector<NormalizationRow> group_rows{
    {.row = {.name = "two_groups", .source = {5, 4, 6}, .quick = true}},
    {.row = {.name = "one_group", .source = {5, 4, 3}, .quick = true}, .groups = 1},
    {.row = {.name = "a_group_each", .why = "instance normalisation", .source = {5, 4, 4}},
     .groups = 4},
    {.row = {.name = "batch_7", .source = {3, 3, 6}, .batch = 7}, .groups = 3},
    {.row = {.name = "wide_groups", .source = {4, 3, 70}, .batch = 1}},
    {.row = {.name = "large_image", .why = "several chunks", .source = {23, 29, 4}}},
    {.row = {.name = "one_pixel", .source = {1, 1, 8}, .quick = true}},
    {.row = {.name = "no_scale", .source = {5, 4, 4}}, .scaled = false},
    {.row = {.name = "epsilon", .source = {4, 4, 4}}, .epsilon = 0.25F},
    {.row = {.name = "clip_clamp",
             .source = {6, 5, 4},
             .destination = {7, 6},
             .offset = {-1, 1},
             .clip = {{0, 1, 0}, {5, 5, all_channels}},
             .edge = ImageEdgeMode::Clamp}},
    {.row = {.name = "channel_ranges",
             .source = {4, 3, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 4}},
    {.row = {.name = "E6",
             .source = {2, 1, 4},
             .given = {.source = {1, 3, 0, 4, 5, 7, 2, 2},
                       .incoming = {1, 0, 1, -1, 0, 2, 0, 1},
                       .result = {-1.3416407865, -0.794427191, -0.507106781187, -1.114213562373,
                                  0.4472135955, 2.783281573, 0.2, 0.3},
                       .source_gradient = {0.49193495505, -0.3577708764, 0.441941738242,
                                           0.441941738242, -0.76026311235, 0.6260990337,
                                           -0.088388347648, -0.795495128835}},
             .quick = true},
     .epsilon = 0,
     .gamma = {1, 2, 0.5F, -1},
     .beta = {0, 0.1F, 0.2F, 0.3F},
     .parameters = {{-1.3416407865, 2.683281573, -1.414213562373, -1.414213562373}, {1, 2, 1, 0}}},
};

INSTANTIATE_TEST_SUITE_P(InstanceNormalization, Rows,
                         testing::ValuesIn(subjects<InstanceSubject>(instance_rows)), name_of_row);
INSTANTIATE_TEST_SUITE_P(GroupNormalization, Rows,
                         testing::ValuesIn(subjects<GroupSubject>(group_rows)), name_of_row);

// ---- data sources and states --------------------------------------------------------------------

constexpr Images two{2, 3, 4, 4};

ImageBatch images(const Bench& bench, std::uint64_t seed, const Images& extents = two) {
  return upload(bench.device, ImageFeatureChannelFormat::Float32, extents,
                floats(extents.count(), seed));
}

TEST(GroupNormalization, ChannelsThatAreConstantGiveBeta_quick) {
  const Bench& bench = Bench::with(2);
  const NormalizationRow row{.groups = 1, .beta = {0.25F, 0.5F, -1, 3}};
  auto source = std::make_shared<InstanceSource>(row, 4);
  CNNInstanceNormalization kernel(bench.device, source);
  kernel.setEpsilon(std::numeric_limits<float>::min());  // the default of a source that says none
  const Images many{1, 33, 37, 4};
  Values x;
  for (std::size_t i = 0; i < many.count(); ++i) x.push_back(0.1F * static_cast<float>(i % 4));
  const ImageBatch result = images(bench, 9, many);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  kernel.encodeBatch(buffer, upload(bench.device, ImageFeatureChannelFormat::Float32, many, x),
                     result);
  finish(buffer);
  const Values y = read(result);
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], row.beta[i % 4]) << i;
}

TEST(GroupNormalization, EpsilonOfASourceThatSaysNoneIsTheSmallestFloat_quick) {
  struct Plain final : CNNGroupNormalizationDataSource {
    [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return 2; }
    [[nodiscard]] const float* gamma() override { return nullptr; }
    [[nodiscard]] const float* beta() override { return nullptr; }
    [[nodiscard]] std::string label() const override { return ""; }
    [[nodiscard]] std::size_t numberOfGroups() const override { return 1; }
    void setNumberOfGroups(std::size_t) override {}
  };
  const CNNGroupNormalization kernel(Bench::with(2).device, std::make_shared<Plain>());
  EXPECT_EQ(kernel.epsilon(), std::numeric_limits<float>::min());
}

TEST(GroupNormalization, ReloadsFromItsSourceAndFromAState_quick) {
  const Bench& bench = Bench::with(2);
  const NormalizationRow row{.groups = 1, .gamma = {1, 1, 1, 1}, .beta = {0, 0, 0, 0}};
  auto source = std::make_shared<GroupSource>(row, 4);
  CNNGroupNormalization kernel(bench.device, source);
  const CNNGroupNormalization before = kernel.copy();
  const ImageBatch x = images(bench, 1), y = images(bench, 2);
  const auto run = [&](const CNNGroupNormalization& with) {
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    with.encodeBatch(buffer, x, y);
    finish(buffer);
    return read(y);
  };
  const Values plain = run(kernel);
  source->beta_ = {1, 2, 3, 4};
  EXPECT_EQ(run(kernel), plain) << "not reloaded yet";
  kernel.reloadGammaAndBetaFromDataSource();
  const Values shifted = run(kernel);
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_NEAR(shifted[i], plain[i] + static_cast<float>(i % 4 + 1), 1e-5F);
  source->setNumberOfGroups(4);
  EXPECT_EQ(run(kernel), shifted);
  kernel.reloadGammaAndBetaFromDataSource();
  EXPECT_NE(run(kernel), shifted) << "another number of groups";
  EXPECT_EQ(run(before), plain) << "a copy keeps what it had";

  // On the device, in the order of the command buffer.
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const float zero[] = {0, 0, 0, 0}, half[] = {0.5F, 0.5F, 0.5F, 0.5F};
  const auto values = std::make_shared<CNNNormalizationGammaAndBetaState>(
      bench.device.makeBuffer(zero, sizeof zero), bench.device.makeBuffer(half, sizeof half));
  const ImageBatch old = images(bench, 3);
  const CNNGroupNormalization copied = kernel.copy();
  const Values with_old = run(kernel);
  kernel.encodeBatch(buffer, x, old);
  kernel.reloadGammaAndBeta(buffer, values);
  kernel.encodeBatch(buffer, x, y);
  finish(buffer);
  EXPECT_EQ(read(old), with_old);
  EXPECT_EQ(read(y), Values(two.count(), 0.5F));
  EXPECT_EQ(run(copied), with_old) << "a copy keeps what it had";
}

TEST(GroupNormalization, StatesHoldABufferEach_quick) {
  const Bench& bench = Bench::with(2);
  const NormalizationRow row{};
  const CNNGroupNormalization kernel(bench.device, std::make_shared<GroupSource>(row, 4));
  const ImageBatch x = images(bench, 1), y = images(bench, 2);
  const StateBatch states = kernel.resultStateBatch(x, {}, y);
  ASSERT_EQ(states.size(), 2U);
  const auto first = states.at<CNNGroupNormalizationGradientState>(0),
             second = states.at<CNNGroupNormalizationGradientState>(1);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->groupNormalization(), &kernel);
  EXPECT_EQ(first->gradientForGamma().length(), 4 * sizeof(float));
  const float numbers[] = {1, 2, 3, 4};
  second->gradientForGamma().copy_in(numbers, sizeof numbers);
  EXPECT_EQ(first->gradientForGamma().values<float>(), Values(4));
  EXPECT_EQ(second->gradientForGamma().values<float>(), Values(numbers, numbers + 4));
  EXPECT_EQ(second->gradientForGamma().as<float>()[2], 3);
  EXPECT_EQ(first->gamma().values<float>(), floats(4, 41, 0.5F, 2));
  EXPECT_EQ(first->beta().values<float>(), floats(4, 42));
  EXPECT_FALSE(kernel.isResultStateReusedAcrossBatch());
}

TEST(GroupNormalization, RefusesWhatDoesNotFit_quick) {
  const Bench& bench = Bench::with(2);
  const Device& device = bench.device;
  NormalizationRow row{.groups = 3};
  expect_refusal([&] { CNNGroupNormalization(device, std::make_shared<GroupSource>(row, 4)); },
                 "CNNGroupNormalization: numberOfGroups is 3; needed a divisor of 4 feature "
                 "channels.");
  row.groups = 0;
  expect_refusal([&] { CNNGroupNormalization(device, std::make_shared<GroupSource>(row, 4)); },
                 "CNNGroupNormalization: numberOfGroups is 0; needed a divisor of 4 feature "
                 "channels.");
  expect_refusal(
      [&] { CNNInstanceNormalization(device, std::make_shared<InstanceSource>(row, 0)); },
      "CNNInstanceNormalization: numberOfFeatureChannels is 0; needed 1 or more.");
  expect_refusal([&] { CNNInstanceNormalization(device, nullptr); },
                 "CNNInstanceNormalization: dataSource is null; needed a data source.");
  const auto source = std::make_shared<InstanceSource>(row, 4);
  source->loads = false;
  expect_refusal(
      [&] { CNNInstanceNormalization(device, source); },
      "CNNInstanceNormalization: dataSource is a data source whose load() answered false; "
      "needed gamma and beta. Check the file or memory behind the data source.");
  source->loads = true;
  source->held = 0;
  CNNInstanceNormalization kernel(device, source);
  EXPECT_EQ(source->held, 0) << "load and purge are balanced";
  source->channels_ = 8;
  expect_refusal([&] { kernel.reloadGammaAndBetaFromDataSource(); },
                 "CNNInstanceNormalization \"n1\": numberOfFeatureChannels is 8; needed 4, as at "
                 "construction. Make a kernel for a layer of another size.");
  EXPECT_EQ(source->held, 0);
  source->channels_ = 4;

  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const ImageBatch x = images(bench, 1), y = images(bench, 2);
  const ImageBatch narrow = images(bench, 3, {2, 3, 4, 3});
  expect_refusal([&] { kernel.encodeBatch(buffer, narrow, narrow); },
                 "CNNInstanceNormalization \"n1\": sourceImage is 4x3x3 Float32; needed 4 feature "
                 "channels from channel 0.");
  expect_refusal([&] { kernel.reloadGammaAndBeta(buffer, nullptr); },
                 "CNNInstanceNormalization \"n1\": gammaAndBetaState is null; needed gamma and "
                 "beta.");
  const Buffer three = device.makeBuffer(3 * sizeof(float));
  expect_refusal(
      [&] {
        kernel.reloadGammaAndBeta(
            buffer, std::make_shared<CNNNormalizationGammaAndBetaState>(three, three));
      },
      "CNNInstanceNormalization \"n1\": gammaAndBetaState is with a buffer of 3 values; needed 4, "
      "one for each feature channel.");

  const CNNInstanceNormalizationGradient gradient(device);
  const StateBatch states = kernel.resultStateBatch(x, {}, y);
  expect_refusal([&] { gradient.encodeBatch(buffer, y, x, y); },
                 "CNNInstanceNormalizationGradient: gradientState is absent; needed a "
                 "CNNInstanceNormalizationGradientState. Use the state that the forward encode of "
                 "this image returned.");
  expect_refusal(
      [&] { gradient.encodeBatch(buffer, y, x, StateBatch::repeated(states[0], 2), y); },
      "CNNInstanceNormalizationGradient: gradientStates is one state for 2 images; needed a state "
      "for each image.");
  CNNInstanceNormalization other(device, std::make_shared<InstanceSource>(row, 4));
  const StateBatch others = other.resultStateBatch(x, {}, y);
  expect_refusal(
      [&] {
        gradient.encodeBatch(buffer, y, x, StateBatch(std::vector{states[0], others[1]}), y);
      },
      "CNNInstanceNormalizationGradient: gradientStates is of different kernels; needed states of "
      "one forward encode.");
}

}  // namespace
}  // namespace cermet::test
