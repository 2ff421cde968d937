// Optimizers through their public encodes: the examples O1 to O4 of the specification's section 9
// in every form, in place and into a distinct result; and the vectors and matrices they work on.

#include "cermet/nn/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/convolution.h"
#include "cermet/core/matrix.h"
#include "harness/random.h"
#include "oracle/optimizer.h"

namespace cermet {
namespace {

using Sgd = NNOptimizerStochasticGradientDescent;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

const Floats example_w{0.5F, -1.5F, 2, 0}, example_g{0.1F, -4, 0.25F, 1},
    example_g2{-0.2F, 1, 0.25F, 0};

const Device& device() {
  static const Device one = Device::cpu(2);
  return one;
}
CommandBuffer command_buffer() {
  static const CommandQueue queue = device().makeCommandQueue();
  return queue.makeCommandBuffer();
}
void finish(CommandBuffer& commands) {
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(commands.status(), CommandBufferStatus::Completed);
}
void run(const std::function<void(const CommandBuffer&)>& encode) {
  CommandBuffer commands = command_buffer();
  encode(commands);
  finish(commands);
}

template <class Call>
std::string text_of(Call&& call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// `ulp` units in the last place for each step, measured at the element or at `scale`.
void expect_close(const Floats& got, const Doubles& wanted, int steps = 1, double scale = 0,
                  const std::string& what = "", double ulp = 2) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double unit = 0x1p-23 * std::max(std::abs(wanted[i]), scale);
    const double error = std::abs(double{got[i]} - wanted[i]);
    if (error <= ulp * steps * unit) continue;
    ADD_FAILURE() << what << " [" << i << "] is " << got[i] << ", wanted " << wanted[i] << ": "
                  << error / unit << " ulp in " << steps << " steps";
  }
}
Doubles doubles(const Floats& values) { return {values.begin(), values.end()}; }

// ---- vectors and matrices with values ----------------------------------------------------------

void store(std::byte* to, DataType type, float value) {
  if (type == DataType::Float32) {
    std::memcpy(to, &value, sizeof value);
  } else {
    const std::uint16_t half = half_from_float(value);
    std::memcpy(to, &half, sizeof half);
  }
}
float load(const std::byte* from, DataType type) {
  float value = 0;
  std::uint16_t half = 0;
  if (type == DataType::Float32) {
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::memcpy(&half, from, sizeof half);
  return float_from_half(half);
}
/// visit(address of an element) in order.
template <class Visit>
void for_each_element(const Vector& v, Visit&& visit) {
  auto* base = static_cast<std::byte*>(v.data().contents()) + v.offset();
  for (std::size_t k = 0; k < v.vectors(); ++k) {
    for (std::size_t i = 0; i < v.length(); ++i) {
      visit(base + k * v.vectorBytes() + i * SizeofDataType(v.dataType()));
    }
  }
}
template <class Visit>
void for_each_element(const Matrix& m, Visit&& visit) {
  auto* base = static_cast<std::byte*>(m.data().contents()) + m.offset();
  for (std::size_t k = 0; k < m.matrices(); ++k) {
    for (std::size_t i = 0; i < m.rows(); ++i) {
      for (std::size_t j = 0; j < m.columns(); ++j) {
        visit(base + k * m.matrixBytes() + i * m.rowBytes() + j * SizeofDataType(m.dataType()));
      }
    }
  }
}
template <class Array>
void write(const Array& array, const Floats& values) {
  std::size_t next = 0;
  for_each_element(array, [&](std::byte* at) { store(at, array.dataType(), values.at(next++)); });
  ASSERT_EQ(next, values.size());
}
template <class Array>
Floats read(const Array& array) {
  Floats values;
  for_each_element(array, [&](std::byte* at) { values.push_back(load(at, array.dataType())); });
  return values;
}

Vector vector_of(const Floats& values, DataType type = DataType::Float32) {
  const Vector vector(device(), VectorDescriptor::vectorDescriptor(values.size(), type));
  write(vector, values);
  return vector;
}
Vector zeros(std::size_t length) { return vector_of(Floats(length, 0)); }

/// Every byte outside the elements holds this.
constexpr std::byte padding{0x7F};

/// An array over a buffer of its own whose other bytes are `padding`.
template <class Array, class Descriptor>
Array padded(const Descriptor& descriptor, std::size_t bytes, std::size_t offset,
             const Floats& values) {
  const Buffer buffer = device().makeBuffer(bytes);
  std::memset(buffer.contents(), static_cast<int>(padding), bytes);
  const Array array(buffer, offset, descriptor);
  write(array, values);
  return array;
}
template <class Array>
void expect_padding_untouched(const Array& array) {
  const Buffer copy = device().makeBuffer(array.data().contents(), array.data().length());
  const std::size_t element = SizeofDataType(array.dataType());
  auto* const base = static_cast<std::byte*>(array.data().contents());
  auto* const copied = static_cast<std::byte*>(copy.contents());
  for_each_element(array, [&](const std::byte* at) {
    std::memset(copied + (at - base), static_cast<int>(padding), element);
  });
  for (std::size_t i = 0; i < copy.length(); ++i) ASSERT_EQ(copied[i], padding) << "byte " << i;
}

Matrix matrix_2x2(std::size_t row_bytes, const Floats& values, DataType type = DataType::Float32) {
  return padded<Matrix>(MatrixDescriptor::matrixDescriptor(2, 2, row_bytes, type),
                        2 * row_bytes + 16, 8, values);
}

// ---- the forms ---------------------------------------------------------------------------------

/// Vectors or matrices: gradient, values, three moments, result.
template <class Array>
struct ArrayForm {
  Array gradient, old_values, moments[3], result;
  Floats given;

  Floats values() const { return read(old_values); }
  Floats moment(std::size_t i) const { return read(moments[i]); }
  void set_gradient(const Floats& g) { write(gradient, given = g); }
  template <class Optimizer, std::size_t... I>
  void encode(Optimizer& optimizer, const CommandBuffer& commands, std::index_sequence<I...>) {
    optimizer.encode(commands, gradient, old_values, moments[I]..., result);
    std::swap(old_values, result);
  }
  /// What an update may not touch.
  void check(const Floats& before, bool in_place) const {
    EXPECT_EQ(read(gradient), given);
    if (!in_place) {
      EXPECT_EQ(read(result), before);
    }
    if constexpr (std::is_same_v<Array, Matrix>) {
      for (const Array& array : {gradient, old_values, moments[0], moments[1], moments[2]}) {
        expect_padding_untouched(array);
      }
    }
  }
};

struct VectorForm : ArrayForm<Vector> {
  VectorForm(const Floats& w, bool in_place) {
    gradient = zeros(4);
    old_values = vector_of(w);
    for (Vector& moment : moments) moment = zeros(4);
    result = in_place ? old_values : zeros(4);
  }
};

/// Two vectors of two elements, each argument with an offset and a distance of its own.
struct VectorsForm : ArrayForm<Vector> {
  static Vector make(std::size_t distance, std::size_t offset, const Floats& values) {
    return padded<Vector>(VectorDescriptor::vectorDescriptor(2, 2, distance, DataType::Float32), 64,
                          offset, values);
  }
  VectorsForm(const Floats& w, bool in_place) {
    gradient = make(8, 4, {0, 0, 0, 0});
    old_values = make(16, 0, w);
    for (Vector& moment : moments) moment = make(12, 8, {0, 0, 0, 0});
    result = in_place ? old_values : make(20, 4, {7, 7, 7, 7});
  }
};

struct MatrixForm : ArrayForm<Matrix> {
  MatrixForm(const Floats& w, bool in_place) {
    gradient = matrix_2x2(8, {0, 0, 0, 0});
    old_values = matrix_2x2(16, w);
    for (Matrix& moment : moments) moment = matrix_2x2(12, {0, 0, 0, 0});
    result = in_place ? old_values : matrix_2x2(20, {7, 7, 7, 7});
  }
};

/// Two matrices of two rows and one column.
struct MatricesForm : ArrayForm<Matrix> {
  static Matrix make(std::size_t row_bytes, std::size_t matrix_bytes, const Floats& values) {
    return padded<Matrix>(
        MatrixDescriptor::matrixDescriptor(2, 1, 2, row_bytes, matrix_bytes, DataType::Float32),
        2 * matrix_bytes, 0, values);
  }
  MatricesForm(const Floats& w, bool in_place) {
    gradient = make(4, 8, {0, 0, 0, 0});
    old_values = make(8, 24, w);
    for (Matrix& moment : moments) moment = make(4, 12, {0, 0, 0, 0});
    result = in_place ? old_values : make(4, 8, {7, 7, 7, 7});
  }
};

class ConvolutionWeightsSource final : public CNNConvolutionDataSource {
 public:
  ConvolutionWeightsSource(std::size_t inputs, std::size_t outputs)
      : descriptor_(CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, inputs, outputs)),
        weights_(test::floats(inputs * outputs, 1)),
        biases_(test::floats(outputs, 2)) {}
  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return weights_.data(); }
  [[nodiscard]] const float* biasTerms() override { return biases_.data(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "conv"; }

 private:
  std::shared_ptr<const CNNConvolutionDescriptor> descriptor_;
  Floats weights_, biases_;
};

Floats floats_at(const Buffer& buffer, std::size_t offset, std::size_t count) {
  Floats values(count);
  const auto* bytes = static_cast<const std::byte*>(buffer.contents());
  std::memcpy(values.data(), bytes + offset, count * sizeof(float));
  return values;
}
void put(const Buffer& buffer, std::size_t offset, const Floats& values) {
  std::memcpy(static_cast<std::byte*>(buffer.contents()) + offset, values.data(),
              values.size() * sizeof(float));
}
Floats first_two(const Floats& values) { return {values[0], values[1]}; }

using ConvolutionState = std::shared_ptr<CNNConvolutionWeightsAndBiasesState>;
ConvolutionState state_over(const CNNConvolutionDescriptor& descriptor, std::size_t weights_offset,
                            std::size_t biases_offset) {
  const Buffer weights = device().makeBuffer(64), biases = device().makeBuffer(64);
  std::memset(weights.contents(), static_cast<int>(padding), 64);
  std::memset(biases.contents(), static_cast<int>(padding), 64);
  return std::make_shared<CNNConvolutionWeightsAndBiasesState>(weights, weights_offset, biases,
                                                               biases_offset, descriptor);
}
std::shared_ptr<CNNConvolutionGradientState> gradient_state_of(const CNNConvolution& kernel) {
  ImageDescriptor source, result;
  source.featureChannels = kernel.inputFeatureChannels();
  result.featureChannels = kernel.outputFeatureChannels();
  return std::dynamic_pointer_cast<CNNConvolutionGradientState>(
      kernel.resultState(Image(device(), source), {}, Image(device(), result)));
}

/// Four weights, and two biases that go the way of the first two weights.
struct ConvolutionForm {
  std::shared_ptr<ConvolutionWeightsSource> data = std::make_shared<ConvolutionWeightsSource>(2, 2);
  CNNConvolution kernel{device(), data};
  std::shared_ptr<CNNConvolutionGradientState> gradient = gradient_state_of(kernel);
  ConvolutionState source = state_over(*data->descriptor(), 8, 4), result;
  std::vector<Vector> moments[3];

  ConvolutionForm(const Floats& w, bool in_place)
      : result(in_place ? source : state_over(*data->descriptor(), 0, 12)) {
    put(source->weights(), source->weightsOffset(), w);
    put(source->biases(), source->biasesOffset(), first_two(w));
    for (auto& pair : moments) pair = {zeros(4), zeros(2)};
  }
  Floats values() const {
    const Floats weights = floats_at(source->weights(), source->weightsOffset(), 4);
    EXPECT_EQ(floats_at(source->biases(), source->biasesOffset(), 2), first_two(weights));
    return weights;
  }
  Floats moment(std::size_t i) const {
    const Floats all = read(moments[i][0]);
    EXPECT_EQ(read(moments[i][1]), first_two(all));
    return all;
  }
  void set_gradient(const Floats& g) {
    put(gradient->gradientForWeights(), 0, g);
    put(gradient->gradientForBiases(), 0, first_two(g));
  }
  template <class Optimizer, std::size_t... I>
  void encode(Optimizer& optimizer, const CommandBuffer& commands, std::index_sequence<I...>) {
    optimizer.encode(commands, gradient, source, moments[I]..., result);
    std::swap(source, result);
  }
  void check(const Floats& before, bool in_place) const {
    if (in_place) return;
    EXPECT_EQ(floats_at(result->weights(), result->weightsOffset(), 4), before);
    EXPECT_EQ(floats_at(result->biases(), result->biasesOffset(), 2), first_two(before));
  }
};

class GammaAndBetaSource final : public CNNBatchNormalizationDataSource {
 public:
  explicit GammaAndBetaSource(Floats values) : values_(std::move(values)) {}
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return values_.size(); }
  [[nodiscard]] const float* gamma() override { return values_.data(); }
  [[nodiscard]] const float* beta() override { return values_.data(); }
  [[nodiscard]] const float* mean() override { return nullptr; }
  [[nodiscard]] const float* variance() override { return nullptr; }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "norm"; }

 private:
  Floats values_;
};

CNNBatchNormalizationStatePtr state_of(const CNNBatchNormalization& kernel) {
  ImageDescriptor image;
  image.featureChannels = kernel.numberOfFeatureChannels();
  return std::dynamic_pointer_cast<CNNBatchNormalizationState>(
      kernel.resultState(Image(device(), image), {}, Image(device(), image)));
}

/// Gamma, and beta that goes the same way; gradients from the same state or from another one.
template <bool two_states>
struct BatchNormalizationForm {
  CNNBatchNormalization kernel;
  CNNBatchNormalizationStatePtr source = state_of(kernel), gradient;
  std::shared_ptr<CNNNormalizationGammaAndBetaState> result;
  std::vector<Vector> moments[3];
  bool is_in_place;

  BatchNormalizationForm(const Floats& w, bool in_place)
      : kernel(device(), std::make_shared<GammaAndBetaSource>(w)),
        gradient(two_states ? state_of(kernel) : source),
        result(in_place ? std::make_shared<CNNNormalizationGammaAndBetaState>(source->gamma(),
                                                                              source->beta())
                        : std::make_shared<CNNNormalizationGammaAndBetaState>(
                              device().makeBuffer(16), device().makeBuffer(32))),
        is_in_place(in_place) {
    for (auto& pair : moments) pair = {zeros(4), zeros(4)};
    // As after a forward encode and the statistics of its gradient.
    run([&](const CommandBuffer& commands) {
      static_cast<void>(gradient->begin_gradient(commands.recording(), 1));
      if (two_states) source->begin_normalization(commands.recording(), kernel.values());
    });
  }
  Floats values() const {
    const Floats gamma = floats_at(result->gamma(), 0, 4);
    EXPECT_EQ(floats_at(result->beta(), 0, 4), gamma);
    return gamma;
  }
  Floats moment(std::size_t i) const {
    const Floats all = read(moments[i][0]);
    EXPECT_EQ(read(moments[i][1]), all);
    return all;
  }
  void set_gradient(const Floats& g) {
    put(gradient->gradientForGamma(), 0, g);
    put(gradient->gradientForBeta(), 0, g);
  }
  template <class Optimizer, std::size_t... I>
  void encode(Optimizer& optimizer, const CommandBuffer& commands, std::index_sequence<I...>) {
    if constexpr (two_states) {
      optimizer.encode(commands, gradient, source, moments[I]..., result);
    } else {
      optimizer.encode(commands, source, moments[I]..., result);
    }
  }
  void check(const Floats& before, bool in_place) const {
    if (in_place) return;
    EXPECT_EQ(floats_at(source->gamma(), 0, 4), before);
    EXPECT_EQ(floats_at(source->beta(), 0, 4), before);
    put(source->gamma(), 0, floats_at(result->gamma(), 0, 4));
    put(source->beta(), 0, floats_at(result->beta(), 0, 4));
  }
};

struct Expected {
  Doubles values;
  std::vector<Doubles> moments;
};

/// Runs a step for each row of `expected` and compares values and moments.
template <class Form, std::size_t moments, class Optimizer>
void expect_steps(Optimizer optimizer, const std::vector<Floats>& gradients,
                  const std::vector<Expected>& expected) {
  for (const bool in_place : {true, false}) {
    SCOPED_TRACE(in_place ? "in place" : "distinct result");
    Optimizer own = optimizer;  // a copy: every property, timeStep too
    Form form(example_w, in_place);
    Floats before = example_w;
    for (std::size_t step = 0; step < expected.size(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step + 1));
      form.set_gradient(gradients[step]);
      run([&](const CommandBuffer& commands) {
        form.encode(own, commands, std::make_index_sequence<moments>());
      });
      const int count = static_cast<int>(step) + 1;
      expect_close(form.values(), expected[step].values, count, 0, "values");
      for (std::size_t i = 0; i < expected[step].moments.size(); ++i) {
        expect_close(form.moment(i), expected[step].moments[i], count, 0,
                     "moment " + std::to_string(i));
      }
      form.check(before, in_place);
      before = form.values();
    }
  }
}

NNOptimizerDescriptor with_rate(float learning_rate) {
  return {learning_rate, 1, NNRegularizationType::None, 0};
}

template <class Form>
class OptimizerForms : public testing::Test {};
using Forms = testing::Types<VectorForm, VectorsForm, MatrixForm, MatricesForm, ConvolutionForm,
                             BatchNormalizationForm<false>, BatchNormalizationForm<true>>;
TYPED_TEST_SUITE(OptimizerForms, Forms);

// ---- section 9 ---------------------------------------------------------------------------------

TYPED_TEST(OptimizerForms, O1Preprocessing) {
  const auto sgd = [](NNRegularizationType type) {
    return Sgd(device(), 0, false, {0.1F, 0.5F, true, 0.5F, -2, type, 0.1F});
  };
  // A momentum of zeros with momentumScale 0 is plain descent that also keeps lr*g.
  expect_steps<TypeParam, 1>(Sgd(device(), 0.1F), {example_g},
                             {{{0.49, -1.1, 1.975, -0.1}, {{0.01, -0.4, 0.025, 0.1}}}});
  expect_steps<TypeParam, 1>(sgd(NNRegularizationType::None), {example_g},
                             {{{0.495, -1.4, 1.9875, -0.025}, {{0.005, -0.1, 0.0125, 0.025}}}});
  expect_steps<TypeParam, 1>(sgd(NNRegularizationType::L2), {example_g},
                             {{{0.49, -1.385, 1.9675, -0.025}, {{0.01, -0.115, 0.0325, 0.025}}}});
  expect_steps<TypeParam, 1>(sgd(NNRegularizationType::L1), {example_g},
                             {{{0.485, -1.39, 1.9775, -0.025}, {{0.015, -0.11, 0.0225, 0.025}}}});
}

TYPED_TEST(OptimizerForms, O2aMomentum) {
  expect_steps<TypeParam, 1>(
      Sgd(device(), 0.9F, false, with_rate(0.1F)), {example_g, example_g, example_g},
      {{{0.49, -1.1, 1.975, -0.1}, {{0.01, -0.4, 0.025, 0.1}}},
       {{0.471, -0.34, 1.9275, -0.29}, {{0.019, -0.76, 0.0475, 0.19}}},
       {{0.4439, 0.744, 1.85975, -0.561}, {{0.0271, -1.084, 0.06775, 0.271}}}});
}

TYPED_TEST(OptimizerForms, O2bNesterov) {
  expect_steps<TypeParam, 1>(
      Sgd(device(), 0.9F, true, with_rate(0.1F)), {example_g, example_g, example_g},
      {{{0.481, -0.74, 1.9525, -0.19}, {{0.1, -4, 0.25, 1}}},
       {{0.4539, 0.344, 1.88475, -0.461}, {{0.19, -7.6, 0.475, 1.9}}},
       {{0.41951, 1.7196, 1.798775, -0.8049}, {{0.271, -10.84, 0.6775, 2.71}}}});
}

TYPED_TEST(OptimizerForms, O3RMSProp) {
  expect_steps<TypeParam, 1>(NNOptimizerRMSProp(device(), 0.01F), {example_g, example_g},
                             {{{0.468377233398, -1.46837722365, 1.9683772274, -0.0316227756017},
                               {{0.001, 1.6, 0.00625, 0.1}}},
                              {{0.445435665274, -1.44543565039, 1.94543565612, -0.0545643484624},
                               {{0.0019, 3.04, 0.011875, 0.19}}}});
}

TYPED_TEST(OptimizerForms, O4aAdam) {
  expect_steps<TypeParam, 2>(
      NNOptimizerAdam(device(), 0.01F), {example_g, example_g2, example_g2},
      {{{0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772},
        {{0.01, -0.4, 0.025, 0.1}, {1e-05, 0.016, 6.25e-05, 0.001}}},
       {{0.493661061715, -1.48530531944, 1.9800000216, -0.0167005772591},
        {{-0.011, -0.26, 0.0475, 0.09}, {4.999e-05, 0.016984, 0.0001249375, 0.000999}}},
       {{0.500030020195, -1.483285833, 1.9700000289, -0.0218801453444},
        {{-0.0299, -0.134, 0.06775, 0.081},
         {8.994001e-05, 0.017967016, 0.0001873125625, 0.000998001}}}});
}

TYPED_TEST(OptimizerForms, O4bAMSGrad) {
  const NNOptimizerAdam adam(device(), 0.9, 0.5, 1e-8F, 0, with_rate(0.01F));
  const std::vector<Floats> gradients{example_g, example_g2, example_g2};
  expect_steps<TypeParam, 3>(
      adam, gradients,
      {{{0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858},
        {{0.01, -0.4, 0.025, 0.1}, {0.005, 8, 0.03125, 0.5}, {0.005, 8, 0.03125, 0.5}}},
       {{0.493342555381, -1.48581008338, 1.98000000103, -0.0158014228515},
        {{-0.011, -0.26, 0.0475, 0.09}, {0.0225, 4.5, 0.046875, 0.25}, {0.0225, 8, 0.046875, 0.5}}},
       {{0.499180781191, -1.4841747943, 1.97000000146, -0.0197554053823},
        {{-0.0299, -0.134, 0.06775, 0.081},
         {0.03125, 2.75, 0.0546875, 0.125},
         {0.03125, 8, 0.0546875, 0.5}}}});
  expect_steps<TypeParam, 2>(
      adam, gradients,
      {{{0.490000001414, -1.49000000004, 1.99000000057, -0.00999999985858}, {}},
       {{0.493342555381, -1.48441344451, 1.98000000103, -0.0182044508882}, {}},
       {{0.499180781191, -1.48162428607, 1.97000000146, -0.0261124158379}, {}}});
}

TEST(Optimizer, O2cTheRateOfTheEncodeCounts) {
  Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  const Vector g = vector_of({1}), w = vector_of({1}), m = zeros(1);
  CommandBuffer commands = command_buffer();
  sgd.encode(commands, g, w, m, w);
  sgd.setLearningRate(0.01F);
  sgd.encode(commands, g, w, m, w);
  sgd.setLearningRate(1000);
  finish(commands);
  expect_close(read(m), {0.1}, 2);
  expect_close(read(w), {0.8}, 2);
}

TEST(Optimizer, O2dMovingAverage) {
  const Sgd sgd(device(), 0, false, {-0.1F, 1, NNRegularizationType::L2, -1});
  const Vector w = vector_of({0.2F});
  run([&](const CommandBuffer& commands) { sgd.encode(commands, vector_of({1}), w, {}, w); });
  expect_close(read(w), {0.28});
}

TEST(Optimizer, O3TheEpsilonOfRMSPropIsOutsideTheRoot) {
  const NNOptimizerRMSProp rms(device(), 0.9, 0.5F, with_rate(0.01F));
  const Vector w = vector_of({0.5F}), s = zeros(1);
  run([&](const CommandBuffer& commands) { rms.encode(commands, vector_of({0.1F}), w, s, w); });
  expect_close(read(w), {0.498118966974});
}

TEST(Optimizer, O4cEpsilonHat) {
  NNOptimizerAdam adam(device(), 0.9, 0.999, 1e-3F, 0, with_rate(0.01F));
  const Vector w = vector_of({0.5F}), m = zeros(1), v = zeros(1);
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, vector_of({1e-3F}), w, m, v, w);
  });
  EXPECT_NEAR(read(w)[0], 0.4996934657, 1e-7);
}

TEST(Optimizer, O4dResume) {
  NNOptimizerAdam adam(device(), 0.01F);
  adam.setTimeStep(9);
  const Vector w = vector_of({0.5F}), m = vector_of({0.02F}), v = vector_of({0.003F});
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, vector_of({0.1F}), w, m, v, w);
    EXPECT_EQ(adam.timeStep(), 10U);
  });
  expect_close(read(m), {0.028});
  expect_close(read(v), {0.003007});
  expect_close(read(w), {0.499217797808});
  EXPECT_EQ(adam.timeStep(), 10U);
}

// ---- against the double-precision oracle -------------------------------------------------------

TEST(Optimizer, RandomValuesAgainstDouble) {
  constexpr std::size_t count = 33001;  // several threads and a tail
  const Floats w = test::floats(count, 1), g = test::floats(count, 2, -3, 3),
               moment = test::floats(count, 3), square = test::floats(count, 4, 0.01F, 2),
               largest = test::floats(count, 5, 0.01F, 2);
  for (const auto type :
       {NNRegularizationType::None, NNRegularizationType::L1, NNRegularizationType::L2}) {
    for (const bool clip : {false, true}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(type)) + (clip ? " clipped" : ""));
      const NNOptimizerDescriptor descriptor(0.03F, 0.7F, clip, 1.5F, -0.5F, type, 0.01F);
      const GradientPreparation preparation{clip ? 1 : 0, static_cast<std::int32_t>(type)};
      const oracle::PreparationScalars scalars{0.7F, -0.5F, 1.5F, 0.01F};
      const Vector gradient = vector_of(g), values = vector_of(w), m = vector_of(moment),
                   v = vector_of(square), x = vector_of(largest), result = zeros(count);
      // Scales: the largest terms of the sums, so that cancellation does not count. Squares stay
      // away from 0, where the step is any number of ulp wrong for a gradient that is one wrong.
      // Sums of squares have one ulp more: squaring doubles the roundings of the prepared gradient.
      for (const bool nesterov : {false, true}) {
        const Sgd sgd(device(), 0.9F, nesterov, descriptor);
        write(m, moment);
        run([&](const CommandBuffer& c) { sgd.encode(c, gradient, values, m, result); });
        const auto wanted = oracle::stochastic_gradient_descent({preparation, nesterov ? 1 : 0},
                                                                {scalars, 0.03F, 0.9F}, doubles(g),
                                                                {doubles(w), doubles(moment)});
        expect_close(read(m), wanted.momentum, 1, 1, "momentum");
        expect_close(read(result), wanted.values, 1, 1);
      }
      const NNOptimizerRMSProp rms(device(), 0.8, 1e-6F, descriptor);
      run([&](const CommandBuffer& c) { rms.encode(c, gradient, values, v, result); });
      const auto wanted = oracle::rms_prop(
          {preparation}, {scalars, 0.03F, double{0.8F}, double{static_cast<float>(1 - 0.8)}, 1e-6F},
          doubles(g), {doubles(w), doubles(square)});
      expect_close(read(v), wanted.sumOfSquares, 1, 0, "sum of squares", 3);
      expect_close(read(result), wanted.values, 1, 0.25);

      for (const bool amsgrad : {false, true}) {
        NNOptimizerAdam adam(device(), 0.8, 0.99, 1e-6F, 4, descriptor);
        write(m, moment);
        write(v, square);
        run([&](const CommandBuffer& c) {
          adam.encode(c, gradient, values, m, v, amsgrad ? x : Vector(), result);
        });
        const float rate =
            static_cast<float>(oracle::adam_step_learning_rate(double{0.03F}, 0.8, 0.99, 5));
        const auto after = oracle::adam(
            {preparation},
            {scalars, rate, double{0.8F}, double{static_cast<float>(1 - 0.8)}, double{0.99F},
             double{static_cast<float>(1 - 0.99)}, 1e-6F},
            doubles(g),
            {doubles(w), doubles(moment), doubles(square), amsgrad ? doubles(largest) : Doubles()});
        expect_close(read(m), after.momentum, 1, 0.5);
        expect_close(read(v), after.velocity, 1, 0, "velocity", 3);
        expect_close(read(result), after.values, 1, 1);
        if (amsgrad) expect_close(read(x), after.maximumVelocity, 1, 0, "maximum", 3);
        write(x, largest);
      }
    }
  }
}

// ---- rules of the encodes ----------------------------------------------------------------------

TEST(Optimizer, TheResultMayBeTheGradient) {
  const Sgd sgd(device(), 0.1F);
  const Vector g = vector_of(example_g), w = vector_of(example_w);
  run([&](const CommandBuffer& commands) { sgd.encode(commands, g, w, Vector(), g); });
  expect_close(read(g), {0.49, -1.1, 1.975, -0.1});
  EXPECT_EQ(read(w), example_w);
}

TEST(Optimizer, NilMomentumIsPlainDescentWhateverTheScale) {
  const Sgd sgd(device(), 0.9F, true, with_rate(0.1F));
  const Vector w = vector_of(example_w);
  const Matrix g = matrix_2x2(12, example_g), v = matrix_2x2(8, example_w);
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, vector_of(example_g), w, Vector(), w);
    sgd.encode(commands, g, v, Matrix(), v);
  });
  expect_close(read(w), {0.49, -1.1, 1.975, -0.1});
  expect_close(read(v), {0.49, -1.1, 1.975, -0.1});

  ConvolutionForm form(example_w, true);
  form.set_gradient(example_g);
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, form.gradient, form.source, {}, form.source);
  });
  expect_close(form.values(), {0.49, -1.1, 1.975, -0.1});
}

TEST(Optimizer, EncodesOfOneCommandBufferSeeEachOther) {
  const Sgd sgd(device(), 0.1F);
  const Vector g = vector_of({1}), w = vector_of({0}), between = zeros(1), last = zeros(1);
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, g, w, {}, between);
    sgd.encode(commands, g, between, {}, last);
  });
  expect_close(read(last), {-0.2}, 2);
}

TEST(Optimizer, AnArrayOfOneLeavesTheBiases) {
  NNOptimizerAdam adam(device(), 0.01F);
  ConvolutionForm form(example_w, false);
  form.set_gradient(example_g);
  const std::vector<Vector> m{form.moments[0][0]}, v{form.moments[1][0]};
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, form.gradient, form.source, m, v, form.result);
  });
  expect_close(floats_at(form.result->weights(), 0, 4),
               {0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772});
  EXPECT_EQ(floats_at(form.source->biases(), 4, 2), first_two(example_w));
  const auto* biases = static_cast<const std::byte*>(form.result->biases().contents());
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(biases[i], padding);
  EXPECT_EQ(adam.timeStep(), 1U);
}

TEST(Optimizer, ASourceWithoutBiasesUpdatesWeightsAlone) {
  NNOptimizerAdam adam(device(), 0.01F);
  ConvolutionForm form(example_w, true);
  form.set_gradient(example_g);
  const auto source = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      device().makeBuffer(example_w.data(), 16), Buffer());
  const Vector unused = vector_of({5, 6, 7});  // any length: nobody looks
  const std::vector<Vector> m{form.moments[0][0], unused}, v{form.moments[1][0], unused};
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, form.gradient, source, m, v, source);
  });
  expect_close(floats_at(source->weights(), 0, 4),
               {0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772});
  EXPECT_EQ(read(unused), (Floats{5, 6, 7}));
}

TEST(Optimizer, VectorsAfterTheSecondAreIgnored) {
  const Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  ConvolutionForm form(example_w, true);
  form.set_gradient(example_g);
  form.moments[0].push_back(Vector());
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, form.gradient, form.source, form.moments[0], form.source);
  });
  expect_close(form.values(), {0.49, -1.1, 1.975, -0.1});
}

TEST(Optimizer, TheTimeStepRisesOnceForEveryEncode) {
  NNOptimizerAdam adam(device(), 0.01F);
  EXPECT_EQ(adam.timeStep(), 0U);
  ConvolutionForm form(example_w, true);
  CommandBuffer commands = command_buffer();
  form.encode(adam, commands, std::make_index_sequence<2>());
  EXPECT_EQ(adam.timeStep(), 1U);
  form.encode(adam, commands, std::make_index_sequence<3>());
  EXPECT_EQ(adam.timeStep(), 2U);
  NNOptimizerAdam copy = adam;
  VectorForm vectors(example_w, true);
  vectors.encode(copy, commands, std::make_index_sequence<2>());
  EXPECT_EQ(copy.timeStep(), 3U);
  EXPECT_EQ(adam.timeStep(), 2U);
  EXPECT_THROW(copy.encode(commands, zeros(4), zeros(4), zeros(4), zeros(3), zeros(4)),
               InvalidArgument);
  EXPECT_EQ(copy.timeStep(), 3U);
  finish(commands);
  EXPECT_EQ(copy.timeStep(), 3U);
}

TEST(Optimizer, NaNPassesTheClip) {
  const Sgd sgd(device(), 0, false, {0.1F, 1, true, 1, -1, NNRegularizationType::None, 0});
  const Vector w = vector_of({0.5F, 0.5F});
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, vector_of({std::nanf(""), 3}), w, {}, w);
  });
  EXPECT_TRUE(std::isnan(read(w)[0]));
  expect_close({read(w)[1]}, {0.4});
}

TEST(Optimizer, TemporariesLoseOneReadForAnEncode) {
  NNOptimizerAdam adam(device(), 0.01F);
  const Sgd sgd(device(), 1);
  const auto descriptor = VectorDescriptor::vectorDescriptor(4, DataType::Float32);
  CommandBuffer commands = command_buffer();
  TemporaryVector gradient(commands, descriptor), between(commands, descriptor);
  TemporaryVector momentum(commands, descriptor);
  sgd.encode(commands, vector_of(example_g), zeros(4), {}, gradient);  // -g
  sgd.encode(commands, zeros(4), zeros(4), {}, momentum);
  sgd.encode(commands, zeros(4), vector_of(example_w), {}, between);
  EXPECT_EQ(gradient.readCount(), 1U);
  gradient.setReadCount(2);
  momentum.setReadCount(3);
  const Vector result = zeros(4), velocity = zeros(4);
  adam.encode(commands, gradient, between, momentum, velocity, result);
  EXPECT_EQ(gradient.readCount(), 1U);
  EXPECT_EQ(between.readCount(), 0U);
  EXPECT_EQ(momentum.readCount(), 2U);
  // One object for two arguments is read once.
  sgd.encode(commands, momentum, momentum, {}, zeros(4));
  EXPECT_EQ(momentum.readCount(), 1U);
  finish(commands);
  expect_close(read(result), {0.509999968377, -1.50999999921, 2.00999998735, 0.00999999683772});

  CommandBuffer other = command_buffer();
  ConvolutionForm form(example_w, true);
  const auto source =
      CNNConvolutionWeightsAndBiasesState::temporaryCNNConvolutionWeightsAndBiasesState(
          other, *form.data->descriptor());
  source->setReadCount(2);
  sgd.encode(other, form.gradient, source, {}, form.source);
  EXPECT_EQ(source->readCount(), 1U);
  EXPECT_THROW(sgd.encode(other, form.gradient, source, form.moments[0], nullptr), InvalidArgument);
  EXPECT_EQ(source->readCount(), 1U);
}

TEST(Optimizer, Float16MixesWithFloat32) {
  NNOptimizerAdam adam(device(), 0.9, 0.5, 1e-4F, 0, with_rate(0.01F));
  const auto half = DataType::Float16;
  const auto rounded = [](Floats values) {
    for (float& value : values) value = float_from_half(half_from_float(value));
    return values;
  };
  // Exact inputs: what differs from the float32 run is the rounding of what is stored.
  const Floats g{0.125F, -4, 0.25F, 1};
  const Vector w = vector_of(example_w), m = zeros(4), v = zeros(4), result = zeros(4);
  const Vector half_w = vector_of(example_w, half), half_v = vector_of({0, 0, 0, 0}, half),
               half_result = vector_of({0, 0, 0, 0}, half), full_m = zeros(4);
  const Matrix matrix_w = matrix_2x2(6, example_w, half), matrix_g = matrix_2x2(12, g),
               matrix_m = matrix_2x2(4, {0, 0, 0, 0}, half), matrix_v = matrix_2x2(8, {0, 0, 0, 0});
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, vector_of(g), w, m, v, result);
    adam.setTimeStep(0);
    adam.encode(commands, vector_of(g, half), half_w, full_m, half_v, half_result);
    adam.setTimeStep(0);
    adam.encode(commands, matrix_g, matrix_w, matrix_m, matrix_v, matrix_w);
  });
  EXPECT_EQ(read(full_m), read(m));
  EXPECT_EQ(read(half_v), rounded(read(v)));
  EXPECT_EQ(read(half_result), rounded(read(result)));
  EXPECT_EQ(read(half_w), example_w);
  EXPECT_EQ(read(matrix_w), rounded(read(result)));
  EXPECT_EQ(read(matrix_m), rounded(read(m)));
  EXPECT_EQ(read(matrix_v), read(v));
  for (const Matrix& matrix : {matrix_w, matrix_g, matrix_m, matrix_v}) {
    expect_padding_untouched(matrix);
  }
}

TEST(Optimizer, AWholeBufferWithZeroPaddingIsAVector) {
  NNOptimizerAdam adam(device(), 0.01F);
  const auto descriptor = MatrixDescriptor::matrixDescriptor(3, 5, 32, DataType::Float32);
  const Matrix w(device(), descriptor), g(device(), descriptor);
  write(w, test::floats(15, 1));
  write(g, test::floats(15, 2));
  const auto all = VectorDescriptor::vectorDescriptor(3 * 32 / 4, DataType::Float32);
  const Vector m(device(), all), v(device(), all), flat(w.data(), all);
  run([&](const CommandBuffer& c) { adam.encode(c, Vector(g.data(), all), flat, m, v, flat); });
  const Floats after = read(flat);
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t j = 5; j < 8; ++j) EXPECT_EQ(after[row * 8 + j], 0);
  }
}

TEST(Optimizer, TrainsAConvolutionInOneCommandBuffer) {
  auto data = std::make_shared<ConvolutionWeightsSource>(3, 4);
  CNNConvolution forward(device(), data);
  CNNConvolutionGradient backward(device(), data);
  backward.setGradientOption(CNNConvolutionGradientOption::GradientWithWeightsAndBias);
  NNOptimizerAdam adam(device(), 0.01F);
  const auto image = [](std::size_t channels, std::uint64_t seed) {
    const Image made(device(), ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32,
                                                                5, 6, channels));
    made.write_floats(test::floats(30 * channels, seed));
    return made;
  };
  const Image source = image(3, 1), incoming = image(4, 2), sink = image(3, 3),
              result = image(4, 4);
  const std::vector<Vector> m{zeros(12), zeros(4)}, v{zeros(12), zeros(4)};

  CommandBuffer commands = command_buffer();
  const auto state = gradient_state_of(forward);
  forward.encode(commands, source, state, result);
  const auto before = forward.exportWeightsAndBiases(commands, false);
  const auto after =
      std::make_shared<CNNConvolutionWeightsAndBiasesState>(device(), *data->descriptor());
  backward.encode(commands, incoming, source, state, sink);
  adam.encode(commands, state, before, m, v, after);
  forward.reloadWeightsAndBiases(commands, after);
  const auto reloaded = forward.exportWeightsAndBiases(commands, false);
  finish(commands);

  oracle::AdamScalars scalars;
  scalars.stepLearningRate = oracle::adam_step_learning_rate(0.01F, 0.9, 0.999, 1);
  const auto expect_update = [&](const Buffer& gradient, const Buffer& old, const Buffer& updated,
                                 std::size_t count) {
    const Floats g = floats_at(gradient, 0, count);
    EXPECT_GT(std::abs(g[0]), 0.01);
    const auto wanted =
        oracle::adam({}, scalars, doubles(g),
                     {doubles(floats_at(old, 0, count)), Doubles(count, 0), Doubles(count, 0), {}});
    expect_close(floats_at(updated, 0, count), wanted.values, 1, 0.05);
  };
  expect_update(state->gradientForWeights(), before->weights(), reloaded->weights(), 12);
  expect_update(state->gradientForBiases(), before->biases(), reloaded->biases(), 4);
}

// ---- properties --------------------------------------------------------------------------------

TEST(Optimizer, Descriptor) {
  NNOptimizerDescriptor d;
  EXPECT_EQ(d.learningRate(), 1e-3F);
  EXPECT_EQ(d.gradientRescale(), 1);
  EXPECT_FALSE(d.applyGradientClipping());
  EXPECT_EQ(d.gradientClipMax(), std::numeric_limits<float>::max());
  EXPECT_EQ(d.gradientClipMin(), std::numeric_limits<float>::lowest());
  EXPECT_EQ(d.regularizationScale(), 0);
  EXPECT_EQ(d.regularizationType(), NNRegularizationType::None);

  const auto full = NNOptimizerDescriptor::optimizerDescriptor(0.5F, 2, true, 3, -4,
                                                               NNRegularizationType::L1, 0.25F);
  d.setLearningRate(0.5F);
  d.setGradientRescale(2);
  d.setApplyGradientClipping(true);
  d.setGradientClipMax(3);
  d.setGradientClipMin(-4);
  d.setRegularizationType(NNRegularizationType::L1);
  d.setRegularizationScale(0.25F);
  EXPECT_EQ(d, full);
  const auto brief =
      NNOptimizerDescriptor::optimizerDescriptor(0.5F, 2, NNRegularizationType::L2, 0.25F);
  EXPECT_FALSE(brief.applyGradientClipping());
  EXPECT_EQ(brief.regularizationType(), NNRegularizationType::L2);

  NNOptimizerRMSProp rms(device(), 0.75, 0.5F, d);
  d.setLearningRate(9);  // read once
  EXPECT_EQ(rms.learningRate(), 0.5F);
  EXPECT_EQ(rms.gradientRescale(), 2);
  EXPECT_EQ(rms.gradientClipMax(), 3);
  EXPECT_EQ(rms.gradientClipMin(), -4);
  EXPECT_EQ(rms.regularizationType(), NNRegularizationType::L1);
  EXPECT_EQ(rms.regularizationScale(), 0.25F);
  EXPECT_EQ(rms.decay(), 0.75);
  EXPECT_EQ(rms.epsilon(), 0.5F);
  EXPECT_TRUE(rms.applyGradientClipping());
  rms.setApplyGradientClipping(false);
  EXPECT_FALSE(rms.applyGradientClipping());
}

TEST(Optimizer, Defaults) {
  const Sgd sgd(device(), 0.5F);
  EXPECT_EQ(sgd.learningRate(), 0.5F);
  EXPECT_EQ(sgd.momentumScale(), 0);
  EXPECT_FALSE(sgd.useNesterovMomentum());
  EXPECT_FALSE(sgd.useNestrovMomentum());
  const Sgd nesterov(device(), 0.25F, true, {});
  EXPECT_EQ(nesterov.learningRate(), 1e-3F);
  EXPECT_EQ(nesterov.momentumScale(), 0.25F);
  EXPECT_TRUE(nesterov.useNesterovMomentum());
  EXPECT_TRUE(nesterov.useNestrovMomentum());
  const NNOptimizerRMSProp rms(device(), 0.5F);
  EXPECT_EQ(rms.decay(), 0.9);
  EXPECT_EQ(rms.epsilon(), 1e-8F);
  const NNOptimizerAdam adam(device(), 0.5F);
  EXPECT_EQ(adam.beta1(), 0.9);
  EXPECT_EQ(adam.beta2(), 0.999);
  EXPECT_EQ(adam.epsilon(), 1e-8F);
  EXPECT_EQ(adam.timeStep(), 0U);
  EXPECT_EQ(adam.class_name(), "NNOptimizerAdam");
}

// ---- messages ----------------------------------------------------------------------------------

TEST(OptimizerMessages, VectorsAndMatrices) {
  Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  sgd.setLabel("fc1");
  NNOptimizerRMSProp rms(device(), 0.1F);
  NNOptimizerAdam adam(device(), 0.1F);
  const CommandBuffer commands = command_buffer();
  const Vector four = zeros(4), three = zeros(3);
  EXPECT_EQ(text_of([&] { sgd.encode(commands, Vector(), four, four, four); }),
            "NNOptimizerStochasticGradientDescent \"fc1\": inputGradientVector is nil; needed a "
            "vector or matrix of the command buffer's device.");
  EXPECT_EQ(text_of([&] { sgd.encode(commands, four, four, three, four); }),
            "NNOptimizerStochasticGradientDescent \"fc1\": inputMomentumVector is a vector of 3 "
            "Float32; needed as many elements as inputValuesVector, a vector of 4 Float32.");
  EXPECT_EQ(text_of([&] { sgd.encode(commands, three, four, four, four); }),
            "NNOptimizerStochasticGradientDescent \"fc1\": inputGradientVector is a vector of 3 "
            "Float32; needed as many elements as inputValuesVector, a vector of 4 Float32.");
  EXPECT_EQ(text_of([&] { rms.encode(commands, four, four, Vector(), four); }),
            "NNOptimizerRMSProp: inputSumOfSquaresVector is nil; needed a vector or matrix of the "
            "command buffer's device.");
  EXPECT_EQ(text_of([&] { adam.encode(commands, four, four, four, Vector(), four, four); }),
            "NNOptimizerAdam: inputVelocityVector is nil; needed a vector or matrix of the command "
            "buffer's device.");
  const Vector integers(device(), VectorDescriptor::vectorDescriptor(4, DataType::Int32));
  EXPECT_EQ(text_of([&] { adam.encode(commands, integers, four, four, four, four); }),
            "NNOptimizerAdam: inputGradientVector is a vector of 4 Int32; needed elements of type "
            "Float32 or Float16.");
  const Matrix square = matrix_2x2(8, example_w);
  const Matrix flat(device(), MatrixDescriptor::matrixDescriptor(1, 4, 16, DataType::Float16));
  EXPECT_EQ(text_of([&] { adam.encode(commands, square, square, square, square, flat); }),
            "NNOptimizerAdam: resultValuesMatrix is a matrix of 1x4 Float16; needed as many "
            "elements as inputValuesMatrix, a matrix of 2x2 Float32.");
  const Device other = Device::cpu(1);
  const Vector elsewhere(other, VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  EXPECT_EQ(text_of([&] { adam.encode(commands, four, elsewhere, four, four, four); }),
            "NNOptimizerAdam: inputValuesVector is on another device; needed the device of the "
            "command buffer.");
  EXPECT_EQ(
      text_of([&] { NNOptimizerAdam(other, 0.1F).encode(commands, four, four, four, four, four); }),
      "NNOptimizerAdam: commandBuffer is on another device; needed a command buffer of the "
      "kernel's device. Make a copy of the kernel for that device.");
  const TemporaryVector foreign(command_buffer(),
                                VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  EXPECT_EQ(text_of([&] { adam.encode(commands, foreign, four, four, four, four); }),
            "NNOptimizerAdam: inputGradientVector is temporary in another command buffer; needed "
            "one of this command buffer, or a permanent one.");
  const TemporaryVector gone(commands, VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  gone.setReadCount(0);
  EXPECT_EQ(text_of([&] { adam.encode(commands, gone, four, four, four, four); }),
            "NNOptimizerAdam: inputGradientVector is read for the last time already; needed a "
            "temporary with reads left. Raise readCount once for every encode that reads it.");
  EXPECT_EQ(adam.timeStep(), 0U);
}

TEST(OptimizerMessages, HyperParameters) {
  const CommandBuffer commands = command_buffer();
  const Vector w = zeros(4);
  Sgd sgd(device(), 0, false, {0.1F, 1, true, -1, 1, NNRegularizationType::None, 0});
  EXPECT_EQ(text_of([&] { sgd.encode(commands, w, w, w, w); }),
            "NNOptimizerStochasticGradientDescent: gradientClipMin is 1.000000; needed -1.000000, "
            "the maximum, or less. The descriptor takes the maximum before the minimum.");
  sgd.setApplyGradientClipping(false);
  EXPECT_NO_THROW(sgd.encode(commands, w, w, w, w));
  sgd.setLearningRate(INFINITY);
  EXPECT_EQ(text_of([&] { sgd.encode(commands, w, w, w, w); }),
            "NNOptimizerStochasticGradientDescent: learningRate is inf; needed a finite number. "
            "Look for a division by zero in its schedule.");
  EXPECT_EQ(text_of([&] { NNOptimizerAdam(device(), 0.9, 1, 1e-8F, 0, {}); }),
            "NNOptimizerAdam: beta2 is 1.000000; needed 0 or more, and less than 1.");
  const Sgd odd(device(), 0, false, {0.1F, 1, static_cast<NNRegularizationType>(7), 1});
  EXPECT_EQ(
      text_of([&] { odd.encode(commands, w, w, w, w); }),
      "NNOptimizerStochasticGradientDescent: regularizationType is 7; needed None, L1 or L2.");
}

TEST(OptimizerMessages, ConvolutionStates) {
  NNOptimizerRMSProp rms(device(), 0.1F);
  NNOptimizerAdam adam(device(), 0.1F);
  const CommandBuffer commands = command_buffer();
  ConvolutionForm form(example_w, true);
  const auto& [m, v, x] = form.moments;
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, {}, form.result); }),
      "NNOptimizerAdam: inputVelocityVectors is empty; needed a vector for the weights, and a "
      "second one for what else is to be updated. Keep them from step to step.");
  EXPECT_EQ(text_of([&] { rms.encode(commands, form.gradient, form.source, {}, form.result); }),
            "NNOptimizerRMSProp: inputSumOfSquaresVectors is empty; needed a vector for the "
            "weights, and a second one for what else is to be updated. Keep them from step to "
            "step.");
  const std::vector<Vector> one{zeros(4)}, wrong{zeros(4), zeros(3)};
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, one, form.result); }),
      "NNOptimizerAdam: inputVelocityVectors is of length 1; needed 2, as many vectors as "
      "inputMomentumVectors.");
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, wrong, x, form.result); }),
      "NNOptimizerAdam: inputVelocityVectors[1] is a vector of 3 Float32; needed a vector of 2 "
      "Float32, as many as there are biases.");
  const std::vector<Vector> half{vector_of(example_w, DataType::Float16), zeros(2)};
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, half, v, form.result); }),
      "NNOptimizerAdam: inputMomentumVectors[0] is a vector of 4 Float16; needed a vector of "
      "4 Float32, as many as there are weights.");
  EXPECT_EQ(text_of([&] {
              adam.encode(commands, std::shared_ptr<CNNConvolutionGradientState>(), form.source, m,
                          v, form.result);
            }),
            "NNOptimizerAdam: convolutionGradientState is nil; needed the state of a forward "
            "encode.");
  const auto bare =
      std::make_shared<CNNConvolutionWeightsAndBiasesState>(device().makeBuffer(16), Buffer());
  EXPECT_EQ(text_of([&] { adam.encode(commands, form.gradient, form.source, m, v, bare); }),
            "NNOptimizerAdam: resultState is of 4 weights and 0 biases; needed 4 weights and 2 "
            "biases, as in convolutionGradientState. Make both states from one convolution "
            "descriptor.");
  EXPECT_NO_THROW(adam.encode(commands, form.gradient, form.source, one, one, bare));
  const auto other = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      device(), *CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 3, 2));
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, other, m, v, form.result); }),
      "NNOptimizerAdam: convolutionSourceState is of 6 weights and 2 biases; needed 4 weights "
      "and 2 biases, as in convolutionGradientState. Make both states from one convolution "
      "descriptor.");
  EXPECT_EQ(adam.timeStep(), 1U);
}

TEST(OptimizerMessages, BatchNormalizationStates) {
  NNOptimizerAdam adam(device(), 0.1F);
  const CommandBuffer commands = command_buffer();
  BatchNormalizationForm<true> form(example_w, false);
  const auto& [m, v, x] = form.moments;
  EXPECT_EQ(text_of([&] { adam.encode(commands, form.source, m, v, form.result); }),
            "NNOptimizerAdam: batchNormalizationState is without gradients; needed those of gamma "
            "and beta. Encode CNNBatchNormalizationStatisticsGradient before.");
  EXPECT_EQ(text_of([&] {
              adam.encode(commands, form.gradient, CNNBatchNormalizationStatePtr(), m, v,
                          form.result);
            }),
            "NNOptimizerAdam: batchNormalizationSourceState is nil; needed the state of a forward "
            "encode.");
  const auto small = std::make_shared<CNNNormalizationGammaAndBetaState>(device().makeBuffer(12),
                                                                         device().makeBuffer(16));
  EXPECT_EQ(text_of([&] { adam.encode(commands, form.gradient, form.source, m, v, small); }),
            "NNOptimizerAdam: resultState is of 3 feature channels; needed 4, as in "
            "batchNormalizationGradientState.");
  const CNNBatchNormalization other(device(), std::make_shared<GammaAndBetaSource>(Floats(5, 1)));
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, state_of(other), m, v, form.result); }),
      "NNOptimizerAdam: batchNormalizationSourceState is of 5 feature channels; needed 4, as "
      "in batchNormalizationGradientState.");
  const std::vector<Vector> wrong{zeros(4), zeros(3)};
  EXPECT_EQ(
      text_of([&] { adam.encode(commands, form.gradient, form.source, m, v, wrong, form.result); }),
      "NNOptimizerAdam: maximumVelocityVectors[1] is a vector of 3 Float32; needed a vector "
      "of 4 Float32, as many as there are beta.");
  EXPECT_EQ(adam.timeStep(), 0U);
}

TEST(Optimizer, AnArrayOfOneLeavesBeta) {
  const Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  BatchNormalizationForm<false> form(example_w, false);
  form.set_gradient(example_g);
  put(form.result->beta(), 0, {9, 9, 9, 9});
  const std::vector<Vector> m{zeros(4)};
  run([&](const CommandBuffer& commands) { sgd.encode(commands, form.source, m, form.result); });
  expect_close(floats_at(form.result->gamma(), 0, 4), {0.49, -1.1, 1.975, -0.1});
  EXPECT_EQ(floats_at(form.result->beta(), 0, 4), Floats(4, 9));
}

// ---- vectors and matrices themselves -----------------------------------------------------------

TEST(MatrixDescriptors, RecommendedStrides) {
  const auto stride = [](std::size_t columns, DataType type) {
    EXPECT_EQ(MatrixDescriptor::rowBytes(columns, type),
              VectorDescriptor::vectorBytes(columns, type));
    return MatrixDescriptor::rowBytes(columns, type);
  };
  EXPECT_EQ(stride(0, DataType::Float32), 0U);
  EXPECT_EQ(stride(1, DataType::Float32), 4U);
  EXPECT_EQ(stride(2, DataType::Float32), 16U);
  EXPECT_EQ(stride(4, DataType::Float32), 16U);
  EXPECT_EQ(stride(5, DataType::Float32), 32U);
  EXPECT_EQ(stride(1, DataType::Float16), 2U);
  EXPECT_EQ(stride(9, DataType::Float16), 32U);
  EXPECT_EQ(stride(5, DataType::Int8), 8U);
  EXPECT_EQ(stride(5, DataType::UInt32), 32U);
  EXPECT_EQ(stride(3, DataType::Int16), 8U);
}

TEST(MatrixDescriptors, SettersLeaveTheOuterStride) {
  auto m = MatrixDescriptor::matrixDescriptor(3, 5, 32, DataType::Float32);
  EXPECT_EQ(m.matrices(), 1U);
  EXPECT_EQ(m.matrixBytes(), 96U);
  m.setRows(4);
  m.setColumns(6);
  m.setRowBytes(64);
  m.setDataType(DataType::Float16);
  EXPECT_EQ(m.matrixBytes(), 96U);
  EXPECT_EQ(m, [] {
    auto same = MatrixDescriptor::matrixDescriptor(4, 6, 1, 64, 96, DataType::Float16);
    return same;
  }());
  auto v = VectorDescriptor::vectorDescriptor(5, DataType::Float32);
  EXPECT_EQ(v.vectors(), 1U);
  EXPECT_EQ(v.vectorBytes(), 32U);
  v.setLength(100);
  v.setDataType(DataType::Float16);
  EXPECT_EQ(v, VectorDescriptor::vectorDescriptor(100, 1, 32, DataType::Float16));
}

TEST(Matrices, PropertiesAndLazyZeroStorage) {
  const auto descriptor = MatrixDescriptor::matrixDescriptor(3, 5, 2, 32, 128, DataType::Float32);
  const std::size_t before = device().memory_use().in_use;
  const Matrix m(device(), descriptor);
  EXPECT_EQ(device().memory_use().in_use, before);
  EXPECT_EQ(m.resourceSize(), 256U);
  EXPECT_EQ(m.rows(), 3U);
  EXPECT_EQ(m.columns(), 5U);
  EXPECT_EQ(m.matrices(), 2U);
  EXPECT_EQ(m.rowBytes(), 32U);
  EXPECT_EQ(m.matrixBytes(), 128U);
  EXPECT_EQ(m.dataType(), DataType::Float32);
  EXPECT_EQ(m.offset(), 0U);
  EXPECT_EQ(m.device(), device());
  EXPECT_EQ(m.readCount(), 0U);
  EXPECT_EQ(m.data().length(), 256U);
  EXPECT_EQ(m.data(), m.data());
  const Buffer zeros = m.data();  // g++ 14 takes a chain of calls in the loop for dangling
  for (const float value : zeros.as<float>()) EXPECT_EQ(value, 0);
  const Matrix same = m;
  EXPECT_EQ(same, m);
  EXPECT_EQ(same.data(), m.data());
  m.synchronize(command_buffer());

  // The last row of a caller's buffer needs no padding.
  const Buffer buffer = device().makeBuffer(8 + 128 + 2 * 32 + 5 * 4);
  const Matrix over(buffer, 8, descriptor);
  EXPECT_EQ(over.offset(), 8U);
  EXPECT_EQ(over.resourceSize(), 0U);
  EXPECT_EQ(over.data(), buffer);
  EXPECT_FALSE(Vector());
  EXPECT_TRUE(over);
}

TEST(Matrices, Messages) {
  const Buffer buffer = device().makeBuffer(100);
  const auto vector = [&](std::size_t length, std::size_t vectors, std::size_t bytes,
                          std::size_t offset, DataType type) {
    return text_of([&] {
      Vector(buffer, offset, VectorDescriptor::vectorDescriptor(length, vectors, bytes, type));
    });
  };
  const auto f32 = DataType::Float32;
  EXPECT_EQ(vector(26, 1, 0, 0, f32),
            "Vector: buffer is 100 bytes; needed 104 for a vector of 26 Float32. Make the buffer "
            "longer or correct the descriptor.");
  EXPECT_EQ(vector(5, 4, 24, 12, f32),
            "Vector: buffer is 100 bytes; needed 104 for 4 vectors of 5 Float32 at byte 12. Make "
            "the buffer longer or correct the descriptor.");
  EXPECT_EQ(vector(0, 1, 0, 0, f32),
            "Vector: length is 0; needed 1 to 2147483647. Correct the vector descriptor.");
  EXPECT_EQ(vector(5, 2, 16, 0, f32),
            "Vector: vectorBytes is 16; needed a multiple of 4 that is 20 or more. Use "
            "VectorDescriptor::vectorBytes(length, dataType).");
  EXPECT_EQ(vector(5, 1, 0, 2, f32),
            "Vector: offset is 2; needed a multiple of 4, the bytes of one element.");
  EXPECT_EQ(vector(5, 1, 0, 0, DataType::Invalid),
            "Vector: dataType is Invalid; needed a type of 1, 2, 4 or 8 bytes. Correct the vector "
            "descriptor.");
  EXPECT_EQ(vector(5, 1, 0, 0, static_cast<DataType>(0x20000004)),
            "Vector: dataType is 0x20000004; needed a type of 1, 2, 4 or 8 bytes. Correct the "
            "vector descriptor.");
  EXPECT_EQ(vector(5, 1000000, std::size_t{1} << 60U, 0, f32),
            "Vector: buffer is 100 bytes; needed 18446744073709551615 for 1000000 vectors of 5 "
            "Float32. Make the buffer longer or correct the descriptor.");
  EXPECT_EQ(text_of([&] {
              Vector(device(),
                     VectorDescriptor::vectorDescriptor(5, 1000000, std::size_t{1} << 60U, f32));
            }),
            "Vector: descriptor is 1000000 vectors of 5 Float32; needed what fits into memory. "
            "Correct rowBytes or the number of elements.");
  EXPECT_EQ(text_of([&] { Vector(Buffer(), VectorDescriptor::vectorDescriptor(5, f32)); }),
            "Vector: buffer is nil; needed a buffer.");
  EXPECT_EQ(text_of([&] { static_cast<void>(Vector().length()); }),
            "Vector or Matrix: the object is nil; needed one that was made. Make it from a device "
            "or a buffer, and a descriptor.");

  const auto matrix = [&](std::size_t rows, std::size_t columns, std::size_t matrices,
                          std::size_t row_bytes, std::size_t matrix_bytes) {
    return text_of([&] {
      Matrix(buffer, MatrixDescriptor::matrixDescriptor(rows, columns, matrices, row_bytes,
                                                        matrix_bytes, f32));
    });
  };
  EXPECT_EQ(matrix(2, 3, 1, 10, 20),
            "Matrix: rowBytes is 10; needed a multiple of 4 that is 12 or more. Use "
            "MatrixDescriptor::rowBytes(columns, dataType).");
  EXPECT_EQ(matrix(2, 3, 2, 12, 30),
            "Matrix: matrixBytes is 30; needed a multiple of 12 that is 24 or more. Use rows * "
            "rowBytes.");
  EXPECT_EQ(
      matrix(3, 3, 3, 12, 36),
      "Matrix: buffer is 100 bytes; needed 108 for 3 matrices of 3x3 Float32. Make the buffer "
      "longer or correct the descriptor.");
  EXPECT_EQ(matrix(0, 3, 1, 12, 0),
            "Matrix: rows is 0; needed 1 to 2147483647. Correct the matrix descriptor.");
  EXPECT_EQ(matrix(3, 3, 0, 12, 36),
            "Matrix: matrices is 0; needed 1 to 2147483647. Correct the matrix descriptor.");
}

TEST(Matrices, TemporariesGiveTheirMemoryBack) {
  CommandBuffer commands = command_buffer();
  const auto descriptor = VectorDescriptor::vectorDescriptor(1000, DataType::Float32);
  TemporaryVector first = TemporaryVector::temporaryVector(commands, descriptor);
  EXPECT_EQ(first.readCount(), 1U);
  EXPECT_EQ(first.resourceSize(), 4000U);
  const void* const address = first.data().contents();
  const Sgd sgd(device(), 1);
  sgd.encode(commands, zeros(1000), zeros(1000), {}, first);
  EXPECT_EQ(first.readCount(), 1U);
  sgd.encode(commands, first, zeros(1000), {}, zeros(1000));
  EXPECT_EQ(first.readCount(), 0U);
  EXPECT_EQ(
      text_of([&] { static_cast<void>(first.data()); }),
      "TemporaryVector: data is gone: read for the last time already; needed a temporary with "
      "reads left. Raise readCount once for every encode that reads it.");
  EXPECT_EQ(text_of([&] { first.setReadCount(1); }),
            "TemporaryVector: readCount is 0: the storage is gone; needed a temporary that still "
            "has reads. Raise readCount before the last encode that reads it.");
  EXPECT_EQ(text_of([&] { zeros(3).setReadCount(1); }),
            "Vector: readCount is of a permanent object; needed a temporary that still has reads.");
  const auto square = MatrixDescriptor::matrixDescriptor(20, 50, 200, DataType::Float32);
  const TemporaryMatrix second = TemporaryMatrix::temporaryMatrix(commands, square);
  EXPECT_EQ(second.data().contents(), address);

  const std::vector<MatrixDescriptor> list{square, square};
  TemporaryMatrix::prefetchStorage(commands, list);
  TemporaryVector::prefetchStorage(commands, std::vector<VectorDescriptor>{descriptor});
  finish(commands);
  EXPECT_EQ(
      text_of([&] { TemporaryMatrix(commands, square); }),
      "CommandBuffer: the command buffer is committed already. Encode, add handlers and commit "
      "on a new command buffer.");
}

TEST(Matrices, TemporariesOutliveACommittedPiece) {
  CommandBuffer commands = command_buffer();
  const Sgd sgd(device(), 1);
  const TemporaryVector between(commands, VectorDescriptor::vectorDescriptor(4, DataType::Float32));
  sgd.encode(commands, zeros(4), vector_of(example_w), {}, between);
  commands.commitAndContinue();
  const Vector result = zeros(4);
  sgd.encode(commands, zeros(4), between, {}, result);
  finish(commands);
  EXPECT_EQ(read(result), example_w);
}

}  // namespace
}  // namespace cermet
