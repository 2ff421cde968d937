#pragma once
// A reduction of an image, whatever its axis, as one loop.

#include <cstdint>
#include <limits>

#include "cermet/cnn/reduce.h"
#include "cermet/core/tensor_desc.h"

namespace cermet::backend {

/// Result (n, y, x, c) comes from `count` elements of the source, `stride` apart, the first of
/// which lies at (n, y, x, c) of `first`. A sum is multiplied by `factor` and divided by `divisor`.
struct Reduction {
  TensorDesc first, results;  // of equal extents
  std::int64_t stride = 1;
  std::int32_t count = 1;
  double factor = 1, divisor = 1;

  Reduction(const Reduce& op, Descs descs)
      : first(descs[Reduce::source]), results(descs[Reduce::destination]) {
    switch (op.axis) {
      case ReduceAxis::row:
        count = first.w;
        stride = first.stride_w;
        first.w = 1;
        break;
      case ReduceAxis::column:
        count = first.h;
        stride = first.stride_h;
        first.h = 1;
        break;
      case ReduceAxis::feature_channels:
        count = first.c;
        first.c = 1;
        break;
    }
    if (op.kind == ReduceKind::mean) divisor = count;
    if (op.kind == ReduceKind::sum) factor = op.weight;
    merge_pixels();
  }

 private:
  /// Neighbours in memory become channels of one pixel.
  void merge_pixels() {
    const std::int64_t together = std::int64_t{first.w} * first.c;
    if (first.stride_w != first.c || results.stride_w != results.c ||
        together > std::numeric_limits<std::int32_t>::max() / 2)
      return;
    first.c = results.c = static_cast<std::int32_t>(together);
    first.w = results.w = 1;
  }
};

}  // namespace cermet::backend
