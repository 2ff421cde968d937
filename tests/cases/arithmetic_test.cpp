// The arithmetic rows: Arithmetic/ArithmeticRows.hold/name.

#include "arithmetic.h"

namespace cermet::test {

class ArithmeticRows : public testing::TestWithParam<ArithmeticRow> {};
TEST_P(ArithmeticRows, hold) { expect_row_holds(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Arithmetic, ArithmeticRows, testing::ValuesIn(arithmetic_rows),
                         name_of_arithmetic_row);

}  // namespace cermet::test
