// MatrixSum: scales, offsets, bias, neuron, transposed, more matrices than one step takes (spec:
// rnn-matrix A10).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "../oracle/neuron.h"
#include "cermet/matrix/sum.h"

namespace cermet::test {
namespace {

struct Sum {
  std::size_t count = 2, rows = 3, columns = 4;
  bool transpose = false, has_scales = false, has_bias = false;
  Activation activation{};
};

/// Operands: the sources, scales, bias, result.
MatrixRow sum(const char* name, const Sum& s) {
  MatrixRow r;
  r.name = name;
  r.has_batch = false;
  r.quick = s.rows * s.columns < 200;
  // The kernel reads sources from their beginning: they have no origins.
  for (std::size_t k = 0; k < s.count; ++k)
    r.operands.push_back({.rows = s.rows, .columns = s.columns});
  r.operands.push_back(
      {.columns = s.count, .is_vector = true, .is_absent = !s.has_scales, .wide_only = true});
  r.operands.push_back({.columns = s.columns, .is_vector = true, .is_absent = !s.has_bias});
  r.operands.push_back({.rows = s.transpose ? s.columns : s.rows,
                        .columns = s.transpose ? s.rows : s.columns,
                        .use = Use::result,
                        .place = placed_by(&MatrixSum::setResultMatrixOrigin)});
  r.make = [s](const Device& device) {
    auto k = std::make_unique<MatrixSum>(device, s.count, s.rows, s.columns, s.transpose);
    const auto& [type, a, b, c] = s.activation;
    k->setNeuronType(type, a, b, c);
    return k;
  };
  r.encode = [s](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixSum&>(k).encode(buffer, std::span(o.matrices.data(), s.count),
                                             o.matrices[s.count + 2], o.vectors[s.count], {},
                                             o.vectors[s.count + 1], 0);
  };
  r.expect = [s](std::vector<Grid>& v) {
    const oracle::NeuronFunction f{s.activation.type, s.activation.a, s.activation.b,
                                   s.activation.c};
    for (std::size_t i = 0; i < s.rows; ++i) {
      for (std::size_t j = 0; j < s.columns; ++j) {
        double total = s.has_bias ? v[s.count + 1](0, j) : 0;
        for (std::size_t k = 0; k < s.count; ++k)
          total += (s.has_scales ? v[s.count](0, k) : 1) * v[k](i, j);
        (s.transpose ? v.back()(j, i) : v.back()(i, j)) = f.value(total);
      }
    }
  };
  return r;
}

using enum CNNNeuronType;
const std::vector<MatrixRow> sums{
    sum("plain", {}),
    sum("scales", {.count = 3, .has_scales = true}),
    sum("bias", {.rows = 5, .columns = 1, .has_bias = true}),
    sum("transposed", {.transpose = true, .has_scales = true, .has_bias = true}),
    sum("neuron", {.has_bias = true, .activation = {TanH, 0.5F, 2, 0}}),
    sum("one_element", {.rows = 1, .columns = 1, .activation = {ReLU, 0.5F, 0, 0}}),
    sum("seven", {.count = 7, .has_scales = true}),
    sum("eight", {.count = 8, .has_scales = true, .has_bias = true}),
    sum("many", {.count = 16,
                 .transpose = true,
                 .has_scales = true,
                 .has_bias = true,
                 .activation = {Sigmoid, 0, 0, 0}}),
    sum("wide", {.count = 3, .rows = 130, .columns = 300, .has_scales = true, .has_bias = true}),
};
INSTANTIATE_TEST_SUITE_P(MatrixSum, MatrixRows, testing::ValuesIn(sums), name_of_matrix_row);

class MatrixSums : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const std::vector<Matrix> pair{matrix(2, 3, {1, 2, 3, 4, 5, 6}),
                                 matrix(2, 3, {10, 20, 30, 40, 50, 60})};
  [[nodiscard]] Matrix matrix(std::size_t r, std::size_t c, const Values& v = {}) const {
    return matrix_of(bench.device, r, c, v);
  }
};

/// The bias goes with the columns of the sources, also where they are transposed.
TEST_F(MatrixSums, have_a_bias_for_each_source_column) {
  const Matrix result = matrix(3, 2);
  MatrixSum(bench.device, 2, 2, 3, true)
      .encode(buffer, pair, result, {}, {}, vector_of(bench.device, {1, 10, 100}), 0);
  finish(buffer);
  EXPECT_EQ(values_of(result), (Values{12, 45, 32, 65, 133, 166}));
}

TEST_F(MatrixSums, take_scales_and_offsets_from_an_index_on) {
  const Matrix result = matrix(1, 2);
  const Vector scales = vector_of(bench.device, {99, 2, -1});
  const Vector offsets = words_of(bench.device, {77, 77, 1, 0, 0, 1});
  MatrixSum(bench.device, 2, 1, 2, false).encode(buffer, pair, result, scales, offsets, {}, 1);
  finish(buffer);
  EXPECT_EQ(values_of(result), (Values{2 * 4 - 20, 2 * 5 - 30}));
}

TEST_F(MatrixSums, take_offsets_for_more_matrices_than_a_step) {
  std::vector<Matrix> many;
  std::vector<std::uint32_t> offsets;
  double wanted = 0;
  for (std::uint32_t k = 0; k < 9; ++k) {
    Values v(9, -1);
    v[k] = static_cast<float>(1U << k);
    wanted += double{v[k]};
    many.push_back(matrix(3, 3, v));
    offsets.insert(offsets.end(), {k / 3, k % 3});
  }
  const Matrix result = matrix(1, 1);
  MatrixSum(bench.device, 9, 1, 1, false)
      .encode(buffer, many, result, {}, words_of(bench.device, offsets), {}, 0);
  finish(buffer);
  EXPECT_EQ(values_of(result), Values{static_cast<float>(wanted)});
}

TEST_F(MatrixSums, count_what_lies_outside_as_0) {
  const Matrix result = matrix(2, 2, {9, 9, 9, 9});
  MatrixSum(bench.device, 2, 2, 2, false)
      .encode(buffer, pair, result, {}, words_of(bench.device, {1, 2, 0xFFFFFFFFU, 0}), {}, 0);
  finish(buffer);
  EXPECT_EQ(values_of(result), (Values{6, 0, 0, 0}));
}

TEST_F(MatrixSums, refuse_what_does_not_fit) {
  const MatrixSum kernel(bench.device, 2, 2, 3, false);
  EXPECT_EQ(kernel.count(), 2U);
  EXPECT_EQ(kernel.rows(), 2U);
  EXPECT_EQ(kernel.columns(), 3U);
  EXPECT_FALSE(kernel.transpose());
  const Matrix result = matrix(2, 3);
  const auto said = [&](std::span<const Matrix> sources, const Matrix& to, const Vector& scales,
                        const Vector& offsets, const Vector& bias, std::size_t start) {
    return complaint([&] { kernel.encode(buffer, sources, to, scales, offsets, bias, start); });
  };
  EXPECT_EQ(said(std::span(pair).first(1), result, {}, {}, {}, 0),
            "MatrixSum: sourceMatrices is 1 matrices; needed 2, the count of the kernel.");
  const std::vector<Matrix> small{pair[0], matrix(2, 2)};
  EXPECT_EQ(said(small, result, {}, {}, {}, 0),
            "MatrixSum: sourceMatrices is a matrix of 2x2 Float32; needed 2x3 for rows x columns.");
  EXPECT_EQ(said(pair, matrix(3, 2), {}, {}, {}, 0),
            "MatrixSum: resultMatrix is a matrix of 3x2 Float32; needed 2x3 for rows x columns.");
  EXPECT_EQ(said(pair, pair[1], {}, {}, {}, 0),
            "MatrixSum: resultMatrix is where sourceMatrices is; needed elsewhere. Write into "
            "another matrix, or into a part of it that is not read.");
  EXPECT_EQ(said(pair, result, vector_of(bench.device, {1, 2}), {}, {}, 1),
            "MatrixSum: scaleVector is a vector of 2 Float32; needed 3 elements for count scales "
            "from startIndex on.");
  EXPECT_EQ(
      said(pair, result, {}, words_of(bench.device, {0, 0, 0}), {}, 0),
      "MatrixSum: offsetVector is a vector of 3 UInt32; needed 4 elements of UInt32 for count "
      "pairs from startIndex on.");
  EXPECT_EQ(said(pair, result, {}, vector_of(bench.device, {0, 0, 0, 0}), {}, 0),
            "MatrixSum: offsetVector is a vector of 4 Float32; needed 4 elements of UInt32 for "
            "count pairs from startIndex on.");
  EXPECT_EQ(said(pair, result, {}, {}, vector_of(bench.device, {1}), 0),
            "MatrixSum: biasVector is a vector of 1 Float32; needed 3 elements for the columns of "
            "the sources.");
  EXPECT_EQ(complaint([&] { MatrixSum(bench.device, 1, 2, 3, false); }),
            "MatrixSum: count is 1; needed 2 or more.");
  EXPECT_EQ(complaint([&] { MatrixSum(bench.device, 2, 0, 3, false); }),
            "MatrixSum: rows is 0; needed 1 to 2147483647.");
}

}  // namespace
}  // namespace cermet::test
