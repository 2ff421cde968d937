#pragma once
// Rows of NNReduceBinary: two sources, regions of both, a result of the primary region's size.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cermet/cnn/reduce.h"
#include "images.h"

namespace cermet::test {

struct ReduceBinaryRow {
  std::string name{};
  std::string why{};
  Shape primary{5, 4, 3}, secondary{5, 4, 3};
  std::size_t batch = 2;
  Region primarySourceClipRect = RectNoClip, secondarySourceClipRect = RectNoClip;
  Extent destination{};  // 0: that of the results
  Region clip = RectNoClip;
  std::size_t primary_channel = 0, primary_channels = all_channels;
  std::size_t secondary_channel = 0, secondary_channels = all_channels;
  std::size_t destination_channel = 0;
  ImageEdgeMode secondary_edge = ImageEdgeMode::Zero;
  Offset offset{};  // of both sources
  Data data = Data::uniform;
  float low = -1, high = 1;
  // Typed; empty: random, not given.
  std::vector<float> x{}, y{};
  std::vector<double> result{};
  double tolerance = 1e-5;
  bool quick = false;
  bool float32_only = false;
};

struct ReduceBinarySubject {
  ReduceBinaryRow row;
  std::function<std::unique_ptr<NNReduceBinary>(const Device&)> make;
  /// Channels written for so many that are read.
  std::function<std::size_t(std::size_t)> channels_written;
  /// The results of all pixels of the first part; both have the channels that are read.
  std::function<oracle::Tensor(const oracle::Tensor&, const oracle::Tensor&)> value;

  friend void PrintTo(const ReduceBinarySubject& subject, std::ostream* out) {
    *out << subject.row.name;
  }
};

/// Drives a row through every way to encode it and reports what differs from the oracle.
void check(const ReduceBinarySubject& subject);

class ReduceBinaryRows : public testing::TestWithParam<ReduceBinarySubject> {};

inline std::string name_of_binary_row(const testing::TestParamInfo<ReduceBinarySubject>& info) {
  return info.param.row.name + (info.param.row.quick ? "_quick" : "");
}

}  // namespace cermet::test
