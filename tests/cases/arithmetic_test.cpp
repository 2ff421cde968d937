// The arithmetic rows: Arithmetic/ArithmeticRows.hold/name.

#include "arithmetic.h"

#include <gtest/gtest.h>

#include <ostream>

#include "../harness/report.h"

namespace cermet::test {

inline const std::string& name_of(const ArithmeticRow& row) { return row.name; }
inline void PrintTo(const ArithmeticRow& row, std::ostream* out) { *out << name_of(row); }

class ArithmeticRows : public testing::TestWithParam<ArithmeticRow> {};

TEST_P(ArithmeticRows, hold) {
  try {
    check(GetParam());
  } catch (const std::exception& error) {
    FAIL() << "FAIL arithmetic " << name_of(GetParam()) << " [threw] " << error.what() << "\n"
           << repro();
  }
}

inline std::string name_of_row(const testing::TestParamInfo<ArithmeticRow>& info) {
  const ArithmeticRow& row = info.param;
  return name_of(row) + (row.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(Arithmetic, ArithmeticRows, testing::ValuesIn(arithmetic_rows),
                         name_of_row);

}  // namespace cermet::test
