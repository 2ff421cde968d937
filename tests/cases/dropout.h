#pragma once
// Dropout: probabilities, mask strides, geometry.

#include "../harness/dropout.h"

namespace cermet::test {

inline const std::vector<DropoutRow> dropout_rows{
    {.row = {.name = "half", .source = {7, 5, 6}, .batch = 3, .quick = true}},
    {.row = {.name = "keep_0_8", .source = {9, 9, 17}}, .keepProbability = 0.8F, .seed = 7},
    {.row = {.name = "keep_all", .source = {4, 4, 4}}, .keepProbability = 1},
    {.row = {.name = "large_seed", .source = {5, 4, 3}}, .seed = 0x123456789ABCDEF0U},
    {.row = {.name = "one_element", .source = {1, 1, 1}, .batch = 1}},
    {.row = {.name = "whole_channels",
             .why = "one value for each channel",
             .source = {6, 5, 8},
             .quick = true},
     .maskStrideInPixels = {0, 0, 1}},
    {.row = {.name = "whole_pixels", .why = "one value for each pixel", .source = {6, 5, 8}},
     .maskStrideInPixels = {1, 1, 0}},
    {.row = {.name = "whole_rows", .source = {6, 5, 8}}, .maskStrideInPixels = {0, 1, 0}},
    {.row = {.name = "one_value", .source = {6, 5, 8}}, .maskStrideInPixels = {0, 0, 0}},
    {.row = {.name = "offset",
             .source = {8, 7, 4},
             .destination = {5, 4},
             .offset = {2, 1},
             .quick = true}},
    {.row = {.name = "offset_negative",
             .source = {6, 5, 4},
             .destination = {9, 8},
             .offset = {-2, -1}}},
    {.row = {.name = "clip",
             .source = {8, 7, 4},
             .destination = {8, 7},
             .offset = {1, 0},
             .clip = {{2, 1, 0}, {4, 5, all_channels}},
             .quick = true}},
};

}  // namespace cermet::test
