// CNNLocalContrastNormalization: every parameter, windows odd and even, edges, geometry (spec:
// normalization 4, 12).

#include "../harness/operator_rows.h"
#include "../harness/window_moments.h"
#include "cermet/cnn/normalization.h"

namespace cermet::test {
namespace {

/// y = pm + ps * (x - p0*M) * T^-beta, T = delta + alpha*V.
oracle::Tensor local_contrast_normalization(const LocalContrastNormalization& op,
                                            const oracle::Tensor& source, int height, int width) {
  auto out = oracle::filled(source.n, height, width, source.c);
  oracle::for_each(out, [&](int n, int j, int i, int c) {
    const WindowMoments window(op.window, source, n, j, i, c);
    const double t = op.delta + double{op.alpha} * window.variance;
    out(n, j, i, c) = op.pm + double{op.ps} * (window.centre - double{op.p0} * window.mean) *
                                  std::pow(t, -double{op.beta});
  });
  return out;
}

const std::vector<OperatorRow<LocalContrastNormalization>> rows{
    {.row = {.name = "3x3", .source = {7, 6, 3}, .quick = true},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "defaults",
             .why = "alpha 0: 32 times what is left of the mean",
             .source = {7, 6, 3}},
     .op = {.window = {3, 3}}},
    {.row = {.name = "node_alpha", .why = "the default of a graph's node", .source = {6, 6, 2}},
     .op = {.window = {5, 5}, .alpha = 1}},
    {.row = {.name = "2x5_one_channel", .source = {5, 9, 1}, .quick = true},
     .op = {.window = {2, 5}, .alpha = 0.5F, .delta = 1}},
    {.row = {.name = "4x3", .source = {8, 7, 5}, .batch = 3},
     .op = {.window = {4, 3}, .alpha = 2, .beta = 0.75F, .delta = 0.25F}},
    {.row = {.name = "1x1", .why = "no variance", .source = {6, 5, 4}},
     .op = {.window = {1, 1}, .alpha = 1, .delta = 2, .p0 = 0.5F}},
    {.row = {.name = "one_pixel", .source = {1, 1, 3}, .batch = 7, .quick = true},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 1}},
    {.row = {.name = "window_larger_than_source", .source = {3, 2, 4}},
     .op = {.window = {7, 5}, .alpha = 1, .delta = 1}},
    {.row = {.name = "all_parameters", .source = {6, 5, 3}, .batch = 1, .quick = true},
     .op = {.window = {3, 2},
            .alpha = 1.5F,
            .beta = 1.25F,
            .delta = 0.75F,
            .p0 = 0.4F,
            .pm = 0.3F,
            .ps = -1.7F}},
    {.row = {.name = "p0_0", .source = {6, 5, 3}},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 1, .p0 = 0}},
    {.row = {.name = "ps_0", .why = "a constant", .source = {6, 5, 3}, .forward_only = true},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 1, .pm = 0.5F, .ps = 0}},
    {.row = {.name = "negative_power", .source = {6, 5, 3}},
     .op = {.window = {3, 3}, .alpha = 1, .beta = -0.5F, .delta = 1}},
    {.row = {.name = "power_0", .why = "the plain mean is subtracted", .source = {6, 5, 3}},
     .op = {.window = {3, 3}, .alpha = 1, .beta = 0}},
    {.row = {.name = "many_channels", .source = {5, 4, 70}},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 1}},
    {.row = {.name = "clamp", .source = {7, 6, 3}, .edge = ImageEdgeMode::Clamp, .quick = true},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "clamp_even", .source = {7, 6, 3}, .edge = ImageEdgeMode::Clamp},
     .op = {.window = {4, 2}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "offset",
             .source = {7, 6, 3},
             .destination = {9, 8},
             .offset = {-2, -1},
             .quick = true},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "offset_clamp",
             .source = {7, 6, 3},
             .destination = {9, 8},
             .offset = {-2, -1},
             .edge = ImageEdgeMode::Clamp},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "smaller_destination",
             .source = {8, 7, 3},
             .destination = {3, 4},
             .offset = {2, 1}},
     .op = {.window = {2, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "clip",
             .source = {8, 7, 4},
             .destination = {8, 7},
             .offset = {1, 0},
             .clip = {{2, 1, 0}, {4, 5, all_channels}},
             .quick = true},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "channel_ranges",
             .source = {6, 5, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 8},
     .op = {.window = {3, 3}, .alpha = 1, .delta = 0.5F}},
    {.row = {.name = "E2",
             .source = {3, 1, 1},
             .given = {.source = {1, 2, 3},
                       .incoming = {1, 0, -1},
                       .result = {0.298142397, 0.402015126104, 0.729693939487},
                       .source_gradient = {0.3577708764, -0.021982290047, -0.106400016379}},
             .quick = true},
     .op = {.window = {3, 3}, .alpha = 9, .delta = 1}},
    {.row = {.name = "E2b",
             .source = {2, 2, 1},
             .given = {.source = {1, 2, 3, 5},
                       .incoming = {0, 0, 0, 1},
                       .result = {1.727557801797, 1.506487154309, 1.632461847977, 1.520938201259},
                       .source_gradient = {0.135058769322, -0.038685175132, -0.212429119587,
                                           0.116055525397}}},
     .op = {.window = {2, 2}, .alpha = 1}},
    {.row = {.name = "E2b_alpha_0",
             .source = {2, 2, 1},
             .given = {.source = {1, 2, 3, 5}, .result = {24, 40, 64, 72}}},
     .op = {.window = {2, 2}}},
};

INSTANTIATE_TEST_SUITE_P(
    LocalContrastNormalization, Rows,
    (operator_rows<CNNLocalContrastNormalization, CNNLocalContrastNormalizationGradient>(
        local_contrast_normalization, rows)),
    name_of_row);

}  // namespace
}  // namespace cermet::test
