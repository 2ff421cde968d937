#pragma once
// The incoming gradient of kernels whose output pixel depends on the source pixel at its place.

#include <memory>

#include "cnn/encoding.h"

namespace cermet::detail {

/// Brought to the destination's extents. With a state only the region that the forward encode wrote
/// counts, and with Clamp edges a pixel also collects from the positions outside that read it.
class IncomingGradient {
 public:
  IncomingGradient(const CNNGradientKernel& kernel, const BinaryEncoding& encoding);
  [[nodiscard]] const TensorView& view() const {
    return folded_ ? folded_->view : aligned_->view();
  }

 private:
  std::unique_ptr<AlignedSource> aligned_;
  std::unique_ptr<ScratchTensor> folded_;
};

}  // namespace cermet::detail
