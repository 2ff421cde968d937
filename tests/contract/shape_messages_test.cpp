// Messages about wrong calls of kernels that change the shape of images.

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../harness/bench.h"
#include "cermet/cnn/gram_matrix.h"
#include "cermet/cnn/grid_sample.h"
#include "cermet/cnn/pad.h"
#include "cermet/cnn/reshape.h"
#include "cermet/cnn/resize.h"
#include "cermet/cnn/slice.h"

namespace cermet::test {
namespace {

class ShapeMessages : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  const Device& device = bench.device;
  CommandBuffer buffer = bench.queue.makeCommandBuffer();

  static ImageDescriptor descriptor(std::size_t w, std::size_t h, std::size_t c,
                                    std::size_t n = 1) {
    return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, w, h, c, n);
  }
  [[nodiscard]] Image image(std::size_t w, std::size_t h, std::size_t c, std::size_t n = 1) const {
    return {device, descriptor(w, h, c, n)};
  }
  [[nodiscard]] ImageBatch images(std::size_t n, std::size_t w, std::size_t h,
                                  std::size_t c) const {
    return {device, descriptor(w, h, c), n};
  }
  static void expect(const std::function<void()>& call, const std::string& text) {
    try {
      call();
      ADD_FAILURE() << "did not throw; wanted: " << text;
    } catch (const InvalidArgument& error) {
      EXPECT_EQ(error.what(), text);
    }
  }
};

TEST_F(ShapeMessages, reshape) {
  NNReshape reshape(device);
  reshape.setLabel("flatten");
  expect([&] { reshape.encode(buffer, image(4, 3, 5), image(6, 2, 4)); },
         "NNReshape \"flatten\": the part of destinationImage that is written is 6x2x4; needed 60 "
         "elements, as many as 4x3x5 of the source.");
  expect([&] { static_cast<void>(reshape.encode(buffer, image(4, 3, 5), 7, 3, 5)); },
         "NNReshape \"flatten\": the new shape is 7x3x5; needed 60 elements, as many as 4x3x5 of "
         "the source.");
  // A product that wraps round to 60.
  constexpr std::size_t half = std::size_t{1} << 63U;
  expect([&] { static_cast<void>(reshape.encode(buffer, image(4, 3, 5), 2, half + 30, 1)); },
         "NNReshape \"flatten\": the new shape is 2x9223372036854775838x1; needed 60 elements, as "
         "many as 4x3x5 of the source.");
  expect([&] { static_cast<void>(reshape.encodeBatch(buffer, images(2, 4, 3, 5), 0, 1, 1)); },
         "NNReshape \"flatten\": the new shape is 0x1x1; needed 60 elements, as many as 4x3x5 of "
         "the source.");
  reshape.setDestinationFeatureChannelOffset(4);
  expect([&] { reshape.encode(buffer, image(4, 3, 5), image(4, 3, 4)); },
         "NNReshape \"flatten\": destinationImage is 4x3x4 Float32; needed 5 feature channels.");
  reshape.setDestinationFeatureChannelOffset(0);
  EXPECT_NO_THROW(reshape.encode(buffer, image(4, 3, 5), image(1, 1, 60)));
}

TEST_F(ShapeMessages, reshape_gradient) {
  NNReshape reshape(device);
  NNReshapeGradient gradient(device);
  const Image source = image(4, 3, 5), result = image(2, 2, 15);
  const StatePtr state = reshape.resultState(source, {}, result);
  reshape.encode(buffer, source, state, result);
  expect([&] { static_cast<void>(gradient.encode(buffer, image(2, 2, 14), source, state)); },
         "NNReshapeGradient: sourceGradient is 2x2x14; needed 60 elements, as many as 4x3x5 of the "
         "result.");
  expect(
      [&] { static_cast<void>(gradient.encode(buffer, image(1, 4, 15), source, state)); },
      "NNReshapeGradient: sourceGradient is 1x4; needed 2x2, the size that its gradientState was "
      "made for. Encode the backward pass with the state returned by the matching forward "
      "encode.");
  expect([&] { gradient.encode(buffer, image(6, 5, 1), source, image(4, 3, 5)); },
         "NNReshapeGradient: sourceGradient is 6x5x1; needed 60 elements, as many as 4x3x5 of the "
         "result.");
}

TEST_F(ShapeMessages, slice) {
  NNSlice slice(device);
  slice.setEdgeMode(ImageEdgeMode::Mirror);
  expect([&] { slice.encode(buffer, image(4, 3, 5), image(4, 3, 5)); },
         "NNSlice: edgeMode is 2; needed Zero or Clamp. Mirror, MirrorWithEdge and Constant belong "
         "to padding kernels.");
  slice.setEdgeMode(ImageEdgeMode::Zero);
  slice.setSourceFeatureChannelOffset(2);
  expect([&] { slice.encode(buffer, image(4, 3, 5), image(4, 3, 5)); },
         "NNSlice: sourceFeatureChannelOffset is 2; needed a multiple of 4.");
  slice.setSourceFeatureChannelOffset(8);
  expect([&] { slice.encode(buffer, image(4, 3, 5), image(4, 3, 5)); },
         "NNSlice: sourceImage is 4x3x5 Float32; needed 1 feature channels from channel 8.");
}

TEST_F(ShapeMessages, pad) {
  NNPad pad(device, {1, 1, 2}, {1, 1, 1}, std::vector<float>{1, 2, 3, 4, 5});
  pad.setLabel("frame");
  pad.setEdgeMode(ImageEdgeMode::Constant);
  expect([&] { static_cast<void>(pad.encode(buffer, image(4, 3, 3))); },
         "NNPad \"frame\": fillValueArray is 5 values; needed 6, one for each channel that is "
         "written.");
  EXPECT_NO_THROW(static_cast<void>(pad.encode(buffer, image(4, 3, 2))));
  expect([&] { pad.encode(buffer, image(4, 3, 2), image(4, 3, 4)); },
         "NNPad \"frame\": destinationImage is 4x3x4 Float32; needed 5 feature channels.");
  pad.setEdgeMode(static_cast<ImageEdgeMode>(5));
  expect([&] { pad.encode(buffer, image(4, 3, 2), image(4, 3, 5)); },
         "NNPad \"frame\": edgeMode is 5; needed Zero, Clamp, Mirror, MirrorWithEdge or Constant.");
  constexpr std::size_t large = std::size_t{1} << 31U;
  expect(
      [&] {
        NNPad(device, {0, large, 0}, {});
      },
      "NNPad: paddingSizeBefore is 0, 2147483648, 0; needed sizes below 2^31.");
  expect(
      [&] {
        pad.setPaddingSizeAfter({0, 0, std::numeric_limits<std::size_t>::max()});
      },
      "NNPad \"frame\": paddingSizeAfter is 0, 0, 18446744073709551615; needed sizes below "
      "2^31.");
  NNPadGradient gradient(device);
  gradient.set_padding_channels(2, 1);
  expect([&] { gradient.encode(buffer, image(4, 3, 5), image(4, 3, 3), image(4, 3, 3)); },
         "NNPadGradient: primaryImage is 4x3x5 Float32; needed 6 feature channels from channel 0.");
  expect([&] { gradient.set_padding_channels(large, 0); },
         "NNPadGradient: padding_channels is 2147483648, 0; needed numbers below 2^31.");
}

TEST_F(ShapeMessages, resize) {
  expect([&] { NNResizeBilinear(device, 0, 3, true); },
         "NNResizeBilinear: resizeWidth is 0; needed 1 to 2147483646.");
  expect([&] { NNResizeBilinear(device, 3, std::size_t{1} << 32U, false); },
         "NNResizeBilinear: resizeHeight is 2147483647; needed 1 to 2147483646.");
}

TEST_F(ShapeMessages, crop_and_resize) {
  const std::vector<RegionD> regions(3);
  const auto make = [&](std::size_t w, std::size_t h, std::size_t n, const RegionD* list) {
    NNCropAndResizeBilinear kernel(device, w, h, n, list);
  };
  expect([&] { make(0, 3, 3, regions.data()); },
         "NNCropAndResizeBilinear: resizeWidth is 0; needed 1 to 2147483646.");
  expect([&] { make(3, std::size_t{1} << 31U, 3, regions.data()); },
         "NNCropAndResizeBilinear: resizeHeight is 2147483648; needed 1 to 2147483646.");
  expect([&] { make(3, 3, 0, regions.data()); },
         "NNCropAndResizeBilinear: numberOfRegions is 0; needed at least one region.");
  expect([&] { make(3, 3, 2, nullptr); },
         "NNCropAndResizeBilinear: regions is null; needed at least one region.");
  std::vector<RegionD> wrong(regions);
  wrong[1].size.width = std::numeric_limits<double>::infinity();
  expect([&] { make(3, 3, 3, wrong.data()); },
         "NNCropAndResizeBilinear: regions[1] is infx1.000000 at (0.000000, 0.000000); needed "
         "finite numbers.");

  NNCropAndResizeBilinear kernel(device, 2, 2, 3, regions.data());
  expect(
      [&] { kernel.encode(buffer, image(4, 4, 1), image(2, 2, 1, 2)); },
      "NNCropAndResizeBilinear: destinationImage is 2 images; needed 3: the results and clipRect "
      "select that many.");
  kernel.setOffset({0, 0, 2});
  expect([&] { kernel.encode(buffer, image(4, 4, 1, 2), image(2, 2, 1, 3)); },
         "NNCropAndResizeBilinear: sourceImage is 2 images; needed 3: offset.z and clipRect select "
         "that many.");
  expect([&] { kernel.encodeBatch(buffer, images(1, 4, 4, 1), images(2, 2, 2, 1)); },
         "NNCropAndResizeBilinear: destinationImages is 2 images; needed 3, as many as results.");
  expect(
      [&] { kernel.encodeBatch(buffer, images(2, 4, 4, 1), images(3, 2, 2, 1)); },
      "NNCropAndResizeBilinear: sourceImages is 2 images; needed 3, as many as results, or one.");
}

TEST_F(ShapeMessages, grid_sample) {
  NNGridSample sample(device);
  expect([&] { sample.encode(buffer, image(4, 4, 3), image(2, 2, 1), image(2, 2, 3)); },
         "NNGridSample: secondaryImage is 2x2x1 Float32; needed 2 feature channels from channel "
         "0.");
  sample.setPrimaryEdgeMode(ImageEdgeMode::Mirror);
  expect([&] { sample.encode(buffer, image(4, 4, 3), image(2, 2, 2), image(2, 2, 3)); },
         "NNGridSample: edgeMode is 2; needed Zero or Clamp. Mirror, MirrorWithEdge and Constant "
         "belong to padding kernels.");
}

TEST_F(ShapeMessages, gram_matrix) {
  NNGramMatrixCalculation gram(device);
  expect([&] { gram.encode(buffer, image(4, 4, 3), image(4, 1, 3)); },
         "NNGramMatrixCalculation: the part of destinationImage that is written is 4x1; needed 3x1 "
         "pixels, one for each channel that is read.");
  gram.setClipRect({{1, 0, 0}, {3, 2, 1}});
  expect([&] { gram.encode(buffer, image(4, 4, 3), image(4, 2, 3)); },
         "NNGramMatrixCalculation: the part of destinationImage that is written is 3x2; needed 3x1 "
         "pixels, one for each channel that is read.");
  NNGramMatrixCalculationGradient gradient(device);
  gradient.setPrimaryOffset({1, 0, 0});
  expect([&] { gradient.encode(buffer, image(3, 1, 3), image(4, 4, 3), image(4, 4, 3)); },
         "NNGramMatrixCalculationGradient: sourceGradient is 3x1; needed 3x1 pixels from "
         "primaryOffset 1, 0, one for each channel of the source.");
}

/// A refused encode takes no read.
TEST_F(ShapeMessages, refused_calls_change_nothing) {
  NNReshape reshape(device);
  const Image source = TemporaryImage(buffer, descriptor(4, 3, 5));
  EXPECT_THROW(reshape.encode(buffer, source, image(4, 3, 4)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(reshape.encode(buffer, source, 1, 1, 1)), InvalidArgument);
  EXPECT_EQ(source.readCount(), 1U);
  EXPECT_NO_THROW(static_cast<void>(reshape.encode(buffer, source, 1, 1, 60)));
  EXPECT_EQ(source.readCount(), 0U);
}

}  // namespace
}  // namespace cermet::test
