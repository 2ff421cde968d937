// Losses of the oracle against the specification's numbers and against differences.

#include <limits>
#include <string>

#include "help.h"
#include "loss.h"

namespace cermet::oracle {
namespace {

using Kind = CNNLossType;
using Reduction = CNNReductionType;

/// The examples' common shape.
Tensor pixels(Values values) {
  const int count = static_cast<int>(values.size());
  return tensor(1, 1, count / 2, 2, std::move(values));
}
const Tensor example_a = pixels({0.5, -1, 2, 0.25}), example_b = pixels({1, 0, 0, 1}),
             example_r = pixels({0.2, -0.4, 2, 3}), example_q = pixels({0.7, 0.3, 0.4, 0.9}),
             example_s = pixels({1, 0, 0.25, 0.75}), example_wa = pixels({1, 0, 0.5, 2});

Loss loss_of(Kind type, Reduction reduction = Reduction::Sum, int classes = 1, int across = 0) {
  return {.type = type,
          .reduction = reduction,
          .reduceAcrossBatch = across,
          .numberOfClasses = classes};
}
/// One row of the specification's examples: a loss on one pair of images.
struct LossExample {
  Kind type;
  Tensor y, t;
  LossScalars s = {};
  int classes = 1;

  [[nodiscard]] Values elements() const {
    return loss(loss_of(type, Reduction::None, classes), s, y, t, no_tensor).v;
  }
  [[nodiscard]] double reduced(Reduction reduction, const Tensor& weights = {}) const {
    return loss(loss_of(type, reduction, classes), s, y, t, weights).v.at(0);
  }
  [[nodiscard]] Values by_prediction(Reduction reduction = Reduction::Sum,
                                     const Tensor& weights = {}, int exact = 0) const {
    const LossGradient op{.forward = loss_of(type, reduction, classes), .exactSoftMax = exact};
    return loss_gradient(op, s, no_tensor, y, t, weights).v;
  }
  [[nodiscard]] Values by_label() const {
    const LossGradient op{.forward = loss_of(type, Reduction::Sum, classes), .byLabels = 1};
    return loss_gradient(op, s, no_tensor, y, t, no_tensor).v;
  }
};
void expect_number(double got, double wanted) { expect_values({got}, {wanted}); }

TEST(SpecLoss17, E1MeanAbsoluteError) {
  const LossExample e{Kind::MeanAbsoluteError, example_a, example_r};
  expect_values(e.elements(), {0.3, 0.6, 0, 2.75});
  expect_number(e.reduced(Reduction::Sum), 3.65);
  expect_number(e.reduced(Reduction::Mean), 0.9125);
  expect_values(e.by_prediction(), {1, -1, 0, -1});
  expect_values(e.by_prediction(Reduction::Mean), {0.25, -0.25, 0, -0.25});
  expect_values(e.by_label(), {-1, 1, 0, 1});
  expect_number(e.reduced(Reduction::Sum, example_wa), 5.8);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 1.933333333);
  expect_values(e.by_prediction(Reduction::SumByNonZeroWeights, example_wa),
                {0.3333333333, 0, 0, -0.6666666667});
}

TEST(SpecLoss17, E2MeanSquaredError) {
  const LossExample e{Kind::MeanSquaredError, example_a, example_r};
  expect_values(e.elements(), {0.09, 0.36, 0, 7.5625});
  expect_number(e.reduced(Reduction::Sum), 8.0125);
  expect_number(e.reduced(Reduction::Mean), 2.003125);
  expect_values(e.by_prediction(), {0.6, -1.2, 0, -5.5});
  expect_values(e.by_label(), {-0.6, 1.2, 0, 5.5});
  expect_number(e.reduced(Reduction::Sum, example_wa), 15.215);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 5.071666667);
  expect_values(e.by_prediction(Reduction::SumByNonZeroWeights, example_wa),
                {0.2, 0, 0, -3.666666667});
}

TEST(SpecLoss17, E3aSoftMaxCrossEntropy) {
  const LossExample e{Kind::SoftMaxCrossEntropy, example_a, example_b};
  expect_values(e.elements(), {0.2014132780, 0, 0, 1.910224150});
  expect_number(e.reduced(Reduction::Sum), 2.111637428);
  expect_number(e.reduced(Reduction::Mean), 1.055818714);
  const Values by_prediction{-0.1824255238, 0.1824255238, 0.8519528020, -0.8519528020};
  expect_values(e.by_prediction(), by_prediction);
  expect_values(e.by_prediction(Reduction::Mean), scaled(by_prediction, 0.5));
  expect_values(e.by_label(), {0.2014132780, 1.701413278, 0.1602241504, 1.910224150});
  const auto weights = pixels({2, 2, 0, 0});
  expect_number(e.reduced(Reduction::Sum, weights), 0.4028265560);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, weights), 0.2014132780);
  expect_values(e.by_prediction(Reduction::SumByNonZeroWeights, weights),
                {-0.1824255238, 0.1824255238, 0, 0});
}

TEST(SpecLoss17, E3bSmoothedSoftMaxCrossEntropy) {
  const LossExample e{Kind::SoftMaxCrossEntropy, example_a, example_b, {.labelSmoothing = 0.1}, 2};
  expect_values(e.elements(), {0.1913426141, 0.08507066390, 0.008011207522, 1.814712943});
  expect_number(e.reduced(Reduction::Sum), 2.099137428);
  expect_number(e.reduced(Reduction::Mean), 1.049568714);
  expect_values(e.by_prediction(), {-0.1324255238, 0.1324255238, 0.8019528020, -0.8019528020});
  expect_values(e.by_label(), {0.1812719502, 1.531271950, 0.1442017354, 1.719201735});
}

TEST(SpecLoss17, E3cSmoothingWithOneClass) {
  const LossExample e{
      Kind::SoftMaxCrossEntropy, pixels({0.5, -1}), pixels({1, 0}), {.labelSmoothing = 0.1}};
  expect_values(e.elements(), {0.2014132780, 0.1701413278});
  expect_values(e.by_prediction(), {-0.1824255238, 0.08242552381});
}

TEST(SpecLoss17, E3dUnequalWeights) {
  const LossExample e{Kind::SoftMaxCrossEntropy, tensor(1, 1, 1, 3, {0.5, -1, 0}),
                      tensor(1, 1, 1, 3, {0, 1, 0})};
  const auto weights = tensor(1, 1, 1, 3, {1, 3, 0.5});
  expect_values(soft_max({}, e.y).v, {0.5465493873, 0.1219516523, 0.3314989604});
  expect_values(e.by_prediction(Reduction::Sum, weights),
                {0.5465493873, -2.634145043, 0.1657494802});
  expect_values(e.by_prediction(Reduction::Sum, weights, 1),
                {1.639648162, -2.634145043, 0.9944968813});
}

TEST(SpecLoss17, E3eStability) {
  const LossExample e{Kind::SoftMaxCrossEntropy, tensor(1, 1, 1, 3, {1000, 0, -1000}),
                      tensor(1, 1, 1, 3, {0, 1, 0})};
  expect_values(e.elements(), {0, 1000, 0});
  expect_values(e.by_prediction(), {1, -1, 0});
}

TEST(SpecLoss17, E4aSigmoidCrossEntropy) {
  const LossExample e{Kind::SigmoidCrossEntropy, example_a, example_b};
  expect_values(e.elements(), {0.4740769842, 0.3132616875, 2.126928011, 0.5759394199});
  expect_number(e.reduced(Reduction::Sum), 3.490206103);
  expect_number(e.reduced(Reduction::Mean), 0.8725515257);
  expect_values(e.by_prediction(), {-0.3775406688, 0.2689414214, 0.8807970780, -0.4378234991});
  expect_values(e.by_label(), {-0.5, 1, -2, -0.25});
  expect_number(e.reduced(Reduction::Sum, example_wa), 2.689419829);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 0.8964732765);
}

TEST(SpecLoss17, E4bSmoothedSigmoidCrossEntropy) {
  const LossExample e{Kind::SigmoidCrossEntropy, example_a, example_b, {.labelSmoothing = 0.1}};
  expect_values(e.elements(), {0.4990769842, 0.3632616875, 2.026928011, 0.5884394199});
  expect_number(e.reduced(Reduction::Sum), 3.477706103);
  expect_values(e.by_prediction(), {-0.3275406688, 0.2189414214, 0.8307970780, -0.3878234991});
  expect_values(e.by_label(), {-0.45, 0.9, -1.8, -0.225});
}

TEST(SpecLoss17, E4cStability) {
  const LossExample e{Kind::SigmoidCrossEntropy, pixels({1000, 1000, -1000, -1000}),
                      pixels({0, 1, 0, 1})};
  expect_values(e.elements(), {1000, 0, 0, 1000});
  expect_values(e.by_prediction(), {1, 0, 0, -1});
}

TEST(SpecLoss17, E5CategoricalCrossEntropy) {
  const LossExample e{Kind::CategoricalCrossEntropy, example_q, example_s};
  expect_values(e.elements(), {0.3566749439, 0, 0.2290726830, 0.07902038674});
  expect_number(e.reduced(Reduction::Sum), 0.6647680137);
  expect_number(e.reduced(Reduction::Mean), 0.1661920034);
  expect_values(e.by_prediction(), {-1.428571429, 0, -0.625, -0.8333333333});
  expect_values(e.by_label(), {0.3566749439, 1.203972804, 0.9162907319, 0.1053605157});
  expect_number(e.reduced(Reduction::Sum, example_wa), 0.6292520589);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 0.2097506863);
}

TEST(SpecLoss17, E6Hinge) {
  const LossExample e{Kind::Hinge, example_a, example_b};
  expect_values(e.elements(), {0.5, 0, 3, 0.75});
  expect_number(e.reduced(Reduction::Sum), 4.25);
  expect_number(e.reduced(Reduction::Mean), 1.0625);
  expect_values(e.by_prediction(), {-1, 0, 1, -1});
  expect_values(e.by_label(), {-1, 0, -4, -0.5});
  expect_number(e.reduced(Reduction::Sum, example_wa), 3.5);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 1.166666667);
}

TEST(SpecLoss17, E7Huber) {
  const LossExample e{Kind::Huber, example_a, example_r};
  expect_values(e.elements(), {0.045, 0.18, 0, 2.25});
  expect_number(e.reduced(Reduction::Sum), 2.475);
  expect_number(e.reduced(Reduction::Mean), 0.61875);
  expect_values(e.by_prediction(), {0.3, -0.6, 0, -1});
  expect_values(e.by_label(), {-0.3, 0.6, 0, 1});
  expect_number(e.reduced(Reduction::Sum, example_wa), 4.545);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 1.515);
  const LossExample b{Kind::Huber, example_a, example_r, {.delta = 0.5}};
  expect_values(b.elements(), {0.045, 0.175, 0, 1.25});
  expect_number(b.reduced(Reduction::Sum), 1.47);
  expect_values(b.by_prediction(), {0.3, -0.5, 0, -0.5});
}

TEST(SpecLoss17, E8CosineDistance) {
  const auto y = pixels({0.6, 0.8, 1, 0}), t = pixels({0.8, 0.6, 0.5, 0.5});
  const LossExample e{Kind::CosineDistance, y, t}, heavy{Kind::CosineDistance, y, t, {.weight = 3}};
  expect_number(e.reduced(Reduction::Sum), -0.46);
  expect_values(e.by_prediction(), {-0.8, -0.6, -0.5, -0.5});
  expect_values(e.by_label(), {-0.6, -0.8, -1, 0});
  expect_number(heavy.reduced(Reduction::Sum), -1.38);
  expect_values(heavy.by_prediction(), {-2.4, -1.8, -1.5, -1.5});
  const LossExample first{Kind::CosineDistance, pixels({0.6, 0.8}), pixels({0.8, 0.6})};
  expect_number(first.reduced(Reduction::Sum), 0.04);
}

TEST(SpecLoss6_3, Item8CosineDistanceIgnoresTheWeightsImage) {
  const LossExample e{Kind::CosineDistance, example_a, example_b, {.weight = 3}};
  expect_number(e.reduced(Reduction::Sum, example_wa), e.reduced(Reduction::Sum));
  expect_values(e.by_prediction(Reduction::Sum, example_wa), e.by_prediction());
  // Across the batch the losses of the images add: N * weight - weight * sum.
  const auto y = tensor(2, 1, 1, 2, {1, 2, 3, 5}), t = tensor(2, 1, 1, 2, {1, 1, 0, 1});
  expect_values(loss(loss_of(e.type, Reduction::Sum, 1, 1), e.s, y, t, no_tensor).v, {-18, 0});
}

TEST(SpecLoss17, E9Log) {
  const LossExample e{Kind::Log, example_q, example_s};
  expect_values(e.elements(), {0.3566748011, 0.3566748011, 0.6121917133, 0.6546663267});
  expect_number(e.reduced(Reduction::Sum), 1.980207642);
  expect_number(e.reduced(Reduction::Mean), 0.4950519105);
  expect_values(e.by_prediction(), {-1.428571224, 1.428571224, 0.6249999479, 1.666664259});
  expect_values(e.by_label(), {-0.8472976699, 0.8472976699, 0.4054650248, -2.197223688});
  const LossExample b{Kind::Log, example_q, example_s, {.epsilon = 0.1}};
  expect_values(b.elements(), {0.2231435513, 0.2231435513, 0.4407930031, 0.4023594781});
  expect_number(b.reduced(Reduction::Sum), 1.289439584);
  expect_values(b.by_prediction(), {-1.25, 1.25, 0.5714285714, 0.5});
  expect_values(b.by_label(), {-0.6931471806, 0.6931471806, 0.3364722366, -1.609437912});
}

TEST(SpecLoss17, E10KullbackLeibler) {
  const LossExample e{Kind::KullbackLeiblerDivergence, pixels({-0.5, -1.2, -2, -0.1}),
                      pixels({0.6, 0.4, 0, 1})};
  expect_values(e.elements(), {-0.006495374260, 0.1134837073, 0, 0.1});
  expect_number(e.reduced(Reduction::Sum), 0.2069883330);
  expect_number(e.reduced(Reduction::Mean), 0.05174708325);
  expect_values(e.by_prediction(), {-0.6, -0.4, 0, -1});
  expect_values(e.by_label(), {0.9891743762, 1.283709268, 0, 1.1});
  const LossGradient published{.forward = loss_of(e.type), .publishedKullbackLeibler = 1};
  const auto g = loss_gradient(published, e.s, no_tensor, e.y, e.t, no_tensor);
  expect_values({g.v[0], g.v[1]}, {1.2, 0.3333333333});
}

TEST(SpecLoss17, E11Batch) {
  const auto y = tensor(2, 1, 1, 2, {1, 2, 3, 5}), t = tensor(2, 1, 1, 2, {0, 0, 1, 1});
  const auto g = tensor(2, 1, 1, 1, {1, 7});
  const LossScalars half{.weight = 0.5};
  const auto check = [&](Reduction reduction, int across, const Values& losses,
                         const Values& back) {
    const auto op = loss_of(Kind::MeanSquaredError, reduction, 1, across);
    expect_values(loss(op, half, y, t, no_tensor).v, losses);
    expect_values(loss_gradient({.forward = op}, half, g, y, t, no_tensor).v, back);
    const LossGradient fused{.forward = op, .ignoreReduction = 1};  // CNNLoss
    expect_values(loss_gradient(fused, half, no_tensor, y, t, no_tensor).v, {1, 2, 2, 4});
  };
  check(Reduction::Sum, 0, {2.5, 10}, {1, 2, 14, 28});
  check(Reduction::Sum, 1, {12.5, 0}, {1, 2, 2, 4});
  check(Reduction::Mean, 0, {1.25, 5}, {0.5, 1, 7, 14});
  check(Reduction::Mean, 1, {3.125, 0}, {0.25, 0.5, 0.5, 1});

  const auto weights = tensor(2, 1, 1, 2, {1, 0, 2, 3}), ones = filled(2, 1, 1, 1, 1);
  const auto check_weighted = [&](int across, const Values& losses, const Values& back) {
    const auto op = loss_of(Kind::MeanSquaredError, Reduction::SumByNonZeroWeights, 1, across);
    expect_values(loss(op, {}, y, t, weights).v, losses);
    expect_values(loss_gradient({.forward = op}, {}, ones, y, t, weights).v, back);
  };
  check_weighted(0, {1, 28}, {2, 0, 4, 12});
  check_weighted(1, {19, 0}, {0.6666666667, 0, 2.666666667, 8});
}

TEST(SpecLoss6And7, NothingButZeroWeights) {
  const auto zeros = pixels({0, 0, 0, 0});
  const LossExample e{Kind::CategoricalCrossEntropy, pixels({0, 0.5, 0, 1}), pixels({1, 1, 1, 1})};
  for (const auto reduction : {Reduction::Sum, Reduction::Mean, Reduction::SumByNonZeroWeights}) {
    EXPECT_EQ(e.reduced(reduction, zeros), 0);  // -log(0) silenced
    EXPECT_EQ(e.by_prediction(reduction, zeros), Values(4, 0));
  }
  EXPECT_EQ(e.reduced(Reduction::Sum), std::numeric_limits<double>::infinity());
  const LossExample silent{Kind::CategoricalCrossEntropy, pixels({0, 1}), pixels({0, 1})};
  EXPECT_EQ(silent.reduced(Reduction::Sum), 0);  // t = 0 and y = 0
  EXPECT_EQ(silent.by_prediction(), (Values{0, -1}));
}

TEST(Loss, GradientsAgainstDifferences) {
  constexpr int n = 2, h = 3, w = 1, c = 3, label_channels = 4;
  const auto weights = [] {
    auto t = random(n, h, w, label_channels, 31, 0.5, 2);
    for (std::size_t i = 0; i < t.v.size(); i += 5) t.v[i] = 0;
    return t;
  }();
  for (unsigned type = 0; type < 10; ++type)
    for (int reduction = 0; reduction < 4; ++reduction)
      for (const int across : {0, 1})
        for (const bool weighted : {false, true})
          for (const double smoothing : {0.0, 0.1}) {
            const auto kind = static_cast<Kind>(type);
            if (kind == Kind::CosineDistance && static_cast<Reduction>(reduction) != Reduction::Sum)
              continue;  // the only reduction that it has
            const auto op = loss_of(kind, static_cast<Reduction>(reduction), 5, across);
            const LossScalars s{1.25, smoothing, 0.01, 0.4};
            const auto y = random(n, h, w, c, type + 1, 0.05, 0.95);
            const auto t = random(n, h, w, label_channels, type + 50, 0.05, 0.95);
            const auto& used = weighted ? weights : no_tensor;
            const auto g = like(loss(op, s, y, t, used));
            const auto incoming = random(g.n, g.h, g.w, g.c, 77);
            const auto objective = [&](const Values& a, const Values& b) {
              return dot(
                  loss(op, s, tensor(n, h, w, c, a), tensor(n, h, w, label_channels, b), used).v,
                  incoming.v);
            };
            std::string text = "type " + std::to_string(type);
            text += " reduction " + std::to_string(reduction);
            text += " across " + std::to_string(across) + (weighted ? " weighted" : "");
            const LossGradient predictions{.forward = op, .exactSoftMax = 1};
            const LossGradient labels{.forward = op, .byLabels = 1};
            expect_gradient(
                loss_gradient(predictions, s, incoming, y, t, used).v,
                [&](const Values& v) { return objective(v, t.v); }, y.v, text);
            expect_gradient(
                loss_gradient(labels, s, incoming, y, t, used).v,
                [&](const Values& v) { return objective(y.v, v); }, t.v, text + " labels");
          }
}

}  // namespace
}  // namespace cermet::oracle
