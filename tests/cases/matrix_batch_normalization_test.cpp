// MatrixBatchNormalization and its gradient (spec: rnn-matrix A9).

#include "../core/help.h"
#include "../harness/matrix_rows.h"
#include "../oracle/neuron.h"
#include "cermet/matrix/batch_normalization.h"

namespace cermet::test {
namespace {

struct Norm {
  std::size_t rows = 5, columns = 3;
  bool computes = true, has_gamma = true, has_beta = true, in_place = false;
  Activation activation{};
  float epsilon = 1e-3F;
};

struct Moments {
  Grid mean, variance;
};
Moments moments(const Norm& p, const Grid& x) {
  Moments m{Grid(1, p.columns), Grid(1, p.columns)};
  const auto n = static_cast<double>(p.rows);
  for (std::size_t j = 0; j < p.columns; ++j) {
    for (std::size_t i = 0; i < p.rows; ++i) m.mean(0, j) += x(i, j) / n;
    for (std::size_t i = 0; i < p.rows; ++i)
      m.variance(0, j) += (x(i, j) - m.mean(0, j)) * (x(i, j) - m.mean(0, j)) / n;
  }
  return m;
}
Grid forward(const Norm& p, const Grid& x, const Moments& m, const Grid& gamma, const Grid& beta) {
  const oracle::NeuronFunction f{p.activation.type, p.activation.a, p.activation.b, p.activation.c};
  Grid y(p.rows, p.columns);
  for (std::size_t i = 0; i < p.rows; ++i) {
    for (std::size_t j = 0; j < p.columns; ++j) {
      const double xh = (x(i, j) - m.mean(0, j)) / std::sqrt(m.variance(0, j) + double{p.epsilon});
      y(i, j) = f.value((p.has_gamma ? gamma(0, j) : 1) * xh + (p.has_beta ? beta(0, j) : 0));
    }
  }
  return y;
}

template <class K>
void set(Kernel& kernel, const Norm& p, bool extents) {
  auto& k = dynamic_cast<K&>(kernel);
  if (extents) {
    k.setSourceNumberOfFeatureVectors(p.rows);
    k.setSourceInputFeatureChannels(p.columns);
    return;
  }
  k.setEpsilon(p.epsilon);
  const auto& [type, a, b, c] = p.activation;
  k.setNeuronType(type, a, b, c);
}

MatrixOperand vector(const Norm& p, Use use = Use::source, bool absent = false, float low = -1) {
  return {.columns = p.columns,
          .use = use,
          .is_vector = true,
          .is_absent = absent,
          .wide_only = true,
          .low = low};
}

/// Operands: X, mean, variance, gamma, beta, Y.
MatrixRow normalization(const char* name, const Norm& p, std::size_t batch = 1) {
  MatrixRow r;
  r.name = name;
  r.batch = batch;
  r.quick = p.rows * p.columns < 200;
  const Use statistics = p.computes ? Use::result : Use::source;
  r.operands = {{.rows = p.rows,
                 .columns = p.columns,
                 .use = p.in_place ? Use::updated : Use::source,
                 .place = placed_by(&MatrixUnaryKernel::setSourceMatrixOrigin)},
                vector(p, statistics),
                vector(p, statistics, false, 0.2F),
                vector(p, Use::source, !p.has_gamma),
                vector(p, Use::source, !p.has_beta),
                {.rows = p.rows,
                 .columns = p.columns,
                 .use = Use::result,
                 .matrix = p.in_place ? 0 : all_elements,
                 .place = placed_by(&MatrixUnaryKernel::setResultMatrixOrigin)}};
  r.make = [p](const Device& device) {
    auto k = std::make_unique<MatrixBatchNormalization>(device);
    k->setComputeStatistics(p.computes);
    set<MatrixBatchNormalization>(*k, p, false);
    return k;
  };
  r.limit = [p](Kernel& k) { set<MatrixBatchNormalization>(k, p, true); };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixBatchNormalization&>(k).encode(buffer, o.matrices[0], o.vectors[1],
                                                            o.vectors[2], o.vectors[3],
                                                            o.vectors[4], o.matrices[5]);
  };
  r.expect = [p](std::vector<Grid>& v) {
    if (p.computes) {
      const Moments m = moments(p, v[0]);
      v[1] = m.mean;
      v[2] = m.variance;
    }
    v[5] = forward(p, v[0], {v[1], v[2]}, v[3], v[4]);
    if (p.in_place) v[0] = v[5];
  };
  r.tolerance = 5e-6;
  r.half_tolerance = 4e-3;
  return r;
}

using enum CNNNeuronType;
const std::vector<MatrixRow> normalizations{
    normalization("computed", {}),
    normalization("given", {.computes = false}, 2),
    normalization("no_gamma", {.has_gamma = false}, 7),
    normalization("no_beta", {.rows = 8, .columns = 1, .has_beta = false}),
    normalization(
        "neither",
        {.rows = 3, .columns = 8, .computes = false, .has_gamma = false, .has_beta = false}),
    normalization("tanh", {.activation = {TanH, 1, 1, 0}}, 2),
    normalization("relu_of_given", {.computes = false, .activation = {ReLU, 0.2F, 0, 0}}),
    normalization("one_row", {.rows = 1, .columns = 5}),
    normalization("one_element", {.rows = 1, .columns = 1, .computes = false}),
    normalization("in_place", {.in_place = true}, 2),
    normalization("epsilon", {.epsilon = 0.5F}),
    normalization("many_rows", {.rows = 600, .columns = 5}),
    normalization("many_columns", {.rows = 4, .columns = 130}, 2),
};
INSTANTIATE_TEST_SUITE_P(MatrixBatchNormalization, MatrixRows, testing::ValuesIn(normalizations),
                         name_of_matrix_row);

/// Operands: dY, X, mean, variance, gamma, beta, dX, dgamma, dbeta. The statistics are those of X,
/// so that the kernel is the gradient of a forward kernel that computed them.
MatrixRow gradient(const char* name, const Norm& p, bool sums = true) {
  MatrixRow r = normalization(name, p);
  Grid x(p.rows, p.columns);
  for (std::size_t i = 0; i < x.v.size(); ++i)
    x.v[i] = double{float_from_half(half_from_float(floats(x.v.size(), 55)[i]))};
  const Moments m = moments(p, x);
  r.operands = {{.rows = p.rows,
                 .columns = p.columns,
                 .use = p.in_place ? Use::updated : Use::source,
                 .place = placed_by(&MatrixBinaryKernel::setPrimarySourceMatrixOrigin)},
                {.rows = p.rows,
                 .columns = p.columns,
                 .place = placed_by(&MatrixBinaryKernel::setSecondarySourceMatrixOrigin),
                 .given = x.v},
                vector(p),
                vector(p),
                vector(p, Use::source, !p.has_gamma),
                vector(p, Use::source, !p.has_beta),
                {.rows = p.rows,
                 .columns = p.columns,
                 .use = Use::result,
                 .matrix = p.in_place ? 0 : all_elements,
                 .place = placed_by(&MatrixBinaryKernel::setResultMatrixOrigin)},
                vector(p, Use::result, !sums),
                vector(p, Use::result, !sums)};
  r.operands[2].given = m.mean.v;
  r.operands[3].given = m.variance.v;
  r.make = [p](const Device& device) {
    auto k = std::make_unique<MatrixBatchNormalizationGradient>(device);
    set<MatrixBatchNormalizationGradient>(*k, p, false);
    return k;
  };
  r.limit = [p](Kernel& k) { set<MatrixBatchNormalizationGradient>(k, p, true); };
  r.encode = [](const Kernel& k, const CommandBuffer& buffer, const MatrixOperands& o) {
    dynamic_cast<const MatrixBatchNormalizationGradient&>(k).encode(
        buffer, o.matrices[0], o.matrices[1], o.vectors[2], o.vectors[3], o.vectors[4],
        o.vectors[5], o.matrices[6], o.vectors[7], o.vectors[8]);
  };
  r.expect = [p](std::vector<Grid>& v) {
    const std::vector<Grid> at{v[1], p.has_gamma ? v[4] : Grid(1, p.columns, 1.0),
                               p.has_beta ? v[5] : Grid(1, p.columns)};
    Norm whole = p;
    whole.has_gamma = whole.has_beta = true;
    const auto value = [&](const std::vector<Grid>& o) {
      return forward(whole, o[0], moments(whole, o[0]), o[1], o[2]);
    };
    v[6] = gradient_by_differences(value, at, 0, v[0]);
    v[7] = gradient_by_differences(value, at, 1, v[0]);
    v[8] = gradient_by_differences(value, at, 2, v[0]);
    if (p.in_place) v[0] = v[6];
  };
  r.tolerance = 2e-5;
  r.half_tolerance = 6e-3;
  return r;
}
MatrixRow gradients_of_a_batch(const char* name, const Norm& p, std::size_t batch) {
  MatrixRow r = gradient(name, p);
  r.batch = batch;
  return r;
}

const std::vector<MatrixRow> gradients{
    gradient("plain", {}),
    gradient("no_gamma", {.rows = 4, .columns = 5, .has_gamma = false}),
    gradient("neither", {.rows = 8, .has_gamma = false, .has_beta = false}),
    gradient("without_sums", {.rows = 5, .columns = 8}, false),
    gradient("tanh", {.activation = {TanH, 1, 1, 0}}),
    gradient("sigmoid", {.rows = 7, .columns = 1, .activation = {Sigmoid, 0, 0, 0}}),
    gradient("in_place", {.in_place = true}),
    gradient("many_rows", {.rows = 90, .columns = 3}),
    gradient("many_columns", {.rows = 3, .columns = 70}),
    gradients_of_a_batch("two_matrices", {.activation = {TanH, 1, 0.5F, 0}}, 2),
    gradients_of_a_batch("seven_matrices", {.rows = 3, .columns = 2}, 7),
};
INSTANTIATE_TEST_SUITE_P(MatrixBatchNormalizationGradient, MatrixRows, testing::ValuesIn(gradients),
                         name_of_matrix_row);

class MatrixBatchNormalizations : public testing::Test {
 protected:
  const Bench& bench = Bench::with(1);
  CommandBuffer buffer = bench.queue.makeCommandBuffer();
  [[nodiscard]] Vector two(const Values& v = {9, 9}) const { return vector_of(bench.device, v); }
  [[nodiscard]] Matrix four(const Values& v = Values(8, 9)) const {
    return matrix_of(bench.device, 4, 2, v);
  }
};

TEST_F(MatrixBatchNormalizations, give_the_numbers_of_the_specification) {
  const Matrix x = four({1, 2, 3, -1, 5, 0, -1, 4}), y = four(), dx = four(), tanh_dx = four();
  const Matrix dy = four({1, 0, 0, 1, -0.5F, 0.5F, 0.25F, -1});
  const Vector mean = two(), variance = two(), gamma = two({1.5F, -2}), beta = two({0.5F, 0.25F});
  const Vector dgamma = two(), dbeta = two(), tanh_dgamma = two(), tanh_dbeta = two();
  MatrixBatchNormalization kernel(bench.device);
  EXPECT_EQ(kernel.epsilon(), 1.17549435e-38F);
  EXPECT_FALSE(kernel.computeStatistics());
  kernel.setEpsilon(1e-3F);
  kernel.setComputeStatistics(true);
  kernel.encode(buffer, x, mean, variance, gamma, beta, y);
  MatrixBatchNormalizationGradient gradient(bench.device);
  gradient.setEpsilon(1e-3F);
  gradient.encode(buffer, dy, x, mean, variance, gamma, beta, dx, dgamma, dbeta);
  gradient.setNeuronType(CNNNeuronType::TanH, 1, 1, 0);
  gradient.encode(buffer, dy, x, mean, variance, gamma, beta, tanh_dx, tanh_dgamma, tanh_dbeta);
  finish(buffer);
  expect_near(mean, {2, 1.25});
  expect_near(variance, {5, 3.6875});
  expect_near(y, {-0.1707533213, -0.5310275710, 1.170753321, 2.593082713, 2.512259964, 1.551712618,
                  -1.512259964, -2.613767760});
  expect_near(dx, {0.4360114540, -0.1675974847, -0.01679062816, -0.01789259313, -0.1342160496,
                   0.1057674588, -0.2850047762, 0.07972261908});
  expect_near(dgamma, {-1.453298863, -2.928853391});
  expect_near(dbeta, {0.75, 0.5});
  expect_near(tanh_dgamma, {-0.5110635825, -0.1098583032});
  expect_near(tanh_dbeta, {1.002606411, 0.08312727249});
  EXPECT_NEAR(values_of(tanh_dx)[0], 0.4451228282, 5e-6);
  EXPECT_NEAR(values_of(tanh_dx)[1], 0.01047256195, 5e-6);
}

TEST_F(MatrixBatchNormalizations, refuse_what_does_not_fit) {
  MatrixBatchNormalization kernel(bench.device);
  const Matrix x = four();
  const Vector v = two(), short_one = vector_of(bench.device, {1});
  const auto said = [&](const Vector& mean, const Vector& variance, const Vector& gamma,
                        const Matrix& y) {
    return complaint([&] { kernel.encode(buffer, x, mean, variance, gamma, {}, y); });
  };
  EXPECT_EQ(said(short_one, v, {}, four()),
            "MatrixBatchNormalization: meanVector is a vector of 1 Float32; needed 2 elements for "
            "the columns that take part.");
  EXPECT_EQ(said(v, {}, {}, four()),
            "MatrixBatchNormalization: varianceVector is nil; needed a vector or matrix of the "
            "command buffer's device.");
  const Vector half(bench.device, VectorDescriptor::vectorDescriptor(2, DataType::Float16));
  EXPECT_EQ(said(v, two(), half, four()),
            "MatrixBatchNormalization: gammaVector is a vector of 2 Float16; needed elements of "
            "Float32.");
  EXPECT_EQ(said(v, two(), {}, matrix_of(bench.device, 2, 2)),
            "MatrixBatchNormalization: resultMatrix is a matrix of 2x2 Float32; needed 4x2 for the "
            "region that is computed.");
  kernel.setComputeStatistics(true);
  EXPECT_EQ(said(v, v, {}, four()),
            "MatrixBatchNormalization: varianceVector is where meanVector is; needed elsewhere. "
            "Write into another matrix, or into a part of it that is not read.");
  EXPECT_EQ(complaint([&] { kernel.setNeuronType(CNNNeuronType::PReLU, 0, 0, 0); }),
            "MatrixBatchNormalization: neuronType is PReLU; needed a neuron without slopes.");
  const MatrixBatchNormalizationGradient gradient(bench.device);
  EXPECT_EQ(
      complaint([&] { gradient.encode(buffer, four(), x, v, two(), v, {}, four(), v, {}); }),
      "MatrixBatchNormalizationGradient: resultGradientForGammaVector is where meanVector is; "
      "needed elsewhere. Write into another matrix, or into a part of it that is not read.");
}

}  // namespace
}  // namespace cermet::test
