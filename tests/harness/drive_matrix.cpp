// Drives the rows of matrix kernels (matrix_rows.h).

#include <bit>

#include "cermet/core/coder.h"
#include "cermet/matrix/multiplication.h"
#include "cermet/matrix/neuron.h"
#include "cermet/nn/archive.h"
#include "compare.h"
#include "matrix_rows.h"

namespace cermet::test {
namespace {

/// How the operands of a run lie in memory.
struct Setting {
  std::string name;
  int threads = 1;
  bool placed = false;     // origins, a longer batch, padding
  bool temporary = false;  // what can be
  int halves = 0;          // 0: none, 1: every second operand, 2: all
  bool copied = false, archived = false;
  bool judged = true;  // compared with what the row expects
};

/// One operand in memory, NaN all around. `number`: the operand's, so that each has an origin of
/// its own.
class Stored {
 public:
  Stored(const Device& device, const MatrixOperand& of, std::size_t number, std::size_t batch,
         const Setting& setting, bool in_batch, bool half)
      : of_(of), batch_(batch), half_(half) {
    if (setting.placed) {
      before_ = in_batch ? 1 : 0;
      after_ = 1;
      if (of.place)
        origin_ = of.is_vector ? Origin{3 + number, 0, 0} : Origin{2 + number, 3 + 2 * number, 0};
      if (!of.is_vector) rows_after_ = 2;
      columns_after_ = 1;
    }
    const std::size_t element = half ? 2 : 4;
    const std::size_t rows = first_row() + of.rows + rows_after_;
    const std::size_t columns = first_column() + of.columns + columns_after_;
    row_ = columns + (setting.placed ? 5 : 0);
    stack_ = row_ * rows + (setting.placed ? row_ : 0);
    const std::size_t count = before_ + batch + after_;
    bits_.assign(stack_ * count, half ? 0x7E01U : 0x7FC00DEDU);
    buffer_ = device.makeBuffer(bits_.size() * element);
    const DataType type = half ? DataType::Float16 : DataType::Float32;
    if (of.is_vector) {
      vector_ = Vector(buffer_,
                       VectorDescriptor::vectorDescriptor(columns, count, stack_ * element, type));
    } else {
      matrix_ = Matrix(buffer_, MatrixDescriptor::matrixDescriptor(
                                    rows, columns, count, row_ * element, stack_ * element, type));
    }
  }

  [[nodiscard]] const Matrix& matrix() const { return matrix_; }
  [[nodiscard]] const Vector& vector() const { return vector_; }
  [[nodiscard]] const Origin& origin() const { return origin_; }
  [[nodiscard]] bool is_half() const { return half_; }

  /// Fills the region of matrix k and returns what it holds now.
  Grid fill(std::size_t k, const std::vector<float>& values) {
    Grid held(of_.rows, of_.columns);
    for (std::size_t i = 0; i < of_.rows; ++i) {
      for (std::size_t j = 0; j < of_.columns; ++j) {
        const float value = values.at(i * of_.columns + j);
        bits_[place(k, i, j)] =
            half_ ? half_from_float(value) : std::bit_cast<std::uint32_t>(value);
        held(i, j) = double{number(bits_[place(k, i, j)])};
      }
    }
    return held;
  }
  void send() const {
    if (half_) {
      const std::vector<std::uint16_t> narrow(bits_.begin(), bits_.end());
      buffer_.copy_in(narrow.data(), narrow.size() * 2);
    } else {
      buffer_.copy_in(bits_.data(), bits_.size() * 4);
    }
  }
  /// The region of matrix k after the run.
  [[nodiscard]] std::vector<float> region(std::size_t k) const {
    const auto now = received();
    std::vector<float> values;
    for (std::size_t i = 0; i < of_.rows; ++i)
      for (std::size_t j = 0; j < of_.columns; ++j) values.push_back(number(now[place(k, i, j)]));
    return values;
  }
  /// Elements that differ from what was sent, the regions of results left out.
  [[nodiscard]] std::size_t changed() const {
    auto now = received();
    if (of_.use != Use::source) {
      for (std::size_t k = 0; k < batch_; ++k)
        for (std::size_t i = 0; i < of_.rows; ++i)
          for (std::size_t j = 0; j < of_.columns; ++j) now[place(k, i, j)] = bits_[place(k, i, j)];
    }
    std::size_t count = 0;
    for (std::size_t at = 0; at < now.size(); ++at) count += now[at] != bits_[at] ? 1U : 0U;
    return count;
  }

 private:
  [[nodiscard]] std::size_t first_row() const { return of_.is_vector ? 0 : origin_.x; }
  [[nodiscard]] std::size_t first_column() const { return of_.is_vector ? origin_.x : origin_.y; }
  [[nodiscard]] std::size_t place(std::size_t k, std::size_t i, std::size_t j) const {
    return (before_ + k) * stack_ + (first_row() + i) * row_ + first_column() + j;
  }
  [[nodiscard]] float number(std::uint32_t bits) const {
    return half_ ? float_from_half(static_cast<std::uint16_t>(bits)) : std::bit_cast<float>(bits);
  }
  [[nodiscard]] std::vector<std::uint32_t> received() const {
    if (!half_) return buffer_.values<std::uint32_t>();
    const auto narrow = buffer_.values<std::uint16_t>();
    return {narrow.begin(), narrow.end()};
  }

  MatrixOperand of_;
  std::size_t batch_, before_ = 0, after_ = 0, rows_after_ = 0, columns_after_ = 0;
  std::size_t row_ = 0, stack_ = 0;
  Origin origin_;
  bool half_;
  std::vector<std::uint32_t> bits_;
  Buffer buffer_;
  Matrix matrix_;
  Vector vector_;
};

/// A temporary of the same shape and values, with `reads` reads.
Matrix temporary_copy(const CommandBuffer& buffer, const Matrix& of, bool filled,
                      std::size_t reads) {
  const std::size_t element = SizeofDataType(of.dataType());
  const TemporaryMatrix made(buffer,
                             MatrixDescriptor::matrixDescriptor(
                                 of.rows(), of.columns(), of.matrices(), of.columns() * element,
                                 of.rows() * of.columns() * element, of.dataType()));
  made.setReadCount(reads);
  if (filled) MatrixNeuron(buffer.device()).encode(buffer, of, {}, made);
  return made;
}
Vector temporary_copy(const CommandBuffer& buffer, const Vector& of, bool filled,
                      std::size_t reads) {
  const TemporaryVector made(
      buffer,
      VectorDescriptor::vectorDescriptor(
          of.length(), of.vectors(), of.length() * SizeofDataType(of.dataType()), of.dataType()));
  made.setReadCount(reads);
  if (!filled) return made;
  // 1 x 1 times 1 x length, for each vector.
  const std::size_t count = of.vectors();
  const std::vector<float> ones(count, 1);
  const Matrix one(buffer.device().makeBuffer(ones.data(), count * sizeof(float)),
                   MatrixDescriptor::matrixDescriptor(1, 1, count, 4, 4, DataType::Float32));
  const Buffer data = of.data();
  const std::size_t element = SizeofDataType(of.dataType());
  const Matrix rows(data, of.offset(),
                    MatrixDescriptor::matrixDescriptor(
                        of.length(), 1, count, element,
                        count > 1 ? of.vectorBytes() : of.length() * element, of.dataType()));
  const Vector single(buffer.device().makeBuffer(ones.data(), count * sizeof(float)),
                      VectorDescriptor::vectorDescriptor(1, count, 4, DataType::Float32));
  MatrixVectorMultiplication(buffer.device(), of.length(), 1).encode(buffer, rows, single, made);
  return made;
}

std::unique_ptr<Kernel> kernel_of(const MatrixRow& row, const Setting& setting,
                                  const Device& device) {
  std::unique_ptr<Kernel> kernel = row.make(device);
  if (setting.copied) kernel = kernel->copy();
  if (setting.archived) {
    Coder coder;
    kernel->encodeWithCoder(coder);
    Coder written(coder.bytes(), "row");
    kernel = decode(written, device);
  }
  return kernel;
}

/// Values of every result, and whether all was as it should be.
std::vector<float> run(const MatrixRow& row, const Setting& setting) {
  const Bench& bench = Bench::with(setting.threads);
  const std::size_t batch = row.has_batch ? row.batch : 1;
  const auto is_half = [&](std::size_t at) {
    if (row.operands[at].wide_only) return false;
    return setting.halves == 2 || (setting.halves == 1 && !row.same_types && at % 2 == 0);
  };

  std::vector<std::shared_ptr<Stored>> stored;
  std::vector<std::vector<Grid>> values(batch, std::vector<Grid>(row.operands.size()));
  for (std::size_t at = 0; at < row.operands.size(); ++at) {
    const MatrixOperand& of = row.operands[at];
    if (of.is_absent) {
      stored.push_back(nullptr);
      continue;
    }
    if (of.matrix != all_elements) {
      stored.push_back(stored.at(of.matrix));
      continue;
    }
    stored.push_back(
        std::make_shared<Stored>(bench.device, of, at, batch, setting, row.has_batch, is_half(at)));
    for (std::size_t k = 0; k < batch; ++k) {
      if (of.use == Use::result) {
        values[k][at] = Grid(of.rows, of.columns);
        continue;
      }
      std::vector<float> numbers(of.given.begin(), of.given.end());
      if (numbers.empty())
        numbers = floats(of.rows * of.columns, 100 * at + k + 1, of.low, of.high);
      values[k][at] = stored.back()->fill(k, numbers);
    }
    stored.back()->send();
  }

  const auto kernel = kernel_of(row, setting, bench.device);
  for (std::size_t at = 0; at < row.operands.size(); ++at)
    if (stored[at] && row.operands[at].place) row.operands[at].place(*kernel, stored[at]->origin());
  if (setting.placed && row.limit) row.limit(*kernel);
  if (setting.placed && row.has_batch) {
    if (auto* k = dynamic_cast<MatrixKernel*>(kernel.get())) {
      k->setBatchStart(1);
      k->setBatchSize(batch);
    }
  }

  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  MatrixOperands operands{std::vector<Matrix>(row.operands.size()),
                          std::vector<Vector>(row.operands.size())};
  for (std::size_t at = 0; at < row.operands.size(); ++at) {
    if (!stored[at]) continue;
    const MatrixOperand& of = row.operands[at];
    operands.matrices[at] = stored[at]->matrix();
    operands.vectors[at] = stored[at]->vector();
    if (!setting.temporary) continue;
    if (of.matrix != all_elements) {
      operands.matrices[at] = operands.matrices[of.matrix];
      continue;
    }
    const bool filled = of.use != Use::result;
    if (of.is_vector && of.use != Use::source)
      continue;  // there is no way from a temporary vector to the host
    if (of.is_vector) {
      operands.vectors[at] = temporary_copy(buffer, stored[at]->vector(), filled, 2);
    } else {
      operands.matrices[at] = temporary_copy(buffer, stored[at]->matrix(), filled, 2);
    }
  }
  row.encode(*kernel, buffer, operands);
  if (setting.temporary) {
    for (std::size_t at = 0; at < row.operands.size(); ++at) {
      const MatrixOperand& of = row.operands[at];
      if (!stored[at] || of.matrix != all_elements) continue;
      const bool is_read = of.use == Use::source;
      const std::size_t count =
          of.is_vector ? operands.vectors[at].readCount() : operands.matrices[at].readCount();
      if (of.is_vector && !is_read) continue;
      bool shared = false;
      for (const MatrixOperand& other : row.operands) shared = shared || other.matrix == at;
      EXPECT_EQ(count, is_read || shared ? 1U : 2U) << setting.name << ", reads of operand " << at;
      if (of.use != Use::source) {
        MatrixNeuron(bench.device).encode(buffer, operands.matrices[at], {}, stored[at]->matrix());
      }
    }
  }
  finish(buffer);

  std::vector<float> results;
  for (std::size_t k = 0; k < batch; ++k) {
    std::vector<Grid> wanted = values[k];
    for (std::size_t at = 0; at < row.operands.size(); ++at)
      if (row.operands[at].matrix != all_elements) wanted[at] = values[k][row.operands[at].matrix];
    if (setting.judged) row.expect(wanted);
    for (std::size_t at = 0; at < row.operands.size(); ++at) {
      const MatrixOperand& of = row.operands[at];
      if (!stored[at] || of.use == Use::source) continue;
      const auto got = stored[at]->region(k);
      results.insert(results.end(), got.begin(), got.end());
      if (!setting.judged) continue;
      const double relative = setting.halves != 0 ? row.half_tolerance : row.tolerance;
      const auto same = compare(got, wanted[at].v,
                                {1, static_cast<int>(of.rows), 1, static_cast<int>(of.columns)},
                                {.relative = relative, .floor = 1e-2});
      EXPECT_TRUE(same.ok) << setting.name << ", operand " << at << ", matrix " << k << ": "
                           << same.text;
    }
  }
  for (std::size_t at = 0; at < row.operands.size(); ++at) {
    bool shared = false;
    for (const MatrixOperand& other : row.operands) shared = shared || other.matrix == at;
    const bool copied_back = setting.temporary && row.operands[at].use != Use::source;
    if (!stored[at] || shared || copied_back) continue;
    EXPECT_EQ(stored[at]->changed(), 0U) << setting.name << ", around operand " << at;
  }
  return results;
}

}  // namespace

TEST_P(MatrixRows, hold) {
  const MatrixRow& row = GetParam();
  const auto plain = run(row, {.name = "plain"});
  const auto bits = [](const std::vector<float>& values) {
    std::vector<std::uint32_t> all;
    for (const float value : values) all.push_back(std::bit_cast<std::uint32_t>(value));
    return all;
  };
  ASSERT_FALSE(plain.empty());
  const auto same_bits = [&](const Setting& setting) {
    EXPECT_EQ(bits(run(row, setting)), bits(plain)) << setting.name;
  };
  same_bits({.name = "again", .judged = false});
  same_bits({.name = "two threads", .threads = 2, .judged = false});
  same_bits({.name = "copied", .copied = true, .judged = false});
  same_bits({.name = "archived", .archived = true, .judged = false});
  same_bits({.name = "temporary", .temporary = true, .judged = false});
  run(row, {.name = "placed", .placed = true});
  run(row, {.name = "placed by two threads", .threads = 2, .placed = true});
  run(row, {.name = "half", .halves = 2});
  run(row, {.name = "mixed", .placed = true, .halves = 1});
}

}  // namespace cermet::test
