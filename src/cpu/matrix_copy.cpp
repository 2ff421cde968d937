// PermutedCopy (formula: matrix/copy.h).

#include <cstring>

#include "cermet/matrix/copy.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

/// Entry i of an array of uint32 in bytes, or i itself where there is no array.
std::int64_t entry(const std::byte* words, std::int64_t i) {
  if (words == nullptr) return i;
  std::uint32_t word = 0;
  std::memcpy(&word, words + i * std::int64_t{sizeof word}, sizeof word);
  return word;
}

}  // namespace

StepPtr prepare(const PermutedCopy& op, Descs descs, Engine& engine) {
  using Op = PermutedCopy;
  const TensorDesc source = descs[Op::source], destination = descs[Op::destination];
  const bool has_offsets = descs[Op::offsets].present();
  const bool permutes_rows = descs[Op::rowPermutation].present();
  const bool permutes_columns = descs[Op::columnPermutation].present();
  const int threads = threads_for(std::int64_t{op.rows} * op.columns, engine);
  return make_step(descs, "elements", [=](const Args& args) {
    MatrixCopyOffsets at = op.at;
    if (has_offsets) std::memcpy(&at, args.slots[Op::offsets], sizeof at);
    const auto words = [&](bool there, std::size_t slot) {
      return there ? args.at<const std::byte>(slot) : nullptr;
    };
    const std::byte* row_indices = words(permutes_rows, Op::rowPermutation);
    const std::byte* column_indices = words(permutes_columns, Op::columnPermutation);
    const auto* from = args.at<const float>(Op::source);
    float* to = args.at(Op::destination);
    parallel(threads, op.rows, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t j = 0; j < op.columns; ++j) {
          const bool crosses = op.transposeSource != 0, turns = op.transposeDestination != 0;
          const std::int64_t y = at.sourceRowOffset + (crosses ? j : i);
          const std::int64_t x = at.sourceColumnOffset + (crosses ? i : j);
          const std::int64_t r = at.destinationRowOffset + entry(row_indices, turns ? j : i);
          const std::int64_t q = at.destinationColumnOffset + entry(column_indices, turns ? i : j);
          if (y >= source.h || x >= source.c || r >= destination.h || q >= destination.c) continue;
          pixel(to, destination, 0, r, 0)[q] = pixel(from, source, 0, y, 0)[x];
        }
      }
    });
  });
}

}  // namespace cermet::cpu
