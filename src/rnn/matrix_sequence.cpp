#include "rnn/matrix_sequence.h"

#include <algorithm>

namespace cermet::detail {

void MatrixSequence::complain(std::size_t index, std::string got, std::string needed,
                              std::string remedy) const {
  std::string argument(argument_);
  argument += "[" + std::to_string(index) + "]";
  fail({kernel_.class_name(), kernel_.label(), argument, std::move(got), std::move(needed),
        std::move(remedy)});
}

MatrixSequence::MatrixSequence(const Kernel& kernel, const Recording& recording,
                               std::string_view argument, std::span<const Matrix> matrices,
                               std::span<const std::size_t> offsets,
                               std::string_view offsets_argument, std::size_t channels)
    : kernel_(kernel),
      argument_(argument),
      matrices_(matrices),
      offsets_(offsets),
      channels_(channels) {
  const auto refuse = [&](std::string_view what, std::string got, std::string needed) {
    fail({kernel.class_name(), kernel.label(), what, std::move(got), std::move(needed), ""});
  };
  if (matrices.empty()) refuse(argument, "empty", "a matrix for each step");
  if (!offsets.empty() && offsets.size() != matrices.size()) {
    refuse(offsets_argument, std::to_string(offsets.size()) + " offsets",
           std::to_string(matrices.size()) + ", one for each matrix, or none");
  }
  for (std::size_t t = 0; t < matrices.size(); ++t) {
    const Matrix& matrix = matrices[t];
    matrix.check_usable(recording, kernel, std::string(argument) + "[" + std::to_string(t) + "]");
    const DataType type = matrix.dataType();
    if (type != DataType::Float32 && type != DataType::Float16)
      complain(t, matrix.describe(), "elements of Float32 or Float16");
    if (matrix.columns() < channels)
      complain(t, matrix.describe(), std::to_string(channels) + " columns or more");
    const std::size_t element = SizeofDataType(type);
    if (offset(t) % element != 0) {
      refuse(offsets_argument, std::to_string(offset(t)),
             "multiples of " + std::to_string(element) + ", the bytes of one element");
    }
    const std::size_t length = matrix.data().length() - matrix.offset();
    const std::size_t needed = (matrix.rows() - 1) * matrix.rowBytes() + channels * element;
    if (needed > length || offset(t) > length - needed) {
      complain(t, matrix.describe() + " at byte " + std::to_string(offset(t)),
               "its rows within the " + std::to_string(length) + " bytes of its buffer");
    }
  }
}

Steps MatrixSequence::steps() const {
  Steps steps;
  for (std::size_t t = 0; t < size(); ++t) {
    steps.rows.push_back(static_cast<std::int32_t>(matrices_[t].rows()));
    if (t == 0 || steps.rows[t] <= steps.rows[t - 1]) continue;
    complain(t, matrices_[t].describe(),
             std::to_string(steps.rows[t - 1]) + " rows or fewer, as in the step before",
             "Sort the sequences by length, the longest first.");
  }
  steps.most = steps.rows.front();
  return steps;
}

void MatrixSequence::check_covers(const MatrixSequence& other) const {
  if (size() != other.size()) {
    fail({kernel_.class_name(), kernel_.label(), argument_, std::to_string(size()) + " matrices",
          std::to_string(other.size()) + ", as many as " + std::string(other.argument_), ""});
  }
  for (std::size_t t = 0; t < size(); ++t) {
    if (matrices_[t].rows() >= other.matrices_[t].rows()) continue;
    complain(t, matrices_[t].describe(),
             std::to_string(other.matrices_[t].rows()) + " rows or more, those of " +
                 std::string(other.argument_));
  }
}

void MatrixSequence::check_apart(const MatrixSequence& other) const {
  for (std::size_t t = 0; t < size(); ++t) {
    for (std::size_t s = 0; s < other.size(); ++s) {
      if (!(matrices_[t] == other.matrices_[s])) continue;
      const std::size_t element = SizeofDataType(matrices_[t].dataType());
      const std::size_t row = matrices_[t].rowBytes();
      const std::size_t a = offset(t) % row, b = other.offset(s) % row;
      if (a >= b + other.channels_ * element || b >= a + channels_ * element) continue;
      complain(t, "where " + std::string(other.argument_) + "[" + std::to_string(s) + "] is",
               "elsewhere", "Write into another matrix, or into columns that are not read.");
    }
  }
}

TensorView MatrixSequence::step(Recording& recording, std::size_t index, std::int32_t rows,
                                std::size_t first_channel, std::size_t channels) const {
  TensorView view = matrices_[index].view(recording);
  view.data = static_cast<std::byte*>(view.data) + offset(index);
  view = channels_of(rows_of(images(view, 0, 1), 0, rows), first_channel, channels);
  view.desc.stride_w = view.desc.c;
  if (rows == 1) view.desc.stride_h = view.desc.c;
  view.desc.stride_n = view.desc.stride_h * rows;
  return view;
}

TensorView MatrixSequence::strided(Recording& recording, std::int32_t rows, bool reversed,
                                   std::size_t first_channel, std::size_t channels) const {
  const std::size_t last = size() - 1;
  const auto at = [&](std::size_t t) {
    return step(recording, reversed ? last - t : t, rows, first_channel, channels);
  };
  TensorView all = at(0);
  if (size() == 1) return all;
  const auto address = [](const TensorView& view) { return static_cast<std::byte*>(view.data); };
  const std::ptrdiff_t apart = address(at(1)) - address(all);
  const auto element = static_cast<std::ptrdiff_t>(size_of(all.desc.type));
  if (apart <= 0 || apart % element != 0) return {};
  for (std::size_t t = 1; t < size(); ++t) {
    const TensorView one = at(t);
    if (!(one.desc == all.desc) ||
        address(one) - address(all) != static_cast<std::ptrdiff_t>(t) * apart)
      return {};
  }
  all.desc.n = static_cast<std::int32_t>(size());
  all.desc.stride_n = apart / element;
  return all;
}

TensorView MatrixSequence::gather(Scratch& scratch, RecurrenceMemos& memos, const Steps& steps,
                                  bool reversed) const {
  Recording& recording = scratch.recording();
  const bool ragged = steps.is_ragged();
  TensorView all;
  if (!ragged) {
    all = strided(recording, steps.most, reversed, 0, channels_);
    if (all.desc.dense() && all.desc.type == ElementType::float32) return all;
  }
  const TensorView made = scratch.make(steps.count(), steps.most, channels_);
  if (ragged) fill_zero(recording, memos.fill, made);
  if (all.desc.present()) {
    copy(recording, memos.copy, all, made);
    return made;
  }
  for (std::size_t t = 0; t < size(); ++t) {
    const std::int32_t rows = steps.rows[t];
    copy(recording, memos.copy, step(recording, reversed ? size() - 1 - t : t, rows, 0, channels_),
         step_of(made, static_cast<std::int32_t>(t), rows));
  }
  return made;
}

void MatrixSequence::scatter(Recording& recording, StepMemo& memo, const TensorView& from,
                             const Steps& steps, bool reversed, std::size_t first) const {
  const auto channels = static_cast<std::size_t>(from.desc.c);
  if (!steps.is_ragged()) {
    const TensorView all = strided(recording, steps.most, reversed, first, channels);
    if (all.desc.present()) {
      copy(recording, memo, from, all);
      return;
    }
  }
  for (std::size_t t = 0; t < size(); ++t) {
    const std::int32_t rows = steps.rows[t];
    copy(recording, memo, step_of(from, static_cast<std::int32_t>(t), rows),
         step(recording, reversed ? size() - 1 - t : t, rows, first, channels));
  }
}

void MatrixSequence::consume(Recording& recording) const {
  for (auto one = matrices_.begin(); one != matrices_.end(); ++one) {
    if (std::find(matrices_.begin(), one, *one) == one) one->consume(recording);
  }
}

}  // namespace cermet::detail
