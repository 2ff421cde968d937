#pragma once
// Rows of losses: what they say.

#include <string>
#include <vector>

#include "cermet/cnn/loss.h"
#include "row.h"

namespace cermet::test {

struct LossRow {
  std::string name{};
  std::string why{};
  CNNLossType type = CNNLossType::MeanSquaredError;
  CNNReductionType reduction = CNNReductionType::Sum;
  bool across = false, weighted = false;
  Shape source{3, 2, 4};
  std::size_t batch = 3;
  std::size_t more_label_channels = 0, more_weight_channels = 0;  // beyond the source's
  float smoothing = 0, weight = 1, epsilon = 1e-7F, delta = 1;
  std::size_t classes = 1;
  LossSwitches switches{};
  // Typed from the specification; empty: made for the type, not given. `incoming` is that of
  // NNLossGradient; the other numbers are the loss images and the gradients.
  std::vector<float> predictions{}, labels{}, weights{}, incoming{};
  std::vector<double> losses{}, by_prediction{}, by_label{};
  std::vector<double> cnn_loss_gradient{};  // CNNLoss knows no incoming gradient
  bool quick = false;
};

/// Drives a row through CNNLoss, NNForwardLoss and NNLossGradient, by predictions and by labels.
void check(const LossRow& row);

}  // namespace cermet::test
