// CNNCrossChannelNormalization: windows odd, even and larger than the channels, powers, edges,
// geometry (spec: normalization 5, 12).

#include <cmath>

#include "../harness/operator_rows.h"
#include "cermet/cnn/normalization.h"

namespace cermet::test {
namespace {

/// y[k] = x[k] * L^-beta, L = delta + alpha/N * sum of squares of the channels around k.
oracle::Tensor cross_channel_normalization(const CrossChannelNormalization& op,
                                           const oracle::Tensor& source, int, int) {
  auto out = oracle::like(source);
  oracle::for_each(out, [&](int n, int y, int x, int k) {
    double squares = 0;
    for (int q = k - op.kernelSize / 2; q <= k + (op.kernelSize - 1) / 2; ++q)
      if (q >= 0 && q < source.c) squares += source(n, y, x, q) * source(n, y, x, q);
    const double l = op.delta + double{op.alpha} / op.kernelSize * squares;
    out(n, y, x, k) = source(n, y, x, k) * std::pow(l, -double{op.beta});
  });
  return out;
}

const std::vector<OperatorRow<CrossChannelNormalization>> rows{
    {.row = {.name = "size_3", .source = {4, 3, 7}, .quick = true},
     .op = {.kernelSize = 3, .beta = 0.75F}},
    {.row = {.name = "size_2",
             .why = "one more channel below",
             .source = {4, 3, 5},
             .batch = 7,
             .quick = true},
     .op = {.kernelSize = 2, .beta = 0.75F}},
    {.row = {.name = "size_4", .source = {5, 3, 9}, .batch = 1},
     .op = {.kernelSize = 4, .beta = 0.5F}},
    {.row = {.name = "size_1", .source = {4, 3, 5}}, .op = {.kernelSize = 1, .beta = 0.75F}},
    {.row = {.name = "larger_than_the_channels", .source = {4, 3, 3}},
     .op = {.kernelSize = 9, .beta = 0.75F}},
    {.row = {.name = "one_channel", .source = {1, 1, 1}, .quick = true},
     .op = {.kernelSize = 5, .beta = 0.75F}},
    {.row = {.name = "defaults",
             .source = {5, 4, 8},
             .tolerance = 4e-5,
             .loosened = "the power 5 amplifies the rounding of L"}},
    {.row = {.name = "alexnet", .source = {6, 5, 32}},
     .op = {.kernelSize = 5, .alpha = 1e-4F, .beta = 0.75F}},
    {.row = {.name = "negative_power", .source = {4, 3, 6}},
     .op = {.kernelSize = 3, .beta = -0.5F}},
    {.row = {.name = "power_0", .why = "changes nothing", .source = {4, 3, 6}},
     .op = {.kernelSize = 3, .beta = 0}},
    {.row = {.name = "alpha_0", .why = "one factor for all", .source = {4, 3, 6}},
     .op = {.kernelSize = 3, .alpha = 0, .beta = 0.75F, .delta = 4}},
    {.row = {.name = "delta", .source = {4, 3, 6}},
     .op = {.kernelSize = 3, .alpha = 2, .beta = 0.75F, .delta = 0.25F}},
    {.row = {.name = "many_channels", .source = {3, 2, 130}},
     .op = {.kernelSize = 5, .beta = 0.75F}},
    {.row = {.name = "offset",
             .source = {5, 4, 5},
             .destination = {7, 6},
             .offset = {-2, -1},
             .quick = true},
     .op = {.kernelSize = 3, .beta = 0.75F}},
    {.row = {.name = "offset_clamp",
             .why = "edge pixels collect from what read them",
             .source = {5, 4, 5},
             .destination = {7, 6},
             .offset = {-2, -1},
             .edge = ImageEdgeMode::Clamp,
             .quick = true},
     .op = {.kernelSize = 3, .beta = 0.75F}},
    {.row = {.name = "clip",
             .source = {6, 5, 4},
             .destination = {6, 5},
             .offset = {1, 0},
             .clip = {{2, 1, 0}, {3, 4, all_channels}}},
     .op = {.kernelSize = 3, .beta = 0.75F}},
    {.row = {.name = "channel_ranges",
             .why = "the window stays inside what is read",
             .source = {4, 3, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 8,
             .quick = true},
     .op = {.kernelSize = 5, .beta = 0.75F}},
    {.row = {.name = "E3_size_2",
             .source = {1, 1, 4},
             .given = {.source = {1, 2, 3, 4},
                       .incoming = {1, 1, 1, 1},
                       .result = {0.707106781187, 0.816496580928, 0.801783725737, 0.784464540553},
                       .source_gradient = {0.217470627105, 0.02154223124, 0.004935304246,
                                           0.075429282745}},
             .quick = true},
     .op = {.kernelSize = 2, .alpha = 2, .beta = 0.5F}},
    {.row = {.name = "E3_size_3",
             .source = {1, 1, 4},
             .given = {.source = {1, 2, 3, 4},
                       .incoming = {1, 1, 1, 1},
                       .source_gradient = {0.305780390087, 0.016748251826, -0.065992765109,
                                           0.002399608411}}},
     .op = {.kernelSize = 3, .alpha = 3, .beta = 0.5F}},
    {.row = {.name = "E3_defaults",
             .source = {1, 1, 4},
             .given = {.source = {1, 2, 3, 4},
                       .incoming = {1, 1, 1, 1},
                       .result = {0.001262065854, 0.000118998037, 0.000178497055, 0.000275115733},
                       .source_gradient = {0.00051282207, -0.001600821334, -0.00243098151,
                                           -0.000594881026}}}},
};

INSTANTIATE_TEST_SUITE_P(
    CrossChannelNormalization, Rows,
    (operator_rows<CNNCrossChannelNormalization, CNNCrossChannelNormalizationGradient>(
        cross_channel_normalization, rows)),
    name_of_row);

}  // namespace
}  // namespace cermet::test
