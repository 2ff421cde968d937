#pragma once
// Rows of dropout: what they say.

#include "cermet/cnn/dropout.h"
#include "row.h"

namespace cermet::test {

struct DropoutRow {
  Row row{};
  float keepProbability = 0.5F;
  std::size_t seed = 42;
  Size maskStrideInPixels{1, 1, 1};
};

/// Drives a row: the masks of several encodes, copies, parts of a batch, and the gradient.
void check(const DropoutRow& row);

}  // namespace cermet::test
