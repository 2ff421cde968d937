// CNNSpatialNormalization: windows odd and even, powers, edges, geometry (spec: normalization 3,
// 12).

#include "../harness/operator_rows.h"
#include "../harness/window_moments.h"
#include "cermet/cnn/normalization.h"

namespace cermet::test {
namespace {

/// y = x * T^-beta, T = delta + alpha/(kw*kh) * sum of squares.
oracle::Tensor spatial_normalization(const SpatialNormalization& op, const oracle::Tensor& source,
                                     int height, int width) {
  auto out = oracle::filled(source.n, height, width, source.c);
  oracle::for_each(out, [&](int n, int j, int i, int c) {
    const WindowMoments window(op.window, source, n, j, i, c);
    const double t = op.delta + double{op.alpha} * window.mean_square;
    out(n, j, i, c) = window.centre * std::pow(t, -double{op.beta});
  });
  return out;
}

const std::vector<OperatorRow<SpatialNormalization>> rows{
    {.row = {.name = "3x3", .source = {7, 6, 3}, .quick = true},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "5x5", .source = {9, 8, 4}}, .op = {.window = {5, 5}, .beta = 0.75F}},
    {.row = {.name = "2x5_one_channel",
             .why = "an even window leans to the left",
             .source = {5, 9, 1},
             .quick = true},
     .op = {.window = {2, 5}, .alpha = 0.5F, .beta = 0.75F}},
    {.row = {.name = "4x3", .source = {8, 7, 5}, .batch = 3},
     .op = {.window = {4, 3}, .alpha = 2, .beta = 0.5F, .delta = 0.25F}},
    {.row = {.name = "1x1", .source = {6, 5, 4}}, .op = {.window = {1, 1}, .beta = 0.75F}},
    {.row = {.name = "window_larger_than_source", .source = {3, 2, 4}},
     .op = {.window = {7, 5}, .beta = 0.75F}},
    {.row = {.name = "default_power_5",
             .why = "the defaults of the class",
             .source = {6, 6, 3},
             .tolerance = 4e-5,
             .loosened = "the power 5 amplifies the rounding of T"},
     .op = {.window = {5, 5}, .beta = 5}},
    {.row = {.name = "negative_power", .source = {6, 5, 3}},
     .op = {.window = {3, 3}, .beta = -0.5F}},
    {.row = {.name = "power_0", .why = "changes nothing", .source = {6, 5, 3}},
     .op = {.window = {3, 3}, .beta = 0}},
    {.row = {.name = "alpha_0", .why = "one factor for all", .source = {6, 5, 3}},
     .op = {.window = {3, 3}, .alpha = 0, .beta = 0.75F, .delta = 4}},
    {.row = {.name = "many_channels", .source = {6, 5, 40}},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "clamp", .source = {7, 6, 3}, .edge = ImageEdgeMode::Clamp, .quick = true},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "clamp_even", .source = {7, 6, 3}, .edge = ImageEdgeMode::Clamp},
     .op = {.window = {4, 2}, .beta = 0.75F}},
    {.row = {.name = "offset",
             .source = {7, 6, 3},
             .destination = {9, 8},
             .offset = {-2, -1},
             .quick = true},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "offset_clamp",
             .source = {7, 6, 3},
             .destination = {9, 8},
             .offset = {-2, -1},
             .edge = ImageEdgeMode::Clamp},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "smaller_destination",
             .source = {8, 7, 3},
             .destination = {3, 4},
             .offset = {2, 1}},
     .op = {.window = {2, 3}, .beta = 0.75F}},
    {.row = {.name = "clip",
             .source = {8, 7, 4},
             .destination = {8, 7},
             .offset = {1, 0},
             .clip = {{2, 1, 0}, {4, 5, all_channels}},
             .quick = true},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "channel_ranges",
             .source = {6, 5, 12},
             .source_channel = 4,
             .source_channels = 6,
             .destination_channel = 8},
     .op = {.window = {3, 3}, .beta = 0.75F}},
    {.row = {.name = "E1",
             .source = {3, 1, 1},
             .given = {.source = {1, 2, 3},
                       .incoming = {1, 1, 1},
                       .result = {0.166666666667, 0.133333333333, 0.214285714286},
                       .source_gradient = {0.093333333333, -0.141224489796, -0.073741496599}},
             .quick = true},
     .op = {.window = {3, 3}, .alpha = 9, .beta = 1, .delta = 1}},
    {.row = {.name = "E1b",
             .source = {3, 1, 1},
             .given = {.source = {1, 2, 3},
                       .incoming = {1, 1, 1},
                       .result = {0.707106781187, 0.816496580928, 0.801783725737},
                       .source_gradient = {0.217470627105, 0.02154223124, 0.09545044354}}},
     .op = {.window = {2, 2}, .alpha = 4, .beta = 0.5F, .delta = 1}},
    {.row = {.name = "E1c",
             .source = {3, 1, 1},
             .given = {.source = {1, 2, 3},
                       .incoming = {1, 1, 1},
                       .result = {0.1097924228, 0.018348618152, 0.034373234255},
                       .source_gradient = {0.023391603591, -0.194875724119, -0.059347827612}}},
     .op = {.window = {3, 3}}},
};

INSTANTIATE_TEST_SUITE_P(SpatialNormalization, Rows,
                         (operator_rows<CNNSpatialNormalization, CNNSpatialNormalizationGradient>(
                             spatial_normalization, rows)),
                         name_of_row);

}  // namespace
}  // namespace cermet::test
