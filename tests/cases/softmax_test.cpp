// The softmax rows.

#include "softmax.h"

#include "../harness/rows_test.h"

namespace cermet::test {

INSTANTIATE_TEST_SUITE_P(SoftMax, Rows,
                         testing::ValuesIn(subjects<SoftMaxSubject>(soft_max_rows())), name_of_row);
INSTANTIATE_TEST_SUITE_P(LogSoftMax, Rows,
                         testing::ValuesIn(subjects<LogSoftMaxSubject>(log_soft_max_rows())),
                         name_of_row);

}  // namespace cermet::test
