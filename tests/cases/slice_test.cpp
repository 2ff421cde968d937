// NNSlice: blocks inside, across the edge and beyond it (spec: pooling-shape 7).

#include "cermet/cnn/slice.h"
#include "../harness/rows_test.h"

namespace cermet::test {
namespace {

class SliceSubject final : public ForwardSubject<NNSlice> {
 public:
  using ForwardSubject::ForwardSubject;
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<NNSlice>(device);
  }
  /// out[j][i] = in[offset.y + j][offset.x + i]
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return aligned(source, g);
  }
};

std::vector<Row> rows() {
  std::vector<Row> all{
      {.name = "whole", .source = {4, 3, 5}, .quick = true},
      {.name = "corner",
       .source = {6, 5, 3},
       .batch = 7,
       .destination = {3, 2},
       .offset = {2, 3},
       .quick = true},
      {.name = "one_pixel",
       .source = {6, 5, 3},
       .batch = 1,
       .destination = {1, 1},
       .offset = {5, 4}},
      {.name = "of_one_pixel", .source = {1, 1, 1}},
      {.name = "channels",
       .source = {5, 4, 12},
       .destination = {4, 4},
       .offset = {1, 0},
       .source_channel = 4,
       .source_channels = 3,
       .destination_channel = 8,
       .quick = true},
      {.name = "last_channels", .source = {5, 4, 10}, .source_channel = 8},
      {.name = "clip",
       .source = {7, 6, 4},
       .destination = {6, 5},
       .offset = {3, 1},
       .clip = {{1, 2, 0}, {4, 3, all_channels}}},
      {.name = "across_the_edge",
       .source = {5, 4, 3},
       .destination = {8, 7},
       .offset = {-2, -1},
       .quick = true},
      {.name = "across_the_edge_clamp",
       .source = {5, 4, 3},
       .destination = {8, 7},
       .offset = {-2, -1},
       .edge = ImageEdgeMode::Clamp,
       .quick = true},
      {.name = "right_edge_clamp_of_channels",
       .source = {5, 4, 9},
       .destination = {4, 4},
       .offset = {3, 2},
       .edge = ImageEdgeMode::Clamp,
       .source_channel = 4,
       .source_channels = 4,
       .destination_channel = 4},
      {.name = "outside",
       .why = "nothing of the source is in it",
       .source = {5, 4, 3},
       .destination = {3, 3},
       .offset = {9, 1}},
      {.name = "outside_clamp",
       .source = {5, 4, 3},
       .destination = {3, 3},
       .offset = {-7, 8},
       .edge = ImageEdgeMode::Clamp},
      {.name = "numbers",
       .source = {3, 2, 2},
       .destination = {2, 2},
       .offset = {2, 0},
       .given = {.source = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
                 .result = {4, 5, 0, 0, 10, 11, 0, 0}},
       .quick = true},
  };
  for (Row& row : all) row.forward_only = true;
  return all;
}

INSTANTIATE_TEST_SUITE_P(Slice, Rows, testing::ValuesIn(subjects<SliceSubject>(rows())),
                         name_of_row);

}  // namespace
}  // namespace cermet::test
