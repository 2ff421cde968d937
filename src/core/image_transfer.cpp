// Image and host memory: bytes in either layout, and floats of any element type.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/image_checks.h"

namespace cermet {

using detail::checked;
using detail::ImageRecord;
using detail::inside;
using detail::misuse;

namespace {

void check_host_access(const Image& image, const ImageRecord& record) {
  const bool reachable = record.descriptor.storageMode == StorageMode::Shared ||
                         record.descriptor.storageMode == StorageMode::Managed;
  if (!record.counter.temporary && reachable) return;
  misuse(
      image, "the image", record.counter.temporary ? "temporary" : "private",
      "storage that the host can reach",
      "Make the image with Image::defaultAllocator() and storageMode Shared to read or write it.");
}

/// The bytes of a tensor where the host can reach them: in place, or a copy.
class HostWindow {
 public:
  /// `overwritten`: every byte will be written, nothing is read.
  HostWindow(const TensorView& view, detail::MemoryPtr memory, bool overwritten)
      : desc_(view.desc), memory_(std::move(memory)), base_(static_cast<std::byte*>(view.data)) {
    if (memory_->allocator->engine().host_can_access()) return;
    const auto last = (desc_.n - 1) * desc_.stride_n + (desc_.h - 1) * desc_.stride_h +
                      (desc_.w - 1) * desc_.stride_w + desc_.c;
    copy_.resize(static_cast<std::size_t>(last) * size_of(desc_.type));
    offset_ = static_cast<std::size_t>(base_ - memory_->data);
    if (!(overwritten && desc_.dense())) memory_->copy_out(copy_.data(), copy_.size(), offset_);
    base_ = copy_.data();
  }
  HostWindow(const Image& image, bool overwritten)
      : HostWindow(detail::view_of(image), ImageRecord::of(image)->storage(), overwritten) {}
  [[nodiscard]] std::byte* data() const { return base_; }
  [[nodiscard]] const TensorDesc& desc() const { return desc_; }
  /// Call it after writing.
  void write_back() const {
    if (!copy_.empty()) memory_->copy_in(copy_.data(), copy_.size(), offset_);
  }

 private:
  TensorDesc desc_;
  detail::MemoryPtr memory_;
  std::byte* base_ = nullptr;
  std::vector<std::byte> copy_;
  std::size_t offset_ = 0;
};

/// Copies a window between host memory and the tensor; `to_host` picks the direction.
void transfer(const Image& image, std::byte* host, DataLayout layout, Image::Strides strides,
              const Region& region, ImageReadWriteParams channels, std::size_t imageIndex,
              bool to_host) {
  const auto& record = checked(image);
  check_host_access(image, *record);
  if (host == nullptr) misuse(image, "dataBytes", "null", "memory of the host", "");
  const ImageDescriptor& d = record->descriptor;
  // No structured binding: clang 14 lets no lambda use one.
  const std::size_t rx = region.origin.x, ry = region.origin.y, rz = region.origin.z;
  const auto [rw, rh, rd] = region.size;
  const std::size_t c0 = channels.featureChannelOffset,
                    nc = channels.numberOfFeatureChannelsToReadWrite;
  if (!inside(rx, rw, d.width) || !inside(ry, rh, d.height) || rw == 0 || rh == 0) {
    misuse(image, "region",
           std::to_string(rw) + "x" + std::to_string(rh) + " at (" + std::to_string(rx) + ", " +
               std::to_string(ry) + ")",
           "a region inside " + std::to_string(d.width) + "x" + std::to_string(d.height), "");
  }
  if (rd == 0 || !inside(rz, rd, d.numberOfImages) ||
      !inside(imageIndex, rz + rd, d.numberOfImages)) {
    misuse(image, "imageIndex",
           std::to_string(imageIndex + rz) + " with " + std::to_string(rd) + " images",
           "images below " + std::to_string(d.numberOfImages), "");
  }
  const bool whole_tail = c0 + nc == d.featureChannels;
  if (nc == 0 || !inside(c0, nc, d.featureChannels) || c0 % 4 != 0 ||
      (c0 != 0 && nc % 4 != 0 && !whole_tail)) {
    misuse(
        image, "featureChannelInfo",
        "offset " + std::to_string(c0) + ", count " + std::to_string(nc),
        "an offset that is a multiple of 4 and channels below " + std::to_string(d.featureChannels),
        "");
  }
  const std::size_t e = size_of(record->desc.type);
  const bool hwc = layout == DataLayout::HeightxWidthxFeatureChannels;
  const std::size_t column =
      strides.bytesPerColumn != 0 ? strides.bytesPerColumn : (hwc ? nc * e : e);
  const std::size_t row =
      strides.bytesPerRow != 0 ? strides.bytesPerRow : (hwc ? rw * nc * e : rw * e);
  const std::size_t stack =
      strides.bytesPerImage != 0 ? strides.bytesPerImage : (hwc ? rh * row : nc * rh * row);
  // A stride is checked only if it is stepped: clients pass nonsense for loops of one (spec:
  // core 5.4(5)).
  const auto check_stride = [&](const char* name, std::size_t bytes, std::size_t least,
                                bool stepped) {
    if (!stepped || bytes >= least) return;
    misuse(image, name, std::to_string(bytes), std::to_string(least) + " or more",
           "Pass 0 for dense memory.");
  };
  const std::size_t texel = hwc ? nc * e : e;
  check_stride("bytesPerColumn", column, texel, rw > 1);
  check_stride("bytesPerRow", row, (rw - 1) * column + texel, rh > 1 || (!hwc && nc > 1));
  check_stride("bytesPerImage", stack,
               hwc ? (rh - 1) * row + (rw - 1) * column + texel
                   : ((nc - 1) * rh + rh - 1) * row + (rw - 1) * column + texel,
               rd > 1);
  const bool all = rw == d.width && rh == d.height && rd == d.numberOfImages && whole_tail &&
                   c0 == 0 && imageIndex == 0;
  const HostWindow window(image, all && !to_host);
  std::byte* const base = window.data();
  const auto at = [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const TensorDesc& t = window.desc();
    const auto index = static_cast<std::int64_t>(imageIndex + rz + n) * t.stride_n +
                       static_cast<std::int64_t>(ry + y) * t.stride_h +
                       static_cast<std::int64_t>(rx + x) * t.stride_w +
                       static_cast<std::int64_t>(c0 + c);
    return base + index * static_cast<std::int64_t>(e);
  };
  const auto move = [&](std::byte* outside, std::byte* inside, std::size_t bytes) {
    if (to_host) {
      std::memcpy(outside, inside, bytes);
    } else {
      std::memcpy(inside, outside, bytes);
    }
  };
  for (std::size_t n = 0; n < rd; ++n) {
    for (std::size_t y = 0; y < rh; ++y) {
      for (std::size_t x = 0; x < rw; ++x) {
        if (hwc) {
          move(host + n * stack + y * row + x * column, at(n, y, x, 0), nc * e);
        } else {
          for (std::size_t c = 0; c < nc; ++c) {
            move(host + n * stack + c * (rh * row) + y * row + x * column, at(n, y, x, c), e);
          }
        }
      }
    }
  }
  if (!to_host) window.write_back();
}

float load(const std::byte* at, ElementType type) {
  std::uint16_t bits16 = 0;
  if (size_of(type) == 2) std::memcpy(&bits16, at, 2);
  switch (type) {
    case ElementType::float32: {
      float value = 0;
      std::memcpy(&value, at, 4);
      return value;
    }
    case ElementType::float16:
      return float_from_half(bits16);
    case ElementType::bfloat16:
      return float_from_bfloat16(bits16);
    case ElementType::unorm16:
      return static_cast<float>(bits16) / 65535.0F;
    case ElementType::unorm8:
      return static_cast<float>(std::to_integer<int>(*at)) / 255.0F;
    case ElementType::uint8:
      return static_cast<float>(std::to_integer<int>(*at));
  }
  return 0;
}

void store(std::byte* at, ElementType type, float value) {
  std::uint16_t bits16 = 0;
  const float unit = value >= 0 ? std::min(value, 1.0F) : 0.0F;  // NaN becomes 0
  switch (type) {
    case ElementType::float32:
      std::memcpy(at, &value, 4);
      return;
    case ElementType::float16:
      bits16 = half_from_float(value);
      break;
    case ElementType::bfloat16:
      bits16 = bfloat16_from_float(value);
      break;
    case ElementType::unorm16:
      bits16 = static_cast<std::uint16_t>(std::nearbyint(unit * 65535.0F));
      break;
    case ElementType::unorm8:
      *at = static_cast<std::byte>(std::nearbyint(unit * 255.0F));
      return;
    case ElementType::uint8:
      *at = static_cast<std::byte>(value);
      return;
  }
  std::memcpy(at, &bits16, 2);
}

}  // namespace

void Image::readBytes(void* dataBytes, DataLayout dataLayout, std::size_t imageIndex) const {
  readBytes(dataBytes, dataLayout, {}, {{}, {width(), height(), 1}}, {0, featureChannels()},
            imageIndex);
}
void Image::writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t imageIndex) const {
  writeBytes(dataBytes, dataLayout, {}, {{}, {width(), height(), 1}}, {0, featureChannels()},
             imageIndex);
}
void Image::readBytes(void* dataBytes, DataLayout dataLayout, Strides strides, const Region& region,
                      ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) const {
  transfer(*this, static_cast<std::byte*>(dataBytes), dataLayout, strides, region,
           featureChannelInfo, imageIndex, true);
}
void Image::writeBytes(const void* dataBytes, DataLayout dataLayout, Strides strides,
                       const Region& region, ImageReadWriteParams featureChannelInfo,
                       std::size_t imageIndex) const {
  transfer(*this, static_cast<std::byte*>(const_cast<void*>(dataBytes)), dataLayout, strides,
           region,  // NOLINT
           featureChannelInfo, imageIndex, false);
}

namespace {

/// visit(address of an element) for each, in order.
template <class Visit>
void for_each_element(const HostWindow& window, Visit&& visit) {
  const TensorDesc& d = window.desc();
  const auto e = static_cast<std::int64_t>(size_of(d.type));
  for (std::int64_t n = 0; n < d.n; ++n) {
    for (std::int64_t y = 0; y < d.h; ++y) {
      for (std::int64_t x = 0; x < d.w; ++x) {
        for (std::int64_t c = 0; c < d.c; ++c)
          visit(window.data() + (n * d.stride_n + y * d.stride_h + x * d.stride_w + c) * e);
      }
    }
  }
}

std::vector<float> floats_of(const HostWindow& window) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(window.desc().count()));
  for_each_element(window,
                   [&](const std::byte* at) { values.push_back(load(at, window.desc().type)); });
  return values;
}

void put_floats(const HostWindow& window, std::span<const float> values) {
  std::size_t next = 0;
  for_each_element(window, [&](std::byte* at) { store(at, window.desc().type, values[next++]); });
  window.write_back();
}

void check_count(const Image& image, std::size_t got, std::size_t needed) {
  if (got == needed) return;
  misuse(image, "values", std::to_string(got) + " floats", std::to_string(needed), "");
}

/// The images as one tensor; only for a run of one record.
HostWindow window_of(const ImageRecord::Run& run, bool overwritten) {
  TensorView view{run.record->desc, run.record->address()};
  const auto per_image = static_cast<std::int32_t>(run.record->descriptor.numberOfImages);
  const auto e = static_cast<std::int64_t>(size_of(view.desc.type));
  view.data = static_cast<std::byte*>(view.data) +
              std::int64_t{run.first} * per_image * view.desc.stride_n * e;
  view.desc.n = static_cast<std::int32_t>(run.count) * per_image;
  return {view, run.record->storage(), overwritten};
}

}  // namespace

std::vector<float> Image::read_floats() const {
  check_host_access(*this, *checked(*this));
  return floats_of(HostWindow(*this, false));
}

void Image::write_floats(std::span<const float> values) const {
  check_host_access(*this, *checked(*this));
  check_count(*this, values.size(), static_cast<std::size_t>(detail::view_of(*this).desc.count()));
  put_floats(HostWindow(*this, true), values);
}

std::vector<float> ImageBatch::read_floats() const {
  if (empty()) return {};
  if (const auto run = ImageRecord::run_of(*this); run.record != nullptr) {
    check_host_access(front(), *checked(front()));
    return floats_of(window_of(run, false));
  }
  std::vector<float> values;
  for (const Image image : *this) {
    const std::vector<float> more = image.read_floats();
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

void ImageBatch::write_floats(std::span<const float> values) const {
  std::size_t needed = 0;
  for (const Image image : *this) {
    check_host_access(image, *checked(image));
    needed += static_cast<std::size_t>(detail::view_of(image).desc.count());
  }
  if (empty()) {
    check_count({}, values.size(), 0);
    return;
  }
  check_count(front(), values.size(), needed);
  if (const auto run = ImageRecord::run_of(*this); run.record != nullptr) {
    put_floats(window_of(run, true), values);
    return;
  }
  for (const Image image : *this) {
    const auto count = static_cast<std::size_t>(detail::view_of(image).desc.count());
    image.write_floats(values.first(count));
    values = values.subspan(count);
  }
}

}  // namespace cermet
