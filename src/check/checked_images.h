#pragma once
// Images of checks and what is checked about them.

#include <initializer_list>
#include <string_view>
#include <vector>

#include "cermet/check/checked_kernel.h"

namespace cermet::detail {

[[nodiscard]] std::size_t count_of(const CheckedImages& images);
/// As many and as large as these, Float32.
[[nodiscard]] CheckedImages extents_of(const ImageBatch& images);
/// Batch, height, width, channels.
[[nodiscard]] std::vector<std::size_t> shape_of(const CheckedImages& images);
[[nodiscard]] std::vector<float> values_of(const CheckedImages& images);
[[nodiscard]] ImageBatch upload(const Device& device, const CheckedImages& images,
                                ImageFeatureChannelFormat format, const std::vector<float>& values);
[[nodiscard]] Buffer buffer_of(const Device& device, const std::vector<float>& values);
/// The first values of a buffer.
[[nodiscard]] std::vector<float> first_of(const Buffer& buffer, std::size_t count);
/// Runs what was encoded and throws what went wrong.
void finish(CommandBuffer& commands);

/// Throws InvalidArgument in the name of `checker` for images without pixels or of another format
/// than Float32 and Float16.
void check_images(std::string_view checker, const CheckedImages& images);
/// The device of all kernels; gradient kernels may be null. Throws InvalidArgument where there is
/// no forward kernel, or one of another device.
[[nodiscard]] Device common_device(std::string_view checker, const Kernel* forward,
                                   std::initializer_list<const Kernel*> gradients);
[[noreturn]] void complain_about(const Kernel& kernel, std::string_view argument, std::string got,
                                 std::string needed, std::string remedy);

}  // namespace cermet::detail
