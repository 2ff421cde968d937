#pragma once
// Checks of the arguments of Image and ImageBatch.

#include "core/image_impl.h"

namespace cermet::detail {

[[noreturn]] inline void misuse(const Image& image, std::string_view argument, std::string got,
                                std::string needed, std::string remedy) {
  const std::string label = image ? image.label() : std::string();
  fail({"Image", label, argument, std::move(got), std::move(needed), std::move(remedy)});
}

[[nodiscard]] inline const std::shared_ptr<ImageRecord>& checked(const Image& image) {
  const auto& record = ImageRecord::of(image);
  if (!record)
    fail({"Image", "", "the image", "nil", "an image", "Make one from a device and a descriptor."});
  return record;
}

/// Whether `[location, location + length)` lies below `extent`; sums that wrap round do not.
[[nodiscard]] inline bool inside(std::size_t location, std::size_t length, std::size_t extent) {
  return length <= extent && location <= extent - length;
}

}  // namespace cermet::detail
