#pragma once
// Rows of matrix kernels. A row says the shapes of its operands, how to make and encode the kernel,
// and what the results of one matrix are, in double precision. It is then driven through permanent
// and temporary operands, origins, a batch inside a longer one, padded rows, Float16, a copy, an
// archive and two threads. Whatever lies around the regions is NaN, which must neither be read nor
// overwritten.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "../oracle/differences.h"
#include "bench.h"
#include "cermet/matrix/kernel.h"
#include "random.h"

namespace cermet::test {

/// Row-major; a vector is one row.
struct Grid {
  std::size_t rows = 0, columns = 0;
  std::vector<double> v;

  Grid() = default;
  Grid(std::size_t r, std::size_t c, double value = 0) : rows(r), columns(c), v(r * c, value) {}
  Grid(std::size_t r, std::size_t c, std::vector<double> values)
      : rows(r), columns(c), v(std::move(values)) {}
  double& operator()(std::size_t i, std::size_t j) { return v.at(i * columns + j); }
  double operator()(std::size_t i, std::size_t j) const { return v.at(i * columns + j); }
};

enum class Use { source, result, updated };  // updated: read, and written over

/// The shape of an operand's region, and how it is used.
struct MatrixOperand {
  std::size_t rows = 1, columns = 1;
  Use use = Use::source;
  bool is_vector = false;
  bool is_absent = false;
  bool wide_only = false;             // Float32 alone
  std::size_t matrix = all_elements;  // in place: the operand whose memory it shares
  /// Sets the origin in the kernel; null: it has none.
  std::function<void(Kernel&, const Origin&)> place{};
  std::vector<double> given{};  // values instead of random ones
  float low = -1, high = 1;     // of random values
};

/// What a kernel is given: of each operand the matrix or the vector.
struct MatrixOperands {
  std::vector<Matrix> matrices;
  std::vector<Vector> vectors;
};

struct MatrixRow {
  std::string name;
  std::vector<MatrixOperand> operands;
  std::function<std::unique_ptr<Kernel>(const Device&)> make;
  std::function<void(const Kernel&, const CommandBuffer&, const MatrixOperands&)> encode;
  /// Values of all operands of one matrix: sources in, results out (empty: not compared).
  std::function<void(std::vector<Grid>&)> expect;
  /// Cuts the extents that are taken from the operands to those of the row.
  std::function<void(Kernel&)> limit{};
  std::size_t batch = 1;
  double tolerance = 2e-6, half_tolerance = 2e-3;
  bool same_types = false;  // all Float16 or none
  bool has_batch = true;
  bool quick = false;

  friend std::ostream& operator<<(std::ostream& out, const MatrixRow& row) {
    return out << row.name;
  }
};

/// Sets an origin of a kernel: for `MatrixOperand::place`.
template <class Base>
auto placed_by(void (Base::*set)(const Origin&)) {
  return
      [set](Kernel& kernel, const Origin& origin) { (dynamic_cast<Base&>(kernel).*set)(origin); };
}

/// d(sum of incoming * forward(operands))/d(operand `of`), by difference quotients.
inline Grid gradient_by_differences(const std::function<Grid(const std::vector<Grid>&)>& forward,
                                    std::vector<Grid> operands, std::size_t of,
                                    const Grid& incoming) {
  const std::vector<double> x = operands.at(of).v;
  const auto objective = [&](const std::vector<double>& moved) {
    operands[of].v = moved;
    const Grid y = forward(operands);
    double sum = 0;
    for (std::size_t i = 0; i < y.v.size(); ++i) sum += y.v[i] * incoming.v.at(i);
    return sum;
  };
  Grid gradient = operands[of];
  gradient.v = oracle::gradient_by_differences(objective, x, 0x1p-17);
  return gradient;
}

/// A matrix or vector of Float32 with these values, and what one holds.
inline Matrix matrix_of(const Device& device, std::size_t rows, std::size_t columns,
                        const std::vector<float>& values = {}) {
  Matrix made(device,
              MatrixDescriptor::matrixDescriptor(rows, columns, columns * 4, DataType::Float32));
  if (!values.empty()) made.data().copy_in(values.data(), values.size() * sizeof(float));
  return made;
}
inline Vector vector_of(const Device& device, const std::vector<float>& values) {
  return {device.makeBuffer(values.data(), values.size() * sizeof(float)),
          VectorDescriptor::vectorDescriptor(values.size(), DataType::Float32)};
}
inline Vector words_of(const Device& device, const std::vector<std::uint32_t>& words) {
  return {device.makeBuffer(words.data(), words.size() * sizeof(std::uint32_t)),
          VectorDescriptor::vectorDescriptor(words.size(), DataType::UInt32)};
}
inline Values values_of(const StridedArray& array) { return array.data().values<float>(); }
/// As close as the printed digits of the specification.
inline void expect_near(const StridedArray& array, const std::vector<double>& wanted) {
  const Values got = values_of(array);
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(double{got[i]}, wanted[i], 5e-6) << i;
}

class MatrixRows : public testing::TestWithParam<MatrixRow> {};

inline std::string name_of_matrix_row(const testing::TestParamInfo<MatrixRow>& info) {
  return info.param.name + (info.param.quick ? "_quick" : "");
}

}  // namespace cermet::test
