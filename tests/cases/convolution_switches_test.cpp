// The switches of convolutions: weights in half precision where nothing is said, and the data
// gradient of clamped edges as the original documents its construction.

#include <gtest/gtest.h>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/recurrent.h"
#include "cermet/cnn/convolution.h"
#include "cermet/rnn/matrix_inference_layer.h"
#include "cermet/rnn/matrix_training_layer.h"
#include "cermet/rnn/single_gate.h"

namespace cermet::test {
namespace {

constexpr float tenth = 0.1F, tenth_in_half = 0.0999755859375F;  // spec: convolution 3(6)

Device device() { return Bench::with(2).device; }

/// The switch while it lives.
struct HalfWeights {
  HalfWeights() { set_half_weights_when_unspecified(true); }
  ~HalfWeights() { set_half_weights_when_unspecified(false); }
  HalfWeights(const HalfWeights&) = delete;
  HalfWeights& operator=(const HalfWeights&) = delete;
};

std::shared_ptr<GateWeights> source() {
  return std::make_shared<GateWeights>(1, 2, std::vector<float>{tenth, 2},
                                       std::vector<float>{tenth, 0});
}

std::vector<float> weights_of(const CNNConvolution& kernel) {
  CommandBuffer buffer = Bench::with(2).queue.makeCommandBuffer();
  const auto state = kernel.exportWeightsAndBiases(buffer, false);
  finish(buffer);
  std::vector<float> values = state->weights().values<float>();
  values.resize(2);
  return values;
}

TEST(ConvolutionSwitches, KeepTheSourcesPrecisionByDefault) {
  EXPECT_FALSE(half_weights_when_unspecified());
  EXPECT_EQ(weights_of(CNNConvolution(device(), source())), (std::vector<float>{tenth, 2}));
}

TEST(ConvolutionSwitches, RoundUnspecifiedWeightsToHalf) {
  CNNConvolution before(device(), source());
  {
    const HalfWeights on;
    EXPECT_EQ(weights_of(CNNConvolution(device(), source())),
              (std::vector<float>{tenth_in_half, 2}));
    EXPECT_EQ(weights_of(before), (std::vector<float>{tenth, 2})) << "loaded before";
    before.reloadWeightsAndBiasesFromDataSource();
    EXPECT_EQ(weights_of(before), (std::vector<float>{tenth_in_half, 2}));
  }
  before.reloadWeightsAndBiasesFromDataSource();
  EXPECT_EQ(weights_of(before), (std::vector<float>{tenth, 2}));
}

TEST(ConvolutionSwitches, GiveWayToASourceThatSays) {
  const HalfWeights on;
  class Float32Source final : public CNNConvolutionDataSource {
   public:
    [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
    [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
      return CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 1, 2);
    }
    [[nodiscard]] const void* weights() override { return values_.data(); }
    [[nodiscard]] const float* biasTerms() override { return nullptr; }
    [[nodiscard]] bool load() override { return true; }
    void purge() override {}
    [[nodiscard]] std::string label() const override { return ""; }
    [[nodiscard]] std::optional<DataType> kernelWeightsDataType() const override {
      return DataType::Float32;
    }

   private:
    std::vector<float> values_{tenth, 2};
  };
  EXPECT_EQ(weights_of(CNNConvolution(device(), std::make_shared<Float32Source>())),
            (std::vector<float>{tenth, 2}));
}

std::shared_ptr<RNNSingleGateDescriptor> recurrent(bool float32) {
  auto descriptor = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(1, 2);
  descriptor->setInputWeights(source());
  descriptor->setUseFloat32Weights(float32);
  return descriptor;
}

/// 1 * W + b of the first channel.
float inferred(bool float32) {
  const RNNMatrixInferenceLayer layer(device(), recurrent(float32));
  const auto matrix = [](std::size_t columns) {
    return Matrix(device(), MatrixDescriptor::matrixDescriptor(1, columns, 16, DataType::Float32));
  };
  const Matrix x = matrix(1), y = matrix(2);
  const float one = 1;
  x.data().copy_in(&one, sizeof(one), x.offset());
  CommandBuffer buffer = Bench::with(2).queue.makeCommandBuffer();
  layer.encodeSequence(buffer, std::vector{x}, std::vector{y}, nullptr, nullptr);
  finish(buffer);
  return y.data().values<float>().at(y.offset() / sizeof(float)) - tenth;
}

TEST(ConvolutionSwitches, RoundWeightsOfRecurrentInferenceUnlessTheyAreFloat32) {
  EXPECT_NEAR(inferred(false), tenth, 1e-7);
  const HalfWeights on;
  EXPECT_NEAR(inferred(false), tenth_in_half, 1e-7);
  EXPECT_NEAR(inferred(true), tenth, 1e-7);
}

TEST(ConvolutionSwitches, LeaveWeightsOfRecurrentTrainingAlone) {
  const HalfWeights on;
  std::vector<Matrix> weights;
  const RNNMatrixTrainingLayer layer(device(), recurrent(false), &weights);
  EXPECT_EQ(weights.at(0).data().values<float>().at(weights.at(0).offset() / sizeof(float)), tenth);
}

struct Gradients {
  std::vector<float> data, weights;
};
Gradients gradients(ImageEdgeMode edge, bool drops) {
  const auto weights = std::make_shared<GateWeights>(2, 3, floats(std::size_t{3 * 3 * 3 * 2}, 5),
                                                     floats(3, 6), NNNeuronDescriptor(), 3);
  CNNConvolution forward(device(), weights);
  CNNConvolutionGradient gradient(device(), weights);
  forward.setEdgeMode(edge);
  forward.setDestinationImageAllocator(Image::defaultAllocator());
  gradient.setDestinationImageAllocator(Image::defaultAllocator());
  gradient.set_clamp_gradient_drops_edge(drops);
  const Images extents{2, 4, 5, 2}, results{2, 4, 5, 3};
  const auto format = ImageFeatureChannelFormat::Float32;
  CommandBuffer buffer = Bench::with(2).queue.makeCommandBuffer();
  const ImageBatch x = upload(device(), format, extents, floats(extents.count(), 7)),
                   e = upload(device(), format, results, floats(results.count(), 8));
  StateBatch states;
  static_cast<void>(forward.encodeBatch(buffer, x, &states, false));
  const ImageBatch result = gradient.encodeBatch(buffer, e, x, states);
  finish(buffer);
  return {read(result),
          states.at<CNNConvolutionGradientState>(0)->gradientForWeights().values<float>()};
}

/// What is left without the clamped taps is the gradient of zero edges.
TEST(ConvolutionSwitches, DropClampedTapsFromTheDataGradient) {
  const Gradients zero = gradients(ImageEdgeMode::Zero, false),
                  exact = gradients(ImageEdgeMode::Clamp, false),
                  dropped = gradients(ImageEdgeMode::Clamp, true);
  EXPECT_EQ(dropped.data, zero.data);
  EXPECT_NE(exact.data, zero.data);
  EXPECT_EQ(dropped.weights, exact.weights);
  EXPECT_NE(dropped.weights, zero.weights);
}

}  // namespace
}  // namespace cermet::test
