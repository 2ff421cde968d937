// Vectors and matrices themselves.

#include "optimizer/help.h"

namespace cermet::optimizer_test {
namespace {

TEST(MatrixDescriptors, RecommendedStrides) {
  const auto stride = [](std::size_t columns, DataType type) {
    EXPECT_EQ(MatrixDescriptor::rowBytes(columns, type),
              VectorDescriptor::vectorBytes(columns, type));
    return MatrixDescriptor::rowBytes(columns, type);
  };
  EXPECT_EQ(stride(0, DataType::Float32), 0U);
  EXPECT_EQ(stride(1, DataType::Float32), 4U);
  EXPECT_EQ(stride(2, DataType::Float32), 16U);
  EXPECT_EQ(stride(4, DataType::Float32), 16U);
  EXPECT_EQ(stride(5, DataType::Float32), 32U);
  EXPECT_EQ(stride(1, DataType::Float16), 2U);
  EXPECT_EQ(stride(9, DataType::Float16), 32U);
  EXPECT_EQ(stride(5, DataType::Int8), 8U);
  EXPECT_EQ(stride(5, DataType::UInt32), 32U);
  EXPECT_EQ(stride(3, DataType::Int16), 8U);
}

TEST(MatrixDescriptors, SettersLeaveTheOuterStride) {
  auto m = MatrixDescriptor::matrixDescriptor(3, 5, 32, DataType::Float32);
  EXPECT_EQ(m.matrices(), 1U);
  EXPECT_EQ(m.matrixBytes(), 96U);
  m.setRows(4);
  m.setColumns(6);
  m.setRowBytes(64);
  m.setDataType(DataType::Float16);
  EXPECT_EQ(m.matrixBytes(), 96U);
  EXPECT_EQ(m, [] {
    auto same = MatrixDescriptor::matrixDescriptor(4, 6, 1, 64, 96, DataType::Float16);
    return same;
  }());
  auto v = VectorDescriptor::vectorDescriptor(5, DataType::Float32);
  EXPECT_EQ(v.vectors(), 1U);
  EXPECT_EQ(v.vectorBytes(), 32U);
  v.setLength(100);
  v.setDataType(DataType::Float16);
  EXPECT_EQ(v, VectorDescriptor::vectorDescriptor(100, 1, 32, DataType::Float16));
}

TEST(Matrices, PropertiesAndLazyZeroStorage) {
  const auto descriptor = MatrixDescriptor::matrixDescriptor(3, 5, 2, 32, 128, DataType::Float32);
  const std::size_t before = device().memory_use().in_use;
  const Matrix m(device(), descriptor);
  EXPECT_EQ(device().memory_use().in_use, before);
  EXPECT_EQ(m.resourceSize(), 256U);
  EXPECT_EQ(m.rows(), 3U);
  EXPECT_EQ(m.columns(), 5U);
  EXPECT_EQ(m.matrices(), 2U);
  EXPECT_EQ(m.rowBytes(), 32U);
  EXPECT_EQ(m.matrixBytes(), 128U);
  EXPECT_EQ(m.dataType(), DataType::Float32);
  EXPECT_EQ(m.offset(), 0U);
  EXPECT_EQ(m.device(), device());
  EXPECT_EQ(m.readCount(), 0U);
  EXPECT_EQ(m.data().length(), 256U);
  EXPECT_EQ(m.data(), m.data());
  const Buffer zeros = m.data();  // g++ 14 takes a chain of calls in the loop for dangling
  for (const float value : zeros.as<float>()) EXPECT_EQ(value, 0);
  const Matrix same = m;
  EXPECT_EQ(same, m);
  EXPECT_EQ(same.data(), m.data());
  m.synchronize(command_buffer());

  // The last row of a caller's buffer needs no padding.
  const Buffer buffer = device().makeBuffer(8 + 128 + 2 * 32 + 5 * 4);
  const Matrix over(buffer, 8, descriptor);
  EXPECT_EQ(over.offset(), 8U);
  EXPECT_EQ(over.resourceSize(), 0U);
  EXPECT_EQ(over.data(), buffer);
  EXPECT_FALSE(Vector());
  EXPECT_TRUE(over);
}

TEST(Matrices, Messages) {
  const Buffer buffer = device().makeBuffer(100);
  const auto vector = [&](std::size_t length, std::size_t vectors, std::size_t bytes,
                          std::size_t offset, DataType type) {
    return text_of([&] {
      Vector(buffer, offset, VectorDescriptor::vectorDescriptor(length, vectors, bytes, type));
    });
  };
  const auto f32 = DataType::Float32;
  EXPECT_EQ(vector(26, 1, 0, 0, f32),
            "Vector: buffer is 100 bytes; needed 104 for a vector of 26 Float32. Make the buffer "
            "longer or correct the descriptor.");
  EXPECT_EQ(vector(5, 4, 24, 12, f32),
            "Vector: buffer is 100 bytes; needed 104 for 4 vectors of 5 Float32 at byte 12. Make "
            "the buffer longer or correct the descriptor.");
  EXPECT_EQ(vector(0, 1, 0, 0, f32),
            "Vector: length is 0; needed 1 to 2147483647. Correct the vector descriptor.");
  EXPECT_EQ(vector(5, 2, 16, 0, f32),
            "Vector: vectorBytes is 16; needed a multiple of 4 that is 20 or more. Use "
            "VectorDescriptor::vectorBytes(length, dataType).");
  EXPECT_EQ(vector(5, 1, 0, 2, f32),
            "Vector: offset is 2; needed a multiple of 4, the bytes of one element.");
  EXPECT_EQ(vector(5, 1, 0, 0, DataType::Invalid),
            "Vector: dataType is Invalid; needed a type of 1, 2, 4 or 8 bytes. Correct the vector "
            "descriptor.");
  EXPECT_EQ(vector(5, 1, 0, 0, static_cast<DataType>(0x20000004)),
            "Vector: dataType is 0x20000004; needed a type of 1, 2, 4 or 8 bytes. Correct the "
            "vector descriptor.");
  EXPECT_EQ(vector(5, 1000000, std::size_t{1} << 60U, 0, f32),
            "Vector: buffer is 100 bytes; needed 18446744073709551615 for 1000000 vectors of 5 "
            "Float32. Make the buffer longer or correct the descriptor.");
  EXPECT_EQ(text_of([&] {
              Vector(device(),
                     VectorDescriptor::vectorDescriptor(5, 1000000, std::size_t{1} << 60U, f32));
            }),
            "Vector: descriptor is 1000000 vectors of 5 Float32; needed what fits into memory. "
            "Correct rowBytes or the number of elements.");
  EXPECT_EQ(text_of([&] { Vector(Buffer(), VectorDescriptor::vectorDescriptor(5, f32)); }),
            "Vector: buffer is nil; needed a buffer.");
  EXPECT_EQ(text_of([&] { static_cast<void>(Vector().length()); }),
            "Vector or Matrix: the object is nil; needed one that was made. Make it from a device "
            "or a buffer, and a descriptor.");

  const auto matrix = [&](std::size_t rows, std::size_t columns, std::size_t matrices,
                          std::size_t row_bytes, std::size_t matrix_bytes) {
    return text_of([&] {
      Matrix(buffer, MatrixDescriptor::matrixDescriptor(rows, columns, matrices, row_bytes,
                                                        matrix_bytes, f32));
    });
  };
  EXPECT_EQ(matrix(2, 3, 1, 10, 20),
            "Matrix: rowBytes is 10; needed a multiple of 4 that is 12 or more. Use "
            "MatrixDescriptor::rowBytes(columns, dataType).");
  EXPECT_EQ(matrix(2, 3, 2, 12, 30),
            "Matrix: matrixBytes is 30; needed a multiple of 12 that is 24 or more. Use rows * "
            "rowBytes.");
  EXPECT_EQ(
      matrix(3, 3, 3, 12, 36),
      "Matrix: buffer is 100 bytes; needed 108 for 3 matrices of 3x3 Float32. Make the buffer "
      "longer or correct the descriptor.");
  EXPECT_EQ(matrix(0, 3, 1, 12, 0),
            "Matrix: rows is 0; needed 1 to 2147483647. Correct the matrix descriptor.");
  EXPECT_EQ(matrix(3, 3, 0, 12, 36),
            "Matrix: matrices is 0; needed 1 to 2147483647. Correct the matrix descriptor.");
}

TEST(Matrices, TemporariesGiveTheirMemoryBack) {
  CommandBuffer commands = command_buffer();
  const auto descriptor = VectorDescriptor::vectorDescriptor(1000, DataType::Float32);
  TemporaryVector first = TemporaryVector::temporaryVector(commands, descriptor);
  EXPECT_EQ(first.readCount(), 1U);
  EXPECT_EQ(first.resourceSize(), 4000U);
  const void* const address = first.data().contents();
  const Sgd sgd(device(), 1);
  sgd.encode(commands, zeros(1000), zeros(1000), {}, first);
  EXPECT_EQ(first.readCount(), 1U);
  sgd.encode(commands, first, zeros(1000), {}, zeros(1000));
  EXPECT_EQ(first.readCount(), 0U);
  EXPECT_EQ(
      text_of([&] { static_cast<void>(first.data()); }),
      "TemporaryVector: data is gone: read for the last time already; needed a temporary with "
      "reads left. Raise readCount once for every encode that reads it.");
  EXPECT_EQ(text_of([&] { first.setReadCount(1); }),
            "TemporaryVector: readCount is 0: the storage is gone; needed a temporary that still "
            "has reads. Raise readCount before the last encode that reads it.");
  EXPECT_EQ(text_of([&] { zeros(3).setReadCount(1); }),
            "Vector: readCount is of a permanent object; needed a temporary that still has reads.");
  const auto square = MatrixDescriptor::matrixDescriptor(20, 50, 200, DataType::Float32);
  const TemporaryMatrix second = TemporaryMatrix::temporaryMatrix(commands, square);
  EXPECT_EQ(second.data().contents(), address);

  const std::vector<MatrixDescriptor> list{square, square};
  TemporaryMatrix::prefetchStorage(commands, list);
  TemporaryVector::prefetchStorage(commands, std::vector<VectorDescriptor>{descriptor});
  finish(commands);
  EXPECT_EQ(
      text_of([&] { TemporaryMatrix(commands, square); }),
      "CommandBuffer: the command buffer is committed already. Encode, add handlers and commit "
      "on a new command buffer.");
}

TEST(Matrices, TemporariesOutliveACommittedPiece) {
  CommandBuffer commands = command_buffer();
  const Sgd sgd(device(), 1);
  const TemporaryVector between(commands, VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  sgd.encode(commands, zeros(4), vector_of(example_w), {}, between);
  commands.commitAndContinue();
  const Vector result = zeros(4);
  sgd.encode(commands, zeros(4), between, {}, result);
  finish(commands);
  EXPECT_EQ(read(result), example_w);
}

}  // namespace
}  // namespace cermet::optimizer_test
