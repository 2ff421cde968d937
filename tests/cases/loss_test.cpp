// The loss rows: Loss/LossRows.hold/name.

#include "loss.h"

#include <gtest/gtest.h>

#include <ostream>

#include "../harness/report.h"

namespace cermet::test {

inline void PrintTo(const LossRow& row, std::ostream* out) { *out << row.name; }

class LossRows : public testing::TestWithParam<LossRow> {};

TEST_P(LossRows, hold) {
  try {
    check(GetParam());
  } catch (const std::exception& error) {
    FAIL() << "FAIL loss " << GetParam().name << " [threw] " << error.what() << "\n" << repro();
  }
}

inline std::string name_of_loss_row(const testing::TestParamInfo<LossRow>& info) {
  return info.param.name + (info.param.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(Loss, LossRows, testing::ValuesIn(loss_rows()), name_of_loss_row);

}  // namespace cermet::test
