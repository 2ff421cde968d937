#pragma once
// Soft-max and log-soft-max: channels, sizes, geometry, the specification's examples.

#include "../harness/softmax.h"

namespace cermet::test {

inline std::vector<SoftMaxRow> softmax_rows() {
  return {
      {.row = {.name = "ten_classes",
               .source = {1, 1, 10},
               .batch = 8,
               .low = -4,
               .high = 4,
               .quick = true}},
      {.row = {.name = "three_channels", .source = {5, 4, 3}, .low = -3, .high = 3, .quick = true}},
      {.row = {.name = "one_channel", .why = "always 1", .source = {3, 2, 1}}},
      {.row = {.name = "many_channels", .source = {2, 2, 1000}, .low = -3, .high = 3}},
      {.row = {.name = "17_channels", .source = {7, 5, 17}, .batch = 3, .low = -3, .high = 3}},
      {.row = {.name = "large_values",
               .why = "no overflow: the largest is taken off first",
               .source = {4, 3, 5},
               .low = -3000,
               .high = 3000,
               .float32_only = true}},
      {.row = {.name = "equal_values", .source = {4, 3, 4}, .low = 2, .high = 2}},
      {.row = {.name = "offset",
               .why = "outside all channels are 0",
               .source = {6, 5, 4},
               .destination = {7, 6},
               .offset = {-2, -1},
               .quick = true}},
      {.row = {.name = "offset_inside_clamp",
               .source = {6, 5, 4},
               .destination = {3, 2},
               .offset = {2, 1},
               .edge = ImageEdgeMode::Clamp}},
      {.row = {.name = "offset_clamp",
               .source = {6, 5, 4},
               .destination = {9, 7},
               .offset = {-2, -1},
               .edge = ImageEdgeMode::Clamp}},
      {.row = {.name = "clip",
               .source = {8, 7, 5},
               .destination = {8, 7},
               .offset = {1, 0},
               .clip = {{2, 1, 0}, {4, 5, all_channels}},
               .quick = true}},
      {.row = {.name = "channel_ranges",
               .why = "the sum runs over the channels that are read",
               .source = {6, 5, 12},
               .source_channel = 4,
               .source_channels = 6,
               .destination_channel = 8,
               .quick = true}},
  };
}
inline std::vector<SoftMaxRow> soft_max_rows() {
  auto rows = softmax_rows();
  rows.push_back({.row = {.name = "example_3",
                          .source = {1, 1, 3},
                          .given = {{1, 2, 3},
                                    {1, 0, -1},
                                    {0.0900305732, 0.2447284711, 0.6652409558},
                                    {0.1418170936, 0.1407703575, -0.2825874511}},
                          .quick = true}});
  return rows;
}
inline std::vector<SoftMaxRow> log_soft_max_rows() {
  auto rows = softmax_rows();
  const std::vector<float> x{1, 2, 3};
  const std::vector<double> y{-2.4076059644, -1.4076059644, -0.4076059644};
  rows.push_back({.row = {.name = "example_4_sum_0",
                          .source = {1, 1, 3},
                          .given = {x, {1, 0, -1}, y, {1, 0, -1}},
                          .quick = true}});
  rows.push_back({.row = {.name = "example_4",
                          .source = {1, 1, 3},
                          .given = {x, {0, 0, -1}, y, {0.0900305732, 0.2447284711, -0.3347590442}},
                          .quick = true}});
  return rows;
}

}  // namespace cermet::test
