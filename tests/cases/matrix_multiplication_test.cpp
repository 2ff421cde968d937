// MatrixMultiplication and MatrixVectorMultiplication: transposes, alpha and beta, small and
// blocked products (spec: rnn-matrix A6).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "cermet/matrix/multiplication.h"

namespace cermet::test {
namespace {

struct Product {
  std::size_t m, n, k;
  bool left = false, right = false;
  double alpha = 1, beta = 0;
};

double at(const Grid& matrix, bool transposed, std::size_t i, std::size_t j) {
  return transposed ? matrix(j, i) : matrix(i, j);
}

MatrixRow row(const char* name, const Product& p, std::size_t batch = 1,
              std::vector<std::vector<double>> given = {{}, {}, {}}) {
  using M = MatrixMultiplication;
  const auto origin = [](void (M::*set)(const Origin&)) {
    return [set](Kernel& k, const Origin& o) { (dynamic_cast<M&>(k).*set)(o); };
  };
  MatrixRow r;
  r.name = name;
  r.batch = batch;
  r.quick = p.m * p.n * p.k < 1000;
  r.operands = {
      {.rows = p.left ? p.k : p.m,
       .columns = p.left ? p.m : p.k,
       .place = origin(&M::setLeftMatrixOrigin),
       .given = given.at(0)},
      {.rows = p.right ? p.n : p.k,
       .columns = p.right ? p.k : p.n,
       .place = origin(&M::setRightMatrixOrigin),
       .given = given.at(1)},
      {.rows = p.m,
       .columns = p.n,
       .use = p.beta != 0 ? Use::updated : Use::result,
       .place = [](Kernel& k, const Origin& o) { dynamic_cast<M&>(k).setResultMatrixOrigin(o); },
       .given = given.at(2)}};
  r.make = [p](const Device& device) {
    return std::make_unique<M>(device, p.left, p.right, p.m, p.n, p.k, p.alpha, p.beta);
  };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const M&>(k).encode(buffer, o.matrices[0], o.matrices[1], o.matrices[2]);
  };
  r.expect = [p](std::vector<Grid>& v) {
    for (std::size_t i = 0; i < p.m; ++i) {
      for (std::size_t j = 0; j < p.n; ++j) {
        double sum = 0;
        for (std::size_t t = 0; t < p.k; ++t)
          sum += at(v[0], p.left, i, t) * at(v[1], p.right, t, j);
        v[2](i, j) = p.alpha * sum + p.beta * v[2](i, j);
      }
    }
  };
  return r;
}

const std::vector<double> ones4(4, 1), a{1, 2, 3, 4, 5, 6}, b{1, 0, 2, 1, 0, -1};

const std::vector<MatrixRow> product_rows{
    row("plain", {3, 5, 4}),
    row("one_element", {1, 1, 1}, 2),
    row("left", {5, 3, 8, true, false}, 2),
    row("right", {3, 8, 5, false, true}),
    row("both", {8, 1, 3, true, true}, 7),
    row("alpha", {4, 6, 5, false, false, -1.5}),
    row("alpha_0", {4, 6, 5, false, false, 0}),
    row("beta", {7, 5, 3, false, true, 2, 0.5}, 2),
    row("beta_1", {5, 7, 3, true, false, 1, 1}),
    row("one_row", {1, 37, 19}),
    row("one_column", {23, 1, 70, true, false, 2, -1}),
    row("cut_tiles", {13, 35, 129}, 2),
    row("blocks", {129, 65, 40}),
    row("blocks_of_both", {70, 150, 33, true, true, 0.5, 0.25}),
    row("blocks_left", {131, 130, 64, true, false, 1, 0}, 2),
    row("blocks_right", {64, 257, 66, false, true, -1, 1}),
    row("long_row", {1, 1100, 100, false, true}),
    row("many_small_ones", {9, 9, 9}, 50),
    row("R1", {2, 2, 3, false, false, 2, 0.5}, 1, {a, b, ones4}),
};
INSTANTIATE_TEST_SUITE_P(MatrixMultiplication, MatrixRows, testing::ValuesIn(product_rows),
                         name_of_matrix_row);

struct VectorProduct {
  std::size_t rows, columns;
  bool transpose = false;
  double alpha = 1, beta = 0;
};

MatrixRow row(const char* name, const VectorProduct& p, std::size_t batch = 1,
              std::vector<std::vector<double>> given = {{}, {}, {}}) {
  using M = MatrixVectorMultiplication;
  MatrixRow r;
  r.name = name;
  r.batch = batch;
  r.quick = p.rows * p.columns < 1000;
  r.operands = {
      {.rows = p.transpose ? p.columns : p.rows,
       .columns = p.transpose ? p.rows : p.columns,
       .place = [](Kernel& k,
                   const Origin& o) { dynamic_cast<M&>(k).setPrimarySourceMatrixOrigin(o); },
       .given = given.at(0)},
      {.columns = p.columns,
       .is_vector = true,
       .place = [](Kernel& k,
                   const Origin& o) { dynamic_cast<M&>(k).setSecondarySourceMatrixOrigin(o); },
       .given = given.at(1)},
      {.columns = p.rows,
       .use = p.beta != 0 ? Use::updated : Use::result,
       .is_vector = true,
       .place = [](Kernel& k, const Origin& o) { dynamic_cast<M&>(k).setResultMatrixOrigin(o); },
       .given = given.at(2)}};
  r.make = [p](const Device& device) {
    return std::make_unique<M>(device, p.transpose, p.rows, p.columns, p.alpha, p.beta);
  };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const M&>(k).encode(buffer, o.matrices[0], o.vectors[1], o.vectors[2]);
  };
  r.expect = [p](std::vector<Grid>& v) {
    for (std::size_t i = 0; i < p.rows; ++i) {
      double sum = 0;
      for (std::size_t t = 0; t < p.columns; ++t) sum += at(v[0], p.transpose, i, t) * v[1](0, t);
      v[2](0, i) = p.alpha * sum + p.beta * v[2](0, i);
    }
  };
  return r;
}

const std::vector<MatrixRow> vector_rows{
    row("plain", VectorProduct{5, 3}),
    row("one_element", VectorProduct{1, 1}, 2),
    row("transposed", VectorProduct{8, 5, true}, 7),
    row("alpha_and_beta", VectorProduct{5, 8, false, -2, 0.5}, 2),
    row("blocks", VectorProduct{700, 90, false, 1, 1}),
    row("blocks_transposed", VectorProduct{1100, 80, true}),
    row("R1", VectorProduct{2, 3, false, 2, 0.5}, 1, {a, {1, -1, 2}, {1, 1}}),
    row("R1_transposed", VectorProduct{3, 2, true}, 1, {a, {1, -1}, {}}),
};
INSTANTIATE_TEST_SUITE_P(MatrixVectorMultiplication, MatrixRows, testing::ValuesIn(vector_rows),
                         name_of_matrix_row);

class MatrixMultiplications : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  [[nodiscard]] Matrix matrix(std::size_t rows, std::size_t columns,
                              const std::vector<float>& values = {},
                              DataType type = DataType::Float32) const {
    Matrix made(bench.device, MatrixDescriptor::matrixDescriptor(
                                  rows, columns, columns * SizeofDataType(type), type));
    if (!values.empty()) made.data().copy_in(values.data(), values.size() * sizeof(float));
    return made;
  }
  [[nodiscard]] Vector vector(std::size_t length) const {
    return {bench.device, VectorDescriptor::vectorDescriptor(length, DataType::Float32)};
  }
};

TEST_F(MatrixMultiplications, give_the_numbers_of_the_specification) {
  const Matrix left = matrix(2, 3, {1, 2, 3, 4, 5, 6});
  const Matrix right = matrix(3, 2, {1, 0, 2, 1, 0, -1}), result = matrix(2, 2, {1, 1, 1, 1});
  MatrixMultiplication(bench.device, false, false, 2, 2, 3, 2, 0.5)
      .encode(buffer, left, right, result);
  const Matrix square = matrix(3, 3);
  MatrixMultiplication(bench.device, true, false, 3, 3, 2, 1, 0).encode(buffer, left, left, square);
  finish(buffer);
  EXPECT_EQ(result.data().values<float>(), (Values{10.5F, -1.5F, 28.5F, -1.5F}));
  EXPECT_EQ(square.data().values<float>(), (Values{17, 22, 27, 22, 29, 36, 27, 36, 45}));
}

TEST_F(MatrixMultiplications, take_one_read_from_a_matrix_that_is_both_factors) {
  const TemporaryMatrix x(buffer, MatrixDescriptor::matrixDescriptor(2, 2, 8, DataType::Float32));
  x.setReadCount(2);
  MatrixMultiplication(bench.device, 2, 2, 2).encode(buffer, x, x, matrix(2, 2));
  EXPECT_EQ(x.readCount(), 1U);
}

TEST_F(MatrixMultiplications, may_write_beside_what_they_read) {
  const Matrix all = matrix(2, 4, {1, 2, 0, 0, 3, 4, 0, 0});
  MatrixMultiplication product(bench.device, 2, 2, 2);
  product.setResultMatrixOrigin({0, 2, 0});
  product.encode(buffer, all, all, all);
  finish(buffer);
  EXPECT_EQ(all.data().values<float>(), (Values{1, 2, 7, 10, 3, 4, 15, 22}));
}

TEST_F(MatrixMultiplications, refuse_what_does_not_fit) {
  const MatrixMultiplication product(bench.device, true, false, 2, 3, 4, 1, 0);
  const Matrix left = matrix(4, 2), right = matrix(4, 3), result = matrix(2, 3);
  const auto said = [&](const MatrixMultiplication& k, const Matrix& l, const Matrix& r,
                        const Matrix& c) { return complaint([&] { k.encode(buffer, l, r, c); }); };
  EXPECT_EQ(said(product, matrix(3, 2), right, result),
            "MatrixMultiplication: leftMatrix is a matrix of 3x2 Float32; needed 4x2 for "
            "interiorColumns x resultRows.");
  EXPECT_EQ(said(product, left, matrix(4, 2), result),
            "MatrixMultiplication: rightMatrix is a matrix of 4x2 Float32; needed 4x3 for "
            "interiorColumns x resultColumns.");
  EXPECT_EQ(said(product, left, right, matrix(2, 2)),
            "MatrixMultiplication: resultMatrix is a matrix of 2x2 Float32; needed 2x3 for "
            "resultRows x resultColumns.");
  EXPECT_EQ(said(product, {}, right, result),
            "MatrixMultiplication: leftMatrix is nil; needed a vector or matrix of the command "
            "buffer's device.");
  EXPECT_EQ(said(product, matrix(4, 2, {}, DataType::UInt8), right, result),
            "MatrixMultiplication: leftMatrix is a matrix of 4x2 UInt8; needed elements of Float32 "
            "or Float16.");
  EXPECT_EQ(said(MatrixMultiplication(bench.device, 2, 2, 2), matrix(2, 2), right, right),
            "MatrixMultiplication: resultMatrix is where rightMatrix is; needed elsewhere. Write "
            "into another matrix, or into a part of it that is not read.");
  MatrixMultiplication moved = product;
  moved.setLabel("dense");
  moved.setRightMatrixOrigin({1, 0, 0});
  EXPECT_EQ(said(moved, left, right, result),
            "MatrixMultiplication \"dense\": rightMatrix is a matrix of 4x3 Float32; needed 4x3 "
            "from (1, 0) for interiorColumns x resultColumns.");
  moved.setRightMatrixOrigin({0, 3, 0});
  EXPECT_EQ(said(moved, left, right, result),
            "MatrixMultiplication \"dense\": rightMatrixOrigin is (0, 3); needed a place in "
            "rightMatrix, a matrix of 4x3 Float32.");
  moved.setRightMatrixOrigin({0, 0, 1});
  EXPECT_EQ(said(moved, left, right, result),
            "MatrixMultiplication \"dense\": rightMatrixOrigin is one with z = 1; needed z = 0.");
  moved.setRightMatrixOrigin({});
  moved.setBatchStart(1);
  EXPECT_EQ(said(moved, left, right, result),
            "MatrixMultiplication \"dense\": batchStart is 1; needed a matrix of every operand: "
            "leftMatrix is a matrix of 4x2 Float32.");
  moved.setBatchStart(0);
  moved.setBatchSize(0);
  EXPECT_EQ(said(moved, left, right, result),
            "MatrixMultiplication \"dense\": batchSize is 0; needed 1 or more.");
  EXPECT_EQ(complaint([&] { MatrixMultiplication(bench.device, 2, 0, 4); }),
            "MatrixMultiplication: resultColumns is 0; needed 1 to 2147483647.");
  const Device other = Device::cpu(1);
  EXPECT_EQ(said(MatrixMultiplication(other, 2, 3, 4), left, right, result),
            "MatrixMultiplication: commandBuffer is on another device; needed a command buffer of "
            "the kernel's device. Make a copy of the kernel for that device.");
}

TEST_F(MatrixMultiplications, of_vectors_refuse_what_does_not_fit) {
  MatrixVectorMultiplication product(bench.device, 2, 3);
  const auto said = [&](const Matrix& m, const Vector& x, const Vector& y) {
    return complaint([&] { product.encode(buffer, m, x, y); });
  };
  EXPECT_EQ(said(matrix(3, 2), vector(3), vector(2)),
            "MatrixVectorMultiplication: inputMatrix is a matrix of 3x2 Float32; needed 2x3 for "
            "rows x columns.");
  EXPECT_EQ(said(matrix(2, 3), vector(2), vector(2)),
            "MatrixVectorMultiplication: inputVector is a vector of 2 Float32; needed 3 elements "
            "for the columns of the kernel.");
  const Vector both = vector(3);
  EXPECT_EQ(said(matrix(2, 3), both, both),
            "MatrixVectorMultiplication: resultVector is where inputVector is; needed elsewhere. "
            "Write into another matrix, or into a part of it that is not read.");
  product.setResultMatrixOrigin({1, 0, 0});
  EXPECT_EQ(said(matrix(2, 3), vector(3), vector(2)),
            "MatrixVectorMultiplication: resultVector is a vector of 2 Float32; needed 2 elements "
            "from element 1 for the rows of the kernel.");
  product.setResultMatrixOrigin({0, 1, 0});
  EXPECT_EQ(said(matrix(2, 3), vector(3), vector(2)),
            "MatrixVectorMultiplication: resultMatrixOrigin is one with y = 1; needed y = 0.");
  EXPECT_EQ(complaint([&] { MatrixVectorMultiplication(bench.device, 0, 1); }),
            "MatrixVectorMultiplication: rows is 0; needed 1 to 2147483647.");
}

}  // namespace
}  // namespace cermet::test
