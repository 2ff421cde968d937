#pragma once
// Integer geometry of images: offsets, regions, and the constant that means "no clipping".

#include <cstddef>
#include <limits>

namespace cermet {

/// Signed position in pixels; `z` is an image index (spec: core 1.1).
struct Offset {
  std::ptrdiff_t x = 0, y = 0, z = 0;
  bool operator==(const Offset&) const = default;
};

/// Unsigned position in pixels; `z` is an image index.
struct Origin {
  std::size_t x = 0, y = 0, z = 0;
  bool operator==(const Origin&) const = default;
};

/// Extent in pixels; `depth` counts images (feature channels where a class says so).
struct Size {
  std::size_t width = 1, height = 1, depth = 1;
  bool operator==(const Size&) const = default;
};

struct Region {
  Origin origin;
  Size size;
  bool operator==(const Region&) const = default;
};

// Positions and extents in fractions of an image.
struct OriginD {
  double x = 0, y = 0, z = 0;
  bool operator==(const OriginD&) const = default;
};
struct SizeD {
  double width = 1, height = 1, depth = 1;
  bool operator==(const SizeD&) const = default;
};
struct RegionD {
  OriginD origin;
  SizeD size;
  bool operator==(const RegionD&) const = default;
};

/// Unsigned position or extent in pixels and feature channels.
struct ImageCoordinate {
  std::size_t x = 0, y = 0, channel = 0;
  bool operator==(const ImageCoordinate&) const = default;
};

/// "The whole destination": the default of every `clipRect`.
inline constexpr Region RectNoClip{
    {0, 0, 0},
    {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max(),
     std::numeric_limits<std::size_t>::max()}};

/// A run of feature channels or images.
struct Range {
  std::size_t location = 0, length = 0;
  bool operator==(const Range&) const = default;
};

/// Which feature channels `readBytes` and `writeBytes` move (spec: core 5.4).
struct ImageReadWriteParams {
  std::size_t featureChannelOffset = 0;
  std::size_t numberOfFeatureChannelsToReadWrite = 0;
};

/// What a tap outside an image reads (spec: core 1.3). Mirror, MirrorWithEdge and Constant belong
/// to padding kernels alone; every other kernel refuses them.
enum class ImageEdgeMode : int {
  Zero = 0,
  Clamp = 1,
  Mirror = 2,
  MirrorWithEdge = 3,
  Constant = 4
};

}  // namespace cermet
