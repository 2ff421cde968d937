// CNNSwish: slopes, signs, geometry.

#include <cmath>

#include "../harness/operator_rows.h"
#include "cermet/cnn/swish.h"

namespace cermet::test {
namespace {

/// y = x / (1 + exp(-beta*x)).
oracle::Tensor swish(const Swish& op, const oracle::Tensor& source, int, int) {
  oracle::Tensor out = source;
  for (double& x : out.v) x /= 1 + std::exp(-double{op.beta} * x);
  return out;
}

const std::vector<OperatorRow<Swish>> rows{
    {.row = {.name = "plain", .source = {5, 4, 3}}},
    {.row = {.name = "steep", .source = {5, 4, 7}, .batch = 7}, .op = {.beta = 4}},
    {.row = {.name = "negative", .source = {1, 1, 5}, .batch = 1}, .op = {.beta = -1.5F}},
    {.row = {.name = "beta_0", .why = "half of x", .source = {4, 3, 2}}, .op = {.beta = 0}},
    {.row = {.name = "offset_clamp",
             .source = {5, 4, 3},
             .destination = {7, 6},
             .offset = {-1, -2},
             .edge = ImageEdgeMode::Clamp}},
    {.row = {.name = "channel_ranges",
             .source = {4, 3, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 8}},
};

INSTANTIATE_TEST_SUITE_P(Swish, Rows, (operator_rows<CNNSwish, CNNSwishGradient>(swish, rows)),
                         name_of_row);

}  // namespace
}  // namespace cermet::test
