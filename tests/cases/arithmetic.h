#pragma once
// Arithmetic on two images: kinds, scales, limits, broadcasting, geometry, the specification's
// examples.

#include "../harness/arithmetic.h"

namespace cermet::test {

namespace arithmetic_table {

using Kind = ArithmeticKind;
inline const std::vector<float> one_to_8{1, 2, 3, 4, 5, 6, 7, 8}, g8{1, 1, 2, 2, 3, 3, 4, 4};
inline const std::vector<double> g8_wide{1, 1, 2, 2, 3, 3, 4, 4};
inline constexpr ArithmeticOperand image_2x2x2{.image = {2, 2, 2}};
inline constexpr ArithmeticOperand per_channel_2{.image = {1, 1, 2}, .strideX = 0, .strideY = 0};
inline constexpr ArithmeticOperand scalar{
    .image = {1, 1, 1}, .strideX = 0, .strideY = 0, .strideC = 0};
inline constexpr ArithmeticOperand per_channel_5{.image = {1, 1, 5}, .strideX = 0, .strideY = 0};
inline constexpr ArithmeticOperand one_row{.image = {4, 1, 5}, .strideY = 0};
inline constexpr ArithmeticOperand one_column{.image = {1, 3, 5}, .strideX = 0};
inline constexpr ArithmeticOperand one_channel{.image = {4, 3, 1}, .strideC = 0};

}  // namespace arithmetic_table

inline const std::vector<ArithmeticRow> arithmetic_rows = [] {
  using namespace arithmetic_table;
  std::vector<ArithmeticRow> rows{
      {.name = "example_5_multiply",
       .kind = Kind::multiply,
       .primary = image_2x2x2,
       .secondary = per_channel_2,
       .primaryScale = 2,
       .secondaryScale = 0.5F,
       .bias = 1,
       .x = one_to_8,
       .y = {10, -1},
       .incoming = g8,
       .result = {11, -1, 31, -3, 51, -5, 71, -7},
       .by_x = {10, -1, 20, -2, 30, -3, 40, -4},
       .by_y = {50, 60},
       .quick = true},
      {.name = "example_5_subtract",
       .kind = Kind::subtract,
       .primary = image_2x2x2,
       .secondary = per_channel_2,
       .secondaryScale = 3,
       .x = one_to_8,
       .y = {10, -1},
       .incoming = g8,
       .result = {-29, 5, -27, 7, -25, 9, -23, 11},
       .by_x = g8_wide,
       .by_y = {-30, -30},
       .quick = true},
      {.name = "example_5_add",
       .kind = Kind::add,
       .primary = image_2x2x2,
       .secondary = scalar,
       .x = one_to_8,
       .y = {1},
       .incoming = g8,
       .result = {2, 3, 4, 5, 6, 7, 8, 9},
       .by_x = g8_wide,
       .by_y = {20},
       .quick = true},
      {.name = "example_6_divide",
       .kind = Kind::divide,
       .primary = image_2x2x2,
       .secondary = {.image = {1, 2, 1}, .strideX = 0, .strideC = 0},
       .x = one_to_8,
       .y = {2, 4},
       .result = {0.5, 1, 1.5, 2, 1.25, 1.5, 1.75, 2},
       .quick = true},
      {.name = "example_7_limits",
       .why = "no gradient at and beyond a limit",
       .kind = Kind::add,
       .primary = {.image = {4, 1, 1}},
       .secondary = {.image = {4, 1, 1}},
       .minimumValue = 0,
       .maximumValue = 3,
       .x = {-3, 0.5F, 2, 4},
       .y = {1, 1, 1, 1},
       .incoming = {10, 20, 30, 40},
       .result = {0, 1.5, 3, 3},
       .by_x = {0, 20, 0, 0},
       .by_y = {0, 20, 0, 0},
       .quick = true},
  };
  constexpr const char* names[] = {"add", "subtract", "multiply", "divide"};
  for (int k = 0; k < 4; ++k) {
    const auto kind = static_cast<Kind>(k);
    const std::string name = names[k];
    rows.push_back({.name = name, .kind = kind, .quick = true});
    rows.push_back({.name = name + "_scales",
                    .kind = kind,
                    .primaryScale = -1.5F,
                    .secondaryScale = 0.75F,
                    .bias = 0.5F});
    rows.push_back({.name = name + "_limits",
                    .kind = kind,
                    .batch = 3,
                    .minimumValue = 0.25F,
                    .maximumValue = 1});
    rows.push_back(
        {.name = name + "_per_channel", .kind = kind, .secondary = per_channel_5, .quick = true});
    rows.push_back({.name = name + "_scalar", .kind = kind, .secondary = scalar});
    rows.push_back({.name = name + "_row", .kind = kind, .secondary = one_row});
    rows.push_back({.name = name + "_column", .kind = kind, .secondary = one_column});
    rows.push_back({.name = name + "_channel", .kind = kind, .secondary = one_channel});
    rows.push_back({.name = name + "_first_operand_per_channel",
                    .kind = kind,
                    .primary = per_channel_5,
                    .secondary = {}});
    rows.push_back({.name = name + "_row_and_column",
                    .why = "both operands are broadcast",
                    .kind = kind,
                    .primary = one_row,
                    .secondary = one_column});
    rows.push_back({.name = name + "_per_channel_limits",
                    .kind = kind,
                    .secondary = per_channel_5,
                    .minimumValue = 0.25F,
                    .maximumValue = 1});
    rows.push_back({.name = name + "_offsets",
                    .kind = kind,
                    .primary = {.image = {7, 6, 4}, .offset = {1, 2}},
                    .secondary = {.image = {6, 7, 4}, .offset = {2, 0}},
                    .destination = {4, 3},
                    .quick = true});
    rows.push_back({.name = name + "_clip",
                    .kind = kind,
                    .primary = {.image = {7, 6, 4}},
                    .secondary = {.image = {7, 6, 4}},
                    .destination = {7, 6},
                    .clip = {{2, 1, 0}, {3, 4, all_channels}}});
    rows.push_back({.name = name + "_broadcast_offset",
                    .why = "the element at the offset serves all",
                    .kind = kind,
                    .primary = {.image = {5, 4, 3}},
                    .secondary = {.image = {3, 4, 3}, .strideX = 0, .offset = {2, 0}},
                    .destination = {5, 4}});
  }
  return rows;
}();

}  // namespace cermet::test
