#pragma once
// What a row of a case table says, whatever its family, and the geometry that follows from it.
// Sizes and offsets are worked out here from the specification (core 10, 11), not by the library.

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../oracle/tensor.h"
#include "cermet/cnn/kernel.h"

namespace cermet::test {

struct Shape {
  std::size_t w = 5, h = 4, c = 3;
};
struct Extent {
  std::size_t w = 0, h = 0;
};

/// Kinds of test data; `low` and `high` of the row are its limits.
enum class Data {
  uniform,
  grid,      // multiples of 1/64: sums are nearly exact
  distinct,  // all different and never 0: no ties
  ties,      // small integers: many ties and zeros
};

/// Numbers typed from the specification; empty: not given.
struct Given {
  std::vector<float> source{}, incoming{};
  std::vector<double> result{}, source_gradient{};
};

struct Row {
  std::string name{};
  std::string why{};
  Shape source{};  // of the whole source image, channel offset included
  std::size_t batch = 2;

  // Where the window lies. With `destination` the row sizes the result and sets the offset; else a
  // policy does: `padding` if there is one, `policy`, or the default of the kernel.
  Extent destination{};
  Offset offset{};
  std::optional<NNPaddingMethod> policy{};
  std::shared_ptr<NNPadding> padding{};
  Region clip = RectNoClip;
  ImageEdgeMode edge = ImageEdgeMode::Zero;
  std::size_t source_channel = 0, source_channels = all_channels, destination_channel = 0;

  Data data = Data::uniform;
  float low = -1, high = 1;
  Given given{};

  double tolerance = 1e-5;  // of the tensor's largest element
  std::string loosened{};   // why the tolerance is another one
  bool quick = false;       // small enough for the sanitizers; its test's name ends in "_quick"
  bool forward_only = false;
  bool float32_only = false;  // results or slopes leave the range of small formats
};

/// Window of a kernel along both axes, dilated.
struct WindowSize {
  std::size_t w = 1, h = 1, stride_x = 1, stride_y = 1;
};

/// The result that a kernel makes whatever the policy's size: its extent and the offset.
struct Planned {
  Extent extent{};
  Offset offset{};
};

/// spec: core 10.3
inline std::ptrdiff_t policy_extent(NNPaddingMethod method, std::size_t source, std::size_t window,
                                    std::size_t stride) {
  const auto s = static_cast<std::ptrdiff_t>(stride), k = static_cast<std::ptrdiff_t>(window);
  const unsigned size = method & NNPaddingMethod::SizeMask;
  const std::ptrdiff_t style = size == 0 ? -1 : size == 0x10 ? 0 : 1;
  return (static_cast<std::ptrdiff_t>(source) + style * (k - 1) + s - 1) / s;
}
/// spec: core 10.4; `to_end`: the remainder goes to the right or bottom
inline std::ptrdiff_t policy_offset(NNPaddingMethod method, bool to_end, std::size_t source,
                                    std::ptrdiff_t destination, std::size_t window,
                                    std::size_t stride) {
  const auto k = static_cast<std::ptrdiff_t>(window);
  const std::ptrdiff_t read = (destination - 1) * static_cast<std::ptrdiff_t>(stride) + k;
  const std::ptrdiff_t extra = read - static_cast<std::ptrdiff_t>(source);
  const unsigned align = method & NNPaddingMethod::AlignMask;
  const std::ptrdiff_t left = align == 1 ? extra : align == 2 ? 0 : (extra + (to_end ? 0 : 1)) / 2;
  return k / 2 - left;
}

/// A row's geometry as numbers.
struct Geometry {
  int n = 1;  // images
  int source_w = 1, source_h = 1;
  int width = 1, height = 1;       // of the whole destination
  int x = 0, y = 0, w = 1, h = 1;  // the region that is written
  int offset_x = 0, offset_y = 0;
  oracle::EdgeRule edge = oracle::EdgeRule::Zero;

  /// Pads of a window whose dilated extent is `extent`: tap 0 of output 0 reads -pad.
  [[nodiscard]] int pad_left(std::size_t extent) const {
    return static_cast<int>(extent / 2) - offset_x;
  }
  [[nodiscard]] int pad_top(std::size_t extent) const {
    return static_cast<int>(extent / 2) - offset_y;
  }
};

inline Geometry resolve(const Row& row, const WindowSize& window, NNPaddingMethod default_policy,
                        const std::optional<Planned>& planned = {}) {
  Geometry g;
  const auto i32 = [](auto value) { return static_cast<int>(value); };
  const std::size_t image = row.source.w * row.source.h * row.source.c;
  g.n = i32(row.given.source.empty() ? row.batch : row.given.source.size() / image);
  g.source_w = i32(row.source.w);
  g.source_h = i32(row.source.h);
  g.edge = row.edge == ImageEdgeMode::Clamp ? oracle::EdgeRule::Clamp : oracle::EdgeRule::Zero;
  if (row.destination.w != 0 || planned) {
    const auto [extent, offset] =
        row.destination.w != 0 ? Planned{row.destination, row.offset} : *planned;
    g.width = i32(extent.w);
    g.height = i32(extent.h);
    g.offset_x = i32(offset.x);
    g.offset_y = i32(offset.y);
  } else {
    const NNPaddingMethod method = row.policy    ? *row.policy
                                   : row.padding ? row.padding->paddingMethod()
                                                 : default_policy;
    const auto w = policy_extent(method, row.source.w, window.w, window.stride_x);
    const auto h = policy_extent(method, row.source.h, window.h, window.stride_y);
    if (w <= 0 || h <= 0) throw std::invalid_argument(row.name + ": the policy leaves no result");
    g.width = i32(w);
    g.height = i32(h);
    const bool right = (method & NNPaddingMethod::AddRemainderToTopRight) != 0;
    const bool bottom = (method & NNPaddingMethod::AddRemainderToBottomLeft) != 0;
    g.offset_x = i32(policy_offset(method, right, row.source.w, w, window.w, window.stride_x));
    g.offset_y = i32(policy_offset(method, bottom, row.source.h, h, window.h, window.stride_y));
  }
  const auto cut = [](std::size_t origin, std::size_t size, int extent) {
    const auto whole = static_cast<std::size_t>(extent);
    if (origin >= whole) throw std::invalid_argument("clip rectangle outside the destination");
    return static_cast<int>(std::min(size, whole - origin));
  };
  g.x = i32(row.clip.origin.x);
  g.y = i32(row.clip.origin.y);
  g.w = cut(row.clip.origin.x, row.clip.size.width, g.width);
  g.h = cut(row.clip.origin.y, row.clip.size.height, g.height);
  return g;
}

/// A source read pixel by pixel: result (j, i) is source (offset + (j, i)), edges by the row's
/// mode.
inline oracle::Tensor aligned(const oracle::Tensor& source, const Geometry& g) {
  auto out = oracle::filled(source.n, g.h, g.w, source.c);
  oracle::for_each(out, [&](int n, int j, int i, int c) {
    out(n, j, i, c) = oracle::read(source, n, j + g.offset_y, i + g.offset_x, c, g.edge);
  });
  return out;
}
/// The adjoint of `aligned`.
inline oracle::Tensor scattered(const oracle::Tensor& region, const Geometry& g) {
  auto out = oracle::filled(region.n, g.source_h, g.source_w, region.c);
  oracle::for_each(region, [&](int n, int j, int i, int c) {
    oracle::scatter(out, n, j + g.offset_y, i + g.offset_x, c, region(n, j, i, c), g.edge);
  });
  return out;
}

}  // namespace cermet::test
