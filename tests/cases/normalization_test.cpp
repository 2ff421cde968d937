// The normalization rows.

#include "normalization.h"

#include "../harness/rows_test.h"

namespace cermet::test {

INSTANTIATE_TEST_SUITE_P(SpatialNormalization, Rows,
                         testing::ValuesIn(subjects<NormalizationSubject>(normalization_rows)),
                         name_of_row);

}  // namespace cermet::test
