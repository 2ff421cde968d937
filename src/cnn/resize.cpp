#include "cermet/cnn/resize.h"

#include <cmath>

#include "cermet/core/coder.h"
#include "cnn/encoding.h"

namespace cermet {

void NNResizeBilinear::adjust(ImageDescriptor& descriptor, std::span<const Image>) {
  descriptor.width = resizeWidth();
  descriptor.height = resizeHeight();
}

void NNResizeBilinear::record(detail::UnaryEncoding& e) const {
  ResizeBilinear op = op_;
  op.offsetX = static_cast<std::int32_t>(offset().x);
  op.offsetY = static_cast<std::int32_t>(offset().y);
  detail::encode(e.recording, memo_, op, {e.source, e.destination});
}

std::string NNCropAndResizeBilinear::problem(const RegionD& region) {
  const auto& [origin, size] = region;
  for (const double value : {origin.x, origin.y, size.width, size.height}) {
    if (std::isfinite(value)) continue;
    return std::to_string(size.width) + "x" + std::to_string(size.height) + " at (" +
           std::to_string(origin.x) + ", " + std::to_string(origin.y) + ")";
  }
  return {};
}

NNCropAndResizeBilinear::NNCropAndResizeBilinear(const Device& device, std::size_t resizeWidth,
                                                 std::size_t resizeHeight,
                                                 std::size_t numberOfRegions,
                                                 const RegionD* regions)
    : Concrete(device) {
  const auto check_size = [&](const char* argument, std::size_t size) {
    const std::int32_t field = detail::field_of(size);
    if (std::string needed = detail::range_problem(field, size_range); !needed.empty())
      complain(argument, std::to_string(size), std::move(needed));
    return field;
  };
  op_.resizeWidth = check_size("resizeWidth", resizeWidth);
  op_.resizeHeight = check_size("resizeHeight", resizeHeight);
  if (numberOfRegions == 0 || regions == nullptr) {
    complain(numberOfRegions == 0 ? "numberOfRegions" : "regions",
             numberOfRegions == 0 ? "0" : "null", "at least one region");
  }
  regions_.assign(regions, regions + numberOfRegions);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    if (std::string text = problem(regions_[i]); !text.empty())
      complain("regions[" + std::to_string(i) + "]", std::move(text), "finite numbers");
  }
  move_to(device);
}

void NNCropAndResizeBilinear::code(Coder& coder) {
  CNNKernel::code(coder);
  const auto code_size = [&](std::string_view key, std::int32_t& size) {
    coder(key, size);
    if (size < 1) coder.refuse(key, std::to_string(size), "1 or more");
  };
  code_size("resizeWidth", op_.resizeWidth);
  code_size("resizeHeight", op_.resizeHeight);
  std::size_t count = regions_.size();
  coder("numberOfRegions", count);
  if (count == 0) coder.refuse("numberOfRegions", "0", "1 or more");
  for (std::size_t i = 0; i < count; ++i) {
    if (coder.is_reading()) regions_.emplace_back();
    const std::string key = "region_" + std::to_string(i);
    const Coder place = coder.at(key);
    auto& [origin, size] = regions_[i];
    place("x", origin.x);
    place("y", origin.y);
    place("z", origin.z);
    place("width", size.width);
    place("height", size.height);
    place("depth", size.depth);
    if (std::string text = problem(regions_[i]); !text.empty())
      coder.refuse(key, std::move(text), "finite numbers");
  }
  if (coder.is_reading()) move_to(device());
}

void NNCropAndResizeBilinear::move_to(const Device& device) {
  Concrete::move_to(device);
  std::vector<double> boxes;
  for (const auto& [origin, size] : regions_) {
    for (const double edge : {origin.x, origin.y, origin.x + size.width, origin.y + size.height})
      boxes.push_back(edge);
  }
  boxes_ = device.makeBuffer(boxes.data(), boxes.size() * sizeof(double));
}

void NNCropAndResizeBilinear::adjust(ImageDescriptor& descriptor, std::span<const Image>) {
  descriptor.width = resizeWidth();
  descriptor.height = resizeHeight();
  descriptor.numberOfImages = regions_.size();
}

void NNCropAndResizeBilinear::record(detail::UnaryEncoding& e) const {
  const auto floats = static_cast<std::int64_t>(boxes_.length() / sizeof(float));
  detail::encode(
      e.recording, memo_, op_,
      {e.source, detail::view_of(e.recording, boxes_, flat_desc(floats)), e.destination});
}

}  // namespace cermet
