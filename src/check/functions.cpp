#include "check/functions.h"

#include <functional>
#include <numeric>

#include "cermet/core/error.h"
#include "check/checked_images.h"
#include "check/random_values.h"

namespace cermet::detail {
namespace {

/// visit(first value of a row, byte where it lies).
template <class Visit>
void for_each_row(const Matrix& matrix, Visit&& visit) {
  for (std::size_t row = 0; row < matrix.rows(); ++row)
    visit(row * matrix.columns(), matrix.offset() + row * matrix.rowBytes());
}

}  // namespace

CheckedVariable random_variable(std::string name, std::vector<std::size_t> shape,
                                std::uint64_t seed, double low, double high) {
  const std::size_t count =
      std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
  return {std::move(name), std::move(shape), random_values(count, seed, low, high)};
}

void check_matrices(std::string_view kernel, const CheckedImages& images) {
  check_images(kernel, images);
  if (images.format != ImageFeatureChannelFormat::Float32)
    fail({kernel, "", "format", "Float16", "Float32: matrices of checks have no other", ""});
}

Matrix make_matrix(const Device& device, std::size_t rows, std::size_t columns) {
  return {device, MatrixDescriptor::matrixDescriptor(
                      rows, columns, MatrixDescriptor::rowBytes(columns, DataType::Float32),
                      DataType::Float32)};
}
Matrix make_matrix(const Device& device, std::size_t rows, std::size_t columns,
                   const std::vector<float>& values) {
  Matrix matrix = make_matrix(device, rows, columns);
  write(matrix, values);
  return matrix;
}

void write(const Matrix& matrix, const std::vector<float>& values) {
  for_each_row(matrix, [&](std::size_t first, std::size_t byte) {
    matrix.data().copy_in(&values.at(first), matrix.columns() * sizeof(float), byte);
  });
}

std::vector<float> read(const Matrix& matrix) {
  std::vector<float> values(matrix.rows() * matrix.columns());
  for_each_row(matrix, [&](std::size_t first, std::size_t byte) {
    matrix.data().copy_out(&values.at(first), matrix.columns() * sizeof(float), byte);
  });
  return values;
}

Vector make_vector(const Device& device, const std::vector<float>& values) {
  Vector vector(device, VectorDescriptor::vectorDescriptor(values.size(), DataType::Float32));
  vector.data().copy_in(values.data(), values.size() * sizeof(float), vector.offset());
  return vector;
}

std::vector<float> read(const Vector& vector) {
  std::vector<float> values(vector.length());
  vector.data().copy_out(values.data(), values.size() * sizeof(float), vector.offset());
  return values;
}

}  // namespace cermet::detail
