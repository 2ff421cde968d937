// Fused operators against the operators that they stand for, on odd shapes, for 1 and 2 threads. A
// GPU may decline them.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "harness/device.h"
#include "harness/random.h"
#include "machine.h"

namespace cermet::test {
namespace {

struct Shape {
  std::int32_t images, height, width, inputs, outputs, kernel, stride, pad;
};
void PrintTo(const Shape& s, std::ostream* out) {
  *out << s.images << " x " << s.height << "x" << s.width << "x" << s.inputs << " to " << s.outputs
       << ", window " << s.kernel << ", stride " << s.stride << ", pad " << s.pad;
}

void expect_near(const Tensor& got, const Tensor& expected, const char* what) {
  float largest = 0;
  for (const float value : expected.values) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < got.values.size(); ++i)
    ASSERT_NEAR(got.values[i], expected.values[i], 1e-5F * largest) << what << ' ' << i;
}

class Fused : public testing::TestWithParam<std::tuple<Shape, int>> {
 protected:
  Fused()
      : convolution_(convolution()),
        x(input_desc()),
        z(output_desc()),
        weights(dense_desc(s.outputs, s.kernel, s.kernel, s.inputs)),
        y(pooled_desc()),
        winners(dense_desc(s.images, z.desc.h / 2, z.desc.w / 2, s.outputs, ElementType::uint8)),
        g(pooled_desc()) {
    for (Tensor* tensor : {&x, &weights, &g})
      tensor->values = floats(tensor->values.size(), 11 + tensor->values.size());
    // Zeros and ties are common behind zero padding and black pixels.
    z.values = grid_floats(z.values.size(), 12, -0.25F, 0.25F);
    for (std::size_t i = 0; i < z.values.size(); i += 3) z.values[i] = 0;
    for (std::size_t i = 0; i < g.values.size(); i += 7) g.values[i] = 0;
  }
  [[nodiscard]] TensorDesc input_desc() const {
    return dense_desc(s.images, s.height, s.width, s.inputs);
  }
  [[nodiscard]] TensorDesc output_desc() const {
    const auto extent = [&](std::int32_t size) {
      return (size + 2 * s.pad - s.kernel) / s.stride + 1;
    };
    return dense_desc(s.images, extent(s.height), extent(s.width), s.outputs);
  }
  [[nodiscard]] TensorDesc pooled_desc() const {
    const TensorDesc full = output_desc();
    return dense_desc(full.n, full.h / 2, full.w / 2, full.c);
  }
  [[nodiscard]] Convolution convolution() const {
    Convolution op;
    op.window.kernelWidth = op.window.kernelHeight = s.kernel;
    op.window.strideX = op.window.strideY = s.stride;
    op.window.padLeft = op.window.padTop = s.pad;
    return op;
  }

  /// False where the backend declines the operator.
  template <class Op>
  [[nodiscard]] bool run_fused(const Op& op, const std::vector<Tensor*>& tensors) {
    const StepPtr step = machine.prepare(op, tensors);
    if (step) machine.run_step(step, tensors);
    EXPECT_TRUE(step) << Op::name << " is declined";
    return step != nullptr;
  }
  [[nodiscard]] bool pool() {
    return run_fused(NeuronPoolingMax{neuron_.activation, pooling_}, {&z, &y, &winners});
  }

  /// The gradient of the convolution's result, the long way.
  [[nodiscard]] Tensor passed_on() {
    Tensor activated(z.desc), scattered(z.desc), passed(z.desc);
    machine.run(neuron_, {&z, nullptr, &activated});
    machine.run(PoolingMaxGradient{pooling_}, {&g, &activated, &scattered});
    machine.run(NeuronGradient{neuron_}, {&scattered, &z, nullptr, &passed});
    return passed;
  }

  Shape s = std::get<0>(GetParam());
  Machine machine{device_under_test(std::get<1>(GetParam()))};
  Neuron neuron_{{CNNNeuronType::ReLU}};
  PoolingMax pooling_{{.kernelWidth = 2, .kernelHeight = 2, .strideX = 2, .strideY = 2}};
  Convolution convolution_;
  Tensor x, z, weights, y, winners, g;
};

TEST_P(Fused, NeuronAndPoolingKeepTheBits) {
  Tensor activated(z.desc), expected(y.desc);
  machine.run(neuron_, {&z, nullptr, &activated});
  machine.run(pooling_, {&activated, &expected});
  if (!pool()) return;
  EXPECT_EQ(y.values, expected.values);
  Tensor alone(y.desc);
  machine.run(NeuronPoolingMax{neuron_.activation, pooling_}, {&z, &alone, nullptr});
  EXPECT_EQ(alone.values, expected.values);
}

TEST_P(Fused, NeuronAndPoolingPassNaNOn) {
  z.values[0] = std::numeric_limits<float>::quiet_NaN();
  if (!pool()) return;
  EXPECT_TRUE(std::isnan(y.values[0]));
  EXPECT_EQ(winners.bytes[0], NeuronPoolingMax::nobody);
}

TEST_P(Fused, ConvolutionGradientOfData) {
  if (!pool()) return;
  Tensor passed = passed_on(), expected(x.desc), got(x.desc);
  machine.run(ConvolutionGradientData{convolution_}, {&passed, &weights, &expected});
  if (!run_fused(PooledConvolutionGradientData{convolution_}, {&g, &winners, &weights, &got}))
    return;
  expect_near(got, expected, "data");
}

TEST_P(Fused, ConvolutionGradientOfWeights) {
  if (!pool()) return;
  Tensor passed = passed_on();
  for (const std::int32_t accumulate : {0, 1}) {
    Tensor expected(weights.desc), got(weights.desc);
    Tensor expected_bias(flat_desc(s.outputs)), bias(flat_desc(s.outputs));
    machine.run(ConvolutionGradientWeights{convolution_, accumulate},
                {&passed, &x, &expected, &expected_bias});
    if (!run_fused(PooledConvolutionGradientWeights{convolution_, accumulate},
                   {&g, &winners, &x, &got, &bias}))
      return;
    expect_near(got, expected, "weights");
    expect_near(bias, expected_bias, "biases");
  }
}

INSTANTIATE_TEST_SUITE_P(Operators, Fused,
                         testing::Combine(testing::Values(Shape{3, 8, 6, 4, 8, 3, 1, 1},
                                                          Shape{2, 7, 9, 1, 5, 5, 1, 2},
                                                          Shape{1, 6, 6, 32, 17, 5, 1, 2},
                                                          Shape{4, 11, 10, 3, 9, 2, 1, 0},
                                                          Shape{2, 12, 13, 40, 12, 3, 2, 1},
                                                          Shape{2, 9, 8, 13, 33, 4, 1, 1},
                                                          Shape{9, 28, 28, 1, 16, 5, 1, 2},
                                                          Shape{5, 14, 14, 24, 40, 3, 1, 1},
                                                          Shape{2, 6, 6, 2, 3, 3, 1, -1}),
                                          testing::Values(1, 2)));

TEST(Fusions, AreDeclinedWhereTheyDoNotHold) {
  Machine machine(device_under_test(1));
  Tensor z(dense_desc(1, 5, 6, 8)), y(dense_desc(1, 3, 3, 8));
  const PoolingMax tiles{{.kernelWidth = 2, .kernelHeight = 2, .strideX = 2, .strideY = 2}};
  const Activation relu{CNNNeuronType::ReLU}, leaky{CNNNeuronType::ReLU, 0.1F};
  EXPECT_FALSE(machine.prepare(NeuronPoolingMax{relu, tiles}, {&z, &y, nullptr}))
      << "a window leaves the source";
  Tensor inside(dense_desc(1, 2, 3, 8));
  EXPECT_TRUE(machine.prepare(NeuronPoolingMax{relu, tiles}, {&z, &inside, nullptr}));
  EXPECT_FALSE(machine.prepare(NeuronPoolingMax{leaky, tiles}, {&z, &inside, nullptr}));
  PoolingMax overlapping = tiles;
  overlapping.window.strideX = 1;
  EXPECT_FALSE(machine.prepare(NeuronPoolingMax{relu, overlapping}, {&z, &inside, nullptr}));
  Convolution grouped;
  grouped.groups = 2;
  Tensor winners(dense_desc(1, 2, 3, 8, ElementType::uint8)), weights(dense_desc(8, 1, 1, 4)),
      data(dense_desc(1, 5, 6, 8));
  const StepPtr of_groups =
      machine.prepare(PooledConvolutionGradientData{grouped}, {&inside, &winners, &weights, &data});
  EXPECT_EQ(of_groups != nullptr, machine.is_gpu()) << "which expands the gradient";
}

}  // namespace
}  // namespace cermet::test
