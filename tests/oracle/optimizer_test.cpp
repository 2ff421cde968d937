// Optimisers of the oracle against the specification's numbers and against differences.

#include <cmath>
#include <limits>
#include <vector>

#include "help.h"
#include "loss.h"
#include "optimizer.h"

namespace cermet::oracle {
namespace {

const Values example_w{0.5, -1.5, 2, 0}, example_g{0.1, -4, 0.25, 1}, example_g2{-0.2, 1, 0.25, 0};
const Values zeros_4(4, 0);

SgdScalars sgd_scalars(double learning_rate, double momentum_scale = 0) {
  SgdScalars s;
  s.learningRate = learning_rate;
  s.momentumScale = momentum_scale;
  return s;
}

TEST(SpecOptimizer9, O1Preprocessing) {
  const auto check = [](NNRegularizationType type, const Values& g, const Values& w) {
    StochasticGradientDescent op;
    op.preparation.clip = 1;
    op.preparation.regularization = static_cast<std::int32_t>(type);
    auto s = sgd_scalars(0.1);
    s.gradient = {.rescale = 0.5, .clipMin = -2, .clipMax = 0.5, .regularizationScale = 0.1};
    Values prepared;
    for (std::size_t i = 0; i < 4; ++i)
      prepared.push_back(prepared_gradient(op.preparation, s.gradient, example_g[i], example_w[i]));
    expect_values(prepared, g);
    if (!w.empty())
      expect_values(stochastic_gradient_descent(op, s, example_g, {example_w, {}}).values, w);
  };
  check(NNRegularizationType::None, {0.05, -1, 0.125, 0.25}, {});
  check(NNRegularizationType::L2, {0.1, -1.15, 0.325, 0.25}, {0.49, -1.385, 1.9675, -0.025});
  check(NNRegularizationType::L1, {0.15, -1.1, 0.225, 0.25}, {0.485, -1.39, 1.9775, -0.025});
  expect_values(
      stochastic_gradient_descent({}, sgd_scalars(0.1), example_g, {example_w, {}}).values,
      {0.49, -1.1, 1.975, -0.1});
}

TEST(SpecOptimizer4, ClipLetsNaNPassAndMaximumWins) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const GradientPreparation clip{.clip = 1};
  EXPECT_TRUE(std::isnan(prepared_gradient(clip, {1, -1, 1, 0}, nan, 0)));
  EXPECT_EQ(prepared_gradient(clip, {1, 2, 1, 0}, 0, 0), 1);
}

TEST(SpecOptimizer9, O2aMomentum) {
  SgdState state{example_w, zeros_4};
  const std::vector<SgdState> rows{
      {{0.49, -1.1, 1.975, -0.1}, {0.01, -0.4, 0.025, 0.1}},
      {{0.471, -0.34, 1.9275, -0.29}, {0.019, -0.76, 0.0475, 0.19}},
      {{0.4439, 0.744, 1.85975, -0.561}, {0.0271, -1.084, 0.06775, 0.271}}};
  for (const auto& row : rows) {
    state = stochastic_gradient_descent({}, sgd_scalars(0.1, 0.9), example_g, state);
    expect_values(state.momentum, row.momentum);
    expect_values(state.values, row.values);
  }
}

TEST(SpecOptimizer9, O2bNesterov) {
  SgdState state{example_w, zeros_4};
  const std::vector<SgdState> rows{
      {{0.481, -0.74, 1.9525, -0.19}, {0.1, -4, 0.25, 1}},
      {{0.4539, 0.344, 1.88475, -0.461}, {0.19, -7.6, 0.475, 1.9}},
      {{0.41951, 1.7196, 1.798775, -0.8049}, {0.271, -10.84, 0.6775, 2.71}}};
  StochasticGradientDescent op;
  op.nesterov = 1;
  for (const auto& row : rows) {
    state = stochastic_gradient_descent(op, sgd_scalars(0.1, 0.9), example_g, state);
    expect_values(state.momentum, row.momentum);
    expect_values(state.values, row.values);
  }
}

TEST(SpecOptimizer9, O2cChangingLearningRate) {
  auto state = stochastic_gradient_descent({}, sgd_scalars(0.1, 0.9), {1}, {{1}, {0}});
  expect_values(state.momentum, {0.1});
  expect_values(state.values, {0.9});
  state = stochastic_gradient_descent({}, sgd_scalars(0.01, 0.9), {1}, state);
  expect_values(state.momentum, {0.1});
  expect_values(state.values, {0.8});
}

TEST(SpecOptimizer9, O2dMovingAverage) {
  StochasticGradientDescent op;
  op.preparation.regularization = static_cast<std::int32_t>(NNRegularizationType::L2);
  auto s = sgd_scalars(-0.1);
  s.gradient.regularizationScale = -1;
  expect_values(stochastic_gradient_descent(op, s, {1}, {{0.2}, {}}).values, {0.28});
}

TEST(SpecOptimizer9, O3RMSProp) {
  RMSPropScalars s;
  s.learningRate = 0.01;
  const auto one = rms_prop({}, s, example_g, {example_w, zeros_4});
  expect_values(one.sumOfSquares, {0.001, 1.6, 0.00625, 0.1});
  expect_values(one.values, {0.468377233398, -1.46837722365, 1.9683772274, -0.0316227756017}, "",
                1e-11);
  const auto two = rms_prop({}, s, example_g, one);
  expect_values(two.sumOfSquares, {0.0019, 3.04, 0.011875, 0.19});
  expect_values(two.values, {0.445435665274, -1.44543565039, 1.94543565612, -0.0545643484624}, "",
                1e-11);
  s.epsilon = 0.5;
  const auto outside = rms_prop({}, s, {0.1}, {{0.5}, {0}});
  expect_values(outside.sumOfSquares, {0.001});
  expect_values(outside.values, {0.498118966974}, "", 1e-11);
}

AdamScalars adam_scalars(int t, double beta2 = 0.999) {
  AdamScalars s;
  s.stepLearningRate = adam_step_learning_rate(0.01, 0.9, beta2, t);
  s.beta2 = beta2;
  s.oneMinusBeta2 = 1 - beta2;
  return s;
}

TEST(SpecOptimizer9, O4aAdam) {
  struct Row {
    double rate;
    Values m, v, w;
  };
  const std::vector<Row> rows{{0.00316227766017,
                               {0.01, -0.4, 0.025, 0.1},
                               {1e-05, 0.016, 6.25e-05, 0.001},
                               {0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772}},
                              {0.00235316725327,
                               {-0.011, -0.26, 0.0475, 0.09},
                               {4.999e-05, 0.016984, 0.0001249375, 0.000999},
                               {0.493661061715, -1.48530531944, 1.9800000216, -0.0167005772591}},
                              {0.00202010597439,
                               {-0.0299, -0.134, 0.06775, 0.081},
                               {8.994001e-05, 0.017967016, 0.0001873125625, 0.000998001},
                               {0.500030020195, -1.483285833, 1.9700000289, -0.0218801453444}}};
  AdamState state{example_w, zeros_4, zeros_4, {}};
  for (int t = 1; t <= 3; ++t) {
    const auto& row = rows.at(static_cast<std::size_t>(t - 1));
    const auto s = adam_scalars(t);
    expect_values({s.stepLearningRate}, {row.rate}, "", 1e-11);
    state = adam({}, s, t == 1 ? example_g : example_g2, state);
    expect_values(state.momentum, row.m);
    expect_values(state.velocity, row.v);
    expect_values(state.values, row.w, "", 1e-11);
  }
}

TEST(SpecOptimizer9, O4bAMSGrad) {
  struct Row {
    double rate;
    Values v, x, w, plain;
  };
  const std::vector<Row> rows{{0.0707106781187,
                               {0.005, 8, 0.03125, 0.5},
                               {0.005, 8, 0.03125, 0.5},
                               {0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858},
                               {0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858}},
                              {0.0455802844097,
                               {0.0225, 4.5, 0.046875, 0.25},
                               {0.0225, 8, 0.046875, 0.5},
                               {0.493342555381, -1.48581008338, 1.98000000103, -0.0158014228515},
                               {0.493342555381, -1.48441344451, 1.98000000103, -0.0182044508882}},
                              {0.0345171345643,
                               {0.03125, 2.75, 0.0546875, 0.125},
                               {0.03125, 8, 0.0546875, 0.5},
                               {0.499180781191, -1.4841747943, 1.97000000146, -0.0197554053823},
                               {0.499180781191, -1.48162428607, 1.97000000146, -0.0261124158379}}};
  AdamState amsgrad{example_w, zeros_4, zeros_4, zeros_4}, plain{example_w, zeros_4, zeros_4, {}};
  for (int t = 1; t <= 3; ++t) {
    const auto& row = rows.at(static_cast<std::size_t>(t - 1));
    const auto s = adam_scalars(t, 0.5);
    const auto& g = t == 1 ? example_g : example_g2;
    expect_values({s.stepLearningRate}, {row.rate}, "", 1e-11);
    amsgrad = adam({}, s, g, amsgrad);
    plain = adam({}, s, g, plain);
    expect_values(amsgrad.velocity, row.v);
    expect_values(amsgrad.maximumVelocity, row.x);
    expect_values(amsgrad.values, row.w, "", 1e-11);
    expect_values(plain.values, row.plain, "", 1e-11);
  }
}

TEST(SpecOptimizer9, O4cEpsilonHat) {
  auto s = adam_scalars(1);
  s.epsilon = 1e-3;
  expect_values(adam({}, s, {1e-3}, {{0.5}, {0}, {0}, {}}).values, {0.4996934657}, "", 2e-10);
}

TEST(SpecOptimizer9, O4dResume) {
  const auto s = adam_scalars(10);
  expect_values({s.stepLearningRate}, {0.00153189073951}, "", 1e-11);
  const auto state = adam({}, s, {0.1}, {{0.5}, {0.02}, {0.003}, {}});
  expect_values(state.momentum, {0.028});
  expect_values(state.velocity, {0.003007});
  expect_values(state.values, {0.499217797808}, "", 1e-11);
}

TEST(Optimizer, WidenedScalarsKeepTheirValues) {
  const StochasticGradientDescent::Scalars s{
      {.rescale = 2, .clipMin = -3, .clipMax = 4, .regularizationScale = 5}, 6, 7};
  const auto wide = widened(s);
  EXPECT_EQ(wide.gradient.rescale, 2);
  EXPECT_EQ(wide.gradient.clipMin, -3);
  EXPECT_EQ(wide.gradient.clipMax, 4);
  EXPECT_EQ(wide.gradient.regularizationScale, 5);
  EXPECT_EQ(wide.learningRate, 6);
  EXPECT_EQ(wide.momentumScale, 7);
  const RMSProp::Scalars r{{}, 1, 2, 3, 4};
  EXPECT_EQ(widened(r).learningRate, 1);
  EXPECT_EQ(widened(r).decay, 2);
  EXPECT_EQ(widened(r).oneMinusDecay, 3);
  EXPECT_EQ(widened(r).epsilon, 4);
  const Adam::Scalars a{{}, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(widened(a).stepLearningRate, 1);
  EXPECT_EQ(widened(a).beta1, 2);
  EXPECT_EQ(widened(a).oneMinusBeta1, 3);
  EXPECT_EQ(widened(a).beta2, 4);
  EXPECT_EQ(widened(a).oneMinusBeta2, 5);
  EXPECT_EQ(widened(a).epsilon, 6);
  const Loss::Scalars l{1, 2, 3, 4};
  EXPECT_EQ(widened(l).weight, 1);
  EXPECT_EQ(widened(l).labelSmoothing, 2);
  EXPECT_EQ(widened(l).epsilon, 3);
  EXPECT_EQ(widened(l).delta, 4);
}

}  // namespace
}  // namespace cermet::oracle
