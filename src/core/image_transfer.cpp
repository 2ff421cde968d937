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
  // Memory that lies alike on both sides is copied by rows, by images, or at once.
  const TensorDesc& own = record->desc;
  const auto count = [](std::int64_t elements) { return static_cast<std::size_t>(elements); };
  const bool rows_alike = hwc && column == nc * e && count(own.stride_w) == nc;
  const bool images_alike = rows_alike && row == rw * column && count(own.stride_h) == rw * nc;
  if (all && images_alike && stack == rh * row && own.dense()) {
    const auto& storage = record->storage();
    const auto offset = static_cast<std::size_t>(
        static_cast<std::byte*>(detail::view_of(image).data) - storage->data);
    if (to_host) {
      storage->copy_out(host, rd * stack, offset);
    } else {
      storage->copy_in(host, rd * stack, offset);
    }
    return;
  }
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
    if (images_alike) {
      move(host + n * stack, at(n, 0, 0, 0), rh * row);
      continue;
    }
    for (std::size_t y = 0; y < rh; ++y) {
      if (rows_alike) {
        move(host + n * stack + y * row, at(n, y, 0, 0), rw * column);
        continue;
      }
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

template <class T, class Convert>
void load_as(std::span<float> values, const std::byte* from, Convert&& convert) {
  for (float& value : values) {
    T raw;
    std::memcpy(&raw, from, sizeof raw);
    from += sizeof raw;
    value = convert(raw);
  }
}
/// As many adjacent elements as there are values.
void load(std::span<float> values, const std::byte* from, ElementType type) {
  switch (type) {
    case ElementType::float32:
      std::memcpy(values.data(), from, values.size_bytes());
      return;
    case ElementType::float16:
      return load_as<std::uint16_t>(values, from, float_from_half);
    case ElementType::bfloat16:
      return load_as<std::uint16_t>(values, from, float_from_bfloat16);
    case ElementType::unorm16:
      return load_as<std::uint16_t>(
          values, from, [](std::uint16_t raw) { return static_cast<float>(raw) / 65535.0F; });
    case ElementType::unorm8:
      return load_as<std::uint8_t>(
          values, from, [](std::uint8_t raw) { return static_cast<float>(raw) / 255.0F; });
    case ElementType::uint8:
      return load_as<std::uint8_t>(values, from,
                                   [](std::uint8_t raw) { return static_cast<float>(raw); });
  }
}

template <class T, class Convert>
void store_as(std::span<const float> values, std::byte* to, Convert&& convert) {
  for (const float value : values) {
    const auto raw = static_cast<T>(convert(value));
    std::memcpy(to, &raw, sizeof raw);
    to += sizeof raw;
  }
}
void store(std::span<const float> values, std::byte* to, ElementType type) {
  const auto unit = [](float value) {  // NaN becomes 0
    return value >= 0 ? std::min(value, 1.0F) : 0.0F;
  };
  switch (type) {
    case ElementType::float32:
      std::memcpy(to, values.data(), values.size_bytes());
      return;
    case ElementType::float16:
      return store_as<std::uint16_t>(values, to, half_from_float);
    case ElementType::bfloat16:
      return store_as<std::uint16_t>(values, to, bfloat16_from_float);
    case ElementType::unorm16:
      return store_as<std::uint16_t>(values, to,
                                     [&](float x) { return std::nearbyint(unit(x) * 65535.0F); });
    case ElementType::unorm8:
      return store_as<std::uint8_t>(values, to,
                                    [&](float x) { return std::nearbyint(unit(x) * 255.0F); });
    case ElementType::uint8:
      return store_as<std::uint8_t>(values, to, [](float x) { return x; });
  }
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

/// visit(address of the first, count) for adjacent elements, in order.
template <class Visit>
void for_each_stretch(const HostWindow& window, Visit&& visit) {
  const TensorDesc& d = window.desc();
  const auto e = static_cast<std::int64_t>(size_of(d.type));
  if (d.dense()) {
    visit(window.data(), static_cast<std::size_t>(d.count()));
    return;
  }
  for (std::int64_t n = 0; n < d.n; ++n) {
    for (std::int64_t y = 0; y < d.h; ++y) {
      for (std::int64_t x = 0; x < d.w; ++x)
        visit(window.data() + (n * d.stride_n + y * d.stride_h + x * d.stride_w) * e,
              static_cast<std::size_t>(d.c));
    }
  }
}

bool are_floats(const TensorDesc& desc) {
  return desc.type == ElementType::float32 && desc.dense();
}
std::size_t offset_in(const detail::MemoryPtr& memory, const TensorView& view) {
  return static_cast<std::size_t>(static_cast<std::byte*>(view.data) - memory->data);
}

std::vector<float> floats_of(const TensorView& view, const detail::MemoryPtr& memory) {
  std::vector<float> values(static_cast<std::size_t>(view.desc.count()));
  if (are_floats(view.desc)) {
    memory->copy_out(values.data(), values.size() * sizeof(float), offset_in(memory, view));
    return values;
  }
  std::span<float> left = values;
  for_each_stretch(HostWindow(view, memory, false), [&](const std::byte* at, std::size_t count) {
    load(left.first(count), at, view.desc.type);
    left = left.subspan(count);
  });
  return values;
}

void put_floats(const TensorView& view, const detail::MemoryPtr& memory,
                std::span<const float> values) {
  if (are_floats(view.desc)) {
    memory->copy_in(values.data(), values.size_bytes(), offset_in(memory, view));
    return;
  }
  const HostWindow window(view, memory, true);
  for_each_stretch(window, [&](std::byte* at, std::size_t count) {
    store(values.first(count), at, view.desc.type);
    values = values.subspan(count);
  });
  window.write_back();
}

void check_count(const Image& image, std::size_t got, std::size_t needed) {
  if (got == needed) return;
  misuse(image, "values", std::to_string(got) + " floats", std::to_string(needed), "");
}

/// The images as one tensor; only for a run of one record.
TensorView view_of(const ImageRecord::Run& run) {
  TensorView view{run.record->desc, run.record->address()};
  const auto per_image = static_cast<std::int32_t>(run.record->descriptor.numberOfImages);
  const auto e = static_cast<std::int64_t>(size_of(view.desc.type));
  view.data = static_cast<std::byte*>(view.data) +
              std::int64_t{run.first} * per_image * view.desc.stride_n * e;
  view.desc.n = static_cast<std::int32_t>(run.count) * per_image;
  return view;
}

}  // namespace

std::vector<float> Image::read_floats() const {
  check_host_access(*this, *checked(*this));
  return floats_of(detail::view_of(*this), ImageRecord::of(*this)->storage());
}

void Image::write_floats(std::span<const float> values) const {
  check_host_access(*this, *checked(*this));
  check_count(*this, values.size(), static_cast<std::size_t>(detail::view_of(*this).desc.count()));
  put_floats(detail::view_of(*this), ImageRecord::of(*this)->storage(), values);
}

std::vector<float> ImageBatch::read_floats() const {
  if (empty()) return {};
  if (const auto run = ImageRecord::run_of(*this); run.record != nullptr) {
    check_host_access(front(), *checked(front()));
    return floats_of(view_of(run), run.record->storage());
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
    put_floats(view_of(run), run.record->storage(), values);
    return;
  }
  for (const Image image : *this) {
    const auto count = static_cast<std::size_t>(detail::view_of(image).desc.count());
    image.write_floats(values.first(count));
    values = values.subspan(count);
  }
}

}  // namespace cermet
