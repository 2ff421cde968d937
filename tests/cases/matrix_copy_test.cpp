// MatrixCopy and its descriptor: offsets, transposes, permutations (spec: rnn-matrix A10.1).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "cermet/matrix/copy.h"

namespace cermet::test {
namespace {

struct Part {
  std::size_t rows, columns;
  bool crosses = false, turns = false;
};

/// Operands: source, destination. Offsets are the origins, which no kernel property holds.
MatrixRow copy(const char* name, const Part& p) {
  MatrixRow r;
  r.name = name;
  r.has_batch = false;
  r.quick = p.rows * p.columns < 200;
  const auto origins = std::make_shared<std::array<Origin, 2>>();
  const auto place = [origins](std::size_t at) {
    return [origins, at](Kernel&, const Origin& o) { origins->at(at) = o; };
  };
  r.operands = {{.rows = p.crosses ? p.columns : p.rows,
                 .columns = p.crosses ? p.rows : p.columns,
                 .place = place(0)},
                {.rows = p.turns ? p.columns : p.rows,
                 .columns = p.turns ? p.rows : p.columns,
                 .use = Use::result,
                 .place = place(1)}};
  r.make = [p](const Device& device) {
    return std::make_unique<MatrixCopy>(device, p.rows, p.columns, p.crosses, p.turns);
  };
  r.encode = [origins](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    const auto word = [](std::size_t x) { return static_cast<std::uint32_t>(x); };
    const auto& [from, to] = *origins;
    dynamic_cast<const MatrixCopy&>(k).encode(
        buffer,
        MatrixCopyDescriptor::descriptor(o.matrices[0], o.matrices[1],
                                         {word(from.x), word(from.y), word(to.x), word(to.y)}));
  };
  r.expect = [p](std::vector<Grid>& v) {
    for (std::size_t i = 0; i < p.rows; ++i) {
      for (std::size_t j = 0; j < p.columns; ++j) {
        const double x = p.crosses ? v[0](j, i) : v[0](i, j);
        (p.turns ? v[1](j, i) : v[1](i, j)) = x;
      }
    }
  };
  r.tolerance = 0;
  r.half_tolerance = 1e-3;  // of Float32 into Float16
  return r;
}

const std::vector<MatrixRow> copies{
    copy("plain", {3, 5}),
    copy("source_transposed", {3, 5, true}),
    copy("destination_transposed", {5, 8, false, true}),
    copy("both_transposed", {8, 3, true, true}),
    copy("one_element", {1, 1, true}),
    copy("large", {300, 301, false, true}),
};
INSTANTIATE_TEST_SUITE_P(MatrixCopy, MatrixRows, testing::ValuesIn(copies), name_of_matrix_row);

class MatrixCopies : public testing::Test {
 protected:
  const Bench& bench = Bench::with(2);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const Matrix source = matrix(2, 3, {1, 2, 3, 4, 5, 6}), other = matrix(1, 2, {7, 8});
  [[nodiscard]] Matrix matrix(std::size_t r, std::size_t c, const Values& v = {}) const {
    return matrix_of(bench.device, r, c, v);
  }
};

TEST_F(MatrixCopies, do_all_operations_of_a_descriptor) {
  const Matrix to = matrix(2, 3, Values(6, 9));
  MatrixCopyDescriptor list(bench.device, 2);
  list.setCopyOperation(0, source, to, {1, 1, 0, 0});
  list.setCopyOperation(1, other, to, {0, 0, 1, 1});
  MatrixCopy(bench.device, 1, 2, false, false).encode(buffer, list);
  finish(buffer);
  EXPECT_EQ(values_of(to), (Values{5, 6, 9, 9, 7, 8}));
}

TEST_F(MatrixCopies, take_offsets_from_a_vector) {
  const Matrix to = matrix(2, 3, Values(6, 9));
  const Vector offsets = words_of(bench.device, {77, 77, 77, 77, 0, 1, 1, 0, 0, 0, 0, 2});
  const std::vector<Matrix> from{source, other}, into{to, to};
  MatrixCopy(bench.device, 1, 2, false, false)
      .encode(buffer, MatrixCopyDescriptor(from, into, offsets, 16));
  finish(buffer);
  EXPECT_EQ(values_of(to), (Values{9, 9, 7, 2, 3, 9}));  // the 8 lies outside
}

TEST_F(MatrixCopies, permute_rows_and_columns) {
  const Matrix to = matrix(3, 3, Values(9, 9));
  const Vector row_indices = words_of(bench.device, {5, 1, 0});
  const Vector column_indices = words_of(bench.device, {2, 0, 1});
  MatrixCopy(bench.device, 2, 3, false, false)
      .encode(buffer, MatrixCopyDescriptor::descriptor(source, to, {0, 0, 1, 0}), row_indices, 1,
              column_indices, 0);
  finish(buffer);
  EXPECT_EQ(values_of(to), (Values{9, 9, 9, 5, 6, 4, 2, 3, 1}));
}

/// Indices are of rows and columns as they are in the destination.
TEST_F(MatrixCopies, permute_after_a_transposition) {
  const Matrix to = matrix(3, 2, Values(6, 9));
  MatrixCopy(bench.device, 2, 3, false, true)
      .encode(buffer, MatrixCopyDescriptor::descriptor(source, to, {}),
              words_of(bench.device, {2, 1, 0}), 0, {}, 0);
  finish(buffer);
  EXPECT_EQ(values_of(to), (Values{3, 6, 2, 5, 1, 4}));
}

TEST_F(MatrixCopies, leave_out_what_an_index_places_outside) {
  const Matrix to = matrix(2, 3, Values(6, 9));
  MatrixCopy(bench.device, 2, 3, false, false)
      .encode(buffer, MatrixCopyDescriptor::descriptor(source, to, {}),
              words_of(bench.device, {0xFFFFFFFFU, 0}), 0, {}, 0);
  finish(buffer);
  EXPECT_EQ(values_of(to), (Values{4, 5, 6, 9, 9, 9}));
}

TEST_F(MatrixCopies, refuse_what_does_not_fit) {
  const MatrixCopy kernel(bench.device, 2, 3, false, false);
  EXPECT_EQ(kernel.copyRows(), 2U);
  EXPECT_EQ(kernel.copyColumns(), 3U);
  EXPECT_FALSE(kernel.sourcesAreTransposed());
  EXPECT_FALSE(kernel.destinationsAreTransposed());
  const Matrix to = matrix(2, 3);
  const auto said = [&](const MatrixCopyDescriptor& list, const Vector& r = {},
                        const Vector& c = {}) {
    return complaint([&] { kernel.encode(buffer, list, r, 1, c, 0); });
  };
  const auto one = [&](const Matrix& from, const Matrix& into, const MatrixCopyOffsets& offsets) {
    return MatrixCopyDescriptor::descriptor(from, into, offsets);
  };
  EXPECT_EQ(said(one(source, to, {0, 1, 0, 0})),
            "MatrixCopy: sourceMatrix is a matrix of 2x3 Float32; needed 2x4 for the offsets and "
            "what is copied.");
  EXPECT_EQ(said(one(source, to, {0, 0, 1, 0})),
            "MatrixCopy: destinationMatrix is a matrix of 2x3 Float32; needed 3x3 for the offsets "
            "and what is copied.");
  EXPECT_EQ(said(MatrixCopyDescriptor(bench.device, 1)),
            "MatrixCopy: sourceMatrix is nil; needed a vector or matrix of the command buffer's "
            "device.");
  EXPECT_EQ(
      said(one(source, to, {}), words_of(bench.device, {0, 1})),
      "MatrixCopy: rowPermuteIndices is a vector of 2 UInt32; needed 3 elements of UInt32 for "
      "the rows that are written, from rowPermuteOffset on.");
  EXPECT_EQ(
      said(one(source, to, {}), {}, vector_of(bench.device, {0, 1, 2})),
      "MatrixCopy: columnPermuteIndices is a vector of 3 Float32; needed 3 elements of UInt32 "
      "for the columns that are written, from columnPermuteOffset on.");
  EXPECT_EQ(complaint([&] { MatrixCopy(bench.device, 0, 3, false, false); }),
            "MatrixCopy: copyRows is 0; needed 1 to 2147483647.");
}

TEST_F(MatrixCopies, have_descriptors_that_refuse_what_does_not_fit) {
  const std::vector<Matrix> one{source}, two{source, other}, none;
  const auto said = [&](std::span<const Matrix> from, std::span<const Matrix> to,
                        const Vector& offsets, std::size_t at) {
    return complaint([&] { MatrixCopyDescriptor(from, to, offsets, at); });
  };
  EXPECT_EQ(said(none, none, {}, 0),
            "MatrixCopyDescriptor: sourceMatrices is empty; needed 1 or more.");
  EXPECT_EQ(
      said(two, one, {}, 0),
      "MatrixCopyDescriptor: destinationMatrices is 1 matrices; needed 2, as many as sources.");
  const Vector words = words_of(bench.device, {0, 0, 0, 0});
  EXPECT_EQ(said(one, one, words, 4),
            "MatrixCopyDescriptor: byteOffset is 4; needed a multiple of 16.");
  EXPECT_EQ(said(one, one, words, 16),
            "MatrixCopyDescriptor: offsets is a vector of 4 UInt32; needed 4 elements of UInt32 "
            "from element 4, 4 for each copy.");
  EXPECT_EQ(complaint([&] { MatrixCopyDescriptor(bench.device, 0); }),
            "MatrixCopyDescriptor: count is 0; needed 1 or more.");
  MatrixCopyDescriptor list(bench.device, 2);
  EXPECT_EQ(complaint([&] { list.setCopyOperation(2, source, other, {}); }),
            "MatrixCopyDescriptor: index is 2; needed less than 2.");
  MatrixCopyDescriptor fixed(one, one, words, 0);
  EXPECT_EQ(complaint([&] { fixed.setCopyOperation(0, source, other, {}); }),
            "MatrixCopyDescriptor: offsets is those of a copy; needed none: those of this "
            "descriptor are in a vector. Write them into the vector, or make the descriptor from a "
            "device and a count.");
}

}  // namespace
}  // namespace cermet::test
