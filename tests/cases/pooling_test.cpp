// The pooling rows.

#include "pooling.h"

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/rows_test.h"

namespace cermet::test {

INSTANTIATE_TEST_SUITE_P(PoolingMax, Rows,
                         testing::ValuesIn(subjects<PoolingMaxSubject>(pooling_max_rows())),
                         name_of_row);
INSTANTIATE_TEST_SUITE_P(PoolingAverage, Rows,
                         testing::ValuesIn(subjects<PoolingAverageSubject>(pooling_average_rows())),
                         name_of_row);

INSTANTIATE_TEST_SUITE_P(
    DilatedPoolingMax, Rows,
    testing::ValuesIn(subjects<DilatedPoolingMaxSubject>(dilated_pooling_max_rows())), name_of_row);
INSTANTIATE_TEST_SUITE_P(PoolingL2Norm, Rows,
                         testing::ValuesIn(subjects<PoolingL2NormSubject>(pooling_l2_norm_rows())),
                         name_of_row);

namespace {

/// The gradient of a row of pixels by a kernel whose geometry is set by hand.
Values by_hand(CNNPoolingGradient& kernel, const Values& source, const Values& incoming,
               std::ptrdiff_t secondaryOffset) {
  const Bench& bench = Bench::with(1);
  const auto row = [&](const Values& values) {
    return upload(bench.device, ImageFeatureChannelFormat::Float32, {1, 1, values.size(), 1},
                  values);
  };
  const ImageBatch result = row(Values(source.size(), 7));
  kernel.setSecondaryOffset({secondaryOffset, 0, 0});
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  kernel.encode(buffer, row(incoming).front(), row(source).front(), result.front());
  finish(buffer);
  return read(result);
}

TEST(PoolingGradients, WithoutAState_quick) {
  const Device& device = Bench::with(1).device;
  CNNDilatedPoolingMaxGradient dilated(device, 2, 1, 3, 1, 2, 1);
  EXPECT_EQ(by_hand(dilated, {3, 9, 1, 4, 8, 2, 7, 5}, {10, 20, 30}, 2),
            (Values{0, 0, 0, 10, 30, 20, 0, 0}));
  // The first window begins at pixel 1, which becomes destination pixel 0.
  CNNPoolingL2NormGradient norm(device, 2, 1, 2, 1);
  EXPECT_EQ(by_hand(norm, {9, 3, 4, 0, 0, 8}, {5, 6}, 2), (Values{3, 4, 0, 0, 0, 0}));
}

}  // namespace

}  // namespace cermet::test
