// MatrixNeuron and its gradient: every function, bias, alpha, slopes (spec: rnn-matrix A8).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "../oracle/neuron.h"
#include "cermet/matrix/neuron.h"

namespace cermet::test {
namespace {

struct Function {
  std::size_t rows = 5, columns = 3;
  Activation activation{};
  double alpha = 1;
  bool biased = true, in_place = false;
  float low = -1, high = 1;
  std::vector<float> slopes{};
};

template <class K>
std::unique_ptr<Kernel> make(const Function& f, const Device& device) {
  auto k = std::make_unique<K>(device);
  k->setAlpha(f.alpha);
  const auto& [type, a, b, c] = f.activation;
  if (f.slopes.empty()) {
    k->setNeuronType(type, a, b, c);
  } else {
    k->setNeuronToPReLUWithParametersA(f.slopes);
  }
  return k;
}
void limit(Kernel& kernel, const Function& f) {
  const auto set = [&](auto* k) {
    if (k == nullptr) return;
    k->setSourceNumberOfFeatureVectors(f.rows);
    k->setSourceInputFeatureChannels(f.columns);
  };
  set(dynamic_cast<MatrixNeuron*>(&kernel));
  set(dynamic_cast<MatrixNeuronGradient*>(&kernel));
}

/// f(alpha * x + bias)
Grid forward(const Function& f, const Grid& x, const Grid& bias) {
  Grid y(f.rows, f.columns);
  for (std::size_t i = 0; i < f.rows; ++i) {
    for (std::size_t j = 0; j < f.columns; ++j) {
      oracle::NeuronFunction one{f.activation.type, f.activation.a, f.activation.b, f.activation.c};
      if (!f.slopes.empty()) one = {CNNNeuronType::PReLU, f.slopes.at(j), 0, 0};
      y(i, j) = one.value(f.alpha * x(i, j) + (f.biased ? bias(0, j) : 0.0));
    }
  }
  return y;
}

MatrixRow neuron(const char* name, const Function& f, std::size_t batch = 1) {
  MatrixRow r;
  r.name = name;
  r.batch = batch;
  r.quick = f.rows * f.columns < 200;
  r.operands = {{.rows = f.rows,
                 .columns = f.columns,
                 .use = f.in_place ? Use::updated : Use::source,
                 .place = placed_by(&MatrixUnaryKernel::setSourceMatrixOrigin),
                 .low = f.low,
                 .high = f.high},
                {.columns = f.columns,
                 .is_vector = true,
                 .is_absent = !f.biased,
                 .low = f.low,
                 .high = f.high},
                {.rows = f.rows,
                 .columns = f.columns,
                 .use = Use::result,
                 .matrix = f.in_place ? 0 : all_elements,
                 .place = placed_by(&MatrixUnaryKernel::setResultMatrixOrigin)}};
  r.make = [f](const Device& device) { return make<MatrixNeuron>(f, device); };
  r.limit = [f](Kernel& k) { limit(k, f); };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixNeuron&>(k).encode(buffer, o.matrices[0], o.vectors[1], o.matrices[2]);
  };
  r.expect = [f](std::vector<Grid>& v) {
    v[2] = forward(f, v[0], v[1]);
    if (f.in_place) v[0] = v[2];
  };
  r.tolerance = 4e-6;
  return r;
}

/// Operands: dY, X, bias, dX, dbias.
MatrixRow gradient(const char* name, const Function& f, std::size_t batch = 1,
                   bool sums_bias = true) {
  MatrixRow r = neuron(name, f, batch);
  r.operands = {
      {.rows = f.rows,
       .columns = f.columns,
       .use = f.in_place ? Use::updated : Use::source,
       .place = placed_by(&MatrixBinaryKernel::setPrimarySourceMatrixOrigin)},
      {.rows = f.rows,
       .columns = f.columns,
       .place = placed_by(&MatrixBinaryKernel::setSecondarySourceMatrixOrigin),
       .low = f.low,
       .high = f.high},
      {.columns = f.columns,
       .is_vector = true,
       .is_absent = !f.biased,
       .low = f.low,
       .high = f.high},
      {.rows = f.rows,
       .columns = f.columns,
       .use = Use::result,
       .matrix = f.in_place ? 0 : all_elements,
       .place = placed_by(&MatrixBinaryKernel::setResultMatrixOrigin)},
      {.columns = f.columns, .use = Use::result, .is_vector = true, .is_absent = !sums_bias}};
  r.make = [f](const Device& device) { return make<MatrixNeuronGradient>(f, device); };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixNeuronGradient&>(k).encode(buffer, o.matrices[0], o.matrices[1],
                                                        o.vectors[2], o.matrices[3], o.vectors[4]);
  };
  r.expect = [f](std::vector<Grid>& v) {
    Function biased = f;
    biased.biased = true;
    const auto value = [&](const std::vector<Grid>& o) { return forward(biased, o[0], o[1]); };
    const std::vector<Grid> at{v[1], f.biased ? v[2] : Grid(1, f.columns)};
    v[3] = gradient_by_differences(value, at, 0, v[0]);
    v[4] = gradient_by_differences(value, at, 1, v[0]);
    if (f.in_place) v[0] = v[3];
  };
  r.tolerance = 1e-5;
  r.half_tolerance = 4e-3;
  return r;
}

using enum CNNNeuronType;
/// Kinks lie where no random value comes, but for difference quotients of their own.
const std::vector<std::pair<const char*, Function>> functions{
    {"none", {}},
    {"none_without_bias", {.rows = 1, .columns = 1, .alpha = -2, .biased = false}},
    {"relu", {.activation = {ReLU, 0.25F, 0, 0}, .alpha = 0.5}},
    {"linear", {.columns = 8, .activation = {Linear, 2, -0.5F, 0}}},
    {"sigmoid", {.activation = {Sigmoid, 0, 0, 0}, .alpha = 3}},
    {"hard_sigmoid", {.activation = {HardSigmoid, 0.3F, 0.5F, 0}, .alpha = 2}},
    {"tanh", {.activation = {TanH, 1.5F, 0.5F, 0}}},
    {"tanh_0", {.activation = {TanH, 0, 0, 0}}},
    {"absolute", {.activation = {Absolute, 0, 0, 0}}},
    {"soft_plus", {.activation = {SoftPlus, 2, 1.5F, 0}}},
    {"soft_sign", {.activation = {SoftSign, 0, 0, 0}}},
    {"elu", {.activation = {ELU, 0.75F, 0, 0}}},
    {"prelu", {.rows = 4, .columns = 5, .alpha = 1.5, .slopes = {0.1F, -0.5F, 2, 0, 0.25F}}},
    {"prelu_without_bias",
     {.rows = 3, .columns = 3, .biased = false, .slopes = {0.5F, 0.25F, 3, 9}}},
    {"relun", {.activation = {ReLUN, 0.5F, 0.6F, 0}}},
    {"power", {.activation = {Power, 0.5F, 2, 2.5F}, .low = 0.1F}},
    {"exponential", {.activation = {Exponential, 0.5F, 0.25F, -1}}},
    {"exponential_of_2", {.activation = {Exponential, 0.5F, 0.25F, 2}}},
    {"logarithm", {.activation = {Logarithm, 0.5F, 2, -1}, .low = 0.1F}},
    {"logarithm_of_10", {.activation = {Logarithm, 0.5F, 2, 10}, .low = 0.1F}},
    {"gelu", {.activation = {GeLU, 0, 0, 0}}},
    {"in_place", {.activation = {TanH, 1, 1, 0}, .alpha = 0.5, .in_place = true}},
};
std::vector<MatrixRow> neurons() {
  std::vector<MatrixRow> all;
  for (const auto& [name, f] : functions) all.push_back(neuron(name, f));
  all.push_back(neuron("many", {.rows = 131, .columns = 270, .activation = {Sigmoid, 0, 0, 0}}, 2));
  all.push_back(neuron("many_matrices", {.rows = 3, .columns = 5, .alpha = 2}, 7));
  return all;
}
std::vector<MatrixRow> gradients() {
  std::vector<MatrixRow> all;
  for (const auto& [name, f] : functions) all.push_back(gradient(name, f));
  all.push_back(
      gradient("many_rows", {.rows = 70, .columns = 3, .activation = {TanH, 1, 1, 0}}, 2));
  all.push_back(gradient("many_columns", {.rows = 2, .columns = 270, .alpha = 2}));
  all.push_back(gradient("without_bias_gradient",
                         {.rows = 3, .columns = 5, .activation = {Sigmoid, 0, 0, 0}, .alpha = 2}, 7,
                         false));
  return all;
}
INSTANTIATE_TEST_SUITE_P(MatrixNeuron, MatrixRows, testing::ValuesIn(neurons()),
                         name_of_matrix_row);
INSTANTIATE_TEST_SUITE_P(MatrixNeuronGradient, MatrixRows, testing::ValuesIn(gradients()),
                         name_of_matrix_row);

class MatrixNeurons : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  const Vector bias = vector_of(bench.device, {0.25F, -0.5F});
  const Matrix x = matrix({1, -2, 0.5F, 3}), dy = matrix({1, 2, -1, 0.5F});
  const Matrix y = matrix({9, 9, 9, 9}), dx = matrix({9, 9, 9, 9});
  [[nodiscard]] Matrix matrix(const Values& v) const {
    return matrix_of(bench.device, v.size() / 2, 2, v);
  }
};

TEST_F(MatrixNeurons, give_the_numbers_of_the_specification) {
  MatrixNeuron neuron(bench.device);
  MatrixNeuronGradient gradient(bench.device);
  EXPECT_EQ(neuron.alpha(), 1);
  EXPECT_EQ(neuron.neuronType(), CNNNeuronType::None);
  neuron.setAlpha(0.5);
  gradient.setAlpha(0.5);
  neuron.setNeuronType(CNNNeuronType::TanH, 1, 1, 0);
  gradient.setNeuronType(CNNNeuronType::TanH, 1, 1, 0);
  const Vector db = vector_of(bench.device, {9, 9});
  neuron.encode(buffer, x, bias, y);
  gradient.encode(buffer, dy, x, bias, dx, db);
  finish(buffer);
  expect_near(y, {0.6351489524, -0.9051482536, 0.4621171573, 0.7615941560});
  expect_near(dx, {0.2982929041, 0.1807066389, -0.3932238665, 0.1049935854});
  expect_near(db, {-0.1898619247, 0.5714004487});
}

TEST_F(MatrixNeurons, give_the_numbers_of_prelu) {
  MatrixNeuron neuron(bench.device);
  MatrixNeuronGradient gradient(bench.device);
  neuron.setAlpha(0.5);
  gradient.setAlpha(0.5);
  const Values slopes{0.1F, 0.2F};
  neuron.setNeuronType(CNNNeuronType::Linear, 3, 4, 5);
  neuron.setNeuronToPReLUWithParametersA(slopes);
  gradient.setNeuronToPReLUWithParametersA(slopes);
  EXPECT_EQ(neuron.neuronType(), CNNNeuronType::PReLU);
  EXPECT_EQ(neuron.neuronParameterA(), 0);
  EXPECT_EQ(neuron.neuronParameterB(), 0);
  neuron.encode(buffer, x, bias, y);
  gradient.encode(buffer, dy, x, bias, dx, {});
  finish(buffer);
  expect_near(y, {0.75, -0.3, 0.5, 1});
  expect_near(dx, {0.5, 0.2, -0.5, 0.25});
}

TEST_F(MatrixNeurons, have_slopes_1_at_the_kink) {
  MatrixNeuronGradient gradient(bench.device);
  gradient.setNeuronType(CNNNeuronType::ReLU, 0.25F, 0, 0);
  gradient.encode(buffer, dy, matrix({0, 0, 0, 0}), {}, dx, {});
  finish(buffer);
  EXPECT_EQ(values_of(dx), (Values{1, 2, -1, 0.5F}));
}

TEST_F(MatrixNeurons, refuse_what_does_not_fit) {
  MatrixNeuron neuron(bench.device);
  EXPECT_EQ(complaint([&] { neuron.setNeuronType(CNNNeuronType::PReLU, 0, 0, 0); }),
            "MatrixNeuron: neuronType is PReLU; needed a neuron without slopes. Use "
            "setNeuronToPReLUWithParametersA.");
  EXPECT_EQ(complaint([&] { neuron.setNeuronToPReLUWithParametersA({}); }),
            "MatrixNeuron: a is empty; needed one slope for each column.");
  EXPECT_EQ(complaint([&] { neuron.encode(buffer, x, vector_of(bench.device, {1}), y); }),
            "MatrixNeuron: biasVector is a vector of 1 Float32; needed 2 elements for the columns "
            "that take part.");
  EXPECT_EQ(complaint([&] {
              neuron.encode(buffer, x, {}, matrix({1, 2}));
            }),
            "MatrixNeuron: resultMatrix is a matrix of 1x2 Float32; needed 2x2 for the region that "
            "is computed.");
  const Values one{1};
  neuron.setNeuronToPReLUWithParametersA(one);
  EXPECT_EQ(complaint([&] { neuron.encode(buffer, x, {}, y); }),
            "MatrixNeuron: a is 1 slopes; needed 2, one for each column. Give "
            "setNeuronToPReLUWithParametersA more.");
  neuron.setSourceInputFeatureChannels(1);
  neuron.setResultMatrixOrigin({0, 1, 0});
  neuron.encode(buffer, x, {}, x);
  neuron.setNeuronType(CNNNeuronType::None, 0, 0, 0);
  neuron.setSourceInputFeatureChannels(all_elements);
  neuron.setSourceMatrixOrigin({1, 0, 0});
  neuron.setResultMatrixOrigin({0, 0, 0});
  const Matrix tall = matrix({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(complaint([&] { neuron.encode(buffer, tall, {}, tall); }),
            "MatrixNeuron: resultMatrix is where inputMatrix is; needed elsewhere. Write into "
            "another matrix, or into a part of it that is not read.");
  const MatrixNeuronGradient gradient(bench.device);
  EXPECT_EQ(complaint([&] { gradient.encode(buffer, dy, x, bias, dx, bias); }),
            "MatrixNeuronGradient: resultGradientForBiasVector is where biasVector is; needed "
            "elsewhere. Write into another matrix, or into a part of it that is not read.");
}

}  // namespace
}  // namespace cermet::test
