// Kernels with two source images.

#include <cmath>
#include <limits>

#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/compare.h"
#include "cermet/cnn/grid_sample.h"
#include "cermet/cnn/local_correlation.h"
#include "cermet/cnn/reduce.h"
#include "check/catalog.h"

namespace cermet::detail {
namespace {

/// The other operand: of another seed, away from 0, with one element along the axes that are
/// broadcast.
CheckedImages second(const CheckedImages& images) {
  CheckedImages other = images;
  other.seed = images.seed + 1;
  other.low = 0.5;
  other.high = 2;
  return other;
}

std::vector<CheckSetting> arithmetic_settings() {
  // Finite numbers: infinity stands for no limit.
  constexpr double none = std::numeric_limits<double>::infinity();
  return {{"primaryScale", 1, {-0.5}},
          {"secondaryScale", 1, {1.5}},
          {"bias", 0, {0.25}},
          {"minimumValue", -none, {0}},
          {"maximumValue", none, {0.5}},
          {"primaryStrideInPixelsX", 1, {0}},
          {"primaryStrideInPixelsY", 1, {0}},
          {"primaryStrideInFeatureChannels", 1, {0}},
          {"secondaryStrideInPixelsX", 1, {0}},
          {"secondaryStrideInPixelsY", 1, {0}},
          {"secondaryStrideInFeatureChannels", 1, {0}}};
}

struct Operands {
  CheckedImages primary, secondary;
};
Operands operands_of(const Settings& s, const CheckedImages& images) {
  Operands both{images, second(images)};
  const auto cut = [&](CheckedImages& operand, const std::string& which) {
    if (s[which + "StrideInPixelsX"] == 0) operand.width = 1;
    if (s[which + "StrideInPixelsY"] == 0) operand.height = 1;
    if (s[which + "StrideInFeatureChannels"] == 0) operand.featureChannels = 1;
  };
  cut(both.primary, "primary");
  cut(both.secondary, "secondary");
  return both;
}

void set_properties(CNNArithmetic& kernel, const Settings& s) {
  kernel.setPrimaryScale(s.number("primaryScale"));
  kernel.setSecondaryScale(s.number("secondaryScale"));
  kernel.setBias(s.number("bias"));
  // No limit is the property's default, whatever number that is.
  if (std::isfinite(s["minimumValue"])) kernel.setMinimumValue(s.number("minimumValue"));
  if (std::isfinite(s["maximumValue"])) kernel.setMaximumValue(s.number("maximumValue"));
  kernel.setPrimaryStrideInPixelsX(s.size("primaryStrideInPixelsX"));
  kernel.setPrimaryStrideInPixelsY(s.size("primaryStrideInPixelsY"));
  kernel.setPrimaryStrideInFeatureChannels(s.size("primaryStrideInFeatureChannels"));
  kernel.setSecondaryStrideInPixelsX(s.size("secondaryStrideInPixelsX"));
  kernel.setSecondaryStrideInPixelsY(s.size("secondaryStrideInPixelsY"));
  kernel.setSecondaryStrideInFeatureChannels(s.size("secondaryStrideInFeatureChannels"));
}

/// d(primaryScale * x op secondaryScale * y): the scale of the operand, -1 times that of a
/// subtrahend, and of a product both.
template <class Forward, class Gradient>
std::unique_ptr<Differentiable> arithmetic(const Device& device, const Settings& s,
                                           const CheckedImages& images) {
  auto forward = std::make_shared<Forward>(device);
  set_properties(*forward, s);
  const auto gradient = [&](bool of_secondary) {
    auto made = std::make_shared<Gradient>(device, of_secondary);
    const float scales[]{s.number("primaryScale"), s.number("secondaryScale")};
    if constexpr (std::is_same_v<Gradient, CNNMultiplyGradient>) {
      made->setPrimaryScale(scales[0]);
      made->setSecondaryScale(scales[1]);
    } else {
      const float sign =
          std::is_same_v<Gradient, CNNSubtractGradient> && of_secondary ? -1.0F : 1.0F;
      made->setPrimaryScale(sign * scales[of_secondary ? 1 : 0]);
    }
    return made;
  };
  const Operands operands = operands_of(s, images);
  return std::make_unique<CheckedBinaryKernel>(forward, gradient(false), gradient(true),
                                               operands.primary, operands.secondary);
}

std::unique_ptr<Differentiable> division(const Device& device, const Settings& s,
                                         const CheckedImages& images) {
  auto forward = std::make_shared<CNNDivide>(device);
  set_properties(*forward, s);
  const Operands operands = operands_of(s, images);
  return std::make_unique<CheckedBinaryKernel>(forward, nullptr, nullptr, operands.primary,
                                               operands.secondary);
}

std::unique_ptr<Differentiable> comparison(const Device& device, const Settings& s,
                                           const CheckedImages& images) {
  auto forward = std::make_shared<NNCompare>(device);
  forward->setComparisonType(s.choice<NNComparisonType>("comparisonType"));
  forward->setThreshold(s.number("threshold"));
  return std::make_unique<CheckedBinaryKernel>(forward, nullptr, nullptr, images, second(images));
}

std::unique_ptr<Differentiable> grid_sample(const Device& device, const Settings& s,
                                            const CheckedImages& images) {
  auto forward = std::make_shared<NNGridSample>(device);
  forward->setUseGridValueAsInputCoordinate(s.flag("useGridValueAsInputCoordinate"));
  forward->setPrimaryEdgeMode(s.choice<ImageEdgeMode>("primaryEdgeMode"));
  CheckedImages grid = second(images);
  grid.featureChannels = 2;
  grid.low = -1;
  grid.high = static_cast<double>(std::max(images.width, images.height));
  return std::make_unique<CheckedBinaryKernel>(forward, nullptr, nullptr, images, grid);
}

std::unique_ptr<Differentiable> local_correlation(const Device& device, const Settings& s,
                                                  const CheckedImages& images) {
  return std::make_unique<CheckedBinaryKernel>(
      std::make_shared<NNLocalCorrelation>(device, s.size("windowInX"), s.size("windowInY"),
                                           s.size("strideInX"), s.size("strideInY")),
      nullptr, nullptr, images, second(images));
}

std::unique_ptr<Differentiable> weighted_sum(const Device& device, const Settings& s,
                                             const CheckedImages& images) {
  return std::make_unique<CheckedBinaryKernel>(
      std::make_shared<NNReduceFeatureChannelsAndWeightsSum>(
          device, s.flag("doWeightedSumByNonZeroWeights")),
      nullptr, nullptr, images, second(images));
}
std::unique_ptr<Differentiable> weighted_mean(const Device& device, const Settings&,
                                              const CheckedImages& images) {
  return std::make_unique<CheckedBinaryKernel>(
      std::make_shared<NNReduceFeatureChannelsAndWeightsMean>(device), nullptr, nullptr, images,
      second(images));
}

}  // namespace

Catalog binary_checks() {
  return {
      {"CNNAdd", true, arithmetic_settings(), arithmetic<CNNAdd, CNNAddGradient>},
      {"CNNSubtract", true, arithmetic_settings(), arithmetic<CNNSubtract, CNNSubtractGradient>},
      {"CNNMultiply", true, arithmetic_settings(), arithmetic<CNNMultiply, CNNMultiplyGradient>},
      {"CNNDivide", false, arithmetic_settings(), division},
      {"NNCompare",
       false,
       {{"comparisonType", 0, {1, 2, 3, 4, 5}}, {"threshold", 0, {0.5}}},
       comparison},
      {"NNGridSample",
       false,
       {{"useGridValueAsInputCoordinate", 1, {0}}, {"primaryEdgeMode", 0, {1}}},
       grid_sample},
      {"NNLocalCorrelation",
       false,
       {{"windowInX", 1, {0, 2}},
        {"windowInY", 1, {0, 3}},
        {"strideInX", 1, {2}},
        {"strideInY", 1, {3}}},
       local_correlation},
      {"NNReduceFeatureChannelsAndWeightsSum",
       false,
       {{"doWeightedSumByNonZeroWeights", 0, {1}}},
       weighted_sum},
      {"NNReduceFeatureChannelsAndWeightsMean", false, {}, weighted_mean},
  };
}

}  // namespace cermet::detail
