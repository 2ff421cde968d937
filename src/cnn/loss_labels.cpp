#include "cnn/loss_labels.h"

namespace cermet::detail {

void check_labels(const Kernel& kernel, const char* argument, const Image& image,
                  const Image& source) {
  if (image.width() == source.width() && image.height() == source.height() &&
      image.featureChannels() >= source.featureChannels()) {
    return;
  }
  fail({kernel.class_name(), kernel.label(), argument, describe(image),
        std::to_string(source.width()) + "x" + std::to_string(source.height()) + " with at least " +
            std::to_string(source.featureChannels()) + " feature channels, as the source image",
        "Labels and weights are images of the predictions' size."});
}

void check_geometry(const Kernel& kernel, Offset offset, const Region& clip) {
  if (offset == Offset{} && clip == RectNoClip) return;
  fail({kernel.class_name(), kernel.label(), "offset or clipRect", "not the default", "the default",
        "Loss filters work on whole images."});
}

LabelledEncode::LabelImages::LabelImages(const Kernel& kernel, const CNNLossLabelsBatch& batch) {
  std::vector<Image> label_images, weight_images, loss_images;
  for (const auto& one : batch) {
    if (!one) {
      fail({kernel.class_name(), kernel.label(), "labels", "null", "a labels object for each image",
            ""});
    }
    label_images.push_back(one->labelsImage());
    loss_images.push_back(one->lossImage());
    if (one->weightsImage()) weight_images.push_back(one->weightsImage());
  }
  if (!weight_images.empty() && weight_images.size() != label_images.size()) {
    fail({kernel.class_name(), kernel.label(), "labels", "a batch where only some have weights",
          "weights for all or for none", ""});
  }
  labels = ImageBatch(label_images);
  weights = ImageBatch(weight_images);
  losses = ImageBatch(loss_images);
}

LabelledEncode::LabelledEncode(const CNNKernel& kernel, const CommandBuffer& commandBuffer,
                               const ImageBatch& sourceImages, const CNNLossLabelsBatch& objects,
                               const ImageBatch& destinationImages, bool reduced)
    : objects_(objects),
      call_(kernel, commandBuffer),
      images_(kernel, objects),
      source_(sourceImages),
      destination_(destinationImages),
      losses_(images_.losses) {
  const auto complain = [&](std::string_view argument, std::string got, std::string needed,
                            std::string remedy = {}) {
    fail({kernel.class_name(), kernel.label(), argument, std::move(got), std::move(needed),
          std::move(remedy)});
  };
  check_geometry(kernel, kernel.offset(), kernel.clipRect());
  if (kernel.sourceFeatureChannelOffset() != 0 || kernel.destinationFeatureChannelOffset() != 0 ||
      kernel.sourceFeatureChannelMaxCount() != all_channels) {
    complain("a feature channel offset or count", "not the default", "the default",
             "Loss filters work on whole images.");
  }
  if (objects.size() != sourceImages.size()) {
    complain("labels", std::to_string(objects.size()),
             std::to_string(sourceImages.size()) + ", one for each image");
  }
  const Operand label(images_.labels), weight(images_.weights);
  call_.check_counts("destinationImages", destination_, "sourceImages", sourceImages.size());
  for (const auto& [name, operand] : {std::pair{"sourceImages", source_},
                                      {"destinationImages", destination_},
                                      {"labels", label},
                                      {"the loss images of the labels", losses_}}) {
    call_.check_operand(name, operand);
  }
  const Image from = sourceImages.front();
  check_labels(kernel, "labels", images_.labels.front(), from);
  if (!images_.weights.empty()) {
    call_.check_operand("weights", weight);
    check_labels(kernel, "weights", images_.weights.front(), from);
  }
  const Image one_loss = images_.losses.front();
  const bool loss_is_one =
      one_loss.width() == 1 && one_loss.height() == 1 && one_loss.featureChannels() == 1;
  const bool loss_is_whole = one_loss.width() == from.width() &&
                             one_loss.height() == from.height() &&
                             one_loss.featureChannels() == from.featureChannels();
  if (reduced ? !loss_is_one : !loss_is_whole) {
    complain("lossImageSize", describe(one_loss),
             reduced ? "1x1x1 for a reduced loss" : "the source's size for reduction None",
             "Make the labels with that loss image size.");
  }
  const Image to = destinationImages.front();
  if (to.width() != from.width() || to.height() != from.height() ||
      to.featureChannels() < from.featureChannels()) {
    complain("destinationImages", describe(destination_), "images as large as the source images");
  }

  source = call_.source(source_);
  labels = call_.source(label);
  if (!images_.weights.empty()) weights = call_.source(weight);
  losses = call_.destination(losses_);
  gradients = call_.destination(destination_);
}

void LabelledEncode::finish() {
  call_.scatter(losses_, losses, 0, 0, 0);
  call_.scatter(destination_, gradients, 0, 0, 0);
  call_.consume(source_);
  for (const auto& one : objects_) one->consume(call_.recording());
}

ImageBatch results_for(CNNKernel& kernel, const CommandBuffer& commandBuffer,
                       const ImageBatch& sourceImages) {
  const Image first = sourceImages.front();
  ImageDescriptor descriptor = kernel.destinationImageDescriptor({&first, 1}, {});
  return kernel.destinationImageAllocator()->imageBatch(commandBuffer, descriptor, kernel,
                                                        sourceImages.size());
}

}  // namespace cermet::detail
