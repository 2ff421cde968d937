// NNCompare: types, threshold, broadcasting, geometry, what is no number, and the properties that
// change nothing (spec: pointwise 9).

#include <cmath>
#include <limits>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/refusal.h"
#include "arithmetic.h"

namespace cermet::test {
namespace {

using Type = NNComparisonType;
using Format = ImageFeatureChannelFormat;

struct NamedType {
  const char* name;
  Type type;
  std::vector<double> example;  // (1, 2, 3) with (2, 2, 2)
};
const std::vector<NamedType> types{
    {"equal", Type::Equal, {0, 1, 0}},     {"not_equal", Type::NotEqual, {1, 0, 1}},
    {"less", Type::Less, {1, 0, 0}},       {"less_or_equal", Type::LessOrEqual, {1, 1, 0}},
    {"greater", Type::Greater, {0, 0, 1}}, {"greater_or_equal", Type::GreaterOrEqual, {0, 1, 1}},
};

std::vector<ArithmeticRow> compare_rows() {
  using namespace arithmetic_table;
  std::vector<ArithmeticRow> rows{{.name = "example_9_equal_within_1",
                                   .comparison = Type::Equal,
                                   .threshold = 1,
                                   .primary = {.image = {3, 1, 1}},
                                   .secondary = {.image = {3, 1, 1}},
                                   .x = {1, 2, 3},
                                   .y = {2, 2, 2},
                                   .result = {1, 1, 1},
                                   .quick = true}};
  for (const NamedType& t : types) {
    const auto add = [&](const char* name, ArithmeticRow row) {
      row.name = std::string(t.name) + "_" + name;
      row.comparison = t.type;
      rows.push_back(std::move(row));
    };
    const auto sized = [&](Shape shape, std::size_t batch) {
      ArithmeticRow row{.primary = {.image = shape}, .secondary = {.image = shape}};
      row.batch = batch;
      row.quick = true;
      return row;
    };
    add("example_9", {.primary = {.image = {3, 1, 1}},
                      .secondary = {.image = {3, 1, 1}},
                      .x = {1, 2, 3},
                      .y = {2, 2, 2},
                      .result = t.example,
                      .quick = true});
    add("plain", {.quick = true});
    add("single_pixel", sized({1, 1, 1}, 1));
    add("three_channels", sized({7, 5, 3}, 7));
    add("eight_channels", sized({6, 4, 8}, 2));
    add("threads", sized({67, 61, 33}, 1));
    add("threshold", {.threshold = 0.5F, .quick = true});
    add("negative_threshold", {.threshold = -0.5F});
    add("unused_properties", {.why = "scales, bias and limits do not take part",
                              .threshold = 0.5F,
                              .primaryScale = -2,
                              .secondaryScale = 0.25F,
                              .bias = 3,
                              .minimumValue = 0.25F,
                              .maximumValue = 0.5F,
                              .quick = true});
    add("per_channel", {.secondary = per_channel_5, .quick = true});
    add("scalar", {.secondary = scalar});
    add("row", {.secondary = one_row});
    add("column", {.secondary = one_column});
    add("channel", {.secondary = one_channel});
    add("first_operand_per_channel", {.primary = per_channel_5});
    add("first_operand_scalar", {.threshold = 0.5F, .primary = scalar});
    add("row_and_column",
        {.why = "both operands are broadcast", .primary = one_row, .secondary = one_column});
    add("offsets", {.primary = {.image = {7, 6, 4}, .offset = {1, 2}},
                    .secondary = {.image = {6, 7, 4}, .offset = {2, 0}},
                    .destination = {4, 3},
                    .quick = true});
    add("beyond_zero_edges", {.primary = {.image = {4, 3, 3}, .offset = {-2, 1}},
                              .secondary = {.image = {4, 3, 3}, .offset = {1, -1}},
                              .destination = {5, 4}});
    add("beyond_clamped_edges", {.primary = {.image = {4, 3, 3}, .offset = {-2, 1}},
                                 .secondary = {.image = {4, 3, 3}, .offset = {1, -1}},
                                 .destination = {5, 4},
                                 .edge = ImageEdgeMode::Clamp});
    add("clip", {.primary = {.image = {7, 6, 4}},
                 .secondary = {.image = {7, 6, 4}},
                 .destination = {7, 6},
                 .clip = {{2, 1, 0}, {3, 4, all_channels}}});
    add("broadcast_offset", {.why = "the element at the offset serves all",
                             .primary = {.image = {5, 4, 3}},
                             .secondary = {.image = {3, 4, 3}, .strideX = 0, .offset = {2, 0}},
                             .destination = {5, 4}});
  }
  return rows;
}

class CompareRows : public testing::TestWithParam<ArithmeticRow> {};
TEST_P(CompareRows, hold) { expect_row_holds(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Compare, CompareRows, testing::ValuesIn(compare_rows()),
                         name_of_arithmetic_row);

class Comparisons : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  NNCompare kernel{bench.device};

  [[nodiscard]] ImageBatch row(const Values& values, Format format = Format::Float32) const {
    return upload(bench.device, format, {1, 1, values.size(), 1}, values);
  }
  [[nodiscard]] Values compare(Type type, const ImageBatch& x, const ImageBatch& y,
                               const ImageBatch& z) {
    kernel.setComparisonType(type);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, x, y, z);
    finish(buffer);
    return read(z);
  }
  [[nodiscard]] Values compare(Type type, const Values& x, const Values& y) {
    return compare(type, row(x), row(y), row(Values(x.size(), 7)));
  }
};

TEST_F(Comparisons, are_for_equality_without_a_threshold_by_default) {
  EXPECT_EQ(kernel.comparisonType(), Type::Equal);
  EXPECT_EQ(kernel.threshold(), 0.0F);
  EXPECT_EQ(kernel.class_name(), "NNCompare");
}

TEST_F(Comparisons, know_no_order_of_what_is_no_number) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(),
                  infinity = std::numeric_limits<float>::infinity();
  for (const float threshold : {0.0F, 1.0F, infinity}) {
    kernel.setThreshold(threshold);
    for (const NamedType& t : types) {
      const float expected = t.type == Type::NotEqual ? 1.0F : 0.0F;
      EXPECT_EQ(compare(t.type, {nan, 1, nan, nan, -infinity}, {1, nan, nan, infinity, nan}),
                Values(5, expected))
          << t.name << ", threshold " << threshold;
    }
  }
}

TEST_F(Comparisons, take_equal_infinities_for_equal) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const Values x{infinity, -infinity, infinity, -infinity, infinity, 0.0F},
      y{infinity, -infinity, -infinity, infinity, 3, -0.0F};
  EXPECT_EQ(compare(Type::Equal, x, y), (Values{1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(compare(Type::NotEqual, x, y), (Values{0, 0, 1, 1, 1, 0}));
  EXPECT_EQ(compare(Type::Less, x, y), (Values{0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(compare(Type::LessOrEqual, x, y), (Values{1, 1, 0, 1, 0, 1}));
  EXPECT_EQ(compare(Type::Greater, x, y), (Values{0, 0, 1, 0, 1, 0}));
  EXPECT_EQ(compare(Type::GreaterOrEqual, x, y), (Values{1, 1, 1, 0, 1, 1}));
  kernel.setThreshold(infinity);
  EXPECT_EQ(compare(Type::Equal, x, y), Values(6, 1));
}

TEST_F(Comparisons, count_the_distance_itself_as_within) {
  kernel.setThreshold(0.25F);
  const Values x{1, 1, 1, 1}, y{1.25F, std::nextafter(1.25F, 2.0F), 0.75F, 0.5F};
  EXPECT_EQ(compare(Type::Equal, x, y), (Values{1, 0, 1, 0}));
  EXPECT_EQ(compare(Type::Less, x, y), (Values{1, 1, 0, 0}));
  EXPECT_EQ(compare(Type::Greater, x, y), (Values{0, 0, 1, 1}));
  EXPECT_EQ(compare(Type::LessOrEqual, x, y), (Values{1, 1, 1, 0}));
  EXPECT_EQ(compare(Type::GreaterOrEqual, x, y), (Values{1, 0, 1, 1}));
}

TEST_F(Comparisons, give_0_and_1_in_every_format) {
  const std::vector<Format> formats{Format::Unorm8, Format::Unorm16, Format::Float16,
                                    Format::BFloat16, Format::Float32};
  const Values x{0, 1, 0, 1, 1}, y{0, 0, 1, 1, 0};  // exact in all
  for (const Format from : formats) {
    for (const Format to : formats) {
      EXPECT_EQ(compare(Type::Greater, row(x, from), row(y, to), row(Values(5, 0.5F), to)),
                (Values{0, 1, 0, 0, 1}))
          << name_of(from) << " to " << name_of(to);
    }
  }
}

TEST_F(Comparisons, write_channels_at_their_offsets) {
  kernel.setComparisonType(Type::Less);
  kernel.setPrimarySourceFeatureChannelOffset(4);
  kernel.setSecondarySourceFeatureChannelMaxCount(2);
  kernel.setDestinationFeatureChannelOffset(4);
  const Images six{1, 1, 1, 6}, eight{1, 1, 1, 8};
  const ImageBatch x = upload(bench.device, Format::Float32, six, Values{9, 9, 9, 9, 1, 3}),
                   y = upload(bench.device, Format::Float32, six, Values{2, 2, 0, 0, 0, 0}),
                   z = upload(bench.device, Format::Float32, eight, Values(8, 7));
  EXPECT_EQ(compare(Type::Less, x, y, z), (Values{7, 7, 7, 7, 1, 0, 7, 7}));
}

TEST_F(Comparisons, are_copied_with_their_properties) {
  kernel.setComparisonType(Type::GreaterOrEqual);
  kernel.setThreshold(2);
  kernel.setSecondaryStrideInPixelsX(0);
  const NNCompare copy = kernel.copy();
  EXPECT_EQ(copy.comparisonType(), Type::GreaterOrEqual);
  EXPECT_EQ(copy.threshold(), 2.0F);
  EXPECT_EQ(copy.secondaryStrideInPixelsX(), 0U);
}

TEST_F(Comparisons, refuse_what_does_not_fit) {
  kernel.setLabel("c");
  expect_refusal([&] { kernel.setComparisonType(static_cast<Type>(6)); },
                 "NNCompare \"c\": comparisonType is 6; needed 0 to 5.");
  EXPECT_EQ(kernel.comparisonType(), Type::Equal);
  const ImageBatch one = upload(bench.device, Format::Float32, {1, 2, 2, 1}, Values(4, 1)),
                   three = upload(bench.device, Format::Float32, {1, 2, 2, 3}, Values(12, 1));
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  expect_refusal([&] { kernel.encodeBatch(buffer, three, one, three); },
                 "NNCompare \"c\": secondaryImage is 2x2x1 Float32; needed "
                 "3 feature channels, as many as the primary image. Set "
                 "secondaryStrideInFeatureChannels to 0 to use one for all.");
  kernel.setSecondaryStrideInFeatureChannels(2);
  expect_refusal([&] { kernel.encodeBatch(buffer, three, one, three); },
                 "NNCompare \"c\": secondaryStrideInFeatureChannels is 2; needed 0 or 1.");
  kernel.setSecondaryStrideInFeatureChannels(0);
  const ImageBatch to = upload(bench.device, Format::Float32, {1, 2, 2, 3}, Values(12, 7));
  kernel.encodeBatch(buffer, three, one, to);
  finish(buffer);
  EXPECT_EQ(read(to), Values(12, 1));
}

}  // namespace
}  // namespace cermet::test
