// Neurons of the oracle against the specification's numbers and against differences.

#include <cmath>
#include <limits>
#include <vector>

#include "help.h"
#include "neuron.h"

namespace cermet::oracle {
namespace {

using Type = CNNNeuronType;

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

}  // namespace
}  // namespace cermet::oracle
