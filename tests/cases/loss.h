#pragma once
// Losses: ten types by four reductions, across the batch or not, weights, smoothing; sizes; the
// specification's examples.

#include <limits>

#include "../harness/loss.h"

namespace cermet::test {

namespace loss_table {

using Type = CNNLossType;
using Reduction = CNNReductionType;

inline constexpr const char* type_names[] = {"MeanAbsoluteError",
                                             "MeanSquaredError",
                                             "SoftMaxCrossEntropy",
                                             "SigmoidCrossEntropy",
                                             "CategoricalCrossEntropy",
                                             "Hinge",
                                             "Huber",
                                             "CosineDistance",
                                             "Log",
                                             "KullbackLeiblerDivergence"};
inline constexpr const char* reduction_names[] = {"None", "Sum", "Mean", "SumByNonZeroWeights"};

/// Every combination that is allowed.
inline std::vector<LossRow> combinations() {
  std::vector<LossRow> rows;
  for (int type = 0; type < 10; ++type)
    for (int reduction = 0; reduction < 4; ++reduction)
      for (const bool across : {false, true})
        for (const bool weighted : {false, true})
          for (const bool smooth : {false, true}) {
            const auto t = static_cast<Type>(type);
            if (t == Type::CosineDistance && reduction != 1) continue;
            if (smooth && t != Type::SoftMaxCrossEntropy && t != Type::SigmoidCrossEntropy)
              continue;
            LossRow row;
            row.name = std::string(type_names[type]) + "_" + reduction_names[reduction] +
                       (across ? "_across_batch" : "") + (weighted ? "_weights" : "") +
                       (smooth ? "_smoothing" : "");
            row.type = t;
            row.reduction = static_cast<Reduction>(reduction);
            row.across = across;
            row.weighted = weighted;
            row.smoothing = smooth ? 0.1F : 0;
            row.classes = 4;
            row.weight = 0.75F;
            row.epsilon = 1e-3F;
            row.delta = 0.5F;
            row.quick = reduction == 2;
            rows.push_back(row);
          }
  return rows;
}

/// An example of the specification: one image of 2 x 1 x 2 unless `source` says otherwise.
struct Example {
  std::string name{};
  Type type{};
  std::vector<float> y{}, t{}, w{};
  std::vector<double> loss{}, by_y{}, by_t{};
  double sum = 0;
  Shape source{2, 1, 2};
  float smoothing = 0, epsilon = 1e-7F, delta = 1;
  std::size_t classes = 1;
  bool exact = false;
};
/// Its element-wise row, and the row of its sum.
inline std::vector<LossRow> rows_of(const Example& e) {
  LossRow row;
  row.name = e.name;
  row.type = e.type;
  row.reduction = Reduction::None;
  row.source = e.source;
  row.predictions = e.y;
  row.labels = e.t;
  row.weights = e.w;
  row.weighted = !e.w.empty();
  row.smoothing = e.smoothing;
  row.epsilon = e.epsilon;
  row.delta = e.delta;
  row.classes = e.classes;
  row.switches.softmax_cross_entropy_exact_gradient = e.exact;
  row.losses = e.loss;
  row.by_prediction = row.cnn_loss_gradient = e.by_y;
  row.by_label = e.by_t;
  row.incoming = std::vector<float>(e.y.size(), 1);
  row.quick = true;
  LossRow sum = row;
  sum.name += "_sum";
  sum.reduction = Reduction::Sum;
  sum.incoming = {1};
  sum.losses = {e.sum};
  if (e.type == Type::CosineDistance) return {sum};
  return {row, sum};
}

inline const std::vector<float> A{0.5F, -1, 2, 0.25F}, B{1, 0, 0, 1}, R{0.2F, -0.4F, 2, 3},
    Q{0.7F, 0.3F, 0.4F, 0.9F}, S{1, 0, 0.25F, 0.75F}, WA{1, 0, 0.5F, 2};

/// E11: two images of one pixel and two channels, weight 1/2, source gradients 1 and 7.
inline LossRow example_11(const char* name, Reduction reduction, bool across,
                          std::vector<double> losses, std::vector<double> gradient) {
  return {.name = name,
          .type = Type::MeanSquaredError,
          .reduction = reduction,
          .across = across,
          .source = {1, 1, 2},
          .weight = 0.5F,
          .predictions = {1, 2, 3, 5},
          .labels = {0, 0, 1, 1},
          .incoming = {1, 7},
          .losses = std::move(losses),
          .by_prediction = std::move(gradient),
          .cnn_loss_gradient = {1, 2, 2, 4},
          .quick = true};
}
inline LossRow example_11_weights(const char* name, bool across, std::vector<double> losses,
                                  std::vector<double> gradient) {
  LossRow row = example_11(name, Reduction::SumByNonZeroWeights, across, std::move(losses),
                           std::move(gradient));
  row.weight = 1;
  row.weighted = true;
  row.weights = {1, 0, 2, 3};
  row.incoming = {1, 1};
  row.cnn_loss_gradient = {};
  return row;
}
/// The mean, or the sum by non-zero weights, of an example.
inline LossRow reduced(const char* name, Type type, Reduction reduction, std::vector<float> y,
                       std::vector<float> t, std::vector<float> w, double loss,
                       std::vector<double> gradient = {}) {
  return {.name = name,
          .type = type,
          .reduction = reduction,
          .weighted = !w.empty(),
          .source = {2, 1, 2},
          .predictions = std::move(y),
          .labels = std::move(t),
          .weights = std::move(w),
          .incoming = {1},
          .losses = {loss},
          .by_prediction = std::move(gradient),
          .quick = true};
}

inline std::vector<LossRow> examples() {
  const std::vector<Example> list{
      {.name = "E1",
       .type = Type::MeanAbsoluteError,
       .y = A,
       .t = R,
       .loss = {0.3, 0.6, 0, 2.75},
       .by_y = {1, -1, 0, -1},
       .by_t = {-1, 1, 0, 1},
       .sum = 3.65},
      {.name = "E2",
       .type = Type::MeanSquaredError,
       .y = A,
       .t = R,
       .loss = {0.09, 0.36, 0, 7.5625},
       .by_y = {0.6, -1.2, 0, -5.5},
       .by_t = {-0.6, 1.2, 0, 5.5},
       .sum = 8.0125},
      {.name = "E3a",
       .type = Type::SoftMaxCrossEntropy,
       .y = A,
       .t = B,
       .loss = {0.2014132780, 0, 0, 1.910224150},
       .by_y = {-0.1824255238, 0.1824255238, 0.8519528020, -0.8519528020},
       .by_t = {0.2014132780, 1.701413278, 0.1602241504, 1.910224150},
       .sum = 2.111637428},
      {.name = "E3b",
       .type = Type::SoftMaxCrossEntropy,
       .y = A,
       .t = B,
       .loss = {0.1913426141, 0.08507066390, 0.008011207522, 1.814712943},
       .by_y = {-0.1324255238, 0.1324255238, 0.8019528020, -0.8019528020},
       .by_t = {0.1812719502, 1.531271950, 0.1442017354, 1.719201735},
       .sum = 2.099137428,
       .smoothing = 0.1F,
       .classes = 2},
      {.name = "E3c_one_class",
       .type = Type::SoftMaxCrossEntropy,
       .y = {0.5F, -1},
       .t = {1, 0},
       .loss = {0.2014132780, 0.1701413278},
       .by_y = {-0.1824255238, 0.08242552381},
       .sum = 0.3715546058,
       .source = {1, 1, 2},
       .smoothing = 0.1F},
      {.name = "E3d",
       .type = Type::SoftMaxCrossEntropy,
       .y = {0.5F, -1, 0},
       .t = {0, 1, 0},
       .w = {1, 3, 0.5F},
       .loss = {0, 6.312390870, 0},
       .by_y = {0.5465493873, -2.634145043, 0.1657494802},
       .sum = 6.312390870,
       .source = {1, 1, 3}},
      {.name = "E3d_exact",
       .type = Type::SoftMaxCrossEntropy,
       .y = {0.5F, -1, 0},
       .t = {0, 1, 0},
       .w = {1, 3, 0.5F},
       .loss = {0, 6.312390870, 0},
       .by_y = {1.639648162, -2.634145043, 0.9944968813},
       .sum = 6.312390870,
       .source = {1, 1, 3},
       .exact = true},
      {.name = "E3e_stability",
       .type = Type::SoftMaxCrossEntropy,
       .y = {1000, 0, -1000},
       .t = {0, 1, 0},
       .loss = {0, 1000, 0},
       .by_y = {1, -1, 0},
       .sum = 1000,
       .source = {1, 1, 3}},
      {.name = "E4a",
       .type = Type::SigmoidCrossEntropy,
       .y = A,
       .t = B,
       .loss = {0.4740769842, 0.3132616875, 2.126928011, 0.5759394199},
       .by_y = {-0.3775406688, 0.2689414214, 0.8807970780, -0.4378234991},
       .by_t = {-0.5, 1, -2, -0.25},
       .sum = 3.490206103},
      {.name = "E4b",
       .type = Type::SigmoidCrossEntropy,
       .y = A,
       .t = B,
       .loss = {0.4990769842, 0.3632616875, 2.026928011, 0.5884394199},
       .by_y = {-0.3275406688, 0.2189414214, 0.8307970780, -0.3878234991},
       .by_t = {-0.45, 0.9, -1.8, -0.225},
       .sum = 3.477706103,
       .smoothing = 0.1F},
      {.name = "E4c_stability",
       .type = Type::SigmoidCrossEntropy,
       .y = {1000, 1000, -1000, -1000},
       .t = {0, 1, 0, 1},
       .loss = {1000, 0, 0, 1000},
       .by_y = {1, 0, 0, -1},
       .sum = 2000},
      {.name = "E5",
       .type = Type::CategoricalCrossEntropy,
       .y = Q,
       .t = S,
       .loss = {0.3566749439, 0, 0.2290726830, 0.07902038674},
       .by_y = {-1.428571429, 0, -0.625, -0.8333333333},
       .by_t = {0.3566749439, 1.203972804, 0.9162907319, 0.1053605157},
       .sum = 0.6647680137},
      {.name = "E6",
       .type = Type::Hinge,
       .y = A,
       .t = B,
       .loss = {0.5, 0, 3, 0.75},
       .by_y = {-1, 0, 1, -1},
       .by_t = {-1, 0, -4, -0.5},
       .sum = 4.25},
      {.name = "E7a",
       .type = Type::Huber,
       .y = A,
       .t = R,
       .loss = {0.045, 0.18, 0, 2.25},
       .by_y = {0.3, -0.6, 0, -1},
       .by_t = {-0.3, 0.6, 0, 1},
       .sum = 2.475},
      {.name = "E7b",
       .type = Type::Huber,
       .y = A,
       .t = R,
       .loss = {0.045, 0.175, 0, 1.25},
       .by_y = {0.3, -0.5, 0, -0.5},
       .sum = 1.47,
       .delta = 0.5F},
      {.name = "E8",
       .type = Type::CosineDistance,
       .y = {0.6F, 0.8F, 1, 0},
       .t = {0.8F, 0.6F, 0.5F, 0.5F},
       .by_y = {-0.8, -0.6, -0.5, -0.5},
       .by_t = {-0.6, -0.8, -1, 0},
       .sum = -0.46},
      {.name = "E9a",
       .type = Type::Log,
       .y = Q,
       .t = S,
       .loss = {0.3566748011, 0.3566748011, 0.6121917133, 0.6546663267},
       .by_y = {-1.428571224, 1.428571224, 0.6249999479, 1.666664259},
       .by_t = {-0.8472976699, 0.8472976699, 0.4054650248, -2.197223688},
       .sum = 1.980207642},
      {.name = "E9b",
       .type = Type::Log,
       .y = Q,
       .t = S,
       .loss = {0.2231435513, 0.2231435513, 0.4407930031, 0.4023594781},
       .by_y = {-1.25, 1.25, 0.5714285714, 0.5},
       .by_t = {-0.6931471806, 0.6931471806, 0.3364722366, -1.609437912},
       .sum = 1.289439584,
       .epsilon = 0.1F},
      {.name = "E10",
       .type = Type::KullbackLeiblerDivergence,
       .y = {-0.5F, -1.2F, -2, -0.1F},
       .t = {0.6F, 0.4F, 0, 1},
       .loss = {-0.006495374260, 0.1134837073, 0, 0.1},
       .by_y = {-0.6, -0.4, 0, -1},
       .by_t = {0.9891743762, 1.283709268, 0, 1.1},
       .sum = 0.2069883330},
  };
  std::vector<LossRow> rows;
  for (const Example& e : list)
    for (const LossRow& row : rows_of(e)) rows.push_back(row);
  const auto nnz = Reduction::SumByNonZeroWeights, mean = Reduction::Mean, sum = Reduction::Sum;
  const std::vector<LossRow> more{
      reduced("E1_mean", Type::MeanAbsoluteError, mean, A, R, {}, 0.9125),
      reduced("E1_weights", Type::MeanAbsoluteError, sum, A, R, WA, 5.8),
      reduced("E1_non_zero", Type::MeanAbsoluteError, nnz, A, R, WA, 1.933333333,
              {0.3333333333, 0, 0, -0.6666666667}),
      reduced("E2_mean", Type::MeanSquaredError, mean, A, R, {}, 2.003125),
      reduced("E2_weights", Type::MeanSquaredError, sum, A, R, WA, 15.215),
      reduced("E2_non_zero", Type::MeanSquaredError, nnz, A, R, WA, 5.071666667,
              {0.2, 0, 0, -3.666666667}),
      reduced("E3a_mean", Type::SoftMaxCrossEntropy, mean, A, B, {}, 1.055818714),
      reduced("E3a_non_zero", Type::SoftMaxCrossEntropy, nnz, A, B, {2, 2, 0, 0}, 0.2014132780,
              {-0.1824255238, 0.1824255238, 0, 0}),
      reduced("E4a_mean", Type::SigmoidCrossEntropy, mean, A, B, {}, 0.8725515257),
      reduced("E4a_weights", Type::SigmoidCrossEntropy, sum, A, B, WA, 2.689419829),
      reduced("E4a_non_zero", Type::SigmoidCrossEntropy, nnz, A, B, WA, 0.8964732765),
      reduced("E5_weights", Type::CategoricalCrossEntropy, sum, Q, S, WA, 0.6292520589),
      reduced("E6_weights", Type::Hinge, sum, A, B, WA, 3.5),
      reduced("E7a_weights", Type::Huber, sum, A, R, WA, 4.545),
      reduced("E9a_mean", Type::Log, mean, Q, S, {}, 0.4950519105),
      example_11("E11_sum", sum, false, {2.5, 10}, {1, 2, 14, 28}),
      example_11("E11_sum_across", sum, true, {12.5, 0}, {1, 2, 2, 4}),
      example_11("E11_mean", mean, false, {1.25, 5}, {0.5, 1, 7, 14}),
      example_11("E11_mean_across", mean, true, {3.125, 0}, {0.25, 0.5, 0.5, 1}),
      example_11_weights("E11_non_zero", false, {1, 28}, {2, 0, 4, 12}),
      example_11_weights("E11_non_zero_across", true, {19, 0}, {0.6666666667, 0, 2.666666667, 8}),
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

/// Sizes, deeper labels, switches, elements that a zero silences.
inline std::vector<LossRow> others() {
  const auto ce = Type::SoftMaxCrossEntropy;
  const auto mean = Reduction::Mean, nnz = Reduction::SumByNonZeroWeights;
  return {
      {.name = "classifier_head",
       .type = ce,
       .reduction = mean,
       .source = {1, 1, 10},
       .batch = 32,
       .smoothing = 0.1F,
       .classes = 10},
      {.name = "classes_of_half_a_warp",
       .why = "images share a warp, and the last has it alone",
       .type = ce,
       .source = {1, 1, 16},
       .batch = 7,
       .more_label_channels = 3,
       .weight = 0.75F,
       .quick = true},
      {.name = "classes_of_more_than_half_a_warp",
       .type = ce,
       .source = {1, 1, 17},
       .batch = 3,
       .smoothing = 0.1F,
       .weight = 0.75F,
       .classes = 17},
      {.name = "classes_of_a_warp",
       .type = ce,
       .source = {1, 1, 32},
       .batch = 5,
       .smoothing = 0.1F,
       .weight = -1.5F,
       .classes = 32,
       .quick = true},
      {.name = "classes_of_more_than_a_warp", .type = ce, .source = {1, 1, 33}, .batch = 3},
      {.name = "weight_0_silences_infinity",
       .type = ce,
       .source = {1, 1, 2},
       .weight = 0,
       .predictions = {0, -std::numeric_limits<float>::infinity()},
       .labels = {0, 1},
       .losses = {0},
       .by_prediction = {0, 0},
       .quick = true},
      {.name = "exact_soft_max_of_ten_classes",
       .type = ce,
       .source = {1, 1, 10},
       .batch = 5,
       .smoothing = 0.1F,
       .weight = 0.75F,
       .classes = 10,
       .switches = {.softmax_cross_entropy_exact_gradient = true},
       .quick = true},
      {.name = "exact_soft_max_of_thirty_classes",
       .type = ce,
       .source = {1, 1, 30},
       .batch = 5,
       .smoothing = 0.1F,
       .classes = 30,
       .switches = {.softmax_cross_entropy_exact_gradient = true}},
      {.name = "many_classes", .type = ce, .source = {1, 1, 1000}, .batch = 4},
      {.name = "one_channel", .type = ce, .source = {5, 4, 1}, .batch = 2},
      {.name = "one_element",
       .type = Type::Huber,
       .reduction = mean,
       .source = {1, 1, 1},
       .batch = 1,
       .quick = true},
      {.name = "large_image",
       .why = "sums stay accurate",
       .type = Type::MeanSquaredError,
       .reduction = mean,
       .weighted = true,
       .source = {61, 47, 5},
       .batch = 2},
      {.name = "large_image_across",
       .type = Type::SigmoidCrossEntropy,
       .across = true,
       .source = {61, 47, 5},
       .batch = 3},
      {.name = "deeper_labels",
       .why = "the first channels count",
       .type = Type::MeanSquaredError,
       .reduction = mean,
       .weighted = true,
       .more_label_channels = 3,
       .quick = true},
      {.name = "deeper_labels_softmax",
       .type = ce,
       .weighted = true,
       .more_label_channels = 5,
       .more_weight_channels = 2},
      {.name = "deeper_weights",
       .why = "only the first channels are counted",
       .type = Type::Huber,
       .reduction = nnz,
       .weighted = true,
       .more_weight_channels = 4},
      {.name = "all_weights_0",
       .why = "0 non-zero weights: loss and gradient are 0",
       .type = Type::MeanSquaredError,
       .reduction = nnz,
       .weighted = true,
       .source = {2, 1, 2},
       .predictions = {1, 2, 3, 4},
       .labels = {5, 6, 7, 8},
       .weights = {0, 0, 0, 0},
       .losses = {0},
       .by_prediction = {0, 0, 0, 0},
       .quick = true},
      {.name = "zero_weight_silences_infinity",
       .type = Type::CategoricalCrossEntropy,
       .weighted = true,
       .source = {2, 1, 2},
       .predictions = {0, 0.5F, 0.25F, 0.5F},
       .labels = {1, 0, 0, 1},
       .weights = {0, 1, 1, 1},
       .losses = {0.6931471806},
       .quick = true},
      {.name = "label_0_at_prediction_0",
       .type = Type::CategoricalCrossEntropy,
       .source = {2, 1, 1},
       .predictions = {0, 0.5F},
       .labels = {0, 1},
       .incoming = {1},
       .losses = {0.6931471806},
       .by_prediction = {0, -2},
       .quick = true},
      {.name = "equal_values_of_absolute_error",
       .why = "the slope at equality is 0",
       .type = Type::MeanAbsoluteError,
       .source = {2, 1, 1},
       .predictions = {0.5F, -1},
       .labels = {0.5F, -1},
       .losses = {0},
       .by_prediction = {0, 0},
       .quick = true},
      {.name = "hinge_at_the_margin",
       .why = "strict",
       .type = Type::Hinge,
       .source = {2, 1, 1},
       .predictions = {1, -1},
       .labels = {1, 0},
       .losses = {0},
       .by_prediction = {0, 0},
       .quick = true},
      {.name = "published_kullback_leibler",
       .type = Type::KullbackLeiblerDivergence,
       .switches = {.kl_gradient_published = true}},
      {.name = "gradient_ignores_reduction",
       .type = Type::MeanSquaredError,
       .reduction = mean,
       .across = true,
       .switches = {.loss_gradient_ignores_reduction = true}},
      {.name = "cnn_loss_applies_reduction",
       .type = Type::MeanSquaredError,
       .reduction = mean,
       .switches = {.cnn_loss_gradient_applies_reduction = true}},
      {.name = "cnn_loss_applies_reduction_across_batch",
       .type = ce,
       .reduction = mean,
       .across = true,
       .switches = {.cnn_loss_gradient_applies_reduction = true}},
      {.name = "exact_soft_max_weights",
       .type = ce,
       .reduction = mean,
       .weighted = true,
       .switches = {.softmax_cross_entropy_exact_gradient = true}},
  };
}

}  // namespace loss_table

inline std::vector<LossRow> loss_rows() {
  auto rows = loss_table::combinations();
  for (const auto& more : {loss_table::examples(), loss_table::others()})
    rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

}  // namespace cermet::test
