#pragma once
// The forms that an encode of an optimizer takes: vectors, matrices, and states of convolutions and
// batch normalisations. Each holds four values and runs a step on them.

#include <memory>
#include <utility>

#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/convolution.h"
#include "harness/random.h"
#include "optimizer/help.h"

namespace cermet::optimizer_test {

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

inline Floats floats_at(const Buffer& buffer, std::size_t offset, std::size_t count) {
  Floats values(count);
  const auto* bytes = static_cast<const std::byte*>(buffer.contents());
  std::memcpy(values.data(), bytes + offset, count * sizeof(float));
  return values;
}
inline void put(const Buffer& buffer, std::size_t offset, const Floats& values) {
  std::memcpy(static_cast<std::byte*>(buffer.contents()) + offset, values.data(),
              values.size() * sizeof(float));
}
inline Floats first_two(const Floats& values) { return {values[0], values[1]}; }

using ConvolutionState = std::shared_ptr<CNNConvolutionWeightsAndBiasesState>;
inline ConvolutionState state_over(const CNNConvolutionDescriptor& descriptor,
                                   std::size_t weights_offset, std::size_t biases_offset) {
  const Buffer weights = device().makeBuffer(64), biases = device().makeBuffer(64);
  std::memset(weights.contents(), static_cast<int>(padding), 64);
  std::memset(biases.contents(), static_cast<int>(padding), 64);
  return std::make_shared<CNNConvolutionWeightsAndBiasesState>(weights, weights_offset, biases,
                                                               biases_offset, descriptor);
}
inline std::shared_ptr<CNNConvolutionGradientState> gradient_state_of(
    const CNNConvolution& kernel) {
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

inline CNNBatchNormalizationStatePtr state_of(const CNNBatchNormalization& kernel) {
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

inline NNOptimizerDescriptor with_rate(float learning_rate) {
  return {learning_rate, 1, NNRegularizationType::None, 0};
}

}  // namespace cermet::optimizer_test
