#pragma once
// Rows of arithmetic on two images, and of comparisons: what they say.

#include <ostream>

#include "cermet/cnn/compare.h"
#include "report.h"
#include "row.h"

namespace cermet::test {

/// One operand. A stride of 0 lets the element at `offset` serve the whole axis.
struct ArithmeticOperand {
  Shape image{4, 3, 5};
  std::size_t strideX = 1, strideY = 1, strideC = 1;
  Offset offset{};
};

struct ArithmeticRow {
  std::string name{};
  std::string why{};
  ArithmeticKind kind = ArithmeticKind::add;
  std::optional<NNComparisonType> comparison{};  // instead of the kind
  float threshold = 0;
  ArithmeticOperand primary{}, secondary{};
  std::size_t batch = 2;
  Extent destination{};  // 0: the policy's, offsets 0
  Region clip = RectNoClip;
  ImageEdgeMode edge = ImageEdgeMode::Zero;
  float primaryScale = 1, secondaryScale = 1, bias = 0;
  float minimumValue = std::numeric_limits<float>::lowest(),
        maximumValue = std::numeric_limits<float>::max();
  // Typed from the specification; empty: random, not given.
  std::vector<float> x{}, y{}, incoming{};
  std::vector<double> result{}, by_x{}, by_y{};
  bool quick = false;

  friend std::ostream& operator<<(std::ostream& out, const ArithmeticRow& row) {
    return out << row.name;
  }
};

/// Drives a row: forward, and the gradients of both operands.
void check(const ArithmeticRow& row);

inline void expect_row_holds(const ArithmeticRow& row) {
  try {
    check(row);
  } catch (const std::exception& error) {
    FAIL() << "FAIL arithmetic " << row.name << " [threw] " << error.what() << "\n" << repro();
  }
}
inline std::string name_of_arithmetic_row(const testing::TestParamInfo<ArithmeticRow>& info) {
  return info.param.name + (info.param.quick ? "_quick" : "");
}

}  // namespace cermet::test
