// MatrixFullyConnected and both of its gradients (spec: rnn-matrix A7).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "../oracle/neuron.h"
#include "cermet/matrix/fully_connected.h"

namespace cermet::test {
namespace {

struct Layer {
  std::size_t rows, inputs, outputs;
  double alpha = 1;
  bool biased = true;
  Activation activation{};
};

void limit(Kernel& kernel, const Layer& l) {
  const auto set = [&](auto* k) {
    if (k == nullptr) return;
    k->setSourceNumberOfFeatureVectors(l.rows);
    k->setSourceInputFeatureChannels(l.inputs);
    k->setSourceOutputFeatureChannels(l.outputs);
  };
  set(dynamic_cast<MatrixFullyConnected*>(&kernel));
  set(dynamic_cast<MatrixFullyConnectedGradient*>(&kernel));
}

/// f(alpha * X * W + bias)
Grid forward(const Layer& l, const Grid& x, const Grid& w, const Grid& bias) {
  const oracle::NeuronFunction f{l.activation.type, l.activation.a, l.activation.b, l.activation.c};
  Grid y(l.rows, l.outputs);
  for (std::size_t i = 0; i < l.rows; ++i) {
    for (std::size_t j = 0; j < l.outputs; ++j) {
      double sum = 0;
      for (std::size_t t = 0; t < l.inputs; ++t) sum += x(i, t) * w(t, j);
      y(i, j) = f.value(l.alpha * sum + (l.biased ? bias(0, j) : 0.0));
    }
  }
  return y;
}

const auto primary = placed_by(&MatrixBinaryKernel::setPrimarySourceMatrixOrigin);
const auto secondary = placed_by(&MatrixBinaryKernel::setSecondarySourceMatrixOrigin);
const auto result = placed_by(&MatrixBinaryKernel::setResultMatrixOrigin);

MatrixRow layer(const char* name, const Layer& l, std::size_t batch = 1) {
  MatrixRow r;
  r.name = name;
  r.batch = batch;
  r.quick = l.rows * l.inputs * l.outputs < 1000;
  r.operands = {{.rows = l.rows, .columns = l.inputs, .place = primary},
                {.rows = l.inputs, .columns = l.outputs, .place = secondary},
                {.columns = l.outputs, .is_vector = true, .is_absent = !l.biased},
                {.rows = l.rows, .columns = l.outputs, .use = Use::result, .place = result}};
  r.make = [l](const Device& device) {
    auto k = std::make_unique<MatrixFullyConnected>(device);
    k->setAlpha(l.alpha);
    const auto& [type, a, b, c] = l.activation;
    k->setNeuronType(type, a, b, c);
    return k;
  };
  r.limit = [l](Kernel& k) { limit(k, l); };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixFullyConnected&>(k).encode(buffer, o.matrices[0], o.matrices[1],
                                                        o.vectors[2], o.matrices[3]);
  };
  r.expect = [l](std::vector<Grid>& v) { v[3] = forward(l, v[0], v[1], v[2]); };
  return r;
}

using enum CNNNeuronType;
const std::vector<MatrixRow> layers{
    layer("plain", {4, 3, 5}),
    layer("no_bias", {3, 8, 1, 1, false}),
    layer("one_element", {1, 1, 1, 0.5}, 7),
    layer("alpha", {5, 3, 8, -2}, 2),
    layer("relu", {7, 5, 3, 1, true, {ReLU, 0.25F, 0, 0}}),
    layer("tanh_without_bias", {2, 5, 8, 1.5, false, {TanH, 0.5F, 2, 0}}, 2),
    layer("sigmoid", {3, 3, 5, 2, true, {Sigmoid, 0, 0, 0}}),
    layer("blocks", {130, 40, 66, 0.5, true, {HardSigmoid, 0.2F, 0.5F, 0}}),
    layer("blocks_of_a_batch", {33, 129, 65, 1, true}, 2),
    layer("blocks_of_columns", {3, 64, 300, 2, true, {TanH, 1, 0.5F, 0}}),
    layer("blocks_of_one_row", {1, 70, 600, 1, true}, 2),
};
INSTANTIATE_TEST_SUITE_P(MatrixFullyConnected, MatrixRows, testing::ValuesIn(layers),
                         name_of_matrix_row);

/// Operands: dY, W, dX.
MatrixRow data_gradient(const char* name, const Layer& l, std::size_t batch = 1) {
  MatrixRow r = layer(name, l, batch);
  r.operands = {{.rows = l.rows, .columns = l.outputs, .place = primary},
                {.rows = l.inputs, .columns = l.outputs, .place = secondary},
                {.rows = l.rows, .columns = l.inputs, .use = Use::result, .place = result}};
  r.make = [l](const Device& device) {
    auto k = std::make_unique<MatrixFullyConnectedGradient>(device);
    k->setAlpha(l.alpha);
    return k;
  };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixFullyConnectedGradient&>(k).encodeGradientForData(
        buffer, o.matrices[0], o.matrices[1], o.matrices[2]);
  };
  r.expect = [l](std::vector<Grid>& v) {
    const auto value = [&](const std::vector<Grid>& xw) {
      return forward(l, xw[0], xw[1], Grid(1, l.outputs));
    };
    v[2] = gradient_by_differences(value, {Grid(l.rows, l.inputs), v[1]}, 0, v[0]);
  };
  return r;
}

const std::vector<MatrixRow> data_gradients{
    data_gradient("plain", {4, 3, 5}),
    data_gradient("one_element", {1, 1, 1, 3}, 7),
    data_gradient("alpha", {5, 8, 3, -0.5}, 2),
    data_gradient("blocks", {34, 33, 40, 2}),
};
INSTANTIATE_TEST_SUITE_P(MatrixFullyConnectedGradientForData, MatrixRows,
                         testing::ValuesIn(data_gradients), name_of_matrix_row);

/// Operands: dY, X, dW, dbias.
MatrixRow weight_gradient(const char* name, const Layer& l, std::size_t batch = 1) {
  MatrixRow r = data_gradient(name, l, batch);
  r.operands = {
      {.rows = l.rows, .columns = l.outputs, .place = primary},
      {.rows = l.rows, .columns = l.inputs, .place = secondary},
      {.rows = l.inputs, .columns = l.outputs, .use = Use::result, .place = result},
      {.columns = l.outputs, .use = Use::result, .is_vector = true, .is_absent = !l.biased}};
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixFullyConnectedGradient&>(k).encodeGradientForWeightsAndBias(
        buffer, o.matrices[0], o.matrices[1], o.matrices[2], o.vectors[3]);
  };
  r.expect = [l](std::vector<Grid>& v) {
    const auto value = [&](const std::vector<Grid>& o) { return forward(l, o[0], o[1], o[2]); };
    const std::vector<Grid> at{v[1], Grid(l.inputs, l.outputs), Grid(1, l.outputs)};
    v[2] = gradient_by_differences(value, at, 1, v[0]);
    if (l.biased) v[3] = gradient_by_differences(value, at, 2, v[0]);
  };
  return r;
}

const std::vector<MatrixRow> weight_gradients{
    weight_gradient("plain", {4, 3, 5}),
    weight_gradient("no_bias", {5, 3, 8, 2, false}, 2),
    weight_gradient("one_element", {1, 1, 1, 3}, 7),
    weight_gradient("alpha_is_not_in_the_bias", {5, 8, 3, -0.5}, 2),
    weight_gradient("blocks", {40, 33, 34, 2}),
};
INSTANTIATE_TEST_SUITE_P(MatrixFullyConnectedGradientForWeights, MatrixRows,
                         testing::ValuesIn(weight_gradients), name_of_matrix_row);

class MatrixFullyConnectedLayers : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  [[nodiscard]] Matrix matrix(std::size_t r, std::size_t c, const Values& v = {}) const {
    return matrix_of(bench.device, r, c, v);
  }
};

TEST_F(MatrixFullyConnectedLayers, give_the_numbers_of_the_specification) {
  const Matrix x = matrix(2, 2, {1, 2, -1, 0.5F}), w = matrix(2, 3, {0.5F, -1, 2, 1, 0.25F, -0.5F});
  const Vector bias = vector_of(bench.device, {0.1F, 0.2F, 0.3F});
  const Matrix y = matrix(2, 3), rectified = matrix(2, 3);
  MatrixFullyConnected kernel(bench.device);
  EXPECT_EQ(kernel.alpha(), 1);
  EXPECT_EQ(kernel.sourceOutputFeatureChannels(), all_elements);
  kernel.setAlpha(2);
  kernel.encode(buffer, x, w, bias, y);
  kernel.setNeuronType(CNNNeuronType::ReLU, 0, 0, 0);
  kernel.encode(buffer, x, w, bias, rectified);
  const Matrix dy = matrix(2, 3, {1, 0, -1, 0.5F, 2, 0}), dx = matrix(2, 2), dw = matrix(2, 3);
  const Vector db = vector_of(bench.device, {9, 9, 9});
  MatrixFullyConnectedGradient gradient(bench.device);
  gradient.setAlpha(2);
  gradient.encodeGradientForData(buffer, dy, w, dx);
  gradient.encodeGradientForWeightsAndBias(buffer, dy, x, dw, db);
  finish(buffer);
  expect_near(y, {5.1, -0.8, 2.3, 0.1, 2.45, -4.2});
  expect_near(rectified, {5.1, 0, 2.3, 0.1, 2.45, 0});
  expect_near(dx, {-3, 3, -3.5, 2});
  expect_near(dw, {1, -4, -2, 4.5, 2, -4});
  expect_near(db, {1.5, 2, -1});
}

/// The inner extent is the smallest of X, W and the property.
TEST_F(MatrixFullyConnectedLayers, take_the_smallest_extent) {
  const Matrix x = matrix(1, 3, {1, 10, 100}), w = matrix(2, 1, {1, 1}), y = matrix(1, 1);
  MatrixFullyConnected(bench.device).encode(buffer, x, w, {}, y);
  MatrixFullyConnected one(bench.device);
  one.setSourceInputFeatureChannels(1);
  const Matrix z = matrix(1, 1);
  one.encode(buffer, x, w, {}, z);
  finish(buffer);
  EXPECT_EQ(values_of(y), Values{11});
  EXPECT_EQ(values_of(z), Values{1});
}

TEST_F(MatrixFullyConnectedLayers, refuse_what_does_not_fit) {
  MatrixFullyConnected kernel(bench.device);
  const Matrix x = matrix(2, 3), w = matrix(3, 4), y = matrix(2, 4);
  EXPECT_EQ(complaint([&] { kernel.setNeuronType(CNNNeuronType::PReLU, 0, 0, 0); }),
            "MatrixFullyConnected: neuronType is PReLU; needed a neuron without slopes.");
  EXPECT_EQ(complaint([&] { kernel.setNeuronType(static_cast<CNNNeuronType>(16), 0, 0, 0); }),
            "MatrixFullyConnected: neuronType is 16; needed a type from 0 to 15.");
  EXPECT_EQ(complaint([&] {
              kernel.encode(buffer, x, w, vector_of(bench.device, {1, 2, 3}), y);
            }),
            "MatrixFullyConnected: biasVector is a vector of 3 Float32; needed 4 elements for the "
            "output channels.");
  EXPECT_EQ(complaint([&] { kernel.encode(buffer, x, w, {}, matrix(2, 3)); }),
            "MatrixFullyConnected: resultMatrix is a matrix of 2x3 Float32; needed 2x4 for the "
            "region that is computed.");
  EXPECT_EQ(complaint([&] { kernel.encode(buffer, y, w, {}, y); }),
            "MatrixFullyConnected: resultMatrix is where inputMatrix is; needed elsewhere. Write "
            "into another matrix, or into a part of it that is not read.");
  kernel.setSourceInputFeatureChannels(0);
  EXPECT_EQ(complaint([&] { kernel.encode(buffer, x, w, {}, y); }),
            "MatrixFullyConnected: sourceInputFeatureChannels is 0; needed 1 or more.");
  const MatrixFullyConnectedGradient gradient(bench.device);
  EXPECT_EQ(complaint([&] { gradient.encodeGradientForData(buffer, y, w, matrix(2, 2)); }),
            "MatrixFullyConnectedGradient: resultGradientForDataMatrix is a matrix of 2x2 Float32; "
            "needed 2x3 for the region that is computed.");
  EXPECT_EQ(complaint([&] {
              gradient.encodeGradientForWeightsAndBias(buffer, y, x, w,
                                                       vector_of(bench.device, {1}));
            }),
            "MatrixFullyConnectedGradient: resultGradientForBiasVector is a vector of 1 Float32; "
            "needed 4 elements for the output channels.");
}

}  // namespace
}  // namespace cermet::test
