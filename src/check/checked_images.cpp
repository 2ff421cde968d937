#include "check/checked_images.h"

#include <fmt/format.h>

#include <cmath>

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
  return random_values(count_of(images), images.seed, images.low, images.high);
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
  constexpr double most = 1 << 28;
  double values = 1;  // as a size it could overflow
  for (const std::size_t extent :
       {images.count, images.height, images.width, images.featureChannels})
    values *= static_cast<double>(extent);
  if (values < 1 || values > most) {
    fail({checker, "", "images",
          fmt::format("{} of {}x{}x{}", images.count, images.height, images.width,
                      images.featureChannels),
          fmt::format("1 to {} values", most), ""});
  }
  if (images.format != ImageFeatureChannelFormat::Float32 &&
      images.format != ImageFeatureChannelFormat::Float16) {
    fail({checker, "", "format", fmt::format("{}", static_cast<int>(images.format)),
          "Float32 or Float16", "Integers have no gradient."});
  }
  if (!std::isfinite(images.low) || !std::isfinite(images.high)) {
    fail({checker, "", "low and high", fmt::format("{} and {}", images.low, images.high),
          "finite numbers", ""});
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
