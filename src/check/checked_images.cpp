#include "check/checked_images.h"

#include <fmt/format.h>

#include "cermet/core/error.h"
#include "check/random_values.h"

namespace cermet::detail {

std::size_t count_of(const CheckedImages& images) {
  return images.count * images.height * images.width * images.featureChannels;
}

CheckedImages extents_of(const ImageBatch& images) {
  const Image one = images.front();
  return {.count = images.size(),
          .height = one.height(),
          .width = one.width(),
          .featureChannels = one.featureChannels()};
}

std::vector<std::size_t> shape_of(const CheckedImages& images) {
  return {images.count, images.height, images.width, images.featureChannels};
}

std::vector<float> values_of(const CheckedImages& images) {
  std::vector<float> values(count_of(images));
  RandomValues random(images.seed);
  for (float& value : values) value = random.uniform(images.low, images.high);
  return values;
}

ImageBatch upload(const Device& device, const CheckedImages& images,
                  ImageFeatureChannelFormat format, const std::vector<float>& values) {
  ImageBatch batch(
      device,
      ImageDescriptor::imageDescriptor(format, images.width, images.height, images.featureChannels),
      images.count);
  batch.write_floats(values);
  return batch;
}

Buffer buffer_of(const Device& device, const std::vector<float>& values) {
  return device.makeBuffer(values.data(), values.size() * sizeof(float));
}
std::vector<float> first_of(const Buffer& buffer, std::size_t count) {
  std::vector<float> values = buffer.values<float>();
  values.resize(count);
  return values;
}

void finish(CommandBuffer& commands) {
  commands.commit();
  commands.waitUntilCompleted();
  if (const auto error = commands.error()) throw *error;
}

void check_images(std::string_view checker, const CheckedImages& images) {
  if (count_of(images) == 0) {
    fail({checker, "", "images",
          fmt::format("{} of {}x{}x{}", images.count, images.height, images.width,
                      images.featureChannels),
          "at least one pixel", ""});
  }
  if (images.format != ImageFeatureChannelFormat::Float32 &&
      images.format != ImageFeatureChannelFormat::Float16) {
    fail({checker, "", "format", fmt::format("{}", static_cast<int>(images.format)),
          "Float32 or Float16", "Integers have no gradient."});
  }
}

Device common_device(std::string_view checker, const Kernel* forward,
                     std::initializer_list<const Kernel*> gradients) {
  if (forward == nullptr) fail({checker, "", "forward", "null", "a kernel", ""});
  for (const Kernel* gradient : gradients) {
    if (gradient != nullptr && !(gradient->device() == forward->device())) {
      complain_about(*gradient, "device", gradient->device().name(), forward->device().name(),
                     "Make both kernels for one device.");
    }
  }
  return forward->device();
}

void complain_about(const Kernel& kernel, std::string_view argument, std::string got,
                    std::string needed, std::string remedy) {
  fail({kernel.class_name(), kernel.label(), argument, std::move(got), std::move(needed),
        std::move(remedy)});
}

}  // namespace cermet::detail
