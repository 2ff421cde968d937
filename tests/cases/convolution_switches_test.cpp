// The switches of convolutions: weights in half precision where nothing is said, and the data
// gradient of clamped edges as the original documents its construction.

#include <gtest/gtest.h>

#include "../harness/bench.h"
#include "../harness/images.h"
#include "../harness/recurrent.h"
#include "cermet/cnn/convolution.h"
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

TEST(ConvolutionSwitches, RoundWeightsOfRecurrentLayersUnlessTheyAreFloat32) {
  const auto input_weight = [](bool float32) {
    auto descriptor = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(1, 2);
    descriptor->setInputWeights(source());
    descriptor->setUseFloat32Weights(float32);
    std::vector<Matrix> weights;
    const RNNMatrixTrainingLayer layer(device(), descriptor, &weights);
    return weights.at(0).data().values<float>().at(weights.at(0).offset() / sizeof(float));
  };
  EXPECT_EQ(input_weight(false), tenth);
  const HalfWeights on;
  EXPECT_EQ(input_weight(false), tenth_in_half);
  EXPECT_EQ(input_weight(true), tenth);
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
