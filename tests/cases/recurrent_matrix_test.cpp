// Recurrent layers on matrices: inference, training, gradients by differences of the double oracle
// (spec: rnn-matrix B).

#include <gtest/gtest.h>

#include <cstring>

#include "../core/help.h"
#include "../harness/recurrent.h"
#include "../harness/refusal.h"
#include "cermet/rnn/matrix_inference_layer.h"
#include "cermet/rnn/matrix_training_layer.h"
#include "core/state_impl.h"

namespace cermet::test {
namespace {

using oracle::RecurrentCell;
using oracle::Row;
using oracle::Rows;
using enum CNNNeuronType;

constexpr Activation logistic{Sigmoid}, tanh_one{TanH, 1, 1, 1};

struct RecurrentRow {
  std::string name;
  RecurrentCell::Kind kind = RecurrentCell::single_gate;
  std::size_t inputs = 2, outputs = 3;
  std::vector<std::size_t> rows{3, 3, 2, 1};  // of each step
  std::array<Activation, 4> neurons{};
  std::array<bool, 4> memory{};
  bool diagonal = false, unit = false, flip = false;
  double p = 1;
  Activation to_output = tanh_one;
  std::vector<RNNMatrixId> without{};  // null sources; without input weights no bias and no neuron
  bool begins = false;                 // with a state, whose rows may be more
  std::size_t idle = 0;                // more of them than sequences
  bool half = false;                   // matrices of Float16
  bool strided = false;                // one matrix and offsets
  double tolerance = 2e-6;
  bool quick = false;
  std::size_t every = 1;  // of the weights' derivatives, one of so many is compared
  // Given numbers: matrices, x, and gradients; else random.
  std::map<RNNMatrixId, std::vector<double>> matrices{};
  std::vector<Rows> x{}, gradients{};
  Rows h0{}, c0{};

  friend std::ostream& operator<<(std::ostream& out, const RecurrentRow& row) {
    return out << row.name;
  }
};

/// Everything that a row works on, in double precision.
struct Problem {
  RecurrentCell cell;
  std::vector<Rows> x, gradients;
  Rows h0, c0, h_gradients, c_gradients;

  explicit Problem(const RecurrentRow& row) {
    cell = {.kind = row.kind,
            .inputs = row.inputs,
            .outputs = row.outputs,
            .neurons = row.neurons,
            .diagonal = row.diagonal,
            .unit = row.unit,
            .flip = row.flip,
            .p = row.p,
            .to_output = row.to_output};
    std::uint64_t seed = 11;
    const auto numbers = [&](std::size_t count, float size = 1) {
      const std::vector<float> values = grid_floats(count, ++seed, -size, size);
      return std::vector<double>(values.begin(), values.end());
    };
    const auto gates = cell.gates();
    for (std::size_t gate = 0; gate < gates.size(); ++gate) {
      if (row.neurons[gate].type == PReLU && cell.slopes.empty())
        cell.slopes = floats(gates.size() * row.outputs, 5, 0.1F, 0.9F);
      const auto add = [&](RNNMatrixId id, std::size_t count) {
        if (std::find(row.without.begin(), row.without.end(), id) == row.without.end())
          cell.matrices[id] = numbers(count);
      };
      const std::size_t square = row.outputs * row.outputs;
      add(gates[gate].input, row.inputs * row.outputs);
      add(gates[gate].recurrent, square);
      add(gates[gate].bias, row.outputs);
      if (row.memory[gate]) add(gates[gate].memory, row.diagonal ? row.outputs : square);
    }
    if (!row.matrices.empty()) cell.matrices = row.matrices;
    const auto rows_of = [&](std::size_t count, std::size_t length) {
      Rows all;
      for (std::size_t r = 0; r < count; ++r) all.push_back(numbers(length));
      return all;
    };
    for (const std::size_t count : row.rows) {
      x.push_back(rows_of(count, row.inputs));
      gradients.push_back(rows_of(count, row.outputs));
    }
    if (!row.x.empty()) x = row.x;
    if (!row.gradients.empty()) gradients = row.gradients;
    const std::size_t all = row.rows.front() + row.idle;
    h0 = c0 = Rows(all, Row(row.outputs));
    h_gradients = c_gradients = h0;
    if (row.begins) {
      h0 = rows_of(all, row.outputs);
      c0 = rows_of(all, row.outputs);
      h_gradients = rows_of(all, row.outputs);
      c_gradients = rows_of(all, row.outputs);
    }
    if (!row.h0.empty()) h0 = row.h0;
    if (!row.c0.empty()) c0 = row.c0;
  }

  [[nodiscard]] oracle::Walk walk() const { return oracle::walk(cell, x, h0, c0); }
  /// What the gradients are gradients of.
  [[nodiscard]] double loss() const {
    const oracle::Walk walked = walk();
    double sum = 0;
    const auto add = [&](const Rows& a, const Rows& b) {
      for (std::size_t r = 0; r < a.size(); ++r)
        for (std::size_t k = 0; k < a[r].size(); ++k) sum += a[r][k] * b.at(r).at(k);
    };
    for (std::size_t t = 0; t < x.size(); ++t) add(walked.outputs[t], gradients[t]);
    add(walked.hidden.back(), h_gradients);
    if (cell.kind == RecurrentCell::lstm) add(walked.cell.back(), c_gradients);
    return sum;
  }
  /// Its derivative by elements of `values`, which is a part of this; NaN for those left out.
  std::vector<double> differentiate(std::vector<double>& values, std::size_t every = 1) {
    std::vector<double> slopes(values.size(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < values.size(); i += every) {
      const double here = values[i], step = 1e-5;
      values[i] = here + step;
      const double above = loss();
      values[i] = here - step;
      slopes[i] = (above - loss()) / (2 * step);
      values[i] = here;
    }
    return slopes;
  }
  Rows differentiate(Rows& rows) {
    Rows slopes;
    for (Row& row : rows) slopes.push_back(differentiate(row));
    return slopes;
  }
};

/// The sequences of a row as matrices.
struct Sequence {
  std::vector<Matrix> matrices;
  std::vector<std::size_t> offsets;  // empty unless one matrix stands for all
  std::vector<std::size_t> rows;
  std::size_t channels = 0;
  DataType type = DataType::Float32;

  Sequence(const Device& device, const RecurrentRow& row, std::size_t columns)
      : rows(row.rows), channels(columns), type(row.half ? DataType::Float16 : DataType::Float32) {
    const std::size_t element = SizeofDataType(type), steps = rows.size();
    if (!row.strided) {
      for (const std::size_t count : rows) {
        matrices.emplace_back(device, MatrixDescriptor::matrixDescriptor(
                                          count, columns, (columns + 3) * element, type));
      }
      return;
    }
    const std::size_t stride = steps * columns * element;
    const Buffer all = device.makeBuffer(rows.front() * stride);
    const Matrix one(all, MatrixDescriptor::matrixDescriptor(rows.front(), columns, stride, type));
    for (std::size_t t = 0; t < steps; ++t) {
      matrices.push_back(one);
      offsets.push_back(t * columns * element);
    }
  }

  void fill(const std::vector<Rows>& values) const {
    for (std::size_t t = 0; t < values.size(); ++t) {
      for (std::size_t r = 0; r < values[t].size(); ++r) {
        for (std::size_t k = 0; k < channels; ++k) {
          const auto value = static_cast<float>(values[t][r][k]);
          const std::size_t at = place(t, r, k);
          const std::uint16_t half = half_from_float(value);
          if (type == DataType::Float16)
            matrices[t].data().copy_in(&half, sizeof half, at);
          else
            matrices[t].data().copy_in(&value, sizeof value, at);
        }
      }
    }
  }
  [[nodiscard]] double at(std::size_t t, std::size_t r, std::size_t k) const {
    float value = 0;
    std::uint16_t half = 0;
    if (type == DataType::Float16) {
      matrices[t].data().copy_out(&half, sizeof half, place(t, r, k));
      return double{float_from_half(half)};
    }
    matrices[t].data().copy_out(&value, sizeof value, place(t, r, k));
    return double{value};
  }
  void expect(const std::vector<Rows>& wanted, double tolerance, const char* what) const {
    for (std::size_t t = 0; t < wanted.size(); ++t)
      for (std::size_t r = 0; r < wanted[t].size(); ++r)
        for (std::size_t k = 0; k < channels; ++k)
          ASSERT_NEAR(at(t, r, k), wanted[t][r][k], tolerance)
              << what << " of step " << t << ", row " << r << ", channel " << k;
  }

 private:
  [[nodiscard]] std::size_t place(std::size_t t, std::size_t r, std::size_t k) const {
    return (offsets.empty() ? 0 : offsets[t]) + r * matrices[t].rowBytes() +
           k * SizeofDataType(type);
  }
};

std::vector<float> values_of(const Matrix& matrix) {
  std::vector<float> values;
  const std::vector<float> all = matrix.data().values<float>();
  for (std::size_t r = 0; r < matrix.rows(); ++r)
    for (std::size_t k = 0; k < matrix.columns(); ++k)
      values.push_back(all.at((matrix.offset() + r * matrix.rowBytes()) / sizeof(float) + k));
  return values;
}

void expect_near(const Matrix& matrix, const std::vector<double>& wanted, double tolerance,
                 const std::string& what) {
  const std::vector<float> got = values_of(matrix);
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(double{got[i]}, wanted[i], tolerance) << what << ", element " << i;
}
void expect_near(const Matrix& matrix, const Rows& wanted, double tolerance,
                 const std::string& what) {
  std::vector<double> all;
  for (const Row& row : wanted) all.insert(all.end(), row.begin(), row.end());
  expect_near(matrix, all, tolerance, what);
}

/// A state of one layer with these rows, the way users get one: a step of a layer without input.
RNNRecurrentMatrixStatePtr state_with(const Device& device, std::size_t channels, bool has_cell,
                                      const Rows& h, const Rows& c) {
  const std::vector<RNNRecurrentState::Layer> layers{{channels, has_cell}};
  auto state = std::make_shared<RNNRecurrentMatrixState>(detail::StateOrigin::permanent(device),
                                                         h.size(), layers);
  const auto write = [&](const Matrix& to, const Rows& rows) {
    std::vector<float> all;
    for (const Row& row : rows)
      for (const double value : row) all.push_back(static_cast<float>(value));
    to.data().copy_in(all.data(), all.size() * sizeof(float));
  };
  write(state->getRecurrentOutputMatrix(0), h);
  if (has_cell) write(state->getMemoryCellMatrix(0), c);
  return state;
}

/// Rows and columns of a matrix.
std::pair<std::size_t, std::size_t> shape_of(const RecurrentCell& cell, RNNMatrixId id) {
  for (const auto& gate : cell.gates()) {
    if (id == gate.input) return {cell.outputs, cell.inputs};
    if (id == gate.recurrent) return {cell.outputs, cell.outputs};
    if (id == gate.bias) return {1, cell.outputs};
    if (id == gate.memory) return {cell.diagonal ? 1 : cell.outputs, cell.outputs};
  }
  throw std::out_of_range("no matrix of this cell");
}

class Recurrent : public testing::TestWithParam<RecurrentRow> {};

TEST_P(Recurrent, hold) {
  const RecurrentRow& row = GetParam();
  const Device device = tested();
  const CommandQueue queue = device.makeCommandQueue();
  Problem problem(row);
  const bool has_cell = row.kind == RecurrentCell::lstm;
  const oracle::Walk wanted = problem.walk();
  const double tolerance = row.half ? 4e-3 : row.tolerance * 4;
  const double weights_tolerance = row.half ? 2e-2 : row.tolerance * 20;

  // Forward, through the layer that trains and the one that does not.
  const auto descriptor = descriptor_of(problem.cell);
  std::vector<Matrix> weights;
  const RNNMatrixTrainingLayer layer(device, descriptor, &weights);
  const RNNMatrixInferenceLayer inference(device, descriptor);
  const Sequence x(device, row, row.inputs), y(device, row, row.outputs);
  const Sequence y_inference(device, row, row.outputs);
  x.fill(problem.x);
  const auto begin =
      row.begins ? state_with(device, row.outputs, has_cell, problem.h0, problem.c0) : nullptr;
  std::vector<RNNMatrixTrainingStatePtr> training;
  std::vector<RNNRecurrentMatrixStatePtr> states, inference_states;
  CommandBuffer buffer = queue.makeCommandBuffer();
  layer.encodeForwardSequence(buffer, x.matrices, x.offsets, y.matrices, y.offsets, &training,
                              begin, &states, weights);
  inference.encodeSequence(buffer, x.matrices, x.offsets, y_inference.matrices, y_inference.offsets,
                           begin, &inference_states);
  buffer.commit();
  buffer.waitUntilCompleted();
  y.expect(wanted.outputs, tolerance, "output");
  y_inference.expect(wanted.outputs, tolerance, "output of inference");
  ASSERT_EQ(training.size(), row.rows.size());
  ASSERT_EQ(states.size(), 1U);
  ASSERT_EQ(inference_states.size(), 1U);
  for (const auto& state : {states[0], inference_states[0]}) {
    expect_near(state->getRecurrentOutputMatrix(0), wanted.hidden.back(), tolerance, "h");
    EXPECT_EQ(static_cast<bool>(state->getMemoryCellMatrix(0)), has_cell);
    EXPECT_FALSE(state->getRecurrentOutputMatrix(1));
    if (has_cell) expect_near(state->getMemoryCellMatrix(0), wanted.cell.back(), tolerance, "c");
  }

  // Backward.
  const Sequence g(device, row, row.outputs), dx(device, row, row.inputs);
  g.fill(problem.gradients);
  const auto after = row.begins ? state_with(device, row.outputs, has_cell, problem.h_gradients,
                                             problem.c_gradients)
                                : nullptr;
  std::vector<Matrix> weight_gradients;
  layer.createWeightGradientMatrices(&weight_gradients, DataType::Float32);
  std::vector<RNNRecurrentMatrixStatePtr> before;
  const auto back = [&](const RNNMatrixTrainingLayer& by, std::span<const Matrix> to) {
    CommandBuffer gradient_buffer = queue.makeCommandBuffer();
    by.encodeGradientSequence(gradient_buffer, x.matrices, x.offsets, g.matrices, g.offsets,
                              dx.matrices, dx.offsets, to, training, after, &before, weights);
    gradient_buffer.commit();
    gradient_buffer.waitUntilCompleted();
  };
  // Gradients overwrite what was there.
  for (const Matrix& one : weight_gradients) {
    const std::vector<float> other(one.data().length() / sizeof(float), 5);
    one.data().copy_in(other.data(), one.data().length());
  }
  back(layer, weight_gradients);
  std::vector<Rows> wanted_dx;
  for (Rows& step : problem.x) wanted_dx.push_back(problem.differentiate(step));
  dx.expect(wanted_dx, tolerance * 4, "gradient of the source");
  ASSERT_EQ(before.size(), 1U);
  expect_near(before[0]->getRecurrentOutputMatrix(0), problem.differentiate(problem.h0),
              weights_tolerance, "gradient of h0");
  if (has_cell) {
    expect_near(before[0]->getMemoryCellMatrix(0), problem.differentiate(problem.c0),
                weights_tolerance, "gradient of c0");
  }
  RNNMatrixTrainingLayer accumulating = layer.copy();
  accumulating.setAccumulateWeightGradients(true);
  std::map<RNNMatrixId, std::vector<double>> slopes;
  for (auto& [id, values] : problem.cell.matrices)
    slopes[id] = problem.differentiate(values, row.every);
  for (const int times : {1, 2}) {
    if (times == 2) back(accumulating, weight_gradients);
    for (const auto& [id, values] : slopes) {
      const auto [lines, columns] = shape_of(problem.cell, id);
      const Matrix out(
          device, MatrixDescriptor::matrixDescriptor(
                      lines + 2, columns + 3, (columns + 3) * sizeof(float), DataType::Float32));
      CommandBuffer copy_buffer = queue.makeCommandBuffer();
      layer.encodeCopyWeights(copy_buffer, weight_gradients, id, out, true, {2, 1, 0});
      copy_buffer.commit();
      copy_buffer.waitUntilCompleted();
      const auto all = values_of(out);
      for (std::size_t r = 0; r < lines; ++r) {
        for (std::size_t k = 0; k < columns; ++k) {
          if (std::isnan(values.at(r * columns + k))) continue;
          ASSERT_NEAR(double{all.at((2 + r) * (columns + 3) + 1 + k)},
                      times * values.at(r * columns + k), times * weights_tolerance)
              << "gradient of matrix " << static_cast<unsigned>(id) << ", row " << r << ", column "
              << k << ", " << times << " times";
        }
      }
    }
  }
}

// ---- rows ---------------------------------------------------------------------------------------

constexpr std::array gru_neurons{logistic, logistic, tanh_one, Activation{}};
constexpr std::array lstm_neurons{logistic, logistic, tanh_one, logistic};

std::vector<RecurrentRow> rows() {
  using enum RNNMatrixId;
  constexpr auto gru = RecurrentCell::gru;
  constexpr auto lstm = RecurrentCell::lstm;
  constexpr std::array all{true, true, true, true};
  constexpr std::array last_of_gru{false, false, true, false};
  std::vector<RecurrentRow> list{
      {.name = "single", .neurons = {tanh_one}, .quick = true},
      {.name = "single_identity", .inputs = 3, .outputs = 1, .rows = {2, 2}, .quick = true},
      {.name = "single_state", .neurons = {tanh_one}, .begins = true, .quick = true},
      {.name = "single_idle_rows", .neurons = {tanh_one}, .begins = true, .idle = 2},
      {.name = "single_unit",
       .inputs = 3,
       .neurons = {tanh_one},
       .unit = true,
       .without = {SingleGateInputWeights}},
      {.name = "single_prelu", .neurons = {Activation{PReLU}}, .begins = true},
      {.name = "single_without_sources",
       .without = {SingleGateInputWeights, SingleGateBiasTerms},
       .begins = true},
      {.name = "single_without_recurrence",
       .neurons = {logistic},
       .without = {SingleGateRecurrentWeights},
       .begins = true},
      {.name = "single_half", .neurons = {tanh_one}, .begins = true, .half = true},
      {.name = "single_strided",
       .rows = {3, 3, 3},
       .neurons = {tanh_one},
       .strided = true,
       .quick = true},
      {.name = "single_one_step", .rows = {5}, .neurons = {logistic}, .begins = true},
      {.name = "gru", .kind = gru, .neurons = gru_neurons, .quick = true},
      {.name = "gru_state", .kind = gru, .neurons = gru_neurons, .begins = true, .quick = true},
      {.name = "gru_idle_rows", .kind = gru, .neurons = gru_neurons, .begins = true, .idle = 1},
      {.name = "gru_flip", .kind = gru, .neurons = gru_neurons, .flip = true, .begins = true},
      {.name = "gru_vh",
       .kind = gru,
       .neurons = gru_neurons,
       .memory = last_of_gru,
       .begins = true,
       .quick = true},
      {.name = "gru_minimal",
       .kind = gru,
       .neurons = gru_neurons,
       .memory = last_of_gru,
       .without = {GRUOutputGateRecurrentWeights},
       .begins = true},
      {.name = "gru_p2", .kind = gru, .neurons = gru_neurons, .p = 2, .begins = true},
      {.name = "gru_p1_5_flip_vh",
       .kind = gru,
       .neurons = gru_neurons,
       .memory = last_of_gru,
       .flip = true,
       .p = 1.5,
       .begins = true},
      {.name = "gru_unit",
       .kind = gru,
       .inputs = 3,
       .neurons = gru_neurons,
       .unit = true,
       .without = {GRUInputGateInputWeights, GRURecurrentGateInputWeights,
                   GRUOutputGateInputWeights}},
      {.name = "gru_prelu",
       .kind = gru,
       .neurons = {logistic, logistic, Activation{PReLU}, Activation{}},
       .begins = true},
      {.name = "gru_half", .kind = gru, .neurons = gru_neurons, .begins = true, .half = true},
      {.name = "gru_strided",
       .kind = gru,
       .rows = {4, 4, 4},
       .neurons = gru_neurons,
       .begins = true,
       .strided = true},
      {.name = "lstm", .kind = lstm, .neurons = lstm_neurons, .quick = true},
      {.name = "lstm_state", .kind = lstm, .neurons = lstm_neurons, .begins = true, .quick = true},
      {.name = "lstm_idle_rows", .kind = lstm, .neurons = lstm_neurons, .begins = true, .idle = 2},
      {.name = "lstm_peepholes",
       .kind = lstm,
       .neurons = lstm_neurons,
       .memory = all,
       .begins = true,
       .quick = true},
      {.name = "lstm_peepholes_from_zero", .kind = lstm, .neurons = lstm_neurons, .memory = all},
      {.name = "lstm_peepholes_of_some",
       .kind = lstm,
       .neurons = lstm_neurons,
       .memory = {true, false, false, true},
       .begins = true},
      {.name = "lstm_peepholes_of_others",
       .kind = lstm,
       .neurons = lstm_neurons,
       .memory = {false, true, true, false},
       .begins = true},
      {.name = "lstm_diagonal",
       .kind = lstm,
       .neurons = lstm_neurons,
       .memory = all,
       .diagonal = true,
       .begins = true,
       .quick = true},
      {.name = "lstm_diagonal_of_some",
       .kind = lstm,
       .neurons = lstm_neurons,
       .memory = {false, true, false, true},
       .diagonal = true,
       .begins = true},
      {.name = "lstm_other_neurons",
       .kind = lstm,
       .neurons = {Activation{SoftSign}, Activation{HardSigmoid, 0.2F, 0.5F}, Activation{GeLU},
                   Activation{PReLU}},
       .memory = all,
       .diagonal = true,
       .to_output = {SoftPlus, 0.7F, 1.3F},
       .begins = true},
      {.name = "lstm_unit",
       .kind = lstm,
       .inputs = 3,
       .neurons = lstm_neurons,
       .unit = true,
       .without = {LSTMInputGateInputWeights, LSTMForgetGateInputWeights,
                   LSTMMemoryGateInputWeights, LSTMOutputGateInputWeights}},
      {.name = "lstm_without_a_gate",
       .kind = lstm,
       .neurons = {logistic, logistic, tanh_one, Activation{}},
       .without = {LSTMOutputGateInputWeights, LSTMOutputGateBiasTerms},
       .begins = true},
      {.name = "lstm_half",
       .kind = lstm,
       .neurons = lstm_neurons,
       .memory = all,
       .begins = true,
       .half = true},
      {.name = "lstm_strided",
       .kind = lstm,
       .rows = {2, 2, 2, 2},
       .neurons = lstm_neurons,
       .begins = true,
       .strided = true},
      {.name = "lstm_one",
       .kind = lstm,
       .inputs = 1,
       .outputs = 1,
       .rows = {1, 1, 1},
       .neurons = lstm_neurons,
       .memory = all,
       .quick = true},
      {.name = "lstm_wide",
       .kind = lstm,
       .inputs = 5,
       .outputs = 150,
       .rows = {2, 2},
       .neurons = lstm_neurons,
       .memory = all,
       .diagonal = true,
       .begins = true,
       .tolerance = 1e-5,
       .every = 1999}};
  return list;
}

std::string name_of_row(const testing::TestParamInfo<RecurrentRow>& info) {
  return info.param.name + (info.param.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(Rows, Recurrent, testing::ValuesIn(rows()), name_of_row);

}  // namespace
}  // namespace cermet::test
