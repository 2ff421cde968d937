// Training of a LeNet on the device under test agrees with one thread of the CPU.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "catalog/operators.h"
#include "core/device_impl.h"
#include "graph/lenet.h"
#include "graph/wrapped_engine.h"
#include "harness/device.h"

namespace cermet::test {
namespace {

const Device& tested() {
  static const Device one = device_under_test(2);
  return one;
}
const Device& reference() {
  static const Device one = Device::cpu(1);
  return one;
}

struct Trained {
  std::vector<double> losses;
  std::vector<SafeTensor> parameters;  // afterwards
  bool operator==(const Trained&) const = default;
};

Trained train(const Device& device, KernelOptions options = KernelOptions::None) {
  LeNet network(device, options);
  Trained run;
  for (std::size_t step = 0; step < 20; ++step) run.losses.push_back(network.step(step));
  run.parameters = network.parameters();
  return run;
}

const Trained& run_of_reference() {
  static const Trained run = train(reference());
  return run;
}

void expect_same_losses(const Trained& run, double tolerance) {
  const std::vector<double>& expected = run_of_reference().losses;
  ASSERT_EQ(run.losses.size(), expected.size());
  for (std::size_t step = 0; step < expected.size(); ++step) {
    EXPECT_NEAR(run.losses[step], expected[step], tolerance * expected[step]) << "step " << step;
  }
}

struct Gradient {
  std::string name;
  std::vector<double> values;
};

/// From one step of a learning rate so large that what is lost of the gradient by the subtraction
/// from its parameter does not count, and a power of two.
std::vector<Gradient> first_gradients(const Device& device) {
  constexpr float rate = 0x1p10F;
  LeNet network(device, KernelOptions::None, rate);
  const std::vector<SafeTensor> before = network.parameters();
  network.step(0);
  std::vector<Gradient> gradients;
  for (const SafeTensor& tensor : network.parameters()) {
    const std::vector<float> old = floats_of(before[gradients.size()]), now = floats_of(tensor);
    gradients.push_back({tensor.name, {}});
    for (std::size_t i = 0; i < now.size(); ++i)
      gradients.back().values.push_back((double{old[i]} - double{now[i]}) / double{rate});
  }
  return gradients;
}

TEST(Agreement, LossesOfTwentySteps) {
  const Trained run = train(tested());
  expect_same_losses(run, 1e-4);
  const auto mean_of_all_data = [&](std::size_t from) {
    return std::accumulate(&run.losses[from], &run.losses[from] + 4, 0.0) / 4;
  };
  EXPECT_LT(mean_of_all_data(16), 0.9 * mean_of_all_data(0)) << "nothing is learned";
}

TEST(Agreement, EveryGradientOfTheFirstStep) {
  const std::vector<Gradient> expected = first_gradients(reference()),
                              got = first_gradients(tested());
  ASSERT_EQ(expected.size(), 8U);
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t at = 0; at < got.size(); ++at) {
    ASSERT_EQ(got[at].name, expected[at].name);
    ASSERT_EQ(got[at].values.size(), expected[at].values.size());
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < got[at].values.size(); ++i) {
      largest = std::max(largest, std::abs(expected[at].values[i]));
      ASSERT_TRUE(std::isfinite(got[at].values[i])) << got[at].name << ' ' << i;
      difference = std::max(difference, std::abs(got[at].values[i] - expected[at].values[i]));
    }
    EXPECT_GT(largest, 0) << got[at].name;
    EXPECT_LE(difference, 1e-5 * largest) << got[at].name;
  }
}

TEST(Agreement, SameSeedSameBits) { EXPECT_TRUE(train(tested()) == train(tested())); }

TEST(Agreement, LossesInReducedPrecision) {
  const Trained run = train(tested(), KernelOptions::AllowReducedPrecision);
  expect_same_losses(run, 2e-2);
  EXPECT_TRUE(run == train(tested(), KernelOptions::AllowReducedPrecision))
      << "the same seed gives other bits";
}

/// Counts the convolutions that may round and those that may not.
class NotingEngine final : public WrappedEngine {
 public:
  [[nodiscard]] StepPtr prepare(const OpView& op, Descs descs) override {
    note<Convolution>(op, [](const auto& one) { return one; });
    note<PooledConvolution>(op, [](const auto& one) { return one.convolution; });
    const auto forward = [](const auto& one) { return one.forward; };
    note<ConvolutionGradientData>(op, forward);
    note<ConvolutionGradientWeights>(op, forward);
    note<PooledConvolutionGradientData>(op, forward);
    note<PooledConvolutionGradientWeights>(op, forward);
    return WrappedEngine::prepare(op, descs);
  }
  std::size_t may = 0, may_not = 0;

 private:
  template <class Op, class Of>
  void note(const OpView& op, Of convolution) {
    if (op.name != Op::name) return;
    ++(convolution(*static_cast<const Op*>(op.data)).reducedPrecision != 0 ? may : may_not);
  }
};

TEST(ReducedPrecision, ReachesTheConvolutionsOfAGraphAndNoOthers) {
  const auto engine = std::make_shared<NotingEngine>();
  LeNet network(detail::DeviceImpl::handle(detail::DeviceImpl::make(engine)));
  constexpr std::size_t passes = 4 + 3 + 4;  // forward, data, weights
  static_cast<void>(network.step(0));
  EXPECT_EQ(engine->may, 0U);
  EXPECT_GE(engine->may_not, passes);
  engine->may_not = 0;
  network.graph().setOptions(KernelOptions::AllowReducedPrecision);
  static_cast<void>(network.step(1));
  EXPECT_GE(engine->may, passes);
  EXPECT_EQ(engine->may_not, 0U);
  engine->may = 0;
  network.graph().setOptions(KernelOptions::None);
  network.graph().reloadFromDataSources();  // which forgets the programs
  static_cast<void>(network.step(2));
  EXPECT_EQ(engine->may, 0U) << "an option was left in a kernel";
  EXPECT_GE(engine->may_not, passes);
}

}  // namespace
}  // namespace cermet::test
