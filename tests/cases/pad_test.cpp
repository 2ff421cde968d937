// NNPad and its gradient: five edge modes, paddings larger than the source, channels, fill values,
// destinations of the caller (spec: pooling-shape 8).

#include "cermet/cnn/pad.h"
#include "../harness/operator_rows.h"

namespace cermet::test {
namespace {

struct PadRow {
  Row row{};
  ImageCoordinate before{}, after{};
  float fillValue = 0;
  std::vector<float> fillValueArray{};
};

/// The position of 0 ... n-1 that i stands for, or -1: reflections one by one.
int position(ImageEdgeMode edge, int i, int n) {
  while (i < 0 || i >= n) {
    switch (edge) {
      case ImageEdgeMode::Zero:
      case ImageEdgeMode::Constant:
        return -1;
      case ImageEdgeMode::Clamp:
        i = i < 0 ? 0 : n - 1;
        break;
      case ImageEdgeMode::Mirror:
        i = n == 1 ? 0 : i < 0 ? -i : 2 * (n - 1) - i;
        break;
      case ImageEdgeMode::MirrorWithEdge:
        i = i < 0 ? -1 - i : 2 * n - 1 - i;
        break;
    }
  }
  return i;
}

class PadSubject final : public DifferenceSubject<NNPad, NNPadGradient> {
 public:
  explicit PadSubject(const PadRow& r) : DifferenceSubject(r.row), r_(r) {}
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    auto kernel = r_.fillValueArray.empty()
                      ? std::make_unique<NNPad>(device, r_.before, r_.after)
                      : std::make_unique<NNPad>(device, r_.before, r_.after, r_.fillValueArray);
    kernel->setFillValue(r_.fillValue);
    return kernel;
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<NNPadGradient>(device);
  }
  [[nodiscard]] std::optional<Planned> planned() const override {
    return Planned{
        {r_.before.x + r_.row.source.w + r_.after.x, r_.before.y + r_.row.source.h + r_.after.y},
        {-static_cast<std::ptrdiff_t>(r_.before.x), -static_cast<std::ptrdiff_t>(r_.before.y), 0}};
  }
  [[nodiscard]] std::size_t channels_written(std::size_t read) const override {
    return r_.before.channel + read + r_.after.channel;
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    const int before = static_cast<int>(r_.before.channel);
    auto out =
        oracle::filled(source.n, g.h, g.w, before + source.c + static_cast<int>(r_.after.channel));
    const ImageEdgeMode edge = row().edge;
    oracle::for_each(out, [&](int n, int y, int x, int k) {
      const int row = position(edge, y + g.offset_y, source.h),
                column = position(edge, x + g.offset_x, source.w),
                c = position(edge, k - before, source.c);
      if (row >= 0 && column >= 0 && c >= 0) {
        out(n, y, x, k) = source(n, row, column, c);
      } else if (edge == ImageEdgeMode::Constant) {
        out(n, y, x, k) = r_.fillValueArray.empty()
                              ? double{r_.fillValue}
                              : double{r_.fillValueArray.at(static_cast<std::size_t>(k))};
      }
    });
    return out;
  }

 private:
  PadRow r_;
};

constexpr std::array modes{std::pair{ImageEdgeMode::Zero, "zero"},
                           std::pair{ImageEdgeMode::Clamp, "clamp"},
                           std::pair{ImageEdgeMode::Mirror, "mirror"},
                           std::pair{ImageEdgeMode::MirrorWithEdge, "mirror_with_edge"},
                           std::pair{ImageEdgeMode::Constant, "constant"}};

/// Each in every edge mode.
const std::vector<PadRow> shapes{
    {.row = {.name = "sides", .source = {4, 3, 3}, .quick = true},
     .before = {2, 1, 0},
     .after = {1, 2, 0},
     .fillValue = -0.75F},
    {.row = {.name = "none", .source = {4, 3, 5}, .batch = 1}, .fillValue = 0.5F},
    {.row = {.name = "larger_than_the_source",
             .why = "reflections wrap several times",
             .source = {3, 2, 2},
             .batch = 1},
     .before = {7, 5, 0},
     .after = {8, 3, 0},
     .fillValue = 0.5F},
    {.row = {.name = "one_pixel", .source = {1, 1, 1}, .batch = 7, .quick = true},
     .before = {2, 1, 2},
     .after = {0, 3, 1},
     .fillValue = 0.25F},
    {.row = {.name = "channels", .source = {3, 2, 4}},
     .before = {0, 0, 2},
     .after = {0, 0, 3},
     .fillValue = 0.5F},
    {.row = {.name = "all_three", .source = {3, 4, 3}, .quick = true},
     .before = {1, 0, 4},
     .after = {2, 1, 5},
     .fillValue = 0.5F},
    {.row = {.name = "slice",
             .why = "any first channel; channels reflect inside the slice",
             .source = {3, 2, 7},
             .source_channel = 1,
             .source_channels = 3,
             .destination_channel = 4,
             .quick = true},
     .before = {1, 1, 2},
     .after = {1, 0, 3},
     .fillValue = 0.5F},
    {.row = {.name = "given_destination",
             .why = "offset and clip rectangle place it; sizes along x and y do not count",
             .source = {4, 3, 3},
             .destination = {8, 7},
             .offset = {-2, -1},
             .clip = {{1, 1, 0}, {6, 5, all_channels}}},
     .before = {9, 9, 1},
     .after = {9, 9, 0},
     .fillValue = 0.5F},
    {.row = {.name = "cut",
             .why = "not all of the source is seen",
             .source = {5, 4, 2},
             .destination = {4, 3},
             .offset = {3, -1}},
     .fillValue = 0.5F},
    {.row = {.name = "outside",
             .why = "only the edge, or nothing, is seen",
             .source = {3, 3, 2},
             .batch = 1,
             .destination = {3, 2},
             .offset = {8, -7}},
     .fillValue = 0.5F},
    {.row = {.name = "fill_array", .source = {3, 2, 3}},
     .before = {1, 1, 1},
     .after = {1, 0, 2},
     .fillValue = 9,
     .fillValueArray = {0.5F, -0.25F, 0.75F, 1, -1, 0.125F}},
};

const std::vector<PadRow> examples{
    {.row = {.name = "E7_clamp",
             .source = {3, 1, 1},
             .edge = ImageEdgeMode::Clamp,
             .given = {.source = {10, 20, 30},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {10, 10, 10, 20, 30, 30, 30, 30},
                       .source_gradient = {6, 4, 26}},
             .quick = true},
     .before = {2, 0, 0},
     .after = {3, 0, 0}},
    {.row = {.name = "E7_mirror",
             .source = {3, 1, 1},
             .edge = ImageEdgeMode::Mirror,
             .given = {.source = {10, 20, 30},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {10, 20, 30, 20, 10, 20, 30, 20},
                       .source_gradient = {6, 20, 10}},
             .quick = true},
     .before = {4, 0, 0},
     .after = {1, 0, 0}},
    {.row = {.name = "E7_mirror_with_edge",
             .source = {3, 1, 1},
             .edge = ImageEdgeMode::MirrorWithEdge,
             .given = {.source = {10, 20, 30},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {30, 30, 20, 10, 10, 20, 30, 30},
                       .source_gradient = {9, 9, 18}},
             .quick = true},
     .before = {4, 0, 0},
     .after = {1, 0, 0}},
    {.row = {.name = "E7_constant",
             .source = {3, 1, 1},
             .edge = ImageEdgeMode::Constant,
             .given = {.source = {10, 20, 30},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {-1, -1, 10, 20, 30, -1, -1, -1},
                       .source_gradient = {3, 4, 5}},
             .quick = true},
     .before = {2, 0, 0},
     .after = {3, 0, 0},
     .fillValue = -1},
    {.row = {.name = "E7_channels_zero",
             .source = {1, 1, 6},
             .source_channel = 1,
             .source_channels = 3,
             .given = {.source = {0, 1, 2, 3, 4, 5},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {0, 0, 1, 2, 3, 0, 0, 0},
                       .source_gradient = {0, 3, 4, 5, 0, 0}},
             .quick = true},
     .before = {0, 0, 2},
     .after = {0, 0, 3}},
    {.row = {.name = "E7_channels_mirror_with_edge",
             .source = {1, 1, 6},
             .edge = ImageEdgeMode::MirrorWithEdge,
             .source_channel = 1,
             .source_channels = 3,
             .given = {.source = {0, 1, 2, 3, 4, 5},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {2, 1, 1, 2, 3, 3, 2, 1},
                       .source_gradient = {0, 13, 12, 11, 0, 0}},
             .quick = true},
     .before = {0, 0, 2},
     .after = {0, 0, 3}},
    {.row = {.name = "E7_channels_mirror",
             .source = {1, 1, 6},
             .edge = ImageEdgeMode::Mirror,
             .source_channel = 1,
             .source_channels = 3,
             .given = {.source = {0, 1, 2, 3, 4, 5},
                       .incoming = {1, 2, 3, 4, 5, 6, 7, 8},
                       .result = {3, 2, 1, 2, 3, 2, 1, 2},
                       .source_gradient = {0, 10, 20, 6, 0, 0}},
             .quick = true},
     .before = {0, 0, 2},
     .after = {0, 0, 3}},
    {.row = {.name = "many_pixels",
             .source = {33, 21, 6},
             .edge = ImageEdgeMode::Mirror,
             .forward_only = true},
     .before = {3, 2, 0},
     .after = {2, 3, 0}},
    {.row = {.name = "a_long_fill_array",
             .why = "what is too much is ignored",
             .source = {2, 2, 2},
             .edge = ImageEdgeMode::Constant},
     .before = {1, 0, 0},
     .fillValueArray = {0.5F, -0.5F, 9, 9}},
};

std::vector<PadRow> rows() {
  std::vector<PadRow> all(examples);
  for (const PadRow& shape : shapes) {
    for (const auto& [mode, name] : modes) {
      PadRow& row = all.emplace_back(shape);
      row.row.edge = mode;
      row.row.name += std::string("_") + name;
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Pad, Rows, testing::ValuesIn(subjects<PadSubject>(rows())), name_of_row);

}  // namespace
}  // namespace cermet::test
