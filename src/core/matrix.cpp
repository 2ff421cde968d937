#include "cermet/core/matrix.h"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <sstream>
#include <vector>

#include "cermet/core/kernel.h"
#include "core/state_impl.h"

namespace cermet {
namespace detail {

/// What stands behind Vector and Matrix. A vector is a matrix of one row; `stack_bytes` lie between
/// vectors or matrices.
struct ArrayRecord {
  std::string_view subject;  // the class, for messages
  bool is_matrix = false;
  std::size_t rows = 1, columns = 0, count = 1, row_bytes = 0, stack_bytes = 0;
  DataType type = DataType::Float32;

  Device device;
  Buffer buffer;           // made at first use
  std::size_t offset = 0;  // bytes
  std::size_t bytes = 0;   // of own storage; 0: a buffer of the caller
  bool temporary = false;
  std::uint64_t family = 0;  // the command buffer chain of a temporary
  std::ptrdiff_t reads = 1;

  void release(Recording* recording);
};

void ArrayRecord::release(Recording* recording) {
  if (!buffer) return;
  if (recording != nullptr) BufferImpl::recycle(buffer, *recording);
  buffer = {};
}

}  // namespace detail

using detail::ArrayRecord;

namespace {

using RecordPtr = std::shared_ptr<ArrayRecord>;

constexpr auto no_limit = std::numeric_limits<std::size_t>::max();
/// Saturating, so that absurd sizes fail as too large instead of wrapping round.
std::size_t times(std::size_t a, std::size_t b) {
  return a != 0 && b > no_limit / a ? no_limit : a * b;
}
std::size_t plus(std::size_t a, std::size_t b) { return b > no_limit - a ? no_limit : a + b; }

std::size_t recommended_stride(std::size_t elements, DataType type) {
  const std::size_t element = SizeofDataType(type), tight = times(elements, element);
  if (elements <= 1 || element == 0 || tight > no_limit - 16) return tight;
  const bool is_float =
      (static_cast<std::uint32_t>(type) & static_cast<std::uint32_t>(DataType::FloatBit)) != 0;
  const std::size_t unit = is_float ? 16 : 4 * element;
  return (tight + unit - 1) / unit * unit;
}

std::string name_of(DataType type) {
  switch (type) {
    case DataType::Float32:
      return "Float32";
    case DataType::Float16:
      return "Float16";
    case DataType::BFloat16:
      return "BFloat16";
    case DataType::Int8:
      return "Int8";
    case DataType::Int16:
      return "Int16";
    case DataType::Int32:
      return "Int32";
    case DataType::Int64:
      return "Int64";
    case DataType::UInt8:
      return "UInt8";
    case DataType::UInt16:
      return "UInt16";
    case DataType::UInt32:
      return "UInt32";
    case DataType::UInt64:
      return "UInt64";
    case DataType::Bool:
      return "Bool";
    case DataType::Unorm8:
      return "Unorm8";
    case DataType::Unorm1:
      return "Unorm1";
    case DataType::Invalid:
      return "Invalid";
    case DataType::ComplexFloat32:
    case DataType::ComplexFloat16:
    case DataType::ComplexBFloat16:
    case DataType::Int2:
    case DataType::Int4:
    case DataType::UInt2:
    case DataType::UInt4:
    case DataType::FloatBit:
    case DataType::ComplexBit:
    case DataType::SignedBit:
    case DataType::NormalizedBit:
    case DataType::AlternateEncodingBit:
      break;
  }
  std::ostringstream text;
  text << "0x" << std::hex << std::setw(8) << std::setfill('0') << static_cast<std::uint32_t>(type);
  return text.str();
}

std::string summary(const ArrayRecord& record) {
  const bool one = record.count == 1;
  std::string text = one ? "a " : std::to_string(record.count) + " ";
  if (record.is_matrix) {
    text += (one ? "matrix of " : "matrices of ") + std::to_string(record.rows) + "x";
  } else {
    text += one ? "vector of " : "vectors of ";
  }
  return text + std::to_string(record.columns) + " " + name_of(record.type);
}

/// Throws unless the record's extents, strides and type describe something; `record` has a subject.
void check(const ArrayRecord& record) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed,
                          std::string remedy) {
    fail({record.subject, "", argument, std::move(got), std::move(needed), std::move(remedy)});
  };
  const char* const descriptor =
      record.is_matrix ? "Correct the matrix descriptor." : "Correct the vector descriptor.";
  const auto check_extent = [&](const char* argument, std::size_t extent) {
    constexpr auto largest = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
    if (extent >= 1 && extent <= largest) return;
    refuse(argument, std::to_string(extent), "1 to " + std::to_string(largest), descriptor);
  };
  if (record.is_matrix) check_extent("rows", record.rows);
  check_extent(record.is_matrix ? "columns" : "length", record.columns);
  check_extent(record.is_matrix ? "matrices" : "vectors", record.count);

  const std::size_t element = SizeofDataType(record.type);
  const bool whole = DataTypeBitsCount(record.type) == element * 8;
  if (!whole || (element != 1 && element != 2 && element != 4 && element != 8)) {
    refuse("dataType", name_of(record.type), "a type of 1, 2, 4 or 8 bytes", descriptor);
  }
  // The stride of a single row or matrix leads nowhere.
  const auto check_stride = [&](const char* argument, std::size_t stride, std::size_t unit,
                                std::size_t least, const std::string& remedy) {
    if (stride % unit == 0 && stride >= least) return;
    refuse(
        argument, std::to_string(stride),
        "a multiple of " + std::to_string(unit) + " that is " + std::to_string(least) + " or more",
        remedy);
  };
  const std::size_t tight = record.columns * element;
  if (!record.is_matrix) {
    if (record.count > 1) {
      check_stride("vectorBytes", record.stack_bytes, element, tight,
                   "Use VectorDescriptor::vectorBytes(length, dataType).");
    }
    return;
  }
  check_stride("rowBytes", record.row_bytes, element, tight,
               "Use MatrixDescriptor::rowBytes(columns, dataType).");
  if (record.count > 1) {
    check_stride("matrixBytes", record.stack_bytes, record.row_bytes,
                 times(record.rows, record.row_bytes), "Use rows * rowBytes.");
  }
}

/// Bytes from the first element to the end of the last one; with `padded`, of its row too.
std::size_t extent_in_bytes(const ArrayRecord& record, bool padded) {
  const std::size_t stacks = times(record.count - 1, record.stack_bytes);
  const std::size_t tight = record.columns * SizeofDataType(record.type);
  if (!padded) return plus(stacks, plus(times(record.rows - 1, record.row_bytes), tight));
  return plus(stacks, std::max({tight, record.stack_bytes, times(record.rows, record.row_bytes)}));
}

ArrayRecord described(const VectorDescriptor& descriptor, std::string_view subject) {
  ArrayRecord record;
  record.subject = subject;
  record.columns = descriptor.length();
  record.count = descriptor.vectors();
  record.stack_bytes = descriptor.vectorBytes();
  record.type = descriptor.dataType();
  check(record);
  return record;
}
ArrayRecord described(const MatrixDescriptor& descriptor, std::string_view subject) {
  ArrayRecord record;
  record.subject = subject;
  record.is_matrix = true;
  record.rows = descriptor.rows();
  record.columns = descriptor.columns();
  record.count = descriptor.matrices();
  record.row_bytes = descriptor.rowBytes();
  record.stack_bytes = descriptor.matrixBytes();
  record.type = descriptor.dataType();
  check(record);
  return record;
}

RecordPtr over(Buffer buffer, std::size_t offset, ArrayRecord record) {
  if (!buffer) fail({record.subject, "", "buffer", "nil", "a buffer", ""});
  const std::size_t element = SizeofDataType(record.type);
  if (offset % element != 0) {
    fail({record.subject, "", "offset", std::to_string(offset),
          "a multiple of " + std::to_string(element) + ", the bytes of one element", ""});
  }
  const std::size_t needed = plus(offset, extent_in_bytes(record, false));
  if (needed > buffer.length()) {
    fail({record.subject, "", "buffer", std::to_string(buffer.length()) + " bytes",
          std::to_string(needed) + " for " + summary(record) +
              (offset != 0 ? " at byte " + std::to_string(offset) : ""),
          "Make the buffer longer or correct the descriptor."});
  }
  record.device = buffer.device();
  record.offset = offset;
  record.buffer = std::move(buffer);
  return std::make_shared<ArrayRecord>(std::move(record));
}

/// Bytes to allocate: whole rows, because clients wrap all of a matrix's buffer as a vector
/// (spec: optimizer 6.2(9)).
std::size_t own_bytes(const ArrayRecord& record) {
  const std::size_t bytes = extent_in_bytes(record, true);
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / 2;
  if (bytes > most) {
    fail({record.subject, "", "descriptor", summary(record), "what fits into memory",
          "Correct rowBytes or the number of elements."});
  }
  return bytes;
}

RecordPtr owned(const Device& device, ArrayRecord record) {
  static_cast<void>(detail::DeviceImpl::of(device));
  record.device = device;
  record.bytes = own_bytes(record);
  return std::make_shared<ArrayRecord>(std::move(record));
}

RecordPtr temporary(const CommandBuffer& commandBuffer, ArrayRecord record) {
  const auto origin = detail::StateOrigin::temporary(commandBuffer);
  record.bytes = own_bytes(record);
  record.device = origin.device;
  record.temporary = true;
  record.family = origin.recording->family;
  record.buffer = origin.make_buffer(record.bytes);
  return std::make_shared<ArrayRecord>(std::move(record));
}

template <class Descriptor>
void prefetch(const CommandBuffer& commandBuffer, std::span<const Descriptor> list,
              std::string_view subject) {
  detail::Recording& recording = commandBuffer.recording();
  std::vector<std::size_t> sizes;
  sizes.reserve(list.size());
  for (const Descriptor& descriptor : list) {
    sizes.push_back(own_bytes(described(descriptor, subject)));
  }
  std::vector<detail::MemoryPtr> blocks;
  blocks.reserve(sizes.size());
  for (const std::size_t bytes : sizes) blocks.push_back(recording.temporary(bytes));
  for (auto& block : blocks) recording.recycle(std::move(block));
}

}  // namespace

// ---- descriptors -------------------------------------------------------------------------------

VectorDescriptor VectorDescriptor::vectorDescriptor(std::size_t length, DataType dataType) {
  return vectorDescriptor(length, 1, vectorBytes(length, dataType), dataType);
}
VectorDescriptor VectorDescriptor::vectorDescriptor(std::size_t length, std::size_t vectors,
                                                    std::size_t vectorBytes, DataType dataType) {
  VectorDescriptor descriptor;
  descriptor.length_ = length;
  descriptor.vectors_ = vectors;
  descriptor.vector_bytes_ = vectorBytes;
  descriptor.type_ = dataType;
  return descriptor;
}
std::size_t VectorDescriptor::vectorBytes(std::size_t length, DataType dataType) {
  return recommended_stride(length, dataType);
}

MatrixDescriptor MatrixDescriptor::matrixDescriptor(std::size_t rows, std::size_t columns,
                                                    std::size_t rowBytes, DataType dataType) {
  return matrixDescriptor(rows, columns, 1, rowBytes, times(rows, rowBytes), dataType);
}
MatrixDescriptor MatrixDescriptor::matrixDescriptor(std::size_t rows, std::size_t columns,
                                                    std::size_t matrices, std::size_t rowBytes,
                                                    std::size_t matrixBytes, DataType dataType) {
  MatrixDescriptor descriptor;
  descriptor.rows_ = rows;
  descriptor.columns_ = columns;
  descriptor.matrices_ = matrices;
  descriptor.row_bytes_ = rowBytes;
  descriptor.matrix_bytes_ = matrixBytes;
  descriptor.type_ = dataType;
  return descriptor;
}
std::size_t MatrixDescriptor::rowBytes(std::size_t columns, DataType dataType) {
  return recommended_stride(columns, dataType);
}

// ---- both --------------------------------------------------------------------------------------

ArrayRecord& StridedArray::record() const {
  if (!record_) {
    fail({"Vector or Matrix", "", "the object", "nil", "one that was made",
          "Make it from a device or a buffer, and a descriptor."});
  }
  return *record_;
}

Device StridedArray::device() const { return record().device; }
DataType StridedArray::dataType() const { return record().type; }
std::size_t StridedArray::offset() const { return record().offset; }

Buffer StridedArray::data() const {
  ArrayRecord& own = record();
  if (own.temporary && own.reads == 0) {
    fail({own.subject, "", "data", "gone: read for the last time already",
          "a temporary with reads left", "Raise readCount once for every encode that reads it."});
  }
  if (!own.buffer) {
    own.buffer = detail::StateOrigin::permanent(own.device).make_buffer(own.bytes, true);
  }
  return own.buffer;
}

void StridedArray::synchronize(const CommandBuffer& commandBuffer) const {
  static_cast<void>(record());
  static_cast<void>(commandBuffer.recording());
}
std::size_t StridedArray::resourceSize() const { return record().bytes; }

bool StridedArray::is_temporary() const { return record().temporary; }
std::size_t StridedArray::readCount() const {
  const ArrayRecord& own = record();
  return own.temporary ? static_cast<std::size_t>(own.reads) : 0;
}
void StridedArray::setReadCount(std::size_t count) const {
  ArrayRecord& own = record();
  if (!own.temporary || own.reads == 0) {
    fail({own.subject, "", "readCount",
          own.temporary ? "0: the storage is gone" : "of a permanent object",
          "a temporary that still has reads",
          own.temporary ? "Raise readCount before the last encode that reads it." : ""});
  }
  own.reads = static_cast<std::ptrdiff_t>(count);
  if (own.reads == 0) own.release(nullptr);
}

std::string StridedArray::describe() const { return record_ ? summary(*record_) : "nil"; }

void StridedArray::check_usable(const detail::Recording& recording, const Kernel& kernel,
                                std::string_view argument) const {
  const auto refuse = [&](std::string got, std::string needed, std::string remedy) {
    fail({kernel.class_name(), kernel.label(), argument, std::move(got), std::move(needed),
          std::move(remedy)});
  };
  if (!record_) refuse("nil", "a vector or matrix of the command buffer's device", "");
  if (!(record_->device == recording.device())) {
    refuse("on another device", "the device of the command buffer", "");
  }
  if (!record_->temporary) return;
  if (record_->reads == 0) {
    refuse("read for the last time already", "a temporary with reads left",
           "Raise readCount once for every encode that reads it.");
  }
  if (record_->family != recording.family) {
    refuse("temporary in another command buffer", "one of this command buffer, or a permanent one",
           "");
  }
}

TensorView StridedArray::view(detail::Recording& recording) const {
  const ArrayRecord& own = record();
  TensorDesc desc;
  switch (own.type) {
    case DataType::Float32:
      desc.type = ElementType::float32;
      break;
    case DataType::Float16:
      desc.type = ElementType::float16;
      break;
    case DataType::BFloat16:
      desc.type = ElementType::bfloat16;
      break;
    case DataType::UInt8:
      desc.type = ElementType::uint8;
      break;
    default:
      fail({own.subject, "", "dataType", name_of(own.type), "Float32, Float16, BFloat16 or UInt8",
            ""});
  }
  desc.n = static_cast<std::int32_t>(own.count);
  desc.h = static_cast<std::int32_t>(own.rows);
  desc.c = static_cast<std::int32_t>(own.columns);
  const std::size_t element = SizeofDataType(own.type);
  desc.stride_w = desc.c;
  desc.stride_h =
      own.rows == 1 ? desc.stride_w : static_cast<std::int64_t>(own.row_bytes / element);
  desc.stride_n = own.count == 1 ? desc.stride_h * desc.h
                                 : static_cast<std::int64_t>(own.stack_bytes / element);
  const Buffer buffer = data();
  recording.retain(detail::BufferImpl::of(buffer)->memory);
  return {desc, detail::BufferImpl::of(buffer)->data() + own.offset};
}

void StridedArray::consume(detail::Recording& recording) const {
  ArrayRecord& own = record();
  if (!own.temporary || own.reads == 0) return;
  if (--own.reads == 0) own.release(&recording);
}

// ---- vectors and matrices ----------------------------------------------------------------------

Vector::Vector(Buffer buffer, const VectorDescriptor& descriptor)
    : Vector(std::move(buffer), 0, descriptor) {}
Vector::Vector(Buffer buffer, std::size_t offset, const VectorDescriptor& descriptor)
    : StridedArray(over(std::move(buffer), offset, described(descriptor, "Vector"))) {}
Vector::Vector(const Device& device, const VectorDescriptor& descriptor)
    : StridedArray(owned(device, described(descriptor, "Vector"))) {}

std::size_t Vector::length() const { return record().columns; }
std::size_t Vector::vectors() const { return record().count; }
std::size_t Vector::vectorBytes() const { return record().stack_bytes; }

Matrix::Matrix(Buffer buffer, const MatrixDescriptor& descriptor)
    : Matrix(std::move(buffer), 0, descriptor) {}
Matrix::Matrix(Buffer buffer, std::size_t offset, const MatrixDescriptor& descriptor)
    : StridedArray(over(std::move(buffer), offset, described(descriptor, "Matrix"))) {}
Matrix::Matrix(const Device& device, const MatrixDescriptor& descriptor)
    : StridedArray(owned(device, described(descriptor, "Matrix"))) {}

std::size_t Matrix::rows() const { return record().rows; }
std::size_t Matrix::columns() const { return record().columns; }
std::size_t Matrix::matrices() const { return record().count; }
std::size_t Matrix::rowBytes() const { return record().row_bytes; }
std::size_t Matrix::matrixBytes() const { return record().stack_bytes; }

TemporaryVector::TemporaryVector(const CommandBuffer& commandBuffer,
                                 const VectorDescriptor& descriptor)
    : Vector(temporary(commandBuffer, described(descriptor, "TemporaryVector"))) {}
void TemporaryVector::prefetchStorage(const CommandBuffer& commandBuffer,
                                      std::span<const VectorDescriptor> descriptorList) {
  prefetch(commandBuffer, descriptorList, "TemporaryVector");
}

TemporaryMatrix::TemporaryMatrix(const CommandBuffer& commandBuffer,
                                 const MatrixDescriptor& matrixDescriptor)
    : Matrix(temporary(commandBuffer, described(matrixDescriptor, "TemporaryMatrix"))) {}
void TemporaryMatrix::prefetchStorage(const CommandBuffer& commandBuffer,
                                      std::span<const MatrixDescriptor> descriptorList) {
  prefetch(commandBuffer, descriptorList, "TemporaryMatrix");
}

}  // namespace cermet
