// The convolution rows.

#include "convolution.h"

#include "../harness/rows_test.h"

namespace cermet::test {

INSTANTIATE_TEST_SUITE_P(Convolution, Rows,
                         testing::ValuesIn(subjects<ConvolutionSubject>(convolution_rows)),
                         name_of_row);
INSTANTIATE_TEST_SUITE_P(FullyConnected, Rows,
                         testing::ValuesIn(subjects<FullyConnectedSubject>(fully_connected_rows)),
                         name_of_row);

}  // namespace cermet::test
