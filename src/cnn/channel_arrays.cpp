#include "cnn/channel_arrays.h"

#include <algorithm>

#include "cermet/core/coder.h"
#include "cermet/ops/copy.h"

namespace cermet {
namespace {

StateResourceList two_arrays(std::size_t channels) {
  StateResourceList list;
  list.appendBuffer(channels * sizeof(float));
  list.appendBuffer(channels * sizeof(float));
  return list;
}

}  // namespace

CNNNormalizationGammaAndBetaState::CNNNormalizationGammaAndBetaState(Buffer gamma, Buffer beta)
    : State({std::move(gamma), std::move(beta)}) {}
CNNNormalizationGammaAndBetaState::CNNNormalizationGammaAndBetaState(
    const detail::StateOrigin& origin, std::size_t numberOfFeatureChannels)
    : State(origin, two_arrays(numberOfFeatureChannels)) {}
std::shared_ptr<CNNNormalizationGammaAndBetaState>
CNNNormalizationGammaAndBetaState::temporaryState(const CommandBuffer& commandBuffer,
                                                  std::size_t numberOfFeatureChannels) {
  return std::make_shared<CNNNormalizationGammaAndBetaState>(
      detail::StateOrigin::temporary(commandBuffer), numberOfFeatureChannels);
}

CNNNormalizationMeanAndVarianceState::CNNNormalizationMeanAndVarianceState(Buffer mean,
                                                                           Buffer variance)
    : State({std::move(mean), std::move(variance)}) {}
CNNNormalizationMeanAndVarianceState::CNNNormalizationMeanAndVarianceState(
    const detail::StateOrigin& origin, std::size_t numberOfFeatureChannels)
    : State(origin, two_arrays(numberOfFeatureChannels)) {}
std::shared_ptr<CNNNormalizationMeanAndVarianceState>
CNNNormalizationMeanAndVarianceState::temporaryState(const CommandBuffer& commandBuffer,
                                                     std::size_t numberOfFeatureChannels) {
  return std::make_shared<CNNNormalizationMeanAndVarianceState>(
      detail::StateOrigin::temporary(commandBuffer), numberOfFeatureChannels);
}

namespace detail {

void copy_channels(Recording& recording, const Buffer& from, const Buffer& to,
                   std::size_t channels) {
  if (from == to) return;  // updated in place
  StepMemo memo;
  encode(recording, memo, Copy{},
         {view_of(recording, from, channel_desc(channels)),
          view_of(recording, to, channel_desc(channels))});
}

Buffer channel_buffer(const Device& device, const float* values, float absent,
                      std::size_t channels) {
  const std::vector<float> constant(values != nullptr ? 0 : channels, absent);
  return device.makeBuffer(values != nullptr ? values : constant.data(), channels * sizeof(float));
}

void move_channels(std::span<Buffer> arrays, const Device& device) {
  for (Buffer& buffer : arrays) {
    const auto values = buffer.values<float>();
    buffer = device.makeBuffer(values.data(), buffer.length());
  }
}

void code_channels(Coder& coder, const Device& device, std::string_view name, Buffer& array,
                   std::size_t channels) {
  std::vector<float> values;
  if (!coder.is_reading()) values = array.values<float>();
  coder.tensor(name, values, std::array{channels});
  if (coder.is_reading()) array = device.makeBuffer(values.data(), values.size() * sizeof(float));
}

void check_channels(const Kernel& kernel, const char* argument, const Image& image,
                    std::size_t offset, std::size_t most, std::size_t channels) {
  const std::size_t all = image.featureChannels(),
                    have = offset >= all ? 0 : std::min(most, all - offset);
  const bool chosen = offset != 0 || most != all_channels;
  if (offset % 4 == 0 && (chosen ? have >= channels : have == channels)) return;
  const std::string from = ", read from feature channel " + std::to_string(offset);
  const char* needed =
      chosen ? " feature channels from an offset that is a multiple of 4" : " feature channels";
  fail({kernel.class_name(), kernel.label(), argument, describe(image) + (chosen ? from : ""),
        std::to_string(channels) + needed, ""});
}

void select_channels(Kernel& kernel, std::size_t channels) {
  auto* gradient = dynamic_cast<CNNGradientKernel*>(&kernel);
  if (gradient == nullptr) return;
  const bool chosen = gradient->secondarySourceFeatureChannelOffset() != 0 ||
                      gradient->secondarySourceFeatureChannelMaxCount() != all_channels;
  if (chosen) gradient->setSecondarySourceFeatureChannelMaxCount(channels);
}

void check_channel_buffers(const Kernel& kernel, const char* argument,
                           std::initializer_list<Buffer> buffers, std::size_t channels) {
  for (const Buffer& buffer : buffers) {
    if (buffer.length() >= channels * sizeof(float)) continue;
    fail({kernel.class_name(), kernel.label(), argument,
          "with a buffer of " + std::to_string(buffer.length() / sizeof(float)) + " values",
          std::to_string(channels) + ", one for each feature channel", ""});
  }
}

}  // namespace detail
}  // namespace cermet
