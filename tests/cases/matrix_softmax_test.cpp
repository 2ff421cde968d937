// MatrixSoftMax, MatrixLogSoftMax and their gradients (spec: rnn-matrix A11).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "cermet/matrix/softmax.h"

namespace cermet::test {
namespace {

struct Extent {
  std::size_t rows, columns;
  bool logarithmic = false, in_place = false;
  float high = 1;
};

Grid forward(const Extent& e, const Grid& x) {
  Grid y(e.rows, e.columns);
  for (std::size_t i = 0; i < e.rows; ++i) {
    double largest = x(i, 0), sum = 0;
    for (std::size_t j = 0; j < e.columns; ++j) largest = std::max(largest, x(i, j));
    for (std::size_t j = 0; j < e.columns; ++j) sum += std::exp(x(i, j) - largest);
    for (std::size_t j = 0; j < e.columns; ++j) {
      const double logarithm = x(i, j) - largest - std::log(sum);
      y(i, j) = e.logarithmic ? logarithm : std::exp(logarithm);
    }
  }
  return y;
}

void limit(Kernel& kernel, const Extent& e) {
  const auto set = [&](auto* k) {
    if (k == nullptr) return;
    k->setSourceRows(e.rows);
    k->setSourceColumns(e.columns);
  };
  set(dynamic_cast<MatrixSoftMax*>(&kernel));
  set(dynamic_cast<MatrixSoftMaxGradient*>(&kernel));
}

MatrixRow soft_max(const char* name, const Extent& e, std::size_t batch = 1) {
  MatrixRow r;
  r.name = name;
  r.batch = batch;
  r.same_types = true;
  r.quick = e.rows * e.columns < 200;
  r.operands = {{.rows = e.rows,
                 .columns = e.columns,
                 .use = e.in_place ? Use::updated : Use::source,
                 .place = placed_by(&MatrixUnaryKernel::setSourceMatrixOrigin),
                 .high = e.high},
                {.rows = e.rows,
                 .columns = e.columns,
                 .use = Use::result,
                 .matrix = e.in_place ? 0 : all_elements,
                 .place = placed_by(&MatrixUnaryKernel::setResultMatrixOrigin)}};
  r.make = [e](const Device& device) -> std::unique_ptr<Kernel> {
    if (e.logarithmic) return std::make_unique<MatrixLogSoftMax>(device);
    return std::make_unique<MatrixSoftMax>(device);
  };
  r.limit = [e](Kernel& k) { limit(k, e); };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixSoftMax&>(k).encode(buffer, o.matrices[0], o.matrices[1]);
  };
  r.expect = [e](std::vector<Grid>& v) {
    v[1] = forward(e, v[0]);
    if (e.in_place) v[0] = v[1];
  };
  return r;
}

/// Operands: dY, Y, dX. Y is the soft-max of numbers at which the difference quotients are taken.
MatrixRow gradient(const char* name, const Extent& e, std::size_t batch = 1) {
  MatrixRow r = soft_max(name, e, batch);
  Grid x(e.rows, e.columns);
  const auto numbers = floats(e.rows * e.columns, 77);
  x.v.assign(numbers.begin(), numbers.end());
  const Grid y = forward(e, x);
  r.operands = {{.rows = e.rows,
                 .columns = e.columns,
                 .use = e.in_place ? Use::updated : Use::source,
                 .place = placed_by(&MatrixBinaryKernel::setPrimarySourceMatrixOrigin)},
                {.rows = e.rows,
                 .columns = e.columns,
                 .place = placed_by(&MatrixBinaryKernel::setSecondarySourceMatrixOrigin),
                 .given = y.v},
                {.rows = e.rows,
                 .columns = e.columns,
                 .use = Use::result,
                 .matrix = e.in_place ? 0 : all_elements,
                 .place = placed_by(&MatrixBinaryKernel::setResultMatrixOrigin)}};
  r.make = [e](const Device& device) -> std::unique_ptr<Kernel> {
    if (e.logarithmic) return std::make_unique<MatrixLogSoftMaxGradient>(device);
    return std::make_unique<MatrixSoftMaxGradient>(device);
  };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixSoftMaxGradient&>(k).encode(buffer, o.matrices[0], o.matrices[1],
                                                         o.matrices[2]);
  };
  r.expect = [e, x](std::vector<Grid>& v) {
    const auto value = [&](const std::vector<Grid>& o) { return forward(e, o[0]); };
    v[2] = gradient_by_differences(value, {x}, 0, v[0]);
    if (e.in_place) v[0] = v[2];
  };
  r.half_tolerance = 4e-3;
  return r;
}

template <class Make>
std::vector<MatrixRow> rows_of(Make make) {
  return {
      make("plain", Extent{4, 5}, 1),
      make("logarithmic", Extent{4, 5, true}, 2),
      make("one_column", Extent{3, 1}, 1),
      make("one_row", Extent{1, 8}, 7),
      make("one_element", Extent{1, 1, true}, 2),
      make("in_place", Extent{5, 3, false, true}, 2),
      make("logarithmic_in_place", Extent{5, 3, true, true}, 1),
      make("many_columns", Extent{5, 67}, 2),
      make("many_rows", Extent{67, 5, true}, 1),
  };
}
std::vector<MatrixRow> forwards() {
  auto all = rows_of(soft_max);
  all.push_back(soft_max("many", {131, 270}));
  all.push_back(soft_max("large_numbers", {3, 5, false, false, 1000}));
  all.push_back(soft_max("logarithms_of_large_numbers", {3, 5, true, false, 1000}));
  return all;
}
INSTANTIATE_TEST_SUITE_P(MatrixSoftMax, MatrixRows, testing::ValuesIn(forwards()),
                         name_of_matrix_row);
INSTANTIATE_TEST_SUITE_P(MatrixSoftMaxGradient, MatrixRows, testing::ValuesIn(rows_of(gradient)),
                         name_of_matrix_row);

class MatrixSoftMaxes : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  [[nodiscard]] Matrix row(const Values& v = {9, 9, 9}) const {
    return matrix_of(bench.device, 1, v.size(), v);
  }
};

TEST_F(MatrixSoftMaxes, give_the_numbers_of_the_specification) {
  const Matrix x = row({1, 2, -0.5F}), dy = row({0.5F, -1, 0.25F});
  const Matrix y = row(), dx = row(), log_y = row(), log_dx = row();
  MatrixSoftMax(bench.device).encode(buffer, x, y);
  MatrixSoftMaxGradient(bench.device).encode(buffer, dy, y, dx);
  MatrixLogSoftMax(bench.device).encode(buffer, x, log_y);
  MatrixLogSoftMaxGradient(bench.device).encode(buffer, dy, log_y, log_dx);
  finish(buffer);
  expect_near(y, {0.2537161816, 0.6896720861, 0.05661173224});
  expect_near(dx, {0.2660622805, -0.3112758667, 0.04521358621});
  expect_near(log_y, {-1.371539032, -0.3715390319, -2.871539032});
  expect_near(log_dx, {0.5634290454, -0.8275819785, 0.2641529331});
}

TEST_F(MatrixSoftMaxes, refuse_what_does_not_fit) {
  MatrixSoftMax kernel(bench.device);
  const Matrix half(bench.device, MatrixDescriptor::matrixDescriptor(1, 3, 6, DataType::Float16));
  EXPECT_EQ(complaint([&] { kernel.encode(buffer, row(), half); }),
            "MatrixSoftMax: resultMatrix is a matrix of 1x3 Float16; needed the type of "
            "inputMatrix, a matrix of 1x3 Float32.");
  EXPECT_EQ(
      complaint([&] {
        kernel.encode(buffer, row(), row({1, 2}));
      }),
      "MatrixSoftMax: resultMatrix is a matrix of 1x2 Float32; needed 1x3 for the region that "
      "is computed.");
  kernel.setSourceColumns(0);
  EXPECT_EQ(complaint([&] { kernel.encode(buffer, row(), row()); }),
            "MatrixSoftMax: sourceColumns is 0; needed 1 or more.");
  const MatrixLogSoftMaxGradient gradient(bench.device);
  EXPECT_EQ(complaint([&] { gradient.encode(buffer, row(), half, row()); }),
            "MatrixLogSoftMaxGradient: forwardOutputMatrix is a matrix of 1x3 Float16; needed the "
            "type of gradientMatrix, a matrix of 1x3 Float32.");
  EXPECT_EQ(complaint([&] { gradient.encode(buffer, row(), row(), {}); }),
            "MatrixLogSoftMaxGradient: resultMatrix is nil; needed a vector or matrix of the "
            "command buffer's device.");
}

}  // namespace
}  // namespace cermet::test
