// Convolution of the oracle against the specification's numbers and against differences.

#include <string>

#include "convolution.h"
#include "help.h"

namespace cermet::oracle {
namespace {

using Type = CNNNeuronType;

Convolution convolving(const Window& window, int groups = 1, const Activation& activation = {}) {
  return {window, groups, activation};
}

TEST(SpecConvolution14, E1CorrelationZeroEdges) {
  const auto op = convolving(placed(3, 1, 0, 0));
  const auto image = tensor(1, 1, 4, 1, {1, 2, 3, 4}), e = image;
  const auto weights = tensor(1, 1, 3, 1, {1, 10, 100});
  expect_values(convolution(op, image, weights, {0.5}, {}, 1, 4).v, {210.5, 321.5, 432.5, 43.5});
  expect_values(convolution_gradient_data({op}, e, weights, 1, 4).v, {12, 123, 234, 340});
  const auto g = convolution_gradient_weights({op}, e, image);
  expect_values(g.weights.v, {20, 30, 20});
  expect_values(g.biases, {10});
}

TEST(SpecConvolution14, E1BatchOfTwoSums) {
  const auto op = convolving(placed(3, 1, 0, 0));
  const auto one = tensor(1, 1, 4, 1, {1, 2, 3, 4});
  const auto two = tensor(2, 1, 4, 1, {1, 2, 3, 4, 1, 2, 3, 4});
  const auto weights = tensor(1, 1, 3, 1, {1, 10, 100});
  const auto g = convolution_gradient_weights({op}, two, two);
  expect_values(g.weights.v, {40, 60, 40});
  expect_values(g.biases, {20});
  expect_values(convolution_gradient_data({op}, two, weights, 1, 4).v,
                {12, 123, 234, 340, 12, 123, 234, 340});
  const auto first = convolution_gradient_weights({op}, one, one);  // the same in two encodes
  const auto both = convolution_gradient_weights({op, 1}, one, one, first);
  expect_values(both.weights.v, {40, 60, 40});
  expect_values(both.biases, {20});
}

TEST(SpecConvolution14, E1ClampEdges) {
  const auto op = convolving(clamped(placed(3, 1, 0, 0)));
  const auto image = tensor(1, 1, 4, 1, {1, 2, 3, 4}), e = image;
  const auto weights = tensor(1, 1, 3, 1, {1, 10, 100});
  expect_values(convolution(op, image, weights, {0.5}, {}, 1, 4).v, {211.5, 321.5, 432.5, 443.5});
  expect_values(convolution_gradient_weights({op}, e, image).weights.v, {21, 30, 36});
  expect_values(convolution_gradient_data({op}, e, weights, 1, 4).v, {13, 123, 234, 740});
}

TEST(SpecConvolution14, E2EvenKernelStrideTwo) {
  const auto image = tensor(1, 1, 5, 1, {1, 2, 3, 4, 5}), e = tensor(1, 1, 3, 1, {1, 2, 3});
  const auto weights = tensor(1, 1, 2, 1, {1, 10});
  const auto at_0 = convolving(placed(2, 1, 0, 0, 2)), at_1 = convolving(placed(2, 1, 1, 0, 2));
  expect_values(convolution(at_0, image, weights, {0}, {}, 1, 3).v, {10, 32, 54});
  expect_values(convolution_gradient_data({at_0}, e, weights, 1, 5).v, {10, 2, 20, 3, 30});
  expect_values(convolution_gradient_weights({at_0}, e, image).weights.v, {16, 22});
  expect_values(convolution_gradient_weights({at_0}, e, image).biases, {6});
  expect_values(convolution(at_1, image, weights, {0}, {}, 1, 3).v, {21, 43, 5});
  expect_values(convolution_gradient_data({at_1}, e, weights, 1, 5).v, {1, 10, 2, 20, 3});
  expect_values(convolution_gradient_weights({at_1}, e, image).weights.v, {22, 10});
  expect_values(convolution_gradient_weights({at_1}, e, image).biases, {6});
}

TEST(SpecConvolution14, E3TwoDimensionalDilated) {
  const auto op = convolving(placed(2, 2, 1, 1, 1, 1, 2, 1));
  const auto image = tensor(1, 2, 4, 2, {1, -1, 2, 0, 3, 1, 4, 2, 5, 3, 6, 4, 7, 5, 8, 6});
  const auto weights = tensor(2, 2, 2, 2, {1, 0, 2, 0, 0, 1, 0, -1, .5, .5, 0, 0, 0, 0, -1, 2});
  const auto e = tensor(1, 1, 2, 2, {1, 2, -1, 3});
  expect_values(convolution(op, image, weights, {0, 1}, {}, 1, 2).v, {5, 4, 8, 6});
  expect_values(convolution_gradient_data({op}, e, weights, 2, 4).v,
                {2, 1, 0.5, 1.5, 2, 0, -2, 0, 0, 1, 0, -1, -2, 3, -3, 7});
  const auto g = convolution_gradient_weights({op}, e, image);
  expect_values(g.weights.v, {-1, -1, -1, -1, -1, -1, -1, -1, 8, -2, 18, 8, 28, 18, 38, 28});
  expect_values(g.biases, {0, 5});
}

TEST(SpecConvolution14, E4Groups) {
  const auto op = convolving({}, 2);
  const auto image = tensor(1, 1, 1, 8, {1, 2, 3, 4, 5, 6, 7, 8}), e = filled(1, 1, 1, 8, 1);
  auto weights = filled(8, 1, 1, 4);
  for_each(weights,
           [&](int k, int, int, int c) { weights(k, 0, 0, c) = c % 2 == 0 ? k + 1 : -k - 1; });
  expect_values(convolution(op, image, weights, {}, {}, 1, 1).v,
                {-2, -4, -6, -8, -10, -12, -14, -16});
  expect_values(convolution_gradient_data({op}, e, weights, 1, 1).v,
                {10, -10, 10, -10, 26, -26, 26, -26});
  expect_values(convolution_gradient_weights({op}, e, image).weights.v,
                {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4,
                 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8});
}

TEST(SpecConvolution14, E5Depthwise) {
  const auto op = convolving(placed(3, 1, 0, 0), 2);
  const auto image = tensor(1, 1, 3, 2, {1, 10, 2, 20, 3, 30});
  const auto weights = tensor(2, 1, 3, 1, {1, 2, 3, -1, 0, 1});
  const auto e = tensor(1, 1, 3, 2, {1, 1, 2, 0, 0, 3});
  expect_values(convolution(op, image, weights, {0, 0}, {}, 1, 3).v, {8, 20, 14, 20, 8, -20});
  expect_values(convolution_gradient_data({op}, e, weights, 1, 3).v, {4, 0, 7, -2, 6, 0});
  const auto g = convolution_gradient_weights({op}, e, image);
  expect_values(g.weights.v, {2, 5, 8, 60, 100, 20});
  expect_values(g.biases, {3, 4});
}

TEST(SpecConvolution14, E6FullyConnected) {
  const auto op = convolving({.kernelWidth = 2, .kernelHeight = 2});
  const auto image = tensor(1, 2, 2, 1, {1, 2, 3, 4}), e = tensor(1, 1, 1, 2, {1, -2});
  const auto weights = tensor(2, 2, 2, 1, {1, 0, 0, 1, .5, -.5, 2, 0});
  expect_values(convolution(op, image, weights, {10, 20}, {}, 1, 1).v, {15, 25.5});
  expect_values(convolution_gradient_data({op}, e, weights, 2, 2).v, {0, 1, -4, 1});
  const auto g = convolution_gradient_weights({op}, e, image);
  expect_values(g.weights.v, {1, 2, 3, 4, -2, -4, -6, -8});
  expect_values(g.biases, {1, -2});
}

TEST(Convolution, EndsWithTheActivation) {
  const auto image = tensor(1, 1, 2, 1, {1, -1}), weights = tensor(2, 1, 1, 1, {1, 3});
  const auto prelu = convolving({}, 1, {.type = Type::PReLU});
  expect_values(convolution(prelu, image, weights, {0, 1}, {0.5, 0.25}, 1, 2).v,
                {1, 4, -0.5, -0.5});
}

TEST(Convolution, GradientsAgainstDifferences) {
  int even = 0, dilated = 0, strided = 0, grouped = 0, negative = 0, clamps = 0;
  for (std::uint64_t seed = 1; seed <= 48; ++seed) {
    Dice dice{seed};
    const auto op = convolving(random_window(dice, 3, 3), dice(1, 3));
    const Window& w = op.window;
    const int h = dice(3, 7), width = dice(3, 7), out_h = dice(1, 4), out_w = dice(1, 4);
    const int inputs = dice(1, 2), outputs = op.groups * dice(1, 2);
    const auto image = random(2, h, width, inputs * op.groups, seed);
    const auto weights = random(outputs, w.kernelHeight, w.kernelWidth, inputs, seed + 100);
    const auto biases = random_values(static_cast<std::size_t>(outputs), seed + 200);
    const auto e = random(2, out_h, out_w, outputs, seed + 300);
    const auto objective = [&](const Tensor& i, const Tensor& k, const Values& b) {
      return dot(convolution(op, i, k, b, {}, out_h, out_w).v, e.v);
    };
    const auto with = [](Tensor t, const Values& v) {
      t.v = v;
      return t;
    };
    const auto text = describe(w) + " groups " + std::to_string(op.groups);
    expect_gradient(
        convolution_gradient_data({op}, e, weights, h, width).v,
        [&](const Values& x) { return objective(with(image, x), weights, biases); }, image.v,
        "data " + text);
    const auto g = convolution_gradient_weights({op}, e, image);
    expect_gradient(
        g.weights.v, [&](const Values& x) { return objective(image, with(weights, x), biases); },
        weights.v, "weights " + text);
    expect_gradient(
        g.biases, [&](const Values& x) { return objective(image, weights, x); }, biases,
        "biases " + text);
    even += w.kernelWidth % 2 == 0;
    dilated += w.dilationX > 1 && w.kernelWidth > 1;
    strided += w.strideY > 1;
    grouped += op.groups > 1;
    negative += w.padLeft < 0;
    clamps += w.clampEdges;
  }
  for (const int seen : {even, dilated, strided, grouped, negative, clamps}) EXPECT_GT(seen, 8);
}

}  // namespace
}  // namespace cermet::oracle
