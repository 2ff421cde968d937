#pragma once
// What a matrix kernel does between its arguments and its operators: regions, checks, reads.

#include <array>

#include "cermet/matrix/kernel.h"
#include "cnn/encoding.h"

namespace cermet::detail {

/// An operand of an encode, from its origin on. A vector is a matrix of one row.
struct MatrixPart {
  const StridedArray* array = nullptr;  // null: absent
  std::string_view argument;
  std::size_t row = 0, column = 0;    // of the origin
  std::size_t rows = 0, columns = 0;  // from there on
  std::size_t count = 0;              // matrices or vectors
  bool is_vector = false;

  [[nodiscard]] explicit operator bool() const { return array != nullptr; }
};

/// Checks the operands of one encode, makes views of their regions and takes reads. All checks come
/// before the first view.
class MatrixEncode {
 public:
  MatrixEncode(const Kernel& kernel, const CommandBuffer& commandBuffer)
      : kernel_(kernel), images_(kernel, commandBuffer) {}

  [[nodiscard]] Recording& recording() const { return images_.recording(); }

  // Operands. What is read is a source; a result that is read, too, is none. `origin` is named in
  // messages.
  MatrixPart source(std::string_view argument, const Matrix& matrix, std::string_view name = {},
                    const Origin& origin = {});
  /// `origin.x` counts elements.
  MatrixPart source(std::string_view argument, const Vector& vector, std::string_view name = {},
                    const Origin& origin = {});
  /// Absent where it is nil.
  MatrixPart optional_source(std::string_view argument, const Vector& vector);
  MatrixPart result(std::string_view argument, const Matrix& matrix, std::string_view name = {},
                    const Origin& origin = {});
  MatrixPart result(std::string_view argument, const Vector& vector, std::string_view name = {},
                    const Origin& origin = {});
  MatrixPart optional_result(std::string_view argument, const Vector& vector);
  /// A result of this very type, `why`. UInt32 has views, too: of float32 with the same bits.
  MatrixPart result_of(std::string_view argument, const Matrix& matrix, DataType type,
                       std::string_view why);
  MatrixPart result_of(std::string_view argument, const Vector& vector, DataType type,
                       std::string_view why);

  /// A source of UInt32 with `count` elements or more, for `why`; `words` makes its view.
  void check_words(std::string_view argument, const Vector& vector, std::size_t count,
                   std::string_view why);
  /// Elements of such a source as bytes; absent where it is nil.
  [[nodiscard]] TensorView words(const Vector& vector, std::size_t first, std::size_t count) const;

  /// The smallest of these; `property` is one that was set, and named where it is 0.
  [[nodiscard]] std::size_t extent(std::string_view property, std::size_t set,
                                   std::initializer_list<std::size_t> available) const;
  /// The part must have rows x columns, for `why`: "resultRows x resultColumns".
  void check_room(const MatrixPart& part, std::size_t rows, std::size_t columns,
                  std::string_view why = "the region that is computed") const;
  /// A result must not be a source, or where `in_place` is allowed be exactly its region.
  void check_apart(const MatrixPart& result, const MatrixPart& source, std::size_t rows,
                   std::size_t columns, bool in_place) const;
  void check_apart(const MatrixPart& result, std::size_t rows, std::size_t columns,
                   const MatrixPart& source, std::size_t source_rows,
                   std::size_t source_columns) const;
  /// Which matrices of all operands that were named so far.
  void batch(std::size_t start, std::size_t size);

  /// The region of a part, for all matrices of the batch; absent for an absent part. One matrix is
  /// a tensor of `rows` rows of one pixel of `columns` channels.
  [[nodiscard]] TensorView view(const MatrixPart& part, std::size_t rows,
                                std::size_t columns) const;
  [[nodiscard]] TensorView view(const MatrixPart& vector, std::size_t length) const {
    return view(vector, 1, length);
  }
  [[nodiscard]] std::int32_t batch_count() const { return count_; }

  /// Takes one read from each source.
  void finish() const;

  [[noreturn]] void complain(std::string_view argument, std::string got, std::string needed,
                             std::string remedy = {}) const;

 private:
  MatrixPart part(std::string_view argument, const Matrix& matrix, std::string_view name,
                  const Origin& origin);
  MatrixPart part(std::string_view argument, const Vector& vector, std::string_view name,
                  const Origin& origin);
  MatrixPart part(MatrixPart whole, std::string_view name, const Origin& origin);
  MatrixPart typed_part(const MatrixPart& whole, DataType type, std::string_view why);
  [[nodiscard]] MatrixPart whole(std::string_view argument, const Matrix& matrix) const;
  [[nodiscard]] MatrixPart whole(std::string_view argument, const Vector& vector) const;
  /// All elements.
  [[nodiscard]] TensorView all_of(const MatrixPart& part) const;

  const Kernel& kernel_;
  Encode images_;
  std::vector<MatrixPart> parts_;
  std::vector<const StridedArray*> read_;
  std::int64_t start_ = 0;
  std::int32_t count_ = 1;
};

/// a + b, or the largest number where no number is that.
[[nodiscard]] constexpr std::size_t plus(std::size_t a, std::size_t b) {
  return b > all_elements - a ? all_elements : a + b;
}
/// "3x4"
[[nodiscard]] std::string extents(std::size_t rows, std::size_t columns);

}  // namespace cermet::detail
