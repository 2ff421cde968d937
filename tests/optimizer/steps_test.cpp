// Steps of optimizers through their public encodes: the examples O1 to O4 of the specification's
// section 9 in every form, in place and into a distinct result; and random values against double.

#include "harness/random.h"
#include "optimizer/forms.h"
#include "oracle/optimizer.h"

namespace cermet::optimizer_test {
namespace {

template <class Form>
class OptimizerForms : public testing::Test {};
using Forms = testing::Types<VectorForm, VectorsForm, MatrixForm, MatricesForm, ConvolutionForm,
                             BatchNormalizationForm<false>, BatchNormalizationForm<true>>;
TYPED_TEST_SUITE(OptimizerForms, Forms);

TYPED_TEST(OptimizerForms, O1Preprocessing) {
  const auto sgd = [](NNRegularizationType type) {
    return Sgd(device(), 0, false, {0.1F, 0.5F, true, 0.5F, -2, type, 0.1F});
  };
  // A momentum of zeros with momentumScale 0 is plain descent that also keeps lr*g.
  expect_steps<TypeParam, 1>(Sgd(device(), 0.1F), {example_g},
                             {{{0.49, -1.1, 1.975, -0.1}, {{0.01, -0.4, 0.025, 0.1}}}});
  expect_steps<TypeParam, 1>(sgd(NNRegularizationType::None), {example_g},
                             {{{0.495, -1.4, 1.9875, -0.025}, {{0.005, -0.1, 0.0125, 0.025}}}});
  expect_steps<TypeParam, 1>(sgd(NNRegularizationType::L2), {example_g},
                             {{{0.49, -1.385, 1.9675, -0.025}, {{0.01, -0.115, 0.0325, 0.025}}}});
  expect_steps<TypeParam, 1>(sgd(NNRegularizationType::L1), {example_g},
                             {{{0.485, -1.39, 1.9775, -0.025}, {{0.015, -0.11, 0.0225, 0.025}}}});
}

TYPED_TEST(OptimizerForms, O2aMomentum) {
  expect_steps<TypeParam, 1>(
      Sgd(device(), 0.9F, false, with_rate(0.1F)), {example_g, example_g, example_g},
      {{{0.49, -1.1, 1.975, -0.1}, {{0.01, -0.4, 0.025, 0.1}}},
       {{0.471, -0.34, 1.9275, -0.29}, {{0.019, -0.76, 0.0475, 0.19}}},
       {{0.4439, 0.744, 1.85975, -0.561}, {{0.0271, -1.084, 0.06775, 0.271}}}});
}

TYPED_TEST(OptimizerForms, O2bNesterov) {
  expect_steps<TypeParam, 1>(
      Sgd(device(), 0.9F, true, with_rate(0.1F)), {example_g, example_g, example_g},
      {{{0.481, -0.74, 1.9525, -0.19}, {{0.1, -4, 0.25, 1}}},
       {{0.4539, 0.344, 1.88475, -0.461}, {{0.19, -7.6, 0.475, 1.9}}},
       {{0.41951, 1.7196, 1.798775, -0.8049}, {{0.271, -10.84, 0.6775, 2.71}}}});
}

TYPED_TEST(OptimizerForms, O3RMSProp) {
  expect_steps<TypeParam, 1>(NNOptimizerRMSProp(device(), 0.01F), {example_g, example_g},
                             {{{0.468377233398, -1.46837722365, 1.9683772274, -0.0316227756017},
                               {{0.001, 1.6, 0.00625, 0.1}}},
                              {{0.445435665274, -1.44543565039, 1.94543565612, -0.0545643484624},
                               {{0.0019, 3.04, 0.011875, 0.19}}}});
}

TYPED_TEST(OptimizerForms, O4aAdam) {
  expect_steps<TypeParam, 2>(
      NNOptimizerAdam(device(), 0.01F), {example_g, example_g2, example_g2},
      {{{0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772},
        {{0.01, -0.4, 0.025, 0.1}, {1e-05, 0.016, 6.25e-05, 0.001}}},
       {{0.493661061715, -1.48530531944, 1.9800000216, -0.0167005772591},
        {{-0.011, -0.26, 0.0475, 0.09}, {4.999e-05, 0.016984, 0.0001249375, 0.000999}}},
       {{0.500030020195, -1.483285833, 1.9700000289, -0.0218801453444},
        {{-0.0299, -0.134, 0.06775, 0.081},
         {8.994001e-05, 0.017967016, 0.0001873125625, 0.000998001}}}});
}

TYPED_TEST(OptimizerForms, O4bAMSGrad) {
  const NNOptimizerAdam adam(device(), 0.9, 0.5, 1e-8F, 0, with_rate(0.01F));
  const std::vector<Floats> gradients{example_g, example_g2, example_g2};
  expect_steps<TypeParam, 3>(
      adam, gradients,
      {{{0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858},
        {{0.01, -0.4, 0.025, 0.1}, {0.005, 8, 0.03125, 0.5}, {0.005, 8, 0.03125, 0.5}}},
       {{0.493342555381, -1.48581008338, 1.98000000103, -0.0158014228515},
        {{-0.011, -0.26, 0.0475, 0.09}, {0.0225, 4.5, 0.046875, 0.25}, {0.0225, 8, 0.046875, 0.5}}},
       {{0.499180781191, -1.4841747943, 1.97000000146, -0.0197554053823},
        {{-0.0299, -0.134, 0.06775, 0.081},
         {0.03125, 2.75, 0.0546875, 0.125},
         {0.03125, 8, 0.0546875, 0.5}}}});
  expect_steps<TypeParam, 2>(
      adam, gradients,
      {{{0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858}, {}},
       {{0.493342555381, -1.48441344451, 1.98000000103, -0.0182044508882}, {}},
       {{0.499180781191, -1.48162428607, 1.97000000146, -0.0261124158379}, {}}});
}

TEST(Optimizer, O2cTheRateOfTheEncodeCounts) {
  Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  const Vector g = vector_of({1}), w = vector_of({1}), m = zeros(1);
  CommandBuffer commands = command_buffer();
  sgd.encode(commands, g, w, m, w);
  sgd.setLearningRate(0.01F);
  sgd.encode(commands, g, w, m, w);
  sgd.setLearningRate(1000);
  finish(commands);
  expect_close(read(m), {0.1}, 2);
  expect_close(read(w), {0.8}, 2);
}

TEST(Optimizer, O2dMovingAverage) {
  const Sgd sgd(device(), 0, false, {-0.1F, 1, NNRegularizationType::L2, -1});
  const Vector w = vector_of({0.2F});
  run([&](const CommandBuffer& commands) { sgd.encode(commands, vector_of({1}), w, {}, w); });
  expect_close(read(w), {0.28});
}

TEST(Optimizer, O3TheEpsilonOfRMSPropIsOutsideTheRoot) {
  const NNOptimizerRMSProp rms(device(), 0.9, 0.5F, with_rate(0.01F));
  const Vector w = vector_of({0.5F}), s = zeros(1);
  run([&](const CommandBuffer& commands) { rms.encode(commands, vector_of({0.1F}), w, s, w); });
  expect_close(read(w), {0.498118966974});
}

TEST(Optimizer, O4cEpsilonHat) {
  NNOptimizerAdam adam(device(), 0.9, 0.999, 1e-3F, 0, with_rate(0.01F));
  const Vector w = vector_of({0.5F}), m = zeros(1), v = zeros(1);
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, vector_of({1e-3F}), w, m, v, w);
  });
  EXPECT_NEAR(read(w)[0], 0.4996934657, 1e-7);
}

TEST(Optimizer, O4dResume) {
  NNOptimizerAdam adam(device(), 0.01F);
  adam.setTimeStep(9);
  const Vector w = vector_of({0.5F}), m = vector_of({0.02F}), v = vector_of({0.003F});
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, vector_of({0.1F}), w, m, v, w);
    EXPECT_EQ(adam.timeStep(), 10U);
  });
  expect_close(read(m), {0.028});
  expect_close(read(v), {0.003007});
  expect_close(read(w), {0.499217797808});
  EXPECT_EQ(adam.timeStep(), 10U);
}

// ---- against the double-precision oracle -------------------------------------------------------

TEST(Optimizer, RandomValuesAgainstDouble) {
  constexpr std::size_t count = 33001;  // several threads and a tail
  const Floats w = test::floats(count, 1), g = test::floats(count, 2, -3, 3),
               moment = test::floats(count, 3), square = test::floats(count, 4, 0.01F, 2),
               largest = test::floats(count, 5, 0.01F, 2);
  for (const auto type :
       {NNRegularizationType::None, NNRegularizationType::L1, NNRegularizationType::L2}) {
    for (const bool clip : {false, true}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(type)) + (clip ? " clipped" : ""));
      const NNOptimizerDescriptor descriptor(0.03F, 0.7F, clip, 1.5F, -0.5F, type, 0.01F);
      const GradientPreparation preparation{clip ? 1 : 0, static_cast<std::int32_t>(type)};
      const oracle::PreparationScalars scalars{0.7F, -0.5F, 1.5F, 0.01F};
      const Vector gradient = vector_of(g), values = vector_of(w), m = vector_of(moment),
                   v = vector_of(square), x = vector_of(largest), result = zeros(count);
      // Scales: the largest terms of the sums, so that cancellation does not count. Squares stay
      // away from 0, where the step is any number of ulp wrong for a gradient that is one wrong.
      // Sums of squares have one ulp more: squaring doubles the roundings of the prepared gradient.
      for (const bool nesterov : {false, true}) {
        const Sgd sgd(device(), 0.9F, nesterov, descriptor);
        write(m, moment);
        run([&](const CommandBuffer& c) { sgd.encode(c, gradient, values, m, result); });
        const auto wanted = oracle::stochastic_gradient_descent({preparation, nesterov ? 1 : 0},
                                                                {scalars, 0.03F, 0.9F}, doubles(g),
                                                                {doubles(w), doubles(moment)});
        expect_close(read(m), wanted.momentum, 1, 1, "momentum");
        expect_close(read(result), wanted.values, 1, 1);
      }
      const NNOptimizerRMSProp rms(device(), 0.8, 1e-6F, descriptor);
      run([&](const CommandBuffer& c) { rms.encode(c, gradient, values, v, result); });
      const auto wanted = oracle::rms_prop(
          {preparation}, {scalars, 0.03F, double{0.8F}, double{static_cast<float>(1 - 0.8)}, 1e-6F},
          doubles(g), {doubles(w), doubles(square)});
      expect_close(read(v), wanted.sumOfSquares, 1, 0, "sum of squares", 3);
      expect_close(read(result), wanted.values, 1, 0.25);

      for (const bool amsgrad : {false, true}) {
        NNOptimizerAdam adam(device(), 0.8, 0.99, 1e-6F, 4, descriptor);
        write(m, moment);
        write(v, square);
        run([&](const CommandBuffer& c) {
          adam.encode(c, gradient, values, m, v, amsgrad ? x : Vector(), result);
        });
        const float rate =
            static_cast<float>(oracle::adam_step_learning_rate(double{0.03F}, 0.8, 0.99, 5));
        const auto after = oracle::adam(
            {preparation},
            {scalars, rate, double{0.8F}, double{static_cast<float>(1 - 0.8)}, double{0.99F},
             double{static_cast<float>(1 - 0.99)}, 1e-6F},
            doubles(g),
            {doubles(w), doubles(moment), doubles(square), amsgrad ? doubles(largest) : Doubles()});
        expect_close(read(m), after.momentum, 1, 0.5);
        expect_close(read(v), after.velocity, 1, 0, "velocity", 3);
        expect_close(read(result), after.values, 1, 1);
        if (amsgrad) expect_close(read(x), after.maximumVelocity, 1, 0, "maximum", 3);
        write(x, largest);
      }
    }
  }
}

}  // namespace
}  // namespace cermet::optimizer_test
