#pragma once
// Rows of batch normalisation: what they say.

#include "cermet/cnn/batch_normalization.h"
#include "row.h"

namespace cermet::test {

struct BatchNormalizationRow {
  std::string name{};
  std::string why{};
  Shape source{5, 4, 3};
  std::size_t batch = 3;
  std::size_t parts = 1;   // encodes that one batch is split into
  bool scaled = true;      // the data source has gamma and beta
  bool statistics = true;  // of the batch; else the data source's
  float epsilon = 1e-3F;
  Activation neuron{};
  std::vector<float> slopes{};
  float low = -1, high = 1;
  double tolerance = 2e-5;
  bool quick = false;
};

/// Drives a row through statistics, normalisation and both gradients, twice with one state.
void check(const BatchNormalizationRow& row);

}  // namespace cermet::test
