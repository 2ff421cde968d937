// The batch normalization rows: BatchNormalization/BatchNormalizationRows.hold/name.

#include "batch_normalization.h"

#include <gtest/gtest.h>

#include <ostream>

#include "../harness/report.h"

namespace cermet::test {

inline const std::string& name_of(const BatchNormalizationRow& row) { return row.name; }
inline void PrintTo(const BatchNormalizationRow& row, std::ostream* out) { *out << name_of(row); }

class BatchNormalizationRows : public testing::TestWithParam<BatchNormalizationRow> {};

TEST_P(BatchNormalizationRows, hold) {
  try {
    check(GetParam());
  } catch (const std::exception& error) {
    FAIL() << "FAIL batch_normalization " << name_of(GetParam()) << " [threw] " << error.what()
           << "\n"
           << repro();
  }
}

inline std::string name_of_row(const testing::TestParamInfo<BatchNormalizationRow>& info) {
  const BatchNormalizationRow& row = info.param;
  return name_of(row) + (row.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(BatchNormalization, BatchNormalizationRows,
                         testing::ValuesIn(batch_normalization_rows), name_of_row);

}  // namespace cermet::test
