#pragma once
// A part of an image (spec: pooling-shape 7). It moves values alone: no operator of its own.

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Copies a block: destination pixel (i, j), counted from `clipRect.origin`, is source pixel offset
/// + (i, j), channels `sourceFeatureChannelOffset` on go to `destinationFeatureChannelOffset` on.
/// Positions outside the source read by `edgeMode`, Zero or Clamp. A result that is returned has
/// the source's size and the channels that are read. There is no gradient.
class NNSlice final : public Concrete<NNSlice, CNNKernel> {
 public:
  explicit NNSlice(const Device& device) : Concrete(device) {}
  NNSlice(Coder& coder, const Device& device) : Concrete(coder, device) { read(coder); }

 protected:
  void record(detail::UnaryEncoding& encoding) const override;

 private:
  mutable detail::StepMemo memo_;
};

using SliceKernels = TypeList<NNSlice>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
