// Kernels of the library by name: each passes at its defaults, and what is wrong is found.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "../harness/device.h"
#include "../harness/random.h"
#include "../harness/recurrent.h"
#include "../harness/refusal.h"
#include "cermet/check/kernel_check.h"
#include "cermet/cnn/convolution.h"
#include "cermet/cnn/neuron.h"
#include "cermet/nn/archive.h"

namespace cermet::test {
namespace {

Device device() {
  static const Device one = device_under_test(2);
  return one;
}

std::vector<CheckedGradient> check(Differentiable& computation, double tolerance = 1e-3) {
  GradientCheckOptions options;
  options.elements = 24;
  options.tolerance = tolerance;
  return check_gradient(computation, options);
}

/// Kernels whose result has one size alone.
bool is_refused(std::string_view kernel, std::string_view setting) {
  const std::set<std::string_view> sized{"CNNFullyConnected", "NNGramMatrixCalculation",
                                         "NNReshape"};
  const std::set<std::string_view> sizes{"destinationWidth", "destinationHeight"};
  return sized.contains(kernel) && sizes.contains(setting);
}

class NamedChecks : public testing::TestWithParam<std::string> {};

TEST_P(NamedChecks, pass_at_their_defaults) {
  const auto computation = make_check(device(), GetParam());
  ASSERT_FALSE(computation->variables().empty());
  if (has_gradient(GetParam())) {
    const auto found = check(*computation);
    EXPECT_TRUE(passed(found)) << text_of(found);
  }
  CheckedPoint point;
  for (const auto& variable : computation->variables()) point.push_back(variable.values);
  EXPECT_FALSE(computation->results(point).empty());
}

TEST_P(NamedChecks, take_every_value_of_their_settings) {
  for (const CheckSetting& setting : check_settings(GetParam())) {
    for (const double value : setting.others) {
      CheckedImages images;
      images.count = 1;
      images.height = 3;
      images.width = 4;
      if (is_refused(GetParam(), setting.name)) continue;
      const auto computation = make_check(device(), GetParam(), {{setting.name, value}}, images);
      if (!has_gradient(GetParam())) continue;
      GradientCheckOptions options;
      options.elements = 3;
      const auto found = check_gradient(*computation, options);
      for (const auto& one : found) {
        EXPECT_LE(one.error, options.tolerance) << setting.name << "=" << value << "\n"
                                                << text_of(found);
      }
    }
  }
}

TEST_P(NamedChecks, hold_in_float16) {
  if (!has_gradient(GetParam())) return;
  CheckedImages images;
  images.format = ImageFeatureChannelFormat::Float16;
  if (GetParam().starts_with("Matrix") || GetParam().starts_with("RNN")) {
    expect_refusal([&] { static_cast<void>(make_check(device(), GetParam(), {}, images)); },
                   GetParam() +
                       ": format is Float16; needed Float32: matrices of checks have no "
                       "other.");
    return;
  }
  const auto computation = make_check(device(), GetParam(), {}, images);
  const auto found = check(*computation, 1e-2);
  EXPECT_TRUE(passed(found)) << text_of(found);
}

INSTANTIATE_TEST_SUITE_P(Kernels, NamedChecks, testing::ValuesIn(checked_kernels()),
                         [](const auto& row) { return row.param; });

/// Every class that has a gradient class can be checked by name.
TEST(KernelCheck, KnowsEveryKernelWithAGradient) {
  // Statistics make no image: CNNBatchNormalization is checked with them.
  const std::set<std::string_view> parts{"CNNBatchNormalizationStatistics"};
  const auto names = checked_kernels();
  const auto classes = archived_classes();
  std::size_t pairs = 0;
  for (const std::string_view forward : classes) {
    const std::string gradient = std::string(forward) + "Gradient";
    if (std::ranges::find(classes, gradient) == classes.end() || parts.contains(forward)) continue;
    ++pairs;
    const bool is_known = std::ranges::find(names, forward) != names.end();
    EXPECT_TRUE(is_known && has_gradient(forward)) << forward;
  }
  EXPECT_GT(pairs, 25u);
  for (const std::string& name : names)
    EXPECT_NE(std::ranges::find(classes, name), classes.end()) << name;
}

TEST(KernelCheck, FindsTheGradientOfAnotherKernel) {
  const auto relu = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU),
             tanh = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::TanH);
  CheckedKernel right(std::make_shared<CNNNeuron>(device(), tanh),
                      std::make_shared<CNNNeuronGradient>(device(), tanh));
  EXPECT_TRUE(passed(check(right)));
  CheckedKernel wrong(std::make_shared<CNNNeuron>(device(), tanh),
                      std::make_shared<CNNNeuronGradient>(device(), relu));
  EXPECT_FALSE(passed(check(wrong)));
}

std::shared_ptr<GateWeights> own_source(NNNeuronDescriptor neuron = {}) {
  return std::make_shared<GateWeights>(3, 4, floats(std::size_t{4 * 3 * 3 * 3}, 5), floats(4, 6),
                                       std::move(neuron), 3);
}

TEST(KernelCheck, ChecksADataSourceOfYours) {
  const auto source = own_source();
  const auto gradient = std::make_shared<CNNConvolutionGradient>(device(), source);
  CheckedKernel right(std::make_shared<CNNConvolution>(device(), source), gradient);
  const auto found = check(right);
  EXPECT_TRUE(passed(found)) << text_of(found);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[1].name, "weights");
  EXPECT_EQ(found[1].shape, (std::vector<std::size_t>{4, 3, 3, 3}));
  EXPECT_EQ(found[2].name, "biases");

  gradient->setGradientOption(CNNConvolutionGradientOption::GradientWithData);
  const auto without = check(right);
  EXPECT_TRUE(without[0].passed);
  EXPECT_FALSE(without[1].passed) << "its gradient was not computed";
}

TEST(KernelCheck, PlacesTheSourceAsItIsTold) {
  CheckSettings settings{{"kernelWidth", 3},      {"kernelHeight", 3}, {"offsetX", 2},
                         {"offsetY", 1},          {"edgeMode", 1},     {"destinationWidth", 2},
                         {"destinationHeight", 3}};
  const auto computation = make_check(device(), "CNNPoolingAverage", settings);
  const auto found = check(*computation);
  EXPECT_TRUE(passed(found)) << text_of(found);
  CheckedPoint point{computation->variables()[0].values};
  EXPECT_EQ(computation->results(point).size(), std::size_t{2 * 3 * 2 * 3});
}

TEST(KernelCheck, SaysWhatIsWrong) {
  expect_refusal([] { static_cast<void>(make_check(device(), "CNNPoolingMaximum")); },
                 "check: kernel is \"CNNPoolingMaximum\"; needed the name of a class of forward "
                 "kernels, as CNNConvolution. `cermet check --list` prints them.");
  expect_refusal(
      [] {
        static_cast<void>(make_check(device(), "CNNFullyConnected", {{"width", 3}}));
      },
      "CNNFullyConnected: setting is \"width\"; needed one of outputFeatureChannels, biases, "
      "edgeMode, offsetX, offsetY, destinationWidth, destinationHeight, paddingMethod, "
      "sourceFeatureChannelOffset, sourceFeatureChannelMaxCount.");
  expect_refusal(
      [] {
        static_cast<void>(make_check(device(), "CNNPoolingMax", {{"kernelWidth", 0}}));
      },
      "CNNPoolingMax: the window is 0x2 with strides 1, 1; needed sizes and strides of 1 or more.");
  expect_refusal(
      [] {
        static_cast<void>(make_check(device(), "CNNPoolingMax", {{"kernelWidth", 2.5}}));
      },
      "CNNPoolingMax: kernelWidth is 2.5; needed a whole number.");
  expect_refusal(
      [] {
        static_cast<void>(make_check(device(), "CNNConvolution", {{"groups", -1}}));
      },
      "CNNConvolution: groups is -1; needed 0 to 1048576.");
  CheckedImages none;
  none.width = 0;
  expect_refusal([&] { static_cast<void>(make_check(device(), "CNNSoftMax", {}, none)); },
                 "CheckedKernel: images is 2 of 7x0x3; needed 1 to 268435456 values.");
  CheckedImages bytes;
  bytes.format = ImageFeatureChannelFormat::Unorm8;
  expect_refusal([&] { static_cast<void>(make_check(device(), "CNNSoftMax", {}, bytes)); },
                 "CheckedKernel: format is 1; needed Float32 or Float16. Integers have no "
                 "gradient.");
  expect_refusal(
      [] {
        const auto source =
            own_source(NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU));
        CheckedKernel fused(std::make_shared<CNNConvolution>(device(), source),
                            std::make_shared<CNNConvolutionGradient>(device(), source));
      },
      "CNNConvolution \"gate\": the descriptor is with a fused neuron; needed no neuron. The "
      "gradient "
      "kernel begins before the neuron: check the convolution without it, and CNNNeuron by "
      "itself.");
  expect_refusal(
      [] {
        const auto descriptor = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU);
        CheckedKernel alone(std::make_shared<CNNNeuron>(device(), descriptor), nullptr);
        static_cast<void>(check(alone));
      },
      "CNNNeuron: gradient is missing; needed a gradient kernel. Give CheckedKernel one, or ask "
      "for results alone.");
}

}  // namespace
}  // namespace cermet::test
