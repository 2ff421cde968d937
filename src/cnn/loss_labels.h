#pragma once
// What the losses that take labels objects share: CNNLoss and CNNYOLOLoss.

#include "cermet/cnn/loss.h"
#include "cnn/encoding.h"

namespace cermet::detail {

/// Throws unless `image` has the source's size and at least its channels.
void check_labels(const Kernel& kernel, const char* argument, const Image& image,
                  const Image& source);
/// Throws unless offset and clip rectangle are the defaults.
void check_geometry(const Kernel& kernel, Offset offset, const Region& clip);

/// The checked arguments of one encode. `reduced`: the loss images are 1x1x1, else of the source's
/// size.
class LabelledEncode {
 public:
  LabelledEncode(const CNNKernel& kernel, const CommandBuffer& commandBuffer,
                 const ImageBatch& sourceImages, const CNNLossLabelsBatch& labels,
                 const ImageBatch& destinationImages, bool reduced);
  LabelledEncode(const LabelledEncode&) = delete;
  LabelledEncode& operator=(const LabelledEncode&) = delete;
  ~LabelledEncode() = default;

  [[nodiscard]] Recording& recording() const { return call_.recording(); }
  TensorView source, labels, weights, losses, gradients;  // weights may be absent
  /// Brings results home and takes the reads.
  void finish();

 private:
  /// The images of a batch of labels objects.
  struct LabelImages {
    ImageBatch labels, weights, losses;
    LabelImages(const Kernel& kernel, const CNNLossLabelsBatch& batch);
  };
  const CNNLossLabelsBatch& objects_;
  Encode call_;
  LabelImages images_;
  Operand source_, destination_, losses_;
};

/// The images that an encode of these sources returns.
[[nodiscard]] ImageBatch results_for(CNNKernel& kernel, const CommandBuffer& commandBuffer,
                                     const ImageBatch& sourceImages);

}  // namespace cermet::detail
