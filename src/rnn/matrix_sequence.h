#pragma once
// Lists of matrices as arguments of recurrent layers: one for each step, often the same matrix with
// another offset (spec: rnn-matrix B4).

#include <span>
#include <string_view>
#include <vector>

#include "cermet/matrix/kernel.h"
#include "rnn/sequence.h"

namespace cermet::detail {

class MatrixSequence final : public Sequence {
 public:
  /// Checks every matrix: `channels` columns or more, Float32 or Float16, inside its buffer from
  /// its offset on. `offsets`: bytes, one for each matrix; empty: 0.
  MatrixSequence(const Kernel& kernel, const Recording& recording, std::string_view argument,
                 std::span<const Matrix> matrices, std::span<const std::size_t> offsets,
                 std::string_view offsets_argument, std::size_t channels);

  [[nodiscard]] std::size_t size() const override { return matrices_.size(); }
  /// Throws where a matrix has more rows than the one before.
  [[nodiscard]] Steps steps() const override;
  /// Throws unless there are as many matrices as in `other`, each with its rows or more.
  void check_covers(const MatrixSequence& other) const;
  /// Throws where a step of this, which is written, lies where `other` is read.
  void check_apart(const MatrixSequence& other) const;

  [[nodiscard]] TensorView gather(Scratch& scratch, RecurrenceMemos& memos, const Steps& steps,
                                  bool reversed = false) const override;
  void scatter(Recording& recording, StepMemo& memo, const TensorView& from, const Steps& steps,
               bool reversed = false, std::size_t first = 0) const override;
  /// Takes one read from each of the matrices.
  void consume(Recording& recording) const;

 private:
  /// The region of one step.
  [[nodiscard]] TensorView step(Recording& recording, std::size_t index, std::int32_t rows,
                                std::size_t first_channel, std::size_t channels) const;
  /// All steps as one strided tensor of `rows` rows each; absent where they do not lie so.
  [[nodiscard]] TensorView strided(Recording& recording, std::int32_t rows, bool reversed,
                                   std::size_t first_channel, std::size_t channels) const;
  [[nodiscard]] std::size_t offset(std::size_t index) const {
    return offsets_.empty() ? 0 : offsets_[index];
  }
  [[noreturn]] void complain(std::size_t index, std::string got, std::string needed,
                             std::string remedy = {}) const;

  const Kernel& kernel_;
  std::string_view argument_;
  std::span<const Matrix> matrices_;
  std::span<const std::size_t> offsets_;
  std::size_t channels_;
};

}  // namespace cermet::detail
