#pragma once
// Vectors and matrices: numbers in a buffer, row after row (spec: rnn-matrix A1 to A4).
// `initWithCoder:` and archives are not here; copies of descriptors and handles are C++ copies.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cermet/core/buffer.h"
#include "cermet/core/command_buffer.h"
#include "cermet/core/data_type.h"
#include "cermet/core/device.h"
#include "cermet/core/tensor_desc.h"

namespace cermet {

class Kernel;
namespace detail {
struct ArrayRecord;
}

/// `vectors` vectors of `length` elements, `vectorBytes` apart. Checked where a vector is made.
class VectorDescriptor {
 public:
  VectorDescriptor() = default;
  /// One vector, `vectorBytes(length, dataType)` bytes.
  [[nodiscard]] static VectorDescriptor vectorDescriptor(std::size_t length, DataType dataType);
  [[nodiscard]] static VectorDescriptor vectorDescriptor(std::size_t length, std::size_t vectors,
                                                         std::size_t vectorBytes,
                                                         DataType dataType);
  /// Recommended bytes from one vector to the next (spec: rnn-matrix A2): one element alone stays
  /// as it is, floats are rounded up to 16 bytes, integers to 4 elements.
  [[nodiscard]] static std::size_t vectorBytes(std::size_t length, DataType dataType);

  [[nodiscard]] std::size_t length() const { return length_; }
  void setLength(std::size_t length) { length_ = length; }
  [[nodiscard]] std::size_t vectors() const { return vectors_; }
  [[nodiscard]] DataType dataType() const { return type_; }
  void setDataType(DataType dataType) { type_ = dataType; }
  /// Fixed when the descriptor is made: setters leave it alone.
  [[nodiscard]] std::size_t vectorBytes() const { return vector_bytes_; }
  bool operator==(const VectorDescriptor&) const = default;

 private:
  std::size_t length_ = 0, vectors_ = 1, vector_bytes_ = 0;
  DataType type_ = DataType::Float32;
};

/// `matrices` matrices of `rows` x `columns` elements, row-major; rows are `rowBytes` apart,
/// matrices `matrixBytes`. Checked where a matrix is made.
class MatrixDescriptor {
 public:
  MatrixDescriptor() = default;
  /// One matrix of `rows * rowBytes` bytes. Also the deprecated ...WithDimensions:columns:...
  /// spelling.
  [[nodiscard]] static MatrixDescriptor matrixDescriptor(std::size_t rows, std::size_t columns,
                                                         std::size_t rowBytes, DataType dataType);
  [[nodiscard]] static MatrixDescriptor matrixDescriptor(std::size_t rows, std::size_t columns,
                                                         std::size_t matrices, std::size_t rowBytes,
                                                         std::size_t matrixBytes,
                                                         DataType dataType);
  /// Recommended bytes from one row to the next, rounded as `VectorDescriptor::vectorBytes`; any
  /// larger multiple of the element will do. `rowBytes(forColumns:)` and the deprecated
  /// `rowBytes(fromColumns:)` are this one function.
  [[nodiscard]] static std::size_t rowBytes(std::size_t columns, DataType dataType);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  void setRows(std::size_t rows) { rows_ = rows; }
  [[nodiscard]] std::size_t columns() const { return columns_; }
  void setColumns(std::size_t columns) { columns_ = columns; }
  [[nodiscard]] std::size_t matrices() const { return matrices_; }
  [[nodiscard]] DataType dataType() const { return type_; }
  void setDataType(DataType dataType) { type_ = dataType; }
  [[nodiscard]] std::size_t rowBytes() const { return row_bytes_; }
  void setRowBytes(std::size_t rowBytes) { row_bytes_ = rowBytes; }
  /// Fixed when the descriptor is made: setters leave it alone.
  [[nodiscard]] std::size_t matrixBytes() const { return matrix_bytes_; }
  bool operator==(const MatrixDescriptor&) const = default;

 private:
  std::size_t rows_ = 0, columns_ = 0, matrices_ = 1, row_bytes_ = 0, matrix_bytes_ = 0;
  DataType type_ = DataType::Float32;
};

/// What Vector and Matrix share. A small handle: copies name the same elements. Default-made: nil.
class StridedArray {
 public:
  StridedArray() = default;
  [[nodiscard]] explicit operator bool() const { return record_ != nullptr; }
  bool operator==(const StridedArray&) const = default;

  [[nodiscard]] Device device() const;
  [[nodiscard]] DataType dataType() const;
  /// Bytes from the beginning of `data()` to the first element.
  [[nodiscard]] std::size_t offset() const;
  /// The buffer; storage of a device is made, zero, at the first call or encode. Of a temporary
  /// only kernels can tell what it holds; after its last read there is none and this throws.
  [[nodiscard]] Buffer data() const;
  /// Host and CPU device share memory: nothing is encoded.
  void synchronize(const CommandBuffer& commandBuffer) const;
  /// Bytes of own storage, without forcing it to be made; 0 over a buffer of the caller.
  [[nodiscard]] std::size_t resourceSize() const;

  /// Reads left in a temporary, 1 when made; 0 for a permanent one. Every encode that reads it
  /// takes one away, writing does not, and at 0 the storage goes back to the command buffer.
  [[nodiscard]] std::size_t readCount() const;
  /// Setting 0 releases the storage. Errors: not a temporary; a count that is 0 already.
  void setReadCount(std::size_t count) const;

  // What follows is for kernels.
  [[nodiscard]] bool is_temporary() const;
  /// "a vector of 4 Float32", "2 matrices of 3x4 Float16", "nil"
  [[nodiscard]] std::string describe() const;
  /// Throws InvalidArgument in the name of `kernel` and its argument where this is nil or may not
  /// be used in `recording`.
  void check_usable(const detail::Recording& recording, const Kernel& kernel,
                    std::string_view argument) const;
  /// All elements: n = vectors or matrices, h = rows, w = 1, c = length or columns. Kept alive by
  /// the recording. Float32, Float16, BFloat16 and UInt8 alone have a view.
  [[nodiscard]] TensorView view(detail::Recording& recording) const;
  /// Takes away one read of a temporary and releases the storage at 0.
  void consume(detail::Recording& recording) const;

 protected:
  explicit StridedArray(std::shared_ptr<detail::ArrayRecord> record) : record_(std::move(record)) {}
  /// Throws where this is nil.
  [[nodiscard]] detail::ArrayRecord& record() const;
  ~StridedArray() = default;
  StridedArray(const StridedArray&) = default;
  StridedArray(StridedArray&&) = default;
  StridedArray& operator=(const StridedArray&) = default;
  StridedArray& operator=(StridedArray&&) = default;

 private:
  std::shared_ptr<detail::ArrayRecord> record_;
};

/// Element i of vector k lies at data + offset + k*vectorBytes + i*element (spec: rnn-matrix A4).
class Vector : public StridedArray {
 public:
  Vector() = default;
  /// Over a buffer of the caller. Throws InvalidArgument where the buffer is too short: past the
  /// offset it needs (vectors - 1) * vectorBytes + length elements.
  Vector(Buffer buffer, const VectorDescriptor& descriptor);
  Vector(Buffer buffer, std::size_t offset, const VectorDescriptor& descriptor);
  /// With storage of its own, zero.
  Vector(const Device& device, const VectorDescriptor& descriptor);

  [[nodiscard]] std::size_t length() const;
  [[nodiscard]] std::size_t vectors() const;
  [[nodiscard]] std::size_t vectorBytes() const;

 protected:
  using StridedArray::StridedArray;
};

/// Element (i, j) of matrix k lies at data + offset + k*matrixBytes + i*rowBytes + j*element. What
/// lies between the columns and the next row is never read or written.
class Matrix : public StridedArray {
 public:
  Matrix() = default;
  /// Over a buffer of the caller. Throws InvalidArgument where the buffer is too short: past the
  /// offset it needs (matrices - 1) * matrixBytes + (rows - 1) * rowBytes + columns elements.
  Matrix(Buffer buffer, const MatrixDescriptor& descriptor);
  Matrix(Buffer buffer, std::size_t offset, const MatrixDescriptor& descriptor);
  /// With storage of its own, zero.
  Matrix(const Device& device, const MatrixDescriptor& descriptor);

  [[nodiscard]] std::size_t rows() const;
  [[nodiscard]] std::size_t columns() const;
  [[nodiscard]] std::size_t matrices() const;
  [[nodiscard]] std::size_t rowBytes() const;
  [[nodiscard]] std::size_t matrixBytes() const;

 protected:
  using StridedArray::StridedArray;
};

/// A vector inside one command buffer, good until it was read `readCount` times. Undefined until
/// written.
class TemporaryVector : public Vector {
 public:
  TemporaryVector(const CommandBuffer& commandBuffer, const VectorDescriptor& descriptor);
  [[nodiscard]] static TemporaryVector temporaryVector(const CommandBuffer& commandBuffer,
                                                       const VectorDescriptor& descriptor) {
    return {commandBuffer, descriptor};
  }
  /// A hint: makes sure that memory for all of these is at hand.
  static void prefetchStorage(const CommandBuffer& commandBuffer,
                              std::span<const VectorDescriptor> descriptorList);
};

/// A matrix inside one command buffer, good until it was read `readCount` times. Undefined until
/// written.
class TemporaryMatrix : public Matrix {
 public:
  TemporaryMatrix(const CommandBuffer& commandBuffer, const MatrixDescriptor& matrixDescriptor);
  [[nodiscard]] static TemporaryMatrix temporaryMatrix(const CommandBuffer& commandBuffer,
                                                       const MatrixDescriptor& matrixDescriptor) {
    return {commandBuffer, matrixDescriptor};
  }
  /// A hint: makes sure that memory for all of these is at hand.
  static void prefetchStorage(const CommandBuffer& commandBuffer,
                              std::span<const MatrixDescriptor> descriptorList);
};

}  // namespace cermet
