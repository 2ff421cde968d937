// The oracle against the numbers of the specification, and its gradients against differences.
// Every expected number of a test named after an example is typed from the specification's page.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "../harness/compare.h"
#include "../harness/random.h"
#include "arithmetic.h"
#include "batch_normalization.h"
#include "convolution.h"
#include "differences.h"
#include "dropout.h"
#include "loss.h"
#include "neuron.h"
#include "normalization.h"
#include "optimizer.h"
#include "pooling.h"
#include "softmax.h"

namespace cermet::oracle {
namespace {

using Values = std::vector<double>;
using Type = CNNNeuronType;

/// The examples carry ten significant digits or twelve decimals.
void expect_values(const Values& got, const Values& wanted, const std::string& what = "",
                   double relative = 1e-9) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], wanted[i], relative * std::abs(wanted[i]) + 1e-12)
        << what << " [" << i << "]";
}

Values scaled(Values values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}
double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b.at(i);
  return sum;
}

/// `analytic` against differences of `objective(x)`, to 1e-7 of the largest derivative.
template <class Objective>
void expect_gradient(const Values& analytic, Objective objective, const Values& x,
                     const std::string& what = "") {
  const Values numeric = gradient_by_differences(objective, x);
  ASSERT_EQ(analytic.size(), numeric.size()) << what;
  double largest = 1e-3;
  for (const double value : numeric) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < numeric.size(); ++i)
    ASSERT_NEAR(analytic[i], numeric[i], 1e-7 * largest) << what << " [" << i << "]";
}

/// A window by the specification's `offset`, which names the centre tap.
Window placed(int kernel_w, int kernel_h, int offset_x, int offset_y, int stride_x = 1,
              int stride_y = 1, int dilation_x = 1, int dilation_y = 1) {
  Window w{.kernelWidth = kernel_w, .kernelHeight = kernel_h};
  w.strideX = stride_x;
  w.strideY = stride_y;
  w.dilationX = dilation_x;
  w.dilationY = dilation_y;
  w.padLeft = ((kernel_w - 1) * dilation_x + 1) / 2 - offset_x;
  w.padTop = ((kernel_h - 1) * dilation_y + 1) / 2 - offset_y;
  return w;
}
Window clamped(Window w) {
  w.clampEdges = 1;
  return w;
}
std::string describe(const Window& w) {
  std::string text = "window";
  for (const int value : {w.kernelWidth, w.kernelHeight, w.strideX, w.strideY, w.padLeft, w.padTop,
                          w.dilationX, w.dilationY, w.clampEdges})
    text += " " + std::to_string(value);
  return text;
}

/// Small random integers.
struct Dice {
  std::uint64_t state;
  int operator()(int low, int high) {
    return low + static_cast<int>(random_word(state) % static_cast<std::uint64_t>(high - low + 1));
  }
};
/// Odd and even windows, strides, dilations, negative pads, both edge rules.
Window random_window(Dice& dice, int largest_stride, int largest_dilation) {
  Window w{.kernelWidth = dice(1, 4), .kernelHeight = dice(1, 4)};
  w.strideX = dice(1, largest_stride);
  w.strideY = dice(1, largest_stride);
  w.dilationX = dice(1, largest_dilation);
  w.dilationY = dice(1, largest_dilation);
  w.padLeft = dice(-2, 3);
  w.padTop = dice(-2, 3);
  w.clampEdges = dice(0, 1);
  return w;
}

// ---------------------------------------------------------------------------- tensor, differences

TEST(OracleTensor, ReadsOutsideByTheEdgeRule) {
  const auto t = tensor(1, 2, 3, 1, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(read(t, 0, 1, 2, 0, EdgeRule::Zero), 6);
  EXPECT_EQ(read(t, 0, -1, 1, 0, EdgeRule::Zero), 0);
  EXPECT_EQ(read(t, 0, 1, 3, 0, EdgeRule::Zero), 0);
  EXPECT_EQ(read(t, 0, -5, 1, 0, EdgeRule::Clamp), 2);
  EXPECT_EQ(read(t, 0, 7, 9, 0, EdgeRule::Clamp), 6);
  EXPECT_THROW(static_cast<void>(t(1, 0, 0, 0)), std::out_of_range);
}

TEST(OracleTensor, ScatterIsTheAdjointOfRead) {
  for (const auto edge : {EdgeRule::Zero, EdgeRule::Clamp}) {
    auto back = filled(1, 2, 3, 1);
    scatter(back, 0, -4, 5, 0, 2.5, edge);
    scatter(back, 0, 1, 1, 0, 1.5, edge);
    EXPECT_EQ(back(0, 0, 2, 0), edge == EdgeRule::Clamp ? 2.5 : 0);
    EXPECT_EQ(back(0, 1, 1, 0), 1.5);
  }
}

TEST(OracleTensor, SplitMix64MatchesThePublishedSequence) {
  std::uint64_t state = 1234567;
  EXPECT_EQ(random_word(state), 6457827717110365317U);
  EXPECT_EQ(random_word(state), 3203168211198807973U);
  EXPECT_EQ(random_word(state), 9817491932198370423U);
}

TEST(Differences, OfACubic) {
  const auto f = [](const Values& x) { return x[0] * x[0] * x[0] + 2 * x[0] * x[1]; };
  EXPECT_NEAR(central_difference(f, {2, 5}, 1, 1e-5), 4, 1e-9);
  expect_values(gradient_by_differences(f, {2, 5}), {22, 4}, "", 1e-8);
}

// ------------------------------------------------------------------------------------ convolution

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

// ---------------------------------------------------------------------------------------- neurons

struct NeuronRow {
  const char* name;
  NeuronFunction f;
  Values value, derivative;
};
// The examples' x = -2, -0.5, 0, 0.5, 2.
const std::vector<NeuronRow>& neuron_rows() {
  static const std::vector<NeuronRow> rows{
      {"ReLU a=0.1", {Type::ReLU, 0.1, 0, 0}, {-0.2, -0.05, 0, 0.5, 2}, {0.1, 0.1, 1, 1, 1}},
      {"Linear 2,-1", {Type::Linear, 2, -1, 0}, {-5, -2, -1, 0, 3}, {2, 2, 2, 2, 2}},
      {"Sigmoid",
       {Type::Sigmoid, 0, 0, 0},
       {0.119202922, 0.3775406688, 0.5, 0.6224593312, 0.880797078},
       {0.1049935854, 0.2350037122, 0.25, 0.2350037122, 0.1049935854}},
      {"HardSigmoid 0.2,0.5",
       {Type::HardSigmoid, 0.2, 0.5, 0},
       {0.1, 0.4, 0.5, 0.6, 0.9},
       {0.2, 0.2, 0.2, 0.2, 0.2}},
      {"TanH 1.5,0.5",
       {Type::TanH, 1.5, 0.5, 0},
       {-1.142391234, -0.3673779936, 0, 0.3673779936, 1.142391234},
       {0.3149807562, 0.7050111366, 0.75, 0.7050111366, 0.3149807562}},
      {"Absolute", {Type::Absolute, 0, 0, 0}, {2, 0.5, 0, 0.5, 2}, {-1, -1, 0, 1, 1}},
      {"SoftPlus 1,1",
       {Type::SoftPlus, 1, 1, 0},
       {0.126928011, 0.4740769842, 0.6931471806, 0.9740769842, 2.126928011},
       {0.119202922, 0.3775406688, 0.5, 0.6224593312, 0.880797078}},
      {"SoftPlus 0.5,2",
       {Type::SoftPlus, 0.5, 2, 0},
       {0.009074963959, 0.1566308438, 0.3465735903, 0.6566308438, 2.009074964},
       {0.01798620996, 0.2689414214, 0.5, 0.7310585786, 0.98201379}},
      {"SoftSign",
       {Type::SoftSign, 0, 0, 0},
       {-0.6666666667, -0.3333333333, 0, 0.3333333333, 0.6666666667},
       {0.1111111111, 0.4444444444, 1, 0.4444444444, 0.1111111111}},
      {"ELU a=1",
       {Type::ELU, 1, 0, 0},
       {-0.8646647168, -0.3934693403, 0, 0.5, 2},
       {0.1353352832, 0.6065306597, 1, 1, 1}},
      {"ReLUN 0.25,1", {Type::ReLUN, 0.25, 1, 0}, {-0.5, -0.125, 0, 0.5, 1}, {0.25, 0.25, 1, 1, 0}},
      {"Power 1,3,2", {Type::Power, 1, 3, 2}, {1, 6.25, 9, 12.25, 25}, {2, 5, 6, 7, 10}},
      {"Power 1,0,2", {Type::Power, 1, 0, 2}, {4, 0.25, 0, 0.25, 4}, {-4, -1, 0, 1, 4}},
      {"Exponential 1,0,-1",
       {Type::Exponential, 1, 0, -1},
       {0.1353352832, 0.6065306597, 1, 1.648721271, 7.389056099},
       {0.1353352832, 0.6065306597, 1, 1.648721271, 7.389056099}},
      {"Exponential 1,1,2",
       {Type::Exponential, 1, 1, 2},
       {0.5, 1.414213562, 2, 2.828427125, 8},
       {0.3465735903, 0.9802581435, 1.386294361, 1.960516287, 5.545177444}},
      {"Logarithm 1,3,-1",
       {Type::Logarithm, 1, 3, -1},
       {0, 0.9162907319, 1.098612289, 1.252762968, 1.609437912},
       {1, 0.4, 0.3333333333, 0.2857142857, 0.2}},
      {"Logarithm 1,3,10",
       {Type::Logarithm, 1, 3, 10},
       {0, 0.3979400087, 0.4771212547, 0.5440680444, 0.6989700043},
       {0.4342944819, 0.1737177928, 0.1447648273, 0.1240841377, 0.08685889638}},
      {"GeLU",
       {Type::GeLU, 0, 0, 0},
       {-0.0455002639, -0.1542687694, 0, 0.3457312306, 1.954499736},
       {-0.08523180108, 0.1325048753, 0.5, 0.8674951247, 1.085231801}},
  };
  return rows;
}

TEST(SpecPointwise15, Example1NeuronTable) {
  for (const auto& row : neuron_rows()) {
    Values value, derivative;
    for (const double x : {-2.0, -0.5, 0.0, 0.5, 2.0}) {
      value.push_back(row.f.value(x));
      derivative.push_back(row.f.derivative(x));
    }
    expect_values(value, row.value, row.name);
    expect_values(derivative, row.derivative, row.name);
  }
  const NeuronFunction hard{Type::HardSigmoid, 0.2, 0.5, 0};
  for (const double s : {-1.0, 1.0}) {
    EXPECT_EQ(hard.derivative(s * 2.5), 0.2);
    EXPECT_EQ(hard.derivative(s * 2.5001), 0);
  }
}

TEST(SpecPointwise15, Example2PReLU) {
  const Neuron op{.activation = {.type = Type::PReLU}};
  const Values slopes{0.1, 0.2, 0.5};
  const auto x = tensor(1, 1, 2, 3, {-1, -2, 3, 4, -5, -6}),
             g = tensor(1, 1, 2, 3, {1, 2, 3, 4, 5, 6});
  expect_values(neuron(op, x, slopes).v, {-0.1, -0.4, 3, 4, -1, -3});
  expect_values(neuron_gradient({op}, g, x, slopes).v, {0.1, 0.4, 3, 4, 1, 3});
}

TEST(SpecPointwise1, KinksAndDomain) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto derivative = [](Type type, double a, double b, double x) {
    return NeuronFunction{type, a, b, 0}.derivative(x);
  };
  EXPECT_EQ(derivative(Type::ReLU, 0, 0, 0), 1);  // 1.4
  EXPECT_EQ(derivative(Type::PReLU, 0.3, 0, 0), 1);
  EXPECT_EQ(derivative(Type::ELU, 0.3, 0, 0), 1);
  EXPECT_EQ(derivative(Type::Absolute, 0, 0, 0), 0);
  EXPECT_EQ(derivative(Type::ReLUN, 0, 6, 6), 0);
  EXPECT_EQ((NeuronFunction{Type::Power, 2, 1, 0}.derivative(-0.5)), 0);  // 1.6
  EXPECT_EQ((NeuronFunction{Type::Power, 2, 1, 1}.derivative(-0.5)), 2);
  for (int t = 0; t < 16; ++t)  // 1.8
    EXPECT_TRUE(std::isnan(NeuronFunction{static_cast<Type>(t), 1, 1, 2}.value(nan))) << t;
  EXPECT_NEAR((NeuronFunction{Type::Sigmoid}.derivative(-800)), 0, 1e-300);
  EXPECT_EQ((NeuronFunction{Type::SoftPlus, 1, 1, 0}.value(1000)), 1000);
}

TEST(Neuron, DerivativesAgainstDifferences) {
  std::vector<NeuronRow> rows = neuron_rows();
  rows.push_back({"None", {}, {}, {}});
  rows.push_back({"PReLU", {Type::PReLU, -0.7, 0, 0}, {}, {}});
  rows.push_back({"ReLUN negative slope", {Type::ReLUN, -2, 1, 0}, {}, {}});
  rows.push_back({"Power 0.5,3,1.7", {Type::Power, 0.5, 3, 1.7}, {}, {}});
  for (const auto& row : rows)
    for (const double x : random_values(40, 7, -2.5, 2.5)) {
      const auto f = [&](const Values& v) { return row.f.value(v[0]); };
      EXPECT_NEAR(row.f.derivative(x), central_difference(f, {x}, 0),
                  1e-7 * std::max(1.0, std::abs(row.f.derivative(x))))
          << row.name << " at " << x;
    }
}

// --------------------------------------------------------------------------------------- soft-max

TEST(SpecPointwise15, Example3SoftMax) {
  const auto x = tensor(1, 1, 1, 3, {1, 2, 3}), g = tensor(1, 1, 1, 3, {1, 0, -1});
  const auto y = soft_max({}, x);
  expect_values(y.v, {0.0900305732, 0.2447284711, 0.6652409558});
  expect_values(soft_max_gradient({}, g, y).v, {0.1418170936, 0.1407703575, -0.2825874511});
}

TEST(SpecPointwise15, Example4LogSoftMax) {
  const SoftMax op{.logarithmic = 1};
  const auto y = soft_max(op, tensor(1, 1, 1, 3, {1, 2, 3}));
  expect_values(y.v, {-2.4076059644, -1.4076059644, -0.4076059644});
  expect_values(soft_max_gradient({op}, tensor(1, 1, 1, 3, {1, 0, -1}), y).v, {1, 0, -1});
  expect_values(soft_max_gradient({op}, tensor(1, 1, 1, 3, {0, 0, -1}), y).v,
                {0.0900305732, 0.2447284711, -0.3347590442});
}

TEST(SoftMax, GradientsAgainstDifferences) {
  for (const int logarithmic : {0, 1})
    for (const int channels : {1, 2, 5}) {
      const SoftMax op{.logarithmic = logarithmic};
      const auto x = random(2, 3, 2, channels, 11, -3, 3), g = random(2, 3, 2, channels, 12);
      expect_gradient(
          soft_max_gradient({op}, g, soft_max(op, x)).v,
          [&](const Values& v) { return dot(soft_max(op, tensor(2, 3, 2, channels, v)).v, g.v); },
          x.v);
    }
}

// ------------------------------------------------------------------------------------- arithmetic

const Tensor no_tensor;

TEST(SpecPointwise15, Example5MultiplyPerChannel) {
  const auto x = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = tensor(1, 1, 1, 2, {10, -1});
  const auto g = tensor(1, 2, 2, 2, {1, 1, 2, 2, 3, 3, 4, 4});
  Arithmetic op{.kind = ArithmeticKind::multiply};
  op.primaryScale = 2;
  op.secondaryScale = 0.5F;
  op.bias = 1;
  expect_values(arithmetic(op, x, y).destination.v, {11, -1, 31, -3, 51, -5, 71, -7});
  ArithmeticGradient back{.kind = ArithmeticKind::multiply};
  back.primaryScale = 2;
  back.secondaryScale = 0.5F;
  expect_values(arithmetic_gradient(back, g, y, no_tensor, 2, 2, 2).v,
                {10, -1, 20, -2, 30, -3, 40, -4});
  expect_values(arithmetic_gradient(back, g, x, no_tensor, 1, 1, 2).v, {50, 60});
}

TEST(SpecPointwise15, Example5SubtractAndAdd) {
  const auto x = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = tensor(1, 1, 1, 2, {10, -1});
  const auto g = tensor(1, 2, 2, 2, {1, 1, 2, 2, 3, 3, 4, 4});
  Arithmetic op{.kind = ArithmeticKind::subtract};
  op.secondaryScale = 3;
  expect_values(arithmetic(op, x, y).destination.v, {-29, 5, -27, 7, -25, 9, -23, 11});
  ArithmeticGradient back{.kind = ArithmeticKind::subtract};
  expect_values(arithmetic_gradient(back, g, no_tensor, no_tensor, 2, 2, 2).v, g.v);
  back.primaryScale = -3;  // what a graph sets for the secondary side
  expect_values(arithmetic_gradient(back, g, no_tensor, no_tensor, 1, 1, 2).v, {-30, -30});
  back.primaryScale = -1;  // the secondary filter's default
  expect_values(arithmetic_gradient(back, g, no_tensor, no_tensor, 1, 1, 2).v, {-10, -10});
  expect_values(arithmetic({}, x, filled(1, 1, 1, 1, 1)).destination.v, {2, 3, 4, 5, 6, 7, 8, 9});
  expect_values(arithmetic_gradient({}, g, no_tensor, no_tensor, 2, 2, 2).v, g.v);
  expect_values(arithmetic_gradient({}, g, no_tensor, no_tensor, 1, 1, 1).v, {20});
}

TEST(SpecPointwise15, Example6DivideByAColumn) {
  const auto x = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8}), y = tensor(1, 2, 1, 1, {2, 4});
  const Arithmetic op{.kind = ArithmeticKind::divide};
  expect_values(arithmetic(op, x, y).destination.v, {0.5, 1, 1.5, 2, 1.25, 1.5, 1.75, 2});
}

TEST(SpecPointwise15, Example7ClampMask) {
  Arithmetic op;
  op.minimumValue = 0;
  op.maximumValue = 3;
  const auto z = arithmetic(op, tensor(1, 1, 4, 1, {-3, 0.5, 2, 4}), filled(1, 1, 4, 1, 1));
  expect_values(z.destination.v, {0, 1.5, 3, 3});
  expect_values(z.mask.v, {0, 1, 0, 0});
  const auto g = tensor(1, 1, 4, 1, {10, 20, 30, 40});
  expect_values(arithmetic_gradient({}, g, no_tensor, z.mask, 1, 4, 1).v, {0, 20, 0, 0});
}

TEST(SpecPointwise8, DefaultLimitsLetInfinityAndNaNPass) {
  Arithmetic op{.kind = ArithmeticKind::divide};
  const auto x = tensor(1, 1, 3, 1, {1, -1, 0}), y = filled(1, 1, 3, 1, 0);
  const auto open = arithmetic(op, x, y);
  EXPECT_EQ(open.destination.v[0], std::numeric_limits<double>::infinity());
  EXPECT_EQ(open.destination.v[1], -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(open.destination.v[2]));
  expect_values(open.mask.v, {1, 1, 1});
  op.maximumValue = 5;
  const auto limited_above = arithmetic(op, x, y);
  EXPECT_EQ(limited_above.destination.v[0], 5);
  EXPECT_EQ(limited_above.destination.v[1], -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(limited_above.destination.v[2]));
  expect_values(limited_above.mask.v, {0, 1, 0});
  op.minimumValue = 7;  // above the maximum: the maximum wins
  EXPECT_EQ(arithmetic(op, filled(1, 1, 1, 1, 1), filled(1, 1, 1, 1, 1)).destination.v[0], 5);
}

TEST(Arithmetic, GradientsAgainstDifferences) {
  using Kind = ArithmeticKind;
  const std::array<std::array<int, 3>, 5> extents{
      {{3, 2, 5}, {1, 1, 5}, {3, 1, 1}, {1, 2, 5}, {1, 1, 1}}};
  std::uint64_t seed = 0;
  for (const auto kind : {Kind::add, Kind::subtract, Kind::multiply})
    for (const auto& a : extents)
      for (const auto& b : extents) {
        ++seed;
        Arithmetic op{.kind = kind};
        op.primaryScale = 1.5F;
        op.secondaryScale = -0.75F;
        op.bias = 0.25F;
        op.minimumValue = -0.5F;
        op.maximumValue = 0.75F;
        const auto x = random(2, a[0], a[1], a[2], seed),
                   y = random(2, b[0], b[1], b[2], seed + 500);
        const auto z = arithmetic(op, x, y);
        const auto g = random(2, z.mask.h, z.mask.w, z.mask.c, seed + 900);
        // The settings of the specification's table in pointwise 11.
        const bool multiply = kind == Kind::multiply;
        ArithmeticGradient left{.kind = kind}, right{.kind = kind};
        left.primaryScale = op.primaryScale;
        right.primaryScale = multiply                 ? op.primaryScale
                             : kind == Kind::subtract ? -op.secondaryScale
                                                      : op.secondaryScale;
        left.secondaryScale = right.secondaryScale = op.secondaryScale;
        const auto objective = [&](const Values& v, const Values& w) {
          return dot(arithmetic(op, tensor(2, a[0], a[1], a[2], v), tensor(2, b[0], b[1], b[2], w))
                         .destination.v,
                     g.v);
        };
        const auto text = "pair " + std::to_string(seed);
        expect_gradient(
            arithmetic_gradient(left, g, y, z.mask, a[0], a[1], a[2]).v,
            [&](const Values& v) { return objective(v, y.v); }, x.v, text + " left");
        expect_gradient(
            arithmetic_gradient(right, g, x, z.mask, b[0], b[1], b[2]).v,
            [&](const Values& v) { return objective(x.v, v); }, y.v, text + " right");
      }
}

// ---------------------------------------------------------------------------------------- dropout

TEST(Dropout, PhiloxKnownAnswers) {
  // The three vectors that the authors of the generator publish for philox4x32 with 10 rounds.
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SpecRnnMatrixB9, R2ePhiloxWords) {
  const auto block = [](std::uint32_t seed, std::uint32_t number) {
    return philox4x32_10({0, 0, 0, number}, {seed, 0});
  };
  EXPECT_EQ(block(0, 1), (PhiloxBlock{0x2dce73e5, 0x1348e23f, 0xfcf8e0ec, 0xa287aadb}));
  EXPECT_EQ(block(1, 0), (PhiloxBlock{0xe3e80670, 0xe50a0ebc, 0x95f222c0, 0xb615aa27}));
  EXPECT_EQ(block(1, 1), (PhiloxBlock{0x127bee41, 0x1e047488, 0x48842b20, 0x0a393496}));
  EXPECT_EQ(block(42, 0), (PhiloxBlock{0x9ceaf053, 0x77f5493b, 0x12bf50ad, 0x5742b3d7}));
}

TEST(SpecPointwise15, Example8GivenMask) {
  const Dropout op{.keepProbability = 0.8F};  // a float: 1 / 0.8F is 1.25 to 2e-8
  const auto mask = tensor(1, 1, 4, 1, {1, 0, 1, 1});
  expect_values(apply_dropout_mask(op, tensor(1, 1, 4, 1, {1, 2, 3, 4}), mask).v,
                {1.25, 0, 3.75, 5}, "", 2e-8);
  expect_values(dropout_gradient({op}, tensor(1, 1, 4, 1, {1, 1, 1, 2}), mask).v,
                {1.25, 0, 1.25, 2.5}, "", 2e-8);
}

TEST(SpecPointwise15, Example8Statistics) {
  const Dropout op{.keepProbability = 0.8F};
  const Dropout::Scalars first{.seed = 5, .encode = 0};
  const auto mask = dropout_mask(op, first, 1, 100, 100, 100);
  double kept = 0;
  for (const double m : mask.v) kept += m;
  EXPECT_NEAR(kept / 1e6, 0.8, 0.002);
  const auto y = apply_dropout_mask(op, like(mask, 1), mask);
  double sum = 0;
  for (const double value : y.v) sum += value;
  EXPECT_NEAR(sum / 1e6, 1, 0.0025);

  const auto small = [&](std::uint64_t encode, std::uint32_t image) {
    return dropout_mask(op, {.seed = 5, .encode = encode, .first_image = image}, 1, 9, 9, 3).v;
  };
  EXPECT_NE(small(0, 0), small(0, 1));
  EXPECT_NE(small(0, 0), small(1, 0));
  EXPECT_NE(small(0, 0), small(std::uint64_t{1} << 32U, 0));
  auto pair = small(0, 6);
  const auto second = small(0, 7);
  pair.insert(pair.end(), second.begin(), second.end());
  EXPECT_EQ(dropout_mask(op, {.seed = 5, .first_image = 6}, 2, 9, 9, 3).v, pair);
}

TEST(Dropout, MaskElementsFollowTheCounterLayout) {
  // Element e of image n is word e % 4 of counter {e / 4, first image + n, encode low, encode
  // high}.
  const Dropout op{.keepProbability = 0.5F};
  const Dropout::Scalars s{
      .seed = 0x299f31d0a4093822U, .encode = 0x0370734413198a2eU, .first_image = 3};
  const auto mask = dropout_mask(op, s, 2, 1, 2, 3);
  for (std::uint32_t n = 0; n < 2; ++n)
    for (std::uint32_t e = 0; e < 6; ++e) {
      const auto words =
          philox4x32_10({e / 4, 3 + n, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
      EXPECT_EQ(mask.v[n * 6 + e], (words.at(e % 4) >> 31U) == 0 ? 1 : 0);  // u < 0.5
    }
}

TEST(Dropout, SharedAxesShiftAndInfinity) {
  Dropout op{.keepProbability = 0.5F};
  op.maskStrideX = op.maskStrideY = 0;
  const auto whole_channels = dropout_mask(op, {.seed = 9}, 2, 4, 5, 32);
  EXPECT_EQ(whole_channels.h * whole_channels.w, 1);
  const auto y = dropout(op, {.seed = 9}, filled(2, 4, 5, 32, 3));
  for_each(y, [&](int n, int j, int i, int c) {
    EXPECT_EQ(y(n, j, i, c), whole_channels(n, 0, 0, c) * 6);
  });
  DropoutGradient back{.forward = {.keepProbability = 0.5F}};
  back.shiftX = 1;
  const auto mask = tensor(1, 1, 3, 1, {0, 1, 1});
  expect_values(dropout_gradient(back, tensor(1, 1, 3, 1, {1, 2, 3}), mask).v, {2, 4, 0});
  const double infinity = std::numeric_limits<double>::infinity();
  expect_values(dropout_gradient(back, filled(1, 1, 3, 1, infinity), like(mask)).v, {0, 0, 0});
  const Dropout identity{.keepProbability = 1};
  const auto x = random(1, 5, 5, 5, 3);
  EXPECT_EQ(dropout(identity, {}, x).v, x.v);
}

// ---------------------------------------------------------------------------------------- pooling

Tensor counting(int h, int w) {
  auto t = filled(1, h, w, 1);
  for (std::size_t i = 0; i < t.v.size(); ++i) t.v[i] = static_cast<double>(i + 1);
  return t;
}

TEST(SpecPooling1_1, Item6AndCore10_5AverageTwoByTwo) {
  expect_values(pooling_average({.window = placed(2, 2, 0, 0)}, counting(3, 3), 3, 3).v,
                {0.25, 0.75, 1.25, 1.25, 3, 4, 2.75, 6, 7});
}

TEST(SpecPooling1_3, Item1CornerDividesByTheWholeWindow) {
  for (const int band : {0, 1}) {
    const PoolingAverage op{
        .window = placed(3, 3, 0, 0), .zeroPadSizeX = band, .zeroPadSizeY = band};
    expect_values(pooling_average(op, counting(3, 3), 1, 1).v, {12.0 / 9});
  }
}

TEST(SpecCore10_5, PoolingCheckFiveByFive) {
  const auto row_0 = [](const Window& window) {
    auto out = pooling_average({.window = window}, counting(5, 5), 3, 3).v;
    out.resize(3);
    return out;
  };
  expect_values(row_0(placed(2, 2, 0, 0, 2, 2)), {0.25, 1.25, 2.25});
  expect_values(row_0(clamped(placed(2, 2, 0, 0, 2, 2))), {1, 2.5, 4.5});
  expect_values(row_0(placed(2, 2, 1, 1, 2, 2)), {4, 6, 3.75});
  expect_values(row_0(clamped(placed(2, 2, 1, 1, 2, 2))), {4, 6, 7.5});
}

TEST(SpecPooling15, Example1Average) {
  const auto source = counting(4, 4);
  const auto ones = filled(1, 3, 3, 1, 1);
  const auto check = [&](const Window& window, int band, const Values& result,
                         const Values& back_36) {
    const PoolingAverage op{.window = window, .zeroPadSizeX = band, .zeroPadSizeY = band};
    expect_values(pooling_average(op, source, 3, 3).v, result);
    const PoolingAverageGradient back{.forward = op, .sourceWidth = 4, .sourceHeight = 4};
    expect_values(scaled(pooling_average_gradient(back, ones, 4, 4).v, 36), back_36);
  };
  const auto window = placed(3, 3, 0, 0, 2, 2);
  check(window, 0, {14. / 9, 10. / 3, 4. / 3, 19. / 3, 11, 4, 3, 5, 16. / 9},
        {4, 8, 4, 8, 8, 16, 8, 16, 4, 8, 4, 8, 8, 16, 8, 16});
  check(clamped(window), 0, {3.5, 5, 6, 9.5, 11, 12, 13.5, 15, 16},
        {9, 15, 6, 24, 15, 25, 10, 40, 6, 10, 4, 16, 24, 40, 16, 64});
  check(clamped(window), 1, {14. / 9, 10. / 3, 2, 19. / 3, 11, 6, 4.5, 7.5, 4},
        {4, 8, 4, 10, 8, 16, 8, 20, 4, 8, 4, 10, 10, 20, 10, 25});
  expect_values(scaled(pooling_average({.window = placed(2, 2, 0, 0)}, source, 4, 4).v, 4),
                {1, 3, 5, 7, 6, 14, 18, 22, 14, 30, 34, 38, 22, 46, 50, 54});
}

TEST(SpecPooling15, Example2Max) {
  const auto source = tensor(1, 3, 3, 1, scaled(counting(3, 3).v, -1)), g = counting(3, 3);
  const PoolingMax zero{.window = placed(3, 3, 0, 0)}, clamp{.window = clamped(zero.window)};
  expect_values(pooling_max(zero, source, 3, 3).v, {0, 0, 0, 0, -1, 0, 0, 0, 0});
  expect_values(pooling_max_gradient({zero}, g, source, 3, 3).v, {5, 0, 0, 0, 0, 0, 0, 0, 0});
  expect_values(pooling_max(clamp, source, 3, 3).v, {-1, -1, -2, -1, -1, -2, -4, -4, -5});
  expect_values(pooling_max_gradient({clamp}, g, source, 3, 3).v, {12, 9, 0, 15, 9, 0, 0, 0, 0});
}

TEST(SpecPooling15, Example2Ties) {
  const auto source = tensor(1, 2, 2, 1, {5, 5, 5, 1});
  const PoolingMax op{.window = placed(2, 2, 1, 1, 2, 2)};
  expect_values(pooling_max_gradient({op}, filled(1, 1, 1, 1, 7), source, 2, 2).v, {7, 0, 0, 0});
}

TEST(SpecPooling15, Example3DilatedMax) {
  const auto source = tensor(1, 1, 8, 1, {3, 9, 1, 4, 8, 2, 7, 5});
  const PoolingMax op{.window = placed(2, 1, 2, 0, 2, 1, 3)};
  expect_values(pooling_max(op, source, 1, 3).v, {4, 2, 8});
  expect_values(pooling_max_gradient({op}, tensor(1, 1, 3, 1, {10, 20, 30}), source, 1, 8).v,
                {0, 0, 0, 10, 30, 20, 0, 0});
}

TEST(SpecPooling15, Example5DestinationMapping) {
  const PoolingAverage op{.window = placed(2, 1, 2, 0, 2)};
  const auto source = counting(1, 6), g = tensor(1, 1, 2, 1, {2, 4});
  expect_values(pooling_average(op, source, 1, 2).v, {2.5, 4.5});
  PoolingAverageGradient back{.forward = op, .sourceWidth = 6, .sourceHeight = 1};
  expect_values(pooling_average_gradient(back, g, 1, 6).v, {0, 1, 1, 2, 2, 0});
  back.originX = 1;
  expect_values(pooling_average_gradient(back, g, 1, 6).v, {1, 1, 2, 2, 0, 0});
}

TEST(SpecPooling2_2, PaddingTiesAndNaN) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const PoolingMax zero{.window = {.kernelWidth = 2, .padLeft = 1}};
  const auto g = tensor(1, 1, 1, 1, {7});
  // A zero of the image goes before the zero outside; a negative pixel loses to it (2.2(3)).
  expect_values(pooling_max_gradient({zero}, g, tensor(1, 1, 2, 1, {0, 0}), 1, 2).v, {7, 0});
  expect_values(pooling_max_gradient({zero}, g, tensor(1, 1, 2, 1, {-1, 3}), 1, 2).v, {0, 0});
  // With clamp edges an outside tap is its edge pixel, and comes first in the scan.
  const PoolingMax clamp{
      .window = {.kernelHeight = 2, .padTop = 1, .dilationY = 2, .clampEdges = 1}};
  expect_values(pooling_max_gradient({clamp}, g, tensor(1, 2, 1, 1, {5, 5}), 2, 1).v, {7, 0});
  const auto with_nan = tensor(1, 1, 4, 1, {1, nan, 9, nan});
  const PoolingMax wide{.window = {.kernelWidth = 4}};
  EXPECT_TRUE(std::isnan(pooling_max(wide, with_nan, 1, 1).v[0]));
  expect_values(pooling_max_gradient({wide}, g, with_nan, 1, 4).v, {0, 7, 0, 0});
  const double low = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(pooling_max(wide, filled(1, 1, 4, 1, low), 1, 1).v[0], low);
}

TEST(SpecPooling1, WindowsWhollyOutside) {
  Window far{.kernelWidth = 2, .padLeft = 5};
  EXPECT_EQ(pooling_max({.window = far}, filled(1, 1, 3, 1, -4), 1, 1).v[0], 0);
  EXPECT_EQ(pooling_max({.window = clamped(far)}, filled(1, 1, 3, 1, -4), 1, 1).v[0], -4);
  for (const auto& window : {far, clamped(far)})
    for (const int band : {0, 9})
      EXPECT_EQ(
          pooling_average({.window = window, .zeroPadSizeX = band}, counting(1, 3), 1, 1).v[0], 0);
}

TEST(Pooling, GradientsAgainstDifferences) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Dice dice{seed};
    const auto window = random_window(dice, 3, seed % 2 == 0 ? 2 : 1);
    const int h = dice(3, 7), w = dice(3, 7), out_h = dice(1, 5), out_w = dice(1, 5),
              c = dice(1, 3);
    const auto floats = test::distinct_floats(static_cast<std::size_t>(2 * h * w * c), seed);
    const auto source = tensor(2, h, w, c, Values(floats.begin(), floats.end()));
    const auto g = random(2, out_h, out_w, c, seed + 100);
    const PoolingMax max{.window = window};
    expect_gradient(
        pooling_max_gradient({max}, g, source, h, w).v,
        [&](const Values& x) {
          return dot(pooling_max(max, tensor(2, h, w, c, x), out_h, out_w).v, g.v);
        },
        source.v, "max " + describe(window));
    const PoolingAverage average{
        .window = window, .zeroPadSizeX = dice(0, 2), .zeroPadSizeY = dice(0, 2)};
    const PoolingAverageGradient back{.forward = average, .sourceWidth = w, .sourceHeight = h};
    expect_gradient(
        pooling_average_gradient(back, g, h, w).v,
        [&](const Values& x) {
          return dot(pooling_average(average, tensor(2, h, w, c, x), out_h, out_w).v, g.v);
        },
        source.v, "average " + describe(window));
  }
}

// ---------------------------------------------------------------------------------- normalisation

SpatialNormalization spatial(const Window& window, float alpha, float beta, float delta) {
  SpatialNormalization op{.window = window};
  op.alpha = alpha;
  op.beta = beta;
  op.delta = delta;
  return op;
}
void check_spatial(const SpatialNormalization& op, const Values& t, const Values& y,
                   const Values& d) {
  const auto source = tensor(1, 1, 3, 1, {1, 2, 3});
  for (int i = 0; i < 3; ++i)
    EXPECT_NEAR(window_energy(op, source, 0, 0, i, 0), t.at(static_cast<std::size_t>(i)), 1e-12);
  expect_values(spatial_normalization(op, source, 1, 3).v, y);
  expect_values(spatial_normalization_gradient({op}, filled(1, 1, 3, 1, 1), source).v, d);
}

TEST(SpecNormalization12, E1Spatial) {
  check_spatial(spatial(placed(3, 3, 0, 0), 9, 1, 1), {6, 15, 14},
                {0.166666666667, 0.133333333333, 0.214285714286},
                {0.093333333333, -0.141224489796, -0.073741496599});
}
TEST(SpecNormalization12, E1bSpatialEvenWindow) {
  check_spatial(spatial(placed(2, 2, 0, 0), 4, 0.5F, 1), {2, 6, 14},
                {0.707106781187, 0.816496580928, 0.801783725737},
                {0.217470627105, 0.02154223124, 0.09545044354});
}
TEST(SpecNormalization12, E1cSpatialDefaults) {
  check_spatial(SpatialNormalization{.window = placed(3, 3, 0, 0)}, {14. / 9, 23. / 9, 22. / 9},
                {0.1097924228, 0.018348618152, 0.034373234255},
                {0.023391603591, -0.194875724119, -0.059347827612});
}

TEST(SpatialNormalization, GradientAgainstDifferences) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Dice dice{seed};
    auto window = random_window(dice, 1, 1);
    const int h = dice(3, 7), w = dice(3, 7), out_h = dice(1, 7), out_w = dice(1, 7);
    const auto op = spatial(window, 1.3F, seed % 2 == 0 ? 0.75F : 5.0F, 1.5F);
    const auto source = random(2, h, w, 2, seed), g = random(2, out_h, out_w, 2, seed + 100);
    expect_gradient(
        spatial_normalization_gradient({op}, g, source).v,
        [&](const Values& x) {
          return dot(spatial_normalization(op, tensor(2, h, w, 2, x), out_h, out_w).v, g.v);
        },
        source.v, describe(window));
  }
}

TEST(SpecNormalization12, E4BatchNormalization) {
  const auto source = tensor(2, 1, 2, 1, {1, 2, 3, 6}), g = tensor(2, 1, 2, 1, {1, 0, 0, 2});
  const auto sums = batch_normalization_statistics({}, source);
  expect_values(sums.mean, {3});
  expect_values(sums.variance(), {3.5});
  const BatchNormalization op{.epsilon = 0.5F, .activation = {}};
  const BatchNormalizationArrays arrays{sums.mean, sums.variance(), {2}, {0.5}, {}};
  expect_values(batch_normalization(op, source, arrays).v, {-1.5, -0.5, 0.5, 3.5});
  const auto back = batch_normalization_statistics_gradient({op}, g, source, arrays);
  expect_values(back.beta, {3});
  expect_values(back.gamma, {2});
  expect_values(batch_normalization_gradient({op}, g, source, arrays, back, sums.count).v,
                {0.75, -0.5, -0.75, 0.5});
  const BatchNormalizationGradient frozen{.forward = op, .fixedStatistics = 1};
  expect_values(batch_normalization_gradient(frozen, g, source, arrays, back, sums.count).v,
                {1, 0, 0, 2});
}

TEST(SpecNormalization12, E4SubBatchesMerge) {
  const auto first = batch_normalization_statistics({}, tensor(1, 1, 2, 1, {1, 2}));
  expect_values(first.mean, {1.5});
  expect_values(first.m2, {0.5});
  const auto alone = batch_normalization_statistics({}, tensor(1, 1, 2, 1, {3, 6}));
  expect_values(alone.mean, {4.5});
  expect_values(alone.m2, {4.5});
  const BatchNormalizationStatistics more{.restart = 0};
  const auto both = batch_normalization_statistics(more, tensor(1, 1, 2, 1, {3, 6}), first);
  EXPECT_EQ(both.count, 4);
  expect_values(both.mean, {3});
  expect_values(both.m2, {14});
}

TEST(BatchNormalization, UnequalSubBatchesMergeToTheWhole) {
  const auto whole = random(3, 5, 1, 2, 17, -3, 4);
  const auto split = whole.v.begin() + 10;  // one image, then two
  const auto first =
      batch_normalization_statistics({}, tensor(1, 5, 1, 2, {whole.v.begin(), split}));
  const BatchNormalizationStatistics more{.restart = 0};
  const auto merged =
      batch_normalization_statistics(more, tensor(2, 5, 1, 2, {split, whole.v.end()}), first);
  const auto at_once = batch_normalization_statistics({}, whole, first);  // restart forgets `first`
  EXPECT_EQ(at_once.count, 15);
  EXPECT_EQ(merged.count, 15);
  expect_values(merged.mean, at_once.mean, "", 1e-12);
  expect_values(merged.m2, at_once.m2, "", 1e-12);
}

TEST(SpecNormalization12, E4FusedSigmoid) {
  const auto source = tensor(2, 1, 2, 1, {1, 2, 3, 6}), g = tensor(2, 1, 2, 1, {1, 0, 0, 2});
  const BatchNormalization op{.epsilon = 0.5F, .activation = {.type = Type::Sigmoid}};
  const BatchNormalizationArrays arrays{{3}, {3.5}, {2}, {0.5}, {}};
  expect_values(batch_normalization(op, source, arrays).v,
                {0.182425523806, 0.377540668798, 0.622459331202, 0.970687769249});
  const auto back = batch_normalization_statistics_gradient({op}, g, source, arrays);
  expect_values(back.gamma, {-0.063787380431});
  expect_values(back.beta, {0.20605249983});
  expect_values(batch_normalization_gradient({op}, g, source, arrays, back, 4).v,
                {0.081686482005, -0.059486547511, -0.051513124957, 0.029313190464});
}

TEST(BatchNormalization, GradientsAgainstDifferences) {
  for (const auto type : {Type::None, Type::TanH, Type::PReLU})
    for (const int fixed : {0, 1}) {
      BatchNormalization op{.epsilon = 1e-3F, .activation = {.type = type}};
      op.activation.a = 1.5F;
      op.activation.b = 0.5F;
      const auto x = random(3, 2, 3, 2, 21, -2, 2), g = random(3, 2, 3, 2, 22);
      const auto statistics = batch_normalization_statistics({}, x);
      const auto arrays_of = [&](const Tensor& t, const Values& gamma, const Values& beta) {
        const auto sums = fixed != 0 ? statistics : batch_normalization_statistics({}, t);
        return BatchNormalizationArrays{sums.mean, sums.variance(), gamma, beta, {0.3, -0.2}};
      };
      const Values gamma{1.5, -0.5}, beta{0.25, 0.5};
      const auto objective = [&](const Tensor& t, const Values& a, const Values& b) {
        return dot(batch_normalization(op, t, arrays_of(t, a, b)).v, g.v);
      };
      const auto arrays = arrays_of(x, gamma, beta);
      const auto back = batch_normalization_statistics_gradient({op}, g, x, arrays);
      expect_gradient(
          back.gamma, [&](const Values& v) { return objective(x, v, beta); }, gamma);
      expect_gradient(
          back.beta, [&](const Values& v) { return objective(x, gamma, v); }, beta);
      const BatchNormalizationGradient op_back{.forward = op, .fixedStatistics = fixed};
      expect_gradient(
          batch_normalization_gradient(op_back, g, x, arrays, back, statistics.count).v,
          [&](const Values& v) { return objective(tensor(3, 2, 3, 2, v), gamma, beta); }, x.v);
      const BatchNormalizationStatisticsGradient more{.forward = op, .accumulate = 1};
      const auto twice = batch_normalization_statistics_gradient(more, g, x, arrays, back);
      expect_values(twice.gamma, scaled(back.gamma, 2));
      expect_values(twice.beta, scaled(back.beta, 2));
    }
}

// ----------------------------------------------------------------------------------------- losses

using Kind = CNNLossType;
using Reduction = CNNReductionType;

/// The examples' common shape.
Tensor pixels(Values values) {
  const int count = static_cast<int>(values.size());
  return tensor(1, 1, count / 2, 2, std::move(values));
}
const Tensor example_a = pixels({0.5, -1, 2, 0.25}), example_b = pixels({1, 0, 0, 1}),
             example_r = pixels({0.2, -0.4, 2, 3}), example_q = pixels({0.7, 0.3, 0.4, 0.9}),
             example_s = pixels({1, 0, 0.25, 0.75}), example_wa = pixels({1, 0, 0.5, 2});

Loss loss_of(Kind type, Reduction reduction = Reduction::Sum, int classes = 1, int across = 0) {
  return {.type = type,
          .reduction = reduction,
          .reduceAcrossBatch = across,
          .numberOfClasses = classes};
}
/// One row of the specification's examples: a loss on one pair of images.
struct LossExample {
  Kind type;
  Tensor y, t;
  LossScalars s = {};
  int classes = 1;

  [[nodiscard]] Values elements() const {
    return loss(loss_of(type, Reduction::None, classes), s, y, t, no_tensor).v;
  }
  [[nodiscard]] double reduced(Reduction reduction, const Tensor& weights = {}) const {
    return loss(loss_of(type, reduction, classes), s, y, t, weights).v.at(0);
  }
  [[nodiscard]] Values by_prediction(Reduction reduction = Reduction::Sum,
                                     const Tensor& weights = {}, int exact = 0) const {
    const LossGradient op{.forward = loss_of(type, reduction, classes), .exactSoftMax = exact};
    return loss_gradient(op, s, no_tensor, y, t, weights).v;
  }
  [[nodiscard]] Values by_label() const {
    const LossGradient op{.forward = loss_of(type, Reduction::Sum, classes), .byLabels = 1};
    return loss_gradient(op, s, no_tensor, y, t, no_tensor).v;
  }
};
void expect_number(double got, double wanted) { expect_values({got}, {wanted}); }

TEST(SpecLoss17, E1MeanAbsoluteError) {
  const LossExample e{Kind::MeanAbsoluteError, example_a, example_r};
  expect_values(e.elements(), {0.3, 0.6, 0, 2.75});
  expect_number(e.reduced(Reduction::Sum), 3.65);
  expect_number(e.reduced(Reduction::Mean), 0.9125);
  expect_values(e.by_prediction(), {1, -1, 0, -1});
  expect_values(e.by_prediction(Reduction::Mean), {0.25, -0.25, 0, -0.25});
  expect_values(e.by_label(), {-1, 1, 0, 1});
  expect_number(e.reduced(Reduction::Sum, example_wa), 5.8);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 1.933333333);
  expect_values(e.by_prediction(Reduction::SumByNonZeroWeights, example_wa),
                {0.3333333333, 0, 0, -0.6666666667});
}

TEST(SpecLoss17, E2MeanSquaredError) {
  const LossExample e{Kind::MeanSquaredError, example_a, example_r};
  expect_values(e.elements(), {0.09, 0.36, 0, 7.5625});
  expect_number(e.reduced(Reduction::Sum), 8.0125);
  expect_number(e.reduced(Reduction::Mean), 2.003125);
  expect_values(e.by_prediction(), {0.6, -1.2, 0, -5.5});
  expect_values(e.by_label(), {-0.6, 1.2, 0, 5.5});
  expect_number(e.reduced(Reduction::Sum, example_wa), 15.215);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 5.071666667);
  expect_values(e.by_prediction(Reduction::SumByNonZeroWeights, example_wa),
                {0.2, 0, 0, -3.666666667});
}

TEST(SpecLoss17, E3aSoftMaxCrossEntropy) {
  const LossExample e{Kind::SoftMaxCrossEntropy, example_a, example_b};
  expect_values(e.elements(), {0.2014132780, 0, 0, 1.910224150});
  expect_number(e.reduced(Reduction::Sum), 2.111637428);
  expect_number(e.reduced(Reduction::Mean), 1.055818714);
  const Values by_prediction{-0.1824255238, 0.1824255238, 0.8519528020, -0.8519528020};
  expect_values(e.by_prediction(), by_prediction);
  expect_values(e.by_prediction(Reduction::Mean), scaled(by_prediction, 0.5));
  expect_values(e.by_label(), {0.2014132780, 1.701413278, 0.1602241504, 1.910224150});
  const auto weights = pixels({2, 2, 0, 0});
  expect_number(e.reduced(Reduction::Sum, weights), 0.4028265560);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, weights), 0.2014132780);
  expect_values(e.by_prediction(Reduction::SumByNonZeroWeights, weights),
                {-0.1824255238, 0.1824255238, 0, 0});
}

TEST(SpecLoss17, E3bSmoothedSoftMaxCrossEntropy) {
  const LossExample e{Kind::SoftMaxCrossEntropy, example_a, example_b, {.labelSmoothing = 0.1}, 2};
  expect_values(e.elements(), {0.1913426141, 0.08507066390, 0.008011207522, 1.814712943});
  expect_number(e.reduced(Reduction::Sum), 2.099137428);
  expect_number(e.reduced(Reduction::Mean), 1.049568714);
  expect_values(e.by_prediction(), {-0.1324255238, 0.1324255238, 0.8019528020, -0.8019528020});
  expect_values(e.by_label(), {0.1812719502, 1.531271950, 0.1442017354, 1.719201735});
}

TEST(SpecLoss17, E3cSmoothingWithOneClass) {
  const LossExample e{
      Kind::SoftMaxCrossEntropy, pixels({0.5, -1}), pixels({1, 0}), {.labelSmoothing = 0.1}};
  expect_values(e.elements(), {0.2014132780, 0.1701413278});
  expect_values(e.by_prediction(), {-0.1824255238, 0.08242552381});
}

TEST(SpecLoss17, E3dUnequalWeights) {
  const LossExample e{Kind::SoftMaxCrossEntropy, tensor(1, 1, 1, 3, {0.5, -1, 0}),
                      tensor(1, 1, 1, 3, {0, 1, 0})};
  const auto weights = tensor(1, 1, 1, 3, {1, 3, 0.5});
  expect_values(soft_max({}, e.y).v, {0.5465493873, 0.1219516523, 0.3314989604});
  expect_values(e.by_prediction(Reduction::Sum, weights),
                {0.5465493873, -2.634145043, 0.1657494802});
  expect_values(e.by_prediction(Reduction::Sum, weights, 1),
                {1.639648162, -2.634145043, 0.9944968813});
}

TEST(SpecLoss17, E3eStability) {
  const LossExample e{Kind::SoftMaxCrossEntropy, tensor(1, 1, 1, 3, {1000, 0, -1000}),
                      tensor(1, 1, 1, 3, {0, 1, 0})};
  expect_values(e.elements(), {0, 1000, 0});
  expect_values(e.by_prediction(), {1, -1, 0});
}

TEST(SpecLoss17, E4aSigmoidCrossEntropy) {
  const LossExample e{Kind::SigmoidCrossEntropy, example_a, example_b};
  expect_values(e.elements(), {0.4740769842, 0.3132616875, 2.126928011, 0.5759394199});
  expect_number(e.reduced(Reduction::Sum), 3.490206103);
  expect_number(e.reduced(Reduction::Mean), 0.8725515257);
  expect_values(e.by_prediction(), {-0.3775406688, 0.2689414214, 0.8807970780, -0.4378234991});
  expect_values(e.by_label(), {-0.5, 1, -2, -0.25});
  expect_number(e.reduced(Reduction::Sum, example_wa), 2.689419829);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 0.8964732765);
}

TEST(SpecLoss17, E4bSmoothedSigmoidCrossEntropy) {
  const LossExample e{Kind::SigmoidCrossEntropy, example_a, example_b, {.labelSmoothing = 0.1}};
  expect_values(e.elements(), {0.4990769842, 0.3632616875, 2.026928011, 0.5884394199});
  expect_number(e.reduced(Reduction::Sum), 3.477706103);
  expect_values(e.by_prediction(), {-0.3275406688, 0.2189414214, 0.8307970780, -0.3878234991});
  expect_values(e.by_label(), {-0.45, 0.9, -1.8, -0.225});
}

TEST(SpecLoss17, E4cStability) {
  const LossExample e{Kind::SigmoidCrossEntropy, pixels({1000, 1000, -1000, -1000}),
                      pixels({0, 1, 0, 1})};
  expect_values(e.elements(), {1000, 0, 0, 1000});
  expect_values(e.by_prediction(), {1, 0, 0, -1});
}

TEST(SpecLoss17, E5CategoricalCrossEntropy) {
  const LossExample e{Kind::CategoricalCrossEntropy, example_q, example_s};
  expect_values(e.elements(), {0.3566749439, 0, 0.2290726830, 0.07902038674});
  expect_number(e.reduced(Reduction::Sum), 0.6647680137);
  expect_number(e.reduced(Reduction::Mean), 0.1661920034);
  expect_values(e.by_prediction(), {-1.428571429, 0, -0.625, -0.8333333333});
  expect_values(e.by_label(), {0.3566749439, 1.203972804, 0.9162907319, 0.1053605157});
  expect_number(e.reduced(Reduction::Sum, example_wa), 0.6292520589);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 0.2097506863);
}

TEST(SpecLoss17, E6Hinge) {
  const LossExample e{Kind::Hinge, example_a, example_b};
  expect_values(e.elements(), {0.5, 0, 3, 0.75});
  expect_number(e.reduced(Reduction::Sum), 4.25);
  expect_number(e.reduced(Reduction::Mean), 1.0625);
  expect_values(e.by_prediction(), {-1, 0, 1, -1});
  expect_values(e.by_label(), {-1, 0, -4, -0.5});
  expect_number(e.reduced(Reduction::Sum, example_wa), 3.5);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 1.166666667);
}

TEST(SpecLoss17, E7Huber) {
  const LossExample e{Kind::Huber, example_a, example_r};
  expect_values(e.elements(), {0.045, 0.18, 0, 2.25});
  expect_number(e.reduced(Reduction::Sum), 2.475);
  expect_number(e.reduced(Reduction::Mean), 0.61875);
  expect_values(e.by_prediction(), {0.3, -0.6, 0, -1});
  expect_values(e.by_label(), {-0.3, 0.6, 0, 1});
  expect_number(e.reduced(Reduction::Sum, example_wa), 4.545);
  expect_number(e.reduced(Reduction::SumByNonZeroWeights, example_wa), 1.515);
  const LossExample b{Kind::Huber, example_a, example_r, {.delta = 0.5}};
  expect_values(b.elements(), {0.045, 0.175, 0, 1.25});
  expect_number(b.reduced(Reduction::Sum), 1.47);
  expect_values(b.by_prediction(), {0.3, -0.5, 0, -0.5});
}

TEST(SpecLoss17, E8CosineDistance) {
  const auto y = pixels({0.6, 0.8, 1, 0}), t = pixels({0.8, 0.6, 0.5, 0.5});
  const LossExample e{Kind::CosineDistance, y, t}, heavy{Kind::CosineDistance, y, t, {.weight = 3}};
  expect_number(e.reduced(Reduction::Sum), -0.46);
  expect_values(e.by_prediction(), {-0.8, -0.6, -0.5, -0.5});
  expect_values(e.by_label(), {-0.6, -0.8, -1, 0});
  expect_number(heavy.reduced(Reduction::Sum), -1.38);
  expect_values(heavy.by_prediction(), {-2.4, -1.8, -1.5, -1.5});
  const LossExample first{Kind::CosineDistance, pixels({0.6, 0.8}), pixels({0.8, 0.6})};
  expect_number(first.reduced(Reduction::Sum), 0.04);
}

TEST(SpecLoss6_3, Item8CosineDistanceIgnoresTheWeightsImage) {
  const LossExample e{Kind::CosineDistance, example_a, example_b, {.weight = 3}};
  expect_number(e.reduced(Reduction::Sum, example_wa), e.reduced(Reduction::Sum));
  expect_values(e.by_prediction(Reduction::Sum, example_wa), e.by_prediction());
  // Across the batch the losses of the images add: N * weight - weight * sum.
  const auto y = tensor(2, 1, 1, 2, {1, 2, 3, 5}), t = tensor(2, 1, 1, 2, {1, 1, 0, 1});
  expect_values(loss(loss_of(e.type, Reduction::Sum, 1, 1), e.s, y, t, no_tensor).v, {-18, 0});
}

TEST(SpecLoss17, E9Log) {
  const LossExample e{Kind::Log, example_q, example_s};
  expect_values(e.elements(), {0.3566748011, 0.3566748011, 0.6121917133, 0.6546663267});
  expect_number(e.reduced(Reduction::Sum), 1.980207642);
  expect_number(e.reduced(Reduction::Mean), 0.4950519105);
  expect_values(e.by_prediction(), {-1.428571224, 1.428571224, 0.6249999479, 1.666664259});
  expect_values(e.by_label(), {-0.8472976699, 0.8472976699, 0.4054650248, -2.197223688});
  const LossExample b{Kind::Log, example_q, example_s, {.epsilon = 0.1}};
  expect_values(b.elements(), {0.2231435513, 0.2231435513, 0.4407930031, 0.4023594781});
  expect_number(b.reduced(Reduction::Sum), 1.289439584);
  expect_values(b.by_prediction(), {-1.25, 1.25, 0.5714285714, 0.5});
  expect_values(b.by_label(), {-0.6931471806, 0.6931471806, 0.3364722366, -1.609437912});
}

TEST(SpecLoss17, E10KullbackLeibler) {
  const LossExample e{Kind::KullbackLeiblerDivergence, pixels({-0.5, -1.2, -2, -0.1}),
                      pixels({0.6, 0.4, 0, 1})};
  expect_values(e.elements(), {-0.006495374260, 0.1134837073, 0, 0.1});
  expect_number(e.reduced(Reduction::Sum), 0.2069883330);
  expect_number(e.reduced(Reduction::Mean), 0.05174708325);
  expect_values(e.by_prediction(), {-0.6, -0.4, 0, -1});
  expect_values(e.by_label(), {0.9891743762, 1.283709268, 0, 1.1});
  const LossGradient published{.forward = loss_of(e.type), .publishedKullbackLeibler = 1};
  const auto g = loss_gradient(published, e.s, no_tensor, e.y, e.t, no_tensor);
  expect_values({g.v[0], g.v[1]}, {1.2, 0.3333333333});
}

TEST(SpecLoss17, E11Batch) {
  const auto y = tensor(2, 1, 1, 2, {1, 2, 3, 5}), t = tensor(2, 1, 1, 2, {0, 0, 1, 1});
  const auto g = tensor(2, 1, 1, 1, {1, 7});
  const LossScalars half{.weight = 0.5};
  const auto check = [&](Reduction reduction, int across, const Values& losses,
                         const Values& back) {
    const auto op = loss_of(Kind::MeanSquaredError, reduction, 1, across);
    expect_values(loss(op, half, y, t, no_tensor).v, losses);
    expect_values(loss_gradient({.forward = op}, half, g, y, t, no_tensor).v, back);
    const LossGradient fused{.forward = op, .ignoreReduction = 1};  // CNNLoss
    expect_values(loss_gradient(fused, half, no_tensor, y, t, no_tensor).v, {1, 2, 2, 4});
  };
  check(Reduction::Sum, 0, {2.5, 10}, {1, 2, 14, 28});
  check(Reduction::Sum, 1, {12.5, 0}, {1, 2, 2, 4});
  check(Reduction::Mean, 0, {1.25, 5}, {0.5, 1, 7, 14});
  check(Reduction::Mean, 1, {3.125, 0}, {0.25, 0.5, 0.5, 1});

  const auto weights = tensor(2, 1, 1, 2, {1, 0, 2, 3}), ones = filled(2, 1, 1, 1, 1);
  const auto check_weighted = [&](int across, const Values& losses, const Values& back) {
    const auto op = loss_of(Kind::MeanSquaredError, Reduction::SumByNonZeroWeights, 1, across);
    expect_values(loss(op, {}, y, t, weights).v, losses);
    expect_values(loss_gradient({.forward = op}, {}, ones, y, t, weights).v, back);
  };
  check_weighted(0, {1, 28}, {2, 0, 4, 12});
  check_weighted(1, {19, 0}, {0.6666666667, 0, 2.666666667, 8});
}

TEST(SpecLoss6And7, NothingButZeroWeights) {
  const auto zeros = pixels({0, 0, 0, 0});
  const LossExample e{Kind::CategoricalCrossEntropy, pixels({0, 0.5, 0, 1}), pixels({1, 1, 1, 1})};
  for (const auto reduction : {Reduction::Sum, Reduction::Mean, Reduction::SumByNonZeroWeights}) {
    EXPECT_EQ(e.reduced(reduction, zeros), 0);  // -log(0) silenced
    EXPECT_EQ(e.by_prediction(reduction, zeros), Values(4, 0));
  }
  EXPECT_EQ(e.reduced(Reduction::Sum), std::numeric_limits<double>::infinity());
  const LossExample silent{Kind::CategoricalCrossEntropy, pixels({0, 1}), pixels({0, 1})};
  EXPECT_EQ(silent.reduced(Reduction::Sum), 0);  // t = 0 and y = 0
  EXPECT_EQ(silent.by_prediction(), (Values{0, -1}));
}

TEST(Loss, GradientsAgainstDifferences) {
  constexpr int n = 2, h = 3, w = 1, c = 3, label_channels = 4;
  const auto weights = [] {
    auto t = random(n, h, w, label_channels, 31, 0.5, 2);
    for (std::size_t i = 0; i < t.v.size(); i += 5) t.v[i] = 0;
    return t;
  }();
  for (unsigned type = 0; type < 10; ++type)
    for (int reduction = 0; reduction < 4; ++reduction)
      for (const int across : {0, 1})
        for (const bool weighted : {false, true})
          for (const double smoothing : {0.0, 0.1}) {
            const auto kind = static_cast<Kind>(type);
            if (kind == Kind::CosineDistance && static_cast<Reduction>(reduction) != Reduction::Sum)
              continue;  // the only reduction that it has
            const auto op = loss_of(kind, static_cast<Reduction>(reduction), 5, across);
            const LossScalars s{1.25, smoothing, 0.01, 0.4};
            const auto y = random(n, h, w, c, type + 1, 0.05, 0.95);
            const auto t = random(n, h, w, label_channels, type + 50, 0.05, 0.95);
            const auto& used = weighted ? weights : no_tensor;
            const auto g = like(loss(op, s, y, t, used));
            const auto incoming = random(g.n, g.h, g.w, g.c, 77);
            const auto objective = [&](const Values& a, const Values& b) {
              return dot(
                  loss(op, s, tensor(n, h, w, c, a), tensor(n, h, w, label_channels, b), used).v,
                  incoming.v);
            };
            std::string text = "type " + std::to_string(type);
            text += " reduction " + std::to_string(reduction);
            text += " across " + std::to_string(across) + (weighted ? " weighted" : "");
            const LossGradient predictions{.forward = op, .exactSoftMax = 1};
            const LossGradient labels{.forward = op, .byLabels = 1};
            expect_gradient(
                loss_gradient(predictions, s, incoming, y, t, used).v,
                [&](const Values& v) { return objective(v, t.v); }, y.v, text);
            expect_gradient(
                loss_gradient(labels, s, incoming, y, t, used).v,
                [&](const Values& v) { return objective(y.v, v); }, t.v, text + " labels");
          }
}

// ------------------------------------------------------------------------------------- optimisers

const Values example_w{0.5, -1.5, 2, 0}, example_g{0.1, -4, 0.25, 1}, example_g2{-0.2, 1, 0.25, 0};
const Values zeros_4(4, 0);

SgdScalars sgd_scalars(double learning_rate, double momentum_scale = 0) {
  SgdScalars s;
  s.learningRate = learning_rate;
  s.momentumScale = momentum_scale;
  return s;
}

TEST(SpecOptimizer9, O1Preprocessing) {
  const auto check = [](NNRegularizationType type, const Values& g, const Values& w) {
    StochasticGradientDescent op;
    op.preparation.clip = 1;
    op.preparation.regularization = static_cast<std::int32_t>(type);
    auto s = sgd_scalars(0.1);
    s.gradient = {.rescale = 0.5, .clipMin = -2, .clipMax = 0.5, .regularizationScale = 0.1};
    Values prepared;
    for (std::size_t i = 0; i < 4; ++i)
      prepared.push_back(prepared_gradient(op.preparation, s.gradient, example_g[i], example_w[i]));
    expect_values(prepared, g);
    if (!w.empty())
      expect_values(stochastic_gradient_descent(op, s, example_g, {example_w, {}}).values, w);
  };
  check(NNRegularizationType::None, {0.05, -1, 0.125, 0.25}, {});
  check(NNRegularizationType::L2, {0.1, -1.15, 0.325, 0.25}, {0.49, -1.385, 1.9675, -0.025});
  check(NNRegularizationType::L1, {0.15, -1.1, 0.225, 0.25}, {0.485, -1.39, 1.9775, -0.025});
  expect_values(
      stochastic_gradient_descent({}, sgd_scalars(0.1), example_g, {example_w, {}}).values,
      {0.49, -1.1, 1.975, -0.1});
}

TEST(SpecOptimizer4, ClipLetsNaNPassAndMaximumWins) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const GradientPreparation clip{.clip = 1};
  EXPECT_TRUE(std::isnan(prepared_gradient(clip, {1, -1, 1, 0}, nan, 0)));
  EXPECT_EQ(prepared_gradient(clip, {1, 2, 1, 0}, 0, 0), 1);
}

TEST(SpecOptimizer9, O2aMomentum) {
  SgdState state{example_w, zeros_4};
  const std::vector<SgdState> rows{
      {{0.49, -1.1, 1.975, -0.1}, {0.01, -0.4, 0.025, 0.1}},
      {{0.471, -0.34, 1.9275, -0.29}, {0.019, -0.76, 0.0475, 0.19}},
      {{0.4439, 0.744, 1.85975, -0.561}, {0.0271, -1.084, 0.06775, 0.271}}};
  for (const auto& row : rows) {
    state = stochastic_gradient_descent({}, sgd_scalars(0.1, 0.9), example_g, state);
    expect_values(state.momentum, row.momentum);
    expect_values(state.values, row.values);
  }
}

TEST(SpecOptimizer9, O2bNesterov) {
  SgdState state{example_w, zeros_4};
  const std::vector<SgdState> rows{
      {{0.481, -0.74, 1.9525, -0.19}, {0.1, -4, 0.25, 1}},
      {{0.4539, 0.344, 1.88475, -0.461}, {0.19, -7.6, 0.475, 1.9}},
      {{0.41951, 1.7196, 1.798775, -0.8049}, {0.271, -10.84, 0.6775, 2.71}}};
  StochasticGradientDescent op;
  op.nesterov = 1;
  for (const auto& row : rows) {
    state = stochastic_gradient_descent(op, sgd_scalars(0.1, 0.9), example_g, state);
    expect_values(state.momentum, row.momentum);
    expect_values(state.values, row.values);
  }
}

TEST(SpecOptimizer9, O2cChangingLearningRate) {
  auto state = stochastic_gradient_descent({}, sgd_scalars(0.1, 0.9), {1}, {{1}, {0}});
  expect_values(state.momentum, {0.1});
  expect_values(state.values, {0.9});
  state = stochastic_gradient_descent({}, sgd_scalars(0.01, 0.9), {1}, state);
  expect_values(state.momentum, {0.1});
  expect_values(state.values, {0.8});
}

TEST(SpecOptimizer9, O2dMovingAverage) {
  StochasticGradientDescent op;
  op.preparation.regularization = static_cast<std::int32_t>(NNRegularizationType::L2);
  auto s = sgd_scalars(-0.1);
  s.gradient.regularizationScale = -1;
  expect_values(stochastic_gradient_descent(op, s, {1}, {{0.2}, {}}).values, {0.28});
}

TEST(SpecOptimizer9, O3RMSProp) {
  RMSPropScalars s;
  s.learningRate = 0.01;
  const auto one = rms_prop({}, s, example_g, {example_w, zeros_4});
  expect_values(one.sumOfSquares, {0.001, 1.6, 0.00625, 0.1});
  expect_values(one.values, {0.468377233398, -1.46837722365, 1.9683772274, -0.0316227756017}, "",
                1e-11);
  const auto two = rms_prop({}, s, example_g, one);
  expect_values(two.sumOfSquares, {0.0019, 3.04, 0.011875, 0.19});
  expect_values(two.values, {0.445435665274, -1.44543565039, 1.94543565612, -0.0545643484624}, "",
                1e-11);
  s.epsilon = 0.5;
  const auto outside = rms_prop({}, s, {0.1}, {{0.5}, {0}});
  expect_values(outside.sumOfSquares, {0.001});
  expect_values(outside.values, {0.498118966974}, "", 1e-11);
}

AdamScalars adam_scalars(int t, double beta2 = 0.999) {
  AdamScalars s;
  s.stepLearningRate = adam_step_learning_rate(0.01, 0.9, beta2, t);
  s.beta2 = beta2;
  s.oneMinusBeta2 = 1 - beta2;
  return s;
}

TEST(SpecOptimizer9, O4aAdam) {
  struct Row {
    double rate;
    Values m, v, w;
  };
  const std::vector<Row> rows{{0.00316227766017,
                               {0.01, -0.4, 0.025, 0.1},
                               {1e-05, 0.016, 6.25e-05, 0.001},
                               {0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772}},
                              {0.00235316725327,
                               {-0.011, -0.26, 0.0475, 0.09},
                               {4.999e-05, 0.016984, 0.0001249375, 0.000999},
                               {0.493661061715, -1.48530531944, 1.9800000216, -0.0167005772591}},
                              {0.00202010597439,
                               {-0.0299, -0.134, 0.06775, 0.081},
                               {8.994001e-05, 0.017967016, 0.0001873125625, 0.000998001},
                               {0.500030020195, -1.483285833, 1.9700000289, -0.0218801453444}}};
  AdamState state{example_w, zeros_4, zeros_4, {}};
  for (int t = 1; t <= 3; ++t) {
    const auto& row = rows.at(static_cast<std::size_t>(t - 1));
    const auto s = adam_scalars(t);
    expect_values({s.stepLearningRate}, {row.rate}, "", 1e-11);
    state = adam({}, s, t == 1 ? example_g : example_g2, state);
    expect_values(state.momentum, row.m);
    expect_values(state.velocity, row.v);
    expect_values(state.values, row.w, "", 1e-11);
  }
}

TEST(SpecOptimizer9, O4bAMSGrad) {
  struct Row {
    double rate;
    Values v, x, w, plain;
  };
  const std::vector<Row> rows{{0.0707106781187,
                               {0.005, 8, 0.03125, 0.5},
                               {0.005, 8, 0.03125, 0.5},
                               {0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858},
                               {0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858}},
                              {0.0455802844097,
                               {0.0225, 4.5, 0.046875, 0.25},
                               {0.0225, 8, 0.046875, 0.5},
                               {0.493342555381, -1.48581008338, 1.98000000103, -0.0158014228515},
                               {0.493342555381, -1.48441344451, 1.98000000103, -0.0182044508882}},
                              {0.0345171345643,
                               {0.03125, 2.75, 0.0546875, 0.125},
                               {0.03125, 8, 0.0546875, 0.5},
                               {0.499180781191, -1.4841747943, 1.97000000146, -0.0197554053823},
                               {0.499180781191, -1.48162428607, 1.97000000146, -0.0261124158379}}};
  AdamState amsgrad{example_w, zeros_4, zeros_4, zeros_4}, plain{example_w, zeros_4, zeros_4, {}};
  for (int t = 1; t <= 3; ++t) {
    const auto& row = rows.at(static_cast<std::size_t>(t - 1));
    const auto s = adam_scalars(t, 0.5);
    const auto& g = t == 1 ? example_g : example_g2;
    expect_values({s.stepLearningRate}, {row.rate}, "", 1e-11);
    amsgrad = adam({}, s, g, amsgrad);
    plain = adam({}, s, g, plain);
    expect_values(amsgrad.velocity, row.v);
    expect_values(amsgrad.maximumVelocity, row.x);
    expect_values(amsgrad.values, row.w, "", 1e-11);
    expect_values(plain.values, row.plain, "", 1e-11);
  }
}

TEST(SpecOptimizer9, O4cEpsilonHat) {
  auto s = adam_scalars(1);
  s.epsilon = 1e-3;
  expect_values(adam({}, s, {1e-3}, {{0.5}, {0}, {0}, {}}).values, {0.4996934657}, "", 2e-10);
}

TEST(SpecOptimizer9, O4dResume) {
  const auto s = adam_scalars(10);
  expect_values({s.stepLearningRate}, {0.00153189073951}, "", 1e-11);
  const auto state = adam({}, s, {0.1}, {{0.5}, {0.02}, {0.003}, {}});
  expect_values(state.momentum, {0.028});
  expect_values(state.velocity, {0.003007});
  expect_values(state.values, {0.499217797808}, "", 1e-11);
}

TEST(Optimizer, WidenedScalarsKeepTheirValues) {
  const StochasticGradientDescent::Scalars s{
      {.rescale = 2, .clipMin = -3, .clipMax = 4, .regularizationScale = 5}, 6, 7};
  const auto wide = widened(s);
  EXPECT_EQ(wide.gradient.rescale, 2);
  EXPECT_EQ(wide.gradient.clipMin, -3);
  EXPECT_EQ(wide.gradient.clipMax, 4);
  EXPECT_EQ(wide.gradient.regularizationScale, 5);
  EXPECT_EQ(wide.learningRate, 6);
  EXPECT_EQ(wide.momentumScale, 7);
  const RMSProp::Scalars r{{}, 1, 2, 3, 4};
  EXPECT_EQ(widened(r).learningRate, 1);
  EXPECT_EQ(widened(r).decay, 2);
  EXPECT_EQ(widened(r).oneMinusDecay, 3);
  EXPECT_EQ(widened(r).epsilon, 4);
  const Adam::Scalars a{{}, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(widened(a).stepLearningRate, 1);
  EXPECT_EQ(widened(a).beta1, 2);
  EXPECT_EQ(widened(a).oneMinusBeta1, 3);
  EXPECT_EQ(widened(a).beta2, 4);
  EXPECT_EQ(widened(a).oneMinusBeta2, 5);
  EXPECT_EQ(widened(a).epsilon, 6);
  const Loss::Scalars l{1, 2, 3, 4};
  EXPECT_EQ(widened(l).weight, 1);
  EXPECT_EQ(widened(l).labelSmoothing, 2);
  EXPECT_EQ(widened(l).epsilon, 3);
  EXPECT_EQ(widened(l).delta, 4);
}

// ---------------------------------------------------------------------------------------- harness

using test::compare;
constexpr float float_nan = std::numeric_limits<float>::quiet_NaN();
constexpr float float_infinity = std::numeric_limits<float>::infinity();

TEST(Compare, IsRelativeToTheLargestElement) {
  const auto wanted = tensor(1, 2, 2, 2, {1, 2, 3, 4, 5, 6, 7, 8});
  std::vector<float> got(wanted.v.begin(), wanted.v.end());
  EXPECT_TRUE(compare(got, wanted).ok);
  EXPECT_EQ(compare(got, wanted).worst, 0);
  got[0] = 1 + 7e-5F;  // 7e-5 of 1, but 0.9e-5 of 8
  EXPECT_TRUE(compare(got, wanted).ok);
  got[0] = 1 + 9e-5F;
  EXPECT_FALSE(compare(got, wanted).ok);
  EXPECT_TRUE(compare(got, wanted, {.relative = 2e-5}).ok);
  got[6] = 7.5F;
  const auto comparison = compare(got, wanted);
  EXPECT_EQ(comparison.at, 6U);
  EXPECT_DOUBLE_EQ(comparison.worst, 0.0625);
  EXPECT_EQ(comparison.text,
            "at (n0,y1,x1,c0) got 7.5, wanted 7, error 0.5, tolerance 8e-05 (1e-05 of 8); "
            "2 of 8 elements wrong");
}

TEST(Compare, KindsMustAgree) {
  const double nan = float_nan, infinity = float_infinity;
  const test::Extents flat{.c = 4};
  const auto ok = [&](std::vector<float> got, const Values& wanted) {
    return compare(got, wanted, flat).ok;
  };
  EXPECT_TRUE(ok({1, float_nan, float_infinity, -float_infinity}, {1, nan, infinity, -infinity}));
  EXPECT_TRUE(ok({1, 2, 3, float_infinity}, {1, 2, 3, 1e300}));  // out of float's range
  EXPECT_FALSE(ok({1, 2, 3, float_infinity}, {1, 2, 3, -infinity}));
  EXPECT_FALSE(ok({1, 2, 3, float_nan}, {1, 2, 3, 4}));
  EXPECT_FALSE(ok({1, 2, 3, 4}, {1, 2, 3, nan}));
  EXPECT_FALSE(ok({1, 2, 3, 4}, {1, 2, 3, infinity}));
  EXPECT_FALSE(ok({1, float_infinity, 3, float_nan}, {1, infinity, 3.1, nan}));  // still compared
  const std::vector<float> got{1, float_nan};
  const auto comparison = compare(got, Values{1, 2}, {.c = 2});
  EXPECT_EQ(comparison.at, 1U);
  EXPECT_EQ(comparison.worst, infinity);
}

TEST(Compare, LengthsZerosAndFloor) {
  const std::vector<float> three(3), tiny{0, 1e-9F};
  EXPECT_FALSE(compare(three, Values(2), {.c = 2}).ok);
  EXPECT_EQ(compare(three, Values(2), {.c = 2}).text, "got 3 elements, wanted 2");
  EXPECT_TRUE(compare(three, Values(3), {.c = 3}).ok);
  EXPECT_FALSE(compare(tiny, Values(2), {.c = 2}).ok);  // all 0 means 0
  EXPECT_TRUE(compare(tiny, Values(2), {.c = 2}, {.floor = 1}).ok);
  EXPECT_TRUE(compare({}, Values{}, {.c = 0}).ok);
}

TEST(Random, IsDeterministicAndInRange) {
  const auto a = test::floats(1000, 3, -2, 5);
  EXPECT_EQ(a, test::floats(1000, 3, -2, 5));
  EXPECT_NE(a, test::floats(1000, 4, -2, 5));
  double sum = 0;
  for (const float value : a) {
    EXPECT_GE(value, -2);
    EXPECT_LE(value, 5);
    sum += value;
  }
  EXPECT_NEAR(sum / 1000, 1.5, 0.3);
}

TEST(Random, GridHoldsMultiplesOfOneSixtyFourth) {
  std::set<float> seen;
  for (const float value : test::grid_floats(4000, 3, -0.5F, 0.75F)) {
    EXPECT_EQ(value * 64, std::round(value * 64));
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 81U);
  EXPECT_EQ(*seen.begin(), -0.5F);
  EXPECT_EQ(*seen.rbegin(), 0.75F);
  EXPECT_THROW(test::grid_floats(1, 3, 0.001F, 0.002F), std::invalid_argument);
}

TEST(Random, DistinctValuesHaveNoTiesAndNoZero) {
  for (const std::size_t count : {0U, 1U, 2U, 3U, 64U, 1001U, 4097U}) {
    const auto values = test::distinct_floats(count, 9);
    const std::set<float> seen(values.begin(), values.end());
    EXPECT_EQ(seen.size(), count);
    EXPECT_EQ(seen.count(0.0F), 0U);
    for (const float value : values) EXPECT_LT(std::abs(value), 1.0F);
  }
  EXPECT_NE(test::distinct_floats(100, 1), test::distinct_floats(100, 2));
}

}  // namespace
}  // namespace cermet::oracle
