#pragma once
// What the base classes share besides encoding: sizing a result, and making states for a batch.

#include <memory>
#include <vector>

#include "cermet/cnn/kernel.h"

namespace cermet::detail {

[[nodiscard]] const std::shared_ptr<NNPadding>& default_padding();
/// Format of a result whose kernel is free to choose.
[[nodiscard]] ImageFeatureChannelFormat result_format(const Image& first_source);
/// Channels of the image from `offset` on, at most `most`.
[[nodiscard]] std::size_t available_channels(const Image& image, std::size_t offset,
                                             std::size_t most);
/// Fills the fields about the two images.
void set_images(ForwardRecord& record, const Image& source, const Image& destination);
/// States first, then the custom policy: the last two steps of planning (spec: core 10.8).
[[nodiscard]] ImageDescriptor finish_plan(ImageDescriptor descriptor,
                                          std::span<const Image> sources,
                                          std::span<const StatePtr> states, Kernel& kernel,
                                          NNPadding& padding, ImageFeatureChannelFormat format);

/// Windows as the padding rules see them: extent of `taps` taps, `dilation` apart.
[[nodiscard]] constexpr std::size_t dilated(std::size_t taps, std::size_t dilation) {
  return (taps - 1) * dilation + 1;
}
/// The offset that the padding method gives a source read into a destination of that size.
[[nodiscard]] Offset planned_offset(NNPaddingMethod method, const SourceGeometry& geometry,
                                    const Image& source, const ImageDescriptor& destination,
                                    bool backwards);

/// One state repeated, or one for each image.
template <class Make>
StateBatch states_for(std::size_t count, bool reused, Make&& make) {
  if (count == 0) return {};
  if (reused) return StateBatch::repeated(make(0), count);
  std::vector<StatePtr> states;
  for (std::size_t i = 0; i < count; ++i) {
    StatePtr state = make(i);
    if (!state) return {};
    states.push_back(std::move(state));
  }
  return states;
}

}  // namespace cermet::detail
