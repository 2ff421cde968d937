// MatrixRandomPhilox and MatrixRandomMTGP32: streams, distributions, batches, what goes on from
// encode to encode, refusals (spec: rnn-matrix A12, R2e).

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "../oracle/random.h"
#include "cermet/core/coder.h"
#include "cermet/matrix/copy.h"
#include "cermet/matrix/random.h"
#include "cermet/nn/archive.h"

namespace cermet::test {
namespace {

using Distribution = MatrixRandomDistributionDescriptor;
using Words = std::vector<std::uint32_t>;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::uint32_t of_philox = 0, of_mtgp32 = 0x4D544750;

Distribution unit() { return {}; }
Distribution uniform(float low, float high) {
  return Distribution::uniformDistributionDescriptor(low, high);
}
Distribution normal(float mean, float deviation, float low = -infinity, float high = infinity) {
  return Distribution::normalDistributionDescriptor(mean, deviation, low, high);
}

std::unique_ptr<MatrixRandom> made(const Device& device, std::uint32_t generator, DataType type,
                                   std::size_t seed, const Distribution& distribution) {
  if (generator == of_philox)
    return std::make_unique<MatrixRandomPhilox>(device, type, seed, distribution);
  return std::make_unique<MatrixRandomMTGP32>(device, type, seed, distribution);
}

// ---- rows ---------------------------------------------------------------------------------------

/// What two encodes of one kernel write. The destination has a gap behind each row, and each
/// matrix.
struct RandomRow {
  std::string name;
  DataType type = DataType::Float32;
  Distribution distribution{};
  std::size_t rows = 5, columns = 7, matrices = 1;
  bool is_vector = false;
  std::size_t gap = 3;  // elements; 0: all are adjacent
  std::size_t start = 0, size = all_elements;
  std::uint32_t generator = of_philox;
  std::size_t seed = 12;
  std::uint64_t block = 0;
  bool quick = true;

  friend std::ostream& operator<<(std::ostream& out, const RandomRow& row) {
    return out << row.name;
  }
};

class RandomRows : public testing::TestWithParam<RandomRow> {
 protected:
  static constexpr std::uint32_t guard = 0x7FC00DED;
  const RandomRow& r = GetParam();
  const std::size_t offset = 2;  // elements before the first
  const std::size_t height = r.is_vector ? 1 : r.rows;
  const std::size_t row = r.columns + r.gap;
  const std::size_t stack = row * height + (r.is_vector ? r.gap : r.gap != 0 ? row : 0);

  /// The elements that are written, in order.
  [[nodiscard]] std::vector<std::size_t> places() const {
    std::vector<std::size_t> all;
    const std::size_t end = r.size < r.matrices - r.start ? r.start + r.size : r.matrices;
    for (std::size_t n = r.start; n < end; ++n)
      for (std::size_t i = 0; i < height; ++i)
        for (std::size_t j = 0; j < r.columns; ++j) all.push_back(offset + n * stack + i * row + j);
    return all;
  }
  /// All of both destinations after two encodes.
  [[nodiscard]] std::array<Words, 2> filled(int threads) const {
    const Bench& bench = Bench::with(threads);
    const auto kernel = made(bench.device, r.generator, r.type, r.seed, r.distribution);
    kernel->setBatchStart(r.start);
    kernel->setBatchSize(r.size);
    kernel->set_block_offset(r.block);
    const Words before(offset + r.matrices * stack + 1, guard);
    std::array<Words, 2> after;
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    std::vector<Buffer> memory;
    for (std::size_t i = 0; i < after.size(); ++i) {
      memory.push_back(bench.device.makeBuffer(before.data(), before.size() * 4));
      if (r.is_vector) {
        kernel->encode(buffer, Vector(memory.back(), offset * 4,
                                      VectorDescriptor::vectorDescriptor(r.columns, r.matrices,
                                                                         stack * 4, r.type)));
      } else {
        kernel->encode(buffer,
                       Matrix(memory.back(), offset * 4,
                              MatrixDescriptor::matrixDescriptor(r.rows, r.columns, r.matrices,
                                                                 row * 4, stack * 4, r.type)));
      }
    }
    finish(buffer);
    for (std::size_t i = 0; i < after.size(); ++i) after[i] = memory[i].values<std::uint32_t>();
    EXPECT_EQ(kernel->block_offset(), r.block + 2 * ((places().size() + 3) / 4));
    return after;
  }
  [[nodiscard]] double bound(double wanted) const {
    const Distribution& d = r.distribution;
    const double rounding = std::abs(wanted) * 0x1p-24;
    if (d.distributionType() == MatrixRandomDistribution::Normal)
      return 4e-6 * double{d.standardDeviation()} + rounding;
    return rounding + (double{d.maximum()} - double{d.minimum()}) * 0x1p-24;
  }
};

TEST_P(RandomRows, hold) {
  const auto after = filled(1);
  EXPECT_TRUE(filled(2) == after) << "by two threads";
  const auto at = places();
  const std::uint64_t blocks = (at.size() + 3) / 4;
  for (std::size_t i = 0; i < after.size(); ++i) {
    Words rest = after[i];
    std::size_t wrong = 0;
    for (std::size_t e = 0; e < at.size(); ++e) {
      const std::uint32_t got = after[i][at[e]];
      rest[at[e]] = guard;
      const auto word = oracle::random_word(r.seed, r.generator, r.block + i * blocks, e);
      const std::string where = "encode " + std::to_string(i) + ", element " + std::to_string(e);
      if (wrong > 5) continue;
      if (r.type == DataType::UInt32) {
        wrong += got != word ? 1U : 0U;
        EXPECT_EQ(got, word) << where;
        continue;
      }
      const double number = double{std::bit_cast<float>(got)};
      const double wanted = oracle::random_number(r.distribution, word);
      const bool near = std::abs(number - wanted) <= bound(wanted);
      wrong += near ? 0U : 1U;
      EXPECT_TRUE(near) << where << ": " << number << ", wanted " << wanted;
    }
    EXPECT_EQ(std::ranges::count(rest, guard), std::ptrdiff_t(rest.size()))
        << "around encode " << i;
  }
}

std::vector<RandomRow> random_rows() {
  constexpr auto word = DataType::UInt32;
  return {
      {.name = "words", .type = word},
      {.name = "words_of_one_element", .type = word, .rows = 1, .columns = 1, .gap = 0},
      {.name = "words_without_gaps", .type = word, .rows = 6, .columns = 11, .gap = 0},
      {.name = "words_of_columns", .type = word, .rows = 37, .columns = 1, .matrices = 2},
      {.name = "words_of_a_vector", .type = word, .columns = 33, .is_vector = true},
      {.name = "words_of_vectors",
       .type = word,
       .columns = 5,
       .matrices = 7,
       .is_vector = true,
       .gap = 1},
      {.name = "words_of_a_batch", .type = word, .matrices = 7},
      {.name = "words_of_a_dense_batch", .type = word, .rows = 4, .matrices = 3, .gap = 0},
      {.name = "words_of_a_part_of_a_batch", .type = word, .matrices = 7, .start = 2, .size = 3},
      {.name = "words_of_the_end_of_a_batch", .type = word, .matrices = 3, .start = 1, .size = 9},
      {.name = "words_of_some_vectors",
       .type = word,
       .columns = 6,
       .matrices = 4,
       .is_vector = true,
       .start = 3},
      {.name = "words_beyond_2_to_32_blocks", .type = word, .columns = 50, .block = 0xFFFFFFF3},
      {.name = "words_of_a_late_block", .type = word, .block = 0x123456789ABCDEF0},
      {.name = "words_of_a_long_seed", .type = word, .seed = 0x9876543211223344},
      {.name = "words_of_mtgp32", .type = word, .generator = of_mtgp32},
      {.name = "many_words", .type = word, .rows = 301, .columns = 503, .gap = 1, .quick = false},
      {.name = "unit"},
      {.name = "unit_vector", .columns = 1025, .is_vector = true},
      {.name = "unit_without_gaps", .rows = 8, .columns = 16, .matrices = 2, .gap = 0},
      {.name = "uniform", .distribution = uniform(-1, 3)},
      {.name = "uniform_of_mnist", .distribution = uniform(-0.2F, 0.2F), .generator = of_mtgp32},
      {.name = "uniform_of_a_batch", .distribution = uniform(5, 7), .matrices = 7, .size = 2},
      {.name = "uniform_of_large_numbers", .distribution = uniform(-1e38F, 2e38F)},
      {.name = "many_uniform",
       .distribution = uniform(0.1F, 0.7F),
       .rows = 300,
       .columns = 400,
       .quick = false},
      {.name = "normal", .distribution = normal(0, 1)},
      {.name = "normal_moved", .distribution = normal(5, 0.25F), .is_vector = true},
      {.name = "normal_of_a_batch", .distribution = normal(-1, 2), .matrices = 2},
      {.name = "normal_of_mtgp32", .distribution = normal(0, 1), .generator = of_mtgp32},
      {.name = "normal_without_gaps",
       .distribution = normal(0, 1),
       .rows = 20,
       .columns = 50,
       .gap = 0},
      {.name = "many_normal",
       .distribution = normal(0, 1),
       .rows = 200,
       .columns = 501,
       .quick = false},
      {.name = "truncated", .distribution = normal(0, 1, -1, 2), .rows = 30, .columns = 31},
      {.name = "truncated_and_moved", .distribution = normal(3, 0.5F, 2, 3.5F), .rows = 20},
      {.name = "truncated_above", .distribution = normal(0, 1, -infinity, -2), .rows = 20},
      {.name = "truncated_below", .distribution = normal(0, 1, 3, infinity), .rows = 20},
      {.name = "truncated_to_the_upper_tail", .distribution = normal(0, 1, 6, 9), .rows = 30},
      {.name = "truncated_to_the_lower_tail", .distribution = normal(0, 1, -11, -10), .rows = 30},
      {.name = "truncated_to_a_few_numbers", .distribution = normal(0, 1, 1, 1.000001F)},
      {.name = "hardly_truncated", .distribution = normal(0, 1, -8, 8), .rows = 30, .columns = 30},
  };
}
std::string name_of_random_row(const testing::TestParamInfo<RandomRow>& one) {
  return one.param.name + (one.param.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(MatrixRandom, RandomRows, testing::ValuesIn(random_rows()),
                         name_of_random_row);

// ---- one by one ---------------------------------------------------------------------------------

class RandomNumbers : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  const Device& device = bench.device;

  [[nodiscard]] Words words(const MatrixRandom& kernel, std::size_t count) const {
    return filled<std::uint32_t>(kernel, DataType::UInt32, count);
  }
  [[nodiscard]] Values numbers(const MatrixRandom& kernel, std::size_t count) const {
    return filled<float>(kernel, DataType::Float32, count);
  }
  [[nodiscard]] MatrixRandomPhilox philox(std::size_t seed) const {
    return {device, DataType::UInt32, seed};
  }
  [[nodiscard]] MatrixRandomPhilox philox(std::size_t seed, const Distribution& d) const {
    return {device, DataType::Float32, seed, d};
  }

 private:
  template <class T>
  [[nodiscard]] std::vector<T> filled(const MatrixRandom& kernel, DataType type,
                                      std::size_t count) const {
    const Vector to(device, VectorDescriptor::vectorDescriptor(count, 1, count * 4, type));
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encode(buffer, to);
    finish(buffer);
    std::vector<T> values = to.data().values<T>();
    values.resize(count);
    return values;
  }
};

TEST_F(RandomNumbers, are_the_words_of_the_specification) {
  EXPECT_EQ(words(philox(0), 8), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8, 0x2dce73e5,
                                        0x1348e23f, 0xfcf8e0ec, 0xa287aadb}));
  EXPECT_EQ(words(philox(1), 8), (Words{0xe3e80670, 0xe50a0ebc, 0x95f222c0, 0xb615aa27, 0x127bee41,
                                        0x1e047488, 0x48842b20, 0x0a393496}));
  EXPECT_EQ(words(philox(42), 4), (Words{0x9ceaf053, 0x77f5493b, 0x12bf50ad, 0x5742b3d7}));
  EXPECT_EQ(words(MatrixRandomPhilox(device), 4), words(philox(0), 4));
  EXPECT_EQ(words(philox((std::size_t{1} << 32U) + 42), 4), words(philox(42), 4));
}

TEST_F(RandomNumbers, are_the_numbers_of_the_specification) {
  EXPECT_EQ(numbers(philox(0, unit()), 4), (Values{0.3990464210510254F, 0.8805201053619385F,
                                                   0.7357127666473389F, 0.605481743812561F}));
  EXPECT_EQ(numbers(MatrixRandomPhilox(device, DataType::Float32, 0), 4),
            numbers(philox(0, unit()), 4));
  EXPECT_EQ(
      numbers(philox(0, uniform(-1, 3)), 4),
      (Values{0.5961856842041016F, 2.522080421447754F, 1.9428510665893555F, 1.4219269752502441F}));
  const Values z = numbers(philox(0, normal(0, 1)), 4);
  const std::vector<double> wanted{-0.2558160992, 1.177590775, 0.6301836019, 0.2675619636};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(double{z[i]}, wanted[i], 4e-6);
}

/// Blocks of seed 0 that have a word whose first 23 bits are 0 or 1.
TEST_F(RandomNumbers, are_exact_at_both_ends) {
  const auto one = [&](std::uint64_t block, std::size_t word, const Distribution& d) {
    auto kernel = philox(0, d);
    kernel.set_block_offset(block);
    return numbers(kernel, 4).at(word);
  };
  constexpr std::uint64_t zeros = 5296325, ones = 1875321;
  EXPECT_EQ(one(zeros, 0, unit()), 0.0F);
  EXPECT_EQ(one(ones, 3, unit()), 1 - 0x1p-23F);
  EXPECT_EQ(one(zeros, 0, uniform(-2, 5)), -2.0F);
  EXPECT_EQ(one(ones, 3, uniform(3, 4)), std::nextafter(4.0F, 3.0F));  // rounded: 4
  const double least = oracle::inverse_normal(0x1p-24, 1 - 0x1p-24),
               most = -oracle::inverse_normal(0x1p-23, 1 - 0x1p-23);
  EXPECT_NEAR(double{one(zeros, 0, normal(0, 1))}, least, 4e-6);
  EXPECT_NEAR(double{one(ones, 3, normal(0, 1))}, most, 4e-6);
  for (const float limit : {1.0F, 0.25F}) {
    const float low = one(zeros, 0, normal(0, 1, -limit, limit)),
                high = one(ones, 3, normal(0, 1, -limit, limit));
    EXPECT_GE(low, -limit);
    EXPECT_NEAR(low, -limit, 1e-6F);
    EXPECT_LE(high, limit);
    EXPECT_NEAR(high, limit, 1e-6F);
  }
}

TEST_F(RandomNumbers, stay_below_a_maximum_that_is_next_to_the_minimum) {
  const float next = std::nextafter(1.0F, 2.0F);
  EXPECT_EQ(numbers(philox(3, uniform(1, next)), 100), Values(100, 1));
}

/// The greatest error, over numbers from all of the distribution.
TEST_F(RandomNumbers, are_within_4e_6_of_the_inverse_of_the_normal_distribution) {
  constexpr std::size_t count = 100'000;
  const Words from = words(philox(5), count);
  const Values got = numbers(philox(5, normal(0, 1)), count);
  double worst = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double wanted = oracle::random_number(normal(0, 1), from[i]);
    worst = std::max(worst, std::abs(double{got[i]} - wanted));
  }
  EXPECT_LT(worst, 4e-6);
}

TEST_F(RandomNumbers, have_the_moments_of_their_distribution) {
  constexpr std::size_t count = 200'000;
  const auto check = [&](const Distribution& d, double mean, double deviation) {
    for (const std::uint32_t generator : {of_philox, of_mtgp32}) {
      const Values all = numbers(*made(device, generator, DataType::Float32, 9, d), count);
      const double n = static_cast<double>(count);
      const double average = std::accumulate(all.begin(), all.end(), 0.0) / n;
      double squares = 0;
      for (const float x : all) squares += (double{x} - average) * (double{x} - average);
      EXPECT_NEAR(average, mean, 5 * deviation / std::sqrt(n));
      EXPECT_NEAR(std::sqrt(squares / n), deviation, 5 * deviation / std::sqrt(n));
    }
  };
  check(unit(), 0.5, 1 / std::sqrt(12.0));
  check(uniform(-2, 6), 2, 8 / std::sqrt(12.0));
  check(normal(3, 2), 3, 2);
  check(normal(0, 1, -1, 1), 0, 0.5395604);  // sqrt(1 - 2 phi(1) / (2 Phi(1) - 1))
}

TEST_F(RandomNumbers, go_on_with_the_next_block) {
  const auto kernel = philox(7), whole = philox(7);
  const Words all = words(whole, 24);
  const auto part = [&](std::ptrdiff_t first, std::ptrdiff_t count) {
    return Words(all.begin() + first, all.begin() + first + count);
  };
  EXPECT_EQ(words(kernel, 5), part(0, 5));
  EXPECT_EQ(kernel.block_offset(), 2U);
  EXPECT_EQ(words(kernel, 4), part(8, 4));
  EXPECT_EQ(words(kernel, 1), part(12, 1));
  EXPECT_EQ(words(kernel, 8), part(16, 8));
  auto again = philox(7);
  again.set_block_offset(2);
  EXPECT_EQ(words(again, 16), part(8, 16));
}

TEST_F(RandomNumbers, go_on_in_copies_and_archives) {
  auto kernel = MatrixRandomMTGP32(device, DataType::Float32, 8, uniform(2, 3));
  kernel.setBatchSize(4);
  static_cast<void>(numbers(kernel, 9));
  const MatrixRandomMTGP32 copy = kernel.copy();
  Coder coder;
  kernel.encodeWithCoder(coder);
  Coder written(coder.bytes(), "random");
  const auto decoded = decode(written, device);
  const auto& archived = dynamic_cast<const MatrixRandomMTGP32&>(*decoded);
  EXPECT_EQ(copy.block_offset(), 3U);
  EXPECT_EQ(copy.batchSize(), 4U);
  EXPECT_EQ(archived.seed(), 8U);
  EXPECT_EQ(archived.distribution(), kernel.distribution());
  const Values next = numbers(kernel, 10);
  EXPECT_EQ(numbers(copy, 10), next);
  EXPECT_EQ(numbers(archived, 10), next);
  EXPECT_NE(numbers(kernel, 10), next);
}

TEST_F(RandomNumbers, differ_between_seeds_and_generators) {
  const Words first = words(philox(1), 64);
  EXPECT_NE(words(philox(2), 64), first);
  const MatrixRandomMTGP32 one(device, DataType::UInt32, 1), same(device, DataType::UInt32, 1);
  const Words other = words(one, 64);
  EXPECT_NE(other, first);
  EXPECT_EQ(words(same, 64), other);
  EXPECT_NE(words(MatrixRandomMTGP32(device), 64), other);
}

TEST_F(RandomNumbers, fill_temporaries_without_reading_them) {
  const auto kernel = philox(4, uniform(0, 1));
  const Matrix to(device, MatrixDescriptor::matrixDescriptor(3, 5, 20, DataType::Float32));
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  MatrixRandomMTGP32(device).synchronizeState(buffer);
  const TemporaryMatrix between(buffer,
                                MatrixDescriptor::matrixDescriptor(3, 5, 32, DataType::Float32));
  kernel.encode(buffer, between);
  EXPECT_EQ(between.readCount(), 1U);
  MatrixCopy(device, 3, 5, false, false)
      .encode(buffer, MatrixCopyDescriptor::descriptor(between, to, {}));
  EXPECT_EQ(between.readCount(), 0U);
  finish(buffer);
  EXPECT_EQ(values_of(to), numbers(philox(4, uniform(0, 1)), 15));
}

TEST_F(RandomNumbers, have_descriptors_with_all_fields) {
  const auto fields = [](const Distribution& d) {
    return Values{d.minimum(), d.maximum(), d.mean(), d.standardDeviation()};
  };
  using enum MatrixRandomDistribution;
  EXPECT_EQ(Distribution::defaultDistributionDescriptor().distributionType(), Default);
  EXPECT_EQ(fields(Distribution::defaultDistributionDescriptor()), Values(4, 0));
  EXPECT_EQ(uniform(-1, 3).distributionType(), Uniform);
  EXPECT_EQ(fields(uniform(-1, 3)), (Values{-1, 3, 1, static_cast<float>(4 / std::sqrt(12.0))}));
  EXPECT_EQ(Distribution::normalDistributionDescriptor(2, 3).distributionType(), Normal);
  EXPECT_EQ(fields(Distribution::normalDistributionDescriptor(2, 3)),
            (Values{-infinity, infinity, 2, 3}));
  EXPECT_EQ(fields(normal(2, 3, 1, 5)), (Values{1, 5, 2, 3}));
  Distribution d;
  d.setDistributionType(Normal);
  d.setMinimum(1);
  d.setMaximum(5);
  d.setMean(2);
  d.setStandardDeviation(3);
  EXPECT_EQ(d, normal(2, 3, 1, 5));
  const auto kernel = philox(6, d);
  EXPECT_EQ(kernel.destinationDataType(), DataType::Float32);
  EXPECT_EQ(kernel.distributionType(), Normal);
  EXPECT_EQ(kernel.batchStart(), 0U);
  EXPECT_EQ(kernel.batchSize(), all_elements);
  EXPECT_EQ(MatrixRandomPhilox(device).destinationDataType(), DataType::UInt32);
  EXPECT_EQ(MatrixRandomPhilox(device).distributionType(), Default);
}

TEST_F(RandomNumbers, refuse_distributions_that_do_not_exist) {
  const auto said = [&](DataType type, const Distribution& d) {
    return complaint([&] { MatrixRandomPhilox(device, type, 0, d); });
  };
  const auto of_numbers = [&](const Distribution& d) { return said(DataType::Float32, d); };
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(
      said(DataType::Float16, {}),
      "MatrixRandomPhilox: destinationDataType is of another kind; needed UInt32 or Float32.");
  EXPECT_EQ(
      complaint([&] { MatrixRandomMTGP32(device, DataType::Int32, 0); }),
      "MatrixRandomMTGP32: destinationDataType is of another kind; needed UInt32 or Float32.");
  for (const Distribution& d : {uniform(0, 1), normal(0, 1)}) {
    EXPECT_EQ(said(DataType::UInt32, d),
              "MatrixRandomPhilox: destinationDataType is UInt32; needed Float32 for a uniform or "
              "normal distribution. Words have the default distribution.");
  }
  Distribution unknown;
  for (const int type : {0, 4}) {
    unknown.setDistributionType(static_cast<MatrixRandomDistribution>(type));
    EXPECT_EQ(of_numbers(unknown), "MatrixRandomPhilox: distributionType is " +
                                       std::to_string(type) + "; needed 1 to 3.");
  }
  EXPECT_EQ(of_numbers(uniform(-infinity, 0)),
            "MatrixRandomPhilox: minimum is -inf; needed a finite number.");
  EXPECT_EQ(of_numbers(uniform(0, nan)),
            "MatrixRandomPhilox: maximum is nan; needed a finite number.");
  for (const float maximum : {1.0F, 2.0F}) {
    EXPECT_EQ(of_numbers(uniform(2, maximum)),
              "MatrixRandomPhilox: minimum is 2.000000; needed less than the maximum, " +
                  std::to_string(maximum) + ".");
  }
  constexpr float large = std::numeric_limits<float>::max();
  EXPECT_EQ(of_numbers(uniform(-large, large)),
            "MatrixRandomPhilox: maximum is " + std::to_string(large) +
                "; needed at most FLT_MAX more than the minimum, " + std::to_string(-large) + ".");
  EXPECT_EQ(of_numbers(normal(infinity, 1)),
            "MatrixRandomPhilox: mean is inf; needed a finite number.");
  EXPECT_EQ(of_numbers(normal(0, infinity)),
            "MatrixRandomPhilox: standardDeviation is inf; needed a finite number.");
  for (const float deviation : {0.0F, -1.0F}) {
    EXPECT_EQ(of_numbers(normal(0, deviation)), "MatrixRandomPhilox: standardDeviation is " +
                                                    std::to_string(deviation) +
                                                    "; needed more than 0.");
  }
  EXPECT_EQ(of_numbers(normal(0, 1, 1, 1)),
            "MatrixRandomPhilox: minimum is 1.000000; needed less than the maximum, 1.000000.");
  EXPECT_EQ(of_numbers(normal(0, 1, nan, 1)),
            "MatrixRandomPhilox: minimum is nan; needed less than the maximum, 1.000000.");
  for (const float limit : {20.0F, -21.0F}) {
    EXPECT_EQ(of_numbers(normal(0, 1, limit, limit + 1)),
              "MatrixRandomPhilox: minimum is " + std::to_string(limit) +
                  "; needed at least 2^-100 of the distribution between it and the maximum, " +
                  std::to_string(limit + 1) +
                  ". Limits are values, not numbers of standard deviations.");
  }
}

TEST_F(RandomNumbers, refuse_destinations_of_another_type_and_do_not_advance) {
  auto of_words = philox(0);
  auto of_floats = philox(0, unit());
  of_floats.setLabel("f");
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const auto vector = [&](DataType type) {
    return Vector(device, VectorDescriptor::vectorDescriptor(4, type));
  };
  const auto matrix = [&](DataType type) {
    return Matrix(device, MatrixDescriptor::matrixDescriptor(2, 3, 2, 12, 24, type));
  };
  EXPECT_EQ(complaint([&] { of_words.encode(buffer, vector(DataType::Float32)); }),
            "MatrixRandomPhilox: destinationVector is a vector of 4 Float32; needed elements of "
            "UInt32, the destinationDataType of this kernel.");
  EXPECT_EQ(complaint([&] { of_words.encode(buffer, matrix(DataType::Int32)); }),
            "MatrixRandomPhilox: destinationMatrix is 2 matrices of 2x3 Int32; needed elements of "
            "UInt32, the destinationDataType of this kernel.");
  EXPECT_EQ(complaint([&] { of_floats.encode(buffer, vector(DataType::UInt32)); }),
            "MatrixRandomPhilox \"f\": destinationVector is a vector of 4 UInt32; needed elements "
            "of Float32, the destinationDataType of this kernel.");
  EXPECT_EQ(
      complaint([&] { of_words.encode(buffer, Vector()); }),
      "MatrixRandomPhilox: destinationVector is nil; needed a vector or matrix of the command "
      "buffer's device.");
  of_words.setBatchStart(2);
  EXPECT_EQ(complaint([&] { of_words.encode(buffer, matrix(DataType::UInt32)); }),
            "MatrixRandomPhilox: batchStart is 2; needed a matrix of every operand: "
            "destinationMatrix is 2 matrices of 2x3 UInt32.");
  of_words.setBatchStart(0);
  of_words.setBatchSize(0);
  EXPECT_EQ(complaint([&] { of_words.encode(buffer, matrix(DataType::UInt32)); }),
            "MatrixRandomPhilox: batchSize is 0; needed 1 or more.");
  of_words.setBatchSize(all_elements);
  EXPECT_EQ(of_words.block_offset(), 0U);
  const Vector last = vector(DataType::UInt32);
  of_words.encode(buffer, last);
  finish(buffer);
  EXPECT_EQ(last.data().values<std::uint32_t>(), words(philox(0), 4));
}

}  // namespace
}  // namespace cermet::test
