// Fully connected layers and 1x1 windows with few outputs, on small integers: all sums are exact in
// float32, so that every result must equal the oracle's.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "harness/device.h"
#include "harness/random.h"
#include "machine.h"
#include "oracle/convolution.h"

namespace cermet::test {
namespace {

/// A window as large as its image, or 1x1.
struct Layer {
  std::int32_t images, height, width, inputs, outputs;
  bool whole = true;

  [[nodiscard]] Convolution convolution() const {
    Convolution op;
    op.window.kernelHeight = whole ? height : 1;
    op.window.kernelWidth = whole ? width : 1;
    return op;
  }
  [[nodiscard]] TensorDesc source() const { return dense_desc(images, height, width, inputs); }
  [[nodiscard]] TensorDesc weights() const {
    return dense_desc(outputs, whole ? height : 1, whole ? width : 1, inputs);
  }
  [[nodiscard]] TensorDesc destination() const {
    return dense_desc(images, whole ? 1 : height, whole ? 1 : width, outputs);
  }
};
void PrintTo(const Layer& layer, std::ostream* out) {
  *out << layer.images << " x " << layer.height << "x" << layer.width << "x" << layer.inputs
       << " to " << layer.outputs << (layer.whole ? "" : ", window 1x1");
}

using Numbers = std::vector<float>;

/// Whole numbers from -8 to 8.
Numbers integers(const TensorDesc& desc, std::uint64_t seed) {
  Numbers numbers(static_cast<std::size_t>(desc.count()));
  Random random(seed);
  for (float& number : numbers) number = static_cast<float>(random.below(17)) - 8;
  return numbers;
}
std::vector<double> exact(const Numbers& numbers) { return {numbers.begin(), numbers.end()}; }
oracle::Tensor exact(const TensorDesc& desc, const Numbers& numbers) {
  return {desc.n, desc.h, desc.w, desc.c, exact(numbers)};
}

void expect_equal(const Numbers& got, const std::vector<double>& expected, const std::string& how) {
  ASSERT_EQ(got.size(), expected.size()) << how;
  const auto [wrong, right] = std::mismatch(got.begin(), got.end(), expected.begin());
  if (wrong == got.end()) return;
  ADD_FAILURE() << how << ": number " << wrong - got.begin() << " of " << got.size() << " is "
                << *wrong << " and not " << *right;
}

/// A slot of an operator: null numbers are an absent tensor.
struct Given {
  TensorDesc desc;
  Numbers* numbers;
};

class ThinProduct : public testing::TestWithParam<Layer> {
 protected:
  /// With tensors that begin `before` floats behind an aligned address.
  template <class Op>
  void run(const Op& what, const std::vector<Given>& given, std::size_t before) {
    std::vector<TensorDesc> descs;
    descs.reserve(given.size());
    for (const Given& one : given)
      descs.push_back(one.numbers != nullptr ? one.desc : TensorDesc{});
    const StepPtr step = device.engine().prepare(view_of(what), descs);
    ASSERT_TRUE(step);
    CommandBuffer commands = queue.makeCommandBuffer();
    std::vector<Buffer> buffers(given.size());
    Slots slots{};
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (given[i].numbers == nullptr) continue;
      Numbers padded(before, guard);
      padded.insert(padded.end(), given[i].numbers->begin(), given[i].numbers->end());
      padded.push_back(guard);
      buffers[i] = device.makeBuffer(padded.data(), padded.size() * sizeof(float));
      const auto& memory = detail::BufferImpl::of(buffers[i])->memory;
      commands.recording().retain(memory);
      slots[i] = memory->data + before * sizeof(float);
    }
    commands.recording().add(step, slots, nullptr, 0);
    commands.commit();
    commands.waitUntilCompleted();
    ASSERT_EQ(commands.status(), CommandBufferStatus::Completed) << step->implementation;
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (given[i].numbers == nullptr) continue;
      Numbers padded(before + given[i].numbers->size() + 1);
      buffers[i].copy_out(padded.data(), padded.size() * sizeof(float));
      EXPECT_EQ(padded.back(), guard) << "behind slot " << i;
      for (std::size_t k = 0; k < before; ++k) EXPECT_EQ(padded[k], guard) << "before slot " << i;
      std::copy_n(padded.begin() + static_cast<std::ptrdiff_t>(before), given[i].numbers->size(),
                  given[i].numbers->begin());
    }
  }

  void expect_forward(bool biased, const Activation& activation) {
    Convolution with = op;
    with.activation = activation;
    const oracle::Tensor expected =
        oracle::convolution(with, exact(layer.source(), x), exact(layer.weights(), weights),
                            biased ? exact(biases) : std::vector<double>(), {},
                            layer.destination().h, layer.destination().w);
    for (const std::size_t before : {0U, 1U}) {
      Numbers got(expected.v.size());
      run(with,
          {{layer.source(), &x},
           {layer.weights(), &weights},
           {flat_desc(layer.outputs), biased ? &biases : nullptr},
           {},
           {layer.destination(), &got}},
          before);
      expect_equal(got, expected.v,
                   (biased ? "biased, at float " : "at float ") + std::to_string(before));
    }
  }

  static constexpr float guard = 77;
  Layer layer = GetParam();
  Device device = device_under_test(2);
  CommandQueue queue = device.makeCommandQueue();
  Convolution op = layer.convolution();
  Numbers x = integers(layer.source(), 1), weights = integers(layer.weights(), 2),
          biases = integers(flat_desc(layer.outputs), 3),
          gradient = integers(layer.destination(), 4);
};

TEST_P(ThinProduct, Convolution) {
  for (const bool biased : {true, false}) expect_forward(biased, {});
}

TEST_P(ThinProduct, ConvolutionWithANeuron) {
  for (const bool biased : {true, false}) {
    expect_forward(biased, {CNNNeuronType::ReLU, 0.5F});
    expect_forward(biased, {CNNNeuronType::Linear, 2.0F, 1.0F});
  }
}

TEST_P(ThinProduct, GradientData) {
  const auto expected = oracle::convolution_gradient_data(
      ConvolutionGradientData{op}, exact(layer.destination(), gradient),
      exact(layer.weights(), weights), layer.height, layer.width);
  for (const std::size_t before : {0U, 1U}) {
    Numbers got(expected.v.size());
    run(ConvolutionGradientData{op},
        {{layer.destination(), &gradient}, {layer.weights(), &weights}, {layer.source(), &got}},
        before);
    expect_equal(got, expected.v, "at float " + std::to_string(before));
  }
}

TEST_P(ThinProduct, GradientWeights) {
  const Numbers weights_before = integers(layer.weights(), 5),
                biases_before = integers(flat_desc(layer.outputs), 6);
  for (const std::int32_t accumulate : {0, 1}) {
    const ConvolutionGradientWeights op_weights{op, accumulate};
    const auto expected = oracle::convolution_gradient_weights(
        op_weights, exact(layer.destination(), gradient), exact(layer.source(), x),
        {exact(layer.weights(), weights_before), exact(biases_before)});
    for (const bool biased : {true, false}) {
      for (const std::size_t before : {0U, 1U}) {
        Numbers got = weights_before, got_biases = biases_before;
        run(op_weights,
            {{layer.destination(), &gradient},
             {layer.source(), &x},
             {layer.weights(), &got},
             {flat_desc(layer.outputs), biased ? &got_biases : nullptr}},
            before);
        const std::string how = std::string(accumulate != 0 ? "added, " : "") +
                                (biased ? "biased, " : "") + "at float " + std::to_string(before);
        expect_equal(got, expected.weights.v, how);
        expect_equal(got_biases, biased ? expected.biases : exact(biases_before), how);
      }
    }
  }
}

/// Sums of numbers that are no integers depend on their order.
TEST_P(ThinProduct, TheSameBitsAtEveryRun) {
  const auto shrink = [](Numbers numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] /= static_cast<float>(3 + i % 5);
    return numbers;
  };
  Numbers fractions = shrink(x), factors = shrink(weights), incoming = shrink(gradient);
  std::vector<Numbers> first;
  for (const std::size_t before : {0U, 0U, 4U}) {
    std::vector<Numbers> got{gradient, x, weights, biases};
    run(op,
        {{layer.source(), &fractions},
         {layer.weights(), &factors},
         {flat_desc(layer.outputs), &biases},
         {},
         {layer.destination(), got.data()}},
        before);
    run(ConvolutionGradientData{op},
        {{layer.destination(), &incoming}, {layer.weights(), &factors}, {layer.source(), &got[1]}},
        before);
    run(ConvolutionGradientWeights{op},
        {{layer.destination(), &incoming},
         {layer.source(), &fractions},
         {layer.weights(), &got[2]},
         {flat_desc(layer.outputs), &got[3]}},
        before);
    if (first.empty()) first = got;
    EXPECT_TRUE(got == first) << "at float " << before;
  }
}

const Layer layers[] = {{64, 1, 1, 1024, 10},      {1024, 1, 1, 1024, 10}, {1, 1, 1, 4, 1},
                        {3, 1, 1, 12, 7},          {65, 7, 7, 64, 10},     {5, 3, 3, 4, 16},
                        {5, 1, 1, 36, 17},         {5, 1, 1, 36, 32},      {3, 10, 10, 8, 3, false},
                        {2, 10, 15, 20, 5, false}, {129, 2, 2, 65, 12},    {128, 1, 1, 516, 4},
                        {5, 1, 1, 18, 10},         {4097, 1, 1, 4, 2}};

INSTANTIATE_TEST_SUITE_P(Layers, ThinProduct, testing::ValuesIn(layers));

}  // namespace
}  // namespace cermet::test
