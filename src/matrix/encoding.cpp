#include "matrix/encoding.h"

#include <algorithm>

namespace cermet::detail {

std::string extents(std::size_t rows, std::size_t columns) {
  return std::to_string(rows) + "x" + std::to_string(columns);
}

void MatrixEncode::complain(std::string_view argument, std::string got, std::string needed,
                            std::string remedy) const {
  fail({kernel_.class_name(), kernel_.label(), argument, std::move(got), std::move(needed),
        std::move(remedy)});
}

/// The part of `whole` from the origin on.
MatrixPart MatrixEncode::part(MatrixPart whole, std::string_view name, const Origin& origin) {
  if (origin.z != 0) complain(name, "one with z = " + std::to_string(origin.z), "z = 0");
  if (whole.is_vector && origin.y != 0)
    complain(name, "one with y = " + std::to_string(origin.y), "y = 0");
  const StridedArray& array = *whole.array;
  whole.row = whole.is_vector ? 0 : origin.x;
  whole.column = whole.is_vector ? origin.x : origin.y;
  if (whole.row >= whole.rows || whole.column >= whole.columns) {
    complain(name, "(" + std::to_string(origin.x) + ", " + std::to_string(origin.y) + ")",
             "a place in " + std::string(whole.argument) + ", " + array.describe());
  }
  const DataType type = array.dataType();
  if (type != DataType::Float32 && type != DataType::Float16)
    complain(whole.argument, array.describe(), "elements of Float32 or Float16");
  whole.rows -= whole.row;
  whole.columns -= whole.column;
  parts_.push_back(whole);
  return whole;
}
MatrixPart MatrixEncode::whole(std::string_view argument, const Matrix& matrix) const {
  matrix.check_usable(recording(), kernel_, argument);
  return {&matrix, argument, 0, 0, matrix.rows(), matrix.columns(), matrix.matrices(), false};
}
MatrixPart MatrixEncode::whole(std::string_view argument, const Vector& vector) const {
  vector.check_usable(recording(), kernel_, argument);
  return {&vector, argument, 0, 0, 1, vector.length(), vector.vectors(), true};
}
MatrixPart MatrixEncode::part(std::string_view argument, const Matrix& matrix,
                              std::string_view name, const Origin& origin) {
  return part(whole(argument, matrix), name, origin);
}
MatrixPart MatrixEncode::part(std::string_view argument, const Vector& vector,
                              std::string_view name, const Origin& origin) {
  return part(whole(argument, vector), name, origin);
}

MatrixPart MatrixEncode::source(std::string_view argument, const Matrix& matrix,
                                std::string_view name, const Origin& origin) {
  read_.push_back(&matrix);
  return part(argument, matrix, name, origin);
}
MatrixPart MatrixEncode::source(std::string_view argument, const Vector& vector,
                                std::string_view name, const Origin& origin) {
  read_.push_back(&vector);
  return part(argument, vector, name, origin);
}
MatrixPart MatrixEncode::result(std::string_view argument, const Matrix& matrix,
                                std::string_view name, const Origin& origin) {
  return part(argument, matrix, name, origin);
}
MatrixPart MatrixEncode::result(std::string_view argument, const Vector& vector,
                                std::string_view name, const Origin& origin) {
  return part(argument, vector, name, origin);
}
MatrixPart MatrixEncode::optional_source(std::string_view argument, const Vector& vector) {
  return vector ? source(argument, vector) : MatrixPart{};
}
MatrixPart MatrixEncode::optional_result(std::string_view argument, const Vector& vector) {
  return vector ? result(argument, vector) : MatrixPart{};
}

MatrixPart MatrixEncode::typed_part(const MatrixPart& whole, DataType type, std::string_view why) {
  if (whole.array->dataType() != type) {
    complain(whole.argument, whole.array->describe(),
             std::string("elements of ") + (type == DataType::UInt32 ? "UInt32, " : "Float32, ") +
                 std::string(why));
  }
  parts_.push_back(whole);
  return whole;
}
MatrixPart MatrixEncode::result_of(std::string_view argument, const Matrix& matrix, DataType type,
                                   std::string_view why) {
  return typed_part(whole(argument, matrix), type, why);
}
MatrixPart MatrixEncode::result_of(std::string_view argument, const Vector& vector, DataType type,
                                   std::string_view why) {
  return typed_part(whole(argument, vector), type, why);
}

void MatrixEncode::check_words(std::string_view argument, const Vector& vector, std::size_t count,
                               std::string_view why) {
  vector.check_usable(recording(), kernel_, argument);
  if (vector.dataType() != DataType::UInt32 || vector.length() < count) {
    complain(argument, vector.describe(),
             std::to_string(count) + " elements of UInt32 for " + std::string(why));
  }
  read_.push_back(&vector);
}
TensorView MatrixEncode::words(const Vector& vector, std::size_t first, std::size_t count) const {
  if (!vector) return {};
  constexpr std::size_t word = sizeof(std::uint32_t);
  return view_of(recording(), vector.data(),
                 flat_desc(static_cast<std::int64_t>(count * word), ElementType::uint8),
                 vector.offset() + first * word);
}

std::size_t MatrixEncode::extent(std::string_view property, std::size_t set,
                                 std::initializer_list<std::size_t> available) const {
  if (set == 0) complain(property, "0", "1 or more");
  return std::min(set, std::min(available));
}

void MatrixEncode::check_room(const MatrixPart& part, std::size_t rows, std::size_t columns,
                              std::string_view why) const {
  if (!part || (part.rows >= rows && part.columns >= columns)) return;
  std::string needed =
      part.is_vector ? std::to_string(columns) + " elements" : extents(rows, columns);
  if (part.is_vector && part.column != 0) {
    needed += " from element " + std::to_string(part.column);
  } else if (part.row != 0 || part.column != 0) {
    needed += " from (" + std::to_string(part.row) + ", " + std::to_string(part.column) + ")";
  }
  complain(part.argument, part.array->describe(), needed + " for " + std::string(why));
}

namespace {

bool meet(std::size_t a, std::size_t a_length, std::size_t b, std::size_t b_length) {
  return a < b + b_length && b < a + a_length;
}

}  // namespace

void MatrixEncode::check_apart(const MatrixPart& result, std::size_t rows, std::size_t columns,
                               const MatrixPart& source, std::size_t source_rows,
                               std::size_t source_columns) const {
  if (!result || !source || !(*result.array == *source.array)) return;
  if (!meet(result.row, rows, source.row, source_rows) ||
      !meet(result.column, columns, source.column, source_columns))
    return;
  complain(result.argument, "where " + std::string(source.argument) + " is", "elsewhere",
           "Write into another matrix, or into a part of it that is not read.");
}

void MatrixEncode::check_apart(const MatrixPart& result, const MatrixPart& source, std::size_t rows,
                               std::size_t columns, bool in_place) const {
  if (in_place && result.row == source.row && result.column == source.column) return;
  check_apart(result, rows, columns, source, rows, columns);
}

void MatrixEncode::batch(std::size_t start, std::size_t size) {
  if (size == 0) complain("batchSize", "0", "1 or more");
  std::size_t count = size;
  for (const MatrixPart& part : parts_) {
    if (start >= part.count) {
      complain("batchStart", std::to_string(start),
               "a matrix of every operand: " + std::string(part.argument) + " is " +
                   part.array->describe());
    }
    count = std::min(count, part.count - start);
  }
  start_ = static_cast<std::int64_t>(start);
  count_ = static_cast<std::int32_t>(count);
}

TensorView MatrixEncode::all_of(const MatrixPart& part) const {
  if (part.array->dataType() != DataType::UInt32) return part.array->view(recording());
  constexpr std::size_t word = sizeof(std::uint32_t);
  static_assert(sizeof(float) == word);
  const auto i32 = [](std::size_t extent) { return static_cast<std::int32_t>(extent); };
  TensorDesc desc = dense_desc(i32(part.count), i32(part.rows), 1, i32(part.columns));
  std::size_t stack = 0;
  if (part.is_vector) {
    stack = static_cast<const Vector*>(part.array)->vectorBytes();
  } else {
    const auto* matrix = static_cast<const Matrix*>(part.array);
    stack = matrix->matrixBytes();
    desc.stride_h = static_cast<std::int64_t>(matrix->rowBytes() / word);
  }
  desc.stride_n = static_cast<std::int64_t>(stack / word);
  return view_of(recording(), part.array->data(), desc, part.array->offset());
}

TensorView MatrixEncode::view(const MatrixPart& part, std::size_t rows, std::size_t columns) const {
  if (!part) return {};
  TensorView all = all_of(part);
  all = feature_channels(
      window(all, 0, static_cast<std::int64_t>(part.row), 1, static_cast<std::int32_t>(rows)),
      static_cast<std::int64_t>(part.column), static_cast<std::int32_t>(columns));
  all = images(all, start_, count_);
  // Strides that lead nowhere: equal regions are equal descriptions, and dense ones are dense.
  all.desc.stride_w = all.desc.c;
  if (rows == 1) all.desc.stride_h = all.desc.c;
  if (count_ == 1) all.desc.stride_n = all.desc.stride_h * all.desc.h;
  return all;
}

void MatrixEncode::finish() const {
  for (auto one = read_.begin(); one != read_.end(); ++one) {
    const bool again = std::any_of(read_.begin(), one,
                                   [&](const StridedArray* before) { return *before == **one; });
    if (!again) (*one)->consume(recording());
  }
}

}  // namespace cermet::detail
