// Convolution passes and fused operators on small integers: products are exact in TF32 and all sums
// in float32, so that every result must equal the oracle's, with reduced precision and without.

#include <gtest/gtest.h>

#include "harness/device.h"
#include "harness/random.h"
#include "machine.h"
#include "oracle/convolution.h"
#include "oracle/pooling.h"

namespace cermet::test {
namespace {

struct Pads {
  std::int32_t top = 0, left = 0, bottom = 0, right = 0;
};
constexpr Pads all(std::int32_t pad) { return {pad, pad, pad, pad}; }

struct Geometry {
  std::int32_t images, height, width, inputs, outputs, kernel;
  Pads pads;
  std::int32_t stride = 1, dilation = 1;

  [[nodiscard]] bool is_lenet() const {
    return kernel == 5 && pads.top == 2 && pads.left == 2 && pads.bottom == 2 && pads.right == 2 &&
           ((height == 28 && inputs == 1) || (height == 14 && inputs == 32));
  }
  [[nodiscard]] Convolution convolution() const {
    Convolution op;
    op.window.kernelWidth = op.window.kernelHeight = kernel;
    op.window.strideX = op.window.strideY = stride;
    op.window.dilationX = op.window.dilationY = dilation;
    op.window.padTop = pads.top;
    op.window.padLeft = pads.left;
    return op;
  }
  [[nodiscard]] TensorDesc source() const { return dense_desc(images, height, width, inputs); }
  [[nodiscard]] TensorDesc weights() const { return dense_desc(outputs, kernel, kernel, inputs); }
  [[nodiscard]] TensorDesc destination() const {
    const auto extent = [this](std::int32_t padded) {
      return (padded - dilation * (kernel - 1) - 1) / stride + 1;
    };
    return dense_desc(images, extent(height + pads.top + pads.bottom),
                      extent(width + pads.left + pads.right), outputs);
  }
  [[nodiscard]] TensorDesc pooled(ElementType type = ElementType::float32) const {
    const TensorDesc full = destination();
    return dense_desc(images, full.h / 2, full.w / 2, outputs, type);
  }
};
void PrintTo(const Geometry& g, std::ostream* out) {
  *out << g.images << " x " << g.height << "x" << g.width << "x" << g.inputs << " to " << g.outputs
       << ", window " << g.kernel << ", stride " << g.stride << ", dilation " << g.dilation
       << ", pads " << g.pads.top << ' ' << g.pads.left << ' ' << g.pads.bottom << ' '
       << g.pads.right;
}

/// Whole numbers from -8 to 8.
Tensor integers(const TensorDesc& desc, std::uint64_t seed) {
  Tensor tensor(desc);
  Random random(seed);
  for (float& value : tensor.values) value = static_cast<float>(random.below(17)) - 8;
  return tensor;
}
oracle::Tensor exact(const Tensor& tensor) {
  const TensorDesc& d = tensor.desc;
  return {d.n, d.h, d.w, d.c, {tensor.values.begin(), tensor.values.end()}};
}
std::vector<double> sum(std::vector<double> a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += double{b[i]};
  return a;
}

void expect_equal(const Tensor& got, const std::vector<double>& expected, const std::string& what) {
  const std::vector<double> values = got.bytes.empty()
                                         ? std::vector<double>(got.values.begin(), got.values.end())
                                         : std::vector<double>(got.bytes.begin(), got.bytes.end());
  ASSERT_EQ(values.size(), expected.size()) << what;
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = values.size(); i-- > 0;) {
    if (values[i] == expected[i]) continue;
    ++wrong;
    first = i;
  }
  EXPECT_EQ(wrong, 0U) << what << ": of " << values.size() << " elements; the first one, " << first
                       << ", is " << values[first] << " and not " << expected[first];
}

class Exact : public testing::TestWithParam<Geometry> {
 protected:
  Exact()
      : op(g.convolution()),
        x(integers(g.source(), 1)),
        weights(integers(g.weights(), 2)),
        biases(integers(flat_desc(g.outputs), 3)) {
    // Black pixels, behind which all taps of a pooling window are equal.
    for (std::int32_t pixel = 0; pixel < g.images * g.height * g.width; ++pixel) {
      if (pixel % (g.height * g.width) > g.height * g.width / 2) continue;
      std::fill_n(x.values.begin() + std::ptrdiff_t{pixel} * g.inputs, g.inputs, 0.0F);
    }
  }

  [[nodiscard]] Convolution with(std::int32_t reduced_precision) const {
    Convolution result = op;
    result.reducedPrecision = reduced_precision;
    return result;
  }
  [[nodiscard]] oracle::Tensor convolved(bool biased) const {
    const TensorDesc to = g.destination();
    const std::vector<double> addends(biases.values.begin(), biases.values.end());
    return oracle::convolution(op, exact(x), exact(weights),
                               biased ? addends : std::vector<double>(), {}, to.h, to.w);
  }

  /// False where the backend declines the operator: on a GPU never for a LeNet in TF32.
  template <class Op>
  [[nodiscard]] bool run_fused(const Op& fused, std::int32_t reduced_precision,
                               const std::vector<Tensor*>& tensors) {
    const StepPtr step = machine.prepare(fused, tensors);
    if (step) machine.run_step(step, tensors);
    EXPECT_TRUE(step || !machine.is_gpu() || !g.is_lenet() || reduced_precision == 0)
        << Op::name << " is declined";
    return step != nullptr;
  }

  struct Pooled {
    std::vector<double> values, winners;
  };
  [[nodiscard]] Pooled pool(const oracle::Tensor& z) const {
    const auto activated = oracle::neuron(Neuron{relu}, z, {});
    Pooled result;
    oracle::Tensor places = oracle::filled(z.n, z.h / 2, z.w / 2, z.c);
    oracle::for_each(places, [&](int n, int j, int i, int c) {
      const auto best = oracle::largest_tap(tiles, activated, n, j, i, c);
      result.values.push_back(best.value);
      const bool passes =
          oracle::neuron_function(relu, {}, c).derivative(z(n, best.y, best.x, c)) != 0;
      result.winners.push_back(passes ? 2 * (best.y - 2 * j) + best.x - 2 * i
                                      : NeuronPoolingMax::nobody);
    });
    return result;
  }

  /// Winners as a forward pass may leave them.
  [[nodiscard]] Tensor some_winners() const {
    Tensor winners(g.pooled(ElementType::uint8));
    Random random(7);
    for (std::uint8_t& winner : winners.bytes) winner = static_cast<std::uint8_t>(random.below(5));
    return winners;
  }
  /// What pooling and neuron pass on to the convolution.
  [[nodiscard]] oracle::Tensor passed_on(const Tensor& gradient, const Tensor& winners) const {
    const TensorDesc to = g.destination();
    const oracle::Tensor incoming = exact(gradient);
    auto out = oracle::filled(to.n, to.h, to.w, to.c);
    oracle::for_each(incoming, [&](int n, int j, int i, int c) {
      const int winner = winners.bytes.at(incoming.index(n, j, i, c));
      if (winner == NeuronPoolingMax::nobody) return;
      out(n, 2 * j + winner / 2, 2 * i + winner % 2, c) = incoming(n, j, i, c);
    });
    return out;
  }

  /// run(reduced precision, accumulate, weights, biases or null) for all of them, against the
  /// weight gradients of `gradient`.
  template <class Run>
  void expect_weight_gradients(const oracle::Tensor& gradient, Run&& run) {
    const auto expected =
        oracle::convolution_gradient_weights(ConvolutionGradientWeights{op, 0}, gradient, exact(x));
    for (const std::int32_t reduced : {0, 1}) {
      for (const std::int32_t accumulate : {0, 1}) {
        for (const bool biased : {true, false}) {
          Tensor got = integers(g.weights(), 5), got_biases = integers(flat_desc(g.outputs), 6);
          const Tensor before = got, before_biases = got_biases;
          if (!run(reduced, accumulate, &got, biased ? &got_biases : nullptr)) continue;
          const std::string how = std::string(reduced != 0 ? ", reduced" : "") +
                                  (accumulate != 0 ? ", added" : "") + (biased ? ", biased" : "");
          expect_equal(
              got, accumulate != 0 ? sum(expected.weights.v, before.values) : expected.weights.v,
              "weights" + how);
          if (!biased) continue;
          expect_equal(
              got_biases,
              accumulate != 0 ? sum(expected.biases, before_biases.values) : expected.biases,
              "biases" + how);
        }
      }
    }
  }

  Geometry g = GetParam();
  Machine machine{device_under_test(2)};
  Activation relu{CNNNeuronType::ReLU};
  PoolingMax tiles{{.kernelWidth = 2, .kernelHeight = 2, .strideX = 2, .strideY = 2}};
  Convolution op;
  Tensor x, weights, biases;
};

TEST_P(Exact, ConvolutionEndsWithItsOwnNeuron) {
  for (const Activation& neuron :
       {Activation{CNNNeuronType::ReLU, 0.5F}, Activation{CNNNeuronType::Absolute},
        Activation{CNNNeuronType::Linear, 2.0F, 1.0F}}) {
    for (const std::int32_t reduced : {0, 1}) {
      op.activation = neuron;
      Tensor z(g.destination());
      machine.run(with(reduced), {&x, &weights, &biases, nullptr, &z});
      expect_equal(z, convolved(true).v, "neuron " + std::to_string(static_cast<int>(neuron.type)));
    }
  }
}

TEST_P(Exact, Convolution) {
  for (const bool biased : {true, false}) {
    const oracle::Tensor expected = convolved(biased);
    for (const std::int32_t reduced : {0, 1}) {
      Tensor got(g.destination());
      machine.run(with(reduced), {&x, &weights, biased ? &biases : nullptr, nullptr, &got});
      expect_equal(got, expected.v, reduced != 0 ? "reduced" : "full");
    }
  }
}

TEST_P(Exact, ConvolutionGradientData) {
  Tensor gradient = integers(g.destination(), 4);
  const auto expected = oracle::convolution_gradient_data(
      ConvolutionGradientData{op}, exact(gradient), exact(weights), g.height, g.width);
  for (const std::int32_t reduced : {0, 1}) {
    Tensor got(g.source());
    machine.run(ConvolutionGradientData{with(reduced)}, {&gradient, &weights, &got});
    expect_equal(got, expected.v, reduced != 0 ? "reduced" : "full");
  }
}

TEST_P(Exact, ConvolutionGradientWeights) {
  Tensor gradient = integers(g.destination(), 4);
  expect_weight_gradients(exact(gradient), [&](std::int32_t reduced, std::int32_t accumulate,
                                               Tensor* got, Tensor* got_biases) {
    machine.run(ConvolutionGradientWeights{with(reduced), accumulate},
                {&gradient, &x, got, got_biases});
    return true;
  });
}

class ExactFused : public Exact {};

TEST_P(ExactFused, NeuronPoolingMax) {
  Tensor z = integers(g.destination(), 4);
  const Pooled expected = pool(exact(z));
  for (const bool wanted : {true, false}) {
    Tensor y(g.pooled()), winners(g.pooled(ElementType::uint8));
    if (!run_fused(NeuronPoolingMax{relu, tiles}, 1, {&z, &y, wanted ? &winners : nullptr}))
      continue;
    expect_equal(y, expected.values, "values");
    if (wanted) expect_equal(winners, expected.winners, "winners");
  }
}

TEST_P(ExactFused, PooledConvolution) {
  for (const bool biased : {true, false}) {
    const Pooled expected = pool(convolved(biased));
    for (const std::int32_t reduced : {0, 1}) {
      for (const bool wanted : {true, false}) {
        Tensor y(g.pooled()), winners(g.pooled(ElementType::uint8));
        if (!run_fused(PooledConvolution{with(reduced), relu, tiles}, reduced,
                       {&x, &weights, biased ? &biases : nullptr, &y, wanted ? &winners : nullptr}))
          continue;
        const std::string how =
            std::string(reduced != 0 ? ", reduced" : "") + (biased ? ", biased" : "");
        expect_equal(y, expected.values, "values" + how);
        if (wanted) expect_equal(winners, expected.winners, "winners" + how);
      }
    }
  }
}

TEST_P(ExactFused, PooledConvolutionGradientData) {
  Tensor gradient = integers(g.pooled(), 4), winners = some_winners();
  const auto expected = oracle::convolution_gradient_data(
      ConvolutionGradientData{op}, passed_on(gradient, winners), exact(weights), g.height, g.width);
  for (const std::int32_t reduced : {0, 1}) {
    Tensor got(g.source());
    if (!run_fused(PooledConvolutionGradientData{with(reduced)}, reduced,
                   {&gradient, &winners, &weights, &got}))
      continue;
    expect_equal(got, expected.v, reduced != 0 ? "reduced" : "full");
  }
}

TEST_P(ExactFused, PooledConvolutionGradientWeights) {
  Tensor gradient = integers(g.pooled(), 4), winners = some_winners();
  expect_weight_gradients(
      passed_on(gradient, winners),
      [&](std::int32_t reduced, std::int32_t accumulate, Tensor* got, Tensor* got_biases) {
        return run_fused(PooledConvolutionGradientWeights{with(reduced), accumulate}, reduced,
                         {&gradient, &winners, &x, got, got_biases});
      });
}

const Geometry poolable[] = {{1, 28, 28, 1, 32, 5, all(2)},     {3, 28, 28, 1, 32, 5, all(2)},
                             {1, 14, 14, 32, 64, 5, all(2)},    {3, 14, 14, 32, 64, 5, all(2)},
                             {3, 8, 8, 64, 64, 3, all(1)},      {5, 8, 8, 32, 64, 1, {}},
                             {1, 7, 9, 4, 8, 3, all(1)},        {3, 7, 9, 8, 10, 3, all(1)},
                             {5, 7, 9, 12, 40, 3, all(1)},      {3, 9, 7, 20, 72, 3, all(1)},
                             {1, 6, 8, 36, 40, 3, all(1)},      {3, 6, 6, 96, 72, 3, all(1)},
                             {3, 6, 6, 33, 31, 3, all(1)},      {3, 9, 9, 4, 8, 3, all(2), 1, 2},
                             {3, 10, 10, 8, 40, 3, all(1), 2},  {1, 12, 12, 32, 32, 5, {}},
                             {3, 8, 8, 12, 8, 3, {1, 0, 0, 2}}, {3, 8, 10, 32, 40, 5, {2, 1, 1, 3}},
                             {67, 4, 4, 4, 8, 3, all(1)},       {600, 4, 4, 4, 8, 3, all(1)},
                             {150, 9, 9, 4, 8, 3, all(1)},      {9, 30, 34, 4, 40, 3, all(1)},
                             {3, 16, 18, 40, 40, 5, all(2)}};
// One result for each image and channel: matrix products.
const Geometry others[] = {
    {5, 5, 5, 1, 10, 5, {}}, {3, 7, 7, 12, 40, 7, {}}, {5, 1, 1, 96, 10, 1, {}}};

INSTANTIATE_TEST_SUITE_P(Poolable, Exact, testing::ValuesIn(poolable));
INSTANTIATE_TEST_SUITE_P(Others, Exact, testing::ValuesIn(others));
INSTANTIATE_TEST_SUITE_P(Poolable, ExactFused, testing::ValuesIn(poolable));

}  // namespace
}  // namespace cermet::test
