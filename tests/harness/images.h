#pragma once
// Images of test data, and the bits that come back.

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "../oracle/tensor.h"
#include "cermet/core/image.h"
#include "compare.h"
#include "random.h"
#include "row.h"

namespace cermet::test {

/// Extents of the images of one batch.
struct Images {
  std::size_t n = 1, h = 1, w = 1, c = 1;
  [[nodiscard]] std::size_t count() const { return n * h * w * c; }
  [[nodiscard]] std::size_t one() const { return h * w * c; }
  [[nodiscard]] ImageDescriptor descriptor(ImageFeatureChannelFormat format) const {
    return ImageDescriptor::imageDescriptor(format, w, h, c);
  }
};

/// Where a forward encode writes: a destination image and the part of it.
struct Target {
  Images image;
  std::size_t x = 0, y = 0, w = 1, h = 1, channel = 0, channels = 1;
};

inline std::vector<float> test_data(Data kind, std::size_t count, std::uint64_t seed, float low,
                                    float high) {
  switch (kind) {
    case Data::uniform:
      return floats(count, seed, low, high);
    case Data::grid:
      return grid_floats(count, seed, low, high);
    case Data::distinct: {
      auto values = distinct_floats(count, seed);  // of (-1, 1)
      for (float& value : values) value = (low + high) / 2 + value * (high - low) / 2;
      return values;
    }
    case Data::ties: {
      Random random(seed);
      std::vector<float> values(count);
      for (float& value : values) value = static_cast<float>(random.below(4)) - 1.0F;
      return values;
    }
  }
  return {};
}

inline void write(const ImageBatch& batch, std::span<const float> values) {
  const std::size_t each = values.size() / batch.size();
  for (std::size_t i = 0; i < batch.size(); ++i)
    batch[i].write_floats(values.subspan(i * each, each));
}
inline std::vector<float> read(const ImageBatch& batch) {
  std::vector<float> values;
  for (const Image image : batch) {
    const auto one = image.read_floats();
    values.insert(values.end(), one.begin(), one.end());
  }
  return values;
}
/// One tensor of images.
inline ImageBatch upload(const Device& device, ImageFeatureChannelFormat format,
                         const Images& extents, std::span<const float> values) {
  ImageBatch batch(device, extents.descriptor(format), extents.n);
  write(batch, values);
  return batch;
}
/// Images that were made one by one.
inline ImageBatch upload_loose(const Device& device, ImageFeatureChannelFormat format,
                               const Images& extents, std::span<const float> values) {
  std::vector<Image> images;
  for (std::size_t i = 0; i < extents.n; ++i)
    images.emplace_back(device, extents.descriptor(format));
  ImageBatch batch(images);
  write(batch, values);
  return batch;
}

inline oracle::Tensor tensor_of(const Images& e, const std::vector<float>& values) {
  return {static_cast<int>(e.n), static_cast<int>(e.h), static_cast<int>(e.w),
          static_cast<int>(e.c), std::vector<double>(values.begin(), values.end())};
}
/// Channels [first, first + count).
inline oracle::Tensor channels_of(const oracle::Tensor& t, std::size_t first, std::size_t count) {
  auto out = oracle::filled(t.n, t.h, t.w, static_cast<int>(count));
  oracle::for_each(out, [&](int n, int y, int x, int c) {
    out(n, y, x, c) = t(n, y, x, c + static_cast<int>(first));
  });
  return out;
}

/// Calls visit(index in the whole image, index in the region or -1).
template <class Visit>
void for_each_element(const Target& t, Visit visit) {
  std::size_t whole = 0;
  for (std::size_t n = 0; n < t.image.n; ++n)
    for (std::size_t y = 0; y < t.image.h; ++y)
      for (std::size_t x = 0; x < t.image.w; ++x)
        for (std::size_t c = 0; c < t.image.c; ++c, ++whole) {
          const bool in = y >= t.y && y < t.y + t.h && x >= t.x && x < t.x + t.w &&
                          c >= t.channel && c < t.channel + t.channels;
          const std::size_t part =
              ((n * t.h + y - t.y) * t.w + x - t.x) * t.channels + c - t.channel;
          visit(whole, in ? static_cast<std::ptrdiff_t>(part) : -1);
        }
}
inline std::vector<float> region_of(const Target& target, const std::vector<float>& whole) {
  std::vector<float> part(target.image.n * target.h * target.w * target.channels);
  for_each_element(target, [&](std::size_t at, std::ptrdiff_t in) {
    if (in >= 0) part[static_cast<std::size_t>(in)] = whole.at(at);
  });
  return part;
}
inline std::vector<float> with_region(const Target& target, std::vector<float> whole,
                                      const std::vector<float>& part) {
  for_each_element(target, [&](std::size_t at, std::ptrdiff_t in) {
    if (in >= 0) whole.at(at) = part.at(static_cast<std::size_t>(in));
  });
  return whole;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}
/// Images of a batch in another order, with repeats.
inline std::vector<float> picked(const std::vector<float>& values, std::size_t each,
                                 const std::vector<std::size_t>& order) {
  std::vector<float> out;
  for (const std::size_t i : order)
    out.insert(out.end(), values.begin() + static_cast<std::ptrdiff_t>(i * each),
               values.begin() + static_cast<std::ptrdiff_t>((i + 1) * each));
  return out;
}

}  // namespace cermet::test
