#include "cnn/planning.h"

#include <algorithm>

namespace cermet::detail {

const std::shared_ptr<NNPadding>& default_padding() {
  static const std::shared_ptr<NNPadding> policy =
      NNDefaultPadding::padding(NNPaddingMethod::SizeSame);
  return policy;
}

ImageFeatureChannelFormat result_format(const Image& first_source) {
  const ImageFeatureChannelFormat format = first_source.featureChannelFormat();
  const bool keeps = format == ImageFeatureChannelFormat::Float32 ||
                     format == ImageFeatureChannelFormat::Float16 ||
                     format == ImageFeatureChannelFormat::BFloat16;
  return keeps ? format : ImageFeatureChannelFormat::Float16;
}

std::size_t available_channels(const Image& image, std::size_t offset, std::size_t most) {
  const std::size_t have = image.featureChannels();
  return offset >= have ? 0 : std::min(most, have - offset);
}

ImageDescriptor finish_plan(ImageDescriptor descriptor, std::span<const Image> sources,
                            std::span<const StatePtr> states, Kernel& kernel, NNPadding& padding,
                            ImageFeatureChannelFormat format) {
  for (const StatePtr& state : states) {
    if (state) descriptor = state->destinationImageDescriptor(sources, states, kernel, descriptor);
  }
  if (format != ImageFeatureChannelFormat::None) descriptor.channelFormat = format;
  if ((padding.paddingMethod() & NNPaddingMethod::Custom) != 0) {
    descriptor = padding.destinationImageDescriptor(sources, states, kernel, descriptor);
  }
  return descriptor;
}

void set_images(ForwardRecord& record, const Image& source, const Image& destination) {
  record.sourceWidth = source.width();
  record.sourceHeight = source.height();
  record.sourceFeatureChannels = source.featureChannels();
  record.sourceFormat = source.featureChannelFormat();
  record.destinationWidth = destination.width();
  record.destinationHeight = destination.height();
  record.destinationFeatureChannels = destination.featureChannels();
}

Offset planned_offset(NNPaddingMethod method, const SourceGeometry& geometry, const Image& source,
                      const ImageDescriptor& destination, bool backwards) {
  return {padded_offset(method, true, source.width(), destination.width,
                        dilated(geometry.kernelWidth, geometry.dilationRateX),
                        geometry.strideInPixelsX, backwards),
          padded_offset(method, false, source.height(), destination.height,
                        dilated(geometry.kernelHeight, geometry.dilationRateY),
                        geometry.strideInPixelsY, backwards),
          0};
}

}  // namespace cermet::detail
