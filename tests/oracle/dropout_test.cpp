// Dropout of the oracle against the specification's numbers and against differences.

#include <limits>

#include "dropout.h"
#include "help.h"

namespace cermet::oracle {
namespace {

TEST(Dropout, PhiloxKnownAnswers) {
  // The three vectors that the authors of the generator publish for philox4x32 with 10 rounds.
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SpecRnnMatrixB9, R2ePhiloxWords) {
  const auto block = [](std::uint32_t seed, std::uint32_t number) {
    return philox4x32_10({0, 0, 0, number}, {seed, 0});
  };
  EXPECT_EQ(block(0, 1), (PhiloxBlock{0x2dce73e5, 0x1348e23f, 0xfcf8e0ec, 0xa287aadb}));
  EXPECT_EQ(block(1, 0), (PhiloxBlock{0xe3e80670, 0xe50a0ebc, 0x95f222c0, 0xb615aa27}));
  EXPECT_EQ(block(1, 1), (PhiloxBlock{0x127bee41, 0x1e047488, 0x48842b20, 0x0a393496}));
  EXPECT_EQ(block(42, 0), (PhiloxBlock{0x9ceaf053, 0x77f5493b, 0x12bf50ad, 0x5742b3d7}));
}

TEST(SpecPointwise15, Example8GivenMask) {
  const Dropout op{.keepProbability = 0.8F};  // a float: 1 / 0.8F is 1.25 to 2e-8
  const auto mask = tensor(1, 1, 4, 1, {1, 0, 1, 1});
  expect_values(apply_dropout_mask(op, tensor(1, 1, 4, 1, {1, 2, 3, 4}), mask).v,
                {1.25, 0, 3.75, 5}, "", 2e-8);
  expect_values(dropout_gradient({op}, tensor(1, 1, 4, 1, {1, 1, 1, 2}), mask).v,
                {1.25, 0, 1.25, 2.5}, "", 2e-8);
}

TEST(SpecPointwise15, Example8Statistics) {
  const Dropout op{.keepProbability = 0.8F};
  const Dropout::Scalars first{.seed = 5, .encode = 0};
  const auto mask = dropout_mask(op, first, 1, 100, 100, 100);
  double kept = 0;
  for (const double m : mask.v) kept += m;
  EXPECT_NEAR(kept / 1e6, 0.8, 0.002);
  const auto y = apply_dropout_mask(op, like(mask, 1), mask);
  double sum = 0;
  for (const double value : y.v) sum += value;
  EXPECT_NEAR(sum / 1e6, 1, 0.0025);

  const auto small = [&](std::uint64_t encode, std::uint32_t image) {
    return dropout_mask(op, {.seed = 5, .encode = encode, .first_image = image}, 1, 9, 9, 3).v;
  };
  EXPECT_NE(small(0, 0), small(0, 1));
  EXPECT_NE(small(0, 0), small(1, 0));
  EXPECT_NE(small(0, 0), small(std::uint64_t{1} << 32U, 0));
  auto pair = small(0, 6);
  const auto second = small(0, 7);
  pair.insert(pair.end(), second.begin(), second.end());
  EXPECT_EQ(dropout_mask(op, {.seed = 5, .first_image = 6}, 2, 9, 9, 3).v, pair);
}

TEST(Dropout, MaskElementsFollowTheCounterLayout) {
  // Element e of image n is word e % 4 of counter {e / 4, first image + n, encode low, encode
  // high}.
  const Dropout op{.keepProbability = 0.5F};
  const Dropout::Scalars s{
      .seed = 0x299f31d0a4093822U, .encode = 0x0370734413198a2eU, .first_image = 3};
  const auto mask = dropout_mask(op, s, 2, 1, 2, 3);
  for (std::uint32_t n = 0; n < 2; ++n)
    for (std::uint32_t e = 0; e < 6; ++e) {
      const auto words =
          philox4x32_10({e / 4, 3 + n, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
      EXPECT_EQ(mask.v[n * 6 + e], (words.at(e % 4) >> 31U) == 0 ? 1 : 0);  // u < 0.5
    }
}

TEST(Dropout, SharedAxesShiftAndInfinity) {
  Dropout op{.keepProbability = 0.5F};
  op.maskStrideX = op.maskStrideY = 0;
  const auto whole_channels = dropout_mask(op, {.seed = 9}, 2, 4, 5, 32);
  EXPECT_EQ(whole_channels.h * whole_channels.w, 1);
  const auto y = dropout(op, {.seed = 9}, filled(2, 4, 5, 32, 3));
  for_each(y, [&](int n, int j, int i, int c) {
    EXPECT_EQ(y(n, j, i, c), whole_channels(n, 0, 0, c) * 6);
  });
  DropoutGradient back{.forward = {.keepProbability = 0.5F}};
  back.shiftX = 1;
  const auto mask = tensor(1, 1, 3, 1, {0, 1, 1});
  expect_values(dropout_gradient(back, tensor(1, 1, 3, 1, {1, 2, 3}), mask).v, {2, 4, 0});
  const double infinity = std::numeric_limits<double>::infinity();
  expect_values(dropout_gradient(back, filled(1, 1, 3, 1, infinity), like(mask)).v, {0, 0, 0});
  const Dropout identity{.keepProbability = 1};
  const auto x = random(1, 5, 5, 5, 3);
  EXPECT_EQ(dropout(identity, {}, x).v, x.v);
}

}  // namespace
}  // namespace cermet::oracle
