// Batch normalisation of the oracle against the specification's numbers and against differences.

#include "batch_normalization.h"

#include "help.h"

namespace cermet::oracle {
namespace {

using Type = CNNNeuronType;

TEST(SpecNormalization12, E4BatchNormalization) {
  const auto source = tensor(2, 1, 2, 1, {1, 2, 3, 6}), g = tensor(2, 1, 2, 1, {1, 0, 0, 2});
  const auto sums = batch_normalization_statistics({}, source);
  expect_values(sums.mean, {3});
  expect_values(sums.variance(), {3.5});
  const BatchNormalization op{.epsilon = 0.5F, .activation = {}};
  const BatchNormalizationArrays arrays{sums.mean, sums.variance(), {2}, {0.5}, {}};
  expect_values(batch_normalization(op, source, arrays).v, {-1.5, -0.5, 0.5, 3.5});
  const auto back = batch_normalization_statistics_gradient({op}, g, source, arrays);
  expect_values(back.beta, {3});
  expect_values(back.gamma, {2});
  expect_values(batch_normalization_gradient({op}, g, source, arrays, back, sums.count).v,
                {0.75, -0.5, -0.75, 0.5});
  const BatchNormalizationGradient frozen{.forward = op, .fixedStatistics = 1};
  expect_values(batch_normalization_gradient(frozen, g, source, arrays, back, sums.count).v,
                {1, 0, 0, 2});
}

TEST(SpecNormalization12, E4SubBatchesMerge) {
  const auto first = batch_normalization_statistics({}, tensor(1, 1, 2, 1, {1, 2}));
  expect_values(first.mean, {1.5});
  expect_values(first.m2, {0.5});
  const auto alone = batch_normalization_statistics({}, tensor(1, 1, 2, 1, {3, 6}));
  expect_values(alone.mean, {4.5});
  expect_values(alone.m2, {4.5});
  const BatchNormalizationStatistics more{.restart = 0};
  const auto both = batch_normalization_statistics(more, tensor(1, 1, 2, 1, {3, 6}), first);
  EXPECT_EQ(both.count, 4);
  expect_values(both.mean, {3});
  expect_values(both.m2, {14});
}

TEST(BatchNormalization, UnequalSubBatchesMergeToTheWhole) {
  const auto whole = random(3, 5, 1, 2, 17, -3, 4);
  const auto split = whole.v.begin() + 10;  // one image, then two
  const auto first =
      batch_normalization_statistics({}, tensor(1, 5, 1, 2, {whole.v.begin(), split}));
  const BatchNormalizationStatistics more{.restart = 0};
  const auto merged =
      batch_normalization_statistics(more, tensor(2, 5, 1, 2, {split, whole.v.end()}), first);
  const auto at_once = batch_normalization_statistics({}, whole, first);  // restart forgets `first`
  EXPECT_EQ(at_once.count, 15);
  EXPECT_EQ(merged.count, 15);
  expect_values(merged.mean, at_once.mean, "", 1e-12);
  expect_values(merged.m2, at_once.m2, "", 1e-12);
}

TEST(SpecNormalization12, E4FusedSigmoid) {
  const auto source = tensor(2, 1, 2, 1, {1, 2, 3, 6}), g = tensor(2, 1, 2, 1, {1, 0, 0, 2});
  const BatchNormalization op{.epsilon = 0.5F, .activation = {.type = Type::Sigmoid}};
  const BatchNormalizationArrays arrays{{3}, {3.5}, {2}, {0.5}, {}};
  expect_values(batch_normalization(op, source, arrays).v,
                {0.182425523806, 0.377540668798, 0.622459331202, 0.970687769249});
  const auto back = batch_normalization_statistics_gradient({op}, g, source, arrays);
  expect_values(back.gamma, {-0.063787380431});
  expect_values(back.beta, {0.20605249983});
  expect_values(batch_normalization_gradient({op}, g, source, arrays, back, 4).v,
                {0.081686482005, -0.059486547511, -0.051513124957, 0.029313190464});
}

TEST(BatchNormalization, GradientsAgainstDifferences) {
  for (const auto type : {Type::None, Type::TanH, Type::PReLU})
    for (const int fixed : {0, 1}) {
      BatchNormalization op{.epsilon = 1e-3F, .activation = {.type = type}};
      op.activation.a = 1.5F;
      op.activation.b = 0.5F;
      const auto x = random(3, 2, 3, 2, 21, -2, 2), g = random(3, 2, 3, 2, 22);
      const auto statistics = batch_normalization_statistics({}, x);
      const auto arrays_of = [&](const Tensor& t, const Values& gamma, const Values& beta) {
        const auto sums = fixed != 0 ? statistics : batch_normalization_statistics({}, t);
        return BatchNormalizationArrays{sums.mean, sums.variance(), gamma, beta, {0.3, -0.2}};
      };
      const Values gamma{1.5, -0.5}, beta{0.25, 0.5};
      const auto objective = [&](const Tensor& t, const Values& a, const Values& b) {
        return dot(batch_normalization(op, t, arrays_of(t, a, b)).v, g.v);
      };
      const auto arrays = arrays_of(x, gamma, beta);
      const auto back = batch_normalization_statistics_gradient({op}, g, x, arrays);
      expect_gradient(
          back.gamma, [&](const Values& v) { return objective(x, v, beta); }, gamma);
      expect_gradient(
          back.beta, [&](const Values& v) { return objective(x, gamma, v); }, beta);
      const BatchNormalizationGradient op_back{.forward = op, .fixedStatistics = fixed};
      expect_gradient(
          batch_normalization_gradient(op_back, g, x, arrays, back, statistics.count).v,
          [&](const Values& v) { return objective(tensor(3, 2, 3, 2, v), gamma, beta); }, x.v);
      const BatchNormalizationStatisticsGradient more{.forward = op, .accumulate = 1};
      const auto twice = batch_normalization_statistics_gradient(more, g, x, arrays, back);
      expect_values(twice.gamma, scaled(back.gamma, 2));
      expect_values(twice.beta, scaled(back.beta, 2));
    }
}

}  // namespace
}  // namespace cermet::oracle
