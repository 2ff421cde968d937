// The full text of messages about wrong calls: kernel, argument, what it got, what it needs, what
// to do. And: a refused call has changed nothing.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "../harness/bench.h"
#include "../harness/convolution.h"
#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/normalization.h"
#include "cermet/cnn/pooling.h"

namespace cermet::test {
namespace {

using Format = ImageFeatureChannelFormat;

class Messages : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  const Device& device = bench.device;
  CommandBuffer buffer = bench.queue.makeCommandBuffer();

  [[nodiscard]] Image image(std::size_t w, std::size_t h, std::size_t c) const {
    return {device, ImageDescriptor::imageDescriptor(Format::Float32, w, h, c)};
  }
  [[nodiscard]] ImageBatch images(std::size_t n, std::size_t w, std::size_t h,
                                  std::size_t c) const {
    return {device, ImageDescriptor::imageDescriptor(Format::Float32, w, h, c), n};
  }
  [[nodiscard]] Image temporary(std::size_t w, std::size_t h, std::size_t c) const {
    return TemporaryImage(buffer, ImageDescriptor::imageDescriptor(Format::Float32, w, h, c));
  }
  /// 3x3, 4 channels to 8.
  [[nodiscard]] static std::shared_ptr<RowWeights> weights(std::size_t inputs = 4,
                                                           std::size_t outputs = 8) {
    return std::make_shared<RowWeights>(ConvolutionRow{.outputFeatureChannels = outputs}, inputs);
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

TEST_F(Messages, wrong_channel_count_of_a_convolution) {
  CNNConvolution convolution(device, weights());
  convolution.setLabel("conv1");
  expect([&] { convolution.encode(buffer, image(5, 5, 3), image(5, 5, 8)); },
         "CNNConvolution \"conv1\": sourceImage is 5x5x3 Float32; needed 4 feature channels from "
         "channel 0.");
  expect([&] { convolution.encode(buffer, image(5, 5, 4), image(5, 5, 7)); },
         "CNNConvolution \"conv1\": destinationImage is 5x5x7 Float32; needed 8 feature channels.");
  convolution.setSourceFeatureChannelOffset(4);
  expect([&] { convolution.encode(buffer, image(5, 5, 6), image(5, 5, 8)); },
         "CNNConvolution \"conv1\": sourceImage is 5x5x6 Float32; needed 4 feature channels from "
         "channel 4.");
  convolution.setSourceFeatureChannelOffset(2);
  expect([&] { convolution.encode(buffer, image(5, 5, 8), image(5, 5, 8)); },
         "CNNConvolution \"conv1\": sourceFeatureChannelOffset is 2; needed a multiple of 4.");
  convolution.setSourceFeatureChannelOffset(0);
  convolution.setDestinationFeatureChannelOffset(3);
  expect([&] { convolution.encode(buffer, image(5, 5, 4), image(5, 5, 12)); },
         "CNNConvolution \"conv1\": destinationFeatureChannelOffset is 3; needed a multiple of 4.");
}

TEST_F(Messages, channel_offsets_of_two_sources) {
  CNNAdd add(device);
  const auto encode = [&] { add.encode(buffer, image(2, 2, 8), image(2, 2, 8), image(2, 2, 8)); };
  add.setPrimarySourceFeatureChannelOffset(2);
  expect(encode, "CNNAdd: primarySourceFeatureChannelOffset is 2; needed a multiple of 4.");
  add.setPrimarySourceFeatureChannelOffset(0);
  add.setSecondarySourceFeatureChannelOffset(5);
  expect(encode, "CNNAdd: secondarySourceFeatureChannelOffset is 5; needed a multiple of 4.");
  add.setSecondarySourceFeatureChannelOffset(0);
  add.setDestinationFeatureChannelOffset(6);
  expect(encode, "CNNAdd: destinationFeatureChannelOffset is 6; needed a multiple of 4.");
}

TEST_F(Messages, clip_rectangle_outside) {
  CNNPoolingMax pooling(device, 2, 2);
  pooling.setClipRect({{9, 0, 0}, {2, 2, 1}});
  expect(
      [&] { pooling.encode(buffer, image(6, 6, 2), image(6, 6, 2)); },
      "CNNPoolingMax: clipRect is 2x2x1 at (9, 0, 0); needed a region that meets the destination, "
      "6x6x2 Float32.");
  const Image stack(device, ImageDescriptor::imageDescriptor(Format::Float32, 6, 6, 2, 3));
  pooling.setClipRect({{0, 0, 3}, {2, 2, 1}});
  expect(
      [&] { pooling.encode(buffer, stack, stack); },
      "CNNPoolingMax: clipRect is 2x2x1 at (0, 0, 3); needed a region that meets the destination, "
      "6x6x2 Float32 with 3 images.");
}

TEST_F(Messages, edge_mode_of_padding_kernels) {
  CNNPoolingAverage pooling(device, 2, 2);
  pooling.setLabel("pool1");
  pooling.setEdgeMode(ImageEdgeMode::Mirror);
  expect([&] { pooling.encode(buffer, image(6, 6, 2), image(6, 6, 2)); },
         "CNNPoolingAverage \"pool1\": edgeMode is 2; needed Zero or Clamp. Mirror, MirrorWithEdge "
         "and Constant belong to padding kernels.");
}

TEST_F(Messages, window_that_does_not_fit) {
  CNNPoolingMax pooling(device, 5, 3);
  pooling.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
  expect([&] { static_cast<void>(pooling.encode(buffer, image(4, 4, 2))); },
         "CNNPoolingMax: sourceImage is 4x4x2 Float32; needed at least 5x3 pixels. The window must "
         "fit into the source; choose the Same size or a smaller window.");
  expect(
      [&] { CNNPoolingMax(device, 0, 3, 1, 1); },
      "CNNPoolingMax: the window is 0x3 with strides 1, 1; needed sizes and strides of 1 or more.");
}

TEST_F(Messages, fields_out_of_range) {
  expect([&] { CNNSpatialNormalization(device, 0, 3); },
         "CNNSpatialNormalization: kernelWidth is 0; needed 1 to 32767.");
  expect([&] { CNNLocalContrastNormalizationGradient(device, 3, std::size_t{1} << 40); },
         "CNNLocalContrastNormalizationGradient: kernelHeight is 2147483647; needed 1 to 32767.");
  expect([&] { CNNCrossChannelNormalization(device, std::size_t{1} << 32); },
         "CNNCrossChannelNormalization: kernelSize is 2147483647; needed 1 to 1048576.");
  expect([&] { CNNCrossChannelNormalizationGradient(device, {{.kernelSize = -2}}); },
         "CNNCrossChannelNormalizationGradient: kernelSize is -2; needed 1 to 1048576.");
}

TEST_F(Messages, state_of_another_window) {
  const Image source = image(6, 5, 2), result = image(6, 5, 2), gradient = image(6, 5, 2);
  CNNLocalContrastNormalization forward(device, 3, 3);
  const StatePtr state = forward.resultState(source, {}, result);
  forward.encode(buffer, source, state, result);
  CNNLocalContrastNormalizationGradient backward(device, 5, 3);
  backward.setLabel("norm2");
  expect([&] { backward.encode(buffer, result, source, state, gradient); },
         "CNNLocalContrastNormalizationGradient \"norm2\": gradientState is for a window of 3x3; "
         "needed 5x3, the window of this kernel. Make the gradient kernel with the window of the "
         "forward kernel.");
}

TEST_F(Messages, windows_with_dilation_rates) {
  expect(
      [&] { CNNDilatedPoolingMax(device, 2, 2, 0, 1, 1, 1); },
      "CNNDilatedPoolingMax: the window is 2x2 with strides 1, 1 and dilation rates 0, 1; needed "
      "sizes, strides and dilation rates of 1 or more.");
  expect([&] { CNNDilatedPoolingMaxGradient(device, 2, 0, 2, 3, 1, 1); },
         "CNNDilatedPoolingMaxGradient: the window is 2x0 with strides 1, 1 and dilation rates 2, "
         "3; needed sizes, strides and dilation rates of 1 or more.");
  expect([&] { CNNDilatedPoolingMax(device, 3, 2, std::size_t{1} << 30U, 1, 1, 1); },
         "CNNDilatedPoolingMax: the window is 3x2 with strides 1, 1 and dilation rates 1073741824, "
         "1; needed strides and an extent of at most 2147483647 pixels.");
  CNNDilatedPoolingMax pooling(device, 3, 2, 2, 4, 1, 1);
  pooling.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeValidOnly));
  expect([&] { static_cast<void>(pooling.encode(buffer, image(5, 4, 2))); },
         "CNNDilatedPoolingMax: sourceImage is 5x4x2 Float32; needed at least 5x5 pixels. The "
         "window must fit into the source; choose the Same size or a smaller window.");
}

TEST_F(Messages, windows_of_l2_pooling) {
  expect([&] { CNNPoolingL2Norm(device, 3, 3, 0, 1); },
         "CNNPoolingL2Norm: the window is 3x3 with strides 0, 1; needed sizes and strides of 1 or "
         "more.");
  CNNPoolingL2NormGradient gradient(device, 2, 2);
  gradient.setSecondaryStrideInPixelsY(0);
  expect([&] { gradient.encode(buffer, image(4, 4, 2), image(4, 4, 2), image(4, 4, 2)); },
         "CNNPoolingL2NormGradient: the window is 2x2 with strides 1, 0; needed sizes and strides "
         "of 1 or more.");
  gradient.setSecondaryStrideInPixelsY(1);
  gradient.setKernelOffsetX(1);
  expect([&] { gradient.encode(buffer, image(4, 4, 2), image(4, 4, 2), image(4, 4, 2)); },
         "CNNPoolingL2NormGradient: kernelOffset is 1, 0; needed 0, 0. secondaryOffset places the "
         "windows of a pooling gradient.");
}

TEST_F(Messages, nil_images_and_batches) {
  CNNPoolingMax pooling(device, 2, 2);
  expect([&] { pooling.encode(buffer, Image(), image(6, 6, 2)); },
         "CNNPoolingMax: sourceImage is nil; needed an image.");
  expect([&] { pooling.encodeBatch(buffer, images(3, 6, 6, 2), images(2, 6, 6, 2)); },
         "CNNPoolingMax: destinationImages is 2 images; needed 3, as many as sourceImages.");
  expect(
      [&] {
        pooling.encodeBatch(buffer, {image(6, 6, 2), image(6, 5, 2)}, images(2, 6, 6, 2));
      },
      "CNNPoolingMax: sourceImage is a batch that mixes 6x6x2 Float32 and 6x5x2 Float32; needed "
      "images of one size and format with numberOfImages 1.");
}

TEST_F(Messages, temporary_images) {
  CNNPoolingMax pooling(device, 2, 2);
  const Image source = temporary(6, 6, 2), result = image(6, 6, 2);
  pooling.encode(buffer, source, result);
  expect([&] { pooling.encode(buffer, source, result); },
         "CNNPoolingMax: sourceImage is 6x6x2 Float32, read for the last time already; needed a "
         "temporary image with reads left. Raise readCount once for every encode that reads it.");
  const Image other = temporary(6, 6, 2);
  CommandBuffer second = bench.queue.makeCommandBuffer();
  expect([&] { pooling.encode(second, other, result); },
         "CNNPoolingMax: sourceImage is temporary in another command buffer; needed images of this "
         "command buffer. Use Image::defaultAllocator() for images that outlive their command "
         "buffer.");
  expect([&] { static_cast<void>(other.read_floats()); },
         "Image: the image is temporary; needed storage that the host can reach. Make the image "
         "with Image::defaultAllocator() and storageMode Shared to read or write it.");
  expect(
      [&] { result.setReadCount(2); },
      "Image: readCount is of a permanent image; needed a temporary image that still has reads.");
}

TEST_F(Messages, gradient_states) {
  CNNConvolution convolution(device, weights());
  CNNConvolutionGradient gradient(device, weights());
  gradient.setLabel("conv1");
  CNNPoolingMax pooling(device, 2, 2);
  const Image x = image(6, 5, 4);
  StatePtr state, pooled;
  const Image y = convolution.encode(buffer, x, &state, false),
              p = pooling.encode(buffer, x, &pooled, false);
  expect([&] { static_cast<void>(gradient.encode(buffer, image(6, 5, 8), x, nullptr)); },
         "CNNConvolutionGradient \"conv1\": gradientStates is 0 states; needed 1, one for each "
         "image. Pass the states that the matching forward encode returned.");
  expect([&] { static_cast<void>(gradient.encode(buffer, image(6, 5, 8), x, pooled)); },
         "CNNConvolutionGradient \"conv1\": gradientState is of another kind; needed a "
         "CNNConvolutionGradientState. Encode the backward pass with the state returned by the "
         "matching forward encode.");
  expect([&] { static_cast<void>(gradient.encode(buffer, image(5, 5, 8), x, state)); },
         "CNNConvolutionGradient \"conv1\": sourceGradient is 5x5; needed 6x5, the size that its "
         "gradientState was made for. Encode the backward pass with the state returned by the "
         "matching forward encode.");
  expect([&] { static_cast<void>(gradient.encode(buffer, image(6, 5, 8), image(6, 6, 4), state)); },
         "CNNConvolutionGradient \"conv1\": sourceImage is 6x6; needed 6x5, the size that its "
         "gradientState was made for. Encode the backward pass with the state returned by the "
         "matching forward encode.");
  expect([&] { static_cast<void>(gradient.encode(buffer, image(6, 5, 7), x, state)); },
         "CNNConvolutionGradient \"conv1\": primaryImage is 6x5x7 Float32; needed 8 feature "
         "channels from channel 0.");
  CNNConvolutionGradient wider(device, weights(4, 12));
  expect([&] { static_cast<void>(wider.encode(buffer, image(6, 5, 12), x, state)); },
         "CNNConvolutionGradient: gradientState is for 288 weights and 8 biases; needed 432 and "
         "12. Encode the backward pass with the state returned by the matching forward encode.");
  const StateBatch one = StateBatch::repeated(state, 1);
  expect(
      [&] {
        static_cast<void>(
            gradient.encodeBatch(buffer, images(2, 6, 5, 8), images(2, 6, 5, 4), one));
      },
      "CNNConvolutionGradient \"conv1\": gradientStates is 1 states; needed 2, one for each image. "
      "Pass the states that the matching forward encode returned.");
}

TEST_F(Messages, gradient_of_a_clipped_convolution) {
  CNNConvolution convolution(device, weights());
  CNNConvolutionGradient gradient(device, weights());
  convolution.setClipRect({{1, 1, 0}, {3, 2, 1}});
  const Image x = image(6, 5, 4);
  StatePtr state;
  static_cast<void>(convolution.encode(buffer, x, &state, false));
  expect(
      [&] { static_cast<void>(gradient.encode(buffer, image(6, 5, 8), x, state)); },
      "CNNConvolutionGradient: sourceGradient is 6x5; needed 3x2, the size of the forward "
      "clipRect. Encode the backward pass with the state returned by the matching forward encode.");
}

TEST_F(Messages, pooling_gradient_offsets) {
  CNNPoolingMaxGradient gradient(device, 2, 2);
  gradient.setKernelOffsetX(1);
  const Image g = image(6, 6, 2);
  expect([&] { gradient.CNNBinaryKernel::encode(buffer, g, image(6, 6, 2), image(6, 6, 2)); },
         "CNNPoolingMaxGradient: kernelOffset is 1, 0; needed 0, 0. secondaryOffset places the "
         "windows of a pooling gradient.");
  gradient.setKernelOffsetX(0);
  gradient.setPrimaryOffset({-1, 0, 0});
  expect([&] { gradient.CNNBinaryKernel::encode(buffer, g, image(6, 6, 2), image(6, 6, 2)); },
         "CNNPoolingMaxGradient: primaryOffset is -1, 0; needed 0 or more: the first gradient "
         "pixel to use.");
}

TEST_F(Messages, convolution_descriptors) {
  expect([&] { static_cast<void>(CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 0, 8)); },
         "CNNConvolutionDescriptor: inputFeatureChannels is 0; needed 1 or more. Correct the "
         "convolution descriptor.");
  ConvolutionRow row{.outputFeatureChannels = 8};
  row.groups = 3;
  expect([&] { CNNConvolution(device, std::make_shared<RowWeights>(row, 4)); },
         "CNNConvolution: groups is 3; needed a divisor of both channel counts. Correct the "
         "convolution descriptor.");
  expect([&] { CNNConvolution(device, nullptr); },
         "CNNConvolution: weights is null; needed a data source.");
  expect(
      [&] {
        static_cast<void>(CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 6));
      },
      "CNNConvolutionDescriptor: a depthwise descriptor is 4 to 6 channels in 1 groups; needed 1 "
      "group and outputs that are a multiple of the inputs. Correct the convolution descriptor.");
  const auto absent = weights();
  absent->name = "conv2";
  absent->available = false;
  expect([&] { CNNConvolution(device, absent); },
         "CNNConvolution \"conv2\": weights is a data source whose load() answered false; needed "
         "weights. Check the file or memory behind the data source.");
}

TEST_F(Messages, fully_connected) {
  CNNFullyConnected layer(device, weights());
  expect(
      [&] { layer.encode(buffer, image(4, 3, 4), image(1, 1, 8)); },
      "CNNFullyConnected: sourceImage is 4x3x4 Float32 into 1x1; needed 3x3 pixels into 1x1, one "
      "group, strides and dilation 1. Use CNNConvolution for windows smaller than the source.");
}

TEST_F(Messages, neurons) {
  const std::vector<float> two{0.1F, 0.2F};
  CNNNeuron prelu(device, NNNeuronDescriptor::cnnNeuronPReLUDescriptor(two));
  expect([&] { prelu.encode(buffer, image(2, 2, 3), image(2, 2, 3)); },
         "CNNNeuron: data is 2 slopes; needed 3, one for each feature channel.");
  expect(
      [&] {
        static_cast<void>(NNNeuronDescriptor::cnnNeuronDescriptor(static_cast<CNNNeuronType>(16)));
      },
      "NNNeuronDescriptor: neuronType is 16; needed a type from 0 to 15.");
  expect([&] { CNNNeuron(device, NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::PReLU)); },
         "CNNNeuron: neuronDescriptor is PReLU without data; needed one slope for each feature "
         "channel. Use NNNeuronDescriptor::cnnNeuronPReLUDescriptor.");
}

TEST_F(Messages, losses) {
  expect(
      [&] {
        static_cast<void>(CNNLossDescriptor::cnnLossDescriptor(CNNLossType::CosineDistance,
                                                               CNNReductionType::Mean));
      },
      "CNNLossDescriptor: reductionType is 2; needed Sum for CosineDistance. Correct the loss "
      "descriptor.");
  const auto descriptor =
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum);
  NNForwardLoss forward(device, descriptor);
  forward.setLabel("loss");
  expect(
      [&] {
        forward.encodeBatch(buffer, images(2, 3, 3, 4), images(2, 3, 3, 3), {}, {},
                            images(2, 1, 1, 1));
      },
      "NNForwardLoss \"loss\": labels is 3x3x3 Float32; needed 3x3 with at least 4 feature "
      "channels, as the source image. Labels and weights are images of the predictions' size.");
  expect(
      [&] {
        forward.encodeBatch(buffer, images(2, 3, 3, 4), images(1, 3, 3, 4), {}, {},
                            images(2, 1, 1, 1));
      },
      "NNForwardLoss \"loss\": labels is 1 images; needed 2, as many as sourceImages.");
  expect(
      [&] {
        forward.encodeBatch(buffer, images(2, 3, 3, 4), images(2, 3, 3, 4), {}, {},
                            images(2, 3, 3, 4));
      },
      "NNForwardLoss \"loss\": destinationImages is 3x3x4 Float32; needed 1x1x1 for a reduced "
      "loss.");
  expect(
      [&] {
        forward.encodeBatch(buffer, images(2, 3, 3, 4), images(2, 3, 3, 4), images(2, 2, 3, 4), {},
                            images(2, 1, 1, 1));
      },
      "NNForwardLoss \"loss\": weights is 2x3x4 Float32; needed 3x3 with at least 4 feature "
      "channels, as the source image. Labels and weights are images of the predictions' size.");
  NNLossGradient gradient(device, descriptor);
  expect(
      [&] {
        gradient.encodeBatch(buffer, images(2, 3, 3, 4), images(2, 3, 3, 4), images(2, 3, 3, 4), {},
                             {}, images(2, 3, 3, 4));
      },
      "NNLossGradient: sourceGradients is 3x3x4 Float32; needed 1x1x1, the size of a reduced "
      "loss.");
  forward.setClipRect({{0, 0, 0}, {1, 1, 1}});
  expect(
      [&] {
        forward.encodeBatch(buffer, images(2, 3, 3, 4), images(2, 3, 3, 4), {}, {},
                            images(2, 1, 1, 1));
      },
      "NNForwardLoss \"loss\": offset or clipRect is not the default; needed the default. Loss "
      "filters work on whole images.");
}

TEST_F(Messages, labels_of_the_combined_loss) {
  const auto descriptor =
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum);
  CNNLoss loss(device, descriptor);
  const std::vector<float> values(12, 0.5F);
  constexpr auto hwc = DataLayout::HeightxWidthxFeatureChannels;
  const auto shallow = std::make_shared<CNNLossLabels>(
      device, CNNLossDataDescriptor::cnnLossDataDescriptor(values, hwc, {2, 2, 3}));
  expect([&] { loss.encode(buffer, image(2, 2, 4), shallow, image(2, 2, 4)); },
         "CNNLoss: labels is 2x2x3 Float32; needed 2x2 with at least 4 feature channels, as the "
         "source image. Labels and weights are images of the predictions' size.");
  expect([&] { loss.encodeBatch(buffer, images(2, 2, 2, 3), {shallow}, images(2, 2, 2, 3)); },
         "CNNLoss: labels is 1; needed 2, one for each image.");
  expect(
      [&] {
        static_cast<void>(CNNLossDataDescriptor::cnnLossDataDescriptor(values, hwc, {2, 2, 4}));
      },
      "CNNLossDataDescriptor: data is 12 floats; needed 2x2x4 values with no extent 0.");
  expect([&] { loss.encode(buffer, image(2, 2, 3), nullptr, image(2, 2, 3)); },
         "CNNLoss: labels is null; needed a labels object for each image.");
  expect(
      [&] {
        CNNLossLabels(device, {2, 1, 1}, image(2, 2, 3), Image());
      },
      "CNNLossLabels: lossImageSize is 2x1x1; needed 1x1x1 or the size of the source. Use 1x1x1 "
      "unless the reduction is None.");
}

TEST_F(Messages, other_devices) {
  CNNPoolingMax pooling(Bench::with(2).device, 2, 2);
  expect([&] { pooling.encode(buffer, image(6, 6, 2), image(6, 6, 2)); },
         "CNNPoolingMax: commandBuffer is on another device; needed a command buffer of the "
         "kernel's device. Make a copy of the kernel for that device.");
}

/// A refused encode consumes no read and leaves the data source balanced.
TEST_F(Messages, refused_calls_change_nothing) {
  CNNPoolingMax pooling(device, 2, 2);
  const Image source = temporary(6, 6, 2);
  pooling.setEdgeMode(ImageEdgeMode::Constant);
  EXPECT_THROW(pooling.encode(buffer, source, image(6, 6, 2)), InvalidArgument);
  EXPECT_EQ(source.readCount(), 1U);
  pooling.setEdgeMode(ImageEdgeMode::Zero);
  EXPECT_NO_THROW(pooling.encode(buffer, source, image(6, 6, 2)));

  const auto data = weights();
  CNNConvolution convolution(device, data);
  CNNConvolutionGradient gradient(device, data);
  convolution.reloadWeightsAndBiasesFromDataSource();
  EXPECT_EQ(data->loads, 3);
  EXPECT_EQ(data->purges, 3);
}

}  // namespace
}  // namespace cermet::test
