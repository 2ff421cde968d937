// The dropout rows: Dropout/DropoutRows.hold/name.

#include "dropout.h"

#include <gtest/gtest.h>

#include <ostream>

#include "../harness/report.h"

namespace cermet::test {

inline const std::string& name_of(const DropoutRow& row) { return row.row.name; }
inline void PrintTo(const DropoutRow& row, std::ostream* out) { *out << name_of(row); }

class DropoutRows : public testing::TestWithParam<DropoutRow> {};

TEST_P(DropoutRows, hold) {
  try {
    check(GetParam());
  } catch (const std::exception& error) {
    FAIL() << "FAIL dropout " << name_of(GetParam()) << " [threw] " << error.what() << "\n"
           << repro();
  }
}

inline std::string name_of_row(const testing::TestParamInfo<DropoutRow>& info) {
  const DropoutRow& row = info.param;
  return name_of(row) + (row.row.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(Dropout, DropoutRows, testing::ValuesIn(dropout_rows), name_of_row);

}  // namespace cermet::test
