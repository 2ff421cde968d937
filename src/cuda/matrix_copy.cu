// PermutedCopy (formula: matrix/copy.h).

#include "cermet/matrix/copy.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__device__ long long entry(const unsigned* words, int i) {
  return words != nullptr ? static_cast<long long>(words[i]) : i;
}

__global__ void copy(PermutedCopy op, const MatrixCopyOffsets* offsets, const unsigned* row_indices,
                     const unsigned* column_indices, Tensor source, Tensor destination) {
  begin_kernel();
  const MatrixCopyOffsets place = offsets != nullptr ? *offsets : op.at;
  const bool crosses = op.transposeSource != 0, turns = op.transposeDestination != 0;
  for (const long long at : grid_stride(static_cast<long long>(op.rows) * op.columns)) {
    const int i = static_cast<int>(at / op.columns), j = static_cast<int>(at % op.columns);
    const long long y = static_cast<long long>(place.sourceRowOffset) + (crosses ? j : i);
    const long long x = static_cast<long long>(place.sourceColumnOffset) + (crosses ? i : j);
    const long long r =
        static_cast<long long>(place.destinationRowOffset) + entry(row_indices, turns ? j : i);
    const long long q = static_cast<long long>(place.destinationColumnOffset) +
                        entry(column_indices, turns ? i : j);
    if (y >= source.desc.h || x >= source.desc.c || r >= destination.desc.h ||
        q >= destination.desc.c)
      continue;
    store(destination, Index{0, static_cast<int>(r), 0, static_cast<int>(q)},
          load(source, Index{0, static_cast<int>(y), 0, static_cast<int>(x)}));
  }
}

}  // namespace

StepPtr prepare(const PermutedCopy& op, Descs slots, Engine&) {
  using Op = PermutedCopy;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda copy", [=](const Args& args) {
    const auto words = [&](std::size_t slot) {
      return descs[slot].present() ? args.at<const unsigned>(slot) : nullptr;
    };
    const auto* offsets =
        descs[Op::offsets].present() ? args.at<const MatrixCopyOffsets>(Op::offsets) : nullptr;
    launch(args, static_cast<long long>(op.rows) * op.columns, copy, op, offsets,
           words(Op::rowPermutation), words(Op::columnPermutation), tensor(args, descs, Op::source),
           tensor(args, descs, Op::destination));
  });
}

}  // namespace cermet::cuda
