// The pooling rows.

#include "pooling.h"

#include "../harness/rows_test.h"

namespace cermet::test {

INSTANTIATE_TEST_SUITE_P(PoolingMax, Rows,
                         testing::ValuesIn(subjects<PoolingMaxSubject>(pooling_max_rows())),
                         name_of_row);
INSTANTIATE_TEST_SUITE_P(PoolingAverage, Rows,
                         testing::ValuesIn(subjects<PoolingAverageSubject>(pooling_average_rows())),
                         name_of_row);

}  // namespace cermet::test
