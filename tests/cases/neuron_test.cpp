// The neuron rows.

#include "neuron.h"

#include "../harness/rows_test.h"

namespace cermet::test {

INSTANTIATE_TEST_SUITE_P(Neuron, Rows, testing::ValuesIn(subjects<NeuronSubject>(neuron_rows)),
                         name_of_row);

}  // namespace cermet::test
